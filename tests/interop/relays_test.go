// Relays: two regions with the nodes homed apart, pinned certificates, connections that come and go.
//
// SPDX-License-Identifier: MIT

package interop

import (
	"errors"
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"

	"tailscale.com/tailcfg"

	"microlink.test/interop/harness"
)

// homedAt makes a host behind a symmetric NAT from which only one region answers STUN, so that its node makes that region its
// home; both relays stay reachable over TCP.
func homedAt(t *testing.T, lab *harness.Lab, name string, region int) *harness.Host {
	t.Helper()
	h := lab.Router(harness.NATSymmetric).Host(name)
	for _, d := range lab.Derpers {
		if d.Region != region {
			h.Block(t, fmt.Sprintf("ip daddr %s udp dport %d", d.IP, d.STUN))
		}
	}
	return h
}

// connections counts established TCP connections of the host to a relay.
func connections(t *testing.T, h *harness.Host, d *harness.Derper) int {
	t.Helper()
	out := h.Must(t, "ss", "-Htn", "state", "established", "dst", d.IP, "dport", fmt.Sprint("= ", d.Port))
	return len(strings.Fields(out)) / 4
}

func TestNodesHomedInDifferentRegions(t *testing.T) {
	t.Parallel()
	lab := harness.New(t, harness.Options{})
	key := lab.Headscale.AuthKey(t, "--reusable")
	ours := homedAt(t, lab, "ml", 1).Microlink(t, harness.NodeOptions{AuthKey: key})
	ours.WaitRunning(t, 30*time.Second)
	ours.WaitHome(t, "tst1", 30*time.Second)
	official := homedAt(t, lab, "ts", 2).Tailscaled(t, harness.NodeOptions{AuthKey: key})
	official.WaitHome(t, "tst2", 30*time.Second)
	meet(t, official, ours)
	if p := official.WaitPeer(t, "ml", time.Second); p.Relay != "tst1" {
		t.Errorf("the official node takes our home for %q", p.Relay)
	}

	t.Run("D54 a reply goes back where the question came, without another connection", func(t *testing.T) {
		harness.Eventually(t, 15*time.Second, "only the home is connected", func() error {
			if n := connections(t, ours.Host, lab.Derpers[1]); n != 0 {
				return fmt.Errorf("%d connections to the other region", n)
			}
			return nil
		})
		began := time.Now()
		pongs, out, _ := official.Ping("-c", "1", "--timeout", "3s", "--until-direct=false", ours.IP4(t))
		if len(pongs) != 1 || pongs[0].Via != "DERP(tst1)" {
			t.Errorf("want one pong via our home: %s", out)
		}
		t.Logf("first pong after %s", seconds(time.Since(began)))
		expectNoLoss(t, official.Host, ours.IP4(t))
		if n := connections(t, ours.Host, lab.Derpers[1]); n != 0 && !ours.Official {
			t.Errorf("%d connections of ours to the peer's region, want none", n)
		}
	})
	t.Run("ping works within 3 s from our side", func(t *testing.T) {
		began := time.Now()
		pongs, out, _ := ours.Ping("-c", "1", "--timeout", "3s", "--until-direct=false", official.IP4(t))
		if len(pongs) != 1 || !strings.HasPrefix(pongs[0].Via, "DERP(") {
			t.Errorf("no pong: %s", out)
		}
		t.Logf("after %s: %s", seconds(time.Since(began)), strings.TrimSpace(out))
	})
	t.Run("ping works when ours has just started", func(t *testing.T) {
		ours.Restart()
		ours.WaitRunning(t, 10*time.Second)
		ours.WaitHome(t, "tst1", 10*time.Second)
		began := time.Now()
		pongs, out, _ := ours.Ping("-c", "1", "--timeout", "3s", "--until-direct=false", official.IP4(t))
		if len(pongs) != 1 {
			t.Errorf("no pong within 3 s: %s", out)
		}
		t.Logf("after %s: %s", seconds(time.Since(began)), strings.TrimSpace(out))
	})
	t.Run("a file both ways", func(t *testing.T) { expectFile(t, ours, official) })
	t.Run("D55 a connection to another region closes when nothing was written for a minute", func(t *testing.T) {
		if ours.Official {
			return // Its tests are its own.
		}
		// A node that was just started has to dial the peer's region itself, unless the peer speaks first, to our home.
		ip := official.IP4(t)
		official.Proc.Signal(syscall.SIGSTOP)
		defer official.Proc.Signal(syscall.SIGCONT)
		ours.Restart()
		ours.WaitHome(t, "tst1", 10*time.Second)
		harness.Eventually(t, 10*time.Second, "the peer's region is dialled", func() error {
			out, _ := ours.Host.Run(3*time.Second, "ping", "-q", "-c", "1", "-W", "0.3", ip) // Nobody answers.
			if connections(t, ours.Host, lab.Derpers[1]) == 0 {
				return errors.New("no connection; " + out)
			}
			return nil
		})
		official.Proc.Signal(syscall.SIGCONT)
		ours.WaitKernelPing(t, ip, 10*time.Second)
		// The session's keepalives and the heartbeat end 45 s after the last data; each of them is a write.
		began := time.Now()
		took := harness.Eventually(t, 150*time.Second, "it is closed", func() error {
			time.Sleep(time.Second)
			if n := connections(t, ours.Host, lab.Derpers[1]); n != 0 {
				return fmt.Errorf("%d connections", n)
			}
			return nil
		})
		if took < 58*time.Second {
			t.Errorf("closed %s after the last data", seconds(time.Since(began)))
		}
		if connections(t, ours.Host, lab.Derpers[0]) == 0 {
			t.Error("the connection to the home is gone too")
		}
	})
}

