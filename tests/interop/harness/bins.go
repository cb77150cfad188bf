// The official programs, built from the tool lines of go.mod into .cache/interop/bin, once for each version of go.mod.
//
// SPDX-License-Identifier: MIT

package harness

import (
	"crypto/sha256"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sync"
	"testing"
)

var tools = []string{
	"github.com/juanfont/headscale/cmd/headscale",
	"tailscale.com/cmd/derper",
	"tailscale.com/cmd/tailscale",
	"tailscale.com/cmd/tailscaled",
}

// Root is the top folder of the checkout.
func Root() string {
	_, file, _, _ := runtime.Caller(0)
	return filepath.Clean(filepath.Join(filepath.Dir(file), "..", "..", ".."))
}

func cacheDir() string { return filepath.Join(Root(), ".cache", "interop") }

var buildTools = sync.OnceValues(func() (string, error) {
	module := filepath.Join(Root(), "tests", "interop")
	mod, err := os.ReadFile(filepath.Join(module, "go.mod"))
	if err != nil {
		return "", err
	}
	want := fmt.Sprintf("%x %s", sha256.Sum256(mod), runtime.Version())
	bin := filepath.Join(cacheDir(), "bin")
	stamp := filepath.Join(bin, "built-from")
	if have, err := os.ReadFile(stamp); err == nil && string(have) == want {
		return bin, nil
	}
	if err := os.MkdirAll(bin, 0o755); err != nil {
		return "", err
	}
	cmd := exec.Command("go", append([]string{"build", "-o", bin + "/"}, tools...)...)
	cmd.Dir = module
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("building the official programs: %w\n%s", err, out)
	}
	return bin, os.WriteFile(stamp, []byte(want), 0o644)
})

// Official returns the path of an official program: "headscale", "derper", "tailscale" or "tailscaled".
func Official(tb testing.TB, name string) string {
	tb.Helper()
	bin, err := buildTools()
	if err != nil {
		tb.Fatal(err)
	}
	return filepath.Join(bin, name)
}

// Binary returns the path of one of our own programs below the build folder, which ML_BUILD names (default "build" in the
// checkout), and fails the test when it is not there. The microlink program itself may be named by ML_BIN.
func Binary(tb testing.TB, path string) string {
	tb.Helper()
	build := os.Getenv("ML_BUILD")
	if build == "" {
		build = filepath.Join(Root(), "build")
	}
	full := filepath.Join(build, path)
	if env := os.Getenv("ML_BIN"); env != "" && path == "ports/posix/microlink" {
		full = env
	}
	if !filepath.IsAbs(full) {
		full = filepath.Join(Root(), full)
	}
	if _, err := os.Stat(full); err != nil {
		tb.Fatalf("build first: %v", err)
	}
	return full
}
