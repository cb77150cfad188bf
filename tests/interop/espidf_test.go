//go:build espidf

// The ESP-IDF component, built by ESP-IDF for its own target "linux", among official peers. Nothing here builds it: ML_ESP_NODE
// is the executable of tests/esp/linux, ML_ESP_PING_PONG that of examples/ping_pong/esp-idf, ML_ESP_BASIC_CONNECT and
// ML_ESP_SENSOR_NODE those of the other examples (docs/esp-idf.md, Testing).
//
// SPDX-License-Identifier: MIT

package interop

import (
	"bytes"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"microlink.test/interop/harness"
)

func espProgram(t *testing.T, variable string) string {
	t.Helper()
	exe := os.Getenv(variable)
	if _, err := os.Stat(exe); exe == "" || err != nil {
		t.Fatalf("%s must be the path of the executable that ESP-IDF built: %v", variable, err)
	}
	return exe
}

// espNode starts the test program, joined to the lab.
func espNode(t *testing.T, lab *harness.Lab, name string, env ...string) *harness.ESP {
	t.Helper()
	e := lab.ESPHost(t, name).StartESP(t, espProgram(t, "ML_ESP_NODE"), append([]string{"CONTROL_URL=" + lab.Headscale.URL,
		"AUTH_KEY=" + lab.Headscale.AuthKey(t, "--reusable"), "CA_FILE=" + lab.CA.Path, "NAME=" + name}, env...)...)
	e.Proc.WaitLog(t, 0, `^ready:`, 20*time.Second)
	return e
}

func joined(t *testing.T, lab *harness.Lab, name string, env ...string) (e *harness.ESP, ip string) {
	t.Helper()
	e = espNode(t, lab, name, env...)
	e.Say(t, "init")
	e.Ask(t, "connect", "connect: done", 10*time.Second)
	return e, e.WaitRunning(t, 30*time.Second)
}

// echoes sends datagrams to addr, one a round, and counts the answers.
func echoes(t *testing.T, from *harness.Node, addr, local string, rounds, size int) int {
	t.Helper()
	c, err := from.ListenUDP(local)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	to, err := net.ResolveUDPAddr("udp", addr)
	if err != nil {
		t.Fatal(err)
	}
	sent, got, count := make([]byte, size), make([]byte, 2000), 0
	for i := 0; i < rounds; i++ {
		rand.Read(sent)
		c.WriteTo(sent, to)
		c.SetReadDeadline(time.Now().Add(2 * time.Second))
		if n, _, err := c.ReadFrom(got); err == nil && bytes.Equal(got[:n], sent) {
			count++
		}
	}
	return count
}

// allPings requires an answer to each of the official tool's pings.
func allPings(t *testing.T, from *harness.Node, ip string) {
	t.Helper()
	for _, how := range [][]string{{}, {"--tsmp"}, {"--icmp"}} {
		boardlikePing(t, from, ip, how...)
	}
}

func boardlikePing(t *testing.T, from *harness.Node, ip string, how ...string) []harness.Pong {
	t.Helper()
	pongs, out, err := from.Ping(append(append([]string{"-c", "10", "--timeout", "5s"}, how...), ip)...)
	if err != nil || len(pongs) == 0 {
		t.Errorf("ping %v %s: %v\n%s", how, ip, err, out)
	}
	t.Logf("ping %v: %s", how, strings.ReplaceAll(strings.TrimSpace(out), "\n", "; "))
	return pongs
}

// expectAnswer waits until the official tool gets an answer.
func expectAnswer(t *testing.T, official *harness.Node, ip, what string, within time.Duration) {
	t.Helper()
	took := harness.Eventually(t, within, "an answer after "+what, func() error {
		_, out, err := official.Ping("-c", "1", "--timeout", "2s", "--until-direct=false", "--tsmp", ip)
		if err != nil {
			return fmt.Errorf("%w: %s", err, out)
		}
		return nil
	})
	t.Logf("answers %s after %s", seconds(took), what)
}

// logIn visits the URL that a device prints.
func logIn(t *testing.T, lab *harness.Lab, proc *harness.Proc, within time.Duration) {
	t.Helper()
	url := strings.TrimSpace(proc.WaitLog(t, 0, "visit http", within)) // A terminal's line ends with \r\n.
	visit(t, lab, url)
}

