package dcs_test

import (
	"testing"
	"time"

	"github.com/tanist-ha/tanist/dcs"
	"github.com/tanist-ha/tanist/dcs/memory"
)

// settled is a leader a and a standby b of a cluster of tanist, when each has read the other's key.
func settled(t *testing.T) (w *world, a, b *node, h dcs.Held) {
	w = newWorld(t)
	a, b = w.node("a"), w.node("b")
	for _, n := range []*node{a, b} {
		keepAt(n, 1)
	}
	h = a.acquire()
	h = renewAt(a, h, 1)
	for _, n := range []*node{a, b} {
		n.load()
		n.cost()
	}
	return w, a, b, h
}

// at is a member key with a position.
func at(role dcs.Role, position uint64) dcs.MemberData {
	m := member(role)
	m.Tanist, m.XLogLocation = "1", position
	return m
}

func keepAt(n *node, position uint64) {
	n.w.Helper()
	if _, err := n.KeepAlive(n.w.Context(), dcs.KeepAlive{TTL: ttl, Member: at(dcs.RoleReplica, position)}); err != nil {
		n.w.Fatal(err)
	}
}

func renewAt(n *node, h dcs.Held, position uint64) dcs.Held {
	n.w.Helper()
	h, err := n.Renew(n.w.Context(), dcs.Renew{Leader: h.Leader, TTL: ttl, Member: at(dcs.RolePrimary, position), Publish: true})
	if err != nil {
		n.w.Fatal(err)
	}
	return h
}

// TestQuietLeader: a leader hears its members' positions only while one of them is Patroni's, and counts the members with each renewal.
func TestQuietLeader(t *testing.T) {
	w, a, b, h := settled(t)
	if a.Attentive() || b.Attentive() {
		t.Fatalf("attentive: the leader %t, its standby %t", a.Attentive(), b.Attentive())
	}
	if h = renewAt(a, h, 1); h.Unheard {
		t.Error("a member is missed, and there is none")
	}
	w.store.Put(folder+"members/p", []byte(`{"conn_url":"c","api_url":"a","state":"running","role":"replica"}`))
	if h = renewAt(a, h, 1); !h.Unheard {
		t.Error("a new member is not missed")
	}
	a.load()
	b.load()
	if !a.Attentive() || b.Attentive() {
		t.Errorf("beside Patroni, attentive: the leader %t, its standby %t", a.Attentive(), b.Attentive())
	}
	w.store.Delete(folder + "members/p")
	if h = renewAt(a, h, 1); !h.Unheard {
		t.Error("a member that has left is not missed")
	}
	a.load()
	if h = renewAt(a, h, 1); h.Unheard || a.Attentive() {
		t.Errorf("after the read: unheard %t, attentive %t", h.Unheard, a.Attentive())
	}
}

// TestRenewPublishes: the member key goes with the renewal, costs no request, and is not written by one that is no leader any more.
func TestRenewPublishes(t *testing.T) {
	w, a, _, h := settled(t)
	h = renewAt(a, h, 2)
	w.equal(a.cost(), "confirm")
	c := a.load()
	w.equal(c.Members[0].Data.XLogLocation, uint64(2))
	w.equal(c.Members[0].Meta.Session, h.Leader.Session)
	a.cost()
	h = renewAt(a, h, 2)
	w.equal(a.load().Version, c.Version) // nothing was written
	w.store.Delete(folder + "leader")
	_, err := a.Renew(t.Context(), dcs.Renew{Leader: h.Leader, TTL: ttl, Member: at(dcs.RolePrimary, 3), Publish: true})
	w.is(err, dcs.ErrConflict)
	w.equal(a.load().Members[0].Data.XLogLocation, uint64(2))
}

// TestProofRides: a standby that writes its position compares the leader key in the same transaction, when that is due.
func TestProofRides(t *testing.T) {
	w, a, b, h := settled(t)
	proofs := 0
	b.fate = func(_ int, op memory.Op) memory.Fate {
		if op.Txn != nil && len(op.Txn.If) > 0 {
			proofs++
		}
		return memory.Served
	}
	for i := range uint64(12) {
		w.pass(10 * time.Second)
		h = renewAt(a, h, i+10)
		b.cost()
		keepAt(b, i+10)
		w.equal(b.cost(), "keepalive apply")
	}
	w.equal(proofs, 2)
	w.store.Put(folder+"leader", []byte("x"))
	for i := range uint64(6) {
		keepAt(b, i+100)
	}
	w.equal(proofs, 3)
	w.equal(b.cost(), "keepalive apply keepalive apply keepalive apply keepalive apply keepalive apply keepalive apply apply")
	for _, m := range a.load().Members {
		if m.Name == "b" && m.Data.XLogLocation != 105 {
			t.Errorf("the position that was written with a failed proof is %d", m.Data.XLogLocation)
		}
	}
}
