//go:build board

// The board under faults: frames that are lost, doubled and reordered, and hours of traffic with servers that restart.
//
// SPDX-License-Identifier: MIT

package interop

import (
	"bytes"
	"crypto/rand"
	"fmt"
	"io"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"microlink.test/interop/harness"
)

// soakTime is how long TestBoardSoak runs: BOARD_SOAK_MINUTES, or what CI has time for.
func soakTime() time.Duration {
	if m, err := strconv.Atoi(os.Getenv("BOARD_SOAK_MINUTES")); err == nil {
		return time.Duration(m) * time.Minute
	}
	return 45 * time.Second
}

// soakEcho is one connection to the board's echo server, which has 40 s.
func soakEcho(from *harness.Node, ip string, size int) error {
	return echoWithin(40*time.Second, from, ip, size)
}

// echoWithin is one connection to the board's echo server; an error: what was sent did not come back whole and in time.
func echoWithin(limit time.Duration, from *harness.Node, ip string, size int) error {
	c, err := from.Dial("tcp", ip+":7", 20*time.Second)
	if err != nil {
		return err
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(limit))
	sent := make([]byte, size)
	rand.Read(sent)
	go c.Write(sent)
	got := make([]byte, size)
	if n, err := io.ReadFull(c, got); err != nil {
		return fmt.Errorf("%d of %d bytes: %w", n, size, err)
	}
	if !bytes.Equal(got, sent) {
		return fmt.Errorf("%d bytes came back changed", size)
	}
	return nil
}

// One instruction takes 8 ns of the board's time: a chip of 125 MHz that does one a cycle. So every time the board measures is a
// count of instructions, whatever else this machine does.
var soakClock = []string{"-icount", "shift=3"}

// Traffic, lost frames, and servers that restart: nothing grows, nothing leaks, and the loop never stands still.
func TestBoardSoak(t *testing.T) {
	t.Parallel()
	lab := harness.New(t, harness.Options{ControlTLS: true})
	official := lab.Host("ts").Tailscaled(t, harness.NodeOptions{AuthKey: lab.Headscale.AuthKey(t)})
	official.WaitRunning(t, 30*time.Second)
	board := lab.Board(t, "board", harness.BoardOptions{QEMU: soakClock, Link: &harness.Link{Loss: 0.05, Seed: 1}})
	ip := board.WaitRunning(t, 0, 60*time.Second)
	official.WaitPeer(t, "board", 20*time.Second)
	answers := func(within time.Duration) {
		t.Helper()
		harness.Eventually(t, within, "the board answers", func() error {
			_, out, err := official.Ping("-c", "1", "--timeout", "2s", "--tsmp", ip)
			if err != nil {
				return fmt.Errorf("%w: %s", err, out)
			}
			return nil
		})
	}
	answers(30 * time.Second)
	if err := soakEcho(official, ip, 1<<10); err != nil {
		t.Logf("first echo: %v", err)
	}
	quiet := func() (at map[string]int) {
		harness.Eventually(t, 90*time.Second, "the heap is at rest", func() error {
			before := at
			time.Sleep(3 * time.Second)
			if at = board.Stats(t); before == nil || at["lwip_now"] != before["lwip_now"] || at["tls_now"] != before["tls_now"] {
				return fmt.Errorf("lwIP %d, TLS %d", at["lwip_now"], at["tls_now"])
			}
			return nil
		})
		return at
	}
	first := quiet()

	var pings, lost, echoes, broken atomic.Int64
	stop := make(chan struct{})
	var running sync.WaitGroup
	repeat := func(pause time.Duration, do func()) {
		running.Add(1)
		go func() {
			defer running.Done()
			for {
				select {
				case <-stop:
					return
				case <-time.After(pause):
					do()
				}
			}
		}()
	}
	repeat(time.Second, func() {
		pings.Add(1)
		if _, _, err := official.Ping("-c", "1", "--timeout", "2s", "--tsmp", ip); err != nil {
			lost.Add(1)
		}
	})
	repeat(5*time.Second, func() {
		echoes.Add(1)
		if err := soakEcho(official, ip, 16<<10); err != nil {
			broken.Add(1)
			t.Logf("echo: %v", err)
		}
	})
	began := time.Now()
	for round := 0; time.Since(began) < soakTime(); round++ {
		time.Sleep(15 * time.Second)
		switch round % 8 {
		case 1:
			lab.Derpers[0].Restart(t)
		case 3:
			lab.Headscale.Restart(t)
		case 5:
			lab.Derpers[1].Restart(t)
		}
		if board.Proc.Exited() {
			t.Fatal("the board ended")
		}
		s := board.Stats(t)
		t.Logf("%s: %d pings, %d lost, %d echoes, %d broken; heap %d now, %d at most, refused %d; stack %d; longest step %d us, without keys %d us; net %d us",
			seconds(time.Since(began)), pings.Load(), lost.Load(), echoes.Load(), broken.Load(), s["tls_now"]+s["lwip_now"],
			s["arena_peak"], s["arena_failed"], s["stack_peak"], s["longest_us"], s["longest_plain_us"], s["longest_plain_net_us"])
	}
	close(stop)
	running.Wait()
	board.Proc.WaitLog(t, 0, "control: connected", time.Second)
	answers(90 * time.Second)
	last := first
	harness.Eventually(t, 120*time.Second, "the heap is as it was", func() error {
		if last = quiet(); last["lwip_now"] != first["lwip_now"] || last["tls_now"] != first["tls_now"] {
			return fmt.Errorf("lwIP %d, was %d; TLS %d, was %d", last["lwip_now"], first["lwip_now"], last["tls_now"], first["tls_now"])
		}
		return nil
	})
	t.Logf("first: %v\nlast:  %v", first, last)
	if lines := board.Proc.LinesMatching(0, "microlink on a board|panic|trap"); len(lines) != 1 {
		t.Errorf("it started anew: %v", lines)
	}
	if last["x25519"] == 0 {
		t.Errorf("X25519 is not counted: %v", last)
	}
	reportBoard(t, board, "soak")
}