// joinPingPong starts examples/ping_pong beside an official node and waits until each knows the other.
func joinPingPong(t *testing.T, lab *harness.Lab) (official *harness.Node, e *harness.ESP, ip string) {
	t.Helper()
	official = lab.Host("ts").Tailscaled(t, harness.NodeOptions{AuthKey: lab.Headscale.AuthKey(t)})
	official.WaitRunning(t, 30*time.Second)
	// Built with CONFIG_MICROLINK_CONTROL_URL of the lab and without a key: a user logs it in.
	e = lab.ESPHost(t, "esp32-device").StartESP(t, espProgram(t, "ML_ESP_PING_PONG"))
	logIn(t, lab, e.Proc, 30*time.Second)
	e.Proc.WaitLog(t, 0, "heap .* wake-ups", 60*time.Second)
	official.WaitPeer(t, "esp32-device", 20*time.Second)
	ip = lab.Headscale.Node(t, "esp32-device").IPAddresses[0]
	return official, e, ip
}

func TestESPPingPongExample(t *testing.T) {
	lab := harness.New(t, harness.Options{DERPCertPin: true})
	official, e, ip := joinPingPong(t, lab)
	allPings(t, official, ip)
	if n := echoes(t, official, ip+":5055", ":5055", 10, 100); n < 9 {
		t.Errorf("%d of 10 datagrams came back", n)
	}
	e.Proc.WaitLog(t, 0, "pong from 100.* ms", 70*time.Second)
	t.Logf("its output:\n%s", e.Proc.Output())
}

func TestESPBasicConnectExample(t *testing.T) {
	lab := harness.New(t, harness.Options{DERPCertPin: true})
	official := lab.Host("ts").Tailscaled(t, harness.NodeOptions{AuthKey: lab.Headscale.AuthKey(t)})
	official.WaitRunning(t, 30*time.Second)
	e := lab.ESPHost(t, "esp32-device").StartESP(t, espProgram(t, "ML_ESP_BASIC_CONNECT"))
	logIn(t, lab, e.Proc, 30*time.Second)
	e.Proc.WaitLog(t, 0, `^connected as 100\.`, 60*time.Second)
	e.Proc.WaitLog(t, 0, `^  100\.\S+ +ts`, 5*time.Second)
	official.WaitPeer(t, "esp32-device", 20*time.Second)
	allPings(t, official, lab.Headscale.Node(t, "esp32-device").IPAddresses[0])
	t.Logf("its output:\n%s", e.Proc.Output())
}

// The device is started anew each time, as after deep sleep; its flash stays.
func TestESPSensorNodeExample(t *testing.T) {
	lab := harness.New(t, harness.Options{DERPCertPin: true})
	collector := lab.Host("pong").Tailscaled(t, harness.NodeOptions{AuthKey: lab.Headscale.AuthKey(t)})
	collector.WaitRunning(t, 30*time.Second)
	c, err := collector.ListenUDP(":5055")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	go func() {
		buf := make([]byte, 2000)
		for {
			n, from, err := c.ReadFrom(buf)
			if err != nil {
				return
			}
			c.WriteTo(buf[:n], from)
		}
	}()
	h, flash := lab.ESPHost(t, "esp32-device"), "FLASH="+filepath.Join(lab.Dir, "flash")
	exe := espProgram(t, "ML_ESP_SENSOR_NODE")
	e := h.StartESP(t, exe, flash)
	// It stays awake until somebody has logged it in.
	url := e.Proc.WaitLog(t, 0, "visit http", 60*time.Second)
	time.Sleep(5 * time.Second)
	visit(t, lab, url)
	e.Proc.WaitLog(t, 0, `^published: reading 1: \d+`, 40*time.Second)
	if code := e.Proc.WaitExit(t, 10*time.Second); code != 0 {
		t.Fatalf("exit %d:\n%s", code, e.Proc.Output())
	}
	from := map[string]bool{}
	for i := 0; i < 5; i++ {
		mark := e.Proc.Mark()
		began := time.Now()
		e = h.StartESP(t, exe, flash)
		e.Proc.WaitLog(t, mark, `^published: reading 1: \d+`, 40*time.Second)
		t.Logf("awake for %s until it was published", seconds(time.Since(began)))
		// An official node goes on answering to the address before for 6.5 s.
		if addr := collector.WaitPeer(t, "esp32-device", time.Second).CurAddr; addr != "" {
			from[addr] = true
		}
		if code := e.Proc.WaitExit(t, 10*time.Second); code != 0 {
			t.Errorf("exit %d:\n%s", code, e.Proc.Output())
		}
	}
	if len(from) != 1 {
		t.Errorf("it was on these addresses: %v", from)
	}
	if n := len(lab.Headscale.Nodes(t)); n != 2 {
		t.Errorf("%d nodes: it was not the same one each time", n)
	}
}

