//go:build board

// A control server whose TLS records are as large as TLS allows: far above what a board's connection begins with.
//
// SPDX-License-Identifier: MIT

package interop

import (
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"microlink.test/interop/harness"
)

const fullRecord = 16384

// fullRecords writes records of 16 KB as long as there is something to fill them with.
type fullRecords struct {
	*tls.Conn
	full    *atomic.Int32
	mu      sync.Mutex
	pending []byte
}

func (c *fullRecords) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.pending = append(c.pending, p...)
	for len(c.pending) >= fullRecord {
		if _, err := c.Conn.Write(c.pending[:fullRecord]); err != nil {
			return 0, err
		}
		c.full.Add(1)
		c.pending = c.pending[fullRecord:]
	}
	if len(c.pending) > 0 {
		time.AfterFunc(20*time.Millisecond, c.flush)
	}
	return len(p), nil
}

func (c *fullRecords) flush() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.pending) > 0 {
		c.Conn.Write(c.pending)
		c.pending = nil
	}
}

func (c *fullRecords) Close() error {
	c.flush()
	return c.Conn.Close()
}

type fullRecordListener struct {
	net.Listener
	config *tls.Config
	full   *atomic.Int32
}

func (l *fullRecordListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &fullRecords{Conn: tls.Server(c, l.config), full: l.full}, nil
}

// Either there is room for the large buffer, or the board says that there is none, and tries again: it never stops silently.
func TestBoardTakesRecordsOfSixteenKilobytes(t *testing.T) {
	t.Parallel()
	lab := harness.New(t, harness.Options{})
	big, _ := startBigTailnet(t, lab, 300, 0)
	crt, key := lab.CA.Issue(t, "full-records", harness.ControlName)
	pair, err := tls.LoadX509KeyPair(crt, key)
	if err != nil {
		t.Fatal(err)
	}
	var full atomic.Int32
	l, _ := lab.Listen(t)
	config := &tls.Config{Certificates: []tls.Certificate{pair}, DynamicRecordSizingDisabled: true}
	server := &http.Server{Handler: big.server}
	go server.Serve(&fullRecordListener{l, config, &full})
	t.Cleanup(func() { server.Close() })
	url := fmt.Sprintf("https://%s:%d", harness.ControlName, l.Addr().(*net.TCPAddr).Port)
	board := lab.Board(t, "board", harness.BoardOptions{URL: url, AuthKey: "tskey-auth-any"})
	line := board.Proc.WaitLog(t, 0, `control: connected, netmap received|no memory for a TLS record`, 60*time.Second)
	s := board.Stats(t)
	t.Logf("%s; %d full records, largest buffer %d, heap %d", line, full.Load(), s["tls_buffer"], s["arena_peak"])
	if full.Load() == 0 {
		t.Errorf("no record was full: the test shows nothing")
	}
	harness.Eventually(t, 20*time.Second, "the buffer for records is small again", func() error {
		if s := board.Stats(t); s["tls_now"] >= 16<<10 {
			return fmt.Errorf("TLS holds %d bytes", s["tls_now"])
		}
		return nil
	})
	if board.Proc.LinesMatching(0, "no memory for a TLS record") != nil {
		mark := board.Proc.Mark()
		board.Proc.WaitLog(t, mark, "no memory for a TLS record", 90*time.Second)
	}
}
