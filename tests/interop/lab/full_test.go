//go:build lab

// The whole matrix; tests/lab/run.sh runs it. LAB_TRIES says how many tries (3), LAB_WINDOW how many seconds a pair is watched.
//
// SPDX-License-Identifier: MIT

package lab

import (
	"testing"
	"time"

	"microlink.test/interop/harness"
)

func TestMatrix(t *testing.T) {
	m := runMatrix(t, harness.Kinds, envInt("LAB_TRIES", 3), time.Duration(envInt("LAB_WINDOW", 12))*time.Second, nil)
	save(t, "matrix", m)
	// Pings come every 100 ms, and data shows the path: that is how exact the times are.
	m.check(t, pingInterval)
}

// On bad links single times scatter; what must hold is that pairs become direct, and that is compared over all tries.
func TestMatrixOnBadLinks(t *testing.T) {
	link := &harness.Link{Delay: 40 * time.Millisecond, Jitter: 10 * time.Millisecond, Loss: 0.05, Reorder: 0.05, Seed: uint64(envInt("LAB_SEED", 1))}
	kinds := []harness.Kind{harness.KindNone, harness.KindEasy, harness.KindHard, harness.KindCGNAT}
	t.Logf("seed %d", link.Seed)
	m := runMatrix(t, kinds, envInt("LAB_TRIES", 3), time.Duration(envInt("LAB_WINDOW", 12)+8)*time.Second, link)
	save(t, "matrix-bad-links", m)
	m.check(t, 0)
}
