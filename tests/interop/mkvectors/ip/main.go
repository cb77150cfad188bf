// Makes tests/vectors/ip_build.txt with the official packages net/packet, net/packet/checksum and net/tsaddr. Run in
// tests/interop:
//
//	go run ./mkvectors/ip
//
// SPDX-License-Identifier: MIT
package main

import (
	"encoding/binary"
	"fmt"
	"log"
	"math/rand"
	"net/netip"
	"os"

	"tailscale.com/net/packet"
	"tailscale.com/net/packet/checksum"
	"tailscale.com/net/tsaddr"
	"tailscale.com/types/ipproto"
	"tailscale.com/types/key"

	"go4.org/mem"
)

func must(err error) {
	if err != nil {
		log.Fatal(err)
	}
}

func main() {
	f, err := os.Create("../vectors/ip_build.txt")
	must(err)
	fmt.Fprint(f, `# Made by tests/interop/mkvectors/ip on 2026-11-23 with tailscale.com v1.102.3 (net/packet, net/packet/checksum, net/tsaddr).
# ping src dst data packet                    TSMP ping
# pong ping-packet port packet                TSMP pong that answers a ping
# rejected packet reason broken packet        TSMP rejected for a TCP packet
# advert src dst key packet                   TSMP disco key advertisement
# udp src dst data id packet                  UDP datagram
# echo src dst reply ident seq data packet    ICMP echo
# unreachable from packet packet              ICMP host unreachable
# rewrite dst address packet packet           address replaced
# via site prefix prefix                      4via6
`)
	r := rand.New(rand.NewSource(3))
	bytes := func(n int) []byte {
		b := make([]byte, n)
		r.Read(b)
		return b
	}
	addrs := func(is6 bool) (netip.Addr, netip.Addr) {
		if is6 {
			return netip.AddrFrom16([16]byte(append([]byte{0xfd, 0x7a}, bytes(14)...))), netip.AddrFrom16([16]byte(append([]byte{0xfd, 0x7a}, bytes(14)...)))
		}
		return netip.AddrFrom4([4]byte(append([]byte{100, 64}, bytes(2)...))), netip.AddrFrom4([4]byte(append([]byte{100, 65}, bytes(2)...)))
	}
	header := func(src, dst netip.Addr, proto ipproto.Proto, id uint32) packet.Header {
		if src.Is4() {
			return packet.IP4Header{IPProto: proto, Src: src, Dst: dst, IPID: uint16(id)}
		}
		return packet.IP6Header{IPProto: proto, Src: src, Dst: dst, IPID: id & 0xfffff}
	}
	udp := func(src, dst netip.Addr, sp, dp uint16, id uint32, data []byte) []byte {
		if src.Is4() {
			return packet.Generate(packet.UDP4Header{IP4Header: packet.IP4Header{Src: src, Dst: dst, IPID: uint16(id)}, SrcPort: sp, DstPort: dp}, data)
		}
		return packet.Generate(packet.UDP6Header{IP6Header: packet.IP6Header{Src: src, Dst: dst, IPID: id & 0xfffff}, SrcPort: sp, DstPort: dp}, data)
	}
	echo := func(src, dst netip.Addr, reply bool, body []byte) []byte {
		if src.Is4() {
			t := packet.ICMP4EchoRequest
			if reply {
				t = packet.ICMP4EchoReply
			}
			return packet.Generate(packet.ICMP4Header{IP4Header: packet.IP4Header{Src: src, Dst: dst}, Type: t}, body)
		}
		t := packet.ICMP6EchoRequest
		if reply {
			t = packet.ICMP6EchoReply
		}
		return packet.Generate(packet.ICMP6Header{IP6Header: packet.IP6Header{Src: src, Dst: dst}, Type: t}, body)
	}
	tcp := func(src, dst netip.Addr) []byte {
		t := make([]byte, 20+2*r.Intn(5))
		r.Read(t)
		t[12], t[13] = 0x50, 2
		b := packet.Generate(header(src, dst, ipproto.TCP, 0), t)
		return b
	}
	for i := 0; i < 60; i++ {
		src, dst := addrs(i%2 == 1)
		data := bytes(8)
		ping := packet.Generate(header(src, dst, ipproto.TSMP, 0), append([]byte{'p'}, data...))
		fmt.Fprintf(f, "ping %s %s %x %x\n", src, dst, data, ping)
		ping = packet.Generate(header(src, dst, ipproto.TSMP, r.Uint32()), append([]byte{'p'}, data...))
		var p packet.Parsed
		p.Decode(ping)
		req, ok := p.AsTSMPPing()
		if !ok {
			log.Fatal("not a ping")
		}
		pong := packet.TSMPPongReply{Data: req.Data, PeerAPIPort: uint16(r.Uint32())}
		if src.Is4() {
			h := p.IP4Header()
			h.ToResponse()
			pong.IPHeader = h
		} else {
			h := p.IP6Header()
			h.ToResponse()
			pong.IPHeader = h
		}
		fmt.Fprintf(f, "pong %x %d %x\n", ping, pong.PeerAPIPort, packet.Generate(pong, nil))
		b := tcp(src, dst)
		p.Decode(b)
		rej := packet.TailscaleRejectedHeader{IPSrc: p.Dst.Addr(), IPDst: p.Src.Addr(), Src: p.Src, Dst: p.Dst, Proto: p.IPProto, Reason: packet.TailscaleRejectReason("ASFWT"[i%5]), MaybeBroken: i%3 == 0}
		fmt.Fprintf(f, "rejected %x %d %d %x\n", b, rej.Reason, map[bool]int{true: 1}[rej.MaybeBroken], packet.Generate(rej, nil))
		raw := bytes(32)
		ad := packet.TSMPDiscoKeyAdvertisement{Src: src, Dst: dst, Key: key.DiscoPublicFromRaw32(mem.B(raw))}
		out, err := ad.Marshal()
		must(err)
		fmt.Fprintf(f, "advert %s %s %x %x\n", src, dst, raw, out)
		body := bytes(1 + r.Intn(20))
		sp, dp, id := uint16(r.Uint32()), uint16(r.Uint32()), uint32(r.Intn(65536))
		fmt.Fprintf(f, "udp %s %s %x %d %x\n", netip.AddrPortFrom(src, sp), netip.AddrPortFrom(dst, dp), body, id, udp(src, dst, sp, dp, id, body))
		if src.Is6() && len(body)%2 == 1 {
			body = append(body, 0) // net/packet's ICMPv6 checksum of an odd length is not that of RFC 1071
		}
		eb := append(bytes(4), body...)
		fmt.Fprintf(f, "echo %s %s %d %d %d %x %x\n", src, dst, i/2%2, binary.BigEndian.Uint16(eb), binary.BigEndian.Uint16(eb[2:]), body, echo(src, dst, i/2%2 == 1, eb))
		from, _ := addrs(i%2 == 1)
		p.Decode(b)
		fmt.Fprintf(f, "unreachable %s %x %x\n", from, b, packet.GenerateICMPHostUnreachable(from, src, &p))
		for _, q := range [][]byte{b, udp(src, dst, sp, dp, id, body), echo(src, dst, false, eb)} {
			was := append([]byte(nil), q...)
			p.Decode(q)
			if i/2%2 == 0 {
				checksum.UpdateSrcAddr(&p, from)
			} else {
				checksum.UpdateDstAddr(&p, from)
			}
			fmt.Fprintf(f, "rewrite %d %s %x %x\n", i/2%2, from, was, p.Buffer())
		}
		net, err := netip.AddrFrom4([4]byte(bytes(4))).Prefix(r.Intn(33))
		must(err)
		site := r.Uint32()
		via, err := tsaddr.MapVia(site, net)
		must(err)
		if u := tsaddr.UnmapVia(via.Addr()); u != net.Addr() {
			log.Fatal("UnmapVia")
		}
		fmt.Fprintf(f, "via %d %s %s\n", site, net, via)
	}
	must(f.Close())
}
