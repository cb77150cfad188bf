// The control client against the official test server (in this process) and against a real Headscale, on loopback.
//
// SPDX-License-Identifier: MIT

package interop

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"tailscale.com/tailcfg"
	"tailscale.com/tstest/integration/testcontrol"
	"tailscale.com/types/key"

	"microlink.test/interop/harness"
)

// client is one run of tests/interop/ctools/control_client.
type client struct {
	tb    testing.TB
	in    io.WriteCloser
	cmd   *exec.Cmd
	mu    sync.Mutex
	lines []string
	seen  int // lines that expect has passed
}

type clientOptions struct {
	version       int
	hostname      string
	machine, node string // hex, "" = new machine, no node key
	auth, server  string
}

func randomHex() string {
	var b [32]byte
	rand.Read(b[:])
	return hex.EncodeToString(b[:])
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

func startClient(tb testing.TB, url string, o clientOptions) *client {
	tb.Helper()
	if o.version == 0 {
		o.version = 130
	}
	if o.machine == "" {
		o.machine = randomHex()
	}
	if o.hostname == "" {
		o.hostname = "mcu"
	}
	c := &client{tb: tb}
	c.cmd = exec.Command(harness.Binary(tb, "tests/interop/ctools/control_client"), url, fmt.Sprint(o.version), o.hostname,
		o.machine, orDash(o.node), orDash(o.auth), orDash(o.server))
	var err error
	if c.in, err = c.cmd.StdinPipe(); err != nil {
		tb.Fatal(err)
	}
	out, err := c.cmd.StdoutPipe()
	if err != nil {
		tb.Fatal(err)
	}
	if err := c.cmd.Start(); err != nil {
		tb.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		s := bufio.NewScanner(out)
		s.Buffer(nil, 1<<20)
		for s.Scan() {
			c.mu.Lock()
			c.lines = append(c.lines, s.Text())
			c.mu.Unlock()
		}
	}()
	tb.Cleanup(func() {
		c.in.Close()
		<-done
		c.cmd.Wait()
		if tb.Failed() {
			c.mu.Lock()
			defer c.mu.Unlock()
			tb.Logf("client said:\n%s", strings.Join(c.lines, "\n"))
		}
	})
	return c
}

func (c *client) send(format string, args ...any) { fmt.Fprintf(c.in, format+"\n", args...) }

// expect waits for the next line that begins with prefix and returns what follows it.
func (c *client) expect(prefix string, within time.Duration) string {
	c.tb.Helper()
	for end := time.Now().Add(within); ; time.Sleep(5 * time.Millisecond) {
		c.mu.Lock()
		for ; c.seen < len(c.lines); c.seen++ {
			if line := c.lines[c.seen]; strings.HasPrefix(line, prefix) {
				c.seen++
				c.mu.Unlock()
				return strings.TrimSpace(line[len(prefix):])
			}
		}
		c.mu.Unlock()
		if time.Now().After(end) {
			c.tb.Fatalf("no line %q within %v", prefix, within)
		}
	}
}

func (c *client) count(prefix string) (n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, line := range c.lines {
		if strings.HasPrefix(line, prefix) {
			n++
		}
	}
	return n
}

// identity waits for the committed node key.
func (c *client) identity() (pub key.NodePublic, privHex string) {
	c.tb.Helper()
	f := strings.Fields(c.expect("event identity", 10*time.Second))
	if len(f) != 2 {
		c.tb.Fatalf("identity %q", f)
	}
	if err := pub.UnmarshalText([]byte("nodekey:" + f[0])); err != nil {
		c.tb.Fatal(err)
	}
	return pub, f[1]
}

func (c *client) running() { c.tb.Helper(); c.expect("event running", 10*time.Second) }

// testServer runs the official test control server on loopback.
func testServer(tb testing.TB, change func(*testcontrol.Server)) (*testcontrol.Server, string) {
	tb.Helper()
	s, url, _ := testServerHook(tb, change, nil)
	return s, url
}

func testServerHook(tb testing.TB, change func(*testcontrol.Server), wrap func(http.Handler) http.Handler) (*testcontrol.Server, string, *http.Server) {
	tb.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	url := "http://" + l.Addr().String()
	s := &testcontrol.Server{Logf: func(string, ...any) {}, ExplicitBaseURL: url, AllNodesSameUser: true,
		DERPMap: &tailcfg.DERPMap{Regions: map[int]*tailcfg.DERPRegion{7: {RegionID: 7, RegionCode: "tst",
			Nodes: []*tailcfg.DERPNode{{Name: "7a", RegionID: 7, HostName: "derp.test", IPv6: "none", STUNPort: -1}}}}}}
	if change != nil {
		change(s)
	}
	var h http.Handler = s
	if wrap != nil {
		h = wrap(s)
	}
	server := &http.Server{Handler: h}
	go server.Serve(l)
	tb.Cleanup(func() { server.Close() })
	return s, url, server
}

func within(tb testing.TB, d time.Duration, what string, ok func() bool) {
	tb.Helper()
	for end := time.Now().Add(d); !ok(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			tb.Fatalf("not within %v: %s", d, what)
		}
	}
}

