// Prints the WireGuard vectors of tests/vectors/wg_*.txt from the official device package.
//
//	cd tests/interop && go run ./mkvectors/wg
//
// SPDX-License-Identifier: MIT
package main

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand"
	"os"
	"time"

	"github.com/tailscale/wireguard-go/device"
	"github.com/tailscale/wireguard-go/replay"
	"github.com/tailscale/wireguard-go/tai64n"
)

const head = "# %s\n# Printed by tests/interop/mkvectors/wg from github.com/tailscale/wireguard-go as pinned by tests/interop/go.mod, 2026-11-23.\n"

func write(name, what string, body *bytes.Buffer) {
	if err := os.WriteFile("../vectors/"+name, append([]byte(fmt.Sprintf(head, what)), body.Bytes()...), 0o644); err != nil {
		panic(err)
	}
}

func main() {
	var b bytes.Buffer
	fmt.Fprintf(&b, "%x %x\n", device.InitialChainKey, device.InitialHash)
	write("wg_constants.txt", "initial chaining key, initial hash", &b)

	b.Reset()
	r := rand.New(rand.NewSource(1))
	for i := 0; i < 8; i++ {
		n, kind := device.MessageInitiationSize, uint32(device.MessageInitiationType)
		if i%2 == 1 {
			n, kind = device.MessageResponseSize, device.MessageResponseType
		}
		var pub device.NoisePublicKey
		r.Read(pub[:])
		msg := make([]byte, n)
		r.Read(msg[:n-32])
		binary.LittleEndian.PutUint32(msg, kind)
		src := make([]byte, 6)
		r.Read(src)
		var gen device.CookieGenerator
		var check device.CookieChecker
		gen.Init(pub)
		check.Init(pub)
		first := bytes.Clone(msg)
		gen.AddMacs(first)
		reply, err := check.CreateReply(first, binary.LittleEndian.Uint32(first[4:]), src)
		if err != nil || !check.CheckMAC1(first) || !gen.ConsumeReply(reply) {
			panic("cookie")
		}
		second := bytes.Clone(msg)
		gen.AddMacs(second)
		if !check.CheckMAC2(second, src) {
			panic("mac2")
		}
		var wire bytes.Buffer
		binary.Write(&wire, binary.LittleEndian, reply)
		fmt.Fprintf(&b, "%x %x %x %x\n", pub, first, wire.Bytes(), second)
	}
	write("wg_cookie.txt", "receiver's public key, message with mac1, cookie reply to it, the same message with mac1 and mac2", &b)

	b.Reset()
	for i := 0; i < 5; i++ {
		before := time.Now()
		s := tai64n.Now()
		if time.Now().Unix() != before.Unix() {
			i--
			continue
		}
		fmt.Fprintf(&b, "%d %d %x\n", before.UnixMilli(), time.Now().UnixMilli(), s[:])
		time.Sleep(130 * time.Millisecond)
	}
	write("wg_tai64n.txt", "Unix milliseconds before and after, and the stamp taken between them", &b)

	// Counters within 2000 of the highest, where a window of 2048 and the official one of 8128 agree.
	b.Reset()
	var f replay.Filter
	top := uint64(0)
	for i := 0; i < 3000; i++ {
		var c uint64
		switch r.Intn(4) {
		case 0:
			c = top + uint64(r.Intn(3))
		case 1:
			c = top + uint64(r.Intn(200))
		case 2:
			if r.Intn(50) == 0 {
				c = top + uint64(r.Intn(100000))
			} else {
				c = top - min(top, uint64(r.Intn(40)))
			}
		default:
			c = top - min(top, uint64(r.Intn(2000)))
		}
		ok := 0
		if f.ValidateCounter(c, device.RejectAfterMessages) {
			ok = 1
			top = max(top, c)
		}
		fmt.Fprintf(&b, "%d %d\n", c, ok)
	}
	write("wg_replay.txt", "counter, 1 when accepted, in this order on one filter", &b)
}
