// Package postgres is the vocabulary in which the rest of tanist speaks of PostgreSQL: positions in the log, branches of
// it, what the control file says, settings, names, and the port through which SQL goes. Nothing in it starts a process or
// opens a file or a socket; package postgres/instance does, and a stranger can do it in another way.
//
// # Positions and branches
//
// Every change of a cluster is a byte range of its write-ahead log. An LSN is a position in it, and a standby is a server
// that has the log up to some LSN. A promotion starts a new branch of the log, a Timeline, with a higher number; where
// the old one was left is written down in a History. So a Position is a pair, and two positions can only be compared
// through the history of the newest timeline:
//
//	timeline 1  ──────────┬────x        x wrote on after the switch: only what lies before it counts
//	timeline 2            └───────y
//
// Effective answers how much of a position belongs to the newest timeline, and Compare orders two servers by it.
//
// # May this server follow that one?
//
// A server that was a primary may hold log that the new primary's branch does not. Diverged judges, from where the local
// server stands (StandingOf) and what the upstream says of itself (Lineage): none, rewind, clone, unrelated or unknown,
// with a sentence. The delicate case is the primary that was shut down in order: it may follow if its shutdown checkpoint
// ends exactly where the new branch begins, and CheckpointEnd finds that end in the log itself.
//
// # What is seen and what is wanted
//
// Observation is one look at the local server, in which a part that could not be seen is absent, never zero. Task is one
// order to it, Phase a milestone on the way, Outcome what came of it. Settings is what the operator wants; some settings
// have to be the same on all members (Controlled).
//
// # Texts
//
// Parsers take what PostgreSQL's programs and catalogs print (ParseLSN, ParseControlData, ParseHistory, ParseVersion,
// ParseConninfo, ParseSyncNames, ParseInt, ParseBool), and each has its inverse where the agent writes the same text.
// Errors name what was expected. Text that may hold a password is not repeated in errors, and Conninfo prints without.
//
// PostgreSQL 14 to 18 are known. The facts are those of PostgreSQL's documentation and source; where a comment names a
// section, that is meant.
package postgres
