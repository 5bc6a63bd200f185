package config

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestDocumentsKeepValuesAndLines(t *testing.T) {
	const doc = `base: &base
  a: 1
  b: [x, 2, on]
merged:
  <<: *base
  b: own
many:
  <<: [{c: 1, d: 1}, {c: 2, e: 2}]
same: *base
1: number key
quoted: "on"
tagged: !!str 12
block: |
  two
  lines
"dot.ted": yes
`
	tree, warnings, err := readYAML("f.yml", []byte(doc))
	if err != nil || len(warnings) > 0 {
		t.Fatal(err, warnings)
	}
	base := map[string]any{"a": int64(1), "b": []any{"x", int64(2), true}}
	want := map[string]any{
		"base": base, "merged": map[string]any{"a": int64(1), "b": "own"}, "same": base,
		"many": map[string]any{"c": int64(1), "d": int64(1), "e": int64(2)},
		"1":    "number key", "quoted": "on", "tagged": "12", "block": "two\nlines\n", "dot.ted": true,
	}
	if d := cmp.Diff(want, tree.values); d != "" {
		t.Error(d)
	}
	for path, line := range map[string]int{"base": 1, "base\x00b\x00[1]": 3, "merged\x00b": 6, "dot.ted": 16, "tagged": 12} {
		if got := tree.where(strings.Split(path, sep)); got.Line != line || got.Source != "f.yml" {
			t.Errorf("%q is at %s:%d, want line %d", path, got.Source, got.Line, line)
		}
	}
}

func TestMalformedDocuments(t *testing.T) {
	for _, c := range []struct{ name, doc, want string }{
		{"empty", "", "f.yml: the file is empty; write `key: value` pairs, for example `scope: mycluster`"},
		{"only a comment", "# nothing\n", "f.yml: the file is empty; write `key: value` pairs, for example `scope: mycluster`"},
		{"list", "- a\n- b\n", "f.yml:1: the top level is not a mapping but a list; write `key: value` pairs, for example `scope: mycluster`"},
		{"text", "hello", "f.yml:1: the top level is not a mapping but text; write `key: value` pairs, for example `scope: mycluster`"},
		{"tab", "a:\n\tb: 1\n", "f.yml:2: not YAML: found character that cannot start any token; look for a tab, a missing blank after a colon, or an open quote at that line or the one before"},
		{"two documents", "a: 1\n---\nb: 2\n", "f.yml:2: a second document begins here, and only one is read; remove the line `---`, or what follows it"},
		{"unknown tag", "a:\n  b: !secret x\n", "f.yml:2: a.b: the tag !secret is not understood; remove it"},
		{"tag that does not fit", "a: !!int x\n", `f.yml:1: a: "x" is not what its tag !!int says; remove the tag`},
		{"list as key", "[a, b]: 1\n", "f.yml:1: a key is a list; keys are words"},
		{"zero byte in a key", "\"a\\0b\": 1\n", "f.yml:1: a key contains a zero byte"},
		{"itself", "a: &a\n  b: *a\n", ""},
		{"laughs", "a: &a [x,x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b,*b]\nd: &d [*c,*c,*c,*c,*c,*c,*c,*c,*c,*c]\ne: &e [*d,*d,*d,*d,*d,*d,*d,*d,*d,*d]\nf: [*e,*e]\n", ""},
		{"all of it", "a: !x 1\nb: !y 2\n", "f.yml:1: a: the tag !x is not understood; remove it\nf.yml:2: b: the tag !y is not understood; remove it"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, _, err := readYAML("f.yml", []byte(c.doc))
			if err == nil {
				t.Fatal("was read")
			}
			if c.want == "" && strings.Contains(err.Error(), "an alias that contains itself") {
				return
			}
			if err.Error() != c.want {
				t.Errorf("got  %s\nwant %s", err, c.want)
			}
		})
	}
}

func TestReadingWarnsOfTraps(t *testing.T) {
	_, warnings, err := readYAML("f.yml", []byte("a: 1\nb:\n  c: 1:30\na: 2\n"))
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		"f.yml:3: b.c: 1:30 is read as the number 90, to base 60, as YAML 1.1 has it; put it in quotes if it is text",
		"f.yml:4: a: written a second time, first in line 1; this one counts; remove the other",
	}
	if d := cmp.Diff(want, texts(warnings)); d != "" {
		t.Error(d)
	}
}

func texts(ws []Warning) []string {
	out := make([]string, len(ws))
	for i, w := range ws {
		out[i] = w.String()
	}
	return out
}

// Whatever a file holds, it is read or refused with a message, and what was read can be used.
func FuzzLoad(f *testing.F) {
	for _, doc := range []string{
		"scope: a\nname: b\netcd3: {hosts: 'a:1,b:2'}\n", "a: &a [*a]\n", "postgresql: {listen: 1, parameters: {a: [1]}}\n",
		"bootstrap:\n  dcs: {ttl: x, postgresql: 3}\n  initdb: [a, {b: c}, {d: e, f: g}]\n  users: {a: 1}\n", "? [a]\n: b\n", "<<: 1\n",
		"tags: {nofailover: x, failover_priority: 0}\nlog: {level: 3, format: [a]}\n", "embedetcd: {initial_cluster: [a=b, c]}\n",
		"watchdog: {mode: off}\nrestapi: {listen: '[::1]:8008', authentication: 3}\n", "a: !!float .nan\n", "bootstrap: {dcs: {a: .inf, b: [.nan]}}\n",
	} {
		f.Add(doc)
	}
	f.Fuzz(func(t *testing.T, doc string) {
		c, _, err := Load(Options{Environ: []string{"PATRONI_CONFIGURATION=" + doc}})
		if err != nil && err.Error() == "" {
			t.Error("an error without words")
		}
		if c == nil {
			return
		}
		_, _ = c.Validate(Checks{})
		if !isObject(c.Bootstrap.DCS) {
			t.Errorf("bootstrap.dcs is not JSON: %s", c.Bootstrap.DCS)
		}
		_, _ = c.Dynamic(nil)
		_, _ = c.Dynamic([]byte(doc))
	})
}

func isObject(raw []byte) bool {
	_, err := decodeObject(raw)
	return err == nil
}
