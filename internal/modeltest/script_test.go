package modeltest

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"

	"github.com/tanist-ha/tanist/ha/hatest"
	"github.com/tanist-ha/tanist/postgres"
)

// op is one operation of a script: a row to write, a postmaster to kill, or a task.
type op struct {
	on   string // the server
	row  int    // write it
	wait bool   // its client waits for a synchronous standby that is not there
	kill bool
	end  string        // how such waits end: "cancel", or "terminate" for the whole backend
	task postgres.Task // Upstream.Host names another server
}

// String is one line of a script: "promote b timeline 4".
func (o op) String() string {
	switch {
	case o.wait:
		return fmt.Sprintf("wait %s %d", o.on, o.row)
	case o.row != 0:
		return fmt.Sprintf("write %s %d", o.on, o.row)
	case o.end != "":
		return o.end + " " + o.on
	case o.kill:
		return "kill " + o.on
	}
	words := []string{string(o.task.Kind), o.on}
	if o.task.Kind == postgres.TaskStop {
		words = append(words, string(o.task.Stop))
	}
	if o.task.AsPrimary {
		words = append(words, "as primary")
	}
	if o.task.Checkpoint {
		words = append(words, "after a checkpoint")
	}
	if o.task.Timeline != 0 {
		words = append(words, fmt.Sprintf("timeline %d", o.task.Timeline))
	}
	if o.task.Upstream != nil {
		words = append(words, "from", o.task.Upstream.Host)
	}
	return strings.Join(words, " ")
}

// parse reads what String writes.
func parse(line string) (op, error) {
	words := strings.Fields(line)
	if len(words) < 2 {
		return op{}, fmt.Errorf("%q: want an operation and a server", line)
	}
	o := op{on: words[1]}
	switch words[0] {
	case "write", "wait":
		o.wait = words[0] == "wait"
		_, err := fmt.Sscan(strings.Join(words[2:], " "), &o.row)
		return o, err
	case "cancel", "terminate":
		o.end = words[0]
		return o, nil
	case "kill":
		o.kill = true
		return o, nil
	}
	o.task.Kind = postgres.TaskKind(words[0])
	for i := 2; i < len(words); i++ {
		switch words[i] {
		case "fast", "immediate":
			o.task.Stop = postgres.StopMode(words[i])
		case "primary":
			o.task.AsPrimary = true
		case "checkpoint":
			o.task.Checkpoint = true
		case "as", "after", "a":
		case "timeline", "from":
			if i++; i == len(words) {
				return op{}, fmt.Errorf("%q: something is missing at the end", line)
			} else if words[i-1] == "from" {
				o.task.Upstream = upstream(words[i])
			} else if _, err := fmt.Sscan(words[i], &o.task.Timeline); err != nil {
				return op{}, err
			}
		default:
			return op{}, fmt.Errorf("%q: what is %q?", line, words[i])
		}
	}
	return o, nil
}

// quiet says that the operation cannot change who streams from whom.
func (o op) quiet() bool { return o.row != 0 || o.end != "" || o.task.Kind == postgres.TaskCheckpoint }

func upstream(name string) *postgres.Upstream {
	if name == "" {
		return nil
	}
	return &postgres.Upstream{Name: name, Host: name, Port: 5432}
}

// apply carries the operation out on the model.
func (o op) apply(m *hatest.Model) (acknowledged bool, out postgres.Outcome, err error) {
	switch {
	case o.wait:
		m.Wait(o.on, o.row)
		return false, out, nil
	case o.row != 0:
		return m.Write(o.on, o.row), out, nil
	case o.end != "":
		return m.EndWaits(o.on, o.end == "cancel"), out, nil
	case o.kill:
		m.Kill(o.on)
		return false, out, nil
	}
	out, err = m.Run(o.on, o.task)
	if next, ok := o.then(); ok && err == nil {
		_, err = m.Run(o.on, next)
	}
	return false, out, err
}

// then is what belongs to the operation: the checkpoint that a promoted server makes anyhow, soon or late.
func (o op) then() (postgres.Task, bool) {
	return postgres.Task{Kind: postgres.TaskCheckpoint}, o.task.Kind == postgres.TaskPromote
}

// writer invents scripts.
type writer struct {
	rng    *rand.Rand
	m      *hatest.Model
	script []op
	rows   int
	newest postgres.Timeline // the highest number that was given away
	queue  []op              // what has to come next
}

