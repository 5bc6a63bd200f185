//go:build linux

package testcluster

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"go.yaml.in/yaml/v3"
	"golang.org/x/sys/unix"

	"github.com/tanist-ha/tanist/internal/testcluster/procs"
)

// Node is one host: an agent, its server, an address.
type Node struct {
	Name             string
	Host             string
	PGPort, RESTPort int
	Scheme           string // of the REST API: http or https

	Dir, DataDir, SocketDir string
	ConfigFile, LogFile     string

	c      *Cluster
	index  int
	ns     *namespace
	agent  *process
	cgroup string // made by the first FreezeHost
}

// PGAddress is the server's host:port.
func (n *Node) PGAddress() string { return address(n.Host, n.PGPort) }

// RESTAddress is the REST API's host:port.
func (n *Node) RESTAddress() string { return address(n.Host, n.RESTPort) }

// WriteConfig writes the agent's configuration file. A running agent does not see it before its next start or reload.
func (n *Node) WriteConfig(cfg map[string]any) error {
	raw, err := yaml.Marshal(cfg)
	if err != nil {
		return err
	}
	return n.WriteConfigText(string(raw))
}

// WriteConfigText is WriteConfig for the text of a file.
func (n *Node) WriteConfigText(text string) error {
	if err := os.WriteFile(n.ConfigFile, []byte(text), 0o644); err != nil {
		return err
	}
	return n.c.own(n.ConfigFile)
}

// FreezeBackends stops the server's processes whose title contains text as they are ("walsender"). It returns how many.
func (n *Node) FreezeBackends(text string) (int, error) {
	return procs.Freeze(procs.Titled(n.DataDir, text))
}

// ThawBackends lets them go on.
func (n *Node) ThawBackends(text string) int {
	m := procs.Titled(n.DataDir, text)
	return procs.Signal(procs.Find(m), m, syscall.SIGCONT)
}

// MakeDir makes a folder on the host, owned by the cluster's user.
func (n *Node) MakeDir(name string, mode os.FileMode) (string, error) {
	dir := filepath.Join(n.Dir, name)
	if err := os.Mkdir(dir, mode); err != nil {
		return "", err
	}
	return dir, n.c.own(dir)
}

// Start starts the agent. It does not wait for anything.
func (n *Node) Start() error {
	if n.Running() {
		return fmt.Errorf("start %s: its agent runs already", n.Name)
	}
	o := n.c.base
	if err := n.install(); err != nil {
		return err
	}
	o.args = append([]string{n.Program(), n.ConfigFile}, n.c.AgentArgs...)
	o.dir, o.logFile, o.ns = n.Dir, n.LogFile, n.hostNetwork()
	o.env = append(append([]string{}, o.env...), n.marker())
	agent, err := start(o)
	if err != nil {
		return err
	}
	n.agent = agent
	return nil
}

// Program is the agent's program on this host. Each host has one of its own, so that a guard, which has neither the environment nor the
// folder of its agent, is known by the file that it runs.
func (n *Node) Program() string { return filepath.Join(n.Dir, "tanist") }

func (n *Node) install() error {
	if _, err := os.Stat(n.Program()); err == nil {
		return nil
	}
	if os.Link(n.c.Programs.Tanist(), n.Program()) == nil {
		return nil
	}
	return n.Upgrade() // another file system
}

// Upgrade puts a new file in the place of the agent's program, as a package manager does. What runs goes on with the old one.
func (n *Node) Upgrade() error {
	raw, err := os.ReadFile(n.c.Programs.Tanist())
	if err != nil {
		return err
	}
	if err := os.WriteFile(n.Program()+".new", raw, 0o755); err != nil {
		return err
	}
	return os.Rename(n.Program()+".new", n.Program())
}

func (n *Node) hostNetwork() *namespace {
	if n.ns != nil {
		return n.ns
	}
	return n.c.hub
}

// marker is in the environment of the agent and of everything that it starts.
func (n *Node) marker() string { return "TESTNODE=" + n.Dir }

// processes matches everything that runs on this host: agent, guard, server, tools.
func (n *Node) processes() procs.Match {
	return procs.Any(procs.InDir(n.Dir), procs.WithEnv(n.marker()), procs.Runs(n.Program()))
}

