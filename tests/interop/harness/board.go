// The node on an emulated microcontroller: QEMU with the image of ports/baremetal, its Ethernet on a bridge of the lab.
//
// SPDX-License-Identifier: MIT

package harness

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"testing"
	"time"
)

// BoardOptions; the zero value is the image as ports/baremetal/build.sh makes it, on the lab's internet.
type BoardOptions struct {
	Image    string   // Name of the image; "" is "node".
	URL      string   // Control server; "" is the lab's Headscale.
	AuthKey  string   // "" makes one.
	Router   *Router  // nil: directly on the internet.
	CAFile   string   // "" is the lab's authority.
	Link     *Link    // What happens to its frames; nil: nothing.
	Settings []string // More lines of the boot configuration.
	QEMU     []string // More arguments.
}

// Board is a running board.
type Board struct {
	Name, IP string
	Proc     *Proc
	lab      *Lab
	keys     *os.File
}

// BoardImage is the folder with node.bin: ML_BOARD_BUILD, or "build-board" in the checkout.
func BoardImage(tb testing.TB) string {
	tb.Helper()
	dir := os.Getenv("ML_BOARD_BUILD")
	if dir == "" {
		dir = filepath.Join(Root(), "build-board")
	}
	if _, err := os.Stat(filepath.Join(dir, "node.bin")); err != nil {
		tb.Fatalf("build first (ports/baremetal/build.sh): %v", err)
	}
	return dir
}

// Board starts a board with empty state.
func (lab *Lab) Board(tb testing.TB, name string, o BoardOptions) *Board {
	tb.Helper()
	lab.claim(name)
	b := &Board{Name: name, lab: lab}
	bridgeNS, bridge, gateway, bits := lab.wan, "br0", wanGateway, 16
	if o.Router != nil {
		o.Router.nextHost++
		bridgeNS, bridge, bits = o.Router.ns, "lan0", 24
		gateway = fmt.Sprintf("192.168.%d.1", o.Router.lan)
		b.IP = fmt.Sprintf("192.168.%d.%d", o.Router.lan, 10+o.Router.nextHost)
	} else {
		b.IP = lab.wanAddr()
	}
	if o.Image == "" {
		o.Image = "node"
	}
	if o.URL == "" {
		o.URL = lab.Headscale.URL
	}
	if o.CAFile == "" {
		o.CAFile = lab.CA.Path
	}
	if o.AuthKey == "" {
		o.AuthKey = lab.Headscale.AuthKey(tb)
	}
	tap := portName(b.IP + "/")
	netdev := "tap,id=net,script=no,downscript=no,ifname=" + tap
	if o.Link == nil {
		bridgeNS.must(tb, "sh", "-ec", "ip tuntap add "+tap+" mode tap; ip link set "+tap+" master "+bridge+" up")
	} else {
		netdev = boardLink(tb, o.Link, bridgeNS, tap, bridge)
	}

	code, state := filepath.Join(lab.Dir, name+".flash"), filepath.Join(lab.Dir, name+".state")
	args := append([]string{filepath.Join(Root(), "ports/baremetal/mkflash.py"), "--ca", o.CAFile,
		filepath.Join(BoardImage(tb), o.Image+".bin"), code, "control_url=" + o.URL, "auth_key=" + o.AuthKey, "hostname=" + name,
		fmt.Sprintf("ip=%s/%d", b.IP, bits), "gateway=" + gateway, "host=" + ControlIP + " " + ControlName}, o.Settings...)
	if out, err := exec.Command("python3", args...).CombinedOutput(); err != nil {
		tb.Fatalf("mkflash.py: %v\n%s", err, out)
	}
	blank := make([]byte, 2*256<<10)
	for i := range blank {
		blank[i] = 0xff
	}
	if err := os.WriteFile(state, blank, 0o600); err != nil {
		tb.Fatal(err)
	}
	if err := os.Truncate(state, 32<<20); err != nil {
		tb.Fatal(err)
	}
	// A file takes every character at once; a socket that is full for a moment makes QEMU log some twice.
	input, keys, err := os.Pipe()
	if err != nil {
		tb.Fatal(err)
	}
	defer input.Close()
	tb.Cleanup(func() { keys.Close() })
	b.keys = keys
	log := filepath.Join(lab.Dir, name+"-board.log")
	b.Proc = newProcWithInput(tb, name+" board", log, nil, bridgeNS.args(append([]string{
		"qemu-system-riscv32", "-M", "virt", "-bios", "none", "-display", "none", "-monitor", "none",
		"-chardev", "stdio,id=con,signal=off", "-serial", "chardev:con",
		"-drive", "if=pflash,unit=0,format=raw,readonly=on,file=" + code, "-drive", "if=pflash,unit=1,format=raw,file=" + state,
		"-netdev", netdev,
		"-device", fmt.Sprintf("virtio-net-device,netdev=net,mac=02:00:00:00:01:%02x", 2+lab.nextHost), "-device", "virtio-rng-device",
	}, o.QEMU...)...), input)
	return b
}

// boardLink carries the board's frames through this process, and returns QEMU's end.
func boardLink(tb testing.TB, link *Link, bridgeNS ns, tap, bridge string) string {
	tb.Helper()
	dir, err := os.MkdirTemp("", "mll")
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { os.RemoveAll(dir) })
	ours, theirs := filepath.Join(dir, "a"), filepath.Join(dir, "b")
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: ours, Net: "unixgram"})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { conn.Close() })
	far := newTAP(tb, bridgeNS, tap)
	bridgeNS.must(tb, "ip", "link", "set", tap, "master", bridge, "up")
	go link.carry(conn, far, 1)
	go link.carry(far, &unixgram{conn, &net.UnixAddr{Name: theirs, Net: "unixgram"}}, 2)
	return "dgram,id=net,local.type=unix,local.path=" + theirs + ",remote.type=unix,remote.path=" + ours
}

// unixgram writes to one address; what is sent while nobody has it is lost, as on a cable.
type unixgram struct {
	*net.UnixConn
	to *net.UnixAddr
}

func (u *unixgram) Write(frame []byte) (int, error) { return u.WriteToUnix(frame, u.to) }

// Type presses a key on the board's console.
func (b *Board) Type(tb testing.TB, key string) {
	tb.Helper()
	if _, err := b.keys.Write([]byte(key)); err != nil {
		tb.Fatal(err)
	}
}

var selfLine = regexp.MustCompile(`self: (100\.\S+) \S+ home`)

// WaitRunning waits until the board has a tailnet address and a relay, and returns the address.
func (b *Board) WaitRunning(tb testing.TB, mark int, within time.Duration) string {
	tb.Helper()
	b.Proc.WaitLog(tb, mark, "relay connected: home", within)
	return selfLine.FindStringSubmatch(b.Proc.WaitLog(tb, mark, selfLine.String(), within))[1]
}

var statPair = regexp.MustCompile(`(\w+)=(\d+)`)

// Stats asks the board for its figures.
func (b *Board) Stats(tb testing.TB) map[string]int {
	tb.Helper()
	mark := b.Proc.Mark()
	b.Type(tb, "s")
	stats := map[string]int{}
	for _, m := range statPair.FindAllStringSubmatch(b.Proc.WaitLog(tb, mark, `^stats: .*steps=\d+`, 20*time.Second), -1) {
		stats[m[1]], _ = strconv.Atoi(m[2])
	}
	return stats
}
