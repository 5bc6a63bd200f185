//go:build linux

package testcluster

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
)

// statusError is an answer that is not 200.
type statusError struct {
	code int
	text string
}

func (e *statusError) Error() string { return e.text }

// fetch returns the body of an answer 200; another one is a statusError.
func fetch(client *http.Client, req *http.Request) ([]byte, error) {
	res, err := client.Do(req)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	raw, err := io.ReadAll(res.Body)
	if err == nil && res.StatusCode != http.StatusOK {
		err = &statusError{res.StatusCode, fmt.Sprintf("%s: %s: %s", req.URL.Path, res.Status, tail(string(raw), 500))}
	}
	return raw, err
}

// metrics calls f with each sample of Prometheus' text format: its name with its labels, and its value.
func metrics(text []byte, f func(name string, value float64)) error {
	lines := bufio.NewScanner(bytes.NewReader(text))
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		at := strings.LastIndexByte(lines.Text(), ' ')
		if at < 0 || strings.HasPrefix(lines.Text(), "#") {
			continue
		}
		if value, err := strconv.ParseFloat(lines.Text()[at+1:], 64); err == nil {
			f(lines.Text()[:at], value)
		}
	}
	return lines.Err()
}

// label is the value of one label in the name of a sample.
func label(name, key string) string {
	_, rest, _ := strings.Cut(name, key+`="`)
	value, _, _ := strings.Cut(rest, `"`)
	return value
}
