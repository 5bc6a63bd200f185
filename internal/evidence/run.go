package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
)

// event is what `go test -json` says of a test, of a package (Test is "") or of a build.
type event struct {
	Action     string
	Package    string
	Test       string
	Output     string
	ImportPath string // of a build
}

// run makes `go test` write its events, adds those that end a test to the record, and shows what go test without -json would.
func run(record string, args []string, out io.Writer) error {
	f, err := os.OpenFile(record, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return fmt.Errorf("open the record: %w", err)
	}
	defer f.Close()
	cmd := exec.Command(goTool(), append([]string{"test", "-json"}, args...)...)
	cmd.Stderr = os.Stderr
	events, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start go test: %w", err)
	}
	err = copyEvents(events, f, newPrinter(out, slices.Contains(args, "-v")))
	if err != nil {
		_, _ = io.Copy(io.Discard, events) // its end comes first
	}
	if werr := cmd.Wait(); werr != nil {
		return fmt.Errorf("go test: %w", werr)
	}
	if err != nil {
		return err
	}
	return f.Close()
}

// goTool is the toolchain that the Makefile names.
func goTool() string {
	if name := os.Getenv("GO"); name != "" {
		return name
	}
	return "go"
}

// copyEvents shows every event and writes down how tests and packages ended.
func copyEvents(events io.Reader, record io.Writer, p *printer) error {
	lines := bufio.NewReader(events)
	for {
		line, err := lines.ReadBytes('\n')
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read go test's events: %w", err)
		}
		var e event
		if json.Unmarshal(line, &e) != nil {
			p.raw(string(line))
			continue
		}
		p.show(e)
		if e.Action == "pass" || e.Action == "fail" || e.Action == "skip" {
			if _, err := record.Write(line); err != nil {
				return fmt.Errorf("write the record: %w", err)
			}
		}
	}
}

// printer shows events as go test does: without -v only what failed, and a line for each package.
type printer struct {
	out     io.Writer
	verbose bool
	kept    map[[2]string][]string // of a package and a top-level test: its output so far
}

func newPrinter(out io.Writer, verbose bool) *printer {
	return &printer{out: out, verbose: verbose, kept: map[[2]string][]string{}}
}

func (p *printer) raw(text string) { fmt.Fprint(p.out, text) }

func (p *printer) show(e event) {
	key := [2]string{e.Package, top(e.Test)}
	switch {
	case e.Action == "build-output", e.Action == "output" && (p.verbose || e.Test == "" && e.Output != "PASS\n"):
		p.raw(e.Output)
	case e.Action == "output":
		p.kept[key] = append(p.kept[key], e.Output)
	case e.Action == "fail" && e.Test == key[1]: // of a package, too: a panic leaves tests that never end
		for k, lines := range p.kept {
			if k[0] == e.Package && (e.Test == "" || k == key) {
				for _, l := range lines {
					p.raw(l)
				}
				delete(p.kept, k)
			}
		}
	case (e.Action == "pass" || e.Action == "skip") && e.Test == key[1]:
		delete(p.kept, key)
	}
}
