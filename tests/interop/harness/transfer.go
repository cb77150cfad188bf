// Traffic of applications through the tailnet: files over TCP between hosts with TUN devices.
//
// SPDX-License-Identifier: MIT

package harness

import (
	"bufio"
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
)

// RandomBytes makes n random bytes, so that nothing on the way can compress or guess them.
func RandomBytes(n int) []byte {
	b := make([]byte, n)
	rand.Read(b)
	return b
}

// Receive listens on the host's address and returns a function that waits for one connection and gives the hash of what it
// carried.
func (h *Host) Receive(tb testing.TB, addr string, within time.Duration) (wait func() [32]byte) {
	tb.Helper()
	l, err := h.Listen(addr)
	if err != nil {
		tb.Fatalf("%s: %v", h.Name, err)
	}
	type result struct {
		sum [32]byte
		err error
	}
	done := make(chan result, 1)
	l.(*net.TCPListener).SetDeadline(time.Now().Add(within))
	go func() {
		defer l.Close()
		c, err := l.Accept()
		if err != nil {
			done <- result{err: err}
			return
		}
		defer c.Close()
		c.SetDeadline(time.Now().Add(within))
		hash := sha256.New()
		_, err = io.Copy(hash, c)
		done <- result{[32]byte(hash.Sum(nil)), err}
	}()
	return func() [32]byte {
		tb.Helper()
		r := <-done
		if r.err != nil {
			tb.Fatalf("%s: receiving on %s: %v", h.Name, addr, r.err)
		}
		return r.sum
	}
}

// Send writes data to addr over TCP from inside the host.
func (h *Host) Send(tb testing.TB, addr string, data []byte, within time.Duration) {
	tb.Helper()
	c, err := h.Dial("tcp", addr, within)
	if err != nil {
		tb.Fatalf("%s: %v", h.Name, err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(within))
	if _, err := io.Copy(c, bytes.NewReader(data)); err != nil {
		tb.Fatalf("%s: sending to %s: %v", h.Name, addr, err)
	}
}

// TransferTCP sends a file from one TUN node to another and compares the hashes. It returns the time this took.
func TransferTCP(tb testing.TB, from, to *Node, size int, within time.Duration) time.Duration {
	tb.Helper()
	addr := net.JoinHostPort(to.IP4(tb), "9000")
	data := RandomBytes(size)
	began := time.Now()
	wait := to.Receive(tb, addr, within)
	from.Send(tb, addr, data, within)
	if wait() != sha256.Sum256(data) {
		tb.Fatalf("%s to %s: the file arrived changed", from.Name, to.Name)
	}
	return time.Since(began)
}

// SendNC sends data by the node's own `nc`, which needs no TUN device.
func (n *Node) SendNC(tb testing.TB, ip, port string, data []byte, within time.Duration) {
	tb.Helper()
	in := filepath.Join(n.lab.Dir, n.Name+"-nc.in")
	if err := os.WriteFile(in, data, 0o600); err != nil {
		tb.Fatal(err)
	}
	file, err := os.Open(in)
	if err != nil {
		tb.Fatal(err)
	}
	defer file.Close()
	tool := []string{Official(tb, "tailscale"), "--socket=" + n.Socket}
	if !n.Official {
		tool = []string{Program(tb), "--socket", n.Socket}
	}
	args := n.ns.args(append(tool, "nc", ip, port)...)
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Stdin = file
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := startCommand(cmd); err != nil {
		tb.Fatal(err)
	}
	timer := time.AfterFunc(within, func() { cmd.Process.Kill() })
	defer timer.Stop()
	if err := cmd.Wait(); err != nil {
		tb.Fatalf("%s: nc %s %s: %v\n%s", n.Name, ip, port, err, out.String())
	}
}

var pingReply = regexp.MustCompile(`bytes from .* icmp_seq=(\d+) `)

// KernelPing runs ping(8) on the host and returns how many requests went out and how many answers came, each within 3 s of the
// last of them. What was not answered is logged. With -c, ping waits only two round trips for the last answers, whatever -W
// says; so it goes on here until all are in.
func (h *Host) KernelPing(tb testing.TB, ip string, count int, interval time.Duration) (sent, received int) {
	tb.Helper()
	args := h.ns.args("ping", "-n", "-D", "-i", fmt.Sprintf("%.3f", interval.Seconds()), ip)
	cmd := exec.Command(args[0], args[1:]...)
	out, err := cmd.StdoutPipe()
	if err != nil {
		tb.Fatal(err)
	}
	if err := startCommand(cmd); err != nil {
		tb.Fatalf("%s: ping %s: %v", h.Name, ip, err)
	}
	end := time.AfterFunc(time.Duration(count)*interval+20*time.Second, func() { cmd.Process.Kill() })
	answered, isLate := map[int]bool{}, false
	var others []string
	for lines := bufio.NewScanner(out); len(answered) < count && lines.Scan(); {
		m := pingReply.FindStringSubmatch(lines.Text())
		if m == nil {
			others = append(others, lines.Text())
			continue
		}
		if seq, _ := strconv.Atoi(m[1]); seq <= count {
			answered[seq] = true
		} else if !isLate {
			isLate = true
			end.Reset(3 * time.Second)
		}
	}
	end.Stop()
	cmd.Process.Kill()
	cmd.Wait()
	if len(answered) < count {
		for seq := 1; seq <= count; seq++ {
			if !answered[seq] {
				others = append(others, fmt.Sprintf("no answer to request %d", seq))
			}
		}
		tb.Logf("%s: ping %s:\n%s", h.Name, ip, strings.Join(others, "\n"))
	}
	return count, len(answered)
}

// WaitKernelPing sends single requests until one is answered and returns how long that took.
func (h *Host) WaitKernelPing(tb testing.TB, ip string, within time.Duration) time.Duration {
	tb.Helper()
	return Eventually(tb, within, h.Name+" reaches "+ip, func() error {
		out, err := h.Run(3*time.Second, "ping", "-n", "-q", "-W", "0.3", "-c", "1", ip)
		if err != nil {
			return fmt.Errorf("%w: %s", err, tail(out, 2))
		}
		return nil
	})
}
