// Package filtergen makes random packet filter scripts together with the verdicts of the official wgengine/filter. They are
// read by tests/unit/filter/filter_script.h; the format is described there.
//
// SPDX-License-Identifier: MIT
package filtergen

import (
	"bufio"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"io"
	"math/rand"
	"net/netip"
	"strings"

	"go4.org/netipx"
	"tailscale.com/net/packet"
	"tailscale.com/tailcfg"
	"tailscale.com/types/ipproto"
	"tailscale.com/wgengine/filter"
)

func quiet(string, ...any) {}

type gen struct {
	r *rand.Rand
	w *bufio.Writer
	// A small pool of addresses makes matches likely.
	v4, v6 []netip.Addr
	recent [][]byte // packets that went out, to answer
}

func (g *gen) pick(s []string) string { return s[g.r.Intn(len(s))] }

func (g *gen) addr(is6 bool) netip.Addr {
	if is6 {
		if g.r.Intn(12) == 0 {
			special := []string{"ff02::1", "fe80::1", "fd7a:115c:a1e0::53", "::1", "2001:db8::9", "::"}
			return netip.MustParseAddr(g.pick(special))
		}
		return g.v6[g.r.Intn(len(g.v6))]
	}
	if g.r.Intn(12) == 0 {
		special := []string{"224.0.0.1", "169.254.1.1", "169.254.169.254", "100.100.100.100", "255.255.255.255", "0.0.0.0", "127.0.0.1"}
		return netip.MustParseAddr(g.pick(special))
	}
	return g.v4[g.r.Intn(len(g.v4))]
}

func (g *gen) ipString() string {
	is6 := g.r.Intn(3) == 0
	a := g.addr(is6)
	switch g.r.Intn(6) {
	case 0:
		return "*"
	case 1:
		bits := g.r.Intn(a.BitLen() + 1)
		p, _ := a.Prefix(bits)
		return p.String()
	case 2:
		b := g.addr(is6)
		if b.Less(a) {
			a, b = b, a
		}
		if !is6 || g.r.Intn(4) == 0 {
			return a.String() + "-" + b.String()
		}
		return a.String()
	case 3:
		return a.String() + "/" + fmt.Sprint(g.r.Intn(a.BitLen()+1)) // often with host bits: skipped by the reference
	default:
		return a.String()
	}
}

func (g *gen) ports() tailcfg.PortRange {
	switch g.r.Intn(4) {
	case 0:
		return tailcfg.PortRange{First: 0, Last: 65535}
	case 1:
		p := uint16(g.r.Intn(4)) * 20
		return tailcfg.PortRange{First: p, Last: p}
	case 2:
		return tailcfg.PortRange{First: 1, Last: 65535}
	}
	p := uint16(g.r.Intn(60))
	return tailcfg.PortRange{First: p, Last: p + uint16(g.r.Intn(40))}
}

func (g *gen) rule() tailcfg.FilterRule {
	var r tailcfg.FilterRule
	for i := 0; i <= g.r.Intn(3); i++ {
		r.SrcIPs = append(r.SrcIPs, g.ipString())
	}
	for i := 0; i < g.r.Intn(4); i++ {
		r.DstPorts = append(r.DstPorts, tailcfg.NetPortRange{IP: g.ipString(), Ports: g.ports()})
	}
	protos := []int{1, 2, 6, 17, 58, 99, 132, 47, 255, 0, 300, -1}
	if g.r.Intn(2) == 0 {
		for i := 0; i <= g.r.Intn(4); i++ {
			r.IPProto = append(r.IPProto, protos[g.r.Intn(len(protos))])
		}
	}
	return r
}

func (g *gen) writeRules(name string, ms []filter.Match) {
	fmt.Fprintf(g.w, "S %s\n", name)
	for _, m := range ms {
		var srcs, dsts, protos []string
		for _, s := range m.Srcs {
			srcs = append(srcs, s.String())
		}
		for _, d := range m.Dsts {
			dsts = append(dsts, fmt.Sprintf("%s,%d,%d", d.Net, d.Ports.First, d.Ports.Last))
		}
		for _, p := range m.IPProto.All() {
			protos = append(protos, fmt.Sprint(uint8(p)))
		}
		fmt.Fprintf(g.w, "R %s;%s;%s\n", strings.Join(srcs, " "), strings.Join(dsts, " "), strings.Join(protos, " "))
	}
	fmt.Fprintf(g.w, "E\n")
}

