// The tailnet's rules on the device: a Headscale policy is enforced packet by packet, follows changes without a new session,
// and a refused connection is answered as the official client answers it.
//
// SPDX-License-Identifier: MIT

package interop

import (
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"microlink.test/interop/harness"
)

// tcpTo opens a connection from a host and says how that went: "open", "refused" (by TCP or by a TSMP reject) or "silence".
func tcpTo(h *harness.Host, ip string, port int, within time.Duration) string {
	c, err := h.Dial("tcp", net.JoinHostPort(ip, fmt.Sprint(port)), within)
	switch {
	case err == nil:
		c.Close()
		return "open"
	case errors.Is(err, syscall.ECONNREFUSED):
		return "refused"
	case os.IsTimeout(err):
		return "silence"
	}
	return err.Error()
}

// echoUDP answers datagrams on a port of the host until the test ends.
func echoUDP(t *testing.T, h *harness.Host, ip string, port int) {
	t.Helper()
	c, err := h.ListenUDP(net.JoinHostPort(ip, fmt.Sprint(port)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	go func() {
		buf := make([]byte, 1500)
		for {
			n, from, err := c.ReadFrom(buf)
			if err != nil {
				return
			}
			c.WriteTo(buf[:n], from)
		}
	}()
}

// udpEchoes tells whether a datagram from the host comes back.
func udpEchoes(t *testing.T, h *harness.Host, ip string, port int) bool {
	t.Helper()
	c, err := h.Dial("udp", net.JoinHostPort(ip, fmt.Sprint(port)), time.Second)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	buf := make([]byte, 64)
	for range 3 {
		c.Write([]byte("ping"))
		c.SetReadDeadline(time.Now().Add(400 * time.Millisecond))
		if n, err := c.Read(buf); err == nil && string(buf[:n]) == "ping" {
			return true
		}
	}
	return false
}

func pings(h *harness.Host, ip string) bool {
	_, err := h.Run(5*time.Second, "ping", "-n", "-q", "-W", "1", "-c", "2", ip)
	return err == nil
}

// serveTCP accepts and closes connections on a port of the host until the test ends.
func serveTCP(t *testing.T, h *harness.Host, ip string, port int) {
	t.Helper()
	l, err := h.Listen(net.JoinHostPort(ip, fmt.Sprint(port)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			c.Close()
		}
	}()
}

const (
	onlyTCP8080 = `{"acls":[{"action":"accept","proto":"tcp","src":["*"],"dst":["*:8080"]}]}`
	onlyUDP9090 = `{"acls":[{"action":"accept","proto":"udp","src":["*"],"dst":["*:9090"]}]}`
	onlyTCP9090 = `{"acls":[{"action":"accept","proto":"tcp","src":["*"],"dst":["*:9090"]}]}`
	onlyICMP    = `{"acls":[{"action":"accept","proto":"icmp","src":["*"],"dst":["*:*"]}]}`
)

func TestHeadscalePolicyIsEnforcedOnTheDevice(t *testing.T) {
	t.Parallel()
	lab := harness.New(t, harness.Options{Policy: onlyTCP8080})
	key := lab.Headscale.AuthKey(t, "--reusable")
	peer := lab.Host("ts").Tailscaled(t, harness.NodeOptions{AuthKey: key})
	node := lab.Host("ml").Microlink(t, harness.NodeOptions{AuthKey: key})
	node.WaitRunning(t, 30*time.Second)
	meet(t, node, peer)
	ip, peerIP := node.IP4(t), peer.IP4(t)
	for _, port := range []int{8080, 9090} {
		serveTCP(t, node.Host, ip, port)
		echoUDP(t, node.Host, ip, port)
		serveTCP(t, peer.Host, peerIP, port)
	}
	echoUDP(t, peer.Host, peerIP, 9090)
	harness.Eventually(t, 20*time.Second, "8080 is open", func() error {
		if got := tcpTo(peer.Host, ip, 8080, 3*time.Second); got != "open" {
			return errors.New(got)
		}
		return nil
	})

	t.Run("only tcp 8080 comes in", func(t *testing.T) {
		for range 5 {
			if got := tcpTo(peer.Host, ip, 8080, 2*time.Second); got != "open" {
				t.Errorf("tcp 8080: %s", got)
			}
		}
		if got := tcpTo(peer.Host, ip, 9090, 2*time.Second); got == "open" {
			t.Errorf("tcp 9090: %s", got)
		}
		if udpEchoes(t, peer.Host, ip, 8080) || udpEchoes(t, peer.Host, ip, 9090) {
			t.Error("UDP came in")
		}
		// By address ICMP passes for whoever may reach any port (control.md 10.4), as at an official node.
		if !pings(peer.Host, ip) {
			t.Error("no answer to ICMP echo")
		}
		if !node.Official {
			const reason = "filter: no rule allows it"
			if text, js := node.MustCLI(t, "status"), node.MustCLI(t, "status", "--json"); !strings.Contains(text, reason) || !strings.Contains(js, reason) {
				t.Errorf("status does not tell of what was refused:\n%s\n%s", text, js)
			}
		}
	})
	t.Run("D60 a refused connection is told so by TSMP", func(t *testing.T) {
		mark := peer.Proc.Mark()
		if got := tcpTo(peer.Host, ip, 9090, 3*time.Second); got == "open" {
			t.Errorf("tcp 9090: %s", got)
		}
		line := peer.Proc.WaitLog(t, mark, `open-conn-track: flow .*:9090 .*rejected due to acl`, 8*time.Second)
		t.Log(line)
	})
	t.Run("the official filter agrees the other way", func(t *testing.T) {
		if got := tcpTo(node.Host, peerIP, 8080, 2*time.Second); got != "open" {
			t.Errorf("tcp 8080 of the official node: %s", got)
		}
		if got := tcpTo(node.Host, peerIP, 9090, 2*time.Second); got == "open" {
			t.Errorf("tcp 9090 of the official node: %s", got)
		}
	})

	change := func(t *testing.T, policy string, done func() error) {
		t.Helper()
		sessions := node.Proc.Mark()
		lab.Headscale.SetPolicy(t, policy)
		took := harness.Eventually(t, 15*time.Second, "the new policy is in force", done)
		t.Logf("in force after %s", seconds(took))
		if lines := node.Proc.LinesMatching(sessions, `connected|reconnect|ended`); len(lines) > 0 {
			t.Errorf("connections were made anew: %q", lines)
		}
	}
	t.Run("a changed policy opens 9090 and closes 8080 without a new connection", func(t *testing.T) {
		change(t, onlyTCP9090, func() error {
			if got := tcpTo(peer.Host, ip, 9090, time.Second); got != "open" {
				return errors.New(got)
			}
			return nil
		})
		if got := tcpTo(peer.Host, ip, 8080, 2*time.Second); got == "open" {
			t.Errorf("tcp 8080: %s", got)
		}
	})
	t.Run("UDP by rule", func(t *testing.T) {
		change(t, onlyUDP9090, func() error {
			if !udpEchoes(t, peer.Host, ip, 9090) {
				return errors.New("no echo")
			}
			return nil
		})
		if udpEchoes(t, peer.Host, ip, 8080) {
			t.Error("udp 8080 came in")
		}
		if got := tcpTo(peer.Host, ip, 9090, 2*time.Second); got == "open" {
			t.Errorf("tcp 9090: %s", got)
		}
	})
	t.Run("replies to own flows", func(t *testing.T) {
		// The peer's rules let us ask it on udp 9090; nothing lets its port 9090 speak to a port of ours but the flow.
		if !udpEchoes(t, node.Host, peerIP, 9090) {
			t.Error("no reply came back")
		}
	})
	t.Run("ICMP only", func(t *testing.T) {
		change(t, onlyICMP, func() error {
			if udpEchoes(t, peer.Host, ip, 9090) {
				return errors.New("udp 9090 is still open")
			}
			return nil
		})
		if !pings(peer.Host, ip) {
			t.Error("no answer to ICMP echo")
		}
		for _, port := range []int{8080, 9090} {
			if got := tcpTo(peer.Host, ip, port, time.Second); got == "open" {
				t.Errorf("tcp %d: %s", port, got)
			}
		}
	})
	t.Run("no rule that names us lets nothing new in", func(t *testing.T) {
		change(t, `{"acls":[]}`, func() error {
			if pings(peer.Host, ip) {
				return errors.New("ICMP is still answered")
			}
			return nil
		})
	})
	if problem := strings.Join(node.WaitRunning(t, time.Second).Health, " "); problem != "" {
		t.Logf("health: %s", problem)
	}
}
