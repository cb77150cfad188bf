// Prints DISCO messages, shared keys and boxes of the official packages for tests/unit/disco. SPDX-License-Identifier: MIT
//
//	go run ./mkvectors/disco > ../vectors/disco_messages.txt
package main

import (
	"bytes"
	"fmt"
	"math/rand"
	"net/netip"
	"strings"
	"time"

	"go4.org/mem"
	"tailscale.com/disco"
	"tailscale.com/types/key"
)

var r = rand.New(rand.NewSource(20261123))

func raw(n int) []byte {
	b := make([]byte, n)
	r.Read(b)
	return b
}

func raw32() (a [32]byte) { copy(a[:], raw(32)); return }

func discoKey() key.DiscoPublic { return key.DiscoPublicFromRaw32(mem.B(raw(32))) }

func addr() netip.AddrPort {
	port := uint16(r.Intn(65536))
	if r.Intn(3) == 0 {
		return netip.AddrPortFrom(netip.AddrFrom16([16]byte(raw(16))).Unmap(), port)
	}
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte(raw(4))), port)
}

func addrs(min int) (l []netip.AddrPort) {
	for n := min + r.Intn(6); len(l) < n; {
		l = append(l, addr())
	}
	return
}

func relayEndpoint() disco.UDPRelayEndpoint {
	return disco.UDPRelayEndpoint{
		ServerDisco: discoKey(), ClientDisco: [2]key.DiscoPublic{discoKey(), discoKey()},
		LamportID: r.Uint64(), VNI: r.Uint32(),
		BindLifetime: time.Duration(r.Int63()), SteadyStateLifetime: time.Duration(r.Int63()),
		AddrPorts: addrs(1),
	}
}

func bind() disco.BindUDPRelayEndpointCommon {
	return disco.BindUDPRelayEndpointCommon{VNI: r.Uint32(), Generation: r.Uint32(), RemoteKey: discoKey(), Challenge: raw32()}
}

func random(t int) disco.Message {
	switch t {
	case 1:
		p := &disco.Ping{TxID: [12]byte(raw(12)), Padding: r.Intn(3) * r.Intn(20)}
		if r.Intn(4) > 0 {
			p.NodeKey = key.NodePublicFromRaw32(mem.B(raw(32)))
		}
		return p
	case 2:
		return &disco.Pong{TxID: [12]byte(raw(12)), Src: addr()}
	case 3:
		return &disco.CallMeMaybe{MyNumber: addrs(0)}
	case 4:
		return &disco.BindUDPRelayEndpoint{BindUDPRelayEndpointCommon: bind()}
	case 5:
		return &disco.BindUDPRelayEndpointChallenge{BindUDPRelayEndpointCommon: bind()}
	case 6:
		return &disco.BindUDPRelayEndpointAnswer{BindUDPRelayEndpointCommon: bind()}
	case 7:
		return &disco.CallMeMaybeVia{UDPRelayEndpoint: relayEndpoint()}
	case 8:
		return &disco.AllocateUDPRelayEndpointRequest{ClientDisco: [2]key.DiscoPublic{discoKey(), discoKey()}, Generation: r.Uint32()}
	default:
		return &disco.AllocateUDPRelayEndpointResponse{Generation: r.Uint32(), UDPRelayEndpoint: relayEndpoint()}
	}
}

func hexOrDash(b []byte) string {
	if len(b) == 0 {
		return "-"
	}
	return fmt.Sprintf("%x", b)
}

func addrList(l []netip.AddrPort) string {
	var s []string
	for _, a := range l {
		s = append(s, a.String())
	}
	if len(s) == 0 {
		return "-"
	}
	return strings.Join(s, ",")
}

func endpointFields(e disco.UDPRelayEndpoint) string {
	return fmt.Sprintf("%x %x %x %d %d %d %d %s", e.ServerDisco.AppendTo(nil), e.ClientDisco[0].AppendTo(nil),
		e.ClientDisco[1].AppendTo(nil), e.LamportID, e.VNI, uint64(e.BindLifetime), uint64(e.SteadyStateLifetime), addrList(e.AddrPorts))
}

