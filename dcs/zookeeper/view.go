package zookeeper

import (
	"bytes"
	"context"
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/tanist-ha/tanist/dcs"
)

// view is what one multiRead shows: nodes, and the children of some of them, as of one moment. A server carries out the parts of a multiRead
// while it applies no transaction.
type view struct {
	zxid     int64 // everything up to here is included
	nodes    map[string]node
	children map[string][]string
}

// node is one node with its data.
type node struct {
	data []byte
	stat stat
}

// folder says whether n only holds other nodes. A key may be empty, too; but only a folder ever had children.
func (n node) folder() bool { return len(n.data) == 0 && n.stat.cversion > 0 }

// barrier is a transaction that changes nothing. ZooKeeper commits it like any other, by a majority, and a read that is sent after it over the
// same connection sees all that was committed before: `sync` alone would believe a leader that was deposed and does not know it yet.
var barrier = request{op: opMulti, body: encodeOperations(nil)}

// look reads nodes, and children of folders, after a barrier. Absent nodes are missing from the view.
func (b *Backend) look(ctx context.Context, c *conn, nodes, folders []string) (*view, error) {
	nodes = append(slices.Clone(nodes), b.root)
	ops := make([]operation, 0, len(nodes)+len(folders))
	for _, p := range nodes {
		ops = append(ops, operation{kind: opGetData, path: p})
	}
	for _, p := range folders {
		ops = append(ops, operation{kind: opGetChildren, path: p})
	}
	from := b.era.now()
	answers, _, err := c.do(ctx, barrier, request{op: opMultiRead, body: encodeOperations(ops)})
	if err != nil {
		return nil, err
	}
	for _, r := range answers {
		if r.code != 0 {
			return nil, r.code
		}
	}
	results, err := decodeResults(answers[1].body, len(ops))
	if err != nil {
		return nil, err
	}
	v := &view{zxid: answers[0].zxid, nodes: map[string]node{}, children: map[string][]string{}}
	for i, r := range results {
		switch {
		case r.code == codeNoNode:
		case r.code != 0:
			return nil, fmt.Errorf("read %s: %w", ops[i].path, r.code)
		case ops[i].kind == opGetData:
			v.nodes[ops[i].path] = node{data: r.data, stat: r.stat}
		default:
			v.children[ops[i].path] = r.children
		}
	}
	var root *stat
	if n, ok := v.nodes[b.root]; ok {
		root = &n.stat
	}
	b.era.see(from, v.zxid, root)
	return v, nil
}

// tree reads everything below dir. Which nodes there are is guessed from the last time, and the guess is part of what is read: when it was
// wrong, the whole is read again. So a tree that has not changed its shape takes one round trip.
func (b *Backend) tree(ctx context.Context, c *conn, dir string) (*view, error) {
	nodes, folders := b.guess(dir)
	for {
		v, err := b.look(ctx, c, nodes, folders)
		if err != nil {
			return nil, err
		}
		found, inner := v.shape(dir)
		slices.Sort(found)
		slices.Sort(inner)
		right := slices.Equal(found, nodes) && slices.Equal(inner, folders)
		nodes, folders = found, inner
		if right {
			b.remember(dir, nodes, folders)
			return v, nil
		}
	}
}

// shape lists the nodes that v shows below dir, and those of them, and dir, whose children have to be known.
func (v *view) shape(dir string) (nodes, folders []string) {
	folders = []string{dir}
	for _, f := range v.known(dir) {
		for _, child := range v.children[f] {
			p := path.Join(f, child)
			if p == "/zookeeper" {
				continue // its own
			}
			nodes = append(nodes, p)
			if v.nodes[p].stat.numberOfChilden > 0 {
				folders = append(folders, p)
			}
		}
	}
	return nodes, folders
}

// known lists dir and the folders below it that still exist and whose children are known.
func (v *view) known(dir string) []string {
	all := []string{dir}
	for i := 0; i < len(all); i++ {
		for _, child := range v.children[all[i]] {
			if p := path.Join(all[i], child); v.children[p] != nil {
				all = append(all, p)
			}
		}
	}
	return all
}

// entries are the keys with prefix that v shows.
func (v *view) entries(prefix, guard string) []dcs.Entry {
	entries := []dcs.Entry{}
	for p, n := range v.nodes {
		if strings.HasPrefix(p, prefix) && p != guard && !n.folder() {
			entries = append(entries, n.entry(p))
		}
	}
	slices.SortFunc(entries, func(a, b dcs.Entry) int { return strings.Compare(a.Key, b.Key) })
	return entries
}

func (n node) entry(key string) dcs.Entry {
	e := dcs.Entry{
		Key: key, Value: bytes.Clone(n.data), Version: dcs.Version(n.stat.mzxid), Created: dcs.Version(n.stat.czxid),
	}
	if e.Value == nil {
		e.Value = []byte{}
	}
	if n.stat.owner != 0 {
		e.Session = formatSession(n.stat.owner)
	}
	return e
}

// formatSession is the session's number as ZooKeeper's tools print it, without the 0x.
func formatSession(id int64) string { return strconv.FormatUint(uint64(id), 16) }
