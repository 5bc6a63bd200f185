package instance

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/tanist-ha/tanist/postgres"
)

// skippedMark is the content of the history file of a number that no server took. PostgreSQL reads it as a timeline
// without ancestors.
const skippedMark = "# This timeline was never used: tanist skipped its number.\n"

func (i *Instance) historyPath(t postgres.Timeline) string {
	return filepath.Join(i.cfg.DataDir, "pg_wal", postgres.HistoryFileName(t))
}

// reserveTimeline sees to it that the next promotion takes the number want. PostgreSQL takes the first number after the
// one that it recovers for which there is no history file (PostgreSQL source, findNewestTimeLine), so each number between
// gets one. They have to stay after the promotion, as standbys ask for all of them.
func (i *Instance) reserveTimeline(now, want postgres.Timeline) error {
	if want <= now {
		return fmt.Errorf("timeline %d cannot follow timeline %d", want, now)
	}
	for t, skipped := range i.historyFiles() {
		if t >= want && !skipped {
			return fmt.Errorf("timeline %d cannot be taken: pg_wal already has a history of timeline %d", want, t)
		}
	}
	if err := i.dropSkipped(); err != nil {
		return err
	}
	for t := now + 1; t < want; t++ {
		if exists(i.historyPath(t)) {
			continue
		}
		if err := writeFile(i.historyPath(t), []byte(skippedMark), i.fileMode()); err != nil {
			return fmt.Errorf("skip timeline %d: %w", t, err)
		}
	}
	return nil
}

// checkReached refuses to promote a server that goes for a timeline which it has not reached: it has fetched the history of a new leader, and
// that leader died before it had sent its log. PostgreSQL (StartupXLOG, writeTimeLineHistory) would take that history for its own, and add
// a switch to it at a point before its last. Without those files, a restart goes for what is here.
func (i *Instance) checkReached(r *run, end postgres.LSN) error {
	if end == 0 || r.astray != nil {
		return r.astray
	}
	for t, skipped := range i.historyFiles() {
		raw, err := os.ReadFile(i.historyPath(t))
		if err != nil {
			return fmt.Errorf("read the history of timeline %d: %w", t, err)
		}
		h, err := postgres.ParseHistory(string(raw))
		if skipped || err != nil || len(h) == 0 || h[len(h)-1].LSN <= end {
			continue // what is no history, PostgreSQL refuses by itself
		}
		r.astray = fmt.Errorf("its log ends at %s, and pg_wal has the history of timeline %d, which begins at %s: it has to be restarted first", end, t, h[len(h)-1].LSN)
		if err := i.remove(filepath.Join("pg_wal", postgres.HistoryFileName(t))); err != nil {
			return fmt.Errorf("remove the history of timeline %d, which was not reached: %w", t, err)
		}
	}
	return r.astray
}

// dropUnreached removes, before a standby starts, the histories of timelines on its way of which pg_wal holds nothing. PostgreSQL would go for
// them, and read each segment of the newest timeline that has it (PostgreSQL source, XLogFileReadAnyTLI): where the one after a switch is missing,
// it replays what is here of the timeline before, also what lies beyond the switch and the new leader never had, and receives the leader's log
// from there on. Without those files it asks its upstream, and says that the timelines "forked off" if they did.
func (i *Instance) dropUnreached(c *postgres.Control) error {
	reached := max(c.Timeline, c.MinRecoveryTimeline)
	target := i.newestAfter(reached)
	history, ok := i.historyOf(target)
	if !ok || target == reached {
		return nil
	}
	entries, err := os.ReadDir(filepath.Join(i.cfg.DataDir, "pg_wal"))
	if err != nil {
		return fmt.Errorf("look for the log after the last switch: %w", err)
	}
	size := postgres.LSN(c.WALSegmentSize)
	for _, sw := range history {
		if sw.Parent < reached {
			continue
		}
		here := slices.ContainsFunc(entries, func(e os.DirEntry) bool {
			t, l, err := postgres.ParseWALFileName(e.Name(), c.WALSegmentSize)
			_, passed := history.SwitchPoint(t)
			return err == nil && t > sw.Parent && (passed || t == target) && l == sw.LSN/size*size
		})
		if here {
			continue
		}
		var errs []error
		for t := sw.Parent + 1; t <= target; t++ { // from the lowest on: killed in between, PostgreSQL does not find the others, see newestAfter
			errs = append(errs, i.remove(filepath.Join("pg_wal", postgres.HistoryFileName(t))))
		}
		i.log.Info("removed histories of timelines whose log is not here", "from", sw.Parent+1, "to", target, "switch", sw.LSN)
		return errors.Join(errs...)
	}
	return nil
}

// confirmTimeline checks after a promotion that it took the number want, and hands the skipped numbers to the archiver:
// a standby that only restores from the archive looks for them one by one, too.
func (i *Instance) confirmTimeline(want postgres.Timeline, archiving bool) error {
	if !exists(i.historyPath(want)) {
		return fmt.Errorf("the promotion did not take timeline %d, as it was told (hint: does the archive of restore_command hold a newer timeline?)", want)
	}
	if !archiving {
		return nil
	}
	var errs []error
	for t, skipped := range i.historyFiles() {
		status := filepath.Join(i.cfg.DataDir, "pg_wal", "archive_status", postgres.HistoryFileName(t))
		if skipped && t < want && !exists(status+".done") {
			errs = append(errs, os.WriteFile(status+".ready", nil, i.fileMode()))
		}
	}
	return errors.Join(errs...)
}

// dropSkipped removes the files of skipped numbers that no real timeline has followed: with them PostgreSQL would take
// the last of them for the newest timeline, and refuse to start a standby that is not on it.
func (i *Instance) dropSkipped() error {
	files := i.historyFiles()
	newest := postgres.Timeline(1)
	for t, skipped := range files {
		if !skipped {
			newest = max(newest, t)
		}
	}
	var errs []error
	for t, skipped := range files {
		if skipped && t > newest {
			errs = append(errs, os.Remove(i.historyPath(t)))
		}
	}
	return errors.Join(errs...)
}

// historyFiles lists the timelines that have a history file in pg_wal, and whether they were skipped.
func (i *Instance) historyFiles() map[postgres.Timeline]bool {
	found := map[postgres.Timeline]bool{}
	entries, err := os.ReadDir(filepath.Join(i.cfg.DataDir, "pg_wal"))
	if err != nil {
		return found
	}
	for _, e := range entries {
		digits, ok := strings.CutSuffix(e.Name(), ".history")
		n, err := strconv.ParseUint(digits, 16, 32)
		if !ok || err != nil || len(digits) != 8 {
			continue
		}
		t := postgres.Timeline(n)
		raw, err := os.ReadFile(i.historyPath(t))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		found[t] = err == nil && string(raw) == skippedMark
	}
	return found
}
