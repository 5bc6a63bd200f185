package consul

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/tanist-ha/tanist/dcs"
)

// Service is a member as Consul's catalog shows it to those who look for the cluster there, in the form that Patroni gives it: DNS
// answers primary.SCOPE.service.consul. It is shown by the agent, and ends no session.
type Service struct {
	Scope, Member   string
	Role            dcs.Role // primary, standby_leader or replica
	ConnURL, APIURL string   // as published in the member key
	Tags            []string // beside the role
	CheckInterval   time.Duration
	TLSServerName   string        // that the check of an https API expects; "": the host's
	TTL             time.Duration // of the leader key: a service whose check fails for five times as long is dropped
}

// nameLimit is the longest name that Patroni gives to a service.
const nameLimit = 230

// Name is the name under which the cluster is found: the scope in the letters of DNS.
func (s Service) Name() string {
	var b strings.Builder
	for _, r := range strings.ToLower(s.Scope) {
		switch {
		case r >= 'a' && r <= 'z', r >= '0' && r <= '9', r == '-':
			b.WriteRune(r)
		case r == '.', r == ' ', r == '_':
			b.WriteByte('-')
		default:
			fmt.Fprintf(&b, "u%04d", r)
		}
	}
	name := b.String()
	return name[:min(len(name), nameLimit)]
}

// ID is the name of this member's entry.
func (s Service) ID() string { return s.Scope + "/" + s.Member }

// registration is the agent's form of a service.
type registration struct {
	ID, Name          string
	Address           string
	Port              int
	Tags              []string
	EnableTagOverride bool
	Check             check
}

type check struct {
	HTTP                           string
	Interval                       string
	DeregisterCriticalServiceAfter string
	TLSServerName                  string `json:",omitempty"`
}

func (s Service) registration() (registration, error) {
	conn, err := url.Parse(s.ConnURL)
	if err != nil {
		return registration{}, fmt.Errorf("read conn_url: %w", err)
	}
	port, err := strconv.Atoi(conn.Port())
	if err != nil {
		return registration{}, fmt.Errorf("read conn_url: port %q", conn.Port())
	}
	api, err := url.Parse(s.APIURL)
	if err != nil {
		return registration{}, fmt.Errorf("read api_url: %w", err)
	}
	role := strings.ReplaceAll(string(s.Role), "_", "-")
	api.Path = "/" + role
	tags := append(append([]string{}, s.Tags...), role)
	if s.Role == dcs.RolePrimary {
		tags = append(tags, "master") // its name before Patroni 4
	}
	return registration{
		ID: s.ID(), Name: s.Name(), Address: conn.Hostname(), Port: port, Tags: tags, EnableTagOverride: true,
		Check: check{
			HTTP: api.String(), Interval: s.CheckInterval.String(), TLSServerName: s.TLSServerName,
			DeregisterCriticalServiceAfter: (5 * s.TTL).String(),
		},
	}, nil
}

// Register shows the service, or changes what is shown of it.
func (b *Backend) Register(ctx context.Context, s Service) error {
	ctx, end, err := b.begin(ctx, "register")
	if err != nil {
		return err
	}
	defer end()
	r, err := s.registration()
	if err != nil {
		return fmt.Errorf("consul register %s: %w", s.ID(), err)
	}
	body, err := json.Marshal(r)
	if err != nil {
		return fmt.Errorf("consul register %s: %w", s.ID(), err)
	}
	_, err = b.do(ctx, request{op: "register", method: http.MethodPut, path: "/v1/agent/service/register", body: body, changes: true,
		query: url.Values{"replace-existing-checks": {"true"}}})
	return err
}

// Deregister takes the service away. One that is not there is as good.
func (b *Backend) Deregister(ctx context.Context, s Service) error {
	ctx, end, err := b.begin(ctx, "deregister")
	if err != nil {
		return err
	}
	defer end()
	a, err := b.do(ctx, request{op: "deregister", method: http.MethodPut, path: "/v1/agent/service/deregister/" + s.ID(), changes: true, statuses: []int{http.StatusNotFound}})
	if err == nil && a.status == http.StatusNotFound && !strings.Contains(string(a.body), "Unknown service") {
		return b.fail("deregister", dcs.ErrUnavailable, fmt.Errorf("%w: status %d", errNotConsul, a.status))
	}
	return err
}

// Registered says whether the agent shows an entry under this member's ID that Register, or Patroni, has made: one by hand has another name, or does
// without the override of tags. An entry that the token may not see is none.
func (b *Backend) Registered(ctx context.Context, s Service) (bool, error) {
	ctx, end, err := b.begin(ctx, "look for a service")
	if err != nil {
		return false, err
	}
	defer end()
	a, err := b.do(ctx, request{op: "look for a service", method: http.MethodGet, path: "/v1/agent/service/" + s.ID(),
		statuses: []int{http.StatusNotFound, http.StatusForbidden}})
	if err != nil || a.status != http.StatusOK {
		return false, err
	}
	var found struct {
		Service           string
		EnableTagOverride bool
	}
	if err := json.Unmarshal(a.body, &found); err != nil {
		return false, b.fail("look for a service", dcs.ErrUnavailable, errNotConsul)
	}
	return found.Service == s.Name() && found.EnableTagOverride, nil
}
