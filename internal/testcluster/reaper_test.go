//go:build linux

package testcluster

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// TestReaper: the end of the leash ends everything, as it does when the harness dies.
func TestReaper(t *testing.T) {
	bin := t.TempDir()
	programs := Programs{Dir: bin}
	if err := programs.build(t.Context(), "internal/testcluster/reaper"); err != nil {
		t.Fatal(err)
	}
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	c := &Cluster{Options: Options{Programs: programs}, Dir: filepath.Join(dir, "cluster")}
	if err := os.Mkdir(c.Dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := c.leashReaper(); err != nil {
		t.Fatal(err)
	}
	byEnv, err := start(order{args: []string{"/bin/sleep", "600"}, dir: dir, logFile: os.DevNull, env: []string{c.marker()}})
	if err != nil {
		t.Fatal(err)
	}
	byDir, err := start(order{args: []string{"/bin/sleep", "600"}, dir: c.Dir, logFile: os.DevNull})
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Close(); err != nil {
		t.Error(err)
	}
	for name, p := range map[string]*process{"with the variable": byEnv, "in the folder": byDir} {
		select {
		case <-p.done:
		case <-time.After(20 * time.Second):
			t.Errorf("the process %s lives", name)
			_ = p.cmd.Process.Kill()
		}
	}
	if _, err := os.Stat(c.Dir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the folder is still there: %v", err)
	}
}
