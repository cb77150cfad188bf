// Prints HPACK header blocks and what golang.org/x/net/http2/hpack decodes from them. Run: go run ./mkvectors/http
//
// SPDX-License-Identifier: MIT
package main

import (
	"bytes"
	"fmt"
	"math/rand"
	"os"
	"strings"

	"golang.org/x/net/http2/hpack"
)

func main() {
	f, err := os.Create("../vectors/http_hpack.txt")
	if err != nil {
		panic(err)
	}
	defer f.Close()
	fmt.Fprintln(f, "# Made by tests/interop/mkvectors/http from golang.org/x/net/http2/hpack with table size 0, 2026-11-23. SPDX-License-Identifier: MIT")
	fmt.Fprintln(f, "# <hex of block> <status or -> <retry-after or -, blanks as _> | <hex of block> bad")
	rnd := rand.New(rand.NewSource(2))
	put := func(b []byte) {
		d := hpack.NewDecoder(0, nil)
		d.SetAllowedMaxDynamicTableSize(0)
		fields, err := d.DecodeFull(b)
		if err != nil {
			fmt.Fprintf(f, "%x bad\n", b)
			return
		}
		status, retry := "-", "-"
		for _, h := range fields {
			if h.Name == ":status" {
				status = h.Value
			}
			if h.Name == "retry-after" {
				retry = strings.ReplaceAll(h.Value, " ", "_")
			}
		}
		if strings.ContainsFunc(status+retry, func(r rune) bool { return r <= ' ' || r > '~' }) || status == "" || retry == "" {
			return // not printable in a line; malformed for us anyway, or empty
		}
		fmt.Fprintf(f, "%x %s %s\n", b, status, retry)
	}
	lit := func(b []byte, s string, huff bool) []byte {
		if huff {
			b = append(b, 0x80|byte(hpack.HuffmanEncodeLength(s)))
			return hpack.AppendHuffmanString(b, s)
		}
		return append(append(b, byte(len(s))), s...)
	}
	all := ""
	for i := 32; i < 127; i++ {
		all += string(rune(i))
	}
	for status := 200; status < 600; status++ {
		var buf bytes.Buffer
		e := hpack.NewEncoder(&buf)
		e.SetMaxDynamicTableSize(0)
		e.WriteField(hpack.HeaderField{Name: ":status", Value: fmt.Sprint(status)})
		e.WriteField(hpack.HeaderField{Name: "content-type", Value: all[:rnd.Intn(len(all))]})
		if status%3 == 0 {
			e.WriteField(hpack.HeaderField{Name: "retry-after", Value: fmt.Sprint(rnd.Intn(4000))})
		}
		if status%7 == 0 {
			e.WriteField(hpack.HeaderField{Name: "retry-after", Value: "Wed, 21 Oct 2015 07:28:00 GMT"})
		}
		put(buf.Bytes())
		// Plain and Huffman literals, names spelled out, with each kind of indexing.
		first := []byte{0x00, 0x10, 0x40}[status%3]
		b := lit(lit([]byte{first}, ":status", status%2 == 0), fmt.Sprint(status), status%5 < 2)
		b = lit(lit(append(b, first), "retry-after", status%4 < 2), "120", status%2 == 1)
		put(b)
		// Cut off, and dynamic table references.
		put(b[:rnd.Intn(len(b))])
		put(append(append([]byte{}, b...), 0x80|byte(62+rnd.Intn(20))))
	}
	// A size update after a field is not here: Go lets it pass when the table is empty, RFC 7541 (4.2) does not.
	put([]byte{0x20, 0x88})             // table size 0
	put([]byte{0x20, 0x20, 0x88})       // twice
	put([]byte{0x21, 0x88})             // table size 1: over what was announced
	put([]byte{0x3f, 0xe1, 0x1f, 0x88}) // table size 4096
	put([]byte{0x80})                   // index 0
	put([]byte{0xbe})                   // first dynamic entry
	put([]byte{0x7e, 0x01, 'a'})        // literal with dynamic name
	put([]byte{0x08, 0x82, 0x6c, 0x01}) // 501
	put([]byte{0x08, 0x82, 0x68, 0x01}) // 401
	put([]byte{0x0e, 0x03, '4', '2', '9'})
	put([]byte{0x0f, 0x26, 0x84, 0xff, 0xff, 0xff, 0xff}) // EOS
	put([]byte{0x0f, 0x26, 0x81, 0x18})                   // padding of zeros
	put([]byte{0x0f, 0x26, 0x82, 0x1f, 0xff})             // more than 7 bits of padding
	for range 400 {
		b := make([]byte, 1+rnd.Intn(12))
		rnd.Read(b)
		put(b)
	}
	// Every symbol of the Huffman code as the value of retry-after (printed when it is plain text).
	for i := 0; i < len(all); i++ {
		if all[i] != ' ' && all[i] != '-' && all[i] != '_' {
			put(lit([]byte{0x88, 0x0f, 0x26}, all[i:i+1]+"x", true))
		}
	}
}
