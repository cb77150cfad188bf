// A relay connection against the official server.
//
// SPDX-License-Identifier: MIT

package interop

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	"go4.org/mem"

	"tailscale.com/derp"
	"tailscale.com/derp/derphttp"
	"tailscale.com/derp/derpserver"
	"tailscale.com/net/netmon"
	"tailscale.com/types/key"
)

func nodeHex(k key.NodePublic) string { return strings.TrimPrefix(k.String(), "nodekey:") }

// privateHex is the raw form of a node private key, which the official text form prefixes.
func privateHex(t *testing.T, k key.NodePrivate) string {
	t.Helper()
	b, err := k.MarshalText()
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimPrefix(string(b), "privkey:")
}

type relay struct {
	*derpserver.Server
	web   *httptest.Server // TLS with the meta certificate
	plain *httptest.Server // for the official clients, which would not trust that
}

func startRelay(t *testing.T) *relay {
	t.Helper()
	r := &relay{Server: derpserver.New(key.NewNode(), t.Logf)}
	r.web = httptest.NewUnstartedServer(derpserver.Handler(r.Server))
	r.web.Config.TLSNextProto = make(map[string]func(*http.Server, *tls.Conn, http.Handler)) // no HTTP/2
	donor := httptest.NewTLSServer(nil)
	cert := donor.TLS.Certificates[0]
	donor.Close()
	r.web.TLS = &tls.Config{GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return &cert, nil }}
	r.ModifyTLSConfigToAddMetaCert(r.web.TLS)
	r.web.StartTLS()
	r.plain = httptest.NewServer(derpserver.Handler(r.Server))
	t.Cleanup(func() {
		r.plain.CloseClientConnections()
		r.plain.Close()
		r.web.CloseClientConnections()
		r.web.Close()
		r.Close()
	})
	return r
}

// dial opens a TLS connection and returns the server key of its meta certificate.
func (r *relay) dial(t *testing.T) (net.Conn, string) {
	t.Helper()
	conn, err := tls.Dial("tcp", r.web.Listener.Addr().String(), &tls.Config{ServerName: "relay.example", InsecureSkipVerify: true})
	if err != nil {
		t.Fatal(err)
	}
	for _, cert := range conn.ConnectionState().PeerCertificates {
		if k, ok := strings.CutPrefix(cert.Subject.CommonName, "derpkey"); ok {
			return conn, k
		}
	}
	t.Fatal("no meta certificate")
	return nil, ""
}

// connect runs the C client on a connection to the relay.
func (r *relay) connect(t *testing.T, fast bool, readSize int) (*ctool, key.NodePrivate) {
	t.Helper()
	conn, serverKey := r.dial(t)
	if !fast {
		serverKey = "-"
	}
	priv := key.NewNode()
	tool := startTool(t, "derp_client", privateHex(t, priv), "relay.example", serverKey, strconv.Itoa(readSize))
	t.Cleanup(func() { conn.Close() })
	go func() {
		io.Copy(conn, tool.conn)
		conn.Close()
	}()
	go func() {
		io.Copy(tool.conn, conn)
		tool.conn.Close()
	}()
	return tool, priv
}

