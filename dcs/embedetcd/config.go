package embedetcd

import (
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.etcd.io/etcd/client/pkg/v3/transport"
	"go.etcd.io/etcd/server/v3/embed"

	"github.com/tanist-ha/tanist/dcs/embedetcd/members"
	"github.com/tanist-ha/tanist/internal/redact"
)

// Config describes one member. Name, DataDir, ClientURLs and PeerURLs are required.
type Config struct {
	Name    string // of this member, unique in the cluster
	DataDir string // etcd's own folder; made if missing

	ClientURLs          []string // where clients are served, http(s)://host:port
	PeerURLs            []string // where the other members are served
	AdvertiseClientURLs []string // what clients are told; empty: ClientURLs
	AdvertisePeerURLs   []string // what members are told; empty: PeerURLs

	// InitialCluster lists all members, this one included, the same on each; empty: this one alone. It matters on the first start only.
	InitialCluster []Peer
	Token          string // tells clusters apart that are made from the same addresses; "": "tanist"
	Existing       bool   // never found a cluster: with an empty data directory, wait for a running one and join it

	ClientTLS, PeerTLS *TLS // needed for https addresses

	Heartbeat time.Duration // of etcd's leader, 100 ms if 0; not less than the longest round trip between members
	Election  time.Duration // 1 s if 0; at least 10 heartbeats and at most 50 s

	// CompactAfter is the age at which old versions of keys are dropped, 10 minutes if 0. With CompactKeep above 0 it is not the age but the number of
	// revisions that are kept.
	CompactAfter time.Duration
	CompactKeep  int64
	QuotaBytes   int64 // size of the database that makes etcd refuse writes, 256 MiB if 0; at least 16 MiB

	// Logger gets etcd's log: its information as debug, warnings and errors as such; nil: silence.
	Logger *slog.Logger
}

// Peer is a member as the others know it.
type Peer struct{ Name, URL string }

// TLS names PEM files. Certificate and key are read at each handshake; the authorities at the start. With CAFile, whoever connects must show a
// certificate of that authority. One certificate serves both sides of a connection between members.
type TLS = members.TLS

// Validate reports everything that is wrong with c.
func (c Config) Validate() error {
	_, err := c.etcd()
	return err
}

// etcd translates c.
func (c Config) etcd() (*embed.Config, error) {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf("embedded etcd: "+format, args...)) }
	if c.Name == "" || strings.ContainsAny(c.Name, "=,") {
		bad("%q is not a name of a member", c.Name)
	}
	if c.DataDir == "" {
		bad("no data directory is given")
	}
	e := embed.NewConfig()
	e.Name, e.Dir = c.Name, filepath.Clean(c.DataDir)
	e.InitialClusterToken = c.token()
	e.ListenClientUrls = parseURLs(c.ClientURLs, "client address", c.ClientTLS, bad)
	e.ListenPeerUrls = parseURLs(c.PeerURLs, "peer address", c.PeerTLS, bad)
	e.AdvertiseClientUrls, e.AdvertisePeerUrls = e.ListenClientUrls, e.ListenPeerUrls
	if len(c.AdvertiseClientURLs) > 0 {
		e.AdvertiseClientUrls = parseURLs(c.AdvertiseClientURLs, "advertised client address", c.ClientTLS, bad)
	}
	if len(c.AdvertisePeerURLs) > 0 {
		e.AdvertisePeerUrls = parseURLs(c.AdvertisePeerURLs, "advertised peer address", c.PeerTLS, bad)
	}
	e.ClientTLSInfo, e.PeerTLSInfo = tlsInfo(c.ClientTLS), tlsInfo(c.PeerTLS)
	e.InitialCluster = c.initialCluster(bad)
	c.timing(e, bad)
	c.sizes(e, bad)
	return e, errors.Join(errs...)
}

func (c Config) token() string {
	if c.Token == "" {
		return "tanist"
	}
	return c.Token
}

func (c Config) logger() *slog.Logger {
	if c.Logger == nil {
		return slog.New(slog.DiscardHandler)
	}
	return c.Logger
}

