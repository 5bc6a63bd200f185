package wire

import (
	"fmt"
	"net/url"
	"strconv"
	"strings"

	"github.com/tanist-ha/tanist/config"
	"github.com/tanist-ha/tanist/internal/redact"
)

// storePorts are the schemes of a store's URL, each with the port that is meant when none is written.
var storePorts = map[string]int{"etcd": 2379, "etcd3": 2379, "consul": 8500, "zookeeper": 2181, "exhibitor": 8181}

// Override replaces the store of cfg by the one that text names, in the form of patronictl's --dcs-url:
// [scheme://][host][:port][/namespace]. Without a scheme the port decides, and without a port it is etcd on this machine.
func Override(cfg *config.Config, text string) error {
	if !strings.Contains(text, "//") {
		text = "//" + text
	}
	u, err := url.Parse(text)
	if err != nil {
		return fmt.Errorf("read the store's URL %q: it is not a URL; write SCHEME://HOST:PORT", redact.Address(text)) // err repeats all of it
	}
	port := 0
	if u.Port() != "" {
		if port, err = strconv.Atoi(u.Port()); err != nil || port < 1 || port > 65535 {
			return fmt.Errorf("read the store's URL %q: %q is not a port", redact.Address(text), u.Port())
		}
	}
	scheme := u.Scheme
	if scheme == "" {
		scheme = schemeOf(port)
	}
	if _, known := storePorts[scheme]; !known {
		return fmt.Errorf("unknown dcs scheme: %s", scheme)
	}
	if port == 0 {
		port = storePorts[scheme]
	}
	host := u.Hostname()
	if host == "" {
		host = "localhost"
	}
	cfg.EmbedEtcd, cfg.Etcd3, cfg.Consul, cfg.ZooKeeper = nil, nil, nil, nil
	at := config.HostPort{Host: host, Port: port}
	switch scheme {
	case "consul":
		cfg.Consul = &config.Consul{Host: at, Scheme: "http"}
	case "zookeeper":
		cfg.ZooKeeper = &config.ZooKeeper{Hosts: []config.HostPort{at}}
	case "exhibitor":
		cfg.ZooKeeper = &config.ZooKeeper{Exhibitor: &config.Exhibitor{Hosts: []string{host}, Port: port}}
	default:
		cfg.Etcd3 = &config.Etcd3{Hosts: []config.HostPort{at}, Protocol: "http", Section: scheme}
	}
	if ns := strings.Trim(u.Path, "/"); ns != "" {
		cfg.Namespace = ns
	}
	return nil
}

// schemeOf guesses a store by its port.
func schemeOf(port int) string {
	for _, scheme := range []string{"etcd", "consul", "zookeeper", "exhibitor"} {
		if storePorts[scheme] == port {
			return scheme
		}
	}
	return "etcd"
}
