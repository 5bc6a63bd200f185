// Package layering checks that the packages of this module import each other only in the directions that the design
// allows, so that someone who imports ha, dcs or postgres links those and nothing else:
//
//  1. The roots ha, dcs and postgres import the standard library; ha also imports dcs and postgres.
//  2. An adapter (every other importable package) imports the roots, internal packages and its own sub-packages, but
//     never another adapter. Commands, benchmarks, examples, test support (packages named ...test) and tests put adapters together.
//  3. The files of ha that fold and decide use no package that waits, shares or looks at the outside, and no clock.
//
// The rules are functions over plain values; the test of this package reads the module and applies them.
package layering

import (
	"fmt"
	"path"
	"slices"
	"strings"
)

// Module is the path of the module that is checked.
const Module = "github.com/tanist-ha/tanist"

// Package is one folder of Go files that are not tests.
type Package struct {
	Dir     string   // relative to the module's root, with slashes; "" is the root
	Imports []string // import paths
}

// roots lists the packages of rule 1 and what each may import of this module.
var roots = map[string][]string{
	"ha":       {"dcs", "postgres"},
	"dcs":      nil,
	"postgres": nil,
}

// CheckImports returns a sentence for each import that breaks rule 1 or 2.
func CheckImports(packages []Package) []string {
	var broken []string
	for _, p := range packages {
		for _, imported := range p.Imports {
			if why := forbidden(p.Dir, imported); why != "" {
				broken = append(broken, fmt.Sprintf("%s imports %s: %s", p.Dir, imported, why))
			}
		}
	}
	slices.Sort(broken)
	return broken
}

// forbidden says why the package in dir may not import imported, or "".
func forbidden(dir, imported string) string {
	target, ours := strings.CutPrefix(imported, Module+"/")
	if allowed, isRoot := roots[dir]; isRoot {
		switch {
		case ours && !slices.Contains(allowed, target):
			return "a root imports only " + strings.Join(append([]string{"the standard library"}, allowed...), ", ")
		case !ours && !standard(imported):
			return "a root imports nothing outside the standard library and this module's roots"
		}
		return ""
	}
	if !ours || freeToImport(dir) {
		return ""
	}
	_, targetIsRoot := roots[target]
	switch {
	case targetIsRoot, within("internal", target), within(dir, target):
		return ""
	case within("cmd", target), within("examples", target):
		return "nothing imports a command or an example"
	case within("internal", dir):
		return "internal packages that libraries share import only the roots"
	}
	return "adapters do not import each other; let a command put them together"
}

// freeToImport says whether dir is a place where adapters are put together.
func freeToImport(dir string) bool {
	return within("cmd", dir) || within("bench", dir) || within("examples", dir) || strings.HasSuffix(path.Base(dir), "test") ||
		slices.Contains(wiring, dir)
}

// wiring lists the internal packages that serve the commands only.
var wiring = []string{"internal/wire"}

// within says whether dir is parent or lies below it.
func within(parent, dir string) bool { return dir == parent || strings.HasPrefix(dir, parent+"/") }

// standard says whether an import path belongs to the standard library: its first element has no dot.
func standard(imported string) bool {
	first, _, _ := strings.Cut(imported, "/")
	return !strings.Contains(first, ".")
}
