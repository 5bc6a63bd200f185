package instance

import (
	"context"
	"strconv"

	"github.com/tanist-ha/tanist/postgres"
)

// The kept connection is a tripwire. When one backend is killed, the postmaster ends all others and starts anew on the same data: no postmaster
// dies, and nothing but the end of our own backend tells of it. That end is seen without a request, and without a word over the connection,
// which is not to be read while nobody asks (docs/decisions/0022-the-end-of-our-own-backend.md).

// trip begins to watch the backend of conn. The answer ends that, and nothing is told any more once it has been called.
func (i *Instance) trip(ctx context.Context, r *run, conn postgres.Conn) (untrip func(), err error) {
	rows, err := conn.Query(ctx, "SELECT pg_backend_pid()")
	if err != nil {
		return nil, err
	}
	h := i.backend(rows)
	if h == nil { // it has ended already, which the look that is under way finds out, or it runs where we see no processes
		return func() {}, nil
	}
	watch, stop := context.WithCancel(i.life)
	i.goroutines.Add(1)
	go func() {
		defer i.goroutines.Done()
		defer h.close()
		if h.wait(watch) == nil && watch.Err() == nil {
			i.tellDisturbed(r.id)
		}
	}()
	return stop, nil
}

// backend holds the process that rows name, if it is one of our server.
func (i *Instance) backend(rows [][]*string) *processHandle {
	if len(rows) != 1 || len(rows[0]) != 1 || rows[0][0] == nil {
		return nil
	}
	pid, err := strconv.Atoi(*rows[0][0])
	if err != nil {
		return nil
	}
	h, err := openProcess(pid)
	if err != nil {
		return nil
	}
	if !i.ours(pid) || !h.alive() {
		h.close()
		return nil
	}
	return h
}

// tellDisturbed never blocks: who has not read the last one looks anyway.
func (i *Instance) tellDisturbed(p postgres.Postmaster) {
	select {
	case i.disturbed <- p:
	default:
	}
}

// Disturbed tells that the connection over which Observe looks was ended from the other side while this postmaster ran, as it happens: a backend
// was killed, so that the postmaster starts anew, or somebody has ended our session.
func (i *Instance) Disturbed() <-chan postgres.Postmaster { return i.disturbed }
