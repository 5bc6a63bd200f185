package logging

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// record is an entry of a known time.
func record(level slog.Level, message string, attrs ...slog.Attr) slog.Record {
	r := slog.NewRecord(time.Date(2026, 8, 1, 2, 3, 4, 5_600_000, time.UTC), level, message, 0)
	r.AddAttrs(attrs...)
	return r
}

func TestLines(t *testing.T) {
	for name, tc := range map[string]struct {
		options Options
		record  slog.Record
		want    string
	}{
		"default": {Options{}, record(slog.LevelInfo, "hello", slog.String("name", "n1"), slog.Duration("took", time.Second)),
			"2026-08-01 02:03:04,005 INFO: hello name=n1 took=1s\n"},
		"quoting": {Options{}, record(slog.LevelWarn, "two\nlines", slog.Any("err", errors.New(`a "b"`)), slog.String("empty", "")),
			`2026-08-01 02:03:04,005 WARNING: two lines err="a \"b\"" empty=""` + "\n"},
		"groups": {Options{}, record(slog.LevelError, "x", slog.Group("g", slog.Int("a", 1), slog.Group("h", slog.Int("b", 2)))),
			"2026-08-01 02:03:04,005 ERROR: x g.a=1 g.h.b=2\n"},
		"format": {Options{Format: "[%(levelname)-8s] %(name)s %(asctime)s 100%% %(message)s%(unheard)s", DateFormat: "%d.%m.%Y %H:%M"},
			record(LevelCritical, "x"), "[CRITICAL] tanist 01.08.2026 02:03 100% x\n"},
		"levelno": {Options{Format: "%(levelno)s %(msecs)d"}, record(slog.LevelDebug, "x"), "10 5\n"},
	} {
		t.Run(name, func(t *testing.T) {
			var out bytes.Buffer
			tc.options.Output, tc.options.Level = &out, new(slog.LevelVar)
			if err := New(tc.options).Handler().Handle(context.Background(), tc.record); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tc.want, out.String()); diff != "" {
				t.Errorf("want -, got +:\n%s", diff)
			}
		})
	}
}

func TestLoggersCarryAttributes(t *testing.T) {
	var out bytes.Buffer
	log := New(Options{Output: &out, Level: new(slog.LevelVar), Format: "%(message)s"})
	log.With("a", 1).WithGroup("g").With("b", 2).Info("x", "c", 3)
	if diff := cmp.Diff("x a=1 g.b=2 g.c=3\n", out.String()); diff != "" {
		t.Errorf("want -, got +:\n%s", diff)
	}
}

func TestLevelCanChange(t *testing.T) {
	var out bytes.Buffer
	level := new(slog.LevelVar)
	log := New(Options{Output: &out, Level: level, Format: "%(message)s"})
	level.Set(Level("warning"))
	log.Info("not this")
	level.Set(Level("DEBUG"))
	log.Debug("this")
	if diff := cmp.Diff("this\n", out.String()); diff != "" {
		t.Errorf("want -, got +:\n%s", diff)
	}
}

func TestJSON(t *testing.T) {
	var out bytes.Buffer
	New(Options{Output: &out, Level: new(slog.LevelVar), JSON: true}).Warn("x", "a", 1)
	if !strings.Contains(out.String(), `"level":"WARNING","msg":"x","a":1`) {
		t.Error(out.String())
	}
}

func TestFileIsTurnedOver(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "logs")
	f, err := OpenFile(dir, 10, 2, 0o640)
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{"one....\n", "two....\n", "three..\n", "four...\n"} {
		if _, err := f.Write([]byte(line)); err != nil {
			t.Fatal(err)
		}
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		raw, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		got[e.Name()] = string(raw)
	}
	want := map[string]string{"patroni.log": "four...\n", "patroni.log.1": "three..\n", "patroni.log.2": "two....\n"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("want -, got +:\n%s", diff)
	}
	info, err := os.Stat(filepath.Join(dir, "patroni.log"))
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode().Perm() != 0o640 {
		t.Errorf("mode %v", info.Mode())
	}
}

func TestFileThatCannotBeTurnedOverGrows(t *testing.T) {
	dir := t.TempDir()
	f, err := OpenFile(dir, 10, 1, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := os.MkdirAll(filepath.Join(dir, "patroni.log.1", "full"), 0o755); err != nil { // a rename onto it fails
		t.Fatal(err)
	}
	for range 3 {
		if _, err := f.Write([]byte("line...\n")); err != nil {
			t.Fatal(err)
		}
	}
	raw, err := os.ReadFile(filepath.Join(dir, "patroni.log"))
	if err != nil {
		t.Fatal(err)
	}
	if len(raw) != 24 {
		t.Errorf("got %q", raw)
	}
}
