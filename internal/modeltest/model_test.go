package modeltest

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/tanist-ha/tanist/ha/hatest"
	"github.com/tanist-ha/tanist/postgres"
	"github.com/tanist-ha/tanist/postgres/pgtest"
)

var (
	seedFlag  = flag.Uint64("model.seed", 5, "the first seed of a script; in the usual one, copies lack a part of their log")
	seedsFlag = flag.Uint64("model.seeds", 1, "how many seeds")
	fileFlag  = flag.String("model.script", "", "run the script in this file instead")
	opsFlag   = flag.Int("model.ops", 200, "operations in the script of a seed")
)

func TestMain(m *testing.M) {
	pgtest.Guard(m, func(m *testing.M) { goleak.VerifyTestMain(m) })
}

// TestModel lets the simulator's servers and real ones do the same, and compares.
func TestModel(t *testing.T) {
	if testing.Short() {
		t.Skip("starts PostgreSQL servers")
	}
	if *fileFlag != "" {
		pgtest.RunAll(t, func(t *testing.T, binDir string) { play(t, binDir, *fileFlag) })
		return
	}
	pgtest.RunAll(t, func(t *testing.T, binDir string) {
		for seed := *seedFlag; seed < *seedFlag+*seedsFlag; seed++ {
			t.Run(fmt.Sprint("seed", seed), func(t *testing.T) {
				t.Parallel() // most of the time it waits
				start := time.Now()
				p := newPair(t, binDir)
				for _, o := range write(seed, *opsFlag) {
					p.step(o)
				}
				t.Logf("%d operations agree, %.1f s: %s", *opsFlag, time.Since(start).Seconds(), p.counts())
			})
		}
	})
}

// play runs a script from a file: one operation a line.
func play(t *testing.T, binDir, file string) {
	raw, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	p := newPair(t, binDir)
	for line := range strings.Lines(string(raw)) {
		if line, _, _ = strings.Cut(line, "#"); strings.TrimSpace(line) == "" {
			continue
		}
		o, err := parse(line)
		if err != nil {
			t.Fatal(err)
		}
		p.step(o)
	}
}

// pair is a model beside its original.
type pair struct {
	t      *testing.T
	model  *hatest.Model
	real   *real
	known  map[string]postgres.Position // where the real primaries were when both sides agreed last
	waited map[int]bool                 // rows whose clients waited: a standby may show them or not
	script []string
	kinds  map[string]int
}

func newPair(t *testing.T, binDir string) *pair {
	m := hatest.NewModel(3)
	return &pair{t: t, model: m, real: newReal(t, binDir, m.Names()), known: map[string]postgres.Position{}, waited: map[int]bool{}, kinds: map[string]int{}}
}

func (p *pair) counts() string {
	var b strings.Builder
	for _, k := range []string{"write", "wait", "cancel", "terminate", "kill", "stop", "start", "promote", "follow", "rewind", "clone", "recover", "checkpoint"} {
		fmt.Fprintf(&b, "%s %d ", k, p.kinds[k])
	}
	return b.String()
}

// step carries out one operation on both sides and compares.
func (p *pair) step(o op) {
	p.t.Helper()
	kind, _, _ := strings.Cut(o.String(), " ")
	p.kinds[kind]++
	if o.wait {
		p.waited[o.row] = true
	}
	p.overhear(p.real.glance(p.t.Context(), p.known), op{})
	p.script = append(p.script, o.String())
	ack, out, err := o.apply(p.model)
	if err := p.model.Settle(); err != nil {
		p.fail("the model contradicts itself: %v", err)
	}
	realAck, realOut, realErr := p.real.apply(o)
	switch {
	case (err == nil) != (realErr == nil), errors.Is(err, hatest.ErrEndless) != errors.Is(realErr, errInVain), errors.Is(realErr, context.DeadlineExceeded):
		p.fail("model: %v; PostgreSQL: %v", err, realErr)
	case ack != realAck:
		p.fail("row acknowledged by the model: %v; by PostgreSQL: %v", ack, realAck)
	case out.Clean != realOut.Clean:
		p.fail("stopped in order: model %v, PostgreSQL %v", out.Clean, realOut.Clean)
	}
	p.agree(o)
}

