package hatest

import (
	"container/heap"
	"time"
)

// engine is the queue of what happens next. Events at one time happen in the order in which they were asked for.
type engine struct {
	now   time.Time
	seq   uint64
	queue eventHeap
}

type event struct {
	at  time.Time
	seq uint64
	do  func()
}

type eventHeap []event

func (h eventHeap) Len() int { return len(h) }
func (h eventHeap) Less(i, j int) bool {
	if h[i].at.Equal(h[j].at) {
		return h[i].seq < h[j].seq
	}
	return h[i].at.Before(h[j].at)
}
func (h eventHeap) Swap(i, j int) { h[i], h[j] = h[j], h[i] }
func (h *eventHeap) Push(x any)   { *h = append(*h, x.(event)) }
func (h *eventHeap) Pop() any {
	old := *h
	e := old[len(old)-1]
	old[len(old)-1] = event{}
	*h = old[:len(old)-1]
	return e
}

// at asks for do to happen at t, or now if t is past.
func (e *engine) at(t time.Time, do func()) {
	if t.Before(e.now) {
		t = e.now
	}
	e.seq++
	heap.Push(&e.queue, event{t, e.seq, do})
}

// after asks for do to happen in d.
func (e *engine) after(d time.Duration, do func()) { e.at(e.now.Add(d), do) }

// step lets the next event happen; false if there is none before end.
func (e *engine) step(end time.Time) bool {
	if len(e.queue) == 0 || e.queue[0].at.After(end) {
		e.now = end
		return false
	}
	x := heap.Pop(&e.queue).(event)
	e.now = x.at
	x.do()
	return true
}
