package rest

import (
	"iter"
	"math"
	"net/url"
	"strconv"
	"strings"
)

// query is the part of a target behind the question mark. Of a repeated key the first value counts; blank values are as
// if they were not there.
type query string

// pairs yields keys and values in order.
func (q query) pairs() iter.Seq2[string, string] {
	return func(yield func(string, string) bool) {
		if q == "" {
			return
		}
		for pair := range strings.SplitSeq(string(q), "&") {
			k, v, _ := strings.Cut(pair, "=")
			if k, v = unescape(k), unescape(v); v != "" && !yield(k, v) {
				return
			}
		}
	}
}

// get returns the value of key, "" if there is none.
func (q query) get(key string) string {
	for k, v := range q.pairs() {
		if k == key {
			return v
		}
	}
	return ""
}

// unescape keeps what is not properly escaped as it is.
func unescape(s string) string {
	if !strings.ContainsAny(s, "%+") {
		return s
	}
	if plain, err := url.QueryUnescape(s); err == nil {
		return plain
	}
	return s
}

// parseBytes reads an amount of memory as PostgreSQL's settings are written: a number (decimal, 0 octal, 0x hexadecimal, or
// with a fraction) and a unit out of B, kB, MB, GB, TB. A hexadecimal number has no unit here.
func parseBytes(s string) (uint64, bool) {
	s = strings.TrimSpace(s)
	end := strings.IndexFunc(s, func(r rune) bool { return !strings.ContainsRune("0123456789+-.", r) })
	if end < 0 || strings.HasPrefix(s, "0x") {
		end = len(s)
	}
	factor, ok := unit(strings.TrimSpace(s[end:]))
	if !ok {
		return 0, false
	}
	if n, err := strconv.ParseUint(s[:end], 0, 64); err == nil && n <= math.MaxUint64/factor {
		return n * factor, true
	}
	f, err := strconv.ParseFloat(s[:end], 64)
	if err != nil || f < 0 || f*float64(factor) >= math.MaxUint64 {
		return 0, false
	}
	return uint64(math.RoundToEven(f * float64(factor))), true
}

func unit(s string) (uint64, bool) {
	switch strings.ToUpper(s) {
	case "", "B":
		return 1, true
	case "KB":
		return 1 << 10, true
	case "MB":
		return 1 << 20, true
	case "GB":
		return 1 << 30, true
	case "TB":
		return 1 << 40, true
	}
	return 0, false
}
