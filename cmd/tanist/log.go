package main

import (
	"io"
	"io/fs"
	"log/slog"

	"github.com/tanist-ha/tanist/config"
	"github.com/tanist-ha/tanist/internal/logging"
)

// newLogger makes the logger of the section log. file is nil if lines go to stderr.
func newLogger(cfg config.Log, stderr io.Writer) (log *slog.Logger, level *slog.LevelVar, file io.Closer, err error) {
	level = new(slog.LevelVar)
	level.Set(logging.Level(cfg.Level))
	out := stderr
	if cfg.Dir != "" {
		f, err := logging.OpenFile(cfg.Dir, cfg.FileSize, cfg.FileNum, fs.FileMode(cfg.Mode))
		if err != nil {
			return nil, nil, nil, err
		}
		out, file = f, f
	}
	log = logging.New(logging.Options{
		Output: out, Level: level, JSON: cfg.Type == "json", Format: cfg.Format, DateFormat: cfg.DateFormat,
	})
	return log, level, file, nil
}
