// What leaves the node that should not: protocols it must not offer, and secrets in its log, its status and its answers.
//
// SPDX-License-Identifier: MIT

package interop

import (
	"bytes"
	"crypto/tls"
	"encoding/hex"
	"log"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"tailscale.com/tstest/integration/testcontrol"

	"microlink.test/interop/harness"
)

// TestC9_NoHTTP2IsOfferedOverTLS looks into the ClientHello of every connection to a TLS control server that would take h2.
func TestC9_NoHTTP2IsOfferedOverTLS(t *testing.T) {
	t.Parallel()
	lab := harness.New(t, harness.Options{})
	crt, key := lab.CA.Issue(t, "control-alpn", harness.ControlName)
	pair, err := tls.LoadX509KeyPair(crt, key)
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	var offered [][]string
	l, _ := lab.Listen(t)
	s := &testcontrol.Server{Logf: func(string, ...any) {}, DERPMap: lab.DERPMap(), AllOnline: true, MagicDNSDomain: "lab.test"}
	url := "https://" + harness.ControlName + ":" + l.Addr().String()[strings.LastIndex(l.Addr().String(), ":")+1:]
	s.ExplicitBaseURL = url
	server := &http.Server{Handler: s, ErrorLog: log.New(new(bytes.Buffer), "", 0), TLSConfig: &tls.Config{
		Certificates: []tls.Certificate{pair},
		NextProtos:   []string{"h2", "http/1.1"},
		GetConfigForClient: func(h *tls.ClientHelloInfo) (*tls.Config, error) {
			mu.Lock()
			defer mu.Unlock()
			offered = append(offered, slices.Clone(h.SupportedProtos))
			return nil, nil
		},
	}}
	go server.ServeTLS(l, "", "")
	t.Cleanup(func() { server.Close() })
	n := lab.Host("alpn").Microlink(t, harness.NodeOptions{URL: url, Userspace: true, AuthKey: "any"})
	n.WaitRunning(t, 30*time.Second)
	mu.Lock()
	defer mu.Unlock()
	// One for /key, one for /ts2021 at least: there is no plain port beside this server.
	if len(offered) < 2 {
		t.Errorf("only %d TLS connections were seen", len(offered))
	}
	for _, protos := range offered {
		if slices.Contains(protos, "h2") {
			t.Errorf("offered %v", protos)
		}
	}
}

// TestC73_NoSecretIsLogged runs a node with everything logged and looks for its keys, in every form a key is written in.
func TestC73_NoSecretIsLogged(t *testing.T) {
	t.Parallel()
	if harness.SubjectIsOfficial() {
		t.Skip("the state file is our own")
	}
	lab := harness.New(t, harness.Options{})
	key := lab.Headscale.AuthKey(t, "--reusable")
	n := lab.Host("secret").Microlink(t, harness.NodeOptions{AuthKey: key, Userspace: true, Args: []string{"--verbose", "3"}})
	n.WaitRunning(t, 30*time.Second)
	official := lab.Host("ts").Tailscaled(t, harness.NodeOptions{AuthKey: key})
	meet(t, official, n)
	expectPong(t, official, n, "--tsmp")
	n.MustCLI(t, "status", "--json")
	n.Restart()
	n.WaitRunning(t, 30*time.Second)
	said := n.Proc.Output() + n.MustCLI(t, "status", "--json") + n.MustCLI(t, "status")
	if len(said) < 500 {
		t.Fatalf("the log is too short to tell: %q", said)
	}
	state, err := os.ReadFile(n.State)
	if err != nil {
		t.Fatal(err)
	}
	// Every 32-byte window of the state is looked for: the private keys are among them, whatever the layout.
	lower := strings.ToLower(said)
	for i := 0; i+32 <= len(state); i++ {
		window := state[i : i+32]
		if bytes.Count(window, []byte{0}) > 16 {
			continue // padding, and the zero key
		}
		if strings.Contains(lower, hex.EncodeToString(window)) {
			t.Errorf("32 bytes of the state at offset %d are in the log or the status", i)
		}
	}
	if strings.Contains(said, key) || strings.Contains(said, key[len(key)-32:]) {
		t.Error("the auth key is in the log or the status")
	}
	// The same search must find what is there: the public keys.
	if !strings.Contains(lower, "nodekey:") {
		t.Error("not even public keys are shown; this test looks in the wrong place")
	}
}
