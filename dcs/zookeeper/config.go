package zookeeper

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"path"
	"strconv"
	"strings"
	"time"

	"github.com/tanist-ha/tanist/internal/redact"
)

// Config says where the store is, how to get in, and which folder is the cluster's. Hosts (or Discover) and Folder are required.
type Config struct {
	// Hosts are the members of the ensemble, "host:port"; a missing port is 2181.
	Hosts []string
	// Discover, if not nil, tells the hosts instead, and is asked again before connecting when its answer is older than DiscoverEvery
	// (0: five minutes). An error leaves the last answer in force. See Exhibitor.
	Discover      func(context.Context) ([]string, error)
	DiscoverEvery time.Duration
	// InOrder makes the first host the first to be asked. The default is to begin anywhere, so that the agents of a cluster spread over
	// the members.
	InOrder bool
	// Folder is the folder below which all keys lie, "/service/main/" for a cluster: the transactions below it guard each other by
	// one node in it (see the package comment), so every handle on the same keys has to name the same folder.
	Folder string
	// Auth is shown to each server after connecting.
	Auth []Auth
	// ACL is given to each node that is created. Empty: everybody may do everything.
	ACL []ACL
	// TLS: nil means none.
	TLS *TLS
	// Tick is ZooKeeper's tickTime, for servers that do not tell it (`4lw.commands.whitelist` without conf). 0: two seconds, ZooKeeper's default.
	Tick time.Duration
	// Now is the clock by which the age of a session's proof is told; it has to count the time that the machine was suspended. Nil: time.Now,
	// which does not.
	Now func() time.Time
	// Logger gets one line when the server in use changes, or a session's TTL is not what was asked; nil: silence.
	Logger *slog.Logger
}

// Auth is a credential, for example of scheme "digest" with "user:password".
type Auth struct{ Scheme, Credential string }

// ACL permits what Perms says to whom Scheme and ID name ("world" and "anyone", "digest" and "user:hash", "x509" and a distinguished name).
type ACL struct {
	Scheme, ID string
	Perms      Perms
}

// Perms is a set of permissions.
type Perms int32

// The permissions of ZooKeeper.
const (
	PermRead Perms = 1 << iota
	PermWrite
	PermCreate
	PermDelete
	PermAdmin
	PermAll = PermRead | PermWrite | PermCreate | PermDelete | PermAdmin
)

// everybody is the access list of a node when none is configured.
var everybody = []ACL{{Scheme: "world", ID: "anyone", Perms: PermAll}}

const (
	defaultPort     = "2181"
	defaultTick     = 2 * time.Second
	defaultDiscover = 5 * time.Minute
)

// Validate reports everything that is wrong with c.
func (c Config) Validate() error {
	var errs []error
	if len(c.Hosts) == 0 && c.Discover == nil {
		errs = append(errs, errors.New("zookeeper: no host is given"))
	}
	for _, h := range c.Hosts {
		if _, err := parseHost(h); err != nil {
			errs = append(errs, err)
		}
	}
	if c.Folder == "" || c.Folder[0] != '/' || folderOf(c.Folder) == "/" {
		errs = append(errs, fmt.Errorf("zookeeper: folder %q: want an absolute path below the root", c.Folder))
	}
	if t := c.TLS; t != nil && t.CertFile == "" && t.KeyFile != "" {
		errs = append(errs, errors.New("zookeeper: a key file is given without a client certificate"))
	}
	return errors.Join(errs...)
}

// folderOf is the node of a folder: no slash at the end.
func folderOf(folder string) string { return path.Clean(folder) }

// parseHost returns host:port.
func parseHost(text string) (string, error) {
	bad := func(why string) (string, error) {
		return "", fmt.Errorf("zookeeper: host %q: %s; write it as host:2181", redact.Address(text), why)
	}
	if strings.Contains(text, "://") {
		return bad("an address without a scheme is wanted")
	}
	host, port, err := net.SplitHostPort(text)
	if err != nil {
		host, port = strings.Trim(text, "[]"), defaultPort
	}
	_, notIP := netip.ParseAddr(host)
	_, notPort := strconv.ParseUint(port, 10, 16)
	if host == "" || notPort != nil || strings.ContainsAny(host, "/ ,@") || strings.Contains(host, ":") && notIP != nil {
		return bad("no host and port in it")
	}
	return net.JoinHostPort(host, port), nil
}
