// Joining: with a key and by a user's visit, over http and https, Headscale and the official test server; and what only the
// test server can order: empty filters, jailed peers, masquerading, approval, rate limits.
//
// SPDX-License-Identifier: MIT

package interop

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"path"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"tailscale.com/tailcfg"
	"tailscale.com/tstest/integration/testcontrol"
	"tailscale.com/types/key"

	"microlink.test/interop/harness"
)

// waitLoginURL waits until a node without a key says where its user must go.
func waitLoginURL(t *testing.T, n *harness.Node) string {
	t.Helper()
	if n.Official {
		go n.CLI("up", "--login-server="+n.Options.URL, "--hostname="+n.Name, "--accept-dns=false", "--netfilter-mode=off")
	}
	var url string
	harness.Eventually(t, 20*time.Second, "a login URL", func() error {
		s, err := n.Status()
		if err != nil {
			return err
		}
		if url = s.AuthURL; url == "" || s.BackendState != "NeedsLogin" {
			return fmt.Errorf("state %q, URL %q", s.BackendState, url)
		}
		return nil
	})
	return url
}

// visit is a person who opens the page and logs in.
func visit(t *testing.T, lab *harness.Lab, url string) {
	t.Helper()
	lab.Headscale.CLI(t, "auth", "register", "--auth-id", path.Base(url), "--user", "lab")
}

// joinByVisit starts a node without a key at a test server of its own and visits the page that it names.
func joinByVisit(t *testing.T, lab *harness.Lab, name string) (*testcontrol.Server, *harness.Node) {
	t.Helper()
	s, url := lab.TestControl(t, func(s *testcontrol.Server) { s.RequireAuth = true })
	n := lab.Host(name).Microlink(t, harness.NodeOptions{URL: url, Userspace: true})
	if !s.CompleteAuth(waitLoginURL(t, n)) {
		t.Fatal("the test server does not know the URL")
	}
	n.WaitRunning(t, 20*time.Second)
	return s, n
}

func TestC22_JoinWithAKeyAndInteractively(t *testing.T) {
	t.Parallel()
	lab := harness.New(t, harness.Options{})
	t.Run("headscale, key, http", func(t *testing.T) {
		n := lab.Host("hs-key").Microlink(t, harness.NodeOptions{AuthKey: lab.Headscale.AuthKey(t), Userspace: true})
		n.WaitRunning(t, 20*time.Second)
		if name := n.WaitRunning(t, time.Second).Self.DNSName; name != "hs-key.lab.test." {
			t.Errorf("name is %q", name)
		}
	})
	t.Run("headscale, key, https", func(t *testing.T) {
		secure := harness.New(t, harness.Options{ControlTLS: true})
		n := secure.Host("hs-tls").Microlink(t, harness.NodeOptions{AuthKey: secure.Headscale.AuthKey(t)})
		n.WaitRunning(t, 20*time.Second)
		official := secure.Host("ts").Tailscaled(t, harness.NodeOptions{AuthKey: secure.Headscale.AuthKey(t)})
		expectDirect(t, official, n)
	})
	t.Run("headscale, interactive", func(t *testing.T) {
		n := lab.Host("hs-visit").Microlink(t, harness.NodeOptions{Userspace: true})
		url := waitLoginURL(t, n)
		t.Logf("URL: %s", url)
		visit(t, lab, url)
		n.WaitRunning(t, 20*time.Second)
	})
	t.Run("headscale, interactive, started anew before the visit", func(t *testing.T) {
		if harness.SubjectIsOfficial() {
			t.Skip("the official node keeps no key before it is accepted")
		}
		n := lab.Host("hs-anew").Microlink(t, harness.NodeOptions{Userspace: true})
		url := waitLoginURL(t, n)
		n.Proc.Kill()
		visit(t, lab, url)
		n.Start()
		n.WaitRunning(t, 20*time.Second)
	})
	t.Run("test server, key", func(t *testing.T) {
		_, url := lab.TestControl(t, func(s *testcontrol.Server) { s.RequireAuthKey = "tskey-auth-right" })
		n := lab.Host("tc-key").Microlink(t, harness.NodeOptions{AuthKey: "tskey-auth-right", URL: url, Userspace: true})
		n.WaitRunning(t, 20*time.Second)
	})
	t.Run("test server, interactive", func(t *testing.T) {
		joinByVisit(t, lab, "tc-visit")
	})
}

