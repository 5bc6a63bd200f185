//go:build linux

// Command reaper cleans up after a test cluster when its standard input ends: because the harness closed it, or because
// the harness is gone (panic, timeout, SIGKILL, Ctrl-C). It is the only thing that cleans up, so that the way that is taken
// after a crash is the way that every test takes.
//
//	reaper -env TESTCLUSTER=ID -dir DIR [-keep]
//
// It kills every process that was started with the variable or runs a program below DIR, stops the PostgreSQL servers that work below DIR (immediate
// mode, so that they remove their shared memory), kills what is left, and removes DIR.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/tanist-ha/tanist/internal/testcluster/procs"
)

func main() {
	env := flag.String("env", "", "NAME=VALUE: processes with this variable are ended")
	dir := flag.String("dir", "", "folder of the cluster: servers below it are ended, then it is removed")
	keep := flag.Bool("keep", false, "leave the folder")
	flag.Parse()
	if *env == "" || !filepath.IsAbs(*dir) {
		fmt.Fprintln(os.Stderr, "reaper: -env and an absolute -dir are needed")
		os.Exit(2)
	}
	// A terminal sends Ctrl-C to everyone; the reaper's time comes when its input ends.
	signal.Ignore(syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGPIPE)
	_, _ = io.Copy(io.Discard, os.Stdin)
	if err := reap(*env, *dir, *keep); err != nil {
		fmt.Fprintln(os.Stderr, "reaper:", err)
		os.Exit(1)
	}
}

func reap(env, dir string, keep bool) error {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	ours, servers := procs.Any(procs.WithEnv(env), procs.Runs(dir)), procs.InDir(dir)
	if err := procs.Kill(ctx, ours); err != nil {
		return err
	}
	stopServers(ctx, servers)
	if err := procs.Kill(ctx, procs.Any(ours, servers)); err != nil {
		return err
	}
	removeSharedMemory(dir)
	unmount(dir)
	if keep {
		return nil
	}
	return os.RemoveAll(dir)
}

// stopServers tells every process below the folder to quit: PostgreSQL's SIGQUIT is an immediate shutdown. A process that
// was frozen hears it first when it goes on.
func stopServers(ctx context.Context, servers procs.Match) {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	pids := procs.Find(servers)
	procs.Signal(pids, servers, syscall.SIGQUIT)
	procs.Signal(pids, servers, syscall.SIGCONT)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for len(procs.Find(servers)) > 0 {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// unmount takes away the file systems that a test has mounted below the folder.
func unmount(dir string) {
	raw, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		return
	}
	for line := range strings.Lines(string(raw)) {
		if f := strings.Fields(line); len(f) > 1 && strings.HasPrefix(f[1], dir+"/") {
			_ = unix.Unmount(f[1], unix.MNT_DETACH)
		}
	}
}

// removeSharedMemory removes the segments of servers that were killed before they could do so.
func removeSharedMemory(dir string) {
	_ = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return nil // it may be gone: then there is nothing to read there
		}
		if d.Name() == "postmaster.pid" {
			if id, ok := procs.SharedMemory(filepath.Dir(path)); ok {
				_, _ = unix.SysvShmCtl(id, unix.IPC_RMID, nil)
			}
		}
		return nil
	})
}
