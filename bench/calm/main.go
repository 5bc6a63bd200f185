//go:build linux

// Command calm runs a healthy cluster under load and expects that nothing happens: no fence, no demotion, no restart, no
// change of leader, no failed transaction.
//
//	go run ./bench/calm [-for 1h] [-clients 16] [-rate N] [-busy 2]
//
// Three nodes with real PostgreSQL and etcd, default settings; pgbench writes on the primary, and busy loops take the
// machine's cores. It prints the load and the members' counters once a minute, and ends with exit code 1 at the first
// event that no fault explains, as there is no fault.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/tanist-ha/tanist/internal/testcluster"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "calm:", err)
		os.Exit(1)
	}
}

// load is what the cluster has to bear.
type load struct {
	long          time.Duration
	clients, rate int
	busy, nice    int
	pgBin         string
}

func run(ctx context.Context, args []string, out io.Writer) error {
	var l load
	flags := flag.NewFlagSet("calm", flag.ContinueOnError)
	flags.DurationVar(&l.long, "for", time.Hour, "how long")
	flags.IntVar(&l.clients, "clients", 16, "clients of pgbench")
	flags.IntVar(&l.rate, "rate", 0, "transactions a second (0: as many as it can)")
	flags.IntVar(&l.busy, "busy", 2, "busy loops beside it")
	flags.IntVar(&l.nice, "nice", 0, "niceness of the busy loops")
	flags.StringVar(&l.pgBin, "pg-bin", "", "folder of PostgreSQL's programs (default: version 15, else the newest)")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if l.pgBin == "" {
		var err error
		if l.pgBin, err = testcluster.FindPostgres(); err != nil {
			return err
		}
	}
	programs, err := testcluster.Build(ctx)
	if err != nil {
		return err
	}
	defer programs.Remove()
	c, err := testcluster.New(ctx, testcluster.Options{Programs: programs, PGBin: l.pgBin, Scope: "calm"})
	if err != nil {
		return err
	}
	defer c.Close()
	return l.bear(ctx, c, out)
}

// bear starts the cluster and its load, and watches.
func (l load) bear(ctx context.Context, c *testcluster.Cluster, out io.Writer) error {
	if err := c.StartAll(); err != nil {
		return err
	}
	starting, cancel := context.WithTimeoutCause(ctx, 2*time.Minute, errors.New("no healthy cluster within 2 minutes"))
	defer cancel()
	leader, err := c.WaitHealthy(starting)
	if err != nil {
		return err
	}
	if text, code, err := c.Run(ctx, l.pgbench(leader, "-i", "-s", "10", "--quiet")...); err != nil || code != 0 {
		return fmt.Errorf("prepare pgbench: exit code %d, %w: %s", code, err, text)
	}
	for i := range l.busy {
		if _, _, err := c.Spawn("busy"+strconv.Itoa(i), "nice", "-n", strconv.Itoa(l.nice), "sh", "-c", "while :; do :; done"); err != nil {
			return err
		}
	}
	before, err := look(ctx, c)
	if err != nil {
		return err
	}
	args := []string{"-c", strconv.Itoa(l.clients), "-j", "2", "-T", strconv.Itoa(int(l.long.Seconds())), "-P", "60"}
	if l.rate > 0 {
		args = append(args, "-R", strconv.Itoa(l.rate))
	}
	log, done, err := c.Spawn("pgbench", l.pgbench(leader, args...)...)
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "%s leads; pgbench with %d clients for %s, %d busy loops\n", leader.Name, l.clients, l.long, l.busy)
	if err := watch(ctx, c, before, done, out); err != nil {
		return err
	}
	return verdict(log, out)
}

func (l load) pgbench(n *testcluster.Node, args ...string) []string {
	command := []string{"env", "PGPASSWORD=" + testcluster.SuperuserPassword, filepath.Join(l.pgBin, "pgbench"),
		"-h", n.Host, "-p", strconv.Itoa(n.PGPort), "-U", "postgres"}
	return append(append(command, args...), "postgres")
}

// watch compares each minute with the beginning, until the load has ended.
func watch(ctx context.Context, c *testcluster.Cluster, before state, done <-chan struct{}, out io.Writer) error {
	tick := time.NewTicker(time.Minute)
	defer tick.Stop()
	for {
		ended := false
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-done:
			ended = true
		case <-tick.C:
		}
		now, err := look(ctx, c)
		if err != nil {
			return err
		}
		load, _ := os.ReadFile("/proc/loadavg")
		fmt.Fprintf(out, "%s  load %s  %s\n", time.Now().Format(time.TimeOnly), strings.Join(strings.Fields(string(load))[:3], " "), now)
		if now != before {
			return fmt.Errorf("something happened without a fault: before %s, now %s", before, now)
		}
		if ended {
			return nil
		}
	}
}

// verdict prints the end of pgbench's report and demands that nothing failed.
func verdict(log string, out io.Writer) error {
	raw, err := os.ReadFile(log)
	if err != nil {
		return err
	}
	_, report, found := strings.Cut(string(raw), "transaction type:")
	fmt.Fprintf(out, "transaction type:%s", report)
	if !found || !strings.Contains(report, "number of failed transactions: 0 ") {
		return fmt.Errorf("pgbench did not end well: %s", raw[max(0, len(raw)-2000):])
	}
	return nil
}

// state is what must not change.
type state struct {
	leader      string
	fences      float64 // of all members together, as the next
	demotions   float64
	timeline    float64
	postmasters string
}

func (s state) String() string {
	return fmt.Sprintf("leader %s, postmasters %s, timelines %g, fences %g, demotions %g", s.leader, s.postmasters, s.timeline, s.fences, s.demotions)
}

// look asks every member.
func look(ctx context.Context, c *testcluster.Cluster) (state, error) {
	var s state
	leader, err := c.Leader(ctx)
	if err != nil {
		return s, err
	}
	if leader != nil {
		s.leader = leader.Name
	}
	for _, n := range c.Nodes {
		code, text, err := n.REST(ctx, http.MethodGet, "/metrics", nil)
		if err != nil || code != http.StatusOK {
			return s, fmt.Errorf("ask %s for its metrics: code %d, %w", n.Name, code, err)
		}
		for name, sum := range map[string]*float64{"tanist_fence_fired_total": &s.fences, "tanist_demotions_total": &s.demotions, "patroni_postgres_timeline": &s.timeline} {
			v, err := metric(text, name)
			if err != nil {
				return s, fmt.Errorf("read the metrics of %s: %w", n.Name, err)
			}
			*sum += v
		}
		pid, _ := n.Postmaster()
		s.postmasters += strconv.Itoa(pid) + " "
	}
	s.postmasters = strings.TrimSpace(s.postmasters)
	return s, nil
}

// metric finds the only sample of a metric in Prometheus's text format.
func metric(text, name string) (float64, error) {
	for line := range strings.Lines(text) {
		rest, ok := strings.CutPrefix(line, name)
		if !ok || rest[0] != '{' && rest[0] != ' ' {
			continue
		}
		fields := strings.Fields(rest)
		return strconv.ParseFloat(fields[len(fields)-1], 64)
	}
	return 0, fmt.Errorf("no metric %s", name)
}
