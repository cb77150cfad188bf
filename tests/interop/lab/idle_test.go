//go:build lab

// What a node sends and receives when nobody talks to it, beside the official node in the same tailnet, and whether it is
// there when somebody does.
//
// SPDX-License-Identifier: MIT

package lab

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

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
}

// TestIdle needs 5 minutes; LAB_IDLE says how many seconds are counted (180).
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
	for _, n := range subjects {
		before[n] = count(t, n.Host)
	}
	time.Sleep(time.Duration(seconds) * time.Second)
	var rows []*Idle
	for _, n := range subjects {
		c := count(t, n.Host)
		rows = append(rows, &Idle{Node: n.Name, Seconds: seconds,
			PacketsPerMinute: float64(c.packets-before[n].packets) * 60 / float64(seconds),
			BytesPerMinute:   float64(c.bytes-before[n].bytes) * 60 / float64(seconds)})
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
	save(t, "idle", rows)
	theirs, ours := rows[0], rows[1]
	if ours.BytesPerMinute > theirs.BytesPerMinute || ours.PacketsPerMinute > theirs.PacketsPerMinute {
		t.Errorf("an idle node of ours sends and receives more than the official one")
	}
	if ours.FirstTo < 0 || ours.FirstTo > 1000 {
		t.Errorf("the first ping after idling was answered after %d ms (-1: not at all)", ours.FirstTo)
	}
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