// Guards lists the processes of this host that guard a server, whichever agent has started them.
func (n *Node) Guards() []int { return procs.Find(n.armed()) }

// SpareGuards lists the guard processes that guard nothing.
func (n *Node) SpareGuards() []int {
	all, armed := n.guards(), n.armed()
	return procs.Find(func(pid int) bool { return all(pid) && !armed(pid) })
}

// guards matches processes that run the agent's program under a guard's title. One that the agent has just forked has the agent's; to stop that
// one would stop the agent, which waits until it has become another program.
func (n *Node) guards() procs.Match {
	ours, guard := procs.Runs(n.Program()), procs.Titled("/", "tanist: guard")
	return func(pid int) bool { return pid != n.AgentPID() && ours(pid) && guard(pid) }
}

// armed matches guard processes whose title names a server.
func (n *Node) armed() procs.Match {
	all, busy := n.guards(), procs.Titled("/", "tanist: guard of ")
	return func(pid int) bool { return all(pid) && busy(pid) }
}

// SignalGuards sends sig to the guard processes, spare ones too, and returns how many there are.
func (n *Node) SignalGuards(sig os.Signal) int {
	m := n.guards()
	return procs.Signal(procs.Find(m), m, sig)
}

// FreezeGuards stops the guard processes, spare ones too, as they are. It returns how many.
func (n *Node) FreezeGuards() (int, error) { return procs.Freeze(n.guards()) }

// Held lists the processes of this host that are held back to become a server.
func (n *Node) Held() []int {
	here, ours := procs.InDir(n.DataDir), procs.Runs(n.Program())
	return procs.Find(func(pid int) bool { return here(pid) && ours(pid) })
}

// Server lists the processes that work in the data directory.
func (n *Node) Server() []int { return procs.Find(procs.InDir(n.DataDir)) }

// SignalAll sends sig to every process of the host, as a service manager does that ends a group.
func (n *Node) SignalAll(sig os.Signal) int {
	m := n.processes()
	return procs.Signal(procs.Find(m), m, sig)
}

// Running says whether the agent runs.
func (n *Node) Running() bool { return n.agent.running() }

// AgentPID is the agent's process id; 0: it was never started.
func (n *Node) AgentPID() int {
	if n.agent == nil {
		return 0
	}
	return n.agent.cmd.Process.Pid
}

// Processes lists the processes of this host.
func (n *Node) Processes() []int { return procs.Find(n.processes()) }

// Exit waits for the agent's end and returns its exit code; -1: a signal ended it.
func (n *Node) Exit(ctx context.Context) (code int, err error) {
	select {
	case <-n.agent.done:
		return n.agent.cmd.ProcessState.ExitCode(), nil
	case <-ctx.Done():
		return 0, fmt.Errorf("wait for the end of the agent of %s: %w", n.Name, context.Cause(ctx))
	}
}

// Stop asks the agent to end in order (SIGTERM) and waits.
func (n *Node) Stop(ctx context.Context) error { return n.agent.end(ctx, syscall.SIGTERM) }

// Terminate asks the agent to end in order and does not wait.
func (n *Node) Terminate() error { return n.agent.signal(syscall.SIGTERM) }

// Reload sends SIGHUP.
func (n *Node) Reload() error { return n.agent.signal(syscall.SIGHUP) }

// KillAgent ends the agent alone with SIGKILL and waits until it is gone.
func (n *Node) KillAgent(ctx context.Context) error { return n.agent.end(ctx, syscall.SIGKILL) }

// FreezeAgent stops the agent alone as it is.
func (n *Node) FreezeAgent() error { return n.agent.freeze() }

// ThawAgent lets a frozen agent go on.
func (n *Node) ThawAgent() error { return n.agent.signal(syscall.SIGCONT) }

// Postmaster is the process id of the server; ok is false while none runs.
func (n *Node) Postmaster() (pid int, ok bool) { return procs.Postmaster(n.DataDir) }

