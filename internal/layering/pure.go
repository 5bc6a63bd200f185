package layering

import (
	"fmt"
	"go/ast"
	"go/token"
	"slices"
	"strconv"
)

// impure lists what the deciding files of ha may not import.
var impure = []string{"context", "net", "os", "sync", "runtime", "syscall", "math/rand"}

// clock lists the functions of package time that read or wait for the clock.
var clock = []string{"Now", "Since", "Until", "Sleep", "After", "AfterFunc", "Tick", "NewTimer", "NewTicker"}

// CheckPure returns a sentence for each use in file that breaks rule 3.
func CheckPure(fset *token.FileSet, file *ast.File) []string {
	var broken []string
	report := func(pos token.Pos, what string) {
		at := fset.Position(pos)
		broken = append(broken, fmt.Sprintf("%s:%d uses %s: what folds and decides gets time and facts as arguments",
			at.Filename, at.Line, what))
	}
	timeName := ""
	for _, spec := range file.Imports {
		imported, _ := strconv.Unquote(spec.Path.Value)
		if slices.ContainsFunc(impure, func(p string) bool { return within(p, imported) }) {
			report(spec.Pos(), imported)
		}
		if imported == "time" {
			timeName = "time"
			if spec.Name != nil {
				timeName = spec.Name.Name
			}
		}
	}
	ast.Inspect(file, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.GoStmt:
			report(n.Pos(), "a goroutine")
		case *ast.SelectorExpr:
			if x, ok := n.X.(*ast.Ident); ok && timeName != "" && x.Name == timeName && slices.Contains(clock, n.Sel.Name) {
				report(n.Pos(), "time."+n.Sel.Name)
			}
		}
		return true
	})
	return broken
}
