package modeltest

import (
	"context"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"

	"github.com/tanist-ha/tanist/postgres"
)

// PostgreSQL does a few things of its own accord, at times of its own: a standby makes restartpoints, a primary writes a list of running
// transactions every fifteen seconds, and a page whose hint bits it sets. The model is told of them.

// lasting is how many looks in a row must show the same difference before it counts as one.
const lasting = 10

// absorb lets the model do what PostgreSQL shows to have done of its own accord: a restartpoint, or records that a standby has not received.
func (p *pair) absorb(want, got picture) bool {
	for _, x := range want.names() {
		a, b := p.face(want[x]), p.face(got[x])
		restarted := b.Checkpoint > a.Checkpoint || got[x].flushed() && !want[x].flushed()
		a.Checkpoint = b.Checkpoint
		if restarted && a == b && a.State == postgres.ControlArchiveRecovery {
			p.script = append(p.script, "(restartpoint of "+x+")")
			p.model.Restartpoint(x)
			return true
		}
	}
	for _, x := range want.names() {
		for _, y := range want.names() {
			if want.order(x, y) != "=" || got.order(x, y) != "<" {
				continue
			}
			from, _ := got[x].position()
			to, _ := got[y].position()
			noise, pages := p.real.noise(p.t.Context(), y, from, to)
			if w := got.writer(y); noise && w != "" {
				return p.written(w, pages)
			}
		}
	}
	return false
}

// overhear finds what a primary has written of its own accord although no standby shows it: it stands beyond the point at which another was
// promoted, and the next server that is rewound from it, too. What it wrote before that point both have.
func (p *pair) overhear(got picture, o op) bool {
	heard := false
	for w, was := range p.known {
		s, here := got[w]
		if !here || s.SQL == nil || s.SQL.InRecovery || o.on == w || (o.task.Upstream != nil && o.task.Upstream.Host == w) {
			continue // it was asked to write, or may have been
		}
		now := s.SQL.Position()
		if now.Timeline != was.Timeline {
			continue
		}
		for _, other := range got {
			if other.lineage == nil {
				continue
			}
			if point, left := other.lineage.History.SwitchPoint(was.Timeline); left {
				was.LSN = max(was.LSN, point)
			}
		}
		if now.LSN <= was.LSN {
			continue
		}
		if noise, pages := p.real.noise(p.t.Context(), w, was, now); noise {
			heard = p.written(w, pages)
			p.known[w] = now
		}
	}
	return heard
}

// written lets the model's primary w write what nobody asked for.
func (p *pair) written(w string, pages bool) bool {
	p.script = append(p.script, "(record of "+w+")")
	p.model.Background(w, pages)
	return p.model.Settle() == nil
}

// remember notes where the real primaries are.
func (p *pair) remember(got picture) {
	clear(p.known)
	for name, s := range got {
		if s.SQL != nil && !s.SQL.InRecovery {
			p.known[name] = s.SQL.Position()
		}
	}
}

// glance looks at the named servers alone.
func (r *real) glance(ctx context.Context, names map[string]postgres.Position) picture {
	p := picture{}
	for name := range names {
		p[name] = seen{Observation: r.nodes[name].Observe(ctx)}
	}
	return p
}

// loud are the records of the log that somebody asked for; still are those of the others that change no page.
var (
	loud  = regexp.MustCompile(`rmgr: Transaction|CHECKPOINT_SHUTDOWN|END_OF_RECOVERY|SWITCH`)
	still = regexp.MustCompile(`RUNNING_XACTS|CHECKPOINT_ONLINE|PARAMETER_CHANGE|FPW_CHANGE`)
)

// noise says whether what the named server has between two positions was written by PostgreSQL of its own accord, and whether pages changed by it.
func (r *real) noise(ctx context.Context, name string, from, to postgres.Position) (only, pages bool) {
	if from.Timeline != to.Timeline || from.LSN >= to.LSN {
		return false, false
	}
	n := r.nodes[name]
	out, err := exec.CommandContext(ctx, filepath.Join(n.bin, "pg_waldump"), "-p", filepath.Join(n.data, "pg_wal"),
		"-t", strconv.Itoa(int(to.Timeline)), "-s", from.LSN.String(), "-e", to.LSN.String()).Output()
	if err != nil || loud.Match(out) {
		return false, false // the reason is in the difference that is then told
	}
	for line := range strings.Lines(string(out)) {
		pages = pages || !still.MatchString(line)
	}
	return true, pages
}
