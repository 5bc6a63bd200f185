package etcdtest

import (
	"fmt"
	"net/http"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/tanist-ha/tanist/internal/freeport"
	"github.com/tanist-ha/tanist/internal/servertest"
)

// Join starts one more server for t, with empty data, beside others, which are all the members that the cluster has then. Before that, announce
// is told where the server will listen for its peers, and makes it a member (as `etcdctl member add` does).
func Join(t testing.TB, others []*Server, announce func(peer string) error) *Server {
	t.Helper()
	ports, err := freeport.Get(2)
	if err != nil {
		t.Fatal(err)
	}
	dir, name := t.TempDir(), "j"+strconv.Itoa(ports[0])
	peer := fmt.Sprintf("http://127.0.0.1:%d", ports[1])
	cluster := []string{name + "=" + peer}
	for _, o := range others {
		cluster = append(cluster, o.argument("--name")+"="+o.argument("--initial-advertise-peer-urls"))
	}
	s := &Server{Endpoint: fmt.Sprintf("http://127.0.0.1:%d", ports[0]), http: &http.Client{Transport: &http.Transport{}}, dataDir: filepath.Join(dir, name)}
	s.Program, s.LogFile, s.Serves = "etcd", filepath.Join(dir, name+".log"), s.healthy
	s.Args = []string{others[0].Args[0], "--name", name, "--data-dir", s.dataDir, "--logger", "zap", "--log-level", "warn",
		"--listen-client-urls", s.Endpoint, "--advertise-client-urls", s.Endpoint, "--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer,
		"--initial-cluster", strings.Join(cluster, ","), "--initial-cluster-state", "existing"}
	if err := announce(peer); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.http.CloseIdleConnections)
	servertest.Start(t, []*Server{s})
	return s
}

// argument is what follows a flag of the command line.
func (s *Server) argument(flag string) string {
	return s.Args[slices.Index(s.Args, flag)+1]
}
