package embedetcd_test

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/tanist-ha/tanist/dcs/embedetcd"
	"github.com/tanist-ha/tanist/dcs/etcd3"
)

// TestHungDisk: a member whose disk does not answer hangs nobody: neither its process, when it starts or stops it, nor the other members.
func TestHungDisk(t *testing.T) {
	if testing.Short() || os.Getuid() != 0 {
		t.Skip("freezes a file system in a loop device, which needs root")
	}
	disk := loopDisk(t)
	configs, err := embedetcd.Local(3, t.TempDir(), nil)
	if err != nil {
		t.Fatal(err)
	}
	configs[2].DataDir = filepath.Join(disk, "m2")
	servers := startAll(t, configs)
	b := open(t, etcd3.Config{Endpoints: append(servers[0].Endpoints(), servers[1].Endpoints()...)})
	put(t, b, "/k", "before")

	thaw := freeze(t, disk)
	put(t, b, "/k", "during")
	fresh := configs[2]
	fresh.DataDir = filepath.Join(disk, "fresh")
	if _, err := embedetcd.Start(within(t, time.Second), fresh); err == nil || !strings.Contains(err.Error(), "does not answer") {
		t.Errorf("a start on a hung disk: %v", err)
	}
	if err := servers[2].Stop(within(t, time.Second)); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a stop on a hung disk: %v", err)
	}
	put(t, b, "/k", "after")
	thaw()
	stop(t, servers[2])
	settled(t, startAll(t, configs[2:])[0], healthy(3))
}

// loopDisk mounts a small file system of its own.
func loopDisk(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	image, at := filepath.Join(dir, "image"), filepath.Join(dir, "disk")
	if err := os.Mkdir(at, 0o700); err != nil {
		t.Fatal(err)
	}
	f, err := os.Create(image)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(f.Truncate(256<<20), f.Close()); err != nil {
		t.Fatal(err)
	}
	run(t, "mkfs.ext4", "-q", image)
	if out, err := exec.Command("mount", "-o", "loop", image, at).CombinedOutput(); err != nil {
		t.Skipf("no loop device can be mounted here: %s", out)
	}
	t.Cleanup(func() { run(t, "umount", at) })
	return at
}

// freeze makes writes to the file system at dir hang until thaw is called; a process of its own thaws it if this one dies before.
func freeze(t *testing.T, dir string) (thaw func()) {
	t.Helper()
	run(t, "fsfreeze", "-f", dir)
	rescue := exec.Command("sh", "-c", "sleep 30; fsfreeze -u "+dir)
	rescue.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := rescue.Start(); err != nil {
		run(t, "fsfreeze", "-u", dir)
		t.Fatal(err)
	}
	done := false
	thaw = func() {
		if done {
			return
		}
		done = true
		run(t, "fsfreeze", "-u", dir)
		_ = syscall.Kill(-rescue.Process.Pid, syscall.SIGKILL)
		_ = rescue.Wait()
	}
	t.Cleanup(thaw)
	return thaw
}

func run(t *testing.T, args ...string) {
	t.Helper()
	if out, err := exec.Command(args[0], args[1:]...).CombinedOutput(); err != nil {
		t.Errorf("%s: %v\n%s", strings.Join(args, " "), err, out)
	}
}
