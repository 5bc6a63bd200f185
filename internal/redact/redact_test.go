package redact_test

import (
	"fmt"
	"testing"

	"github.com/tanist-ha/tanist/internal/redact"
)

func ExampleAddress() {
	fmt.Println(redact.Address("https://admin:secret@db1:2379"))
	// Output: https://xxxxx@db1:2379
}

func TestAddress(t *testing.T) {
	for text, want := range map[string]string{
		"http://host:2379":              "http://host:2379",
		"host:2379":                     "host:2379",
		"":                              "",
		"u:secret@host:2379":            "xxxxx@host:2379",
		"http://u:sec@ret@host":         "http://xxxxx@host",
		"http://u:sec/ret@host":         "http://xxxxx@host",
		"http://u:sec%zzret@host":       "http://xxxxx@host",
		"http://u:sec?ret@host:1":       "http://xxxxx?xxxxx",
		"http://host:8500?token=secret": "http://host:8500?xxxxx",
	} {
		if got := redact.Address(text); got != want {
			t.Errorf("%q: got %q, want %q", text, got, want)
		}
	}
}
