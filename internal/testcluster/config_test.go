//go:build linux

package testcluster

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestSet(t *testing.T) {
	cfg := map[string]any{"a": map[string]any{"b": 1, "c": 2}, "text": "x"}
	Set(cfg, "a.b", 3)
	Set(cfg, "a.c", nil)
	Set(cfg, "text.now.a.map", true)
	want := map[string]any{"a": map[string]any{"b": 3}, "text": map[string]any{"now": map[string]any{"a": map[string]any{"map": true}}}}
	if diff := cmp.Diff(want, cfg); diff != "" {
		t.Errorf("want -, got +:\n%s", diff)
	}
}
