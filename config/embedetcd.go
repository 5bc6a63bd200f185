package config

import (
	"fmt"
	"slices"
	"strings"
)

// EmbedEtcd is the section embedetcd, which Patroni does not have: an etcd member that runs inside the agent, so that
// three machines need no separate store.
//
//	embedetcd:
//	  name: node1                      # in the etcd cluster; the member's own name unless set
//	  data_dir: /var/lib/tanist/etcd   # required; beside the data directory, not in it
//	  client_listen: 10.0.0.1:2379     # a list or one, HOST:PORT or URL; 127.0.0.1:2379 unless set
//	  peer_listen: 10.0.0.1:2380       # required
//	  client_advertise: 10.0.0.1:2379  # what others connect to; client_listen unless set
//	  peer_advertise: 10.0.0.1:2380    # peer_listen unless set
//	  initial_cluster:                 # the same on all members: a mapping, or a list of NAME=URL
//	    node1: 10.0.0.1:2380
//	    node2: 10.0.0.2:2380
//	    node3: 10.0.0.3:2380
//	  initial_cluster_state: new       # or existing, for a member that joins later
//	  initial_cluster_token: batman    # the scope unless set
//	  protocol: http                   # https with cert, key and cacert below, for clients and peers
//	  cert: /etc/tanist/etcd.pem
//	  key: /etc/tanist/etcd-key.pem
//	  cacert: /etc/tanist/ca.pem       # certificates of clients and peers are demanded when it is set
type EmbedEtcd struct {
	Name                            string
	DataDir                         string
	ClientListen, PeerListen        []string // URLs
	ClientAdvertise, PeerAdvertise  []string // URLs
	InitialCluster                  []EtcdMember
	InitialClusterState             string
	InitialClusterToken             string
	Protocol                        string
	CACert, Cert, Key               string
	HeartbeatInterval, ElectionTime int // milliseconds; 0: etcd's own, 100 and 1000
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
	}
	e.ClientListen = e.urls(s, "client_listen", 2379)
	e.PeerListen = e.urls(s, "peer_listen", 2380)
	e.ClientAdvertise = e.urls(s, "client_advertise", 2379)
	e.PeerAdvertise = e.urls(s, "peer_advertise", 2380)
	if len(e.ClientListen) == 0 {
		e.ClientListen = []string{e.Protocol + "://127.0.0.1:2379"}
	}
	e.ClientAdvertise = e.advertised(s, "client_advertise", e.ClientAdvertise, e.ClientListen)
	e.PeerAdvertise = e.advertised(s, "peer_advertise", e.PeerAdvertise, e.PeerListen)
	e.InitialCluster = e.members(s)
	e.check(s)
	s.done()
	return e
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
}
