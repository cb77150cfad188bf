// The ESP-IDF component on an emulated ESP32-C3: Espressif's QEMU with the flash image of a project that somebody built, its
// OpenCores Ethernet on a TAP device in a bridge of the lab. Its address comes by DHCP, as everywhere.
//
// SPDX-License-Identifier: MIT

package harness

import (
	"encoding/binary"
	"net"
	"os"
	"path/filepath"
	"testing"
)

// ESPChip is a running emulator; Host.IP is the address that the lab's DHCP server gives its Ethernet.
type ESPChip struct {
	*Host
	Proc *Proc
	args []string
}

// StartESPChip makes a host of that name (ESPHost) and starts the emulator qemu with a copy of the flash image.
func (lab *Lab) StartESPChip(tb testing.TB, name, qemu, image string) *ESPChip {
	tb.Helper()
	h := lab.ESPHost(tb, name)
	flash, efuse := filepath.Join(lab.Dir, name+".flash"), filepath.Join(lab.Dir, name+".efuse")
	bytes, err := os.ReadFile(image)
	if err != nil {
		tb.Fatal(err)
	}
	if err := os.WriteFile(flash, bytes, 0o600); err != nil {
		tb.Fatal(err)
	}
	// Chip revision 0.3, the least that ESP-IDF 5.3 starts on, and a MAC address of its own, last byte first; Ethernet has the base address plus 3.
	fuses := make([]byte, 1024)
	fuses[38] = 0x0c
	copy(fuses[24:30], []byte{byte(lab.nextHost) << 2, 0x02, 0, 0, 0, 0x02})
	if err := os.WriteFile(efuse, fuses, 0o600); err != nil {
		tb.Fatal(err)
	}
	lab.serveDHCP(tb, net.HardwareAddr{0x02, 0, 0, 0, 0x02, byte(lab.nextHost)<<2 + 3}, h.IP)
	c := &ESPChip{Host: h, args: []string{qemu, "-M", "esp32c3", "-display", "none", "-monitor", "none",
		"-chardev", "stdio,id=con,signal=off", "-serial", "chardev:con",
		"-drive", "if=mtd,format=raw,file=" + flash, "-drive", "if=none,format=raw,id=efuse,file=" + efuse,
		"-global", "driver=nvram.esp32c3.efuse,property=drive,value=efuse",
		"-global", "driver=timer.esp32c3.timg,property=wdt_disable,value=true", // As idf.py does: the emulator may stand still.
		"-nic", "tap,model=open_eth,ifname=tap0,script=no,downscript=no"}}
	c.PowerOn(tb)
	return c
}

// PowerOn starts it, anew after Proc.Kill(): what the flash holds stays.
func (c *ESPChip) PowerOn(tb testing.TB) {
	tb.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { r.Close(); w.Close() })
	c.Proc = newProcWithInput(tb, c.Name+" chip", filepath.Join(c.lab.Dir, c.Name+"-chip.log"), nil, c.ns.args(c.args...), r)
}

// Unplug takes its cable out, or puts it in again.
func (c *ESPChip) Unplug(tb testing.TB, out bool) {
	tb.Helper()
	state := "up"
	if out {
		state = "down"
	}
	c.Must(tb, "ip", "link", "set", "eth0", state)
}

// serveDHCP gives one address to one MAC address.
func (lab *Lab) serveDHCP(tb testing.TB, mac net.HardwareAddr, ip string) {
	tb.Helper()
	if lab.leases == nil {
		lab.leases = map[string]net.IP{}
		conn, err := lab.wan.listenUDP("0.0.0.0:67")
		if err != nil {
			tb.Fatal(err)
		}
		tb.Cleanup(func() { conn.Close() })
		go lab.answerDHCP(conn)
	}
	lab.leaseLock.Lock()
	defer lab.leaseLock.Unlock()
	lab.leases[mac.String()] = net.ParseIP(ip).To4()
}

func (lab *Lab) answerDHCP(conn net.PacketConn) {
	const discover, offer, request, ack, magic = 1, 2, 3, 5, 0x63825363
	server := net.ParseIP(ControlIP).To4()
	buf := make([]byte, 1500)
	for {
		n, _, err := conn.ReadFrom(buf)
		if err != nil {
			return
		}
		if n < 240 || buf[0] != 1 || binary.BigEndian.Uint32(buf[236:]) != magic {
			continue
		}
		kind := byte(0)
		for o := buf[240:n]; len(o) > 2 && o[0] != 255; {
			if o[0] == 0 {
				o = o[1:]
				continue
			}
			if o[0] == 53 {
				kind = o[2]
			}
			o = o[min(len(o), 2+int(o[1])):]
		}
		lab.leaseLock.Lock()
		ip := lab.leases[net.HardwareAddr(buf[28:34]).String()]
		lab.leaseLock.Unlock()
		answer := map[byte]byte{discover: offer, request: ack}[kind]
		if ip == nil || answer == 0 {
			continue
		}
		reply := make([]byte, 240, 300)
		copy(reply, buf[:240])
		reply[0] = 2
		copy(reply[16:20], ip)
		copy(reply[20:24], server)
		option := func(code byte, value ...byte) { reply = append(append(reply, code, byte(len(value))), value...) }
		option(53, answer)
		option(54, server...)
		option(51, 0, 0, 0x0e, 0x10)
		option(1, 255, 255, 0, 0)
		option(3, net.ParseIP(wanGateway).To4()...)
		option(6, server...)
		reply = append(reply, 255)
		conn.WriteTo(reply, &net.UDPAddr{IP: net.IPv4(10, 77, 255, 255), Port: 68})
	}
}
