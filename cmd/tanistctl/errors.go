package main

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"
)

// The exit codes, as patronictl's.
const (
	exitOK    = 0
	exitError = 1 // the command said why, or was ended at a prompt
	exitUsage = 2 // the command line is wrong
)

// errAborted ends a command at a prompt, or by Ctrl-C.
var errAborted = errors.New("aborted")

// usageError is a mistake in the command line.
type usageError struct {
	cmd *cobra.Command
	err error
}

func (e *usageError) Error() string { return e.err.Error() }
func (e *usageError) Unwrap() error { return e.err }

// refusal is a sentence that patronictl's users, and their scripts, know by its text.
type refusal string

func (r refusal) Error() string { return string(r) }

// refuse makes such a sentence.
func refuse(format string, args ...any) error { return refusal(fmt.Sprintf(format, args...)) }

// hinted is an error with advice on a line of its own.
type hinted struct {
	err  error
	hint string
}

func (e *hinted) Error() string { return e.err.Error() }
func (e *hinted) Unwrap() error { return e.err }
func (e *hinted) Hint() string  { return e.hint }

// usage makes an argument check report its errors as mistakes in the command line.
func usage(check cobra.PositionalArgs) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if err := check(cmd, args); err != nil {
			return &usageError{cmd, err}
		}
		return nil
	}
}

// report prints what ended the command and returns the exit code.
func report(ctx context.Context, w io.Writer, err error) int {
	var wrong *usageError
	switch {
	case err == nil:
		return exitOK
	case errors.Is(err, errAborted), ctx.Err() != nil:
		fmt.Fprintln(w, "Aborted!")
		return exitError
	case errors.As(err, &wrong):
		fmt.Fprintf(w, "Usage: %s\nTry '%s --help' for help.\n\nError: %v\n", wrong.cmd.UseLine(), wrong.cmd.CommandPath(), err)
		return exitUsage
	}
	fmt.Fprintf(w, "Error: %v\n", err)
	var advice interface{ Hint() string }
	if errors.As(err, &advice) && advice.Hint() != "" {
		fmt.Fprintf(w, "Hint: %s\n", advice.Hint())
	}
	return exitError
}
