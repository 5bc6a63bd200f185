package restclient

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/tanist-ha/tanist/ha"
)

// parseTags reads the tags that a member tells. failover_priority counts where nofailover is not given; 0 means the same
// as nofailover.
func parseTags(all map[string]any) ha.Tags {
	t := ha.Tags{
		FailoverPriority: 1, NoLoadBalance: isTrue(all["noloadbalance"]), CloneFrom: isTrue(all["clonefrom"]),
		NoSync: isTrue(all["nosync"]), All: all,
	}
	if from, ok := all["replicatefrom"].(string); ok {
		t.ReplicateFrom = from
	}
	if priority, ok := all["failover_priority"]; ok {
		if n, err := strconv.Atoi(fmt.Sprint(priority)); err == nil {
			t.FailoverPriority = max(n, 0)
		}
	}
	switch explicit, given := all["nofailover"]; {
	case isTrue(explicit):
		t.NoFailover, t.FailoverPriority = true, 0
	case given && explicit != nil:
		t.FailoverPriority = max(t.FailoverPriority, 1) // "nofailover: false" wins over a priority of 0
	default:
		t.NoFailover = t.FailoverPriority == 0
	}
	return t
}

// isTrue reads a truth value as YAML files spell it.
func isTrue(v any) bool {
	switch strings.ToLower(fmt.Sprint(v)) {
	case "true", "on", "yes", "1":
		return true
	}
	return false
}
