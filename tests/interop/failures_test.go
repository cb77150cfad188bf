// What a user can get wrong, and what servers can: each gives one sentence in `status` and in the log, and no hammering.
//
// SPDX-License-Identifier: MIT

package interop

import (
	"crypto/rand"
	"fmt"
	"math"
	"net/http"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"tailscale.com/tstest/integration/testcontrol"
	"tailscale.com/types/key"

	"microlink.test/interop/harness"
)

// expectSentence waits until status has one sentence that matches, and requires the same words in the log.
func expectSentence(t *testing.T, n *harness.Node, expr string, within time.Duration) {
	t.Helper()
	re := regexp.MustCompile(`(?i)` + expr)
	var sentence string
	harness.Eventually(t, within, fmt.Sprintf("status says /%s/ (log %s)", expr, n.Proc.Log), func() error {
		s, err := n.Status()
		if err != nil {
			return err
		}
		for _, h := range s.Health {
			if re.MatchString(h) {
				sentence = h
				return nil
			}
		}
		return fmt.Errorf("state %q, health %q", s.BackendState, s.Health)
	})
	t.Logf("status: %s", sentence)
	if len(sentence) > 250 || strings.Contains(sentence, "\n") {
		t.Errorf("not one sentence: %q", sentence)
	}
	if out, _ := n.CLI("status"); !strings.Contains(out, sentence) {
		t.Errorf("`status` for people lacks the sentence:\n%s", out)
	}
	lines := n.Proc.LinesMatching(0, `(?i)`+expr)
	if len(lines) < 1 || len(lines) > 8 {
		t.Errorf("%d lines of the log match /%s/:\n%s", len(lines), expr, strings.Join(lines, "\n"))
	}
	if n.Proc.Exited() {
		t.Errorf("the node ended")
	}
}

func TestFailuresAreOneClearSentence(t *testing.T) {
	if harness.SubjectIsOfficial() {
		t.Skip("the sentences are our own")
	}
	lab := harness.New(t, harness.Options{})
	secure := harness.New(t, harness.Options{ControlTLS: true})
	otherCA := harness.NewCA(t, lab.Dir, "other-ca")
	wrongCrt, wrongKey := lab.CA.Issue(t, "wrong", "elsewhere.test")
	html := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintln(w, "<!DOCTYPE html><html><body>Welcome to the printer</body></html>")
	})
	count := 0
	var mu sync.Mutex
	start := func(t *testing.T, l *harness.Lab, options harness.NodeOptions) *harness.Node {
		t.Helper()
		mu.Lock()
		defer mu.Unlock()
		count++
		options.Userspace = true
		return l.Host(fmt.Sprintf("f%d", count)).Microlink(t, options)
	}

	t.Run("a wrong auth key", func(t *testing.T) {
		n := start(t, lab, harness.NodeOptions{AuthKey: "hskey-auth-0123456789ab-0123456789012345678901234567890123456789012345678901234567890123"})
		expectSentence(t, n, `auth.?key`, 20*time.Second)
	})
	t.Run("a used auth key", func(t *testing.T) {
		k := lab.Headscale.AuthKey(t)
		first := start(t, lab, harness.NodeOptions{AuthKey: k})
		first.WaitRunning(t, 20*time.Second)
		n := start(t, lab, harness.NodeOptions{AuthKey: k})
		expectSentence(t, n, `auth.?key.*used|used.*auth.?key`, 20*time.Second)
	})
	t.Run("an expired auth key", func(t *testing.T) {
		k := lab.Headscale.AuthKey(t, "--expiration", "1s")
		time.Sleep(1500 * time.Millisecond)
		n := start(t, lab, harness.NodeOptions{AuthKey: k})
		expectSentence(t, n, `auth.?key.*expired|expired.*auth.?key`, 20*time.Second)
	})
	t.Run("C71 an authority that is not known", func(t *testing.T) {
		n := start(t, secure, harness.NodeOptions{AuthKey: "x", CAFile: otherCA.Path})
		expectSentence(t, n, `certificate.*(trust|authority|CA)|(trust|authority|CA).*certificate`, 20*time.Second)
	})
	t.Run("C71 a certificate for another host name", func(t *testing.T) {
		url := lab.ServeTLS(t, wrongCrt, wrongKey, html)
		n := start(t, lab, harness.NodeOptions{AuthKey: "x", URL: url})
		expectSentence(t, n, `certificate.*(name|host)`, 20*time.Second)
	})
	t.Run("a clock that is wrong by years", func(t *testing.T) {
		n := start(t, secure, harness.NodeOptions{AuthKey: "x", Env: fakeClock(t, "@2045-01-01 00:00:00")})
		expectSentence(t, n, `clock|expired`, 20*time.Second)
	})
	t.Run("a control server that refuses connections", func(t *testing.T) {
		n := start(t, lab, harness.NodeOptions{AuthKey: "x", URL: "http://" + harness.ControlIP + ":9"})
		expectSentence(t, n, `refuse|reach`, 20*time.Second)
	})
	t.Run("a control server that is not there", func(t *testing.T) {
		n := start(t, lab, harness.NodeOptions{AuthKey: "x", URL: "http://10.77.99.99:8080"})
		expectSentence(t, n, `reach|refuse|answer`, 30*time.Second)
	})
	t.Run("a name that does not resolve", func(t *testing.T) {
		n := start(t, lab, harness.NodeOptions{AuthKey: "x", URL: "http://nowhere.test:8080"})
		expectSentence(t, n, `resolve|name`, 30*time.Second)
	})
	t.Run("a web server that is no control server", func(t *testing.T) {
		n := start(t, lab, harness.NodeOptions{AuthKey: "x", URL: lab.ServeHTTP(t, html)})
		expectSentence(t, n, `control server`, 20*time.Second)
	})
	t.Run("a web server that answers 404", func(t *testing.T) {
		n := start(t, lab, harness.NodeOptions{AuthKey: "x", URL: lab.ServeHTTP(t, http.NotFoundHandler())})
		expectSentence(t, n, `404|control server`, 20*time.Second)
	})
	// The server's key is right, what follows the upgrade is noise of the wrong kind, or nothing.
	serverKey := key.NewMachine().Public()
	upgrade := func(after []byte) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/key" {
				fmt.Fprintf(w, `{"legacyPublicKey":"mkey:%064d","publicKey":%q}`, 0, serverKey.String())
				return
			}
			conn, _, err := w.(http.Hijacker).Hijack()
			if err != nil {
				return
			}
			defer conn.Close()
			fmt.Fprint(conn, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: tailscale-control-protocol\r\nConnection: upgrade\r\n\r\n")
			conn.Write(after)
		})
	}
	t.Run("garbage after the upgrade", func(t *testing.T) {
		garbage := make([]byte, 300)
		rand.Read(garbage)
		n := start(t, lab, harness.NodeOptions{AuthKey: "x", URL: lab.ServeHTTP(t, upgrade(garbage))})
		expectSentence(t, n, `control|handshake`, 20*time.Second)
	})
	t.Run("nothing after the upgrade", func(t *testing.T) {
		n := start(t, lab, harness.NodeOptions{AuthKey: "x", URL: lab.ServeHTTP(t, upgrade(nil))})
		expectSentence(t, n, `control|handshake`, 20*time.Second)
	})
}

