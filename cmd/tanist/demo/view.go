package demo

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/tanist-ha/tanist/dcs"
	"github.com/tanist-ha/tanist/dcs/etcd3"
	"github.com/tanist-ha/tanist/internal/overview"
	"github.com/tanist-ha/tanist/internal/table"
)

// view is the cluster as the store shows it, printed when it looks different.
type view struct {
	out     io.Writer
	backend *etcd3.Backend
	client  *dcs.Client
	began   time.Time
	printed string // what the last table was about

	now      overview.Cluster
	systemID string
}

func newView(out io.Writer, hosts []*host) (*view, error) {
	var endpoints []string
	for _, h := range hosts {
		endpoints = append(endpoints, "http://"+h.etcd)
	}
	backend, err := etcd3.New(etcd3.Config{Endpoints: endpoints})
	if err != nil {
		return nil, err
	}
	return &view{out: out, backend: backend, client: dcs.NewClient(backend, dcs.Options{Scope: "demo"}), began: time.Now()}, nil
}

func (v *view) close() {
	_ = v.client.Close(context.Background()) // it has no session
	_ = v.backend.Close()
}

// changed tells that it is worth looking again.
func (v *view) changed() <-chan dcs.Hint { return v.client.Hints() }

// refresh reads the cluster.
func (v *view) refresh(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	c, err := v.client.Load(ctx)
	if err != nil {
		return err
	}
	v.now, v.systemID = overview.Of("demo", c), table.SystemID(c.Initialize)
	return nil
}

// about is what a table is worth printing for: the members, their roles, states and timelines.
func (v *view) about() string {
	var b strings.Builder
	for _, m := range v.now.Members {
		fmt.Fprintln(&b, m.Name, m.Role, m.State, m.Timeline)
	}
	return b.String()
}

// settled tells that the picture has changed and then stayed for a moment; nil if it is the one that was printed.
func (v *view) settled() <-chan time.Time {
	if v.about() == v.printed {
		return nil
	}
	return time.After(200 * time.Millisecond)
}

// print prints the table, unless the last one looked the same.
func (v *view) print() error {
	if v.about() == v.printed {
		return nil
	}
	v.printed = v.about()
	fmt.Fprintf(v.out, "%.1f s:\n", time.Since(v.began).Seconds())
	return table.Members(v.now, v.systemID, table.Topology, false).Print(v.out, table.Topology)
}

// leader is the name of the member that leads, "" for none.
func (v *view) leader() string {
	for _, m := range v.now.Members {
		if m.Leads() {
			return m.Name
		}
	}
	return ""
}

// healthy is the picture of a running leader and n-1 standbys that stream from its timeline.
func (v *view) healthy(n int) func() bool {
	return func() bool {
		ready := 0
		var timeline uint32
		for _, m := range v.now.Members {
			if m.Leads() {
				timeline = m.Timeline
			}
		}
		for _, m := range v.now.Members {
			if m.Timeline == timeline && (m.Leads() && m.State == "running" || m.State == "streaming") {
				ready++
			}
		}
		return timeline > 0 && ready == n
	}
}

// leaderOtherThan is the picture of a leader that is not the one named.
func (v *view) leaderOtherThan(name string) func() bool {
	return func() bool { l := v.leader(); return l != "" && l != name }
}
