// The HTTP/2 client of src/http against Go's server and against hand-made frames. SPDX-License-Identifier: MIT

package interop

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/http2"
)

func h2Tool(t *testing.T) string {
	dir := os.Getenv("ML_CTOOLS")
	if dir == "" {
		dir = "../../build/tests/interop/ctools"
	}
	p, err := filepath.Abs(filepath.Join(dir, "h2_client"))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// h2Run lets the client speak to serve, which handles one connection, and returns the lines it printed.
func h2Run(t *testing.T, serve func(net.Conn), args ...string) string {
	t.Helper()
	sock := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", sock)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		c, err := l.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		serve(c)
	}()
	cmd := exec.Command(h2Tool(t), append([]string{sock}, args...)...)
	timer := time.AfterFunc(20*time.Second, func() { cmd.Process.Kill() })
	defer timer.Stop()
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return string(out)
}

func goServer(h http.HandlerFunc) func(net.Conn) {
	return func(c net.Conn) { (&http2.Server{}).ServeConn(c, &http2.ServeConnOpts{Handler: h}) }
}

func wantLines(t *testing.T, out string, lines ...string) {
	t.Helper()
	for _, l := range lines {
		if !strings.Contains(out, l+"\n") {
			t.Errorf("no line %q in:\n%s", l, out)
		}
	}
}

func TestC18_C21_HTTP2StatusesAndGetWithBody(t *testing.T) {
	for _, status := range []int{200, 204, 400, 401, 404, 429, 500, 501, 503} {
		out := h2Run(t, goServer(func(w http.ResponseWriter, r *http.Request) {
			b, _ := io.ReadAll(r.Body)
			if r.Method != "GET" || len(b) != 300 || r.ContentLength != 300 || r.Header.Get("Ts-Lb") != "nodekey:test" {
				t.Errorf("got %s, %d bytes, %v", r.Method, len(b), r.Header)
			}
			w.Header().Set("Retry-After", "120")
			w.WriteHeader(status)
		}), "16384", "GET:/machine/tka/bootstrap:300")
		wantLines(t, out, fmt.Sprintf("1 status %d 120", status), "1 end 0")
	}
}

func TestC19_HTTP2FourStreamsAtOnce(t *testing.T) {
	var short sync.WaitGroup
	short.Add(3)
	out := h2Run(t, goServer(func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		if r.URL.Path == "/poll" {
			w.(http.Flusher).Flush()
			short.Wait() // the poll stays open until the others were answered
			w.Write(b)
			return
		}
		w.Write(b)
		w.(http.Flusher).Flush() // on the wire when it returns; what ends the stream follows in an order of the server's own
		short.Done()
	}), "8192", "POST:/poll:100", "POST:/a:1000", "POST:/b:2000", "POST:/c:0")
	wantLines(t, out, "1 end 100", "3 end 1000", "5 end 2000", "7 end 0")
	for _, answered := range []string{"3 status", "5 status", "7 status"} {
		if strings.Index(out, "1 end") < strings.Index(out, answered) {
			t.Errorf("the poll ended before %q:\n%s", answered, out)
		}
	}
}

func TestC17_HTTP2LargeBodiesThroughSmallWindows(t *testing.T) {
	for _, window := range []string{"1", "100", "16384", "65535"} {
		size := 1 << 20
		if window == "1" {
			size = 2000
		}
		out := h2Run(t, goServer(func(w http.ResponseWriter, r *http.Request) {
			n, _ := io.Copy(io.Discard, r.Body)
			if n != 3<<20 {
				t.Errorf("request of %d bytes", n)
			}
			w.Write(make([]byte, size))
		}), window, "POST:/:3145728")
		wantLines(t, out, fmt.Sprintf("1 end %d", size))
	}
}

func rawServer(t *testing.T, script func(*http2.Framer)) func(net.Conn) {
	return func(c net.Conn) {
		pre := make([]byte, len(http2.ClientPreface))
		if _, err := io.ReadFull(c, pre); err != nil || string(pre) != http2.ClientPreface {
			t.Errorf("preface %q %v", pre, err)
		}
		script(http2.NewFramer(c, c))
		io.Copy(io.Discard, c) // the client ends first: its next write to a closed socket would end it before it has read all
	}
}

