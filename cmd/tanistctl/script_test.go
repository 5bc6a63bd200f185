package main

import (
	"bufio"
	"context"
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/tanist-ha/tanist/config"
	"github.com/tanist-ha/tanist/dcs"
	"github.com/tanist-ha/tanist/dcs/memory"
)

var rewrite = flag.Bool("rewrite", false, "write what the scripts compare with anew")

// The scripts in testdata/script run the tool in this process, on a store in memory and members that answer as the script
// says. Commands of their own (a VALUE or BODY may be @FILE):
//
//	put [-session] KEY VALUE              write a key of cluster demo
//	get KEY                               print a key
//	member NAME [FIELD=JSON]...           start a member and write its key
//	answer NAME METHOD PATH CODE [BODY]   what it answers
//	received NAME                         print what it was asked
//	reply LINE...                         what is typed at the prompts of the next run
//	tanistctl ARGS...                     run the tool, whatever its exit code
//	code N                                the exit code of the last run
func TestScripts(t *testing.T) {
	in := func(f func(w *world, ts *testscript.TestScript, args []string)) func(*testscript.TestScript, bool, []string) {
		return func(ts *testscript.TestScript, neg bool, args []string) {
			if neg {
				ts.Fatalf("! is not supported: check the exit code with code")
			}
			f(ts.Value(worldKey{}).(*world), ts, args)
		}
	}
	testscript.Run(t, testscript.Params{
		Dir:           "testdata/script",
		UpdateScripts: *rewrite, // flag -rewrite
		Setup: func(env *testscript.Env) error {
			w := newWorld()
			env.Defer(w.close)
			env.Values[worldKey{}] = w
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"put": in((*world).putKey), "get": in((*world).getKey), "member": in((*world).member),
			"answer": in((*world).answer), "received": in((*world).received), "reply": in((*world).reply),
			"tanistctl": in((*world).run), "code": in((*world).code),
		},
	})
}

type worldKey struct{}

// prefix is where cluster demo lives in the store.
const prefix = "/service/demo/"

// world is what surrounds the tool in one script.
type world struct {
	backend *memory.Backend
	members map[string]*fakeMember
	typed   string
	exit    int
}

// fakeMember is the REST API of a member that says what it is told to.
type fakeMember struct {
	*httptest.Server
	mu      sync.Mutex
	answers map[string]reply // by "METHOD /path"
	asked   []string
}

type reply struct {
	code int
	body string
}

func newWorld() *world {
	return &world{backend: memory.New(memory.Options{}).Backend(), members: map[string]*fakeMember{}}
}

func (w *world) close() {
	for _, m := range w.members {
		m.Close()
	}
	w.backend.Close()
}

func value(ts *testscript.TestScript, arg string) string {
	if name, ok := strings.CutPrefix(arg, "@"); ok {
		return strings.TrimRight(ts.ReadFile(name), "\n")
	}
	return arg
}

func (w *world) write(ts *testscript.TestScript, key, value string, session bool) {
	ctx := context.Background()
	put := dcs.Write{Key: prefix + key, Value: []byte(value)}
	if session {
		s, err := w.backend.OpenSession(ctx, time.Hour)
		ts.Check(err)
		put.Session = s
	}
	_, err := w.backend.Apply(ctx, dcs.Txn{Do: []dcs.Write{put}})
	ts.Check(err)
}

func (w *world) putKey(ts *testscript.TestScript, args []string) {
	session := len(args) > 0 && args[0] == "-session"
	if session {
		args = args[1:]
	}
	if len(args) != 2 {
		ts.Fatalf("usage: put [-session] KEY VALUE")
	}
	w.write(ts, args[0], value(ts, args[1]), session)
}

func (w *world) getKey(ts *testscript.TestScript, args []string) {
	snap, err := w.backend.Read(context.Background(), prefix+args[0])
	ts.Check(err)
	for _, e := range snap.Entries {
		fmt.Fprintln(ts.Stdout(), string(e.Value))
	}
}

func (w *world) member(ts *testscript.TestScript, args []string) {
	m := &fakeMember{answers: map[string]reply{}}
	m.Server = httptest.NewServer(m)
	name := args[0]
	w.members[name] = m
	fields := []string{
		`"conn_url":"postgres://10.1.0.` + strings.TrimLeft(name, "abcdefghijklmnopqrstuvwxyz") + `:5432/postgres"`,
		`"api_url":"` + m.URL + `/patroni"`, `"version":"4.1.4"`, `"tanist":"0.1.0"`,
	}
	for _, f := range args[1:] {
		key, v, _ := strings.Cut(f, "=")
		fields = append(fields, strconv.Quote(key)+":"+v)
	}
	w.write(ts, "members/"+name, "{"+strings.Join(fields, ",")+"}", true)
}

// ServeHTTP answers as told; what nobody has told it, it does not know.
func (m *fakeMember) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body) // an empty body says the same
	m.mu.Lock()
	m.asked = append(m.asked, strings.TrimRight(fmt.Sprintf("%s %s %s", r.Method, r.URL, body), " "))
	a, ok := m.answers[r.Method+" "+r.URL.Path]
	m.mu.Unlock()
	if !ok {
		a = reply{http.StatusNotImplemented, "Server does not support this operation"}
	}
	w.WriteHeader(a.code)
	fmt.Fprint(w, a.body)
}

func (w *world) answer(ts *testscript.TestScript, args []string) {
	if len(args) < 4 {
		ts.Fatalf("usage: answer NAME METHOD PATH CODE [BODY]")
	}
	code, err := strconv.Atoi(args[3])
	ts.Check(err)
	a := reply{code: code}
	if len(args) > 4 {
		a.body = value(ts, args[4])
	}
	m := w.members[args[0]]
	m.mu.Lock()
	defer m.mu.Unlock()
	m.answers[args[1]+" "+args[2]] = a
}

func (w *world) received(ts *testscript.TestScript, args []string) {
	m := w.members[args[0]]
	m.mu.Lock()
	defer m.mu.Unlock()
	fmt.Fprintln(ts.Stdout(), strings.Join(m.asked, "\n"))
}

func (w *world) reply(_ *testscript.TestScript, args []string) {
	w.typed = strings.Join(args, "\n") + "\n"
}

func (w *world) code(ts *testscript.TestScript, args []string) {
	if got := strconv.Itoa(w.exit); got != args[0] {
		ts.Fatalf("exit code %s, want %s", got, args[0])
	}
}

// memoryStore is the store of a script, as the tool sees it.
type memoryStore struct{ *dcs.Client }

func (memoryStore) Close() error { return nil }

func (w *world) run(ts *testscript.TestScript, args []string) {
	a := &app{
		in: bufio.NewReader(strings.NewReader(w.typed)), out: ts.Stdout(), err: ts.Stderr(),
		environ: []string{"HOME=" + ts.Getenv("WORK"), "DCS_URL=etcd3://store", "PATRONI_SCOPE=" + ts.Getenv("SCOPE")},
		now:     func() time.Time { return time.Date(2026, 8, 1, 2, 3, 4, 567_891_234, time.FixedZone("", 9*3600)) },
		connect: func(_ context.Context, cfg *config.Config) (store, error) {
			return memoryStore{dcs.NewClient(w.backend, dcs.Options{Namespace: cfg.Namespace, Scope: cfg.Scope})}, nil
		},
		client: client,
	}
	if file := ts.Getenv("CONFIG"); file != "" {
		a.environ = append(a.environ, "PATRONICTL_CONFIG_FILE="+ts.MkAbs(file))
	}
	w.typed = ""
	w.exit = a.run(context.Background(), args)
}
