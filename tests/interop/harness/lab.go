// Package harness runs whole tailnets on one machine: the official Headscale and two derper relays, official nodes and ours,
// each in a network namespace of its own, behind home routers of several kinds. It needs root, ip(8) and nft(8). A lab
// without namespaces (Options.Loopback) needs neither and has everything on 127.0.0.1.
//
// The internet of a lab is 10.77.0.0/16 on one bridge. Control is 10.77.0.10, the relays are 10.77.0.21 and .22, hosts and
// routers follow from 10.77.1.1; behind router N is 192.168.N.0/24. Names are resolved from /etc/hosts of each namespace.
//
// SPDX-License-Identifier: MIT
package harness

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"tailscale.com/tailcfg"
)

const (
	ControlName = "control.test"
	ControlIP   = "10.77.0.10"
	// Answers "network unreachable" for all that the lab does not have.
	wanGateway = "10.77.0.1"
)

// Options of a lab; the zero value is two relays and a control server on plain http.
type Options struct {
	ControlTLS  bool     // Control on https with a certificate of the lab's authority.
	Loopback    bool     // No namespaces: everything on 127.0.0.1.
	Policy      string   // Access rules; "" allows all.
	DERPCertPin bool     // The relays have certificates of no authority; the DERP map pins them by hash.
	DERPAnySNI  bool     // The relays show their certificate whatever server name is asked for.
	Config      []string // More lines for Headscale's configuration.
	PublicCA    int      // The lab's authority is like a public one, with as many intermediates (NewPublicCA).

	ChangeDERPMap func(*tailcfg.DERPMap) // Changes the map before any server hands it out.
}

// Lab is one tailnet with its network.
type Lab struct {
	Options   Options
	Dir       string // Logs and state of everything in this lab; kept after a failure.
	CA        *CA
	Headscale *Headscale
	Derpers   []*Derper
	tb        testing.TB
	wan       ns
	nextHost  int
	nextLAN   int
	names     map[string]bool
	leaseLock sync.Mutex
	leases    map[string]net.IP
}

// NeedRoot fails or skips the test when namespaces cannot be made here. In CI (ML_REQUIRE_ROOT=1) it always fails.
func NeedRoot(tb testing.TB) {
	tb.Helper()
	if os.Geteuid() == 0 {
		return
	}
	if os.Getenv("ML_REQUIRE_ROOT") == "1" {
		tb.Fatal("needs root to make network namespaces (ML_REQUIRE_ROOT=1)")
	}
	tb.Skip("SKIPPED, NOTHING WAS TESTED: needs root to make network namespaces")
}

// New starts a lab; it ends with the test.
func New(tb testing.TB, options Options) *Lab {
	tb.Helper()
	lab := &Lab{Options: options, tb: tb, names: map[string]bool{}}
	lab.Dir = newRunDir(tb)
	if options.PublicCA > 0 {
		lab.CA = NewPublicCA(tb, lab.Dir, "lab-ca", options.PublicCA)
	} else {
		lab.CA = NewCA(tb, lab.Dir, "lab-ca")
	}
	if !options.Loopback {
		NeedRoot(tb)
		lab.wan = newNS(tb, "wan", lab.hostsFile())
		// A bridge takes the lowest MAC address of its ports unless it has been given one; a change would leave the others
		// with stale ARP entries for half a minute.
		lab.wan.must(tb, "sh", "-ec", `
sysctl -qw net.ipv6.conf.all.disable_ipv6=1 net.ipv4.ip_forward=1
ip link add br0 address 02:00:00:00:00:01 type bridge
ip link set br0 up
for a in `+wanGateway+` `+ControlIP+` 10.77.0.21 10.77.0.22; do ip addr add $a/16 dev br0; done`)
	}
	for i := 1; i <= 2; i++ {
		lab.Derpers = append(lab.Derpers, lab.startDerper(i))
	}
	lab.Headscale = lab.startHeadscale()
	for _, d := range lab.Derpers {
		d.waitReady(tb)
	}
	return lab
}

// SQLite's names of databases have characters with a meaning.
var unsafeInPaths = regexp.MustCompile(`[^A-Za-z0-9_-]+`)

