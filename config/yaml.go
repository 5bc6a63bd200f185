package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Bounds of a document. A configuration is far below them; they stop files that refer to themselves.
const (
	maxDepth  = 64
	maxValues = 50_000
)

// yamlReader turns the nodes of one document into a tree. Nodes, not decoded values, because nodes know their lines, and
// because the library decodes by YAML 1.2 what Patroni reads by 1.1.
type yamlReader struct {
	tree     *tree
	errs     []error
	warnings []Warning
	values   int
	tooBig   bool
}

// readYAML reads one document whose top level is a mapping.
func readYAML(source string, data []byte) (*tree, []Warning, error) {
	r := &yamlReader{tree: newTree(source)}
	root, err := parseYAML(data)
	if err != nil {
		return nil, nil, syntaxError(source, err)
	}
	if root == nil || root.Kind != yaml.MappingNode {
		what := "the file is empty"
		line := 0
		if root != nil {
			what, line = "the top level is not a mapping but "+describeNode(root), root.Line
		}
		return nil, nil, &Error{Where{Source: source, Line: line}, what, "write `key: value` pairs, for example `scope: mycluster`"}
	}
	v, _ := r.value(root, nil, 0)
	if m, ok := v.(map[string]any); ok {
		r.tree.values = m
	}
	if len(r.errs) > 0 {
		return nil, r.warnings, errors.Join(r.errs...)
	}
	return r.tree, r.warnings, nil
}

// parseYAML returns the root node of the only document, nil if there is none.
func parseYAML(data []byte) (root *yaml.Node, err error) {
	defer func() {
		if p := recover(); p != nil {
			root, err = nil, fmt.Errorf("yaml: cannot be read: %v", p)
		}
	}()
	dec := yaml.NewDecoder(bytes.NewReader(data))
	var doc, second yaml.Node
	if err := dec.Decode(&doc); err != nil {
		if errors.Is(err, io.EOF) {
			return nil, nil
		}
		return nil, err
	}
	if err := dec.Decode(&second); !errors.Is(err, io.EOF) {
		if err != nil {
			return nil, err
		}
		return nil, &Error{Where{Line: second.Line}, "a second document begins here, and only one is read", "remove the line `---`, or what follows it"}
	}
	if doc.Kind != yaml.DocumentNode || len(doc.Content) == 0 {
		return nil, nil
	}
	root = doc.Content[0]
	if root.Kind == yaml.ScalarNode && root.Tag == "!!null" && root.Value == "" {
		return nil, nil
	}
	return root, nil
}

var yamlLine = regexp.MustCompile(`^(?:yaml: )?(?:line (\d+): )?(?s:(.*))$`)

func syntaxError(source string, err error) error {
	var own *Error
	if errors.As(err, &own) {
		own.Source = source
		return own
	}
	m := yamlLine.FindStringSubmatch(err.Error())
	line, _ := strconv.Atoi(m[1])
	return &Error{Where{Source: source, Line: line}, "not YAML: " + m[2], "look for a tab, a missing blank after a colon, or an open quote at that line or the one before"}
}

func describeNode(n *yaml.Node) string {
	switch n.Kind {
	case yaml.MappingNode:
		return "a mapping"
	case yaml.SequenceNode:
		return "a list"
	case yaml.AliasNode:
		return "an alias"
	}
	return "text"
}

func (r *yamlReader) fail(n *yaml.Node, path []string, what, hint string) {
	r.errs = append(r.errs, &Error{Where{r.tree.source, n.Line, showPath(path)}, what, hint})
}

// value reads a node; ok is false when an error was noted instead.
func (r *yamlReader) value(n *yaml.Node, path []string, depth int) (v any, ok bool) {
	r.values++
	if depth > maxDepth || r.values > maxValues {
		if !r.tooBig {
			r.tooBig = true
			r.fail(n, path, "too deep or too large, perhaps an alias that contains itself", "")
		}
		return nil, false
	}
	switch n.Kind {
	case yaml.AliasNode:
		return r.value(n.Alias, path, depth+1)
	case yaml.MappingNode:
		return r.mapping(n, path, depth)
	case yaml.SequenceNode:
		if !r.tagged(n, path, "!!seq") {
			return nil, false
		}
		list := make([]any, 0, len(n.Content))
		for i, c := range n.Content {
			e, _ := r.value(c, append(path[:len(path):len(path)], item(i)), depth+1)
			list = append(list, e)
		}
		r.note(n, path)
		return list, true
	default:
		v, ok := r.scalar(n, path)
		r.note(n, path)
		return v, ok
	}
}

