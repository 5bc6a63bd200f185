package consul

import (
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"

	"github.com/tanist-ha/tanist/dcs"
)

// era remembers which store answers, and how far its keys had come. Consul's answers do not name the store. What does is the
// trust domain that a new set of servers makes up once (for Connect), and raft's index, which never goes back in one store.
type era struct {
	logger *slog.Logger

	mu sync.Mutex
	moment
}

// moment is what an answer to a request that is sent now must not fall short of.
type moment struct {
	domain   string      // "": not known yet
	restores int         // how often the index went back
	index    dcs.Version // of a write of some key
}

// anonymous stands for the trust domain of servers without Connect.
const anonymous = "consul"

func (e *era) now() moment {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.moment
}

// reach notes that the store has come to index, which an answer to a request that was sent at from has shown.
func (e *era) reach(from moment, index dcs.Version) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.same(from) {
		e.index = max(e.index, index)
	}
}

func (e *era) same(m moment) bool { return m.domain == e.domain && m.restores == e.restores }

// sameStore says whether two moments are of one store, as far as is known.
func (m moment) sameStore(other moment) bool {
	return m.restores == other.restores && (m.domain == "" || other.domain == "" || m.domain == other.domain)
}

// back notes that the store that answers now has not come as far as an earlier one: it was wiped, restored, or is another.
func (e *era) back(from moment, index dcs.Version) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if !e.same(from) {
		return
	}
	e.logger.Warn("Consul's index went back: wiped, or restored from a backup?", "was", from.index, "is", index)
	e.restores++
	e.index = index
}

// identify takes the trust domain that the servers have.
func (e *era) identify(domain string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if domain == e.domain {
		return
	}
	if e.domain != "" {
		e.logger.Warn("another Consul answers", "was", e.domain, "is", domain)
		e.restores, e.index = 0, 0
	}
	e.domain = domain
}

// store is the identity of the store that answers now, "" as long as it is not known.
func (e *era) store() string {
	e.mu.Lock()
	defer e.mu.Unlock()
	switch {
	case e.domain == "" && e.restores == 0:
		return ""
	case e.restores == 0:
		return e.domain
	}
	return e.domain + "/" + strconv.Itoa(e.restores)
}

// witness turns the index of a folder into the version of a read that was sent at from. The index of a folder may go back in
// one store, when the marks of deleted keys are dropped after some minutes; that of all keys may not.
func (b *Backend) witness(ctx context.Context, prefix string, from moment, index dcs.Version) (dcs.Version, error) {
	if from.domain == "" {
		if err := b.identify(ctx); err != nil {
			return 0, err
		}
	}
	if index < from.index {
		if err := b.probe(ctx, "read", prefix, from); err != nil {
			return 0, err
		}
		if from.sameStore(b.era.now()) {
			index = from.index // a consistent read shows all that was shown before
		}
	}
	b.era.reach(b.era.now(), index)
	return index, nil
}

// probe asks for the index of all keys and for the identity of the store, and draws the conclusions.
func (b *Backend) probe(ctx context.Context, op, near string, from moment) error {
	// Of a key that does not exist, Consul tells the index of all keys.
	_, a, err := b.one(ctx, op, absentKey(near))
	if err != nil {
		return err
	}
	if a.index < from.index {
		b.era.back(from, a.index)
	}
	return b.identify(ctx)
}

// identify reads the trust domain. Servers that have only just started have none yet.
func (b *Backend) identify(ctx context.Context) error {
	a, err := b.do(ctx, request{
		op: "identify", method: http.MethodGet, path: "/v1/connect/ca/roots", query: url.Values{"consistent": {""}},
		statuses: []int{http.StatusInternalServerError, http.StatusForbidden, http.StatusNotFound},
	})
	if err != nil {
		return err
	}
	var roots struct{ TrustDomain string }
	switch {
	case a.status == http.StatusOK && json.Unmarshal(a.body, &roots) == nil && roots.TrustDomain != "":
		b.era.identify(roots.TrustDomain)
	case a.status != http.StatusOK && strings.Contains(string(a.body), "Connect must be enabled"):
		b.era.identify(anonymous)
	}
	return nil
}
