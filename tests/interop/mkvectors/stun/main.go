// Prints STUN requests and responses of the official net/stun for tests/unit/stun. SPDX-License-Identifier: MIT
//
//	go run ./mkvectors/stun > ../vectors/stun_messages.txt
package main

import (
	"encoding/hex"
	"fmt"
	"math/rand"
	"net/netip"

	"tailscale.com/net/stun"
)

func main() {
	r := rand.New(rand.NewSource(20261123))
	fmt.Println("# STUN messages of tailscale.com v1.102.3 net/stun; generator mkvectors/stun, 2026-11-23")
	fmt.Println("# request <tx> <packet>                 stun.Request, accepted by stun.ParseBindingRequest")
	fmt.Println("# response <tx> <addr> <packet>         stun.Response")
	fmt.Println("# parse <ok|bad> <tx|-> <addr|-> <packet>  verdict of stun.ParseResponse on a mutated response")
	for i := 0; i < 24; i++ {
		var tx stun.TxID
		if i == 0 {
			for k := range tx {
				tx[k] = byte(k + 1)
			}
		} else {
			r.Read(tx[:])
		}
		req := stun.Request(tx)
		if got, err := stun.ParseBindingRequest(req); err != nil || got != tx {
			panic("own request refused")
		}
		fmt.Printf("request %x %x\n", tx[:], req)
		ap := randAddr(r, i)
		fmt.Printf("response %x %v %x\n", tx[:], ap, stun.Response(tx, ap))
	}
	for i := 0; i < 400; i++ {
		var tx stun.TxID
		r.Read(tx[:])
		b := mutate(r, stun.Response(tx, randAddr(r, i)))
		got, ap, err := stun.ParseResponse(b)
		if err != nil {
			fmt.Printf("parse bad - - %s\n", hex.EncodeToString(b))
		} else {
			fmt.Printf("parse ok %x %v %x\n", got[:], ap, b)
		}
	}
}

func randAddr(r *rand.Rand, i int) netip.AddrPort {
	port := uint16(r.Intn(65535) + 1)
	if i%3 == 2 {
		var a [16]byte
		r.Read(a[:])
		a[0], a[1] = 0x20, 0x01
		return netip.AddrPortFrom(netip.AddrFrom16(a), port)
	}
	var a [4]byte
	r.Read(a[:])
	return netip.AddrPortFrom(netip.AddrFrom4(a), port)
}

// mutate changes the attribute type, inserts attributes, appends bytes, or cuts.
func mutate(r *rand.Rand, b []byte) []byte {
	setLen := func() { n := len(b) - 20; b[2], b[3] = byte(n>>8), byte(n) }
	attr := func(typ uint16, n int) []byte {
		a := make([]byte, 4+(n+3)&^3)
		r.Read(a[4:])
		a[0], a[1], a[2], a[3] = byte(typ>>8), byte(typ), byte(n>>8), byte(n)
		return a
	}
	insert := func(a []byte) {
		b = append(append(append([]byte{}, b[:20]...), a...), b[20:]...)
		setLen()
	}
	switch r.Intn(9) {
	case 0:
		b[20], b[21] = 0x80, 0x20 // the other XOR-MAPPED-ADDRESS
	case 1:
		b[20], b[21] = 0x00, 0x01 // MAPPED-ADDRESS: the bits mean another address
	case 2:
		insert(attr(0x8022, r.Intn(12)))
	case 3:
		m := attr(0x0001, 8)
		m[5] = 1
		insert(m)
	case 4:
		b = append(b, make([]byte, r.Intn(9))...) // trailing, not counted in the header
	case 5:
		b = b[:r.Intn(len(b))]
	case 6:
		b = b[:20+r.Intn(len(b)-20)]
		setLen()
	case 7:
		b[r.Intn(len(b))] ^= byte(1 << r.Intn(8))
	case 8:
		b = append(b, attr(0x0020, []int{8, 20, 4, 3}[r.Intn(4)])...)
		b[len(b)-len(b)%4-7] = byte(r.Intn(4))
		setLen()
	}
	return b
}
