// Prints random netmap messages as the official types encode them, each with the deltas that the map stream parser must
// yield for it. Filter rules are expanded by the official wgengine/filter.
//
//	go run ./mkvectors/control > ../vectors/control_map_cases.txt
//
// SPDX-License-Identifier: MIT
package main

import (
	"encoding/json"
	"fmt"
	"math/rand"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"go4.org/mem"
	"tailscale.com/tailcfg"
	"tailscale.com/types/key"
	"tailscale.com/wgengine/filter"
)

var rng = rand.New(rand.NewSource(20261123))

func chance(n int) bool { return rng.Intn(n) == 0 }

func raw32() []byte {
	b := make([]byte, 32)
	for i := range b {
		b[i] = byte(1 + rng.Intn(255))
	}
	return b
}

func ip() netip.Addr {
	if chance(3) {
		return netip.AddrFrom16([16]byte{0xfd, 0x7a, 0x11, 0x5c, 0xa1, 0xe0, 14: byte(rng.Intn(256)), 15: byte(1 + rng.Intn(254))})
	}
	return netip.AddrFrom4([4]byte{100, byte(64 + rng.Intn(64)), byte(rng.Intn(256)), byte(rng.Intn(256))})
}

func prefix() netip.Prefix {
	a := ip()
	p, _ := a.Prefix(rng.Intn(a.BitLen() + 1))
	return p
}

func list[T any](most int, f func() T) (out []T) {
	for range rng.Intn(most + 1) {
		out = append(out, f())
	}
	return out
}

func word() string {
	words := []string{"alpha", "béta", "gam\"ma", "d<e>l&ta", "ep\\silon", "日本", "x", "😀"}
	return words[rng.Intn(len(words))]
}

func when() time.Time {
	if chance(4) {
		return time.Time{}
	}
	t := time.Unix(int64(1600000000+rng.Intn(400000000)), int64(rng.Intn(1e9)))
	return t.In(time.FixedZone("", 60*(rng.Intn(1400)-700)))
}

func unixOrZero(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.Unix()
}

func endpoint() netip.AddrPort { return netip.AddrPortFrom(ip(), uint16(1+rng.Intn(65535))) }

func yesNo() *bool {
	if chance(3) {
		return nil
	}
	b := chance(2)
	return &b
}

func node(id int) *tailcfg.Node {
	n := &tailcfg.Node{
		ID: tailcfg.NodeID(id), StableID: tailcfg.StableNodeID(word()), Name: word() + ".example.ts.net.",
		User: tailcfg.UserID(rng.Int63()), Key: key.NodePublicFromRaw32(mem.B(raw32())),
		KeyExpiry: when(), Addresses: list(3, func() netip.Prefix { a := ip(); return netip.PrefixFrom(a, a.BitLen()) }),
		Endpoints: list(5, endpoint), HomeDERP: rng.Intn(30), Cap: tailcfg.CapabilityVersion(rng.Intn(150)),
		Created: when(), Online: yesNo(), MachineAuthorized: chance(2), Expired: chance(5), IsJailed: chance(5),
		IsWireGuardOnly: chance(5), UnsignedPeerAPIOnly: chance(8), Tags: list(2, func() string { return "tag:" + word() }),
	}
	switch rng.Intn(3) {
	case 0:
		n.AllowedIPs = slices.Clone(n.Addresses)
	case 1:
		n.AllowedIPs = append([]netip.Prefix{}, list(6, prefix)...)
	}
	if chance(2) {
		n.DiscoKey = key.DiscoPublicFromRaw32(mem.B(raw32()))
	}
	if chance(4) {
		n.KeySignature = raw32()
	}
	if chance(4) {
		a := netip.AddrFrom4([4]byte{100, 99, 98, 97})
		n.SelfNodeV4MasqAddrForThisPeer = &a
	}
	if chance(4) {
		n.LegacyDERPString = fmt.Sprintf("127.3.3.40:%d", 1+rng.Intn(20))
	}
	hi := &tailcfg.Hostinfo{OS: "linux", Hostname: word(), RoutableIPs: list(2, prefix)}
	if chance(2) {
		hi.Services = []tailcfg.Service{{Proto: tailcfg.PeerAPI4, Port: uint16(rng.Intn(65536))}, {Proto: tailcfg.TCP, Port: 22},
			{Proto: tailcfg.PeerAPI6, Port: uint16(rng.Intn(65536))}}
	}
	n.Hostinfo = hi.View()
	caps := []tailcfg.NodeCapability{"https://tailscale.com/cap/tailnet-lock", "magicdns-aaaa", "only-tcp-443", "silent-disco",
		"randomize-client-port", "something-else"}
	n.CapMap = tailcfg.NodeCapMap{}
	for _, c := range caps {
		if chance(4) {
			n.CapMap[c] = []tailcfg.RawMessage{`{"a":[1,2,{"b":null}]}`}
		}
	}
	return n
}

