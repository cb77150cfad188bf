// Program demo runs a whole tailnet on this machine's loopback for a moment: the official Headscale, two official relays, an
// official node and microlink, both without TUN device, so that no root is needed. It shows how each sees the other, ends by
// itself and leaves nothing behind.
//
// SPDX-License-Identifier: MIT
package main

import (
	"fmt"
	"os"
	"os/signal"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"microlink.test/interop/harness"
)

// stage stands in for a test: the harness reports failures to it and gives it what is to be cleaned up.
type stage struct {
	testing.TB
	mu       sync.Mutex
	cleanups []func()
	failed   bool
}

func (s *stage) Helper()      {}
func (s *stage) Name() string { return "demo" }
func (s *stage) Failed() bool { return s.failed }
func (s *stage) Cleanup(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cleanups = append(s.cleanups, f)
}
func (s *stage) Logf(format string, args ...any) { fmt.Printf(format+"\n", args...) }
func (s *stage) Fatal(args ...any) {
	fmt.Fprintln(os.Stderr, "demo: "+fmt.Sprint(args...))
	s.failed = true
	s.end(1)
}
func (s *stage) Fatalf(format string, args ...any) { s.Fatal(fmt.Sprintf(format, args...)) }

// end runs the cleanups, last first, and leaves.
func (s *stage) end(status int) {
	for {
		s.mu.Lock()
		n := len(s.cleanups)
		if n == 0 {
			s.mu.Unlock()
			os.Exit(status)
		}
		f := s.cleanups[n-1]
		s.cleanups = s.cleanups[:n-1]
		s.mu.Unlock()
		f()
	}
}

var began = time.Now()

func progress(format string, args ...any) {
	fmt.Printf("[%4.1f s] %s\n", time.Since(began).Seconds(), fmt.Sprintf(format, args...))
}

// show prints a command as a user would type it, and its output.
func show(s *stage, command, out string, err error) {
	fmt.Printf("\n  $ %s\n", command)
	for _, line := range strings.Split(strings.TrimRight(out, "\n"), "\n") {
		fmt.Printf("  %s\n", line)
	}
	fmt.Println()
	if err != nil {
		s.Fatalf("%s: %v", command, err)
	}
}

func main() {
	s := &stage{}
	interrupted := make(chan os.Signal, 1)
	signal.Notify(interrupted, os.Interrupt, syscall.SIGTERM)
	go func() {
		<-interrupted
		fmt.Fprintln(os.Stderr, "demo: interrupted")
		s.end(1)
	}()

	progress("building the official programs (the first time takes some minutes)")
	harness.Official(s, "tailscaled")
	progress("starting Headscale and two relays on 127.0.0.1")
	lab := harness.New(s, harness.Options{Loopback: true})
	progress("control server at %s", lab.Headscale.URL)

	joining := time.Now()
	official := lab.Host("official").Tailscaled(s, harness.NodeOptions{AuthKey: lab.Headscale.AuthKey(s), Userspace: true})
	official.WaitRunning(s, 30*time.Second)
	progress("the official node has joined as %s, in %.1f s", official.IP4(s), time.Since(joining).Seconds())
	key := lab.Headscale.AuthKey(s)
	joining = time.Now()
	ours := lab.Host("microlink").Microlink(s, harness.NodeOptions{AuthKey: key, Userspace: true})
	ours.WaitRunning(s, 30*time.Second)
	progress("microlink has joined as %s, in %.1f s", ours.IP4(s), time.Since(joining).Seconds())
	official.WaitPeer(s, "microlink", 20*time.Second)
	ours.WaitPeer(s, "official", 20*time.Second)

	progress("what the official node says:")
	out, err := official.CLI("status")
	show(s, "tailscale status", out, err)
	_, out, err = official.Ping("-c", "3", "--until-direct=false", "microlink")
	show(s, "tailscale ping -c 3 --until-direct=false microlink", out, err)
	progress("what microlink says:")
	out, err = ours.CLI("status")
	show(s, "microlink status", out, err)
	_, out, err = ours.Ping("-c", "3", "--until-direct=false", "official")
	show(s, "microlink ping -c 3 --until-direct=false official", out, err)
	progress("memory: microlink %s, tailscaled %s", resident(ours.Proc.Pid()), resident(official.Proc.Pid()))
	progress("done; everything ends and is removed")
	s.end(0)
}

// resident is the memory a process has in RAM now.
func resident(pid int) string {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return "unknown"
	}
	for _, line := range strings.Split(string(text), "\n") {
		var kb int
		if n, _ := fmt.Sscanf(line, "VmRSS: %d kB", &kb); n == 1 {
			return fmt.Sprintf("%.1f MB", float64(kb)/1024)
		}
	}
	return "unknown"
}
