package main

import (
	"context"
	"errors"
)

// hinted is an error with advice for the operator.
type hinted struct {
	err  error
	hint string
}

func (e *hinted) Error() string { return e.err.Error() }
func (e *hinted) Unwrap() error { return e.err }

// Hint is what to do about it.
func (e *hinted) Hint() string { return e.hint }

// joinErrors joins lists of errors into one list, so that each is printed on a line of its own.
func joinErrors(errs ...error) error {
	var flat []error
	for _, err := range errs {
		var list interface{ Unwrap() []error }
		if errors.As(err, &list) {
			flat = append(flat, list.Unwrap()...)
		} else if err != nil {
			flat = append(flat, err)
		}
	}
	return errors.Join(flat...)
}

// errAsked is the cause of an end that somebody asked for.
var errAsked = errors.New("asked to end")

// endCause is why ctx has ended, nil if somebody asked for it.
func endCause(ctx context.Context) error {
	if cause := context.Cause(ctx); cause != nil && !errors.Is(cause, errAsked) && !errors.Is(cause, context.Canceled) {
		return cause
	}
	return nil
}
