package instance

import (
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
