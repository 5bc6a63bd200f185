package instance

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"github.com/tanist-ha/tanist/postgres"
)

func (i *Instance) controlPath() string { return filepath.Join(i.cfg.DataDir, "global", "pg_control") }

// readControl runs pg_controldata.
func (i *Instance) readControl(ctx context.Context) (*postgres.Control, error) {
	cmd := exec.CommandContext(ctx, i.program(progControlData), "-D", i.cfg.DataDir)
	cmd.Env = []string{"LC_ALL=C"}
	cmd.WaitDelay = time.Second
	out, err := cmd.CombinedOutput()
	if err != nil {
		return nil, fmt.Errorf("read pg_control: %w: %s", err, lastOf(out))
	}
	c, err := postgres.ParseControlData(string(out))
	if err != nil {
		return nil, err
	}
	if c.State == postgres.ControlShutDown || c.State == postgres.ControlShutDownInRecovery {
		if end, err := postgres.CheckpointEnd(c.Checkpoint, c.WALSegmentSize, i.walReader(c)); err == nil {
			c.CheckpointEnd = end
		}
	}
	return &c, nil
}

// walReader reads from the files in pg_wal of the checkpoint's timeline.
func (i *Instance) walReader(c postgres.Control) func(postgres.LSN, int) ([]byte, error) {
	return func(l postgres.LSN, n int) ([]byte, error) {
		name, err := postgres.WALFileName(c.Timeline, l, c.WALSegmentSize)
		if err != nil {
			return nil, err
		}
		f, err := os.Open(filepath.Join(i.cfg.DataDir, "pg_wal", name))
		if err != nil {
			return nil, err
		}
		defer f.Close()
		buf := make([]byte, n)
		_, err = f.ReadAt(buf, int64(l)%int64(c.WALSegmentSize))
		return buf, err
	}
}

// controlCache spares the program while pg_control does not change.
type controlCache struct {
	modified time.Time
	inode    uint64
	control  *postgres.Control
}

// settled is the age from which on a file's modification time tells every change: clocks of file systems are coarse.
const settled = 100 * time.Millisecond

// cachedControl is readControl, repeated only when pg_control has changed.
func (i *Instance) cachedControl(ctx context.Context, c *controlCache) (*postgres.Control, error) {
	info, err := os.Stat(i.controlPath())
	if err != nil {
		return nil, err
	}
	inode := uint64(0)
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		inode = st.Ino
	}
	if c.control != nil && c.inode == inode && c.modified.Equal(info.ModTime()) {
		return c.control, nil
	}
	control, err := i.readControl(ctx)
	if err != nil {
		return nil, err
	}
	*c = controlCache{modified: info.ModTime(), inode: inode, control: control}
	if age := time.Since(info.ModTime()); age >= 0 && age < settled {
		c.control = nil // may change again without showing: read it once more next time
	}
	return control, nil
}

// peekState reads the cluster state at its place in pg_control, which no major from 14 to 18 has moved (PostgreSQL
// source, pg_control.h: system identifier, two versions, state). It is for looking often; what is acted upon is then read
// by pg_controldata, which checks the file's checksum.
func peekState(control io.ReaderAt) (postgres.ControlState, error) {
	var raw [20]byte
	if _, err := control.ReadAt(raw[:], 0); err != nil {
		return "", err
	}
	states := []postgres.ControlState{
		postgres.ControlStartingUp, postgres.ControlShutDown, postgres.ControlShutDownInRecovery, postgres.ControlShuttingDown,
		postgres.ControlCrashRecovery, postgres.ControlArchiveRecovery, postgres.ControlInProduction,
	}
	n := binary.NativeEndian.Uint32(raw[16:])
	if int(n) >= len(states) {
		return "", fmt.Errorf("read pg_control: unknown state %d", n)
	}
	return states[n], nil
}

// readHistory reads the history file of a timeline; timeline 1 has none.
func (i *Instance) readHistory(t postgres.Timeline) (postgres.History, error) {
	if t <= 1 {
		return nil, nil
	}
	raw, err := os.ReadFile(filepath.Join(i.cfg.DataDir, "pg_wal", postgres.HistoryFileName(t)))
	if err != nil {
		return nil, err
	}
	return postgres.ParseHistory(string(raw))
}

func lastOf(output []byte) string {
	l := &lastLines{}
	_, _ = l.Write(output) // never fails
	l.flush()
	return l.String()
}
