package config

import (
	"fmt"
	"testing"
)

// The expected values were produced by PyYAML 6.0.3, the reader that Patroni uses: str(yaml.safe_load(text)) and the
// type's name.
func TestPlainScalarsAreReadAsPyYAMLReadsThem(t *testing.T) {
	for _, c := range []struct{ text, kind, want string }{
		{"on", "bool", "True"}, {"off", "bool", "False"}, {"Yes", "bool", "True"}, {"NO", "bool", "False"},
		{"true", "bool", "True"}, {"FALSE", "bool", "False"}, {"oN", "string", "oN"}, {"y", "string", "y"}, {"n", "string", "n"},
		{"", "<nil>", "None"}, {"~", "<nil>", "None"}, {"Null", "<nil>", "None"}, {"nULL", "string", "nULL"},
		{"0", "int64", "0"}, {"-0", "int64", "0"}, {"+12", "int64", "12"}, {"010", "int64", "8"}, {"-010", "int64", "-8"},
		{"0_7", "int64", "7"}, {"08", "string", "08"}, {"0o17", "string", "0o17"}, {"0x1F", "int64", "31"}, {"-0x1f", "int64", "-31"},
		{"0X1F", "string", "0X1F"}, {"0b101", "int64", "5"}, {"1_000", "int64", "1000"}, {"1,000", "string", "1,000"},
		{"1:30", "int64", "90"}, {"190:20:30", "int64", "685230"}, {"0:30", "string", "0:30"}, {"01:30", "string", "01:30"},
		{"1:60", "string", "1:60"}, {"1:30.5", "float64", "90.5"},
		{"1e3", "string", "1e3"}, {"1.5e3", "string", "1.5e3"}, {"1.5e+3", "float64", "1500.0"}, {"1.", "float64", "1.0"},
		{".5", "float64", "0.5"}, {"+.5", "string", "+.5"}, {"-.inf", "float64", "-inf"}, {".NaN", "float64", "nan"},
		{"1.2.3", "string", "1.2.3"}, {"1_0.2_5", "float64", "10.25"},
		{"9223372036854775807", "int64", "9223372036854775807"}, {"9223372036854775808", "string", "9223372036854775808"},
		{"2001-01-01", "string", "2001-01-01"}, {"10MB", "string", "10MB"}, {"10.0.0.1:8008", "string", "10.0.0.1:8008"},
	} {
		got := plainScalar(c.text)
		if kind := fmt.Sprintf("%T", got); kind != c.kind || pyStr(got) != c.want {
			t.Errorf("%q is %s %s, want %s %s", c.text, kind, pyStr(got), c.kind, c.want)
		}
	}
}

func TestTextFormsAreThoseOfPython(t *testing.T) {
	for _, c := range []struct {
		v    any
		want string
	}{
		{true, "True"}, {nil, "None"}, {"a b", "a b"}, {int64(-3), "-3"}, {1.0, "1.0"}, {0.1, "0.1"}, {1e16, "1e+16"}, {1e15, "1000000000000000.0"},
		{0.00001, "1e-05"}, {0.0001, "0.0001"}, {123456789.125, "123456789.125"},
		{[]any{"a", int64(1), true, nil, "it's"}, `['a', 1, True, None, 'it\'s']`},
		{map[string]any{"b": int64(1), "a": []any{}}, "{'a': [], 'b': 1}"},
	} {
		if got := pyStr(c.v); got != c.want {
			t.Errorf("text of %#v is %s, want %s", c.v, got, c.want)
		}
	}
}
