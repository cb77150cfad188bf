//go:build board

// The examples as images of the board: the sources that the host builds, over the application API.
//
// SPDX-License-Identifier: MIT

package interop

import (
	"net"
	"regexp"
	"strings"
	"testing"
	"time"

	"microlink.test/interop/harness"
)

// answerDatagrams answers every datagram on port 5055 of a node until the test ends, and tells what came.
func answerDatagrams(t *testing.T, n *harness.Node, answer string) <-chan string {
	t.Helper()
	c, err := n.ListenUDP(net.JoinHostPort(n.IP4(t), "5055"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	came := make(chan string, 100)
	go func() {
		buf := make([]byte, 2000)
		for {
			k, from, err := c.ReadFrom(buf)
			if err != nil {
				return
			}
			c.WriteTo([]byte(answer), from)
			select {
			case came <- string(buf[:k]):
			default:
			}
		}
	}()
	return came
}

func TestBoardRunsTheExamples(t *testing.T) {
	t.Parallel()
	lab := harness.New(t, harness.Options{})
	official := lab.Host("ts").Tailscaled(t, harness.NodeOptions{AuthKey: lab.Headscale.AuthKey(t)})
	official.WaitRunning(t, 30*time.Second)

	t.Run("basic_connect prints its address and its peers, and ends", func(t *testing.T) {
		b := lab.Board(t, "basic", harness.BoardOptions{Image: "basic_connect"})
		if status := b.Proc.WaitExit(t, 60*time.Second); status != 0 {
			t.Errorf("exit status %d", status)
		}
		if out := b.Proc.Output(); !strings.Contains(out, "connected as 100.64.") || !strings.Contains(out, official.IP4(t)+" ") {
			t.Errorf("output:\n%s", out)
		}
	})
	t.Run("ping_pong answers an ordinary socket", func(t *testing.T) {
		b := lab.Board(t, "ponger", harness.BoardOptions{Image: "ping_pong"})
		line := b.Proc.WaitLog(t, 0, `waiting at 100\.`, 60*time.Second)
		official.WaitPeer(t, "pong", 20*time.Second)
		if got := exchange(t, official, line[strings.LastIndex(line, " ")+1:], "hello"); got != "pong" {
			t.Errorf("got %q", got)
		}
		b.Proc.WaitLog(t, 0, `ping from 100\.\S+: hello`, 5*time.Second)
	})
	t.Run("ping_pong asks, and sensor_node publishes and comes back from sleep as the same node", func(t *testing.T) {
		came := answerDatagrams(t, official, "pong")
		asking := lab.Board(t, "asker", harness.BoardOptions{Image: "ping_pong", Settings: []string{"args=ts"}})
		if status := asking.Proc.WaitExit(t, 90*time.Second); status != 0 {
			t.Errorf("ping_pong: exit status %d", status)
		}
		answers := regexp.MustCompile(`(?m)^pong \d in \d+ ms`).FindAllString(asking.Proc.Output(), -1)
		t.Logf("%s", strings.Join(answers, ", "))
		if len(answers) < 4 {
			t.Errorf("%d answers of 5:\n%s", len(answers), asking.Proc.Output())
		}
		for len(came) > 0 {
			if text := <-came; !strings.HasPrefix(text, "ping ") {
				t.Errorf("the peer got %q", text)
			}
		}

		sensor := lab.Board(t, "sleeper", harness.BoardOptions{Image: "sensor_node", Settings: []string{"args=ts 2"}})
		mark := 0
		keys := map[string]bool{}
		for range 3 {
			sensor.Proc.WaitLog(t, mark, `^published: reading \d+`, 60*time.Second)
			keys[lab.Headscale.Node(t, "sensor").NodeKey] = true
			sensor.Proc.WaitLog(t, mark, `^sleeping 2 s`, 10*time.Second)
			mark = sensor.Proc.Mark()
		}
		nodes := 0
		for _, n := range lab.Headscale.Nodes(t) {
			if strings.HasPrefix(n.GivenName, "sensor") {
				nodes++
			}
		}
		if nodes != 1 || len(keys) != 1 {
			t.Errorf("three wakes made %d nodes and %d keys", nodes, len(keys))
		}
		if text := <-came; !strings.HasPrefix(text, "reading ") {
			t.Errorf("the collector got %q", text)
		}
	})
}
