//go:build linux

package main

import (
	"fmt"
	"io"
	"slices"
	"text/tabwriter"
	"time"

	"github.com/tanist-ha/tanist/internal/testcluster/writers"
)

// verdict is what all repetitions of a trial say together.
type verdict struct {
	trial   trial
	outage  writers.Summary
	lost    int
	two     time.Duration
	lying   writers.Summary
	n       int
	missed  []string // goals of speed
	broken  []string // goals of safety
	remarks []string
}

// judge compares results with the goals.
func judge(t trial, results []result) verdict {
	v := verdict{trial: t, n: len(results)}
	var outages, lying, returns, inside []time.Duration
	for _, r := range results {
		outages, lying = append(outages, duration(r.Outage)), append(lying, duration(r.FalseHealth))
		v.lost += r.Lost
		v.two += duration(r.Two)
		if r.Return != nil {
			returns = append(returns, duration(*r.Return))
		}
		if r.LastInside != nil {
			inside = append(inside, duration(*r.LastInside))
		}
		if r.Failed != "" {
			v.broken = append(v.broken, fmt.Sprintf("repetition %d: %s", r.Repetition, r.Failed))
		}
	}
	v.lastOld(results)
	v.outage, v.lying = writers.Summarize(outages), writers.Summarize(lying)
	v.speed(t, results, returns)
	v.safety(t, results)
	if len(inside) > 0 {
		s := writers.Summarize(inside)
		v.remarks = append(v.remarks, fmt.Sprintf("last commit on the host that was cut off: %s after the cut (max %s)", show(s.Median), show(s.Max)))
	}
	return v
}

func (v *verdict) speed(t trial, results []result, returns []time.Duration) {
	if g := t.goals.median; g > 0 && v.outage.Median > g {
		v.missed = append(v.missed, fmt.Sprintf("median outage %s, goal %s", show(v.outage.Median), show(g)))
	}
	if g := t.goals.most; g > 0 {
		if v.outage.Max > g {
			v.missed = append(v.missed, fmt.Sprintf("an outage of %s, goal: none (%s)", show(v.outage.Max), show(g)))
		}
		for _, r := range results {
			if r.ProxyOutage != nil && duration(*r.ProxyOutage) > g {
				v.missed = append(v.missed, fmt.Sprintf("an outage of %s through HAProxy, goal: none (%s)", show(duration(*r.ProxyOutage)), show(g)))
			}
		}
		v.proxyRemark(results)
	}
	if g := t.goals.returns; g > 0 {
		s := writers.Summarize(returns)
		v.remarks = append(v.remarks, fmt.Sprintf("back %s after the store (max %s)", show(s.Median), show(s.Max)))
		if s.Max > g {
			v.missed = append(v.missed, fmt.Sprintf("back %s after the store, goal %s", show(s.Max), show(g)))
		}
		if len(returns) < len(results) {
			v.missed = append(v.missed, "no commit after the store was back")
		}
	}
}

func (v *verdict) proxyRemark(results []result) {
	var all []time.Duration
	for _, r := range results {
		if r.ProxyOutage != nil {
			all = append(all, duration(*r.ProxyOutage))
		}
	}
	if len(all) > 0 {
		s := writers.Summarize(all)
		v.remarks = append(v.remarks, fmt.Sprintf("longest silence through HAProxy: %s (max %s)", show(s.Median), show(s.Max)))
	}
}

// lastOld tells how long the server went on whose agent had gone.
func (v *verdict) lastOld(results []result) {
	var all []time.Duration
	for _, r := range results {
		if r.LastOld != nil {
			all = append(all, duration(*r.LastOld))
		}
	}
	if len(all) > 0 {
		s := writers.Summarize(all)
		v.remarks = append(v.remarks, fmt.Sprintf("last commit on the server whose agent had gone: %s after that (max %s)", show(s.Median), show(s.Max)))
	}
}

func (v *verdict) safety(t trial, results []result) {
	if t.goals.lossless && v.lost > 0 {
		v.broken = append(v.broken, fmt.Sprintf("%d acknowledged rows lost", v.lost))
	}
	if v.two > 0 {
		v.broken = append(v.broken, fmt.Sprintf("two servers acknowledged for %s", show(v.two)))
	}
	if !t.goals.fenced {
		return
	}
	for _, r := range results {
		if r.LastBefore != nil && *r.LastBefore > 30 {
			v.broken = append(v.broken, fmt.Sprintf("a commit %.2f s after the store went away: the authority had ended", *r.LastBefore))
		}
	}
}

// print writes the table and everything that was missed, and says whether the safety goals are met.
func printVerdicts(w io.Writer, verdicts []verdict) (safe bool) {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(tw, "case\tn\twrite outage: median\tmin\tmax\tlost\ttwo servers\t/primary 200 in vain (max)\tgoal\tPatroni\t")
	safe = true
	for _, v := range verdicts {
		mark := ""
		if len(v.missed) > 0 {
			mark = "MISSED"
		}
		if len(v.broken) > 0 {
			mark, safe = "UNSAFE", false
		}
		fmt.Fprintf(tw, "%s\t%d\t%s\t%s\t%s\t%d\t%s\t%s\t%s\t%s\t%s\n", v.trial.title, v.n, show(v.outage.Median), show(v.outage.Min),
			show(v.outage.Max), v.lost, show(v.two), show(v.lying.Max), v.trial.goals.text(), v.trial.patroni, mark)
	}
	_ = tw.Flush()
	for _, v := range verdicts {
		lines := slices.Concat(prefixed("SAFETY GOAL MISSED: ", v.broken), prefixed("MISSED: ", v.missed), v.remarks)
		for _, line := range lines {
			fmt.Fprintf(w, "%s: %s\n", v.trial.title, line)
		}
	}
	return safe
}

func (g goals) text() string {
	switch {
	case g.median > 0:
		return show(g.median)
	case g.most > 0:
		return "none"
	case g.returns > 0:
		return show(g.returns) + " after its return"
	}
	return ""
}

func prefixed(prefix string, lines []string) []string {
	var out []string
	for _, l := range lines {
		out = append(out, prefix+l)
	}
	return out
}

func duration(seconds float64) time.Duration { return time.Duration(seconds * float64(time.Second)) }

func show(d time.Duration) string {
	if d < 10*time.Second {
		return fmt.Sprintf("%.3f s", d.Seconds())
	}
	return fmt.Sprintf("%.1f s", d.Seconds())
}
