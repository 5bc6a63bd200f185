// Package guard ends a PostgreSQL server at a set time, whatever happens to the agent that set it. It implements ha.Fence by a small process
// of its own.
//
// # Why
//
// A primary may acknowledge commits only while its node holds the leader key. An agent that is killed, frozen or hung cannot stop its server
// when that ends, and another node becomes primary beside it. So before a server may become writable, another process has been told until
// when, and has said that it understood. It needs neither the agent nor the store nor the disk to act.
//
// # How
//
//	func main() {
//		guard.Main() // the first line: becomes the guard, or the start shim, if it was started as one
//		…
//		fence, err := guard.New(guard.Config{Boottime: clock.Boottime}) // an idle guard process
//		node, err := ha.NewNode(ha.Config{Fence: fence, …})
//
// Four things happen from then on:
//
//   - Arm tells the guard which postmaster (process id and start time) and when: SIGINT at Fast, SIGQUIT at Quit, the end of everything at
//     Kill, all in CLOCK_BOOTTIME. It returns when the guard has acknowledged. Deadlines only ever grow.
//   - A server that is started goes through a shim (Command): the child waits for a byte, the guard takes hold of it (Attach), and only then
//     does it execute the server, under the same pid. There is no moment at which a server runs that nobody guards.
//   - The guard waits, with one system call and no processor time, for its timer, its agent, the end of the postmaster, and a successor. What
//     waits in its channel is read before it fires, so that a guard that was frozen for a while does not kill a healthy server.
//   - When a postmaster dies, by itself or of the guard, its children would go on answering their clients. The guard sweeps: it kills every
//     process of the same user, program and working directory, until none is left and nobody holds the shared memory.
//
// # The end of a server
//
//	Fast  SIGINT: clients end, WAL senders drain, a checkpoint is taken
//	Quit  SIGQUIT, unless only the checkpoint is left: such a server serves nobody and may finish
//	Kill  the postmaster is stopped, its children are killed, then itself; then the sweep
//
// A guard that has fired refuses everything, finishes, and ends. Lost tells it, as it tells the death of a guard. A guard that does not
// acknowledge in time counts as dead: another is armed in its place, then it is killed. A spare process stands by for that, idle, as a program
// takes long to start on a busy machine.
//
// # A new agent
//
// An armed guard outlives its agent. The first Arm of the next agent for that postmaster finds it, asks it for its deadlines, arms a guard
// of its own with the later ones, and only then dismisses it. So an upgrade of the agent leaves no gap, and no deadline is lost.
//
// # What it takes, and what it does not do
//
// The guard is this very program, entered before most of its packages are initialised: about 1 MB of its own (the spare as much), and 4 MB of the
// program's file that it shares with the agent. All of it is locked in memory, within the 8 MiB that an ordinary user may lock (RLIMIT_MEMLOCK); where that
// is refused, Describe says "not locked in memory". It ignores every signal that can be ignored, has its own session, works in "/" and opens
// nothing outside /proc.
//
// It cannot help where agent and guard are both killed while the server lives, nor where the whole machine is paused: those take a hardware
// watchdog. It needs Linux, a server of the same user in the same pid namespace, and a /proc that shows it; what is missing is an error of
// Arm with a hint. A kernel without pidfd, or without lists of children, is served by looking.
package guard
