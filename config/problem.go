package config

import "strings"

// Where is the place that a message speaks of.
type Where struct {
	Source string // the file as it was named, "environment", or "dynamic configuration"
	Line   int    // counted from 1; 0: the source has no lines
	Key    string // dotted path, list items as name[0]; the variable's name for the environment
}

// Error is one thing that is wrong. Load and Validate join all of them, so that one run shows the whole list.
type Error struct {
	Where
	What string
	Hint string // what to do about it; "" if What says it
}

// Error is "FILE:LINE: key: what is wrong; hint".
func (e *Error) Error() string { return message(e.Where, e.What, e.Hint) }

// Warning is something that an operator should know and that stops nothing: an unknown key, a setting without effect.
type Warning struct {
	Where
	What string
	Hint string
}

// String is "FILE:LINE: key: what; hint".
func (w Warning) String() string { return message(w.Where, w.What, w.Hint) }

func message(w Where, what, hint string) string {
	var b strings.Builder
	if w.Source != "" {
		b.WriteString(w.Source)
		if w.Line > 0 {
			b.WriteByte(':')
			b.WriteString(itoa(w.Line))
		}
		b.WriteString(": ")
	}
	if w.Key != "" {
		b.WriteString(w.Key)
		b.WriteString(": ")
	}
	b.WriteString(what)
	if hint != "" {
		b.WriteString("; ")
		b.WriteString(hint)
	}
	return b.String()
}

// Secret is a password. It prints as stars in logs, in JSON and in %v; convert it with string() to use it.
type Secret string

// String hides the secret.
func (s Secret) String() string {
	if s == "" {
		return ""
	}
	return "***"
}

// GoString hides the secret from %#v.
func (s Secret) GoString() string { return `"` + s.String() + `"` }

// MarshalText hides the secret from encoders and from slog.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }
