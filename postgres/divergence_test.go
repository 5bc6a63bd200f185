package postgres_test

import (
	"strings"
	"testing"

	"github.com/tanist-ha/tanist/postgres"
)

const sysID = "7000000000000000001"

func standby(tl postgres.Timeline, l postgres.LSN, h ...postgres.Switch) postgres.Standing {
	return postgres.Standing{SystemID: sysID, Position: postgres.Position{Timeline: tl, LSN: l}, History: h}
}

func stopped(tl postgres.Timeline, start, end postgres.LSN, h ...postgres.Switch) postgres.Standing {
	s := standby(tl, start, h...)
	s.Wrote, s.End = true, end
	return s
}

func left(tl postgres.Timeline, l postgres.LSN) postgres.Switch {
	return postgres.Switch{Parent: tl, LSN: l}
}

func TestDiverged(t *testing.T) {
	up := postgres.Lineage{SystemID: sysID, Timeline: 3, LSN: 900, History: postgres.History{left(1, 100), left(2, 200)}}
	first := postgres.Lineage{SystemID: sysID, Timeline: 1, LSN: 900}
	inRecovery, noHistory, other, unknown := up, up, up, up
	inRecovery.InRecovery = true
	noHistory.History = nil
	other.SystemID = "8"
	unknown.Timeline = 0
	const none, rewind, clone = postgres.DivergenceNone, postgres.DivergenceRewind, postgres.DivergenceClone

	tests := []struct {
		name   string
		local  postgres.Standing
		up     postgres.Lineage
		want   postgres.Divergence
		reason string
	}{
		{"another cluster", standby(2, 150), other, postgres.DivergenceUnrelated, "system identifier"},
		{"another cluster in recovery", standby(2, 150), postgres.Lineage{SystemID: "8", InRecovery: true}, postgres.DivergenceUnrelated, ""},
		{"upstream not promoted yet", standby(2, 150), inRecovery, postgres.DivergenceUnknown, "still in recovery"},
		{"upstream's history missing", standby(2, 150), noHistory, postgres.DivergenceUnknown, "history"},
		{"upstream's timeline unknown", standby(2, 150), unknown, postgres.DivergenceUnknown, "unknown"},
		{"own timeline unknown", standby(0, 150), up, postgres.DivergenceUnknown, "unknown"},

		{"both on the first", standby(1, 950), first, none, "both are on timeline 1"},
		{"newer here", standby(2, 150), first, rewind, "newer"},
		{"same", standby(3, 250, left(1, 100), left(2, 200)), up, none, "both are on timeline 3"},
		{"same, own history unknown", standby(3, 250), up, none, ""},
		{"same number, promoted elsewhere", standby(3, 250, left(1, 100), left(2, 180)), up, clone, "branched apart at 0/B4"},
		{"same number, other ancestors", standby(3, 250, left(1, 100)), up, clone, "branched apart at 0/C8"},
		{"same number, wrote more than the upstream has", stopped(3, 850, 950, left(1, 100), left(2, 200)), up, clone, "up to 0/3B6"},
		{"same, shut down and copied", stopped(3, 250, 370, left(1, 100), left(2, 200)), up, none, ""},

		{"standby before the switch", standby(2, 150, left(1, 100)), up, none, "replayed up to 0/96"},
		{"standby at the switch", standby(2, 200, left(1, 100)), up, none, ""},
		{"standby beyond the switch", standby(2, 201, left(1, 100)), up, rewind, "left timeline 2 at 0/C8, it replayed up to 0/C9"},
		{"grandparent before the switch", standby(1, 99), up, none, ""},
		{"grandparent beyond the switch", standby(1, 101), up, rewind, ""},
		{"no ancestor", standby(2, 50), postgres.Lineage{SystemID: sysID, Timeline: 3, History: postgres.History{left(1, 100)}}, rewind, "no ancestor"},
		{"ancestor's number, promoted elsewhere", standby(2, 150, left(1, 90)), up, rewind, "branched apart at 0/5A"},
		{"ancestor's number, history unknown", standby(2, 150), up, none, ""},

		{"old primary, all handed over", stopped(2, 80, 200, left(1, 100)), up, none, "exactly where its shutdown checkpoint ends"},
		{"old primary, checkpoint behind the switch", stopped(2, 200, 320, left(1, 100)), up, rewind, "its shutdown checkpoint is at 0/C8"},
		{"old primary, checkpoint over the switch", stopped(2, 190, 310, left(1, 100)), up, rewind, "ends at 0/136"},
		{"old primary, went on elsewhere", stopped(2, 50, 170, left(1, 100)), up, rewind, "ends at 0/AA"},
		{"old primary, end unknown", stopped(2, 80, 0, left(1, 100)), up, rewind, "unknown"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := postgres.Diverged(tt.local, tt.up)
			if got.Divergence != tt.want || !strings.Contains(got.Reason, tt.reason) {
				t.Errorf("Diverged = %+v, want %s with %q", got, tt.want, tt.reason)
			}
		})
	}
}

