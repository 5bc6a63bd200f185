//go:build linux

package testcluster

import (
	"context"
	"fmt"
	"os"
	"strings"
	"syscall"
	"time"
)

// Kind is a kind of store, by the name that operators give it.
type Kind string

// The kinds of stores that a cluster can have.
const (
	EtcdStore      Kind = "etcd"
	EmbedEtcdStore Kind = "embedetcd" // in the agents
	ConsulStore    Kind = "consul"
	ZooKeeperStore Kind = "zookeeper"
)

// Kinds lists those that agents can use.
var Kinds = []Kind{EtcdStore, EmbedEtcdStore, ConsulStore, ZooKeeperStore}

// Store is the store of a cluster, whatever its kind: real servers that can be killed, frozen, wiped and asked. Servers are
// numbered from 0. Methods that take servers mean all of them where none is named.
type Store interface {
	// Servers counts the servers.
	Servers() int
	// Addresses are where clients reach them, host:port.
	Addresses() []string
	// Section is the part of an agent's configuration that names the store, for an agent that is to use these addresses.
	Section(n *Node, addresses []string) (name string, value map[string]any)
	// Start starts the servers that do not run, and returns when the store serves.
	Start(ctx context.Context) error
	// Leader finds the server that leads the others.
	Leader(ctx context.Context) (int, error)
	// Kill ends servers with SIGKILL. Their data stays.
	Kill(ctx context.Context, servers ...int) error
	// Freeze stops servers as they are: connections stay, nobody answers. Sessions run on.
	Freeze(servers ...int) error
	// Thaw lets frozen servers go on.
	Thaw(servers ...int) error
	// Wipe removes the data of servers that do not run.
	Wipe(servers ...int) error

	// Get reads one key; nil: there is none. Like the other requests it goes to any server that answers, and is served by the
	// store's present leader.
	Get(ctx context.Context, key string) (*KV, error)
	// Put writes a key without a session, as an operator does.
	Put(ctx context.Context, key, value string) error
	// Delete removes one key.
	Delete(ctx context.Context, key string) error
	// SessionTTL is what the store granted to a session; 0: there is no such session.
	SessionTTL(ctx context.Context, session string) (time.Duration, error)
	// EndSession ends a session that somebody else uses, and with it the keys that live with it, as an operator does.
	EndSession(ctx context.Context, session string) error

	// Traffic is what one server has served since it started, by its own counters. Asking is not counted.
	Traffic(ctx context.Context, server int) (Traffic, error)

	close()
}

// KV is one key as the store tells it.
type KV struct {
	Key, Value string
	Session    string // as the store's own tool writes it; "": none
}

// Traffic counts what a server has done for its clients.
type Traffic struct {
	Requests       float64
	ByMethod       map[string]float64
	Sent, Received float64 // bytes to clients and from clients; NoBytes says that the server does not count them
	NoBytes        bool
}

// newStore makes the store that the options ask for. Its servers do not run yet.
func (c *Cluster) newStore() (Store, error) {
	if c.Servers == 0 {
		c.Servers = 1
	}
	switch c.Kind {
	case EtcdStore:
		var err error
		c.Etcd, err = c.newEtcd()
		return c.Etcd, err
	case EmbedEtcdStore:
		return c.newEmbedEtcd()
	case ConsulStore:
		return c.newConsul()
	case ZooKeeperStore:
		return c.newZooKeeper()
	}
	return nil, fmt.Errorf("there is no store %q", c.Kind)
}

// StoreHosts are the addresses of the store that node n is to use.
func (c *Cluster) StoreHosts(n *Node) []string {
	all := c.Store.Addresses()
	if c.Kind == EmbedEtcdStore { // an agent speaks to the member within it
		return all[n.index-1 : n.index]
	}
	if c.ServersOf == nil {
		return all
	}
	var mine []string
	for _, i := range c.ServersOf(n.index - 1) {
		mine = append(mine, all[i])
	}
	return mine
}

// OneEach is a ServersOf that gives each node a server of its own: the servers' counters then tell what each agent asks for.
func OneEach(node int) []int { return []int{node} }

// ensemble is the servers of a store that the harness runs.
type ensemble struct{ servers []*server }

type server struct {
	address string // host:port for clients
	dataDir string
	start   order
	proc    *process
}

func (e *ensemble) Servers() int { return len(e.servers) }

func (e *ensemble) Addresses() []string {
	var all []string
	for _, s := range e.servers {
		all = append(all, s.address)
	}
	return all
}

// chosen are the servers that are meant: those named, or all.
func (e *ensemble) chosen(which []int) []*server {
	if len(which) == 0 {
		return e.servers
	}
	var some []*server
	for _, i := range which {
		some = append(some, e.servers[i])
	}
	return some
}

// launch starts what does not run.
func (e *ensemble) launch() error {
	for _, s := range e.servers {
		if s.proc.running() {
			continue
		}
		var err error
		if s.proc, err = start(s.start); err != nil {
			return err
		}
	}
	return nil
}

// ended tells of a server that should run and does not; "": all run.
func (e *ensemble) ended() string {
	for _, s := range e.servers {
		if !s.proc.running() {
			return "a server has ended: " + readTail(s.start.logFile)
		}
	}
	return ""
}

func (e *ensemble) Kill(ctx context.Context, which ...int) error {
	for _, s := range e.chosen(which) {
		if err := s.proc.end(ctx, syscall.SIGKILL); err != nil {
			return err
		}
	}
	return nil
}

func (e *ensemble) Freeze(which ...int) error {
	for _, s := range e.chosen(which) {
		if err := s.proc.freeze(); err != nil {
			return fmt.Errorf("freeze the store at %s: %w", s.address, err)
		}
	}
	return nil
}

func (e *ensemble) Thaw(which ...int) error {
	for _, s := range e.chosen(which) {
		if err := s.proc.signal(syscall.SIGCONT); err != nil {
			return fmt.Errorf("thaw the store at %s: %w", s.address, err)
		}
	}
	return nil
}

func (e *ensemble) Wipe(which ...int) error {
	for _, s := range e.chosen(which) {
		if s.proc.running() {
			return fmt.Errorf("wipe the store at %s: it runs", s.address)
		}
		if err := os.RemoveAll(s.dataDir); err != nil {
			return err
		}
	}
	return nil
}

// first asks the servers one after the other until one answers: some may be dead, or frozen. Each has 2 s, less if ctx ends before.
func first[T any](ctx context.Context, addresses []string, ask func(ctx context.Context, address string) (T, error)) (answer T, err error) {
	var errs []string
	for _, a := range addresses {
		one, cancel := context.WithTimeout(ctx, 2*time.Second)
		answer, err = ask(one, a)
		cancel()
		if err == nil {
			return answer, nil
		}
		errs = append(errs, a+": "+err.Error())
	}
	return answer, fmt.Errorf("no server of the store answers: %s", strings.Join(errs, "; "))
}
