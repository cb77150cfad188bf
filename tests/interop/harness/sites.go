// Sites: the situations a node can find itself in, for the lab of every pair (tests/interop/lab). A site is one host and all
// that lies between it and the internet of the lab: the routers of its kind, and a link with delay, loss and reordering where
// the options ask for them (link.go). Sites of a kind do not share routers, except those of KindHairpin.
//
// Every node of a lab has to use UDP port NodePort: the hairpin router maps that one.
//
// SPDX-License-Identifier: MIT

package harness

import (
	"fmt"
	"testing"

	"golang.org/x/sys/unix"
)

// NodePort is the UDP port of the nodes.
const NodePort = 41641

// Kind of a site.
type Kind string

const (
	KindNone    Kind = "none"    // Directly on the internet.
	KindEasy    Kind = "easy"    // A router that keeps ports; only who was written to may answer (address and port).
	KindHard    Kind = "hard"    // A random port for each destination; only who was written to may answer.
	KindCGNAT   Kind = "cgnat"   // An easy router behind an easy router of the provider.
	KindBlocked Kind = "blocked" // No UDP.
	KindV6      Kind = "ipv6"    // IPv6 behind a stateful filter, and IPv4 as in KindHard; the relays have IPv4 only.
	KindHairpin Kind = "hairpin" // Networks of one router that reach each other only by the router's outer address.
)

// Kinds in the order of the tables.
var Kinds = []Kind{KindNone, KindEasy, KindHard, KindCGNAT, KindBlocked, KindV6, KindHairpin}

// Sites makes the sites of one lab.
type Sites struct {
	lab     *Lab
	link    *Link
	hairpin *Router
	pinned  int  // Hosts behind the hairpin router.
	v6      []ns // Routers with IPv6: each knows the way to all others.
	routers []ns // All, for FlushMappings.
}

// Sites returns a maker of sites whose links to the internet are as link says; nil is a perfect link.
func (lab *Lab) Sites(link *Link) *Sites { return &Sites{lab: lab, link: link} }

// Host makes a host in a site of the kind.
func (s *Sites) Host(kind Kind, name string) *Host {
	tb := s.lab.tb
	tb.Helper()
	switch kind {
	case KindNone:
		return s.open(name)
	case KindEasy:
		return s.router(NATEasy).Host(name)
	case KindHard:
		return s.router(NATSymmetric).Host(name)
	case KindBlocked:
		return s.router(NATUDPBlocked).Host(name)
	case KindCGNAT:
		return s.behind(s.router(NATEasy)).Host(name)
	case KindV6:
		return s.dualStack(name)
	case KindHairpin:
		return s.pin(name)
	}
	tb.Fatalf("no kind %q", kind)
	return nil
}

func (s *Sites) open(name string) *Host {
	s.lab.claim(name)
	h := &Host{Name: name, lab: s.lab, IP: s.lab.wanAddr()}
	h.ns = newNS(s.lab.tb, name, s.lab.hostsFile())
	attachLink(s.lab.tb, s.link, "eth0", h.ns, s.lab.wan, "br0", h.IP+"/16", wanGateway)
	return h
}

func (s *Sites) router(kind NAT) *Router {
	r := s.lab.newRouter(kind, func(r *Router) {
		attachLink(s.lab.tb, s.link, "wan0", r.ns, s.lab.wan, "br0", s.lab.wanAddr()+"/16", wanGateway)
	})
	s.routers = append(s.routers, r.ns)
	return r
}

// behind makes an easy router whose internet is the network of another.
func (s *Sites) behind(outer *Router) *Router {
	r := s.lab.newRouter(NATEasy, func(r *Router) {
		outer.nextHost++
		attach(s.lab.tb, "wan0", r.ns, outer.ns, "lan0", fmt.Sprintf("192.168.%d.%d/24", outer.lan, 10+outer.nextHost),
			fmt.Sprintf("192.168.%d.1", outer.lan))
	})
	s.routers = append(s.routers, r.ns)
	return r
}

func (s *Sites) dualStack(name string) *Host {
	tb := s.lab.tb
	r := s.router(NATSymmetric)
	h := r.Host(name)
	n := len(s.v6) + 1
	r.ns.must(tb, "sh", "-ec", fmt.Sprintf(`
cd /proc/sys/net/ipv6/conf
for i in all wan0 lan0; do echo 0 >$i/disable_ipv6; done
echo 1 >all/forwarding
ip addr add 2001:db8:77::%[1]x/64 dev wan0 nodad
ip addr add 2001:db8:%[1]x::1/64 dev lan0 nodad`, n))
	h.ns.must(tb, "sh", "-ec", fmt.Sprintf(`
ip addr add 2001:db8:%[1]x::10/64 dev eth0 nodad
ip route add default via 2001:db8:%[1]x::1 dev eth0`, n))
	r.ns.nft(tb, `
table ip6 fw {
	chain forward {
		type filter hook forward priority filter; policy drop
		iifname "lan0" accept
		ct state established,related accept
	}
}`)
	for i, other := range s.v6 {
		r.ns.must(tb, "ip", "route", "add", fmt.Sprintf("2001:db8:%x::/64", i+1), "via", fmt.Sprintf("2001:db8:77::%x", i+1))
		other.must(tb, "ip", "route", "add", fmt.Sprintf("2001:db8:%x::/64", n), "via", fmt.Sprintf("2001:db8:77::%x", n))
	}
	s.v6 = append(s.v6, r.ns)
	return h
}

