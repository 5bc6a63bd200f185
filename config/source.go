package config

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/knadh/koanf/v2"
)

// Options says where the configuration is.
type Options struct {
	// Path is a YAML file, or a directory whose *.yml and *.yaml are merged in byte order of their names. "" or a path
	// that does not exist: the environment alone.
	Path string
	// Environ is the process's environment, as os.Environ gives it. nil: none.
	Environ []string
}

// layers merges documents with koanf by Patroni's rules, later over earlier.
type layers struct {
	k    *koanf.Koanf
	tree *tree
}

func newLayers(source string) *layers { return &layers{koanf.New(sep), newTree(source)} }

func (l *layers) add(t *tree) error {
	merge := koanf.WithMergeFunc(func(src, dest map[string]any) error {
		patchMap(src, dest)
		return nil
	})
	if err := l.k.Load(document(t.values), nil, merge); err != nil {
		return fmt.Errorf("merge %s: %w", t.source, err)
	}
	l.tree.adopt(t)
	return nil
}

func (l *layers) merged() *tree {
	l.tree.values = l.k.Raw()
	return l.tree
}

// document is a koanf provider of what was read already.
type document map[string]any

func (d document) Read() (map[string]any, error) { return d, nil }

func (d document) ReadBytes() ([]byte, error) { return nil, errors.New("only Read is supported") }

// readSources reads and merges all sources of o.
func readSources(o Options) (*tree, []Warning, error) {
	files, err := listFiles(o.Path)
	if err != nil {
		return nil, nil, err
	}
	var whole string
	for _, e := range o.Environ {
		if v, ok := strings.CutPrefix(e, envPrefix+"CONFIGURATION="); ok {
			whole = v
		}
	}
	var warnings []Warning
	if len(files) == 0 {
		if o.Path != "" {
			warnings = append(warnings, Warning{Where{Source: o.Path}, "does not exist", "the environment alone is the configuration"})
		}
		if whole != "" {
			t, w, err := readYAML(envPrefix+"CONFIGURATION", []byte(whole))
			return t, append(warnings, w...), err
		}
	} else if whole != "" {
		warnings = append(warnings, Warning{Where{Source: "environment", Key: envPrefix + "CONFIGURATION"}, "ignored", "it is read only if there is no file"})
	}
	source := o.Path
	if len(files) == 0 || source == "" {
		source = "environment"
	}
	l := newLayers(source)
	var errs []error
	add := func(t *tree, w []Warning, err error) {
		warnings = append(warnings, w...)
		if err == nil {
			err = l.add(t)
		}
		if err != nil {
			errs = append(errs, err)
		}
	}
	for _, f := range files {
		add(readFile(f))
	}
	add(readEnv(o.Environ))
	if err := errors.Join(errs...); err != nil {
		return nil, warnings, err
	}
	t := l.merged()
	if len(t.values) == 0 {
		return nil, nil, noConfiguration(o.Path)
	}
	return t, warnings, nil
}

func noConfiguration(path string) error {
	if path == "" {
		return &Error{Where{}, "there is no configuration", "name a YAML file, or set PATRONI_* variables"}
	}
	return &Error{Where{Source: path}, "no such file or directory, and no PATRONI_* variable is set", "check the path"}
}

// listFiles returns the files that path stands for, none if it does not exist.
func listFiles(path string) ([]string, error) {
	if path == "" {
		return nil, nil
	}
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, nil
	case err != nil:
		return nil, unreadable(path, err)
	case !info.IsDir():
		return []string{path}, nil
	}
	entries, err := os.ReadDir(path)
	if err != nil {
		return nil, unreadable(path, err)
	}
	var files []string
	for _, e := range entries {
		name := filepath.Join(path, e.Name())
		if ext := filepath.Ext(name); ext != ".yml" && ext != ".yaml" {
			continue
		}
		if info, err := os.Stat(name); err == nil && info.Mode().IsRegular() {
			files = append(files, name)
		}
	}
	if len(files) == 0 {
		return nil, &Error{Where{Source: path}, "the directory holds no *.yml and no *.yaml file", ""}
	}
	slices.Sort(files)
	return files, nil
}

func readFile(path string) (*tree, []Warning, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, nil, unreadable(path, err)
	}
	return readYAML(path, data)
}

func unreadable(path string, err error) error {
	hint := ""
	if errors.Is(err, fs.ErrPermission) {
		hint = fmt.Sprintf("let user id %d read it", os.Geteuid())
	}
	return &Error{Where{Source: path}, "cannot be read: " + reason(err), hint}
}

// reason is what the operating system said, without the path, which the message names already.
func reason(err error) string {
	var errno syscall.Errno
	if errors.As(err, &errno) {
		return errno.Error()
	}
	return err.Error()
}
