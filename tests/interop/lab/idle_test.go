//go:build lab

// What a node sends and receives when nobody talks to it, beside the official node in the same tailnet, and whether it is
// there when somebody does.
//
// SPDX-License-Identifier: MIT

package lab

import (
	"encoding/binary"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"microlink.test/interop/harness"
)

// Idle is the traffic of one node on its underlay interface, both directions, and the first pings after.
type Idle struct {
	Node             string
	Seconds          int
	PacketsPerMinute float64
	BytesPerMinute   float64
	FirstTo          int // ms from the first request to the node until its answer; -1 when that one was not answered.
	FirstFrom        int // The same for a request of the node.
	Kinds            map[string]*Rate
}

// Rate is what one kind of traffic is a minute.
type Rate struct{ Packets, Bytes float64 }

// TestIdle needs 5 minutes; LAB_IDLE says how many seconds are counted (180). More than 300 are a result of their own: tailscaled
// measures and asks routers less often the longer it is idle.
func TestIdle(t *testing.T) {
	t.Parallel() // With TestSilence: both mostly wait.
	lab := harness.New(t, harness.Options{})
	// Behind a router of its own each, so that neither is charged for what the other says to the whole network.
	hosts := []*harness.Host{lab.Router(harness.NATEasy).Host("ts-idle"), lab.Router(harness.NATEasy).Host("ml-idle"),
		lab.Host("peer")}
	nodes := join(t, lab, hosts, func(name string) bool { return name != "ml-idle" })
	peer := nodes["peer"]
	waitReady(t, []*harness.Node{nodes["ts-idle"], nodes["ml-idle"], peer})
	subjects := []*harness.Node{nodes["ts-idle"], nodes["ml-idle"]}
	first := func(from, to *harness.Node) int {
		p := newPinger(t, from.Host, to.IP4(t), sizeOf(0))
		time.Sleep(3 * time.Second)
		p.end()
		if at, ok := p.answered[1]; ok {
			return int(at.Sub(p.start).Milliseconds())
		}
		return -1
	}
	for _, n := range subjects {
		first(n, peer)
	}
	// The official node lets go of a path 45 s after the last data.
	time.Sleep(60 * time.Second)
	seconds := envInt("LAB_IDLE", 180)
	before := map[*harness.Node]counters{}
	kinds := map[*harness.Node]*census{}
	for _, n := range subjects {
		before[n] = count(t, n.Host)
		kinds[n] = startCensus(t, n.Host)
	}
	time.Sleep(time.Duration(seconds) * time.Second)
	var rows []*Idle
	for _, n := range subjects {
		c := count(t, n.Host)
		rows = append(rows, &Idle{Node: n.Name, Seconds: seconds,
			PacketsPerMinute: float64(c.packets-before[n].packets) * 60 / float64(seconds),
			BytesPerMinute:   float64(c.bytes-before[n].bytes) * 60 / float64(seconds), Kinds: kinds[n].end(seconds)})
	}
	for i, n := range subjects {
		rows[i].FirstTo = first(peer, n)
		// Nothing is left of the session and the path of the pings before this one when it is the first of a new process.
		n.Restart()
		waitReady(t, []*harness.Node{nodes["ts-idle"], nodes["ml-idle"], peer})
		rows[i].FirstFrom = first(n, peer)
		fmt.Printf("%s idle: %.1f packets and %.0f bytes a minute; first ping to it %d ms, first of a new process %d ms\n", n.Name,
			rows[i].PacketsPerMinute, rows[i].BytesPerMinute, rows[i].FirstTo, rows[i].FirstFrom)
	}
	if seconds > 300 {
		save(t, "idle-long", rows)
	} else {
		save(t, "idle", rows)
	}
	theirs, ours := rows[0], rows[1]
	if ours.BytesPerMinute > theirs.BytesPerMinute || ours.PacketsPerMinute > theirs.PacketsPerMinute {
		t.Errorf("an idle node of ours sends and receives more than the official one")
	}
	if ours.FirstTo < 0 || ours.FirstTo > 1000 {
		t.Errorf("the first ping after idling was answered after %d ms (-1: not at all)", ours.FirstTo)
	}
}

