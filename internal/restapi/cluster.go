package restapi

import (
	"cmp"
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"strconv"

	"github.com/tanist-ha/tanist/dcs"
	"github.com/tanist-ha/tanist/postgres"
)

// Cluster is the answer of GET /cluster.
type Cluster struct {
	Members             []Member             `json:"members"` // sorted by name
	Pause               bool                 `json:"pause,omitempty"`
	ScheduledSwitchover *ScheduledSwitchover `json:"scheduled_switchover,omitempty"`
	Scope               string               `json:"scope"`
}

// ScheduledSwitchover is a switchover that waits for its time.
type ScheduledSwitchover struct {
	At   string `json:"at"` // ISO 8601
	From string `json:"from,omitempty"`
	To   string `json:"to,omitempty"`
}

// Member is one member in the answer of GET /cluster. Positions and lags are absent for the leader.
type Member struct {
	Name                 string                       `json:"name"`
	Role                 string                       `json:"role"`  // leader, standby_leader, sync_standby, quorum_standby, replica
	State                string                       `json:"state"` // of replication, if the member is not the leader and tells
	APIURL               string                       `json:"api_url"`
	Host                 string                       `json:"host,omitempty"`
	Port                 int                          `json:"port,omitempty"`
	Timeline             uint32                       `json:"timeline,omitempty"`
	PendingRestart       bool                         `json:"pending_restart,omitempty"`
	PendingRestartReason map[string]dcs.PendingChange `json:"pending_restart_reason,omitempty"`
	ScheduledRestart     json.RawMessage              `json:"scheduled_restart,omitempty"`
	Tags                 map[string]any               `json:"tags,omitempty"`
	ReceiveLag           *Lag                         `json:"receive_lag,omitempty"`
	ReceiveLSN           string                       `json:"receive_lsn,omitempty"` // "0/6000060" or "unknown"
	ReplayLag            *Lag                         `json:"replay_lag,omitempty"`
	ReplayLSN            string                       `json:"replay_lsn,omitempty"`
	Lag                  *Lag                         `json:"lag,omitempty"`
	LSN                  string                       `json:"lsn,omitempty"`
}

// unknown stands in for positions and lags that a member does not tell.
const unknown = "unknown"

// Lag is a distance in bytes behind the leader, or "unknown".
type Lag struct {
	Bytes uint64
	Known bool
}

// MarshalJSON writes a number, or "unknown".
func (l Lag) MarshalJSON() ([]byte, error) {
	if !l.Known {
		return []byte(`"` + unknown + `"`), nil
	}
	return strconv.AppendUint(nil, l.Bytes, 10), nil
}

// UnmarshalJSON reads a number; any text means "unknown".
func (l *Lag) UnmarshalJSON(raw []byte) error {
	*l = Lag{}
	if len(raw) > 0 && raw[0] == '"' || string(raw) == "null" {
		return nil
	}
	bytes, err := strconv.ParseUint(string(raw), 10, 64)
	if err != nil {
		return fmt.Errorf("read lag: %w", err)
	}
	*l = Lag{bytes, true}
	return nil
}

// NewCluster shows c, which was read from the store, as GET /cluster and tanistctl list do. The role "leader" follows the
// leader key and nothing else.
func NewCluster(scope string, c dcs.Cluster) Cluster {
	modes := ReadModes(c.Config)
	out := Cluster{Members: []Member{}, Pause: modes.Paused, Scope: scope}
	end := clusterLSN(c)
	for _, m := range c.Members {
		out.Members = append(out.Members, newMember(c, modes, m, end))
	}
	slices.SortFunc(out.Members, func(a, b Member) int { return cmp.Compare(a.Name, b.Name) })
	if f := c.Failover; f != nil && f.ScheduledAt != nil {
		out.ScheduledSwitchover = &ScheduledSwitchover{At: ISO(*f.ScheduledAt), From: f.Leader, To: f.Candidate}
	}
	return out
}

// clusterLSN is the furthest position known of the leader: in /status, or in its member key.
func clusterLSN(c dcs.Cluster) uint64 {
	end := c.Status.Optime
	for _, m := range c.Members {
		if c.Leader != nil && m.Name == c.Leader.Name {
			end = max(end, m.Data.XLogLocation)
		}
	}
	return end
}

func newMember(c dcs.Cluster, modes Modes, m dcs.Member, end uint64) Member {
	leads := c.Leader != nil && c.Leader.Name == m.Name
	out := Member{
		Name: m.Name, Role: memberRole(c, modes, m.Name, leads), State: string(m.Data.State), APIURL: m.Data.APIURL,
		Timeline: m.Data.Timeline, PendingRestart: m.Data.PendingRestart, PendingRestartReason: m.Data.PendingRestartReason,
		ScheduledRestart: m.Data.ScheduledRestart, Tags: m.Data.Tags,
	}
	out.Host, out.Port = hostPort(m.Data.ConnURL)
	if out.Role != "leader" && m.Data.ReplicationState != "" {
		out.State = m.Data.ReplicationState
	}
	if !leads {
		out.ReceiveLSN, out.ReceiveLag = behind(m.Data.ReceiveLSN, end)
		out.ReplayLSN, out.ReplayLag = behind(m.Data.ReplayLSN, end)
		out.LSN, out.Lag = behind(m.Data.XLogLocation, end)
	}
	return out
}

func memberRole(c dcs.Cluster, modes Modes, name string, leads bool) string {
	switch {
	case leads && modes.StandbyCluster:
		return "standby_leader"
	case leads:
		return "leader"
	case modes.Quorum && SyncStandby(c.Sync, name):
		return "quorum_standby"
	case modes.Synchronous && SyncStandby(c.Sync, name):
		return "sync_standby"
	}
	return "replica"
}

// behind shows position lsn and its distance to end; 0 is "not told".
func behind(lsn, end uint64) (string, *Lag) {
	if lsn == 0 {
		return unknown, &Lag{}
	}
	lag := Lag{Known: true}
	if end > lsn {
		lag.Bytes = end - lsn
	}
	return postgres.LSN(lsn).String(), &lag
}

// hostPort reads the address out of a conn_url (postgres://host:port/database); "" and 0 if there is none.
func hostPort(connURL string) (string, int) {
	u, err := url.Parse(connURL)
	if err != nil || u.Hostname() == "" {
		return "", 0
	}
	port, err := strconv.Atoi(u.Port())
	if err != nil {
		port = 5432
	}
	return u.Hostname(), port
}

// History shows the /history key as the API does: arrays of three to five values.
func History(h dcs.History) [][]any {
	out := make([][]any, 0, len(h))
	for _, line := range h {
		row := []any{line.Timeline, line.LSN, line.Reason}
		if line.Timestamp != "" || line.Leader != "" {
			row = append(row, line.Timestamp)
		}
		if line.Leader != "" {
			row = append(row, line.Leader)
		}
		out = append(out, row)
	}
	return out
}
