// Package modeltest holds the PostgreSQL of the simulator to the real one.
//
// The simulator of package ha/hatest finds two primaries and lost rows in thousands of histories, but only as far as its servers do what
// PostgreSQL does. So one script of random operations (write, stop, kill, start, promote, follow, rewind, clone, recover, and commits that wait for a
// synchronous standby and are cancelled, terminated or caught by the server's end) is carried out
// by both, step by step, and after each step everything that an agent could observe must agree: what runs, in which role and on which
// timeline, what the control file says, who streams from whom, which rows are there, who is ahead of whom, and whether one may follow
// the other. Where they differ PostgreSQL is right, and the model has to be changed.
//
// What PostgreSQL does of its own accord (restartpoints, lists of running transactions, hint bits) the model is told of when it shows. It may show
// late: a record that a primary wrote after another had been promoted away from it is met by the next rewind.
//
// The script of a seed is made by the model alone. An operation after which a server would stream from one that contradicts it, under the
// same timeline number, is left out: what follows then is undefined, and the rules of package ha must not let it happen.
//
//	go test ./internal/modeltest -run TestModel -v -args -model.seed=7 -model.ops=200
package modeltest