// peers are the members of the initial cluster.
func (c Config) peers() []Peer {
	if len(c.InitialCluster) > 0 {
		return c.InitialCluster
	}
	own := c.AdvertisePeerURLs
	if len(own) == 0 {
		own = c.PeerURLs
	}
	var out []Peer
	for _, u := range own {
		out = append(out, Peer{c.Name, u})
	}
	return out
}

func (c Config) initialCluster(bad func(string, ...any)) string {
	peers := c.peers()
	if !slices.ContainsFunc(peers, func(p Peer) bool { return p.Name == c.Name }) {
		bad("the initial cluster does not contain this member, %q", c.Name)
	}
	parts := make([]string, len(peers))
	for i, p := range peers {
		parts[i] = p.Name + "=" + p.URL
	}
	return strings.Join(parts, ",")
}

func (c Config) timing(e *embed.Config, bad func(string, ...any)) {
	for _, d := range []struct {
		name     string
		value    time.Duration
		into     *uint
		min, max time.Duration
	}{
		{"heartbeat", c.Heartbeat, &e.TickMs, time.Millisecond, 10 * time.Second},
		{"election timeout", c.Election, &e.ElectionMs, 5 * time.Millisecond, 50 * time.Second},
	} {
		switch {
		case d.value == 0:
		case d.value < d.min || d.value > d.max:
			bad("a %s of %s: between %s and %s", d.name, d.value, d.min, d.max)
		default:
			*d.into = uint(d.value / time.Millisecond)
		}
	}
	if e.ElectionMs < 10*e.TickMs {
		bad("an election timeout of %d ms with a heartbeat of %d ms: at least ten heartbeats", e.ElectionMs, e.TickMs)
	}
}

// Sizes of a database. The keys of a PostgreSQL cluster take some kilobytes, and their old versions of ten minutes some more.
const (
	minQuota     = 16 << 20
	defaultQuota = 256 << 20
)

func (c Config) sizes(e *embed.Config, bad func(string, ...any)) {
	switch {
	case c.CompactKeep < 0 || c.CompactAfter < 0:
		bad("old versions cannot be kept for less than no time")
	case c.CompactKeep > 0:
		e.AutoCompactionMode, e.AutoCompactionRetention = embed.CompactorModeRevision, strconv.FormatInt(c.CompactKeep, 10)
	case c.CompactAfter > 0:
		e.AutoCompactionMode, e.AutoCompactionRetention = embed.CompactorModePeriodic, c.CompactAfter.String()
	default:
		e.AutoCompactionMode, e.AutoCompactionRetention = embed.CompactorModePeriodic, "10m"
	}
	e.QuotaBackendBytes = defaultQuota
	if c.QuotaBytes != 0 {
		e.QuotaBackendBytes = c.QuotaBytes
	}
	if e.QuotaBackendBytes < minQuota {
		bad("a quota of %d bytes: at least %d", e.QuotaBackendBytes, minQuota)
	}
}

func parseURLs(texts []string, what string, t *TLS, bad func(string, ...any)) []url.URL {
	if len(texts) == 0 {
		bad("no %s is given", what)
	}
	var urls []url.URL
	for _, text := range texts {
		u, err := url.Parse(text)
		switch {
		case err != nil, u.Scheme != "http" && u.Scheme != "https", u.Port() == "", u.User != nil:
			bad("%s %q: write it as http://host:port or https://host:port", what, redact.Address(text))
		case u.Scheme == "https" && t == nil:
			bad("%s %q: https needs certificate and key", what, redact.Address(text))
		default:
			urls = append(urls, *u)
		}
	}
	return urls
}

func tlsInfo(t *TLS) transport.TLSInfo {
	if t == nil {
		return transport.TLSInfo{}
	}
	key := t.KeyFile
	if key == "" {
		key = t.CertFile
	}
	return transport.TLSInfo{CertFile: t.CertFile, KeyFile: key, TrustedCAFile: t.CAFile, ClientCertAuth: t.CAFile != ""}
}
