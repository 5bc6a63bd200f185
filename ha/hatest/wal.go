package hatest

import (
	"errors"
	"fmt"
	"maps"

	"github.com/tanist-ha/tanist/postgres"
)

// segmentSize is that of a file of the log. A WAL receiver asks for whole ones.
const segmentSize postgres.LSN = 16 << 20

// segment is where the segment of l begins.
func segment(l postgres.LSN) postgres.LSN { return l &^ (segmentSize - 1) }

// follow points the server at another.
func (s *server) follow(up *postgres.Upstream) {
	s.upstream, s.onlyPrimary, s.streaming = "", false, false
	if up != nil {
		s.upstream, s.onlyPrimary = up.Host, up.Primary
	}
}

// pull is what the WAL receiver gets now: all that the upstream has, if PostgreSQL lets it stream.
func (s *server) pull(up *server) {
	was := s.streaming
	s.streaming = s.answers(up, was)
	if !s.streaming || (was && s.tl == up.tl && s.end() == up.end()) {
		return // refused, or nothing is new, and what is here was compared when it came
	}
	for s.streaming {
		ask := s.timelineAt(s.end())
		if s.streaming = ask == up.tl || (ask < up.tl && s.fetchHistories(ask, up)); !s.streaming {
			return // "highest timeline of the primary is behind recovery timeline", or a history file is missing there
		}
		if ask == up.tl {
			// It asks for the segment that it is in from its begin on, and so it streams even if it is ahead.
			if s.streaming = segment(s.end()) <= up.end() && up.keeps(s.end()); s.streaming {
				s.receive(up, up.end())
			}
			return
		}
		point, ok := up.history.SwitchPoint(ask)
		if s.streaming = ok && segment(s.end()) <= point && up.keeps(s.end()); !s.streaming {
			return // "not in this server's history", or "has already been removed"
		}
		if s.end() < point {
			s.receive(up, point)
		}
		s.rescan()
		s.streaming = s.timelineAt(s.end()) != ask
	}
}

// answers says whether a WAL receiver can connect to the upstream.
func (s *server) answers(up *server, was bool) bool {
	switch {
	case s.onlyPrimary && up.inRecovery:
		return false
	case up.pid == 0 || up.dir != postgres.DataDirReady || up.sysid != s.sysid || up.closed:
		return false
	case up.stopping:
		return was // an orderly stop goes on with who streams
	}
	return up.ready
}

// fetchHistories copies the history files of all numbers from one to the upstream's timeline that are not there yet. It fails at the first
// that the upstream lacks.
func (s *server) fetchHistories(from postgres.Timeline, up *server) bool {
	for t := max(from, 2); t <= up.tl; t++ {
		if _, here := s.files[t]; here {
			continue
		}
		h, there := up.files[t]
		if !there {
			return false
		}
		s.files[t] = h
	}
	return true
}

// receive appends what the upstream has up to a position.
func (s *server) receive(up *server, to postgres.LSN) {
	i := len(up.log)
	for i > 0 && up.log[i-1].lsn > s.end() {
		i--
	}
	for ; i < len(up.log) && up.log[i].lsn <= to; i++ {
		s.log = append(s.log, up.log[i])
	}
	s.arrive()
	s.w.checkPrefix(s, up)
}

// proceed lets clients into a standby that starts, once it has replayed all that makes its data consistent. Until then it asks its upstream
// for more, for ever.
func (s *server) proceed() {
	if f := s.awaited; f != nil && s.end() >= s.minRecovery.LSN {
		s.awaited = nil
		f()
	}
}

// arrive notes the timeline of the end of the log.
func (s *server) arrive() {
	s.tl = 1
	if n := len(s.log); n > 0 {
		s.tl = s.log[n-1].tl
	}
	s.history = s.files[s.tl]
}

// newest is the last number after t of which, without a gap, there is a history file.
func (s *server) newest(t postgres.Timeline) postgres.Timeline {
	for {
		if _, ok := s.files[t+1]; !ok {
			return t
		}
		t++
	}
}

// aim chooses the timeline that a standby's recovery goes for, the newest one that it knows of, and finds out whether what is here lies
// on the way to it. It may not: a data directory that has once seen the history of a branch that left its own behind cannot be started
// any more. If only the end of the log lies beyond the branch, PostgreSQL does not notice, and replays it: the log of its new upstream
// is then put behind the wrong one.
func (s *server) aim() error {
	checkpoint := postgres.Position{Timeline: s.controlTL, LSN: s.checkpoint}
	if s.backup != nil {
		checkpoint = *s.backup
	}
	s.target = s.newest(s.target)
	if at := s.timelineAt(checkpoint.LSN); at != checkpoint.Timeline {
		return fmt.Errorf("requested timeline %d is not a child of this server's history", s.target)
	}
	if s.minRecovery.LSN != 0 && s.timelineAt(s.minRecovery.LSN-1) != s.minRecovery.Timeline {
		return fmt.Errorf("requested timeline %d does not contain minimum recovery point", s.target)
	}
	for i, r := range s.log {
		if _, passed := s.files[s.target].SwitchPoint(r.tl); !passed && r.tl != s.target {
			s.log = s.log[:i:i] // it looks for files of the timelines on the way only
			break
		}
	}
	s.arrive()
	s.dropUnreached()
	return nil
}