// Frames that are lost, arrive twice, and overtake each other, one in ten of each: the board joins, answers and echoes.
func TestBoardOnABadLink(t *testing.T) {
	t.Parallel()
	lab := harness.New(t, harness.Options{})
	official := lab.Host("ts").Tailscaled(t, harness.NodeOptions{AuthKey: lab.Headscale.AuthKey(t)})
	official.WaitRunning(t, 30*time.Second)
	link := &harness.Link{Delay: 5 * time.Millisecond, Jitter: 3 * time.Millisecond, Loss: 0.1, Reorder: 0.1, Duplicate: 0.1, Seed: 2}
	board := lab.Board(t, "board", harness.BoardOptions{Link: link})
	ip := board.WaitRunning(t, 0, 90*time.Second)
	official.WaitPeer(t, "board", 20*time.Second)
	harness.Eventually(t, 30*time.Second, "a first ping is answered", func() error { // a handshake may be among the lost
		_, out, err := official.Ping("-c", "1", "--timeout", "2s", "--tsmp", ip)
		if err != nil {
			return fmt.Errorf("%w: %s", err, out)
		}
		return nil
	})
	answered := 0
	for range 50 {
		if _, _, err := official.Ping("-c", "1", "--timeout", "2s", "--tsmp", ip); err == nil {
			answered++
		}
	}
	t.Logf("%s: %d of 50 pings answered", link, answered)
	if answered < 30 { // each way loses one in ten: fewer come back by chance once in six thousand times
		t.Errorf("%d of 50 pings answered", answered)
	}
	harness.Eventually(t, 120*time.Second, "an echo of 4 KB comes back", func() error { return soakEcho(official, ip, 4<<10) })
	if lines := board.Proc.LinesMatching(0, "microlink on a board|panic|trap"); len(lines) != 1 {
		t.Errorf("it started anew: %v", lines)
	}
}

// A lost segment is repeated, and what came behind it is not thrown away: no connection stands still for longer and longer. (It did
// where the board's TCP kept nothing that came out of order and sent no timestamps: one echo in five took more than 20 s.)
func TestBoardEchoesOverALossyLink(t *testing.T) {
	t.Parallel()
	lab := harness.New(t, harness.Options{})
	official := lab.Host("ts").Tailscaled(t, harness.NodeOptions{AuthKey: lab.Headscale.AuthKey(t)})
	official.WaitRunning(t, 30*time.Second)
	board := lab.Board(t, "board", harness.BoardOptions{Link: &harness.Link{Loss: 0.05, Seed: 3}})
	ip := board.WaitRunning(t, 0, 90*time.Second)
	official.WaitPeer(t, "board", 20*time.Second)
	for i := range 12 {
		if err := echoWithin(20*time.Second, official, ip, 16<<10); err != nil {
			t.Errorf("echo %d: %v", i, err)
		}
	}
}
