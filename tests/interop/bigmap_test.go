// A tailnet of ten thousand peers that changes ten times a second: our daemon beside the official one, against the official
// test control server. Prints memory and times of both.
//
// SPDX-License-Identifier: MIT

package interop

import (
	"context"
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"tailscale.com/net/tsaddr"
	"tailscale.com/tailcfg"
	"tailscale.com/tstest/integration/testcontrol"
	"tailscale.com/types/key"

	"microlink.test/interop/harness"
)

const bigPeers = 10000

// bigTailnet is a test control server whose every stream begins with one message that holds all the peers, the made-up ones
// before the real ones, and goes on with deltas.
type bigTailnet struct {
	server  *testcontrol.Server
	mu      sync.Mutex
	fake    []*tailcfg.Node
	churn   time.Duration // Between deltas; 0: none.
	Streams int           // Streaming polls so far.
	Bytes   int           // Length of the longest first message, uncompressed.
}

// realistic makes a peer such as the hosted service describes it, about 1.1 KB of JSON.
func realistic(id int) *tailcfg.Node {
	addr := func(format string, args ...any) netip.AddrPort {
		return netip.MustParseAddrPort(fmt.Sprintf(format, args...))
	}
	v4 := netip.PrefixFrom(netip.AddrFrom4([4]byte{100, 80, byte(id >> 8), byte(id)}), 32)
	v6 := netip.PrefixFrom(tsaddr.Tailscale4To6(v4.Addr()), 128)
	online := id%3 == 0
	seen := time.Date(2026, 11, 1, id%24, id%60, 0, 0, time.UTC)
	return &tailcfg.Node{
		ID: tailcfg.NodeID(id), StableID: tailcfg.StableNodeID(fmt.Sprintf("n%dCNTRL", id)), Name: fmt.Sprintf("workstation-%d.lab.test.", id),
		User: tailcfg.UserID(1000 + id%700), Key: key.NewNode().Public(), KeyExpiry: time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC),
		Machine: key.NewMachine().Public(), DiscoKey: key.NewDisco().Public(), Addresses: []netip.Prefix{v4, v6},
		AllowedIPs: []netip.Prefix{v4, v6}, HomeDERP: 1 + id%2, Created: seen, LastSeen: &seen, Online: &online,
		Endpoints: []netip.AddrPort{addr("203.0.113.%d:41641", id%250), addr("192.168.%d.%d:41641", id%200, id%250),
			addr("[2001:db8:%x::%x]:41641", id, id)},
		MachineAuthorized: true, Cap: 130,
		Hostinfo: (&tailcfg.Hostinfo{OS: "linux", OSVersion: "6.1.0-18-amd64", Hostname: fmt.Sprintf("workstation-%d", id),
			Services: []tailcfg.Service{{Proto: tailcfg.PeerAPI4, Port: 41000}, {Proto: tailcfg.PeerAPI6, Port: 41001}}}).View(),
		CapMap: tailcfg.NodeCapMap{"https://tailscale.com/cap/file-sharing": nil, "funnel": nil},
		Tags:   []string{"tag:workstation", "tag:office"},
	}
}

func startBigTailnet(t *testing.T, lab *harness.Lab, peers int, churn time.Duration) (*bigTailnet, string) {
	t.Helper()
	big := &bigTailnet{churn: churn}
	s, url := lab.TestControl(t, func(s *testcontrol.Server) { s.AltMapStream = big.serve })
	big.server = s
	for id := 1; id <= peers; id++ {
		big.fake = append(big.fake, realistic(id))
	}
	return big, url
}

// real lists the nodes that registered, as a node sees them. Their ids come after those of the made-up ones.
func (b *bigTailnet) real(self key.NodePublic) (peers []*tailcfg.Node) {
	for _, n := range b.server.AllNodes() {
		if n.Key != self {
			online := true
			n.Online = &online
			n.ID += bigPeers
			peers = append(peers, n)
		}
	}
	slices.SortFunc(peers, func(a, b *tailcfg.Node) int { return int(a.ID - b.ID) })
	return peers
}

