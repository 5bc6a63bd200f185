// Package pgtest starts throw-away PostgreSQL servers for tests, on 127.0.0.1 with free ports and temporary folders.
//
// PostgreSQL refuses to run as root, and continuous integration often runs as root. So a package that starts servers
// gives its tests this entry:
//
//	func TestMain(m *testing.M) { pgtest.Main(m) }
//
// As root, Main runs the same test binary again as the user postgres, with a temporary folder of its own; otherwise it
// just runs the tests. A test then asks for the installed majors, and for a server:
//
//	pgtest.RunAll(t, func(t *testing.T, binDir string) {
//		c := pgtest.Init(t, binDir)
//		c.Start(t)
//		got := c.Query(t, "SELECT 1")
//	})
//
// Servers are found in PG_BINS (a list of folders separated by ":", which is then the whole list), else in the usual
// places of distributions, else on PATH. Where none is installed the test is skipped, but it fails in continuous
// integration (environment variable CI not empty), where a skipped test would be a silent hole.
//
// Every server is stopped by its pid when its test ends, also after a failure, and is killed by the kernel when the test
// binary dies without cleaning up.
package pgtest