func TestC11_C13_C22_C34_JoinsTheOfficialTestServerAtEveryVersion(t *testing.T) {
	for _, version := range []int{113, 119, 130, int(tailcfg.CurrentCapabilityVersion)} {
		t.Run(fmt.Sprint(version), func(t *testing.T) {
			s, url := testServer(t, nil)
			c := startClient(t, url, clientOptions{version: version})
			pub, _ := c.identity()
			c.running()
			c.send("home 7")
			within(t, 5*time.Second, "node with home region", func() bool {
				n := s.Node(pub)
				return n != nil && n.HomeDERP == 7 && int(n.Cap) == version
			})
		})
	}
}

func TestC22_C24_AuthKeyRequiredByTheTestServer(t *testing.T) {
	_, url := testServer(t, func(s *testcontrol.Server) { s.RequireAuthKey = "tskey-good" })
	c := startClient(t, url, clientOptions{auth: "tskey-wrong"})
	if p := c.expect("event problem", 5*time.Second); !strings.Contains(p, "invalid authkey") {
		t.Fatalf("problem %q", p)
	}
	time.Sleep(3 * time.Second)
	if c.count("event identity") != 0 || c.count("event problem") != 1 {
		t.Fatal("tried again within three seconds of a refused auth key")
	}
	c.send("auth tskey-good")
	c.identity()
	c.running()
}

func TestC22_C26_InteractiveLogin(t *testing.T) {
	s, url := testServer(t, func(s *testcontrol.Server) { s.RequireAuth = true })
	c := startClient(t, url, clientOptions{})
	login := c.expect("event login", 5*time.Second)
	c.expect("event state 2", time.Second)
	if c.count("event identity") != 0 {
		t.Fatal("key committed before the login was complete")
	}
	within(t, 5*time.Second, "login page completed", func() bool { return s.CompleteAuth(login) })
	c.identity()
	c.running()
}

func TestC25_WaitsForApprovalWithAnOpenPoll(t *testing.T) {
	s, url := testServer(t, func(s *testcontrol.Server) { s.RequireMachineAuth = true })
	c := startClient(t, url, clientOptions{})
	pub, _ := c.identity()
	c.expect("event state 3", 5*time.Second)
	within(t, 5*time.Second, "poll open", func() bool { return s.InServeMap() == 1 })
	if !s.CompleteDeviceApproval(url, url+"/admin", &pub) {
		t.Fatal("approval not taken")
	}
	c.expect("event state 5", 5*time.Second)
}

func TestC28_ExpiredKeyIsRotatedByAuthKey(t *testing.T) {
	s, url := testServer(t, func(s *testcontrol.Server) { s.RequireAuthKey = "tskey-good" })
	c := startClient(t, url, clientOptions{auth: "tskey-good"})
	old, _ := c.identity()
	c.running()
	s.SetExpireAllNodes(true)
	s.UpdateNode(func() *tailcfg.Node { n := s.Node(old).Clone(); n.Expired = true; return n }())
	s.SetExpireAllNodes(false)
	fresh, _ := c.identity()
	if fresh == old {
		t.Fatal("same key")
	}
	c.running()
}

func TestC29_StoredKeyIsRegisteredAgainWithoutAuth(t *testing.T) {
	s, url := testServer(t, nil)
	machine := randomHex()
	c := startClient(t, url, clientOptions{machine: machine})
	pub, priv := c.identity()
	c.running()
	c.send("quit")
	again := startClient(t, url, clientOptions{machine: machine, node: priv})
	again.expect("event registered", 5*time.Second)
	again.running()
	if again.count("event identity") != 0 || s.NumNodes() != 1 || s.Node(pub) == nil {
		t.Fatal("the stored key was not reused")
	}
}

