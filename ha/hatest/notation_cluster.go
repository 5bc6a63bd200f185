package hatest

import (
	"strconv"
	"strings"
	"time"

	"github.com/tanist-ha/tanist/dcs"
	"github.com/tanist-ha/tanist/ha"
	"github.com/tanist-ha/tanist/postgres"
)

// readLeader: NAME [session ID | no-session]: who holds the leader key; none: nobody.
func readLeader(s *situation, w *words) {
	name := w.next()
	if name == "none" {
		s.v.Store.Cluster.Leader = nil
		return
	}
	l := &dcs.Leader{Name: name, Meta: dcs.Meta{Version: 10, Created: 10, Session: "s-" + name}}
	for w.more() {
		switch x := w.next(); x {
		case "session":
			l.Meta.Session = w.next()
		case "no-session":
			l.Meta.Session = ""
		default:
			w.unknown(x)
		}
	}
	s.v.Store.Cluster.Leader = l
	s.v.Rejoin.Leader = l.Meta.Created
}

// readMember: NAME ROLE STATE [tl N] [lsn LSN] [session ID] [no-address] [ttl SECONDS] [checkpointing] [tanist] [unfenced] [tag NAME=VALUE]. A STATE has hyphens.
func readMember(s *situation, w *words) {
	name := w.next()
	m := dcs.Member{Name: name, Meta: dcs.Meta{Version: 20, Created: 20, Session: "s-" + name}}
	m.Data = dcs.MemberData{ConnURL: connURL(name), APIURL: apiURL(name), Role: dcs.Role(w.next()),
		State: dcs.State(strings.ReplaceAll(w.next(), "-", " ")), Tags: map[string]any{}}
	for w.more() {
		switch x := w.next(); x {
		case "tl":
			m.Data.Timeline = uint32(w.number())
		case "lsn":
			m.Data.XLogLocation = uint64(w.lsn())
		case "session":
			m.Meta.Session = w.next()
		case "no-address":
			m.Data.ConnURL = ""
		case "ttl":
			m.Data.TanistTTL = uint64(w.number())
		case "tanist":
			m.Data.Tanist = "sim"
		case "unfenced":
			m.Data.TanistUnfenced = true
		case "checkpointing":
			no := false
			m.Data.CheckpointAfterPromote = &no
		case "tag":
			k, v, _ := strings.Cut(w.next(), "=")
			m.Data.Tags[k] = v
			if n, err := strconv.Atoi(v); err == nil {
				m.Data.Tags[k] = n
			}
		default:
			w.unknown(x)
		}
	}
	s.v.Store.Cluster.Members = append(s.v.Store.Cluster.Members, m)
}

// readVacant: since TIME [last NAME] [ended] [moved TIME]: nobody leads, and we remember since when, who did, whether in order, and when our log grew last.
func readVacant(s *situation, w *words) {
	s.v.Store.Cluster.Leader = nil
	for w.more() {
		switch x := w.next(); x {
		case "since":
			s.v.Vacancy.Since = w.time()
		case "last":
			s.last = w.next()
		case "moved":
			s.v.Vacancy.Moved = w.time()
		case "ended":
			s.v.Vacancy.Ended = true
		default:
			w.unknown(x)
		}
	}
}

// readChanged: TIME [leader NAME]... [knew NAME]... [back] [blind]: when it was noticed that another store answers, and whom the old one knew.
func readChanged(s *situation, w *words) {
	c := &s.v.Changed
	c.Since, c.Why, c.Founded, c.StoreID = w.time(), "the store was wiped", true, "old"
	s.v.Store.Cluster.StoreID, s.v.Store.Cluster.Leader = "new", nil
	for w.more() {
		switch x := w.next(); x {
		case "blind":
			c.Blind = true
		case "back":
			s.v.Store.Cluster.StoreID = c.StoreID
		case "leader":
			c.Leaders = append(c.Leaders, w.next())
		case "knew":
			name := w.next()
			c.Known = append(c.Known, dcs.Member{Name: name, Meta: dcs.Meta{Session: "old-" + name},
				Data: dcs.MemberData{ConnURL: connURL(name), APIURL: apiURL(name)}})
		default:
			w.unknown(x)
		}
	}
}

// readKnown: NAME: a member when somebody led last, whose key may have expired since.
func readKnown(s *situation, w *words) {
	name := w.next()
	s.v.Vacancy.Known = append(s.v.Vacancy.Known, dcs.Member{Name: name, Data: dcs.MemberData{ConnURL: connURL(name), APIURL: apiURL(name)}})
}