func TestARateLimitedRegistrationWaitsAsTold(t *testing.T) {
	t.Parallel()
	if harness.SubjectIsOfficial() {
		t.Skip("the official command line gives up at the first refusal")
	}
	lab := harness.New(t, harness.Options{})
	// Each answer of the server with the shortest and longest wait it allows: seconds, a date, a number out of range.
	answers := []struct {
		header   string
		min, max time.Duration
	}{
		{"3", 3 * time.Second, 6 * time.Second},
		{"date", 2 * time.Second, 7 * time.Second},
		{"86400", 4900 * time.Millisecond, 13 * time.Second},
	}
	var tries []time.Time
	_, url := lab.TestControl(t, func(s *testcontrol.Server) {
		s.MaybeRateLimitRegister = func() (bool, string, string) {
			tries = append(tries, time.Now())
			if len(tries) > len(answers) {
				return false, "", ""
			}
			header := answers[len(tries)-1].header
			if header == "date" {
				header = time.Now().Add(4 * time.Second).UTC().Format(http.TimeFormat)
			}
			return true, header, "slow down"
		}
	})
	n := lab.Host("ml").Microlink(t, harness.NodeOptions{URL: url, AuthKey: "x", Userspace: true})
	n.WaitRunning(t, 40*time.Second)
	for i, a := range answers {
		if wait := tries[i+1].Sub(tries[i]); wait < a.min || wait > a.max {
			t.Errorf("after Retry-After %q the next attempt came after %s, want %v to %v", a.header, seconds(wait), a.min, a.max)
		}
	}
}

// connectTCP tells whether a TCP connection through the tailnet can be made.
func connectTCP(t *testing.T, from, to *harness.Host, ip string) error {
	t.Helper()
	l, err := to.Listen(net.JoinHostPort("", "9100"))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c, err := from.Dial("tcp", net.JoinHostPort(ip, "9100"), 3*time.Second)
	if err == nil {
		c.Close()
	}
	return err
}

// nodeKey is the key under which the test server knows a node.
func nodeKey(t *testing.T, s *testcontrol.Server, name string) key.NodePublic {
	t.Helper()
	for _, n := range s.AllNodes() {
		if strings.HasPrefix(n.Name, name+".") || n.Hostinfo.Hostname() == name {
			return n.Key
		}
	}
	t.Fatalf("the server has no node %q", name)
	return key.NodePublic{}
}

