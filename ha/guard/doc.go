// Package guard ends a PostgreSQL server at a set time, whatever happens to the agent that set it. It implements ha.Fence by a small
// process of its own.
package guard
