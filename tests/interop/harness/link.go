// Links that delay, lose and reorder packets. The kernel does it (tc netem) where it can; where its configuration lacks netem,
// the two ends of the link are TAP devices and this process carries the frames between them, with the same meaning of the
// numbers.
//
// SPDX-License-Identifier: MIT

package harness

import (
	"fmt"
	"hash/fnv"
	"io"
	"math/rand/v2"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// Link says what happens to each packet, in each direction.
type Link struct {
	Delay, Jitter time.Duration // The delay of a packet is uniform in Delay ± Jitter.
	Loss          float64       // Part of the packets that is lost, 0..1.
	Reorder       float64       // Part of the packets that overtakes: sent without delay, 0..1.
	Duplicate     float64       // Part of the packets that arrives twice, 0..1.
	Seed          uint64        // Of the random numbers; not used by netem.
}

func (l *Link) String() string {
	if l == nil {
		return "perfect links"
	}
	return fmt.Sprintf("links with %v ± %v, %g %% lost, %g %% reordered, %g %% twice", l.Delay, l.Jitter, 100*l.Loss, 100*l.Reorder,
		100*l.Duplicate)
}

func (l *Link) netem(dev string) []string {
	args := []string{"tc", "qdisc", "add", "dev", dev, "root", "netem", "limit", "10000", "delay", us(l.Delay), us(l.Jitter)}
	if l.Loss > 0 {
		args = append(args, "loss", fmt.Sprintf("%g%%", 100*l.Loss))
	}
	if l.Reorder > 0 {
		args = append(args, "reorder", fmt.Sprintf("%g%%", 100*l.Reorder))
	}
	if l.Duplicate > 0 {
		args = append(args, "duplicate", fmt.Sprintf("%g%%", 100*l.Duplicate))
	}
	return args
}

func us(d time.Duration) string { return fmt.Sprintf("%dus", d.Microseconds()) }

// attachLink is attach with the link's properties.
func attachLink(tb testing.TB, link *Link, dev string, n, bridgeNS ns, bridge, addr, gateway string) {
	tb.Helper()
	attach(tb, dev, n, bridgeNS, bridge, addr, gateway)
	if link == nil {
		return
	}
	port := portName(addr)
	out, err := run(10*time.Second, nil, "", n.args(link.netem(dev)...)...)
	if err == nil {
		bridgeNS.must(tb, link.netem(port)...)
		return
	}
	if !strings.Contains(out, "qdisc kind is unknown") {
		tb.Fatalf("netem: %v\n%s", err, out)
	}
	n.must(tb, "ip", "link", "del", dev)
	near, far := newTAP(tb, n, dev), newTAP(tb, bridgeNS, port)
	bridgeNS.must(tb, "ip", "link", "set", port, "master", bridge, "up")
	n.must(tb, "sh", "-ec", "ip addr add "+addr+" dev "+dev+"; ip link set "+dev+" up; ip route add default via "+gateway)
	// Each link and direction has random numbers of its own, the same in every run.
	name := fnv.New64()
	name.Write([]byte(addr))
	go link.carry(near, far, name.Sum64())
	go link.carry(far, near, ^name.Sum64())
}

func newTAP(tb testing.TB, n ns, dev string) *os.File {
	tb.Helper()
	var file *os.File
	err := n.do(func() error {
		fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
		if err != nil {
			return err
		}
		req, err := unix.NewIfreq(dev)
		if err != nil {
			return err
		}
		req.SetUint16(unix.IFF_TAP | unix.IFF_NO_PI)
		if err := unix.IoctlIfreq(fd, unix.TUNSETIFF, req); err != nil {
			unix.Close(fd)
			return err
		}
		file = os.NewFile(uintptr(fd), dev)
		return nil
	})
	if err != nil {
		tb.Fatalf("TAP %s: %v", dev, err)
	}
	tb.Cleanup(func() { file.Close() })
	return file
}

// carry moves frames one way until a device is closed.
func (l *Link) carry(from io.Reader, to io.Writer, way uint64) {
	random := rand.New(rand.NewPCG(l.Seed, way))
	var mu sync.Mutex
	buf := make([]byte, 2048)
	for {
		got, err := from.Read(buf)
		if err != nil {
			return
		}
		if random.Float64() < l.Loss {
			continue
		}
		delay := l.Delay
		if l.Jitter > 0 {
			delay += time.Duration((2*random.Float64() - 1) * float64(l.Jitter))
		}
		if random.Float64() < l.Reorder {
			delay = 0
		}
		copies := 1
		if random.Float64() < l.Duplicate {
			copies = 2
		}
		frame := append([]byte(nil), buf[:got]...)
		time.AfterFunc(delay, func() {
			mu.Lock()
			defer mu.Unlock()
			for range copies {
				to.Write(frame)
			}
		})
	}
}
