package config

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// Patch merges patch into old, two JSON objects, by the rules of Patroni's PATCH /config: null removes a key, an object
// is merged into an object, anything else replaces what is there if its text form differs (so "1" does not replace 1).
// The keys of old keep their order and unknown ones stay, because tools compare hashes of this document; new keys come
// last. The result is compact; if nothing changed it is old itself. An empty old counts as {}.
func Patch(old, patch []byte) (result []byte, changed bool, err error) {
	o := &jsonObject{}
	if len(bytes.TrimSpace(old)) > 0 {
		if o, err = readObject(old); err != nil {
			return nil, false, fmt.Errorf("read the configuration to change: %w", err)
		}
	}
	p, err := readObject(patch)
	if err != nil {
		return nil, false, fmt.Errorf("read the change: %w", err)
	}
	if !o.patch(p) {
		return old, false, nil
	}
	return o.append(nil), true, nil
}

// Same says whether two JSON documents are equal as Patroni compares configurations: the same keys in any order, and
// values equal by their text form. What is not a JSON object equals nothing.
func Same(a, b []byte) bool {
	am, aerr := decodeObject(a)
	bm, berr := decodeObject(b)
	return aerr == nil && berr == nil && sameValue(am, bm)
}

// errNotObject is what the readers of JSON below say of anything but one object.
var errNotObject = errors.New("not a JSON object")

// decodeObject reads a JSON object into the values of a tree. Numbers without fraction and exponent that fit become
// int64.
func decodeObject(raw []byte) (map[string]any, error) {
	if !json.Valid(raw) {
		return nil, fmt.Errorf("%w: %w", errNotObject, json.Unmarshal(raw, new(any)))
	}
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber()
	var v any
	if err := dec.Decode(&v); err != nil {
		return nil, fmt.Errorf("%w: %w", errNotObject, err)
	}
	m, ok := v.(map[string]any)
	if !ok {
		return nil, errNotObject
	}
	if err := refuseZeroBytes(m); err != nil {
		return nil, err
	}
	return plainNumbers(m).(map[string]any), nil
}

// refuseZeroBytes keeps the delimiter of paths out of keys.
func refuseZeroBytes(v any) error {
	switch v := v.(type) {
	case map[string]any:
		for k, e := range v {
			if strings.Contains(k, sep) {
				return fmt.Errorf("the key %q contains a zero byte", k)
			}
			if err := refuseZeroBytes(e); err != nil {
				return err
			}
		}
	case []any:
		for _, e := range v {
			if err := refuseZeroBytes(e); err != nil {
				return err
			}
		}
	}
	return nil
}

func plainNumbers(v any) any {
	switch v := v.(type) {
	case map[string]any:
		for k, e := range v {
			v[k] = plainNumbers(e)
		}
	case []any:
		for i, e := range v {
			v[i] = plainNumbers(e)
		}
	case json.Number:
		if i, err := strconv.ParseInt(v.String(), 10, 64); err == nil {
			return i
		}
		if f, err := v.Float64(); err == nil && strings.ContainsAny(v.String(), ".eE") {
			return f
		}
		return v.String()
	}
	return v
}

// jsonObject is a JSON object that remembers the order of its keys and leaves the values that nobody changes as they
// were written.
type jsonObject struct {
	keys   []string
	values map[string]jsonValue
}

// jsonValue is an object, or the compact text of anything else.
type jsonValue struct {
	object *jsonObject
	raw    []byte
}

func readObject(raw []byte) (*jsonObject, error) {
	if !json.Valid(raw) {
		return nil, fmt.Errorf("%w: %w", errNotObject, json.Unmarshal(raw, new(any)))
	}
	dec := json.NewDecoder(bytes.NewReader(raw))
	if t, err := dec.Token(); err != nil || t != json.Delim('{') {
		return nil, errNotObject
	}
	o := &jsonObject{values: map[string]jsonValue{}}
	for dec.More() {
		t, err := dec.Token()
		if err != nil {
			return nil, err
		}
		var value json.RawMessage
		if err := dec.Decode(&value); err != nil {
			return nil, err
		}
		v := jsonValue{}
		if value[0] == '{' {
			if v.object, err = readObject(value); err != nil {
				return nil, err
			}
		} else {
			var b bytes.Buffer
			if err := json.Compact(&b, value); err != nil {
				return nil, err
			}
			v.raw = b.Bytes()
		}
		o.set(t.(string), v)
	}
	return o, nil
}

func (o *jsonObject) set(key string, v jsonValue) {
	if o.values == nil {
		o.values = map[string]jsonValue{}
	}
	if _, exists := o.values[key]; !exists {
		o.keys = append(o.keys, key)
	}
	o.values[key] = v
}

func (o *jsonObject) remove(key string) {
	delete(o.values, key)
	for i, k := range o.keys {
		if k == key {
			o.keys = append(o.keys[:i], o.keys[i+1:]...)
			return
		}
	}
}

func (o *jsonObject) patch(p *jsonObject) (changed bool) {
	for _, k := range p.keys {
		v := p.values[k]
		old, exists := o.values[k]
		switch {
		case v.null():
			o.remove(k)
			changed = changed || exists && !old.null()
		case !exists:
			o.set(k, v)
			changed = true
		case v.object != nil && old.object != nil:
			changed = old.object.patch(v.object) || changed
		case v.object != nil || v.text() != old.text():
			o.set(k, v)
			changed = true
		}
	}
	return changed
}

func (v jsonValue) null() bool { return v.object == nil && string(v.raw) == "null" }

// text is the form by which values are compared.
func (v jsonValue) text() string {
	if v.object != nil {
		v.raw = v.object.append(nil)
	}
	dec := json.NewDecoder(bytes.NewReader(v.raw))
	dec.UseNumber()
	var x any
	if err := dec.Decode(&x); err != nil {
		return string(v.raw)
	}
	return pyStr(plainNumbers(x))
}

func (o *jsonObject) append(b []byte) []byte {
	b = append(b, '{')
	for i, k := range o.keys {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(appendString(b, k), ':')
		if v := o.values[k]; v.object != nil {
			b = v.object.append(b)
		} else {
			b = append(b, v.raw...)
		}
	}
	return append(b, '}')
}

// appendString writes a JSON string.
func appendString(b []byte, s string) []byte {
	text, err := marshal(s)
	if err != nil {
		text = []byte(`""`) // a string always encodes
	}
	return append(b, text...)
}

// marshal encodes without the escapes that encoding/json adds for browsers.
func marshal(v any) ([]byte, error) {
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	err := enc.Encode(v)
	return bytes.TrimSuffix(buf.Bytes(), []byte("\n")), err
}
