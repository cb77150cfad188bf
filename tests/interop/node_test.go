// One tailnet with nodes in every situation: official and ours, with a TUN device and without, on the open network, behind
// NATs, without UDP. Each pair that matters is pinged in both directions with both command line tools, and carries files.
//
// SPDX-License-Identifier: MIT

package interop

import (
	"crypto/sha256"
	"fmt"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"microlink.test/interop/harness"
)

func TestNodesOfOneTailnet(t *testing.T) {
	lab := harness.New(t, harness.Options{})
	key := lab.Headscale.AuthKey(t, "--reusable")
	official := func(h *harness.Host) *harness.Node {
		return h.Tailscaled(t, harness.NodeOptions{AuthKey: key})
	}
	ours := func(h *harness.Host, userspace bool) *harness.Node {
		return h.Microlink(t, harness.NodeOptions{AuthKey: key, Userspace: userspace})
	}
	mlOpen := ours(lab.Host("ml-open"), false)
	mlUser := ours(lab.Host("ml-user"), true)
	mlEasy := ours(lab.Router(harness.NATEasy).Host("ml-easy"), false)
	hardRouter := lab.Router(harness.NATSymmetric)
	mlHard := ours(hardRouter.Host("ml-hard"), false)
	mlHardUser := ours(lab.Router(harness.NATSymmetric).Host("ml-hard-user"), true)
	mlBlocked := ours(lab.Router(harness.NATUDPBlocked).Host("ml-blocked"), false)
	all := []*harness.Node{mlOpen, mlUser, mlEasy, mlHard, mlHardUser, mlBlocked}
	for _, n := range all {
		n.WaitRunning(t, 30*time.Second)
	}
	tsOpen := official(lab.Host("ts-open"))
	tsEasy := official(lab.Router(harness.NATEasy).Host("ts-easy"))
	tsHard := official(lab.Router(harness.NATSymmetric).Host("ts-hard"))

	t.Run("an official node sees every one of ours online", func(t *testing.T) {
		for _, n := range all {
			harness.Eventually(t, 20*time.Second, n.Name+" is online", func() error {
				s, err := tsOpen.Status()
				if err != nil {
					return err
				}
				if p, ok := s.FindPeer(n.Name); !ok || !p.Online || len(p.TailscaleIPs) != 2 {
					return fmt.Errorf("peer is %+v", p)
				}
				return nil
			})
		}
	})
	t.Run("C32 D32 every node reports an endpoint and has a home that an official peer sees", func(t *testing.T) {
		for _, n := range all {
			harness.Eventually(t, 20*time.Second, n.Name+" has a home", func() error {
				s, err := n.Status()
				if err == nil && s.Self.Relay == "" {
					err = fmt.Errorf("no home")
				}
				return err
			})
			harness.Eventually(t, 20*time.Second, n.Name+"'s home is known to others", func() error {
				s, err := tsOpen.Status()
				if err != nil {
					return err
				}
				if p, _ := s.FindPeer(n.Name); p.Relay == "" {
					return fmt.Errorf("no home")
				}
				return nil
			})
		}
	})

	// Pairs on one network, or behind NATs that keep their mapping, in both directions.
	t.Run("ping on one network is direct", func(t *testing.T) {
		expectDirect(t, tsOpen, mlOpen)
		expectDirect(t, tsOpen, mlUser)
		expectDirect(t, mlOpen, mlUser)
	})
	t.Run("ping on one network is direct when ours begins", func(t *testing.T) {
		other := ours(lab.Host("ml-begins"), false)
		expectDirect(t, other, tsOpen)
		otherUser := ours(lab.Host("ml-begins-user"), true)
		expectDirect(t, otherUser, tsOpen)
	})
	t.Run("D33 behind easy NATs ping is direct in both directions", func(t *testing.T) {
		expectDirect(t, tsEasy, mlEasy)
		expectDirect(t, mlEasy, tsEasy)
		expectDirect(t, mlEasy, tsOpen)
		expectDirect(t, tsEasy, mlOpen)
	})
	t.Run("D20 ping between symmetric NATs is relayed", func(t *testing.T) {
		expectRelayed(t, tsHard, mlHard)
		expectRelayed(t, mlHard, tsHard)
		expectRelayed(t, tsHard, mlHardUser)
		expectRelayed(t, mlHardUser, tsHard)
		expectRelayed(t, mlHard, mlHardUser)
	})
	t.Run("D34 with UDP blocked ping is relayed and data flows", func(t *testing.T) {
		expectRelayed(t, tsOpen, mlBlocked)
		expectRelayed(t, mlBlocked, tsOpen)
		expectFile(t, mlBlocked, tsOpen)
	})
	for _, pair := range [][2]*harness.Node{{tsOpen, mlOpen}, {tsOpen, mlUser}, {tsHard, mlHard}, {tsHard, mlHardUser}} {
		for _, kind := range []string{"--tsmp", "--icmp"} {
			t.Run(fmt.Sprintf("ping %s between %s and %s", kind, pair[0].Name, pair[1].Name), func(t *testing.T) {
				expectPong(t, pair[0], pair[1], kind)
				expectPong(t, pair[1], pair[0], kind)
			})
		}
	}

	// Traffic of applications.
	t.Run("ping of the kernel loses nothing on a direct path", func(t *testing.T) {
		expectNoLoss(t, tsOpen.Host, mlOpen.IP4(t))
		expectNoLoss(t, mlOpen.Host, tsOpen.IP4(t))
		expectNoLoss(t, tsOpen.Host, mlUser.IP4(t))
	})
	t.Run("ping of the kernel loses nothing on a relayed path", func(t *testing.T) {
		expectNoLoss(t, tsHard.Host, mlHard.IP4(t))
		expectNoLoss(t, mlHard.Host, tsHard.IP4(t))
		expectNoLoss(t, tsHard.Host, mlHardUser.IP4(t))
	})
	t.Run("IPv6 inside crosses an IPv4 network", func(t *testing.T) {
		expectNoLoss(t, tsOpen.Host, mlOpen.IP6(t))
		expectNoLoss(t, mlHard.Host, tsHard.IP6(t))
	})
	t.Run("a file over TCP on a direct path", func(t *testing.T) { expectFile(t, tsOpen, mlOpen) })
	t.Run("a file over TCP on a relayed path", func(t *testing.T) { expectFile(t, tsHard, mlHard) })
	t.Run("a file over TCP between two of ours", func(t *testing.T) { expectFile(t, mlOpen, mlEasy) })
	t.Run("nc sends a file without a TUN device", func(t *testing.T) {
		for _, pair := range [][2]*harness.Node{{mlUser, tsOpen}, {mlHardUser, tsHard}} {
			from, to := pair[0], pair[1]
			data := harness.RandomBytes(1 << 20)
			wait := to.Receive(t, net.JoinHostPort(to.IP4(t), "9001"), time.Minute)
			from.SendNC(t, to.IP4(t), "9001", data, time.Minute)
			if wait() != sha256.Sum256(data) {
				t.Errorf("%s to %s: the file arrived changed", from.Name, to.Name)
			}
		}
	})

	t.Run("the official command line tool works on our socket", func(t *testing.T) {
		out, err := mlOpen.OfficialCLI("status")
		if err != nil || !strings.Contains(out, mlOpen.IP4(t)) || !strings.Contains(out, "ts-open") {
			t.Errorf("status: %v\n%s", err, out)
		}
		out, err = mlOpen.OfficialCLI("ip", "-4")
		if err != nil || strings.TrimSpace(out) != mlOpen.IP4(t) {
			t.Errorf("ip -4: %v\n%s", err, out)
		}
		out, err = mlOpen.OfficialCLI("ip", "-6", "ts-open")
		if err != nil || strings.TrimSpace(out) != tsOpen.IP6(t) {
			t.Errorf("ip -6 ts-open: %v\n%s", err, out)
		}
		out, err = mlOpen.OfficialCLI("ping", "-c", "3", "ts-open")
		if err != nil || !strings.Contains(out, "pong from ts-open ("+tsOpen.IP4(t)+") via "+tsOpen.Host.IP+":41641 in ") {
			t.Errorf("ping: %v\n%s", err, out)
		}
		out, err = mlOpen.OfficialCLI("whois", tsOpen.IP4(t))
		if err != nil || !strings.Contains(out, "ts-open.lab.test") || !strings.Contains(out, "lab") {
			t.Errorf("whois: %v\n%s", err, out)
		}
	})
	t.Run("our words print what the official ones print", func(t *testing.T) {
		if out := mlOpen.MustCLI(t, "ip", "-4"); strings.TrimSpace(out) != mlOpen.IP4(t) {
			t.Errorf("ip -4: %q", out)
		}
		if out := mlOpen.MustCLI(t, "ip", "-6", "ts-open"); strings.TrimSpace(out) != tsOpen.IP6(t) {
			t.Errorf("ip -6 ts-open: %q", out)
		}
		for _, want := range []string{mlOpen.IP4(t), "ml-open", tsOpen.IP4(t), "ts-open"} {
			if out := mlOpen.MustCLI(t, "status"); !strings.Contains(out, want) {
				t.Errorf("status lacks %q:\n%s", want, out)
			}
		}
		if out := mlOpen.MustCLI(t, "whois", tsOpen.IP4(t)); !strings.Contains(out, "ts-open.lab.test") {
			t.Errorf("whois: %q", out)
		}
		if out := mlOpen.MustCLI(t, "netcheck"); !strings.Contains(out, "tst1") || !strings.Contains(out, "tst2") {
			t.Errorf("netcheck: %q", out)
		}
		ours, theirs := reportLabels(mlOpen.MustCLI(t, "netcheck")), reportLabels(tsOpen.MustCLI(t, "netcheck"))
		if ours != theirs {
			t.Errorf("netcheck prints\n%s\nthe official tool\n%s", ours, theirs)
		}
	})
	t.Run("nobody's daemon has ended", func(t *testing.T) {
		for _, n := range all {
			if n.Proc.Exited() {
				t.Errorf("%s ended, log %s", n.Name, n.Proc.Log)
			}
		}
	})
}

