package instance

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/tanist-ha/tanist/postgres"
)

// A standby that does not find what it needs to become consistent asks its upstream for it, and lets nobody in meanwhile; if its upstream
// does not have it, for ever (PostgreSQL source, WaitForWALToBecomeAvailable). What can be known before is found out before. An archive may
// have what is missing here: with a restore_command PostgreSQL decides.

// restores says whether a standby looks into an archive as well.
func (i *Instance) restores() bool {
	s, _ := i.currentSettings()
	return i.recoverySection(s, stream{})["restore_command"] != ""
}

// mayRestore is restores, and asks PostgreSQL as well: a file that postgresql.conf includes may name the archive.
func (i *Instance) mayRestore(ctx context.Context) bool {
	if i.restores() {
		return true
	}
	value := ""
	c := command{
		path: i.program(progPostgres), args: append(i.serverArguments(postgres.Settings{}, nil, false), "-C", "restore_command"),
		env: i.toolEnvironment(), dir: i.cfg.StateDir, line: func(line string) { value = line },
	}
	return c.run(ctx) != nil || value != "" // what cannot be found out is left to PostgreSQL
}

// checkWay refuses to start a standby whose recovery would go for a timeline that its own checkpoint is not on the way to: pg_wal has the
// history of a branch that left this one behind. PostgreSQL says so and ends only if it finds the checkpoint, which it looks for in the files
// of the timelines on the way.
func (i *Instance) checkWay(ctx context.Context, c *postgres.Control) error {
	begin := postgres.Position{Timeline: c.Timeline, LSN: c.Checkpoint}
	if l, err := i.readBackupLabel(); err != nil {
		return err
	} else if l != nil {
		begin = postgres.Position{Timeline: l.timeline, LSN: l.checkpoint}
	}
	target := i.newestAfter(max(c.Timeline, c.MinRecoveryTimeline))
	history, ok := i.historyOf(target)
	if ok && timelineAt(target, history, begin.LSN) != begin.Timeline && !i.mayRestore(ctx) {
		return fmt.Errorf("requested timeline %d is not a child of this server's history: its checkpoint at %s is on timeline %d (hint: pg_wal holds the history file of a timeline that was left; this member has to be cloned anew)",
			target, begin.LSN, begin.Timeline)
	}
	return nil
}

// checkRewound refuses what pg_rewind made if the log from where it has to be replayed is not there: the source does not keep it any more, and
// what was here of it lies on the branch that was left.
func (i *Instance) checkRewound(ctx context.Context, c *postgres.Control) error {
	l, err := i.readBackupLabel()
	if l == nil || err != nil {
		return err
	}
	target := i.newestAfter(max(c.Timeline, c.MinRecoveryTimeline))
	history, ok := i.historyOf(target)
	if !ok {
		return nil
	}
	have, last, err := i.segmentsOn(target, history, c.WALSegmentSize)
	if err != nil {
		return err
	}
	size := postgres.LSN(c.WALSegmentSize)
	for s := l.start / size * size; s <= max(last, l.start); s += size {
		if have[s] {
			continue
		}
		if i.mayRestore(ctx) {
			return nil
		}
		return fmt.Errorf("its log has to be replayed from %s on, and the part at %s is neither here nor on the source any more", l.start, s)
	}
	return nil
}

var errNeverConsistent = errors.New("this copy was never consistent: only a start as a standby can bring it to its end")

// checkConsistent refuses crash recovery of a copy that was never consistent, and with it a rewind: alone, PostgreSQL replays what is there of
// its log and lets writes in, although pages may be from after that (PostgreSQL source: FinishWalRecovery complains only in archive recovery, or
// where the end of a backup has to be in the log).
// Such a copy may have been shut down in order while it still replayed.
func (i *Instance) checkConsistent(c *postgres.Control) error {
	never, err := i.neverConsistent(c)
	if never {
		return errNeverConsistent
	}
	return err
}

