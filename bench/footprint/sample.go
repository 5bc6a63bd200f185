//go:build linux

package main

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/tanist-ha/tanist/internal/testcluster"
	"github.com/tanist-ha/tanist/internal/testcluster/procs"
)

// sample is one look at the whole cluster.
type sample struct {
	at    time.Time
	nodes []nodeSample
}

// nodeSample is one look at a node's agent.
type nodeSample struct {
	rss, pss float64 // MB, of the agent
	beside   float64 // MB, PSS of what the agent keeps beside it (not PostgreSQL)
	cpu      float64 // seconds since its start, with those beside it
	requests float64 // at the etcd member that serves this agent alone
	methods  map[string]float64
}

func (m *meter) sample(ctx context.Context, c *testcluster.Cluster) (sample, error) {
	s := sample{at: time.Now()}
	for i, n := range c.Nodes {
		var one nodeSample
		served, err := c.Store.Traffic(ctx, i)
		if err != nil {
			return s, err
		}
		one.requests, one.methods = served.Requests, served.ByMethod
		if one.rss, one.pss, err = memory(n.AgentPID()); err != nil {
			return s, err
		}
		state, err := procs.Stat(n.AgentPID())
		if err != nil {
			return s, err
		}
		one.cpu = float64(state.CPU) / 100
		for _, pid := range n.Beside() {
			state, errStat := procs.Stat(pid)
			_, pss, errMemory := memory(pid)
			if errStat != nil || errMemory != nil {
				continue // it has ended: it was no lasting companion
			}
			one.cpu += float64(state.CPU) / 100
			one.beside += pss
		}
		s.nodes = append(s.nodes, one)
	}
	return s, nil
}

// memory reads /proc/PID/smaps_rollup, in megabytes.
func memory(pid int) (rss, pss float64, err error) {
	f, err := os.Open("/proc/" + strconv.Itoa(pid) + "/smaps_rollup")
	if err != nil {
		return 0, 0, err
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		name, rest, _ := strings.Cut(lines.Text(), ":")
		fields := strings.Fields(rest)
		if (name != "Rss" && name != "Pss") || len(fields) != 2 {
			continue
		}
		kb, err := strconv.ParseFloat(fields[0], 64)
		if err != nil {
			return 0, 0, fmt.Errorf("read smaps_rollup of %d: %w", pid, err)
		}
		if name == "Rss" {
			rss = kb * 1024 / 1e6
		} else {
			pss = kb * 1024 / 1e6
		}
	}
	return rss, pss, lines.Err()
}
