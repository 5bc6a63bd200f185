package config

import (
	"fmt"
	"strings"

	"github.com/tanist-ha/tanist/postgres"
)

// didYouMean names the candidate nearest to name, "" if none is near.
func didYouMean(name string, candidates []string) string {
	if n := nearest(name, candidates); n != "" {
		return "did you mean " + n + "?"
	}
	return ""
}

// nearest returns the candidate with the smallest edit distance to name, if that is at most a third of its length; the
// first of equals.
func nearest(name string, candidates []string) string {
	best, found := max(1, len(name)/3)+1, ""
	for _, c := range candidates {
		if d := distance(strings.ToLower(name), strings.ToLower(c)); d < best {
			best, found = d, c
		}
	}
	return found
}

// distance counts the insertions, deletions, replacements and swaps of neighbours that turn a into b.
func distance(a, b string) int {
	x, y := []rune(a), []rune(b)
	rows := make([][]int, len(x)+1)
	for i := range rows {
		rows[i] = make([]int, len(y)+1)
		rows[i][0] = i
	}
	for j := range rows[0] {
		rows[0][j] = j
	}
	for i := 1; i <= len(x); i++ {
		for j := 1; j <= len(y); j++ {
			cost := 1
			if x[i-1] == y[j-1] {
				cost = 0
			}
			rows[i][j] = min(rows[i-1][j]+1, rows[i][j-1]+1, rows[i-1][j-1]+cost)
			if i > 1 && j > 1 && x[i-1] == y[j-2] && x[i-2] == y[j-1] {
				rows[i][j] = min(rows[i][j], rows[i-2][j-2]+1)
			}
		}
	}
	return rows[len(x)][len(y)]
}

// unknown explains a key that nobody reads: where it belongs, or which known key it resembles.
func (s *section) unknown(key string) (what, hint string) {
	what = "unknown key, it does nothing"
	in := showPath(s.path)
	inDynamic := in == "bootstrap.dcs" || s.r.tree.source == sourceDynamic
	switch {
	case isDynamicKey(key) && in == "":
		return "does nothing here: it is one setting for the whole cluster", "change it with `tanistctl edit-config`; a new cluster takes it from bootstrap.dcs"
	case isGUC(key) && (in == "postgresql" || in == "" || inDynamic):
		return "does nothing here: it is a parameter of PostgreSQL", gucHome(key, inDynamic)
	}
	if close := nearest(key, sortedKeys(s.known)); close != "" {
		return what, fmt.Sprintf("did you mean %s?", showPath(s.at(close)))
	}
	if close := nearest(key, gucList()); close != "" && (in == "postgresql" || inDynamic) {
		return what, fmt.Sprintf("did you mean the parameter %s? %s", close, gucHome(close, inDynamic))
	}
	return what, ""
}

// gucHome says where a misplaced parameter of PostgreSQL belongs.
func gucHome(name string, inDynamic bool) string {
	switch {
	case inDynamic:
		return "write it below postgresql.parameters of this document"
	case postgres.IsControlled(name):
		return "all members must agree on it: change it below postgresql.parameters with `tanistctl edit-config`; a new cluster takes it from bootstrap.dcs.postgresql.parameters"
	}
	return "write it below postgresql.parameters"
}
