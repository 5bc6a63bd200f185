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
		if err := s.Tidy(ctx); err != nil && s.streams.Err() == nil {
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
	select {
	case <-s.done:
		return nil // there is no database any more
	default:
	}
	full := s.fullMembers()
	if len(full) > 0 {
		s.cfg.logger().Error("the etcd database has reached its quota and takes no writes: dropping old versions of keys", "quota", s.quota(), "size", s.etcd.Server.Backend().Size())
		if err := s.compact(ctx); err != nil {
			return fmt.Errorf("drop old versions of keys: %w", err)
		}
		s.etcd.Server.Backend().ForceCommit() // how much is in use is counted then
	}
	if s.wants(len(full) > 0) {
		if err := s.defragment(ctx, len(full) > 0); err != nil {
			return fmt.Errorf("rewrite the database: %w", err)
		}
	}
	if len(full) == 0 {
		return nil
	}
	return s.disarm(ctx, full)
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
	return worthwhile(be.Size(), be.SizeInUse(), s.quota(), full)
}

func worthwhile(size, used, quota int64, full bool) bool {
	if full {
		return size > quota/2 && size-used > max(size/32, 64<<10) // etcd leaves some free pages in a new file
	}
	return size-used > max(wasteful, size/2)
}

// fills says whether a file leaves less than a tenth of the quota free. One that does is worth rewriting, or there is nothing to be won by that:
// there is none for which nobody does anything.
func fills(size, quota int64) bool { return size > quota-quota/10 }

// defragment rewrites this member's file if it is its turn. A leader only hands the leadership over: it is a follower when it looks again.
func (s *Server) defragment(ctx context.Context, full bool) error {
	srv := s.etcd.Server
	others := s.others()
	members.Look(ctx, others, s.cfg.ClientTLS)
	leads, heir := srv.Leader() == srv.MemberID(), uint64(0)
	for _, m := range others {
		silent := m.SizeBytes == 0 // it may be rewriting its own file at this moment
		first := m.Healthy && !m.Leader && (leads || m.ID < uint64(srv.MemberID())) && worthwhile(m.SizeBytes, m.InUseBytes, s.quota(), full)
		if looks := s.waited[m.ID]; silent && looks < 1 || first && looks < 5 { // its quota may be another, or its disk full
			s.waited[m.ID]++
			return nil
		}
		if !silent && !first {
			delete(s.waited, m.ID)
		}
		if m.Healthy && !m.Learner && heir == 0 {
			heir = m.ID
		}
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

// disarm ends alarms if no member fills its quota any more; one that did would raise its own with the next write. Each ends its own alarm, and the
// leader also those of members that do not come back: etcd keeps them.
func (s *Server) disarm(ctx context.Context, full map[types.ID]bool) error {
	srv, be := s.etcd.Server, s.etcd.Server.Backend()
	if size, used := be.Size(), be.SizeInUse(); fills(size, s.quota()) {
		if worthwhile(size, used, s.quota(), true) {
			return nil // its turn is still to come
		}
		return fmt.Errorf("the etcd database holds %d bytes of a quota of %d, without old versions of keys: find out who writes them, or raise quota_backend_bytes on all members",
			used, s.quota())
	}
	others := s.others()
	members.Look(ctx, others, s.cfg.ClientTLS)
	for _, m := range others {
		if m.Healthy && fills(m.SizeBytes, s.quota()) {
			return fmt.Errorf("the etcd database of member %s still holds %d bytes of a quota of %d here (hint: quota_backend_bytes has to be the same on all members)", m.Name, m.SizeBytes, s.quota())
		}
	}
	for id := range full {
		if id != srv.MemberID() && !s.Leads() {
			continue
		}
		_, err := srv.Alarm(ctx, &pb.AlarmRequest{Action: pb.AlarmRequest_DEACTIVATE, MemberID: uint64(id), Alarm: pb.AlarmType_NOSPACE})
		if err != nil {
			return fmt.Errorf("end the alarm of the full database: %w", err)
		}
		s.cfg.logger().Warn("the etcd database has room again: it takes writes", "size", be.Size(), "quota", s.quota())
	}
	return nil
}

// Alive says whether the member answers a question about what it holds itself, at once. It may be cut off from the others.
func (s *Server) Alive(ctx context.Context) bool {
	_, err := s.etcd.Server.Range(ctx, &pb.RangeRequest{Key: []byte("alive"), Serializable: true})
	return err == nil
}

// Leads says whether the member is etcd's leader.
func (s *Server) Leads() bool { return s.etcd.Server.Leader() == s.etcd.Server.MemberID() }
