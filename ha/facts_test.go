package ha

import (
	"testing"

	"github.com/tanist-ha/tanist/postgres"
)

// A switchover that checkpoints first serves clients until the server is told to stop: health checks must not send them away for minutes.
func TestAcceptingDuringAStop(t *testing.T) {
	v := &View{Local: LocalView{Known: true, Obs: postgres.Observation{
		Postmaster: &postgres.Postmaster{PID: 1}, Accepting: postgres.AcceptingYes, SQL: &postgres.SQLFacts{},
	}}}
	for _, tc := range []struct {
		name  string
		task  postgres.Task
		phase postgres.PhaseName
		want  bool
	}{
		{"checkpoint", postgres.Task{Kind: postgres.TaskStop, Checkpoint: true}, "", true},
		{"told to stop", postgres.Task{Kind: postgres.TaskStop, Checkpoint: true}, postgres.PhaseSignalled, false},
		{"demotion", postgres.Task{Kind: postgres.TaskStop}, "", false},
		{"promotion", postgres.Task{Kind: postgres.TaskPromote}, "", false},
	} {
		v.Task = &TaskView{Task: tc.task, Phase: tc.phase}
		if got := v.accepting(); got != tc.want {
			t.Errorf("%s: accepting %v, want %v", tc.name, got, tc.want)
		}
	}
}