func TestC30_C31_PublishesByLiteUpdateWithoutDisturbingThePoll(t *testing.T) {
	s, url := testServer(t, nil)
	c := startClient(t, url, clientOptions{})
	disco := c.expect("disco ", 5*time.Second)
	pub, _ := c.identity()
	c.running()
	c.send("home 7")
	c.send("endpoint 192.0.2.9:41641")
	within(t, 5*time.Second, "all published", func() bool {
		n := s.Node(pub)
		return n.HomeDERP == 7 && len(n.Endpoints) == 1 && n.Endpoints[0] == netip.MustParseAddrPort("192.0.2.9:41641") &&
			n.DiscoKey.String() == "discokey:"+disco
	})
	other := randomHex()
	c.send("disco %s", other)
	within(t, 5*time.Second, "new disco key", func() bool {
		n := s.Node(pub)
		return n.DiscoKey.String() == "discokey:"+other && n.HomeDERP == 7 && len(n.Endpoints) == 1
	})
	// The node changes before the handler of the update that changed it is through.
	within(t, 5*time.Second, "only the poll is open", func() bool { return s.InServeMap() == 1 })
	if c.count("event ended") != 0 {
		t.Fatal("the poll was disturbed")
	}
}

func TestC37_DeltasOfTheTestServer(t *testing.T) {
	s, url := testServer(t, nil)
	s.AddFakeNode()
	c := startClient(t, url, clientOptions{})
	pub, _ := c.identity()
	c.expect("delta peer id=", 5*time.Second)
	c.running()
	yes := true
	s.AddRawMapResponse(pub, &tailcfg.MapResponse{PeersChangedPatch: []*tailcfg.PeerChange{{NodeID: 1, DERPRegion: 9, Online: &yes}}})
	if got := c.expect("delta patch", 5*time.Second); got != "id=1 region=9 online=1" {
		t.Fatalf("patch %q", got)
	}
	s.AddRawMapResponse(pub, &tailcfg.MapResponse{})
	s.AddRawMapResponse(pub, &tailcfg.MapResponse{PeersRemoved: []tailcfg.NodeID{1}})
	c.expect("delta removed id=1", 5*time.Second)
	if c.count("event ended") != 0 {
		t.Fatal("an empty message ended the poll")
	}
}

func TestC19_C57_C2NWhileThePollAndALiteUpdateAreOpen(t *testing.T) {
	hold := make(chan struct{})
	var lite atomic.Int32
	s, url := testServer(t, func(s *testcontrol.Server) {
		s.HoldMapRequest = func(r *tailcfg.MapRequest) func() {
			if !r.Stream {
				lite.Add(1)
				<-hold
			}
			return nil
		}
	})
	c := startClient(t, url, clientOptions{})
	pub, _ := c.identity()
	c.running()
	c.send("home 7")
	within(t, 5*time.Second, "lite update held", func() bool { return lite.Load() == 1 })
	web := &http.Client{Transport: s.NodeRoundTripper(pub), Timeout: 5 * time.Second}
	ask := func(method, path, body string) (int, string) {
		t.Helper()
		req, err := http.NewRequestWithContext(context.Background(), method, "http://unused"+path, bytes.NewReader([]byte(body)))
		if err != nil {
			t.Fatal(err)
		}
		res, err := web.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		b, _ := io.ReadAll(res.Body)
		return res.StatusCode, string(b)
	}
	if code, body := ask("POST", "/echo", "hello there"); code != 200 || body != "hello there" {
		t.Fatalf("%d %q", code, body)
	}
	if code, body := ask("GET", "/echo?x=1", ""); code != 200 || body != "" {
		t.Fatalf("%d %q", code, body)
	}
	if code, body := ask("GET", "/debug/goroutines", ""); code != 400 || body != "unknown c2n path" {
		t.Fatalf("%d %q", code, body)
	}
	if c.count("event ended") != 0 {
		t.Fatal("the poll was disturbed")
	}
	close(hold)
}

func TestC48_ServerGoneAndBack(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	s := &testcontrol.Server{Logf: func(string, ...any) {}, ExplicitBaseURL: "http://" + addr, AllNodesSameUser: true}
	server := &http.Server{Handler: s}
	var conns sync.Map
	server.ConnState = func(c net.Conn, _ http.ConnState) { conns.Store(c, true) }
	go server.Serve(l)
	t.Cleanup(func() { server.Close() })
	c := startClient(t, "http://"+addr, clientOptions{})
	c.identity()
	c.running()
	for range 3 {
		conns.Range(func(k, _ any) bool { k.(net.Conn).Close(); conns.Delete(k); return true })
		c.expect("event ended", 5*time.Second)
		c.running()
	}
	if c.count("delta abort") != 0 || c.count("event identity") != 1 {
		t.Fatal("a lost connection did more than end the poll")
	}
}