// write makes a script of n operations.
func write(seed uint64, n int) []op {
	w := &writer{rng: rand.New(rand.NewPCG(seed, 0x6d6f64656c)), m: hatest.NewModel(3), newest: 1}
	w.queue = founding()
	for len(w.script) < n {
		o, ok := w.next()
		if !ok {
			continue
		}
		_, _, err := o.apply(w.m)
		if settled := w.m.Settle(); settled != nil {
			w.rewrite() // undefined: leave it out
			continue
		}
		if err != nil {
			w.queue = nil
		}
		w.script = append(w.script, o)
	}
	return w.script
}

// founding is how each script begins: a primary a and its standbys b and c.
func founding() []op {
	ops := []op{{on: "a", task: postgres.Task{Kind: postgres.TaskBootstrap}}, {on: "a", task: postgres.Task{Kind: postgres.TaskOpen}}, {on: "a", row: 1}}
	for _, s := range []string{"b", "c"} {
		ops = append(ops, op{on: s, task: postgres.Task{Kind: postgres.TaskClone, Upstream: upstream("a")}},
			op{on: s, task: postgres.Task{Kind: postgres.TaskStart, Upstream: upstream("a")}})
	}
	return ops
}

// rewrite makes the model what it was after the last operation of the script.
func (w *writer) rewrite() {
	w.m, w.queue = hatest.NewModel(3), nil
	for _, o := range w.script {
		_, _, _ = o.apply(w.m)
		_ = w.m.Settle()
	}
}

// next invents one operation.
func (w *writer) next() (op, bool) {
	if len(w.queue) > 0 {
		o := w.queue[0]
		w.queue = w.queue[1:]
		w.rows = max(w.rows, o.row)
		return o, true
	}
	name := pick(w.rng, w.m.Names())
	o := w.m.Observe(name)
	switch {
	case w.rng.IntN(50) == 0:
		return w.senseless(name), true
	case o.DataDir != postgres.DataDirReady:
		return w.repair(name, postgres.TaskClone)
	case o.Postmaster == nil:
		return w.stopped(name, o)
	case o.SQL.InRecovery:
		return w.standby(name)
	}
	return w.primary(name), true
}

// others are the servers but one.
func (w *writer) others(name string) []string {
	return slices.DeleteFunc(w.m.Names(), func(n string) bool { return n == name })
}

// primaries are the servers that run as primaries.
func (w *writer) primaries() []string {
	return slices.DeleteFunc(w.m.Names(), func(n string) bool {
		o := w.m.Observe(n)
		return o.SQL == nil || o.SQL.InRecovery
	})
}

// running are the other servers that run.
func (w *writer) running(name string) []string {
	return slices.DeleteFunc(w.others(name), func(n string) bool { return w.m.Observe(n).SQL == nil })
}

// leader is somebody to follow: mostly a primary, sometimes anybody, seldom nobody.
func (w *writer) leader(name string) *postgres.Upstream {
	others, primaries := w.others(name), slices.DeleteFunc(w.primaries(), func(n string) bool { return n == name })
	switch n := w.rng.IntN(10); {
	case n == 0:
		return nil
	case n < 8 && len(primaries) > 0:
		return upstream(pick(w.rng, primaries))
	}
	return upstream(pick(w.rng, others))
}

func (w *writer) primary(name string) op {
	stop := 12
	if len(w.primaries()) > 1 {
		stop = 30
	}
	switch n := w.rng.IntN(100); {
	case n < stop:
		return w.end(name)
	case n < stop+6:
		return op{on: name, task: postgres.Task{Kind: postgres.TaskCheckpoint}}
	case n < stop+12 && w.m.Waits(name) > 0:
		return op{on: name, end: pick(w.rng, []string{"cancel", "cancel", "terminate"})}
	case n < stop+16:
		w.rows++
		return op{on: name, row: w.rows, wait: true}
	}
	w.rows++
	return op{on: name, row: w.rows}
}

// end lets a server end in one of four ways.
func (w *writer) end(name string) op {
	t := postgres.Task{Kind: postgres.TaskStop, Stop: postgres.StopFast}
	switch w.rng.IntN(5) {
	case 0:
		return op{on: name, kill: true}
	case 1:
		t.Stop = postgres.StopImmediate
	case 2:
		t.Checkpoint = true
	}
	return op{on: name, task: t}
}