// dropUnreached removes the histories of timelines of which nothing is here, as the real executor does before PostgreSQL starts.
func (s *server) dropUnreached() {
	reached := max(s.tl, s.controlTL, s.minRecovery.Timeline)
	if reached >= s.target {
		return
	}
	maps.DeleteFunc(s.files, func(t postgres.Timeline, _ postgres.History) bool { return t > reached && t <= s.target })
	s.target = reached
}

// timelineAt is the timeline, on the way to the target, that a position belongs to.
func (s *server) timelineAt(l postgres.LSN) postgres.Timeline {
	for _, sw := range s.files[s.target] {
		if l < sw.LSN {
			return sw.Parent
		}
	}
	return s.target
}

// rescan is what recovery does at the end of a timeline: it looks for newer ones, and goes for the newest if that left the present one at
// or after the end of what was replayed. Else: "forked off current database system timeline before current recovery point".
func (s *server) rescan() {
	t := s.newest(s.target)
	if point, child := s.files[t].SwitchPoint(s.target); child && point >= s.end() {
		s.target = t
	}
}

// reserve sees to it that the next promotion takes the number want, by empty history files of those between.
func (s *server) reserve(want postgres.Timeline) error {
	now := max(s.controlTL, s.minRecovery.Timeline)
	if want <= now {
		return fmt.Errorf("timeline %d cannot follow timeline %d", want, now)
	}
	for t, h := range s.files {
		if t >= want && len(h) > 0 {
			return fmt.Errorf("pg_wal already has a history of timeline %d", t)
		}
	}
	s.dropSkipped()
	for t := now + 1; t < want; t++ {
		if _, ok := s.files[t]; !ok {
			s.files[t] = nil
		}
	}
	return nil
}

// dropSkipped removes the history files of skipped numbers that no real timeline has followed.
func (s *server) dropSkipped() {
	last := postgres.Timeline(1)
	for t, h := range s.files {
		if len(h) > 0 {
			last = max(last, t)
		}
	}
	maps.DeleteFunc(s.files, func(t postgres.Timeline, h postgres.History) bool { return len(h) == 0 && t > last })
}

// errNotKept is the end of a rewind whose source does not have the log from the fork on: what was here of it lies on the branch that was left.
var errNotKept = errors.New("the log from the fork on is not there any more")

// rewind does what pg_rewind does with the data directory of a server that has ended in order. It compares the timelines of the two
// latest checkpoints, by their numbers. The log is copied as far as it was when the copy began; the data are those of its end.
func (s *server) rewind(up *server, copied postgres.LSN) error {
	s.standby, s.copied = true, true
	if s.controlTL == up.controlTL {
		return nil
	}
	fork, err := commonEnd(s.files[s.controlTL], s.controlTL, up.files[up.controlTL], up.controlTL)
	if err != nil {
		return err
	}
	last := s.checkpoint + recordSize
	if s.state == postgres.ControlShutDownInRecovery {
		last = s.minRecovery.LSN
	}
	if last <= fork {
		return nil
	}
	start := postgres.Position{Timeline: 1, LSN: startLSN}
	for _, r := range s.log {
		if r.row == recordCheckpoint && r.lsn <= fork {
			start = postgres.Position{Timeline: r.tl, LSN: r.lsn - recordSize}
		}
	}
	if !s.keeps(start.LSN) {
		return errors.New("could not find previous WAL record: no such file")
	}
	s.copyFrom(up, start)
	s.oldest = min(s.oldest, segment(start.LSN)) // what it read to find the checkpoint it has kept
	for s.end() > copied {
		s.log = s.log[:len(s.log)-1]
	}
	s.state, s.minRecovery = postgres.ControlArchiveRecovery, postgres.Position{Timeline: up.controlTL, LSN: up.end()}
	if !up.keeps(fork) {
		return errNotKept
	}
	return nil
}

// commonEnd is where two timelines part: the end of the last one that both have passed from the same begin.
func commonEnd(x postgres.History, xTL postgres.Timeline, y postgres.History, yTL postgres.Timeline) (postgres.LSN, error) {
	ends := func(h postgres.History, tl postgres.Timeline) postgres.History {
		return append(h[:len(h):len(h)], postgres.Switch{Parent: tl, LSN: ^postgres.LSN(0)})
	}
	a, b := ends(x, xTL), ends(y, yTL)
	end, begin := postgres.LSN(0), [2]postgres.LSN{}
	for i := 0; i < min(len(a), len(b)) && a[i].Parent == b[i].Parent && begin[0] == begin[1]; i++ {
		end, begin = min(a[i].LSN, b[i].LSN), [2]postgres.LSN{a[i].LSN, b[i].LSN}
	}
	if end == 0 {
		return 0, errors.New("could not find common ancestor of the source and target cluster's timelines")
	}
	return end, nil
}
