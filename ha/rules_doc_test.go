package ha_test

import (
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tanist-ha/tanist/ha"
)

var update = flag.Bool("update", false, "write docs/rules.md anew")

// TestRulesDocument renders the rules from their comments and compares with docs/rules.md.
func TestRulesDocument(t *testing.T) {
	const path = "../docs/rules.md"
	want := readSource(t).document(t)
	if *update {
		if err := os.WriteFile(path, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, string(got)); diff != "" {
		t.Errorf("docs/rules.md is stale, run go test ./ha -run RulesDocument -update (-want +got):\n%s", diff)
	}
}

// TestRulesList checks that the exported list is the rulebook, and that an id begins with its section's name.
func TestRulesList(t *testing.T) {
	var ids []ha.RuleID
	for _, r := range ha.Rules() {
		ids = append(ids, r.ID)
		if !strings.HasPrefix(string(r.ID), r.Section+".") {
			t.Errorf("rule %s stands in section %s", r.ID, r.Section)
		}
	}
	if diff := cmp.Diff(ha.StandardRules().IDs(), ids); diff != "" {
		t.Error(diff)
	}
	slices.Sort(ids)
	if len(slices.Compact(ids)) != len(ha.Rules()) {
		t.Error("an id stands twice in the rulebook")
	}
}

// source is what the files of package ha say about the rules.
type source struct {
	funcs    map[string]*ast.FuncDecl // functions and methods by name
	check    map[string]string        // rule id to the name of its function
	sections map[string]string        // first rule id of a list to the comment of the list
	actions  map[string]bool          // names of types that are actions
}

func readSource(t *testing.T) *source {
	t.Helper()
	s := &source{funcs: map[string]*ast.FuncDecl{}, check: map[string]string{}, sections: map[string]string{}, actions: map[string]bool{}}
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		f, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range f.Decls {
			switch d := d.(type) {
			case *ast.FuncDecl:
				s.funcDecl(d)
			case *ast.GenDecl:
				s.ruleList(d)
			}
		}
	}
	return s
}

func (s *source) funcDecl(d *ast.FuncDecl) {
	if d.Name.Name == "lane" && d.Recv != nil { // only actions have one
		if recv, ok := d.Recv.List[0].Type.(*ast.Ident); ok {
			s.actions[recv.Name] = true
		}
		return
	}
	if d.Recv == nil || s.funcs[d.Name.Name] == nil {
		s.funcs[d.Name.Name] = d
	}
}

// ruleList reads a declaration such as: var xRules = []Rule{{"x.y", xY}, ...}.
func (s *source) ruleList(d *ast.GenDecl) {
	for _, spec := range d.Specs {
		v, ok := spec.(*ast.ValueSpec)
		if !ok || len(v.Values) != 1 || !strings.HasSuffix(v.Names[0].Name, "Rules") {
			continue
		}
		list, ok := v.Values[0].(*ast.CompositeLit)
		if !ok {
			continue
		}
		for i, e := range list.Elts {
			row, ok := e.(*ast.CompositeLit)
			if !ok || len(row.Elts) != 2 {
				continue
			}
			id, _ := strconv.Unquote(row.Elts[0].(*ast.BasicLit).Value)
			s.check[id] = row.Elts[1].(*ast.Ident).Name
			if i == 0 {
				s.sections[id] = comment(v.Names[0].Name, d.Doc)
			}
		}
	}
}

// comment is a doc comment as one line, without the name that it begins with.
func comment(name string, doc *ast.CommentGroup) string {
	text := strings.Join(strings.Fields(doc.Text()), " ")
	text = strings.TrimPrefix(text, name+" ")
	if text == "" {
		return ""
	}
	return strings.ToUpper(text[:1]) + text[1:]
}

