// Nodes of a tailnet: the official one and ours, driven through the same words, since our command line follows the official.
//
// SPDX-License-Identifier: MIT

package harness

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// Userspace is the TUN name that means "no TUN device".
const Userspace = "userspace-networking"

// NodeOptions; the zero value is a node with a TUN device that has not logged in yet.
type NodeOptions struct {
	AuthKey   string
	Userspace bool
	URL       string   // Control server; "" is the lab's Headscale.
	Args      []string // More flags for the daemon.
	Env       []string
	CAFile    string // "" is the lab's authority.
	Wrap      []string
}

// Node is a tailnet node on a host.
type Node struct {
	*Host
	Official bool
	Options  NodeOptions
	Proc     *Proc
	Socket   string
	State    string
	tb       testing.TB
	started  int
}

func (h *Host) node(tb testing.TB, official bool, options NodeOptions) *Node {
	tb.Helper()
	if options.URL == "" {
		options.URL = h.lab.Headscale.URL
	}
	if options.CAFile == "" {
		options.CAFile = h.lab.CA.Path
	}
	sock, err := os.MkdirTemp("", "mlt")
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { os.RemoveAll(sock) })
	n := &Node{Host: h, Official: official, Options: options, tb: tb, Socket: filepath.Join(sock, "s"),
		State: filepath.Join(h.lab.Dir, h.Name+".state")}
	n.Start()
	return n
}

// Tailscaled starts an official node on the host. With an auth key it also logs in.
func (h *Host) Tailscaled(tb testing.TB, options NodeOptions) *Node {
	tb.Helper()
	return h.node(tb, true, options)
}

// Microlink starts our node on the host. With ML_SUBJECT=tailscaled it starts an official node in its place: that proves the
// tests, not microlink.
func (h *Host) Microlink(tb testing.TB, options NodeOptions) *Node {
	tb.Helper()
	return h.node(tb, SubjectIsOfficial(), options)
}

// SubjectIsOfficial tells whether official nodes stand in for ours.
func SubjectIsOfficial() bool { return os.Getenv("ML_SUBJECT") == "tailscaled" }

// Program is the path of our program.
func Program(tb testing.TB) string {
	tb.Helper()
	return Binary(tb, "ports/posix/microlink")
}

// Start starts the node's daemon, with the state of an earlier run if there was one.
func (n *Node) Start() {
	n.tb.Helper()
	tun := "ts0"
	if n.Options.Userspace {
		tun = Userspace
	}
	var args []string
	var env []string
	name := "microlink"
	if n.Official {
		name = "tailscaled"
		port := "41641"
		if n.ns.name == "" {
			port = "0" // Hosts of a loopback lab share the machine's ports.
		}
		args = []string{Official(n.tb, "tailscaled"), "--state=" + n.State, "--statedir=" + n.State + ".d", "--socket=" + n.Socket,
			"--tun=" + tun, "--port=" + port, "--no-logs-no-support"}
		env = []string{"SSL_CERT_FILE=" + n.Options.CAFile, "HOME=" + n.lab.Dir}
	} else {
		args = []string{Program(n.tb), "run", "--login-server", n.Options.URL, "--hostname", n.Name, "--state", n.State,
			"--socket", n.Socket, "--tun", tun, "--ca-file", n.Options.CAFile, "--verbose", "1"}
		if n.Options.AuthKey != "" {
			args = append(args, "--auth-key", n.Options.AuthKey)
		}
	}
	args = append(append([]string{}, n.Options.Wrap...), append(args, n.Options.Args...)...)
	n.Proc = n.StartEnv(n.tb, name, append(env, n.Options.Env...), args...)
	n.started++
	n.waitSocket()
	if n.Official && n.Options.AuthKey != "" && n.started == 1 {
		if out, err := n.Up(n.Options.AuthKey); err != nil {
			n.tb.Fatalf("%s: tailscale up: %v\n%s", n.Name, err, out)
		}
	}
}

func (n *Node) waitSocket() {
	n.tb.Helper()
	Eventually(n.tb, 20*time.Second, n.Name+" serves its socket", func() error {
		if n.Proc.Exited() {
			n.tb.Fatalf("%s ended: %s", n.Proc.Name, tail(n.Proc.Output(), 5))
		}
		_, err := os.Stat(n.Socket)
		return err
	})
}

// Restart kills the daemon as a power cut would and starts it again.
func (n *Node) Restart() {
	n.tb.Helper()
	n.Proc.Kill()
	os.Remove(n.Socket)
	n.Start()
}

// Up logs an official node in.
func (n *Node) Up(key string) (string, error) {
	return n.CLI("up", "--login-server="+n.Options.URL, "--authkey="+key, "--hostname="+n.Name, "--accept-dns=false",
		"--netfilter-mode=off", "--timeout=30s")
}

// CLI runs a word of the node's own command line tool.
func (n *Node) CLI(args ...string) (string, error) {
	return n.Run(40*time.Second, append(n.tool(), args...)...)
}

// StartCLI is CLI in the background.
func (n *Node) StartCLI(args ...string) *Proc {
	return n.Host.Start("cli", append(n.tool(), args...)...)
}

func (n *Node) tool() []string {
	if n.Official {
		return []string{Official(n.tb, "tailscale"), "--socket=" + n.Socket}
	}
	return []string{Program(n.tb), "--socket", n.Socket}
}

