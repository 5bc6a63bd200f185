//go:build linux

package testcluster

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// TestReaper: the end of the leash ends everything, as it does when the harness dies.
func TestReaper(t *testing.T) {
	bin := t.TempDir()
	if out, err := exec.Command("go", "build", "-buildvcs=false", "-o", bin+"/", "./reaper").CombinedOutput(); err != nil {
		t.Fatalf("build the reaper: %v\n%s", err, out)
	}
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	c := &Cluster{Options: Options{Programs: Programs{Dir: bin}}, Dir: filepath.Join(dir, "cluster")}
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
