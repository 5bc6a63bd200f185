// Package dcstest holds a [dcs.Backend] to its contract. It is exported: whoever writes a backend runs it on his store.
//
//	func TestConformance(t *testing.T) {
//		srv := startStore(t)
//		dcstest.Run(t, dcstest.Harness{
//			New:    func(t testing.TB) dcs.Backend { return mystore.New(srv.Addr()) },
//			MinTTL: time.Second,
//		})
//	}
//
// With [Harness.Linked] it also disturbs the way to the store: answers that are lost after the request went through, connections that are cut, hosts
// that fall silent. [Proxy] does that for every store that is reached over TCP:
//
//	Linked: func(t testing.TB) (dcs.Backend, dcstest.Link) {
//		addrs, link := dcstest.Proxy(t, srv.Addr())
//		return mystore.New(addrs[0]), link
//	},
//
// Without it those tests are skipped; [Harness.Complete] makes that a failure.
//
// The suite uses keys below "/tanist-test/" only, another folder for each test, so that it can run on a store that holds
// other things. It waits for events, never for a guessed time: a session's end is awaited through a watch, with a generous
// limit (Harness.Patience) that only a broken store reaches. A store with a clock of its own gives [Harness.Advance]. The tests in which a session
// has to end run side by side, under the name "waiting", so that a store whose sessions are long is no reason to run the suite rarely.
//
// What it checks, in the words of the contract: a Read sees every write that ended before it and is sorted; a transaction
// happens whole or not at all; a key that was deleted and created again is another key; sessions end on time, never before their TTL counted from
// when the last renewal was sent, and take their keys along; a session that lives proves nothing about a key; watches hint at every change or are
// closed; contexts are honoured; a request whose fate is unknown is never called a conflict; and concurrent histories are those of a register, and
// of a register with leases (checked with porcupine).
//
// That it finds what it looks for is shown on broken twins of package memory: see TestTwins and TestMutants.
package dcstest