func TestD46_D47_RelaysWithPinnedAndMetaCertificates(t *testing.T) {
	t.Parallel()
	t.Run("the right certificate is accepted without an authority", func(t *testing.T) {
		lab := harness.New(t, harness.Options{DERPCertPin: true})
		key := lab.Headscale.AuthKey(t, "--reusable")
		ours := lab.Router(harness.NATSymmetric).Host("ml").Microlink(t, harness.NodeOptions{AuthKey: key})
		ours.WaitRunning(t, 30*time.Second)
		official := lab.Router(harness.NATSymmetric).Host("ts").Tailscaled(t, harness.NodeOptions{AuthKey: key})
		expectRelayed(t, official, ours)
		expectRelayed(t, ours, official)
	})
	t.Run("CertName names the certificate instead of the host", func(t *testing.T) {
		lab := harness.New(t, harness.Options{DERPAnySNI: true, ChangeDERPMap: func(m *tailcfg.DERPMap) {
			// The server is found by another name than the certificate has.
			for _, r := range m.Regions {
				r.Nodes[0].CertName = r.Nodes[0].HostName
				r.Nodes[0].HostName = "front.test"
			}
		}})
		key := lab.Headscale.AuthKey(t, "--reusable")
		ours := lab.Router(harness.NATSymmetric).Host("ml").Microlink(t, harness.NodeOptions{AuthKey: key})
		ours.WaitRunning(t, 30*time.Second)
		official := lab.Router(harness.NATSymmetric).Host("ts").Tailscaled(t, harness.NodeOptions{AuthKey: key})
		expectRelayed(t, official, ours)
		expectRelayed(t, ours, official)
	})
	t.Run("another certificate is refused", func(t *testing.T) {
		lab := harness.New(t, harness.Options{DERPCertPin: true, ChangeDERPMap: func(m *tailcfg.DERPMap) {
			for _, r := range m.Regions {
				r.Nodes[0].CertName = "sha256-raw:" + strings.Repeat("00", 32)
			}
		}})
		ours := lab.Host("ml").Microlink(t, harness.NodeOptions{AuthKey: lab.Headscale.AuthKey(t)})
		ours.WaitRunning(t, 30*time.Second)
		time.Sleep(5 * time.Second)
		if ours.Official {
			return
		}
		expectSentence(t, ours, `relay|derp|certificate`, 10*time.Second)
	})
	t.Run("a relay of an unknown authority is refused", func(t *testing.T) {
		lab := harness.New(t, harness.Options{DERPCertPin: true, ChangeDERPMap: func(m *tailcfg.DERPMap) {
			for _, r := range m.Regions {
				r.Nodes[0].CertName = ""
			}
		}})
		ours := lab.Host("ml").Microlink(t, harness.NodeOptions{AuthKey: lab.Headscale.AuthKey(t)})
		ours.WaitRunning(t, 30*time.Second)
		if ours.Official {
			return
		}
		expectSentence(t, ours, `relay|derp|certificate`, 20*time.Second)
	})
}

func TestD43_WithoutAnySTUNAnswerThereIsAHome(t *testing.T) {
	t.Parallel()
	lab := harness.New(t, harness.Options{})
	key := lab.Headscale.AuthKey(t, "--reusable")
	host := lab.Router(harness.NATUDPBlocked).Host("ml")
	ours := host.Microlink(t, harness.NodeOptions{AuthKey: key})
	ours.WaitRunning(t, 30*time.Second)
	harness.Eventually(t, 20*time.Second, "a home is chosen over HTTPS", func() error {
		s, err := ours.Status()
		if err == nil && s.Self.Relay == "" {
			err = fmt.Errorf("none")
		}
		return err
	})
	s, _ := ours.Status()
	was := s.Self.Relay
	// Nothing is reachable any more: the home stays what it was.
	host.Block(t, "ip daddr { 10.77.0.21, 10.77.0.22 }")
	ours.CLI("netcheck")
	time.Sleep(8 * time.Second)
	if s, err := ours.Status(); err != nil || s.Self.Relay != was {
		t.Errorf("the home was %q, now %+v, %v", was, s.Self, err)
	}
}
