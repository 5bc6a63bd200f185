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
// and rewinds fail or take long, the store is away, operators ask for switchovers and failovers at bad moments. Then there are three
// minutes in which nothing goes wrong.
//
// In the profile [Freezes] processes stop for a while, or for good, at the worst moments: agents between a decision and the deed, guards, whole
// machines. Guards are processes with a channel, as real ones: messages wait while they are frozen, and they read before they fire.
//
// A [Profile] has faults of one kind only: planned acts that may lose no row, servers that do not stop, late answers, primaries that die
// with rows of their own, long outages of the store in failsafe mode, two agents of one name.
//
// What is left out rests on the numbered assumptions of docs/guarantees.md: an agent is not hit while its server may go on under a session that
// the store has ended early (A1) or while a new guard takes the place of one that was killed or frozen (A4), and the guard of a machine that
// thaws acts before the server answers (A3).
//
// # Invariants
//
// After each event: at most one server may acknowledge commits; no guard fires that was told of a later end, and none is dismissed while its
// server takes writes; nothing half-made is started; no key is released before /status says how far the log reached; no standby's log contradicts the log that it streams from; a node does not
// demote on the store's word unless the store gave it; a promoted server holds every row, acknowledged a while ago, that a standby in
// its reach held when it decided to lead; no event causes an endless chain of decisions. At the end: one leader, writable, everybody streams from it, and after a
// run with planned acts only no row is missing. While the store alone is away in failsafe mode, the primary stays writable.
//
// # Stories and situations
//
// Two small notations say in text what would be hundreds of lines of Go. A [Story] is a cluster that is told what happens ("kill host a",
// "advance 40s") and answers with what followed; nothing in it is left to chance. A [Situation] is what one node knows at one moment; with
// [FormatDecision] the answer of the rules to it is text as well. The rules' own tests are files of both, in testdata.
package hatest
