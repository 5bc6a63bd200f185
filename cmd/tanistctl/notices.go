package main

import (
	"fmt"
	"strings"

	"github.com/tanist-ha/tanist/dcs"
)

// notices are the sentences below a table: what an operator should know about the cluster and cannot see in the columns.
func (a *app) notices(c dcs.Cluster) []string {
	var out []string
	if c.Config != nil && a.loaded != nil {
		settings, err := a.loaded.Dynamic(c.Config.Raw)
		if err != nil {
			out = append(out, err.Error())
		}
		out = append(out, settings.Notices...)
	}
	if l := c.Leader; l != nil && !isMember(c, l.Name) {
		out = append(out, fmt.Sprintf("the leader key names %s, which is not a member: the others wait until the key ends", l.Name))
	}
	for _, m := range c.Members {
		if m.Data.TanistWatchdog == dcs.WatchdogFailed {
			out = append(out, m.Name+" must have a watchdog and cannot arm it: it does not lead (explain says why)")
		}
	}
	for _, m := range c.Members {
		if m.Data.TanistUnfenced {
			out = append(out, m.Name+" is unfenced: if its agent dies or hangs, its server stays writable beside the next primary")
		}
	}
	if others := patroniMembers(c); len(others) > 0 {
		out = append(out, "run by Patroni: "+strings.Join(others, ", ")+"; what tanist guarantees holds for the terms that tanist members lead")
	}
	return append(out, c.Problems...)
}

func isMember(c dcs.Cluster, name string) bool {
	for _, m := range c.Members {
		if m.Name == name {
			return true
		}
	}
	return false
}

// patroniMembers are the members that do not carry our mark, in a cluster that has at least one member that does.
func patroniMembers(c dcs.Cluster) []string {
	var others []string
	for _, m := range c.Members {
		if m.Data.Tanist == "" && m.Data.Version != "" {
			others = append(others, m.Name)
		}
	}
	if len(others) == len(c.Members) {
		return nil // nobody expects our promises there
	}
	return others
}
