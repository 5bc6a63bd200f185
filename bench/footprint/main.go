//go:build linux

// Command footprint measures what an idle cluster of three nodes costs, and how long starting takes.
//
//	go run ./bench/footprint [-idle 10m] [-json out.jsonl]
//
// Leader and standby apart: resident and proportional memory of the agent (RSS and PSS, /proc/PID/smaps_rollup), PSS together with the
// processes that it keeps beside it (the guard and its spare; what the agents of the three nodes share counts for each by its part), CPU
// seconds per minute, and requests to the store per minute. Each agent speaks to an etcd member of its own, so that the
// members' own counters tell which agent asked. Then: the size of the stripped agent, the time from the start of an agent to its first answer over REST, from three empty
// nodes to three members that stream, and the wall time of `tanistctl list`. Goals that were missed are marked MISSED; the
// exit code tells only whether everything could be measured.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"text/tabwriter"
	"time"

	"github.com/tanist-ha/tanist/internal/testcluster"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout, os.Stderr); err != nil {
		fmt.Fprintln(os.Stderr, "footprint:", err)
		os.Exit(1)
	}
}

// figure is one line of the result.
type figure struct {
	Name    string  `json:"name"`
	Value   float64 `json:"value"`
	Unit    string  `json:"unit"`
	Goal    float64 `json:"goal,omitempty"` // 0: none
	Patroni string  `json:"patroni,omitempty"`
	Detail  string  `json:"detail,omitempty"`
}

func (f figure) missed() bool { return f.Goal > 0 && f.Value > f.Goal }

func run(ctx context.Context, args []string, out, errOut io.Writer) error {
	flags := flag.NewFlagSet("footprint", flag.ContinueOnError)
	idle := flags.Duration("idle", 10*time.Minute, "how long the cluster idles before memory, CPU and requests are taken")
	rows := flags.String("json", "", "file for the figures, one JSON object per line")
	pgBin := flags.String("pg-bin", "", "folder of PostgreSQL's programs (default: version 15, else the newest)")
	repeat := flags.Int("n", 5, "repetitions of what is timed")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if *pgBin == "" {
		var err error
		if *pgBin, err = testcluster.FindPostgres(); err != nil {
			return err
		}
	}
	programs, err := testcluster.Build(ctx)
	if err != nil {
		return err
	}
	defer programs.Remove()
	m := &meter{programs: programs, pgBin: *pgBin, idle: *idle, n: max(1, *repeat), errOut: errOut}
	err = m.all(ctx)
	printFigures(out, m.figures)
	if *rows != "" && err == nil {
		err = writeRows(*rows, m.figures)
	}
	return err
}

func printFigures(out io.Writer, figures []figure) {
	tw := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(tw, "what\tvalue\tgoal\tPatroni\t\t")
	for _, f := range figures {
		goal, mark := "", ""
		if f.Goal > 0 {
			goal = fmt.Sprintf("%.3g %s", f.Goal, f.Unit)
		}
		if f.missed() {
			mark = "MISSED"
		}
		fmt.Fprintf(tw, "%s\t%.3g %s\t%s\t%s\t%s\t%s\n", f.Name, f.Value, f.Unit, goal, f.Patroni, mark, f.Detail)
	}
	_ = tw.Flush()
}

func writeRows(file string, figures []figure) error {
	f, err := os.Create(file)
	if err != nil {
		return err
	}
	defer f.Close()
	enc := json.NewEncoder(f)
	for _, line := range figures {
		if err := enc.Encode(line); err != nil {
			return err
		}
	}
	return f.Close()
}
