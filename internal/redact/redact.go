// Package redact takes out of text what an error or a log line must not show.
package redact

import "strings"

// Address returns text, an address of a server as somebody wrote it, without what may be a secret: user and password, and everything from a question
// mark on. It need not be a URL that can be parsed; what is before the last @ counts as user and password.
func Address(text string) string {
	scheme, rest, ok := strings.Cut(text, "://")
	if !ok {
		scheme, rest = "", text
	} else {
		scheme += "://"
	}
	rest, _, query := strings.Cut(rest, "?")
	if i := strings.LastIndex(rest, "@"); i >= 0 {
		rest = "xxxxx" + rest[i:]
	} else if query && strings.Contains(text, "@") {
		rest = "xxxxx" // a question mark in a password: nothing before the @ is known to be harmless
	}
	if query {
		rest += "?xxxxx"
	}
	return scheme + rest
}
