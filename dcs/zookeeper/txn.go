package zookeeper

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"path"
	"strings"

	"github.com/tanist-ha/tanist/dcs"
)

// Apply carries out tx. It goes over the connection of the session that tx names, as ZooKeeper makes ephemeral nodes for no other.
func (b *Backend) Apply(ctx context.Context, tx dcs.Txn) (dcs.Applied, error) {
	s, err := b.check(tx)
	if err != nil {
		return dcs.Applied{}, err
	}
	ctx, end, err := b.begin(ctx, "apply")
	if err != nil {
		return dcs.Applied{}, err
	}
	defer end()
	if s != nil {
		return s.apply(ctx, "apply", tx)
	}
	return b.apply(ctx, b.base, "apply", tx, nil)
}

// check finds what is wrong with tx whatever the store holds, and the session that it needs.
func (b *Backend) check(tx dcs.Txn) (*session, error) {
	var x *session
	for _, c := range tx.If {
		if err := b.checkKey(c.Key); err != nil {
			return nil, err
		}
		if c.Absent && (c.Version != 0 || c.Created != 0 || c.Session != "" || c.Value != nil) {
			return nil, fmt.Errorf("zookeeper: a condition wants %s to be absent and to have a content", c.Key)
		}
	}
	for _, w := range tx.Do {
		if err := b.checkKey(w.Key); err != nil {
			return nil, err
		}
		if w.Session == nil || w.Delete {
			continue
		}
		s, ok := w.Session.(*session)
		switch {
		case !ok:
			return nil, fmt.Errorf("zookeeper: %s is to live with a session of another kind of store", w.Key)
		case x != nil && x != s:
			return nil, errors.New("zookeeper: one transaction names two sessions: ZooKeeper makes nodes only for the session that asks")
		}
		x = s
	}
	return x, nil
}

func (b *Backend) checkKey(key string) error {
	folder := folderOf(b.cfg.Folder)
	if !strings.HasPrefix(key, folder+"/") || path.Clean(key) != key || key == b.guard {
		return fmt.Errorf("zookeeper: key %q is not one below %s", key, folder)
	}
	return nil
}

// outcome is how one try of a transaction ended.
type outcome struct {
	zxid  int64
	again bool // somebody else was faster: nothing happened, and the conditions have to be looked at again
}

// apply looks at the conditions and sends the writes guarded by what it saw, again and again while others are faster. noted, if not nil, is
// told of each transaction that the server has acknowledged.
func (b *Backend) apply(ctx context.Context, l *link, op string, tx dcs.Txn, noted *proof) (dcs.Applied, error) {
	for {
		out, err := repeat(ctx, l, op, dcs.ErrUnavailable, func(ctx context.Context, c *conn) (outcome, error) { return b.try(ctx, c, tx, noted) })
		switch {
		case err != nil:
			return dcs.Applied{}, err
		case !out.again:
			return dcs.Applied{Version: dcs.Version(out.zxid)}, nil
		}
	}
}

// lostAnswer marks the error of a write whose fate is unknown.
type lostAnswer struct{ err error }

func (e *lostAnswer) Error() string { return e.err.Error() }
func (e *lostAnswer) Unwrap() error { return e.err }

// errConflict is a condition that does not hold.
var errConflict = errors.New("the store holds something else")

// try is one round: look, decide, write.
func (b *Backend) try(ctx context.Context, c *conn, tx dcs.Txn, noted *proof) (outcome, error) {
	before := noted.now()
	v, err := b.look(ctx, c, b.concerned(tx), nil)
	if err != nil {
		return outcome{}, err
	}
	noted.acknowledged(c, before)
	for _, cond := range tx.If {
		if n, ok := v.nodes[cond.Key]; !holds(cond, n, ok && !n.folder()) {
			return outcome{}, errConflict
		}
	}
	if len(tx.Do) == 0 {
		return outcome{zxid: v.zxid}, nil
	}
	if _, ok := v.nodes[b.guard]; !ok {
		return outcome{again: true}, b.makeGuard(ctx, c)
	}
	ops := b.operations(tx, v, c.session)
	from := b.era.now()
	before = noted.now()
	answers, sent, err := c.do(ctx, request{op: opMulti, body: encodeOperations(ops)})
	if err != nil {
		if sent {
			err = &lostAnswer{err}
		}
		return outcome{}, err
	}
	noted.acknowledged(c, before)
	why, which, err := verdict(answers[0], len(ops))
	switch {
	case err != nil:
		return outcome{}, &lostAnswer{err}
	case why == 0:
		root := v.nodes[b.root].stat
		b.era.see(from, answers[0].zxid, &root)
		return outcome{zxid: answers[0].zxid}, nil
	case why == codeBadVersion || why == codeNoNode || why == codeNodeExists:
		return outcome{again: true}, nil
	case which < 0:
		return outcome{}, why
	}
	return outcome{}, fmt.Errorf("write %s: %w", ops[which].path, why)
}