// readPeer is what a member has answered: NAME standby | primary | down | silent | asking, then [tl N] [lsn LSN] [leads] [asked TIME] [at TIME]
// [start-id ID] [calls-itself SCOPE/NAME] [clone-failed TIME]. An answer was asked for half a second ago unless asked says otherwise.
func readPeer(s *situation, w *words) {
	name := w.next()
	p := ha.PeerView{AskedAt: s.now.Add(-500 * time.Millisecond), At: s.now.Add(-490 * time.Millisecond)}
	a := &p.Answer
	a.Name = name
	switch kind := w.next(); kind {
	case "standby", "primary":
		a.Reachable, a.StartID, a.State, a.Role = true, name+"-1", dcs.StateRunning, dcs.RoleReplica
		a.InRecovery, a.Writable = kind == "standby", kind == "primary"
		a.Position = postgres.Position{Timeline: 1, LSN: 0x90}
		if a.Writable {
			a.Role = dcs.RolePrimary
		}
	case "down":
		a.Reachable, a.StartID, a.State, a.Role = true, name+"-1", dcs.StateStopped, dcs.RoleDemoted
	case "silent":
		a.Problem, p.SilentSince = "timeout", p.AskedAt
	case "asking":
		p = ha.PeerView{Asking: 8, Sent: s.now.Add(-100 * time.Millisecond)}
	case "unasked":
		p = ha.PeerView{}
	default:
		w.unknown(kind)
	}
	for w.more() {
		switch x := w.next(); x {
		case "tl":
			a.Position.Timeline = w.timeline()
		case "lsn":
			a.Position.LSN = w.lsn()
		case "asked":
			p.AskedAt = w.time()
			p.At = p.AskedAt.Add(10 * time.Millisecond)
		case "at":
			p.At = w.time()
		case "start-id":
			a.StartID = w.next()
		case "leads":
			a.Leads = true
		case "calls-itself":
			a.Scope, a.SelfName, _ = strings.Cut(w.next(), "/")
		case "clone-failed":
			p.CloneFailed = w.time()
		default:
			w.unknown(x)
		}
	}
	if s.v.Peers == nil {
		s.v.Peers = map[string]ha.PeerView{}
	}
	s.v.Peers[name] = p
}

// failoverVersion is the version of the request in every situation.
const failoverVersion = 50

// readFailover: [leader NAME] [candidate NAME] [scheduled]: what an operator asks for.
func readFailover(s *situation, w *words) {
	f := &dcs.Failover{Version: failoverVersion}
	for w.more() {
		switch x := w.next(); x {
		case "leader":
			f.Leader = w.next()
		case "candidate":
			f.Candidate = w.next()
		case "scheduled":
			at := s.now.Add(time.Hour)
			f.ScheduledAt = &at
		default:
			w.unknown(x)
		}
	}
	s.v.Store.Cluster.Failover = f
}

// readFailedRequest: TEXT: the request could not be done.
func readFailedRequest(s *situation, w *words) {
	s.v.FailedRequest, s.v.FailedWhy = failoverVersion, w.text()
}

// readInitialize: absent | empty [session ID] | a system identifier.
func readInitialize(s *situation, w *words) {
	i := &dcs.Initialize{Entry: dcs.Meta{Version: 1, Created: 1}}
	switch x := w.next(); x {
	case "absent":
		i = nil
	case "empty":
	default:
		i.SystemID = x
	}
	for w.more() && i != nil {
		if x := w.next(); x != "session" {
			w.unknown(x)
		}
		i.Entry.Session = w.next()
	}
	s.v.Store.Cluster.Initialize = i
}

// readConfig: absent: the store has no dynamic configuration.
func readConfig(s *situation, w *words) {
	if x := w.next(); x != "absent" {
		w.unknown(x)
	}
	s.v.Store.Cluster.Config = nil
}

// readHistory: N@LSN ...: the switches in /history.
func readHistory(s *situation, w *words) {
	for _, h := range w.switches() {
		s.v.Store.Cluster.History = append(s.v.Store.Cluster.History,
			dcs.HistoryLine{Timeline: uint32(h.Parent), LSN: uint64(h.LSN), Reason: h.Reason})
	}
	s.v.Store.Cluster.HistoryVersion = 30
}

// readReserved: N: the highest timeline that a leader has reserved.
func readReserved(s *situation, w *words) {
	s.v.Store.Cluster.Reserved = dcs.Reserved{Version: 40, Timeline: uint32(w.number())}
}

// readOptime: LSN: the leader's last known position.
func readOptime(s *situation, w *words) { s.v.Store.Cluster.Status.Optime = uint64(w.lsn()) }
