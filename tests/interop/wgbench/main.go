// Wgbench measures the official device package on the work of tests/bench/wg, in lines "name value unit".
//
// handshake: one goroutine calls the package's own message functions for both roles, with mac1 written and checked, over
// 100 initiators in turn (a responder ignores initiations of one peer within 20 ms). No sockets, no queues: like the C
// bench, which adds its index look-up and timers.
//
// data N: the package has no call that seals or opens one packet, so packets of N bytes run through the whole pipeline of
// two devices (channels for TUN and network, its worker goroutines on all cores), 512 in flight.
//
// SPDX-License-Identifier: MIT
package main

import (
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"time"

	"github.com/tailscale/wireguard-go/conn"
	"github.com/tailscale/wireguard-go/conn/bindtest"
	"github.com/tailscale/wireguard-go/device"
	"github.com/tailscale/wireguard-go/tun/tuntest"
	"golang.org/x/crypto/curve25519"
)

const span = 2 * time.Second

func check(err error) {
	if err != nil {
		panic(err)
	}
}

type node struct {
	dev  *device.Device
	tun  *tuntest.ChannelTUN
	priv device.NoisePrivateKey
	pub  device.NoisePublicKey
}

func newNode(bind conn.Bind) *node {
	n := &node{tun: tuntest.NewChannelTUN()}
	rand.Read(n.priv[:])
	n.priv[0] &= 248
	n.priv[31] = n.priv[31]&127 | 64
	pub, err := curve25519.X25519(n.priv[:], curve25519.Basepoint)
	check(err)
	copy(n.pub[:], pub)
	n.dev = device.NewDevice(n.tun.TUN(), bind, device.NewLogger(device.LogLevelSilent, ""))
	check(n.dev.IpcSet(fmt.Sprintf("private_key=%x\n", n.priv)))
	check(n.dev.Up())
	return n
}

func (n *node) add(p *node, ip, endpoint string) *device.Peer {
	check(n.dev.IpcSet(fmt.Sprintf("public_key=%x\nallowed_ip=%s/32\nendpoint=%s\n", p.pub, ip, endpoint)))
	return n.dev.LookupPeer(p.pub)
}

func handshakes() {
	const clients = 100
	server := newNode(bindtest.NewChannelBinds()[0])
	var gen [clients]device.CookieGenerator
	var nodes [clients]*node
	var toServer, toClient [clients]*device.Peer
	var checker device.CookieChecker
	checker.Init(server.pub)
	for i := range nodes {
		nodes[i] = newNode(bindtest.NewChannelBinds()[0])
		toServer[i] = nodes[i].add(server, "10.0.0.1", "127.0.0.1:1")
		toClient[i] = server.add(nodes[i], fmt.Sprintf("10.0.1.%d", i), "127.0.0.1:1")
		gen[i].Init(server.pub)
	}
	count, start := 0, time.Now()
	buf := make([]byte, device.MessageInitiationSize)
	for ; time.Since(start) < span; count++ {
		i := count % clients
		init, err := nodes[i].dev.CreateMessageInitiation(toServer[i])
		check(err)
		gen[i].AddMacs(buf)
		checker.CheckMAC1(buf)
		if server.dev.ConsumeMessageInitiation(init, nil) != toClient[i] {
			panic("initiation refused")
		}
		resp, err := server.dev.CreateMessageResponse(toClient[i])
		check(err)
		check(toClient[i].BeginSymmetricSession())
		gen[i].AddMacs(buf[:device.MessageResponseSize])
		checker.CheckMAC1(buf[:device.MessageResponseSize])
		if nodes[i].dev.ConsumeMessageResponse(resp) != toServer[i] {
			panic("response refused")
		}
		check(toServer[i].BeginSymmetricSession())
	}
	fmt.Printf("handshake %.0f handshakes/s\n", float64(count)/time.Since(start).Seconds())
}

func data(size int) {
	binds := bindtest.NewChannelBinds()
	a, b := newNode(binds[0]), newNode(binds[1])
	a.add(b, "10.0.0.2", "127.0.0.1:1")
	b.add(a, "10.0.0.1", "127.0.0.1:2")
	pkt := make([]byte, size)
	pkt[0] = 0x45
	binary.BigEndian.PutUint16(pkt[2:], uint16(size))
	copy(pkt[12:], []byte{10, 0, 0, 1, 10, 0, 0, 2})
	a.tun.Outbound <- pkt
	<-b.tun.Inbound // the session is up
	credit := make(chan struct{}, 512)
	stop := make(chan struct{})
	go func() {
		for {
			select {
			case credit <- struct{}{}:
			case <-stop:
				return
			}
			select {
			case a.tun.Outbound <- pkt:
			case <-stop:
				return
			}
		}
	}()
	count, start := 0, time.Now()
	for time.Since(start) < span {
		<-b.tun.Inbound
		<-credit
		count++
	}
	fmt.Printf("data%d %.0f packets/s\n", size, float64(count)/time.Since(start).Seconds())
	close(stop)
}

func main() {
	handshakes()
	data(64)
	data(1280)
}
