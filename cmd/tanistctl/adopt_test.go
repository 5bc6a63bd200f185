package main

import (
	"bufio"
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tanist-ha/tanist/dcs"
	"github.com/tanist-ha/tanist/dcs/etcd3"
	"github.com/tanist-ha/tanist/internal/etcdtest"
)

// TestAdopt puts a cluster into version 3 of a real etcd, once its name was typed.
func TestAdopt(t *testing.T) {
	etcd := etcdtest.Start(t, etcdtest.Options{})[0]
	b, err := etcd3.New(etcd3.Config{Endpoints: []string{etcd.Endpoint}})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	file := filepath.Join(t.TempDir(), "n1.yml")
	if err := os.WriteFile(file, []byte("scope: demo\netcd: {url: \""+etcd.Endpoint+"\"}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, step := range []struct {
		typed     string
		code      int
		out, fail string
	}{
		{"", exitError, "there will be two primaries", "Aborted"},
		{"other\n", exitError, "version 2 is not served", "do not match"},
		{"demo\n", exitOK, "Cluster demo is adopted", ""},
		{"", exitOK, "nothing to do", ""},
	} {
		var out, fail bytes.Buffer
		a := &app{in: bufio.NewReader(strings.NewReader(step.typed)), out: &out, err: &fail, now: time.Now, connect: connect, client: client}
		code := a.run(t.Context(), []string{"-c", file, "adopt", "--system-identifier", "7543210987654321001"})
		if code != step.code || !strings.Contains(out.String(), step.out) || !strings.Contains(fail.String(), step.fail) {
			t.Errorf("typed %q: exit code %d\n%s%s", step.typed, code, &out, &fail)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cluster, err := dcs.NewClient(b, dcs.Options{Scope: "demo"}).Load(ctx)
	if err != nil || cluster.Initialize == nil || cluster.Initialize.SystemID != "7543210987654321001" {
		t.Errorf("the store has %+v, %v", cluster.Initialize, err)
	}
}