// stable is how long the real servers must look like the model's once who streams from whom may have changed: a WAL receiver that is
// refused shows itself for a moment as one that streams.
const stable = 200 * time.Millisecond

// agree waits until the real servers show what the model shows.
func (p *pair) agree(o op) {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.t.Context(), patience)
	defer cancel()
	want, since, diff, same, story := shown(p.model), time.Time{}, "", 0, ""
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		got := p.real.look(ctx)
		if ctx.Err() == nil {
			was := diff
			diff = p.differences(want, got)
			if same++; diff != was {
				same = 0
				story += fmt.Sprintf("%s %s\n", time.Now().Format("15:04:05.000"), diff)
			}
		}
		switch {
		case diff == "" && since.IsZero():
			since = time.Now()
		case diff == "" && (o.quiet() || time.Since(since) >= stable):
			p.absorb(want, got)
			p.overhear(got, o)
			p.remember(got)
			return
		case diff != "" && same >= lasting && (p.absorb(want, got) || p.overhear(got, o)):
			want, since, diff = shown(p.model), time.Time{}, ""
		case diff != "":
			since = time.Time{}
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			p.fail("%s\nhow it went:\n%s", diff, story)
		}
	}
}

// differences between what the model and the real servers show, "" if there are none.
func (p *pair) differences(want, got picture) string {
	var b strings.Builder
	for _, x := range want.names() {
		if diff := cmp.Diff(p.face(want[x]), p.face(got[x])); diff != "" {
			fmt.Fprintf(&b, "%s (-model +PostgreSQL):\n%s", x, diff)
		}
	}
	if b.Len() > 0 {
		return b.String()
	}
	for _, x := range want.names() {
		for _, y := range want.names() {
			if x == y {
				continue
			}
			if a, c := want.verdict(x, y), got.verdict(x, y); a != c {
				fmt.Fprintf(&b, "may %s stream from %s? model: %s, PostgreSQL: %s\n%s", x, y, a, c, describe(want, got, x, y))
			}
			if a, c := want.order(x, y), got.order(x, y); x < y && a != c {
				fmt.Fprintf(&b, "%s and %s: model: %s, PostgreSQL: %s\n%s", x, y, a, c, describe(want, got, x, y))
			}
		}
	}
	return b.String()
}

// face is what both sides have to show of a server. Whether a standby shows a row whose client waits, or waited, depends on when it was started:
// its first list of running transactions may say that nothing so young is done, until the next one ends.
func (p *pair) face(s seen) face {
	if s.SQL != nil && s.SQL.InRecovery {
		s.rows = slices.DeleteFunc(slices.Clone(s.rows), func(row int) bool { return p.waited[row] })
	}
	return s.face()
}

// describe tells what an order or a verdict was made of.
func describe(want, got picture, x, y string) string {
	var b strings.Builder
	for _, side := range []picture{want, got} {
		for _, n := range []string{x, y} {
			s, why, _ := postgres.StandingOf(side[n].Observation)
			pos, _ := side[n].position()
			fmt.Fprintf(&b, "  %s is at %s, standing %+v %s", n, pos, s, why)
			if q := side[n].SQL; q != nil {
				fmt.Fprintf(&b, ", received %s, replayed %s", q.Received, q.Replayed)
			}
			if l := side[n].lineage; l != nil {
				fmt.Fprintf(&b, ", lineage %+v", *l)
			}
			b.WriteByte('\n')
		}
	}
	return b.String()
}

// fail ends the test with the story so far.
func (p *pair) fail(format string, args ...any) {
	p.t.Helper()
	var logs strings.Builder
	for _, name := range p.model.Names() {
		fmt.Fprintf(&logs, "log of %s:\n%s\n", name, p.real.nodes[name].lastWords())
	}
	p.t.Fatalf("after operation %d (%s):\n%s\nthe script:\n%s\n%s", len(p.script), p.script[len(p.script)-1],
		fmt.Sprintf(format, args...), strings.Join(p.script, "\n"), logs.String())
}
