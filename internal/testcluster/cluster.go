//go:build linux

package testcluster

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"time"
)

// Options says what cluster to make. The zero value of a field is its default.
type Options struct {
	Programs Programs // of Build; required
	PGBin    string   // folder of PostgreSQL's programs; required
	Nodes    int      // 3
	Scope    string   // "demo"
	Layout   Layout
	// Kind of the store: EtcdStore; and the number of its servers: 1. (Of an embedded etcd, each node has one.)
	Kind    Kind
	Servers int
	Tick    time.Duration // ZooKeeper's tickTime: 500 ms
	// ServersOf names the servers that a node, counted from 0, is to use. nil: all.
	ServersOf func(node int) []int
	EtcdTLS   func(a *Authority, address string) (server *TLSFiles, err error) // nil: plain

	// Config makes the agent's configuration: BaseConfig, unless given. ConfigText makes the file itself, as text.
	Config     func(c *Cluster, n *Node) (map[string]any, error)
	ConfigText func(c *Cluster, n *Node) (string, error)
	Password   string // of the superuser: SuperuserPassword
	// Dynamic is added to bootstrap.dcs of BaseConfig.
	Dynamic map[string]any
	Env     []string // added to the agents' environment
	// AgentArgs are options of the agents' command line.
	AgentArgs []string
	Logf      func(format string, args ...any)
	Keep      bool // leave the folder behind, for a look
}

// Cluster is a set of hosts, an etcd, and the network between them.
type Cluster struct {
	Options
	Dir       string
	Nodes     []*Node
	Store     Store
	Etcd      *Etcd      // the store, if it is of that kind
	Authority *Authority // for tests with TLS
	Address   string     // of the harness, the store and HAProxy

	hub    *namespace // nil on loopback
	cred   *syscall.Credential
	base   order // what every process has in common
	reaper *exec.Cmd
	leash  io.Closer // the reaper acts when it is closed
	http   *http.Client
	client *http.Transport
	made   int // hosts
	spares int // programs of Spawn
}

// New makes the folder, the network and the configuration files, and starts the store. No agent runs yet.
func New(ctx context.Context, o Options) (*Cluster, error) {
	if o.Nodes == 0 {
		o.Nodes = 3
	}
	if o.Scope == "" {
		o.Scope = "demo"
	}
	if o.Kind == "" {
		o.Kind = EtcdStore
	}
	if o.Logf == nil {
		o.Logf = func(string, ...any) {}
	}
	if o.Config == nil {
		o.Config = BaseConfig
	}
	if o.Password == "" {
		o.Password = SuperuserPassword
	}
	c := &Cluster{Options: o}
	if err := c.prepare(ctx); err != nil {
		c.Close()
		return nil, err
	}
	return c, nil
}

func (c *Cluster) prepare(ctx context.Context) error {
	cred, me, err := identity()
	if err != nil {
		return err
	}
	if c.Dir, err = os.MkdirTemp("", "tanist-"); err != nil {
		return err
	}
	if err := os.Chmod(c.Dir, 0o755); err != nil {
		return err
	}
	if err := c.leashReaper(); err != nil {
		return err
	}
	c.cred = cred
	c.base = order{dir: c.Dir, cred: cred, env: append([]string{
		"PATH=" + os.Getenv("PATH") + ":/usr/sbin:/sbin:/usr/bin:/bin",
		"HOME=" + c.Dir, "USER=" + me.Username, "LANG=C.UTF-8", "TMPDIR=" + c.Dir, c.marker()}, c.Env...)}
	if err := c.own(c.Dir); err != nil {
		return err
	}
	c.Address = "127.0.0.1"
	if c.Layout == Namespaces {
		if c.hub, err = newHub(); err != nil {
			return err
		}
		c.base.ns, c.Address = c.hub, hubAddress
	}
	c.client = &http.Transport{DialContext: c.Dial, DisableKeepAlives: true, DisableCompression: true,
		TLSClientConfig: &tls.Config{InsecureSkipVerify: true}} // the harness looks; verifying is what tests do
	c.http = &http.Client{Transport: c.client}
	if c.Authority, err = NewAuthority(c.Dir); err != nil {
		return err
	}
	store, err := c.newStore()
	if err != nil {
		return err
	}
	c.Store = store
	if err := c.Store.Start(ctx); err != nil {
		return err
	}
	for i := 1; i <= c.Options.Nodes; i++ {
		if _, err := c.AddNode("n" + strconv.Itoa(i)); err != nil {
			return err
		}
	}
	return nil
}

// leashReaper starts the process that cleans up.
func (c *Cluster) leashReaper() error {
	args := []string{"-env", c.marker(), "-dir", c.Dir}
	if c.Keep {
		args = append(args, "-keep")
	}
	c.reaper = exec.Command(c.Programs.reaper(), args...)
	c.reaper.Stderr = os.Stderr
	c.reaper.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	leash, err := c.reaper.StdinPipe()
	if err != nil {
		return err
	}
	if err := c.reaper.Start(); err != nil {
		return fmt.Errorf("start the reaper: %w", err)
	}
	c.leash = leash
	return nil
}

// marker is in the environment of everything that belongs to the cluster.
func (c *Cluster) marker() string { return "TESTCLUSTER=" + c.Dir }