func join[T any](xs []T, f func(T) string) string {
	var out []string
	for _, x := range xs {
		out = append(out, f(x))
	}
	return strings.Join(out, ",")
}

func str[T fmt.Stringer](x T) string { return x.String() }

func flag(on bool, name string) string {
	if on {
		return " " + name
	}
	return ""
}

func hexKey(s fmt.Stringer) string {
	_, h, ok := strings.Cut(s.String(), ":")
	if !ok || h == "" {
		return strings.Repeat("0", 64)
	}
	return h
}

func disco(k key.DiscoPublic) string {
	if k.IsZero() {
		return strings.Repeat("0", 64)
	}
	return hexKey(k)
}

func nodeText(n *tailcfg.Node) string {
	allowed := n.AllowedIPs
	if allowed == nil || n.UnsignedPeerAPIOnly {
		allowed = n.Addresses
	}
	home := n.HomeDERP
	if home == 0 && n.LegacyDERPString != "" {
		home = int(netip.MustParseAddrPort(n.LegacyDERPString).Port())
	}
	var api4, api6 uint16
	for _, s := range n.Hostinfo.Services().All() {
		switch s.Proto {
		case tailcfg.PeerAPI4:
			api4 = s.Port
		case tailcfg.PeerAPI6:
			api6 = s.Port
		}
	}
	online := "?"
	if n.Online != nil {
		online = map[bool]string{true: "1", false: "0"}[*n.Online]
	}
	masq4 := ""
	if n.SelfNodeV4MasqAddrForThisPeer != nil {
		masq4 = n.SelfNodeV4MasqAddrForThisPeer.String()
	}
	has := func(c tailcfg.NodeCapability) bool { _, ok := n.CapMap[c]; return ok }
	return fmt.Sprintf(" id=%d user=%d name=%s os=%s key=%s disco=%s masq4=%s masq6= addresses=%s allowed=%s endpoints=%s home=%d cap=%d peerapi4=%d peerapi6=%d expiry=%d online=%s",
		n.ID, n.User, n.Name, n.Hostinfo.OS(), hexKey(n.Key), disco(n.DiscoKey), masq4, join(n.Addresses, str), join(allowed, str),
		join(n.Endpoints, str), home, n.Cap, api4, api6, unixOrZero(n.KeyExpiry), online) +
		flag(n.Expired, "expired") + flag(n.MachineAuthorized, "authorized") + flag(n.IsWireGuardOnly, "wgonly") +
		flag(n.IsJailed, "jailed") + flag(n.UnsignedPeerAPIOnly, "unsigned") + flag(len(n.KeySignature) > 0, "signature") +
		flag(has("https://tailscale.com/cap/tailnet-lock"), "lock") + flag(has("magicdns-aaaa"), "aaaa") +
		flag(has("only-tcp-443"), "tcp443") + flag(has("silent-disco"), "silent") + flag(has("randomize-client-port"), "randomport")
}

func patch(id int) *tailcfg.PeerChange {
	c := &tailcfg.PeerChange{NodeID: tailcfg.NodeID(id), DERPRegion: rng.Intn(3), Cap: tailcfg.CapabilityVersion(rng.Intn(3)), Online: yesNo()}
	if chance(2) {
		c.Endpoints = list(4, endpoint)
	}
	if chance(3) {
		k := key.NodePublicFromRaw32(mem.B(raw32()))
		c.Key = &k
	}
	if chance(3) {
		k := key.DiscoPublicFromRaw32(mem.B(raw32()))
		c.DiscoKey = &k
	}
	if chance(3) {
		t := when()
		c.KeyExpiry = &t
	}
	if chance(3) {
		t := when()
		c.LastSeen = &t
	}
	return c
}

