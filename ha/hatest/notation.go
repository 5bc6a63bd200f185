package hatest

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/tanist-ha/tanist/dcs"
	"github.com/tanist-ha/tanist/ha"
	"github.com/tanist-ha/tanist/postgres"
)

// Situation is what one node knows at one moment, written down as a few lines for people:
//
//	me a
//	local standby tl 2 lsn 0/90
//	vacant since -3s last b
//	member c replica running
//	peer c standby tl 2 lsn 0/95
//
// The first line names the node. What is not said is the quiet case: the store was read and the server observed a moment ago, the session
// lives, the member key is published, no task runs. Times are relative to the moment: -3s is three seconds ago, +20s is ahead.
//
// The nouns, each with its words, are listed at the functions that read them: me, tags, settings, store, session, lease, claim, initialize,
// config, leader, member, vacant, changed, known, peer, failover, failed-request, history, reserved, optime, local, upstream, task, last, handover,
// rejoin, fence, failsafe, watchdog, busy, shutdown, command, and the single words adopted, took-over, killed, problem, promote-failures, unpublished.
type Situation struct {
	Now  time.Time
	View ha.View
}

// ParseSituation reads a situation. An error names the line.
func ParseSituation(text string) (*Situation, error) {
	s := newSituation()
	for line := range strings.Lines(text) {
		line, _, _ = strings.Cut(strings.TrimSpace(line), "#")
		fields := strings.Fields(line)
		if len(fields) == 0 {
			continue
		}
		w := &words{noun: fields[0], rest: fields[1:], now: s.now}
		read := nouns[w.noun]
		switch {
		case read == nil:
			return nil, fmt.Errorf("situation: %q: there is no noun %q", line, w.noun)
		case s.v.Self.Name == "" && w.noun != "me":
			return nil, fmt.Errorf("situation: %q: the first line must say who we are: me NAME", line)
		}
		read(s, w)
		if w.err == nil && len(w.rest) > 0 {
			w.fail(fmt.Errorf("too many words: %s", strings.Join(w.rest, " ")))
		}
		if w.err != nil {
			return nil, fmt.Errorf("situation: %q: %w", line, w.err)
		}
	}
	if s.v.Self.Name == "" {
		return nil, fmt.Errorf("situation: it does not say who we are: me NAME")
	}
	return s.finish(), nil
}

// nouns are the first words of lines.
var nouns = map[string]func(*situation, *words){
	"me": readMe, "tags": readTags, "settings": readSettings, "store": readStore, "session": readSession, "lease": readLease,
	"claim": readClaim, "initialize": readInitialize, "config": readConfig, "leader": readLeader, "member": readMember,
	"vacant": readVacant, "changed": readChanged, "known": readKnown, "peer": readPeer, "failover": readFailover, "failed-request": readFailedRequest,
	"history": readHistory, "reserved": readReserved, "optime": readOptime, "local": readLocal, "upstream": readUpstream,
	"task": readTask, "last": readLast, "handover": readHandover, "rejoin": readRejoin, "fence": readFence, "busy": readBusy,
	"shutdown": readShutdown, "command": readCommand, "failsafe": readFailsafe,
	"watchdog":         readWatchdog,
	"adopted":          func(s *situation, w *words) { s.v.Adopted = true },
	"took-over":        func(s *situation, w *words) { s.v.TookOver = true },
	"killed":           func(s *situation, w *words) { s.v.Killed = w.time() },
	"problem":          func(s *situation, w *words) { s.v.Problem = w.text() },
	"promote-failures": func(s *situation, w *words) { s.v.PromoteFailures = w.number() },
	"unpublished":      func(s *situation, w *words) { s.unpublished = true },
}

// situation is one that is being read.
type situation struct {
	now         time.Time
	v           ha.View
	upstream    string // name of the server that ours is configured to stream from; "-": nobody
	last        string // who led last
	mine        bool   // the claim is ours
	unpublished bool
	forStart    bool // the fence guards the server that is about to be started
}

// SystemID is the cluster's in every situation that does not say otherwise.
const SystemID = "7000000000000000001"

// ourSession is the id of our session in every situation that does not say otherwise.
const ourSession = "s1"

// newSituation is the quiet case.
func newSituation() *situation {
	now := epoch.Add(time.Hour)
	s := &situation{now: now}
	v := &s.v
	v.Settings = ha.Settings{TTL: 30 * time.Second, LoopWait: 10 * time.Second, RetryTimeout: 10 * time.Second,
		MaximumLagOnFailover: 1 << 20, PrimaryStartTimeout: 5 * time.Minute, PrimaryRaceBackoff: 2 * time.Second, HandoverTimeout: 5 * time.Second,
		Tags: ha.Tags{FailoverPriority: 1}, Postgres: postgres.Settings{UsePgRewind: true}}
	v.AskedTTL = v.Settings.TTL
	moment := now.Add(-100 * time.Millisecond)
	v.Store = ha.StoreView{Known: true, Sent: moment, At: moment, Tried: moment, Answered: moment}
	v.Store.Cluster = dcs.Cluster{Version: 100, Initialize: &dcs.Initialize{SystemID: SystemID, Entry: dcs.Meta{Version: 1, Created: 1}},
		Config: &dcs.Config{Version: 2, Raw: []byte("{}")}}
	v.ConfigRaw = []byte("{}")
	v.Session = ha.SessionView{ID: ourSession, TTL: 30 * time.Second, Kept: now.Add(-time.Second), Sent: now.Add(-time.Second), Proven: now.Add(-time.Second)}
	v.Configured.Version, v.Configured.Sent, v.Configured.Done = 1, 1, 1
	s.ready(moment)
	return s
}

