package bootclock

import (
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// Clock tells the time as doc.go says. It is made by New and is safe for concurrent use.
type Clock struct {
	wall time.Time     // the wall clock at New, UTC, without a monotonic part
	boot time.Duration // CLOCK_BOOTTIME at the same moment
}

// New reads both clocks once. It fails only on a kernel without CLOCK_BOOTTIME (before Linux 2.6.39).
func New() (*Clock, error) {
	boot, err := boottime()
	if err != nil {
		return nil, fmt.Errorf("read CLOCK_BOOTTIME: %w", err)
	}
	return &Clock{wall: time.Now().Round(0).UTC(), boot: boot}, nil
}

// Now returns the time, in UTC.
func (c *Clock) Now() time.Time {
	boot, err := boottime()
	if err != nil {
		// clock_gettime of a valid clock into valid memory cannot fail (New has tried it).
		panic(fmt.Sprintf("bootclock: read CLOCK_BOOTTIME: %v", err))
	}
	return c.wall.Add(boot - c.boot)
}

// Boottime converts t, a time of this clock (as Now returns it), to CLOCK_BOOTTIME: the time since the machine was booted. It means the
// same to every process of this boot, so a deadline can be told to another one.
func (c *Clock) Boottime(t time.Time) time.Duration { return c.boot + t.Sub(c.wall) }

// At sends once on fired when Now has reached t; at once if it has already. stop releases the timer and may be called at
// any time, also more than once; after it, fired may still hold a signal that came before.
func (c *Clock) At(t time.Time) (fired <-chan struct{}, stop func()) {
	out := make(chan struct{}, 1)
	if !c.Now().Before(t) {
		out <- struct{}{}
		return out, func() {}
	}
	timer, err := openTimer(c.Boottime(t))
	if err != nil {
		return c.fallback(t, out)
	}
	go func() { // ends when the timer fires or stop closes the file
		defer timer.Close()
		var expirations [8]byte
		if _, err := timer.Read(expirations[:]); err == nil {
			out <- struct{}{}
		}
	}()
	return out, func() { timer.Close() }
}

// fallback serves At where no timerfd can be had (out of file descriptors, a sandbox): Go's timer, which may be late by
// the length of a suspend, but never early.
func (c *Clock) fallback(t time.Time, out chan struct{}) (<-chan struct{}, func()) {
	quit := make(chan struct{})
	timer := time.NewTimer(t.Sub(c.Now()))
	go func() { // ends when the time has come or stop is called
		defer timer.Stop()
		for {
			select {
			case <-quit:
				return
			case <-timer.C:
			}
			left := t.Sub(c.Now())
			if left <= 0 {
				out <- struct{}{}
				return
			}
			timer.Reset(left)
		}
	}()
	stopped := make(chan struct{}, 1)
	stopped <- struct{}{}
	return out, func() {
		select {
		case <-stopped:
			close(quit)
		default:
		}
	}
}

// openTimer returns a file that becomes readable when CLOCK_BOOTTIME reaches at. It is non-blocking, so that os.File
// waits for it with the runtime's poller and holds no thread.
func openTimer(at time.Duration) (*os.File, error) {
	fd, err := unix.TimerfdCreate(unix.CLOCK_BOOTTIME, unix.TFD_NONBLOCK|unix.TFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("create timer: %w", err)
	}
	spec := unix.ItimerSpec{Value: unix.NsecToTimespec(at.Nanoseconds())}
	if err := unix.TimerfdSettime(fd, unix.TFD_TIMER_ABSTIME, &spec, nil); err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("set timer: %w", err)
	}
	return os.NewFile(uintptr(fd), "timerfd"), nil
}

func boottime() (time.Duration, error) {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts); err != nil {
		return 0, err
	}
	return time.Duration(ts.Nano()), nil
}
