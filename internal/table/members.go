package table

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/tanist-ha/tanist/dcs"
	"github.com/tanist-ha/tanist/internal/overview"
)

// longestReason is how much of a pending change people are shown; longer ones would break the table.
const longestReason = 50

// optional are the columns that appear only if some member has something to say in them, or with --extended.
var optional = []string{"Pending restart", "Pending restart reason", "Scheduled restart", "Tags"}

// Members is the table of list (pretty and formats for programs) and topology.
func Members(c overview.Cluster, systemID, format string, extended bool) Table {
	t := Table{
		title:   fmt.Sprintf(" Cluster: %s (%s) ", c.Scope, systemID),
		columns: []string{"Cluster", "Member", "Host", "Role", "State", "TL", "Receive LSN", "Receive Lag", "Replay LSN", "Replay Lag"},
		right:   map[string]bool{"TL": true, "Receive LSN": true, "Replay LSN": true, "Lag": true},
	}
	members := c.Members
	if format == Topology {
		members = topologyOrder(members)
	}
	if ForPeople(format) {
		t.hidden = 1
		for i, name := range t.columns {
			if name == "Receive Lag" || name == "Replay Lag" {
				t.columns[i] = "Lag"
			}
		}
	}
	var shown []string
	for _, column := range optional {
		if extended || slices.ContainsFunc(members, func(m overview.Member) bool { return optionalCell(m, column, format) != "" && m.Host != "" }) {
			shown = append(shown, column)
		}
	}
	t.columns = append(t.columns, shown...)
	withPort := portsDiffer(members)
	for _, m := range members {
		row := []any{c.Scope, m.Name, hostCell(m, withPort), Title(m.Role), m.State, timelineCell(m.Timeline)}
		row = append(row, positionCells(m)...)
		for _, column := range shown {
			row = append(row, cellOrBlank(m, column, format))
		}
		t.rows = append(t.rows, row)
	}
	return t
}

// SystemID is how the state of the initialize key is shown.
func SystemID(i *dcs.Initialize) string {
	switch {
	case i == nil:
		return "uninitialized"
	case i.SystemID == "":
		return "initializing"
	}
	return i.SystemID
}

// portsDiffer says whether hosts must be shown with ports to tell the members apart.
func portsDiffer(members []overview.Member) bool {
	seen := map[string]bool{}
	for _, m := range members {
		if m.Host == "" {
			continue
		}
		if seen[m.Host] || m.Port != 0 && m.Port != 5432 {
			return true
		}
		seen[m.Host] = true
	}
	return false
}

func hostCell(m overview.Member, withPort bool) string {
	if withPort && m.Host != "" && m.Port != 0 {
		return m.Host + ":" + strconv.Itoa(m.Port)
	}
	return m.Host
}

// Title writes a role as people read it: "sync_standby" is "Sync Standby".
func Title(role string) string {
	words := strings.Split(role, "_")
	for i, w := range words {
		if w != "" {
			words[i] = strings.ToUpper(w[:1]) + w[1:]
		}
	}
	return strings.Join(words, " ")
}

func timelineCell(tl uint32) any {
	if tl == 0 {
		return ""
	}
	return tl
}

// positionCells are receive LSN and lag, replay LSN and lag. A member that tells only one position (agents before 4.1) has
// it where it belongs by its state.
func positionCells(m overview.Member) []any {
	if m.LSN == nil {
		return []any{"", "", "", ""}
	}
	cells := []any{m.ReceiveLSN.String(), lagCell(m.ReceiveLag), m.ReplayLSN.String(), lagCell(m.ReplayLag)}
	if *m.ReceiveLSN == 0 && *m.ReplayLSN == 0 && *m.LSN != 0 {
		at := 2
		if m.State == "streaming" {
			at = 0
		}
		cells[at], cells[at+1] = m.LSN.String(), lagCell(m.Lag)
	}
	return cells
}

// lagCell is a lag in megabytes, rounded half to even; an unknown one is blank.
func lagCell(l *overview.Lag) any {
	if l == nil || !l.Known {
		return ""
	}
	return int64(math.RoundToEven(float64(l.Bytes) / (1 << 20)))
}

// cellOrBlank is optionalCell, with "" for a nil map, so that every row has every column.
func cellOrBlank(m overview.Member, column, format string) any {
	if column == "Tags" {
		if len(m.Tags) == 0 {
			return ""
		}
		return m.Tags
	}
	return optionalCell(m, column, format)
}

// optionalCell is the text of an optional column; for tags only whether there are any.
func optionalCell(m overview.Member, column, format string) string {
	switch column {
	case "Pending restart":
		if m.PendingRestart {
			return "*"
		}
	case "Pending restart reason":
		return pendingReason(m.PendingRestartReason, ForPeople(format))
	case "Scheduled restart":
		return scheduledRestart(m.ScheduledRestart)
	case "Tags":
		if len(m.Tags) > 0 {
			return "tags"
		}
	}
	return ""
}

func pendingReason(changes map[string]dcs.PendingChange, short bool) string {
	var lines []string
	for name, c := range changes {
		line := fmt.Sprintf("%s: %s->%s", name, c.OldValue, c.NewValue)
		if short && len(line) > longestReason {
			line = name + ": [hidden - too long]"
		}
		lines = append(lines, line)
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

func scheduledRestart(raw json.RawMessage) string {
	var r struct {
		Schedule string `json:"schedule"`
		Version  string `json:"postgres_version"`
	}
	if len(raw) == 0 || json.Unmarshal(raw, &r) != nil {
		return ""
	}
	if r.Version != "" {
		return r.Schedule + " if version < " + r.Version
	}
	return r.Schedule
}

// topologyOrder puts each member below the one it replicates from, and marks its depth in its name. Who names an unknown
// source, or none, stands below the leader.
func topologyOrder(members []overview.Member) []overview.Member {
	var out []overview.Member
	leader := ""
	replicas := map[string]bool{}
	for _, m := range members {
		if m.Leads() {
			leader = m.Name
			out = append(out, m)
		} else {
			replicas[m.Name] = true
		}
	}
	below := map[string][]overview.Member{}
	for _, m := range members {
		if m.Leads() {
			continue
		}
		source, _ := m.Tags["replicatefrom"].(string)
		if source == m.Name || !replicas[source] {
			source = leader
		}
		below[source] = append(below[source], m)
	}
	reached := map[string]bool{}
	var walk func(source string, depth int)
	walk = func(source string, depth int) {
		for _, m := range below[source] {
			name := m.Name
			if reached[name] {
				continue
			}
			reached[name] = true
			m.Name = strings.Repeat("  ", depth) + "+ " + name
			out = append(out, m)
			walk(name, depth+1)
		}
	}
	walk(leader, 0)
	for _, m := range members { // members that replicate from each other in a circle still exist
		if !m.Leads() && !reached[m.Name] {
			out = append(out, m)
		}
	}
	return out
}
