//go:build linux

package e2e

import (
	"context"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/tanist-ha/tanist/internal/testcluster"
)

// TestGuardAndTheServer lets the guard meet servers that do not end as they should.
func TestGuardAndTheServer(t *testing.T) {
	f := startFortress(t, testcluster.Options{})
	for _, sc := range []scenario{
		{"checkpoint of 10 s at T_fast", slowCheckpoint},
		{"hung backend and SQL over a replication connection at T_fast", hungBackend},
		{"postmaster killed, with a pipelining client and a DO loop", orphans},
		{"postmaster stopped at T_fast", stoppedPostmaster},
	} {
		t.Run(sc.name, func(t *testing.T) {
			s := f.siege(t)
			sc.run(s)
			s.lift()
		})
	}
}

// slowCheckpoint: clients are gone at once, and the shutdown's checkpoint may take its time; the next start must not find a crash.
func slowCheckpoint(s *siege) {
	if n, err := s.leader.FreezeBackends("checkpointer"); n != 1 || err != nil {
		s.t.Fatalf("%d checkpointers are frozen: %v", n, err)
	}
	thaw := func() { s.leader.ThawBackends("checkpointer") }
	defer thaw()
	s.step(s.leader.KillAgent)
	s.newLeader(s.leader)
	s.wait(10 * time.Second)
	if _, up := s.leader.Postmaster(); !up {
		s.t.Error("the server was killed while nothing but its checkpoint was left")
	}
	thaw()
	s.serverGone(s.leader)
	ctx, cancel := s.ctx()
	defer cancel()
	out, code, err := s.Run(ctx, s.PGBin+"/pg_controldata", "-D", s.leader.DataDir)
	if err != nil || code != 0 || !strings.Contains(out, "shut down") {
		s.t.Errorf("the server did not end in order: %d, %v\n%s", code, err, out)
	}
}

// hungBackend: while it hangs, the server does not end by SIGINT, and WAL senders go on to serve SQL.
func hungBackend(s *siege) {
	s.must(s.w.AddReplication(s.index(s.leader)))
	s.step(func(ctx context.Context) error { return s.w.Answered(ctx, &s.w.Acks, 400) })
	conn := s.connect(s.leader)
	defer conn.Close(context.WithoutCancel(s.t.Context())) //nolint:errcheck // it hangs
	pid := s.backend(conn)
	s.must(syscall.Kill(pid, syscall.SIGSTOP))
	s.step(s.leader.KillAgent)
	s.serverGone(s.leader)
	s.newLeader(s.leader)
}

// orphans: backends outlive their postmaster, commit, and answer. With the agent gone, the guard sweeps them.
func orphans(s *siege) {
	s.query(s.leader, "create table if not exists looped (n int)")
	loop := s.connect(s.leader)
	defer loop.Close(context.WithoutCancel(s.t.Context())) //nolint:errcheck // its server was killed
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = loop.Exec(context.WithoutCancel(s.t.Context()), "do $$ begin loop insert into looped values (1); commit; end loop; end $$").Close()
	}()
	pipe := s.connect(s.leader)
	defer pipe.Close(context.WithoutCancel(s.t.Context())) //nolint:errcheck // its server was killed
	piped := make(chan int, 1)
	go func() { piped <- pipeline(pipe) }()
	eventually(s.t, "the loop commits", func() (bool, string) {
		n := s.query(s.leader, "select count(*) from looped")
		return n != "0", n + " rows"
	})
	s.step(s.leader.KillAgent)
	s.fatal = s.w.Since()
	s.must(s.leader.KillPostmaster())
	began := time.Now()
	s.serverGone(s.leader)
	s.t.Logf("all processes were gone %v after their postmaster was killed", time.Since(began).Round(time.Millisecond))
	<-done
	s.t.Logf("the pipelining client was answered %d times", <-piped)
	s.newLeader(s.leader)
}

// pipeline sends statements without waiting for answers, for as long as it gets any. It returns how many were answered.
func pipeline(conn *pgconn.PgConn) (answered int) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	for {
		p := conn.StartPipeline(ctx)
		for range 100 {
			p.SendQueryParams("insert into looped values (2)", nil, nil, nil, nil)
			p.SendPipelineSync()
		}
		if p.Flush() != nil {
			return answered
		}
		for range 100 {
			r, err := p.GetResults()
			if err != nil {
				return answered
			}
			if rows, ok := r.(*pgconn.ResultReader); ok {
				if _, err := rows.Close(); err != nil {
					return answered
				}
				answered++
			}
			if _, err := p.GetResults(); err != nil { // the sync
				return answered
			}
		}
		if p.Close() != nil {
			return answered
		}
	}
}

// stoppedPostmaster: it hears no signal but SIGKILL, and its backends go on until then.
func stoppedPostmaster(s *siege) {
	s.fatal = s.w.Since() + ttl
	pid, _ := s.leader.Postmaster()
	s.must(syscall.Kill(pid, syscall.SIGSTOP))
	s.step(s.leader.KillAgent)
	s.serverGone(s.leader)
	s.newLeader(s.leader)
}

// connect opens a connection that the caller closes.
func (s *siege) connect(n *testcluster.Node) *pgconn.PgConn {
	s.t.Helper()
	cfg, err := s.ConnConfig(n, "postgres")
	s.must(err)
	ctx, cancel := s.ctx()
	defer cancel()
	conn, err := pgconn.ConnectConfig(ctx, &cfg.Config)
	s.must(err)
	return conn
}

// backend is the process id of the server's end.
func (s *siege) backend(conn *pgconn.PgConn) int {
	s.t.Helper()
	ctx, cancel := s.ctx()
	defer cancel()
	results, err := conn.Exec(ctx, "select pg_backend_pid()").ReadAll()
	s.must(err)
	pid, err := strconv.Atoi(string(results[0].Rows[0][0]))
	s.must(err)
	return pid
}
