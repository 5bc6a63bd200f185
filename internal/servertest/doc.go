// Package servertest runs servers of other projects for tests: each in its own process on free ports of 127.0.0.1, ended with the test.
// What is particular to a store is in etcdtest, consultest and zktest, whose Server embeds a Process of this package.
package servertest
