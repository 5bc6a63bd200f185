// Package zktest runs real ZooKeeper servers for tests: each in its own Java process on free ports of 127.0.0.1, with its data in a temporary
// folder, ended with the test. The program is that of Debian's packages zookeeper and default-jre-headless; no service is started.
package zktest

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/tanist-ha/tanist/internal/freeport"
	"github.com/tanist-ha/tanist/internal/servertest"
	"github.com/tanist-ha/tanist/internal/testcert"
	"github.com/tanist-ha/tanist/postgres/pgtest"
)

// Options change how servers are started. The zero value is one server without TLS.
type Options struct {
	Members int           // 0 means 1
	Tick    time.Duration // ZooKeeper's tickTime; 0 means 200 ms, so that sessions live between 400 ms and 4 s
	Config  []string      // lines added to the configuration file, e.g. "maxSessionTimeout=60000"
	TLS     *TLS          // nil: none
}

// TLS makes the servers speak TLS to clients on Server.Secure, beside the plain port, and demand client certificates.
type TLS struct {
	CA     string         // file of the authority that client certificates must come from
	Server testcert.Files // the servers' certificate
}

// Server is one ZooKeeper process. It can be killed and started again on its ports and data.
type Server struct {
	servertest.Process
	Addr    string // host:port for clients
	Secure  string // host:port for clients that speak TLS; "" without
	dataDir string
}

// defaultTick makes tests of expiry short.
const defaultTick = 200 * time.Millisecond

// jars are Debian's: ZooKeeper's own names all that it needs but a logger, and the codec that its TLS server needs.
const jars = "/usr/share/java/zookeeper.jar:/usr/share/java/slf4j-simple.jar:/usr/share/java/netty-codec.jar"

// Start runs an ensemble for t and returns when it serves. Without ZooKeeper the test is skipped, or failed if CI is set.
func Start(t testing.TB, o Options) []*Server {
	t.Helper()
	if why := missing(); why != "" {
		pgtest.Missing(t, why+" (scripts/install-packages test)")
	}
	servers, err := prepare(t.TempDir(), o)
	if err != nil {
		t.Fatal(err)
	}
	servertest.Start(t, servers)
	return servers
}

func missing() string {
	if _, err := exec.LookPath("java"); err != nil {
		return "java is not installed"
	}
	for _, jar := range strings.Split(jars, ":") {
		if _, err := os.Stat(jar); err != nil {
			return "ZooKeeper is not installed: no " + jar
		}
	}
	return ""
}

func prepare(dir string, o Options) ([]*Server, error) {
	n := max(o.Members, 1)
	ports, err := freeport.Get(4 * n)
	if err != nil {
		return nil, err
	}
	if o.Tick == 0 {
		o.Tick = defaultTick
	}
	// A member that was away has initLimit ticks to catch up, and may be syncLimit ticks behind.
	common := []string{fmt.Sprintf("tickTime=%d", o.Tick.Milliseconds()), "initLimit=50", "syncLimit=25",
		"clientPortAddress=127.0.0.1", "admin.enableServer=false", "4lw.commands.whitelist=*"}
	common = append(common, o.Config...)
	if n > 1 {
		for i := range n {
			common = append(common, fmt.Sprintf("server.%d=127.0.0.1:%d:%d", i+1, ports[4*i+1], ports[4*i+2]))
		}
	}
	var servers []*Server
	for i := range n {
		name := fmt.Sprintf("m%d", i)
		config := filepath.Join(dir, name+".cfg")
		s := &Server{Addr: fmt.Sprintf("127.0.0.1:%d", ports[4*i]), dataDir: filepath.Join(dir, name)}
		s.Program, s.LogFile, s.Serves = "ZooKeeper", filepath.Join(dir, name+".log"), s.serves
		s.Args = []string{"java", "-Xmx128m", "-Xms32m", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-cp", jars,
			"-Dorg.slf4j.simpleLogger.defaultLogLevel=warn", "org.apache.zookeeper.server.quorum.QuorumPeerMain", config}
		lines := append([]string{"dataDir=" + s.dataDir, fmt.Sprintf("clientPort=%d", ports[4*i])}, common...)
		if o.TLS != nil {
			s.Secure = fmt.Sprintf("127.0.0.1:%d", ports[4*i+3])
			settings, err := o.TLS.lines(dir, ports[4*i+3])
			if err != nil {
				return nil, err
			}
			lines = append(lines, settings...)
		}
		if err := os.WriteFile(config, []byte(strings.Join(lines, "\n")+"\n"), 0o600); err != nil {
			return nil, err
		}
		if err := s.makeDataDir(i + 1); err != nil {
			return nil, err
		}
		servers = append(servers, s)
	}
	return servers, nil
}

