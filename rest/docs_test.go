package rest

import (
	"os"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestDocs(t *testing.T) {
	const name = "../docs/rest.md"
	if *update {
		writeFile(t, name, []byte(documentation()))
	}
	got, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(documentation(), string(got)); diff != "" {
		t.Errorf("docs/rest.md is stale (go test ./rest -run TestDocs -update): want -, got +:\n%s", diff)
	}
}
