// The packet filter against the official one, on many random rules and packets: no network, no root.
//
// SPDX-License-Identifier: MIT

package interop

import (
	"io"
	"os/exec"
	"strings"
	"testing"
	"time"

	"microlink.test/interop/filtergen"
	"microlink.test/interop/harness"
)

func TestC54_D61_FilterVerdictsOnAMillionPackets(t *testing.T) {
	seed := time.Now().UnixNano()
	t.Logf("seed %d", seed)
	cmd := exec.Command(harness.Binary(t, "tests/interop/ctools/filter_check"))
	in, out := io.Pipe()
	cmd.Stdin = in
	done := make(chan error, 1)
	go func() {
		err := filtergen.Write(out, seed, 1_000_000, 200)
		out.CloseWithError(err)
		done <- err
	}()
	report, err := cmd.CombinedOutput()
	in.Close()
	if err != nil {
		t.Fatalf("%v\n%s", err, report)
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(string(report), "1000000 packets") {
		t.Fatalf("not all packets were judged: %s", report)
	}
	t.Logf("%s", report)
}
