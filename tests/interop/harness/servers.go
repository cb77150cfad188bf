// The servers of a lab: Headscale and the derper relays.
//
// SPDX-License-Identifier: MIT

package harness

import (
	"encoding/json"
	"fmt"
	"log"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

var runDirs atomic.Int32

// Derper is a relay with its STUN server, one region.
type Derper struct {
	Region int
	Code   string // "tst1", "tst2": what ping prints.
	Host   string
	IP     string
	Port   int
	STUN   int
	Cert   string // CertName of the DERP map, "" for a certificate of the lab's authority.
	lab    *Lab
	proc   *Proc
	args   []string
	portal *http.Server
}

func (lab *Lab) startDerper(n int) *Derper {
	tb := lab.tb
	tb.Helper()
	d := &Derper{Region: n, Code: fmt.Sprintf("tst%d", n), Host: fmt.Sprintf("derp%d.test", n), lab: lab,
		IP: fmt.Sprintf("10.77.0.2%d", n), Port: 443, STUN: 3478}
	if lab.Options.Loopback {
		d.IP = "127.0.0.1"
		d.Port, d.STUN = freePort(tb, "tcp"), freePort(tb, "udp")
	}
	if lab.Options.DERPCertPin {
		_, _, sha := SelfSigned(tb, lab.Dir, d.Host, d.Host)
		d.Cert = "sha256-raw:" + sha
	} else {
		lab.CA.Issue(tb, d.Host, d.Host)
	}
	certFor := d.Host
	if lab.Options.DERPAnySNI {
		// derper does not look at the server name when its own name is an address.
		certFor = d.IP
		lab.CA.Issue(tb, d.IP, d.Host, d.IP)
	}
	d.args = []string{Official(tb, "derper"), "-c", filepath.Join(lab.Dir, d.Host+".json"), "-http-port", "-1",
		"-a", net.JoinHostPort(d.IP, fmt.Sprint(d.Port)), "-stun-port", fmt.Sprint(d.STUN),
		"-certmode", "manual", "-certdir", lab.Dir, "-hostname", certFor}
	d.Start()
	return d
}

// Start starts the relay after a Stop.
func (d *Derper) Start() {
	d.lab.tb.Helper()
	d.proc = newProc(d.lab.tb, d.Host, filepath.Join(d.lab.Dir, d.Host+".log"), nil, d.lab.wan.args(d.args...))
}

// Stop kills the relay.
func (d *Derper) Stop() { d.proc.Kill() }

// Portal puts another web server in the place of the stopped relay, as a captive portal does: it answers everything with a page.
func (d *Derper) Portal(tb testing.TB, crt, key string) {
	tb.Helper()
	l, err := d.lab.wan.listen(net.JoinHostPort(d.IP, fmt.Sprint(d.Port)))
	if err != nil {
		tb.Fatal(err)
	}
	d.portal = &http.Server{ErrorLog: log.New(discard{}, "", 0), Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintln(w, "<!DOCTYPE html><html><body>Please log in to this network</body></html>")
	})}
	go d.portal.ServeTLS(l, crt, key)
	tb.Cleanup(d.ClosePortal)
}

// ClosePortal ends what Portal began.
func (d *Derper) ClosePortal() { d.portal.Close() }

// Log returns what the relay has written.
func (d *Derper) Log() string { return d.proc.Output() }

func (d *Derper) waitReady(tb testing.TB) {
	tb.Helper()
	d.lab.waitTCP(tb, d.Host, net.JoinHostPort(d.IP, fmt.Sprint(d.Port)), d.proc)
}

// Restart stops and starts the relay and waits until it serves.
func (d *Derper) Restart(tb testing.TB) {
	tb.Helper()
	d.Stop()
	d.Start()
	d.waitReady(tb)
}

func (lab *Lab) waitTCP(tb testing.TB, what, addr string, p *Proc) {
	tb.Helper()
	Eventually(tb, 20*time.Second, what+" listens", func() error {
		if p.Exited() {
			tb.Fatalf("%s ended: %s", what, tail(p.Output(), 5))
		}
		c, err := lab.wan.dial("tcp", addr, time.Second)
		if err == nil {
			c.Close()
		}
		return err
	})
}