func TestESPJoinsAnswersPingsAndCarriesSockets(t *testing.T) {
	for _, secure := range []bool{false, true} {
		t.Run(fmt.Sprintf("control over TLS %v", secure), func(t *testing.T) {
			lab := harness.New(t, harness.Options{ControlTLS: secure})
			lab.ServeDNS(t) // lwIP reads no hosts file.
			official := lab.Host("ts").Tailscaled(t, harness.NodeOptions{AuthKey: lab.Headscale.AuthKey(t)})
			official.WaitRunning(t, 30*time.Second)
			e, ip := joined(t, lab, "esp")
			official.WaitPeer(t, "esp", 20*time.Second)
			allPings(t, official, ip)
			if n := echoes(t, official, ip+":5055", ":5055", 20, 1200); n < 19 {
				t.Errorf("%d of 20 datagrams came back from the data port", n)
			}
			if n := echoes(t, official, ip+":7", ":0", 20, 1200); n < 19 {
				t.Errorf("%d of 20 datagrams came back from a socket", n)
			}
			espTCP(t, official, ip, 256<<10)
			l, err := official.Listen(official.IP4(t) + ":9999")
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			go func() {
				for {
					c, err := l.Accept()
					if err != nil {
						return
					}
					go io.Copy(c, c)
				}
			}()
			e.Ask(t, "tcp "+official.IP4(t)+" 9999 65536", "tcp: 65536 of 65536", 60*time.Second)
			t.Logf("%v", e.Status(t))
		})
	}
}

// espTCP sends bytes to the echo server behind lwIP's sockets.
func espTCP(t *testing.T, from *harness.Node, ip string, size int) {
	t.Helper()
	began := time.Now()
	c, err := from.Dial("tcp", ip+":7", 20*time.Second)
	if err != nil {
		t.Errorf("echo: %v", err)
		return
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(60 * time.Second))
	sent, got := make([]byte, size), make([]byte, size)
	rand.Read(sent)
	go c.Write(sent)
	if n, err := io.ReadFull(c, got); err != nil || !bytes.Equal(got, sent) {
		t.Errorf("echo: %d of %d bytes, equal %v: %v", n, size, bytes.Equal(got, sent), err)
	}
	t.Logf("%d bytes of TCP echo in %s", size, seconds(time.Since(began)))
}

func TestESPLosesTheNetworkTheRelayAndControlInTurn(t *testing.T) {
	lab := harness.New(t, harness.Options{})
	official := lab.Host("ts").Tailscaled(t, harness.NodeOptions{AuthKey: lab.Headscale.AuthKey(t)})
	official.WaitRunning(t, 30*time.Second)
	e, ip := joined(t, lab, "esp")
	official.WaitPeer(t, "esp", 20*time.Second)
	answers := func(what string, within time.Duration) {
		t.Helper()
		expectAnswer(t, official, ip, what, within)
	}
	answers("joining", 20*time.Second)
	e.Say(t, "down")
	time.Sleep(60 * time.Second)
	e.PlugESP(t)
	answers("a minute without Ethernet", 60*time.Second)
	e.MoveESP(t)
	answers("another address", 60*time.Second)
	for _, d := range lab.Derpers {
		d.Stop()
	}
	time.Sleep(20 * time.Second)
	for _, d := range lab.Derpers {
		d.Start()
	}
	answers("20 s without relays", 60*time.Second)
	mark := e.Proc.Mark()
	lab.Headscale.Stop()
	time.Sleep(20 * time.Second)
	lab.Headscale.Start()
	e.Proc.WaitLog(t, mark, "control: connected", 90*time.Second)
	answers("20 s without control", 60*time.Second)
	if boots := e.Proc.LinesMatching(0, "^ready:"); len(boots) != 1 {
		t.Errorf("it started anew: %v", boots)
	}
	t.Logf("%v", e.Status(t))
}

func TestESPCyclesLeaveNoGrowth(t *testing.T) {
	lab := harness.New(t, harness.Options{})
	// Each relay was home once before the heap is counted: a session of TLS is kept for both, and the home may change meanwhile.
	lab.Derpers[1].Stop()
	e, _ := joined(t, lab, "esp")
	e.Proc.WaitLog(t, 0, "relay connected: home region tst1", 20*time.Second)
	e.Ask(t, "disconnect", "disconnect: done", 10*time.Second)
	lab.Derpers[1].Start()
	lab.Derpers[0].Stop()
	e.Ask(t, "connect", "connect: done", 10*time.Second)
	e.Proc.WaitLog(t, 0, "relay connected: home region tst2", 20*time.Second)
	lab.Derpers[0].Start()
	e.Ask(t, "disconnect", "disconnect: done", 10*time.Second)
	t.Log(e.Ask(t, "cycle 1000", "^cycled:", 30*time.Minute))
	var used []int
	for _, line := range e.Proc.LinesMatching(0, "^cycle: ") {
		if s := harness.Pairs(line); s["missed"] == "0" {
			used = append(used, harness.Int(t, s, "heap"))
		}
	}
	t.Logf("heap after each hundred: %v", used)
	// The index of NVS in RAM grows with what is stored, until the pages of its partition are full.
	if len(used) != 10 || used[9] > used[4] {
		t.Errorf("it grew, or did not connect each time: %v", used)
	}
}

