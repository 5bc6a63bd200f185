package layering

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// shell lists the files of ha that run, wait and talk to the outside. Every other file of ha must be pure: a new file is,
// until somebody adds it here on purpose.
var shell = []string{
	"ports.go", "status.go", "unfenced.go", // declare ports, whose methods take a context
	"node.go", "ask.go", "perform.go", "fault.go", // run the machine, and turn outcomes into events
}

// root is where the module begins.
const root = "../.."

func TestModuleKeepsTheImportRules(t *testing.T) {
	imports := map[string][]string{}
	eachGoFile(t, func(dir, name string, file *ast.File, _ *token.FileSet) {
		if strings.HasSuffix(name, "_test.go") {
			return
		}
		for _, spec := range file.Imports {
			imported, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				t.Fatal(err)
			}
			imports[dir] = append(imports[dir], imported)
		}
	})
	var packages []Package
	for dir, list := range imports {
		slices.Sort(list)
		packages = append(packages, Package{Dir: dir, Imports: slices.Compact(list)})
	}
	if len(packages) < 5 {
		t.Fatalf("found only %d packages: this test no longer sees the module", len(packages))
	}
	for _, broken := range CheckImports(packages) {
		t.Error(broken)
	}
}

func TestDecidingFilesArePure(t *testing.T) {
	seen := 0
	eachGoFile(t, func(dir, name string, file *ast.File, fset *token.FileSet) {
		if dir != "ha" || strings.HasSuffix(name, "_test.go") || slices.Contains(shell, name) {
			return
		}
		seen++
		for _, broken := range CheckPure(fset, file) {
			t.Error(broken)
		}
	})
	if seen == 0 {
		t.Fatal("no deciding file found: this test no longer sees the module")
	}
}

// The project must stand alone: nothing in it may lean on a folder beside the clone.
func TestNothingPointsOutsideTheClone(t *testing.T) {
	needle := ".." + "/shared"
	eachFile(t, func(name string) {
		raw, err := os.ReadFile(filepath.Join(root, name))
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(raw), needle) {
			t.Errorf("%s names %s, which is not part of the project", name, needle)
		}
	})
}

func TestCheckImports(t *testing.T) {
	const m = Module + "/"
	for name, tc := range map[string]struct {
		pkg  Package
		want []string
	}{
		"ha may import the other roots":       {Package{"ha", []string{"fmt", m + "dcs", m + "postgres"}}, nil},
		"dcs may not import postgres":         {Package{"dcs", []string{m + "postgres"}}, []string{"dcs imports " + m + "postgres: a root imports only the standard library"}},
		"ha may not import an adapter":        {Package{"ha", []string{m + "rest"}}, []string{"ha imports " + m + "rest: a root imports only the standard library, dcs, postgres"}},
		"a root may not import a library":     {Package{"postgres", []string{"golang.org/x/sys/unix"}}, []string{"postgres imports golang.org/x/sys/unix: a root imports nothing outside the standard library and this module's roots"}},
		"an adapter may import roots and all": {Package{"dcs/etcd3", []string{m + "dcs", "go.etcd.io/etcd/client/v3", m + "internal/atomicfile"}}, nil},
		"an adapter may import its children":  {Package{"rest", []string{m + "rest/restclient"}}, nil},
		"adapters may not import each other":  {Package{"dcs/embedetcd", []string{m + "dcs/etcd3"}}, []string{"dcs/embedetcd imports " + m + "dcs/etcd3: adapters do not import each other; let a command put them together"}},
		"a child may not import its parent":   {Package{"rest/restclient", []string{m + "rest"}}, []string{"rest/restclient imports " + m + "rest: adapters do not import each other; let a command put them together"}},
		"a command puts adapters together":    {Package{"cmd/tanist", []string{m + "dcs/etcd3", m + "rest", m + "config"}}, nil},
		"an example does too":                 {Package{"examples/agent", []string{m + "dcs/memory", m + "rest"}}, nil},
		"a benchmark does too":                {Package{"bench/dcs", []string{m + "dcs/memory", m + "config"}}, nil},
		"test support does too":               {Package{"ha/hatest", []string{m + "dcs/memory", m + "ha"}}, nil},
		"nobody imports a command":            {Package{"rest", []string{m + "cmd/tanist"}}, []string{"rest imports " + m + "cmd/tanist: nothing imports a command or an example"}},
		"shared internals stay leaves":        {Package{"internal/atomicfile", []string{m + "rest"}}, []string{"internal/atomicfile imports " + m + "rest: internal packages that libraries share import only the roots"}},
	} {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(tc.want, CheckImports([]Package{tc.pkg})); diff != "" {
				t.Errorf("want -, got +:\n%s", diff)
			}
		})
	}
}

func TestCheckPure(t *testing.T) {
	const tail = ": what folds and decides gets time and facts as arguments"
	for name, tc := range map[string]struct {
		source string
		want   []string
	}{
		"times as values":  {"package ha\nimport \"time\"\nfunc f(now time.Time) bool { return now.After(time.Time{}) }", nil},
		"the clock":        {"package ha\nimport \"time\"\nfunc f() time.Time { return time.Now() }", []string{"f.go:3 uses time.Now" + tail}},
		"the clock, as t":  {"package ha\nimport t \"time\"\nfunc f() { <-t.After(1) }", []string{"f.go:3 uses time.After" + tail}},
		"context":          {"package ha\nimport \"context\"\nvar _ context.Context", []string{"f.go:2 uses context" + tail}},
		"below net":        {"package ha\nimport \"net/http\"\nvar _ http.Handler", []string{"f.go:2 uses net/http" + tail}},
		"sync and routine": {"package ha\nimport \"sync\"\nvar m sync.Mutex\nfunc f() { go f() }", []string{"f.go:2 uses sync" + tail, "f.go:4 uses a goroutine" + tail}},
	} {
		t.Run(name, func(t *testing.T) {
			fset := token.NewFileSet()
			file, err := parser.ParseFile(fset, "f.go", tc.source, 0)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tc.want, CheckPure(fset, file)); diff != "" {
				t.Errorf("want -, got +:\n%s", diff)
			}
		})
	}
}

// eachGoFile parses every Go file of the module. dir and name are relative to its root.
func eachGoFile(t *testing.T, visit func(dir, name string, file *ast.File, fset *token.FileSet)) {
	t.Helper()
	eachFile(t, func(name string) {
		if path.Ext(name) != ".go" {
			return
		}
		fset := token.NewFileSet()
		file, err := parser.ParseFile(fset, filepath.Join(root, name), nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		dir := path.Dir(name)
		if dir == "." {
			dir = ""
		}
		visit(dir, path.Base(name), file, fset)
	})
}

// eachFile visits the source files of the clone, not what was built or recorded in it.
func eachFile(t *testing.T, visit func(name string)) {
	t.Helper()
	err := fs.WalkDir(os.DirFS(root), ".", func(name string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir() && slices.Contains([]string{".git", "bin", "demo", "out"}, name):
			return fs.SkipDir
		case entry.Type().IsRegular():
			visit(name)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
