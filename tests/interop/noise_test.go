// The ts2021 handshake and record layer against the official server side.
//
// SPDX-License-Identifier: MIT

package interop

import (
	"bytes"
	"context"
	"crypto/cipher"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"unsafe"

	"tailscale.com/control/controlbase"
	"tailscale.com/types/key"
)

func machineHex(k key.MachinePublic) string { return fmt.Sprintf("%x", k.UntypedBytes()) }

// noiseUp connects the C client, reading readSize bytes at a time, to an official server end.
func noiseUp(t *testing.T, version, readSize, recordSize int) (*controlbase.Conn, *ctool) {
	t.Helper()
	control := key.NewMachine()
	tool := startTool(t, "noise_client", machineHex(control.Public()), strconv.Itoa(version), strconv.Itoa(readSize), strconv.Itoa(recordSize))
	conn, err := controlbase.Server(context.Background(), tool.conn, control, nil)
	if err != nil {
		t.Fatal(err)
	}
	return conn, tool
}

// expectEcho writes in chunks of the given sizes and requires that all of it comes back.
func expectEcho(t *testing.T, conn net.Conn, sizes []int) {
	t.Helper()
	var all []byte
	for i, n := range sizes {
		all = append(all, bytes.Repeat([]byte{byte(i)}, n)...)
	}
	got := make([]byte, len(all))
	done := make(chan error, 1)
	go func() {
		_, err := io.ReadFull(conn, got)
		done <- err
	}()
	rest := all
	for _, n := range sizes {
		if _, err := conn.Write(rest[:n]); err != nil {
			t.Fatal(err)
		}
		rest = rest[n:]
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, all) {
		t.Fatal("what came back differs from what was sent")
	}
}

func repeat(n, size int) []int {
	s := make([]int, n)
	for i := range s {
		s[i] = size
	}
	return s
}

func TestC12_MoreThan256RecordsEachWay(t *testing.T) {
	conn, _ := noiseUp(t, 130, 8192, 10)
	expectEcho(t, conn, repeat(700, 10))
}

func TestC14_AnySegmentationAndRecordSize(t *testing.T) {
	for _, readSize := range []int{1, 2, 3, 7, 4096, 8192} {
		t.Run(fmt.Sprintf("%d bytes a read", readSize), func(t *testing.T) {
			conn, _ := noiseUp(t, 130, readSize, 4077)
			expectEcho(t, conn, []int{9, 1, 4077, 4078, 17, 20000, 4076, 1})
		})
	}
}

// emptyRecord seals a record without plaintext with the server's own cipher; Conn.Write offers no way to send one.
func emptyRecord(conn *controlbase.Conn) []byte {
	tx := reflect.ValueOf(conn).Elem().FieldByName("tx")
	field := func(name string) unsafe.Pointer { return unsafe.Pointer(tx.FieldByName(name).UnsafeAddr()) }
	aead := *(*cipher.AEAD)(field("cipher"))
	nonce := (*[12]byte)(field("nonce"))
	record := aead.Seal([]byte{4, 0, 16}, nonce[:], nil, nil)
	binary.BigEndian.PutUint64(nonce[4:], 1+binary.BigEndian.Uint64(nonce[4:]))
	return record
}

func TestC14_EmptyRecordsAreSkipped(t *testing.T) {
	conn, tool := noiseUp(t, 130, 8192, 4077)
	for range 3 {
		for range 5 {
			if _, err := tool.conn.Write(emptyRecord(conn)); err != nil {
				t.Fatal(err)
			}
		}
		expectEcho(t, conn, []int{100})
	}
}

func TestC14_BadRecordsEndTheConnection(t *testing.T) {
	record := func(conn *controlbase.Conn) []byte { return emptyRecord(conn) }
	for name, c := range map[string]struct {
		send func(*controlbase.Conn) []byte
		want string
	}{
		"changed tag":       {func(c *controlbase.Conn) []byte { b := record(c); b[18] ^= 1; return b }, "record error: 3"},
		"unknown type":      {func(c *controlbase.Conn) []byte { b := record(c); b[0] = 5; return b }, "record error: 2"},
		"over 4096 bytes":   {func(*controlbase.Conn) []byte { return []byte{4, 0x0f, 0xfe} }, "record error: 1"},
		"shorter than tag":  {func(*controlbase.Conn) []byte { return []byte{4, 0, 15} }, "record error: 1"},
		"replayed":          {func(c *controlbase.Conn) []byte { b := record(c); return append(b, b...) }, "record error: 3"},
		"handshake message": {func(*controlbase.Conn) []byte { return []byte{2, 0, 48} }, "record error: 2"},
	} {
		t.Run(name, func(t *testing.T) {
			conn, tool := noiseUp(t, 130, 8192, 4077)
			expectEcho(t, conn, []int{50})
			if _, err := tool.conn.Write(c.send(conn)); err != nil {
				t.Fatal(err)
			}
			tool.expect(t, c.want)
		})
	}
}

