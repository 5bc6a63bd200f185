package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/tanist-ha/tanist/config"
	"github.com/tanist-ha/tanist/dcs"
	"github.com/tanist-ha/tanist/dcs/embedetcd"
	"github.com/tanist-ha/tanist/internal/wire"
)

// storeParts are the way to the store, and the store's member that runs in this process, if there is one.
type storeParts struct {
	backend dcs.Backend
	client  *dcs.Client
	member  *embedetcd.Config // nil: the store is elsewhere
	log     *slog.Logger

	mu      sync.Mutex
	server  *embedetcd.Server // the member that runs, nil if none does
	once    sync.Once
	started chan struct{} // closed when the first one takes part
}

// newStore makes the client. It sends nothing yet: a store that cannot be reached is no reason not to start, and least of
// all with a server that runs already.
func newStore(cfg *config.Config, log *slog.Logger) (*storeParts, error) {
	s := &storeParts{log: log, started: make(chan struct{})}
	if cfg.EmbedEtcd != nil {
		member := memberConfig(cfg.EmbedEtcd, log)
		if err := member.Validate(); err != nil {
			return nil, err
		}
		s.member = &member
	}
	var err error
	if s.backend, err = wire.Backend(cfg, log); err != nil {
		return nil, err
	}
	s.client = dcs.NewClient(s.backend, dcs.Options{Namespace: cfg.Namespace, Scope: cfg.Scope, Name: cfg.Name, Logger: log})
	return s, nil
}

func memberConfig(e *config.EmbedEtcd, log *slog.Logger) embedetcd.Config {
	c := embedetcd.Config{
		Name: e.Name, DataDir: e.DataDir,
		ClientURLs: e.ClientListen, PeerURLs: e.PeerListen,
		AdvertiseClientURLs: e.ClientAdvertise, AdvertisePeerURLs: e.PeerAdvertise,
		Token: e.InitialClusterToken, Existing: e.InitialClusterState == "existing",
		Heartbeat:  time.Duration(e.HeartbeatInterval) * time.Millisecond,
		Election:   time.Duration(e.ElectionTime) * time.Millisecond,
		QuotaBytes: e.QuotaBytes,
		Logger:     log,
	}
	if e.CompactByRevision {
		c.CompactKeep = cmp.Or(e.CompactKeep, 1000)
	} else {
		c.CompactAfter = time.Duration(e.CompactKeep) * time.Minute
	}
	for _, m := range e.InitialCluster {
		c.InitialCluster = append(c.InitialCluster, embedetcd.Peer{Name: m.Name, URL: m.URL})
	}
	if e.Protocol == "https" {
		c.ClientTLS = &embedetcd.TLS{CertFile: e.Cert, KeyFile: e.Key, CAFile: e.CACert}
		c.PeerTLS = c.ClientTLS
	}
	return c
}

// memberRetry is the pause before an etcd member that ended, or did not start, is started again.
const memberRetry = 5 * time.Second

// run keeps the etcd member of this process running until ctx ends. One that cannot start does not end the agent: the
// server beside it may be the primary, and the other members may be a majority.
func (s *storeParts) run(ctx context.Context) {
	if s.member == nil {
		return
	}
	said := ""
	for {
		err := s.runMember(ctx)
		if ctx.Err() != nil {
			return
		}
		if text := fmt.Sprint(err); text != said {
			said = text
			s.log.Error("the embedded etcd member does not run; trying again", "every", memberRetry, "error", err)
		}
		timer := time.NewTimer(memberRetry)
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-timer.C:
		}
	}
}

// runMember starts the member and returns when it has ended.
func (s *storeParts) runMember(ctx context.Context) error {
	member, err := embedetcd.Start(ctx, *s.member)
	if err != nil {
		return err
	}
	s.log.Info("the embedded etcd member takes part in its cluster", "endpoints", member.Endpoints())
	s.set(member)
	defer s.set(nil)
	select {
	case <-ctx.Done():
		err = nil
	case <-member.Done():
		err = member.Err()
	}
	stopping, done := context.WithTimeout(context.WithoutCancel(ctx), memberStop)
	defer done()
	return errors.Join(err, member.Stop(stopping))
}

// memberStop bounds the end of a member: handing etcd's leadership over, and closing the database. A disk that hangs is not waited for.
const memberStop = 5 * time.Second

func (s *storeParts) set(member *embedetcd.Server) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.server = member
	if member != nil {
		s.once.Do(func() { close(s.started) })
	}
}

// running is the member that runs, nil if none does.
func (s *storeParts) running() *embedetcd.Server {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.server
}

func (s *storeParts) close() {
	if err := s.backend.Close(); err != nil {
		s.log.Debug("closing the store", "error", err)
	}
}
