package pgtest

import (
	"cmp"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/tanist-ha/tanist/internal/freeport"
)

// BinDirs lists the program folders of the servers to test with, one per major, newest first; those of PG_BINS in the
// order given there. It skips the test where there is none, and fails it in continuous integration.
func BinDirs(t testing.TB) []string {
	t.Helper()
	if list := os.Getenv("PG_BINS"); list != "" {
		dirs := filepath.SplitList(list)
		for _, d := range dirs {
			if !hasServer(d) {
				t.Fatalf("PG_BINS names %s, which holds no PostgreSQL server (programs postgres and initdb)", d)
			}
		}
		return dirs
	}
	var dirs []string
	for _, pattern := range []string{"/usr/lib/postgresql/*/bin", "/usr/pgsql-*/bin", "/usr/lib/postgresql*/bin"} {
		found, _ := filepath.Glob(pattern) // the patterns are well formed
		dirs = append(dirs, found...)
	}
	dirs = slices.DeleteFunc(dirs, func(d string) bool { return !hasServer(d) })
	if p, err := exec.LookPath("postgres"); err == nil && len(dirs) == 0 && hasServer(filepath.Dir(p)) {
		dirs = append(dirs, filepath.Dir(p))
	}
	if len(dirs) == 0 {
		Missing(t, "a PostgreSQL server (hint: install postgresql, or set PG_BINS to its bin folder)")
	}
	slices.SortStableFunc(dirs, func(a, b string) int { return cmp.Compare(Major(t, b), Major(t, a)) })
	return slices.CompactFunc(dirs, func(a, b string) bool { return Major(t, a) == Major(t, b) })
}

// BinDir is the first of BinDirs: for tests to which the major does not matter.
func BinDir(t testing.TB) string {
	t.Helper()
	return BinDirs(t)[0]
}

// RunAll runs f as a subtest for each major of BinDirs.
func RunAll(t *testing.T, f func(t *testing.T, binDir string)) {
	t.Helper()
	for _, dir := range BinDirs(t) {
		t.Run("postgres"+strconv.Itoa(Major(t, dir)), func(t *testing.T) { f(t, dir) })
	}
}

// Major asks the server program in binDir for its major version.
func Major(t testing.TB, binDir string) int {
	t.Helper()
	out, err := exec.Command(filepath.Join(binDir, "postgres"), "--version").Output()
	if err != nil {
		t.Fatalf("ask %s/postgres for its version: %v", binDir, err)
	}
	// "postgres (PostgreSQL) 15.18 (Debian 15.18-1)", or 19beta1, 19devel
	fields := strings.Fields(string(out))
	if len(fields) < 3 {
		t.Fatalf("%s/postgres --version said %q", binDir, out)
	}
	digits := fields[2]
	if i := strings.IndexFunc(digits, func(r rune) bool { return r < '0' || r > '9' }); i >= 0 {
		digits = digits[:i]
	}
	major, err := strconv.Atoi(digits)
	if err != nil {
		t.Fatalf("%s/postgres --version said %q", binDir, out)
	}
	return major
}

// FreePort returns a port that is free on 127.0.0.1, and that no other test gets.
func FreePort(t testing.TB) int {
	t.Helper()
	ports, err := freeport.Get(1)
	if err != nil {
		t.Fatalf("find a free port: %v", err)
	}
	return ports[0]
}

// Missing ends a test that lacks a program: skipped on a developer's machine, failed in continuous integration.
func Missing(t testing.TB, what string) {
	t.Helper()
	if os.Getenv("CI") != "" {
		t.Fatalf("missing: %s", what)
	}
	t.Skipf("skipped, missing: %s", what)
}

func hasServer(dir string) bool {
	for _, program := range []string{"postgres", "initdb"} {
		if info, err := os.Stat(filepath.Join(dir, program)); err != nil || info.IsDir() {
			return false
		}
	}
	return true
}