// ready makes the local server one that is down, in order, with data of the cluster.
func (s *situation) ready(at time.Time) {
	s.v.Local = ha.LocalView{Known: true, Sent: at, At: at, Obs: postgres.Observation{DataDir: postgres.DataDirReady,
		Control: &postgres.Control{SystemID: SystemID, State: postgres.ControlShutDown, Timeline: 1, WALLogHints: true}}}
}

// finish draws together what several lines have said.
func (s *situation) finish() *Situation {
	v := &s.v
	c := &v.Store.Cluster
	if s.last != "" {
		v.Vacancy.LastName = s.last
		v.Vacancy.Last = memberOf(c, s.last)
	}
	if s.upstream != "" {
		v.Local.UpstreamSet = true
		if s.upstream != "-" {
			v.Local.Upstream = &postgres.Upstream{Name: s.upstream, Host: s.upstream, Port: 5432,
				Primary: c.Leader != nil && c.Leader.Name == s.upstream}
		}
	}
	if f := &v.Fence; f.Armed && f.Order.Postmaster == nil && !s.forStart {
		f.Order.Postmaster = v.Local.Obs.Postmaster
	}
	if s.mine {
		v.Initialize.Mine = c.Initialize
	}
	if v.Handover != nil && v.Handover.Why == ha.WhySwitchover && c.Failover != nil {
		v.Handover.Request = c.Failover.Version
	}
	if !s.unpublished {
		s.publish()
	}
	return &Situation{Now: s.now, View: s.v}
}

// publish makes the member key say what it should say: the rule that keeps it so is asked.
func (s *situation) publish() {
	v := &s.v
	store := v.Lanes[ha.LaneStore]
	v.Lanes[ha.LaneStore] = ha.Flight{}
	for _, r := range rule("pulse.publish").Check(s.now, v).Do {
		if p, ok := r.(ha.Publish); ok {
			v.Store.Member, v.Store.MemberAt = p.Member, s.now.Add(-time.Second)
		}
	}
	v.Lanes[ha.LaneStore] = store
}

// rule finds a standard rule.
func rule(id ha.RuleID) ha.Rule {
	for _, section := range ha.StandardRules().Sections {
		for _, r := range section.Rules {
			if r.ID == id {
				return r
			}
		}
	}
	return ha.Rule{ID: id, Check: func(time.Time, *ha.View) ha.Verdict { return ha.Pass("there is no such rule") }}
}

func memberOf(c *dcs.Cluster, name string) *dcs.Member {
	for i := range c.Members {
		if c.Members[i].Name == name {
			return &c.Members[i]
		}
	}
	return nil
}

// words are the words of one line after its noun.
type words struct {
	noun string
	rest []string
	now  time.Time
	err  error
}

func (w *words) fail(err error) {
	if w.err == nil {
		w.err = err
	}
}

func (w *words) more() bool { return w.err == nil && len(w.rest) > 0 }

// next is the next word.
func (w *words) next() string {
	if len(w.rest) == 0 {
		w.fail(fmt.Errorf("%s: a word is missing", w.noun))
		return ""
	}
	x := w.rest[0]
	w.rest = w.rest[1:]
	return x
}

// unknown refuses a word.
func (w *words) unknown(x string) { w.fail(fmt.Errorf("%s does not know the word %q", w.noun, x)) }

// text is the rest of the line.
func (w *words) text() string {
	t := strings.Join(w.rest, " ")
	w.rest = nil
	return t
}

// time is a moment relative to now.
func (w *words) time() time.Time { return w.now.Add(w.duration()) }

func (w *words) duration() time.Duration {
	x := w.next()
	d, err := time.ParseDuration(x)
	if err != nil && w.err == nil {
		w.fail(fmt.Errorf("%q: want a duration, as in -3s", x))
	}
	return d
}

func (w *words) number() int {
	x := w.next()
	n, err := strconv.Atoi(x)
	if err != nil && w.err == nil {
		w.fail(fmt.Errorf("%q: want a number", x))
	}
	return n
}

func (w *words) timeline() postgres.Timeline { return postgres.Timeline(w.number()) }

func (w *words) lsn() postgres.LSN {
	l, err := postgres.ParseLSN(w.next())
	if err != nil && w.err == nil {
		w.fail(err)
	}
	return l
}

// switches reads timeline switches until the end of the line: 1@0/90 is the end of timeline 1.
func (w *words) switches() postgres.History {
	var h postgres.History
	for w.more() {
		tl, at, ok := strings.Cut(w.next(), "@")
		n, err := strconv.Atoi(tl)
		l, err2 := postgres.ParseLSN(at)
		if !ok || err != nil || err2 != nil {
			w.fail(fmt.Errorf("want switches as in 1@0/90"))
			return nil
		}
		h = append(h, postgres.Switch{Parent: postgres.Timeline(n), LSN: l, Reason: "no recovery target specified"})
	}
	return h
}
