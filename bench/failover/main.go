//go:build linux

// Command failover measures what clients see on bad days: a cluster of three nodes with real PostgreSQL and a real store, clients
// that write numbered rows all the time, and one fault after the other.
//
//	go run ./bench/failover [-store consul] [-case switchover,stop] [-n 3] [-json rows.jsonl] [-list] [-sabotage no-guard]
//
// Per server one held and one fresh connection commit a row every 20 ms; one more client that knows all hosts commits
// every 2 ms; GET /primary of each node is asked every 20 ms. It prints, per case, median, minimum and maximum of the
// write outage (the longest silence between two acknowledged commits of all clients together), the rows that were
// acknowledged and are not present at the end, the time in which two servers acknowledged, and the time in which a node
// answered /primary with 200 while its server acknowledged nothing. In the cases in which a host is cut off, one more
// client writes on that host; its rows count for "two servers", not for the outage.
//
// The exit code is 1 when a safety goal was missed: an acknowledged row lost where none may be, two servers that
// acknowledged, a commit after the authority had ended, a cluster that did not heal. A goal of speed that was missed is
// printed as MISSED.
//
// With -sabotage no-guard the agents run unfenced, and only the cases are run in which the leader's agent goes and its
// server stays: the benchmark must see two servers that acknowledge and rows that are lost, and then fails with exit code
// 1. Exit code 3 means that it saw nothing, and is worth nothing.
//
// As root each node has a network namespace of its own, and everything runs as user postgres. Without root the cases that
// cut a host off are left out.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/tanist-ha/tanist/internal/testcluster"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	code, err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	if err != nil {
		fmt.Fprintln(os.Stderr, "failover:", err)
	}
	os.Exit(code)
}

// options of the command line.
type options struct {
	n       int
	cases   string
	rows    string
	list    bool
	keep    bool
	pgBin   string
	verbose bool
	// sabotage takes a part of what protects the cluster away: the benchmark must see it.
	sabotage string
	kind     testcluster.Kind
}

func run(ctx context.Context, args []string, out, errOut io.Writer) (code int, err error) {
	var o options
	flags := flag.NewFlagSet("failover", flag.ContinueOnError)
	flags.IntVar(&o.n, "n", 0, "repetitions of each case (default: 10, and 5 where a TTL is waited for)")
	flags.StringVar(&o.cases, "case", "", "comma separated names of the cases to run (default: all)")
	flags.StringVar(&o.rows, "json", "", "file for the raw results, one JSON object per line (default: standard error)")
	flags.BoolVar(&o.list, "list", false, "print the names of the cases and end")
	flags.BoolVar(&o.keep, "keep", false, "leave the cluster's folder with its logs behind")
	flags.StringVar(&o.pgBin, "pg-bin", "", "folder of PostgreSQL's programs (default: version 15, else the newest)")
	flags.BoolVar(&o.verbose, "v", false, "print the agents' logs when a repetition fails")
	store := flags.String("store", string(testcluster.EtcdStore), fmt.Sprintf("kind of the store, one of %v; three servers, or one etcd", testcluster.Kinds))
	flags.StringVar(&o.sabotage, "sabotage", "", "no-guard: run the agents unfenced, to see that the benchmark sees it")
	if err := flags.Parse(args); err != nil {
		return 2, nil
	}
	if o.kind = testcluster.Kind(*store); !slices.Contains(testcluster.Kinds, o.kind) {
		return 2, fmt.Errorf("there is no store %q (hint: %v)", o.kind, testcluster.Kinds)
	}
	if o.sabotage != "" && o.sabotage != noGuard {
		return 2, fmt.Errorf("there is no sabotage %q (hint: no-guard)", o.sabotage)
	}
	chosen, err := choose(o.kind, o.cases, o.sabotage)
	if err != nil {
		return 2, err
	}
	if o.list {
		for _, t := range chosen {
			fmt.Fprintf(out, "%-28s %s\n", t.name, t.title)
		}
		return 0, nil
	}
	rows := errOut
	if o.rows != "" {
		f, err := os.Create(o.rows)
		if err != nil {
			return 2, err
		}
		defer f.Close()
		rows = f
	}
	verdicts, err := measureAll(ctx, o, chosen, rows, errOut)
	safe := printVerdicts(out, verdicts)
	if o.sabotage != "" && !sawSabotage(out, verdicts) {
		return 3, err
	}
	if err != nil || !safe {
		return 1, err
	}
	return 0, nil
}

// noGuard runs the agents without their guard.
const noGuard = "no-guard"

// sawSabotage says whether the sabotage did what it has to do, and the benchmark saw it.
func sawSabotage(out io.Writer, verdicts []verdict) bool {
	var lost int
	var two time.Duration
	for _, v := range verdicts {
		lost += v.lost
		two += v.two
	}
	saw := lost > 0 && two > 0
	fmt.Fprintf(out, "sabotage: two servers acknowledged for %s, %d acknowledged rows lost; seen: %v\n", show(two), lost, saw)
	return saw
}

// choose picks the cases by name, in the order of the list.
func choose(kind testcluster.Kind, names, sabotage string) ([]trial, error) {
	all := trials(kind)
	if sabotage != "" {
		all = slices.DeleteFunc(all, func(t trial) bool { return !t.agentGone })
	}
	if os.Getuid() != 0 {
		all = slices.DeleteFunc(all, func(t trial) bool { return t.inside })
	}
	if names == "" {
		return all, nil
	}
	var chosen []trial
	for name := range strings.SplitSeq(names, ",") {
		i := slices.IndexFunc(all, func(t trial) bool { return t.name == name })
		if i < 0 {
			return nil, fmt.Errorf("there is no case %q here (hint: -list prints the names; cutting a host off needs root)", name)
		}
		chosen = append(chosen, all[i])
	}
	return chosen, nil
}

// measureAll runs the chosen cases on one cluster.
func measureAll(ctx context.Context, o options, chosen []trial, rows, errOut io.Writer) ([]verdict, error) {
	programs, err := testcluster.Build(ctx)
	if err != nil {
		return nil, err
	}
	defer programs.Remove()
	if o.pgBin == "" {
		if o.pgBin, err = testcluster.FindPostgres(); err != nil {
			return nil, err
		}
	}
	layout := testcluster.Loopback
	if os.Getuid() == 0 {
		layout = testcluster.Namespaces
	}
	how := testcluster.Options{Programs: programs, PGBin: o.pgBin, Layout: layout, Scope: "bench", Keep: o.keep, Kind: o.kind}
	if o.kind != testcluster.EtcdStore {
		how.Servers = 3
	}
	if o.kind == testcluster.ConsulStore { // each node has the agent of its host
		how.ServersOf = testcluster.OneEach
	}
	if o.sabotage == noGuard {
		how.AgentArgs = []string{"--unfenced"}
	}
	c, err := testcluster.New(ctx, how)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	if o.keep {
		fmt.Fprintln(errOut, "logs:", c.Dir)
	}
	if err := c.StartAll(); err != nil {
		return nil, err
	}
	b := &bench{c: c}
	results := map[string][]result{}
	err = b.run(ctx, chosen, o.n, func(r result) error {
		results[r.Case] = append(results[r.Case], r)
		if r.Failed != "" && o.verbose {
			b.printLogs(errOut)
		}
		return json.NewEncoder(rows).Encode(r)
	})
	if err != nil && o.verbose {
		b.printLogs(errOut)
	}
	var verdicts []verdict
	for _, t := range chosen {
		if len(results[t.name]) > 0 {
			verdicts = append(verdicts, judge(t, results[t.name]))
		}
	}
	return verdicts, err
}
