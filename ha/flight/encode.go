package flight

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"time"
	"unicode/utf8"
)

var (
	timeType     = reflect.TypeFor[time.Time]()
	durationType = reflect.TypeFor[time.Duration]()
	anyType      = reflect.TypeFor[any]()
)

// encoder writes values as the package comment says.
type encoder struct{ bytes.Buffer }

func (e *encoder) value(v reflect.Value) error {
	switch v.Type() {
	case timeType:
		return e.text(v.Interface().(time.Time).Format(time.RFC3339Nano))
	case durationType:
		return e.text(time.Duration(v.Int()).String())
	}
	switch v.Kind() {
	case reflect.String:
		return e.text(v.String())
	case reflect.Bool:
		e.WriteString(strconv.FormatBool(v.Bool()))
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		e.WriteString(strconv.FormatInt(v.Int(), 10))
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		e.WriteString(strconv.FormatUint(v.Uint(), 10))
	case reflect.Pointer:
		if v.IsNil() {
			e.WriteString("null")
			return nil
		}
		return e.value(v.Elem())
	case reflect.Interface:
		return e.union(v)
	case reflect.Struct:
		return e.structure(v)
	case reflect.Map:
		return e.mapping(v)
	case reflect.Slice, reflect.Array:
		return e.list(v)
	default:
		return fmt.Errorf("a %s cannot be recorded", v.Type())
	}
	return nil
}

func (e *encoder) text(s string) error { return e.json(s) }

// json writes v in the standard way, without the escapes that only web pages need.
func (e *encoder) json(v any) error {
	enc := json.NewEncoder(&e.Buffer)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return err
	}
	e.Truncate(e.Len() - 1) // the newline
	return nil
}

// structure leaves out fields that are zero.
func (e *encoder) structure(v reflect.Value) error {
	e.WriteByte('{')
	first := true
	for i := range v.NumField() {
		f, value := v.Type().Field(i), v.Field(i)
		if !f.IsExported() {
			return fmt.Errorf("%s has a field that cannot be recorded: %s", v.Type(), f.Name)
		}
		if value.IsZero() {
			continue
		}
		if err := e.key(&first, f.Name); err != nil {
			return err
		}
		if err := e.value(value); err != nil {
			return fmt.Errorf("%s: %w", f.Name, err)
		}
	}
	e.WriteByte('}')
	return nil
}

func (e *encoder) key(first *bool, name string) error {
	if !*first {
		e.WriteByte(',')
	}
	*first = false
	if err := e.text(name); err != nil {
		return err
	}
	e.WriteByte(':')
	return nil
}

func (e *encoder) mapping(v reflect.Value) error {
	if v.IsNil() {
		e.WriteString("null")
		return nil
	}
	if v.Type().Key().Kind() != reflect.String {
		return fmt.Errorf("a %s cannot be recorded", v.Type())
	}
	entries := map[string]reflect.Value{}
	for it := v.MapRange(); it.Next(); {
		entries[it.Key().String()] = it.Value()
	}
	e.WriteByte('{')
	first := true
	for _, name := range slices.Sorted(maps.Keys(entries)) {
		if err := e.key(&first, name); err != nil {
			return err
		}
		if err := e.value(entries[name]); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	e.WriteByte('}')
	return nil
}

func (e *encoder) list(v reflect.Value) error {
	if v.Kind() == reflect.Slice && v.IsNil() {
		e.WriteString("null")
		return nil
	}
	if v.Type().Elem().Kind() == reflect.Uint8 && v.Kind() == reflect.Slice {
		return e.raw(v.Bytes())
	}
	e.WriteByte('[')
	for i := range v.Len() {
		if i > 0 {
			e.WriteByte(',')
		}
		if err := e.value(v.Index(i)); err != nil {
			return fmt.Errorf("%d: %w", i, err)
		}
	}
	e.WriteByte(']')
	return nil
}

// raw writes bytes: a document as text, anything else in base64.
func (e *encoder) raw(b []byte) error {
	if utf8.Valid(b) {
		return e.text(string(b))
	}
	return e.json([]string{base64.StdEncoding.EncodeToString(b)})
}

// union writes what is behind an interface as an object of one key, the name of its type.
func (e *encoder) union(v reflect.Value) error {
	switch {
	case v.IsNil():
		e.WriteString("null")
		return nil
	case v.Type() == anyType:
		return e.json(v.Interface())
	}
	tag, err := tagOf(v.Type(), v.Elem().Type())
	if err != nil {
		return err
	}
	first := true
	e.WriteByte('{')
	if err := e.key(&first, tag); err != nil {
		return err
	}
	if err := e.value(v.Elem()); err != nil {
		return fmt.Errorf("%s: %w", tag, err)
	}
	e.WriteByte('}')
	return nil
}
