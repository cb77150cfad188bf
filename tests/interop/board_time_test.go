//go:build board

// How long the board is away from its loop, in instructions.
//
// SPDX-License-Identifier: MIT

package interop

import (
	"testing"
	"time"

	"microlink.test/interop/harness"
)

// With -icount shift=3 an instruction takes the board 8 ns, whatever the machine that emulates it does meanwhile.
const nsPerInstruction = 8

// libsodium's X25519 on this chip (docs/footprint_board.md at the time when the bound was set), and the 2 ms a step may have taken before.
const x25519Instructions = 2_084_110 + 2_000_000/nsPerInstruction

func TestBoardIsNeverAwayForLongerThanOneCurveOperation(t *testing.T) {
	t.Parallel()
	lab := harness.New(t, harness.Options{ControlTLS: true})
	official := lab.Host("ts").Tailscaled(t, harness.NodeOptions{AuthKey: lab.Headscale.AuthKey(t)})
	board := lab.Board(t, "board", harness.BoardOptions{QEMU: []string{"-icount", "shift=3"}})
	ip := board.WaitRunning(t, 0, 60*time.Second)
	official.WaitPeer(t, "board", 20*time.Second)
	boardPing(t, official, ip, "-c", "10", "--timeout", "5s")
	boardPing(t, official, ip, "-c", "1", "--timeout", "5s", "--tsmp")
	boardEcho(t, official, ip, 64<<10)
	s := board.Stats(t)
	instructions := func(s map[string]int, what string) int { return s[what] * 1000 / nsPerInstruction }
	all, tls, rest := instructions(s, "longest_us"), instructions(s, "longest_tls_us"), instructions(s, "longest_plain_us")
	t.Logf("longest step while joining: %d instructions, of a TLS handshake %d, besides handshakes %d (10 ms at 125 MHz are %d)", all, tls, rest,
		10_000_000/nsPerInstruction)
	t.Logf("busy %d of the first %d ms", s["busy_ms"], s["up_ms"])
	if all == 0 || tls == 0 || rest == 0 {
		t.Errorf("figures are missing: %v", s)
	}
	if most := x25519Instructions; all > most || tls > most {
		t.Errorf("longer than one operation on a curve: %d, %d", all, tls)
	}
	if rest > 10_000_000/nsPerInstruction {
		t.Errorf("longer than 10 ms without a handshake")
	}
}
