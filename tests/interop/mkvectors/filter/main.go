// Makes tests/vectors/filter_verdicts.txt and tests/vectors/ip_decode.txt with the official packages. Run in tests/interop:
//
//	go run ./mkvectors/filter
//
// SPDX-License-Identifier: MIT
package main

import (
	"fmt"
	"io"
	"log"
	"os"

	"microlink.test/interop/filtergen"
)

func write(name, head string, fill func(io.Writer) error) {
	f, err := os.Create("../vectors/" + name)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Fprintf(f, "# Made by tests/interop/mkvectors/filter on 2026-11-23 with tailscale.com v1.102.3. %s\n", head)
	if err := fill(f); err != nil {
		log.Fatal(err)
	}
	if err := f.Close(); err != nil {
		log.Fatal(err)
	}
}

func main() {
	write("filter_verdicts.txt", "wgengine/filter RunIn and RunOut on random rules and packets.\n# Format: tests/unit/filter/filter_script.h.",
		func(w io.Writer) error { return filtergen.Write(w, 20261123, 22000, 40) })
	write("ip_decode.txt", "net/packet Parsed.Decode on random packets.\n# packet version protocol source-port destination-port tcp-flags (1 SYN | 2 ICMP error | 4 echo request | 8 echo reply)",
		func(w io.Writer) error { return filtergen.WriteDecode(w, 7, 3000) })
}
