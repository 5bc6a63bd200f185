//go:build linux

package testcluster

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// MissingError says that a program of somebody else is not installed.
type MissingError struct{ Program, Hint string }

func (e *MissingError) Error() string {
	return fmt.Sprintf("%s is not installed (hint: %s)", e.Program, e.Hint)
}

// Programs is a folder with the programs under test, readable by everyone.
type Programs struct {
	Dir  string
	ours bool // made by Build, for Remove to remove
}

// Remove removes what Build made.
func (p Programs) Remove() {
	if p.ours {
		_ = os.RemoveAll(p.Dir)
	}
}

// Tanist is the agent.
func (p Programs) Tanist() string { return filepath.Join(p.Dir, "tanist") }

// Tanistctl is the operator's tool.
func (p Programs) Tanistctl() string { return filepath.Join(p.Dir, "tanistctl") }

func (p Programs) reaper() string { return filepath.Join(p.Dir, "reaper") }

// Build compiles the programs of this module into a new folder, as a release is built: static and stripped. The caller
// calls Remove. The working directory must be inside the module. TESTCLUSTER_PROGRAMS names a folder with programs that
// were built otherwise, for example with the race detector.
func Build(ctx context.Context) (Programs, error) {
	if dir := os.Getenv("TESTCLUSTER_PROGRAMS"); dir != "" {
		return Programs{Dir: dir}, nil
	}
	dir, err := os.MkdirTemp("", "tanist-bin-")
	if err != nil {
		return Programs{}, err
	}
	p := Programs{dir, true}
	if err := os.Chmod(dir, 0o755); err != nil {
		return p, err
	}
	if err := p.build(ctx, "cmd/tanist", "cmd/tanistctl", "internal/testcluster/reaper"); err != nil {
		p.Remove()
		return Programs{}, err
	}
	return p, nil
}

// build compiles packages of the module, named by their folders, with the flags of the Makefile: what it has compiled is not compiled again.
func (p Programs) build(ctx context.Context, packages ...string) error {
	args := []string{"build", "-buildvcs=false", "-trimpath", "-ldflags", "-s -w", "-o", p.Dir + "/"}
	for _, name := range packages {
		args = append(args, "github.com/tanist-ha/tanist/"+name)
	}
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build the programs: %w\n%s", err, strings.TrimSpace(string(out)))
	}
	return nil
}

// FindPostgres returns the program folder of PostgreSQL 15 where it is installed, else of the newest server.
func FindPostgres() (string, error) {
	var newest string
	for _, pattern := range []string{"/usr/lib/postgresql/*/bin/postgres", "/usr/pgsql-*/bin/postgres"} {
		found, _ := filepath.Glob(pattern) // sorted; the patterns are well formed
		for _, f := range found {
			newest = filepath.Dir(f)
			if strings.Contains(f, "/15/") || strings.Contains(f, "pgsql-15/") {
				return newest, nil
			}
		}
	}
	if newest == "" {
		return "", &MissingError{"PostgreSQL", "install postgresql"}
	}
	return newest, nil
}