// pin makes a host in a network of its own behind the one hairpin router. Linux has no mapping that other conntrack entries may
// use, so the port of the node is mapped by a pair of rules, as one destination-independent mapping would be.
func (s *Sites) pin(name string) *Host {
	lab := s.lab
	tb := lab.tb
	if s.hairpin == nil {
		s.hairpin = &Router{lab: lab}
		s.hairpin.ns = newNS(tb, "pin", "")
		s.hairpin.ns.must(tb, "sysctl", "-qw", "net.ipv6.conf.all.disable_ipv6=1", "net.ipv4.ip_forward=1")
		outer := lab.wanAddr()
		attachLink(tb, s.link, "wan0", s.hairpin.ns, lab.wan, "br0", outer+"/16", wanGateway)
		s.hairpin.ns.nft(tb, `
table ip nat {
	map inner { type inet_service : ipv4_addr . inet_service; }
	map outer { type ipv4_addr : ipv4_addr . inet_service; }
	chain pre {
		type nat hook prerouting priority dstnat
		ip daddr `+outer+` meta l4proto udp dnat to udp dport map @inner
	}
	chain post {
		type nat hook postrouting priority srcnat
		udp sport `+fmt.Sprint(NodePort)+` snat to ip saddr map @outer
		oifname "wan0" masquerade
	}
}
table ip fw {
	chain input {
		type filter hook input priority filter; policy drop
		iifname "lo" accept
		ct state established,related accept
	}
	chain forward {
		type filter hook forward priority filter; policy drop
		ct state established,related accept
		oifname "wan0" accept
		iifname "lan*" ct status dnat accept
	}
}`)
		s.hairpin.nextHost = 0
		s.hairpin.outer = outer
		s.routers = append(s.routers, s.hairpin.ns)
	}
	lab.claim(name)
	lab.nextLAN++
	s.pinned++
	dev := fmt.Sprintf("lan%d", s.pinned)
	gateway := fmt.Sprintf("192.168.%d.1", lab.nextLAN)
	h := &Host{Name: name, lab: lab, IP: fmt.Sprintf("192.168.%d.10", lab.nextLAN)}
	h.ns = newNS(tb, name, lab.hostsFile())
	mustRun(tb, "ip", "link", "add", "eth0", "netns", h.ns.name, "type", "veth", "peer", "name", dev, "netns", s.hairpin.ns.name)
	s.hairpin.ns.must(tb, "sh", "-ec", "ip addr add "+gateway+"/24 dev "+dev+"; ip link set "+dev+" up")
	h.ns.must(tb, "sh", "-ec", "ip addr add "+h.IP+"/24 dev eth0; ip link set eth0 up; ip route add default via "+gateway)
	port := 50000 + s.pinned
	s.hairpin.ns.nft(tb, fmt.Sprintf("add element ip nat inner { %d : %s . %d }\nadd element ip nat outer { %s : %s . %d }\n",
		port, h.IP, NodePort, h.IP, s.hairpin.outer, port))
	return h
}

// FlushMappings makes every router of these sites forget its mappings, as a restart of it would.
func (s *Sites) FlushMappings(tb testing.TB) {
	tb.Helper()
	for _, r := range s.routers {
		r.flush(tb)
	}
}

// LoseMappings makes the router forget its mappings and map the node's port to another one from then on, as many routers do
// after a restart.
func (r *Router) LoseMappings(tb testing.TB) {
	tb.Helper()
	r.moved++
	r.ns.nft(tb, fmt.Sprintf("insert rule ip nat post oifname \"wan0\" udp sport %d masquerade to :%d\n", NodePort, 45000+r.moved))
	r.ns.flush(tb)
}

// flush deletes all conntrack entries of the namespace: one netlink message, IPCTNL_MSG_CT_DELETE without a tuple.
func (n ns) flush(tb testing.TB) {
	tb.Helper()
	const ctDelete = unix.NFNL_SUBSYS_CTNETLINK<<8 | 2
	err := n.do(func() error {
		fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_NETFILTER)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		// nlmsghdr (length, type, flags, sequence, port), then nfgenmsg (family 0 for all, version 0, resource 0).
		msg := []byte{20, 0, 0, 0, ctDelete & 0xff, ctDelete >> 8, unix.NLM_F_REQUEST | unix.NLM_F_ACK, 0, 1, 19: 0}
		if err := unix.Sendto(fd, msg, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
			return err
		}
		answer := make([]byte, 4096)
		got, _, err := unix.Recvfrom(fd, answer, 0)
		if err == nil && (got < 20 || answer[16] != 0) {
			err = fmt.Errorf("netlink refuses: % x", answer[:got])
		}
		return err
	})
	if err != nil {
		tb.Fatalf("flushing conntrack of %s: %v", n.name, err)
	}
}

// Do runs f with the calling thread inside the host; sockets f makes stay there.
func (h *Host) Do(f func() error) error { return h.ns.do(f) }

// BlockUDP makes the router drop all UDP, in both directions and without a word to anybody, until the returned function is
// called.
func (r *Router) BlockUDP(tb testing.TB) (unblock func()) {
	tb.Helper()
	r.ns.nft(tb, `
table ip block {
	chain forward {
		type filter hook forward priority filter - 1
		meta l4proto udp drop
	}
}`)
	return func() { r.ns.must(tb, "nft", "delete", "table", "ip", "block") }
}
