// Package zookeeper is the dcs.Backend on ZooKeeper 3.6 and newer, spoken natively.
//
//	b, err := zookeeper.New(zookeeper.Config{
//		Hosts:  []string{"10.0.0.1", "10.0.0.2:2181"},
//		Folder: dcs.Prefix("service", "main"),
//	})
//	defer b.Close()
//	client := dcs.NewClient(b, ...)
//
// A key is a node (a "znode") of the same path. A version is the number of the transaction that wrote the node last (mzxid), an incarnation that of
// the one that created it (czxid), a session the owner of an ephemeral node. Folders are made when they are needed; a node
// without data that has, or had, children is a folder and not a key.
//
// # Reads
//
// A read is two requests in one packet: a transaction that changes nothing, and a multiRead of all nodes and lists of children. The
// transaction is committed by a majority like any other, and what follows it over the same connection sees all that was
// committed before; ZooKeeper's own `sync` would believe a leader that was deposed and has not noticed. The multiRead is carried out while no
// transaction is applied, so what it shows is one moment. Which nodes there are is guessed from the last read, and read again if that was wrong.
//
// # Transactions and the guard
//
// ZooKeeper's multi is atomic, but all that it can compare is how often a node was written since its creation: a number that begins at 0 again when the
// node is deleted and created anew, and nothing that could say "still absent". So a transaction here is three things: look at the nodes
// concerned, decide, and send one multi with the writes that also
//
//   - writes the guard, the node "tanist-guard" in the folder, at the version that was seen: every transaction of this package does, so if the guard
//     has not moved, no node has been changed by this package;
//   - checks the version of each node that a condition or a write names, which catches writers that do not know the guard.
//
// When either has moved, nothing was written, and the transaction looks again until its context ends. So nodes and tools of tanist are held
// to the contract in full. What remains is for others, a Patroni member or an operator who writes between the look and the multi (a few
// milliseconds, or as long as this process stands still; but no longer than the session, without which no multi that binds a key succeeds):
// a key that they delete and create anew with the same number of writes, and one that was to be absent, is not written by the
// transaction, and is created by them just then, are not noticed.
//
// All keys of a transaction lie below one folder, and every handle on them has to name the same (Config.Folder).
//
// # Sessions, and what proves that one lives
//
// Each dcs.Session has a connection of its own, which it makes when it is used: nothing here sends a ping on behalf of a session, and nothing
// connects by itself. An agent that stands still loses its session after the granted timeout.
//
// A request that a follower has answered has not prolonged anything yet: it is the leader who counts, and it hears which sessions were active with the
// follower's answer to its next ping, half a tick later. A follower that freezes in between takes the news with it. So KeepAlive is one write, and
// the session tells by Proven (dcs.Dated) since when it is certain to live: the newest write that was acknowledged a tick
// or more before another one was sent over the same connection, which then was acknowledged, too. Confirm makes such a pair, and takes a tick (tickTime, two
// seconds by default; it is asked with the four-letter command `conf` if the whitelist allows it). Sessions end on a tick's boundary, up to
// one tick late, never early.
//
// To put a key under another session is to delete and create it, in one multi over that session's connection. A transaction binds keys to one session.
//
// # Lost answers
//
// A transaction that writes is sent once. When its answer is lost, or the server falls silent, it is dcs.ErrUnknown. Everything else is repeated
// on another server until the context ends. Attempts to connect start at most 500 ms apart, two at a time, however long an outage lasts.
//
// A store that was wiped, restored, or is another one, is recognised by transaction numbers that go back and by the birth of the topmost folder;
// dcs.Snapshot.StoreID changes then.
package zookeeper
