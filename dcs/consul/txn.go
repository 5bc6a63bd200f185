package consul

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/tanist-ha/tanist/dcs"
)

// lockDelay is what sessions are opened with, and the least that Consul allows: a zero is taken for the default of 15 s. For that long
// after the end of a session its keys may not be locked by another.
const lockDelay = time.Millisecond

// txnLimit is how much of a transaction Consul's servers take by default (limits.txn_max_req_len).
const txnLimit = 512 << 10

// apply carries tx out: it sends it, and sends it again only when Consul has said that nothing of it happened and that it was an assumption of
// ours about a key that did not hold. Then the key is read first.
func (b *Backend) apply(ctx context.Context, op string, tx dcs.Txn) (dcs.Applied, error) {
	if c, ok := oneKey(tx); ok {
		return b.compareOne(ctx, op, c)
	}
	read := map[string]*dcs.Entry{}
	known := func(key string) (*dcs.Entry, bool) {
		if e, ok := read[key]; ok {
			return e, true
		}
		return b.known.get(key)
	}
	for {
		p, err := compile(tx, known)
		if err != nil {
			return dcs.Applied{}, fmt.Errorf("consul %s: %w", op, err)
		}
		doubtful := p.unread
		if len(doubtful) == 0 {
			a, wrong, err := b.send1(ctx, op, tx, p)
			if err != nil || len(wrong) == 0 {
				return a, err
			}
			doubtful = wrong
		}
		for _, key := range doubtful {
			e, _, err := b.one(ctx, op, key)
			if err != nil {
				return dcs.Applied{}, err
			}
			read[key] = e
			b.known.set(key, e)
			for _, c := range tx.If {
				if c.Key == key && !holds(c, e) {
					return dcs.Applied{}, &dcs.StoreError{Store: storeName, Op: op, Server: b.base.Host, Class: dcs.ErrConflict}
				}
			}
		}
	}
}

// send1 sends the plan once. wrong are the keys that were not as assumed: nothing happened then.
func (b *Backend) send1(ctx context.Context, op string, tx dcs.Txn, p *plan) (a dcs.Applied, wrong []string, err error) {
	body, err := p.encode()
	if err != nil {
		return a, nil, fmt.Errorf("consul %s: %w", op, err)
	}
	if len(body) > txnLimit {
		if w, ok := alone(tx); ok {
			return b.putLarge(ctx, op, w, tx.If)
		}
	}
	r := request{
		op: op, method: http.MethodPut, path: "/v1/txn", body: body, statuses: []int{http.StatusConflict},
		changes: len(tx.Do) > 0, once: len(tx.Do) > 0,
	}
	if len(tx.Do) == 0 {
		r.query = url.Values{"consistent": {""}}
	}
	from := b.era.now()
	for {
		answered, err := b.do(ctx, r)
		if err != nil {
			for key := range p.puts {
				b.known.forget(key)
			}
			return a, nil, err
		}
		var t txnAnswer
		if err := json.Unmarshal(answered.body, &t); err != nil {
			return a, nil, b.fail(op, class(r.changes), fmt.Errorf("%w: %w", errNotConsul, err))
		}
		if answered.status == http.StatusOK {
			return b.applied(from, p, t), nil, nil
		}
		wrong, err := b.judgeTxn(op, p, t.Errors)
		if !errors.Is(err, errLockDelay) {
			return a, wrong, err
		}
		select {
		case <-time.After(2 * lockDelay):
		case <-ctx.Done():
			return a, nil, b.fail(op, dcs.ErrUnavailable, fmt.Errorf("%w (%w)", errLockDelay, context.Cause(ctx)))
		}
	}
}

// txnAnswer is what Consul says to a transaction.
type txnAnswer struct {
	Results []struct{ KV *pair }
	Errors  []txnError
}

type txnError struct {
	OpIndex int
	What    string
}

func (p *plan) encode() ([]byte, error) {
	type wrapped struct{ KV op }
	ops := make([]wrapped, 0, len(p.steps))
	for _, s := range p.steps {
		ops = append(ops, wrapped{s.op})
	}
	return json.Marshal(ops)
}

// applied learns from the results of a transaction that went through.
func (b *Backend) applied(from moment, p *plan, t txnAnswer) dcs.Applied {
	var version dcs.Version
	for _, r := range t.Results {
		if r.KV == nil {
			continue
		}
		e := r.KV.entry()
		w, wrote := p.puts[e.Key]
		if !wrote || w.Delete {
			continue
		}
		e.Value = append([]byte(nil), w.Value...)
		b.known.set(e.Key, &e)
		version = max(version, e.Version)
	}
	for key, w := range p.puts {
		if w.Delete {
			b.known.set(key, nil)
		}
	}
	if version == 0 { // comparisons and deletions: Consul tells no index
		return dcs.Applied{Version: from.index}
	}
	b.era.reach(from, version)
	return dcs.Applied{Version: version}
}

// judgeTxn draws the conclusions from the errors of a transaction, of which nothing happened.
func (b *Backend) judgeTxn(op string, p *plan, errs []txnError) (wrong []string, err error) {
	var lost, other error
	for _, e := range errs {
		if e.OpIndex < 0 || e.OpIndex >= len(p.steps) {
			other = errors.New(e.What)
			continue
		}
		s := p.steps[e.OpIndex]
		what := fmt.Errorf("%s %s: %s", s.Verb, s.Key, e.What)
		switch {
		case strings.Contains(e.What, "Permission denied"):
			return nil, b.fail(op, dcs.ErrUnavailable, what)
		case strings.Contains(e.What, "due to lock delay"):
			return nil, errLockDelay
		case strings.Contains(e.What, "invalid session"):
			lost = what
		case s.condition:
			return nil, b.fail(op, dcs.ErrConflict, nil)
		case disproved(e.What):
			wrong = append(wrong, "/"+s.Key)
		default:
			other = what
		}
	}
	switch {
	case lost != nil:
		return nil, b.fail(op, dcs.ErrSessionLost, lost)
	case other != nil:
		return nil, b.fail(op, dcs.ErrUnavailable, other)
	case len(wrong) == 0:
		return nil, b.fail(op, dcs.ErrUnavailable, errors.New("the transaction was refused without a reason"))
	}
	return wrong, nil
}

// disproved says whether an operation failed because the key is not as it was assumed to be.
func disproved(what string) bool {
	for _, text := range []string{"failed index check", "failed to check index", "failed session check", "failed to check session", "lock is already held", "lock isn't held"} {
		if strings.Contains(what, text) {
			return true
		}
	}
	return false
}

// oneKey says whether tx is a comparison of one key alone.
func oneKey(tx dcs.Txn) ([]dcs.Cond, bool) {
	if len(tx.Do) > 0 || len(tx.If) == 0 {
		return nil, false
	}
	for _, c := range tx.If {
		if c.Key != tx.If[0].Key || c.Absent && c.Version+c.Created != 0 {
			return nil, false
		}
	}
	return tx.If, true
}

// compareOne reads the key, which is cheaper than a transaction and needs no knowledge.
func (b *Backend) compareOne(ctx context.Context, op string, conds []dcs.Cond) (dcs.Applied, error) {
	from := b.era.now()
	e, _, err := b.one(ctx, op, conds[0].Key)
	if err != nil {
		return dcs.Applied{}, err
	}
	b.known.set(conds[0].Key, e)
	if !every(conds, e) {
		return dcs.Applied{}, b.fail(op, dcs.ErrConflict, nil)
	}
	return dcs.Applied{Version: from.index}, nil
}