func TestESPDeinitAfterAnyStateReturnsAllHeap(t *testing.T) {
	lab := harness.New(t, harness.Options{})
	e := espNode(t, lab, "esp", "STATE=mem:")     // NVS keeps an index in RAM that grows with what is stored.
	e.Ask(t, "life 50", "^lived:", 3*time.Minute) // What others keep once, such as the table of sockets, is there now.
	line := e.Ask(t, "life 200", "^lived:", 10*time.Minute)
	t.Log(line)
	s := harness.Pairs(line)
	if s["failed"] != "0" || s["heap"] != s["heap_before"] || s["blocks"] != s["blocks_before"] || harness.Int(t, s, "furthest") < 4 {
		t.Errorf("not all came back, or it never connected: %s", line)
	}
}

// Sixteen peers, control and the home relay connected over TLS, one peer in session. Meant for an executable with pointers of 32
// bits: on another one the figures are larger than a chip's.
func TestESPHeapWithSixteenPeers(t *testing.T) {
	espHeap(t, harness.Options{ControlTLS: true}, false, 100<<10, 100<<10)
}

// The same with chains as public authorities' servers show them, with RSA keys: the root in the bundle or as ca_pem. Checking
// such a signature takes 5 to 10 KB for a moment: what is left of the budget is what a chip's own limits leave (docs/esp-idf.md).
func TestESPHeapWithPublicCertificates(t *testing.T) {
	for _, c := range []struct {
		intermediates int
		bundle        bool
	}{{1, true}, {2, true}, {1, false}} {
		t.Run(fmt.Sprintf("%d intermediates bundle %v", c.intermediates, c.bundle), func(t *testing.T) {
			espHeap(t, harness.Options{ControlTLS: true, PublicCA: c.intermediates}, c.bundle, 109<<10, 112<<10)
		})
	}
}

// espHeap has two bounds of the peak: from ESP-IDF 6 on Mbed TLS, version 4, takes more while it checks a signature.
func espHeap(t *testing.T, options harness.Options, bundle bool, limit, limitFrom6 int) {
	t.Helper()
	lab := harness.New(t, options)
	chain, _ := lab.CA.Issue(t, "another", harness.ControlName)
	if text, err := os.ReadFile(chain); err == nil {
		length, number := 0, 0
		for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
			length, number = length+len(block.Bytes), number+1
		}
		t.Logf("servers show %d certificates of %d bytes", number, length)
	}
	lab.ServeDNS(t)
	official := lab.Host("ts").Tailscaled(t, harness.NodeOptions{AuthKey: lab.Headscale.AuthKey(t)})
	official.WaitRunning(t, 30*time.Second)
	for i := 0; i < 15; i++ {
		n := lab.Host(fmt.Sprintf("n%d", i)).Microlink(t, harness.NodeOptions{AuthKey: lab.Headscale.AuthKey(t)})
		n.WaitRunning(t, 30*time.Second)
		n.Proc.Kill()
	}
	env := []string{"STATE=mem:"}
	if bundle {
		to53, from54 := lab.CA.Bundles(t)
		env = append(env, "CA_FILE=", "BUNDLE_FILE="+to53, "BUNDLE_FILE_54="+from54)
	}
	e := espNode(t, lab, "esp", env...)
	e.Say(t, "mark")
	before := harness.Int(t, e.Status(t), "heap")
	e.Say(t, "init")
	mark := e.Proc.Mark()
	e.Ask(t, "blocks 64", "^blocks: end", 10*time.Second)
	s := e.Status(t)
	surplus := harness.Int(t, s, "surplus")
	// What is stored is read in a task of its own, gone before the node's begins to work.
	t.Logf("after init: %d bytes, at most %d with both stacks; the last blocks: %v", harness.Int(t, s, "heap")-before-surplus,
		harness.Int(t, s, "peak")-before-2*surplus, e.Proc.LinesMatching(mark, "^block:"))
	e.Say(t, "mark")
	e.Ask(t, "connect", "connect: done", 10*time.Second)
	e.WaitRunning(t, 30*time.Second)
	e.Proc.WaitLog(t, 0, "relay connected: home", 20*time.Second)
	official.WaitPeer(t, "esp", 20*time.Second)
	allPings(t, official, e.WaitRunning(t, time.Second))
	s = e.Status(t)
	mark = e.Proc.Mark()
	e.Ask(t, "blocks 200", "^blocks: end", 10*time.Second)
	used, most := harness.Int(t, s, "heap")-before-surplus, harness.Int(t, s, "peak")-before-surplus
	t.Logf("connected: %d bytes, at most %d; blocks: %v", used, most, e.Proc.LinesMatching(mark, "^block:"))
	t.Logf("%v", s)
	e.Ask(t, "peers", "^peers: count=16", 10*time.Second)
	if harness.Int(t, harness.Pairs(e.Proc.LinesMatching(0, "^ready:")[0]), "idf") >= 6 {
		limit = limitFrom6
	}
	if used > 100<<10 || most > limit {
		t.Errorf("%d bytes of heap, %d at most, more than %d or %d", used, most, 100<<10, limit)
	}
}

