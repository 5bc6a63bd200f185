package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const table = `| store | what happens | shown by |
| --- | --- | --- |
| **etcd** | fine | ` + "`etcd3.TestPartition/short`" + ` |
`

// record is the end of each test, as go test -json tells it.
func record(t *testing.T, lines ...string) string {
	t.Helper()
	var b strings.Builder
	for _, l := range lines {
		action, test, _ := strings.Cut(l, " ")
		b.WriteString(`{"Action":"` + action + `","Package":"example.org/m/dcs/etcd3","Test":"` + test + "\"}\n")
	}
	return write(t, "record", b.String())
}

func write(t *testing.T, name, text string) string {
	t.Helper()
	name = filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

// A test counts if it ran, passed, and skipped nothing; a cell without one counts if it says so.
func TestCheck(t *testing.T) {
	cases := []struct {
		name, document string
		record         []string
		want           string // "": accepted
	}{
		{"passed", table, []string{"pass TestPartition/short", "pass TestPartition"}, ""},
		{"parts passed", table, []string{"pass TestPartition/short/a", "pass TestPartition/short"}, ""},
		{"another part was skipped", table, []string{"pass TestPartition/short", "skip TestPartition/long"}, ""},
		{"did not run", table, []string{"pass TestPartition"}, "TestPartition/short did not run"},
		{"nothing ran", table, nil, "TestPartition/short did not run"},
		{"skipped", table, []string{"skip TestPartition/short", "pass TestPartition"}, "was skipped"},
		{"a part was skipped", table, []string{"pass TestPartition/short", "skip TestPartition/short/a"}, "passed without a"},
		{"failed", table, []string{"fail TestPartition/short"}, "failed"},
		{"failed in one run of two", table, []string{"fail TestPartition/short", "pass TestPartition/short"}, "failed"},
		{"no test is named", table + "| **Consul** | fine |\n", []string{"pass TestPartition/short"}, "the last cell names no test"},
		{"which is admitted", table + "| **Consul** | fine | no test |\n", []string{"pass TestPartition/short"}, ""},
		{"the test stands in another cell", table + "| **Consul** | `etcd3.TestPartition/short` | |\n", []string{"pass TestPartition/short"}, "the last cell names no test"},
		{"no reference at all", "text\n", []string{"pass TestPartition/short"}, "no longer sees them"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			err := check(record(t, c.record...), []string{write(t, "doc.md", c.document)}, &bytes.Buffer{})
			if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
				t.Fatalf("got %v, want %q", err, c.want)
			}
		})
	}
	if err := check(filepath.Join(t.TempDir(), "none"), []string{write(t, "doc.md", table)}, &bytes.Buffer{}); err == nil {
		t.Error("no record, and no error")
	}
}

// Two packages of one name: a document that names it may mean either, and proves nothing by the other one.
func TestNameOfTwoPackages(t *testing.T) {
	name := write(t, "record", `{"Action":"skip","Package":"m/a/etcd3","Test":"TestPartition/short"}
{"Action":"pass","Package":"m/b/etcd3","Test":"TestPartition/short"}
`)
	if err := check(name, []string{write(t, "doc.md", table)}, &bytes.Buffer{}); err == nil {
		t.Error("accepted")
	}
}

// TestRun runs go test on a module of three tests: what it prints, what it records, and that its failure is not swallowed.
func TestRun(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{
		"go.mod": "module example.org/etcd3\n\ngo 1.25\n",
		"a_test.go": `package a

import "testing"

func TestPartition(t *testing.T) { t.Run("short", func(t *testing.T) { t.Log("a word of a test that passes") }) }
func TestSkipped(t *testing.T)   { t.Skip("not today") }
func TestBroken(t *testing.T)    { t.Error("a word of a test that fails") }
`} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("GOFLAGS", "-mod=mod -buildvcs=false")
	t.Chdir(dir)
	var out bytes.Buffer
	name := filepath.Join(dir, "record")
	if err := run(name, []string{"-run", "Partition|Skipped", "./..."}, &out); err != nil {
		t.Fatalf("%v\n%s", err, &out)
	}
	if !strings.HasPrefix(out.String(), "ok ") || strings.Contains(out.String(), "word") {
		t.Fatalf("printed:\n%s", &out)
	}
	if err := check(name, []string{write(t, "doc.md", table)}, &out); err != nil {
		t.Fatal(err)
	}
	if err := check(name, []string{write(t, "doc.md", table+"`etcd3.TestSkipped`")}, &out); err == nil {
		t.Fatal("a test that was skipped is taken for evidence")
	}
	out.Reset()
	if err := run(name, []string{"./..."}, &out); err == nil || !strings.Contains(out.String(), "a word of a test that fails") ||
		strings.Contains(out.String(), "that passes") {
		t.Fatalf("%v; printed:\n%s", err, &out)
	}
	out.Reset()
	if err := os.WriteFile(filepath.Join(dir, "a_test.go"), []byte("package a\n\nfunc f() { nonsense }\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := run(name, []string{"./..."}, &out); err == nil || !strings.Contains(out.String(), "nonsense") {
		t.Fatalf("%v; printed:\n%s", err, &out)
	}
}
