package dcstest

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/tanist-ha/tanist/dcs"
)

var leaseTests = []test{
	{name: "race/linearizable-with-leases", run: testLeases, waits: true, realTime: true},
}

// leaseOp is one operation on the leader key. Each attempt to acquire has a life of its own as value.
type leaseOp struct {
	kind string // acquire, confirm, release, close, expire, read
	life string // "" for a read
}

// leaseOut is its answer.
type leaseOut struct {
	life    string // of a read: "" is a vacancy
	no      bool   // the store has refused: the life is not the present one (acquire: there is one)
	unknown bool
}

// leaseModel is a register that lives with a session. An expiry is an operation of the store, which may happen at any time after the session's TTL
// has passed since its last successful renewal was sent, and need not happen. What is of unknown fate, or need not happen, returns at the end of
// time: if it did not happen, it is placed after everything that could see it.
var leaseModel = porcupine.Model{
	Init: func() any { return "" },
	Step: func(state, input, output any) (bool, any) {
		at, in, out := state.(string), input.(leaseOp), output.(leaseOut)
		present := at == in.life
		switch {
		case in.kind == "read":
			return out.life == at, at
		case in.kind == "acquire" && out.no:
			return at != "", at
		case in.kind == "acquire" && at == "":
			return true, in.life
		case in.kind == "acquire":
			return out.unknown, at
		case out.no:
			return !present, at
		case in.kind == "confirm":
			return present || out.unknown, at
		case present: // release, close, expire
			return true, ""
		default: // only a release claims that it was there
			return in.kind != "release" || out.unknown, at
		}
	},
	DescribeOperation: func(input, output any) string { return fmt.Sprintf("%+v -> %+v", input, output) },
}

// leaseHistory is what one participant did.
type leaseHistory struct {
	*suite
	id       int
	b        dcs.Backend
	start    time.Time
	ops      []porcupine.Operation
	acquired int
}

// testLeases lets several nodes acquire, confirm, release, close and abandon one leader key, over ways that fail again and again if the harness
// can make them, and has porcupine judge the history. It ends with an expiry.
func testLeases(t *testing.T, s *suite) {
	start, stop := time.Now(), make(chan struct{})
	var weather, nodes sync.WaitGroup
	histories := make([]*leaseHistory, 4)
	for i := range histories {
		h := &leaseHistory{suite: s, id: i, start: start}
		histories[i] = h
		if s.Linked == nil {
			h.b = s.open(t)
		} else {
			var link Link
			h.b, link = s.linked(t)
			weather.Go(func() { s.storms(link, uint64(i), stop) })
		}
		nodes.Go(func() { h.run(start.Add(2 * s.MinTTL)) })
	}
	nodes.Wait()
	close(stop)
	weather.Wait()
	last := &leaseHistory{suite: s, id: len(histories), b: s.open(t), start: start}
	last.expire(t)
	var all []porcupine.Operation
	acquired := 0
	for _, h := range append(histories, last) {
		all, acquired = append(all, h.ops...), acquired+h.acquired
	}
	switch result, _ := porcupine.CheckOperationsVerbose(leaseModel, all, s.Patience); result {
	case porcupine.Illegal:
		for _, op := range all {
			t.Logf("node %d [%s, %s] %s", op.ClientId, time.Duration(op.Call), time.Duration(op.Return), leaseModel.DescribeOperation(op.Input, op.Output))
		}
		t.Fatal("the history is not that of a register with leases")
	case porcupine.Unknown:
		t.Fatalf("no verdict on %d operations within %s", len(all), s.Patience)
	}
	t.Logf("%d operations, %d terms: linearizable", len(all), acquired)
}

// storms disturbs a way now and then.
func (s *suite) storms(link Link, seed uint64, stop <-chan struct{}) {
	rng := rand.New(rand.NewPCG(seed, 11))
	defer link(Healthy)
	for {
		for _, f := range []Fault{Healthy, []Fault{Cut, LostReplies, Silent, Slow}[rng.IntN(4)]} {
			link(f)
			timer := time.NewTimer(s.MinTTL/20 + time.Duration(rng.Int64N(int64(s.MinTTL/8))))
			select {
			case <-timer.C:
			case <-stop:
				timer.Stop()
				return
			}
		}
	}
}

// run leads again and again until the time is up, and leaves each term in another way.
func (h *leaseHistory) run(until time.Time) {
	rng := rand.New(rand.NewPCG(uint64(h.id), 13))
	for n := 0; time.Now().Before(until) && h.ctx.Err() == nil; n++ {
		opened := time.Now()
		x, err := request(h, func(ctx context.Context) (dcs.Session, error) { return h.b.OpenSession(ctx, h.MinTTL) })
		if err != nil {
			h.pause(h.MinTTL / 50)
			continue
		}
		life := fmt.Sprintf("%d.%d", h.id, n)
		renewed, held := h.lead(x, life, opened, until, rng.IntN(4))
		if held {
			h.add(leaseOp{"expire", life}, leaseOut{}, renewed.Add(x.TTL()), true)
		}
	}
}

