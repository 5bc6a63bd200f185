package embedetcd

import (
	"context"
	"errors"
	"fmt"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/client/pkg/v3/types"
	"go.etcd.io/etcd/server/v3/storage/mvcc"

	"github.com/tanist-ha/tanist/dcs/embedetcd/members"
)

const (
	upkeepEvery   = time.Minute
	upkeepTimeout = 30 * time.Second
	// wasteful is how much free space in the database file is worth a defragmentation, which stops this member for the time of
	// copying what is in use: some 10 ms for what a PostgreSQL cluster keeps.
	wasteful = 32 << 20
)

// upkeep tidies the database from time to time. It ends with the member.
func (s *Server) upkeep() {
	ticker := time.NewTicker(upkeepEvery)
	defer ticker.Stop()
	say := saying(s.cfg, "the etcd database is not as it should be")
	for {
		select {
		case <-s.done:
			return
		case <-ticker.C:
		}
		ctx, cancel := context.WithTimeout(s.streams, upkeepTimeout)
		if err := s.Tidy(ctx); err != nil && ctx.Err() == nil {
			say(err)
		}
		cancel()
	}
}

// Tidy looks at the member's database once, as the member does by itself every minute. A file that is mostly free space is rewritten: one
// member at a time, followers first, and a leader hands the leadership over before. When the database has reached its quota, so that etcd refuses
// writes (alarm NOSPACE), old versions are dropped at once, files are rewritten, and the alarm is ended if there is room again.
func (s *Server) Tidy(ctx context.Context) error {
	s.tidying.Lock()
	defer s.tidying.Unlock()
	full := s.fullMembers()
	if len(full) > 0 {
		s.cfg.logger().Error("the etcd database has reached its quota and takes no writes: dropping old versions of keys", "quota", s.quota(), "size", s.etcd.Server.Backend().Size())
		if err := s.compact(ctx); err != nil {
			return fmt.Errorf("drop old versions of keys: %w", err)
		}
	}
	if s.wants(len(full) > 0) {
		if err := s.defragment(ctx, len(full) > 0); err != nil {
			return fmt.Errorf("rewrite the database: %w", err)
		}
	}
	if full[s.etcd.Server.MemberID()] {
		return s.disarm(ctx)
	}
	return nil
}

func (s *Server) quota() int64 { return s.etcd.Config().QuotaBackendBytes }

// fullMembers are those whose database has reached its quota.
func (s *Server) fullMembers() map[types.ID]bool {
	full := map[types.ID]bool{}
	for _, a := range s.etcd.Server.Alarms() {
		if a.Alarm == pb.AlarmType_NOSPACE {
			full[types.ID(a.MemberID)] = true
		}
	}
	return full
}

func (s *Server) compact(ctx context.Context) error {
	_, err := s.etcd.Server.Compact(ctx, &pb.CompactionRequest{Revision: s.etcd.Server.KV().Rev(), Physical: true})
	if errors.Is(err, mvcc.ErrCompacted) {
		return nil // by another member
	}
	return err
}

// wants says whether this member's file is worth rewriting. While writes are refused, less is.
func (s *Server) wants(full bool) bool {
	be := s.etcd.Server.Backend()
	return worthwhile(be.Size(), be.SizeInUse(), full)
}

func worthwhile(size, used int64, full bool) bool {
	if full {
		return size-used > size/10
	}
	return size-used > max(wasteful, size/2)
}

// defragment rewrites this member's file if it is its turn. A leader only hands the leadership over: it is a follower when it looks again.
func (s *Server) defragment(ctx context.Context, full bool) error {
	srv := s.etcd.Server
	others := s.others()
	members.Look(ctx, others, s.cfg.ClientTLS)
	leads, heir := srv.Leader() == srv.MemberID(), uint64(0)
	for _, m := range others {
		waits := worthwhile(m.SizeBytes, m.InUseBytes, full)
		switch {
		case m.SizeBytes == 0 && !s.missed[m.ID]:
			s.missed[m.ID] = true
			return nil // it does not answer: it may be rewriting its own file at this moment
		case m.SizeBytes == 0:
		case waits && !m.Leader && (leads || m.ID < uint64(srv.MemberID())):
			return nil // it comes first
		case m.Healthy && !m.Learner && heir == 0:
			heir = m.ID
		}
		s.missed[m.ID] = m.SizeBytes == 0
	}
	if leads && heir != 0 {
		s.cfg.logger().Info("handing etcd's leadership over, to rewrite the database", "to", fmt.Sprintf("%x", heir))
		return srv.MoveLeader(ctx, srv.Lead(), heir)
	}
	before, start := srv.Backend().Size(), time.Now()
	if err := srv.Backend().Defrag(); err != nil {
		return err
	}
	s.cfg.logger().Info("rewrote the etcd database without its free space", "before", before, "after", srv.Backend().Size(), "took", time.Since(start).Round(time.Millisecond))
	return nil
}

// others are the other members, as this one knows them.
func (s *Server) others() []members.Member {
	var out []members.Member
	for _, m := range s.etcd.Server.Cluster().Members() {
		if m.ID != s.etcd.Server.MemberID() {
			out = append(out, members.Member{ID: uint64(m.ID), Name: m.Name, ClientURLs: m.ClientURLs, Learner: m.IsLearner})
		}
	}
	return out
}

// disarm ends this member's alarm when a tenth of its quota is free again, and so is the same on the others: a member that still is full would
// only raise its own with the next write.
func (s *Server) disarm(ctx context.Context) error {
	srv, most := s.etcd.Server, s.quota()-s.quota()/10
	if used := srv.Backend().SizeInUse(); used > most {
		return fmt.Errorf("the etcd database holds %d bytes of a quota of %d, without old versions of keys: find out who writes them, or raise quota_backend_bytes",
			used, s.quota())
	}
	others := s.others()
	members.Look(ctx, others, s.cfg.ClientTLS)
	for _, m := range append(others, members.Member{SizeBytes: srv.Backend().Size()}) {
		if m.SizeBytes > most {
			return nil // its turn is still to come
		}
	}
	_, err := srv.Alarm(ctx, &pb.AlarmRequest{Action: pb.AlarmRequest_DEACTIVATE, MemberID: uint64(srv.MemberID()), Alarm: pb.AlarmType_NOSPACE})
	if err != nil {
		return fmt.Errorf("end the alarm of the full database: %w", err)
	}
	s.cfg.logger().Warn("the etcd database has room again: it takes writes", "size", srv.Backend().Size(), "quota", s.quota())
	return nil
}

// Alive says whether the member answers a question about what it holds itself, at once. It may be cut off from the others.
func (s *Server) Alive(ctx context.Context) bool {
	_, err := s.etcd.Server.Range(ctx, &pb.RangeRequest{Key: []byte("alive"), Serializable: true})
	return err == nil
}

// Leads says whether the member is etcd's leader.
func (s *Server) Leads() bool { return s.etcd.Server.Leader() == s.etcd.Server.MemberID() }
