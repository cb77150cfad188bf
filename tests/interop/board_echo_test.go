//go:build board

// TCP through the tunnel to a board: no stalls.
//
// SPDX-License-Identifier: MIT

package interop

import (
	"slices"
	"testing"
	"time"

	"microlink.test/interop/harness"
)

// A frame that is dropped on the board itself costs a retransmission, which is a second and more: there must be none on a network
// that loses nothing.
func TestBoardEchoesWithoutStalls(t *testing.T) {
	lab := harness.New(t, harness.Options{})
	official := lab.Host("ts").Tailscaled(t, harness.NodeOptions{AuthKey: lab.Headscale.AuthKey(t)})
	board := lab.Board(t, "board", harness.BoardOptions{})
	ip := board.WaitRunning(t, 0, 60*time.Second)
	official.WaitPeer(t, "board", 20*time.Second)
	boardPing(t, official, ip, "-c", "10", "--timeout", "5s")
	var took []time.Duration
	for range 20 {
		began := time.Now()
		boardEcho(t, official, ip, 32<<10)
		took = append(took, time.Since(began))
	}
	slices.Sort(took)
	median, longest := took[10], took[19]
	s := board.Stats(t)
	lost := [3]int{s["eth_tx_busy"], s["tx_no_mem"], s["rx_no_mem"]}
	t.Logf("20 echoes of 32 KB: median %s, longest %s, lost on the board: %d", seconds(median), seconds(longest), lost)
	if lost != [3]int{} {
		t.Errorf("frames were lost on the board")
	}
	// How long an echo takes depends on the machine that emulates the board; a retransmission takes the board a second.
	if longest > median+time.Second {
		t.Errorf("an echo took %s", seconds(longest))
	}
}
