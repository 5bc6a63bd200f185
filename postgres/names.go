package postgres

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// maxSlotName is the longest name of a slot in bytes, NAMEDATALEN-1.
const maxSlotName = 63

// SlotName is the name of the physical slot of a member: its name in lower case, with "-" and "." as "_", any other
// character that a slot's name cannot hold as u and its code point in at least four decimal digits, cut to 63. Patroni
// uses the same names. Different members may map to one slot ("a-b" and "a.b"): whoever hands out slots has to check.
func SlotName(member string) string {
	var b strings.Builder
	for _, r := range strings.ToLower(member) {
		switch {
		case r >= 'a' && r <= 'z', r >= '0' && r <= '9', r == '_':
			b.WriteRune(r)
		case r == '-', r == '.':
			b.WriteByte('_')
		default:
			fmt.Fprintf(&b, "u%04d", r)
		}
	}
	s := b.String()
	return s[:min(len(s), maxSlotName)]
}

// ValidSlotName says whether PostgreSQL takes name for a slot.
func ValidSlotName(name string) bool {
	return len(name) <= maxSlotName && name != "" && strings.Trim(name, "abcdefghijklmnopqrstuvwxyz0123456789_") == ""
}

// SyncMethod is how synchronous_standby_names chooses among its names.
type SyncMethod string

// The methods (PostgreSQL documentation, synchronous_standby_names).
const (
	SyncOff   SyncMethod = ""      // no synchronous replication
	SyncFirst SyncMethod = "FIRST" // the first Num that are connected, in the order of the list
	SyncAny   SyncMethod = "ANY"   // any Num of the list
)

// SyncNames is a parsed synchronous_standby_names.
type SyncNames struct {
	Method SyncMethod
	Num    int
	Names  []string // "*" stands for any standby
}

var (
	plainSyncName = regexp.MustCompile(`^[A-Za-z_][A-Za-z_0-9$]*$`)
	syncToken     = regexp.MustCompile(`^(?:[ \t\n\r\f\v]*)(?:("(?:[^"]|"")+")|([A-Za-z_\x{80}-\x{10ffff}][A-Za-z_0-9$\x{80}-\x{10ffff}]*)|([0-9]+)|([*,()]))`)
)

// String is the value for the server, in a canonical form: names sorted (so that equal sets are equal strings) and quoted
// where needed; one name of method FIRST stands alone, several as "N (a,b)"; ANY is always spelt out.
func (s SyncNames) String() string {
	if s.Method == SyncOff || len(s.Names) == 0 {
		return ""
	}
	quoted := make([]string, len(s.Names))
	for i, n := range slices.Sorted(slices.Values(s.Names)) {
		quoted[i] = quoteSyncName(n)
	}
	list := strings.Join(quoted, ",")
	switch {
	case s.Method == SyncAny:
		return fmt.Sprintf("ANY %d (%s)", s.Num, list)
	case s.Num == 1 && len(quoted) == 1:
		return list
	}
	return fmt.Sprintf("%d (%s)", s.Num, list)
}

func quoteSyncName(n string) string {
	lower := strings.ToLower(n)
	if n == "*" || plainSyncName.MatchString(n) && lower != "first" && lower != "any" {
		return n
	}
	return QuoteIdent(n)
}

// ParseSyncNames reads a value of synchronous_standby_names: "a, b", "2 (a, b)", "FIRST 2 (a, b)" or "ANY 2 (a, b)".
func ParseSyncNames(value string) (SyncNames, error) {
	if value == "" {
		return SyncNames{}, nil
	}
	tokens, err := syncTokens(value)
	if err != nil {
		return SyncNames{}, err
	}
	bad := func(why string) (SyncNames, error) {
		return SyncNames{}, fmt.Errorf("parse synchronous_standby_names %q: %s", value, why)
	}
	s := SyncNames{Method: SyncFirst, Num: 1}
	if len(tokens) == 0 {
		return bad("a name is missing")
	}
	isNumber := func(i int) bool { return i < len(tokens) && tokens[i].kind == 'n' }
	if tokens[0].kind == 'w' && isNumber(1) {
		switch s.Method = SyncMethod(strings.ToUpper(tokens[0].text)); s.Method {
		case SyncFirst, SyncAny:
		default:
			return bad("only FIRST and ANY come before a number")
		}
		tokens = tokens[1:]
	}
	if isNumber(0) && len(tokens) > 1 && tokens[1].text == "(" && tokens[1].kind == 'p' {
		if s.Num, err = strconv.Atoi(tokens[0].text); err != nil || s.Num == 0 {
			return bad("the number of standbys must be greater than zero")
		}
		if last := tokens[len(tokens)-1]; last.text != ")" || last.kind != 'p' {
			return bad("the closing parenthesis is missing")
		}
		tokens = tokens[2 : len(tokens)-1]
	}
	for i, t := range tokens {
		if i%2 == 1 {
			if t.kind != 'p' || t.text != "," {
				return bad("a comma is missing")
			}
			continue
		}
		if t.kind == 'p' && t.text != "*" {
			return bad("a name is missing")
		}
		s.Names = append(s.Names, t.text)
	}
	if len(tokens)%2 == 0 {
		return bad("a name is missing")
	}
	return s, nil
}

// syncWord is one token: kind q is a quoted name, w a bare one, n a number, p punctuation.
type syncWord struct {
	kind byte
	text string
}

func syncTokens(value string) (words []syncWord, err error) {
	for rest := value; strings.TrimLeft(rest, connSpace) != ""; {
		m := syncToken.FindStringSubmatch(rest)
		if m == nil {
			return nil, fmt.Errorf("parse synchronous_standby_names %q: cannot read from %q on", value, rest)
		}
		rest = rest[len(m[0]):]
		switch {
		case m[1] != "":
			words = append(words, syncWord{'q', strings.ReplaceAll(m[1][1:len(m[1])-1], `""`, `"`)})
		case m[2] != "":
			words = append(words, syncWord{'w', m[2]})
		case m[3] != "":
			words = append(words, syncWord{'n', m[3]})
		default:
			words = append(words, syncWord{'p', m[4]})
		}
	}
	return words, nil
}