func (w *writer) standby(name string) (op, bool) {
	promote := 2
	if len(w.primaries()) == 0 {
		promote = 30
	}
	switch n := w.rng.IntN(100); {
	case n < promote:
		return w.promote(name), true
	case n < promote+25:
		return op{on: name, task: postgres.Task{Kind: postgres.TaskFollow, Upstream: w.leader(name)}}, true
	case n < promote+40:
		return w.end(name), true
	case n < promote+45:
		return op{on: name, task: postgres.Task{Kind: postgres.TaskCheckpoint}}, true
	}
	return op{}, false
}

// promote takes a number of its own, as the rules do, or whatever comes next.
func (w *writer) promote(name string) op {
	o := op{on: name, task: postgres.Task{Kind: postgres.TaskPromote}}
	if w.rng.IntN(5) != 0 {
		w.newest += postgres.Timeline(1 + w.rng.IntN(3))
		o.task.Timeline = w.newest
	} else {
		w.newest = max(w.newest, w.m.Observe(name).SQL.Timeline+1)
	}
	return o
}

func (w *writer) stopped(name string, o postgres.Observation) (op, bool) {
	wrote := o.Control.State == postgres.ControlInProduction || o.Control.State == postgres.ControlShutDown
	switch n := w.rng.IntN(20); {
	case n < 3 && wrote && len(w.primaries()) == 0:
		return op{on: name, task: postgres.Task{Kind: postgres.TaskStart, AsPrimary: true}}, true
	case n < 5 && wrote:
		return op{on: name, task: postgres.Task{Kind: postgres.TaskRecover}}, true
	case n < 6:
		return w.repair(name, postgres.TaskClone)
	case n < 12:
		return w.rewind(name, o)
	}
	return op{on: name, task: postgres.Task{Kind: postgres.TaskStart, Upstream: w.leader(name)}}, true
}

// repair makes a server's data anew from a primary, and starts it.
func (w *writer) repair(name string, kind postgres.TaskKind) (op, bool) {
	sources := w.primaries()
	if kind == postgres.TaskClone && w.rng.IntN(3) == 0 {
		sources = w.running(name)
	}
	if len(sources) == 0 {
		return op{}, false
	}
	up := upstream(pick(w.rng, sources))
	w.queue = []op{{on: name, task: postgres.Task{Kind: postgres.TaskStart, Upstream: up}}}
	return op{on: name, task: postgres.Task{Kind: kind, Upstream: up}}, true
}

// rewind is a repair of what pg_rewind can repair. As the rules do, it leaves a killed standby alone that need not be rewound: crash
// recovery would write into its log what its upstream does not have, under the same number.
func (w *writer) rewind(name string, o postgres.Observation) (op, bool) {
	r, ok := w.repair(name, postgres.TaskRewind)
	if !ok {
		return r, false
	}
	switch w.shown().verdict(name, r.task.Upstream.Host) {
	case string(postgres.DivergenceClone):
		return r, false
	case string(postgres.DivergenceNone):
		return r, o.Control.State != postgres.ControlArchiveRecovery
	}
	return r, true
}

// shown is what the model shows.
func (w *writer) shown() picture { return shown(w.m) }

// senseless is a task that does not suit what the server is just doing.
func (w *writer) senseless(name string) op {
	kinds := []postgres.TaskKind{postgres.TaskStart, postgres.TaskStop, postgres.TaskPromote, postgres.TaskFollow, postgres.TaskRewind, postgres.TaskRecover, postgres.TaskCheckpoint}
	o := w.m.Observe(name)
	if o.Postmaster == nil {
		kinds = []postgres.TaskKind{postgres.TaskStop, postgres.TaskPromote, postgres.TaskFollow, postgres.TaskCheckpoint}
	} else if o.SQL != nil && o.SQL.InRecovery {
		kinds = []postgres.TaskKind{postgres.TaskStart, postgres.TaskRewind, postgres.TaskRecover}
	}
	t := postgres.Task{Kind: pick(w.rng, kinds)}
	if t.Kind == postgres.TaskFollow || t.Kind == postgres.TaskRewind {
		t.Upstream = upstream(pick(w.rng, w.others(name)))
	}
	return op{on: name, task: t}
}

// shown is what a model shows of all servers.
func shown(m *hatest.Model) picture {
	w := picture{}
	for _, name := range m.Names() {
		s := seen{Observation: m.Observe(name)}
		if s.SQL != nil {
			s.rows, s.lineage = m.Rows(name), m.Lineage(name)
			if v := s.SQL.Receiver; v != nil {
				s.source = v.Host
			}
		}
		w[name] = s
	}
	return w
}

func pick[T any](rng *rand.Rand, list []T) T { return list[rng.IntN(len(list))] }