// The kernel may offer a port again that it was just given back, before the program it was meant for has bound it.
var portsGiven sync.Map

func freePort(tb testing.TB, network string) int {
	tb.Helper()
	for {
		port := openPort(tb, network)
		if _, again := portsGiven.LoadOrStore(fmt.Sprint(network, port), true); !again {
			return port
		}
	}
}

func openPort(tb testing.TB, network string) int {
	tb.Helper()
	if network == "udp" {
		c, err := net.ListenPacket("udp", "127.0.0.1:0")
		if err != nil {
			tb.Fatal(err)
		}
		defer c.Close()
		return c.LocalAddr().(*net.UDPAddr).Port
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

// Headscale is the control server.
type Headscale struct {
	URL    string
	lab    *Lab
	config string
	listen string
	proc   *Proc
}

const allowAll = `{"acls":[{"action":"accept","src":["*"],"dst":["*:*"]}]}`

func (lab *Lab) startHeadscale() *Headscale {
	tb := lab.tb
	tb.Helper()
	h := &Headscale{lab: lab}
	ip, port, metrics, grpc, name := ControlIP, 8080, 9090, 50443, ControlName
	if lab.Options.Loopback {
		ip, name = "127.0.0.1", "127.0.0.1"
		port, metrics, grpc = freePort(tb, "tcp"), freePort(tb, "tcp"), freePort(tb, "tcp")
	}
	h.listen = net.JoinHostPort(ip, fmt.Sprint(port))
	// By address: for a plain URL with a host name that is not private, official clients may insist on TLS at port 443.
	h.URL = "http://" + h.listen
	tls := ""
	if lab.Options.ControlTLS {
		crt, key := lab.CA.Issue(tb, "control", name, ip)
		tls = fmt.Sprintf("tls_cert_path: %s\ntls_key_path: %s\n", crt, key)
		h.URL = "https://" + net.JoinHostPort(name, fmt.Sprint(port))
	}
	// Headscale reads the map with the field names in lower case.
	derp := "regions:\n"
	for id, r := range lab.DERPMap().Regions {
		node := r.Nodes[0]
		derp += fmt.Sprintf("  %d:\n    regionid: %d\n    regioncode: %s\n    regionname: %s\n    nodes:\n", id, id, r.RegionCode, r.RegionName)
		derp += fmt.Sprintf("      - name: %s\n        regionid: %d\n        hostname: %s\n        certname: '%s'\n", node.Name, id,
			node.HostName, node.CertName)
		derp += fmt.Sprintf("        ipv4: %s\n        ipv6: none\n        stunport: %d\n        derpport: %d\n", node.IPv4, node.STUNPort,
			node.DERPPort)
	}
	policy := lab.Options.Policy
	if policy == "" {
		policy = allowAll
	}
	// A path of a Unix socket is at most 107 bytes, so it is not below the lab's folder.
	sock, err := os.MkdirTemp("", "hs")
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { os.RemoveAll(sock) })
	h.config = lab.file("headscale.yaml", strings.Join(append([]string{
		"server_url: " + h.URL,
		"listen_addr: " + h.listen,
		fmt.Sprintf("metrics_listen_addr: %s:%d", ip, metrics),
		fmt.Sprintf("grpc_listen_addr: %s:%d", ip, grpc),
		"noise: {private_key_path: " + filepath.Join(lab.Dir, "noise.key") + "}",
		"prefixes: {v4: 100.64.0.0/10, v6: 'fd7a:115c:a1e0::/48', allocation: sequential}",
		"derp: {server: {enabled: false}, urls: [], paths: [" + lab.file("derpmap.yaml", derp) + "], auto_update_enabled: false}",
		"disable_check_updates: true",
		"database: {type: sqlite, sqlite: {path: " + filepath.Join(lab.Dir, "headscale.db") + "}}",
		"log: {level: debug, format: text}",
		"policy: {mode: file, path: " + lab.file("policy.json", policy) + "}",
		"dns: {magic_dns: true, base_domain: lab.test, override_local_dns: false, nameservers: {global: []}}",
		"unix_socket: " + filepath.Join(sock, "s"),
		"logtail: {enabled: false}",
		tls,
	}, lab.Options.Config...), "\n"))
	h.Start()
	h.waitReady(tb)
	h.CLI(tb, "users", "create", "lab")
	return h
}

// Start starts Headscale after a Stop.
func (h *Headscale) Start() {
	h.lab.tb.Helper()
	h.proc = newProc(h.lab.tb, "headscale", filepath.Join(h.lab.Dir, "headscale.log"), nil,
		h.lab.wan.args(Official(h.lab.tb, "headscale"), "serve", "-c", h.config))
}

// SetPolicy changes the access rules of the running server.
func (h *Headscale) SetPolicy(tb testing.TB, policy string) {
	tb.Helper()
	h.lab.file("policy.json", policy)
	h.proc.Signal(syscall.SIGHUP)
}

// Stop kills Headscale.
func (h *Headscale) Stop() { h.proc.Kill() }

// Restart stops and starts Headscale and waits until it serves.
func (h *Headscale) Restart(tb testing.TB) {
	tb.Helper()
	h.Stop()
	h.Start()
	h.waitReady(tb)
}

// Log returns what Headscale has written.
func (h *Headscale) Log() string { return h.proc.Output() }

func (h *Headscale) waitReady(tb testing.TB) {
	tb.Helper()
	h.lab.waitTCP(tb, "headscale", h.listen, h.proc)
}

// CLI runs a headscale command and returns its output.
func (h *Headscale) CLI(tb testing.TB, args ...string) string {
	tb.Helper()
	full := append([]string{Official(tb, "headscale"), "-c", h.config}, args...)
	var out string
	// The control socket may open a little after the port.
	Eventually(tb, 10*time.Second, "headscale "+strings.Join(args, " "), func() (err error) {
		if out, err = run(10*time.Second, nil, "", full...); err != nil {
			return fmt.Errorf("%w: %s", err, out)
		}
		return nil
	})
	return out
}

// AuthKey makes a pre-auth key. Options are those of "headscale preauthkeys create", such as "--reusable".
func (h *Headscale) AuthKey(tb testing.TB, options ...string) string {
	tb.Helper()
	out := h.CLI(tb, append([]string{"preauthkeys", "create", "--user", "1", "-o", "json"}, options...)...)
	var key struct{ Key string }
	if err := json.Unmarshal([]byte(out[max(0, strings.Index(out, "{")):]), &key); err != nil || key.Key == "" {
		tb.Fatalf("no key in %q", out)
	}
	return key.Key
}

// HSNode is what Headscale knows of a node.
type HSNode struct {
	ID          uint64
	Name        string
	GivenName   string   `json:"given_name"`
	NodeKey     string   `json:"node_key"`
	MachineKey  string   `json:"machine_key"`
	DiscoKey    string   `json:"disco_key"`
	IPAddresses []string `json:"ip_addresses"`
	Online      bool
}

// Nodes lists the nodes Headscale knows.
func (h *Headscale) Nodes(tb testing.TB) []HSNode {
	tb.Helper()
	out := h.CLI(tb, "nodes", "list", "-o", "json")
	var nodes []HSNode
	if err := json.Unmarshal([]byte(out[max(0, strings.Index(out, "[")):]), &nodes); err != nil {
		tb.Fatalf("%v in %q", err, out)
	}
	return nodes
}

// Node returns the node of that name.
func (h *Headscale) Node(tb testing.TB, name string) HSNode {
	tb.Helper()
	for _, n := range h.Nodes(tb) {
		if n.GivenName == name {
			return n
		}
	}
	tb.Fatalf("headscale has no node %q", name)
	return HSNode{}
}
