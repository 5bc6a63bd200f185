package consul

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tanist-ha/tanist/dcs"
)

type named string

func (n named) ID() string                                          { return string(n) }
func (named) TTL() time.Duration                                    { return 0 }
func (named) KeepAlive(context.Context) (dcs.Version, error)        { return 0, nil }
func (named) Confirm(context.Context, dcs.Txn) (dcs.Applied, error) { return dcs.Applied{}, nil }
func (named) Close(context.Context) error                           { return nil }

// TestCompile shows transactions in Consul's words, with what is known of keys. A question mark is an assumption.
func TestCompile(t *testing.T) {
	known := map[string]*dcs.Entry{
		"/mine":   {Key: "/mine", Value: []byte("v"), Version: 9, Created: 5, Session: "me"},
		"/theirs": {Key: "/theirs", Value: []byte("v"), Version: 8, Created: 8, Session: "them"},
		"/free":   {Key: "/free", Value: []byte("v"), Version: 7, Created: 7},
		"/gone":   nil,
	}
	put := func(key string, x dcs.Session) []dcs.Write {
		return []dcs.Write{{Key: key, Value: []byte("w"), Session: x}}
	}
	for _, c := range []struct {
		name   string
		tx     dcs.Txn
		want   string
		unread string
	}{
		{"acquire", dcs.Txn{If: []dcs.Cond{{Key: "/new", Absent: true}}, Do: put("/new", named("me"))}, "check-not-exists new; lock? new me", ""},
		{"a key that nobody knows", dcs.Txn{Do: put("/new", nil)}, "set? new; check-session? new", ""},
		{"one that is bound to another session", dcs.Txn{Do: put("/theirs", named("me"))}, "unlock? theirs them; lock? theirs me", ""},
		{"unbind", dcs.Txn{Do: put("/mine", nil)}, "unlock? mine me", ""},
		{"rebind", dcs.Txn{If: []dcs.Cond{{Key: "/a", Session: "old"}}, Do: put("/a", named("me"))}, "check-session a old; unlock? a old; lock? a me", ""},
		{"still mine", dcs.Txn{If: []dcs.Cond{{Key: "/mine", Created: 5, Session: "me", Value: []byte("v")}}, Do: put("/free", nil)},
			"check-session mine me; check-index? mine 9; set? free; check-session? free", ""},
		{"a life of which only the beginning is known", dcs.Txn{If: []dcs.Cond{{Key: "/new", Created: 4}}, Do: put("/free", nil)},
			"check-index? new 4; set? free; check-session? free", ""},
		{"a value that is not known", dcs.Txn{If: []dcs.Cond{{Key: "/new", Value: []byte("v")}}, Do: put("/free", nil)}, "set? free; check-session? free", "/new"},
		{"another life than the known one", dcs.Txn{If: []dcs.Cond{{Key: "/mine", Created: 4}}, Do: put("/free", nil)}, "set? free; check-session? free", "/mine"},
		{"a key that was gone", dcs.Txn{If: []dcs.Cond{{Key: "/gone", Created: 4}}, Do: put("/gone", nil)}, "set? gone; check-session? gone", "/gone"},
		{"versions", dcs.Txn{If: []dcs.Cond{{Key: "/mine", Version: 9}, {Key: "/no", Absent: true}}, Do: []dcs.Write{{Key: "/mine", Delete: true}}},
			"check-index mine 9; check-not-exists no; delete? mine", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			p, err := compile(c.tx, func(key string) (*dcs.Entry, bool) { e, ok := known[key]; return e, ok })
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.want, p.text()); diff != "" || strings.Join(p.unread, " ") != c.unread {
				t.Errorf("unread %v, want -, got +:\n%s", p.unread, diff)
			}
		})
	}
}

func (p *plan) text() string {
	var all []string
	for _, s := range p.steps {
		doubt := "?"
		if s.condition {
			doubt = ""
		}
		words := s.Verb + doubt + " " + s.Key
		if s.Index != 0 {
			words += fmt.Sprint(" ", s.Index)
		}
		if s.Session != "" {
			words += " " + s.Session
		}
		all = append(all, words)
	}
	return strings.Join(all, "; ")
}

