package main

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/tanist-ha/tanist/dcs"
	"github.com/tanist-ha/tanist/internal/overview"
	"github.com/tanist-ha/tanist/internal/table"
)

// change is a switchover (From is set) or a failover that was asked for.
type change struct {
	action    string // switchover or failover
	scope     string
	leader    string // as given by the user, "" if not
	candidate string
	scheduled string
	force     bool
}

func (a *app) switchoverCommand() *cobra.Command {
	c := change{action: "switchover"}
	var master string
	cmd := &cobra.Command{
		Use:   "switchover [OPTIONS] [CLUSTER]",
		Short: "Hand the leader's role to another member, in order",
		Args:  usage(cobra.MaximumNArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			if master != "" {
				fmt.Fprintln(a.err, "Notice: --master is an old name of --leader")
				c.leader = master
			}
			return a.change(cmd.Context(), args, c)
		},
	}
	f := cmd.Flags()
	f.StringVar(&c.leader, "leader", "", "name of the current leader")
	f.StringVar(&c.leader, "primary", "", "the same as --leader")
	f.StringVar(&master, "master", "", "the same as --leader")
	_ = f.MarkHidden("master") // the flag exists
	f.StringVar(&c.candidate, "candidate", "", "name of the member to promote")
	f.StringVar(&c.scheduled, "scheduled", "", "when, unambiguously (ISO 8601), or now")
	f.BoolVar(&c.force, "force", false, "ask nothing")
	return cmd
}

func (a *app) failoverCommand() *cobra.Command {
	c := change{action: "failover"}
	cmd := &cobra.Command{
		Use:   "failover [OPTIONS] [CLUSTER]",
		Short: "Promote a member, also if there is no leader",
		Args:  usage(cobra.MaximumNArgs(1)),
		RunE:  func(cmd *cobra.Command, args []string) error { return a.change(cmd.Context(), args, c) },
	}
	cmd.Flags().StringVar(&c.candidate, "candidate", "", "name of the member to promote")
	cmd.Flags().BoolVar(&c.force, "force", false, "ask nothing")
	return cmd
}

// change asks for what is not given, then asks the cluster for the change.
func (a *app) change(ctx context.Context, args []string, c change) error {
	scope, err := a.scope(args)
	if err != nil {
		return err
	}
	c.scope = scope
	cluster, err := a.load(ctx, scope)
	if err != nil {
		return err
	}
	fmt.Fprintln(a.out, "Current cluster topology")
	if err := a.printCluster(scope, cluster, table.Pretty, false); err != nil {
		return err
	}
	if err := a.settleLeader(ctx, &c, cluster); err != nil {
		return err
	}
	if err := a.settleCandidate(ctx, &c, cluster); err != nil {
		return err
	}
	when, err := a.settleTime(ctx, &c, cluster)
	if err != nil {
		return err
	}
	if err := a.confirmChange(ctx, c, leaderOf(cluster), when); err != nil {
		return err
	}
	return a.request(ctx, c, cluster, when)
}

func leaderOf(c dcs.Cluster) string {
	if c.Leader == nil {
		return ""
	}
	return c.Leader.Name
}

// settleLeader makes sure that the leader of a switchover is meant.
func (a *app) settleLeader(ctx context.Context, c *change, cluster dcs.Cluster) (err error) {
	if c.action != "switchover" {
		return nil
	}
	leader := leaderOf(cluster)
	if leader == "" {
		return refuse("This cluster has no leader")
	}
	if c.leader == "" {
		c.leader = leader
		if !c.force {
			question := "Primary"
			if overview.ModeOf(cluster.Config).StandbyCluster {
				question = "Standby Leader"
			}
			if c.leader, err = a.ask(ctx, question, leader); err != nil {
				return err
			}
		}
	}
	if c.leader != leader {
		return refuse("Member %s is not the leader of cluster %s", c.leader, c.scope)
	}
	return nil
}

