// Package testtools finds the servers of other projects that tests run, and that no distribution packages in the version that is
// wanted. Each has a Go module of its own in internal/tools, named as the program is called here, with one tool line:
//
//	internal/tools/consul   a Consul server
//	internal/tools/etcd36   an etcd server of version 3.6; Debian has 3.4, and dcs/embedetcd is 3.7
//
// "make tools" builds them into bin/tools of the checkout, which takes minutes the first time; tests never build them.
package testtools

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// MissingError says that a program was not built.
type MissingError struct{ Program, Hint string }

func (e *MissingError) Error() string {
	return fmt.Sprintf("%s is not built (hint: %s)", e.Program, e.Hint)
}

// Path returns the program that "make tools" built from internal/tools/name, or a MissingError. The working directory must be in
// the module.
func Path(name string) (string, error) {
	root, err := moduleRoot()
	if err != nil {
		return "", err
	}
	path := filepath.Join(root, "bin", "tools", name)
	switch _, err := os.Stat(path); {
	case errors.Is(err, fs.ErrNotExist):
		return "", &MissingError{Program: name, Hint: "run make tools in " + root}
	case err != nil:
		return "", fmt.Errorf("look for %s: %w", name, err)
	}
	return path, nil
}

// Install puts the program into dir, for users who may not look into the checkout, and returns its path there. It costs no
// space where a link is possible.
func Install(name, dir string) (string, error) {
	source, err := Path(name)
	if err != nil {
		return "", err
	}
	target := filepath.Join(dir, name)
	if err := os.Link(source, target); err == nil || errors.Is(err, fs.ErrExist) {
		return target, nil
	}
	if err := clone(source, target); err != nil {
		return "", fmt.Errorf("install %s: %w", name, err)
	}
	return target, nil
}

func clone(source, target string) error {
	in, err := os.Open(source)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(target, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o755)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Close())
}

// moduleRoot is the nearest folder above the working directory that holds this module.
func moduleRoot() (string, error) {
	start, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for dir := start; ; dir = filepath.Dir(dir) {
		raw, err := os.ReadFile(filepath.Join(dir, "go.mod"))
		if err == nil && strings.HasPrefix(string(raw), "module github.com/tanist-ha/tanist\n") {
			return dir, nil
		}
		if dir == filepath.Dir(dir) {
			return "", fmt.Errorf("no checkout of tanist at or above %s", start)
		}
	}
}
