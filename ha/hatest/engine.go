package hatest

import "time"

// engine is the queue of what happens next. Events at one time happen in the order in which they were asked for.
//
// It is the innermost loop of a simulation: the heap holds plain numbers, so that sorting it costs no write barriers and no
// allocations, and what is to be done waits in a table beside it.
type engine struct {
	now   time.Time
	seq   uint64
	queue []event
	acts  []func()
	free  []int32 // places in acts that are empty
}

// event is a time, in nanoseconds since the epoch, and the place of what happens then.
type event struct {
	at  int64
	seq uint64
	act int32
}

func (a event) before(b event) bool { return a.at < b.at || (a.at == b.at && a.seq < b.seq) }

// at asks for do to happen at t, or now if t is past.
func (e *engine) at(t time.Time, do func()) {
	if t.Before(e.now) {
		t = e.now
	}
	e.seq++
	e.push(event{int64(t.Sub(epoch)), e.seq, e.keep(do)})
}

// after asks for do to happen in d.
func (e *engine) after(d time.Duration, do func()) { e.at(e.now.Add(d), do) }

// step lets the next event happen; false if there is none before end.
func (e *engine) step(end time.Time) bool {
	if len(e.queue) == 0 || e.queue[0].at > int64(end.Sub(epoch)) {
		e.now = end
		return false
	}
	x := e.pop()
	do := e.acts[x.act]
	e.acts[x.act], e.free = nil, append(e.free, x.act)
	e.now = epoch.Add(time.Duration(x.at))
	do()
	return true
}

// keep puts do into the table and returns its place.
func (e *engine) keep(do func()) int32 {
	if n := len(e.free); n > 0 {
		i := e.free[n-1]
		e.free = e.free[:n-1]
		e.acts[i] = do
		return i
	}
	e.acts = append(e.acts, do)
	return int32(len(e.acts) - 1)
}

// push adds an event to the heap.
func (e *engine) push(x event) {
	e.queue = append(e.queue, x)
	i := len(e.queue) - 1
	for i > 0 {
		up := (i - 1) / 2
		if !x.before(e.queue[up]) {
			break
		}
		e.queue[i] = e.queue[up]
		i = up
	}
	e.queue[i] = x
}

// pop takes the first event from the heap.
func (e *engine) pop() event {
	first, n := e.queue[0], len(e.queue)-1
	x := e.queue[n]
	e.queue = e.queue[:n]
	i := 0
	for down := 1; down < n; down = 2*i + 1 {
		if down+1 < n && e.queue[down+1].before(e.queue[down]) {
			down++
		}
		if !e.queue[down].before(x) {
			break
		}
		e.queue[i] = e.queue[down]
		i = down
	}
	if n > 0 {
		e.queue[i] = x
	}
	return first
}