// reportLabels reduces what netcheck prints to the names of its fields and regions, in their order; regions that are
// equally near may stand in any.
func reportLabels(out string) string {
	var fields, regions []string
	for _, line := range strings.Split(out, "\n") {
		name, _, found := strings.Cut(strings.TrimSpace(line), ":")
		switch {
		case found && strings.HasPrefix(line, "\t* "):
			fields = append(fields, name)
		case found && strings.HasPrefix(line, "\t\t- "):
			regions = append(regions, name+line[strings.LastIndex(line, "("):])
		}
	}
	slices.Sort(regions)
	return strings.Join(append(fields, regions...), "\n")
}

func TestD35_TrafficMovesToTheRelayAndBack(t *testing.T) {
	t.Parallel()
	lab := harness.New(t, harness.Options{})
	key := lab.Headscale.AuthKey(t, "--reusable")
	ours := lab.Host("ml").Microlink(t, harness.NodeOptions{AuthKey: key})
	ours.WaitRunning(t, 30*time.Second)
	official := lab.Host("ts").Tailscaled(t, harness.NodeOptions{AuthKey: key})
	expectDirect(t, ours, official)
	expectNoLoss(t, ours.Host, official.IP4(t))

	unblockOurs := ours.Block(t, "ip daddr "+official.Host.IP+" meta l4proto udp")
	unblockTheirs := official.Block(t, "ip daddr "+ours.Host.IP+" meta l4proto udp")
	gap := ours.WaitKernelPing(t, official.IP4(t), 10*time.Second)
	t.Logf("traffic resumed over the relay after %s", seconds(gap))
	if gap > 7*time.Second {
		t.Errorf("traffic stood still for %s, want at most 6.5 s and a round trip", seconds(gap))
	}
	expectRelayed(t, ours, official)
	unblockOurs()
	unblockTheirs()
	expectDirect(t, ours, official)
	expectDirect(t, official, ours)
	expectNoLoss(t, ours.Host, official.IP4(t))
}

