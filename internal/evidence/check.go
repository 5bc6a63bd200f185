package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path"
	"regexp"
	"slices"
	"strings"
)

// reference is how a document names a test: `package.TestName/subtest`, with the last element of the package's import path.
var reference = regexp.MustCompile("`([a-z0-9]+)\\.(Test[A-Za-z0-9_]+(?:/[^`]+)?)`")

// untested is what the last cell of a row says for which there is no test.
const untested = "no test"

// result is how a test ended, over all runs of the record.
type result struct{ passed, failed, skipped bool }

// check fails unless the tests that the documents name have passed, and each row of their tables names one or
// admits that there is none.
func check(record string, documents []string, out io.Writer) error {
	results, err := readRecord(record)
	if err != nil {
		return err
	}
	var wrong []string
	named, admitted := 0, 0
	for _, d := range documents {
		text, err := os.ReadFile(d)
		if err != nil {
			return err
		}
		n, a, w := checkText(string(text), results)
		named, admitted = named+n, admitted+a
		for _, sentence := range w {
			wrong = append(wrong, d+": "+sentence)
		}
		if n == 0 {
			wrong = append(wrong, d+": it names no test: this check no longer sees them")
		}
	}
	if len(wrong) > 0 {
		return fmt.Errorf("the documents claim more than the tests have shown (some tests need root; names are as in go test -v, with _ for spaces):\n  %s",
			strings.Join(wrong, "\n  "))
	}
	fmt.Fprintf(out, "evidence: %d tests that documents name have passed; %d rows say that there is none\n", named, admitted)
	for _, name := range skipped(results) {
		fmt.Fprintln(out, "evidence: skipped:", name)
	}
	return nil
}

// skipped lists the tests that were skipped, so that nobody takes what ran for the whole.
func skipped(results map[string]map[string]result) []string {
	var names []string
	for pkg, tests := range results {
		for name, r := range tests {
			if r.skipped && !r.passed {
				names = append(names, pkg+"."+name)
			}
		}
	}
	slices.Sort(names)
	return names
}

// checkText checks one document, and counts the tests that it names and the rows that admit to have none.
func checkText(text string, results map[string]map[string]result) (named, admitted int, wrong []string) {
	seen := map[string]bool{}
	for _, m := range reference.FindAllStringSubmatch(text, -1) {
		if name := m[1] + "." + m[2]; !seen[name] {
			seen[name] = true
			named++
			if why := verdict(results[m[1]], m[2]); why != "" {
				wrong = append(wrong, name+" "+why)
			}
		}
	}
	for i, line := range strings.Split(text, "\n") {
		cells, ok := row(line)
		if !ok {
			continue
		}
		switch last := cells[len(cells)-1]; {
		case reference.MatchString(last):
		case strings.Contains(last, untested):
			admitted++
		default:
			wrong = append(wrong, fmt.Sprintf("line %d: the last cell names no test, and does not say %q", i+1, untested))
		}
	}
	return named, admitted, wrong
}

// row splits a row of a table of evidence: those begin with a bold word, and say in their last cell which tests show them.
func row(line string) ([]string, bool) {
	line, ok := strings.CutPrefix(strings.TrimSpace(line), "| **")
	if !ok {
		return nil, false
	}
	return strings.Split(strings.TrimSuffix(line, "|"), "|"), true
}

// verdict says what is wrong with a test as evidence; "": nothing. It has passed, in no run failed, and no part of it was skipped.
func verdict(results map[string]result, name string) string {
	r, ok := results[name]
	switch {
	case !ok:
		return "did not run"
	case r.failed:
		return "failed"
	case r.skipped || !r.passed:
		return "was skipped"
	}
	for other, r := range results {
		if strings.HasPrefix(other, name+"/") && (r.skipped || r.failed) {
			return "passed without " + strings.TrimPrefix(other, name+"/") + ", which was skipped or failed"
		}
	}
	return ""
}

// readRecord gives the results by the last element of the package's path and the test's name.
func readRecord(name string) (map[string]map[string]result, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, fmt.Errorf("open the record of the tests (make test writes it): %w", err)
	}
	defer f.Close()
	results := map[string]map[string]result{}
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var e event
		if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		if e.Test == "" {
			continue
		}
		short := path.Base(e.Package) // packages of one name must all have passed a test of one name
		if results[short] == nil {
			results[short] = map[string]result{}
		}
		r := results[short][e.Test]
		switch e.Action {
		case "pass":
			r.passed = true
		case "fail":
			r.failed = true
		case "skip":
			r.skipped = true
		}
		results[short][e.Test] = r
	}
	return results, lines.Err()
}

// top is the name of the test function.
func top(test string) string {
	name, _, _ := strings.Cut(test, "/")
	return name
}