func TestC13_PrologueCarriesTheVersionOfTheHeader(t *testing.T) {
	for _, version := range []int{1, 39, 130, 65535} {
		conn, _ := noiseUp(t, version, 8192, 4077)
		if conn.ProtocolVersion() != version {
			t.Errorf("server sees version %d, want %d", conn.ProtocolVersion(), version)
		}
		expectEcho(t, conn, []int{10})
	}
	// With another version in the header the same message must not authenticate.
	control := key.NewMachine()
	tool := startTool(t, "noise_client", machineHex(control.Public()), "130", "8192", "4077")
	init := make([]byte, 101)
	if _, err := io.ReadFull(tool.conn, init); err != nil {
		t.Fatal(err)
	}
	init[1]++
	if _, err := controlbase.Server(context.Background(), tool.conn, control, init); err == nil {
		t.Error("the server took a version that is not in the prologue")
	}
}

func TestC15_ErrorFramesAreToldAndBounded(t *testing.T) {
	t.Run("of the official server, to an initiation of another type", func(t *testing.T) {
		tool := startTool(t, "noise_client", machineHex(key.NewMachine().Public()), "130", "8192", "4077")
		init := make([]byte, 101)
		io.ReadFull(tool.conn, init)
		init[2] = 2
		if _, err := controlbase.Server(context.Background(), tool.conn, key.NewMachine(), init); err == nil {
			t.Fatal("the server took it")
		}
		if text := tool.expect(t, "refused: "); text == "" {
			t.Error("no text")
		}
	})
	t.Run("longest, unprintable, and cut into single bytes", func(t *testing.T) {
		tool := startTool(t, "noise_client", machineHex(key.NewMachine().Public()), "130", "1", "4077")
		io.ReadFull(tool.conn, make([]byte, 101))
		tool.conn.Write(append([]byte{3, 0xff, 0xff}, bytes.Repeat([]byte{0x1b}, 65535)...))
		if text := tool.expect(t, "refused: "); text != strings.Repeat("?", 127) {
			t.Errorf("text is %q", text)
		}
	})
}

func TestNoiseServersOfAnotherKeyAreRefused(t *testing.T) {
	t.Run("the server notices and says nothing", func(t *testing.T) {
		tool := startTool(t, "noise_client", machineHex(key.NewMachine().Public()), "130", "8192", "4077")
		if _, err := controlbase.Server(context.Background(), tool.conn, key.NewMachine(), nil); err == nil {
			t.Fatal("the server took an initiation for another key")
		}
		tool.conn.Close()
		tool.expect(t, "closed during the handshake")
	})
	t.Run("an impostor's response does not authenticate", func(t *testing.T) {
		tool := startTool(t, "noise_client", machineHex(key.NewMachine().Public()), "130", "8192", "4077")
		io.ReadFull(tool.conn, make([]byte, 101))
		response := append([]byte{2, 0, 48}, key.NewMachine().Public().UntypedBytes()...)
		tool.conn.Write(append(response, make([]byte, 16)...))
		tool.expect(t, "handshake failed: it does not authenticate")
	})
}

func TestC16_EarlyPayload(t *testing.T) {
	early := append([]byte("\xff\xff\xffTS\x00\x00\x00\x5f"), bytes.Repeat([]byte("j"), 0x5f)...)
	for name, sizes := range map[string][]int{
		"in one record with what follows": {len(early) + 30},
		"in a record of its own":          {len(early), 30},
		"header split":                    {1, 4, 3, 96, 30},
		"header and payload apart":        {9, 95, 30},
		"a byte a record":                 append(repeat(len(early), 1), 30),
	} {
		t.Run(name, func(t *testing.T) {
			conn, _ := noiseUp(t, 130, 8192, 4077)
			all := append(append([]byte{}, early...), bytes.Repeat([]byte("h"), 30)...)
			for _, n := range sizes {
				conn.Write(all[:n])
				all = all[n:]
			}
			got := make([]byte, 30)
			if _, err := io.ReadFull(conn, got); err != nil || string(got) != strings.Repeat("h", 30) {
				t.Fatalf("%q, %v", got, err)
			}
		})
	}
	t.Run("absent: an HTTP/2 frame header in any split comes through", func(t *testing.T) {
		for split := 1; split < 9; split++ {
			conn, _ := noiseUp(t, 130, 8192, 4077)
			header := []byte{0, 0, 18, 4, 0, 0, 0, 0, 0}
			conn.Write(header[:split])
			conn.Write(header[split:])
			got := make([]byte, 9)
			if _, err := io.ReadFull(conn, got); err != nil || !bytes.Equal(got, header) {
				t.Fatalf("%x, %v", got, err)
			}
		}
	})
	t.Run("half of the magic is not the magic", func(t *testing.T) {
		conn, _ := noiseUp(t, 130, 8192, 4077)
		conn.Write([]byte("\xff\xff\xffTx and more"))
		got := make([]byte, 14)
		if _, err := io.ReadFull(conn, got); err != nil || string(got) != "\xff\xff\xffTx and more" {
			t.Fatalf("%q, %v", got, err)
		}
	})
	t.Run("over the bound ends the connection", func(t *testing.T) {
		conn, tool := noiseUp(t, 130, 8192, 4077)
		conn.Write([]byte("\xff\xff\xffTS\x00\x00\x10\x01"))
		tool.expect(t, "record error: 5")
	})
}