func TestC24_ABadAuthKeyIsTriedAtMostOnceAMinute(t *testing.T) {
	t.Parallel()
	if harness.SubjectIsOfficial() {
		t.Skip("the official node asks the user instead")
	}
	lab := harness.New(t, harness.Options{})
	tries := make(chan time.Time, 1000)
	_, url := lab.TestControl(t, func(s *testcontrol.Server) {
		s.RequireAuthKey = "tskey-auth-right"
		s.MaybeRateLimitRegister = func() (bool, string, string) {
			tries <- time.Now()
			return false, "", ""
		}
	})
	n := lab.Host("ml").Microlink(t, harness.NodeOptions{AuthKey: "tskey-auth-wrong", URL: url, Userspace: true})
	expectSentence(t, n, `auth.?key`, 20*time.Second)
	time.Sleep(50 * time.Second)
	if len(tries) != 1 {
		t.Errorf("%d attempts to register within a minute, want 1", len(tries))
	}
}

func TestAttemptsBackOffWithJitter(t *testing.T) {
	t.Parallel()
	if harness.SubjectIsOfficial() {
		t.Skip("about our own back-off")
	}
	lab := harness.New(t, harness.Options{})
	counters := []*harness.CountingListener{lab.CountConnections(t), lab.CountConnections(t)}
	for i, c := range counters {
		lab.Host(fmt.Sprintf("ml%d", i)).Microlink(t, harness.NodeOptions{AuthKey: "x", URL: c.URL, Userspace: true})
	}
	time.Sleep(45 * time.Second)
	// control.md 9.3: growing with the square of the number of failures, with a floor, and half to one and a half times that.
	mean := func(x []float64) float64 {
		sum := 0.0
		for _, v := range x {
			sum += v
		}
		return sum / float64(len(x))
	}
	var gaps [2][]float64
	for i, c := range counters {
		times := c.Times()
		for j := 1; j < len(times); j++ {
			gaps[i] = append(gaps[i], times[j].Sub(times[j-1]).Seconds())
		}
		t.Logf("node %d waited %.2f s", i, gaps[i])
		if len(gaps[i]) < 6 || len(gaps[i]) > 30 {
			t.Fatalf("%d attempts in 45 s", len(gaps[i])+1)
		}
		if early, late := mean(gaps[i][:3]), mean(gaps[i][len(gaps[i])-3:]); late < 2*early {
			t.Errorf("the waits do not grow: %.2f", gaps[i])
		}
	}
	same := true
	for j := range min(len(gaps[0]), len(gaps[1])) {
		same = same && math.Abs(gaps[0][j]-gaps[1][j]) < 0.02
	}
	if same {
		t.Errorf("two nodes wait alike: no jitter")
	}
}
