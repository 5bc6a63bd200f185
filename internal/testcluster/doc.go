//go:build linux

// Package testcluster runs whole clusters of real processes on one machine: tanist agents with their PostgreSQL servers,
// etcd and HAProxy. The end-to-end tests and the benchmarks are written on it.
//
// A Cluster has Nodes. A node is one host: an agent, its server, an address. Two networks are offered. Loopback gives each
// node its own address in 127/8 and needs no privilege. Namespaces gives each node a network namespace on a bridge of its
// own (root only), so that a host can vanish from the network with all its processes alive.
//
//	bin, err := testcluster.Build(ctx, dir)          // compiles the programs, once
//	c, err := testcluster.New(ctx, testcluster.Options{Bin: bin, Nodes: 3})
//	defer c.Close()
//	err = c.StartAll(ctx)
//	leader, err := c.WaitHealthy(ctx)
//	err = leader.KillHost(ctx)
//
// As root, everything runs as user postgres, because PostgreSQL refuses root.
//
// Nothing is left behind: a small process (folder reaper) ends everything and removes the cluster's folder when Close is
// called or when the harness is gone, however it went.
package testcluster
