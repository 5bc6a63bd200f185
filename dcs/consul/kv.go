package consul

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/tanist-ha/tanist/dcs"
)

// pair is a key as Consul shows it.
type pair struct {
	Key         string
	Value       []byte
	Session     string
	Flags       uint64
	CreateIndex int64
	ModifyIndex int64
}

func (p pair) entry() dcs.Entry {
	return dcs.Entry{
		Key: "/" + p.Key, Value: p.Value, Version: dcs.Version(p.ModifyIndex), Created: dcs.Version(p.CreateIndex), Session: p.Session,
	}
}

// consulKey is Consul's name of a key: without the slash that the keys of a cluster begin with.
func consulKey(key string) (string, error) {
	name, ok := strings.CutPrefix(key, "/")
	if !ok || name == "" {
		return "", fmt.Errorf("consul: key %q does not begin with a slash and a name", key)
	}
	return name, nil
}

// list reads every key below prefix, sorted, and the index of the folder.
func (b *Backend) list(ctx context.Context, r request, prefix string) ([]dcs.Entry, dcs.Version, error) {
	r.query.Set("recurse", "")
	pairs, a, err := b.get(ctx, r, strings.TrimPrefix(prefix, "/"))
	if err == nil && *b.token.Load() == "" && a.header.Get("X-Consul-Default-Acl-Policy") == "deny" {
		err = b.mayRead(ctx, r.op, prefix)
	}
	if err != nil {
		return nil, 0, err
	}
	entries := make([]dcs.Entry, 0, len(pairs))
	for _, p := range pairs {
		entries = append(entries, p.entry())
	}
	slices.SortFunc(entries, func(x, y dcs.Entry) int { return strings.Compare(x.Key, y.Key) })
	return entries, a.index, nil
}

// mayRead asks for one key: without a token, and where nothing is allowed by default, Consul leaves out of a folder what it does not
// show, and does not even say so.
func (b *Backend) mayRead(ctx context.Context, op, prefix string) error {
	_, _, err := b.one(ctx, op, absentKey(prefix))
	return err
}

// absentKey is a key below prefix that nobody writes.
func absentKey(prefix string) string { return strings.TrimSuffix(prefix, "/") + "/tanist-asks" }

// one reads one key consistently; nil: there is none.
func (b *Backend) one(ctx context.Context, op, key string) (*dcs.Entry, answer, error) {
	name, err := consulKey(key)
	if err != nil {
		return nil, answer{}, err
	}
	pairs, a, err := b.get(ctx, request{op: op, query: url.Values{"consistent": {""}}}, name)
	if err != nil || len(pairs) == 0 {
		return nil, a, err
	}
	e := pairs[0].entry()
	return &e, a, nil
}

// get asks for one key or, with recurse, for a folder. "Not found" is Consul's answer only with an index: a server of another
// kind says it, too, and an empty store would look vacant to everybody.
func (b *Backend) get(ctx context.Context, r request, name string) ([]pair, answer, error) {
	r.method, r.path, r.statuses = http.MethodGet, "/v1/kv/"+name, []int{http.StatusNotFound}
	a, err := b.do(ctx, r)
	if err != nil {
		return nil, answer{}, err
	}
	if a.index == 0 {
		return nil, a, b.fail(r.op, dcs.ErrUnavailable, fmt.Errorf("%w: status %d without an index", errNotConsul, a.status))
	}
	if a.header.Get("X-Consul-Results-Filtered-By-Acls") == "true" {
		return nil, a, b.fail(r.op, dcs.ErrUnavailable, errFiltered)
	}
	if a.status == http.StatusNotFound {
		return nil, a, nil
	}
	var pairs []pair
	if err := json.Unmarshal(a.body, &pairs); err != nil {
		return nil, a, b.fail(r.op, dcs.ErrUnavailable, fmt.Errorf("%w: %w", errNotConsul, err))
	}
	return pairs, a, nil
}
