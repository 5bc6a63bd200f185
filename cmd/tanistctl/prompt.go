package main

import (
	"context"
	"fmt"
	"strings"
)

// ask prints a question and returns the answer, or fallback for an empty one. The end of the input and Ctrl-C abort.
func (a *app) ask(ctx context.Context, question, fallback string) (string, error) {
	fmt.Fprintf(a.out, "%s [%s]: ", question, fallback)
	line, err := a.readLine(ctx)
	if err != nil {
		fmt.Fprintln(a.out)
		return "", err
	}
	if line == "" {
		return fallback, nil
	}
	return line, nil
}

// confirm asks until the answer is yes or no; an empty one is no.
func (a *app) confirm(ctx context.Context, question string) (bool, error) {
	for {
		fmt.Fprintf(a.out, "%s [y/N]: ", question)
		line, err := a.readLine(ctx)
		if err != nil {
			fmt.Fprintln(a.out)
			return false, err
		}
		switch strings.ToLower(line) {
		case "y", "yes":
			return true, nil
		case "", "n", "no":
			return false, nil
		}
		fmt.Fprintln(a.out, "Error: invalid input")
	}
}

// readLine reads one line. A read that Ctrl-C interrupts is left behind: the process ends right after.
func (a *app) readLine(ctx context.Context) (string, error) {
	type answer struct {
		line string
		err  error
	}
	got := make(chan answer, 1)
	go func() {
		line, err := a.in.ReadString('\n')
		got <- answer{line, err}
	}()
	select {
	case <-ctx.Done():
		return "", errAborted
	case r := <-got:
		if r.err != nil && r.line == "" {
			return "", errAborted
		}
		return strings.TrimSpace(r.line), nil
	}
}
