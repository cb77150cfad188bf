// Child processes with bounded lives. All are started from one locked thread, so that the kernel's parent-death signal kills
// them when the test program dies, however it dies; what cannot get that signal (network namespaces) is removed by a reaper,
// a shell that waits for the end of a pipe only the test program holds.
//
// SPDX-License-Identifier: MIT

package harness

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

var startRequests = sync.OnceValue(func() chan func() {
	requests := make(chan func())
	go func() {
		runtime.LockOSThread()
		for f := range requests {
			f()
		}
	}()
	return requests
})

// startCommand starts cmd so that it dies with this process.
func startCommand(cmd *exec.Cmd) error {
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Pdeathsig = syscall.SIGKILL
	result := make(chan error, 1)
	startRequests() <- func() { result <- cmd.Start() }
	return <-result
}

// Proc is a child process whose output goes to a log file.
type Proc struct {
	Name string
	Log  string
	cmd  *exec.Cmd
	done chan struct{}
	err  error
}

func newProc(tb testing.TB, name, log string, env []string, args []string) *Proc {
	tb.Helper()
	return newProcWithInput(tb, name, log, env, args, nil)
}

func newProcWithInput(tb testing.TB, name, log string, env []string, args []string, input *os.File) *Proc {
	tb.Helper()
	file, err := os.OpenFile(log, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		tb.Fatal(err)
	}
	defer file.Close()
	p := &Proc{Name: name, Log: log, done: make(chan struct{})}
	p.cmd = exec.Command(args[0], args[1:]...)
	p.cmd.Env = append(os.Environ(), env...)
	p.cmd.Stdout, p.cmd.Stderr = file, file
	if input != nil {
		p.cmd.Stdin = input
	}
	if err := startCommand(p.cmd); err != nil {
		tb.Fatalf("%s: %v", name, err)
	}
	go func() {
		p.err = p.cmd.Wait()
		close(p.done)
	}()
	tb.Cleanup(p.Kill)
	return p
}

// Pid is the process id.
func (p *Proc) Pid() int { return p.cmd.Process.Pid }

// Exited tells whether the process has ended.
func (p *Proc) Exited() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

// Kill ends the process at once, as a power cut would, and waits for it.
func (p *Proc) Kill() {
	if !p.Exited() {
		p.cmd.Process.Kill()
	}
	<-p.done
}

// Stop asks the process to end (SIGTERM) and returns its exit error; a process that ignores it for 10 s is killed.
func (p *Proc) Stop() error {
	p.Signal(syscall.SIGTERM)
	select {
	case <-p.done:
		return p.err
	case <-time.After(10 * time.Second):
		p.Kill()
		return fmt.Errorf("%s did not end within 10 s of SIGTERM", p.Name)
	}
}

// Signal sends a signal to the process.
func (p *Proc) Signal(sig os.Signal) {
	if !p.Exited() {
		p.cmd.Process.Signal(sig)
	}
}

// WaitExit waits for the end of the process and returns its exit status.
func (p *Proc) WaitExit(tb testing.TB, within time.Duration) int {
	tb.Helper()
	select {
	case <-p.done:
		return p.cmd.ProcessState.ExitCode()
	case <-time.After(within):
		tb.Fatalf("%s still runs after %v", p.Name, within)
		return -1
	}
}

// Output returns what the process has written so far.
func (p *Proc) Output() string {
	text, _ := os.ReadFile(p.Log)
	return string(text)
}

// Mark returns a position in the log; OutputSince returns what was written after it.
func (p *Proc) Mark() int { return len(p.Output()) }

// OutputSince returns what the process wrote after a Mark.
func (p *Proc) OutputSince(mark int) string {
	text := p.Output()
	if mark > len(text) {
		return ""
	}
	return text[mark:]
}

// wholeLines are the lines of text that have ended: a program may have written the last one in part.
func wholeLines(text string) []string {
	all := strings.Split(text, "\n")
	return all[:len(all)-1]
}

// WaitLog waits until a line of the log, after mark, matches the expression, and returns that line.
func (p *Proc) WaitLog(tb testing.TB, mark int, expr string, within time.Duration) string {
	tb.Helper()
	re := regexp.MustCompile(expr)
	var line string
	Eventually(tb, within, fmt.Sprintf("%s logs /%s/ (%s)", p.Name, expr, p.Log), func() error {
		for _, l := range wholeLines(p.OutputSince(mark)) {
			if re.MatchString(l) {
				line = l
				return nil
			}
		}
		if p.Exited() {
			return errors.New("process ended; last lines: " + tail(p.Output(), 5))
		}
		return errors.New("not yet")
	})
	return line
}

// LinesMatching returns the lines of the log after mark that match.
func (p *Proc) LinesMatching(mark int, expr string) []string {
	re := regexp.MustCompile(expr)
	var lines []string
	for _, l := range strings.Split(p.OutputSince(mark), "\n") {
		if re.MatchString(l) {
			lines = append(lines, l)
		}
	}
	return lines
}

func tail(text string, lines int) string {
	all := strings.Split(strings.TrimRight(text, "\n"), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}

// Eventually polls check until it returns nil; the test fails with the last error when that takes longer than within.
func Eventually(tb testing.TB, within time.Duration, what string, check func() error) time.Duration {
	tb.Helper()
	began := time.Now()
	for {
		err := check()
		took := time.Since(began)
		if err == nil {
			return took
		}
		if took > within {
			tb.Fatalf("not within %v: %s: %v", within, what, err)
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// run runs a short command to its end and returns its output, stdout and stderr together.
func run(timeout time.Duration, env []string, stdin string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Env = append(os.Environ(), env...)
	if stdin != "" {
		cmd.Stdin = strings.NewReader(stdin)
	}
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	cmd.WaitDelay = time.Second
	if err := startCommand(cmd); err != nil {
		return "", err
	}
	stop := context.AfterFunc(ctx, func() { cmd.Process.Kill() })
	defer stop()
	err := cmd.Wait()
	if ctx.Err() != nil {
		err = fmt.Errorf("%s: killed after %v", filepath.Base(args[0]), timeout)
	}
	return out.String(), err
}

// reaper removes what carries prefix when this process is gone: namespaces and their /etc/netns folders.
var startReaper = sync.OnceValue(func() error {
	read, write, err := os.Pipe()
	if err != nil {
		return err
	}
	script := `cat >/dev/null
for ns in $(ip netns list | cut -d' ' -f1 | grep "^$1"); do
    for pid in $(ip netns pids "$ns" 2>/dev/null); do kill -9 "$pid" 2>/dev/null; done
    ip netns del "$ns"
    rm -rf "/etc/netns/$ns"
done
rmdir /etc/netns 2>/dev/null
:`
	cmd := exec.Command("/bin/sh", "-c", script, "reaper", nsPrefix())
	cmd.Stdin = read
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		return err
	}
	read.Close()
	keepOpen = write // Closed by the kernel when this process ends.
	return nil
})

var keepOpen *os.File
