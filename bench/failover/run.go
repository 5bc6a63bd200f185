//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/tanist-ha/tanist/internal/testcluster"
	"github.com/tanist-ha/tanist/internal/testcluster/writers"
)

// result is one repetition of a trial, as a line of JSON. Times are in seconds.
type result struct {
	Case        string         `json:"case"`
	Repetition  int            `json:"repetition"`
	Outage      float64        `json:"write_outage_s"`                 // the longest silence of the clients outside
	Outages     []outage       `json:"outages,omitempty"`              // every silence above 100 ms, from the fault on
	ProxyOutage *float64       `json:"proxy_write_outage_s,omitempty"` // the same for the clients behind HAProxy
	Acked       int            `json:"acknowledged"`
	Lost        int            `json:"lost"`
	LostInside  int            `json:"lost_inside,omitempty"` // acknowledged to a client on the host that was cut off
	Two         float64        `json:"two_servers_s"`
	FalseHealth float64        `json:"primary_200_without_commits_s"`
	LastInside  *float64       `json:"last_inside_s,omitempty"`        // last commit inside the host that was cut off, after the cut
	Return      *float64       `json:"return_s,omitempty"`             // first commit after the store was back
	LastBefore  *float64       `json:"last_before_return_s,omitempty"` // last commit before that, after it went away
	LastOld     *float64       `json:"last_old_s,omitempty"`           // last commit on the server whose agent had gone, after that
	Took        float64        `json:"repetition_s"`
	Errors      map[string]int `json:"client_errors,omitempty"`
	Failed      string         `json:"failed,omitempty"` // the cluster did not heal, or a step failed
}

// outage is one silence; From counts from the fault.
type outage struct {
	From   float64 `json:"from_s"`
	Length float64 `json:"length_s"`
}

// haproxyConfig has the checks of a user's file.
const haproxyConfig = `global
    maxconn 200
defaults
    mode tcp
    retries 2
    timeout client 30m
    timeout connect 4s
    timeout server 30m
    timeout check 5s
listen stats
    bind *:7000
    mode http
    stats enable
    stats uri /
listen pg_primary
    bind *:5000
    option httpchk OPTIONS /primary
    http-check expect status 200
    default-server inter 3s fall 3 rise 2 on-marked-down shutdown-sessions
    server n1 10.0.0.1:5432 check port 8008
    server n2 10.0.0.2:5432 check port 8008
    server n3 10.0.0.3:5432 check port 8008
`

// bench is a cluster and what was measured on it.
type bench struct {
	c     *testcluster.Cluster
	proxy *testcluster.HAProxy
	low   bool // the settings that are in force
}

// repeat runs one repetition. An error means that the bench cannot go on; what the cluster did wrong is in the result.
func (b *bench) repeat(ctx context.Context, t trial, i int) (result, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, 4*time.Minute, errors.New("the repetition took 4 minutes"))
	defer cancel()
	r := result{Case: t.name, Repetition: i}
	began := time.Now()
	s, err := b.stage(ctx, t)
	if err != nil {
		return r, err
	}
	s.hit = s.leader
	err = t.act(ctx, s)
	end := s.w.Since()
	s.w.Finish()
	if err != nil {
		r.Failed = err.Error()
	}
	b.measure(&r, t, s, end)
	if err := b.compare(ctx, &r, s); err != nil && r.Failed == "" {
		r.Failed = err.Error()
	}
	r.Took = time.Since(began).Seconds()
	return r, nil
}

// stage brings the cluster to the state in which the trial begins: healthy, with the settings, with clients at work.
func (b *bench) stage(ctx context.Context, t trial) (*scene, error) {
	leader, err := b.c.WaitHealthy(ctx)
	if err != nil {
		return nil, err
	}
	if err := b.configure(ctx, t.low); err != nil {
		return nil, err
	}
	for _, sql := range []string{writers.DDL, "truncate bench", "checkpoint"} {
		if _, err := b.c.SQL(ctx, leader, sql); err != nil {
			return nil, fmt.Errorf("%s: %w", sql, err)
		}
	}
	if t.proxy && b.proxy == nil {
		if b.proxy, err = b.c.StartHAProxy(ctx, haproxyConfig, nil); err != nil {
			return nil, err
		}
	}
	if t.proxy {
		if err := b.proxy.WaitServers(ctx, "pg_primary", 1); err != nil {
			return nil, err
		}
	}
	w, err := writers.Start(context.WithoutCancel(ctx), b.c)
	if err != nil {
		return nil, err
	}
	at := slices.Index(b.c.Nodes, leader)
	s := &scene{c: b.c, w: w, leader: leader, other: b.c.Nodes[(at+1)%len(b.c.Nodes)], ttl: 30 * time.Second}
	if t.low {
		s.ttl = lowTTL(b.c.Kind)
	}
	if err := b.extras(ctx, t, w, at); err != nil {
		w.Finish()
		return nil, err
	}
	return s, nil
}

