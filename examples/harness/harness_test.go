package main

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const want = `
    0s  a starts on an empty store
    0s  a: no action. I am (a), the leader with the lock
    0s  b: no action. I am (b), a secondary, and following a leader (a)
    0s  c: no action. I am (c), a secondary, and following a leader (a)
    0s  a client writes ten rows to a
    0s  an operator asks for a switchover from a to b
    0s  a: b has everything: the leader key is released
    0s  b: promoted self to leader by acquiring session lock
    0s  done after 0s of the harness's time
    0s  a client writes ten rows to b
    0s  the host of b is switched off
   30s  c: no member is ahead: asking for the leader key
   30s  c leads, within one ttl
   30s  a client writes ten rows to c
   30s  the host of b is switched on again
   30s  b: running pg_rewind from c: the upstream left timeline 2 at 0/30009D8, its shutdown checkpoint is at 0/30009D8
   30s  b: no action. I am (b), a secondary, and following a leader (c)
   30s  a has 30 rows on timeline 3
   30s  b has 30 rows on timeline 3
   30s  c has 30 rows on timeline 3
   35s  all nodes have ended in order
`

func TestStory(t *testing.T) {
	var out strings.Builder
	if err := story(&out); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(strings.TrimPrefix(want, "\n"), out.String()); diff != "" {
		t.Errorf("want -, got +:\n%s", diff)
	}
}