func TestWhatTheTestServerOrders(t *testing.T) {
	t.Parallel()
	lab := harness.New(t, harness.Options{})
	pair := func(t *testing.T, name string, change func(*testcontrol.Server)) (*testcontrol.Server, *harness.Node, *harness.Node) {
		t.Helper()
		s, url := lab.TestControl(t, change)
		ours := lab.Host("ml-"+name).Microlink(t, harness.NodeOptions{URL: url, AuthKey: "x"})
		ours.WaitRunning(t, 20*time.Second)
		official := lab.Host("ts-"+name).Tailscaled(t, harness.NodeOptions{URL: url, AuthKey: "x"})
		meet(t, ours, official)
		return s, ours, official
	}

	t.Run("ping --tsmp succeeds with an empty packet filter, and nothing else", func(t *testing.T) {
		s, node, official := pair(t, "empty", nil)
		if err := connectTCP(t, official.Host, node.Host, node.IP4(t)); err != nil {
			t.Errorf("before: %v", err)
		}
		// From here on the server sends this node nothing of its own.
		if !s.AddRawMapResponse(nodeKey(t, s, "ml-empty"), &tailcfg.MapResponse{PacketFilters: map[string][]tailcfg.FilterRule{"*": nil}}) {
			t.Fatal("the server could not send the filter")
		}
		harness.Eventually(t, 10*time.Second, "the empty filter is in force", func() error {
			if connectTCP(t, official.Host, node.Host, node.IP4(t)) == nil {
				return fmt.Errorf("a connection got through")
			}
			return nil
		})
		expectPong(t, official, node, "--tsmp")
		if pongs, out, _ := official.Ping("-c", "1", "--timeout", "2s", "--icmp", node.IP4(t)); len(pongs) != 0 {
			t.Errorf("ping --icmp got through: %s", out)
		}
		if err := connectTCP(t, node.Host, official.Host, official.IP4(t)); err != nil {
			t.Errorf("our own connection: %v", err)
		}
	})
	t.Run("D64 a jailed peer cannot connect to us, but our connections to it work", func(t *testing.T) {
		s, node, official := pair(t, "jail", nil)
		if err := connectTCP(t, official.Host, node.Host, node.IP4(t)); err != nil {
			t.Errorf("before: %v", err)
		}
		s.SetJailed(nodeKey(t, s, "ml-jail"), nodeKey(t, s, "ts-jail"), true)
		harness.Eventually(t, 10*time.Second, "the peer is jailed", func() error {
			if connectTCP(t, official.Host, node.Host, node.IP4(t)) == nil {
				return fmt.Errorf("it can still connect")
			}
			return nil
		})
		if err := connectTCP(t, node.Host, official.Host, official.IP4(t)); err != nil {
			t.Errorf("our own connection: %v", err)
		}
		s.SetJailed(nodeKey(t, s, "ml-jail"), nodeKey(t, s, "ts-jail"), false)
		harness.Eventually(t, 10*time.Second, "the peer is free", func() error {
			return connectTCP(t, official.Host, node.Host, node.IP4(t))
		})
	})
	t.Run("D65 masquerading rewrites addresses both ways, IPv4 and IPv6", func(t *testing.T) {
		s, node, official := pair(t, "masq", nil)
		for _, as := range []string{"100.108.1.1", "fd7a:115c:a1e0:ab12:4843:cd96:626c:101"} {
			s.SetMasqueradeAddresses([]testcontrol.MasqueradePair{{Node: nodeKey(t, s, "ml-masq"), Peer: nodeKey(t, s, "ts-masq"),
				NodeMasqueradesAs: netip.MustParseAddr(as)}})
			harness.Eventually(t, 10*time.Second, "the peer knows us as "+as, func() error {
				p, err := official.Status()
				if err != nil {
					return err
				}
				if peer, _ := p.FindPeer("ml-masq"); !slices.Contains(peer.TailscaleIPs, as) {
					return fmt.Errorf("it has %v", peer.TailscaleIPs)
				}
				return nil
			})
			official.WaitKernelPing(t, as, 5*time.Second)
			if err := connectTCP(t, official.Host, node.Host, as); err != nil {
				t.Errorf("to %s: %v", as, err)
			}
			theirs := official.IP4(t)
			if strings.Contains(as, ":") {
				theirs = official.IP6(t)
			}
			node.WaitKernelPing(t, theirs, 5*time.Second)
			if err := connectTCP(t, node.Host, official.Host, theirs); err != nil {
				t.Errorf("from %s: %v", as, err)
			}
		}
	})
	t.Run("C25 a node that waits for approval becomes active when it comes", func(t *testing.T) {
		s, url := lab.TestControl(t, func(s *testcontrol.Server) { s.RequireMachineAuth = true })
		n := lab.Host("ml-approval").Microlink(t, harness.NodeOptions{URL: url, Userspace: true})
		if n.Official {
			return // Its `up` waits.
		}
		harness.Eventually(t, 20*time.Second, "it waits for approval", func() error {
			st, err := n.Status()
			if err == nil && st.BackendState != "NeedsMachineAuth" {
				err = fmt.Errorf("state %q", st.BackendState)
			}
			return err
		})
		k := nodeKey(t, s, "ml-approval")
		if !s.CompleteDeviceApproval(url, url+"/admin", &k) {
			t.Fatal("the server does not know the node")
		}
		n.WaitRunning(t, 20*time.Second)
	})
}

