// Package overview turns what the store holds about a cluster into what people are shown: the answer of GET /cluster and
// the tables of tanistctl list and topology come from the same values, named as Patroni 4.1 names them.
package overview

import (
	"cmp"
	"encoding/json"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/tanist-ha/tanist/dcs"
	"github.com/tanist-ha/tanist/postgres"
)

// Cluster is one cluster as people see it. Its JSON is the body of GET /cluster.
type Cluster struct {
	Members   []Member    `json:"members"` // sorted by name
	Pause     bool        `json:"pause,omitempty"`
	Scheduled *Switchover `json:"scheduled_switchover,omitempty"`
	Scope     string      `json:"scope,omitempty"`
}

// Member is one row. The positions are nil for the leader, which has no lag.
type Member struct {
	Name                 string                       `json:"name"`
	Role                 string                       `json:"role"`  // leader, standby_leader, sync_standby, quorum_standby, replica
	State                string                       `json:"state"` // of replication if there is one, else of the server
	APIURL               string                       `json:"api_url"`
	Host                 string                       `json:"host,omitempty"`
	Port                 int                          `json:"port,omitempty"`
	Timeline             uint32                       `json:"timeline,omitempty"`
	PendingRestart       bool                         `json:"pending_restart,omitempty"`
	PendingRestartReason map[string]dcs.PendingChange `json:"pending_restart_reason,omitempty"`
	ScheduledRestart     json.RawMessage              `json:"scheduled_restart,omitempty"`
	Tags                 map[string]any               `json:"tags,omitempty"`
	ReceiveLag           *Lag                         `json:"receive_lag,omitempty"`
	ReceiveLSN           *LSN                         `json:"receive_lsn,omitempty"`
	ReplayLag            *Lag                         `json:"replay_lag,omitempty"`
	ReplayLSN            *LSN                         `json:"replay_lsn,omitempty"`
	Lag                  *Lag                         `json:"lag,omitempty"`
	LSN                  *LSN                         `json:"lsn,omitempty"`
}

// Leads says whether the member holds the leader key.
func (m Member) Leads() bool { return m.Role == "leader" || m.Role == "standby_leader" }

// Switchover is a switchover that waits for its time.
type Switchover struct {
	At   string `json:"at"`
	From string `json:"from,omitempty"`
	To   string `json:"to,omitempty"`
}

// LSN is a position that may be unknown (zero).
type LSN postgres.LSN

// String prints the position, or "unknown".
func (l LSN) String() string {
	if l == 0 {
		return "unknown"
	}
	return postgres.LSN(l).String()
}

// MarshalJSON writes the text form.
func (l LSN) MarshalJSON() ([]byte, error) { return json.Marshal(l.String()) }

// Lag is a distance in bytes that may be unknown.
type Lag struct {
	Bytes uint64
	Known bool
}

// MarshalJSON writes a number, or "unknown".
func (l Lag) MarshalJSON() ([]byte, error) {
	if !l.Known {
		return json.Marshal("unknown")
	}
	return json.Marshal(l.Bytes)
}

// Of describes c, whose name is scope.
func Of(scope string, c dcs.Cluster) Cluster {
	mode := ModeOf(c.Config)
	out := Cluster{Members: []Member{}, Pause: mode.Paused, Scope: scope}
	for _, m := range c.Members {
		out.Members = append(out.Members, memberOf(m, c, mode))
	}
	slices.SortFunc(out.Members, func(a, b Member) int { return cmp.Compare(a.Name, b.Name) })
	if f := c.Failover; f != nil && f.ScheduledAt != nil {
		out.Scheduled = &Switchover{At: f.ScheduledAt.Format(isoFormat(*f.ScheduledAt)), From: f.Leader, To: f.Candidate}
	}
	return out
}

// isoFormat is the form of Python's isoformat, which scripts may compare: microseconds only if there are any.
func isoFormat(t time.Time) string {
	if t.Nanosecond()/1000 == 0 {
		return "2006-01-02T15:04:05-07:00"
	}
	return "2006-01-02T15:04:05.000000-07:00"
}

func memberOf(m dcs.Member, c dcs.Cluster, mode Mode) Member {
	d := m.Data
	leads := c.Leader != nil && c.Leader.Name == m.Name
	out := Member{
		Name: m.Name, Role: roleOf(m.Name, leads, c, mode), State: string(d.State), APIURL: d.APIURL, Timeline: d.Timeline,
		PendingRestart: d.PendingRestart, PendingRestartReason: d.PendingRestartReason,
		ScheduledRestart: d.ScheduledRestart, Tags: d.Tags,
	}
	if out.Role != "leader" && d.ReplicationState != "" {
		out.State = d.ReplicationState
	}
	if u, err := url.Parse(d.ConnURL); err == nil {
		out.Host = u.Hostname()
		out.Port, _ = strconv.Atoi(u.Port()) // absent: 0
	}
	if !leads {
		out.ReceiveLSN, out.ReceiveLag = position(d.ReceiveLSN, c.Status.Optime)
		out.ReplayLSN, out.ReplayLag = position(d.ReplayLSN, c.Status.Optime)
		out.LSN, out.Lag = position(d.XLogLocation, c.Status.Optime)
	}
	return out
}

func position(lsn, leader uint64) (*LSN, *Lag) {
	at := LSN(lsn)
	switch {
	case lsn == 0:
		return &at, &Lag{}
	case leader < lsn:
		return &at, &Lag{Known: true}
	}
	return &at, &Lag{Bytes: leader - lsn, Known: true}
}

func roleOf(name string, leads bool, c dcs.Cluster, mode Mode) string {
	switch {
	case leads && mode.StandbyCluster:
		return "standby_leader"
	case leads:
		return "leader"
	case mode.Synchronous && c.Sync != nil && c.Sync.Leader != "" && listed(c.Sync.Standby, name):
		if mode.Quorum {
			return "quorum_standby"
		}
		return "sync_standby"
	}
	return "replica"
}

// listed says whether a comma separated list names the member; letter case does not count in PostgreSQL's list of
// synchronous standbys, so it does not here.
func listed(list, name string) bool {
	for one := range strings.SplitSeq(list, ",") {
		if strings.EqualFold(strings.TrimSpace(one), name) {
			return true
		}
	}
	return false
}