func (b *bigTailnet) serve(ctx context.Context, w testcontrol.MapStreamWriter, req *tailcfg.MapRequest) {
	if !req.Stream {
		// A node publishes itself.
		if n := b.server.Node(req.NodeKey); n != nil {
			n.Endpoints, n.DiscoKey, n.Cap = req.Endpoints, req.DiscoKey, req.Version
			if req.Hostinfo != nil {
				n.Hostinfo = req.Hostinfo.View()
				if ni := n.Hostinfo.NetInfo(); ni.Valid() && ni.PreferredDERP() != 0 {
					n.HomeDERP = ni.PreferredDERP()
				}
			}
			b.server.UpdateNode(n)
		}
		return
	}
	first, err := b.server.MapResponse(req)
	if err != nil || first == nil {
		return
	}
	now := time.Now()
	first.ControlTime = &now
	first.Node.ID += bigPeers
	// The peers that others ping have a small netmap: an official node is slow to take notice of a newcomer in a large one.
	fake, churn := b.fake, b.churn
	if strings.HasPrefix(first.Node.Hostinfo.Hostname(), "peer") {
		fake, churn = nil, 0
	}
	known := map[tailcfg.NodeID]string{}
	text := func(n *tailcfg.Node) string { j, _ := json.Marshal(n); return string(j) }
	first.Peers = slices.Clone(fake)
	for _, n := range b.real(req.NodeKey) {
		known[n.ID] = text(n)
		first.Peers = append(first.Peers, n)
	}
	size, _ := json.Marshal(first)
	b.mu.Lock()
	b.Streams++
	b.Bytes = max(b.Bytes, len(size))
	b.mu.Unlock()
	if w.SendMapMessage(first) != nil {
		return
	}
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for n := 0; ; n++ {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		var m tailcfg.MapResponse
		for _, peer := range b.real(req.NodeKey) {
			if known[peer.ID] != text(peer) {
				known[peer.ID] = text(peer)
				m.PeersChanged = append(m.PeersChanged, peer)
			}
		}
		if churn > 0 {
			// One peer moves, goes, comes back or is replaced, ten times a second.
			id := tailcfg.NodeID(1 + n*7919%len(fake))
			switch n % 4 {
			case 0:
				m.PeersChangedPatch = []*tailcfg.PeerChange{{NodeID: id, DERPRegion: 1 + n%2,
					Endpoints: []netip.AddrPort{netip.AddrPortFrom(netip.AddrFrom4([4]byte{198, 51, 100, byte(n)}), 41641)}}}
			case 1:
				m.OnlineChange = map[tailcfg.NodeID]bool{id: n%8 == 1}
			case 2:
				m.PeersRemoved = []tailcfg.NodeID{id}
			case 3:
				id = tailcfg.NodeID(1 + (n-1)*7919%len(fake))
				m.PeersChanged = append(m.PeersChanged, fake[id-1])
			}
		}
		if len(m.PeersChanged)+len(m.PeersRemoved)+len(m.PeersChangedPatch)+len(m.OnlineChange) == 0 {
			continue
		}
		if w.SendMapMessage(&m) != nil {
			return
		}
	}
}

// peakRSS is VmHWM of the process that carries a node, in bytes.
func peakRSS(t *testing.T, n *harness.Node) int {
	t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", n.Proc.Pid()))
	if err != nil {
		t.Fatal(err)
	}
	m := regexp.MustCompile(`VmHWM:\s+(\d+) kB`).FindSubmatch(status)
	kb, _ := strconv.Atoi(string(m[1]))
	return kb << 10
}

func mb(bytes int) string { return fmt.Sprintf("%.1f MB", float64(bytes)/(1<<20)) }