// census counts a link's packets by kind.
type census struct {
	fd         int
	stop, done chan struct{}
	kinds      map[string]*Rate
}

func startCensus(t *testing.T, h *harness.Host) *census {
	c := &census{fd: openLink(t, h), stop: make(chan struct{}), done: make(chan struct{}), kinds: map[string]*Rate{}}
	go c.run()
	return c
}

func (c *census) run() {
	defer close(c.done)
	defer unix.Close(c.fd)
	buf := make([]byte, 65536)
	for {
		select {
		case <-c.stop:
			return
		default:
		}
		n, from, err := unix.Recvfrom(c.fd, buf, 0)
		ll, ok := from.(*unix.SockaddrLinklayer)
		if err != nil || !ok {
			continue
		}
		kind := kindOf(buf[:n], ll.Pkttype == unix.PACKET_OUTGOING, ll.Protocol)
		if c.kinds[kind] == nil {
			c.kinds[kind] = &Rate{}
		}
		c.kinds[kind].Packets++
		c.kinds[kind].Bytes += float64(n + 14)
	}
}

func (c *census) end(seconds int) map[string]*Rate {
	close(c.stop)
	<-c.done
	for _, r := range c.kinds {
		r.Packets *= 60 / float64(seconds)
		r.Bytes *= 60 / float64(seconds)
	}
	return c.kinds
}

// kindOf names what a packet is, by what the lab's servers and the nodes use. A TCP segment with a byte of data at most is
// empty: keepalive probes may carry one.
func kindOf(p []byte, isOut bool, etherType uint16) string {
	if etherType == unix.ETH_P_ARP>>8|unix.ETH_P_ARP&0xff<<8 {
		return "ARP"
	}
	if len(p) < 20 || p[0]>>4 != 4 {
		return "other"
	}
	head := int(p[0]&15) * 4
	all := min(int(binary.BigEndian.Uint16(p[2:])), len(p))
	if p[9] == unix.IPPROTO_ICMP {
		return "ICMP"
	}
	if head+20 > all && p[9] != unix.IPPROTO_UDP || head+8 > all {
		return "other"
	}
	far := binary.BigEndian.Uint16(p[head:])
	if isOut {
		far = binary.BigEndian.Uint16(p[head+2:])
	}
	who := map[uint16]string{8080: "control", 443: "the relay"}[far]
	switch {
	case p[9] == unix.IPPROTO_TCP && who != "":
		what := "data"
		if all-head-int(p[head+12]>>4)*4 <= 1 {
			what = "no data"
		}
		if isOut {
			return "to " + who + ", " + what
		}
		return "from " + who + ", " + what
	case p[9] == unix.IPPROTO_UDP && (far == 1900 || far == 5350 || far == 5351):
		return "port mapping"
	case p[9] == unix.IPPROTO_UDP && far == 3478:
		return "STUN"
	case p[9] == unix.IPPROTO_UDP && string(p[head+8:min(head+14, all)]) == "TS\xf0\x9f\x92\xac":
		return "DISCO"
	case p[9] == unix.IPPROTO_UDP && far == harness.NodePort:
		return "WireGuard"
	}
	return "other"
}

type counters struct{ packets, bytes int64 }

// count reads the counters of the host's link, both directions.
func count(t *testing.T, h *harness.Host) (c counters) {
	t.Helper()
	// /sys shows the namespace of the process that reads it only when it was mounted there; ip netns exec mounts it.
	out := strings.Fields(h.Must(t, "sh", "-ec", "cd /sys/class/net/eth0/statistics; cat rx_packets tx_packets rx_bytes tx_bytes"))
	for i, text := range out {
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		if i < 2 {
			c.packets += n
		} else {
			c.bytes += n
		}
	}
	return c
}
