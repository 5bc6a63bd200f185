package guard

import (
	"bytes"
	"fmt"
	"os"
	"strconv"

	"github.com/tanist-ha/tanist/postgres"
)

// startTime is the start time of pid, in clock ticks since boot.
func startTime(pid int) (uint64, error) {
	start, _, err := stat(pid)
	return start, err
}

// stat reads the start time and the state of a process (proc_pid_stat(5)).
func stat(pid int) (start uint64, state byte, err error) {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, 0, err
	}
	fields := bytes.Fields(raw[bytes.LastIndexByte(raw, ')')+1:]) // the name in parentheses may hold anything
	if len(fields) < 20 {
		return 0, 0, fmt.Errorf("read /proc/%d/stat: too short", pid)
	}
	start, err = strconv.ParseUint(string(fields[19]), 10, 64)
	return start, fields[0][0], err
}

// runs says whether p runs; a zombie does not.
func runs(p postgres.Postmaster) bool {
	start, state, err := stat(p.PID)
	return err == nil && start == p.Start && state != 'Z' && state != 'X'
}