// MustCLI is CLI; the test fails when the command does.
func (n *Node) MustCLI(tb testing.TB, args ...string) string {
	tb.Helper()
	out, err := n.CLI(args...)
	if err != nil {
		tb.Fatalf("%s: %s: %v\n%s", n.Name, strings.Join(args, " "), err, out)
	}
	return out
}

// OfficialCLI runs the official tailscale tool against the node's socket, whoever serves it.
func (n *Node) OfficialCLI(args ...string) (string, error) {
	return n.Run(40*time.Second, append([]string{Official(n.tb, "tailscale"), "--socket=" + n.Socket}, args...)...)
}

// Peer is a node as `status --json` shows it.
type Peer struct {
	ID           string
	HostName     string
	DNSName      string
	TailscaleIPs []string
	CurAddr      string
	Relay        string
	Online       bool
	Active       bool
	RxBytes      int64
	TxBytes      int64
}

// Status is `status --json`.
type Status struct {
	BackendState string
	AuthURL      string
	Self         Peer
	Peer         map[string]Peer
	Health       []string
}

// Status asks the node for its status.
func (n *Node) Status() (*Status, error) {
	out, err := n.CLI("status", "--json")
	var s Status
	if at := strings.Index(out, "{"); at >= 0 {
		if jsonErr := json.NewDecoder(strings.NewReader(out[at:])).Decode(&s); jsonErr != nil {
			return nil, fmt.Errorf("status --json: %w in %q", jsonErr, out)
		}
		return &s, nil
	}
	if err == nil {
		err = errors.New("no JSON")
	}
	return nil, fmt.Errorf("status --json: %w: %s", err, out)
}

// WaitRunning waits until the node is logged in and has addresses.
func (n *Node) WaitRunning(tb testing.TB, within time.Duration) *Status {
	tb.Helper()
	var s *Status
	Eventually(tb, within, n.Name+" is running (log: "+n.Proc.Log+")", func() (err error) {
		if s, err = n.Status(); err != nil {
			return err
		}
		if s.BackendState != "Running" || len(s.Self.TailscaleIPs) == 0 {
			return fmt.Errorf("state %q, health %q", s.BackendState, s.Health)
		}
		return nil
	})
	return s
}

// FindPeer returns the peer of that host name.
func (s *Status) FindPeer(name string) (Peer, bool) {
	for _, p := range s.Peer {
		if strings.HasPrefix(p.DNSName, name+".") {
			return p, true
		}
	}
	return Peer{}, false
}

// WaitPeer waits until the node has a peer of that name and knows its home region.
func (n *Node) WaitPeer(tb testing.TB, name string, within time.Duration) Peer {
	tb.Helper()
	var peer Peer
	Eventually(tb, within, n.Name+" sees "+name, func() error {
		s, err := n.Status()
		if err != nil {
			return err
		}
		p, ok := s.FindPeer(name)
		if !ok {
			return fmt.Errorf("has %d peers", len(s.Peer))
		}
		if p.Relay == "" {
			return errors.New("its home is not known")
		}
		peer = p
		return nil
	})
	return peer
}

// WaitHome waits until the node has chosen that home region ("tst1").
func (n *Node) WaitHome(tb testing.TB, code string, within time.Duration) {
	tb.Helper()
	Eventually(tb, within, n.Name+" is at home in "+code, func() error {
		s, err := n.Status()
		if err == nil && s.Self.Relay != code {
			err = fmt.Errorf("home is %q", s.Self.Relay)
		}
		return err
	})
}

// IP4 and IP6 are the node's tailnet addresses.
func (n *Node) IP4(tb testing.TB) string {
	tb.Helper()
	return n.ip(tb, ".")
}

// IP6 is the node's tailnet IPv6 address.
func (n *Node) IP6(tb testing.TB) string {
	tb.Helper()
	return n.ip(tb, ":")
}

func (n *Node) ip(tb testing.TB, mark string) string {
	tb.Helper()
	for _, ip := range n.WaitRunning(tb, 30*time.Second).Self.TailscaleIPs {
		if strings.Contains(ip, mark) {
			return ip
		}
	}
	tb.Fatalf("%s has no address with %q", n.Name, mark)
	return ""
}

// Pong is one line of `ping`: who answered, and over what.
type Pong struct {
	Name, IP, Via string // Via is "DERP(tst1)" or "10.77.1.2:41641".
}

// Direct tells whether the answer came over UDP between the two.
func (p Pong) Direct() bool {
	return !strings.HasPrefix(p.Via, "DERP(") && p.Via != "TSMP" && p.Via != "ICMP"
}

var pongLine = regexp.MustCompile(`pong from (\S+) \(([^)]+)\)(?: \([^)]*\))? via (\S+) in `)

// Ping runs `ping` with the given flags and returns the pongs. The error is that of the command.
func (n *Node) Ping(args ...string) ([]Pong, string, error) {
	out, err := n.CLI(append([]string{"ping"}, args...)...)
	var pongs []Pong
	for _, m := range pongLine.FindAllStringSubmatch(out, -1) {
		pongs = append(pongs, Pong{m[1], m[2], strings.TrimSuffix(m[3], ",")})
	}
	return pongs, out, err
}
