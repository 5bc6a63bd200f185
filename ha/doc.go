// Package ha keeps one writable PostgreSQL primary per cluster.
//
// # The problem
//
// Several machines run a PostgreSQL server each. One of them shall take writes, the others copy it, and when it dies one of the copies
// shall take its place, soon, without anybody's help, and without a moment in which two of them take writes. The machines cannot see each
// other reliably: who does not answer may be dead, frozen, or cut off and taking writes all the same. So they agree through a
// consistent store: whoever holds the leader key in it may lead, for as long as the store has promised, and no longer.
//
// A [Node] is one machine's part in this. It looks at its server, at the store and at the other nodes, decides one step, does it, and
// decides again with the result.
//
// # The nouns
//
// A [View] is what a node knows: facts, each with the time at which it was learned. It holds no opinions. A fact that expires is asked
// with a time, as in [Authority.Holds]; there is no stored "I am the leader".
//
// An [Event] is something that happened: time has passed, the store has changed, the postmaster has ended, a request was answered.
// [Fold] records it in the view. A request whose fate is unknown is an event like the others ([FaultUnknown]): it may have happened, and
// the rules read before they write again.
//
// A [Rule] looks at the view and at the time, and either passes, saying why, or names the next step. [StandardRules] is the ordered list
// of all of them; the first that does not pass decides. Each has a stable name ("vacant.behind") that stands in logs, metrics
// and explanations.
//
// A [Decision] is what came of that: a [Reason] (the rule and a sentence), the actions to begin, when to look again, and the rules that were
// passed over with their reasons. [Decide] changes nothing. An [Action] is a value, such as [AcquireKey], [RunTask] or [PollPeer].
//
// A [Machine] is the view, the rules and a counter of requests. It has no thread, clock, disk or network: events and times go in,
// requests come out. What it was told decides what it does, so that a run can be recorded, replayed ([Replay]) and simulated by the
// thousand (package hatest).
//
// A Node is a machine with hands: the goroutines that carry out its requests on the ports below, and bring the results back as events.
//
// # The loop
//
// Without the bookkeeping, a node is this:
//
//	for !view.Done {
//		e := <-events                      // a timer, a hint of the store, an exit, a result, a command
//		view = Fold(now, view, e)
//		for {
//			d := Decide(now, &view)    // pure: rules in order, the first match wins
//			if len(d.Do) == 0 {
//				break              // at rest until the next event, or d.Next
//			}
//			for _, action := range d.Do {
//				view = Fold(now, view, Begun{action})
//				go perform(action) // ends in exactly one event
//			}
//		}
//		publish(view)
//	}
//
// A hand-over, a failover or a rejoin is a chain of such steps, in which each depends on the result of the one before; nothing in the chain
// sleeps. [Settings].LoopWait is the heartbeat for what brings no event, not the latency of what does.
//
// # Lanes
//
// Each action belongs to a [Lane], and a lane does one thing at a time: store, postgres (the one task that runs on the server), observe,
// fence, watchdog, configure, slots, and one for each peer. So a base backup of an hour never stands before the renewal of the leader key, and two
// writes to the store never overtake each other. [KillServer] and [CancelTask] wait for nothing.
//
// # What is guaranteed
//
// While the assumptions below hold:
//
//   - A node lets its server take writes only under [Authority]: the leader key was confirmed to be its own, and that confirmation,
//     dated from the moment before it was asked for, is younger than the ttl of its session. Two nodes never have authority at once.
//   - A node that cannot renew stops its server in order before its authority ends ([NewBudget] says when), and kills one that does not stop.
//   - With a [Fence], a server may write only while the fence has acknowledged until when: it is armed before a start as primary, a promotion
//     or the opening of a new cluster, prolonged by confirmed renewals alone, and dismissed only over a server that is proven down, or in
//     recovery with no promotion asked of it. So a killed or frozen agent leaves no server that writes beside the next primary. A fence that is
//     lost under a writable server is armed again within 100 ms, or the server is stopped.
//   - "No" and "I don't know" are different answers. A leader key that another holds ends the authority at once; a store that does not
//     answer ends nothing before its time.
//   - The leader key is never given up over a server that may still take writes.
//   - A standby that lags behind another one that answers is not promoted, nor one on an older timeline.
//   - A planned switchover loses no rows: the key changes hands when the candidate has received the end of the log, or not at all.
//   - A node may be killed between any two steps. It keeps nothing that it needs to be safe; started again, it learns everything anew.
//
// # What is not
//
//   - A node built with [Unfenced] keeps to its rules as long as it runs: if the agent is killed or frozen while its server lives, nobody stops
//     that server when the authority ends, and another node becomes primary beside it. Status and explanations say "unfenced" for as long
//     as there is no [Fence].
//   - Agent and fence both gone or frozen at once while the server lives, and a machine that was frozen whole past its ttl and whose server
//     answers before the fence's first instruction: only a hardware [Watchdog] closes these.
//   - Replication is asynchronous unless PostgreSQL is told otherwise: what a primary acknowledged in the moments before its machine
//     died may not have reached any standby. This release does not manage synchronous_standby_names.
//   - Clocks must run at the same rate, to within a hundredth. They need not show the same time. The [Clock] must count the time in which the
//     machine is suspended, never step back, and be so fine that what happens later reads later: facts are ordered by their times.
//   - The store must be linearizable and must not end sessions before their time. One that was wiped or restored from a backup is noticed,
//     not trusted.
//
// # Duties of an embedder
//
// In this order:
//
//  1. Decide about the fence: pass one, or say [Unfenced] and tell your users.
//  2. Make the ports. dcs.Client is a [Store] over any dcs.Backend; package instance (below postgres) is [Postgres] for a real server;
//     restclient (below rest) is [Peers]; bootclock (below ha) is a [Clock]; watchdog (below ha) is a [Watchdog], where there shall be one.
//     Each can be yours instead.
//  3. Write [Parse]: it turns the cluster's dynamic configuration and your own into [Settings]. Start from [DefaultSettings]. It must give the
//     same answer for the same input on all nodes, up to what is a node's own business.
//  4. Choose a Name that no other node of the cluster has, a StartID that no other run has, and publish addresses (ConnURL, APIURL) that
//     the other nodes can reach.
//  5. Serve GET /patroni, /liveness and the health checks at APIURL (rest.Start) before [Node.Run] is called: others ask there who may
//     lead. A node that nobody can ask is taken for dead in an election.
//  6. Call [Node.Run] once and wait for it. To end the node, end its context: the server is stopped, and the leader key handed over. An error
//     means that the node must not go on; PostgreSQL was left as it was.
//  7. Only after Run has returned: close the Store (the member key disappears), then the REST API, then the others.
//
// The folder examples of this module has an agent that does all of this with real servers, and a harness that does it with none.
//
// Whoever wants to know asks [Node.Status] (a snapshot that never changes), [Node.Wait] (the next one that fits) and [Node.Explain] (why).
package ha
