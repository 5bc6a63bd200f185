// Package demo is the command tanist demo: three agents with three PostgreSQL servers on this machine, on an etcd that the
// agents run themselves, and a story that is told with them: the cluster comes up, the leader's host is lost under a
// writer, somebody takes over and says why, the old leader comes back as a standby, a planned switchover.
//
// Everything lives in one folder below the temporary directory, which is named and left behind. Every process that the
// demo has started has ended when it returns.
package demo
