package flight

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"reflect"

	"github.com/tanist-ha/tanist/ha"
)

// Encode returns the line for e, with its newline.
func Encode(e ha.RecordEntry) ([]byte, error) {
	var enc encoder
	if err := enc.value(reflect.ValueOf(e)); err != nil {
		return nil, fmt.Errorf("encode an entry of the flight record: %w", err)
	}
	enc.WriteByte('\n')
	return enc.Bytes(), nil
}

// Decode reads one line.
func Decode(line []byte) (ha.RecordEntry, error) {
	var e ha.RecordEntry
	doc, err := parse(line)
	if err == nil {
		err = assign(doc, reflect.ValueOf(&e).Elem())
	}
	if err == nil && e.Event == nil {
		err = errors.New("it has no event")
	}
	if err != nil {
		return ha.RecordEntry{}, fmt.Errorf("decode an entry of the flight record: %w", err)
	}
	return e, nil
}

// Read returns the entries of a file. Lines that cannot be read, as a crash may leave them, are counted; with each, what follows up to
// the next checkpoint is left out, as it cannot be replayed.
func Read(r io.Reader) (entries []ha.RecordEntry, broken int, err error) {
	in := bufio.NewReader(r)
	whole := true
	for {
		line, err := in.ReadBytes('\n')
		if len(bytes.TrimSpace(line)) > 0 {
			e, bad := Decode(line)
			switch {
			case bad != nil:
				broken++
				whole = false
			case whole || e.Start != nil:
				entries, whole = append(entries, e), true
			}
		}
		if errors.Is(err, io.EOF) {
			return entries, broken, nil
		}
		if err != nil {
			return entries, broken, fmt.Errorf("read the flight record: %w", err)
		}
	}
}