// lines are the settings, with the server's certificate and key put into one file, as ZooKeeper wants them.
func (t *TLS) lines(dir string, port int) ([]string, error) {
	cert, err := os.ReadFile(t.Server.Cert)
	if err != nil {
		return nil, err
	}
	pair, err := tls.LoadX509KeyPair(t.Server.Cert, t.Server.Key)
	if err != nil {
		return nil, err
	}
	der, err := x509.MarshalPKCS8PrivateKey(pair.PrivateKey) // Java reads no other form
	if err != nil {
		return nil, err
	}
	key := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
	store := filepath.Join(dir, "server.pem")
	if err := os.WriteFile(store, append(key, cert...), 0o600); err != nil {
		return nil, err
	}
	return []string{
		fmt.Sprintf("secureClientPort=%d", port), "secureClientPortAddress=127.0.0.1",
		"serverCnxnFactory=org.apache.zookeeper.server.NettyServerCnxnFactory", "ssl.clientAuth=need", "ssl.hostnameVerification=false",
		"ssl.keyStore.location=" + store, "ssl.keyStore.type=PEM", "ssl.trustStore.location=" + t.CA, "ssl.trustStore.type=PEM",
	}, nil
}

func (s *Server) makeDataDir(id int) error {
	if err := os.Mkdir(s.dataDir, 0o700); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(s.dataDir, "myid"), []byte(strconv.Itoa(id)+"\n"), 0o600)
}

// Addrs lists where servers listen for clients.
func Addrs(servers []*Server) []string {
	var all []string
	for _, s := range servers {
		all = append(all, s.Addr)
	}
	return all
}

// Wipe removes the data of a killed server, but not the number of the member. If all members are wiped, a Start makes a new, empty store.
func (s *Server) Wipe() error {
	return os.RemoveAll(filepath.Join(s.dataDir, "version-2"))
}

// Save copies the data of a killed server to a folder, from which Load restores it.
func (s *Server) Save(dir string) error {
	return os.CopyFS(dir, os.DirFS(filepath.Join(s.dataDir, "version-2")))
}

// Load replaces the data of a killed server by what Save has put into dir.
func (s *Server) Load(dir string) error {
	if err := s.Wipe(); err != nil {
		return err
	}
	return os.CopyFS(filepath.Join(s.dataDir, "version-2"), os.DirFS(dir))
}

// serves asks once whether the server serves requests, which in an ensemble needs a majority, and not for long: a server that is just starting may leave a command without an answer (a race in ZooKeeper 3.8).
func (s *Server) serves(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	m, err := s.Monitor(ctx)
	return err == nil && m["zk_server_state"] != ""
}

// Leads says whether the server is the leader of its ensemble, or alone.
func (s *Server) Leads(ctx context.Context) bool {
	m, err := s.Monitor(ctx)
	return err == nil && (m["zk_server_state"] == "leader" || m["zk_server_state"] == "standalone")
}

// Monitor returns the counters of the four-letter command mntr by name, e.g. "zk_server_state", "zk_packets_received".
func (s *Server) Monitor(ctx context.Context) (map[string]string, error) {
	text, err := s.Ask(ctx, "mntr")
	if err != nil {
		return nil, err
	}
	counters := map[string]string{}
	for line := range strings.Lines(text) {
		if name, value, ok := strings.Cut(strings.TrimSpace(line), "\t"); ok {
			counters[name] = value
		}
	}
	return counters, nil
}

// Ask sends a four-letter command ("conf", "dump", ...) and returns the answer.
func (s *Server) Ask(ctx context.Context, command string) (string, error) {
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", s.Addr)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer stop()
	if _, err := io.WriteString(conn, command); err != nil {
		return "", err
	}
	answer, err := io.ReadAll(conn)
	return string(answer), err
}
