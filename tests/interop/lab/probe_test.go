// Probes: overlay pings at a fixed rate with the time of each answer, and an ear on the underlay that notes when data came
// directly. Which ping an encrypted packet belongs to is told by its size, so pings of one node to several peers differ in size.
//
// SPDX-License-Identifier: MIT

package lab

import (
	"encoding/binary"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"microlink.test/interop/harness"
)

const pingInterval = 100 * time.Millisecond

// pinger sends ICMP echo requests through the tailnet, ten a second.
type pinger struct {
	conn  net.PacketConn
	to    *net.IPAddr
	id    uint16
	size  int // Of the IP packet.
	start time.Time
	stop  chan struct{}
	done  sync.WaitGroup

	mu       sync.Mutex
	sent     []time.Time
	answered map[uint16]time.Time
	arrivals []time.Time
}

var pingIDs atomic.Uint32

// newPinger starts pinging; size is that of the overlay IP packet.
func newPinger(t *testing.T, from *harness.Host, to string, size int) *pinger {
	t.Helper()
	p := &pinger{to: &net.IPAddr{IP: net.ParseIP(to)}, id: uint16(pingIDs.Add(1)), size: size, stop: make(chan struct{}),
		answered: map[uint16]time.Time{}}
	err := from.Do(func() (err error) {
		p.conn, err = net.ListenPacket("ip4:icmp", "0.0.0.0")
		return err
	})
	if err != nil {
		t.Fatalf("%s: %v", from.Name, err)
	}
	p.start = time.Now()
	p.done.Add(1)
	go p.receive()
	go p.send()
	return p
}

func (p *pinger) send() {
	defer p.conn.Close()
	tick := time.NewTicker(pingInterval)
	defer tick.Stop()
	for seq := uint16(1); ; seq++ {
		packet := make([]byte, p.size-20)
		packet[0] = 8 // Echo request.
		binary.BigEndian.PutUint16(packet[4:], p.id)
		binary.BigEndian.PutUint16(packet[6:], seq)
		binary.BigEndian.PutUint16(packet[2:], checksum(packet))
		p.mu.Lock()
		p.sent = append(p.sent, time.Now())
		p.mu.Unlock()
		p.conn.WriteTo(packet, p.to)
		select {
		case <-p.stop:
			return
		case <-tick.C:
		}
	}
}

func (p *pinger) receive() {
	defer p.done.Done()
	buf := make([]byte, 2048)
	for {
		n, from, err := p.conn.ReadFrom(buf)
		if err != nil {
			return
		}
		now := time.Now()
		if n < 8 || buf[0] != 0 || binary.BigEndian.Uint16(buf[4:]) != p.id || !from.(*net.IPAddr).IP.Equal(p.to.IP) {
			continue
		}
		seq := binary.BigEndian.Uint16(buf[6:])
		p.mu.Lock()
		if _, twice := p.answered[seq]; !twice {
			p.answered[seq] = now
			p.arrivals = append(p.arrivals, now)
		}
		p.mu.Unlock()
	}
}

// end stops pinging.
func (p *pinger) end() {
	close(p.stop)
	p.done.Wait()
}

// first is the time from the first request to the first answer, or -1.
func (p *pinger) first() time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.arrivals) == 0 {
		return -1
	}
	return p.arrivals[0].Sub(p.start)
}

// silence is the longest time between two answers (not of requests: what was queued and answered late does not count as
// silence before it) from one time to another; both ends count as answers.
func (p *pinger) silence(from, to time.Time) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	longest, last := time.Duration(0), from
	for _, at := range append(append([]time.Time(nil), p.arrivals...), to) {
		if at.Before(from) || at.After(to) {
			continue
		}
		longest = max(longest, at.Sub(last))
		last = at
	}
	return longest
}

// counts returns how many requests were sent and answered.
func (p *pinger) counts() (sent, answered int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.sent), len(p.answered)
}

func checksum(b []byte) uint16 {
	var sum uint32
	for i := 0; i+1 < len(b); i += 2 {
		sum += uint32(binary.BigEndian.Uint16(b[i:]))
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	return ^uint16(sum)
}

// heard is when WireGuard data of one size came to a node over UDP.
type heard struct{ first, last time.Time }

// ear notes the WireGuard data that comes to a host over UDP, by size of the overlay IP packet.
type ear struct {
	fd   int
	ip   net.IP // What comes for an address that the host no longer has is not heard.
	done chan struct{}
	stop chan struct{}

	mu    sync.Mutex
	sizes map[int]heard
}

// openLink returns a socket that gets every packet of the host's link, in both directions, from the IP header on; a read ends
// after 0.2 s.
func openLink(t *testing.T, h *harness.Host) (fd int) {
	t.Helper()
	err := h.Do(func() (err error) {
		dev, err := net.InterfaceByName("eth0")
		if err != nil {
			return err
		}
		proto := uint16(unix.ETH_P_ALL<<8 | unix.ETH_P_ALL>>8)
		if fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, int(proto)); err != nil {
			return err
		}
		if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Usec: 200000}); err != nil {
			return err
		}
		return unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: proto, Ifindex: dev.Index})
	})
	if err != nil {
		t.Fatalf("%s: %v", h.Name, err)
	}
	return fd
}

func listen(t *testing.T, h *harness.Host) *ear {
	t.Helper()
	e := &ear{fd: openLink(t, h), ip: net.ParseIP(h.IP), done: make(chan struct{}), stop: make(chan struct{}), sizes: map[int]heard{}}
	go e.run()
	return e
}

func (e *ear) run() {
	defer close(e.done)
	defer unix.Close(e.fd)
	buf := make([]byte, 2048)
	for {
		select {
		case <-e.stop:
			return
		default:
		}
		n, from, err := unix.Recvfrom(e.fd, buf, 0)
		if err != nil {
			continue
		}
		now := time.Now()
		if ll, ok := from.(*unix.SockaddrLinklayer); !ok || ll.Pkttype == unix.PACKET_OUTGOING {
			continue
		}
		if size := dataSize(buf[:n], e.ip); size > 0 {
			e.mu.Lock()
			h := e.sizes[size]
			if h.first.IsZero() {
				h.first = now
			}
			h.last = now
			e.sizes[size] = h
			e.mu.Unlock()
		}
	}
}

// end stops listening and returns what was heard, by size.
func (e *ear) end() map[int]heard {
	close(e.stop)
	<-e.done
	return e.sizes
}

// dataSize is the size of the (padded) IP packet in a WireGuard data message over UDP to the host, whose IPv4 address is given;
// 0 for all else.
func dataSize(p []byte, ip net.IP) int {
	at := 0
	switch {
	case len(p) >= 20 && p[0]>>4 == 4 && p[9] == unix.IPPROTO_UDP && net.IP(p[16:20]).Equal(ip):
		at = int(p[0]&15) * 4
	case len(p) >= 40 && p[0]>>4 == 6 && p[6] == unix.IPPROTO_UDP:
		at = 40
	default:
		return 0
	}
	if len(p) < at+8+32 || binary.LittleEndian.Uint32(p[at+8:]) != 4 {
		return 0
	}
	return int(binary.BigEndian.Uint16(p[at+4:])) - 8 - 32
}
