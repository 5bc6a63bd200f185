package ha

import (
	"strings"
	"testing"
	"time"

	"github.com/tanist-ha/tanist/postgres"
)

// callbackSteps are changes of a view, one second apart.
var callbackSteps = map[string]func(v *View){
	"standby": func(v *View) { up(v, true) },
	"primary": func(v *View) { up(v, false) },
	"silent":  func(v *View) { v.Local.Obs.SQL = nil; v.Local.Obs.SQLError = "timeout" },
	"closed":  func(v *View) { up(v, false); v.Local.Closed = true },
	"opened":  func(v *View) { v.Local.Closed = false },
	"stopping": func(v *View) {
		v.Task = &TaskView{Task: postgres.Task{Kind: postgres.TaskStop}, Phase: postgres.PhaseSignalled}
	},
	"stopped":     func(v *View) { done(v, postgres.TaskStop, nil); down(v) },
	"not stopped": func(v *View) { done(v, postgres.TaskStop, &Fault{Text: "it does not stop"}) },
	"crashed":     func(v *View) { down(v); v.Local.Crashed = v.Local.At },
	"holds":       func(v *View) { v.Lease.State = LeaseHeld },
	"released":    func(v *View) { v.Lease.State = LeaseNone },
	"starting":    func(v *View) { v.Task = &TaskView{Task: postgres.Task{Kind: postgres.TaskStart}} },
	"started":     func(v *View) { done(v, postgres.TaskStart, nil) },
	"not started": func(v *View) {
		done(v, postgres.TaskStart, &Fault{Text: "no"})
		v.Local.StartFailures++
	},
	"promoting":  func(v *View) { v.Task = &TaskView{Task: postgres.Task{Kind: postgres.TaskPromote}} },
	"promoted":   func(v *View) { done(v, postgres.TaskPromote, nil) }, // not observed yet
	"checkpoint": func(v *View) { v.Task = &TaskView{Task: postgres.Task{Kind: postgres.TaskCheckpoint}} },
	"rewound":    func(v *View) { done(v, postgres.TaskRewind, nil); v.Local.WasPrimary = false },
	"again":      func(*View) {},
	"shutdown":   func(v *View) { v.Shutdown = v.Local.At },
}

func up(v *View, recovery bool) {
	v.Task = nil
	v.Local.WasPrimary, v.Local.StartFailures, v.Local.Crashed = !recovery, 0, time.Time{}
	v.Local.Obs.Postmaster = &postgres.Postmaster{PID: 1}
	v.Local.Obs.SQL, v.Local.Obs.Accepting = &postgres.SQLFacts{InRecovery: recovery}, postgres.AcceptingYes
}

func down(v *View) { v.Local.Obs.Postmaster, v.Local.Obs.SQL = nil, nil }

func done(v *View, kind postgres.TaskKind, f *Fault) {
	v.Task = nil
	v.LastTask = &TaskResult{Task: postgres.Task{Kind: kind}, Fault: f, At: v.Local.At}
}

// Patroni's names and roles; each once. A step is what is true from then on, and after the colon stands what the commands are told.
func TestCallbacks(t *testing.T) {
	for name, story := range map[string]string{
		"a standby starts":                 "starting, started, standby: on_start replica, again",
		"the agent finds a standby":        "standby: on_start replica, again, silent, standby",
		"the agent finds a primary":        "primary: on_start primary, again, silent, primary",
		"a new cluster":                    "closed, again, opened: on_start primary, again",
		"promotion":                        "standby: on_start replica, holds, promoting, promoted, primary: on_role_change primary, checkpoint, again",
		"switchover":                       "holds, primary: on_start primary, stopping, stopped: on_stop primary, released, again, starting, started, standby: on_role_change replica, again",
		"demoted and rewound":              "holds, primary: on_start primary, stopping, stopped: on_stop primary, released, rewound, starting, standby: on_role_change replica",
		"demoted, then leader again":       "holds, primary: on_start primary, stopping, stopped: on_stop primary, released, starting, standby: on_role_change replica, promoting, primary: on_role_change primary",
		"a standby is restarted":           "standby: on_start replica, stopping, stopped: on_stop replica, starting, standby: on_start replica",
		"a primary is restarted":           "holds, primary: on_start primary, stopping, stopped: on_stop primary, starting, primary: on_start primary",
		"a stop that fails":                "primary: on_start primary, stopping, not stopped, again",
		"a crash, restarted in place":      "holds, primary: on_start primary, crashed, again, starting, started, primary: on_start primary",
		"a standby crashes":                "standby: on_start replica, crashed, starting, standby: on_start replica",
		"a crash after an earlier restart": "holds, primary: on_start primary, stopping, stopped: on_stop primary, primary: on_start primary, crashed, primary: on_start primary",
		"a failed start":                   "holds, primary: on_start primary, crashed, starting, not started, again, released: on_role_change demoted, again, starting, standby: on_role_change replica",
		"a crash that is handed over":      "holds, primary: on_start primary, crashed, released, again, starting, standby: on_role_change replica",
		"the agent ends":                   "holds, primary: on_start primary, shutdown, stopping, stopped: on_stop primary, released, again",
		"a standby that never ran":         "again, starting, not started, not started",
	} {
		t.Run(name, func(t *testing.T) {
			v := &View{Local: LocalView{Known: true, Obs: postgres.Observation{DataDir: postgres.DataDirReady}}}
			v.Settings.Postgres.Callbacks = map[string]string{"on_start": "c", "on_stop": "c", "on_role_change": "c"}
			var state callbackState
			for i, step := range strings.Split(story, ", ") {
				step, want, _ := strings.Cut(step, ": ")
				change := callbackSteps[step]
				if change == nil {
					t.Fatalf("no step is called %q", step)
				}
				v.Local.At = time.Unix(int64(i+1), 0)
				change(v)
				var notes []Notification
				notes, state = state.next(v)
				var got []string
				for _, n := range notes {
					got = append(got, n.Action+" "+string(n.Role))
				}
				if strings.Join(got, ", ") != want {
					t.Errorf("step %d, %s: %q, want %q", i, step, got, want)
				}
			}
		})
	}
}

func TestCallbacksThatAreNotConfigured(t *testing.T) {
	v := &View{Local: LocalView{Known: true, Obs: postgres.Observation{DataDir: postgres.DataDirReady}}}
	up(v, false)
	notes, state := callbackState{}.next(v)
	if len(notes) != 0 {
		t.Errorf("%+v", notes)
	}
	v.Settings.Postgres.Callbacks = map[string]string{"on_role_change": "changed", "on_stop": "stopped"}
	down(v)
	_, state = state.next(v)
	up(v, true)
	if notes, _ = state.next(v); len(notes) != 1 || notes[0] != (Notification{Action: "on_role_change", Role: "replica", Command: "changed"}) {
		t.Errorf("%+v", notes)
	}
}