// As many official peers as there are sessions, all of them neighbours on its link: lwIP's table of neighbours has to hold them.
func TestESPTalksWithSixteenOfficialPeersAtOnce(t *testing.T) {
	lab := harness.New(t, harness.Options{})
	key := lab.Headscale.AuthKey(t, "--reusable")
	peers := make([]*harness.Node, 16)
	for i := range peers {
		peers[i] = lab.Host(fmt.Sprintf("ts%d", i)).Tailscaled(t, harness.NodeOptions{AuthKey: key, Userspace: i != 0})
	}
	for _, p := range peers {
		p.WaitRunning(t, 60*time.Second)
	}
	e, ip := joined(t, lab, "esp")
	// As the board does it: from the second time on nothing has to be sent again.
	began := time.Now()
	for _, tries := range []string{"8", "1", "1", "1", "1", "1"} {
		pingAtOnce(t, peers, "esp", ip, tries)
	}
	t.Logf("six times two pings from each of %d peers in %s", len(peers), seconds(time.Since(began)))
	s := e.Status(t)
	t.Logf("%v", s)
	if n := harness.Int(t, s, "handshakes"); n < len(peers) {
		t.Errorf("%d handshakes with %d peers", n, len(peers))
	}
}

func TestESPKeepsItsIdentityInFlash(t *testing.T) {
	lab := harness.New(t, harness.Options{})
	flash := "FLASH=" + filepath.Join(lab.Dir, "flash")
	e, ip := joined(t, lab, "esp", flash)
	key := lab.Headscale.Node(t, "esp").NodeKey
	e.Proc.Kill()
	again := e.StartESP(t, espProgram(t, "ML_ESP_NODE"), "CONTROL_URL="+lab.Headscale.URL, "CA_FILE="+lab.CA.Path, "NAME=esp", flash)
	mark := strings.LastIndex(again.Proc.Output(), "ready:")
	again.Proc.WaitLog(t, mark+1, `^ready:`, 20*time.Second)
	again.Say(t, "init")
	again.Ask(t, "connect", "connect: done", 10*time.Second)
	if now := again.WaitRunning(t, 30*time.Second); now != ip || lab.Headscale.Node(t, "esp").NodeKey != key {
		t.Errorf("address %s, was %s; key %s, was %s", now, ip, lab.Headscale.Node(t, "esp").NodeKey, key)
	}
}

