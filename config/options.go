package config

import (
	"fmt"
	"slices"
	"strings"
)

// optionProblem is an item of an option list that cannot be used.
type optionProblem struct {
	path       []string
	what, hint string
}

// readOptions reads the options of a program: a list of "flag" and {name: value}, or a mapping. The result has the form
// --flag, --name=value; forbidden names are left out and reported.
func readOptions(s *section, key string, forbidden []string) ([]string, []optionProblem) {
	var out []string
	var problems []optionProblem
	problem := func(path []string, what, hint string) { problems = append(problems, optionProblem{path, what, hint}) }
	add := func(path []string, name string, value any, flag bool) {
		name = strings.TrimLeft(name, "-")
		bare, inline, _ := strings.Cut(name, "=")
		switch {
		case slices.Contains(forbidden, bare):
			problem(path, "the option "+bare+" is not allowed", "the agent sets it itself")
		case flag:
			out = append(out, "--"+name)
		case inline != "":
			problem(path, fmt.Sprintf("%q has two values", name), "")
		default:
			text, ok := optionValue(value)
			if !ok {
				problem(path, "must be text, and is "+s.r.describe(path, value), "put the value in quotes")
				return
			}
			out = append(out, "--"+name+"="+text)
		}
	}
	path := s.at(key)
	switch v := s.get(key).(type) {
	case nil:
	case map[string]any:
		for _, name := range s.r.tree.ordered(path, v) {
			add(append(slices.Clone(path), name), name, v[name], v[name] == nil || v[name] == true)
		}
	case []any:
		for i, e := range v {
			at := append(slices.Clone(path), item(i))
			switch e := e.(type) {
			case string:
				add(at, e, nil, true)
			case map[string]any:
				names := sortedKeys(e)
				if len(names) != 1 {
					problem(at, "has more than one key", "begin each option with its own `- `")
					continue
				}
				add(append(slices.Clone(at), names[0]), names[0], e[names[0]], false)
			default:
				problem(at, "must be an option, and is "+s.r.describe(at, e), "write `- flag` or `- name: value`")
			}
		}
	default:
		problem(path, "must be a list of options, and is "+s.r.describe(path, v), "write `- flag` and `- name: value` lines")
	}
	return out, problems
}

// optionValue is a value's text without the quotes of a shell.
func optionValue(v any) (string, bool) {
	switch v := v.(type) {
	case string:
		return unquote(v), true
	case int64, float64:
		return pyStr(v), true
	}
	return "", false
}

// unquote removes one level of a POSIX shell's quotes from a text that is one word; any other text stays as it is.
func unquote(s string) string {
	var b strings.Builder
	var quote byte
	for i := 0; i < len(s); i++ {
		c := s[i]
		switch {
		case quote == 0 && (c == '\'' || c == '"'):
			quote = c
		case quote != 0 && c == quote:
			quote = 0
		case c == '\\' && quote != '\'' && i+1 < len(s) && (quote == 0 || s[i+1] == '"' || s[i+1] == '\\'):
			i++
			b.WriteByte(s[i])
		default:
			b.WriteByte(c)
		}
	}
	if quote != 0 {
		return s
	}
	return b.String()
}
