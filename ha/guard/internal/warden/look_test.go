package warden

import "testing"

// Titles as PostgreSQL 14 to 18 set them; the first word of /proc/PID/cmdline, filled up with zeros.
func TestFinishing(t *testing.T) {
	for title, want := range map[string]bool{
		"postgres: checkpointer":                                          true,
		"postgres: checkpointer ":                                         true,
		"postgres: checkpointer \x00\x00\x00":                             true,
		"postgres: demo: checkpointer":                                    true,
		"postgres: a: b: checkpointer":                                    true,
		"postgres: checkpointer performing shutdown checkpoint":           true,
		"postgres: demo: logger ":                                         true,
		"postgres: demo: archiver archiving 000000010000000000000001":     true,
		"postgres: demo: archiver last was 000000010000000000000001":      true,
		"postgres: demo: archiver failed on 000000010000000000000001":     true,
		"postgres: walsender replicator 10.0.0.1(4711) streaming 0/5000":  true,
		"postgres: demo: walsender postgres app [local] idle":             true,
		"postgres: demo: background writer":                               false,
		"postgres: demo: walwriter":                                       false,
		"postgres: demo: autovacuum launcher":                             false,
		"postgres: demo: startup recovering 000000010000000000000001":     false,
		"postgres: demo: postgres app 127.0.0.1(4711) idle":               false,
		"postgres: checkpointer app 127.0.0.1(4711) idle":                 false,
		"postgres: logger logger [local] COMMIT":                          false,
		"postgres: archiver archiving [local] idle":                       false,
		"postgres: demo: parallel worker for PID 12":                      false,
		"postgres: demo: logical replication launcher":                    false,
		"/usr/bin/postgres\x00-D\x00/data\x00--cluster_name=checkpointer": false,
		"": false,
	} {
		if got := finishing([]byte(title)); got != want {
			t.Errorf("finishing(%q) = %v", title, got)
		}
	}
}

func TestMeets(t *testing.T) {
	a := &otherSet{n: 2}
	a.kids[0], a.kids[1] = child{7, 1}, child{8, 1}
	b := &otherSet{n: 1}
	b.kids[0] = child{8, 2} // the pid was given to another process
	if a.meets(b) {
		t.Error("another process with the same pid is taken for the same")
	}
	b.kids[0].start = 1
	if !a.meets(b) {
		t.Error("the same process in both looks is not seen")
	}
	if !a.meets(&otherSet{many: true}) {
		t.Error("more than can be compared counts as none")
	}
}