func bindFields(b disco.BindUDPRelayEndpointCommon) string {
	return fmt.Sprintf("%d %d %x %x", b.VNI, b.Generation, b.RemoteKey.AppendTo(nil), b.Challenge)
}

// fields prints what the official parser understood, in the order in which the C test prints its own result.
func fields(m disco.Message) string {
	switch m := m.(type) {
	case *disco.Ping:
		k, _ := m.NodeKey.AppendTo(nil), 0
		return fmt.Sprintf("1 %x %x %d", m.TxID, k, m.Padding)
	case *disco.Pong:
		return fmt.Sprintf("2 %x %s", m.TxID, m.Src)
	case *disco.CallMeMaybe:
		return "3 " + addrList(m.MyNumber)
	case *disco.BindUDPRelayEndpoint:
		return "4 " + bindFields(m.BindUDPRelayEndpointCommon)
	case *disco.BindUDPRelayEndpointChallenge:
		return "5 " + bindFields(m.BindUDPRelayEndpointCommon)
	case *disco.BindUDPRelayEndpointAnswer:
		return "6 " + bindFields(m.BindUDPRelayEndpointCommon)
	case *disco.CallMeMaybeVia:
		return "7 " + endpointFields(m.UDPRelayEndpoint)
	case *disco.AllocateUDPRelayEndpointRequest:
		return fmt.Sprintf("8 %x %x %d", m.ClientDisco[0].AppendTo(nil), m.ClientDisco[1].AppendTo(nil), m.Generation)
	case *disco.AllocateUDPRelayEndpointResponse:
		return fmt.Sprintf("9 %d %s", m.Generation, endpointFields(m.UDPRelayEndpoint))
	}
	panic("unknown")
}

func main() {
	fmt.Println("# DISCO of tailscale.com v1.102.3 packages disco and types/key; generator mkvectors/disco, 2026-11-23")
	fmt.Println("# msg <bytes> <fields>    AppendMarshal of a random message, and what disco.Parse says is in it")
	fmt.Println("# bad <bytes>             disco.Parse: error")
	fmt.Println("# box <our private> <peer private> <peer public> <message> <wrapper from the peer to us>")
	for i := 0; i < 270; i++ {
		m := random(i%9 + 1)
		b := m.AppendMarshal(nil)
		p, err := disco.Parse(b)
		if err != nil {
			panic(err)
		}
		fmt.Printf("msg %x %s\n", b, fields(p))
	}
	for i := 0; i < 300; i++ {
		b := random(i%9 + 1).AppendMarshal(nil)
		switch r.Intn(4) {
		case 0:
			b = b[:r.Intn(len(b)+1)]
		case 1:
			b = append(b, raw(1+r.Intn(20))...)
		case 2:
			b[0] = byte(r.Intn(256))
		case 3:
			b = append(b[:2], raw(r.Intn(200))...)
		}
		// A version other than 0 makes some parsers return an empty message; those are named in the C tests.
		p, err := disco.Parse(b)
		if err != nil {
			fmt.Printf("bad %s\n", hexOrDash(b))
		} else if !bytes.Equal(b, nil) {
			fmt.Printf("msg %x %s\n", b, fields(p))
		}
	}
	for i := 0; i < 20; i++ {
		ours, theirs := key.DiscoPrivateFromRaw32(mem.B(clamp(raw(32)))), key.DiscoPrivateFromRaw32(mem.B(clamp(raw(32))))
		msg := random(i%9 + 1).AppendMarshal(nil)
		w := []byte(disco.Magic)
		w = theirs.Public().AppendTo(w)
		w = append(w, theirs.Shared(ours.Public()).Seal(msg)...)
		if !disco.LooksLikeDiscoWrapper(w) {
			panic("no wrapper")
		}
		fmt.Printf("box %s %s %x %x %x\n", privHex(ours), privHex(theirs), theirs.Public().AppendTo(nil), msg, w)
	}
}

var privs = map[key.DiscoPublic]string{}

func clamp(b []byte) []byte {
	b[0] &= 248
	b[31] = b[31]&127 | 64
	k := key.DiscoPrivateFromRaw32(mem.B(b))
	privs[k.Public()] = fmt.Sprintf("%x", b)
	return b
}

func privHex(k key.DiscoPrivate) string { return privs[k.Public()] }
