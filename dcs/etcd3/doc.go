// Package etcd3 is the dcs.Backend on etcd v3 (3.4 and newer), spoken natively over gRPC.
//
//	b, err := etcd3.New(etcd3.Config{Endpoints: []string{"http://10.0.0.1:2379", "http://10.0.0.2:2379"}})
//	defer b.Close()
//	client := dcs.NewClient(b, ...)
//
// # What is a request here
//
// The package speaks etcd's protocol through the generated stubs of etcd's API module and does not use etcd's client
// library, because that one retries inside: it sends a transaction again when a proxy answers "deadline exceeded", it
// turns round a failing keepalive without a pause, and with a password it authenticates before each stream. A store that
// decides who may write wants to know what was sent, when and how often. So:
//
//   - a transaction that writes is sent once. It moves on to another endpoint only when it certainly did not reach the first
//     one. When an answer is lost or late, its fate is unknown and it says so (dcs.ErrUnknown);
//   - everything that may be repeated (reads, comparisons, keepalives, opening and closing a session) is repeated: on another
//     endpoint after an error, and beside the one that is still silent when a third of the remaining time is over, at most
//     a second. The first answer counts;
//   - one endpoint is used at a time, as long as it answers. Requests need a leader in etcd: a member that is cut off from the
//     others says so at once, and another one is asked.
//
// # Dead connections
//
// A process that is gone is noticed by its closed connection, a lost host within about three seconds of unacknowledged data and
// six of idleness (by the kernel, at no cost to this process), and a frozen process by the deadline of the request that it
// does not answer. Connections are made two endpoints at a time, attempts start at most 500 ms apart, however long
// an outage has lasted, and names are resolved anew at each attempt. An endpoint that falls silent loses its watches: their
// channels close, and the caller watches again, elsewhere.
//
// # Sessions, confirmation and old answers
//
// A session is a lease; its identity is the lease id in hexadecimal, as etcdctl prints it. KeepAlive is one request. Confirm is
// a keepalive and then a transaction, both answered in the same raft term, so that a deposed leader of etcd cannot have
// taken the keepalive. An answer of a lower term than one seen before comes from a member that is behind, and counts as a failure
// of that endpoint. An answer of another cluster id, or of a revision below one that was seen
// before, comes from another store, and dcs.Snapshot.StoreID changes: sessions are lost there, while a confirmation is unknown, because
// what is missing in another store says nothing about who leads.
//
// # Endpoints
//
// Endpoints are configured, or found by DNS (Config.SRV). With Config.FollowMembers those that etcd lists are added, each once it has answered
// there as the member that it is said to be; the configured ones are kept whatever the list says. Each that is in use at such a look is asked its version, once:
// leases may end early where it is older than 3.4.31 or 3.5.13, and the log says so.
//
// Version 2 of the protocol has a keyspace of its own, which Patroni uses under its section etcd; Backend.AskLegacy looks there.
//
// # Certificates and passwords
//
// Certificate files are read anew at each handshake, so that renewed ones need no restart. With a user name the package
// authenticates when a token is missing or refused, and sends the request again; a server without authentication is used as it is.
package etcd3