func TestD36_AChangedAddressKeepsThePortAndFindsNewPaths(t *testing.T) {
	t.Parallel()
	lab := harness.New(t, harness.Options{})
	key := lab.Headscale.AuthKey(t, "--reusable")
	ours := lab.Host("ml").Microlink(t, harness.NodeOptions{AuthKey: key, Args: []string{"--port", "41641"}})
	ours.WaitRunning(t, 30*time.Second)
	official := lab.Host("ts").Tailscaled(t, harness.NodeOptions{AuthKey: key})
	expectDirect(t, official, ours)
	now := ours.Readdress(t)
	back := official.WaitKernelPing(t, ours.IP4(t), 15*time.Second)
	t.Logf("reachable again after %s", seconds(back))
	harness.Eventually(t, 15*time.Second, "direct on the new address and the old port", func() error {
		pongs, out, _ := official.Ping("-c", "1", "--timeout", "2s", ours.IP4(t))
		if len(pongs) == 0 || pongs[0].Via != now+":41641" {
			return fmt.Errorf("%s", out)
		}
		return nil
	})
}

// Printed for the record, and bounded only by "not slower" with room for a busy machine.
func TestJoinTimeBesideTheOfficialNode(t *testing.T) {
	lab := harness.New(t, harness.Options{})
	key := lab.Headscale.AuthKey(t, "--reusable")
	peer := lab.Host("peer").Tailscaled(t, harness.NodeOptions{AuthKey: key})
	ip := peer.IP4(t)
	// From a host without a node to the first line that says pong.
	measure := func(host *harness.Host, join func(*harness.Host) *harness.Node) time.Duration {
		began := time.Now()
		node := join(host)
		node.WaitPeer(t, "peer", 30*time.Second)
		pings := node.StartCLI("ping", "-c", "30", "--timeout", "1s", ip)
		pings.WaitLog(t, 0, "^pong from", 30*time.Second)
		took := time.Since(began)
		pings.Stop()
		return took
	}
	var ours, theirs time.Duration
	const rounds = 3
	for i := range rounds {
		theirs += measure(lab.Host(fmt.Sprintf("ts%d", i)), func(h *harness.Host) *harness.Node {
			return h.Tailscaled(t, harness.NodeOptions{AuthKey: key})
		})
		ours += measure(lab.Host(fmt.Sprintf("ml%d", i)), func(h *harness.Host) *harness.Node {
			return h.Microlink(t, harness.NodeOptions{AuthKey: key})
		})
	}
	fmt.Printf("join to first pong, mean of %d: microlink %s, tailscaled %s, ratio %.2f\n", rounds, seconds(ours/rounds),
		seconds(theirs/rounds), ours.Seconds()/theirs.Seconds())
}