func TestTenThousandPeers(t *testing.T) {
	lab := harness.New(t, harness.Options{})
	big, url := startBigTailnet(t, lab, bigPeers, 100*time.Millisecond)
	peer := lab.Host("peer").Tailscaled(t, harness.NodeOptions{URL: url, AuthKey: "any"})
	peer.WaitRunning(t, 60*time.Second)

	var took [2]time.Duration
	var rss [2]int
	for i, start := range []func() *harness.Node{
		func() *harness.Node {
			return lab.Host("ts").Tailscaled(t, harness.NodeOptions{URL: url, AuthKey: "any"})
		},
		func() *harness.Node {
			return lab.Host("ml").Microlink(t, harness.NodeOptions{URL: url, AuthKey: "any"})
		},
	} {
		began := time.Now()
		n := start()
		n.WaitRunning(t, 60*time.Second)
		took[i] = time.Since(began)
		// Under churn: until the peer answers, and then for ten seconds.
		n.WaitPeer(t, "peer", 20*time.Second)
		n.WaitKernelPing(t, peer.IP4(t), 20*time.Second)
		sent, received := n.Host.KernelPing(t, peer.IP4(t), 100, 100*time.Millisecond)
		if received < sent {
			t.Errorf("%s: %d of %d pings answered under churn", n.Name, received, sent)
		}
		rss[i] = peakRSS(t, n)
		if s, err := n.Status(); err != nil || (i == 1 && len(s.Peer) < bigPeers) {
			t.Errorf("%s: %v, %d peers", n.Name, err, len(s.Peer))
		}
		n.Proc.Stop()
	}
	t.Logf("first message: %s with %d peers, %d streams", mb(big.Bytes), bigPeers, big.Streams)
	t.Logf("time to Running: microlink %s, tailscaled %s", seconds(took[1]), seconds(took[0]))
	t.Logf("peak RSS: microlink %s, tailscaled %s", mb(rss[1]), mb(rss[0]))
	if rss[1] > 12<<20 {
		t.Errorf("peak RSS is %s, want 12 MB", mb(rss[1]))
	}
	if took[1] > took[0] {
		t.Errorf("Running after %s, tailscaled after %s", seconds(took[1]), seconds(took[0]))
	}
}

// With a table of 16 the peers that matter must be among them: here the last two of ten thousand and two.
func TestC43_TenThousandPeersAndRoomForSixteen(t *testing.T) {
	lab := harness.New(t, harness.Options{})
	_, url := startBigTailnet(t, lab, bigPeers, 100*time.Millisecond)
	peer := lab.Host("peer").Tailscaled(t, harness.NodeOptions{URL: url, AuthKey: "any"})
	peer.WaitRunning(t, 60*time.Second)
	node := lab.Host("ml").Microlink(t, harness.NodeOptions{URL: url, AuthKey: "any", Args: []string{"--max-peers", "16"}})
	node.WaitRunning(t, 60*time.Second)
	t.Run("a peer outside the table is reached", func(t *testing.T) {
		took := node.WaitKernelPing(t, peer.IP4(t), 20*time.Second)
		t.Logf("after %s", seconds(took))
		expectNoLoss(t, node.Host, peer.IP4(t))
	})
	t.Run("a peer outside the table reaches us", func(t *testing.T) {
		other := lab.Host("peer2").Tailscaled(t, harness.NodeOptions{URL: url, AuthKey: "any"})
		other.WaitRunning(t, 60*time.Second)
		other.WaitPeer(t, "ml", 20*time.Second)
		took := other.WaitKernelPing(t, node.IP4(t), 40*time.Second)
		t.Logf("after %s", seconds(took))
	})
	if s, err := node.Status(); err != nil || len(s.Peer) > 16 || !strings.Contains(strings.Join(s.Health, " "), "max_peers") {
		t.Errorf("%v: %d peers, health %q", err, len(s.Peer), s.Health)
	}
	t.Logf("peak RSS: %s", mb(peakRSS(t, node)))
}
