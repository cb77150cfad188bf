// Control servers other than Headscale: the official test server inside this process, and servers that misbehave.
//
// SPDX-License-Identifier: MIT

package harness

import (
	"fmt"
	"log"
	"net"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"tailscale.com/tailcfg"
	"tailscale.com/tstest/integration/testcontrol"
)

var servePort atomic.Int32

// ServeHTTP serves a handler on the internet of the lab until the test ends and returns the base URL.
func (lab *Lab) ServeHTTP(tb testing.TB, handler http.Handler) string {
	tb.Helper()
	l, url := lab.Listen(tb)
	server := &http.Server{Handler: handler, ErrorLog: log.New(discard{}, "", 0)}
	go server.Serve(l)
	tb.Cleanup(func() { server.Close() })
	return url
}

// ServeTLS is ServeHTTP behind a certificate.
func (lab *Lab) ServeTLS(tb testing.TB, crt, key string, handler http.Handler) string {
	tb.Helper()
	l, _ := lab.Listen(tb)
	server := &http.Server{Handler: handler, ErrorLog: log.New(discard{}, "", 0)}
	go server.ServeTLS(l, crt, key)
	tb.Cleanup(func() { server.Close() })
	return fmt.Sprintf("https://%s:%d", ControlName, l.Addr().(*net.TCPAddr).Port)
}

// Listen makes a TCP listener on a free port of the control server's address.
func (lab *Lab) Listen(tb testing.TB) (net.Listener, string) {
	tb.Helper()
	addr := fmt.Sprintf("%s:%d", ControlIP, 10000+servePort.Add(1))
	l, err := lab.wan.listen(addr)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { l.Close() })
	return l, "http://" + l.Addr().String()
}

type discard struct{}

func (discard) Write(p []byte) (int, error) { return len(p), nil }

// DERPMap is the map of the lab's relays.
func (lab *Lab) DERPMap() *tailcfg.DERPMap {
	m := &tailcfg.DERPMap{Regions: map[int]*tailcfg.DERPRegion{}}
	for _, d := range lab.Derpers {
		m.Regions[d.Region] = &tailcfg.DERPRegion{RegionID: d.Region, RegionCode: d.Code, RegionName: d.Code,
			Nodes: []*tailcfg.DERPNode{{Name: d.Host, RegionID: d.Region, HostName: d.Host, IPv4: d.IP, IPv6: "none",
				DERPPort: d.Port, STUNPort: d.STUN, CertName: d.Cert}}}
	}
	if lab.Options.ChangeDERPMap != nil {
		lab.Options.ChangeDERPMap(m)
	}
	return m
}

// TestControl starts the official test control server, with the lab's relays, and returns it and its URL. The change to its
// configuration is made before it serves.
func (lab *Lab) TestControl(tb testing.TB, change func(*testcontrol.Server)) (*testcontrol.Server, string) {
	tb.Helper()
	l, url := lab.Listen(tb)
	s := &testcontrol.Server{Logf: func(string, ...any) {}, DERPMap: lab.DERPMap(), ExplicitBaseURL: url, AllNodesSameUser: true,
		AllOnline: true, MagicDNSDomain: "lab.test"}
	if change != nil {
		change(s)
	}
	server := &http.Server{Handler: s, ErrorLog: log.New(discard{}, "", 0)}
	go server.Serve(l)
	tb.Cleanup(func() { server.Close() })
	return s, url
}

// CountingListener accepts and closes connections at once, and remembers when they came.
type CountingListener struct {
	URL   string
	times chan time.Time
}

// CountConnections starts a server that ends every connection as soon as it is made.
func (lab *Lab) CountConnections(tb testing.TB) *CountingListener {
	tb.Helper()
	l, url := lab.Listen(tb)
	c := &CountingListener{URL: url, times: make(chan time.Time, 10000)}
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			c.times <- time.Now()
			conn.Close()
		}
	}()
	return c
}

// Times returns when connections came since the last call.
func (c *CountingListener) Times() []time.Time {
	var all []time.Time
	for {
		select {
		case t := <-c.times:
			all = append(all, t)
		default:
			return all
		}
	}
}
