// Bulk transfers through a TUN device, where the kernel gives and takes runs of segments: over good links and bad ones, and over
// those whose device or MTU does not take a run of datagrams.
//
// SPDX-License-Identifier: MIT

package interop

import (
	"crypto/sha256"
	"fmt"
	"net"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"microlink.test/interop/harness"
)

// bulk sends several files at once, by IPv4 and IPv6, and compares hashes.
func bulk(t *testing.T, from, to *harness.Node, streams, size int) {
	t.Helper()
	s, err := to.Status()
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	defer all.Wait()
	for i := range streams {
		data := harness.RandomBytes(size + i)
		addr := net.JoinHostPort(s.Self.TailscaleIPs[i%2], strconv.Itoa(9200+i))
		wait := to.Receive(t, addr, time.Minute)
		all.Add(1)
		go func() {
			defer all.Done()
			from.Send(t, addr, data, time.Minute)
			if wait() != sha256.Sum256(data) {
				t.Errorf("%s to %s, %s: the file arrived changed", from.Name, to.Name, addr)
			}
		}()
	}
}

// counted is what the kernel has counted at a node's TUN device: to the host and from it.
type counted struct{ bytes, packets [2]float64 }

func tunCounters(t *testing.T, n *harness.Node) (c counted) {
	t.Helper()
	for line := range strings.Lines(n.Must(t, "cat", "/proc/net/dev")) {
		name, figures, _ := strings.Cut(strings.TrimSpace(line), ":")
		if f := strings.Fields(figures); name == "ts0" && len(f) > 9 {
			for i := range 2 {
				c.bytes[i], _ = strconv.ParseFloat(f[8*i], 64)
				c.packets[i], _ = strconv.ParseFloat(f[8*i+1], 64)
			}
			return c
		}
	}
	t.Fatalf("%s: no counters of ts0", n.Name)
	return c
}

var csumErrors = regexp.MustCompile(`(?m)^Tcp: [-0-9 ]* ([0-9]+)$`)

// badChecksums is how many TCP segments the host has got whose checksum was wrong.
func badChecksums(t *testing.T, n *harness.Node) string {
	t.Helper()
	m := csumErrors.FindStringSubmatch(n.Must(t, "cat", "/proc/net/snmp"))
	if m == nil {
		t.Fatalf("%s: /proc/net/snmp is not understood", n.Name)
	}
	return m[1]
}

// withoutChecksums takes the device of the host's link its checksums for what it sends.
func withoutChecksums(t *testing.T, h *harness.Host) {
	t.Helper()
	value := [2]uint32{unix.ETHTOOL_STXCSUM, 0}
	var ifr struct {
		name [unix.IFNAMSIZ]byte
		data unsafe.Pointer
		_    [16]byte
	}
	copy(ifr.name[:], "eth0")
	ifr.data = unsafe.Pointer(&value)
	err := h.Do(func() error {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		if _, _, e := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.SIOCETHTOOL, uintptr(unsafe.Pointer(&ifr))); e != 0 {
			return fmt.Errorf("switching checksums off: %w", e)
		}
		return nil
	})
	if err != nil {
		t.Fatalf("%s: %v", h.Name, err)
	}
}

func TestBulkTransfers(t *testing.T) {
	t.Parallel()
	lab := harness.New(t, harness.Options{})
	ours := lab.Host("ours")
	other := lab.Host("other")
	official := lab.Host("official")
	link := &harness.Link{Delay: 3 * time.Millisecond, Jitter: time.Millisecond, Loss: .01, Reorder: .05, Seed: 11}
	bad := lab.Sites(link).Host(harness.KindNone, "bad")
	key := lab.Headscale.AuthKey(t, "--reusable")
	nodes := []*harness.Node{ours.Microlink(t, harness.NodeOptions{AuthKey: key}), other.Microlink(t, harness.NodeOptions{AuthKey: key}),
		official.Tailscaled(t, harness.NodeOptions{AuthKey: key}), bad.Microlink(t, harness.NodeOptions{AuthKey: key})}
	for _, n := range nodes {
		n.WaitRunning(t, 60*time.Second)
	}
	ml, peer, ts, far := nodes[0], nodes[1], nodes[2], nodes[3]
	for _, n := range nodes[1:] {
		ml.WaitPeer(t, n.Name, 20*time.Second)
		ml.WaitKernelPing(t, n.IP4(t), 20*time.Second)
	}
	// Files both ways; nobody has got a segment whose checksum is wrong.
	both := func(t *testing.T, with *harness.Node, streams, size int) {
		t.Helper()
		bulk(t, ml, with, streams, size)
		bulk(t, with, ml, streams, size)
		for _, n := range []*harness.Node{ml, with} {
			if bad := badChecksums(t, n); bad != "0" {
				t.Errorf("%s has got %s segments with a wrong checksum", n.Name, bad)
			}
		}
	}
	for _, with := range []*harness.Node{peer, ts} {
		t.Run("with "+with.Name, func(t *testing.T) {
			before := tunCounters(t, ml)
			both(t, with, 4, 4<<20)
			after := tunCounters(t, ml)
			for i, way := range []string{"to the host", "from the host"} {
				mean := (after.bytes[i] - before.bytes[i]) / (after.packets[i] - before.packets[i])
				t.Logf("%s: %.0f bytes a packet", way, mean)
				if mean < 1500 { // Acknowledgements included; more than the MTU is enough to tell.
					t.Errorf("%s: %.0f bytes a packet: no runs of segments", way, mean)
				}
			}
		})
	}
	t.Run("over a link that loses and reorders", func(t *testing.T) { both(t, far, 2, 1<<20) })
	t.Run("to a link whose MTU is too small for the tunnel's packets", func(t *testing.T) {
		ours.Must(t, "ip", "link", "set", "eth0", "mtu", "1300")
		bulk(t, ml, ts, 2, 1<<20)
		ours.Must(t, "ip", "link", "set", "eth0", "mtu", "1500")
	})
	t.Run("by a device without checksums", func(t *testing.T) {
		withoutChecksums(t, ours)
		both(t, ts, 2, 1<<20)
	})
}
