// The examples, run as their README files say, and the datagrams of the application API.
//
// SPDX-License-Identifier: MIT

package interop

import (
	"fmt"
	"net"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"microlink.test/interop/harness"
)

func TestExamples(t *testing.T) {
	t.Parallel()
	lab := harness.New(t, harness.Options{})
	key := lab.Headscale.AuthKey(t, "--reusable")
	peer := lab.Host("laptop").Tailscaled(t, harness.NodeOptions{AuthKey: key})
	env := []string{"TS_AUTHKEY=" + key, "ML_LOGIN_SERVER=" + lab.Headscale.URL}
	example := func(t *testing.T, host *harness.Host, name string, more []string, args ...string) *harness.Proc {
		t.Helper()
		program := harness.Binary(t, "ports/posix/example_"+name)
		return host.StartEnv(t, name, append(more, env...), append([]string{program}, args...)...)
	}

	t.Run("basic_connect prints its address and its peers, and ends", func(t *testing.T) {
		p := example(t, lab.Host("basic"), "basic_connect", nil)
		if status := p.WaitExit(t, 20*time.Second); status != 0 {
			t.Errorf("exit status %d", status)
		}
		if out := p.Output(); !strings.Contains(out, "connected as 100.64.") || !strings.Contains(out, peer.IP4(t)+" ") ||
			!strings.Contains(out, "laptop") {
			t.Errorf("output:\n%s", out)
		}
	})
	var waiting string
	t.Run("ping_pong talks with itself and with an ordinary socket", func(t *testing.T) {
		pong := example(t, lab.Host("pong-host"), "ping_pong", nil)
		// Ends with this test of all examples, not with this part of it: sensor_node needs it.
		line := pong.WaitLog(t, 0, `waiting at 100\.`, 20*time.Second)
		waiting = line[strings.LastIndex(line, " ")+1:]
		ping := example(t, lab.Host("ping-host"), "ping_pong", nil, "pong")
		if status := ping.WaitExit(t, 30*time.Second); status != 0 {
			t.Errorf("exit status %d", status)
		}
		answers := regexp.MustCompile(`(?m)^pong \d in \d+ ms$`).FindAllString(ping.Output(), -1)
		t.Logf("%s", strings.Join(answers, ", "))
		if len(answers) < 5 {
			t.Errorf("%d answers of 5:\n%s", len(answers), ping.Output())
		}
		if got := exchange(t, peer, waiting, "hello"); got != "pong" {
			t.Errorf("an ordinary socket got %q", got)
		}
		collector := example(t, lab.Host("collector"), "ping_pong", nil)
		at := collector.WaitLog(t, 0, `waiting at 100\.`, 20*time.Second)
		state := filepath.Join(t.TempDir(), "sensor.state")
		sensor := lab.Host("sensor-host")
		// Two wakes; the second lives from the state of the first.
		one := example(t, sensor, "sensor_node", []string{"ML_STATE=" + state}, at[strings.LastIndex(at, " ")+1:], "1", "2")
		if status := one.WaitExit(t, 40*time.Second); status != 0 {
			t.Errorf("sensor_node: exit status %d\n%s", status, one.Output())
		}
		if n := strings.Count(one.Output(), "published: reading "); n != 2 {
			t.Errorf("sensor_node published %d times, want 2:\n%s", n, one.Output())
		}
		sensors := 0
		for _, n := range lab.Headscale.Nodes(t) {
			if strings.HasPrefix(n.GivenName, "sensor") {
				sensors++
			}
		}
		if sensors != 1 {
			t.Errorf("two wakes made %d nodes", sensors)
		}
	})
	t.Run("posix_loop joins and answers ping", func(t *testing.T) {
		loop := lab.Host("loop-host")
		p := example(t, loop, "posix_loop", nil)
		harness.Eventually(t, 20*time.Second, "it answers the official ping", func() error {
			for _, n := range lab.Headscale.Nodes(t) {
				if strings.Contains(n.GivenName, "loop") {
					pongs, out, _ := peer.Ping("-c", "1", "--timeout", "2s", n.IPAddresses[0])
					if len(pongs) == 1 {
						return nil
					}
					return fmt.Errorf("%s", out)
				}
			}
			return fmt.Errorf("it has not joined: %s", p.Output())
		})
	})
}

// exchange sends one datagram from port 5055 of a node to that of an address, again each second, and returns the answer.
func exchange(t *testing.T, from *harness.Node, ip, text string) string {
	t.Helper()
	c, err := from.ListenUDP(net.JoinHostPort(from.IP4(t), "5055"))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	to := &net.UDPAddr{IP: net.ParseIP(ip), Port: 5055}
	buf := make([]byte, 2000)
	for range 10 {
		c.WriteTo([]byte(text), to)
		c.SetReadDeadline(time.Now().Add(time.Second))
		if n, _, err := c.ReadFrom(buf); err == nil {
			return string(buf[:n])
		}
	}
	return ""
}

func TestDatagramsOfTheCommandLine(t *testing.T) {
	t.Parallel()
	if harness.SubjectIsOfficial() {
		t.Skip("send and recv are our own words")
	}
	lab := harness.New(t, harness.Options{})
	key := lab.Headscale.AuthKey(t, "--reusable")
	peer := lab.Host("ts").Tailscaled(t, harness.NodeOptions{AuthKey: key})
	ours := lab.Host("ml").Microlink(t, harness.NodeOptions{AuthKey: key, Userspace: true})
	ours.WaitRunning(t, 20*time.Second)
	meet(t, ours, peer)
	c, err := peer.ListenUDP(net.JoinHostPort(peer.IP4(t), "5055"))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	ours.MustCLI(t, "send", "ts", "hello from a device")
	buf := make([]byte, 2000)
	c.SetReadDeadline(time.Now().Add(10 * time.Second))
	n, from, err := c.ReadFrom(buf)
	if err != nil || string(buf[:n]) != "hello from a device" || from.String() != net.JoinHostPort(ours.IP4(t), "5055") {
		t.Fatalf("got %q from %v, %v", buf[:n], from, err)
	}
	recv := ours.StartEnv(t, "recv", nil, harness.Program(t), "--socket", ours.Socket, "recv", "--timeout", "15s")
	harness.Eventually(t, 15*time.Second, "recv prints the answer", func() error {
		c.WriteTo([]byte("hello to a device"), from)
		if out := recv.Output(); out != "hello to a device\n" {
			return fmt.Errorf("%q", out)
		}
		return nil
	})
	if status := recv.WaitExit(t, 5*time.Second); status != 0 {
		t.Errorf("recv: exit status %d", status)
	}
}
