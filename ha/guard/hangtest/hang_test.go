//go:build linux

package hangtest

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/tanist-ha/tanist/ha"
	"github.com/tanist-ha/tanist/ha/bootclock"
	"github.com/tanist-ha/tanist/ha/guard"
	"github.com/tanist-ha/tanist/postgres"
)

const patience = time.Minute

func TestMain(m *testing.M) {
	guard.Main()
	if dir := os.Getenv(diskMark); dir != "" {
		diskMain(dir)
	}
	if target := os.Getenv(refuseMark); target != "" {
		refuseMain(target)
		return
	}
	os.Exit(m.Run())
}

// needRoot skips a test that an ordinary user cannot run.
func needRoot(t *testing.T) {
	t.Helper()
	if os.Getuid() != 0 {
		if os.Getenv("CI") != "" {
			t.Fatal("needs root")
		}
		t.Skip("needs root")
	}
}

// victim starts a process that has to be ended.
func victim(t *testing.T) (p postgres.Postmaster, ended <-chan struct{}) {
	t.Helper()
	cmd := exec.Command("/bin/sh", "-c", "trap '' INT QUIT; exec sleep 1000") // only SIGKILL ends it
	// Where a guard that sweeps what this one leaves finds no other test's.
	cmd.Dir = t.TempDir()
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	p = identify(t, cmd.Process.Pid)
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = cmd.Wait()
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		<-done
	})
	return p, done
}

// identify returns what names a process.
func identify(t *testing.T, pid int) postgres.Postmaster {
	t.Helper()
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		t.Fatal(err)
	}
	p := postgres.Postmaster{PID: pid}
	if _, err := fmt.Sscan(strings.Fields(string(raw))[21], &p.Start); err != nil {
		t.Fatal(err)
	}
	return p
}

// guardOn starts a guard whose program lies on the disk.
func guardOn(t *testing.T, d *mounted) (*guard.Guard, *bootclock.Clock) {
	t.Helper()
	clock, err := bootclock.New()
	if err != nil {
		t.Fatal(err)
	}
	g, err := guard.New(guard.Config{Executable: d.program, Boottime: clock.Boottime})
	if err != nil {
		t.Fatal(err)
	}
	return g, clock
}

// Claim 5.8: the guard fires although the disk under its own program hangs and nothing of it but what is locked is left in memory.
func TestDiskHangsUnderTheGuard(t *testing.T) {
	needRoot(t)
	d := mount(t)
	g, clock := guardOn(t, d)
	defer g.Close()
	if strings.Contains(g.Describe(), "not locked") {
		t.Errorf("%s", g.Describe())
	}
	var guardPID int
	if _, err := fmt.Sscanf(g.Describe(), "guard %d", &guardPID); err != nil {
		t.Fatal(err)
	}
	p, ended := victim(t)
	file, err := os.Open(d.program)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	now := clock.Now()
	o := ha.FenceOrder{Postmaster: &p, Fast: now.Add(time.Second), Quit: now.Add(1200 * time.Millisecond), Kill: now.Add(1500 * time.Millisecond), At: now}
	if err := g.Arm(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	pages := mapped(t, file)
	_, before := pages.resident(t)
	d.hang(t)
	evict(t, guardPID, file)
	all, after := pages.resident(t)
	t.Logf("of %d pages of the program, %d were in memory, and %d are after the eviction", all, before, after)
	if after >= before {
		t.Error("nothing was evicted: this test shows nothing")
	}
	select {
	case <-ended:
		t.Logf("killed %v after T_kill", clock.Now().Sub(o.Kill))
	case <-time.After(patience):
		t.Fatal("the guard did not fire")
	}
}

// TestCloseWhileASpareHangs: an agent ends although the spare guard that it starts waits for the disk, which nothing can cut short.
func TestCloseWhileASpareHangs(t *testing.T) {
	needRoot(t)
	d := mount(t)
	g, clock := guardOn(t, d)
	p, _ := victim(t)
	d.hang(t)
	now := clock.Now()
	end := now.Add(time.Hour)
	if err := g.Arm(t.Context(), ha.FenceOrder{Postmaster: &p, Fast: end, Quit: end, Kill: end, At: now}); err != nil { // begins to start a spare
		t.Fatal(err)
	}
	closed := make(chan error, 1)
	go func() { closed <- g.Close() }()
	select {
	case err := <-closed:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(patience):
		t.Fatal("Close waits for the disk")
	}
}

// evict has the kernel reclaim every page of the guard that is not locked, and the rest of the file from the page cache.
func evict(t *testing.T, pid int, file *os.File) {
	t.Helper()
	pidfd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(pidfd)
	maps, err := os.ReadFile(fmt.Sprintf("/proc/%d/maps", pid))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(maps)) {
		if !strings.Contains(line, file.Name()) {
			continue
		}
		var from, to uintptr
		if _, err := fmt.Sscanf(line, "%x-%x", &from, &to); err != nil {
			t.Fatal(err)
		}
		pageOut(pidfd, from, to) // refused for locked pages, which is the point
	}
	if err := unix.Fadvise(int(file.Fd()), 0, 0, unix.FADV_DONTNEED); err != nil {
		t.Fatal(err)
	}
}
