package instance

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// process is what /proc tells of one process (proc(5)).
type process struct {
	pid, parent int
	state       byte   // 'Z' is a zombie, 'D' cannot be interrupted, 'T' is stopped
	start       uint64 // clock ticks since boot
}

// readProcess reads /proc/PID/stat. The second field, the name, may hold spaces and parentheses, so the others are
// counted from the last parenthesis.
func readProcess(pid int) (process, error) {
	raw, err := os.ReadFile(procPath(pid, "stat"))
	if err != nil {
		return process{}, err
	}
	end := bytes.LastIndexByte(raw, ')')
	fields := strings.Fields(string(raw[end+1:]))
	if end < 0 || len(fields) < 20 {
		return process{}, fmt.Errorf("read %s: unknown form", procPath(pid, "stat"))
	}
	parent, err := strconv.Atoi(fields[1])
	if err != nil {
		return process{}, fmt.Errorf("read %s: %w", procPath(pid, "stat"), err)
	}
	start, err := strconv.ParseUint(fields[19], 10, 64)
	if err != nil {
		return process{}, fmt.Errorf("read %s: %w", procPath(pid, "stat"), err)
	}
	return process{pid: pid, parent: parent, state: fields[0][0], start: start}, nil
}

func (p process) zombie() bool { return p.state == 'Z' || p.state == 'X' }

func procPath(pid int, name string) string {
	return filepath.Join("/proc", strconv.Itoa(pid), name)
}

// executable is the file that a process runs. The mark that the file was deleted, as after a package upgrade, is cut off.
// It is "" for processes of other users, kernel threads and zombies.
func executable(pid int) string {
	link, err := os.Readlink(procPath(pid, "exe"))
	if err != nil {
		return ""
	}
	return strings.TrimSuffix(link, " (deleted)")
}

// workingDir is the working directory of a process, "" if it may not be seen.
func workingDir(pid int) string {
	link, err := os.Readlink(procPath(pid, "cwd"))
	if err != nil {
		return ""
	}
	return strings.TrimSuffix(link, " (deleted)")
}

// arguments is the command line of a process. PostgreSQL's children overwrite it by a title.
func arguments(pid int) []string {
	raw, err := os.ReadFile(procPath(pid, "cmdline"))
	if err != nil {
		return nil
	}
	return strings.Split(strings.TrimRight(string(raw), "\x00"), "\x00")
}

// processes lists the process ids that exist now.
func processes() ([]int, error) {
	dir, err := os.Open("/proc")
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	names, err := dir.Readdirnames(-1)
	if err != nil {
		return nil, err
	}
	pids := make([]int, 0, len(names))
	for _, n := range names {
		if pid, err := strconv.Atoi(n); err == nil {
			pids = append(pids, pid)
		}
	}
	return pids, nil
}

// children lists the children of a process. Kernels without the children file are scanned.
func children(pid int) []int {
	raw, err := os.ReadFile(procPath(pid, filepath.Join("task", strconv.Itoa(pid), "children")))
	if err == nil {
		var pids []int
		for _, f := range strings.Fields(string(raw)) {
			if n, err := strconv.Atoi(f); err == nil {
				pids = append(pids, n)
			}
		}
		return pids
	}
	all, err := processes()
	if err != nil {
		return nil
	}
	var pids []int
	for _, n := range all {
		if p, err := readProcess(n); err == nil && p.parent == pid {
			pids = append(pids, n)
		}
	}
	return pids
}
