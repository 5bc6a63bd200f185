package servertest

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// sleeper is a server of a kind: a shell that says that it serves, and sleeps.
type sleeper struct{ Process }

func newSleeper(t *testing.T, script string) *sleeper {
	s := &sleeper{Process{Program: "sleeper", Args: []string{"/bin/sh", "-c", script}, LogFile: filepath.Join(t.TempDir(), "log")}}
	s.Serves = func(context.Context) bool {
		raw, _ := os.ReadFile(s.LogFile)
		return strings.Contains(string(raw), "serving")
	}
	return s
}

func TestProcess(t *testing.T) {
	s := newSleeper(t, "echo serving $WITH; exec sleep 600")
	s.Env = []string{"WITH=pleasure"}
	t.Run("a test of its own", func(t *testing.T) {
		Start(t, []*sleeper{s})
		s.Kill()
		<-s.Ended()
		if err := os.Remove(s.LogFile); err != nil {
			t.Fatal(err)
		}
		if err := s.Restart(t.Context()); err != nil {
			t.Fatal(err)
		}
	})
	select {
	case <-s.Ended():
	default:
		t.Error("it outlives its test")
	}
	if raw, err := os.ReadFile(s.LogFile); string(raw) != "serving pleasure\n" {
		t.Errorf("%v, %q", err, raw)
	}
}

func TestEndsWhileStarting(t *testing.T) {
	s := newSleeper(t, "exit 1")
	defer s.Kill()
	if err := Run([]*sleeper{s}); err == nil || err.Error() != "sleeper ended while starting" {
		t.Error(err)
	}
}

func TestWaitReadyHonoursItsContext(t *testing.T) {
	s := newSleeper(t, "exec sleep 600")
	defer s.Kill()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := s.Restart(ctx); err == nil || !strings.HasPrefix(err.Error(), "wait for sleeper") {
		t.Error(err)
	}
}

func TestCount(t *testing.T) {
	const text = `# TYPE asked counter
asked{method="GET",path="/"} 3
asked_more{method="GET",path="/"} 5
asked{method="PUT",path="/"} 1e+01
`
	counts := map[string]int{}
	if err := Count(strings.NewReader(text), "asked", func(label func(string) string, n int) { counts[label("method")+" "+label("path")] += n }); err != nil {
		t.Fatal(err)
	}
	if len(counts) != 2 || counts["GET /"] != 3 || counts["PUT /"] != 10 {
		t.Error(counts)
	}
	if err := Count(strings.NewReader("asked{} many\n"), "asked", func(func(string) string, int) {}); err == nil {
		t.Error("many is no number")
	}
}