// packet makes one packet: mostly well formed, sometimes short, fragmented or odd.
func (g *gen) packet(src, dst netip.Addr) []byte {
	protos := []uint8{6, 6, 6, 17, 17, 17, 1, 58, 132, 99, 2, 47, 255, 0, 44, 50}
	proto := protos[g.r.Intn(len(protos))]
	if src.Is6() && proto == 1 && g.r.Intn(4) != 0 {
		proto = 58
	} else if src.Is4() && proto == 58 && g.r.Intn(4) != 0 {
		proto = 1
	}
	var t []byte
	switch proto {
	case 6:
		t = make([]byte, 20)
		t[12] = 0x50
		t[13] = []byte{0x02, 0x02, 0x02, 0x10, 0x12, 0x04, 0xc2, 0x00}[g.r.Intn(8)]
	case 17:
		t = make([]byte, 8)
		t[5] = 8
	case 132:
		t = make([]byte, 12)
	case 1:
		t = make([]byte, 8)
		t[0] = []byte{0, 8, 3, 11, 12, 18, 5, 13}[g.r.Intn(8)]
	case 58:
		t = make([]byte, 8)
		t[0] = []byte{128, 129, 1, 2, 3, 4, 135, 0, 5}[g.r.Intn(9)]
	case 99:
		t = make([]byte, 9)
		t[0] = 'p'
	default:
		t = make([]byte, g.r.Intn(12))
	}
	if proto == 1 || proto == 58 {
		if g.r.Intn(6) == 0 {
			t[1] = 1
		}
	} else if len(t) >= 8 && proto != 99 {
		binary.BigEndian.PutUint16(t, uint16(g.r.Intn(4))*20)
		binary.BigEndian.PutUint16(t[2:], uint16(g.r.Intn(4))*20)
	}
	if g.r.Intn(12) == 0 && len(t) > 0 {
		t = t[:g.r.Intn(len(t))]
	}
	var b []byte
	if src.Is4() {
		b = make([]byte, 20, 48)
		b[0] = 0x45
		b[8] = 64
		b[9] = proto
		s, d := src.As4(), dst.As4()
		copy(b[12:], s[:])
		copy(b[16:], d[:])
		if g.r.Intn(8) == 0 {
			frag := []uint16{0x2000, 1, 9, 10, 11, 0x2009, 0x200a, 0x1fff, 0x4000}
			binary.BigEndian.PutUint16(b[6:], frag[g.r.Intn(len(frag))])
		}
		b = append(b, t...)
		binary.BigEndian.PutUint16(b[2:], uint16(len(b)))
		if g.r.Intn(20) == 0 {
			b[0] = 0x40 | byte(g.r.Intn(16))
		}
		if g.r.Intn(30) == 0 {
			binary.BigEndian.PutUint16(b[2:], uint16(g.r.Intn(len(b)+2)))
		}
	} else {
		b = make([]byte, 40, 80)
		b[0] = 0x60
		b[6] = proto
		b[7] = 64
		s, d := src.As16(), dst.As16()
		copy(b[8:], s[:])
		copy(b[24:], d[:])
		if g.r.Intn(6) == 0 {
			b[6] = 44
			f := make([]byte, 8)
			f[0] = proto
			frag := []uint16{0, 0, 1, 1 << 3, 9 << 3, 10 << 3, 10<<3 | 1, 0xfff8}
			binary.BigEndian.PutUint16(f[2:], frag[g.r.Intn(len(frag))])
			b = append(b, f[:8-g.r.Intn(2)*g.r.Intn(8)]...)
		}
		b = append(b, t...)
		binary.BigEndian.PutUint16(b[4:], uint16(len(b)-40))
		if g.r.Intn(30) == 0 {
			binary.BigEndian.PutUint16(b[4:], uint16(g.r.Intn(len(b)+2)))
		}
	}
	switch g.r.Intn(60) {
	case 0:
		b = b[:g.r.Intn(len(b))]
	case 1:
		b = append(b, 0, 0, 0)
	case 2:
		b[0] = byte(g.r.Intn(256))
	}
	return b
}

// answer swaps addresses and ports of a packet that went out, sometimes not exactly.
func (g *gen) answer(b []byte) []byte {
	a := append([]byte(nil), b...)
	switch {
	case len(a) >= 24 && a[0] == 0x45:
		copy(a[12:16], b[16:20])
		copy(a[16:20], b[12:16])
		copy(a[20:22], b[22:24])
		copy(a[22:24], b[20:22])
	case len(a) >= 44 && a[0] == 0x60:
		copy(a[8:24], b[24:40])
		copy(a[24:40], b[8:24])
		copy(a[40:42], b[42:44])
		copy(a[42:44], b[40:42])
	}
	if g.r.Intn(8) == 0 && len(a) > 0 {
		a[g.r.Intn(len(a))] ^= 1 << g.r.Intn(8)
	}
	return a
}

// An IPv6 packet with an IPv4-mapped address is refused by us on purpose; see src/ip/ip_view.h.
func isMapped(p *packet.Parsed) bool {
	return p.Src.Addr().Is4In6() || p.Dst.Addr().Is4In6()
}