// What a device may be short of, or be told: a sentence each, no abort, and the same node afterwards.
func TestESPBadInputs(t *testing.T) {
	lab := harness.New(t, harness.Options{})
	secure := harness.New(t, harness.Options{ControlTLS: true})
	lab.ServeDNS(t)
	secure.ServeDNS(t)
	connect := func(t *testing.T, e *harness.ESP) string {
		t.Helper()
		e.Say(t, "init")
		e.Ask(t, "connect", "connect: done", 10*time.Second)
		return e.WaitRunning(t, 30*time.Second)
	}
	// says requires the sentence, and that attempts go on with pauses between them: at most a handful in the time it took.
	says := func(t *testing.T, e *harness.ESP, expr string, within time.Duration) {
		t.Helper()
		line := e.Proc.WaitLog(t, 0, `problem: .*(`+expr+`)`, within)
		t.Log(line)
		mark := e.Proc.Mark()
		time.Sleep(15 * time.Second)
		if n := len(e.Proc.LinesMatching(mark, "problem: .+")); n > 5 {
			t.Errorf("it says so %d times in 15 s:\n%s", n, e.Proc.OutputSince(mark))
		}
		if s := e.Status(t); e.Proc.Exited() || s["state"] == "4" || s["state"] == "5" {
			t.Errorf("it ended or is connected: %v", s)
		}
	}

	t.Run("no entropy", func(t *testing.T) {
		t.Parallel()
		e := espNode(t, lab, "entropy")
		e.Ask(t, "random 0", "^random:", 5*time.Second)
		t.Log(e.Ask(t, "init", `init: no randomness: .+`, 5*time.Second))
		e.Ask(t, "random 1", "^random:", 5*time.Second)
		connect(t, e)
	})
	t.Run("NVS full", func(t *testing.T) {
		t.Parallel()
		flash := "FLASH=" + filepath.Join(lab.Dir, "full")
		e := espNode(t, lab, "full", flash)
		e.Ask(t, "nvs fill", `^nvs: [1-9]\d* taken \(0x0\)`, 20*time.Second)
		t.Log(e.Ask(t, "init", "init: NVS is full: .+", 5*time.Second))
		e.Ask(t, "nvs free", `^nvs:`, 20*time.Second)
		e.Ask(t, "init", ".*", 5*time.Second)
		e.Ask(t, "nvs fill", `^nvs: [1-9]\d* taken \(0x0\)`, 20*time.Second)
		mark := e.Proc.Mark()
		e.Ask(t, "connect", "connect: done", 10*time.Second)
		ip := e.WaitRunning(t, 30*time.Second)
		t.Log(e.Proc.WaitLog(t, mark, "problem: NVS is full", 10*time.Second))
		e.Ask(t, "nvs free", `^nvs:`, 20*time.Second)
		// It is offered again after 15 s, and later and later.
		time.Sleep(50 * time.Second)
		e.Proc.Kill()
		again := e.StartESP(t, espProgram(t, "ML_ESP_NODE"), "CONTROL_URL="+lab.Headscale.URL, "CA_FILE="+lab.CA.Path, "NAME=full", flash)
		again.Proc.WaitLog(t, mark, `^ready:`, 20*time.Second)
		if now := connect(t, again); now != ip {
			t.Errorf("another node: %s, was %s", now, ip)
		}
	})
	t.Run("NVS corrupt", func(t *testing.T) {
		t.Parallel()
		path := filepath.Join(lab.Dir, "corrupt")
		e := espNode(t, lab, "corrupt", "FLASH="+path)
		ip := connect(t, e)
		e.Proc.Kill()
		good, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		const at, size, page = 0x9000, 0x6000, 0x1000
		random := make([]byte, size)
		rand.Read(random)
		for _, c := range []struct {
			name string
			harm func(nvs []byte)
			same bool // The identity is to survive.
		}{
			{"nothing", func([]byte) {}, true},
			{"all random", func(nvs []byte) { copy(nvs, random) }, false},
			{"all zero", func(nvs []byte) { clear(nvs) }, false},
			{"a page random", func(nvs []byte) { copy(nvs[:page], random) }, false},
			{"a byte in each entry of the first page", func(nvs []byte) {
				for i := 64; i < page; i += 32 {
					nvs[i+9] ^= 0x40
				}
			}, false},
			{"a bit in every 100 bytes", func(nvs []byte) {
				for i := 7; i < size; i += 100 {
					nvs[i] ^= 1
				}
			}, false},
			{"pages of another version", func(nvs []byte) {
				for i := 0; i < size; i += page {
					nvs[i+8] = 0x00
				}
			}, false},
		} {
			flash := bytes.Clone(good)
			c.harm(flash[at : at+size])
			if err := os.WriteFile(path, flash, 0o600); err != nil {
				t.Fatal(err)
			}
			mark := e.Proc.Mark()
			again := e.StartESP(t, espProgram(t, "ML_ESP_NODE"), "CONTROL_URL="+lab.Headscale.URL, "CA_FILE="+lab.CA.Path,
				"AUTH_KEY="+lab.Headscale.AuthKey(t, "--reusable"), "NAME=corrupt", "FLASH="+path)
			again.Proc.WaitLog(t, mark, `^ready:`, 20*time.Second)
			again.Say(t, "init")
			again.Status(t)
			refusal := again.Proc.LinesMatching(mark, "^init: ")
			if len(refusal) > 0 {
				t.Logf("%s: %v %v", c.name, again.Proc.LinesMatching(mark, "^NVS cannot be used"), refusal)
				if c.same {
					t.Errorf("it did not start")
				}
			} else {
				again.Ask(t, "connect", "connect: done", 10*time.Second)
				now := again.WaitRunning(t, 30*time.Second)
				t.Logf("%s: the same node %v", c.name, now == ip)
				if c.same && now != ip {
					t.Errorf("%s, was %s", now, ip)
				}
			}
			again.Proc.Kill()
		}
	})
	t.Run("no time", func(t *testing.T) {
		t.Parallel()
		e := espNode(t, secure, "notime", "CLOCK=5")
		connect(t, e)
		e.Proc.WaitLog(t, 0, "relay connected: home", 20*time.Second)
	})
	t.Run("a wrong CA", func(t *testing.T) {
		t.Parallel()
		e := espNode(t, secure, "wrongca", "CA_FILE="+harness.NewCA(t, secure.Dir, "other-ca").Path)
		e.Say(t, "init")
		e.Ask(t, "connect", "connect: done", 10*time.Second)
		says(t, e, "certificate", 20*time.Second)
	})
	for name, portal := range map[string]http.HandlerFunc{
		"a captive portal that redirects": func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "http://portal.test/login?from="+r.URL.Path, http.StatusFound)
		},
		"a captive portal with a page": func(w http.ResponseWriter, r *http.Request) {
			fmt.Fprintln(w, "<!DOCTYPE html><html><body>Please log in to this network</body></html>")
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := espNode(t, lab, fmt.Sprintf("portal%d", len(name)), "CONTROL_URL="+lab.ServeHTTP(t, portal))
			e.Say(t, "init")
			e.Ask(t, "connect", "connect: done", 10*time.Second)
			says(t, e, "control server|captive|redirect", 20*time.Second)
		})
	}
	t.Run("a link that comes and goes", func(t *testing.T) {
		t.Parallel()
		e := espNode(t, lab, "flap")
		ip := connect(t, e)
		for i := 0; i < 8; i++ {
			e.Say(t, "down")
			time.Sleep(time.Duration(200+i*400) * time.Millisecond)
			e.PlugESP(t)
			time.Sleep(time.Duration(2000-i*200) * time.Millisecond)
		}
		if now := e.WaitRunning(t, 30*time.Second); now != ip {
			t.Errorf("%s, was %s", now, ip)
		}
		mark := e.Proc.Mark()
		e.Ask(t, "disconnect", "disconnect: done", 10*time.Second)
		e.Ask(t, "connect", "connect: done", 10*time.Second)
		e.Proc.WaitLog(t, mark, "relay connected: home", 30*time.Second)
		if boots := e.Proc.LinesMatching(0, "^ready:"); len(boots) != 1 {
			t.Errorf("it started anew: %v", boots)
		}
	})
}

