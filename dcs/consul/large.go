package consul

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/tanist-ha/tanist/dcs"
)

// alone says whether tx is one put without a session, under conditions on that key alone. Consul limits a transaction, in which values
// are encoded in base64, to the size that it allows for one value; such a put can be made outside of a transaction.
func alone(tx dcs.Txn) (dcs.Write, bool) {
	if len(tx.Do) != 1 || tx.Do[0].Delete || tx.Do[0].Session != nil {
		return dcs.Write{}, false
	}
	for _, c := range tx.If {
		if c.Key != tx.Do[0].Key {
			return dcs.Write{}, false
		}
	}
	return tx.Do[0], true
}

// putLarge writes one key, compared by its index with what a read has just shown. wrong: it changed in between.
func (b *Backend) putLarge(ctx context.Context, op string, w dcs.Write, conds []dcs.Cond) (a dcs.Applied, wrong []string, err error) {
	from := b.era.now()
	e, _, err := b.one(ctx, op, w.Key)
	if err != nil {
		return a, nil, err
	}
	if !every(conds, e) {
		return a, nil, b.fail(op, dcs.ErrConflict, nil)
	}
	var index dcs.Version
	if e != nil {
		index = e.Version
		if e.Session != "" {
			return a, nil, b.fail(op, dcs.ErrUnavailable, fmt.Errorf("%w, and %s is bound to a session", errTooLarge, w.Key))
		}
	}
	flags := strconv.FormatUint(rand.Uint64()>>11, 10)
	name, err := consulKey(w.Key)
	if err != nil {
		return a, nil, err
	}
	b.known.forget(w.Key)
	answered, err := b.do(ctx, request{
		op: op, method: http.MethodPut, path: "/v1/kv/" + name, body: w.Value, changes: true, once: true,
		query: url.Values{"cas": {strconv.FormatInt(int64(index), 10)}, "flags": {flags}},
	})
	if err != nil {
		return a, nil, err
	}
	switch strings.TrimSpace(string(answered.body)) {
	case "false":
		return a, []string{w.Key}, nil
	case "true":
	default:
		return a, nil, b.fail(op, dcs.ErrUnknown, errNotConsul)
	}
	version, err := b.wroteAs(ctx, op, name, flags)
	if err != nil {
		return a, nil, b.fail(op, dcs.ErrUnknown, err)
	}
	b.era.reach(from, version)
	return dcs.Applied{Version: version}, nil, nil
}

// wroteAs reads the index of a write back, which Consul does not tell, and knows it again by its flags.
func (b *Backend) wroteAs(ctx context.Context, op, name, flags string) (dcs.Version, error) {
	pairs, _, err := b.get(ctx, request{op: op, query: url.Values{"consistent": {""}}}, name)
	if err != nil {
		return 0, err
	}
	if len(pairs) == 0 || strconv.FormatUint(pairs[0].Flags, 10) != flags {
		return 0, errors.New("it was written, and changed again by somebody else")
	}
	return dcs.Version(pairs[0].ModifyIndex), nil
}
