// Package pgstore is a store for tanist in a PostgreSQL server of its own: a [dcs.Backend] that a stranger could have written, in as little code as it takes.
// (A server of its own: the cluster that it decides about would take its store along when it fails.)
//
// # How to write one
//
// Begin with the promises of [dcs.Backend], and look for what in your store can keep each. Here it was:
//
//   - Read sees all that ended before it, as of one moment: one statement on the primary.
//   - Apply is all or nothing: its statements are sent together and are one transaction. Each condition is a statement that
//     fails when it does not hold. Every transaction locks one row first, so that what a condition saw is still so when the writes happen.
//   - Versions never come back: they are counted in that row. A key that was deleted and created again has another "created".
//   - A session ends when nobody renews it, by a clock that all share: the server's. Its keys are deleted with it, in one transaction.
//   - Watch hints at changes: LISTEN and NOTIFY, which are sent if and when a transaction commits. They are lost with a connection, so the
//     watch ends with it.
//
// Then look at every way in which a request can fail, and say for each what is known (see outcome). That is where stores split clusters: an error that
// came instead of an answer says nothing about what was done, and must be dcs.ErrUnknown. No library between you and the store may send a
// write twice, or renew a session by itself.
//
// Then run dcstest on the real store (see TestConformance), with Linked, so that answers get lost. It found a mistake in the first version of this
// package that reading had not: the driver calls a batch whose connection broke under it safe to send again, though the server had carried it out.
//
// # What this one does not promise
//
// Its clock is the server's wall clock: if an administrator sets it forward, sessions end early. A failover of this server to an asynchronous standby
// loses writes, which tanist would take for a store that was restored only if the identity changed. One server is one point of failure.
package pgstore