// neverConsistent says whether the data are a copy whose recovery has not reached the end of its backup, or what pg_rewind has noted as that.
// A primary that crashed during an exclusive backup (up to 14) has such a label, too, and is whole: its log is here.
func (i *Instance) neverConsistent(c *postgres.Control) (bool, error) {
	if c.BackupStart != 0 && (c.BackupEnd != 0 || c.BackupEndRequired) {
		return true, nil
	}
	l, err := i.readBackupLabel()
	return l != nil && l.method != "pg_start_backup", err
}

// segmentsOn lists the segments of the log that are here on the way to a timeline, and the last of them.
func (i *Instance) segmentsOn(target postgres.Timeline, h postgres.History, size int) (have map[postgres.LSN]bool, last postgres.LSN, err error) {
	entries, err := os.ReadDir(filepath.Join(i.cfg.DataDir, "pg_wal"))
	if err != nil {
		return nil, 0, err
	}
	begin := map[postgres.Timeline]postgres.LSN{}
	from := postgres.LSN(0)
	for _, s := range h {
		begin[s.Parent], from = from, s.LSN
	}
	begin[target] = from
	have = map[postgres.LSN]bool{}
	for _, e := range entries {
		t, l, err := postgres.ParseWALFileName(e.Name(), size)
		if b, passed := begin[t]; err == nil && passed && l+postgres.LSN(size) > b {
			have[l], last = true, max(last, l)
		}
	}
	return have, last, nil
}

// newestAfter is the last number after t of which, without a gap, pg_wal has a history file (PostgreSQL source, findNewestTimeLine).
func (i *Instance) newestAfter(t postgres.Timeline) postgres.Timeline {
	for exists(i.historyPath(t + 1)) {
		t++
	}
	return t
}

// historyOf reads the history of a timeline; false: it cannot be read, or has yet to be fetched.
func (i *Instance) historyOf(t postgres.Timeline) (postgres.History, bool) {
	if t == 1 {
		return nil, true
	}
	raw, err := os.ReadFile(i.historyPath(t))
	h, parsed := postgres.ParseHistory(string(raw))
	return h, err == nil && parsed == nil
}

// timelineAt is the timeline, on the way to the target, that a position belongs to.
func timelineAt(target postgres.Timeline, h postgres.History, l postgres.LSN) postgres.Timeline {
	for _, s := range h {
		if l < s.LSN {
			return s.Parent
		}
	}
	return target
}

// backupLabel is what a standby made from a backup, or by pg_rewind, begins with (PostgreSQL source, read_backup_label).
type backupLabel struct {
	start, checkpoint postgres.LSN
	timeline          postgres.Timeline
	method            string // streamed, pg_rewind or pg_start_backup
}

// readBackupLabel returns nil if there is none.
func (i *Instance) readBackupLabel() (*backupLabel, error) {
	f, err := os.Open(filepath.Join(i.cfg.DataDir, "backup_label"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	l := &backupLabel{}
	for lines := bufio.NewScanner(f); lines.Scan(); {
		name, value, _ := strings.Cut(lines.Text(), ": ")
		at, rest, _ := strings.Cut(value, " ")
		switch name {
		case "START WAL LOCATION": // 0/2000028 (file 000000010000000000000002)
			if l.start, err = postgres.ParseLSN(at); err == nil {
				_, err = fmt.Sscanf(rest, "(file %08X", &l.timeline)
			}
		case "CHECKPOINT LOCATION":
			l.checkpoint, err = postgres.ParseLSN(at)
		case "BACKUP METHOD":
			l.method = at
		}
		if err != nil {
			return nil, fmt.Errorf("read backup_label: %q: %w", lines.Text(), err)
		}
	}
	if l.timeline == 0 || l.checkpoint == 0 {
		return nil, errors.New("read backup_label: it is not whole")
	}
	return l, nil
}