func patchText(c *tailcfg.PeerChange) string {
	s := fmt.Sprintf(" id=%d", c.NodeID)
	if c.DERPRegion != 0 {
		s += fmt.Sprintf(" region=%d", c.DERPRegion)
	}
	if c.Cap != 0 {
		s += fmt.Sprintf(" cap=%d", c.Cap)
	}
	if len(c.Endpoints) > 0 { // omitempty
		s += " endpoints=" + join(c.Endpoints, str)
	}
	if c.Key != nil {
		s += " key=" + hexKey(*c.Key)
	}
	if c.DiscoKey != nil {
		s += " disco=" + hexKey(*c.DiscoKey)
	}
	if c.Online != nil {
		s += map[bool]string{true: " online=1", false: " online=0"}[*c.Online]
	}
	if c.LastSeen != nil && !c.LastSeen.IsZero() { // omitzero
		s += fmt.Sprintf(" seen=%d", unixOrZero(*c.LastSeen))
	}
	if c.KeyExpiry != nil && !c.KeyExpiry.IsZero() {
		s += fmt.Sprintf(" expiry=%d", unixOrZero(*c.KeyExpiry))
	}
	return s
}

func source() string {
	switch rng.Intn(6) {
	case 0:
		return "*"
	case 1, 2:
		return ip().String()
	case 3:
		return prefix().String()
	case 4:
		a := rng.Intn(250)
		return fmt.Sprintf("100.64.1.%d-100.64.1.%d", a, min(255, a+rng.Intn(6)))
	default:
		return ip().String()
	}
}

func rule() tailcfg.FilterRule {
	r := tailcfg.FilterRule{SrcIPs: list(3, source)}
	for range rng.Intn(3) {
		first := uint16(rng.Intn(65536))
		dst := source()
		if strings.Contains(dst, "-") {
			dst = ip().String()
		}
		r.DstPorts = append(r.DstPorts, tailcfg.NetPortRange{IP: dst, Ports: tailcfg.PortRange{First: first, Last: first + uint16(rng.Intn(int(65535-first)+1))}})
	}
	if chance(2) {
		r.IPProto = list(3, func() int { return rng.Intn(256) })
	}
	return r
}

// ruleLines expands a rule with the official parser. A rule without sources or destinations allows nothing and is not handed
// out. The official default protocols are shown as "default".
func ruleLines(r tailcfg.FilterRule) []string {
	ms, err := filter.MatchesFromFilterRules([]tailcfg.FilterRule{r})
	if err != nil {
		panic(err)
	}
	var lines []string
	for _, m := range ms {
		if len(m.Srcs) == 0 || len(m.Dsts) == 0 {
			continue
		}
		proto := "default"
		if len(r.IPProto) > 0 {
			proto = join(r.IPProto, func(p int) string { return fmt.Sprint(p) })
		}
		lines = append(lines, fmt.Sprintf("rule src=%s dst=%s proto=%s", join(m.Srcs, str), join(m.Dsts, func(d filter.NetPortRange) string {
			return fmt.Sprintf("%s:%d-%d", d.Net, d.Ports.First, d.Ports.Last)
		}), proto))
	}
	return lines
}

func rulesLines(name string, rules []tailcfg.FilterRule) []string {
	lines := []string{"rules-begin text=" + name}
	for _, r := range rules {
		lines = append(lines, ruleLines(r)...)
	}
	return append(lines, "rules-end")
}

func sortedIDs(m map[tailcfg.NodeID]bool) []string { // encoding/json sorts keys as text
	var ids []string
	for id := range m {
		ids = append(ids, fmt.Sprint(int64(id)))
	}
	slices.Sort(ids)
	return ids
}

func nodeID(text string) tailcfg.NodeID {
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		panic(err)
	}
	return tailcfg.NodeID(n)
}