// AddNode adds a host, also one with the name of another. Its agent does not run yet.
func (c *Cluster) AddNode(name string) (*Node, error) {
	c.made++
	i := c.made // never used again, also when the caller drops the node
	n := &Node{Name: name, c: c, index: i, Scheme: "http"}
	n.Dir = filepath.Join(c.Dir, "host"+strconv.Itoa(i))
	n.DataDir, n.SocketDir = filepath.Join(n.Dir, "data"), filepath.Join(n.Dir, "s")
	n.ConfigFile, n.LogFile = filepath.Join(n.Dir, "tanist.yml"), filepath.Join(n.Dir, "agent.log")
	for _, dir := range []string{n.Dir, n.SocketDir} {
		if err := os.Mkdir(dir, 0o755); err != nil {
			return nil, err
		}
		if err := c.own(dir); err != nil {
			return nil, err
		}
	}
	n.Host = c.hostAddress(i)
	if c.Layout == Namespaces {
		var err error
		if n.ns, err = newHost(c.hub, i, max(c.Options.Nodes, i)); err != nil {
			return nil, err
		}
		n.PGPort, n.RESTPort = 5432, 8008
	} else {
		ports, err := freePorts(nil, n.Host, 2)
		if err != nil {
			return nil, err
		}
		n.PGPort, n.RESTPort = ports[0], ports[1]
	}
	c.Nodes = append(c.Nodes, n)
	if c.ConfigText != nil {
		text, err := c.ConfigText(c, n)
		if err != nil {
			return nil, err
		}
		return n, n.WriteConfigText(text)
	}
	cfg, err := c.Config(c, n)
	if err != nil {
		return nil, err
	}
	return n, n.WriteConfig(cfg)
}

// hostAddress is the address of the host that was made as the i-th.
func (c *Cluster) hostAddress(i int) string {
	if c.Layout == Namespaces {
		return nodeAddress + strconv.Itoa(i)
	}
	return "127.0.0." + strconv.Itoa(10+i)
}

// Dial connects from the harness's place in the network. Its signature suits net/http and pgx.
func (c *Cluster) Dial(ctx context.Context, network, address string) (net.Conn, error) {
	return c.hub.dial(ctx, network, address)
}

// FreePort returns a port that is free where HAProxy and the harness live.
func (c *Cluster) FreePort() (int, error) {
	ports, err := freePorts(c.hub, c.Address, 1)
	if err != nil {
		return 0, err
	}
	return ports[0], nil
}

// Close ends everything and removes the folder. It may be called more than once.
func (c *Cluster) Close() error {
	if c.leash == nil {
		return nil
	}
	_ = c.leash.Close()
	c.leash = nil
	err := c.reaper.Wait()
	if c.client != nil {
		c.client.CloseIdleConnections()
	}
	if c.Store != nil {
		c.Store.close()
	}
	for _, n := range c.Nodes {
		if n.agent != nil {
			<-n.agent.done
		}
		n.ns.close()
		err = errors.Join(err, n.scatter())
	}
	c.hub.close()
	if err != nil {
		return fmt.Errorf("clean up: %w", err)
	}
	return nil
}

// StartAll starts all agents at once.
func (c *Cluster) StartAll() error {
	for _, n := range c.Nodes {
		if err := n.Start(); err != nil {
			return err
		}
	}
	return nil
}

// Run runs a program to its end where the harness lives, as the cluster's user, and returns both outputs together and the
// exit code; -1: it was ended by ctx or a signal.
func (c *Cluster) Run(ctx context.Context, args ...string) (output string, code int, err error) {
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.Env, cmd.Dir = c.base.env, c.Dir
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Credential: c.cred}
	cmd.WaitDelay = 5 * time.Second
	var out lockedBuffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := c.hub.do(cmd.Start); err != nil {
		return "", -1, err
	}
	err = cmd.Wait()
	if cmd.ProcessState == nil {
		return out.String(), -1, err
	}
	if _, exited := err.(*exec.ExitError); exited {
		err = nil
	}
	return out.String(), cmd.ProcessState.ExitCode(), err
}

// Ctl runs tanistctl with the first node's configuration.
func (c *Cluster) Ctl(ctx context.Context, args ...string) (output string, code int, err error) {
	return c.Run(ctx, append([]string{c.Programs.Tanistctl(), "-c", c.Nodes[0].ConfigFile}, args...)...)
}

// Spawn starts a program that runs until the cluster is closed. exited is closed when it ends earlier.
func (c *Cluster) Spawn(name string, args ...string) (log string, exited <-chan struct{}, err error) {
	c.spares++
	o := c.base
	o.args, o.logFile = args, filepath.Join(c.Dir, fmt.Sprintf("%s-%d.log", name, c.spares))
	p, err := start(o)
	if err != nil {
		return "", nil, err
	}
	return o.logFile, p.done, nil
}

// WriteFile writes a file for the cluster's processes to read, and returns its path.
func (c *Cluster) WriteFile(name, text string) (string, error) {
	path := filepath.Join(c.Dir, name)
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		return "", err
	}
	return path, c.own(path)
}

// own gives a file to the cluster's user.
func (c *Cluster) own(path string) error {
	cred, _, err := identity()
	if err != nil || cred == nil {
		return err
	}
	return os.Chown(path, int(cred.Uid), int(cred.Gid))
}
