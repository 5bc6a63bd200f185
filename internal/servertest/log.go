package servertest

import (
	"context"
	"strings"
	"sync"
	"testing"
	"time"
)

// Log collects what is logged, for tests to read. The zero value is an empty one.
type Log struct {
	mu   sync.Mutex
	text strings.Builder
}

// Write implements io.Writer.
func (l *Log) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

// String is all of it so far.
func (l *Log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// Wait waits until the log holds text, as long as ctx allows.
func (l *Log) Wait(ctx context.Context, t testing.TB, text string) {
	t.Helper()
	again := time.NewTicker(10 * time.Millisecond)
	defer again.Stop()
	for !strings.Contains(l.String(), text) {
		select {
		case <-again.C:
		case <-ctx.Done():
			t.Fatalf("the log never says %q:\n%s", text, l)
		}
	}
}