// peer is an official client on the relay.
func (r *relay) peer(t *testing.T) (*derphttp.Client, key.NodePrivate) {
	t.Helper()
	priv := key.NewNode()
	c, err := derphttp.NewClient(priv, r.plain.URL+"/derp", t.Logf, netmon.NewStatic())
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Connect(context.Background()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c, priv
}

// recvPacket is the next packet at an official client.
func recvPacket(t *testing.T, c *derphttp.Client) derp.ReceivedPacket {
	t.Helper()
	timer := time.AfterFunc(10*time.Second, func() { c.Close() })
	defer timer.Stop()
	for {
		m, err := c.Recv()
		if err != nil {
			t.Fatal(err)
		}
		if p, ok := m.(derp.ReceivedPacket); ok {
			return p
		}
	}
}

func TestD46_LoginByUpgradeAndByFastStart(t *testing.T) {
	r := startRelay(t)
	for _, fast := range []bool{false, true} {
		for _, readSize := range []int{1, 3, 8192} {
			t.Run(fmt.Sprintf("fast=%v, %d bytes a read", fast, readSize), func(t *testing.T) {
				tool, priv := r.connect(t, fast, readSize)
				tool.expect(t, "login ")
				peer, peerPriv := r.peer(t)
				for _, n := range []int{1, 32, 1320} {
					if err := peer.Send(priv.Public(), make([]byte, n)); err != nil {
						t.Fatal(err)
					}
					tool.expect(t, fmt.Sprintf("packet %s %d", nodeHex(peerPriv.Public()), n))
					p := recvPacket(t, peer)
					if p.Source != priv.Public() || len(p.Data) != n {
						t.Fatalf("echo of %d bytes from %v, want %d", len(p.Data), p.Source, n)
					}
				}
			})
		}
	}
}

func TestD49_FramesDirectlyBehindTheResponseAndCutAnywhere(t *testing.T) {
	// The official server's own bytes, given to the client in two parts cut at every position, and all at once.
	for cut := 0; ; cut++ {
		server := derpserver.New(key.NewNode(), t.Logf)
		web := httptest.NewServer(derpserver.Handler(server))
		upstream, err := net.Dial("tcp", web.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		tool := startTool(t, "derp_client", privateHex(t, key.NewNode()), "relay.example", "-", "8192")
		go io.Copy(upstream, tool.conn)

		// 101 with its headers and the ServerKey frame come before anything more is needed of the client.
		buf := make([]byte, 4096)
		n := 0
		for !strings.Contains(string(buf[:n]), "\r\n\r\n") || n < strings.Index(string(buf[:n]), "\r\n\r\n")+4+45 {
			m, err := upstream.Read(buf[n:])
			if err != nil {
				t.Fatal(err)
			}
			n += m
		}
		if cut > 0 {
			tool.conn.Write(buf[:cut])
			time.Sleep(time.Millisecond) // so that the parts arrive apart
		}
		tool.conn.Write(buf[cut:n])
		go io.Copy(tool.conn, upstream)
		tool.expect(t, "login ")
		upstream.Close()
		tool.conn.Close()
		web.CloseClientConnections()
		web.Close()
		server.Close()
		if cut == n-1 {
			return
		}
	}
}

func TestD50_LargestPacketIsSkippedWholeAndNoneLargerIsSent(t *testing.T) {
	r := startRelay(t)
	tool, priv := r.connect(t, false, 8192)
	tool.expect(t, "login ")
	peer, peerPriv := r.peer(t)
	for _, n := range []int{1321, 65536} {
		if err := peer.Send(priv.Public(), make([]byte, n)); err != nil {
			t.Fatal(err)
		}
		tool.expect(t, "drop larger than we take")
	}
	peer.Send(priv.Public(), make([]byte, 5))
	tool.expect(t, fmt.Sprintf("packet %s 5", nodeHex(peerPriv.Public())))
	tool.command(t, "send "+nodeHex(peerPriv.Public())+" 65537")
	tool.expect(t, "not sent ")
	tool.command(t, "send "+nodeHex(peerPriv.Public())+" 12000")
	if p := recvPacket(t, peer); len(p.Data) != 5 {
		t.Fatalf("%d bytes", len(p.Data))
	}
	if p := recvPacket(t, peer); len(p.Data) != 12000 {
		t.Fatalf("%d bytes", len(p.Data))
	}
}

func TestDERPPeerGoneIsTold(t *testing.T) {
	r := startRelay(t)
	tool, priv := r.connect(t, true, 8192)
	tool.expect(t, "login ")
	peer, peerPriv := r.peer(t)
	peer.Send(priv.Public(), []byte("hello"))
	tool.expect(t, "packet ")
	recvPacket(t, peer)
	peer.Close()
	tool.expect(t, "gone "+nodeHex(peerPriv.Public())+" 0")
}

func TestD53_PingGetsPongAndHomeChangesAreNoted(t *testing.T) {
	// A server end made of the official package's frame functions: derpserver itself never pings.
	server := key.NewNode()
	priv := key.NewNode()
	tool := startTool(t, "derp_client", privateHex(t, priv), "relay.example", "-", "8192")
	s := newDerpEnd(t, tool.conn)
	s.upgrade()
	s.write(derp.FrameServerKey, []byte(derp.Magic), server.Public().AppendTo(nil), []byte("future bytes"))
	if b := s.read(derp.FrameClientInfo); key.NodePublicFromRaw32(mem.B(b[:32])) != priv.Public() {
		t.Error("ClientInfo carries another key")
	} else if msg, ok := server.OpenFrom(priv.Public(), b[32:]); !ok || string(msg) != `{"version":2,"CanAckPings":true}` {
		t.Errorf("ClientInfo says %q", msg)
	}
	if b := s.read(derp.FrameNotePreferred); len(b) != 1 || b[0] != 1 {
		t.Errorf("NotePreferred at login: %v", b)
	}
	s.write(derp.FrameServerInfo, server.SealTo(priv.Public(), []byte(`{"version":2,"TokenBucketBytesPerSecond":1000,"TokenBucketBytesBurst":70000}`)))
	if rest := tool.expect(t, "login "); rest != "rate 1000 burst 70000" {
		t.Error(rest)
	}
	s.write(derp.FramePing, []byte("12345678"))
	if b := s.read(derp.FramePong); string(b) != "12345678" {
		t.Errorf("pong %q", b)
	}
	for _, home := range []string{"0", "1"} {
		tool.command(t, "home "+home)
		if b := s.read(derp.FrameNotePreferred); len(b) != 1 || b[0] != home[0]-'0' {
			t.Errorf("NotePreferred %v, want %s", b, home)
		}
	}
	// Our own ping after a network change: answered, the connection stays; unanswered, it fails.
	tool.command(t, "check")
	s.write(derp.FramePong, s.read(derp.FramePing))
	s.write(derp.FrameKeepAlive)
	tool.command(t, "check")
	s.read(derp.FramePing)
	tool.expect(t, "failed: no pong after a network change")
}

func TestD48_BadGreetingsEndTheConnection(t *testing.T) {
	good := append([]byte(derp.Magic), key.NewNode().Public().AppendTo(nil)...)
	bad := append([]byte{}, good...)
	bad[7] ^= 1
	for name, payload := range map[string][]byte{"short": good[:39], "empty": nil, "wrong magic": bad} {
		t.Run(name, func(t *testing.T) {
			tool := startTool(t, "derp_client", privateHex(t, key.NewNode()), "relay.example", "-", "8192")
			s := newDerpEnd(t, tool.conn)
			s.upgrade()
			s.write(derp.FrameServerKey, payload)
			tool.expect(t, "failed: not a DERP server")
		})
	}
	t.Run("extra bytes and unknown frames are skipped", func(t *testing.T) {
		server, priv := key.NewNode(), key.NewNode()
		tool := startTool(t, "derp_client", privateHex(t, priv), "relay.example", "-", "8192")
		s := newDerpEnd(t, tool.conn)
		s.upgrade()
		s.write(derp.FrameServerKey, []byte(derp.Magic), server.Public().AppendTo(nil), make([]byte, 900))
		s.read(derp.FrameClientInfo)
		s.write(derp.FrameType(0x77), make([]byte, 70000))
		tool.expect(t, "drop derp: unknown frame type")
		s.write(derp.FrameServerInfo, server.SealTo(priv.Public(), []byte(`{"version":2}`)))
		tool.expect(t, "login rate 0 burst 0")
	})
}
