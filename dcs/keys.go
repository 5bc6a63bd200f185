package dcs

import "strings"

// The keys of a cluster, below its prefix. They are Patroni's.
const (
	keyInitialize   = "initialize"
	keyLeader       = "leader"
	keyConfig       = "config"
	keyMembers      = "members/"
	keyStatus       = "status"
	keyLegacyOptime = "optime/leader" // written by Patroni before 2.1
	keyFailover     = "failover"
	keyHistory      = "history"
	keySync         = "sync"
	keyFailsafe     = "failsafe"
	keyNews         = "news"   // ours alone, see Client.attentive: the name of the member that last changed more than its position
	keyTanist       = "tanist" // ours alone, see Reserved; Patroni passes over names that it does not know
)

// DefaultNamespace is where Patroni keeps its clusters unless it is told otherwise.
const DefaultNamespace = "service"

// Prefix is the folder of a cluster, "/namespace/scope/", with repeated slashes squeezed. An empty namespace is
// DefaultNamespace. Stores whose keys have no leading slash (Consul) drop it themselves.
func Prefix(namespace, scope string) string {
	if strings.Trim(namespace, "/") == "" {
		namespace = DefaultNamespace
	}
	var b strings.Builder
	for part := range strings.SplitSeq(namespace+"/"+scope, "/") {
		if part != "" {
			b.WriteString("/" + part)
		}
	}
	return b.String() + "/"
}