// Write makes count packets with verdicts, in filters of perFilter packets each.
func Write(out io.Writer, seed int64, count, perFilter int) error {
	g := &gen{r: rand.New(rand.NewSource(seed)), w: bufio.NewWriterSize(out, 1<<20)}
	for i := 0; i < 6; i++ {
		g.v4 = append(g.v4, netip.AddrFrom4([4]byte{100, 64, byte(i % 2), byte(1 + i)}))
		var b [16]byte
		copy(b[:], []byte{0xfd, 0x7a, 0x11, 0x5c, 0xa1, 0xe0})
		b[15] = byte(1 + i)
		g.v6 = append(g.v6, netip.AddrFrom16(b))
	}
	for done := 0; done < count; {
		var locals netipx.IPSetBuilder
		local := []netip.Prefix{netip.PrefixFrom(g.v4[0], 32), netip.PrefixFrom(g.v6[0], 128)}
		if g.r.Intn(3) == 0 {
			local = append(local, netip.MustParsePrefix("100.64.1.0/24"))
		}
		if g.r.Intn(8) == 0 {
			local = append(local, netip.MustParsePrefix("0.0.0.0/0"))
		}
		names := make([]string, 0, len(local))
		for _, p := range local {
			locals.AddPrefix(p)
			names = append(names, p.String())
		}
		set, err := locals.IPSet()
		if err != nil {
			return err
		}
		shields := g.r.Intn(10) == 0
		fmt.Fprintf(g.w, "F %d %s\n", map[bool]int{true: 1}[shields], strings.Join(names, " "))
		var rules []tailcfg.FilterRule
		for i := 0; i < g.r.Intn(5); i++ {
			rules = append(rules, g.rule())
		}
		ms, _ := filter.MatchesFromFilterRules(rules)
		g.writeRules("base", ms)
		f := filter.New(ms, nil, set, set, nil, quiet)
		if shields {
			f = filter.NewShieldsUpFilter(set, set, nil, quiet)
		}
		g.recent = nil
		for i := 0; i < perFilter && done < count; i++ {
			is6 := g.r.Intn(3) == 0
			local, remote := g.v4[0], g.addr(is6)
			if is6 {
				local = g.v6[0]
			}
			if g.r.Intn(10) == 0 {
				local = g.addr(is6)
			}
			isOut := g.r.Intn(4) == 0
			var b []byte
			switch {
			case isOut:
				b = g.packet(local, remote)
			case len(g.recent) > 0 && g.r.Intn(4) == 0:
				b = g.answer(g.recent[g.r.Intn(len(g.recent))])
			default:
				b = g.packet(remote, local)
			}
			var p packet.Parsed
			p.Decode(b)
			if isMapped(&p) {
				i--
				continue
			}
			done++
			var v filter.Response
			if isOut {
				v, _ = f.RunOut(&p, 0)
				g.recent = append(g.recent, b)
			} else {
				v = f.RunIn(&p, 0)
			}
			dir, verdict := "I", "D"
			if isOut {
				dir = "O"
			}
			if v == filter.Accept {
				verdict = "A"
			}
			fmt.Fprintf(g.w, "%s%s%s\n", dir, verdict, hex.EncodeToString(b))
		}
	}
	return g.w.Flush()
}

// WriteDecode makes count packets with the official classification: version, protocol, ports, flags, and addresses.
func WriteDecode(out io.Writer, seed int64, count int) error {
	g := &gen{r: rand.New(rand.NewSource(seed)), w: bufio.NewWriter(out)}
	g.v4 = []netip.Addr{netip.MustParseAddr("100.64.0.1"), netip.MustParseAddr("192.0.2.9")}
	g.v6 = []netip.Addr{netip.MustParseAddr("fd7a:115c:a1e0::1"), netip.MustParseAddr("2001:db8::7")}
	for i := 0; i < count; i++ {
		is6 := g.r.Intn(2) == 0
		b := g.packet(g.addr(is6), g.addr(is6))
		var p packet.Parsed
		p.Decode(b)
		if isMapped(&p) {
			continue
		}
		var bits int
		if p.IPProto != ipproto.Unknown {
			for i, is := range []bool{p.IPProto == ipproto.TCP && p.IsTCPSyn(), p.IsError(), p.IsEchoRequest(), p.IsEchoResponse()} {
				if is {
					bits |= 1 << i
				}
			}
		}
		fmt.Fprintf(g.w, "%s %d %d %d %d %d %d\n", hex.EncodeToString(b), p.IPVersion, uint8(p.IPProto), p.Src.Port(), p.Dst.Port(), uint8(p.TCPFlags), bits)
	}
	return g.w.Flush()
}
