// Prints the server's side of a DERP login and session, made by the official derp and key packages.
//
// SPDX-License-Identifier: MIT
package main

import (
	"bufio"
	"bytes"
	"fmt"

	"go4.org/mem"

	"tailscale.com/derp"
	"tailscale.com/types/key"
)

func node(b byte) key.NodePrivate {
	raw := bytes.Repeat([]byte{b}, 32)
	raw[0] &= 248
	raw[31] = raw[31]&127 | 64
	return key.NodePrivateFromRaw32(mem.B(raw))
}

func main() {
	client, server, peer := node(0x11), node(0x22), node(0x33)
	fmt.Println("# Generator: tests/interop/mkvectors/derp. Source: packages derp and types/key of tailscale.com v1.102.3. Date: 2026-11-23.")
	fmt.Println("# The client's private key is 32 bytes 0x11, clamped. \"key NAME PUBLIC\"; \"frame NAME BYTES\": one frame from the server.")
	frame := func(name string, typ derp.FrameType, payload []byte) {
		var buf bytes.Buffer
		bw := bufio.NewWriter(&buf)
		if err := derp.WriteFrame(bw, typ, payload); err != nil {
			panic(err)
		}
		bw.Flush()
		fmt.Printf("frame %s %x\n", name, buf.Bytes())
	}
	fmt.Printf("key client %x\n", client.Public().AppendTo(nil))
	fmt.Printf("key server %x\n", server.Public().AppendTo(nil))
	fmt.Printf("key peer %x\n", peer.Public().AppendTo(nil))
	peerRaw := peer.Public().AppendTo(nil)
	info := func(json string) []byte { return server.SealTo(client.Public(), []byte(json)) }
	frame("server_key", derp.FrameServerKey, append([]byte(derp.Magic), server.Public().AppendTo(nil)...))
	frame("server_info", derp.FrameServerInfo, info(`{"version":2}`))
	frame("server_info_limited", derp.FrameServerInfo, info(`{"version":2,"TokenBucketBytesPerSecond":1000,"TokenBucketBytesBurst":2000}`))
	frame("recv_packet", derp.FrameRecvPacket, append(append([]byte{}, peerRaw...), "a packet"...))
	frame("keepalive", derp.FrameKeepAlive, nil)
	frame("peer_gone", derp.FramePeerGone, append(append([]byte{}, peerRaw...), byte(derp.PeerGoneReasonNotHere)))
	frame("peer_gone_old", derp.FramePeerGone, peerRaw)
	frame("ping", derp.FramePing, []byte("12345678"))
	frame("health", derp.FrameHealth, []byte("duplicate connection"))
	frame("restarting", derp.FrameRestarting, []byte{0, 0, 0x07, 0xd0, 0, 0, 0x27, 0x10})
}
