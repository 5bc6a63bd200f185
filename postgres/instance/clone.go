package instance

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/tanist-ha/tanist/postgres"
)

// percentDone finds the progress in a line of pg_basebackup or pg_rewind: "12345/67890 kB (18%), 0/1 tablespace".
var percentDone = regexp.MustCompile(`\((\d+)%\)`)

// clone carries out TaskClone: one attempt. Whatever interrupts it, the marker keeps a half copy from being started; a
// failure empties the directory again, so that its space is free for another attempt.
func (i *Instance) clone(ctx context.Context, t postgres.Task, phase func(postgres.Phase)) error {
	if t.Upstream == nil {
		return errors.New("no upstream is named")
	}
	if r := i.postmaster(); r != nil {
		return fmt.Errorf("a server runs on the data directory, as process %d", r.id.PID)
	}
	if c, problem := i.condition(); c == postgres.DataDirForeign || c == postgres.DataDirUnreadable {
		return fmt.Errorf("the data directory is %s and is not overwritten: %s", c, problem)
	}
	if err := i.sweep(ctx, nil); err != nil {
		return err
	}
	if err := i.writePassFile(t.Upstream.Host, t.Upstream.Port); err != nil {
		return err
	}
	if err := i.writeMarker(marker{Work: postgres.TaskClone}); err != nil {
		return err
	}
	if err := i.emptyDataDir(); err != nil {
		return err
	}
	if err := i.baseBackup(ctx, t.Upstream, phase); err != nil {
		if wipeErr := i.emptyDataDir(); wipeErr != nil {
			return errors.Join(err, wipeErr)
		}
		return errors.Join(err, i.removeMarker())
	}
	return i.finishClone(ctx)
}

func (i *Instance) baseBackup(ctx context.Context, u *postgres.Upstream, phase func(postgres.Phase)) error {
	s, _ := i.currentSettings()
	args := []string{
		"--pgdata=" + i.cfg.DataDir, "--wal-method=stream", "--progress", "--no-sync",
		"--dbname=" + i.toolConninfo(i.cfg.Replication, u, "").Format(),
	}
	hasCheckpoint := slices.ContainsFunc(s.BaseBackup, func(o string) bool { return strings.HasPrefix(o, "--checkpoint") })
	if !hasCheckpoint {
		args = append(args, "--checkpoint=fast") // a new member is not made to wait for minutes
	}
	last := ""
	c := command{
		path: i.program(progBaseBackup), args: append(args, s.BaseBackup...), env: i.toolEnvironment(),
		line: func(line string) {
			if m := percentDone.FindStringSubmatch(line); m != nil && m[1] != last {
				last = m[1]
				phase(postgres.Phase{Name: postgres.PhaseProgress, Text: "base backup " + last + "%"})
			}
		},
	}
	if err := c.run(ctx); err != nil {
		return fmt.Errorf("copy from %s (%s): %w", u.Name, hostPort(u.Host, u.Port), err)
	}
	return nil
}

// finishClone checks the copy, flushes it to disk, and allows it to be started as a standby.
func (i *Instance) finishClone(ctx context.Context) error {
	if _, err := i.readControl(ctx); err != nil {
		return err
	}
	if err := i.remove("recovery.signal", "postmaster.pid", "postmaster.opts"); err != nil {
		return err
	}
	if err := i.touch("standby.signal"); err != nil {
		return err
	}
	if err := i.ensureAccessFiles(); err != nil {
		return err
	}
	if err := i.syncAll(); err != nil {
		return err
	}
	return i.writeMarker(marker{Work: postgres.TaskClone, Whole: true})
}
