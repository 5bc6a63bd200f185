//go:build linux

package main

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/tanist-ha/tanist/internal/testcluster"
)

// Goals on etcd, and what Patroni 4.1.4 was measured to need there.
var (
	idleLeader, idleStandby = 12.0, 6.0
	writerMember            = 14.0 // Patroni's
	sentGoal                = map[int]float64{3: 20, 7: 50, 15: 110}
	sentPatroni             = map[int]float64{3: 21, 7: 111, 15: 501}
)

// slack is what a window of some minutes may be off: one request at its edge.
const slack = 1.05

// missed lists the goals that a result misses. There are goals for etcd alone.
func missed(r result, all []result) []string {
	var m []string
	over := func(what string, value, goal float64) {
		if value > goal*slack {
			m = append(m, fmt.Sprintf("%s %.3g > %.3g", what, value, goal))
		}
	}
	if !r.Steady {
		m = append(m, "another leader")
	}
	if r.Store != testcluster.EtcdStore {
		return m
	}
	if !r.Writer {
		over("leader", r.Leader, idleLeader)
		over("standby", r.Standby, idleStandby)
		return m
	}
	over("requests per member", r.Member, writerMember)
	if goal, ok := sentGoal[r.Members]; ok {
		over("kB sent", r.Sent, goal)
	}
	for _, smaller := range all { // the first of a kind is the smallest
		if smaller.Store == r.Store && smaller.Writer {
			over("kB sent per member", r.Sent/float64(r.Members), smaller.Sent/float64(smaller.Members))
			break
		}
	}
	return m
}

func printResults(out io.Writer, all []result) {
	tw := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(tw, "store\tmembers\tload\tleader req/min\tstandby req/min\tper member\tkB sent/min\tkB received/min\tPatroni kB sent\tverdict")
	for _, r := range all {
		load, patroni, verdict := "idle", "", "PASS"
		if r.Writer {
			load = "writer"
			if kb, ok := sentPatroni[r.Members]; ok && r.Store == testcluster.EtcdStore {
				patroni = fmt.Sprint(kb)
			}
		}
		if m := missed(r, all); len(m) > 0 {
			verdict = "MISSED: " + strings.Join(m, ", ")
		} else if r.Store != testcluster.EtcdStore {
			verdict = ""
		}
		fmt.Fprintf(tw, "%s\t%d\t%s\t%.1f\t%.1f\t%.1f\t%.1f\t%.1f\t%s\t%s\n", r.Store, r.Members, load, r.Leader, r.Standby, r.Member,
			r.Sent, r.Received, patroni, verdict)
	}
	_ = tw.Flush()
}

func printWakeups(out io.Writer, all []wakeup) {
	tw := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(tw, "\nstore\tchanges\tasked for to hint, p50 ms\tp99 ms\tmost ms\tthe change itself, p50 ms")
	for _, w := range all {
		fmt.Fprintf(tw, "%s\t%d\t%.2f\t%.2f\t%.2f\t%.2f\n", w.Store, w.Changes, w.P50, w.P99, w.Max, w.Write)
	}
	_ = tw.Flush()
}
