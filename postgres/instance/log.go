package instance

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
)

// serverLog is where one run of the server writes its standard error.
type serverLog struct {
	file   *os.File
	offset int64 // where this run's lines begin
	shared bool  // the agent's own standard error: not ours to close or read
}

// logLimit is the size beyond which the log is put aside before a start.
const logLimit = 64 << 20

func (i *Instance) openServerLog() (*serverLog, error) {
	if i.cfg.LogFile == "inherit" {
		return &serverLog{file: os.Stderr, shared: true}, nil
	}
	if info, err := os.Stat(i.cfg.LogFile); err == nil && info.Size() > logLimit {
		if err := os.Rename(i.cfg.LogFile, i.cfg.LogFile+".1"); err != nil {
			return nil, fmt.Errorf("put the server's old log aside: %w", err)
		}
	}
	f, err := os.OpenFile(i.cfg.LogFile, os.O_CREATE|os.O_RDWR|os.O_APPEND, 0o600)
	if err != nil {
		// A log must not keep the server down. What it says of itself goes where the agent's words go.
		i.log.Warn("open the server's log", "file", i.cfg.LogFile, "error", err)
		return &serverLog{file: os.Stderr, shared: true}, nil
	}
	end, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		_ = f.Close()
		return nil, err
	}
	return &serverLog{file: f, offset: end}, nil
}

func (l *serverLog) close() {
	if !l.shared {
		_ = l.file.Close()
	}
}

// lastWords are the last lines that this run of the server wrote, to standard error or through the logging collector.
func (i *Instance) lastWords(l *serverLog) string {
	if l.shared {
		return "its last words went to the agent's own log"
	}
	words := tail(io.NewSectionReader(l.file, l.offset, 1<<20))
	if !strings.Contains(words, "logging collector") {
		return words
	}
	raw, err := os.ReadFile(filepath.Join(i.cfg.DataDir, "current_logfiles"))
	if err != nil {
		return words
	}
	for line := range strings.Lines(string(raw)) {
		kind, path, _ := strings.Cut(strings.TrimSpace(line), " ")
		if kind != "stderr" {
			continue
		}
		if !filepath.IsAbs(path) {
			path = filepath.Join(i.cfg.DataDir, path)
		}
		f, err := os.Open(path)
		if err != nil {
			return words
		}
		defer f.Close()
		if info, err := f.Stat(); err == nil {
			return tail(io.NewSectionReader(f, max(0, info.Size()-4096), 4096))
		}
	}
	return words
}
