//go:build espidf

// The ESP-IDF component on an emulated ESP32-C3 among official peers. Nothing here builds it: ML_ESP_QEMU is Espressif's
// qemu-system-riscv32, ML_ESP_CHIP_PING_PONG a flash image of 4 MB of examples/ping_pong/esp-idf (tests/esp/README.md).
//
// SPDX-License-Identifier: MIT

package interop

import (
	"os"
	"testing"
	"time"

	"microlink.test/interop/harness"
)

// chipImage is the flash image that the variable names.
func chipImage(t *testing.T, variable string) (qemu, image string) {
	t.Helper()
	if qemu = os.Getenv("ML_ESP_QEMU"); qemu == "" {
		t.Skip("ML_ESP_QEMU is not set: no emulator")
	}
	return qemu, espProgram(t, variable)
}

// joinChip starts examples/ping_pong on the emulator beside an official node and waits until each knows the other.
func joinChip(t *testing.T, lab *harness.Lab) (official *harness.Node, chip *harness.ESPChip, ip string) {
	t.Helper()
	qemu, image := chipImage(t, "ML_ESP_CHIP_PING_PONG")
	official = lab.Host("ts").Tailscaled(t, harness.NodeOptions{AuthKey: lab.Headscale.AuthKey(t)})
	official.WaitRunning(t, 30*time.Second)
	chip = lab.StartESPChip(t, "esp32-device", qemu, image)
	logIn(t, lab, chip.Proc, 60*time.Second)
	chip.Proc.WaitLog(t, 0, "heap .* wake-ups", 90*time.Second)
	official.WaitPeer(t, "esp32-device", 20*time.Second)
	ip = lab.Headscale.Node(t, "esp32-device").IPAddresses[0]
	return official, chip, ip
}

func TestESPChipJoinsAndAnswers(t *testing.T) {
	lab := harness.New(t, harness.Options{DERPCertPin: true})
	official, chip, ip := joinChip(t, lab)
	allPings(t, official, ip)
	if n := echoes(t, official, ip+":5055", ":5055", 10, 1000); n < 9 {
		t.Errorf("%d of 10 datagrams came back", n)
	}
	chip.Proc.WaitLog(t, 0, "pong from 100.* ms", 70*time.Second)
	if lines := chip.Proc.LinesMatching(0, "refuses"); len(lines) > 0 {
		t.Errorf("without an address yet it said: %v", lines)
	}
	if lines := chip.Proc.LinesMatching(0, "underlay changed"); len(lines) != 1 {
		t.Errorf("the network changed once, by DHCP: %v", lines)
	}
	t.Logf("its output:\n%s", chip.Proc.Output())
}

func TestESPChipLosesPowerTheNetworkRelaysAndControlInTurn(t *testing.T) {
	lab := harness.New(t, harness.Options{DERPCertPin: true})
	official, chip, ip := joinChip(t, lab)
	expectAnswer(t, official, ip, "joining", 20*time.Second)
	key := lab.Headscale.Node(t, "esp32-device").NodeKey
	chip.Proc.Kill()
	mark := chip.Proc.Mark()
	chip.PowerOn(t)
	chip.Proc.WaitLog(t, mark, "heap .* wake-ups", 60*time.Second)
	expectAnswer(t, official, ip, "a power cut", 30*time.Second)
	if n := lab.Headscale.Node(t, "esp32-device"); n.NodeKey != key || n.IPAddresses[0] != ip {
		t.Errorf("another node: %v, was %s %s", n, ip, key)
	}
	chip.Unplug(t, true)
	time.Sleep(60 * time.Second)
	chip.Unplug(t, false)
	expectAnswer(t, official, ip, "a minute without Ethernet", 60*time.Second)
	for _, d := range lab.Derpers {
		d.Stop()
	}
	time.Sleep(20 * time.Second)
	mark = chip.Proc.Mark()
	for _, d := range lab.Derpers {
		d.Start()
	}
	chip.Proc.WaitLog(t, mark, "relay connected: home", 90*time.Second)
	expectAnswer(t, official, ip, "20 s without relays", 60*time.Second)
	mark = chip.Proc.Mark()
	lab.Headscale.Stop()
	time.Sleep(20 * time.Second)
	lab.Headscale.Start()
	chip.Proc.WaitLog(t, mark, "control: connected", 90*time.Second)
	expectAnswer(t, official, ip, "20 s without control", 60*time.Second)
	if boots := chip.Proc.LinesMatching(0, "Calling app_main"); len(boots) > 2 {
		t.Errorf("it started anew: %v", boots)
	}
	t.Logf("its output:\n%s", chip.Proc.Output())
}

// A long run on the chip, as TestESPSoak.
func TestESPChipSoak(t *testing.T) {
	lab := harness.New(t, harness.Options{DERPCertPin: true})
	official, chip, ip := joinChip(t, lab)
	soakPingPong(t, official, chip.Proc, ip)
	if boots := chip.Proc.LinesMatching(0, "Calling app_main"); len(boots) > 1 {
		t.Errorf("it started anew: %v", boots)
	}
}