// KillPostmaster ends the postmaster, and only it, with SIGKILL.
func (n *Node) KillPostmaster() error {
	pid, ok := n.Postmaster()
	if !ok {
		return fmt.Errorf("kill the postmaster of %s: none runs", n.Name)
	}
	if procs.Signal([]int{pid}, procs.InDir(n.DataDir), syscall.SIGKILL) != 1 {
		return fmt.Errorf("kill the postmaster of %s: process %d has ended already", n.Name, pid)
	}
	return nil
}

// KillHost ends every process of the host at one moment: all are stopped, then killed.
func (n *Node) KillHost(ctx context.Context) error {
	m := n.processes()
	procs.Signal(procs.Find(m), m, syscall.SIGSTOP)
	if err := procs.Kill(ctx, m); err != nil {
		return err
	}
	return n.reaped(ctx)
}

func (n *Node) reaped(ctx context.Context) error {
	if n.agent == nil {
		return nil
	}
	select {
	case <-n.agent.done:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// Partition makes the host vanish from the network: every packet from it and to it is dropped, no connection is reset, and
// within the host everything goes on. It needs the layout Namespaces.
func (n *Node) Partition() error {
	if n.ns == nil {
		return errors.New("partition a host: the cluster has no namespaces")
	}
	return n.c.hub.ip("link set " + portName(n.index) + " nomaster")
}

// Heal ends a Partition.
func (n *Node) Heal() error { return n.c.hub.ip("link set " + portName(n.index) + " master br0") }

// DialInside connects to address from within the host, also while it is cut off.
func (n *Node) DialInside(ctx context.Context, network, address string) (net.Conn, error) {
	return n.hostNetwork().dial(ctx, network, address)
}

// WriteFile writes a file in the host's folder for its processes to read and write, and returns its path.
func (n *Node) WriteFile(name, text string) (string, error) {
	path := filepath.Join(n.Dir, name)
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		return "", err
	}
	return path, n.c.own(path)
}

// MountSmall mounts a file system of so many megabytes in the host's folder, owned by the cluster's user; again with the
// same name, it changes the size. It needs root, and the reaper takes it away.
func (n *Node) MountSmall(name string, megabytes int) (dir string, err error) {
	dir = filepath.Join(n.Dir, name)
	flags := uintptr(unix.MS_REMOUNT)
	if err := os.Mkdir(dir, 0o700); err == nil {
		flags = 0
	} else if !errors.Is(err, os.ErrExist) {
		return "", err
	}
	if err := unix.Mount("tmpfs", dir, "tmpfs", flags, fmt.Sprintf("size=%dm,mode=700", megabytes)); err != nil {
		return "", fmt.Errorf("mount a file system of %d MB: %w", megabytes, err)
	}
	return dir, n.c.own(dir)
}

// Log is everything that the agent has written, over all its starts.
func (n *Node) Log() string {
	raw, err := os.ReadFile(n.LogFile)
	if err != nil {
		return err.Error()
	}
	return string(raw)
}

// WaitLog waits until the agent's log contains text.
func (n *Node) WaitLog(ctx context.Context, text string) error {
	return poll(ctx, 50*time.Millisecond, "the log of "+n.Name+" to say "+text, func() (bool, string) {
		log := n.Log()
		return bytes.Contains([]byte(log), []byte(text)), tail(log, 500)
	})
}

func (n *namespace) close() {
	if n != nil {
		_ = n.file.Close()
	}
}

// lockedBuffer collects two outputs.
type lockedBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

// Beside lists what the agent keeps beside it: processes of this host that are neither the agent nor work in its server's
// data directory.
func (n *Node) Beside() []int {
	var found []int
	for _, pid := range procs.Find(procs.Any(procs.WithEnv(n.marker()), procs.Runs(n.Program()))) {
		if pid != n.AgentPID() && !procs.InDir(n.DataDir)(pid) {
			found = append(found, pid)
		}
	}
	return found
}

// WaitAnswer waits until the REST API answers anything at all. It asks every millisecond.
func (n *Node) WaitAnswer(ctx context.Context) error {
	return poll(ctx, time.Millisecond, "an answer of "+n.Name, func() (bool, string) {
		_, _, err := n.REST(ctx, http.MethodGet, "/liveness", nil)
		return err == nil, fmt.Sprint(err)
	})
}
