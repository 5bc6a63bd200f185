package warden

import (
	"time"

	"golang.org/x/sys/unix"
)

// now is CLOCK_BOOTTIME, which counts the time that the machine was suspended.
func now() time.Duration {
	var ts unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts) // cannot fail: set-up has tried it
	return time.Duration(ts.Nano())
}

// tick is the unit of start times in /proc: USER_HZ, which is 100 on every architecture that Go runs Linux on.
const tick = 10 * time.Millisecond

// ticks is the start time that a process would have that starts at t.
func ticks(t time.Duration) uint64 { return uint64(t / tick) }

// pause waits without giving up the thread to anything else.
func pause(d time.Duration) {
	_, _ = unix.Poll(nil, int(d/time.Millisecond))
}
