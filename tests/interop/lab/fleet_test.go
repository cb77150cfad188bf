// Many nodes of one tailnet: joined at once, asked by their socket, restarted together.
//
// SPDX-License-Identifier: MIT

package lab

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"microlink.test/interop/harness"
)

// together runs f for each of the nodes, a few at a time, and ends the test if any of them ended it.
func together[T any](t *testing.T, all []T, f func(T)) {
	t.Helper()
	var wg sync.WaitGroup
	slots := make(chan struct{}, 4)
	for _, one := range all {
		wg.Add(1)
		go func() {
			defer wg.Done()
			slots <- struct{}{}
			defer func() { <-slots }()
			f(one)
		}()
	}
	wg.Wait()
	if t.Failed() {
		t.FailNow()
	}
}

// status asks the node by its LocalAPI, which costs nothing beside a process for each question.
func status(n *harness.Node) (*harness.Status, error) {
	client := http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", n.Socket)
		}}}
	answer, err := client.Get("http://local-tailscaled.sock/localapi/v0/status")
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	var s harness.Status
	return &s, json.NewDecoder(answer.Body).Decode(&s)
}

// waitReady waits until every node runs, has a home, and knows that all others have one.
func waitReady(t *testing.T, nodes []*harness.Node) {
	t.Helper()
	together(t, nodes, func(n *harness.Node) {
		harness.Eventually(t, 60*time.Second, n.Name+" knows all others (log: "+n.Proc.Log+")", func() error {
			time.Sleep(200 * time.Millisecond)
			s, err := status(n)
			if err != nil {
				return err
			}
			if s.BackendState != "Running" || s.Self.Relay == "" || len(s.Peer) != len(nodes)-1 {
				return fmt.Errorf("state %q, home %q, %d peers", s.BackendState, s.Self.Relay, len(s.Peer))
			}
			for _, p := range s.Peer {
				if p.Relay == "" {
					return fmt.Errorf("%s has no home", p.HostName)
				}
			}
			return nil
		})
	})
}

// join starts a node on each host; official tells which of them are official. The port of all is the one the sites expect.
func join(t *testing.T, lab *harness.Lab, hosts []*harness.Host, official func(name string) bool) map[string]*harness.Node {
	t.Helper()
	key := lab.Headscale.AuthKey(t, "--reusable")
	var mu sync.Mutex
	nodes := map[string]*harness.Node{}
	together(t, hosts, func(h *harness.Host) {
		var n *harness.Node
		if official(h.Name) {
			n = h.Tailscaled(t, harness.NodeOptions{AuthKey: key})
		} else {
			n = h.Microlink(t, harness.NodeOptions{AuthKey: key, Args: ourArgs()})
		}
		mu.Lock()
		defer mu.Unlock()
		nodes[h.Name] = n
	})
	return nodes
}

func ourArgs() []string {
	if harness.SubjectIsOfficial() {
		return nil // The harness gives official nodes this port.
	}
	return []string{"--port", strconv.Itoa(harness.NodePort), "--max-peers", "64"}
}

// restart ends all nodes, makes the routers forget them, and starts them again: no node knows a path, no router a mapping.
func restart(t *testing.T, sites *harness.Sites, nodes []*harness.Node) {
	t.Helper()
	for _, n := range nodes {
		n.Proc.Kill()
	}
	sites.FlushMappings(t)
	together(t, nodes, func(n *harness.Node) { n.Restart() })
}

func envInt(name string, otherwise int) int {
	if n, err := strconv.Atoi(os.Getenv(name)); err == nil {
		return n
	}
	return otherwise
}

// save writes what a test measured for tests/lab/report.py.
func save(t *testing.T, name string, value any) {
	t.Helper()
	dir := os.Getenv("LAB_OUT")
	if dir == "" {
		return
	}
	text, err := json.MarshalIndent(value, "", " ")
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, name+".json"), append(text, '\n'), 0o644)
	}
	if err != nil {
		t.Error(err)
	}
}

func median(all []int) int {
	if len(all) == 0 {
		return -1
	}
	sorted := slices.Sorted(slices.Values(all))
	return (sorted[(len(sorted)-1)/2] + sorted[len(sorted)/2]) / 2
}
