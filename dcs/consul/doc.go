// Package consul is the dcs.Backend on Consul, through the HTTP API of an agent.
//
//	b, err := consul.New(consul.Config{URL: "http://127.0.0.1:8500", SessionName: "main-a"})
//	defer b.Close()
//	client := dcs.NewClient(b, ...)
//
// # Keys
//
// A key is called as in any store, without the slash at its beginning: /service/main/leader is service/main/leader in Consul.
// Version is the raft index of the last write, Created that of the first one.
//
// # Sessions
//
// A session ends between one and two of its TTLs after its last renewal, and lives longer when Consul's servers have elected another
// leader meanwhile, which starts all sessions anew. So a session is opened with half of the ttl that is asked for, and promises
// (Session.TTL) that half: authority is counted from the lower bound, while others see the key disappear after ttl at the
// latest. Consul's servers grant no less than 10 seconds unless told otherwise (session_ttl_min): a smaller half is raised, and said
// in the log.
//
// Three defaults of Consul would cost a leader its key. A session without a list of checks gets serfHealth, the health of its
// agent's node as its neighbours see it, and ends within seconds of a partition: the list is sent, and empty, unless Config.Checks says
// otherwise. A session's keys may not be locked again for 15 seconds: the lock delay is 1 ms, as zero means the default. And a
// session's keys are kept unless its behaviour is "delete".
//
// A session belongs to the node of the agent that opened it. An agent that leaves the cluster in order (consul leave, or a
// stop with leave_on_terminate) takes it along: an early end, which the leader's watch shows at once.
//
// # Renewals
//
// A renewal resets a timer in the memory of the server that takes itself for the leader; nothing is written. Session.Confirm
// therefore renews, then compares through the leader that the other servers confirm, and renews once more after a long gap. A renewal that a
// deposed leader answered does no harm otherwise: the time that ends is twice the time that is promised (docs/decisions/0016).
//
// # Transactions
//
// Consul compares a key's absence, its last write and its session. Its creation and its value are compared through the last write
// that they were seen with: an assumption, which is part of the transaction. When it does not hold, nothing has happened; the key is read,
// and the transaction judged anew. In the ordinary case a transaction is one request. It takes up to 512 KiB, in base64, unless
// limits.txn_max_req_len is raised; a larger value (512 KiB) is written alone.
//
// A write is sent once. It is sent again when it certainly did not reach the agent, or when Consul has said that it did nothing (no leader,
// a limit of rates). Everything that may be repeated (reads, comparisons, renewals, opening and closing a session) is repeated
// until its context ends. What came of a write without an answer is unknown, and said so (dcs.ErrUnknown).
//
// # What does not speak Consul
//
// "Not found" means an empty folder, and a session that has ended, but only in an answer of Consul's own form: a web server,
// or an etcd, behind the port says it, too. So is a folder that a token may not read: Consul leaves out what it does not show. Both are
// errors here, since an empty store looks vacant to every node.
//
// # Watches
//
// A watch is a chain of blocking queries for the folder. Each answer holds all of it; the differences become hints. A key that comes and
// goes between two answers leaves no hint of its own. Config.Consistency applies to watches alone: reads are always consistent.
//
// # Which store
//
// Snapshot.StoreID is the trust domain that servers make up when they begin, and counts how often their index went back since
// this handle was opened. Where Connect is disabled only the index tells a wiped store.
package consul
