package watchdog

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/tanist-ha/tanist/ha"
)

// Drivers.
const (
	DriverDefault = "default" // the kernel's interface
	DriverTesting = "testing" // a named pipe
)

// Config says which device it is.
type Config struct {
	Device string           // path; "": /dev/watchdog
	Driver string           // "": DriverDefault
	Now    func() time.Time // the node's clock: what ha.WatchdogOrder.Before is read by
}

// Watchdog is one device. It is made by New and is safe for concurrent use; a call waits for the one before.
type Watchdog struct {
	name string
	now  func() time.Time
	turn chan struct{} // holds one token: who has it may use dev, open and asked

	dev   device
	open  bool
	asked time.Duration // the timeout that dev was told

	mu    sync.Mutex
	state ha.WatchdogState // as it was when the last call ended
}

var _ ha.Watchdog = (*Watchdog)(nil)

// New makes the watchdog of a node. The device is not touched before it is armed.
func New(cfg Config) (*Watchdog, error) {
	if cfg.Device == "" {
		cfg.Device = "/dev/watchdog"
	}
	if cfg.Now == nil {
		return nil, errors.New("make a watchdog: Now is nil")
	}
	switch cfg.Driver {
	case "", DriverDefault:
		return newWatchdog("watchdog "+cfg.Device, &kernel{path: cfg.Device}, cfg.Now), nil
	case DriverTesting:
		return newWatchdog("watchdog "+cfg.Device+" (testing)", &pipe{path: cfg.Device}, cfg.Now), nil
	}
	return nil, fmt.Errorf("make a watchdog: there is no driver %q, only %s and %s", cfg.Driver, DriverDefault, DriverTesting)
}

func newWatchdog(name string, dev device, now func() time.Time) *Watchdog {
	return &Watchdog{name: name, dev: dev, now: now, turn: make(chan struct{}, 1)}
}

// Describe implements ha.Watchdog.
func (w *Watchdog) Describe() string { return w.name }

// Check implements ha.Watchdog: it looks whether the device is there and may be written to.
func (w *Watchdog) Check(ctx context.Context) error {
	_, err := w.call(ctx, func() error { return w.dev.check() })
	return err
}

// Arm implements ha.Watchdog.
func (w *Watchdog) Arm(ctx context.Context, o ha.WatchdogOrder) (ha.WatchdogState, error) {
	return w.call(ctx, func() error { return w.arm(ctx, o) })
}

// Disarm implements ha.Watchdog. A device that cannot be stopped stays open, so that it can be kept alive.
func (w *Watchdog) Disarm(ctx context.Context) (ha.WatchdogState, error) {
	return w.call(ctx, func() error {
		switch {
		case !w.open:
			return nil
		case w.last().Endless:
			return errors.New("the watchdog cannot be stopped")
		}
		return w.stop()
	})
}

// Close lets go of the device and leaves it as it is: one that still runs resets the machine.
func (w *Watchdog) Close() error {
	w.turn <- struct{}{}
	defer func() { <-w.turn }()
	if !w.open {
		return nil
	}
	w.open = false
	return w.dev.close(false)
}

// errLate is how an order ends whose time is over.
var errLate = errors.New("it is too late: the watchdog would outlive the authority")

// arm does what an order says; what it has opened in vain, it stops again.
func (w *Watchdog) arm(ctx context.Context, o ha.WatchdogOrder) error {
	if w.late(o, o.Timeout) {
		return errLate
	}
	opened := !w.open
	if opened {
		if err := w.dev.open(); err != nil {
			return err
		}
		w.open, w.asked = true, 0
		w.set(ha.WatchdogState{Running: true, Endless: w.dev.endless()})
	}
	err := w.begin(o)
	if err == nil && opened && ctx.Err() != nil {
		err = fmt.Errorf("nobody waits for the watchdog any more: %w", context.Cause(ctx))
	}
	if err == nil {
		return nil
	}
	misfit := o.Most != 0 && !fits(o, w.last().Timeout)
	if (opened || misfit) && !w.last().Endless {
		return errors.Join(err, w.stop())
	}
	return err
}

// begin sets the timeout of the open device, and begins its time anew.
func (w *Watchdog) begin(o ha.WatchdogOrder) error {
	state := w.last()
	if w.asked != o.Timeout {
		if err := w.dev.set(o.Timeout); err != nil && !errors.Is(err, errUnsettable) {
			return fmt.Errorf("set the watchdog's timeout to %s: %w", o.Timeout, err)
		}
		counts, err := w.dev.get()
		if err != nil {
			return fmt.Errorf("ask for the watchdog's timeout: %w", err)
		}
		w.asked, state.Timeout = o.Timeout, counts
		w.set(state)
	}
	switch {
	case o.Most != 0 && !fits(o, state.Timeout):
		return fmt.Errorf("the watchdog counts %s, not between %s and %s", state.Timeout, o.Least, o.Most)
	case w.late(o, state.Timeout):
		return errLate
	}
	if err := w.dev.keepAlive(); err != nil {
		return fmt.Errorf("keep the watchdog alive: %w", err)
	}
	return nil
}

func fits(o ha.WatchdogOrder, t time.Duration) bool { return t >= o.Least && t <= o.Most }

// late says whether a device that counts so much, and is kept alive now, ends after it has to.
func (w *Watchdog) late(o ha.WatchdogOrder, counts time.Duration) bool {
	return !o.Before.IsZero() && w.now().After(o.Before.Add(o.Timeout-counts))
}

// stop closes the device so that it stops.
func (w *Watchdog) stop() error {
	if err := w.dev.close(true); err != nil {
		return fmt.Errorf("stop the watchdog: %w", err)
	}
	w.open, w.asked = false, 0
	w.set(ha.WatchdogState{})
	return nil
}

// call runs do when its turn comes, and waits for it until ctx ends. A driver may hang in the kernel: do then goes on without anybody who
// waits, and keeps its turn until it is done.
func (w *Watchdog) call(ctx context.Context, do func() error) (ha.WatchdogState, error) {
	select {
	case w.turn <- struct{}{}:
	case <-ctx.Done():
		return w.last(), fmt.Errorf("the watchdog is still busy with the last order: %w", context.Cause(ctx))
	}
	done := make(chan error, 1)
	go func() { // ends when the device has answered
		err := do()
		<-w.turn
		done <- err
	}()
	select {
	case err := <-done:
		return w.last(), err
	case <-ctx.Done():
		return w.last(), fmt.Errorf("the watchdog does not answer: %w", context.Cause(ctx))
	}
}

func (w *Watchdog) last() ha.WatchdogState {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.state
}

func (w *Watchdog) set(s ha.WatchdogState) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.state = s
}
