// Prints verdicts of the official betterAddr for tests/unit/path. SPDX-License-Identifier: MIT
//
// The function is not exported, so it is reached by linkname; the argument's layout is mirrored below from its exported parts.
//
//	go run -ldflags=-checklinkname=0 ./mkvectors/path > ../vectors/path_better.txt
package main

import (
	"fmt"
	"math/rand"
	"net/netip"
	"time"
	_ "unsafe" // for linkname

	"tailscale.com/net/packet"
	"tailscale.com/net/tstun"
	"tailscale.com/types/key"
	_ "tailscale.com/wgengine/magicsock"
)

type epAddr struct {
	ap  netip.AddrPort
	vni packet.VirtualNetworkID
}

type addrQuality struct {
	epAddr
	relayServerDisco key.DiscoPublic
	latency          time.Duration
	wireMTU          tstun.WireMTU
}

//go:linkname betterAddr tailscale.com/wgengine/magicsock.betterAddr
func betterAddr(a, b addrQuality) bool

var addrs = []string{
	"", "192.0.2.1:41641", "192.0.2.1:5", "203.0.113.9:41641", "127.0.0.1:7", "169.254.3.4:9", "10.1.2.3:41641",
	"172.16.9.9:1", "192.168.1.2:3", "100.64.0.1:4", "[2001:db8::1]:41641", "[::1]:7", "[fe80::1]:9", "[fd00::5]:41641", "[2001:db8::2]:41641",
}

func main() {
	r := rand.New(rand.NewSource(20261123))
	lat := []int{0, 1, 2, 99, 100, 101, 198, 199, 200, 201, 1000, 4999, 5000, 5001, 9900, 9901, 10000, 10101, 20000, 25000, 100000, 4999999}
	fmt.Println("# betterAddr of tailscale.com v1.102.3 wgengine/magicsock; generator mkvectors/path, 2026-11-23")
	fmt.Println("# <addr a> <vni a> <latency a, us> <mtu a> <the same of b> <0|1>; addr - = none, vni - = direct")
	one := func(ai, bi, la, lb, vniA, vniB, mtuA, mtuB int) {
		mk := func(i, l, vni, mtu int) (addrQuality, string) {
			var q addrQuality
			text, v := "-", "-"
			if addrs[i] != "" {
				q.ap = netip.MustParseAddrPort(addrs[i])
				text = addrs[i]
			}
			if vni > 0 {
				q.vni.Set(uint32(vni))
				v = fmt.Sprint(vni)
			}
			q.latency = time.Duration(l) * time.Microsecond
			q.wireMTU = tstun.WireMTU(mtu)
			return q, fmt.Sprintf("%s %s %d %d", text, v, l, mtu)
		}
		a, as := mk(ai, la, vniA, mtuA)
		b, bs := mk(bi, lb, vniB, mtuB)
		verdict := 0
		if betterAddr(a, b) {
			verdict = 1
		}
		fmt.Printf("%s %s %d\n", as, bs, verdict)
	}
	// Every pair of kinds of address, with equal and with close latencies; then random ones.
	for ai := range addrs {
		for bi := range addrs {
			one(ai, bi, 10000, 10000, 0, 0, 1280, 1280)
			one(ai, bi, 10000, 9000+r.Intn(2000), 0, 0, 1280, 1280)
		}
	}
	for i := 0; i < 2500; i++ {
		vni := func() int { return max(0, r.Intn(12)-8) }
		la, lb := lat[r.Intn(len(lat))], lat[r.Intn(len(lat))]
		if r.Intn(2) == 0 {
			la = r.Intn(60000)
			lb = la + r.Intn(2000) - 1000
			if lb < 0 {
				lb = 0
			}
		}
		one(r.Intn(len(addrs)), r.Intn(len(addrs)), la, lb, vni(), vni(), []int{1280, 1280, 1360, 1500}[r.Intn(4)], []int{1280, 1280, 1360, 1500}[r.Intn(4)])
	}
}