// A portal on the relays' addresses: what answers TLS there is another server, with no right to the name or with a page.
func TestESPRelaysBehindACaptivePortal(t *testing.T) {
	for _, c := range []struct {
		name, cert string
		use        x509.ExtKeyUsage
		says       string
	}{
		{"another certificate", "portal.test", x509.ExtKeyUsageServerAuth, "certificate"},
		{"a certificate for clients", "", x509.ExtKeyUsageClientAuth, "TLS failed"},
		{"a page under the right name", "", x509.ExtKeyUsageServerAuth, "relay"},
	} {
		t.Run(c.name, func(t *testing.T) {
			lab := harness.New(t, harness.Options{})
			lab.ServeDNS(t)
			for _, d := range lab.Derpers {
				d.Stop()
				name := c.cert
				if name == "" {
					name = d.Host
				}
				crt, key := lab.CA.IssueFor(t, c.use, "portal-"+d.Host, name)
				d.Portal(t, crt, key)
			}
			e, _ := joined(t, lab, "esp")
			t.Log(e.Proc.WaitLog(t, 0, `problem: .*(`+c.says+`)`, 40*time.Second))
			mark := e.Proc.Mark()
			time.Sleep(15 * time.Second)
			if n := len(e.Proc.LinesMatching(mark, "problem: .+")); n > 5 {
				t.Errorf("it says so %d times in 15 s:\n%s", n, e.Proc.OutputSince(mark))
			}
			for _, d := range lab.Derpers {
				d.ClosePortal()
				d.Start()
			}
			e.Proc.WaitLog(t, mark, "relay connected: home", 60*time.Second)
		})
	}
}

