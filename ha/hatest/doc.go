// Package hatest runs whole clusters in one thread and in simulated time, so that a test can look for two primaries in
// thousands of histories, and replay the one that had them.
//
// A [World] is N nodes, a store and a network. Each node is a real [ha.Machine] with the real rules, over the real
// [dcs.Client] on the in-memory store; what is simulated is time, messages, PostgreSQL ([server]) and the guard. One seed is one
// history, byte for byte:
//
//	r := hatest.Run(hatest.Options{Seed: 7})
//	if r.Violation != "" {
//		fmt.Println(r.Violation)
//		fmt.Println(r.Log)
//	}
//
// # Faults
//
// For eight simulated minutes things go wrong: requests and replies are lost or late, links between nodes and to the store are cut in
// one direction or both, agents are killed, paused and started again, postmasters and whole hosts are killed, starts, stops, promotions
// and rewinds fail or take long, the store is away, operators ask for switchovers and failovers at bad moments. Then there are two
// minutes in which nothing goes wrong.
//
// # Invariants
//
// After each event: at most one server may acknowledge commits; no standby's log contradicts the log that it streams from; a node does not
// demote on the store's word unless the store gave it; a promoted server holds every row, acknowledged a while ago, that a standby in
// its reach holds; no event causes an endless chain of decisions. At the end: one leader, writable, everybody streams from it, and after a
// run with planned acts only no row is missing.
package hatest
