package embedetcd

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"go.etcd.io/etcd/server/v3/embed"

	"github.com/tanist-ha/tanist/dcs/embedetcd/members"
)

// enter finds out what a member with an empty data directory is to do, does what must come first, and leaves in e what etcd needs
// to know. It returns the id that a running cluster has given to this member; 0: it founds a cluster.
func (s *Server) enter(ctx context.Context, cfg Config, e *embed.Config) (uint64, error) {
	g, err := newGreeter(ctx, cfg, e.InitialCluster, e.ListenPeerUrls)
	if err != nil {
		return 0, err
	}
	defer g.close()
	say := saying(cfg, "the embedded etcd member is waiting")
	for {
		view, err := g.decide(ctx, say)
		if errors.Is(err, errFounded) {
			e.ClusterState = embed.ClusterStateFlagNew
			cfg.logger().Info("all members of the initial cluster are here and empty: founding the etcd cluster", "members", e.InitialCluster)
			return 0, nil
		}
		if err != nil {
			return 0, err
		}
		id, err := join(ctx, cfg, e, g, view)
		if err == nil {
			return id, nil
		}
		say(err)
		select {
		case <-ctx.Done():
			return 0, fmt.Errorf("%w (%w)", err, context.Cause(ctx))
		case <-time.After(joinEvery):
		}
	}
}

// joinEvery is the pause between attempts to join.
const joinEvery = time.Second

// join makes this member one of the cluster that view shows: under a new identity, without a vote at first. What the cluster knows at this member's
// address is an identity whose memory is lost, and is removed: it must not vote again, as it no longer knows what it has voted for.
func join(ctx context.Context, cfg Config, e *embed.Config, g *greeter, view clusterView) (uint64, error) {
	var endpoints []string
	for _, m := range view.members {
		endpoints = append(endpoints, m.ClientURLs...)
	}
	cluster, err := members.Open(endpoints, cfg.ClientTLS)
	if err != nil {
		return 0, err
	}
	defer cluster.Close()
	list, err := cluster.List(ctx)
	if err != nil {
		return 0, err
	}
	own := texts(e.AdvertisePeerUrls)
	for _, m := range list {
		if !overlap(m.PeerURLs, own) {
			if m.Name == cfg.Name {
				return 0, fmt.Errorf("the cluster has a member %s at %s, and this one is at %s: give this one another name, or, if that one is gone for good, remove it: tanistctl etcd remove %s",
					m.Name, strings.Join(m.PeerURLs, ","), strings.Join(own, ","), m.Name)
			}
			continue
		}
		if err := g.isOwn(ctx, own); err != nil {
			return 0, err
		}
		cfg.logger().Warn("the data directory is empty, and the cluster knows a member at this address: removing that identity, to join with a new one",
			"name", m.Name, "id", fmt.Sprintf("%x", m.ID))
		if err := cluster.Remove(ctx, m.ID); err != nil {
			return 0, err
		}
	}
	id, all, err := cluster.AddLearner(ctx, own)
	if err != nil {
		return 0, err
	}
	cfg.logger().Info("joining the etcd cluster, without a vote until this member has caught up", "cluster", view.id, "id", fmt.Sprintf("%x", id))
	e.ClusterState, e.InitialCluster = embed.ClusterStateFlagExisting, joinCluster(cfg.Name, id, all)
	return id, nil
}

// isOwn makes sure that nobody but this process answers at the addresses urls: then the member that the cluster knows there is gone.
func (g *greeter) isOwn(ctx context.Context, urls []string) error {
	for _, u := range urls {
		h, view, err := g.ask(ctx, u)
		switch {
		case err != nil:
			return fmt.Errorf("make sure that %s leads to this member: %w", u, err)
		case view != nil || h.StartID != g.own.StartID:
			return fmt.Errorf("another process answers at %s, which this member gives as its own address: correct peer_advertise", u)
		}
	}
	return nil
}

// joinCluster is what etcd wants to be told of all members: NAME=URL,... Members that have not run yet have no name, and any will do.
func joinCluster(name string, id uint64, all []members.Member) string {
	var parts []string
	for _, m := range all {
		n := m.Name
		switch {
		case m.ID == id:
			n = name
		case n == "" || n == name:
			n = fmt.Sprintf("member-%x", m.ID)
		}
		for _, u := range m.PeerURLs {
			parts = append(parts, n+"="+u)
		}
	}
	return strings.Join(parts, ",")
}

// vote asks the others to give this member a vote, until they have done it. It returns when it has one, or with the member.
func (s *Server) vote(cfg Config) {
	defer close(s.voter)
	select {
	case <-s.etcd.Server.ReadyNotify(): // before that, a new member does not know that it is a learner
	case <-s.done:
		return
	}
	say := saying(cfg, "the embedded etcd member is waiting")
	for s.etcd.Server.IsLearner() {
		if err := s.askVote(cfg); err != nil {
			say(fmt.Errorf("it has no vote yet: %w", err))
		}
		select {
		case <-s.done:
			return
		case <-time.After(joinEvery / 2):
		}
	}
}

// askVoteTimeout bounds one round of asking the others for the vote.
const askVoteTimeout = 10 * time.Second

func (s *Server) askVote(cfg Config) error {
	ctx, cancel := context.WithTimeout(s.streams, askVoteTimeout)
	defer cancel()
	var endpoints []string
	for _, m := range s.etcd.Server.Cluster().Members() {
		if m.ID != s.etcd.Server.MemberID() && !m.IsLearner {
			endpoints = append(endpoints, m.ClientURLs...)
		}
	}
	cluster, err := members.Open(endpoints, cfg.ClientTLS)
	if err != nil {
		return err
	}
	defer cluster.Close()
	return cluster.Promote(ctx, uint64(s.etcd.Server.MemberID()))
}

// saying returns a function that logs an error when it differs from the last one.
func saying(cfg Config, message string) func(error) {
	last := ""
	return func(err error) {
		if text := err.Error(); text != last {
			last = text
			cfg.logger().Warn(message, "reason", text)
		}
	}
}

func texts(urls []url.URL) []string {
	out := make([]string, len(urls))
	for i := range urls {
		out[i] = urls[i].String()
	}
	return out
}

func overlap(a, b []string) bool {
	return slices.ContainsFunc(a, func(x string) bool { return slices.Contains(b, x) })
}
