// What a restart begins with when control is away: the peers, relays and rules of the last run.
//
// SPDX-License-Identifier: MIT

package interop

import (
	"fmt"
	"os"
	"testing"
	"time"

	"microlink.test/interop/harness"
)

// waitCached waits until the node has stored peers: the state file grows by them.
func waitCached(t *testing.T, n *harness.Node) {
	t.Helper()
	if n.Official {
		return
	}
	harness.Eventually(t, 30*time.Second, n.Name+" has stored its peers", func() error {
		info, err := os.Stat(n.State)
		if err == nil && info.Size() < 520 {
			err = fmt.Errorf("the state has %d bytes", info.Size())
		}
		return err
	})
}

func TestRestartWhileControlIsAway(t *testing.T) {
	t.Parallel()
	lab := harness.New(t, harness.Options{})
	key := lab.Headscale.AuthKey(t, "--reusable")
	peer := lab.Host("ts").Tailscaled(t, harness.NodeOptions{AuthKey: key})
	hardPeer := lab.Router(harness.NATSymmetric).Host("ts-hard").Tailscaled(t, harness.NodeOptions{AuthKey: key})
	direct := lab.Host("ml").Microlink(t, harness.NodeOptions{AuthKey: key})
	relayed := lab.Router(harness.NATSymmetric).Host("ml-hard").Microlink(t, harness.NodeOptions{AuthKey: key})
	for _, n := range []*harness.Node{direct, relayed} {
		n.WaitRunning(t, 30*time.Second)
	}
	expectDirect(t, direct, peer)
	expectRelayed(t, relayed, hardPeer)
	peerIP, hardIP, directIP, relayedIP := peer.IP4(t), hardPeer.IP4(t), direct.IP4(t), relayed.IP4(t)
	expectNoLoss(t, direct.Host, peerIP)
	expectNoLoss(t, relayed.Host, hardIP)
	waitCached(t, direct)
	waitCached(t, relayed)

	const limit = 2 * time.Second
	for _, c := range []struct {
		name   string
		node   *harness.Node
		peer   *harness.Node
		ip, of string
	}{{"direct", direct, peer, peerIP, directIP}, {"relayed", relayed, hardPeer, hardIP, relayedIP}} {
		t.Run(c.name+", we speak first", func(t *testing.T) {
			lab.Headscale.Stop()
			began := time.Now()
			c.node.Restart()
			c.node.WaitKernelPing(t, c.ip, 10*time.Second)
			if took := time.Since(began); took > limit {
				t.Errorf("first answer after %s, want 2 s", seconds(took))
			} else {
				t.Logf("first answer after %s", seconds(took))
			}
		})
		t.Run(c.name+", the peer speaks first", func(t *testing.T) {
			began := time.Now()
			c.node.Restart()
			c.peer.WaitKernelPing(t, c.of, 20*time.Second)
			took := time.Since(began)
			t.Logf("first answer after %s", seconds(took))
			if took > limit {
				t.Errorf("first answer after %s, want 2 s", seconds(took))
			}
		})
	}
	t.Run("a peer removed meanwhile is gone as soon as control says so", func(t *testing.T) {
		lab.Headscale.Start()
		direct.WaitRunning(t, 40*time.Second)
		direct.WaitKernelPing(t, peerIP, 10*time.Second)
		lab.Headscale.Stop()
		direct.Proc.Kill()
		lab.Headscale.Start()
		lab.Headscale.CLI(t, "nodes", "delete", "-i", fmt.Sprint(lab.Headscale.Node(t, "ts").ID), "--force")
		os.Remove(direct.Socket)
		direct.Start()
		s := direct.WaitRunning(t, 40*time.Second)
		if _, found := s.FindPeer("ts"); found {
			t.Error("the deleted peer is still there")
		}
		if pings(peer.Host, directIP) || pings(direct.Host, peerIP) {
			t.Error("packets still flow with a deleted peer")
		}
	})
}
