package flight

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"time"
)

// parse reads one JSON document and keeps its numbers as they are written.
func parse(line []byte) (any, error) {
	d := json.NewDecoder(bytes.NewReader(line))
	d.UseNumber()
	var doc any
	if err := d.Decode(&doc); err != nil {
		return nil, err
	}
	return doc, nil
}

// assign is the way back of encoder.value. null leaves the zero value.
func assign(doc any, v reflect.Value) error {
	if doc == nil {
		return nil
	}
	switch v.Type() {
	case timeType, durationType:
		return assignTime(doc, v)
	case anyType:
		v.Set(reflect.ValueOf(plain(doc)))
		return nil
	}
	switch v.Kind() {
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		return assign(doc, v.Elem())
	case reflect.Interface:
		return assignUnion(doc, v)
	case reflect.Struct:
		return assignStruct(doc, v)
	case reflect.Map:
		return assignMap(doc, v)
	case reflect.Slice, reflect.Array:
		return assignList(doc, v)
	}
	return assignScalar(doc, v)
}

func mismatch(doc any, v reflect.Value) error { return fmt.Errorf("a %T is no %s", doc, v.Type()) }

func assignScalar(doc any, v reflect.Value) error {
	switch x := doc.(type) {
	case string:
		if v.Kind() == reflect.String {
			v.SetString(x)
			return nil
		}
	case bool:
		if v.Kind() == reflect.Bool {
			v.SetBool(x)
			return nil
		}
	case json.Number:
		if v.CanInt() {
			n, err := strconv.ParseInt(x.String(), 10, v.Type().Bits())
			v.SetInt(n)
			return err
		}
		if v.CanUint() {
			n, err := strconv.ParseUint(x.String(), 10, v.Type().Bits())
			v.SetUint(n)
			return err
		}
	}
	return mismatch(doc, v)
}

func assignTime(doc any, v reflect.Value) error {
	text, ok := doc.(string)
	if !ok {
		return mismatch(doc, v)
	}
	if v.Type() == durationType {
		d, err := time.ParseDuration(text)
		v.SetInt(int64(d))
		return err
	}
	t, err := time.Parse(time.RFC3339Nano, text)
	v.Set(reflect.ValueOf(t))
	return err
}

func assignUnion(doc any, v reflect.Value) error {
	m, ok := doc.(map[string]any)
	if !ok || len(m) != 1 {
		return mismatch(doc, v)
	}
	for tag, inner := range m {
		t := unions[v.Type()][tag]
		if t == nil {
			return fmt.Errorf("%q is not a known %s: was the record made by a later release?", tag, v.Type().Name())
		}
		p := reflect.New(t).Elem()
		if err := assign(inner, p); err != nil {
			return fmt.Errorf("%s: %w", tag, err)
		}
		v.Set(p)
	}
	return nil
}

func assignStruct(doc any, v reflect.Value) error {
	m, ok := doc.(map[string]any)
	if !ok {
		return mismatch(doc, v)
	}
	for i := range v.NumField() {
		name := v.Type().Field(i).Name
		if err := assign(m[name], v.Field(i)); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return nil
}

func assignMap(doc any, v reflect.Value) error {
	m, ok := doc.(map[string]any)
	if !ok {
		return mismatch(doc, v)
	}
	v.Set(reflect.MakeMapWithSize(v.Type(), len(m)))
	for name, inner := range m {
		p := reflect.New(v.Type().Elem()).Elem()
		if err := assign(inner, p); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		v.SetMapIndex(reflect.ValueOf(name).Convert(v.Type().Key()), p)
	}
	return nil
}

func assignList(doc any, v reflect.Value) error {
	if v.Kind() == reflect.Slice && v.Type().Elem().Kind() == reflect.Uint8 {
		return assignBytes(doc, v)
	}
	list, ok := doc.([]any)
	if !ok {
		return mismatch(doc, v)
	}
	if v.Kind() == reflect.Slice {
		v.Set(reflect.MakeSlice(v.Type(), len(list), len(list)))
	}
	for i := range min(len(list), v.Len()) { // an array may have grown since
		if err := assign(list[i], v.Index(i)); err != nil {
			return fmt.Errorf("%d: %w", i, err)
		}
	}
	return nil
}

func assignBytes(doc any, v reflect.Value) error {
	switch x := doc.(type) {
	case string:
		v.SetBytes([]byte(x))
		return nil
	case []any:
		if text, ok := first(x).(string); ok {
			b, err := base64.StdEncoding.DecodeString(text)
			v.SetBytes(b)
			return err
		}
	}
	return mismatch(doc, v)
}

// first is the only element of a list, nil if there is not exactly one.
func first(list []any) any {
	if len(list) != 1 {
		return nil
	}
	return list[0]
}

// plain turns the numbers of a document into int64 where they are whole and fit, else into float64, as configurations have them.
func plain(doc any) any {
	switch x := doc.(type) {
	case json.Number:
		if n, err := strconv.ParseInt(x.String(), 10, 64); err == nil && !strings.ContainsAny(x.String(), ".eE") {
			return n
		}
		f, _ := x.Float64()
		return f
	case []any:
		for i := range x {
			x[i] = plain(x[i])
		}
	case map[string]any:
		for k := range x {
			x[k] = plain(x[k])
		}
	}
	return doc
}
