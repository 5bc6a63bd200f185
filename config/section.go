package config

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/tanist-ha/tanist/postgres"
)

// reader collects what is wrong while the typed structs are filled, so that all of it is reported at once.
type reader struct {
	tree     *tree
	problems []Error
	warnings []Warning
}

func (r *reader) fail(path []string, what, hint string) {
	r.problems = append(r.problems, Error{r.tree.where(path), what, hint})
}

func (r *reader) warn(path []string, what, hint string) {
	r.warnings = append(r.warnings, Warning{r.tree.where(path), what, hint})
}

func (r *reader) root() *section {
	return &section{r: r, values: r.tree.values, known: map[string]bool{}}
}

// section reads one mapping. Asking for a key makes it a known one: what nobody asked for is unknown when done is
// called, so the list of known keys cannot differ from what is read.
type section struct {
	r      *reader
	path   []string
	values map[string]any // nil: absent
	known  map[string]bool
}

func (s *section) at(key string) []string { return append(slices.Clone(s.path), key) }

// get returns the value of key, nil if it is absent or null.
func (s *section) get(key string) any {
	s.known[key] = true
	return s.values[key]
}

func (s *section) has(key string) bool { return s.get(key) != nil }

func (s *section) wrong(key, want, hint string) {
	path := s.at(key)
	s.r.fail(path, "must be "+want+", and is "+s.r.describe(path, s.values[key]), hint)
}

// describe names a value for a message.
func (r *reader) describe(path []string, v any) string {
	raw, plain := r.tree.written(path)
	if !plain {
		raw = pyStr(v)
	}
	switch v := v.(type) {
	case nil:
		return "empty"
	case bool:
		if !plain {
			raw = onOff(v)
		}
		return "the boolean " + raw
	case int64, float64:
		return "the number " + raw
	case string:
		if len(v) > 60 {
			v = v[:60] + "…"
		}
		return fmt.Sprintf("the text %q", v)
	case []any:
		return "a list"
	}
	return "a mapping"
}

func onOff(b bool) string {
	if b {
		return "on"
	}
	return "off"
}

// sub opens a nested mapping; an absent one reads as empty.
func (s *section) sub(key string) *section {
	n := &section{r: s.r, path: s.at(key), known: map[string]bool{}}
	switch v := s.get(key).(type) {
	case nil:
	case map[string]any:
		n.values = v
	default:
		s.wrong(key, "a mapping", "write `key: value` lines below it, indented")
	}
	return n
}

func (s *section) present() bool { return s.values != nil }

// text reads a string. Numbers are taken as Patroni takes them, by their text; where YAML changed them, it is said.
func (s *section) text(key, def string) string {
	switch v := s.get(key).(type) {
	case nil:
		return def
	case string:
		return v
	case int64, float64:
		path := s.at(key)
		if raw, plain := s.r.tree.written(path); plain && raw != pyStr(v) {
			s.r.warn(path, fmt.Sprintf("%s is read as the number %s", raw, pyStr(v)), "put it in quotes")
		}
		return pyStr(v)
	case bool:
		s.wrong(key, "text", "put it in quotes")
	default:
		s.wrong(key, "text", "")
	}
	return def
}

func (s *section) secret(key string) Secret { return Secret(s.text(key, "")) }

// oneOf reads a word out of a list, without regard to case; the first is the default.
func (s *section) oneOf(key string, words ...string) string {
	got := strings.ToLower(s.text(key, words[0]))
	if slices.Contains(words, got) {
		return got
	}
	s.wrong(key, "one of "+strings.Join(words, ", "), didYouMean(got, words))
	return words[0]
}

// integer reads a whole number within bounds, in any spelling that Patroni takes, with a unit where unit is not "".
func (s *section) integer(key string, def, least, most int64, unit string) int64 {
	v := s.get(key)
	if v == nil {
		return def
	}
	n, ok := integerOf(v, unit)
	if !ok {
		want := "a whole number"
		if unit != "" {
			want += " of " + unit
		}
		s.wrong(key, want, "")
		return def
	}
	if n < least || n > most {
		s.wrong(key, between(least, most), "")
		return def
	}
	return n
}

func between(least, most int64) string {
	if most == math.MaxInt64 {
		return fmt.Sprintf("at least %d", least)
	}
	return fmt.Sprintf("between %d and %d", least, most)
}

func integerOf(v any, unit string) (int64, bool) {
	switch v := v.(type) {
	case int64:
		return v, true
	case float64:
		if math.Abs(v) < 1<<53 {
			return int64(math.RoundToEven(v)), true
		}
	case string:
		return postgres.ParseInt(v, unit)
	}
	return 0, false
}

// boolean reads on, true, yes, 1 and their opposites, quoted or not.
func (s *section) boolean(key string, def bool) bool {
	v := s.get(key)
	if v == nil {
		return def
	}
	if b, ok := boolOf(v); ok {
		return b
	}
	s.wrong(key, "on or off", "")
	return def
}

func boolOf(v any) (b, ok bool) {
	switch v := v.(type) {
	case bool:
		return v, true
	case int64:
		return v == 1, v == 0 || v == 1
	case string:
		return postgres.ParseBool(v)
	}
	return false, false
}

// texts reads a list of strings.
func (s *section) texts(key string) []string {
	v := s.get(key)
	if v == nil {
		return nil
	}
	list, ok := v.([]any)
	if !ok {
		s.wrong(key, "a list", "write one item per line, each after `- `")
		return nil
	}
	out := make([]string, 0, len(list))
	for i, e := range list {
		switch e := e.(type) {
		case string:
			out = append(out, e)
		case int64, float64:
			out = append(out, pyStr(e))
		default:
			path := append(s.at(key), item(i))
			s.r.fail(path, "must be text, and is "+s.r.describe(path, e), "put the item in quotes")
		}
	}
	return out
}

// words reads a list of strings, or one string with commas between them.
func (s *section) words(key string) []string {
	if v, ok := s.get(key).(string); ok {
		var out []string
		for _, w := range strings.Split(v, ",") {
			if w = strings.TrimSpace(w); w != "" {
				out = append(out, w)
			}
		}
		return out
	}
	return s.texts(key)
}

// textMap reads a mapping of strings.
func (s *section) textMap(key string) map[string]string {
	m := s.sub(key)
	if !m.present() {
		return nil
	}
	out := map[string]string{}
	for _, k := range sortedKeys(m.values) {
		out[k] = m.text(k, "")
	}
	return out
}

// hostPort reads HOST:PORT; port 0 as default demands one.
func (s *section) hostPort(key string, port int) HostPort {
	v := s.get(key)
	if v == nil {
		return HostPort{}
	}
	text, ok := v.(string)
	if ok {
		if hp, err := ParseHostPort(text, port); err == nil {
			return hp
		}
	}
	s.wrong(key, "HOST:PORT", "for example 10.0.0.1:"+itoa(max(port, 8008)))
	return HostPort{}
}

// done warns of each key that nothing has asked for.
func (s *section) done() {
	for _, k := range s.r.tree.ordered(s.path, s.values) {
		if s.known[k] || s.values[k] == nil {
			continue
		}
		what, hint := s.unknown(k)
		s.r.warn(s.at(k), what, hint)
	}
}
