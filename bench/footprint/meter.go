//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/tanist-ha/tanist/internal/testcluster"
)

// meter measures, one thing after the other.
type meter struct {
	programs testcluster.Programs
	pgBin    string
	idle     time.Duration
	n        int
	errOut   io.Writer
	figures  []figure
}

func (m *meter) add(f figure) { m.figures = append(m.figures, f) }

func (m *meter) all(ctx context.Context) error {
	if err := m.size(); err != nil {
		return err
	}
	c, err := m.bootstraps(ctx)
	if err != nil {
		return err
	}
	defer c.Close()
	for _, step := range []func(context.Context, *testcluster.Cluster) error{m.idling, m.listing, m.firstAnswer} {
		if err := step(ctx, c); err != nil {
			return err
		}
	}
	return nil
}

func (m *meter) cluster(ctx context.Context) (*testcluster.Cluster, error) {
	layout := testcluster.Loopback
	if os.Getuid() == 0 {
		layout = testcluster.Namespaces
	}
	return testcluster.New(ctx, testcluster.Options{Programs: m.programs, PGBin: m.pgBin, Layout: layout, Scope: "bench",
		Servers: 3, ServersOf: testcluster.OneEach})
}

func (m *meter) size() error {
	info, err := os.Stat(m.programs.Tanist())
	if err != nil {
		return err
	}
	m.add(figure{Name: "agent, stripped", Value: float64(info.Size()) / 1e6, Unit: "MB", Goal: 40})
	return nil
}

// bootstraps times empty nodes to streaming members, and leaves the last cluster running.
func (m *meter) bootstraps(ctx context.Context) (*testcluster.Cluster, error) {
	var took []time.Duration
	for i := range m.n {
		c, err := m.cluster(ctx)
		if err != nil {
			return nil, err
		}
		d, err := m.bootstrap(ctx, c)
		if err != nil {
			c.Close()
			return nil, err
		}
		took = append(took, d)
		if i == m.n-1 {
			m.add(timed("three empty nodes to three streaming members", "s", 1, 4, "3.5 to 25 s", took))
			return c, nil
		}
		if err := c.Close(); err != nil {
			return nil, err
		}
	}
	return nil, errors.New("no repetition")
}

func (m *meter) bootstrap(ctx context.Context, c *testcluster.Cluster) (time.Duration, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, 2*time.Minute, errors.New("bootstrap took 2 minutes"))
	defer cancel()
	began := time.Now()
	if err := c.StartAll(); err != nil {
		return 0, err
	}
	if _, err := c.WaitStreaming(ctx); err != nil {
		return 0, err
	}
	took := time.Since(began)
	_, err := c.WaitHealthy(ctx)
	return took, err
}

// idling takes memory, CPU and requests of a cluster that nobody uses. The harness asks nothing meanwhile.
func (m *meter) idling(ctx context.Context, c *testcluster.Cluster) error {
	leader, err := c.WaitHealthy(ctx)
	if err != nil {
		return err
	}
	before, err := m.sample(ctx, c)
	if err != nil {
		return err
	}
	fmt.Fprintf(m.errOut, "idling for %v\n", m.idle)
	timer := time.NewTimer(m.idle)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	after, err := m.sample(ctx, c)
	if err != nil {
		return err
	}
	at := slices.Index(c.Nodes, leader)
	standby := (at + 1) % len(c.Nodes)
	for _, role := range []struct {
		name     string
		node     int
		requests float64
	}{{"leader", at, 12}, {"standby", standby, 6}} {
		a, b := before.nodes[role.node], after.nodes[role.node]
		minutes := after.at.Sub(before.at).Minutes()
		m.add(figure{Name: role.name + ": RSS", Value: b.rss, Unit: "MB", Patroni: "52 MB"})
		m.add(figure{Name: role.name + ": PSS", Value: b.pss, Unit: "MB", Goal: 24, Patroni: "36 MB"})
		m.add(figure{Name: role.name + ": PSS, agent and guards together", Value: b.pss + b.beside, Unit: "MB", Goal: 28,
			Detail: fmt.Sprintf("%d guard processes, %.3g MB, of that %.3g MB shared with nobody; if the agent shared with nobody either, %.3g MB",
				b.count, b.beside, b.private, b.rss+b.private)})
		m.add(figure{Name: role.name + ": CPU per minute of the guards", Value: (b.besideCPU - a.besideCPU) / minutes, Unit: "s"})
		m.add(figure{Name: role.name + ": CPU per minute", Value: (b.cpu - a.cpu) / minutes, Unit: "s", Goal: 0.03, Patroni: "0.02 s"})
		m.add(figure{Name: role.name + ": store requests per minute", Value: (b.requests - a.requests) / minutes, Unit: "",
			Goal: role.requests, Patroni: "6", Detail: methods(a.methods, b.methods, minutes)})
	}
	return nil
}

// listing times tanistctl list, and makes sure that it lists.
func (m *meter) listing(ctx context.Context, c *testcluster.Cluster) error {
	var took []time.Duration
	for range 4 * m.n {
		began := time.Now()
		out, code, err := c.Ctl(ctx, "list")
		took = append(took, time.Since(began))
		if err != nil || code != 0 || !strings.Contains(out, c.Nodes[0].Name) {
			return fmt.Errorf("tanistctl list: exit %d, %v: %s", code, err, out)
		}
	}
	m.add(timed("tanistctl list", "ms", 1000, 50, "360 ms", took))
	return nil
}

// firstAnswer times an agent from its start to its first answer. The server of that node runs on meanwhile: the agent is
// killed and adopts it.
func (m *meter) firstAnswer(ctx context.Context, c *testcluster.Cluster) error {
	leader, err := c.WaitHealthy(ctx)
	if err != nil {
		return err
	}
	n := c.Nodes[(slices.Index(c.Nodes, leader)+1)%len(c.Nodes)]
	var took []time.Duration
	for range 2 * m.n {
		if err := n.KillAgent(ctx); err != nil {
			return err
		}
		began := time.Now()
		if err := n.Start(); err != nil {
			return err
		}
		if err := n.WaitAnswer(ctx); err != nil {
			return err
		}
		took = append(took, time.Since(began))
	}
	m.add(timed("agent's start to its first REST answer", "ms", 1000, 50, "", took))
	return nil
}

// timed is a figure of repeated measurements: the median, with the spread in the detail.
func timed(name, unit string, scale, goal float64, patroni string, all []time.Duration) figure {
	s := slices.Sorted(slices.Values(all))
	value := func(d time.Duration) float64 { return d.Seconds() * scale }
	return figure{Name: name, Value: value(s[len(s)/2]), Unit: unit, Goal: goal, Patroni: patroni,
		Detail: fmt.Sprintf("median of %d, %.3g to %.3g", len(s), value(s[0]), value(s[len(s)-1]))}
}

// methods shows which requests they were, per minute.
func methods(before, after map[string]float64, minutes float64) string {
	var parts []string
	for name, n := range after {
		if d := n - before[name]; d > 0 {
			parts = append(parts, fmt.Sprintf("%s %.3g", filepath.Base(name), d/minutes))
		}
	}
	slices.Sort(parts)
	return strings.Join(parts, ", ")
}
