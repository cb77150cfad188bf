//go:build lab

// The whole matrix; tests/lab/run.sh runs it. LAB_TRIES says how many tries (3), LAB_WINDOW how many seconds a pair is watched
// (10; on bad links 8 more).
//
// SPDX-License-Identifier: MIT

package lab

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"microlink.test/interop/harness"
)

func TestMatrix(t *testing.T) {
	m := runMatrix(t, harness.Kinds, envInt("LAB_TRIES", 3), time.Duration(envInt("LAB_WINDOW", 10))*time.Second, nil)
	save(t, "matrix", m)
	// Data shows the path, and comes every 100 ms: each of the two directions can be seen that much late.
	m.check(t, 2*pingInterval)
}

// On bad links the times of one pair scatter, so what is compared is all pairs of one combination together: how many tries
// became direct and stayed so, and the median time of those.
func TestMatrixOnBadLinks(t *testing.T) {
	link := &harness.Link{Delay: 40 * time.Millisecond, Jitter: 10 * time.Millisecond, Loss: 0.05, Reorder: 0.05,
		Seed: uint64(envInt("LAB_SEED", 1))}
	kinds := []harness.Kind{harness.KindNone, harness.KindEasy, harness.KindHard, harness.KindCGNAT}
	t.Logf("seed %d", link.Seed)
	m := runMatrix(t, kinds, envInt("LAB_TRIES", 3), time.Duration(envInt("LAB_WINDOW", 10)+8)*time.Second, link)
	save(t, "matrix-bad-links", m)
	times := map[string][]int{}
	for _, p := range m.Pairs {
		times[p.By] = append(times[p.By], p.Direct...)
		if len(p.First) < p.Tries {
			t.Errorf("%s to %s (%s): no answer at all in %d of %d tries", p.From, p.To, p.By, p.Tries-len(p.First), p.Tries)
		}
	}
	official := times["oo"]
	for _, by := range combinations {
		fmt.Printf("bad links, %s: %d tries became direct, median %d ms, worst %d ms\n", by, len(times[by]), median(times[by]),
			slices.Max(append(times[by], 0)))
		if len(times[by])*100 < len(official)*95 {
			t.Errorf("%s: %d tries became direct, official-official %d", by, len(times[by]), len(official))
		}
		if median(times[by]) > median(official)+500 {
			t.Errorf("%s: direct after %d ms, official-official after %d ms", by, median(times[by]), median(official))
		}
	}
}
