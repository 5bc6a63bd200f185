//go:build linux

package testcluster

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/tanist-ha/tanist/internal/testcluster/procs"
)

// FreezeHost freezes everything that runs on the host together, as the pause of a virtual machine does. The kernel does it (the freezer of
// cgroup version 2): no process sees a signal, and all find themselves where they were when ThawHost lets them go on. It needs root.
func (n *Node) FreezeHost(ctx context.Context) error {
	if err := n.gather(ctx); err != nil {
		return fmt.Errorf("freeze the host of %s: %w (hint: this needs root, Linux 5.2 and a hierarchy of cgroup v2 that can be written, which most containers have not)", n.Name, err)
	}
	if err := n.control("cgroup.freeze", "1"); err != nil {
		return fmt.Errorf("freeze the host of %s: %w", n.Name, err)
	}
	return poll(ctx, time.Millisecond, n.Name+" to be frozen", func() (bool, string) {
		raw, err := os.ReadFile(filepath.Join(n.cgroup, "cgroup.events"))
		return err == nil && strings.Contains(string(raw), "frozen 1"), fmt.Sprintf("%q %v", raw, err)
	})
}

// ThawHost lets everything go on.
func (n *Node) ThawHost() error { return n.control("cgroup.freeze", "0") }

// gather puts all processes of the host into a cgroup. Those that they start from then on are born in it.
func (n *Node) gather(ctx context.Context) error {
	if n.cgroup == "" {
		own, err := ownCgroup()
		if err != nil {
			return err
		}
		dir, err := os.MkdirTemp(own, "tanist-"+n.Name+"-")
		if err != nil {
			return err
		}
		n.cgroup = dir
	}
	return poll(ctx, time.Millisecond, "all processes to be in "+n.cgroup, func() (bool, string) {
		raw, err := os.ReadFile(filepath.Join(n.cgroup, "cgroup.procs"))
		if err != nil {
			return false, err.Error()
		}
		inside := map[string]bool{}
		for pid := range strings.FieldsSeq(string(raw)) {
			inside[pid] = true
		}
		var outside []string
		for _, p := range procs.Find(n.processes()) {
			if pid := strconv.Itoa(p); !inside[pid] {
				outside = append(outside, pid)
				err = errors.Join(err, n.control("cgroup.procs", pid))
			}
		}
		return len(outside) == 0, fmt.Sprint("outside: ", outside, " ", err)
	})
}

// control writes to a file of the host's cgroup. A process that has ended meanwhile is no error.
func (n *Node) control(file, value string) error {
	err := os.WriteFile(filepath.Join(n.cgroup, file), []byte(value), 0)
	if errors.Is(err, syscall.ESRCH) {
		return nil
	}
	return err
}

// scatter removes the cgroup of a host whose processes have ended.
func (n *Node) scatter() error {
	if n.cgroup == "" {
		return nil
	}
	if err := os.Remove(n.cgroup); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// ownCgroup is the folder of this process in the hierarchy of version 2.
func ownCgroup() (dir string, err error) {
	root, err := cgroupMount()
	if err != nil {
		return "", err
	}
	raw, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return "", err
	}
	for line := range strings.Lines(string(raw)) {
		if path, ok := strings.CutPrefix(line, "0::"); ok {
			return filepath.Join(root, strings.TrimSpace(path)), nil
		}
	}
	return "", errors.New("/proc/self/cgroup names no cgroup of version 2")
}

// cgroupMount is where the hierarchy of version 2 is mounted; the fields are those of proc(5), "mountinfo".
func cgroupMount() (dir string, err error) {
	f, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		return "", err
	}
	defer f.Close()
	for s := bufio.NewScanner(f); s.Scan(); {
		before, after, _ := strings.Cut(s.Text(), " - ")
		if fields := strings.Fields(before); len(fields) > 4 && strings.HasPrefix(after, "cgroup2 ") {
			return fields[4], nil
		}
	}
	return "", errors.New("no hierarchy of cgroup v2 is mounted")
}
