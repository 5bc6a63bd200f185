// Package embedetcd runs a member of an etcd cluster inside this process, so that three agents need no separate store, and a
// third machine without PostgreSQL can be the one that makes a majority.
//
//	member, err := embedetcd.Start(ctx, embedetcd.Config{
//		Name: "node1", DataDir: "/var/lib/tanist/etcd",
//		ClientURLs: []string{"http://10.0.0.1:2379"},
//		PeerURLs:   []string{"http://10.0.0.1:2380"},
//		InitialCluster: []embedetcd.Peer{{"node1", "http://10.0.0.1:2380"}, {"node2", "http://10.0.0.2:2380"}, {"node3", "http://10.0.0.3:2380"}},
//	})
//	defer member.Stop(ctx)
//
// The member is an ordinary etcd 3.7: etcdctl works on it, and dcs/etcd3 talks to it as to any other, over its client
// address. This package is no dcs.Backend.
//
// # What it promises, and what it does not
//
// Start returns when the member takes part. It serves requests when a majority of the cluster takes part too (WaitReady). A member that
// cannot go on (a broken disk, damaged files) ends itself: Done closes and Err tells. It does not end the process, as a stand-alone etcd would:
// PostgreSQL beside it may be the primary, and has its authority from the majority of the other members.
//
// The first form of a cluster is a fixed list of members. One member dies with its machine; two die with either; three survive one.
// The data directory is etcd's own and must not lie inside PostgreSQL's, which a clone replaces.
package embedetcd
