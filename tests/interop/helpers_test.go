// What the acceptance tests share.
//
// SPDX-License-Identifier: MIT

package interop

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"microlink.test/interop/harness"
)

// meet waits until each of two nodes knows the other and its home.
func meet(t *testing.T, a, b *harness.Node) {
	t.Helper()
	a.WaitPeer(t, b.Name, 20*time.Second)
	b.WaitPeer(t, a.Name, 20*time.Second)
}

// expectDirect requires that ping finds a direct path within 10 pings.
func expectDirect(t *testing.T, from, to *harness.Node) {
	t.Helper()
	meet(t, from, to)
	pongs, out, err := from.Ping("-c", "10", "--timeout", "3s", to.IP4(t))
	if err != nil || len(pongs) == 0 {
		t.Errorf("%s to %s: %v\n%s", from.Name, to.Name, err, out)
		return
	}
	last := pongs[len(pongs)-1]
	if !last.Direct() || !strings.Contains(last.Via, ":") {
		t.Errorf("%s to %s: not direct:\n%s", from.Name, to.Name, out)
		return
	}
	t.Logf("%s to %s: direct after %d pongs, via %s", from.Name, to.Name, len(pongs), last.Via)
}

// expectRelayed requires that every one of three pings is answered over a relay.
func expectRelayed(t *testing.T, from, to *harness.Node) {
	t.Helper()
	meet(t, from, to)
	pongs, out, _ := from.Ping("-c", "3", "--timeout", "3s", "--until-direct=false", to.IP4(t))
	if len(pongs) != 3 {
		t.Errorf("%s to %s: %d pongs of 3:\n%s", from.Name, to.Name, len(pongs), out)
	}
	for _, p := range pongs {
		if !strings.HasPrefix(p.Via, "DERP(tst") {
			t.Errorf("%s to %s: via %s:\n%s", from.Name, to.Name, p.Via, out)
			return
		}
	}
	if len(pongs) > 0 {
		t.Logf("%s to %s: via %s", from.Name, to.Name, pongs[0].Via)
	}
}

// expectPong requires an answer to one ping of a kind ("--tsmp", "--icmp").
func expectPong(t *testing.T, from, to *harness.Node, kind string) {
	t.Helper()
	meet(t, from, to)
	pongs, out, err := from.Ping("-c", "1", "--timeout", "5s", kind, to.IP4(t))
	if err != nil || len(pongs) == 0 {
		t.Errorf("%s to %s: ping %s: %v\n%s", from.Name, to.Name, kind, err, out)
		return
	}
	if want := strings.ToUpper(strings.TrimPrefix(kind, "--")); pongs[0].Via != want {
		t.Errorf("%s to %s: via %q, the official tool prints %q", from.Name, to.Name, pongs[0].Via, want)
	}
	t.Logf("%s to %s: %s", from.Name, to.Name, strings.TrimSpace(out))
}

// expectNoLoss requires an answer to each of 200 requests of ping(8) at 10 ms.
func expectNoLoss(t *testing.T, from *harness.Host, ip string) {
	t.Helper()
	sent, received := from.KernelPing(t, ip, 200, 10*time.Millisecond)
	if sent != 200 || received != sent {
		t.Errorf("%s to %s: %d of %d answered", from.Name, ip, received, sent)
	}
}

// expectFile requires that a file of 1 MB arrives unchanged both ways.
func expectFile(t *testing.T, a, b *harness.Node) {
	t.Helper()
	const size = 1 << 20
	there := harness.TransferTCP(t, a, b, size, time.Minute)
	back := harness.TransferTCP(t, b, a, size, time.Minute)
	t.Logf("%s to %s: 1 MB in %v, back in %v", a.Name, b.Name, there.Round(time.Millisecond), back.Round(time.Millisecond))
}

// pingAtOnce has all peers ping a node through its tunnel at the same moment, with so many tries each.
func pingAtOnce(t *testing.T, peers []*harness.Node, name, ip, tries string) {
	t.Helper()
	var all sync.WaitGroup
	for _, p := range peers {
		all.Go(func() {
			p.WaitPeer(t, name, 30*time.Second)
			for _, how := range []string{"--tsmp", "--icmp"} {
				if pongs, out, err := p.Ping("-c", tries, "--timeout", "3s", how, ip); len(pongs) == 0 {
					t.Errorf("%s: ping -c %s %s: %v\n%s", p.Name, tries, how, err, out)
				}
			}
		})
	}
	all.Wait()
}

// seconds is how durations are printed here.
func seconds(d time.Duration) string { return fmt.Sprintf("%.2f s", d.Seconds()) }

// A line that its program has written in part is none yet: a URL would be cut.
func TestWaitLogTakesWholeLines(t *testing.T) {
	p := &harness.Proc{Name: "half a line", Log: filepath.Join(t.TempDir(), "log")}
	write := func(text string) {
		if err := os.WriteFile(p.Log, []byte(text), 0o600); err != nil {
			t.Error(err)
		}
	}
	write("visit http://10.77")
	time.AfterFunc(200*time.Millisecond, func() { write("visit http://10.77.0.10/register/x\n") })
	if line := p.WaitLog(t, 0, "visit http", 5*time.Second); line != "visit http://10.77.0.10/register/x" {
		t.Errorf("%q", line)
	}
}
