package flight

import (
	"bufio"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"

	"github.com/tanist-ha/tanist/ha"
)

// Options say what a Recorder keeps. The zero value keeps the newest entries in memory and writes no file.
type Options struct {
	// Keep is how many entries memory holds at least, once there were as many; 512 if 0. An idle node makes 20 to 40 in a minute.
	Keep int
	// File takes all entries as JSON lines; "": none. It is appended to.
	File string
	// MaxBytes is the size at which File is renamed to File.1 (in the place of an older one) and begun anew; 32 MiB if 0.
	MaxBytes int64
	Logger   *slog.Logger // nil: silence
}

// queueLength is how many entries may wait for the disk. More are made in a failover than in an hour of rest.
const queueLength = 1024

// Recorder keeps a flight record. It is safe for concurrent use. Close it.
type Recorder struct {
	opts Options
	log  *slog.Logger

	mu        sync.Mutex
	stretches [][]ha.RecordEntry // each begins with a checkpoint
	kept      int
	dropped   uint64
	gap       bool // the file lacks an entry: what follows up to the next checkpoint is of no use there
	closed    bool

	queue chan ha.RecordEntry // nil: no file; closed by Close
	done  chan struct{}       // closed when the file is
	file  *os.File            // owned by write, as is what follows
	out   *bufio.Writer
	size  int64
	bad   bool // the file could not be written
}

var _ ha.Recorder = (*Recorder)(nil)

// Open makes a Recorder, and its file if one is named.
func Open(o Options) (*Recorder, error) {
	if o.Keep <= 0 {
		o.Keep = 512
	}
	if o.MaxBytes <= 0 {
		o.MaxBytes = 32 << 20
	}
	r := &Recorder{opts: o, log: o.Logger}
	if r.log == nil {
		r.log = slog.New(slog.DiscardHandler)
	}
	if o.File == "" {
		return r, nil
	}
	if err := r.openFile(); err != nil {
		return nil, err
	}
	r.queue, r.done = make(chan ha.RecordEntry, queueLength), make(chan struct{})
	go r.write()
	return r, nil
}

// Record implements ha.Recorder. It returns at once.
func (r *Recorder) Record(e ha.RecordEntry) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return
	}
	r.keep(e)
	if r.queue == nil || (r.gap && e.Start == nil) {
		return
	}
	select {
	case r.queue <- e:
		r.gap = false
	default:
		r.dropped++
		r.gap = true
	}
}

// keep adds e to what memory holds, and lets the oldest stretch go when the others are enough. The lock is held.
func (r *Recorder) keep(e ha.RecordEntry) {
	if e.Start != nil || len(r.stretches) == 0 {
		r.stretches = append(r.stretches, nil)
	}
	last := len(r.stretches) - 1
	r.stretches[last] = append(r.stretches[last], e)
	r.kept++
	if oldest := len(r.stretches[0]); last > 0 && r.kept-oldest >= r.opts.Keep {
		r.kept -= oldest
		r.stretches = append(r.stretches[:0:0], r.stretches[1:]...)
	}
}

// Entries returns what memory holds, oldest first. It begins with a checkpoint, so that it can be replayed.
func (r *Recorder) Entries() []ha.RecordEntry {
	r.mu.Lock()
	defer r.mu.Unlock()
	all := make([]ha.RecordEntry, 0, r.kept)
	for _, s := range r.stretches {
		all = append(all, s...)
	}
	return all
}

// Dropped counts the entries that the disk did not take in time. They are in Entries for as long as others are.
func (r *Recorder) Dropped() uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.dropped
}

// Close writes what is still to be written and closes the file. Entries that come later are ignored.
func (r *Recorder) Close() error {
	r.mu.Lock()
	if r.closed || r.queue == nil {
		r.closed = true
		r.mu.Unlock()
		return nil
	}
	r.closed = true
	close(r.queue)
	r.mu.Unlock()
	<-r.done
	if r.bad {
		return fmt.Errorf("the flight record %s is incomplete", r.opts.File)
	}
	return nil
}

// openFile opens the file for appending.
func (r *Recorder) openFile() error {
	f, err := os.OpenFile(r.opts.File, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("open the flight record: %w", err)
	}
	info, err := f.Stat()
	if err != nil {
		return errors.Join(fmt.Errorf("open the flight record: %w", err), f.Close())
	}
	r.file, r.out, r.size = f, bufio.NewWriter(f), info.Size()
	if r.size > 0 {
		r.out.WriteByte('\n') // a crash may have left half a line; an empty one does no harm
	}
	return nil
}

// write is the goroutine that owns the file; it ends with the queue. After an error it waits for the next checkpoint and tries again.
func (r *Recorder) write() {
	defer close(r.done)
	waiting := false // for a checkpoint, after an error
	for e := range r.queue {
		if waiting && e.Start == nil {
			continue
		}
		err := r.put(e)
		if err == nil && len(r.queue) == 0 {
			err = r.out.Flush()
		}
		waiting = err != nil
		if err != nil {
			r.complain(err)
			r.out.Reset(r.file)   // a bufio.Writer keeps its error
			r.out.WriteByte('\n') // half a line may stand there
		}
	}
	if err := errors.Join(r.out.Flush(), r.file.Close()); err != nil {
		r.complain(err)
	}
}

func (r *Recorder) put(e ha.RecordEntry) error {
	if e.Start != nil && r.size > r.opts.MaxBytes {
		if err := r.turnOver(); err != nil {
			return err
		}
	}
	line, err := Encode(e)
	if err != nil {
		return err
	}
	r.size += int64(len(line))
	_, err = r.out.Write(line)
	return err
}

// turnOver begins a new file. The old one stays open if that fails.
func (r *Recorder) turnOver() error {
	if err := r.out.Flush(); err != nil {
		return err
	}
	if err := os.Rename(r.opts.File, r.opts.File+".1"); err != nil {
		return err
	}
	old := r.file
	if err := r.openFile(); err != nil {
		return err
	}
	return old.Close()
}

// complain says once that the file is incomplete.
func (r *Recorder) complain(err error) {
	if !r.bad {
		r.log.Warn("the flight record is not written", "file", r.opts.File, "error", err)
	}
	r.bad = true
}
