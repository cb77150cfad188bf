// Every pair of kinds of site, begun from either side: does the pair become direct, and how long after its first packet? For
// each two kinds there are four pairs at once: official-official (the reference), the two mixed ones, and ours-ours.
//
// A try restarts all nodes and makes all routers forget, then pairs up the kinds in as many rounds as there are kinds, each
// time another kind with another; no two nodes meet twice in a try. A path counts as direct from the moment data has come
// over UDP at both ends; that it stays so is looked at at the end of the round.
//
// SPDX-License-Identifier: MIT

package lab

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"microlink.test/interop/harness"
)

// Pair is one row of the results. Times are in ms from the first request.
type Pair struct {
	From, To string // Kinds.
	By       string // "oo", "om", "mo", "mm": who begins and who answers, official or microlink.
	Tries    int
	Direct   []int // One for each try that became direct and stayed so.
	Lost     int   // Tries that were direct but did not stay so.
	First    []int // The first answer, over whatever path, of each try that had one.
}

// Matrix is what the matrix test measured.
type Matrix struct {
	Kinds  []string
	Tries  int
	Link   string
	Window int // Seconds each pair was watched.
	Pairs  []*Pair
}

var combinations = []string{"oo", "om", "mo", "mm"}

// sizeOf is the size of the pings of a combination; multiples of 16, since WireGuard pads to that.
func sizeOf(c int) int { return 512 + 64*c }

func runMatrix(t *testing.T, kinds []harness.Kind, tries int, window time.Duration, link *harness.Link) *Matrix {
	lab := harness.New(t, harness.Options{})
	sites := lab.Sites(link)
	var hosts []*harness.Host
	for _, kind := range kinds {
		for _, who := range []string{"o1", "o2", "m1", "m2"} {
			hosts = append(hosts, sites.Host(kind, string(kind)+"-"+who))
		}
	}
	nodes := join(t, lab, hosts, func(name string) bool { return strings.Contains(name, "-o") })
	var all []*harness.Node
	ips := map[string]string{}
	for _, h := range hosts {
		all = append(all, nodes[h.Name])
	}
	waitReady(t, all)
	for _, n := range all {
		ips[n.Name] = n.IP4(t)
	}
	m := &Matrix{Tries: tries, Link: link.String(), Window: int(window.Seconds())}
	rows := map[string]*Pair{}
	for _, a := range kinds {
		m.Kinds = append(m.Kinds, string(a))
		for _, b := range kinds {
			for _, by := range combinations {
				p := &Pair{From: string(a), To: string(b), By: by}
				m.Pairs = append(m.Pairs, p)
				rows[p.From+p.To+by] = p
			}
		}
	}
	for try := range tries {
		began := time.Now()
		restart(t, sites, all)
		waitReady(t, all)
		// Endpoints and homes are on their way to control and from there to all.
		time.Sleep(4 * time.Second)
		for shift := range kinds {
			ears := map[string]*ear{}
			for _, h := range hosts {
				ears[h.Name] = listen(t, h)
			}
			type meeting struct {
				row      *Pair
				from, to string
				size     int
				ping     *pinger
			}
			var meetings []*meeting
			for i, a := range kinds {
				b := kinds[(i+shift)%len(kinds)]
				for c, by := range combinations {
					x := &meeting{row: rows[string(a)+string(b)+by], size: sizeOf(c)}
					x.from, x.to = string(a)+"-"+by[:1]+"1", string(b)+"-"+by[1:]+"2"
					x.ping = newPinger(t, nodes[x.from].Host, ips[x.to], x.size)
					meetings = append(meetings, x)
				}
			}
			time.Sleep(window)
			ended := time.Now()
			for _, x := range meetings {
				x.ping.end()
			}
			heard := map[string]map[int]heard{}
			for name, e := range ears {
				heard[name] = e.end()
			}
			for _, x := range meetings {
				x.row.Tries++
				if first := x.ping.first(); first >= 0 {
					x.row.First = append(x.row.First, int(first.Milliseconds()))
				}
				there, back := heard[x.to][x.size], heard[x.from][x.size]
				if there.first.IsZero() || back.first.IsZero() {
					continue
				}
				both := there.first
				if back.first.After(both) {
					both = back.first
				}
				if ended.Sub(there.last) > time.Second || ended.Sub(back.last) > time.Second {
					x.row.Lost++
					t.Logf("%s to %s: direct after %v, but not at the end", x.from, x.to, both.Sub(x.ping.start))
					continue
				}
				x.row.Direct = append(x.row.Direct, int(both.Sub(x.ping.start).Milliseconds()))
			}
		}
		t.Logf("try %d of %d took %v", try+1, tries, time.Since(began).Round(time.Second))
	}
	m.print()
	return m
}

// print prints a line for each two kinds: the median time until direct, or how many tries were direct when not all were.
func (m *Matrix) print() {
	fmt.Printf("%d tries, %s; ms from the first packet to a direct path, median (- is relayed, x nothing came)\n", m.Tries, m.Link)
	fmt.Printf("%-10s%-10s%12s%12s%12s%12s\n", "from", "to", "official", "off->ours", "ours->off", "ours-ours")
	for i := 0; i < len(m.Pairs); i += len(combinations) {
		fmt.Printf("%-10s%-10s", m.Pairs[i].From, m.Pairs[i].To)
		for _, p := range m.Pairs[i : i+len(combinations)] {
			fmt.Printf("%12s", p.cell())
		}
		fmt.Println()
	}
}

func (p *Pair) cell() string {
	switch {
	case len(p.First) == 0:
		return "x"
	case len(p.Direct) == 0:
		return "-"
	case len(p.Direct) < p.Tries:
		return fmt.Sprintf("%d (%d/%d)", median(p.Direct), len(p.Direct), p.Tries)
	}
	return fmt.Sprint(median(p.Direct))
}

// check requires of every pair with one of ours: it is direct wherever official-official is, and no later within slack (0
// for any time), and every pair has an answer.
func (m *Matrix) check(t *testing.T, slack time.Duration) {
	for i := 0; i < len(m.Pairs); i += len(combinations) {
		official := m.Pairs[i]
		for _, p := range m.Pairs[i : i+len(combinations)] {
			name := fmt.Sprintf("%s to %s (%s)", p.From, p.To, p.By)
			if len(p.First) < p.Tries {
				t.Errorf("%s: no answer at all in %d of %d tries", name, p.Tries-len(p.First), p.Tries)
			}
			if p == official || len(official.Direct) < official.Tries {
				continue
			}
			if len(p.Direct) < p.Tries {
				t.Errorf("%s: direct in %d of %d tries, official-official in all", name, len(p.Direct), p.Tries)
				continue
			}
			ours, theirs := median(p.Direct), median(official.Direct)
			if slack > 0 && ours > theirs+int(slack.Milliseconds()) {
				t.Errorf("%s: direct after %d ms, official-official after %d ms", name, ours, theirs)
			}
		}
	}
}

// The kinds that differ most, once. The times are printed, not compared: one try says little about them.
func TestQuickMatrix(t *testing.T) {
	kinds := []harness.Kind{harness.KindNone, harness.KindEasy, harness.KindHard, harness.KindBlocked}
	runMatrix(t, kinds, 1, 10*time.Second, nil).check(t, 0)
}
