package warden

import "testing"

// Titles as PostgreSQL 14 to 18 set them; the first word of /proc/PID/cmdline, filled up with zeros.
func TestDuty(t *testing.T) {
	for title, want := range map[string]role{
		"postgres: checkpointer":                                          finishes,
		"postgres: checkpointer ":                                         finishes,
		"postgres: checkpointer \x00\x00\x00":                             finishes,
		"postgres: demo: checkpointer":                                    finishes,
		"postgres: a: b: checkpointer":                                    finishes,
		"postgres: checkpointer performing shutdown checkpoint":           finishes,
		"postgres: demo: logger ":                                         attends,
		"postgres: demo: archiver archiving 000000010000000000000001":     finishes,
		"postgres: demo: archiver last was 000000010000000000000001":      finishes,
		"postgres: demo: archiver failed on 000000010000000000000001":     finishes,
		"postgres: walsender replicator 10.0.0.1(4711) streaming 0/5000":  finishes,
		"postgres: demo: walsender postgres app [local] idle":             finishes,
		"postgres: walsender app [local] COMMIT":                          serves,
		"postgres: walsender app [local] idle in transaction":             serves,
		"postgres: demo: background writer":                               serves,
		"postgres: demo: walwriter":                                       serves,
		"postgres: demo: autovacuum launcher":                             serves,
		"postgres: demo: startup recovering 000000010000000000000001":     serves,
		"postgres: demo: postgres app 127.0.0.1(4711) idle":               serves,
		"postgres: checkpointer app 127.0.0.1(4711) idle":                 serves,
		"postgres: logger logger [local] COMMIT":                          serves,
		"postgres: archiver archiving [local] idle":                       serves,
		"postgres: demo: parallel worker for PID 12":                      serves,
		"postgres: demo: logical replication launcher":                    serves,
		"/usr/bin/postgres\x00-D\x00/data\x00--cluster_name=checkpointer": serves,
		"postgres: io worker 0":                                           attends,
		"postgres: demo: io worker 12":                                    attends,
		"postgres: io worker [local] idle":                                serves,
		"":                                                                serves,
	} {
		if got := duty([]byte(title)); got != want {
			t.Errorf("duty(%q) = %v, want %v", title, got, want)
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
