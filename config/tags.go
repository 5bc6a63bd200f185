package config

import (
	"fmt"
	"math"

	"github.com/tanist-ha/tanist/ha"
)

// readTags reads the section tags. Unknown tags are published as they are, and can be asked for with ?tag_NAME=VALUE.
func (c *Config) readTags(root *section) {
	s := root.sub("tags")
	t := ha.Tags{
		NoLoadBalance: s.boolean("noloadbalance", false),
		CloneFrom:     s.boolean("clonefrom", false),
		NoStream:      s.boolean("nostream", false),
		ReplicateFrom: s.text("replicatefrom", ""),
	}
	t.NoFailover, t.FailoverPriority = boolOverPriority(s, "nofailover", "failover_priority")
	t.NoSync, t.SyncPriority = boolOverPriority(s, "nosync", "sync_priority")
	t.All = publishedTags(s)
	c.Tags = t
}

// boolOverPriority reads a pair of tags that say the same: a priority of 0 or less means the boolean. Where they
// contradict each other the boolean counts.
func boolOverPriority(s *section, flag, priority string) (set bool, prio int) {
	n := s.integer(priority, 1, math.MinInt32, math.MaxInt32, "")
	if !s.has(flag) {
		return n <= 0, int(max(n, 0))
	}
	set = s.boolean(flag, false)
	if s.has(priority) && set == (n > 0) {
		s.r.warn(s.at(flag), fmt.Sprintf("Conflicting configuration between %s: %s and %s: %d. Defaulting to %s: %s",
			flag, pyStr(set), priority, n, flag, pyStr(set)), "")
		n = 1
	}
	if set {
		return true, 0
	}
	return false, int(n)
}

// publishedTags leaves out the known boolean tags that are off, except where a priority tag stands beside.
func publishedTags(s *section) map[string]any {
	beside := map[string]string{"nofailover": "failover_priority", "nosync": "sync_priority", "clonefrom": "", "noloadbalance": "", "nostream": ""}
	out := map[string]any{}
	for k, v := range s.values {
		priority, known := beside[k]
		if known {
			b, _ := boolOf(v)
			if !b && (priority == "" || s.values[priority] == nil) {
				continue
			}
			v = b
		}
		if v != nil {
			out[k] = v
		}
	}
	if len(out) == 0 {
		return nil
	}
	return out
}
