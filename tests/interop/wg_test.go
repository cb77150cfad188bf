// WireGuard of microlink against the official device package, over loopback UDP.
//
// SPDX-License-Identifier: MIT

package interop

import (
	"bufio"
	"bytes"
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/tailscale/wireguard-go/conn"
	"github.com/tailscale/wireguard-go/device"
	"github.com/tailscale/wireguard-go/tun/tuntest"
	"golang.org/x/crypto/curve25519"

	"microlink.test/interop/harness"
)

type wgKeys struct {
	priv device.NoisePrivateKey
	pub  device.NoisePublicKey
}

func newWGKeys(t *testing.T) (k wgKeys) {
	t.Helper()
	if _, err := rand.Read(k.priv[:]); err != nil {
		t.Fatal(err)
	}
	k.priv[0] &= 248
	k.priv[31] = k.priv[31]&127 | 64
	pub, err := curve25519.X25519(k.priv[:], curve25519.Basepoint)
	if err != nil {
		t.Fatal(err)
	}
	copy(k.pub[:], pub)
	return k
}

// wgRig is an official device (100.64.0.1) and wg_peer (100.64.0.2), each configured with the other.
type wgRig struct {
	t     *testing.T
	dev   *device.Device
	tun   *tuntest.ChannelTUN
	keys  wgKeys // of the official side
	port  int    // of the official side
	cport int
	stdin io.Writer
	lines chan string
	ckeys wgKeys
	peer  *device.Peer
}

// Both sides ignore an initiation within 20 ms of the one before.
const wgFloodInterval = 30 * time.Millisecond

var (
	wgGoIP = netip.MustParseAddr("100.64.0.1")
	wgCIP  = netip.MustParseAddr("100.64.0.2")
)

func newWGRig(t *testing.T) *wgRig {
	t.Helper()
	r := &wgRig{t: t, tun: tuntest.NewChannelTUN(), keys: newWGKeys(t), ckeys: newWGKeys(t), lines: make(chan string, 4096)}
	r.dev = device.NewDevice(r.tun.TUN(), conn.NewStdNetBind(), device.NewLogger(device.LogLevelError, "go: "))
	t.Cleanup(r.dev.Close)
	if err := r.dev.IpcSet(fmt.Sprintf("private_key=%x\nlisten_port=0\n", r.keys.priv)); err != nil {
		t.Fatal(err)
	}
	if err := r.dev.Up(); err != nil {
		t.Fatal(err)
	}
	got, err := r.dev.IpcGet()
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range strings.Split(got, "\n") {
		fmt.Sscanf(line, "listen_port=%d", &r.port)
	}

	cmd := exec.Command(harness.Binary(t, "tests/interop/ctools/wg_peer"), hex.EncodeToString(r.ckeys.priv[:]), hex.EncodeToString(r.keys.pub[:]),
		fmt.Sprint(r.port))
	cmd.Stderr = os.Stderr
	r.stdin, err = cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	go func() {
		s := bufio.NewScanner(out)
		s.Buffer(make([]byte, 16384), 16384)
		for s.Scan() {
			r.lines <- s.Text()
		}
		close(r.lines)
	}()
	fmt.Sscanf(r.expect("port "), "port %d", &r.cport)
	if err := r.dev.IpcSet(fmt.Sprintf("public_key=%x\nprotocol_version=1\nreplace_allowed_ips=true\nallowed_ip=%s/32\nendpoint=127.0.0.1:%d\n",
		r.ckeys.pub, wgCIP, r.cport)); err != nil {
		t.Fatal(err)
	}
	r.peer = r.dev.LookupPeer(r.ckeys.pub)
	return r
}

func (r *wgRig) cmd(format string, args ...any) {
	fmt.Fprintf(r.stdin, format+"\n", args...)
}

// expect returns the next line of wg_peer that starts with prefix.
func (r *wgRig) expect(prefix string) string {
	r.t.Helper()
	line, _ := r.expectSeen(prefix)
	return line
}

