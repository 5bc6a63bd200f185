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
	rss, pss  float64 // MB, of the agent
	beside    float64 // MB, PSS of what the agent keeps beside it (not PostgreSQL): the guard and its spare
	private   float64 // MB, of that what is shared with nobody
	count     int     // how many processes that is
	cpu       float64 // seconds since its start, with those beside it
	besideCPU float64 // seconds, of those beside it alone
	requests  float64 // at the etcd member that serves this agent alone
	methods   map[string]float64
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
		agent, err := memory(n.AgentPID())
		if err != nil {
			return s, err
		}
		one.rss, one.pss = agent["Rss"], agent["Pss"]
		state, err := procs.Stat(n.AgentPID())
		if err != nil {
			return s, err
		}
		one.cpu = float64(state.CPU) / 100
		for _, pid := range n.Beside() {
			state, errStat := procs.Stat(pid)
			sizes, errMemory := memory(pid)
			if errStat != nil || errMemory != nil {
				continue // it has ended: it was no lasting companion
			}
			one.besideCPU += float64(state.CPU) / 100
			one.beside += sizes["Pss"]
			one.private += sizes["Private_Clean"] + sizes["Private_Dirty"]
			one.count++
		}
		one.cpu += one.besideCPU
		s.nodes = append(s.nodes, one)
	}
	return s, nil
}

// memory reads /proc/PID/smaps_rollup, in megabytes.
func memory(pid int) (map[string]float64, error) {
	f, err := os.Open("/proc/" + strconv.Itoa(pid) + "/smaps_rollup")
	if err != nil {
		return nil, err
	}
	defer f.Close()
	sizes := map[string]float64{}
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		name, rest, _ := strings.Cut(lines.Text(), ":")
		fields := strings.Fields(rest)
		if len(fields) != 2 || fields[1] != "kB" {
			continue
		}
		kb, err := strconv.ParseFloat(fields[0], 64)
		if err != nil {
			return nil, fmt.Errorf("read smaps_rollup of %d: %w", pid, err)
		}
		sizes[name] = kb * 1024 / 1e6
	}
	return sizes, lines.Err()
}
