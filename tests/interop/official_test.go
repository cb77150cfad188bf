// The harness proves itself: two official nodes behave in the lab as they do on real networks. When one of these fails, no
// result of the other tests means anything.
//
// SPDX-License-Identifier: MIT

package interop

import (
	"strings"
	"testing"
	"time"

	"microlink.test/interop/harness"
)

func TestOfficialNodesInTheLab(t *testing.T) {
	t.Parallel()
	lab := harness.New(t, harness.Options{})
	key := lab.Headscale.AuthKey(t, "--reusable")
	start := func(h *harness.Host) *harness.Node {
		return h.Tailscaled(t, harness.NodeOptions{AuthKey: key})
	}
	one := start(lab.Host("one"))
	two := start(lab.Host("two"))
	easy := start(lab.Router(harness.NATEasy).Host("easy"))
	hard := start(lab.Router(harness.NATSymmetric).Host("hard"))
	harder := start(lab.Router(harness.NATSymmetric).Host("harder"))
	blocked := start(lab.Router(harness.NATUDPBlocked).Host("blocked"))

	for _, c := range []struct {
		name     string
		from, to *harness.Node
		direct   bool
	}{
		{"one network is direct", one, two, true},
		{"an easy NAT is direct from outside", one, easy, true},
		{"an easy NAT is direct from inside", easy, two, true},
		{"two symmetric NATs are relayed", hard, harder, false},
		{"blocked UDP is relayed", blocked, one, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.from.WaitPeer(t, c.to.Name, 20*time.Second)
			began := time.Now()
			pongs, out, _ := c.from.Ping("-c", "5", "--timeout", "3s", c.to.IP4(t))
			if len(pongs) == 0 {
				t.Fatalf("no pong in %q", out)
			}
			last := pongs[len(pongs)-1]
			t.Logf("%d pongs in %v, last via %s", len(pongs), time.Since(began).Round(time.Millisecond), last.Via)
			if last.Direct() != c.direct {
				t.Fatalf("direct is %v, want %v:\n%s", last.Direct(), c.direct, out)
			}
			if !c.direct && !strings.HasPrefix(last.Via, "DERP(tst") {
				t.Fatalf("via %q", last.Via)
			}
		})
	}
}
