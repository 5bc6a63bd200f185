// Package warden is the guard process itself, and the language in which it is spoken to. Package guard is the agent's side.
//
// It is written for a process that sleeps for months and must then act within milliseconds on a machine where nothing else works: after
// set-up it allocates nothing, starts nothing, and touches no file outside /proc. It imports little, so that package initialisation
// reaches it before the heavy packages of the program that it is part of (see Enter).
package warden
