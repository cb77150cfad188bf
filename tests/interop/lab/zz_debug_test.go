//go:build labdebug

package lab

import (
	"fmt"
	"os"
	"testing"
	"time"

	"microlink.test/interop/harness"
)

func TestZZLoss(t *testing.T) {
	lab := harness.New(t, harness.Options{})
	link := &harness.Link{Delay: 40 * time.Millisecond, Jitter: 10 * time.Millisecond, Loss: 0.05, Reorder: 0.05, Seed: 5}
	sites := lab.Sites(link)
	var hosts []*harness.Host
	for _, n := range []string{"o1", "o2", "m1", "m2"} {
		k := harness.Kind(os.Getenv("A"))
		if n[1] == 50 {
			k = harness.Kind(os.Getenv("B"))
		}
		hosts = append(hosts, sites.Host(k, n))
	}
	nodes := join(t, lab, hosts, func(n string) bool { return n[0] == 'o' })
	var all []*harness.Node
	for _, h := range hosts {
		all = append(all, nodes[h.Name])
	}
	waitReady(t, all)
	time.Sleep(4 * time.Second)
	var dumps []*harness.Proc
	os.MkdirAll("/tmp/w/labdbg", 0o755)
	for _, h := range hosts {
		f := "/tmp/w/labdbg/loss-" + h.Name + ".pcap"
		os.Remove(f)
		dumps = append(dumps, h.Start("dump", "tcpdump", "-i", "eth0", "-s", "128", "-U", "-w", f, "udp or tcp port 443"))
	}
	time.Sleep(time.Second)
	type m struct{ from, to string }
	ms := []m{{"o1", "o2"}, {"o1", "m2"}, {"m1", "o2"}, {"m1", "m2"}}
	var ps []*pinger
	for c, x := range ms {
		ps = append(ps, newPinger(t, nodes[x.from].Host, nodes[x.to].IP4(t), sizeOf(c)))
	}
	lines := make([][2]string, 4)
	for range envInt("SECS", 90) {
		ears := map[string]*ear{}
		for _, h := range hosts {
			ears[h.Name] = listen(t, h)
		}
		time.Sleep(time.Second)
		res := map[string]map[int]heard{}
		for _, h := range hosts {
			res[h.Name] = ears[h.Name].end()
		}
		for c, x := range ms {
			for d, n := range []string{x.to, x.from} {
				ch := "."
				if !res[n][sizeOf(c)].first.IsZero() {
					ch = "D"
				}
				lines[c][d] += ch
			}
		}
	}
	for c, x := range ms {
		s, a := ps[c].counts()
		fmt.Printf("%s>%s start %s sent %d answered %d silence %v\n there %s\n back  %s\n", x.from, x.to, ps[c].start.Format("15:04:05.000"), s, a, ps[c].silence(ps[c].start, time.Now()), lines[c][0], lines[c][1])
		ps[c].end()
	}
	for _, d := range dumps {
		d.Stop()
	}
}