func TestMalformedTransactions(t *testing.T) {
	nothing := func(string) (*dcs.Entry, bool) { return nil, false }
	for want, tx := range map[string]dcs.Txn{
		"names no key":         {If: []dcs.Cond{{Absent: true}}},
		"absent and to have":   {If: []dcs.Cond{{Key: "/a", Absent: true, Version: 1}}},
		"twice, or names":      {Do: []dcs.Write{{Key: "/a"}, {Key: "/a"}}},
		"does not begin":       {Do: []dcs.Write{{Key: "a"}}},
		"with a slash and a n": {If: []dcs.Cond{{Key: "/", Absent: true}}},
	} {
		if _, err := compile(tx, nothing); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
}

// TestWhatIsCertain: an answer counts as "nothing was changed" only if Consul gives it before it proposes a change.
func TestWhatIsCertain(t *testing.T) {
	for text, c := range map[string]struct {
		status int
		want   verdict
	}{
		"No cluster leader": {http.StatusInternalServerError, noEffect},
		"rate limit exceeded, try again later or against a different server": {http.StatusTooManyRequests, noEffect},
		"rpc error making call: RPC rate limit exceeded":                     {http.StatusInternalServerError, noEffect},
		"rpc error making call: Permission denied: token lacks":              {http.StatusForbidden, refused},
		"Request body(1 bytes) too large":                                    {http.StatusRequestEntityTooLarge, refused},
		"404 page not found":                                                 {http.StatusNotFound, refused},
		"leadership lost while committing log":                               {http.StatusInternalServerError, failed},
		"raft apply failed: timed out enqueuing operation":                   {http.StatusInternalServerError, failed},
		"rpc error getting client: failed to get conn: EOF":                  {http.StatusInternalServerError, failed},
		"Bad Gateway": {http.StatusBadGateway, failed},
	} {
		if got := judge(c.status, text); got != c.want {
			t.Errorf("%d %s: verdict %d, want %d", c.status, text, got, c.want)
		}
	}
}

// TestErrorsOfTransactions: the reasons that Consul gives, all of them together, become one class.
func TestErrorsOfTransactions(t *testing.T) {
	b, err := New(Config{URL: "http://127.0.0.1:1"})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	p := &plan{steps: []step{{op{Verb: "check-session", Key: "a"}, true}, {op{Verb: "check-index", Key: "b"}, false}, {op{Verb: "lock", Key: "c"}, false}}}
	at := func(index int, what string) txnError { return txnError{index, what} }
	stale, held := at(1, "failed index check for key"), at(2, "failed to lock key, lock is already held")
	for name, c := range map[string]struct {
		errs  []txnError
		wrong string
		class error
	}{
		"a condition":               {[]txnError{at(0, "failed session check")}, "", dcs.ErrConflict},
		"a condition, after others": {[]txnError{at(0, "failed session check"), stale, held}, "", dcs.ErrConflict},
		"assumptions":               {[]txnError{stale, held}, "/b /c", nil},
		"the session":               {[]txnError{stale, at(2, "invalid session \"x\"")}, "", dcs.ErrSessionLost},
		"a condition and a session": {[]txnError{at(0, "failed session check"), at(2, "invalid session \"x\"")}, "", dcs.ErrConflict},
		"a lock delay":              {[]txnError{at(2, "failed to lock key due to lock delay")}, "", errLockDelay},
		"permission":                {[]txnError{at(0, "Permission denied: lacks permission")}, "", dcs.ErrUnavailable},
		"something new":             {[]txnError{at(2, "the moon is full")}, "", dcs.ErrUnavailable},
		"no such operation":         {[]txnError{at(7, "failed index check")}, "", dcs.ErrUnavailable},
		"nothing":                   {nil, "", dcs.ErrUnavailable},
	} {
		wrong, err := b.judgeTxn("apply", p, c.errs)
		if strings.Join(wrong, " ") != c.wrong || !errors.Is(err, c.class) || c.class == nil && err != nil {
			t.Errorf("%s: wrong %v, error %v", name, wrong, err)
		}
	}
}

// TestDifferences: what two answers of a watch differ in becomes hints.
func TestDifferences(t *testing.T) {
	was := map[string]dcs.Version{"/a": 1, "/b": 2, "/c": 3}
	for name, c := range map[string]struct {
		is   map[string]dcs.Version
		want map[string]dcs.Version
	}{
		"written and new": {map[string]dcs.Version{"/a": 1, "/b": 7, "/c": 3, "/d": 8}, map[string]dcs.Version{"/b": 7, "/d": 8}},
		"deleted":         {map[string]dcs.Version{"/a": 1, "/b": 2}, map[string]dcs.Version{"/c": 9}},
		"came and went":   {was, map[string]dcs.Version{"": 9}},
		"emptied":         {nil, map[string]dcs.Version{"/a": 9, "/b": 9, "/c": 9}},
	} {
		hints := make(chan dcs.Hint, hintBuffer)
		differences(was, c.is, 9, hints)
		close(hints)
		got := map[string]dcs.Version{}
		for h := range hints {
			got[h.Key] = h.Version
		}
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s: want -, got +:\n%s", name, diff)
		}
	}
}

func TestLeastTTL(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"rpc error: Invalid Session TTL '5000000000', must be between [10s=24h0m0s]": 10 * time.Second,
		"Invalid Session TTL '1', must be between [1m0s=24h0m0s]":                    time.Minute,
		"must be between [10s=24h0m0s]":                                              0,
		"Invalid Session TTL":                                                        0,
	} {
		if got := leastTTL(errors.New(text)); got != want {
			t.Errorf("%s: %s, want %s", text, got, want)
		}
	}
}
