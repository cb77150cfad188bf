// What happens when things end and come back: our node, the control server, a relay, a peer.
//
// SPDX-License-Identifier: MIT

package interop

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"microlink.test/interop/harness"
)

// fakeClock returns the environment in which a program sees another wall clock; its monotonic clock stays true. The
// expression is libfaketime's: "-1d", "@1970-01-01 00:01:00".
func fakeClock(t *testing.T, expression string) []string {
	t.Helper()
	found, _ := filepath.Glob("/usr/lib/*/faketime/libfaketime.so.1")
	if len(found) == 0 {
		t.Fatal("libfaketime is not installed: run tools/setup.sh")
	}
	return []string{"LD_PRELOAD=" + found[0], "FAKETIME=" + expression, "DONT_FAKE_MONOTONIC=1", "FAKETIME_DONT_FAKE_MONOTONIC=1"}
}

func TestRestartOfOurNode(t *testing.T) {
	lab := harness.New(t, harness.Options{})
	key := lab.Headscale.AuthKey(t, "--reusable")
	peer := lab.Host("ts").Tailscaled(t, harness.NodeOptions{AuthKey: key})
	// Used once: a restart has to live from its state.
	node := lab.Host("ml").Microlink(t, harness.NodeOptions{AuthKey: lab.Headscale.AuthKey(t)})
	before := node.WaitRunning(t, 30*time.Second)
	expectDirect(t, node, peer)
	expectDirect(t, peer, node)
	expectNoLoss(t, node.Host, peer.IP4(t))
	own := node.IP4(t)
	identity := func(s *harness.Status) string {
		return fmt.Sprint(s.Self.ID, s.Self.DNSName, s.Self.TailscaleIPs)
	}
	check := func(t *testing.T, env []string) {
		t.Helper()
		node.Options.Env = env
		node.Proc.Kill()
		began := time.Now()
		node.Start()
		node.WaitKernelPing(t, peer.IP4(t), 10*time.Second)
		out := time.Since(began)
		peer.WaitKernelPing(t, own, 10*time.Second) // Not node.IP4(t): status has it only when control has answered.
		in := time.Since(began)
		t.Logf("after the restart: first answer to us after %s, to the peer after %s", seconds(out), seconds(in))
		if limit := 2 * time.Second; out > limit || in > limit {
			t.Errorf("packets flow %s and %s after the restart, want 2 s", seconds(out), seconds(in))
		}
		if after := node.WaitRunning(t, 10*time.Second); identity(after) != identity(before) {
			t.Errorf("was %s, is %s", identity(before), identity(after))
		}
	}
	t.Run("node id, name and addresses stay and packets flow within 2 s", func(t *testing.T) { check(t, nil) })
	t.Run("D5 also when the wall clock went back a day", func(t *testing.T) { check(t, fakeClock(t, "-1d")) })
	t.Run("D5 also when the clock was reset to 1970", func(t *testing.T) { check(t, fakeClock(t, "@1970-01-01 00:00:01")) })
	t.Run("and when the clock is right again", func(t *testing.T) { check(t, nil) })
	t.Run("SIGTERM ends it within 10 s with status 0", func(t *testing.T) {
		if err := node.Proc.Stop(); err != nil {
			t.Errorf("SIGTERM: %v", err)
		}
		node.Start()
		node.WaitKernelPing(t, peer.IP4(t), 10*time.Second)
	})
	if nodes := lab.Headscale.Nodes(t); len(nodes) != 2 {
		t.Errorf("headscale has %d nodes, want 2", len(nodes))
	}
}

// logged shows what the node wrote since mark about a matter, and requires that it is something but not a flood.
func logged(t *testing.T, n *harness.Node, mark int, expr string, atMost int) {
	t.Helper()
	if n.Official {
		return
	}
	lines := n.Proc.LinesMatching(mark, expr)
	t.Logf("%s logged:\n  %s", n.Name, strings.Join(lines, "\n  "))
	if len(lines) < 1 || len(lines) > atMost {
		t.Errorf("%d lines about it (/%s/), want 1 to %d", len(lines), expr, atMost)
	}
}

