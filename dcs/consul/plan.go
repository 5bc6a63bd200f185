package consul

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"

	"github.com/tanist-ha/tanist/dcs"
)

// op is one operation of a transaction in Consul's words.
type op struct {
	Verb    string
	Key     string
	Value   []byte      `json:",omitempty"`
	Flags   uint64      `json:",omitempty"`
	Index   dcs.Version `json:",omitempty"`
	Session string      `json:",omitempty"`
}

// step is an operation and what its failure means.
type step struct {
	op
	condition bool // it is one of the caller's: a failure is a conflict. Else it is an assumption of ours about the key
}

// plan is a transaction on its way to Consul.
type plan struct {
	steps  []step
	unread []string // keys that must be read first: Consul cannot compare what is asked
	puts   map[string]dcs.Write
}

// look returns what is known of a key.
type look func(key string) (e *dcs.Entry, known bool)

// compile turns tx into Consul's words. Consul compares three things: that a key is absent, the index of its last write, and its
// session. The life of a key and its value are compared through the index of the write that both were seen with: as
// long as it is the last one, they are as seen.
//
// Consul binds a key to a session only by locking it, which needs the key to be free, and an ordinary write leaves the session as it is.
// So what a key is bound to must be known, too, or is assumed and compared.
func compile(tx dcs.Txn, known look) (*plan, error) {
	p := &plan{puts: map[string]dcs.Write{}}
	conds := map[string][]dcs.Cond{}
	for _, c := range tx.If {
		if c.Key == "" {
			return nil, errors.New("a condition names no key")
		}
		if c.Absent && (c.Version != 0 || c.Created != 0 || c.Session != "" || c.Value != nil) {
			return nil, fmt.Errorf("a condition wants %s to be absent and to have a content", c.Key)
		}
		conds[c.Key] = append(conds[c.Key], c)
	}
	for _, key := range slices.Sorted(maps.Keys(conds)) {
		if err := p.compare(key, conds[key], known); err != nil {
			return nil, err
		}
	}
	nonce := rand.Uint64() >> 11
	for _, w := range tx.Do {
		if _, twice := p.puts[w.Key]; twice || w.Key == "" {
			return nil, fmt.Errorf("a transaction writes %q twice, or names no key", w.Key)
		}
		p.puts[w.Key] = w
		if err := p.write(w, conds[w.Key], known, nonce); err != nil {
			return nil, err
		}
	}
	return p, nil
}

func (p *plan) add(condition bool, o op) error {
	name, err := consulKey(o.Key)
	if err != nil {
		return err
	}
	o.Key = name
	p.steps = append(p.steps, step{o, condition})
	return nil
}

// compare adds the conditions on one key.
func (p *plan) compare(key string, conds []dcs.Cond, known look) error {
	var all dcs.Cond // of them
	absent := false
	for _, c := range conds {
		absent = absent || c.Absent
		if c.Session != "" {
			if err := p.add(true, op{Verb: "check-session", Key: key, Session: c.Session}); err != nil {
				return err
			}
		}
		if c.Version != 0 {
			if err := p.add(true, op{Verb: "check-index", Key: key, Index: c.Version}); err != nil {
				return err
			}
			all.Version = c.Version
		}
		all.Created = max(all.Created, c.Created)
		if c.Value != nil {
			all.Value = c.Value
		}
	}
	if absent {
		return p.add(true, op{Verb: "check-not-exists", Key: key})
	}
	if all.Created == 0 && all.Value == nil {
		return nil
	}
	return p.pin(key, conds, all, known)
}

// pin adds the comparison of the index with which life and value of a key were seen.
func (p *plan) pin(key string, conds []dcs.Cond, all dcs.Cond, known look) error {
	e, seen := known(key)
	switch {
	case seen && e != nil && every(conds, e):
		return p.add(false, op{Verb: "check-index", Key: key, Index: e.Version})
	case !seen && all.Value == nil && all.Version == 0:
		// A key whose last write is the one that began its life: nothing else has this index.
		return p.add(false, op{Verb: "check-index", Key: key, Index: all.Created})
	}
	p.unread = append(p.unread, key)
	return nil
}

func every(conds []dcs.Cond, e *dcs.Entry) bool {
	for _, c := range conds {
		if !holds(c, e) {
			return false
		}
	}
	return true
}

// write adds one write. The flags, which nobody reads, make a write of the same value a write: Consul would leave
// the key's index as it was.
func (p *plan) write(w dcs.Write, conds []dcs.Cond, known look, nonce uint64) error {
	if w.Delete {
		return p.add(false, op{Verb: "delete", Key: w.Key})
	}
	holder, sure := holderOf(w.Key, conds, known)
	put := op{Key: w.Key, Value: w.Value, Flags: nonce}
	mine := ""
	if w.Session != nil {
		mine = w.Session.ID()
	}
	if holder != "" && holder != mine {
		unlock := put
		unlock.Verb, unlock.Session = "unlock", holder
		if err := p.add(false, unlock); err != nil || mine == "" {
			return err
		}
	}
	if mine != "" {
		put.Verb, put.Session = "lock", mine
		return p.add(false, put)
	}
	put.Verb = "set"
	if err := p.add(false, put); err != nil || sure {
		return err
	}
	return p.add(false, op{Verb: "check-session", Key: w.Key}) // that it was not bound before, and so is not now
}

// holderOf is the session that a key is bound to: sure if conditions say so, else as far as is known.
func holderOf(key string, conds []dcs.Cond, known look) (session string, sure bool) {
	for _, c := range conds {
		if c.Absent || c.Session != "" {
			return c.Session, true
		}
	}
	if e, seen := known(key); seen && e != nil {
		return e.Session, false
	}
	return "", false
}
