package config

import (
	"net/url"
	"strings"
	"time"
)

// Consul is the section consul.
type Consul struct {
	Host              HostPort // of the agent
	Scheme            string   // http or https
	Token             Secret
	Verify            bool   // the agent's certificate, with https
	CACert, Cert, Key string // PEM files, used with https
	DC                string // datacenter whose servers keep the keys; "": the agent's own
	Consistency       string // default, consistent or stale: of watches
	Checks            []string

	RegisterService           bool
	ServiceTags               []string
	ServiceCheckInterval      time.Duration
	ServiceCheckTLSServerName string
}

// URL is where the agent's HTTP API is.
func (c *Consul) URL() string { return c.Scheme + "://" + c.Host.String() }

// place is c without what a running agent takes up.
func (c *Consul) place() *Consul {
	if c == nil {
		return nil
	}
	p := *c
	p.Token, p.RegisterService, p.ServiceTags, p.ServiceCheckInterval, p.ServiceCheckTLSServerName = "", false, nil, 0, ""
	return &p
}

func readConsul(s *section) *Consul {
	if !s.present() {
		return nil
	}
	c := &Consul{
		Scheme:                    s.oneOf("scheme", "http", "https"),
		Token:                     s.secret("token"),
		Verify:                    s.boolean("verify", true),
		CACert:                    s.text("cacert", ""),
		Cert:                      s.text("cert", ""),
		Key:                       s.text("key", ""),
		DC:                        s.text("dc", ""),
		Consistency:               s.oneOf("consistency", "default", "consistent", "stale"),
		Checks:                    s.words("checks"),
		RegisterService:           s.boolean("register_service", false),
		ServiceTags:               s.words("service_tags"),
		ServiceCheckTLSServerName: s.text("service_check_tls_server_name", ""),
	}
	port := int(s.integer("port", 8500, 1, 65535, ""))
	switch {
	case s.has("url"):
		c.readURL(s, port)
	case s.has("host"):
		var err error
		if c.Host, err = ParseHostPort(s.text("host", ""), port); err != nil {
			s.r.fail(s.at("host"), err.Error(), "write HOST or HOST:PORT")
		}
	default:
		s.r.fail(s.path, "no agent is named", "write host: HOST:PORT, or url: http://HOST:PORT")
	}
	s.known["url"], s.known["host"] = true, true
	c.readServiceCheck(s)
	if c.Scheme == "http" && (c.CACert != "" || c.Cert != "") {
		s.r.warn(s.path, "certificates are given, and scheme is http: they are not used", "write scheme: https")
	}
	if c.Cert == "" && c.Key != "" {
		s.r.fail(s.at("key"), "a key without cert", "name the client certificate, too")
	}
	if len(c.Checks) > 0 {
		s.r.warn(s.at("checks"), "the leader key ends with these checks, long before ttl has passed", "leave checks out, unless you want that")
	}
	s.done()
	return c
}

// readURL takes address and scheme out of the URL.
func (c *Consul) readURL(s *section, port int) {
	u, err := url.Parse(s.text("url", ""))
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" || u.User != nil || strings.Trim(u.Path, "/") != "" {
		s.r.fail(s.at("url"), "not a URL of Consul", "write http://HOST:PORT or https://HOST:PORT")
		return
	}
	if c.Host, err = ParseHostPort(u.Host, port); err != nil {
		s.r.fail(s.at("url"), "the URL has no usable port", "write http://HOST:PORT or https://HOST:PORT")
		return
	}
	c.Scheme = u.Scheme
}

// readServiceCheck reads an interval in Consul's notation, which is Go's: "5s".
func (c *Consul) readServiceCheck(s *section) {
	const key = "service_check_interval"
	text := s.text(key, "5s")
	d, err := time.ParseDuration(text)
	if err != nil || d < time.Second {
		s.wrong(key, "a duration of at least a second", "write it as 5s")
		return
	}
	c.ServiceCheckInterval = d
}
