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
// The suite uses keys below "/tanist-test/" only, another folder for each test, so that it can run on a store that holds
// other things. It waits for events, never for a guessed time: a session's end is awaited through a watch, with a generous
// limit (Harness.Patience) that only a broken store reaches. A store with a clock of its own gives [Harness.Advance].
//
// What it checks, in the words of the contract: a Read sees every write that ended before it and is sorted; a transaction
// happens whole or not at all; a key that was deleted and created again is another key; sessions end on time, never early,
// and take their keys along; a session that lives proves nothing about a key; watches hint at every change; contexts are
// honoured; and concurrent histories are linearizable (checked with porcupine).
package dcstest