func TestServersAndPeersGoAndComeBack(t *testing.T) {
	lab := harness.New(t, harness.Options{})
	key := lab.Headscale.AuthKey(t, "--reusable")
	ours := func(h *harness.Host) *harness.Node {
		n := h.Microlink(t, harness.NodeOptions{AuthKey: key})
		n.WaitRunning(t, 30*time.Second)
		return n
	}
	open := ours(lab.Host("ml-open"))
	hard := ours(lab.Router(harness.NATSymmetric).Host("ml-hard"))
	tsOpen := lab.Host("ts-open").Tailscaled(t, harness.NodeOptions{AuthKey: key})
	tsHard := lab.Router(harness.NATSymmetric).Host("ts-hard").Tailscaled(t, harness.NodeOptions{AuthKey: key})
	expectDirect(t, open, tsOpen)
	expectRelayed(t, hard, tsHard)

	t.Run("C48 working peers keep working while control is away", func(t *testing.T) {
		mark := open.Proc.Mark()
		lab.Headscale.Stop()
		expectNoLoss(t, open.Host, tsOpen.IP4(t))
		expectNoLoss(t, hard.Host, tsHard.IP4(t))
		expectDirect(t, open, tsOpen)
		time.Sleep(3 * time.Second)
		if s, err := open.Status(); err != nil || s.BackendState != "Running" {
			t.Errorf("state while control is away: %+v, %v", s, err)
		} else {
			t.Logf("health while control is away: %q", s.Health)
		}
		logged(t, open, mark, `(?i)control`, 6)
		mark = open.Proc.Mark()
		lab.Headscale.Start()
		newcomer := lab.Host("newcomer").Tailscaled(t, harness.NodeOptions{AuthKey: key})
		open.WaitPeer(t, "newcomer", 40*time.Second)
		expectDirect(t, open, newcomer)
		harness.Eventually(t, 40*time.Second, "no complaint is left", func() error {
			s, err := open.Status()
			if err == nil && len(s.Health) > 0 && !open.Official {
				err = fmt.Errorf("%q", s.Health)
			}
			return err
		})
		logged(t, open, mark, `(?i)control`, 6)
	})
	t.Run("traffic over a restarted relay resumes", func(t *testing.T) {
		mark := hard.Proc.Mark()
		for _, d := range lab.Derpers {
			d.Restart(t)
		}
		took := hard.WaitKernelPing(t, tsHard.IP4(t), 20*time.Second)
		tsHard.WaitKernelPing(t, hard.IP4(t), 20*time.Second)
		t.Logf("after %s", seconds(took))
		expectRelayed(t, hard, tsHard)
		expectRelayed(t, tsHard, hard)
		expectNoLoss(t, hard.Host, tsHard.IP4(t))
		logged(t, hard, mark, `(?i)relay|derp|tst[12]`, 8)
	})
	t.Run("a deleted peer is forgotten", func(t *testing.T) {
		mark := open.Proc.Mark()
		ip := tsHard.IP4(t)
		lab.Headscale.CLI(t, "nodes", "delete", "-i", fmt.Sprint(lab.Headscale.Node(t, "ts-hard").ID), "--force")
		harness.Eventually(t, 15*time.Second, "ts-hard is gone", func() error {
			s, err := open.Status()
			if err != nil {
				return err
			}
			if _, ok := s.FindPeer("ts-hard"); ok {
				return fmt.Errorf("still there")
			}
			return nil
		})
		if pongs, out, _ := open.Ping("-c", "1", "--timeout", "2s", ip); len(pongs) != 0 {
			t.Errorf("a deleted peer answers: %s", out)
		}
		logged(t, open, mark, `(?i)ts-hard|peer`, 3)
	})
	t.Run("C49 a node that control deleted registers anew or says that it must", func(t *testing.T) {
		if open.Official {
			return
		}
		id := lab.Headscale.Node(t, "ml-hard").ID
		lab.Headscale.CLI(t, "nodes", "delete", "-i", fmt.Sprint(id), "--force")
		// Headscale only falls silent towards a deleted node; a new poll gets "node not found".
		mark := hard.Proc.Mark()
		lab.Headscale.Restart(t)
		var s *harness.Status
		harness.Eventually(t, 30*time.Second, "the node notices", func() (err error) {
			if s, err = hard.Status(); err != nil {
				return err
			}
			if s.BackendState == "NeedsLogin" && (s.AuthURL != "" || len(s.Health) > 0) {
				return nil
			}
			for _, n := range lab.Headscale.Nodes(t) {
				if n.GivenName == "ml-hard" && n.ID != id {
					return nil
				}
			}
			return fmt.Errorf("state %q, health %q", s.BackendState, s.Health)
		})
		t.Logf("state %q, health %q, URL %q", s.BackendState, s.Health, s.AuthURL)
		time.Sleep(5 * time.Second)
		logged(t, hard, mark, `(?i)control|login|state|regist|key`, 12)
	})
}
