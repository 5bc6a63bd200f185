//go:build linux

package procs

import (
	"context"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

func TestFindAndKill(t *testing.T) {
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	marker := "PROCS_TEST=" + dir
	byDir, byEnv := exec.Command("sleep", "600"), exec.Command("sleep", "600")
	byDir.Dir = dir
	byEnv.Env = []string{marker}
	for _, c := range []*exec.Cmd{byDir, byEnv} {
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		defer func() { _ = c.Process.Kill(); _ = c.Wait() }()
	}
	// Until the child has called exec, it still has our directory and environment.
	await(t, "found by directory", func() bool { return equal(Find(InDir(dir)), byDir.Process.Pid) })
	await(t, "found by environment", func() bool { return equal(Find(WithEnv(marker)), byEnv.Process.Pid) })

	both := Any(InDir(dir), WithEnv(marker))
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if err := Kill(ctx, both); err != nil { // zombies, as nobody has waited for them: they must not count
		t.Fatal(err)
	}
	if left := Find(both); len(left) != 0 {
		t.Errorf("left: %v", left)
	}
}

func equal(pids []int, want int) bool { return len(pids) == 1 && pids[0] == want }

func await(t *testing.T, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(20 * time.Second)
	for !ok() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("not %s", what)
		}
	}
}

// TestAwaitStop: when it returns, the process stands still.
func TestAwaitStop(t *testing.T) {
	c := exec.Command("sh", "-c", "while :; do :; done")
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Process.Kill(); _ = c.Wait() }()
	if err := c.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	if err := AwaitStop(c.Process.Pid); err != nil {
		t.Fatal(err)
	}
	if s, err := Stat(c.Process.Pid); err != nil || s.State != 'T' {
		t.Errorf("it is in state %c, %v", s.State, err)
	}
}
