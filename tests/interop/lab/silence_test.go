// Changes under running traffic: how long does a ping of ten a second stay without answers? Each situation has an official node
// and ours in it at the same time, and each event meets both at once. Both ping one official peer: what it waits for of its own
// accord, such as before it dials a lost relay again, it waits for in both.
//
// SPDX-License-Identifier: MIT

package lab

import (
	"fmt"
	"os"
	"regexp"
	"slices"
	"testing"
	"time"

	"microlink.test/interop/harness"
)

// Silence is one row of the results: the longest silences, in ms, one a round.
type Silence struct {
	Event          string
	Official, Ours []int
	// After the event, data came over UDP again at the node itself: ms, one a round; for events after which it should.
	OfficialDirect, OursDirect []int `json:",omitempty"`
}

const watched = 15 * time.Second // After each event.

// resolution is by how much one silence may seem longer than another that is not: an interval between pings, and what a process
// that is scheduled late costs.
const resolution = 2 * pingInterval

// couple is a node and the official peer it talks to.
type couple struct {
	node, peer *harness.Node
	ping       *pinger
}

func (c *couple) begin(t *testing.T, size int) {
	c.ping = newPinger(t, c.node.Host, c.peer.IP4(t), size)
}

// TestSilence needs 100 s a round; LAB_ROUNDS says how many (1), LAB_EVENTS, a regular expression, which of the events.
func TestSilence(t *testing.T) {
	t.Parallel() // With TestIdle: both mostly wait.
	lab := harness.New(t, harness.Options{})
	var hosts []*harness.Host
	host := func(h *harness.Host) *harness.Host {
		hosts = append(hosts, h)
		return h
	}
	host(lab.Host("ts-open"))
	host(lab.Host("ml-open"))
	tsRouter, mlRouter := lab.Router(harness.NATEasy), lab.Router(harness.NATEasy)
	host(tsRouter.Host("ts-nat"))
	host(mlRouter.Host("ml-nat"))
	host(lab.Router(harness.NATSymmetric).Host("ts-hard"))
	host(lab.Router(harness.NATSymmetric).Host("ml-hard"))
	host(lab.Host("peer-of-open"))
	host(lab.Host("peer-of-nat"))
	host(lab.Router(harness.NATSymmetric).Host("peer-of-hard"))
	nodes := join(t, lab, hosts, func(name string) bool { return name[:2] != "ml" })
	var all []*harness.Node
	for _, h := range hosts {
		all = append(all, nodes[h.Name])
	}
	waitReady(t, all)
	type both struct{ ts, ml *couple }
	couples := func(kind string) both {
		peer := nodes["peer-of-"+kind]
		return both{&couple{node: nodes["ts-"+kind], peer: peer}, &couple{node: nodes["ml-"+kind], peer: peer}}
	}
	open, nat, hard := couples("open"), couples("nat"), couples("hard")
	for _, b := range []both{open, nat, hard} {
		b.ts.begin(t, sizeOf(0))
		b.ml.begin(t, sizeOf(0))
		defer b.ts.ping.end()
		defer b.ml.ping.end()
	}
	type event struct {
		name string
		both
	}
	rows := map[string]*Silence{}
	var order []*Silence
	// watch runs an event and notes the silence after it for each of the named couples.
	wanted := regexp.MustCompile(os.Getenv("LAB_EVENTS"))
	watch := func(happen func(), events []event, direct bool) {
		if !slices.ContainsFunc(events, func(e event) bool { return wanted.MatchString(e.name) }) {
			return
		}
		began := time.Now()
		ears := map[*couple]*ear{}
		happen()
		for _, b := range events {
			for _, c := range []*couple{b.ts, b.ml} {
				ears[c] = listen(t, c.node.Host)
			}
		}
		time.Sleep(watched)
		ended := time.Now()
		for _, b := range events {
			row := rows[b.name]
			if row == nil {
				row = &Silence{Event: b.name}
				rows[b.name] = row
				order = append(order, row)
			}
			row.Official = append(row.Official, int(b.ts.ping.silence(began, ended).Milliseconds()))
			row.Ours = append(row.Ours, int(b.ml.ping.silence(began, ended).Milliseconds()))
			for _, c := range []*couple{b.ts, b.ml} {
				first, after := ears[c].end()[sizeOf(0)].first, -1
				if !first.IsZero() {
					after = int(first.Sub(began).Milliseconds())
				}
				if !direct {
					continue
				} else if c == b.ts {
					row.OfficialDirect = append(row.OfficialDirect, after)
				} else {
					row.OursDirect = append(row.OursDirect, after)
				}
			}
		}
	}
	for range envInt("LAB_ROUNDS", 1) {
		time.Sleep(10 * time.Second) // All that can be direct is.
		var unblockTS, unblockML func()
		watch(func() {
			unblockTS, unblockML = tsRouter.BlockUDP(t), mlRouter.BlockUDP(t)
		}, []event{{"UDP is blocked", nat}}, false)
		watch(func() {
			unblockTS()
			unblockML()
		}, []event{{"UDP is back", nat}}, true)
		watch(func() {
			tsRouter.LoseMappings(t)
			mlRouter.LoseMappings(t)
		}, []event{{"the NAT lost its mappings", nat}}, true)
		watch(func() {
			open.ts.node.Readdress(t)
			open.ml.node.Readdress(t)
		}, []event{{"the node's address changed", open}}, true)
		watch(func() {
			for _, d := range lab.Derpers {
				d.Stop()
			}
			time.Sleep(time.Second)
			for _, d := range lab.Derpers {
				d.Start()
			}
		}, []event{{"the relays restarted, 1 s down", hard}}, false)
		watch(func() {
			lab.Headscale.Stop()
			time.Sleep(5 * time.Second)
			lab.Headscale.Start()
		}, []event{{"control was down for 5 s (direct)", open}, {"control was down for 5 s (relayed)", hard}}, false)
	}
	fmt.Printf("%-40s%20s%20s   direct again: official, ours (ms)\n", "longest silence (ms) after", "official", "ours")
	for _, row := range order {
		fmt.Printf("%-40s%20s%20s   %v %v\n", row.Event, fmt.Sprint(row.Official), fmt.Sprint(row.Ours), row.OfficialDirect,
			row.OursDirect)
		for round, ours := range row.Ours {
			if theirs := row.Official[round]; ours > theirs+int(resolution.Milliseconds()) {
				t.Errorf("%s, round %d: silence of %d ms, beside %d ms of the official node", row.Event, round+1, ours, theirs)
			}
		}
	}
	save(t, "silence", order)
}
