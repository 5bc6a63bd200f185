package config

import (
	"fmt"
	"math"
	"math/big"
	"regexp"
	"strconv"
	"strings"
)

// The plain scalars of YAML 1.1 as PyYAML, Patroni's reader, tells them apart (yaml.org/type; PyYAML's resolver.py).
// They differ from YAML 1.2 in ways that matter to a file that is in use: on and off are booleans, 010 is 8, 1:30 is 90.
var (
	yamlBool  = regexp.MustCompile(`^(?:yes|Yes|YES|no|No|NO|true|True|TRUE|false|False|FALSE|on|On|ON|off|Off|OFF)$`)
	yamlNull  = regexp.MustCompile(`^(?:~|null|Null|NULL|)$`)
	yamlInt   = regexp.MustCompile(`^(?:[-+]?0b[0-1_]+|[-+]?0[0-7_]+|[-+]?(?:0|[1-9][0-9_]*)|[-+]?0x[0-9a-fA-F_]+|[-+]?[1-9][0-9_]*(?::[0-5]?[0-9])+)$`)
	yamlFloat = regexp.MustCompile(`^(?:[-+]?(?:[0-9][0-9_]*)\.[0-9_]*(?:[eE][-+][0-9]+)?|\.[0-9][0-9_]*(?:[eE][-+][0-9]+)?|[-+]?[0-9][0-9_]*(?::[0-5]?[0-9])+\.[0-9_]*|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))$`)
)

// plainScalar gives an unquoted scalar its value: nil, bool, int64, float64 or string. Dates stay text, and so do
// integers beyond 64 bits.
func plainScalar(text string) any {
	switch {
	case yamlNull.MatchString(text):
		return nil
	case yamlBool.MatchString(text):
		switch strings.ToLower(text) {
		case "yes", "true", "on":
			return true
		}
		return false
	case yamlInt.MatchString(text):
		if i, ok := yamlInteger(text); ok {
			return i
		}
	case yamlFloat.MatchString(text):
		if f, ok := yamlReal(text); ok {
			return f
		}
	}
	return text
}

func yamlInteger(text string) (int64, bool) {
	s, neg := unsigned(strings.ReplaceAll(text, "_", ""))
	if strings.Contains(s, ":") {
		f, ok := sexagesimal(s)
		if !ok || f > math.MaxInt64/64 {
			return 0, false
		}
		if neg {
			f = -f
		}
		return int64(f), true
	}
	base := 10
	switch {
	case strings.HasPrefix(s, "0b"):
		base, s = 2, s[2:]
	case strings.HasPrefix(s, "0x"):
		base, s = 16, s[2:]
	case len(s) > 1 && s[0] == '0':
		base, s = 8, s[1:]
	}
	n, ok := new(big.Int).SetString(s, base)
	if !ok {
		return 0, false
	}
	if neg {
		n.Neg(n)
	}
	return n.Int64(), n.IsInt64()
}

func yamlReal(text string) (float64, bool) {
	s, neg := unsigned(strings.ToLower(strings.ReplaceAll(text, "_", "")))
	var f float64
	switch {
	case s == ".inf":
		f = math.Inf(1)
	case s == ".nan":
		f = math.NaN()
	case strings.Contains(s, ":"):
		var ok bool
		if f, ok = sexagesimal(s); !ok {
			return 0, false
		}
	default:
		var err error
		if f, err = strconv.ParseFloat(s, 64); err != nil {
			return 0, false
		}
	}
	if neg {
		f = -f
	}
	return f, true
}

func unsigned(s string) (rest string, negative bool) {
	if rest, ok := strings.CutPrefix(s, "-"); ok {
		return rest, true
	}
	return strings.TrimPrefix(s, "+"), false
}

func sexagesimal(s string) (float64, bool) {
	var sum float64
	for _, part := range strings.Split(s, ":") {
		f, err := strconv.ParseFloat(part, 64)
		if err != nil {
			return 0, false
		}
		sum = sum*60 + f
	}
	return sum, true
}

// isSexagesimal says whether a plain scalar such as 1:30 is a number to base 60, which surprises everybody.
func isSexagesimal(text string) bool {
	return strings.Contains(text, ":") && (yamlInt.MatchString(text) || yamlFloat.MatchString(text))
}

// pyStr is the text form by which Patroni compares two values: True and "True" are equal, 1 and "1" are, 1 and 1.0 are
// not.
func pyStr(v any) string {
	if s, ok := v.(string); ok {
		return s
	}
	return pyRepr(v)
}

func pyRepr(v any) string {
	switch v := v.(type) {
	case nil:
		return "None"
	case bool:
		if v {
			return "True"
		}
		return "False"
	case int64:
		return strconv.FormatInt(v, 10)
	case int:
		return strconv.Itoa(v)
	case float64:
		return pyFloat(v)
	case string:
		return "'" + strings.NewReplacer(`\`, `\\`, "'", `\'`, "\n", `\n`, "\t", `\t`, "\r", `\r`).Replace(v) + "'"
	case []any:
		parts := make([]string, len(v))
		for i, e := range v {
			parts[i] = pyRepr(e)
		}
		return "[" + strings.Join(parts, ", ") + "]"
	case map[string]any:
		keys := sortedKeys(v)
		parts := make([]string, len(keys))
		for i, k := range keys {
			parts[i] = pyRepr(k) + ": " + pyRepr(v[k])
		}
		return "{" + strings.Join(parts, ", ") + "}"
	}
	return fmt.Sprint(v)
}

func pyFloat(f float64) string {
	switch {
	case math.IsInf(f, 1):
		return "inf"
	case math.IsInf(f, -1):
		return "-inf"
	case math.IsNaN(f):
		return "nan"
	}
	if a := math.Abs(f); a != 0 && (a < 1e-4 || a >= 1e16) {
		return strconv.FormatFloat(f, 'e', -1, 64)
	}
	s := strconv.FormatFloat(f, 'f', -1, 64)
	if !strings.Contains(s, ".") {
		s += ".0"
	}
	return s
}

func itoa(i int) string { return strconv.Itoa(i) }
