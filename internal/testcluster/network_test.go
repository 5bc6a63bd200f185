//go:build linux

package testcluster

import (
	"context"
	"errors"
	"net"
	"os"
	"testing"
	"time"
)

func TestNamespacesDropPackets(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("network namespaces need root")
	}
	hub, err := newHub()
	if err != nil {
		t.Fatal(err)
	}
	defer hub.close()
	var hosts []*namespace
	for i := 1; i <= 2; i++ {
		h, err := newHost(hub, i, 2)
		if err != nil {
			t.Fatal(err)
		}
		defer h.close()
		hosts = append(hosts, h)
	}
	var l net.Listener
	if err := hosts[0].do(func() (err error) { l, err = net.Listen("tcp4", "10.99.7.1:0"); return err }); err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	reach := func(from *namespace, patience time.Duration) error {
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		conn, err := from.dial(ctx, "tcp", l.Addr().String())
		if err == nil {
			_ = conn.Close()
		}
		return err
	}
	for name, from := range map[string]*namespace{"hub": hub, "other host": hosts[1], "inside": hosts[0]} {
		if err := reach(from, 10*time.Second); err != nil {
			t.Errorf("from %s: %v", name, err)
		}
	}
	c := &Cluster{hub: hub}
	n := &Node{c: c, ns: hosts[0], index: 1}
	if err := n.Partition(); err != nil {
		t.Fatal(err)
	}
	// Silence: no refusal, no "unreachable", only the caller's own patience ends it.
	for name, from := range map[string]*namespace{"hub": hub, "other host": hosts[1]} {
		if err := reach(from, time.Second); !errors.Is(err, os.ErrDeadlineExceeded) && !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("cut off, from %s: got %v, want a time-out", name, err)
		}
	}
	if err := reach(hosts[0], 10*time.Second); err != nil {
		t.Errorf("cut off, from inside: %v", err)
	}
	if err := n.Heal(); err != nil {
		t.Fatal(err)
	}
	if err := reach(hosts[1], 10*time.Second); err != nil {
		t.Errorf("healed: %v", err)
	}
	if _, err := (&namespace{hub.file}).dial(t.Context(), "tcp", "127.0.0.1:1"); err == nil {
		t.Error("something listens on port 1 of the hub")
	}
}
