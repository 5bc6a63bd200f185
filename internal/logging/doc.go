// Package logging makes the agent's logger from the section log of the configuration: lines as Patroni writes them, or
// JSON, on standard error or in files that are turned over by size.
//
//	2026-08-01 02:00:00,123 INFO: became the leader rule=vacant.acquire
//
// The level can be changed while the agent runs.
package logging
