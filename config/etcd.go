package config

import (
	"net/url"
	"strings"
)

// Etcd3 is the section etcd3, or etcd, which is read alike and spoken to over version 3 of the protocol.
type Etcd3 struct {
	Hosts             []HostPort // empty where SRV finds them
	SRV, SRVSuffix    string     // domain whose DNS names the servers, and what their records' names end with
	UseProxies        bool       // hosts are proxies: the members behind them are not asked directly
	Protocol          string     // http or https; with SRV, its records decide
	Username          string
	Password          Secret
	CACert, Cert, Key string // PEM files, used with https
	Section           string // "etcd3" or "etcd", as the file has it
}

// Endpoints are the servers as URLs.
func (e *Etcd3) Endpoints() []string {
	out := make([]string, len(e.Hosts))
	for i, h := range e.Hosts {
		out[i] = e.Protocol + "://" + h.String()
	}
	return out
}

// place is e without what a running agent takes up.
func (e *Etcd3) place() *Etcd3 {
	if e == nil {
		return nil
	}
	p := *e
	p.Username, p.Password = "", ""
	return &p
}

func readEtcd(s *section, name string) *Etcd3 {
	if !s.present() {
		return nil
	}
	e := &Etcd3{
		Section:  name,
		Protocol: s.oneOf("protocol", "http", "https"),
		Username: s.text("username", ""),
		Password: s.secret("password"),
		CACert:   s.text("cacert", ""),
		Cert:     s.text("cert", ""),
		Key:      s.text("key", ""),
	}
	port := int(s.integer("port", 2379, 1, 65535, ""))
	e.UseProxies = s.boolean("use_proxies", false)
	for _, k := range []string{"srv", "discovery_srv", "srv_domain"} {
		if s.has(k) && e.SRV == "" {
			e.SRV = strings.Trim(s.text(k, ""), ".")
		}
	}
	e.SRVSuffix = s.text("srv_suffix", "")
	switch {
	case s.has("proxy"):
		e.UseProxies = true
		e.readURL(s, "proxy", port)
	case e.SRV != "":
	case s.has("url"):
		e.readURL(s, "url", port)
	case s.has("hosts"):
		e.readHosts(s, "hosts", port)
	case s.has("host"):
		e.readHosts(s, "host", port)
	default:
		s.r.fail(s.path, "no server is named", "write hosts, a list of HOST:PORT, or srv, a domain whose DNS names them")
	}
	if len(e.Hosts) > 0 {
		e.SRV, e.SRVSuffix = "", "" // a proxy goes first
	}
	for _, k := range []string{"proxy", "url", "hosts", "host"} {
		s.known[k] = true
	}
	if e.Protocol == "http" && e.SRV == "" && (e.CACert != "" || e.Cert != "") {
		s.r.warn(s.path, "certificates are given, and protocol is http: they are not used", "write protocol: https")
	}
	if name == "etcd" {
		s.r.warn(s.path, "is read like etcd3: version 3 of etcd's protocol is used, and version 2 is asked first whether Patroni keeps the cluster there",
			"rename the section to etcd3 once no Patroni uses it; then nothing is asked")
	}
	s.done()
	return e
}

func (e *Etcd3) readHosts(s *section, key string, port int) {
	problems := len(s.r.problems)
	for _, h := range s.words(key) {
		if strings.Contains(h, "://") {
			e.addURL(s, key, h, port)
			continue
		}
		hp, err := ParseHostPort(h, port)
		if err != nil {
			s.r.fail(s.at(key), err.Error(), "write HOST:PORT")
			continue
		}
		e.Hosts = append(e.Hosts, hp)
	}
	if len(e.Hosts) == 0 && len(s.r.problems) == problems {
		s.r.fail(s.at(key), "no server is named", "write HOST:PORT")
	}
}

func (e *Etcd3) readURL(s *section, key string, port int) { e.addURL(s, key, s.text(key, ""), port) }

// addURL takes address, protocol and credentials out of a URL. Messages do not repeat it, as it may hold a password.
func (e *Etcd3) addURL(s *section, key, text string, port int) {
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" {
		s.r.fail(s.at(key), "not a URL of etcd", "write http://HOST:PORT or https://HOST:PORT")
		return
	}
	hp, err := ParseHostPort(u.Host, port)
	if err != nil {
		s.r.fail(s.at(key), "the URL has no usable port", "write http://HOST:PORT or https://HOST:PORT")
		return
	}
	e.Protocol = u.Scheme
	e.Hosts = append(e.Hosts, hp)
	if u.User != nil && e.Username == "" {
		password, _ := u.User.Password()
		e.Username, e.Password = u.User.Username(), Secret(password)
	}
}
