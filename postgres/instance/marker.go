package instance

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/tanist-ha/tanist/postgres"
)

// marker tells, beside the data directory, what was being done to it. It is on disk before the first change and goes
// after the first successful start, or with the last file. pg_rewind deletes files that its source lacks, so it cannot be inside.
type marker struct {
	Work postgres.TaskKind `json:"work"` // bootstrap, clone, rewind or wipe
	// Whole says that the work was finished: the directory may be started, as a standby.
	Whole bool `json:"whole"`
}

func (i *Instance) markerPath() string { return i.cfg.beside(".unfinished") }

// readMarker returns nil if nothing is unfinished. A marker that cannot be read counts as unfinished work.
func (i *Instance) readMarker() *marker {
	raw, err := os.ReadFile(i.markerPath())
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	m := &marker{Work: postgres.TaskClone} // whatever it was, the directory has to be made anew
	if err == nil {
		if json.Unmarshal(raw, m) != nil {
			m.Whole = false
		}
	}
	return m
}

func (i *Instance) writeMarker(m marker) error {
	raw, err := json.Marshal(m)
	if err != nil {
		return err
	}
	if err := writeFile(i.markerPath(), append(raw, '\n'), 0o600); err != nil {
		return fmt.Errorf("write the marker of unfinished work: %w (hint: the agent must be able to write to %s)", err, i.cfg.StateDir)
	}
	return nil
}

func (i *Instance) removeMarker() error {
	err := os.Remove(i.markerPath())
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("remove the marker of unfinished work: %w", err)
	}
	return syncFolder(i.cfg.StateDir)
}