// verdict finds the part that made a multi fail; why is 0 if none did.
func verdict(r reply, n int) (why code, which int, err error) {
	results, err := decodeResults(r.body, n)
	if err != nil {
		if r.code != 0 {
			return r.code, -1, nil
		}
		return 0, -1, err
	}
	const rolledBack = code(-2) // of the parts beside the one that failed
	for i, part := range results {
		if part.code != 0 && part.code != rolledBack {
			return part.code, i, nil
		}
	}
	return r.code, -1, nil
}

// holds says whether a node, if there is one, fits a condition.
func holds(c dcs.Cond, n node, present bool) bool {
	switch {
	case !present:
		return c.Absent || c.Version == 0 && c.Created == 0 && c.Session == "" && c.Value == nil
	case c.Absent,
		c.Version != 0 && int64(c.Version) != n.stat.mzxid,
		c.Created != 0 && int64(c.Created) != n.stat.czxid,
		c.Session != "" && (n.stat.owner == 0 || c.Session != formatSession(n.stat.owner)),
		c.Value != nil && !bytes.Equal(c.Value, n.data):
		return false
	}
	return true
}

// concerned lists the nodes that tx compares and writes, the folders above those that it may create, and the guard.
func (b *Backend) concerned(tx dcs.Txn) []string {
	seen := map[string]bool{b.guard: true, b.root: true} // look reads the root anyway
	nodes := []string{b.guard}
	add := func(p string) {
		if !seen[p] {
			seen[p] = true
			nodes = append(nodes, p)
		}
	}
	for _, c := range tx.If {
		add(c.Key)
	}
	for _, w := range tx.Do {
		add(w.Key)
		if !w.Delete {
			for _, p := range b.above(w.Key) {
				add(p)
			}
		}
	}
	return nodes
}

// above lists the folders between the cluster's and a key, the topmost first.
func (b *Backend) above(key string) []string {
	var all []string
	for p := path.Dir(key); p != path.Dir(b.guard); p = path.Dir(p) {
		all = append([]string{p}, all...)
	}
	return all
}

// operations turns tx into a multi that happens only if nothing has changed since v: not the guard, which every transaction of this package
// changes, and not the version of any node that was looked at, which protects from those who do not know the guard.
func (b *Backend) operations(tx dcs.Txn, v *view, session int64) []operation {
	ops := []operation{{kind: opSetData, path: b.guard, version: v.nodes[b.guard].stat.version}}
	written := map[string]bool{}
	for _, w := range tx.Do {
		written[w.Key] = true
	}
	for _, c := range tx.If {
		if n, ok := v.nodes[c.Key]; ok && !written[c.Key] {
			ops = append(ops, operation{kind: opCheck, path: c.Key, version: n.stat.version})
			written[c.Key] = true
		}
	}
	made := map[string]bool{}
	for _, w := range tx.Do {
		n, there := v.nodes[w.Key]
		owner, flags := int64(0), flagPersistent
		if w.Session != nil {
			owner, flags = session, flagEphemeral
		}
		switch {
		case w.Delete:
			if there && !n.folder() {
				ops = append(ops, operation{kind: opDelete, path: w.Key, version: n.stat.version})
			}
			continue
		case there && n.stat.owner == owner:
			ops = append(ops, operation{kind: opSetData, path: w.Key, data: w.Value, version: n.stat.version})
			continue
		case there: // a node keeps its session: another one is made
			ops = append(ops, operation{kind: opDelete, path: w.Key, version: n.stat.version})
		}
		for _, p := range b.above(w.Key) {
			if _, ok := v.nodes[p]; !ok && !made[p] {
				made[p] = true
				ops = append(ops, operation{kind: opCreate, path: p, acl: b.cfg.ACL, flags: flagPersistent})
			}
		}
		ops = append(ops, operation{kind: opCreate, path: w.Key, data: w.Value, acl: b.cfg.ACL, flags: flags})
	}
	return ops
}

// makeGuard creates the guard and the folders above it that are missing. Somebody else may do the same at the same time.
func (b *Backend) makeGuard(ctx context.Context, c *conn) error {
	var p string
	for _, name := range strings.Split(b.guard[1:], "/") {
		p += "/" + name
		answers, _, err := c.do(ctx, request{op: opMulti, body: encodeOperations([]operation{{kind: opCreate, path: p, acl: b.cfg.ACL}})})
		if err != nil {
			return err
		}
		why, _, err := verdict(answers[0], 1)
		if err != nil {
			return err
		}
		if why != 0 && why != codeNodeExists {
			return fmt.Errorf("create %s: %w", p, why)
		}
	}
	return nil
}
