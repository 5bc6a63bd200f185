package main

import (
	"os"
	"path/filepath"
	"regexp"
	"testing"

	"github.com/tanist-ha/tanist/config"
)

// TestEmbeddedEtcdExamples holds the examples of docs/embedded-etcd.md to what the programs accept: without an error, without a warning.
func TestEmbeddedEtcdExamples(t *testing.T) {
	page, err := os.ReadFile("../../docs/embedded-etcd.md")
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for _, m := range regexp.MustCompile("(?s)```yaml\n# example: (\\w+)\n(.*?)```").FindAllStringSubmatch(string(page), -1) {
		name := m[1]
		seen[name] = true
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), name+".yml")
			if err := os.WriteFile(file, []byte(m[2]), 0o600); err != nil {
				t.Fatal(err)
			}
			cfg, warnings, err := config.Load(config.Options{Path: file})
			if err != nil {
				t.Fatal(err)
			}
			validate := cfg.ValidateWitness
			if name == "node1" {
				validate = cfg.Validate
			}
			more, err := validate(config.Checks{})
			if err != nil || len(warnings)+len(more) > 0 {
				t.Fatalf("%v, %v, %v", warnings, more, err)
			}
			if err := memberConfig(cfg.EmbedEtcd, nil).Validate(); err != nil {
				t.Fatal(err)
			}
		})
	}
	for _, name := range []string{"node1", "witness", "secure"} {
		if !seen[name] {
			t.Errorf("the page has no example %s", name)
		}
	}
}