func TestStandingOf(t *testing.T) {
	history := postgres.History{left(1, 100)}
	control := postgres.Control{SystemID: sysID, Timeline: 2, Checkpoint: 300, CheckpointEnd: 420}
	with := func(s postgres.ControlState, minEnd postgres.LSN, minTL postgres.Timeline) *postgres.Control {
		c := control
		c.State, c.MinRecoveryEnd, c.MinRecoveryTimeline = s, minEnd, minTL
		return &c
	}
	running := postgres.Observation{
		Control: with(postgres.ControlArchiveRecovery, 350, 2), Postmaster: &postgres.Postmaster{PID: 7}, History: history,
		SQL: &postgres.SQLFacts{InRecovery: true, Timeline: 2, Received: 500, Replayed: 450},
	}
	primary, ahead, mute := running, running, running
	primary.SQL = &postgres.SQLFacts{Timeline: 2, Flush: 500}
	ahead.SQL = &postgres.SQLFacts{InRecovery: true, Timeline: 3, Replayed: 450}
	mute.SQL = nil
	down := func(c *postgres.Control) postgres.Observation {
		return postgres.Observation{Control: c, History: history}
	}

	tests := []struct {
		name string
		o    postgres.Observation
		want string
	}{
		{"no control file", postgres.Observation{}, "the control file cannot be read"},
		{"shut down", down(with(postgres.ControlShutDown, 0, 0)), "0/12C on timeline 2, wrote to 0/1A4, 1 switches"},
		{"standby shut down", down(with(postgres.ControlShutDownInRecovery, 350, 2)), "0/15E on timeline 2, 1 switches"},
		{"standby shut down before it replayed", down(with(postgres.ControlShutDownInRecovery, 0, 0)), "0/12C on timeline 2, wrote to 0/1A4, 1 switches"},
		{"standby killed", down(with(postgres.ControlArchiveRecovery, 350, 3)), "0/15E on timeline 3, 0 switches"},
		{"primary killed", down(with(postgres.ControlInProduction, 0, 0)), `the control file says "in production": it has to recover first`},
		{"crash recovery", down(with(postgres.ControlCrashRecovery, 0, 0)), `the control file says "in crash recovery": it has to recover first`},
		{"running standby", running, "0/1C2 on timeline 2, 1 switches"},
		{"running standby on a newer timeline", ahead, "0/1C2 on timeline 3, 0 switches"},
		{"standby that does not answer", mute, "0/15E on timeline 2, 1 switches"},
		{"running primary", primary, "it runs as a primary"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s, got, ok := postgres.StandingOf(tt.o)
			if ok {
				got = describe(s)
			}
			if got != tt.want {
				t.Errorf("StandingOf = %q, want %q", got, tt.want)
			}
		})
	}
}

func describe(s postgres.Standing) string {
	text := s.Position.String()
	if s.Wrote {
		text += ", wrote to " + s.End.String()
	}
	return text + ", " + string(rune('0'+len(s.History))) + " switches"
}
