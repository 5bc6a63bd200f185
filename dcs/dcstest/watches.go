package dcstest

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/tanist-ha/tanist/dcs"
)

var watchTests = []test{
	{name: "watch/put-delete-end-of-session", run: testWatchChanges},
	{name: "watch/each-change-after-the-call", run: testWatchFromCall},
	{name: "watch/expiry", run: testWatchExpiry, waits: true},
	{name: "watch/other-folders-are-silent", run: testWatchPrefix},
	{name: "watch/merged-but-not-lost", run: testWatchMerged},
	{name: "watch/closed-with-its-context", run: testWatchClosed},
	{name: "watch/closed-with-its-handle", run: testWatchHandleClosed},
}

// expect waits for a hint that covers a key.
func (s *suite) expect(t testing.TB, hints <-chan dcs.Hint, name string) {
	t.Helper()
	s.expectSince(t, hints, name, 0)
}

// expectSince passes over hints that say of themselves that they are older than v.
func (s *suite) expectSince(t testing.TB, hints <-chan dcs.Hint, name string, v dcs.Version) {
	t.Helper()
	limit := time.NewTimer(s.Patience + 3*s.MinTTL)
	defer limit.Stop()
	for {
		select {
		case h, ok := <-hints:
			if !ok {
				t.Fatalf("the watch was closed while waiting for a hint of %s", name)
			}
			if (h.Key == "" || h.Key == s.key(name)) && (h.Version == 0 || h.Version >= v) {
				return
			}
			if h.Key != "" && !strings.HasPrefix(h.Key, s.prefix) {
				t.Fatalf("hint of %q, outside of %q", h.Key, s.prefix)
			}
		case <-limit.C:
			t.Fatalf("no hint of %s", name)
		}
	}
}

func (s *suite) watch(t testing.TB, b dcs.Backend) <-chan dcs.Hint {
	t.Helper()
	ctx, cancel := context.WithCancel(s.ctx)
	hints, err := b.Watch(ctx, s.prefix)
	if err != nil {
		cancel()
		t.Fatalf("watch: %v", err)
	}
	t.Cleanup(func() { cancel(); s.ends(t, hints) })
	return hints
}

func testWatchChanges(t *testing.T, s *suite) {
	a, b := s.open(t), s.open(t)
	s.put(t, a, "config", "{}", nil)
	hints := s.watch(t, b)
	s.put(t, a, "leader", "a", nil)
	s.expect(t, hints, "leader")
	s.put(t, a, "config", `{"ttl":30}`, nil)
	s.expect(t, hints, "config")
	s.delete(t, a, "leader")
	s.expect(t, hints, "leader")
	x := s.longSession(t, a)
	s.put(t, a, "members/a", "{}", x)
	s.expect(t, hints, "members/a")
	if err := x.Close(s.ctx); err != nil {
		t.Fatal(err)
	}
	s.expect(t, hints, "members/a")
	s.put(t, a, "a/folder/of/folders", "1", nil)
	s.expect(t, hints, "a/folder/of/folders")
}

// testWatchExpiry: the end of a session that nobody closes is a change like any other.
func testWatchExpiry(t *testing.T, s *suite) {
	a, b := s.open(t), s.open(t)
	hints := s.watch(t, b)
	y, _ := s.alive(t, a, "members/b")
	s.expect(t, hints, "members/b")
	if s.Advance != nil {
		s.Advance(y.TTL())
	}
	for s.get(t, b, "members/b") != nil { // a change may be told more than once
		s.expect(t, hints, "members/b")
	}
}

// testWatchFromCall: what changes right after the call is told, each time: a watch that is lost is made again, and nothing falls between.
func testWatchFromCall(t *testing.T, s *suite) {
	a, b := s.open(t), s.open(t)
	for i := range 20 {
		ctx, cancel := context.WithCancel(s.ctx)
		hints, err := b.Watch(ctx, s.prefix)
		if err != nil {
			t.Fatal(err)
		}
		name := fmt.Sprintf("members/m%d", i%3)
		if i%2 == 0 {
			s.put(t, a, name, fmt.Sprint(i), nil)
		} else {
			s.delete(t, a, name) // which may be absent: then nothing has changed, so
			s.put(t, a, name, fmt.Sprint(i), nil)
		}
		s.expect(t, hints, name)
		cancel()
		s.ends(t, hints)
	}
}

func testWatchPrefix(t *testing.T, s *suite) {
	b := s.open(t)
	ctx, cancel := context.WithCancel(s.ctx)
	defer cancel()
	hints, err := b.Watch(ctx, s.prefix+"in/")
	if err != nil {
		t.Fatal(err)
	}
	s.put(t, b, "out", "1", nil)
	s.put(t, b, "in/k", "1", nil)
	for h := range hints {
		if h.Key == s.key("out") {
			t.Fatal("hint of a key beside the folder")
		}
		if h.Key == "" || h.Key == s.key("in/k") {
			break
		}
	}
	cancel()
	s.ends(t, hints)
}

// testWatchMerged writes much more than a reader takes, who then must still learn that the last key has changed; over and over, as a hint is
// lost in one moment and not in the next.
func testWatchMerged(t *testing.T, s *suite) {
	b := s.open(t)
	hints := s.watch(t, b)
	for round := range 20 {
		value := []byte(fmt.Sprint(round))
		var many dcs.Txn
		for i := range 30 {
			many.Do = append(many.Do, dcs.Write{Key: s.key(fmt.Sprintf("k%d", i)), Value: value})
		}
		s.must(t, b, many)
		for i := range 3 {
			s.put(t, b, fmt.Sprintf("k%d", i), fmt.Sprint(i), nil)
		}
		last := s.put(t, b, fmt.Sprintf("last%d", round), "1", nil)
		s.expectSince(t, hints, fmt.Sprintf("last%d", round), last.Version)
	}
}

func testWatchClosed(t *testing.T, s *suite) {
	b := s.open(t)
	ctx, cancel := context.WithCancel(s.ctx)
	hints, err := b.Watch(ctx, s.prefix)
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	s.ends(t, hints)
	s.put(t, b, "k", "1", nil) // the handle lives on
}

func testWatchHandleClosed(t *testing.T, s *suite) {
	b := s.New(t)
	hints, err := b.Watch(s.ctx, s.prefix)
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	s.ends(t, hints)
}

// ends waits for a watch to be closed.
func (s *suite) ends(t testing.TB, hints <-chan dcs.Hint) {
	t.Helper()
	limit := time.NewTimer(s.Patience)
	defer limit.Stop()
	for {
		select {
		case _, ok := <-hints:
			if !ok {
				return
			}
		case <-limit.C:
			t.Error("the watch was not closed")
			return
		}
	}
}