// Each allocation of the node in turn fails once, over plain connections and TLS; then all of them do for a while.
func TestESPWithoutMemory(t *testing.T) {
	lab := harness.New(t, harness.Options{ControlTLS: true})
	lab.ServeDNS(t)
	e := espNode(t, lab, "esp", "STATE=mem:")
	// What others keep once is there after the first time.
	before := harness.Pairs(e.Ask(t, "short 60 10", "^short: 60", time.Minute))
	line := e.Ask(t, "short 60 300", "^short: 60", 2*time.Minute)
	t.Log(line)
	s := harness.Pairs(line)
	if s["unsaid"] != "0" || harness.Int(t, s, "refused") < 10 || s["heap"] != before["heap"] || s["blocks"] != before["blocks"] {
		t.Errorf("not said, or not all came back: %s, before %v", line, before)
	}
	connect := func() string {
		e.Say(t, "init")
		e.Ask(t, "connect", "connect: done", 10*time.Second)
		return e.WaitRunning(t, 30*time.Second)
	}
	// Further on each time, until it is connected before that one comes.
	reached, nth := 0, 61
	for ; nth < 100000; nth += nth / 9 {
		e.Say(t, "init")
		e.Ask(t, fmt.Sprintf("fail %d", nth), "^fail:", 5*time.Second)
		e.Ask(t, "connect", "connect: done", 10*time.Second)
		e.WaitRunning(t, 60*time.Second)
		mark := e.Proc.Mark()
		e.Say(t, "left")
		left := harness.Int(t, harness.Pairs(e.Proc.WaitLog(t, mark, "^left=", 5*time.Second)), "left")
		e.Ask(t, "fail 0", "^fail:", 5*time.Second)
		e.Ask(t, "deinit", "^deinit:", 10*time.Second)
		if left > 0 {
			break
		}
		reached++
	}
	t.Logf("connected in spite of one failed allocation in each of %d lives, the last of them before allocation %d", reached, nth)
	ip := connect()
	wakes := harness.Int(t, e.Status(t), "wakes")
	e.Ask(t, "fail 1 all", "^fail:", 5*time.Second)
	time.Sleep(20 * time.Second)
	t.Log(e.Status(t))
	if more := harness.Int(t, e.Status(t), "wakes") - wakes; more > 400 {
		t.Errorf("%d wake-ups in 20 s without memory", more)
	}
	e.Ask(t, "fail 0", "^fail:", 5*time.Second)
	e.Ask(t, "disconnect", "disconnect: done", 10*time.Second)
	e.Ask(t, "connect", "connect: done", 10*time.Second)
	if now := e.WaitRunning(t, 60*time.Second); now != ip {
		t.Errorf("%s, was %s", now, ip)
	}
}

// A long run of the example: pinged and sent datagrams to by an official node. ESP_SOAK_MINUTES says how long, and
// tests/esp/heap_count, built into it, what its heap did.
func TestESPSoak(t *testing.T) {
	lab := harness.New(t, harness.Options{DERPCertPin: true})
	official, e, ip := joinPingPong(t, lab)
	soakPingPong(t, official, e.Proc, ip)
}

func soakPingPong(t *testing.T, official *harness.Node, device *harness.Proc, ip string) {
	t.Helper()
	minutes, err := strconv.Atoi(os.Getenv("ESP_SOAK_MINUTES"))
	if err != nil {
		t.Fatalf("ESP_SOAK_MINUTES: %v", err)
	}
	heap := regexp.MustCompile(`heap (\d+) bytes free, (\d+) at least so far, (\d+) wake-ups`)
	var free []int
	pings, lost, sent, back := 0, 0, 0, 0
	for minute := 1; minute <= minutes; minute++ {
		for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(9 * time.Second) {
			how := [][]string{{}, {"--tsmp"}, {"--icmp"}}[pings%3]
			if _, _, err := official.Ping(append([]string{"-c", "1", "--timeout", "3s", "--until-direct=false"}, append(how, ip)...)...); err != nil {
				lost++
			}
			pings++
			sent, back = sent+10, back+echoes(t, official, ip+":5055", ":5055", 10, 1000)
		}
		lines := device.LinesMatching(0, heap.String())
		m := heap.FindStringSubmatch(lines[len(lines)-1])
		now, _ := strconv.Atoi(m[1])
		low, _ := strconv.Atoi(m[2])
		free = append(free, now)
		t.Logf("minute %d: heap free %d, at least %d, wake-ups %s; %d of %d pings lost, %d of %d datagrams back", minute, now, low, m[3], lost, pings, back, sent)
		if device.Exited() {
			t.Fatalf("it ended:\n%s", device.Output())
		}
	}
	// At rest between two packets as much is free at the end as at the beginning.
	if q := len(free) / 4; q > 0 && slices.Max(free[len(free)-q:]) < slices.Max(free[:q])-64 {
		t.Errorf("the free heap falls: %v", free)
	}
	if lost*100 > pings || (sent-back)*100 > sent {
		t.Errorf("%d of %d pings lost, %d of %d datagrams back", lost, pings, back, sent)
	}
}
