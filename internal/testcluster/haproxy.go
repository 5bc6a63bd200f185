//go:build linux

package testcluster

import (
	"context"
	"encoding/csv"
	"fmt"
	"net"
	"net/http"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// HAProxy is a running HAProxy with a user's configuration.
type HAProxy struct {
	Ports    map[string]int // of each listener, by name
	Replaced []string       // what was changed in the user's file
	Log      string         // file
	c        *Cluster
}

// Lines of a configuration that depend on the site.
var (
	listenLine = regexp.MustCompile(`^listen\s+(\S+)`)
	bindLine   = regexp.MustCompile(`^(\s*bind\s+)\*:(\d+)(.*)$`)
	serverLine = regexp.MustCompile(`^(\s*server\s+\S+\s+)(\S+):(\d+)(\s.*?\bport\s+)(\d+)(.*)$`)
	caFile     = regexp.MustCompile(`\bca-file\s+\S+`)
)

// StartHAProxy runs Debian's HAProxy with a user's configuration, in which the listening ports, the servers' addresses and
// the authority's file are replaced and nothing else; the i-th server of each listener becomes node i. keep selects the
// listeners to keep; nil keeps all.
func (c *Cluster) StartHAProxy(ctx context.Context, config string, keep func(listener string) bool) (*HAProxy, error) {
	if _, err := exec.LookPath("haproxy"); err != nil {
		return nil, &MissingError{"haproxy", "install haproxy"}
	}
	h := &HAProxy{Ports: map[string]int{}, c: c}
	text, err := h.adapt(config, keep)
	if err != nil {
		return nil, err
	}
	file, err := c.WriteFile("haproxy.cfg", text)
	if err != nil {
		return nil, err
	}
	if out, code, err := c.Run(ctx, "haproxy", "-c", "-f", file); err != nil || code != 0 {
		return nil, fmt.Errorf("check the HAProxy configuration: exit %d, %v\n%s\n%s", code, err, out, text)
	}
	log, exited, err := c.Spawn("haproxy", "haproxy", "-db", "-f", file)
	if err != nil {
		return nil, err
	}
	h.Log = log
	return h, poll(ctx, 20*time.Millisecond, "HAProxy", func() (bool, string) {
		select {
		case <-exited:
			return false, "it has ended: " + readTail(log)
		default:
		}
		for name, port := range h.Ports {
			conn, err := c.Dial(ctx, "tcp", address(c.Address, port))
			if err != nil {
				return false, name + ": " + err.Error()
			}
			_ = conn.Close()
		}
		return true, ""
	})
}

// adapt rewrites a user's configuration for this cluster.
func (h *HAProxy) adapt(config string, keep func(string) bool) (string, error) {
	var out []string
	listener, server, skip := "", 0, false
	for line := range strings.Lines(config) {
		line = strings.TrimRight(line, "\n")
		if m := listenLine.FindStringSubmatch(line); m != nil {
			listener, server = m[1], 0
			skip = keep != nil && !keep(listener)
		}
		if skip {
			continue
		}
		switch m := serverLine.FindStringSubmatch(line); {
		case m != nil && server < len(h.c.Nodes):
			n := h.c.Nodes[server]
			server++
			line = m[1] + net.JoinHostPort(n.Host, strconv.Itoa(n.PGPort)) + m[4] + strconv.Itoa(n.RESTPort) + m[6]
			h.note("%s: server %s:%s check port %s", listener, m[2], m[3], m[5])
			if caFile.MatchString(line) {
				line = caFile.ReplaceAllString(line, "ca-file "+h.c.Authority.CA())
				h.note("%s: ca-file", listener)
			}
		case bindLine.MatchString(line):
			port, err := h.c.FreePort()
			if err != nil {
				return "", err
			}
			h.Ports[listener] = port
			m := bindLine.FindStringSubmatch(line)
			line = m[1] + address(h.c.Address, port) + m[3]
			h.note("%s: bind *:%s", listener, m[2])
		}
		out = append(out, line)
	}
	return strings.Join(out, "\n") + "\n", nil
}

func (h *HAProxy) note(format string, args ...any) {
	h.Replaced = append(h.Replaced, fmt.Sprintf(format, args...))
}

// WaitServers waits until so many servers of a listener are up. Just started, HAProxy takes all for up until their checks
// have failed. The configuration needs a listener with the name stats that serves the statistics at /.
func (h *HAProxy) WaitServers(ctx context.Context, listener string, up int) error {
	return poll(ctx, 200*time.Millisecond, fmt.Sprintf("%d servers of %s", up, listener), func() (bool, string) {
		count, err := h.servers(ctx, listener)
		return err == nil && count == up, fmt.Sprintf("%d, %v", count, err)
	})
}

// servers counts those that are up, from the statistics as CSV: proxy name, server name, and status in column 18.
func (h *HAProxy) servers(ctx context.Context, listener string) (int, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address(h.c.Address, h.Ports["stats"])+"/;csv", nil)
	if err != nil {
		return 0, err
	}
	res, err := h.c.http.Do(req)
	if err != nil {
		return 0, err
	}
	defer res.Body.Close()
	reader := csv.NewReader(res.Body)
	reader.FieldsPerRecord = -1
	lines, err := reader.ReadAll()
	if err != nil {
		return 0, fmt.Errorf("read HAProxy's statistics: %w", err)
	}
	up := 0
	for _, f := range lines {
		if len(f) > 17 && f[0] == listener && f[1] != "FRONTEND" && f[1] != "BACKEND" && strings.HasPrefix(f[17], "UP") {
			up++
		}
	}
	return up, nil
}
