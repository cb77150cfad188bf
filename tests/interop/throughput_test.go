//go:build bench

// TCP through the TUN devices of two nodes of ours beside two official ones: bytes a second, and processor time of both daemons.
//
// SPDX-License-Identifier: MIT

package interop

import (
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"microlink.test/interop/harness"
)

const (
	throughputRounds = 3
	throughputTime   = 5 * time.Second
)

// cpuTime is what a node's daemon has used of the processors, in the kernel's ticks of 10 ms.
func cpuTime(t *testing.T, n *harness.Node) time.Duration {
	t.Helper()
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", n.Proc.Pid()))
	if err != nil {
		t.Fatal(err)
	}
	fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
	user, _ := strconv.Atoi(fields[11])
	system, _ := strconv.Atoi(fields[12])
	return time.Duration(user+system) * 10 * time.Millisecond
}

// stream sends over one connection for a while and returns what arrived.
func stream(t *testing.T, from, to *harness.Node) (bytes int64, took time.Duration) {
	t.Helper()
	addr := net.JoinHostPort(to.IP4(t), "9100")
	l, err := to.Host.Listen(addr)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	arrived := make(chan int64, 1)
	go func() {
		c, err := l.Accept()
		if err != nil {
			arrived <- 0
			return
		}
		defer c.Close()
		n, _ := io.Copy(io.Discard, c)
		arrived <- n
	}()
	c, err := from.Host.Dial("tcp", addr, 10*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	for block := harness.RandomBytes(1 << 18); time.Since(began) < throughputTime; {
		if _, err := c.Write(block); err != nil {
			t.Fatal(err)
		}
	}
	c.Close()
	return <-arrived, time.Since(began)
}

func TestThroughputBesideTheOfficialNode(t *testing.T) {
	lab := harness.New(t, harness.Options{})
	pairs := [2][2]*harness.Node{}
	for i, kind := range []string{"ml", "ts"} {
		for k := range 2 {
			host := lab.Host(fmt.Sprintf("%s%d", kind, k))
			start := host.Microlink
			if kind == "ts" {
				start = host.Tailscaled
			}
			pairs[i][k] = start(t, harness.NodeOptions{AuthKey: lab.Headscale.AuthKey(t)})
			pairs[i][k].WaitRunning(t, 60*time.Second)
		}
		pairs[i][0].WaitPeer(t, pairs[i][1].Name, 20*time.Second)
		pairs[i][0].WaitKernelPing(t, pairs[i][1].IP4(t), 20*time.Second)
	}
	time.Sleep(2 * time.Second) // For the direct path.
	var best, load [2]float64   // MB/s; seconds of processor time for a GB.
	for range throughputRounds {
		for i, p := range pairs {
			before := cpuTime(t, p[0]) + cpuTime(t, p[1])
			n, took := stream(t, p[0], p[1])
			if rate := float64(n) / 1e6 / took.Seconds(); rate > best[i] {
				best[i] = rate
				load[i] = (cpuTime(t, p[0]) + cpuTime(t, p[1]) - before).Seconds() / (float64(n) / 1e9)
			}
		}
	}
	t.Logf("TCP through TUN: microlink %.0f MB/s, tailscaled %.0f MB/s, ratio %.2f", best[0], best[1], best[0]/best[1])
	peak := func(p [2]*harness.Node) string { return mb(max(peakRSS(t, p[0]), peakRSS(t, p[1]))) }
	t.Logf("peak of resident memory: microlink %s, tailscaled %s", peak(pairs[0]), peak(pairs[1]))
	t.Logf("processor time for a GB, both ends: microlink %.1f s, tailscaled %.1f s, ratio %.2f", load[0], load[1], load[0]/load[1])
}
