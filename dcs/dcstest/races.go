package dcstest

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/tanist-ha/tanist/dcs"
)

var raceTests = []test{
	{name: "race/one-winner", run: testOneWinner},
	{name: "race/linearizable", run: testLinearizable},
}

// testOneWinner lets many handles acquire the same absent key at once, several times.
func testOneWinner(t *testing.T, s *suite) {
	const racers = 8
	var handles [racers]dcs.Backend
	var sessions [racers]dcs.Session
	for i := range racers {
		handles[i] = s.open(t)
		x, err := handles[i].OpenSession(s.ctx, max(s.MinTTL, time.Minute))
		if err != nil {
			t.Fatal(err)
		}
		sessions[i] = x
	}
	for round := range 5 {
		key := fmt.Sprintf("leader%d", round)
		var wins atomic.Int32
		var winner atomic.Int32
		var wg sync.WaitGroup
		start := make(chan struct{})
		for i := range racers {
			wg.Go(func() {
				<-start
				_, err := handles[i].Apply(s.ctx, dcs.Txn{
					If: []dcs.Cond{{Key: s.key(key), Absent: true}},
					Do: []dcs.Write{{Key: s.key(key), Value: fmt.Append(nil, i), Session: sessions[i]}},
				})
				switch {
				case err == nil:
					wins.Add(1)
					winner.Store(int32(i))
				case !errors.Is(err, dcs.ErrConflict):
					t.Errorf("racer %d: %v", i, err)
				}
			})
		}
		close(start)
		wg.Wait()
		e := s.get(t, handles[0], key)
		if wins.Load() != 1 || e == nil || string(e.Value) != fmt.Sprint(winner.Load()) {
			t.Fatalf("round %d: %d winners, the last is %d, and the key holds %+v", round, wins.Load(), winner.Load(), e)
		}
	}
	for _, x := range sessions {
		if err := x.Close(s.ctx); err != nil {
			t.Error(err)
		}
	}
}

// casOp is one operation on one key: a read, or a change from what an earlier read gave to a value that is unique.
type casOp struct {
	write    bool
	from, to string // "": absent
}

// casOut is its answer.
type casOut struct {
	value    string // of a read
	conflict bool
	unknown  bool
}

// casModel is a register that can be absent. An operation of unknown fate returns at the end of time: if its change did
// not happen, then it is placed after everything that could see it.
var casModel = porcupine.Model{
	Init: func() any { return "" },
	Step: func(state, input, output any) (bool, any) {
		at, in, out := state.(string), input.(casOp), output.(casOut)
		switch {
		case !in.write:
			return out.value == at, at
		case out.unknown && in.from == at:
			return true, in.to
		case out.unknown:
			return true, at
		case out.conflict:
			return in.from != at, at
		default:
			return in.from == at, in.to
		}
	},
	DescribeOperation: func(input, output any) string { return fmt.Sprintf("%+v -> %+v", input, output) },
}

// testLinearizable lets several handles read and compare-and-set one key, and has porcupine judge the history.
func testLinearizable(t *testing.T, s *suite) {
	const clients, each = 5, 60
	start, together := time.Now(), make(chan struct{})
	histories := make([][]porcupine.Operation, clients)
	var wg sync.WaitGroup
	var handles []dcs.Backend
	for range clients {
		handles = append(handles, s.open(t))
	}
	for id, b := range handles {
		wg.Go(func() {
			<-together // or the first may be done before the last is there
			histories[id] = s.casClient(b, id, each, start)
		})
	}
	close(together)
	wg.Wait()
	var all []porcupine.Operation
	for _, h := range histories {
		all = append(all, h...)
	}
	changes := 0
	for _, op := range all {
		in, out := op.Input.(casOp), op.Output.(casOut)
		if in.write && !out.conflict && !out.unknown {
			changes++
		}
	}
	switch result, _ := porcupine.CheckOperationsVerbose(casModel, all, s.Patience); result {
	case porcupine.Illegal:
		for _, op := range all {
			t.Logf("client %d [%d, %d] %s", op.ClientId, op.Call, op.Return, casModel.DescribeOperation(op.Input, op.Output))
		}
		t.Fatal("the history is not linearizable")
	case porcupine.Unknown:
		t.Fatalf("no verdict on %d operations within %s", len(all), s.Patience)
	}
	if changes < clients {
		t.Fatalf("only %d of %d operations changed anything: the history proves little", changes, len(all))
	}
	t.Logf("%d operations, %d changes: linearizable", len(all), changes)
}

// casClient reads, then tries to change what it read, again and again.
func (s *suite) casClient(b dcs.Backend, id, n int, start time.Time) []porcupine.Operation {
	rng := rand.New(rand.NewPCG(uint64(id), 7))
	var ops []porcupine.Operation
	key := s.key("register")
	for i := range n {
		runtime.Gosched() // a store without a way to it would serve one client after the other
		call := int64(time.Since(start))
		snap, err := b.Read(s.ctx, s.prefix)
		if err != nil {
			continue // a read that failed says nothing
		}
		value, cond := "", dcs.Cond{Key: key, Absent: true}
		if e := find(snap, key); e != nil {
			value, cond = string(e.Value), dcs.Cond{Key: key, Version: e.Version, Created: e.Created}
		}
		ops = append(ops, porcupine.Operation{
			ClientId: id, Input: casOp{}, Output: casOut{value: value}, Call: call, Return: int64(time.Since(start)),
		})
		if rng.IntN(3) == 0 {
			continue // reads only: what it reads next is what others wrote
		}
		in := casOp{write: true, from: value, to: fmt.Sprintf("%d.%d", id, i)}
		w := dcs.Write{Key: key, Value: []byte(in.to)}
		if value != "" && rng.IntN(4) == 0 {
			in.to, w = "", dcs.Write{Key: key, Delete: true}
		}
		call = int64(time.Since(start))
		out, done := casApply(s.ctx, b, dcs.Txn{If: []dcs.Cond{cond}, Do: []dcs.Write{w}})
		if !done {
			continue
		}
		end := int64(time.Since(start))
		if out.unknown {
			end = math.MaxInt64
		}
		ops = append(ops, porcupine.Operation{ClientId: id, Input: in, Output: out, Call: call, Return: end})
	}
	return ops
}

// casApply tells what came of tx; not done means that it certainly had no effect and no answer.
func casApply(ctx context.Context, b dcs.Backend, tx dcs.Txn) (out casOut, done bool) {
	switch _, err := b.Apply(ctx, tx); {
	case err == nil:
		return casOut{}, true
	case errors.Is(err, dcs.ErrConflict):
		return casOut{conflict: true}, true
	case errors.Is(err, dcs.ErrUnavailable):
		return casOut{}, false
	default:
		return casOut{unknown: true}, true
	}
}
