// Package memory is a store in one process, with the real semantics of a [dcs.Backend]: transactions, sessions that
// expire, watches, versions. It is what tests, simulators and examples run on; it keeps nothing after the process.
//
// A [Store] is the shared place, and each participant has a handle on it, as each agent has its own connection to a real
// store:
//
//	store := memory.New(memory.Options{})
//	a := dcs.NewClient(store.Backend(), dcs.Options{Scope: "main", Name: "a"})
//	b := dcs.NewClient(store.Backend(), dcs.Options{Scope: "main", Name: "b"})
//
// # Time
//
// With no options the store lives in real time: a timer ends the sessions that nobody keeps alive. With [Options.Now] time
// is the caller's: the store starts no timer and no goroutine. Every request first ends the sessions that are overdue at
// Now, so that no answer ever shows a key that should be gone; [Store.Tick] does the same without a request, and
// [Store.NextExpiry] tells a simulator when it has something to do. Changes are then told by [Options.OnChange], in the
// order in which they happened, on the goroutine that caused them and with no lock held.
//
// # Trouble
//
// [Backend.Inject] decides the fate of each request of one handle: refused, lost on the way, or carried out with a lost
// reply. [Store.Wipe] empties the store and gives it a new identity, as a restore from backup does, and [Store.EndSession]
// ends a session early, as operators and deposed leaders of real stores do.
//
// # Values
//
// The store copies values that are written and shares them with all who read: treat [dcs.Entry.Value] as read-only.
package memory
