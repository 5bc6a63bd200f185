// Package watchdog is the last ring around a primary: a device that resets the whole machine unless somebody keeps it alive. It implements
// ha.Watchdog.
//
// An agent keeps to its lease, and a guard process ends the server if the agent cannot. A machine may freeze whole, and with it both of them;
// or something may hold the two and leave the server running. Only hardware, or the kernel, ends that:
//
//	activated before the server becomes writable
//	      | kept alive by each renewal of the leader key that the store has confirmed, and by nothing else
//	      v
//	no renewal: the machine is reset, before another node can lead
//
// Package ha decides all of this; this package only talks to the device. It knows two drivers:
//
//   - "default" is the kernel's watchdog interface, /dev/watchdog: hardware of server boards, or the module softdog. Opening the device
//     starts it. Its timeout is set with WDIOC_SETTIMEOUT, and asked for with WDIOC_GETTIMEOUT, as a device may count something else than it
//     was told, or have a timeout that nobody can set. WDIOC_KEEPALIVE begins the time anew. Writing the letter V before closing stops it
//     ("magic close"), if the device can be stopped: those without that feature, and those that were loaded with nowayout, run until
//     the machine is reset.
//   - "testing" writes the same to a named pipe, in the form that Patroni's test driver has: "Ctimeout=25" and a newline when the timeout is
//     set, "1" to keep alive, "V" to stop. Closing without V is what happens to an agent that dies.
//
// The agent's user must be allowed to write to the device. Only one process can have it open: systemd's RuntimeWatchdogSec and the
// watchdog daemon must leave it alone.
package watchdog