// begins lists the actions that a function, or one that it calls, can begin.
func (s *source) begins(name string) []string {
	found, seen := map[string]bool{}, map[string]bool{}
	var walk func(name string)
	walk = func(name string) {
		f := s.funcs[name]
		if f == nil || f.Body == nil || seen[name] {
			return
		}
		seen[name] = true
		ast.Inspect(f.Body, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.CompositeLit:
				if id, ok := n.Type.(*ast.Ident); ok && s.actions[id.Name] {
					found[actionName(id.Name, n)] = true
				}
			case *ast.SelectorExpr:
				if n.Sel.Name == "ask" { // what a race, or a comparison of peers, found missing
					found["poll peer"] = true
				}
			case *ast.CallExpr:
				switch f := n.Fun.(type) {
				case *ast.Ident:
					walk(f.Name)
				case *ast.SelectorExpr:
					if x, ok := f.X.(*ast.Ident); ok && x.Name == "v" && f.Sel.Name != "race" {
						walk(f.Sel.Name)
					}
				}
			}
			return true
		})
	}
	walk(name)
	delete(found, "")
	var names []string
	for n := range found {
		names = append(names, n)
	}
	slices.Sort(names)
	return names
}

// actionName is an action for people; for a task it is the task, where the literal names it.
func actionName(typ string, lit *ast.CompositeLit) string {
	if typ != "RunTask" {
		var b strings.Builder
		for i, r := range typ {
			if r >= 'A' && r <= 'Z' {
				if i > 0 {
					b.WriteByte(' ')
				}
				r += 'a' - 'A'
			}
			b.WriteRune(r)
		}
		return b.String()
	}
	kind := ""
	ast.Inspect(lit, func(n ast.Node) bool {
		if sel, ok := n.(*ast.SelectorExpr); ok && strings.HasPrefix(sel.Sel.Name, "Task") && sel.Sel.Name != "Task" {
			kind = "task " + strings.ToLower(strings.TrimPrefix(sel.Sel.Name, "Task"))
		}
		return true
	})
	return kind
}

const preface = `# The rules

<!-- Written by go test ./ha -run RulesDocument -update, from the comments of the rules. Change them there. -->

A node decides by asking these rules in order, with what it knows and the time; the first that matches says what to begin, or what to wait
for. When something was begun or has happened, it asks again from the top. Nothing else decides. The id of the rule that fired stands in
the log line, in the metric ` + "`tanist_rule_total`" + `, in ` + "`tanistctl explain`" + ` (which also lists why each earlier rule passed) and belongs into bug reports; ids
do not change. A section that does not concern the node's situation is passed over as a whole.

`

// document is docs/rules.md.
func (s *source) document(t *testing.T) string {
	t.Helper()
	var b strings.Builder
	b.WriteString(preface)
	for _, section := range ha.StandardRules().Sections {
		first := string(section.Rules[0].ID)
		fmt.Fprintf(&b, "## %s\n\nThese rules %s\n", section.Name, lower(s.sections[first]))
		if ok, why := section.Applies(time.Time{}, &ha.View{}); !ok {
			fmt.Fprintf(&b, "Passed over when %s.\n", why)
		}
		b.WriteString("\n| rule | | may begin |\n| --- | --- | --- |\n")
		for _, r := range section.Rules {
			f := s.funcs[s.check[string(r.ID)]]
			if f == nil || f.Doc.Text() == "" {
				t.Errorf("rule %s has no comment", r.ID)
				continue
			}
			fmt.Fprintf(&b, "| `%s` | %s | %s |\n", r.ID, comment(f.Name.Name, f.Doc), strings.Join(s.begins(f.Name.Name), ", "))
		}
		b.WriteString("\n" + s.chart(&section) + "\n")
	}
	return strings.TrimRight(b.String(), "\n") + "\n"
}

// chart is a small Mermaid chart of a section: the rules in order, and what they may begin.
func (s *source) chart(section *ha.Section) string {
	var b strings.Builder
	b.WriteString("```mermaid\nflowchart TD\n")
	for i, r := range section.Rules {
		short := strings.TrimPrefix(string(r.ID), section.Name+".")
		fmt.Fprintf(&b, "  r%d[%s]\n", i, short)
		if i > 0 {
			fmt.Fprintf(&b, "  r%d -->|passes| r%d\n", i-1, i)
		}
		if begins := s.begins(s.check[string(r.ID)]); len(begins) > 0 {
			fmt.Fprintf(&b, "  r%d -.-> a%d([\"%s\"])\n", i, i, strings.Join(begins, "<br>"))
		}
	}
	b.WriteString("```\n")
	return b.String()
}

func lower(s string) string {
	if s == "" {
		return s
	}
	return strings.ToLower(s[:1]) + s[1:]
}
