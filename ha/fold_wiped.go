package ha

import (
	"fmt"
	"slices"
	"time"

	"github.com/tanist-ha/tanist/dcs"
)

// StoreChange is what is remembered of the store in which we knew the cluster, while another one answers in which nobody leads yet.
type StoreChange struct {
	Since   time.Time // when it was noticed last; zero: no such thing has happened, or it is over
	Why     string
	Known   []dcs.Member // its members
	Leaders []string     // who may have led there: the last one, and those of stores that came and went since
	Blind   bool         // we had not heard of it for a while before: others may have led there whom we do not know
	Founded bool         // it knew the cluster's system identifier
	StoreID string
	Version dcs.Version
	Read    dcs.Version // that the first read of the present store showed
}

// storeChanged says how a read shows that the store is not the one of the read before; "": it is.
func storeChanged(was, is *dcs.Cluster) string {
	switch {
	case was.StoreID != "" && is.StoreID != "" && was.StoreID != is.StoreID:
		return fmt.Sprintf("the store was wiped, restored or replaced (it was %s, now it is %s)", was.StoreID, is.StoreID)
	case is.Version != 0 && is.Version < was.Version:
		return fmt.Sprintf("the store was restored from a backup (its version went back from %d to %d)", was.Version, is.Version)
	case was.Initialize == nil || !dcs.ValidSystemID(was.Initialize.SystemID) || (was.Leader != nil && is.Leader != nil):
		return ""
	case is.Initialize == nil:
		return "the store was wiped (/initialize is gone, and there is no leader key)"
	case is.Initialize.SystemID != was.Initialize.SystemID:
		return "the store holds another cluster (/initialize is another one, and there is no leader key)"
	}
	return ""
}

// foldStoreChanged compares what was just read with what was read before. What came from the old store is forgotten, but for the authority.
func foldStoreChanged(now time.Time, v *View, is *dcs.Cluster) bool {
	was := &v.Store.Cluster
	why := ""
	if v.Store.Known {
		why = storeChanged(was, is)
	}
	if why == "" {
		return false
	}
	if v.mine(is.Leader) && v.Lease.State == LeaseHeld && v.Lease.Since.After(v.Store.At) {
		v.Store.Seen = 0
		return true // we have acquired the leader key there already
	}
	c := &v.Changed
	if c.Since.IsZero() {
		*c = StoreChange{Known: was.Members, StoreID: was.StoreID, Version: was.Version,
			Founded: was.Initialize != nil && dcs.ValidSystemID(was.Initialize.SystemID)}
		c.led(v.Vacancy.LastName)
	} else {
		c.knew(was.Members)
	}
	if was.Leader != nil {
		c.led(was.Leader.Name)
	}
	c.Since, c.Why, c.Read, c.Blind = now, why, is.Version, c.Blind || v.Store.Away.After(v.Store.At)
	if was.StoreID == is.StoreID && is.Version >= was.Version {
		return true // keys were deleted by hand: sessions and versions are what they were
	}
	v.Session, v.Store.MemberAt, v.Store.Seen = SessionView{}, time.Time{}, 0
	v.Initialize.Mine, v.Rejoin, v.FailedRequest, v.TookOver = nil, Rejoin{}, 0, false
	return true
}

// led adds somebody who may be the last leader.
func (c *StoreChange) led(name string) {
	if name != "" && !slices.Contains(c.Leaders, name) {
		c.Leaders = append(c.Leaders[:len(c.Leaders):len(c.Leaders)], name)
	}
}

// knew adds members that were not known before.
func (c *StoreChange) knew(members []dcs.Member) {
	known := slices.Clone(c.Known)
	for _, m := range members {
		if !slices.ContainsFunc(known, func(k dcs.Member) bool { return k.Name == m.Name }) {
			known = append(known, m)
		}
	}
	c.Known = known
}

// foldStoreSettled ends the exception when somebody leads in the new store: was and now are the leader keys of the last two reads. One that a
// backup brought back is nobody's word; its session ends within W.
func foldStoreSettled(now time.Time, v *View, was *dcs.Leader) {
	l := v.Store.Cluster.Leader
	if l == nil {
		l = was
	}
	if !v.changed() || l == nil || v.foreign() || (l.Name == v.Self.Name && !v.mine(l)) {
		return
	}
	if l.Meta.Created > v.Changed.Read || !now.Before(v.Changed.Since.Add(v.w(now))) {
		v.Changed = StoreChange{}
	}
}

// mine says whether a leader key lives with our session.
func (v *View) mine(l *dcs.Leader) bool {
	return l != nil && v.Session.ID != "" && l.Meta.Session == v.Session.ID
}

// leadsOn says whether a leader key that is not ours, or gone, is no reason to stop: the store is not the one that gave it to us, nobody has
// taken it, and our authority lasts.
func (v *View) leadsOn(now time.Time) bool {
	l := v.Store.Cluster.Leader
	return v.changed() && v.Lease.Auth.Holds(now) && v.mayWrite() && (l == nil || l.Name == v.Self.Name || v.foreign())
}
