// The ESP-IDF component in ESP-IDF's own target "linux": an executable that somebody built by hand, its lwIP on a TAP device
// in a bridge of the lab.
//
// SPDX-License-Identifier: MIT

package harness

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

// ESP is a running program of ESP-IDF's target "linux". Host.IP is the address of its lwIP.
type ESP struct {
	*Host
	Proc  *Proc
	bits  int
	gw    string
	stdin io.WriteCloser
}

// ESPHost makes a host whose only way to the internet of the lab is a TAP device, tap0.
func (lab *Lab) ESPHost(tb testing.TB, name string) *Host {
	tb.Helper()
	h := lab.Host(name)
	h.Must(tb, "sh", "-ec", "ip addr flush dev eth0; ip link add lan0 type bridge; ip tuntap add tap0 mode tap; "+
		"ip link set eth0 master lan0; ip link set tap0 master lan0 up; ip link set lan0 up")
	return h
}

// StartESP starts the executable on such a host; more environment variables set it up (tests/esp/linux/main/main.c).
func (h *Host) StartESP(tb testing.TB, exe string, env ...string) *ESP {
	tb.Helper()
	e := &ESP{Host: h, bits: 16, gw: wanGateway}
	r, w, err := os.Pipe()
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { r.Close(); w.Close() })
	e.stdin = w
	log := filepath.Join(h.lab.Dir, h.Name+"-esp.log")
	// Coverage data, which ESP-IDF's NVS writes when it is built for the host, is not wanted beside the objects.
	env = append([]string{"TAP=tap0", fmt.Sprintf("IP=%s/%d", h.IP, e.bits), "GATEWAY=" + e.gw, "DNS=" + ControlIP,
		"GCOV_PREFIX=" + h.lab.Dir + "/gcov"}, env...)
	e.Proc = newProcWithInput(tb, h.Name+" esp", log, env, h.ns.args(exe), r)
	return e
}

// Say gives the program a line.
func (e *ESP) Say(tb testing.TB, format string, args ...any) {
	tb.Helper()
	if _, err := fmt.Fprintf(e.stdin, format+"\n", args...); err != nil {
		tb.Fatal(err)
	}
}

// Ask gives it a line and waits for an answer that matches.
func (e *ESP) Ask(tb testing.TB, line, answer string, within time.Duration) string {
	tb.Helper()
	mark := e.Proc.Mark()
	e.Say(tb, "%s", line)
	return e.Proc.WaitLog(tb, mark, answer, within)
}

var espPair = regexp.MustCompile(`(\w+)=([0-9.]+)`)

// Status asks for the figures of the node.
func (e *ESP) Status(tb testing.TB) map[string]string {
	tb.Helper()
	return Pairs(e.Ask(tb, "status", `status: .*`, 20*time.Second))
}

// Pairs reads name=value.
func Pairs(line string) map[string]string {
	pairs := map[string]string{}
	for _, m := range espPair.FindAllStringSubmatch(line, -1) {
		pairs[m[1]] = m[2]
	}
	return pairs
}

// Int is a figure out of Pairs.
func Int(tb testing.TB, pairs map[string]string, name string) int {
	tb.Helper()
	n, err := strconv.Atoi(pairs[name])
	if err != nil {
		tb.Fatalf("no %s in %v", name, pairs)
	}
	return n
}

// WaitRunning waits until the node is connected and returns its address.
func (e *ESP) WaitRunning(tb testing.TB, within time.Duration) string {
	tb.Helper()
	var ip string
	Eventually(tb, within, e.Name+" is connected (log: "+e.Proc.Log+")", func() error {
		s := e.Status(tb)
		if s["state"] != "4" && s["state"] != "5" || !strings.HasPrefix(s["ip"], "100.") {
			return fmt.Errorf("%v", s)
		}
		ip = s["ip"]
		return nil
	})
	return ip
}

// MoveESP gives the program's interface another address, as a new DHCP lease would.
func (e *ESP) MoveESP(tb testing.TB) {
	tb.Helper()
	e.IP = e.lab.wanAddr()
	e.Say(tb, "down")
	e.Say(tb, "up %s/%d %s", e.IP, e.bits, e.gw)
}

// PlugESP plugs its cable in again.
func (e *ESP) PlugESP(tb testing.TB) {
	tb.Helper()
	e.Say(tb, "up %s/%d %s", e.IP, e.bits, e.gw)
}

// ServeDNS answers queries for the names of the lab on control's address: lwIP reads no hosts file.
func (lab *Lab) ServeDNS(tb testing.TB) {
	tb.Helper()
	conn, err := lab.wan.listenUDP(ControlIP + ":53")
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { conn.Close() })
	known := map[string][4]byte{ControlName + ".": {10, 77, 0, 10}, "derp1.test.": {10, 77, 0, 21}, "derp2.test.": {10, 77, 0, 22}}
	go func() {
		buf := make([]byte, 1500)
		for {
			n, from, err := conn.ReadFrom(buf)
			if err != nil {
				return
			}
			var m dnsmessage.Message
			if m.Unpack(buf[:n]) != nil || len(m.Questions) != 1 {
				continue
			}
			q := m.Questions[0]
			answer := dnsmessage.Message{Header: dnsmessage.Header{ID: m.ID, Response: true, RecursionAvailable: true}, Questions: m.Questions}
			if ip, ok := known[q.Name.String()]; !ok {
				answer.RCode = dnsmessage.RCodeNameError
			} else if q.Type == dnsmessage.TypeA {
				answer.Answers = []dnsmessage.Resource{{Header: dnsmessage.ResourceHeader{Name: q.Name, Class: q.Class, TTL: 60},
					Body: &dnsmessage.AResource{A: ip}}}
			}
			if out, err := answer.Pack(); err == nil {
				conn.WriteTo(out, from)
			}
		}
	}()
}
