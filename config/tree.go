package config

import (
	"slices"
	"strconv"
	"strings"
)

// sep stands between the keys of a path. The YAML and JSON readers refuse it inside keys, so it cannot occur in one, as
// a dot can: names of PostgreSQL's extension settings contain dots.
const sep = "\x00"

// place is where a value of the merged tree was written.
type place struct {
	source string
	line   int
	key    string // instead of the path in messages: the name of the environment variable
	raw    string // a scalar as written
	plain  bool   // it was written without quotes
	seq    int    // order of the first appearance, over all sources
}

// tree is a document, or several merged ones, with the places its values come from. Values are nil, bool, int64,
// float64, string, []any and map[string]any.
type tree struct {
	values map[string]any
	places map[string]place // by path, joined with sep
	source string           // of what no place is known of
}

func newTree(source string) *tree {
	return &tree{values: map[string]any{}, places: map[string]place{}, source: source}
}

func joinPath(path []string) string { return strings.Join(path, sep) }

// where finds the place of a path, or of its nearest parent that has one.
func (t *tree) where(path []string) Where {
	for n := len(path); n > 0; n-- {
		p, ok := t.places[joinPath(path[:n])]
		if !ok {
			continue
		}
		if p.key != "" {
			return Where{Source: p.source, Line: p.line, Key: p.key}
		}
		return Where{Source: p.source, Line: p.line, Key: showPath(path)}
	}
	return Where{Source: t.source, Key: showPath(path)}
}

// written returns the scalar at path as it was written, and whether it is known.
func (t *tree) written(path []string) (raw string, plain bool) {
	p, ok := t.places[joinPath(path)]
	return p.raw, ok && p.plain
}

// adopt takes over the places of a document that was merged on top of t. Order of appearance stays with the first.
func (t *tree) adopt(o *tree) {
	later := len(t.places) // an upper bound of the numbers given so far
	for path, p := range o.places {
		if old, ok := t.places[path]; ok {
			p.seq = old.seq
		} else {
			p.seq += later
		}
		t.places[path] = p
	}
}

// ordered returns the keys of the mapping at path as they were first written.
func (t *tree) ordered(path []string, m map[string]any) []string {
	keys := sortedKeys(m)
	at := func(k string) int { return t.places[joinPath(append(slices.Clone(path), k))].seq }
	slices.SortStableFunc(keys, func(a, b string) int { return at(a) - at(b) })
	return keys
}

// showPath writes a path for people: postgresql.pg_hba[3]. List items are paths' elements of the form "[3]".
func showPath(path []string) string {
	var b strings.Builder
	for i, p := range path {
		if i > 0 && !strings.HasPrefix(p, "[") {
			b.WriteByte('.')
		}
		b.WriteString(p)
	}
	return b.String()
}

func item(i int) string { return "[" + strconv.Itoa(i) + "]" }

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
