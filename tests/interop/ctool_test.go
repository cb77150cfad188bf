// SPDX-License-Identifier: MIT

package interop

import (
	"bufio"
	"io"
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"microlink.test/interop/harness"
)

// A ctool is one of our modules as a process: its network is conn, its remarks are lines.
type ctool struct {
	conn     net.Conn
	commands *os.File
	lines    chan string
}

// startTool runs a program of ctools. Its stdin and stdout are the other end of conn, its descriptor 3 reads commands.
func startTool(t *testing.T, name string, args ...string) *ctool {
	t.Helper()
	cmd := exec.Command(harness.Binary(t, "tests/interop/ctools/"+name), args...)
	ours, theirs := tcpPair(t)
	f, err := theirs.(*net.TCPConn).File()
	if err != nil {
		t.Fatal(err)
	}
	theirs.Close()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stdin, cmd.Stdout, cmd.ExtraFiles = f, f, []*os.File{r}
	stderr, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	f.Close()
	r.Close()
	tool := &ctool{conn: ours, commands: w, lines: make(chan string, 4096)}
	go func() {
		defer close(tool.lines)
		for s := bufio.NewScanner(stderr); s.Scan(); {
			tool.lines <- s.Text()
		}
	}()
	t.Cleanup(func() {
		ours.Close()
		w.Close()
		cmd.Process.Kill()
		cmd.Wait()
	})
	return tool
}

// expect waits for a line that begins with prefix and returns the rest; other lines are passed over.
func (c *ctool) expect(t *testing.T, prefix string) string {
	t.Helper()
	deadline := time.After(10 * time.Second)
	var seen []string
	for {
		select {
		case line, ok := <-c.lines:
			if !ok {
				t.Fatalf("program ended, wanted %q; said %q", prefix, seen)
			}
			if rest, found := strings.CutPrefix(line, prefix); found {
				return rest
			}
			seen = append(seen, line)
		case <-deadline:
			t.Fatalf("no %q; said %q", prefix, seen)
		}
	}
}

func (c *ctool) command(t *testing.T, line string) {
	t.Helper()
	if _, err := io.WriteString(c.commands, line+"\n"); err != nil {
		t.Fatal(err)
	}
}

// tcpPair is a connection over loopback: unlike net.Pipe its ends can be handed to a process.
func tcpPair(t *testing.T) (a, b net.Conn) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	if a, err = net.Dial("tcp", ln.Addr().String()); err != nil {
		t.Fatal(err)
	}
	if b, err = ln.Accept(); err != nil {
		t.Fatal(err)
	}
	a.SetDeadline(time.Now().Add(time.Minute))
	return a, b
}