// headscaleClient joins a lab's Headscale.
func joinHeadscale(t *testing.T, lab *harness.Lab, o clientOptions) *client {
	t.Helper()
	if o.auth == "" {
		o.auth = lab.Headscale.AuthKey(t, "--reusable")
	}
	return startClient(t, lab.Headscale.URL, o)
}

func TestHeadscale(t *testing.T) {
	lab := harness.New(t, harness.Options{Loopback: true})
	for _, version := range []int{113, 119, 130, int(tailcfg.CurrentCapabilityVersion)} {
		t.Run(fmt.Sprintf("C16 C22 C34 joins at version %d", version), func(t *testing.T) {
			name := fmt.Sprintf("v%d", version)
			c := joinHeadscale(t, lab, clientOptions{version: version, hostname: name})
			c.identity()
			c.running()
			within(t, 10*time.Second, "online in the list", func() bool {
				for _, n := range lab.Headscale.Nodes(t) {
					if n.Name == name && n.Online {
						return true
					}
				}
				return false
			})
		})
	}
	t.Run("C24 a bad auth key is told and not tried again", func(t *testing.T) {
		c := startClient(t, lab.Headscale.URL, clientOptions{auth: "hskey-auth-aaaaaaaaaaaa-" + randomHex()})
		p := c.expect("event problem", 5*time.Second)
		if !strings.Contains(p, "auth key") {
			t.Fatalf("problem %q", p)
		}
		time.Sleep(2 * time.Second)
		if c.count("event problem") != 1 {
			t.Fatal("tried again at once")
		}
	})
	t.Run("C22 C26 interactive login", func(t *testing.T) {
		c := startClient(t, lab.Headscale.URL, clientOptions{hostname: "byhand"})
		url := c.expect("event login", 5*time.Second)
		if c.count("event identity") != 0 {
			t.Fatal("key committed before the login was complete")
		}
		lab.Headscale.CLI(t, "nodes", "register", "--user", "lab", "--key", url[strings.LastIndex(url, "/")+1:])
		c.identity()
		c.running()
	})
	t.Run("C29 C30 C31 key reused, disco and endpoints kept", func(t *testing.T) {
		machine := randomHex()
		c := joinHeadscale(t, lab, clientOptions{machine: machine, hostname: "keeper"})
		disco := c.expect("disco ", 5*time.Second)
		pub, priv := c.identity()
		c.running()
		c.send("home 1")
		c.send("endpoint 192.0.2.9:41641")
		watch := joinHeadscale(t, lab, clientOptions{hostname: "watcher"})
		watch.running()
		published := func(node, disco string) bool {
			watch.mu.Lock()
			defer watch.mu.Unlock()
			for _, line := range watch.lines {
				if strings.Contains(line, " key="+node) && strings.Contains(line, "disco="+disco) &&
					strings.Contains(line, "192.0.2.9:41641") && strings.Contains(line, "home=1") {
					return true
				}
			}
			return false
		}
		watch.send("rebind")
		hexKey := strings.TrimPrefix(pub.String(), "nodekey:")
		if !published(hexKey, disco) {
			within(t, 10*time.Second, "peer sees what was published", func() bool { watch.send("rebind"); time.Sleep(300 * time.Millisecond); return published(hexKey, disco) })
		}
		c.send("quit")
		again := startClient(t, lab.Headscale.URL, clientOptions{machine: machine, node: priv, hostname: "keeper"})
		again.expect("event registered", 5*time.Second)
		again.running()
		if again.count("event identity") != 0 {
			t.Fatal("the stored key was not reused")
		}
		for _, n := range lab.Headscale.Nodes(t) {
			if n.Name == "keeper" && strings.Trim(n.DiscoKey, "discokey:0") == "" {
				t.Fatal("disco key erased")
			}
		}
	})
	t.Run("C49 a deleted node registers again", func(t *testing.T) {
		c := joinHeadscale(t, lab, clientOptions{hostname: "deleted"})
		c.identity()
		c.running()
		for _, n := range lab.Headscale.Nodes(t) {
			if n.Name == "deleted" {
				lab.Headscale.CLI(t, "nodes", "delete", "--force", "-i", fmt.Sprint(n.ID))
			}
		}
		c.send("rebind")
		c.expect("event registered", 20*time.Second)
		c.running()
		if n := c.count("open "); n > 12 {
			t.Fatalf("%d connections", n)
		}
	})
	t.Run("C28 logout forgets the key", func(t *testing.T) {
		c := joinHeadscale(t, lab, clientOptions{hostname: "leaver"})
		c.identity()
		c.running()
		c.send("logout")
		c.expect("event identity none", 5*time.Second)
		c.expect("event state 0", 5*time.Second)
	})
}