func newRunDir(tb testing.TB) string {
	tb.Helper()
	base := filepath.Join(cacheDir(), "logs", time.Now().Format("0102-150405")+"-"+strconv.Itoa(os.Getpid()))
	dir := filepath.Join(base, unsafeInPaths.ReplaceAllString(tb.Name(), "_")+fmt.Sprintf("-%d", runDirs.Add(1)))
	if err := os.MkdirAll(dir, 0o755); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if tb.Failed() {
			tb.Logf("logs and state: %s", dir)
			return
		}
		if os.Getenv("ML_KEEP_LOGS") == "" {
			os.RemoveAll(dir)
			os.Remove(base)
		}
	})
	return dir
}

func (lab *Lab) hostsFile() string {
	return ControlIP + " " + ControlName + "\n10.77.0.21 derp1.test\n10.77.0.22 derp2.test\n"
}

func (lab *Lab) file(name, text string) string {
	path := filepath.Join(lab.Dir, name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		lab.tb.Fatal(err)
	}
	return path
}

// Host is a machine of the lab: something programs run on.
type Host struct {
	Name string
	IP   string // Underlay address.
	lab  *Lab
	ns   ns
}

// NAT is what a router does to packets of its network.
type NAT int

const (
	NATEasy       NAT = iota // Keeps the source port: mapping does not depend on the destination.
	NATSymmetric             // A new random port for each destination.
	NATUDPBlocked            // TCP as NATEasy; no UDP at all.
)

// Router is a home router; its hosts share one network.
type Router struct {
	lab      *Lab
	ns       ns
	lan      int
	nextHost int
	outer    string // Address on the internet, where a site needs it.
	moved    int    // How often LoseMappings moved the port.
}

// portName is the name of the bridge's end of a link.
func portName(addr string) string {
	return "p" + strings.ReplaceAll(addr[strings.Index(addr, ".")+1:strings.Index(addr, "/")], ".", "-")
}

// attach gives the namespace a link into the bridge of the internet, or of a router, and a default route.
func attach(tb testing.TB, dev string, n, bridgeNS ns, bridge, addr, gateway string) {
	tb.Helper()
	port := portName(addr)
	mustRun(tb, "ip", "link", "add", dev, "netns", n.name, "type", "veth", "peer", "name", port, "netns", bridgeNS.name)
	bridgeNS.must(tb, "ip", "link", "set", port, "master", bridge, "up")
	n.must(tb, "sh", "-ec", "ip addr add "+addr+" dev "+dev+"; ip link set "+dev+" up; ip route add default via "+gateway)
}

func (lab *Lab) wanAddr() string {
	lab.nextHost++
	return fmt.Sprintf("10.77.1.%d", lab.nextHost)
}

// Host makes a machine directly on the internet. All of these are on one network.
func (lab *Lab) Host(name string) *Host {
	lab.tb.Helper()
	h := &Host{Name: name, lab: lab, IP: "127.0.0.1"}
	lab.claim(name)
	if lab.Options.Loopback {
		return h
	}
	h.IP = lab.wanAddr()
	h.ns = newNS(lab.tb, name, lab.hostsFile())
	attach(lab.tb, "eth0", h.ns, lab.wan, "br0", h.IP+"/16", wanGateway)
	return h
}

func (lab *Lab) claim(name string) {
	if lab.names[name] {
		lab.tb.Fatalf("two hosts named %q in one lab", name)
	}
	lab.names[name] = true
}

// Router makes a router of the given kind.
func (lab *Lab) Router(kind NAT) *Router {
	lab.tb.Helper()
	return lab.newRouter(kind, func(r *Router) {
		attach(lab.tb, "wan0", r.ns, lab.wan, "br0", lab.wanAddr()+"/16", wanGateway)
	})
}

