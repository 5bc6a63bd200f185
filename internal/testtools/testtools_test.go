package testtools

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
)

// fakeCheckout makes a folder that looks like this module with one program in it, and works in a package of it.
func fakeCheckout(t *testing.T) {
	t.Helper()
	root := t.TempDir()
	for _, dir := range []string{"bin/tools", "internal/tools/server", "some/package"} {
		if err := os.MkdirAll(filepath.Join(root, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for name, text := range map[string]string{
		"go.mod":                       "module github.com/tanist-ha/tanist\n",
		"internal/tools/server/go.mod": "module github.com/tanist-ha/tanist/internal/tools/server\n",
		"bin/tools/server":             "#!/bin/sh\n",
	} {
		if err := os.WriteFile(filepath.Join(root, name), []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	t.Chdir(filepath.Join(root, "some/package"))
}

func TestPath(t *testing.T) {
	fakeCheckout(t)
	path, err := Path("server")
	if err != nil {
		t.Fatal(err)
	}
	if raw, err := os.ReadFile(path); err != nil || string(raw) != "#!/bin/sh\n" {
		t.Errorf("read %s: %q, %v", path, raw, err)
	}
	var missing *MissingError
	if _, err := Path("other"); !errors.As(err, &missing) || missing.Program != "other" {
		t.Errorf("a program that was not built: %v", err)
	}
}

func TestInstall(t *testing.T) {
	fakeCheckout(t)
	dir := t.TempDir()
	for range 2 { // a program that is there already stays
		path, err := Install("server", dir)
		if err != nil {
			t.Fatal(err)
		}
		if raw, err := os.ReadFile(path); err != nil || string(raw) != "#!/bin/sh\n" {
			t.Errorf("read %s: %q, %v", path, raw, err)
		}
	}
}

// A folder on another file system gets a copy.
func TestClone(t *testing.T) {
	fakeCheckout(t)
	source, err := Path("server")
	if err != nil {
		t.Fatal(err)
	}
	target := filepath.Join(t.TempDir(), "copy")
	if err := clone(source, target); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(target); err != nil || info.Mode().Perm()&0o111 == 0 {
		t.Errorf("the copy is no program: %v, %v", info, err)
	}
}

func TestOutsideOfTheModule(t *testing.T) {
	t.Chdir(t.TempDir())
	var missing *MissingError
	if _, err := Path("server"); err == nil || errors.As(err, &missing) {
		t.Errorf("got %v", err)
	}
}
