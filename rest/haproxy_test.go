package rest

import (
	"bytes"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"text/template"
	"time"

	"github.com/tanist-ha/tanist/dcs"
	"github.com/tanist-ha/tanist/ha"
	"github.com/tanist-ha/tanist/rest/resttest"
)

// proxied is a scripted node behind HAProxy.
type proxied struct {
	Name                  string
	Postgres, API, APITLS int // ports
	node                  *resttest.Node
}

// frontend is one listen section: its port, and the role that it leads to.
type frontend struct {
	port, role string
	held       net.Conn
}

// A real HAProxy follows a change of roles with every spelling of the checks, and ends the sessions on the old server.
func TestHAProxyFollowsASwitchover(t *testing.T) {
	if testing.Short() {
		t.Skip("runs a real HAProxy for some seconds")
	}
	haproxy, err := exec.LookPath("haproxy")
	if err != nil {
		if haproxy = "/usr/sbin/haproxy"; !exists(haproxy) {
			if os.Getenv("CI") != "" {
				t.Fatal("haproxy is missing")
			}
			t.Skip("haproxy is missing")
		}
	}
	authority := newAuthority(t)
	n1, n2 := newProxied(t, authority, "n1"), newProxied(t, authority, "n2")
	assign(n1, n2)
	frontends := startHAProxy(t, haproxy, authority.caFile, n1, n2)

	for i := range frontends {
		f := &frontends[i]
		f.held = f.settle(t, map[string]string{"primary": "n1", "standby": "n2"}[f.role])
	}
	assign(n2, n1)
	for i := range frontends {
		f := &frontends[i]
		if rest, err := io.ReadAll(f.held); len(rest) != 0 {
			t.Errorf("%s %s: the old session says %q, %v", f.role, f.port, rest, err)
		} else if os.IsTimeout(err) {
			t.Errorf("%s %s: the session on the old server was not ended", f.role, f.port)
		}
		_ = f.settle(t, map[string]string{"primary": "n2", "standby": "n1"}[f.role]).Close()
	}
}

func exists(name string) bool { _, err := os.Stat(name); return err == nil }

// assign publishes the roles.
func assign(leader, standby *proxied) {
	c := resttest.Cluster(leader.Name, standby.Name)
	c.Config = &dcs.Config{Raw: []byte(`{"synchronous_mode":true}`)}
	c.Sync = &dcs.Sync{Leader: leader.Name, Standby: standby.Name}
	leader.node.Publish(resttest.Primary(leader.Name, now, c))
	standby.node.Publish(resttest.Replica(standby.Name, now, c))
}

// newProxied starts the API of a scripted node, plain and under TLS, and a server in the place of PostgreSQL that tells
// its name and holds the connection.
func newProxied(t *testing.T, a *authority, name string) *proxied {
	p := &proxied{Name: name, node: resttest.NewNode(now, ha.Status{})}
	h := newHandler(t, testConfig(p.node, resttest.NewStore(dcs.Cluster{})))
	files, _ := a.server(t)
	p.API, p.APITLS = port(serve(t, h, TLS{}).Addrs()[0]), port(serve(t, h, files).Addrs()[0])

	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p.Postgres = port(l.Addr())
	var sessions sync.WaitGroup
	sessions.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			sessions.Go(func() {
				defer c.Close()
				_, _ = io.WriteString(c, name)
				_, _ = io.Copy(io.Discard, c) // until the client, or HAProxy, ends it
			})
		}
	})
	t.Cleanup(func() { _ = l.Close(); sessions.Wait() })
	return p
}

func port(a net.Addr) int { return a.(*net.TCPAddr).Port }

// startHAProxy runs it until the test ends, and returns its frontends.
func startHAProxy(t *testing.T, program, ca string, nodes ...*proxied) []frontend {
	var out []frontend
	source, err := template.New("haproxy.cfg").Funcs(template.FuncMap{"frontend": func(role string) string {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		out = append(out, frontend{port: strconv.Itoa(port(l.Addr())), role: role})
		return out[len(out)-1].port
	}}).ParseFiles("testdata/haproxy.cfg")
	if err != nil {
		t.Fatal(err)
	}
	var config bytes.Buffer
	if err := source.Execute(&config, map[string]any{"Nodes": nodes, "CA": ca}); err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(t.TempDir(), "haproxy.cfg")
	writeFile(t, name, config.Bytes())
	var log bytes.Buffer
	cmd := exec.Command(program, "-db", "-f", name)
	cmd.Stdout, cmd.Stderr = &log, &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("haproxy said:\n%s", log.String())
		}
	})
	return out
}

// settle waits until connections to the frontend lead to the node want and nowhere else, and returns an open one.
func (f *frontend) settle(t *testing.T, want string) net.Conn {
	t.Helper()
	const enough = 4 // with round robin over two servers, one that is up shows within two
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	pause := time.NewTicker(20 * time.Millisecond) // HAProxy tells nobody when its view changes
	defer pause.Stop()
	for right := 0; ; {
		c, got := f.connect()
		if got == want {
			right++
		} else {
			right = 0
		}
		if right == enough {
			return c
		}
		if c != nil {
			_ = c.Close()
		}
		select {
		case <-pause.C:
		case <-deadline.C:
			t.Fatalf("frontend %s for the %s leads to %q, want %q", f.port, f.role, got, want)
		}
	}
}

// connect opens a session and reads which node answers; "" if none does.
func (f *frontend) connect() (net.Conn, string) {
	c, err := net.DialTimeout("tcp", "127.0.0.1:"+f.port, patience)
	if err != nil {
		return nil, ""
	}
	name := make([]byte, 2)
	_ = c.SetDeadline(time.Now().Add(patience))
	if _, err := io.ReadFull(c, name); err != nil {
		return c, ""
	}
	return c, string(name)
}
