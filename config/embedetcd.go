package config

import (
	"cmp"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strings"
)

// EmbedEtcd is the section embedetcd, which Patroni does not have: an etcd member that runs inside the agent, so that
// three machines need no separate store. A witness (tanist witness) reads it, too.
//
//	embedetcd:
//	  name: node1                      # in the etcd cluster; the member's own name unless set
//	  data_dir: /var/lib/tanist/etcd   # required; beside the data directory, not in it
//	  client_listen: 10.0.0.1:2379     # a list or one, HOST:PORT or URL; the hosts of peer_listen and port 2379 unless set
//	  peer_listen: 10.0.0.1:2380       # required
//	  client_advertise: 10.0.0.1:2379  # what others connect to; client_listen unless set
//	  peer_advertise: 10.0.0.1:2380    # peer_listen unless set
//	  initial_cluster:                 # the same on all members: a mapping, or a list of NAME=URL
//	    node1: 10.0.0.1:2380
//	    node2: 10.0.0.2:2380
//	    node3: 10.0.0.3:2380
//	  hosts: [10.0.0.1:2379, ...]      # of clients, all members; the hosts of initial_cluster with this member's port unless set
//	  initial_cluster_state: new       # or existing: never found a cluster, wait for a running one
//	  initial_cluster_token: batman    # the scope unless set
//	  protocol: http                   # https with cert, key and cacert below, for clients and peers
//	  cert: /etc/tanist/etcd.pem
//	  key: /etc/tanist/etcd-key.pem
//	  cacert: /etc/tanist/ca.pem       # certificates of clients and peers are demanded when it is set
//	  heartbeat_interval: 100          # ms; not less than the longest round trip between members
//	  election_timeout: 1000           # ms; at least ten heartbeats
//	  auto_compaction_mode: periodic   # or revision
//	  auto_compaction_retention: 10    # minutes for which old versions are kept, or their number
//	  quota_backend_bytes: 268435456   # size of the database that makes etcd refuse writes
type EmbedEtcd struct {
	Name                            string
	DataDir                         string
	ClientListen, PeerListen        []string // URLs
	ClientAdvertise, PeerAdvertise  []string // URLs
	Hosts                           []string // URLs of all members for clients, this one's first
	InitialCluster                  []EtcdMember
	InitialClusterState             string
	InitialClusterToken             string
	Protocol                        string
	CACert, Cert, Key               string
	HeartbeatInterval, ElectionTime int // milliseconds; 0: etcd's own, 100 and 1000
	CompactByRevision               bool
	CompactKeep                     int64 // minutes, or revisions; 0: 10 minutes
	QuotaBytes                      int64 // 0: 256 MiB
}

// EtcdMember is one member of the first cluster.
type EtcdMember struct {
	Name string
	URL  string // of its peers
}

// InitialClusterString is the form that etcd takes: NAME=URL,NAME=URL.
func (e *EmbedEtcd) InitialClusterString() string {
	parts := make([]string, len(e.InitialCluster))
	for i, m := range e.InitialCluster {
		parts[i] = m.Name + "=" + m.URL
	}
	return strings.Join(parts, ",")
}

func readEmbedEtcd(s *section, c *Config) *EmbedEtcd {
	if !s.present() {
		return nil
	}
	e := &EmbedEtcd{
		Name:                s.text("name", c.Name),
		DataDir:             s.text("data_dir", ""),
		Protocol:            s.oneOf("protocol", "http", "https"),
		InitialClusterState: s.oneOf("initial_cluster_state", "new", "existing"),
		InitialClusterToken: s.text("initial_cluster_token", c.Scope),
		CACert:              s.text("cacert", ""),
		Cert:                s.text("cert", ""),
		Key:                 s.text("key", ""),
		HeartbeatInterval:   int(s.integer("heartbeat_interval", 0, 0, 10_000, "ms")),
		ElectionTime:        int(s.integer("election_timeout", 0, 0, 50_000, "ms")),
		CompactByRevision:   s.oneOf("auto_compaction_mode", "periodic", "revision") == "revision",
		CompactKeep:         s.integer("auto_compaction_retention", 0, 0, 1_000_000, ""),
		QuotaBytes:          s.integer("quota_backend_bytes", 0, 16<<20, 8<<30, ""),
	}
	e.ClientListen = e.urls(s, "client_listen", 2379)
	e.PeerListen = e.urls(s, "peer_listen", 2380)
	e.ClientAdvertise = e.urls(s, "client_advertise", 2379)
	e.PeerAdvertise = e.urls(s, "peer_advertise", 2380)
	if len(e.ClientListen) == 0 {
		e.ClientListen = e.samePort(e.PeerListen, "2379")
	}
	e.ClientAdvertise = e.advertised(s, "client_advertise", e.ClientAdvertise, e.ClientListen)
	e.PeerAdvertise = e.advertised(s, "peer_advertise", e.PeerAdvertise, e.PeerListen)
	e.InitialCluster = e.members(s)
	e.Hosts = e.hosts(s)
	e.check(s)
	s.done()
	return e
}

