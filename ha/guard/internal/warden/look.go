package warden

import (
	"bytes"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// A server that has obeyed SIGINT ends its clients, then its background and WAL writer, and only then takes its last checkpoint: with
// nobody left but checkpointer, logger, archiver and WAL senders it cannot go back to serving clients, and its WAL senders take no more
// commands. Such a server may finish, however long the checkpoint lasts. The proof is two looks lookApart apart in neither of which the
// same other child was seen: a child that was seen once is a client that is being refused. A postmaster without any of them proves nothing: it
// may be about to start.
const (
	lookApart = 50 * time.Millisecond
	lookEvery = 100 * time.Millisecond
	lookLead  = 100 * time.Millisecond // the looks begin so long before their verdict is wanted
	lookStale = 400 * time.Millisecond // a verdict older than this counts for nothing
)

// looker looks at the children of the postmaster from a thread of its own: to read a title the kernel reads the memory of that process,
// which can take for ever while a disk hangs. The ladder waits for no look: it takes the newest verdict, and none is a bad one.
type looker struct {
	proc proc
	wake int // eventfd: a write starts it

	pid      atomic.Int64 // whose children
	finished atomic.Int64 // when the last look of a clean pair began (now()), 0: the last pair was not clean
	seen     [2]otherSet
}

// otherSet is the children of one look that may still acknowledge something.
type otherSet struct {
	n        int
	many     bool // more than there is room for
	finisher bool // there was a child that only an orderly stop leaves, beside the logger
	kids     [64]child
}

type child struct {
	pid   int32
	start uint64
}

// run never ends. It must be locked to its thread.
func (l *looker) run() {
	var b [8]byte
	for {
		if n, _ := read(l.wake, b[:]); n <= 0 {
			return
		}
		pid := int(l.pid.Load())
		l.look(pid, &l.seen[0])
		for i := 1; ; i++ {
			switch {
			case l.proc.dry:
				pause(time.Millisecond)
			case i == 1:
				pause(lookApart)
			default:
				pause(lookEvery)
			}
			began := now()
			if !l.look(pid, &l.seen[i%2]) || int(l.pid.Load()) != pid {
				break // the postmaster is gone, or was only a rehearsal's
			}
			if a, b := &l.seen[0], &l.seen[1]; a.meets(b) || !a.finisher || !b.finisher {
				began = 0
			}
			l.finished.Store(int64(began))
		}
	}
}

// begin starts looking at the children of pid, until it is gone.
func (l *looker) begin(pid int) {
	l.pid.Store(int64(pid))
	l.finished.Store(0)
	one := [8]byte{1, 1, 1, 1, 1, 1, 1, 1}
	_, _ = unix.Write(l.wake, one[:])
}

// harmless is the newest verdict.
func (l *looker) harmless() bool {
	at := time.Duration(l.finished.Load())
	return at != 0 && now()-at < lookStale
}

// look fills o with the children of pid that could still acknowledge something, and says whether pid exists.
func (l *looker) look(pid int, o *otherSet) bool {
	o.n, o.many, o.finisher = 0, false, false
	kids := l.proc.children(pid)
	for _, kid := range kids {
		title, errno := l.proc.read(int(kid), "cmdline")
		if errno == unix.ENOENT || errno == unix.ESRCH {
			continue
		}
		switch duty(title) {
		case finishes:
			o.finisher = true
			continue
		case attends:
			continue
		}
		s, errno := l.proc.stat(int(kid))
		if errno != 0 || s.zombie() {
			continue
		}
		if o.n == len(o.kids) {
			o.many = true
			break
		}
		o.kids[o.n] = child{kid, s.start}
		o.n++
	}
	s, errno := l.proc.stat(pid)
	return errno == 0 && !s.zombie()
}

// meets says whether a child is in both sets.
func (o *otherSet) meets(p *otherSet) bool {
	if o.many || p.many {
		return true
	}
	for _, a := range o.kids[:o.n] {
		for _, b := range p.kids[:p.n] {
			if a == b {
				return true
			}
		}
	}
	return false
}

var (
	titlePrefix    = []byte("postgres: ")
	titleSeparator = []byte(": ")
	walSender      = []byte("walsender ")
	streams        = []byte(" streaming ")
	rests          = []byte(" idle")
	ioWorker       = []byte("io worker ")
	finishers      = [...][]byte{[]byte("checkpointer"), []byte("checkpointer performing shutdown checkpoint"), []byte("archiver")}
	archiving      = [...][]byte{[]byte("archiver archiving "), []byte("archiver last was "), []byte("archiver failed on ")}
	logger         = []byte("logger")
)

// role is what a child of the postmaster is for.
type role uint8

const (
	serves   role = iota // it may acknowledge something, or nobody knows
	attends              // the logger, which outlives all, and others that serve nobody by themselves
	finishes             // a process that outlives the clients in an orderly stop
)

// duty tells the role of a process by its title (PostgreSQL 14 to 18; see GetBackendTypeDesc in its source). The name of the cluster may
// stand before it. A title of a client names its user, database and host, so it has more words than any of these; one of a database role
// named "walsender" ends with what it works on, a WAL sender's does not.
func duty(title []byte) role {
	text, ok := bytes.CutPrefix(bytes.TrimRight(title, "\x00 "), titlePrefix)
	for ok {
		if r := dutyOf(text); r != serves {
			return r
		}
		_, text, ok = bytes.Cut(text, titleSeparator)
	}
	return serves
}

func dutyOf(text []byte) role {
	if bytes.Equal(text, logger) {
		return attends
	}
	for _, f := range finishers {
		if bytes.Equal(text, f) {
			return finishes
		}
	}
	for _, a := range archiving {
		if file, ok := bytes.CutPrefix(text, a); ok && bytes.IndexByte(file, ' ') < 0 {
			return finishes
		}
	}
	if n, ok := bytes.CutPrefix(text, ioWorker); ok && isNumber(n) {
		return attends // it works for others (since 18)
	}
	if bytes.HasPrefix(text, walSender) && (bytes.Contains(text, streams) || bytes.HasSuffix(text, rests)) {
		return finishes
	}
	return serves
}

func isNumber(b []byte) bool {
	for _, c := range b {
		if c < '0' || c > '9' {
			return false
		}
	}
	return len(b) > 0
}