// extras adds the clients that only some trials have, and waits until everybody works.
func (b *bench) extras(ctx context.Context, t trial, w *writers.Workload, leader int) error {
	if t.inside {
		if err := w.AddInside(leader); err != nil {
			return err
		}
	}
	if t.proxy {
		if err := w.AddProxy(b.c.Address, b.proxy.Ports["pg_primary"]); err != nil {
			return err
		}
		if err := w.Answered(ctx, &w.Proxy, 20); err != nil {
			return fmt.Errorf("through HAProxy: %w", err)
		}
	}
	return w.Answered(ctx, &w.Acks, 400)
}

// configure makes the timeouts the trial's.
func (b *bench) configure(ctx context.Context, low bool) error {
	if b.low == low {
		return nil
	}
	patch, ttl := map[string]any{"ttl": 30, "loop_wait": 10, "retry_timeout": 10, "tanist": nil}, 30*time.Second
	if low {
		ttl = lowTTL(b.c.Kind)
		seconds := int(ttl.Seconds())
		patch = map[string]any{"ttl": seconds, "loop_wait": 1, "retry_timeout": 2, "tanist": map[string]any{"minimum_ttl": seconds}}
	}
	if err := b.c.PatchConfig(ctx, patch); err != nil {
		return err
	}
	if b.c.Kind == testcluster.ConsulStore {
		ttl /= 2
	}
	if err := b.c.WaitTTL(ctx, ttl); err != nil {
		return err
	}
	b.low = low
	return nil
}

// measure fills in what the clients saw.
func (b *bench) measure(r *result, t trial, s *scene, end time.Duration) {
	w := s.w
	gaps := writers.Outages(w.Acks, s.fault, end, writers.Noise)
	if len(gaps) == 0 { // below the noise: still a figure
		gaps = writers.Outages(w.Acks, s.fault, end, 0)
		r.Outage = writers.Longest(gaps).Seconds()
	} else {
		r.Outage = writers.Longest(gaps).Seconds()
		for _, g := range gaps {
			r.Outages = append(r.Outages, outage{(g.From - s.fault).Seconds(), g.Length().Seconds()})
		}
	}
	if t.proxy {
		r.ProxyOutage = seconds(writers.Longest(writers.Outages(w.Proxy, s.fault, end, 0)))
	}
	everyone := slices.Concat(w.Acks, w.Inside)
	r.Acked = len(w.Acks) + len(w.Inside) + len(w.Proxy)
	r.Two = writers.TwoServers(everyone, len(b.c.Nodes)).Seconds()
	r.FalseHealth = writers.FalseHealth(w.Checks, everyone, len(b.c.Nodes), end).Seconds()
	if t.inside {
		if last := lastBefore(w.Inside, s.fault+s.ttl+3*time.Second); last > s.fault {
			r.LastInside = seconds(last - s.fault)
		} else {
			r.LastInside = seconds(0)
		}
	}
	if t.agentGone {
		r.LastOld = seconds(max(0, lastBefore(writers.Of(w.Acks, slices.Index(b.c.Nodes, s.hit)), s.back)-s.fault))
	} else if s.back > 0 {
		r.LastBefore = seconds(max(0, lastBefore(w.Acks, s.back)-s.fault))
		if first, ok := firstAfter(w.Acks, s.back); ok {
			r.Return = seconds(first - s.back)
		}
	}
	r.Errors = w.Fails
}

// compare looks for acknowledged rows that are gone.
func (b *bench) compare(ctx context.Context, r *result, s *scene) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
	defer cancel()
	leader, err := b.c.WaitLeader(ctx)
	if err != nil {
		return err
	}
	rows, err := writers.Present(ctx, b.c, leader)
	if err != nil {
		return err
	}
	r.Lost = len(writers.Lost(slices.Concat(s.w.Acks, s.w.Proxy), rows))
	r.LostInside = len(writers.Lost(s.w.Inside, rows))
	return nil
}

func seconds(d time.Duration) *float64 {
	s := d.Seconds()
	return &s
}

// lastBefore is when the last answer came before a moment, 0: none did.
func lastBefore(acks []writers.Ack, at time.Duration) time.Duration {
	var last time.Duration
	for _, a := range acks {
		if a.Got <= at {
			last = max(last, a.Got)
		}
	}
	return last
}

// firstAfter is when the first commit that was sent after a moment was answered.
func firstAfter(acks []writers.Ack, at time.Duration) (first time.Duration, ok bool) {
	for _, a := range acks {
		if a.Got > at && (!ok || a.Got < first) {
			first, ok = a.Got, true
		}
	}
	return first, ok
}

// run runs all repetitions of the trials and hands each result to report.
func (b *bench) run(ctx context.Context, all []trial, n int, report func(result) error) error {
	for _, t := range all {
		count := t.n
		if n > 0 {
			count = n
		}
		for i := 1; i <= count; i++ {
			r, err := b.repeat(ctx, t, i)
			if err != nil {
				return fmt.Errorf("%s, repetition %d: %w", t.name, i, err)
			}
			if err := report(r); err != nil {
				return err
			}
		}
	}
	return nil
}

// printLogs shows the ends of the agents' logs, when something went wrong.
func (b *bench) printLogs(w io.Writer) {
	for _, n := range b.c.Nodes {
		log := n.Log()
		if len(log) > 6000 {
			log = "…" + log[len(log)-6000:]
		}
		fmt.Fprintf(w, "--- log of %s\n%s\n", n.Name, log)
	}
}