// settleCandidate makes sure that there is somebody to promote, and that the one who is named can be.
func (a *app) settleCandidate(ctx context.Context, c *change, cluster dcs.Cluster) (err error) {
	leader := leaderOf(cluster)
	var candidates []string
	for _, m := range cluster.Members {
		if m.Name != leader && !noFailover(m) {
			candidates = append(candidates, m.Name)
		}
	}
	slices.Sort(candidates)
	if len(candidates) == 0 {
		return refuse("No candidates found to %s to", c.action)
	}
	if c.candidate == "" && !c.force {
		if c.candidate, err = a.ask(ctx, "Candidate ['"+strings.Join(candidates, "', '")+"']", ""); err != nil {
			return err
		}
	}
	switch {
	case c.candidate == "" && c.action == "failover":
		return refuse("Failover could be performed only to a specific candidate")
	case c.candidate == "" || slices.Contains(candidates, c.candidate):
	case c.candidate == leader:
		return refuse("Member %s is already the leader of cluster %s", c.candidate, c.scope)
	default:
		return refuse("Member %s does not exist in cluster %s or is tagged as nofailover", c.candidate, c.scope)
	}
	if c.action == "failover" && !c.force && asynchronous(cluster, c.candidate) {
		return a.agree(ctx, fmt.Sprintf("Are you sure you want to failover to the asynchronous node %s?", c.candidate), "Aborting failover")
	}
	return nil
}

// asynchronous says whether the cluster replicates synchronously, and not to the candidate.
func asynchronous(cluster dcs.Cluster, candidate string) bool {
	s := cluster.Sync
	if s == nil || s.Leader == "" || !overview.ModeOf(cluster.Config).Synchronous {
		return false
	}
	for _, name := range append(strings.Split(s.Standby, ","), s.Leader) {
		if strings.EqualFold(strings.TrimSpace(name), candidate) {
			return false
		}
	}
	return true
}

// noFailover says whether a member may not be promoted: the tag is set, or its priority says so.
func noFailover(m dcs.Member) bool {
	switch v := m.Data.Tags["nofailover"].(type) {
	case bool:
		return v
	case string:
		return slices.Contains([]string{"on", "true", "yes", "1"}, strings.ToLower(v))
	}
	priority, given := m.Data.Tags["failover_priority"].(float64)
	return given && priority <= 0
}

// settleTime returns when the switchover is to be, nil for now.
func (a *app) settleTime(ctx context.Context, c *change, cluster dcs.Cluster) (*time.Time, error) {
	if c.action != "switchover" {
		return nil, nil
	}
	if c.scheduled == "" && !c.force {
		example := a.now().Add(time.Hour).Format("2006-01-02T15:04")
		answer, err := a.ask(ctx, "When should the switchover take place (e.g. "+example+" ) ", "now")
		if err != nil {
			return nil, err
		}
		c.scheduled = answer
	}
	when, err := parseTime(c.scheduled, a.now().Location())
	if err != nil {
		return nil, err
	}
	if when != nil && overview.ModeOf(cluster.Config).Paused {
		return nil, refuse("Can't schedule switchover in the paused state")
	}
	return when, nil
}

// parseTime reads the forms of ISO 8601 that people type; without a zone the local one is meant. Now, or nothing, is nil.
func parseTime(text string, local *time.Location) (*time.Time, error) {
	text = strings.TrimSpace(text)
	if text == "" || text == "now" {
		return nil, nil
	}
	plain := strings.Replace(text, "T", " ", 1)
	for _, day := range []string{"2006-01-02 15:04:05", "2006-01-02 15:04", "2006-01-02 15", "2006-01-02"} {
		for _, zone := range []string{"", "Z07:00", "Z0700", "Z07", " Z07:00", " Z0700", " MST"} {
			if zone == " MST" && !strings.HasSuffix(plain, " UTC") {
				continue // other names of zones are ambiguous
			}
			if t, err := time.ParseInLocation(day+zone, plain, local); err == nil {
				return &t, nil
			}
		}
	}
	return nil, refuse("Unable to parse scheduled timestamp (%s). It should be in an unambiguous format (e.g. ISO 8601)", text)
}

