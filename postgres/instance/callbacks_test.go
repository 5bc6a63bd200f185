package instance

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// awaitFile waits until a file holds text.
func awaitFile(t *testing.T, path, text string) string {
	t.Helper()
	ctx, cancel := testContext()
	defer cancel()
	look := pace{next: time.Millisecond, limit: 20 * time.Millisecond}
	for {
		raw, _ := os.ReadFile(path)
		if strings.Contains(string(raw), text) {
			return string(raw)
		}
		if !look.wait(ctx, nil) {
			t.Fatalf("%s holds %q, never %q", path, raw, text)
		}
	}
}

func TestCallbacks(t *testing.T) {
	dir := t.TempDir()
	out := filepath.Join(dir, "out")
	mustWrite(t, filepath.Join(dir, "quick sh"), "#!/bin/sh\necho \"$@\" >> "+out+"\n")
	mustWrite(t, filepath.Join(dir, "slow.sh"), "#!/bin/sh\necho \"slow $@\" >> "+out+"\nsleep 600 &\nwait\necho survived >> "+out+"\n")
	c := NewCallbacks("demo", slog.New(slog.DiscardHandler))
	defer c.Close()

	c.Run("'"+dir+"/quick sh' first", "on_start", "replica")
	awaitFile(t, out, "first on_start replica demo\n")
	c.Run(dir+"/slow.sh", "on_role_change", "primary")
	awaitFile(t, out, "slow on_role_change primary demo\n")
	c.Run("'"+dir+"/quick sh' second", "on_stop", "primary") // ends the slow one
	if got := awaitFile(t, out, "second on_stop primary demo\n"); strings.Contains(got, "survived") {
		t.Errorf("the slow callback went on:\n%s", got)
	}
	c.Run("unclosed ' quote", "on_stop", "primary")
	c.Run("/no/such/program", "on_stop", "primary")
	c.Close()
	c.Run("'"+dir+"/quick sh' late", "on_stop", "primary")
	if raw, _ := os.ReadFile(out); strings.Contains(string(raw), "late") {
		t.Error("a callback ran after Close")
	}
}

// The last command may finish its work before Close would end it.
func TestCallbacksWait(t *testing.T) {
	dir := t.TempDir()
	out := filepath.Join(dir, "out")
	mustWrite(t, filepath.Join(dir, "last.sh"), "#!/bin/sh\nsleep 0.2\necho done >> "+out+"\n")
	mustWrite(t, filepath.Join(dir, "slow.sh"), "#!/bin/sh\necho slow >> "+out+"\nexec sleep 600\n")
	c := NewCallbacks("demo", slog.New(slog.DiscardHandler))
	defer c.Close()
	c.Wait(t.Context()) // nothing runs
	c.Run(dir+"/last.sh", "on_stop", "primary")
	c.Wait(t.Context())
	if raw, _ := os.ReadFile(out); string(raw) != "done\n" {
		t.Errorf("Wait came back before the command had ended: %q", raw)
	}
	c.Run(dir+"/slow.sh", "on_stop", "primary")
	awaitFile(t, out, "slow\n")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	c.Wait(ctx) // does not hang
}
