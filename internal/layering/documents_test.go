package layering

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var (
	testName     = regexp.MustCompile("`(?:[a-z0-9]+\\.)?(Test[A-Za-z0-9_]+)(/[^`]+)?`")
	testFunction = regexp.MustCompile(`(?m)^func (Test[A-Za-z0-9_]+)\(`)
	scenarioName = regexp.MustCompile("`scenarios/([a-z0-9-]+)\\.txt`")
)

// A claim that names a test which is gone would be worth nothing.
func TestDocumentsNameTestsThatExist(t *testing.T) {
	have, named := map[string]bool{}, 0
	var documents []string
	eachFile(t, func(name string) {
		switch {
		case strings.HasSuffix(name, "_test.go"):
			for _, m := range testFunction.FindAllStringSubmatch(read(t, name), -1) {
				have[m[1]] = true
			}
		case strings.HasSuffix(name, ".md"):
			documents = append(documents, name)
		}
	})
	for _, d := range documents {
		text := read(t, d)
		for _, m := range testName.FindAllStringSubmatch(text, -1) {
			named++
			if !have[m[1]] {
				t.Errorf("%s names the test %s, which does not exist", d, m[1])
			}
		}
		for _, m := range scenarioName.FindAllStringSubmatch(text, -1) {
			if _, err := os.Stat(filepath.Join(root, "ha/hatest/testdata/scenarios", m[1]+".txt")); err != nil {
				t.Errorf("%s names the scenario %s, which does not exist", d, m[1])
			}
		}
	}
	if named == 0 {
		t.Error("no document names a test: this check no longer sees them")
	}
}

func read(t *testing.T, name string) string {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join(root, name))
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}