// note remembers where the value at path was written. A mapping's key line is noted by mapping itself.
func (r *yamlReader) note(n *yaml.Node, path []string) {
	key := joinPath(path)
	p := place{source: r.tree.source, line: n.Line, seq: len(r.tree.places)}
	if old, seen := r.tree.places[key]; seen {
		p.seq, p.line = old.seq, old.line
	}
	if n.Kind == yaml.ScalarNode {
		p.raw, p.plain, p.line = n.Value, n.Style&^yaml.FlowStyle == 0, n.Line
	}
	r.tree.places[key] = p
}

// tagged accepts a node without a tag of the user's, or with the given one.
func (r *yamlReader) tagged(n *yaml.Node, path []string, allowed string) bool {
	if n.Style&yaml.TaggedStyle == 0 || n.ShortTag() == allowed {
		return true
	}
	r.fail(n, path, "the tag "+n.Tag+" is not understood", "remove it")
	return false
}

func (r *yamlReader) mapping(n *yaml.Node, path []string, depth int) (any, bool) {
	if !r.tagged(n, path, "!!map") {
		return nil, false
	}
	r.note(n, path)
	m := map[string]any{}
	lines := map[string]int{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		if isMerge(n.Content[i]) {
			r.merge(n.Content[i+1], path, depth, m)
		}
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		k, child := n.Content[i], n.Content[i+1]
		if isMerge(k) {
			continue
		}
		name, ok := r.key(k, path)
		if !ok {
			continue
		}
		sub := append(path[:len(path):len(path)], name)
		if first, twice := lines[name]; twice {
			r.warnings = append(r.warnings, Warning{Where{r.tree.source, k.Line, showPath(sub)},
				fmt.Sprintf("written a second time, first in line %d", first), "this one counts; remove the other"})
		}
		lines[name] = k.Line
		if _, known := r.tree.places[joinPath(sub)]; !known {
			r.tree.places[joinPath(sub)] = place{source: r.tree.source, line: k.Line, seq: len(r.tree.places)}
		}
		m[name], _ = r.value(child, sub, depth+1)
	}
	return m, true
}

func isMerge(k *yaml.Node) bool {
	return k.Kind == yaml.ScalarNode && k.Value == "<<" && (k.Style == 0 || k.Tag == "!!merge")
}

// merge puts the mappings that `<<` names into m; earlier ones win, and the mapping's own keys, read later, win over
// all.
func (r *yamlReader) merge(n *yaml.Node, path []string, depth int, m map[string]any) {
	sources := []*yaml.Node{n}
	if n.Kind == yaml.SequenceNode {
		sources = n.Content
	}
	for i := len(sources) - 1; i >= 0; i-- {
		v, ok := r.value(sources[i], path, depth+1)
		from, isMap := v.(map[string]any)
		if ok && !isMap {
			r.fail(n, path, "`<<` wants a mapping", "")
		}
		for k, e := range from {
			m[k] = e
		}
	}
}

func (r *yamlReader) key(k *yaml.Node, path []string) (string, bool) {
	if k.Kind == yaml.AliasNode && k.Alias != nil {
		k = k.Alias
	}
	switch {
	case k.Kind != yaml.ScalarNode:
		r.fail(k, path, "a key is "+describeNode(k), "keys are words")
	case strings.ContainsAny(k.Value, sep):
		r.fail(k, path, "a key contains a zero byte", "")
	default:
		return k.Value, true
	}
	return "", false
}

func (r *yamlReader) scalar(n *yaml.Node, path []string) (any, bool) {
	if n.Style&yaml.TaggedStyle != 0 {
		return r.taggedScalar(n, path)
	}
	if n.Style&(yaml.SingleQuotedStyle|yaml.DoubleQuotedStyle|yaml.LiteralStyle|yaml.FoldedStyle) != 0 {
		return n.Value, true
	}
	v := plainScalar(n.Value)
	if _, text := v.(string); !text && isSexagesimal(n.Value) {
		r.warnings = append(r.warnings, Warning{Where{r.tree.source, n.Line, showPath(path)},
			fmt.Sprintf("%s is read as the number %s, to base 60, as YAML 1.1 has it", n.Value, pyStr(v)), "put it in quotes if it is text"})
	}
	return v, true
}

func (r *yamlReader) taggedScalar(n *yaml.Node, path []string) (any, bool) {
	v := plainScalar(n.Value)
	ok := false
	switch n.ShortTag() {
	case "!!str":
		return n.Value, true
	case "!!int":
		_, ok = v.(int64)
	case "!!float":
		if i, whole := v.(int64); whole {
			v = float64(i)
		}
		_, ok = v.(float64)
	case "!!bool":
		_, ok = v.(bool)
	case "!!null":
		v, ok = nil, true
	default:
		r.tagged(n, path, "")
		return nil, false
	}
	if !ok {
		r.fail(n, path, fmt.Sprintf("%q is not what its tag %s says", n.Value, n.Tag), "remove the tag")
	}
	return v, ok
}
