// The PeerAPI: its port in TSMP pongs, pings by HTTP, and what it refuses.
//
// SPDX-License-Identifier: MIT

package interop

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"tailscale.com/tailcfg"
	"tailscale.com/tstest/integration/testcontrol"
	"tailscale.com/types/key"

	"microlink.test/interop/harness"
)

// pingTSMP returns the PeerAPI address that the official `tailscale ping --tsmp` shows, as "ip:port".
func pingTSMP(t *testing.T, from *harness.Node, ip string) netip.AddrPort {
	t.Helper()
	out, err := from.CLI("ping", "-c", "3", "--timeout", "5s", "--tsmp", ip) // It ends at the first pong.
	if err != nil {
		t.Fatalf("ping --tsmp: %v\n%s", err, out)
	}
	// "pong from ml (100.64.0.1, 36187) via TSMP in 2ms"
	_, rest, _ := strings.Cut(out, "(")
	inside, _, _ := strings.Cut(rest, ")")
	if addr, port, ok := strings.Cut(inside, ", "); ok && addr == ip {
		if n, err := strconv.ParseUint(port, 10, 16); err == nil && n != 0 {
			return netip.AddrPortFrom(netip.MustParseAddr(addr), uint16(n))
		}
	}
	t.Fatalf("no PeerAPI port in %q", out)
	return netip.AddrPort{}
}

// request makes one HTTP request from a host.
func request(t *testing.T, from *harness.Host, to netip.AddrPort, method, path string, change func(*http.Request)) (int, string) {
	t.Helper()
	client := http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{DisableKeepAlives: true,
		DialContext: func(_ context.Context, network, addr string) (net.Conn, error) {
			return from.Dial(network, addr, 5*time.Second)
		}}}
	r, err := http.NewRequest(method, "http://"+to.String()+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	if change != nil {
		change(r)
	}
	answer, err := client.Do(r)
	if err != nil {
		t.Fatalf("%s %s: %v", method, path, err)
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatalf("%s %s: %v", method, path, err)
	}
	return answer.StatusCode, string(body)
}

func TestD58_D68_PeerAPI(t *testing.T) {
	t.Parallel()
	for _, userspace := range []bool{false, true} {
		mode := map[bool]string{false: "tun", true: "userspace"}[userspace]
		t.Run(mode, func(t *testing.T) { peerAPI(t, userspace) })
	}
}