// newRouter makes a router; uplink gives it the link wan0.
func (lab *Lab) newRouter(kind NAT, uplink func(*Router)) *Router {
	tb := lab.tb
	tb.Helper()
	if lab.Options.Loopback {
		tb.Fatal("a loopback lab has no routers")
	}
	lab.nextLAN++
	r := &Router{lab: lab, lan: lab.nextLAN}
	r.ns = newNS(tb, fmt.Sprintf("r%d", r.lan), "")
	r.ns.must(tb, "sh", "-ec", fmt.Sprintf(`
sysctl -qw net.ipv6.conf.all.disable_ipv6=1 net.ipv4.ip_forward=1
ip link add lan0 address 02:00:00:00:00:02 type bridge
ip addr add 192.168.%d.1/24 dev lan0
ip link set lan0 up`, r.lan))
	uplink(r)
	masquerade, forward := "masquerade", ""
	switch kind {
	case NATSymmetric:
		masquerade = "masquerade fully-random"
	case NATUDPBlocked:
		forward = "meta l4proto udp drop"
	}
	// Unsolicited packets are dropped in input, as home routers do: a router that answers them itself would confirm
	// conntrack entries that make a later mapping move to another port.
	r.ns.nft(tb, `
table ip nat {
	chain post {
		type nat hook postrouting priority srcnat
		oifname "wan0" `+masquerade+`
	}
}
table ip fw {
	chain input {
		type filter hook input priority filter; policy drop
		iifname { "lan0", "lo" } accept
		ct state established,related accept
	}
	chain forward {
		type filter hook forward priority filter; policy drop
		`+forward+`
		iifname "lan0" accept
		ct state established,related accept
	}
}`)
	return r
}

// Host makes a machine behind the router.
func (r *Router) Host(name string) *Host {
	tb := r.lab.tb
	tb.Helper()
	r.lab.claim(name)
	r.nextHost++
	h := &Host{Name: name, lab: r.lab, IP: fmt.Sprintf("192.168.%d.%d", r.lan, 10+r.nextHost)}
	h.ns = newNS(tb, name, r.lab.hostsFile())
	attach(tb, "eth0", h.ns, r.ns, "lan0", h.IP+"/24", fmt.Sprintf("192.168.%d.1", r.lan))
	return h
}

// Run runs a command on the host to its end and returns its output.
func (h *Host) Run(timeout time.Duration, args ...string) (string, error) {
	return run(timeout, h.env(), "", h.ns.args(args...)...)
}

// Must runs a command on the host; the test fails when the command does.
func (h *Host) Must(tb testing.TB, args ...string) string {
	tb.Helper()
	return h.ns.must(tb, args...)
}

// Start starts a program on the host; its output goes to <host>-<name>.log of the lab.
func (h *Host) Start(name string, args ...string) *Proc {
	h.lab.tb.Helper()
	return h.StartEnv(h.lab.tb, name, nil, args...)
}

// StartEnv is Start for the duration of one test, with more environment variables.
func (h *Host) StartEnv(tb testing.TB, name string, env []string, args ...string) *Proc {
	tb.Helper()
	log := filepath.Join(h.lab.Dir, h.Name+"-"+name+".log")
	return newProc(tb, h.Name+" "+name, log, append(h.env(), env...), h.ns.args(args...))
}

func (h *Host) env() []string {
	return []string{"SSL_CERT_FILE=" + h.lab.CA.Path, "SSL_CERT_DIR=" + h.lab.Dir + "/none"}
}

// Listen makes a TCP listener of this process inside the host.
func (h *Host) Listen(addr string) (net.Listener, error) { return h.ns.listen(addr) }

// ListenUDP makes a UDP socket of this process inside the host.
func (h *Host) ListenUDP(addr string) (net.PacketConn, error) { return h.ns.listenUDP(addr) }

// Dial connects from inside the host.
func (h *Host) Dial(network, addr string, timeout time.Duration) (net.Conn, error) {
	return h.ns.dial(network, addr, timeout)
}

// Readdress gives a host on the internet another address there, as a new DHCP lease would.
func (h *Host) Readdress(tb testing.TB) (now string) {
	tb.Helper()
	was := h.IP
	h.IP = h.lab.wanAddr()
	h.Must(tb, "sh", "-ec", "ip addr del "+was+"/16 dev eth0; ip addr add "+h.IP+"/16 dev eth0; ip route replace default via "+wanGateway)
	return h.IP
}

// Block drops what the host sends that matches an nft expression, such as "ip daddr 10.77.0.22 udp dport 3478", until the
// returned function is called.
func (h *Host) Block(tb testing.TB, match string) (unblock func()) {
	tb.Helper()

	table := fmt.Sprintf("block%d", blocks.Add(1))
	h.ns.nft(tb, fmt.Sprintf("table inet %s {\n chain out {\n  type filter hook output priority 0\n  %s drop\n }\n}\n", table, match))
	return func() { run(5*time.Second, nil, "", h.ns.args("nft", "delete", "table", "inet", table)...) }
}

var blocks atomic.Int32
