//go:build board

// As many peers as the board has sessions, all of them in use.
//
// SPDX-License-Identifier: MIT

package interop

import (
	"fmt"
	"testing"
	"time"

	"microlink.test/interop/harness"
)

const boardSessions = 16

func TestBoardTalksWithSixteenOfficialPeersAtOnce(t *testing.T) {
	t.Parallel()
	lab := harness.New(t, harness.Options{})
	key := lab.Headscale.AuthKey(t, "--reusable")
	peers := make([]*harness.Node, boardSessions)
	for i := range peers {
		peers[i] = lab.Host(fmt.Sprintf("ts%d", i)).Tailscaled(t, harness.NodeOptions{AuthKey: key, Userspace: i != 0})
	}
	for _, p := range peers {
		p.WaitRunning(t, 60*time.Second)
	}
	board := lab.Board(t, "board", harness.BoardOptions{})
	ip := board.WaitRunning(t, 0, 60*time.Second)

	// All at the same time, twice: the second time there is a session with each, and nothing has to be sent again. All of them
	// are neighbours on the board's link, too.
	began := time.Now()
	for _, tries := range []string{"8", "1"} {
		pingAtOnce(t, peers, "board", ip, tries)
	}
	t.Logf("twice two pings from each of %d peers in %s", len(peers), seconds(time.Since(began)))
	mark := board.Proc.Mark()
	board.Type(t, "p")
	harness.Eventually(t, 10*time.Second, "the board tells its peers", func() error {
		if n := len(board.Proc.LinesMatching(mark, `^peer \S+ \S+ live `)); n != boardSessions {
			return fmt.Errorf("%d live sessions of %d: %s", n, boardSessions, board.Proc.OutputSince(mark))
		}
		return nil
	})
	boardEcho(t, peers[0], ip, 16<<10)
	reportBoard(t, board, "16-peers")
}
