// Package instance runs a PostgreSQL server on this machine. It implements the Postgres port of package ha without
// knowing ha. It needs Linux (pidfd, /proc) and PostgreSQL 14 to 18.
//
// # The server outlives the agent
//
// A postmaster that an Instance starts has its own session and writes to a log file, so it goes on when the agent dies.
// A new Instance adopts it: it proves by /proc that the process named in postmaster.pid is that postmaster and no other
// program with the same pid, and watches it through a pidfd, which tells its end at once (Exits).
//
// # Look, order, know
//
//	o := inst.Observe(ctx)                         // one bounded look; what could not be seen is absent
//	out, err := inst.Run(ctx, task, func(p postgres.Phase) { … }) // one task at a time, with milestones
//	exit := <-inst.Exits()                         // the end of a postmaster, whoever started it
//
// A look reads the files of the data directory and makes one SQL round trip over a connection that is kept. While
// nothing changes, it starts no program. The end of that connection's backend is told at once (Disturbed): when any
// backend is killed, the postmaster lives, ends all others and starts anew.
//
// A task can be cancelled by its context until it has told PhaseSignalled; what was ordered then is carried through. Kill
// is outside of all this: no lock, no SQL, no waiting for a task.
//
// # What a crash leaves
//
// A postmaster that is killed leaves children that go on answering clients, and a shared memory segment. So each start,
// and each stop, first sweeps: it kills every server process whose working directory is the data directory, and waits
// until nobody uses the segment.
//
// A clone, rewind, bootstrap or wipe that was interrupted leaves a marker beside the data directory, and such a directory
// is never started (DataDirUnfinished). The marker goes after the first successful start, or with the last file.
//
// # Closed servers
//
// A new cluster is made by initdb and populated before anybody has the right to lead it. Its server therefore runs
// closed: pg_hba.conf lets in the superuser, over the Unix socket, from the operating system account that owns the
// server, and nobody else. TaskOpen puts the real file in place.
//
// # Files
//
// Beside the data directory D lie D.lock (held while an agent lives, against a second one), D.unfinished (the marker),
// D.log (the server's standard error) and D.pgpass, unless the configuration names other places. postgresql.conf,
// pg_hba.conf and pg_ident.conf are written by temporary file, fsync and rename; the first postgresql.conf that is found
// becomes postgresql.base.conf, which ours includes.
package instance
