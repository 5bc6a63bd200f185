//go:build linux

package testcluster

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// EmbedEtcd is the etcd that the agents run themselves: member i lives in the agent of node i, and what happens to a server here happens
// to that agent.
type EmbedEtcd struct {
	gateway
	c     *Cluster
	peers []string
}

// newEmbedEtcd finds addresses for the members, one for each node.
func (c *Cluster) newEmbedEtcd() (*EmbedEtcd, error) {
	e := &EmbedEtcd{c: c}
	var err error
	if e.gateway, err = newGateway(nil, c.Dial); err != nil {
		return nil, err
	}
	for i := 1; i <= c.Options.Nodes; i++ {
		host, ports := c.hostAddress(i), []int{2379, 2380}
		if c.Layout == Loopback {
			if ports, err = freePorts(nil, host, 2); err != nil {
				return nil, err
			}
		}
		e.addresses = append(e.addresses, address(host, ports[0]))
		e.peers = append(e.peers, address(host, ports[1]))
	}
	return e, nil
}

// Servers implements Store.
func (e *EmbedEtcd) Servers() int { return len(e.addresses) }

// Addresses implements Store.
func (e *EmbedEtcd) Addresses() []string { return e.addresses }

// Section implements Store.
func (e *EmbedEtcd) Section(n *Node, _ []string) (string, map[string]any) {
	i := n.index - 1
	members := map[string]any{}
	for at, peer := range e.peers {
		members[fmt.Sprintf("n%d", at+1)] = peer
	}
	return "embedetcd", map[string]any{"name": fmt.Sprintf("n%d", i+1), "data_dir": e.dataDir(n), "client_listen": e.addresses[i], "hosts": e.addresses,
		"peer_listen": e.peers[i], "initial_cluster": members}
}

func (e *EmbedEtcd) dataDir(n *Node) string { return filepath.Join(n.Dir, "etcd") }

// Start implements Store. It starts the agents that have run before; the first start of each is the cluster's.
func (e *EmbedEtcd) Start(ctx context.Context) error {
	fresh := true
	for _, n := range e.c.Nodes {
		if n.agent == nil {
			continue
		}
		fresh = false
		if !n.Running() {
			if err := n.Start(); err != nil {
				return err
			}
		}
	}
	if fresh {
		return nil
	}
	return poll(ctx, 50*time.Millisecond, "the embedded etcd", func() (bool, string) {
		_, err := e.Get(ctx, "health")
		return err == nil, fmt.Sprint(err)
	})
}

func (e *EmbedEtcd) chosen(which []int) []*Node {
	if len(which) == 0 {
		return e.c.Nodes
	}
	var some []*Node
	for _, i := range which {
		some = append(some, e.c.Nodes[i])
	}
	return some
}

// Kill implements Store: it kills agents. Their servers stay.
func (e *EmbedEtcd) Kill(ctx context.Context, which ...int) error {
	for _, n := range e.chosen(which) {
		if err := n.KillAgent(ctx); err != nil {
			return err
		}
	}
	return nil
}

// Freeze implements Store.
func (e *EmbedEtcd) Freeze(which ...int) error {
	var errs []error
	for _, n := range e.chosen(which) {
		errs = append(errs, n.FreezeAgent())
	}
	return errors.Join(errs...)
}

// Thaw implements Store.
func (e *EmbedEtcd) Thaw(which ...int) error {
	var errs []error
	for _, n := range e.chosen(which) {
		errs = append(errs, n.ThawAgent())
	}
	return errors.Join(errs...)
}

// Wipe implements Store.
func (e *EmbedEtcd) Wipe(which ...int) error {
	for _, n := range e.chosen(which) {
		if n.Running() {
			return fmt.Errorf("wipe the etcd member of %s: its agent runs", n.Name)
		}
		if err := os.RemoveAll(e.dataDir(n)); err != nil {
			return err
		}
	}
	return nil
}
