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
// PostgreSQL beside it may be the primary, and has its authority from the majority of the other members. A disk that hangs makes Start and Stop return with their
// context, and nothing else wait.
//
// One member dies with its machine; two die with either; three survive one, five survive two.
//
// # Founding, joining, replacing
//
// A member with an empty data directory asks the other members of the list InitialCluster what there is. If one of them runs, it joins that cluster: under a new identity, and without a
// vote until it has caught up; an identity that the cluster knows at its address is removed before, as its memory is lost. If each of them answers that it is as empty, they found a
// cluster. Else it waits. So the first start takes all members, and one whose disk was lost is replaced by starting it again. An identity never runs on two disks.
//
// A member with data goes on where it was. If it was removed meanwhile, it ends itself and says so.
//
// # Upkeep
//
// Old versions of keys are dropped (CompactAfter, CompactKeep), and each member looks at its database every minute (Tidy): mostly free space is given back, one member at a time, and
// a database that has reached its quota is cleared and takes writes again when all have room.
//
// # Members far apart
//
// Heartbeat is not less than the longest round trip, Election at least ten heartbeats. For members 50 to 100 ms apart (a round trip of 100 to 200 ms): 200 ms and 2 s, and sessions of 5 s or more
// live (TestDistantMembers). The same on all members.
//
// The data directory is etcd's own and must not lie inside PostgreSQL's, which a clone replaces.
package embedetcd