func TestAnExpiredNodeKey(t *testing.T) {
	t.Parallel()
	if harness.SubjectIsOfficial() {
		t.Skip("the official node waits for its user in any case")
	}
	lab := harness.New(t, harness.Options{})
	expire := func(t *testing.T, name string) {
		t.Helper()
		lab.Headscale.CLI(t, "nodes", "expire", "-i", fmt.Sprint(lab.Headscale.Node(t, name).ID), "--force")
	}
	t.Run("is said when there is no auth key at hand", func(t *testing.T) {
		n := lab.Host("once").Microlink(t, harness.NodeOptions{AuthKey: lab.Headscale.AuthKey(t), Userspace: true})
		n.WaitRunning(t, 20*time.Second)
		n.Options.AuthKey = "" // Used up, and the sentence would soon be about that.
		n.Restart()
		n.WaitRunning(t, 20*time.Second)
		expire(t, "once")
		expectSentence(t, n, `expired`, 30*time.Second)
	})
	t.Run("C26 is renewed by a visit to the URL that was shown before the node was started anew", func(t *testing.T) {
		n := lab.Host("visited").Microlink(t, harness.NodeOptions{AuthKey: lab.Headscale.AuthKey(t), Userspace: true})
		before := n.WaitRunning(t, 20*time.Second)
		n.Options.AuthKey = ""
		n.Restart()
		n.WaitRunning(t, 20*time.Second)
		was := lab.Headscale.Node(t, "visited")
		expire(t, "visited")
		url := waitLoginURL(t, n)
		n.Proc.Kill()
		visit(t, lab, url)
		n.Start()
		after := n.WaitRunning(t, 20*time.Second)
		if now := lab.Headscale.Node(t, "visited"); now.NodeKey == was.NodeKey || now.ID != was.ID {
			t.Errorf("node %d has key %s, was node %d with %s", now.ID, now.NodeKey, was.ID, was.NodeKey)
		}
		if fmt.Sprint(before.Self.TailscaleIPs) != fmt.Sprint(after.Self.TailscaleIPs) {
			t.Errorf("addresses were %v, are %v", before.Self.TailscaleIPs, after.Self.TailscaleIPs)
		}
	})
	t.Run("C26 at the test server, too", func(t *testing.T) {
		s, n := joinByVisit(t, lab, "tc-visited")
		was := nodeKey(t, s, "tc-visited")
		node := s.Node(was)
		node.KeyExpiry = time.Now().Add(-time.Minute)
		s.UpdateNode(node)
		n.Restart() // It is told when it registers.
		again := waitLoginURL(t, n)
		n.Proc.Kill()
		if !s.CompleteAuth(again) {
			t.Fatal("the test server does not know the second URL")
		}
		for _, other := range s.AllNodes() { // This server leaves it to the test how long a new key is good.
			if other.Key != was {
				other.KeyExpiry = time.Time{}
				s.UpdateNode(other)
			}
		}
		n.Start()
		harness.Eventually(t, 20*time.Second, "no login is needed", func() error {
			st, err := n.Status()
			if err == nil && (st.BackendState != "Running" || st.AuthURL != "") {
				err = fmt.Errorf("state %q, URL %q", st.BackendState, st.AuthURL)
			}
			return err
		})
	})
	t.Run("C28 is replaced with a reusable auth key, and the node stays the same", func(t *testing.T) {
		key := lab.Headscale.AuthKey(t, "--reusable")
		n := lab.Host("again").Microlink(t, harness.NodeOptions{AuthKey: key})
		before := n.WaitRunning(t, 20*time.Second)
		was := lab.Headscale.Node(t, "again")
		expire(t, "again")
		harness.Eventually(t, 40*time.Second, "a new node key", func() error {
			if now := lab.Headscale.Node(t, "again"); now.NodeKey == was.NodeKey || now.ID != was.ID {
				return fmt.Errorf("node %d has key %s", now.ID, now.NodeKey)
			}
			return nil
		})
		after := n.WaitRunning(t, 20*time.Second)
		if fmt.Sprint(before.Self.TailscaleIPs) != fmt.Sprint(after.Self.TailscaleIPs) {
			t.Errorf("addresses were %v, are %v", before.Self.TailscaleIPs, after.Self.TailscaleIPs)
		}
		official := lab.Host("ts").Tailscaled(t, harness.NodeOptions{AuthKey: lab.Headscale.AuthKey(t)})
		expectDirect(t, official, n)
	})
}

// Watches what the server has of a node while that joins, and while it starts again: there is no moment at which peers could be told
// of it without its disco key, nor, once it had a home, without that.
func TestC30_C32_TheServerNeverHasHalfOfTheNode(t *testing.T) {
	t.Parallel()
	lab := harness.New(t, harness.Options{})
	s, url := lab.TestControl(t, nil)
	var stop atomic.Bool
	watch := func(wrong func(*tailcfg.Node) bool) (wait func() int) {
		stop.Store(false)
		found := make(chan int, 1)
		go func() {
			n := 0
			for ; !stop.Load(); time.Sleep(200 * time.Microsecond) {
				for _, node := range s.AllNodes() {
					if wrong(node) {
						n++
					}
				}
			}
			found <- n
		}()
		return func() int { stop.Store(true); return <-found }
	}
	published := func(n *tailcfg.Node) bool { return len(n.Endpoints) > 0 || n.HomeDERP != 0 }
	joining := watch(func(n *tailcfg.Node) bool { return published(n) && n.DiscoKey.IsZero() })
	node := lab.Host("ml").Microlink(t, harness.NodeOptions{URL: url, AuthKey: "x"})
	node.WaitRunning(t, 20*time.Second)
	harness.Eventually(t, 10*time.Second, "the node has a home", func() error {
		for _, n := range s.AllNodes() {
			if n.HomeDERP != 0 {
				return nil
			}
		}
		return errors.New("none")
	})
	if n := joining(); n != 0 {
		t.Errorf("seen %d times: endpoints or a home, but no disco key", n)
	}
	time.Sleep(6 * time.Second) // For the record of its home to be stored.
	again := watch(func(n *tailcfg.Node) bool { return n.HomeDERP == 0 || n.DiscoKey.IsZero() })
	node.Restart()
	node.WaitRunning(t, 20*time.Second)
	time.Sleep(2 * time.Second)
	if n := again(); n != 0 {
		t.Errorf("seen %d times while it started again: no home, or no disco key", n)
	}
}
