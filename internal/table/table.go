// Package table prints what a cluster looks like, as patronictl does: boxes for people, and formats for programs.
package table

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
)

// The output formats. Topology is a box, too, with members below those they replicate from.
const (
	Pretty   = "pretty"
	TSV      = "tsv"
	JSON     = "json"
	YAML     = "yaml"
	YML      = "yml"
	Topology = "topology"
)

// ForPeople says whether a format is read by people, who also get notices below the table.
func ForPeople(format string) bool { return format == Pretty || format == Topology }

// Table is what a command prints. A cell is a string, a number, or a map of tags; an empty cell is "".
type Table struct {
	title   string // stands in the upper border
	columns []string
	right   map[string]bool // columns aligned to the right
	rows    [][]any
	// hidden is how many columns at the left are only for programs, because the title says them already.
	hidden int
}

// Print writes t in one of the formats.
func (t Table) Print(w io.Writer, format string) error {
	switch format {
	case JSON:
		return t.printJSON(w)
	case YAML, YML:
		return t.printYAML(w)
	case TSV:
		return t.printTSV(w)
	}
	return t.printBox(w, format)
}

func (t Table) printTSV(w io.Writer) error {
	lines := []string{strings.Join(t.columns, "\t")}
	for _, row := range t.rows {
		cells := make([]string, len(row))
		for i, c := range row {
			text, err := cellText(c, true)
			if err != nil {
				return err
			}
			cells[i] = text
		}
		lines = append(lines, strings.Join(cells, "\t"))
	}
	_, err := fmt.Fprintln(w, strings.Join(lines, "\n"))
	return err
}

// printJSON writes one line, an array of objects whose keys keep the order of the columns. Empty cells are left out.
func (t Table) printJSON(w io.Writer) error {
	var b bytes.Buffer
	b.WriteByte('[')
	for i, row := range t.rows {
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteByte('{')
		first := true
		for j, cell := range row {
			if cell == "" {
				continue
			}
			if !first {
				b.WriteString(", ")
			}
			first = false
			fmt.Fprintf(&b, "%q: ", t.columns[j])
			e := json.NewEncoder(&b)
			e.SetEscapeHTML(false)
			if err := e.Encode(cell); err != nil {
				return fmt.Errorf("encode %s: %w", t.columns[j], err)
			}
			b.Truncate(b.Len() - 1) // the encoder ends with a line feed
		}
		b.WriteByte('}')
	}
	b.WriteString("]\n")
	_, err := w.Write(b.Bytes())
	return err
}

func (t Table) printYAML(w io.Writer) error {
	rows := make([]map[string]any, 0, len(t.rows))
	for _, row := range t.rows {
		fields := map[string]any{}
		for i, cell := range row {
			if cell != "" {
				fields[t.columns[i]] = cell
			}
		}
		rows = append(rows, fields)
	}
	text, err := yamlText(rows, false)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(w, text)
	return err
}

// printBox draws the table for people. A cell of several lines puts a rule under each row.
func (t Table) printBox(w io.Writer, format string) error {
	columns := t.columns[t.hidden:]
	cells := make([][][]string, len(t.rows))
	widths := make([]int, len(columns))
	for i, c := range columns {
		widths[i] = utf8.RuneCountInString(c)
	}
	ruled := false
	for i, row := range t.rows {
		for j, c := range row[t.hidden:] {
			text, err := cellText(c, format != Pretty)
			if err != nil {
				return err
			}
			lines := strings.Split(text, "\n")
			ruled = ruled || len(lines) > 1
			for _, line := range lines {
				widths[j] = max(widths[j], utf8.RuneCountInString(line))
			}
			cells[i] = append(cells[i], lines)
		}
	}

	rule := boxRule(widths)
	var b strings.Builder
	b.WriteString(titled(rule, t.title) + "\n")
	header := make([][]string, len(columns))
	for i, c := range columns {
		header[i] = []string{c}
	}
	t.writeRow(&b, header, widths)
	b.WriteString(rule + "\n")
	for i, row := range cells {
		t.writeRow(&b, row, widths)
		if ruled || i == len(cells)-1 {
			b.WriteString(rule + "\n")
		}
	}
	if len(cells) == 0 {
		b.WriteString(rule + "\n")
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// writeRow writes one row, which is as many lines high as its highest cell.
func (t Table) writeRow(b *strings.Builder, row [][]string, widths []int) {
	height := 0
	for _, cell := range row {
		height = max(height, len(cell))
	}
	for line := range height {
		for i, cell := range row {
			text := ""
			if line < len(cell) {
				text = cell[line]
			}
			pad := strings.Repeat(" ", widths[i]-utf8.RuneCountInString(text))
			if t.right[t.columns[t.hidden+i]] {
				b.WriteString("| " + pad + text + " ")
			} else {
				b.WriteString("| " + text + pad + " ")
			}
		}
		b.WriteString("|\n")
	}
}

func boxRule(widths []int) string {
	var b strings.Builder
	for _, w := range widths {
		b.WriteString("+" + strings.Repeat("-", w+2))
	}
	return b.String() + "+"
}

// titled puts the title over the beginning of the upper border, and never over its last corner.
func titled(rule, title string) string {
	runes := []rune(title)
	if len(runes) > len(rule)-2 {
		runes = runes[:len(rule)-2]
	}
	return rule[:1] + string(runes) + rule[1+len(runes):]
}

// cellText is a cell as text; tags become YAML, on one line where flow is asked for.
func cellText(cell any, flow bool) (string, error) {
	if tags, ok := cell.(map[string]any); ok {
		return yamlText(tags, flow)
	}
	return fmt.Sprint(cell), nil
}

// yamlText encodes v with sorted keys and without a final newline.
func yamlText(v any, flow bool) (string, error) {
	var node yaml.Node
	if err := node.Encode(v); err != nil {
		return "", fmt.Errorf("encode as YAML: %w", err)
	}
	if flow {
		node.Style = yaml.FlowStyle
	}
	var b bytes.Buffer
	e := yaml.NewEncoder(&b)
	e.SetIndent(2)
	if err := e.Encode(&node); err != nil {
		return "", fmt.Errorf("encode as YAML: %w", err)
	}
	return strings.TrimRight(b.String(), "\n"), nil
}
