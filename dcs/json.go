package dcs

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Marshal renders v as Patroni writes JSON: without spaces, in ASCII only, and with <, > and & as they are.
func Marshal(v any) ([]byte, error) {
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, err
	}
	return ascii(bytes.TrimSuffix(buf.Bytes(), []byte("\n"))), nil
}

// ascii escapes what is not printable ASCII, which in valid JSON stands only inside strings.
func ascii(b []byte) []byte {
	at := bytes.IndexFunc(b, func(r rune) bool { return r >= 0x7f })
	if at < 0 {
		return b
	}
	out := append(make([]byte, 0, len(b)+32), b[:at]...)
	for rest := b[at:]; len(rest) > 0; {
		r, size := utf8.DecodeRune(rest)
		switch {
		case r < 0x7f:
			out = append(out, byte(r))
		case r > 0xffff:
			r -= 0x10000
			out = fmt.Appendf(out, `\u%04x\u%04x`, 0xd800+(r>>10), 0xdc00+(r&0x3ff))
		default:
			out = fmt.Appendf(out, `\u%04x`, r)
		}
		rest = rest[size:]
	}
	return out
}

var (
	errNotObject = errors.New("is not a JSON object")
	errNotArray  = errors.New("is not a JSON array")
)

// fields reads a JSON object without trusting it: a field of the wrong type is absent, and its name is noted.
type fields struct {
	obj map[string]json.RawMessage
	bad []string
}

func parseFields(b []byte) (*fields, error) {
	f := &fields{}
	if err := json.Unmarshal(b, &f.obj); err != nil || f.obj == nil {
		return nil, errNotObject
	}
	return f, nil
}

// raw returns a field that is there and not null.
func (f *fields) raw(name string) (json.RawMessage, bool) {
	r, ok := f.obj[name]
	if !ok || string(r) == "null" {
		return nil, false
	}
	return r, true
}

// read unmarshals a field into v and notes the name of one that does not fit.
func (f *fields) read(name string, v any) bool {
	r, ok := f.raw(name)
	if !ok {
		return false
	}
	if json.Unmarshal(r, v) != nil {
		f.bad = append(f.bad, name)
		return false
	}
	return true
}

func (f *fields) str(name string) string {
	var s string
	if !f.read(name, &s) {
		return ""
	}
	return s
}

func (f *fields) boolean(name string) (value, ok bool) {
	ok = f.read(name, &value)
	return value && ok, ok
}

// number reads a natural number; Patroni takes one written as a string too.
func (f *fields) number(name string) uint64 {
	r, ok := f.raw(name)
	if !ok {
		return 0
	}
	n, err := natural(r)
	if err != nil {
		f.bad = append(f.bad, name)
	}
	return n
}

// natural parses 7 or "7".
func natural(r json.RawMessage) (uint64, error) {
	text := strings.TrimSpace(string(r))
	if len(text) > 1 && text[0] == '"' && text[len(text)-1] == '"' {
		text = strings.TrimSpace(text[1 : len(text)-1])
	}
	return parseNatural(text)
}

func parseNatural(text string) (uint64, error) {
	n, err := strconv.ParseUint(text, 10, 63) // Patroni and PostgreSQL compare these as signed numbers
	if err != nil {
		return 0, err
	}
	return n, nil
}

// problems says which fields were passed over.
func (f *fields) problems() []string {
	switch len(f.bad) {
	case 0:
		return nil
	case 1:
		return []string{fmt.Sprintf("its field %s cannot be understood and is ignored", quote(f.bad[0]))}
	}
	names := make([]string, 0, len(f.bad))
	for _, n := range f.bad[:min(len(f.bad), 10)] {
		names = append(names, quote(n))
	}
	return []string{fmt.Sprintf("its fields %s cannot be understood and are ignored", strings.Join(names, ", "))}
}

// quote renders text from the store for people: escaped, and short.
func quote(s string) string {
	const most = 64
	if len(s) > most {
		return strconv.Quote(strings.ToValidUTF8(s[:most], "")) + "..."
	}
	return strconv.Quote(s)
}
