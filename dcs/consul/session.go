package consul

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/tanist-ha/tanist/dcs"
)

// session is a session of Consul, bound to the node of the agent that is asked.
type session struct {
	backend *Backend
	id      string
	ttl     time.Duration
	granted moment // of the store

	mu   sync.Mutex
	last time.Time // before the newest renewal that certainly counts (or the opening) was sent
}

var (
	_ dcs.Session = (*session)(nil)
	_ dcs.Paced   = (*session)(nil)
)

// OpenSession creates a session whose TTL is half of ttl: Consul ends a session between one and two TTLs after its last renewal, and
// counts from the start again when its servers elect another leader. What is promised (Session.TTL) is the lower bound. Servers
// refuse TTLs below their session_ttl_min, 10 s by default; then that is asked for, and said.
func (b *Backend) OpenSession(ctx context.Context, ttl time.Duration) (dcs.Session, error) {
	if ttl <= 0 {
		return nil, fmt.Errorf("consul open session: a ttl of %s", ttl)
	}
	ctx, end, err := b.begin(ctx, "open session")
	if err != nil {
		return nil, err
	}
	defer end()
	if b.era.store() == "" {
		if err := b.identify(ctx); err != nil {
			return nil, err
		}
	}
	s := &session{backend: b, ttl: ttl / 2, granted: b.era.now()}
	least, err := s.open(ctx)
	if least > s.ttl {
		b.cfg.Logger.Warn("Consul's servers grant no session that short: a ttl is twice the session's, and is raised", "ttl", ttl, "raised to", 2*least)
		s.ttl = least
		_, err = s.open(ctx)
	}
	if err != nil {
		return nil, err
	}
	return s, nil
}

// open creates the session. If its TTL is too short, least is the shortest one.
func (s *session) open(ctx context.Context) (least time.Duration, err error) {
	checks := s.backend.cfg.Checks
	if checks == nil {
		checks = []string{} // left out, it would be serfHealth, and end the session within seconds of a partition
	}
	body, err := json.Marshal(map[string]any{
		"Name": s.backend.cfg.SessionName, "TTL": s.ttl.String(), "Behavior": "delete", "LockDelay": lockDelay.String(), "NodeChecks": checks,
	})
	if err != nil {
		return 0, err
	}
	began := time.Now()
	a, err := s.backend.do(ctx, request{op: "open session", method: http.MethodPut, path: "/v1/session/create", body: body, changes: true})
	if err != nil {
		return leastTTL(err), err
	}
	var made struct{ ID string }
	if err := json.Unmarshal(a.body, &made); err != nil || made.ID == "" {
		return 0, s.backend.fail("open session", dcs.ErrUnknown, errNotConsul)
	}
	s.id, s.last = made.ID, began
	return 0, nil
}

// leastTTL reads the lower bound out of a refusal: "Invalid Session TTL '5000000000', must be between [10s=24h0m0s]".
func leastTTL(err error) time.Duration {
	_, bounds, ok := strings.Cut(err.Error(), "must be between [")
	if !ok || !strings.Contains(err.Error(), "Invalid Session TTL") {
		return 0
	}
	lower, _, _ := strings.Cut(bounds, "=")
	least, err := time.ParseDuration(lower)
	if err != nil {
		return 0
	}
	return least
}

// ID is Consul's.
func (s *session) ID() string { return s.id }

// TTL is the time for which the session does not end by itself; it may take twice as long.
func (s *session) TTL() time.Duration { return s.ttl }

// Pace asks for a renewal in each quarter of the TTL: that is half of what was asked for, and what is left of it behind a renewal is the outage that a
// leader survives (safety 2.3).
func (s *session) Pace() dcs.Pace { return dcs.Pace{Every: s.ttl / 4} }

// KeepAlive prolongs the session once.
func (s *session) KeepAlive(ctx context.Context) (dcs.Version, error) {
	ctx, end, err := s.backend.begin(ctx, "keepalive")
	if err != nil {
		return 0, err
	}
	defer end()
	if err := s.renew(ctx, "keepalive"); err != nil {
		return 0, err
	}
	return s.backend.era.now().index, nil
}

// renew asks the leader to start the session's time again. It counts if it follows one that counts within the TTL, see Confirm.
func (s *session) renew(ctx context.Context, op string) error {
	began := time.Now()
	if err := s.ask(ctx, op); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if between(s.last, began) <= s.ttl {
		s.last = began
	}
	return nil
}

// ask sends one renewal.
func (s *session) ask(ctx context.Context, op string) error {
	a, err := s.backend.do(ctx, request{op: op, method: http.MethodPut, path: "/v1/session/renew/" + s.id, changes: true, statuses: []int{http.StatusNotFound}})
	if err != nil {
		return err
	}
	if a.status == http.StatusNotFound {
		// A server of another kind says "not found", too.
		if !strings.Contains(string(a.body), "Session id") {
			return s.backend.fail(op, dcs.ErrUnavailable, fmt.Errorf("%w: status %d", errNotConsul, a.status))
		}
		return s.backend.fail(op, dcs.ErrSessionLost, errNoSession)
	}
	var renewed []struct{ ID string }
	if err := json.Unmarshal(a.body, &renewed); err != nil || len(renewed) == 0 || renewed[0].ID != s.id {
		return s.backend.fail(op, dcs.ErrUnknown, errNotConsul)
	}
	return nil
}

// Confirm prolongs the session and then applies tx.
//
// A renewal changes nothing but a timer in the memory of the server that takes itself for the leader. A leader that was frozen
// and has been replaced may answer one after its thaw, before it notices. That is harmless as long as renewals follow each other within one
// TTL, because the time that runs out is two: the renewal before, or the new leader, which starts all sessions anew, covers the
// false one. After a longer gap no renewal alone counts: the session is renewed twice, with tx in between, which a deposed leader
// cannot apply. By then the agent has heard of the new one, and the second renewal counts.
//
// When another store answers than the one that granted the session, or that one after it was restored, what is missing there says nothing
// about the key: dcs.ErrUnknown.
func (s *session) Confirm(ctx context.Context, tx dcs.Txn) (dcs.Applied, error) {
	ctx, end, err := s.backend.begin(ctx, "confirm")
	if err != nil {
		return dcs.Applied{}, err
	}
	defer end()
	gap := s.sinceLast()
	if err := s.renew(ctx, "confirm"); err != nil {
		if errors.Is(err, dcs.ErrSessionLost) {
			err = s.stillThere(ctx, "confirm", keyOf(tx), err)
		}
		return dcs.Applied{}, err
	}
	a, err := s.backend.apply(ctx, "confirm", tx)
	switch {
	case errors.Is(err, dcs.ErrConflict), errors.Is(err, dcs.ErrSessionLost):
		return a, s.stillThere(ctx, "confirm", keyOf(tx), err)
	case err != nil:
		return a, unknownAfter(err) // the session was prolonged
	case gap <= s.ttl:
		return a, nil
	}
	began := time.Now()
	if err := s.ask(ctx, "confirm"); err != nil {
		return dcs.Applied{}, unknownAfter(err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.last = began
	return a, nil
}

// sinceLast is the time since the newest renewal that counts was sent.
func (s *session) sinceLast() time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	return between(s.last, time.Now())
}

// between is the time from a to b by the clock that shows more, as only the wall clock counts a suspension of the machine.
func between(a, b time.Time) time.Duration {
	return max(b.Sub(a), b.Round(0).Sub(a.Round(0)))
}

func keyOf(tx dcs.Txn) string {
	for _, c := range tx.If {
		return c.Key
	}
	for _, w := range tx.Do {
		return w.Key
	}
	return "/"
}

// stillThere looks, after a definite no, whether the store is the one that granted the session. If it cannot tell, the no is unknown.
func (s *session) stillThere(ctx context.Context, op, near string, no error) error {
	if err := s.backend.probe(ctx, op, near, s.backend.era.now()); err != nil {
		return unknownAfter(err)
	}
	if !s.granted.sameStore(s.backend.era.now()) {
		return s.backend.fail(op, dcs.ErrUnknown, errOtherStore)
	}
	return no
}

// unknownAfter corrects the class of the error that a confirmation ends with: after its first part something has happened.
func unknownAfter(err error) error {
	var e *dcs.StoreError
	if errors.As(err, &e) && (e.Class == dcs.ErrUnavailable || e.Class == dcs.ErrSessionLost) {
		e.Class = dcs.ErrUnknown
	}
	return err
}

// Close ends the session now. One that is gone already is as good.
func (s *session) Close(ctx context.Context) error {
	ctx, end, err := s.backend.begin(ctx, "close session")
	if err != nil {
		return err
	}
	defer end()
	_, err = s.backend.do(ctx, request{op: "close session", method: http.MethodPut, path: "/v1/session/destroy/" + s.id, changes: true})
	return err
}
