package main

import (
	"context"
	"strconv"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
	"golang.org/x/sys/unix"
)

// What the service manager is told.
const (
	readyState    = daemon.SdNotifyReady
	stoppingState = daemon.SdNotifyStopping
)

// reloadingState carries the time that systemd demands, in microseconds of CLOCK_MONOTONIC.
func reloadingState() string {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts); err != nil {
		return daemon.SdNotifyReloading
	}
	return daemon.SdNotifyReloading + "\nMONOTONIC_USEC=" + strconv.FormatInt(ts.Nano()/1000, 10)
}

// notify tells the service manager, if one listens. It is told again with the next change, so a failure is not worth a word.
func notify(state string) { _, _ = daemon.SdNotify(false, state) }

// tellSystemd says that the agent is ready, and then keeps the service manager's watchdog calm for as long as the node's
// loop runs on time.
func (a *agent) tellSystemd(ctx context.Context) {
	notify(readyState)
	interval, err := daemon.SdWatchdogEnabled(false)
	if err != nil || interval == 0 {
		return
	}
	ticker := time.NewTicker(interval / 2)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			st := a.node.Status()
			if a.node.Now().Before(st.NextLoop.Add(st.Settings.TTL)) {
				notify(daemon.SdNotifyWatchdog)
			}
		}
	}
}