// expectSeen also returns the lines before it.
func (r *wgRig) expectSeen(prefix string) (line string, before []string) {
	r.t.Helper()
	timeout := time.After(15 * time.Second)
	for {
		select {
		case l, ok := <-r.lines:
			if !ok {
				r.t.Fatalf("wg_peer ended; wanted %q after %q", prefix, before)
			}
			if strings.HasPrefix(l, prefix) {
				return l, before
			}
			before = append(before, l)
		case <-timeout:
			r.t.Fatalf("no %q from wg_peer, but %q", prefix, before)
		}
	}
}

// seenUntilSync returns what wg_peer printed up to now.
func (r *wgRig) seenUntilSync() []string {
	r.t.Helper()
	r.cmd("sync")
	_, before := r.expectSeen("synced")
	return before
}

func wgPacket(src, dst netip.Addr, n int) []byte {
	p := make([]byte, n)
	rand.Read(p[20:])
	p[0] = 0x45
	binary.BigEndian.PutUint16(p[2:], uint16(n))
	p[8], p[9] = 64, 17
	copy(p[12:], src.AsSlice())
	copy(p[16:], dst.AsSlice())
	return p
}

func (r *wgRig) fromC(n int) {
	r.t.Helper()
	p := wgPacket(wgCIP, wgGoIP, n)
	r.cmd("send %x", p)
	r.wantAtGo(p)
}

func (r *wgRig) wantAtGo(p []byte) {
	r.t.Helper()
	select {
	case got := <-r.tun.Inbound:
		if !bytes.Equal(got, p) {
			r.t.Fatalf("the official side got %d bytes %x, want %x", len(got), got, p)
		}
	case <-time.After(15 * time.Second):
		r.t.Fatalf("the official side got nothing; wg_peer says %q", r.seenUntilSync())
	}
}

func (r *wgRig) fromGo(n int) (before []string) {
	r.t.Helper()
	p := wgPacket(wgGoIP, wgCIP, n)
	r.tun.Outbound <- p
	line, before := r.expectSeen("ip ")
	if line != "ip "+hex.EncodeToString(p) {
		r.t.Fatalf("wg_peer got %s, want %x", line, p)
	}
	return before
}

func TestWGInitiator(t *testing.T) {
	t.Run("D1 D7 handshake as initiator with a zero PSK and data both ways", func(t *testing.T) {
		r := newWGRig(t)
		r.fromC(100)
		r.expect("tx 1 148")
		r.expect("rx 2 92")
		r.expect("tx 4 144") // the waiting packet itself, at once
		r.fromGo(60)
		r.fromC(21)
	})
	t.Run("D7 a keepalive follows the response when nothing waits", func(t *testing.T) {
		r := newWGRig(t)
		r.cmd("connect")
		r.expect("rx 2 92")
		r.expect("tx 4 32")
		r.fromGo(60)
	})
}

func TestWGResponder(t *testing.T) {
	t.Run("D1 handshake as responder with a zero PSK and data both ways", func(t *testing.T) {
		r := newWGRig(t)
		before := r.fromGo(100)
		if got := strings.Join(before, ","); !strings.HasPrefix(got, "rx 1 148,tx 2 92 0,rx 4 ") {
			t.Errorf("order of messages: %s", got)
		}
		r.fromC(60)
		r.fromGo(21)
	})
	t.Run("D13 an unknown static key gets no answer", func(t *testing.T) {
		r := newWGRig(t)
		r.cmd("stranger")
		r.tun.Outbound <- wgPacket(wgGoIP, wgCIP, 60)
		r.expect("rx 1 148")
		r.expect("drop")
		for _, l := range r.seenUntilSync() {
			if strings.HasPrefix(l, "tx") {
				t.Errorf("answered: %s", l)
			}
		}
	})
}

func TestWGSizes(t *testing.T) {
	t.Run("D12 full-size packets of 1312 bytes pass both ways", func(t *testing.T) {
		r := newWGRig(t)
		r.fromC(1280)
		r.expect("tx 4 1312")
		if before := r.fromGo(1280); !strings.Contains(strings.Join(before, ","), "rx 4 1312") {
			t.Errorf("saw %q", before)
		}
		for n := 1262; n <= 1280; n++ {
			r.fromC(n)
			r.fromGo(n)
		}
	})
}