// expire leads once more and then lets the session end.
func (h *leaseHistory) expire(t *testing.T) {
	for n := 0; h.acquired == 0; n++ {
		opened := time.Now()
		x := h.session(t, h.b)
		life := fmt.Sprintf("%d.%d", h.id, n)
		if renewed, held := h.lead(x, life, opened, opened.Add(time.Hour), 0); held {
			h.add(leaseOp{"expire", life}, leaseOut{}, renewed.Add(x.TTL()), true)
		}
	}
	h.awaitGone(t, h.b, "leader")
	h.read()
}

// lead tries to acquire under x, and holds the key for a while. It returns when x was renewed last, and whether the key may still be held.
func (h *leaseHistory) lead(x dcs.Session, life string, renewed, until time.Time, rounds int) (time.Time, bool) {
	key := h.key("leader")
	mine := []dcs.Cond{{Key: key, Session: x.ID(), Value: []byte(life)}}
	for {
		sent := time.Now()
		out, done := h.apply(leaseOp{"acquire", life}, func(ctx context.Context) error {
			_, err := h.b.Apply(ctx, dcs.Txn{If: []dcs.Cond{{Key: key, Absent: true}}, Do: []dcs.Write{{Key: key, Value: []byte(life), Session: x}}})
			return err
		})
		if done && !out.no {
			if !out.unknown {
				h.acquired++
			}
			break
		}
		h.read()
		if time.Since(renewed) > x.TTL()/2 || sent.After(until) {
			_, _ = request(h, func(ctx context.Context) (int, error) { return 0, x.Close(ctx) })
			return renewed, false
		}
		h.pause(h.MinTTL / 50)
	}
	for range rounds {
		h.pause(x.TTL() / 8)
		sent := time.Now()
		out, done := h.apply(leaseOp{"confirm", life}, func(ctx context.Context) error {
			_, err := x.Confirm(ctx, dcs.Txn{If: mine})
			return err
		})
		if done && !out.no && !out.unknown {
			renewed = sent
		}
		h.read()
	}
	if rounds == 0 || time.Now().After(until) {
		return renewed, true // abandoned
	}
	if rounds == 1 {
		h.apply(leaseOp{"close", life}, x.Close)
		return renewed, true // closed now, or it had ended before
	}
	out, done := h.apply(leaseOp{"release", life}, func(ctx context.Context) error {
		_, err := h.b.Apply(ctx, dcs.Txn{If: mine, Do: []dcs.Write{{Key: key, Delete: true}}})
		return err
	})
	return renewed, !done || out.unknown || out.no
}

// request makes one request with a deadline that leaves time for others before a session ends.
func request[T any](h *leaseHistory, do func(context.Context) (T, error)) (T, error) {
	ctx, cancel := context.WithTimeout(h.ctx, max(h.MinTTL/4, 200*time.Millisecond))
	defer cancel()
	return do(ctx)
}

// apply makes a request and notes what came of it; not done means that it certainly had no effect and no answer.
func (h *leaseHistory) apply(op leaseOp, do func(context.Context) error) (out leaseOut, done bool) {
	call := time.Now()
	_, err := request(h, func(ctx context.Context) (int, error) { return 0, do(ctx) })
	switch {
	case err == nil:
	case errors.Is(err, dcs.ErrConflict):
		out.no = true
	case errors.Is(err, dcs.ErrUnavailable):
		return out, false
	case errors.Is(err, dcs.ErrSessionLost) && op.kind == "acquire":
		return out, false // says nothing about who leads
	case errors.Is(err, dcs.ErrSessionLost) && op.kind == "close":
	case errors.Is(err, dcs.ErrSessionLost):
		out.no = true
	default:
		out.unknown = true
	}
	h.add(op, out, call, out.unknown)
	return out, true
}

func (h *leaseHistory) read() {
	call := time.Now()
	snap, err := request(h, func(ctx context.Context) (dcs.Snapshot, error) { return h.b.Read(ctx, h.prefix) })
	if err != nil {
		return
	}
	out := leaseOut{}
	if e := find(snap, h.key("leader")); e != nil {
		out.life = string(e.Value)
	}
	h.add(leaseOp{kind: "read"}, out, call, false)
}

// add notes an operation that began at call and ends now, or never.
func (h *leaseHistory) add(op leaseOp, out leaseOut, call time.Time, open bool) {
	end := int64(time.Since(h.start))
	if open {
		end = math.MaxInt64
	}
	h.ops = append(h.ops, porcupine.Operation{ClientId: h.id, Input: op, Output: out, Call: int64(call.Sub(h.start)), Return: end})
}

func (h *leaseHistory) pause(d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-h.ctx.Done():
	}
}
