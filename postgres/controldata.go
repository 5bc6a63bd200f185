package postgres

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// WALPageSize is the size of a page of the log in bytes: PostgreSQL's default, which packages never change.
const WALPageSize = 8192

// ParseControlData reads what pg_controldata prints under LC_ALL=C, of majors 14 to 18. Give it standard output and
// standard error together: a control file with a wrong checksum is printed all the same, under a warning, and is an
// error here. Fields that it does not know are passed over; of those it needs, all that are missing or malformed are
// reported at once.
func ParseControlData(output string) (Control, error) {
	p := controlParser{fields: map[string]string{}}
	for line := range strings.Lines(output) {
		if strings.Contains(strings.ToLower(line), "warning: ") {
			return Control{}, fmt.Errorf("parse pg_controldata: %s (hint: pg_control is damaged, or the program is of another major version)", strings.TrimSpace(line))
		}
		// No name holds a colon. In some lines no space follows it.
		if name, value, ok := strings.Cut(line, ":"); ok {
			p.fields[strings.TrimSpace(name)] = strings.TrimSpace(value)
		}
	}
	c := Control{
		SystemID:            p.systemID("Database system identifier"),
		State:               p.state("Database cluster state"),
		Timeline:            Timeline(p.uint("Latest checkpoint's TimeLineID", 32)),
		Checkpoint:          p.lsn("Latest checkpoint location"),
		MinRecoveryEnd:      p.lsn("Minimum recovery ending location"),
		MinRecoveryTimeline: Timeline(p.uint("Min recovery ending loc's timeline", 32)),
		BackupStart:         p.lsn("Backup start location"),
		BackupEnd:           p.lsn("Backup end location"),
		BackupEndRequired:   p.yesNo("End-of-backup record required"),
		Checksums:           p.uint("Data page checksum version", 32) != 0,
		WALLogHints:         p.onOff("wal_log_hints setting"),
		MaxConnections:      int(p.uint("max_connections setting", 31)),
		MaxWorkerProcesses:  int(p.uint("max_worker_processes setting", 31)),
		MaxWALSenders:       int(p.uint("max_wal_senders setting", 31)),
		MaxPreparedXacts:    int(p.uint("max_prepared_xacts setting", 31)),
		MaxLocksPerXact:     int(p.uint("max_locks_per_xact setting", 31)),
		CatalogVersion:      uint32(p.uint("Catalog version number", 32)),
		WALSegmentSize:      int(p.uint("Bytes per WAL segment", 31)),
	}
	if size := p.uint("WAL block size", 31); p.err == nil && size != WALPageSize {
		p.fail("WAL block size", fmt.Errorf("%d is not supported, only %d", size, WALPageSize))
	}
	if p.err == nil && !validSegmentSize(c.WALSegmentSize) {
		p.fail("Bytes per WAL segment", fmt.Errorf("%d is not a power of two from 1 MB to 1 GB", c.WALSegmentSize))
	}
	if p.err != nil {
		return Control{}, fmt.Errorf("parse pg_controldata: %w", p.err)
	}
	return c, nil
}

// controlParser reads fields and collects what is wrong with them.
type controlParser struct {
	fields map[string]string
	err    error
}

func (p *controlParser) fail(field string, err error) {
	p.err = errors.Join(p.err, fmt.Errorf("%q: %w", field, err))
}

func (p *controlParser) text(field string) (string, bool) {
	v, ok := p.fields[field]
	if !ok {
		p.fail(field, errors.New("no such line (hint: run pg_controldata with LC_ALL=C)"))
	}
	return v, ok
}

func (p *controlParser) uint(field string, bits int) uint64 {
	v, ok := p.text(field)
	if !ok {
		return 0
	}
	n, err := strconv.ParseUint(v, 10, bits)
	if err != nil {
		p.fail(field, err)
	}
	return n
}

func (p *controlParser) lsn(field string) LSN {
	v, ok := p.text(field)
	if !ok {
		return 0
	}
	l, err := ParseLSN(v)
	if err != nil {
		p.fail(field, err)
	}
	return l
}

func (p *controlParser) onOff(field string) bool {
	v, ok := p.text(field)
	if ok && v != "on" && v != "off" {
		p.fail(field, fmt.Errorf("%q is neither on nor off", v))
	}
	return v == "on"
}

func (p *controlParser) yesNo(field string) bool {
	v, ok := p.text(field)
	if ok && v != "yes" && v != "no" {
		p.fail(field, fmt.Errorf("%q is neither yes nor no", v))
	}
	return v == "yes"
}

func (p *controlParser) systemID(field string) string {
	p.uint(field, 64)
	return p.fields[field]
}

func (p *controlParser) state(field string) ControlState {
	v, ok := p.text(field)
	switch s := ControlState(v); s {
	case ControlStartingUp, ControlShutDown, ControlShutDownInRecovery, ControlShuttingDown,
		ControlCrashRecovery, ControlArchiveRecovery, ControlInProduction:
		return s
	}
	if ok {
		p.fail(field, fmt.Errorf("unknown state %q", v))
	}
	return ""
}
