package watchdog

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/tanist-ha/tanist/ha"
)

// order is what a leader of ttl 30 s asks for, a moment after a renewal.
func order(timeout time.Duration) ha.WatchdogOrder {
	return ha.WatchdogOrder{Timeout: timeout, Least: 10 * time.Second, Most: 28 * time.Second, Before: time.Now().Add(time.Hour), At: time.Now()}
}

// fifo makes a named pipe and returns what can be read from it so far.
func fifo(t *testing.T) (path string, told func() string, end func()) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "watchdog")
	if err := unix.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	var all strings.Builder
	told = func() string {
		buf := make([]byte, 4096)
		for {
			n, err := unix.Read(fd, buf)
			if n <= 0 || err != nil {
				return all.String()
			}
			all.Write(buf[:n])
		}
	}
	open := true
	end = func() {
		if open {
			open = false
			unix.Close(fd)
		}
	}
	t.Cleanup(end)
	return path, told, end
}

func pipeAt(t *testing.T, path string) *Watchdog {
	t.Helper()
	w, err := New(Config{Device: path, Driver: DriverTesting, Now: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { w.Close() })
	return w
}

// The testing driver writes Patroni's messages: a newline after the timeout, none after the others.
func TestPipe(t *testing.T) {
	path, told, _ := fifo(t)
	w := pipeAt(t, path)
	if err := w.Check(t.Context()); err != nil {
		t.Error(err)
	}
	if got := told(); got != "" {
		t.Errorf("a look wrote %q", got)
	}
	for _, timeout := range []time.Duration{25 * time.Second, 25 * time.Second, 15 * time.Second, 15 * time.Second} {
		state, err := w.Arm(t.Context(), order(timeout))
		if want := (ha.WatchdogState{Running: true, Timeout: timeout}); err != nil || state != want {
			t.Errorf("%+v, %v; want %+v", state, err, want)
		}
	}
	if state, err := w.Disarm(t.Context()); err != nil || state.Running {
		t.Errorf("%+v, %v", state, err)
	}
	if state, err := w.Disarm(t.Context()); err != nil || state.Running {
		t.Errorf("a second time: %+v, %v", state, err)
	}
	if diff := cmp.Diff("Ctimeout=25\n11Ctimeout=15\n11V", told()); diff != "" {
		t.Error(diff)
	}
	if _, err := w.Arm(t.Context(), order(25*time.Second)); err != nil {
		t.Error(err)
	}
	if err := w.Close(); err != nil { // as a death of the agent does
		t.Error(err)
	}
	if diff := cmp.Diff("Ctimeout=25\n11Ctimeout=15\n11VCtimeout=25\n1", told()); diff != "" {
		t.Error(diff)
	}
}

// A pipe that nobody reads is an error at once, never a wait.
func TestPipeWithoutReader(t *testing.T) {
	path, _, end := fifo(t)
	w := pipeAt(t, path)
	if _, err := w.Arm(t.Context(), order(25*time.Second)); err != nil {
		t.Fatal(err)
	}
	end()
	if state, err := w.Arm(t.Context(), order(25*time.Second)); !errors.Is(err, unix.EPIPE) || !state.Running {
		t.Errorf("%+v, %v; want EPIPE, and a device that runs on", state, err)
	}
	if state, err := w.Disarm(t.Context()); !errors.Is(err, unix.EPIPE) || !state.Running {
		t.Errorf("%+v, %v; want EPIPE, and a device that runs on", state, err)
	}
	if state, err := pipeAt(t, path).Arm(t.Context(), order(25*time.Second)); !errors.Is(err, unix.ENXIO) || state.Running {
		t.Errorf("%+v, %v; want ENXIO", state, err)
	}
}

// What is no watchdog is never taken for one.
func TestKernelRefusals(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		filepath.Join(t.TempDir(), "none"): "no such file or directory",
		file:                               "is not a device",
	} {
		w, err := New(Config{Device: path, Now: time.Now})
		if err != nil {
			t.Fatal(err)
		}
		if err := w.Check(t.Context()); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("check %s: %v", path, err)
		}
		if state, err := w.Arm(t.Context(), order(25*time.Second)); err == nil || !strings.Contains(err.Error(), want) || state.Running {
			t.Errorf("arm %s: %+v, %v", path, state, err)
		}
	}
	null, err := New(Config{Device: os.DevNull, Now: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	if state, err := null.Arm(t.Context(), order(25*time.Second)); !errors.Is(err, unix.ENOTTY) || state.Running {
		t.Errorf("arm %s: %+v, %v; want ENOTTY", os.DevNull, state, err)
	}
	if _, err := New(Config{Driver: "softdog", Now: time.Now}); err == nil {
		t.Error("an unknown driver is taken")
	}
	if _, err := New(Config{}); err == nil {
		t.Error("a watchdog without a clock is made")
	}
}

// scripted stands in for a kernel device, of which test machines have none: the order of calls and what follows from refusals is tested
// with it, the ioctls themselves are not.
type scripted struct {
	calls  []string
	fixed  time.Duration // it counts this, whatever it is told
	noStop bool
	fail   string // the call that fails
	count  time.Duration
	block  chan struct{} // keepAlive waits for it
	hangs  func()        // called when it begins to wait
}

func (s *scripted) call(name string) error {
	s.calls = append(s.calls, name)
	if name == s.fail {
		return unix.EIO
	}
	return nil
}
func (s *scripted) check() error  { return s.call("check") }
func (s *scripted) open() error   { return s.call("open") }
func (s *scripted) endless() bool { return s.noStop }
func (s *scripted) set(t time.Duration) error {
	err := s.call("set " + t.String())
	if s.fixed != 0 {
		return errUnsettable
	}
	s.count = t
	return err
}
func (s *scripted) get() (time.Duration, error) {
	if s.fixed != 0 {
		return s.fixed, s.call("get")
	}
	return s.count, s.call("get")
}
func (s *scripted) keepAlive() error {
	if s.block != nil {
		s.hangs()
		<-s.block
	}
	return s.call("keep alive")
}
func (s *scripted) close(stop bool) error {
	if stop {
		return s.call("stop")
	}
	return s.call("close")
}

func TestArm(t *testing.T) {
	ok := func(timeout time.Duration) ha.WatchdogState { return ha.WatchdogState{Running: true, Timeout: timeout} }
	endless := func(timeout time.Duration) ha.WatchdogState {
		return ha.WatchdogState{Running: true, Timeout: timeout, Endless: true}
	}
	whatever := order(25 * time.Second)
	whatever.Most, whatever.Before = 0, time.Time{}
	for name, tc := range map[string]struct {
		dev    scripted
		orders []ha.WatchdogOrder
		state  ha.WatchdogState
		err    string
		calls  string
	}{
		"armed once, kept alive": {orders: []ha.WatchdogOrder{order(25 * time.Second), order(25 * time.Second)}, state: ok(25 * time.Second),
			calls: "open, set 25s, get, keep alive, keep alive"},
		"a new timeout": {orders: []ha.WatchdogOrder{order(25 * time.Second), order(15 * time.Second)}, state: ok(15 * time.Second),
			calls: "open, set 25s, get, keep alive, set 15s, get, keep alive"},
		"a timeout that nobody can set, and fits": {dev: scripted{fixed: 20 * time.Second}, orders: []ha.WatchdogOrder{order(25 * time.Second)},
			state: ok(20 * time.Second), calls: "open, set 25s, get, keep alive"},
		"one that is too long": {dev: scripted{fixed: time.Minute}, orders: []ha.WatchdogOrder{order(25 * time.Second)},
			err: "the watchdog counts 1m0s, not between 10s and 28s", calls: "open, set 25s, get, stop"},
		"one that is too short": {dev: scripted{fixed: 5 * time.Second}, orders: []ha.WatchdogOrder{order(25 * time.Second)},
			err: "the watchdog counts 5s, not between 10s and 28s", calls: "open, set 25s, get, stop"},
		"too long, and not to be stopped": {dev: scripted{fixed: time.Minute, noStop: true}, orders: []ha.WatchdogOrder{order(25 * time.Second)},
			state: endless(time.Minute), err: "the watchdog counts 1m0s, not between 10s and 28s", calls: "open, set 25s, get"},
		"kept alive all the same, if asked": {dev: scripted{fixed: time.Minute, noStop: true}, orders: []ha.WatchdogOrder{order(25 * time.Second), whatever},
			state: endless(time.Minute), calls: "open, set 25s, get, keep alive"},
		"set fails":        {dev: scripted{fail: "set 25s"}, orders: []ha.WatchdogOrder{order(25 * time.Second)}, err: "set the watchdog's timeout to 25s: input/output error", calls: "open, set 25s, stop"},
		"keep alive fails": {dev: scripted{fail: "keep alive"}, orders: []ha.WatchdogOrder{order(25 * time.Second)}, err: "keep the watchdog alive: input/output error", calls: "open, set 25s, get, keep alive, stop"},
		"stop fails": {dev: scripted{fail: "stop", fixed: time.Minute}, orders: []ha.WatchdogOrder{order(25 * time.Second)}, state: ok(time.Minute),
			err: "the watchdog counts 1m0s, not between 10s and 28s\nstop the watchdog: input/output error", calls: "open, set 25s, get, stop"},
		"too late": {orders: []ha.WatchdogOrder{{Timeout: 25 * time.Second, Least: time.Second, Most: 28 * time.Second, Before: time.Now().Add(-time.Second)}},
			err: errLate.Error(), calls: ""},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWatchdog("scripted", &tc.dev, time.Now)
			var state ha.WatchdogState
			var err error
			for _, o := range tc.orders {
				state, err = w.Arm(t.Context(), o)
			}
			text := ""
			if err != nil {
				text = err.Error()
			}
			if diff := cmp.Diff([]any{tc.state, tc.err, tc.calls}, []any{state, text, strings.Join(tc.dev.calls, ", ")}); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// A device that counts more than it was told is kept alive only while it still ends in time.
func TestLateForWhatItCounts(t *testing.T) {
	dev := &scripted{fixed: 27 * time.Second}
	now := time.Now()
	w := newWatchdog("scripted", dev, func() time.Time { return now })
	o := order(25 * time.Second)
	o.Before = now.Add(time.Second) // in time for 25 s, not for 27 s
	if state, err := w.Arm(t.Context(), o); !errors.Is(err, errLate) || state.Running {
		t.Errorf("%+v, %v; want %v", state, err, errLate)
	}
}

// An endless device is never closed, so that it can be kept alive.
func TestEndlessStaysOpen(t *testing.T) {
	dev := &scripted{noStop: true}
	w := newWatchdog("scripted", dev, time.Now)
	if _, err := w.Arm(t.Context(), order(25*time.Second)); err != nil {
		t.Fatal(err)
	}
	if state, err := w.Disarm(t.Context()); err == nil || !state.Running || !state.Endless {
		t.Errorf("%+v, %v", state, err)
	}
	if got, want := strings.Join(dev.calls, ", "), "open, set 25s, get, keep alive"; got != want {
		t.Errorf("%s; want %s", got, want)
	}
}

// A driver that hangs in the kernel does not hang the agent. What it opens after nobody waits any more is stopped again.
func TestHungDriver(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	dev := &scripted{block: make(chan struct{}), hangs: cancel}
	w := newWatchdog("scripted", dev, time.Now)
	if _, err := w.Arm(ctx, order(25*time.Second)); !errors.Is(err, context.Canceled) {
		t.Errorf("%v; want that it does not answer", err)
	}
	if _, err := w.Disarm(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("%v; want that it is busy", err)
	}
	close(dev.block)
	if state, err := w.Disarm(t.Context()); err != nil || state.Running {
		t.Errorf("%+v, %v", state, err)
	}
	if got, want := strings.Join(dev.calls, ", "), "open, set 25s, get, keep alive, stop"; got != want {
		t.Errorf("%s; want %s", got, want)
	}
}

var _ io.Closer = (*Watchdog)(nil)
