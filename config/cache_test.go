package config

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/tanist-ha/tanist/ha"
)

var _ ha.Cache = (*Cache)(nil)

func TestCache(t *testing.T) {
	dir := t.TempDir()
	c := (&Config{PostgreSQL: PostgreSQL{DataDir: dir}}).Cache()
	file := filepath.Join(dir, CacheFile)
	if err := c.Save([]byte(`{"a":1}`)); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(file); err == nil {
		t.Fatal("a file was put into a directory that is still to be filled")
	}
	if got := c.Load(); got != nil {
		t.Fatalf("loaded %s", got)
	}
	if err := os.WriteFile(filepath.Join(dir, "PG_VERSION"), []byte("15\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for mode, want := range map[os.FileMode]os.FileMode{0o700: 0o600, 0o750: 0o640} {
		if err := os.Chmod(dir, mode); err != nil {
			t.Fatal(err)
		}
		if err := c.Save([]byte(`{"b":2}`)); err != nil {
			t.Fatal(err)
		}
		info, err := os.Stat(file)
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode().Perm() != want {
			t.Errorf("in a directory of mode %o the file has %o", mode, info.Mode().Perm())
		}
	}
	if got := string(c.Load()); got != `{"b":2}` {
		t.Errorf("loaded %s", got)
	}
	if entries, _ := os.ReadDir(dir); len(entries) != 2 {
		t.Errorf("left behind: %v", entries)
	}
	if err := os.WriteFile(file, []byte(`{"b":`), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := c.Load(); got != nil {
		t.Errorf("loaded half a document: %s", got)
	}
}