// samePort are the hosts of urls, with the section's protocol and another port.
func (e *EmbedEtcd) samePort(urls []string, port string) []string {
	var out []string
	for _, text := range urls {
		if u, err := url.Parse(text); err == nil {
			out = append(out, e.Protocol+"://"+net.JoinHostPort(u.Hostname(), port))
		}
	}
	return out
}

// hosts are the client addresses of all members: the store is there as long as a majority of them is, whatever has become of our own.
func (e *EmbedEtcd) hosts(s *section) []string {
	others := e.urls(s, "hosts", 2379)
	if !s.has("hosts") && len(e.ClientAdvertise) > 0 {
		port := "2379"
		if u, err := url.Parse(e.ClientAdvertise[0]); err == nil {
			port = u.Port()
		}
		for _, m := range e.InitialCluster {
			if m.Name != e.Name {
				others = append(others, e.samePort([]string{m.URL}, port)...)
			}
		}
	}
	out := slices.Clone(e.ClientAdvertise)
	for _, u := range others {
		if !slices.Contains(out, u) {
			out = append(out, u)
		}
	}
	return out
}

// urls reads a list of addresses, HOST:PORT or URL.
func (e *EmbedEtcd) urls(s *section, key string, port int) []string {
	var out []string
	for _, w := range s.words(key) {
		if u, ok := e.url(s, s.at(key), w, port); ok {
			out = append(out, u)
		}
	}
	return out
}

func (e *EmbedEtcd) url(s *section, path []string, text string, port int) (string, bool) {
	scheme, host := e.Protocol, text
	if before, after, ok := strings.Cut(text, "://"); ok {
		scheme, host = before, strings.TrimSuffix(after, "/")
	}
	hp, err := ParseHostPort(host, port)
	if err != nil || scheme != "http" && scheme != "https" {
		s.r.fail(path, fmt.Sprintf("%q is not an address", text), "write HOST:PORT, http://HOST:PORT or https://HOST:PORT")
		return "", false
	}
	return scheme + "://" + hp.String(), true
}

func (e *EmbedEtcd) advertised(s *section, key string, own, listen []string) []string {
	if len(own) > 0 {
		return own
	}
	for _, u := range listen {
		if hp, err := ParseHostPort(strings.SplitN(u, "://", 2)[1], 0); err == nil && hp.Wildcard() {
			s.r.fail(s.at(key), "is needed, as the listening address stands for all addresses", "write the address that the other members connect to")
		}
	}
	return listen
}

func (e *EmbedEtcd) members(s *section) []EtcdMember {
	var out []EtcdMember
	add := func(path []string, name, address string) {
		if u, ok := e.url(s, path, address, 2380); ok {
			out = append(out, EtcdMember{strings.TrimSpace(name), u})
		}
	}
	if m, ok := s.get("initial_cluster").(map[string]any); ok {
		sub := s.sub("initial_cluster")
		for _, name := range s.r.tree.ordered(sub.path, m) {
			add(sub.at(name), name, sub.text(name, ""))
		}
		return out
	}
	for _, w := range s.words("initial_cluster") {
		name, address, ok := strings.Cut(w, "=")
		if !ok {
			s.r.fail(s.at("initial_cluster"), fmt.Sprintf("%q is not NAME=URL", w), "write a mapping of names to addresses")
			continue
		}
		add(s.at("initial_cluster"), name, address)
	}
	return out
}

func (e *EmbedEtcd) check(s *section) {
	if e.DataDir == "" {
		s.r.fail(s.at("data_dir"), "is missing", "name a folder for etcd's own files")
	}
	if len(e.PeerListen) == 0 && !s.has("peer_listen") {
		s.r.fail(s.at("peer_listen"), "is missing", "write the HOST:PORT on which the other etcd members reach this one")
	}
	named := slices.ContainsFunc(e.InitialCluster, func(m EtcdMember) bool { return m.Name == e.Name })
	switch {
	case len(e.InitialCluster) == 0 && len(e.PeerAdvertise) > 0 && !s.has("initial_cluster"):
		e.InitialCluster = []EtcdMember{{e.Name, e.PeerAdvertise[0]}}
		s.r.warn(s.path, "initial_cluster is missing: this etcd is a cluster of one and dies with this machine", "list three members")
	case len(e.InitialCluster) > 0 && !named:
		s.r.fail(s.at("initial_cluster"), fmt.Sprintf("does not contain this member, %q", e.Name), "add it, or set embedetcd.name")
	case len(e.InitialCluster) == 2:
		s.r.warn(s.at("initial_cluster"), "two members stop when either of them does", "use three; the third may be a machine without PostgreSQL")
	}
	if e.Protocol == "https" && (e.Cert == "" || e.Key == "") {
		s.r.fail(s.path, "https needs cert and key", "")
	}
	if e.Protocol == "https" && e.Cert != "" && e.CACert == "" {
		s.r.warn(s.path, "cacert is missing: whoever reaches the ports may read, write and join", "name the authority of the members' certificates")
	}
	heartbeat, election := cmp.Or(e.HeartbeatInterval, 100), cmp.Or(e.ElectionTime, 1000)
	if election < 10*heartbeat {
		s.r.fail(s.at("election_timeout"), fmt.Sprintf("%d ms is less than ten heartbeats of %d ms", election, heartbeat),
			fmt.Sprintf("write %d or more", 10*heartbeat))
	}
}
