package hatest

import (
	"testing"
	"time"

	"github.com/tanist-ha/tanist/dcs"
	"github.com/tanist-ha/tanist/ha"
	"github.com/tanist-ha/tanist/postgres"
)

// storeMutants are defects of what a node believes of its store, and of the grounds on which it races.
var storeMutants = []mutant{
	{"keepalive and compare in two terms", func(*testing.T) Options { // safety 2.1
		return Options{Profile: Terms, Mutant: Mutant{Store: StoreMutant{AnyTerm: true}}}
	}},
	{"one ZooKeeper write counts", func(*testing.T) Options { // 2.4
		return Options{Profile: Touches, Mutant: Mutant{Store: StoreMutant{OneWrite: true}}}
	}},
	{"a ZooKeeper keepalive proves itself", func(*testing.T) Options { // 2.4
		return Options{Profile: Touches, Mutant: Mutant{Store: StoreMutant{Ageless: true}}}
	}},
	{"acquire on an old decision", func(t *testing.T) Options { // 3.6
		return Options{Profile: Stale, Mutant: Mutant{Store: StoreMutant{AnyGrounds: true}},
			Rules: replaced(t, map[ha.RuleID]check{"leader.late": passing})}
	}},
	{"cache believed for an acquire", func(*testing.T) Options { // 2.2, where the store cannot compare the grounds of an acquire
		return Options{Profile: Cached, Mutant: Mutant{Store: StoreMutant{Cache: true, AnyGrounds: true}}}
	}},
	{"name taken for proof", func(t *testing.T) Options { // 1.6
		return Options{Profile: Namesakes, Rules: replaced(t, map[ha.RuleID]check{"start.take-over": takenOverByName})}
	}},
	{"empty store is a vacancy", func(t *testing.T) Options { // 2.7
		return Options{Profile: Wiped, Rules: replaced(t, map[ha.RuleID]check{"vacant.store-changed": passing, "vacant.not-founded": passing})}
	}},
	{"wiped store ends the authority", func(*testing.T) Options { // 2.7
		return Options{Profile: Wiped, Mutant: Mutant{View: nothingChanged}}
	}},
	{"own position read before the peers'", func(t *testing.T) Options { // 3.2
		return Options{Profile: Elections, Rules: replaced(t, map[ha.RuleID]check{"vacant.own-position": passing})}
	}},
}

// nothingChanged forgets that another store answers.
func nothingChanged(v *ha.View) { v.Changed = ha.StoreChange{} }

// takenOverByName takes a leader key of our name for that of an earlier run of ours, whatever session it has and whoever's address is beside it.
func takenOverByName(now time.Time, v *ha.View) ha.Verdict {
	l := v.Store.Cluster.Leader
	switch {
	case l == nil || l.Name != v.Self.Name || l.Meta.Session == v.Session.ID || v.TookOver || v.Lease.State != ha.LeaseNone:
		return standard("start.take-over", now, v)
	case v.Local.Obs.DataDir != postgres.DataDirReady || v.Session.ID == "" || v.Lanes[ha.LaneStore].ID != 0:
		return standard("start.take-over", now, v)
	}
	c := &v.Store.Cluster
	e := dcs.Expect{Failsafe: c.FailsafeVersion, History: c.HistoryVersion, Reserved: c.Reserved.Version, IgnoreInitialize: true}
	return ha.Act("mutant: it has our name", ha.AcquireKey{Request: dcs.Acquire{Expect: e, Takeover: l, Member: v.Store.Member}})
}
