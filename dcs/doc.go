// Package dcs is how nodes agree: a cluster's keys in a consistent store, and the client that reads and writes them safely.
//
// There are three nouns.
//
// A [Backend] is a store, seen through as few promises as possible: linearizable reads, transactions of several keys with
// conditions, sessions that end by themselves, and hints that something changed. Adapters for real stores are in
// packages below this one; dcstest holds them, and yours, to the contract. Package memory is a whole store in one process.
//
// A [Cluster] is what the store holds about one cluster, decoded: one moment, a plain value. The keys and their JSON are
// those of Patroni 4.1, byte for byte, so that both may serve one cluster while it migrates. Whatever cannot be understood
// is treated as absent and described in Cluster.Problems for people: no value in the store can stop a node.
//
// A [Client] is one node's hand in the store. It owns one session, which the node's member key and, while it leads, the
// leader key live with:
//
//	client := dcs.NewClient(backend, dcs.Options{Scope: "main", Name: "a"})
//	cluster, err := client.Load(ctx)                      // one linearizable read
//	alive, err := client.KeepAlive(ctx, dcs.KeepAlive{…}) // each loop; one request when nothing changed
//	held, err := client.Acquire(ctx, dcs.Acquire{…})      // at most one node succeeds
//	held, err = client.Renew(ctx, dcs.Renew{…})           // proof that the key is still ours; keepalive and one compare
//	err = client.Release(ctx, dcs.Release{…})             // last status, member key and leader key in one transaction
//
// # Answers
//
// There are three answers to "am I the leader?", and they are never merged. Success of Renew is a yes, dated by the caller
// from the moment before the request. [ErrConflict] is a no: the store has said so. [ErrUnknown] and [ErrUnavailable] are
// neither. A lost write is never taken for a failed one: the client forgets what it believed to be stored, and finds out
// by reading before it writes again.
//
// A name in the leader key proves nothing. What proves is the life of the key (its creation) together with the session
// that it is bound to; [Meta] carries both.
//
// # Time
//
// Nothing prolongs a session but KeepAlive and Renew, when they are called: renewing is a decision, and a process that
// stands still must lose its leadership. The client starts no goroutine but the one behind [Client.Hints].
//
// # Values are read-only
//
// Cluster values share maps and slices with later ones, because what did not change is not decoded again. Do not write to
// them.
package dcs