func peerAPI(t *testing.T, userspace bool) {
	lab := harness.New(t, harness.Options{})
	s, url := lab.TestControl(t, nil)
	ours := lab.Host("ml").Microlink(t, harness.NodeOptions{URL: url, AuthKey: "x", Userspace: userspace})
	ours.WaitRunning(t, 20*time.Second)
	official := lab.Host("ts").Tailscaled(t, harness.NodeOptions{URL: url, AuthKey: "x"})
	expectDirect(t, official, ours)

	// An empty filter: whatever gets through from here on, no rule lets it.
	var self key.NodePublic
	for _, n := range s.AllNodes() {
		if n.Hostinfo.Hostname() == "ml" {
			self = n.Key
			if services := n.Hostinfo.Services(); services.Len() == 0 {
				t.Error("no Services were published")
			}
		}
	}
	if !s.AddRawMapResponse(self, &tailcfg.MapResponse{PacketFilters: map[string][]tailcfg.FilterRule{"*": nil}}) {
		t.Fatal("the server could not send the filter")
	}
	harness.Eventually(t, 10*time.Second, "the empty filter is in force", func() error {
		if pongs, _, _ := official.Ping("-c", "1", "--timeout", "1s", "--icmp", ours.IP4(t)); len(pongs) != 0 {
			return fmt.Errorf("ping --icmp gets through")
		}
		return nil
	})

	for _, ip := range []string{ours.IP4(t), ours.IP6(t)} {
		addr := pingTSMP(t, official, ip)
		t.Logf("PeerAPI at %v", addr)
		want := func(status int, method, path string, change func(*http.Request)) {
			t.Helper()
			got, body := request(t, official.Host, addr, method, path, change)
			if got != status {
				t.Errorf("%s %s at %v: %d, want %d", method, path, addr, got, status)
			}
			if (body != "") != (method != "HEAD") {
				t.Errorf("%s %s at %v: body %q", method, path, addr, body)
			}
		}
		want(200, "HEAD", "/", nil)
		want(200, "GET", "/", nil)
		want(200, "GET", "/", func(r *http.Request) { r.Host = "peer" })
		for _, host := range []string{"ml", "localhost:80", ip, "100.100.100.100:" + fmt.Sprint(addr.Port()), "peer:80",
			official.IP4(t) + ":80"} {
			want(403, "GET", "/", func(r *http.Request) { r.Host = host })
		}
		want(403, "HEAD", "/", func(r *http.Request) { r.Header.Set("Origin", "http://"+addr.String()) })
		want(403, "GET", "/", func(r *http.Request) { r.Header.Set("Referer", "http://"+addr.String()+"/") })
		want(404, "GET", "/v0/ping", nil)
		if ours.Official {
			continue // It has more than we do.
		}
		want(404, "GET", "/dns-query?dns=AAAA", nil)
		want(404, "HEAD", "/v0/goroutines", nil)
		want(404, "POST", "/", nil)
		want(404, "PUT", "/v0/put/file", func(r *http.Request) { r.Body, r.ContentLength = io.NopCloser(strings.NewReader("x")), 1 })
	}
	out, err := official.CLI("ping", "-c", "1", "--timeout", "10s", "--peerapi", ours.IP4(t))
	if err != nil || !strings.Contains(out, "hit peerapi of "+ours.IP4(t)) {
		t.Errorf("ping --peerapi: %v\n%s", err, out)
	}
	t.Log(strings.TrimSpace(out))

	if ours.Official {
		return
	}

	// Four connections that say nothing keep others out, for ten seconds at most.
	addr := pingTSMP(t, official, ours.IP4(t))
	start := time.Now()
	var silent []net.Conn
	for range 4 {
		c, err := official.Host.Dial("tcp", addr.String(), 5*time.Second)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		silent = append(silent, c)
	}
	time.Sleep(100 * time.Millisecond) // The last one is accepted, too.
	fifth, err := official.Host.Dial("tcp", addr.String(), 5*time.Second)
	if err == nil {
		fifth.SetDeadline(time.Now().Add(5 * time.Second))
		if n, err := fifth.Read(make([]byte, 1)); err == nil || n != 0 || time.Since(start) > 4*time.Second {
			t.Errorf("the fifth connection was not closed at once: %v", err)
		}
		fifth.Close()
	}
	for _, c := range silent {
		c.SetDeadline(time.Now().Add(15 * time.Second))
		if n, err := c.Read(make([]byte, 1)); n != 0 || err == nil {
			t.Errorf("a silent connection got %d bytes", n)
		}
	}
	if took := time.Since(start); took < 9*time.Second || took > 12*time.Second {
		t.Errorf("silent connections were closed after %v", took)
	}
	if status, _ := request(t, official.Host, addr, "HEAD", "/", nil); status != 200 {
		t.Errorf("afterwards: %d", status)
	}

	// Somebody on the underlay who sends packets for the tailnet address here.
	if !userspace {
		stranger := lab.Host("stranger")
		stranger.Must(t, "ip", "route", "add", addr.Addr().String()+"/32", "via", ours.Host.IP)
		ours.Host.Must(t, "sysctl", "-qw", "net.ipv4.conf.all.rp_filter=0")
		if c, err := stranger.Dial("tcp", addr.String(), 2*time.Second); err == nil {
			fmt.Fprintf(c, "HEAD / HTTP/1.1\r\nHost: peer\r\n\r\n")
			line, _ := bufio.NewReader(c).ReadString('\n')
			t.Errorf("reached from outside of the tunnel: %q", line)
			c.Close()
		}
	}
}

func TestThePeerAPIUnderAMasqueradeAddress(t *testing.T) {
	t.Parallel()
	lab := harness.New(t, harness.Options{})
	s, url := lab.TestControl(t, nil)
	ours := lab.Host("ml").Microlink(t, harness.NodeOptions{URL: url, AuthKey: "x", Userspace: true})
	ours.WaitRunning(t, 20*time.Second)
	official := lab.Host("ts").Tailscaled(t, harness.NodeOptions{URL: url, AuthKey: "x"})
	expectDirect(t, official, ours)
	keys := map[string]key.NodePublic{}
	for _, n := range s.AllNodes() {
		keys[n.Hostinfo.Hostname()] = n.Key
	}
	const as = "100.108.1.1"
	s.SetMasqueradeAddresses([]testcontrol.MasqueradePair{{Node: keys["ml"], Peer: keys["ts"], NodeMasqueradesAs: netip.MustParseAddr(as)}})
	harness.Eventually(t, 10*time.Second, "the peer knows us as "+as, func() error {
		status, err := official.Status()
		if err != nil {
			return err
		}
		if peer, _ := status.FindPeer("ml"); !slices.Contains(peer.TailscaleIPs, as) {
			return fmt.Errorf("it has %v", peer.TailscaleIPs)
		}
		return nil
	})
	addr := pingTSMP(t, official, as)
	if status, _ := request(t, official.Host, addr, "HEAD", "/", nil); status != 200 {
		t.Errorf("at %v: %d", addr, status)
	}
}