func makeCase(first bool) {
	m := &tailcfg.MapResponse{Seq: rng.Int63()}
	var out []string
	add := func(format string, args ...any) { out = append(out, fmt.Sprintf(format, args...)) }
	if first || chance(3) {
		m.Node = node(1)
		m.Node.Name = "self.example.ts.net."
		add("self%s", nodeText(m.Node))
	}
	full := chance(3)
	if full {
		add("peers-begin")
		for i := range 1 + rng.Intn(3) {
			n := node(i + 2)
			m.Peers = append(m.Peers, n)
			add("peer%s", nodeText(n))
		}
		add("peers-end")
		if first { // the whole first message is one list
			out = slices.DeleteFunc(out, func(s string) bool { return s == "peers-begin" || s == "peers-end" })
		}
	}
	m.PeersChanged = list(2, func() *tailcfg.Node { return node(2 + rng.Intn(50)) })
	m.PeersRemoved = list(3, func() tailcfg.NodeID { return tailcfg.NodeID(1 + rng.Int63n(1<<62)) })
	m.PeersChangedPatch = list(3, func() *tailcfg.PeerChange { return patch(2 + rng.Intn(50)) })
	flags := func() map[tailcfg.NodeID]bool {
		x := map[tailcfg.NodeID]bool{}
		for range rng.Intn(3) {
			x[tailcfg.NodeID(1+rng.Intn(500))] = chance(2)
		}
		return x
	}
	m.PeerSeenChange, m.OnlineChange = flags(), flags()
	if !full {
		for _, n := range m.PeersChanged {
			add("peer%s", nodeText(n))
		}
		for _, id := range m.PeersRemoved {
			add("removed id=%d", id)
		}
		for _, c := range m.PeersChangedPatch {
			add("patch%s", patchText(c))
		}
		bit := map[bool]int{true: 1}
		for _, id := range sortedIDs(m.PeerSeenChange) {
			n := nodeID(id)
			add("seen id=%s flag=%d", id, bit[m.PeerSeenChange[n]])
		}
		for _, id := range sortedIDs(m.OnlineChange) {
			n := nodeID(id)
			add("online id=%s flag=%d", id, bit[m.OnlineChange[n]])
		}
	}
	if chance(2) {
		m.DNSConfig = &tailcfg.DNSConfig{Proxied: chance(2), Domains: list(2, word)}
		add("dns-proxied flag=%d", map[bool]int{true: 1}[m.DNSConfig.Proxied])
	}
	if chance(3) {
		m.Domain = "example.com"
		add("domain text=example.com")
	}
	cleared := false
	clearOnce := func() {
		if first && !cleared {
			add("rules-clear")
		}
		cleared = true
	}
	if chance(2) {
		m.PacketFilter = append(list(3, rule), rule()) // omitempty
		clearOnce()
		out = append(out, rulesLines("base", m.PacketFilter)...)
	}
	if chance(3) {
		m.PacketFilters = map[string][]tailcfg.FilterRule{"base": nil, "extra": append([]tailcfg.FilterRule{}, list(2, rule)...)}
		clearOnce()
		if chance(2) {
			m.PacketFilters["*"] = nil
			add("rules-clear")
		}
		add("rules-delete text=base")
		out = append(out, rulesLines("extra", m.PacketFilters["extra"])...)
	}
	if chance(3) {
		m.UserProfiles = []tailcfg.UserProfile{{ID: 7, LoginName: "a@example.com", DisplayName: word()}}
		add("user id=7 text=a@example.com")
	}
	if chance(4) {
		m.Health = []string{"one", "two"}
		add("health-begin")
		add("health text=one")
		add("health text=two")
	}
	if chance(3) {
		t := when()
		m.ControlTime = &t
		if !t.IsZero() {
			add("time ms=%d", t.UnixMilli())
		}
	}
	if chance(3) {
		m.TKAInfo = &tailcfg.TKAInfo{Head: "ABC", Disabled: chance(2)}
		add("tka flag=%d", map[bool]int{false: 1}[m.TKAInfo.Disabled])
	}
	state := slices.ContainsFunc(out, func(s string) bool { return !strings.HasPrefix(s, "time ") })
	if first {
		if !cleared {
			add("rules-clear")
		}
		if m.TKAInfo == nil {
			add("tka flag=0")
		}
		out = append([]string{"begin first", "health-begin", "message-gone name=*", "peers-begin"}, append(out, "peers-end", "end")...)
	} else if state {
		at := slices.IndexFunc(out, func(s string) bool { return !strings.HasPrefix(s, "time ") })
		out = append(slices.Insert(out, at, "begin"), "end")
	}
	b, err := json.Marshal(m)
	if err != nil {
		panic(err)
	}
	fmt.Printf("M %d %s\n", map[bool]int{true: 1}[first], b)
	for _, line := range out {
		fmt.Printf("= %s\n", line)
	}
}

func main() {
	fmt.Println("# Random netmap messages and the deltas they must yield: an M line (1 for the first message of a stream, 0 for a")
	fmt.Println("# later one, then the JSON), then one line per delta. Printed by tests/interop/mkvectors/control with the tailcfg")
	fmt.Println("# and wgengine/filter packages of tailscale.com v1.102.3, 2026-11-23.")
	for i := range 160 {
		makeCase(i%4 == 0)
	}
	fmt.Println("Z")
}
