//go:build linux

// Command dcs measures what a cluster in steady state asks of its store, on each kind of store and at several sizes.
//
//	go run ./bench/dcs [-store etcd,embedetcd] [-members 3,7,15] [-window 3m] [-json rows.jsonl]
//
// Every member is a real agent with a real PostgreSQL server (of 1 MB shared buffers), at the default ttl 30, loop_wait 10. Per size
// two windows are taken: idle, which begins when the log has stopped to grow after a checkpoint, and with a client that commits ten rows a second, so that every member's position moves all the time. The
// leader has a server of the store to itself, so that the servers' own counters tell leader and standbys apart. The harness asks nothing
// during a window.
//
// Requests are what the servers received from clients: of etcd gRPC messages, of Consul HTTP requests, of ZooKeeper packets (its clients'
// pings are among them). Bytes are what the servers sent to clients, all members together: of etcd what it counts itself, of Consul and
// ZooKeeper, which count none, what passes a proxy in front of each server. An embedded etcd has one member per agent, and is measured at
// three: its clients are those of etcd.
//
// Then, on each store: the time from the moment at which a change of a key is asked for, by one client, to the moment at which the hint of
// it has reached the channel that another's loop waits on.
//
// A goal that was missed is printed as MISSED; the exit code tells only whether everything could be measured.
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
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/tanist-ha/tanist/internal/testcluster"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout, os.Stderr); err != nil {
		fmt.Fprintln(os.Stderr, "dcs:", err)
		os.Exit(1)
	}
}

// options of the command line.
type options struct {
	stores []testcluster.Kind
	sizes  []int
	window time.Duration
	wakes  int
	pgBin  string
}

func parse(args []string) (o options, rows string, err error) {
	flags := flag.NewFlagSet("dcs", flag.ContinueOnError)
	stores := flags.String("store", "", "comma separated kinds of stores (default: all)")
	sizes := flags.String("members", "3,7,15", "comma separated sizes of the cluster")
	flags.DurationVar(&o.window, "window", 3*time.Minute, "how long each steady state is watched")
	flags.IntVar(&o.wakes, "wakeups", 300, "how many changes are timed")
	flags.StringVar(&rows, "json", "", "file for the raw results, one JSON object per line (default: standard error)")
	flags.StringVar(&o.pgBin, "pg-bin", "", "folder of PostgreSQL's programs (default: version 15, else the newest)")
	if err := flags.Parse(args); err != nil {
		return o, "", err
	}
	o.stores = testcluster.Kinds
	if *stores != "" {
		o.stores = nil
		for name := range strings.SplitSeq(*stores, ",") {
			if !slices.Contains(testcluster.Kinds, testcluster.Kind(name)) {
				return o, "", fmt.Errorf("there is no store %q (hint: %v)", name, testcluster.Kinds)
			}
			o.stores = append(o.stores, testcluster.Kind(name))
		}
	}
	for text := range strings.SplitSeq(*sizes, ",") {
		n, err := strconv.Atoi(text)
		if err != nil || n < 2 {
			return o, "", fmt.Errorf("%q is not a size: a number from 2 on", text)
		}
		o.sizes = append(o.sizes, n)
	}
	slices.Sort(o.sizes)
	if o.pgBin == "" {
		o.pgBin, err = testcluster.FindPostgres()
	}
	return o, rows, err
}

func run(ctx context.Context, args []string, out, errOut io.Writer) error {
	o, file, err := parse(args)
	if err != nil {
		return err
	}
	rows := errOut
	if file != "" {
		f, err := os.Create(file)
		if err != nil {
			return err
		}
		defer f.Close()
		rows = f
	}
	programs, err := testcluster.Build(ctx)
	if err != nil {
		return err
	}
	defer programs.Remove()
	var results []result
	var wakeups []wakeup
	for _, kind := range o.stores {
		b := &bench{options: o, kind: kind, programs: programs, errOut: errOut, report: func(r result) error {
			results = append(results, r)
			return json.NewEncoder(rows).Encode(r)
		}}
		var w wakeup
		if w, err = b.run(ctx); err == nil {
			wakeups = append(wakeups, w)
			err = json.NewEncoder(rows).Encode(w)
		}
		if err != nil {
			err = fmt.Errorf("%s: %w", kind, err)
			break
		}
	}
	printResults(out, results)
	printWakeups(out, wakeups)
	return err
}
