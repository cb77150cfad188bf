// Network namespaces: made and removed with ip(8), entered for single sockets of this process (a socket belongs to the
// namespace its thread was in when it was made), or for whole child processes.
//
// SPDX-License-Identifier: MIT

package harness

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func nsPrefix() string { return fmt.Sprintf("mlt%d-", os.Getpid()) }

var nsCount atomic.Int32

// ns is a network namespace; the zero value is the one this process lives in.
type ns struct {
	name string
}

func newNS(tb testing.TB, label, hosts string) ns {
	tb.Helper()
	if err := startReaper(); err != nil {
		tb.Fatal(err)
	}
	n := ns{name: fmt.Sprintf("%s%d-%s", nsPrefix(), nsCount.Add(1), label)}
	mustRun(tb, "ip", "netns", "add", n.name)
	etc := filepath.Join("/etc/netns", n.name)
	tb.Cleanup(func() {
		run(10*time.Second, nil, "", "ip", "netns", "del", n.name)
		os.RemoveAll(etc)
	})
	// ip netns exec shows these files in place of the machine's.
	if err := os.MkdirAll(etc, 0o755); err != nil {
		tb.Fatal(err)
	}
	for file, text := range map[string]string{
		"hosts":       "127.0.0.1 localhost\n" + hosts,
		"resolv.conf": "nameserver 127.0.0.1\noptions timeout:1 attempts:1\n",
	} {
		if err := os.WriteFile(filepath.Join(etc, file), []byte(text), 0o644); err != nil {
			tb.Fatal(err)
		}
	}
	// Duplicate address detection would give a host its link-local address a second or two after it exists. tailscaled, started
	// meanwhile, takes that for a change of network and binds its socket anew, in the middle of what a test measures.
	n.must(tb, "sh", "-ec", "sysctl -qw net.ipv6.conf.all.accept_dad=0 net.ipv6.conf.default.accept_dad=0; ip link set lo up")
	return n
}

// args prefixes a command so that it runs inside the namespace.
func (n ns) args(args ...string) []string {
	if n.name == "" {
		return args
	}
	return append([]string{"ip", "netns", "exec", n.name}, args...)
}

func (n ns) must(tb testing.TB, args ...string) string {
	tb.Helper()
	return mustRun(tb, n.args(args...)...)
}

func (n ns) nft(tb testing.TB, rules string) {
	tb.Helper()
	out, err := run(10*time.Second, nil, rules, n.args("nft", "-f", "-")...)
	if err != nil {
		tb.Fatalf("nft: %v\n%s\n%s", err, out, rules)
	}
}

func mustRun(tb testing.TB, args ...string) string {
	tb.Helper()
	out, err := run(20*time.Second, nil, "", args...)
	if err != nil {
		tb.Fatalf("%s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return out
}

// do runs f with the calling thread inside the namespace. Sockets f makes stay there.
func (n ns) do(f func() error) error {
	if n.name == "" {
		return f()
	}
	result := make(chan error, 1)
	go func() {
		// Never unlocked: the thread ends with this goroutine, so nobody else inherits the namespace.
		runtime.LockOSThread()
		fd, err := unix.Open(filepath.Join("/run/netns", n.name), unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err == nil {
			err = unix.Setns(fd, unix.CLONE_NEWNET)
			unix.Close(fd)
		}
		if err == nil {
			err = f()
		}
		result <- err
	}()
	return <-result
}

func (n ns) listen(addr string) (l net.Listener, err error) {
	err = n.do(func() error {
		l, err = net.Listen("tcp", addr)
		return err
	})
	return l, err
}

func (n ns) listenUDP(addr string) (c net.PacketConn, err error) {
	err = n.do(func() error {
		c, err = net.ListenPacket("udp", addr)
		return err
	})
	return c, err
}

func (n ns) dial(network, addr string, timeout time.Duration) (c net.Conn, err error) {
	err = n.do(func() error {
		c, err = net.DialTimeout(network, addr, timeout)
		return err
	})
	return c, err
}