func TestWGReplay(t *testing.T) {
	t.Run("D8 duplicates are delivered once on either side", func(t *testing.T) {
		r := newWGRig(t)
		r.fromC(60)
		p := wgPacket(wgCIP, wgGoIP, 80)
		r.cmd("send %x", p)
		r.wantAtGo(p)
		r.cmd("again") // the official side is silent about it; the next packet shows that it was not delivered
		r.fromC(90)
		r.fromGo(70)
		r.cmd("echo")
		r.expect("drop replay")
		r.fromGo(72)
	})
}

func TestWGRekey(t *testing.T) {
	t.Run("D9 the initiator rekeys on send after 120 s and data goes on", func(t *testing.T) {
		r := newWGRig(t)
		r.fromC(60)
		r.expect("up")
		for i := 0; i < 3; i++ {
			time.Sleep(wgFloodInterval)
			r.cmd("skip 121000")
			r.fromC(60)
			r.expect("tx 1 148")
			r.expect("up")
			r.fromC(61)
			r.fromGo(62)
		}
	})
	t.Run("a rekey by the official side takes over", func(t *testing.T) {
		r := newWGRig(t)
		r.fromC(60)
		r.expect("up")
		for i := 0; i < 3; i++ {
			time.Sleep(wgFloodInterval)
			r.peer.ExpireCurrentKeypairs()
			before := r.fromGo(64)
			if !strings.Contains(strings.Join(before, ","), "rx 1 148,tx 2 92") {
				t.Errorf("no handshake: %q", before)
			}
			r.fromC(65)
		}
	})
}

// putUnderLoad floods the official device with messages that have a good mac1 but decrypt to nothing, until it notices.
func (r *wgRig) putUnderLoad() {
	r.t.Helper()
	c, err := net.Dial("udp4", fmt.Sprintf("127.0.0.1:%d", r.port))
	if err != nil {
		r.t.Fatal(err)
	}
	defer c.Close()
	var g device.CookieGenerator
	g.Init(r.keys.pub)
	msg := make([]byte, device.MessageInitiationSize)
	rand.Read(msg)
	binary.LittleEndian.PutUint32(msg, device.MessageInitiationType)
	clear(msg[132:])
	g.AddMacs(msg)
	for deadline := time.Now().Add(10 * time.Second); !r.dev.IsUnderLoad(); {
		if time.Now().After(deadline) {
			r.t.Fatal("the official device does not come under load")
		}
		for i := 0; i < 50; i++ {
			c.Write(msg)
		}
	}
}

// expectEither returns which of two lines wg_peer prints first.
func (r *wgRig) expectEither(a, b string) string {
	r.t.Helper()
	timeout := time.After(15 * time.Second)
	for {
		select {
		case l := <-r.lines:
			if strings.HasPrefix(l, a) {
				return a
			}
			if strings.HasPrefix(l, b) {
				return b
			}
		case <-timeout:
			r.t.Fatalf("neither %q nor %q from wg_peer", a, b)
		}
	}
}

func TestWGCookie(t *testing.T) {
	t.Run("D4 under load the official initiator gets a cookie and comes back with mac2", func(t *testing.T) {
		r := newWGRig(t)
		r.cmd("load 0")
		r.seenUntilSync()
		r.tun.Outbound <- wgPacket(wgGoIP, wgCIP, 60)
		r.expect("rx 1 148")
		r.expect("tx 3 64")
		_, before := r.expectSeen("ip ") // after the official retry timer of 5 s
		if got := strings.Join(before, ","); !strings.HasPrefix(got, "rx 1 148,tx 2 92") {
			t.Errorf("order of messages: %s", got)
		}
	})
	t.Run("D4 a cookie from the official responder under load is used in the retry", func(t *testing.T) {
		r := newWGRig(t)
		for try := 0; ; try++ {
			if try == 5 {
				t.Fatal("the official device does not stay under load long enough to ask for a cookie")
			}
			r.putUnderLoad()
			time.Sleep(wgFloodInterval)
			r.cmd("connect")
			// Once its queue has drained it stays under load for a second; a slow machine may miss that.
			if r.expectEither("cookie", "rx 2 ") == "cookie" {
				break
			}
			r.cmd("skip 5400")
		}
		r.cmd("skip 5400")
		r.expect("tx 1 148 1")
		r.fromC(60)
		r.fromGo(60)
	})
}
