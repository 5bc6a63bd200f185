package instance

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// pidFile is postmaster.pid (PostgreSQL source, pidfile.h): one fact a line.
type pidFile struct {
	pid        int
	standalone bool   // a server in single-user mode: its pid is written negative
	dataDir    string // line 2
	port       int    // line 4
	socketDir  string // line 5: the first, "" for none
	listen     string // line 6: the first address, "" for none
	shmKey     int32  // line 7
	shmID      int    // line 7; -1: unknown
	status     string // line 8: "starting", "stopping", "ready", "standby"
}

// Statuses of postmaster.pid.
const (
	statusStarting = "starting"
	statusStopping = "stopping"
	statusReady    = "ready"
	statusStandby  = "standby" // up, but hot_standby is off
)

func (i *Instance) pidFilePath() string { return filepath.Join(i.cfg.DataDir, "postmaster.pid") }

// readPidFile returns nil without an error if there is no such file. The server writes it line by line, so later lines
// may be missing yet.
func (i *Instance) readPidFile() (*pidFile, error) {
	raw, err := os.ReadFile(i.pidFilePath())
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unixENOTDIR) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return parsePidFile(string(raw))
}

func parsePidFile(text string) (*pidFile, error) {
	lines := strings.Split(text, "\n")
	line := func(n int) string {
		if n <= len(lines) {
			return strings.TrimSpace(lines[n-1])
		}
		return ""
	}
	pid, err := strconv.Atoi(line(1))
	if err != nil || pid == 0 {
		return nil, fmt.Errorf("read postmaster.pid: first line %q is not a process id", line(1))
	}
	f := &pidFile{pid: pid, dataDir: line(2), socketDir: line(5), listen: line(6), shmID: -1, status: line(8)}
	if pid < 0 {
		f.pid, f.standalone = -pid, true
	}
	f.port, _ = strconv.Atoi(line(4)) // 0: not written yet
	if shm := strings.Fields(line(7)); len(shm) == 2 {
		key, err1 := strconv.ParseUint(shm[0], 10, 64) // printed as unsigned long, though a key has 32 bits and a sign
		id, err2 := strconv.Atoi(shm[1])
		if err1 == nil && err2 == nil {
			f.shmKey, f.shmID = int32(key), id
		}
	}
	return f, nil
}
