package instance

import (
	"errors"
	"strconv"
	"strings"
)

// splitCommand splits a command as a POSIX shell would, without expansions: white space separates, quotes and backslashes
// protect.
func splitCommand(s string) ([]string, error) {
	var words []string
	var word strings.Builder
	inWord, quote := false, byte(0)
	for n := 0; n < len(s); n++ {
		ch := s[n]
		switch {
		case quote == '\'':
			if ch == '\'' {
				quote = 0
			} else {
				word.WriteByte(ch)
			}
		case ch == '\\':
			if n+1 == len(s) {
				return nil, errors.New("split command: nothing follows the last backslash")
			}
			n++
			if quote == '"' && !strings.ContainsRune("\"\\$`", rune(s[n])) {
				word.WriteByte('\\')
			}
			word.WriteByte(s[n])
			inWord = true
		case quote == '"':
			if ch == '"' {
				quote = 0
			} else {
				word.WriteByte(ch)
			}
		case ch == '\'' || ch == '"':
			quote, inWord = ch, true
		case strings.IndexByte(" \t\r\n", ch) >= 0:
			if inWord {
				words = append(words, word.String())
			}
			word.Reset()
			inWord = false
		default:
			word.WriteByte(ch)
			inWord = true
		}
	}
	if quote != 0 {
		return nil, errors.New("split command: a quote is not closed")
	}
	if inWord {
		words = append(words, word.String())
	}
	return words, nil
}

func itoa(n int) string { return strconv.Itoa(n) }