func (a *app) confirmChange(ctx context.Context, c change, leader string, when *time.Time) error {
	if c.force {
		return nil
	}
	demoting := ""
	if leader != "" {
		demoting = ", demoting current leader " + leader
	}
	if when != nil {
		return a.agree(ctx, fmt.Sprintf("Are you sure you want to schedule switchover of cluster %s at %s%s?",
			c.scope, isoTime(*when), demoting), "Aborting scheduled "+c.action)
	}
	return a.agree(ctx, fmt.Sprintf("Are you sure you want to %s cluster %s%s?", c.action, c.scope, demoting), "Aborting "+c.action)
}

// agree asks for a yes; a no is an error with the text no.
func (a *app) agree(ctx context.Context, question, no string) error {
	yes, err := a.confirm(ctx, question)
	if err == nil && !yes {
		err = refuse("%s", no)
	}
	return err
}

func isoTime(t time.Time) string { return t.Format("2006-01-02T15:04:05-07:00") }

// request sends the change to the leader, or to the candidate where there is no leader. If nobody answers, it is
// written into the store, where the members find it.
func (a *app) request(ctx context.Context, c change, cluster dcs.Cluster, when *time.Time) error {
	body := map[string]any{"candidate": nil}
	if c.candidate != "" {
		body["candidate"] = c.candidate
	}
	if c.action == "switchover" {
		body["leader"] = c.leader
	}
	if when != nil {
		body["scheduled_at"] = isoTime(*when)
	}
	status, answer, err := a.post(ctx, cluster, c, body)
	switch {
	case ctx.Err() != nil:
		return errAborted
	case err != nil:
		fmt.Fprintf(a.err, "Warning: %v\n", err)
		fmt.Fprintf(a.out, "%s Could not %s using Patroni api, falling back to DCS\n", a.timestamp(), c.action)
		if err := a.writeFailover(ctx, c, cluster, when); err != nil {
			return err
		}
	case status == http.StatusOK || status == http.StatusAccepted:
		fmt.Fprintf(a.out, "%s %s\n", a.timestamp(), answer)
		if cluster, err = a.load(ctx, c.scope); err != nil {
			return err
		}
	default:
		fmt.Fprintf(a.out, "%s failed, details: %d, %s\n", table.Title(c.action), status, answer)
		return nil // patronictl's exit code is 0 here, and scripts rely on it
	}
	return a.printCluster(c.scope, cluster, table.Pretty, false)
}

func (a *app) post(ctx context.Context, cluster dcs.Cluster, c change, body map[string]any) (int, []byte, error) {
	name := leaderOf(cluster)
	if name == "" {
		name = c.candidate
	}
	at := slices.IndexFunc(cluster.Members, func(m dcs.Member) bool { return m.Name == name })
	if at < 0 {
		return 0, nil, fmt.Errorf("member %s has no key in the store, so its address is not known", name)
	}
	client, err := a.requester()
	if err != nil {
		return 0, nil, err
	}
	status, answer, err := client.Request(ctx, cluster.Members[at], http.MethodPost, c.action, body)
	if err == nil && status == http.StatusNotImplemented && c.action == "switchover" { // agents of long ago
		return client.Request(ctx, cluster.Members[at], http.MethodPost, "failover", body)
	}
	return status, answer, err
}

func (a *app) writeFailover(ctx context.Context, c change, cluster dcs.Cluster, when *time.Time) error {
	s, err := a.store(ctx, c.scope)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	var prev dcs.Version
	if cluster.Failover != nil {
		prev = cluster.Failover.Version
	}
	if err := s.PutFailover(ctx, prev, dcs.Failover{Leader: c.leader, Candidate: c.candidate, ScheduledAt: when}); err != nil {
		return &hinted{fmt.Errorf("write the %s request: %w", c.action, err), "check with list whether it was carried out before asking again"}
	}
	return nil
}
