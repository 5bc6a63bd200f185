package postgres

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// ParseBool reads a boolean setting: on, true, yes, 1, or off, false, no, 0, in any case. PostgreSQL's abbreviations
// ("t", "of") are not taken, as Patroni does not.
func ParseBool(s string) (value, ok bool) {
	switch strings.ToLower(s) {
	case "on", "true", "yes", "1":
		return true, true
	case "off", "false", "no", "0":
		return false, true
	}
	return false, false
}

// memoryUnits and timeUnits list units from large to small, in the smallest unit of their kind.
var (
	memoryUnits = []unit{{"TB", 1 << 40}, {"GB", 1 << 30}, {"MB", 1 << 20}, {"kB", 1 << 10}, {"B", 1}}
	timeUnits   = []unit{{"d", 86400e6}, {"h", 3600e6}, {"min", 60e6}, {"s", 1e6}, {"ms", 1e3}, {"us", 1}}
)

type unit struct {
	name string
	size float64
}

// ParseInt reads an integer setting as PostgreSQL does: decimal, octal with a leading zero, hexadecimal with 0x, or a
// fraction or exponent, then an optional unit (B, kB, MB, GB, TB or us, ms, s, min, h, d). The result is in baseUnit, in
// which a bare number is given already; it may be a multiple, as "8kB" of shared_buffers, or empty, and then units are
// refused. A fraction of a unit is first rounded to the next smaller unit; halves are rounded to even.
func ParseInt(s, baseUnit string) (value int64, ok bool) {
	number, unitName, ok := cutNumber(strings.TrimSpace(s))
	if !ok {
		return 0, false
	}
	if unitName = strings.TrimSpace(unitName); unitName != "" {
		if number, ok = toBase(number, unitName, baseUnit); !ok {
			return 0, false
		}
	}
	number = math.RoundToEven(number)
	if math.IsNaN(number) || number >= math.MaxInt64 || number <= math.MinInt64 {
		return 0, false
	}
	return int64(number), true
}

// toBase converts value of the named unit to multiples of base.
func toBase(value float64, name, base string) (float64, bool) {
	digits, multiple := base[:span(base, "0123456789")], 1.0
	if digits != "" {
		n, err := strconv.ParseFloat(digits, 64)
		if err != nil || n <= 0 {
			return 0, false
		}
		multiple = n
	}
	for _, units := range [][]unit{memoryUnits, timeUnits} {
		of, b := find(units, name), find(units, base[len(digits):])
		if of < 0 || b < 0 {
			continue
		}
		size := units[b].size * multiple
		value *= units[of].size / size
		if of+1 < len(units) {
			smaller := units[of+1].size / size
			value = math.RoundToEven(value/smaller) * smaller
		}
		return value, true
	}
	return 0, false
}

func find(units []unit, name string) int {
	for i, u := range units {
		if u.name == name {
			return i
		}
	}
	return -1
}

// cutNumber splits off the number at the beginning of s, in C's notations.
func cutNumber(s string) (value float64, rest string, ok bool) {
	sign, body := 1.0, s
	if strings.HasPrefix(body, "-") {
		sign = -1
	}
	if body != "" && (body[0] == '-' || body[0] == '+') {
		body = body[1:]
	}
	if len(body) > 2 && (body[:2] == "0x" || body[:2] == "0X") {
		if n := span(body[2:], "0123456789abcdefABCDEF"); n > 0 {
			v, err := strconv.ParseUint(body[2:2+n], 16, 63)
			return sign * float64(v), body[2+n:], err == nil
		}
	}
	whole := span(body, "0123456789")
	end, fraction := fractionEnd(body, whole)
	if end == 0 {
		return 0, s, false
	}
	if !fraction && body[0] == '0' {
		octal := span(body, "01234567")
		v, err := strconv.ParseUint(body[:octal], 8, 63)
		return sign * float64(v), body[octal:], err == nil // "08" leaves "8", which is no unit
	}
	v, err := strconv.ParseFloat(body[:end], 64)
	return sign * v, body[end:], err == nil
}

// fractionEnd finds where a decimal number ends whose digits before the point end at whole; 0 if there is no number.
func fractionEnd(s string, whole int) (end int, fraction bool) {
	end = whole
	if strings.HasPrefix(s[end:], ".") {
		digits := span(s[end+1:], "0123456789")
		if whole+digits == 0 {
			return 0, false
		}
		end, fraction = end+1+digits, true
	}
	if end > 0 && end < len(s) && (s[end] == 'e' || s[end] == 'E') {
		exp := end + 1
		if exp < len(s) && (s[exp] == '+' || s[exp] == '-') {
			exp++
		}
		if digits := span(s[exp:], "0123456789"); digits > 0 {
			end, fraction = exp+digits, true
		}
	}
	return end, fraction
}

func span(s, set string) int { return len(s) - len(strings.TrimLeft(s, set)) }

// QuoteGUC quotes a value for postgresql.conf. A line break inside becomes an escape, as the file cannot hold one. A zero
// byte cannot stand there at all; see FormatGUC.
func QuoteGUC(value string) string {
	return `'` + strings.NewReplacer(`\`, `\\`, `'`, `''`, "\n", `\n`, "\r", `\r`).Replace(value) + `'`
}

// FormatGUC is one line of postgresql.conf without its line break: name = 'value'. A name that is not one, or a value with
// a zero byte, is an error: it would change the meaning of the file.
func FormatGUC(name, value string) (string, error) {
	if !ValidGUCName(name) {
		return "", fmt.Errorf("%q is not the name of a setting", name)
	}
	if strings.ContainsRune(value, 0) {
		return "", fmt.Errorf("value of %s holds a zero byte", name)
	}
	return name + " = " + QuoteGUC(value), nil
}

// ValidGUCName says whether name can be the name of a setting, of an extension too ("pg_stat_statements.max").
func ValidGUCName(name string) bool {
	for part := range strings.SplitSeq(name, ".") {
		for i, r := range part {
			letter := r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r == '_' || r >= 0x80
			if !letter && (i == 0 || !(r >= '0' && r <= '9' || r == '$')) {
				return false
			}
		}
		if part == "" {
			return false
		}
	}
	return true
}