// waitFor reads frames until one is as wanted.
func waitFor(t *testing.T, fr *http2.Framer, ok func(http2.Frame) bool) {
	for {
		f, err := fr.ReadFrame()
		if err != nil {
			t.Errorf("waiting for a frame: %v", err)
			return
		}
		if ok(f) {
			return
		}
	}
}

func isHeaders(f http2.Frame) bool { return f.Header().Type == http2.FrameHeaders }

func TestC17_C18_HTTP2AcksPaddingAndContinuation(t *testing.T) {
	out := h2Run(t, rawServer(t, func(fr *http2.Framer) {
		fr.WriteSettings(http2.Setting{ID: http2.SettingMaxFrameSize, Val: 1 << 20}, http2.Setting{ID: 0x99, Val: 1})
		waitFor(t, fr, isHeaders)
		waitFor(t, fr, func(f http2.Frame) bool { s, ok := f.(*http2.SettingsFrame); return ok && s.IsAck() })
		for i := range 40 { // more than the client can queue answers for at once
			fr.WritePing(false, [8]byte{byte(i)})
		}
		for i := range 40 {
			waitFor(t, fr, func(f http2.Frame) bool {
				p, ok := f.(*http2.PingFrame)
				return ok && p.IsAck() && p.Data[0] == byte(i)
			})
		}
		fr.WriteRawFrame(0xbe, 0, 0, []byte("unknown"))
		fr.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: []byte{0x20, 0x08, 0x82}, PadLength: 7,
			Priority: http2.PriorityParam{Weight: 3}})
		fr.WriteContinuation(1, false, []byte{0x6c})
		fr.WriteContinuation(1, true, append([]byte{0x01, 0x00, 0x01, 'x', 0x7f, 0xa1, 0x0f}, bytes.Repeat([]byte{'y'}, 2080)...))
		fr.WriteDataPadded(1, false, []byte("hello"), make([]byte, 200))
		fr.WriteDataPadded(1, true, nil, make([]byte, 3))
	}), "16384", "GET:/:0")
	wantLines(t, out, "1 status 501 ", "1 end 5")
}

func TestHTTP2GoAwayAndReset(t *testing.T) {
	out := h2Run(t, rawServer(t, func(fr *http2.Framer) {
		fr.WriteSettings()
		for range 3 {
			waitFor(t, fr, isHeaders)
		}
		fr.WriteRSTStream(1, http2.ErrCodeInternal)
		fr.WriteGoAway(3, http2.ErrCodeNo, []byte("debug"))
		fr.WriteHeaders(http2.HeadersFrameParam{StreamID: 3, BlockFragment: []byte{0x88}, EndHeaders: true, EndStream: true})
	}), "16384", "GET:/:0", "GET:/:0", "GET:/:0")
	wantLines(t, out, "1 reset 2 retry=0", "5 reset 7 retry=1", "goaway 0", "3 end 0")
}

func TestHTTP2BreachesOfTheRulesAreFatal(t *testing.T) {
	for name, c := range map[string]struct {
		code   int
		script func(*http2.Framer)
	}{
		"push":           {1, func(fr *http2.Framer) { fr.WriteRawFrame(http2.FramePushPromise, 4, 1, []byte{0, 0, 0, 2, 0x82}) }},
		"frame too long": {6, func(fr *http2.Framer) { fr.WriteRawFrame(http2.FrameData, 0, 1, make([]byte, 16385)) }},
		"dynamic index":  {9, func(fr *http2.Framer) { fr.WriteRawFrame(http2.FrameHeaders, 4, 1, []byte{0xbe}) }},
		"ping of 7":      {6, func(fr *http2.Framer) { fr.WriteRawFrame(http2.FramePing, 0, 0, make([]byte, 7)) }},
		"interleaved": {1, func(fr *http2.Framer) {
			fr.WriteRawFrame(http2.FrameHeaders, 0, 1, nil)
			fr.WritePing(false, [8]byte{})
		}},
	} {
		t.Run(name, func(t *testing.T) {
			out := h2Run(t, rawServer(t, func(fr *http2.Framer) {
				fr.WriteSettings()
				waitFor(t, fr, isHeaders)
				c.script(fr)
				waitFor(t, fr, func(f http2.Frame) bool { g, ok := f.(*http2.GoAwayFrame); return ok && int(g.ErrCode) == c.code })
			}), "16384", "GET:/:0")
			wantLines(t, out, fmt.Sprintf("fatal %d", c.code))
		})
	}
}
