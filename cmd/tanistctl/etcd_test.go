package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tanist-ha/tanist/dcs/embedetcd"
	"github.com/tanist-ha/tanist/internal/servertest"
)

// TestEtcdMembers: the members are shown; one that lives is not removed by accident; one that is gone is, once etcd agrees.
func TestEtcdMembers(t *testing.T) {
	servertest.Slow(t)
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	configs, err := embedetcd.Local(3, t.TempDir(), nil)
	if err != nil {
		t.Fatal(err)
	}
	servers, err := embedetcd.StartAll(ctx, configs)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		for _, s := range servers {
			if err := s.Stop(ctx); err != nil {
				t.Error(err)
			}
		}
	}()
	var hosts []string
	for _, cfg := range configs {
		hosts = append(hosts, cfg.ClientURLs...)
	}
	file := filepath.Join(t.TempDir(), "m0.yml")
	text := fmt.Sprintf("scope: s\nname: m0\nembedetcd: {data_dir: /e, client_listen: %q, peer_listen: %q, hosts: [%s]}\n", hosts[0], configs[0].PeerURLs[0], strings.Join(hosts, ", "))
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	run := func(args ...string) (string, int) {
		var out bytes.Buffer
		a := &app{in: bufio.NewReader(strings.NewReader("")), out: &out, err: &out, now: time.Now, connect: connect, client: client}
		code := a.run(ctx, append([]string{"-c", file, "etcd"}, args...))
		return out.String(), code
	}
	if out, code := run("members"); code != 0 || strings.Count(out, "healthy") != 3 || strings.Count(out, "leader") != 1 {
		t.Errorf("members: %d\n%s", code, out)
	}
	if out, code := run("remove", "nobody"); code == 0 || !strings.Contains(out, "has no member nobody") {
		t.Errorf("remove nobody: %d\n%s", code, out)
	}
	if out, code := run("remove", "m2"); code == 0 || !strings.Contains(out, "stop its agent first") {
		t.Errorf("remove a member that lives: %d\n%s", code, out)
	}
	if err := servers[2].Stop(ctx); err != nil {
		t.Fatal(err)
	}
	out, code := run("remove", "m2")
	for again := time.NewTicker(200 * time.Millisecond); code != 0; out, code = run("remove", "m2") {
		if !strings.Contains(out, "try again") {
			t.Fatalf("remove: %d\n%s", code, out)
		}
		select {
		case <-again.C:
		case <-ctx.Done():
			t.Fatalf("remove: %d\n%s", code, out)
		}
	}
	if !strings.Contains(out, "is removed") {
		t.Errorf("remove: %s", out)
	}
	if out, _ := run("members"); strings.Contains(out, "m2") {
		t.Errorf("after the removal:\n%s", out)
	}
}
