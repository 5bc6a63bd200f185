package main

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/tanist-ha/tanist/dcs"
	"github.com/tanist-ha/tanist/dcs/etcd3"
	"github.com/tanist-ha/tanist/internal/etcdtest"
	"github.com/tanist-ha/tanist/postgres"
	"github.com/tanist-ha/tanist/postgres/pgtest"
)

// TestOldEtcdSection runs the scripts in testdata/legacy on Debian's etcd 3.4, with version 2 of its protocol ($WITH_V2) and without ($PLAIN).
// Commands beside those of TestScripts:
//
//	initdb DIR                    make a data directory
//	v2put ENDPOINT KEY VALUE      write a key of version 2
//	keys ENDPOINT                 count the keys of cluster demo in version 3
//	awaitkey ENDPOINT KEY VALUE   wait until a key of version 3 has a value
//	confirm ENDPOINT SCOPE DIR    write what tanistctl adopt writes for the data directory
func TestOldEtcdSection(t *testing.T) {
	if testing.Short() {
		t.Skip("starts agents and servers")
	}
	bin := pgtest.BinDir(t)
	withV2 := etcdtest.Start(t, etcdtest.Options{Args: []string{"--enable-v2"}})[0].Endpoint
	plain := etcdtest.Start(t, etcdtest.Options{})[0].Endpoint
	testscript.Run(t, testscript.Params{
		Dir: "testdata/legacy",
		Setup: func(env *testscript.Env) error {
			w := &world{agents: map[string]*running{}}
			env.Defer(w.close)
			env.Values[worldKey{}] = w
			env.Setenv("PGBIN", bin)
			env.Setenv("WITH_V2", withV2)
			env.Setenv("PLAIN", plain)
			env.Setenv("PLAIN_HOST", strings.TrimPrefix(plain, "http://"))
			return nil
		},
		Cmds: commands(map[string]worldCommand{
			"initdb": (*world).initdb, "v2put": (*world).putV2, "keys": (*world).keys,
			"awaitkey": (*world).awaitKey, "confirm": (*world).confirm,
		}),
	})
}

func (w *world) initdb(ts *testscript.TestScript, args []string) {
	ts.Check(ts.Exec(filepath.Join(ts.Getenv("PGBIN"), "initdb"), "-N", "-U", "postgres", "-A", "trust", "-D", ts.MkAbs(args[0])))
}

func (w *world) putV2(ts *testscript.TestScript, args []string) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	form := strings.NewReader(url.Values{"value": {args[2]}}.Encode())
	req, err := http.NewRequestWithContext(ctx, http.MethodPut, args[0]+"/v2/keys"+args[1], form)
	ts.Check(err)
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	resp, err := http.DefaultClient.Do(req)
	ts.Check(err)
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusCreated {
		ts.Fatalf("put %s: %s", args[1], resp.Status)
	}
}

// on calls f with a handle on the etcd at endpoint.
func on(ts *testscript.TestScript, endpoint string, f func(ctx context.Context, b *etcd3.Backend)) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	b, err := etcd3.New(etcd3.Config{Endpoints: []string{endpoint}})
	ts.Check(err)
	defer b.Close()
	f(ctx, b)
}

func (w *world) keys(ts *testscript.TestScript, args []string) {
	on(ts, args[0], func(ctx context.Context, b *etcd3.Backend) {
		snap, err := b.Read(ctx, "/service/demo/")
		ts.Check(err)
		fmt.Fprintf(ts.Stdout(), "%d keys\n", len(snap.Entries))
	})
}

func (w *world) awaitKey(ts *testscript.TestScript, args []string) {
	on(ts, args[0], func(ctx context.Context, b *etcd3.Backend) {
		hints, err := b.Watch(ctx, args[1])
		ts.Check(err)
		for {
			snap, err := b.Read(ctx, args[1])
			ts.Check(err)
			if len(snap.Entries) > 0 && string(snap.Entries[0].Value) == args[2] {
				return
			}
			if _, open := <-hints; !open {
				ts.Fatalf("%s is %+v, want %s", args[1], snap.Entries, args[2])
			}
		}
	})
}

func (w *world) confirm(ts *testscript.TestScript, args []string) {
	cmd := exec.Command(filepath.Join(ts.Getenv("PGBIN"), "pg_controldata"), "-D", ts.MkAbs(args[2]))
	cmd.Env = []string{"LC_ALL=C"}
	out, err := cmd.CombinedOutput()
	ts.Check(err)
	control, err := postgres.ParseControlData(string(out))
	ts.Check(err)
	on(ts, args[0], func(ctx context.Context, b *etcd3.Backend) {
		ts.Check(dcs.NewClient(b, dcs.Options{Scope: args[1]}).SetInitialize(ctx, nil, control.SystemID))
	})
}
