// Package bootclock is the clock of a real node: it implements ha.Clock for Linux.
//
// A lease runs out while a machine sleeps. Go's own timers and the monotonic part of time.Time stand still then (they use
// CLOCK_MONOTONIC), so a suspended primary would wake up and believe that it still has authority. This clock reads
// CLOCK_BOOTTIME, which counts suspend: its Now is the wall clock as it was at New, plus the boot time that has passed
// since. It therefore never steps when somebody sets the wall clock, and its times carry no hidden monotonic part: they
// survive JSON and can be compared with ==.
//
// Timers are timerfds of the same clock, so a machine that slept past a deadline finds it fired when it wakes.
//
// What it does not see: a hypervisor that pauses the whole guest may stop this clock too. That case is left to a hardware
// watchdog.
package bootclock
