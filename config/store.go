package config

// refusedStores are sections of Patroni that this release does not serve, each with a sentence.
var refusedStores = map[string][2]string{
	"kubernetes": {"Kubernetes objects as a store are not supported", "use etcd3 or embedetcd"},
	"raft":       {"Patroni's raft is deprecated there and not supported here", "use embedetcd, an etcd inside the agent, or etcd3"},
	"citus":      {"Citus is not supported", "remove the section, or stay with Patroni for Citus clusters"},
}

// storeReaders reads each store's section into c, in the order in which sections are looked for.
var storeReaders = []struct {
	section string
	read    func(c *Config, s *section)
}{
	{"etcd3", func(c *Config, s *section) { c.Etcd3 = readEtcd(s, "etcd3") }},
	{"etcd", func(c *Config, s *section) { c.Etcd3 = readEtcd(s, "etcd") }},
	{"consul", func(c *Config, s *section) { c.Consul = readConsul(s) }},
	{"zookeeper", func(c *Config, s *section) { c.ZooKeeper = readZooKeeper(s) }},
	{"exhibitor", func(c *Config, s *section) { c.ZooKeeper = readExhibitor(s) }},
	{"embedetcd", func(c *Config, s *section) { c.EmbedEtcd = readEmbedEtcd(s, c) }},
}

// readStores reads the sections of stores; one at most may be there.
func (c *Config) readStores(s *section) {
	for _, name := range sortedKeys(refusedStores) {
		if s.has(name) {
			s.r.fail(s.at(name), refusedStores[name][0], refusedStores[name][1])
		}
	}
	first := ""
	for _, store := range storeReaders {
		switch {
		case !s.has(store.section):
		case first != "":
			s.r.fail(s.at(store.section), "a second store, beside "+first, "keep one of the two sections")
		default:
			first = store.section
			store.read(c, s.sub(store.section))
		}
	}
}
