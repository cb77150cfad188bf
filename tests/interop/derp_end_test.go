// SPDX-License-Identifier: MIT

package interop

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"testing"

	"tailscale.com/derp"
)

// A derpEnd is the server side of a relay connection, one frame at a time, written with the official frame functions.
type derpEnd struct {
	t  *testing.T
	br *bufio.Reader
	bw *bufio.Writer
}

func newDerpEnd(t *testing.T, conn net.Conn) *derpEnd {
	return &derpEnd{t, bufio.NewReader(conn), bufio.NewWriter(conn)}
}

// upgrade reads the request, as any HTTP server would, and accepts it.
func (e *derpEnd) upgrade() {
	e.t.Helper()
	req, err := http.ReadRequest(e.br)
	if err != nil {
		e.t.Fatal(err)
	}
	if req.Method != "GET" || req.URL.Path != "/derp" || req.Host != "relay.example" || req.Header.Get("Upgrade") != "DERP" {
		e.t.Errorf("request is %v", req)
	}
	io.WriteString(e.bw, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: DERP\r\nConnection: Upgrade\r\n\r\n")
	e.bw.Flush()
}

func (e *derpEnd) write(typ derp.FrameType, parts ...[]byte) {
	e.t.Helper()
	var all []byte
	for _, p := range parts {
		all = append(all, p...)
	}
	if err := derp.WriteFrame(e.bw, typ, all); err != nil {
		e.t.Fatal(err)
	}
	if err := e.bw.Flush(); err != nil {
		e.t.Fatal(err)
	}
}

// read returns the payload of the next frame, which must be of the type wanted.
func (e *derpEnd) read(want derp.FrameType) []byte {
	e.t.Helper()
	typ, n, err := derp.ReadFrameHeader(e.br)
	if err != nil || typ != want {
		e.t.Fatalf("frame type %#x, %v; want %#x", typ, err, want)
	}
	b := make([]byte, n)
	if _, err := io.ReadFull(e.br, b); err != nil {
		e.t.Fatal(err)
	}
	return b
}
