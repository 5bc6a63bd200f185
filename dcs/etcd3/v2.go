package etcd3

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"

	"github.com/tanist-ha/tanist/dcs"
)

// Legacy says whether the keyspace of etcd's version 2, which is another one than that of version 3 and cannot be seen from there, holds a
// cluster. Patroni keeps its clusters in it under the section etcd.
type Legacy int

// The zero value is the one to be careful with.
const (
	LegacyUnknown Legacy = iota // an endpoint that might serve version 2 did not say
	LegacyAbsent                // the cluster is not there, or version 2 is not served at all
	LegacyFound                 // the cluster is there
)

// LegacyAnswer is what one endpoint said.
type LegacyAnswer struct {
	Endpoint string
	Legacy   Legacy
	Text     string // in words
}

// AskLegacy asks each endpoint for the cluster below prefix ("/service/batman/") in the keyspace of version 2, once, until ctx ends.
//
// Found wins over everything. The cluster is absent if a member says so with a quorum behind it, or if the etcd cluster is of version 3.6 or
// newer, which has no version 2 any more; and it is if no endpoint serves version 2: that is a setting of each member (--enable-v2), so one
// that does not serve it speaks for itself only. Everything else is unknown, a refused password above all.
func (b *Backend) AskLegacy(ctx context.Context, prefix string) (Legacy, []LegacyAnswer, error) {
	ctx, end, err := b.begin(ctx, "ask version 2")
	if err != nil {
		return LegacyUnknown, nil, err
	}
	defer end()
	endpoints, err := b.pool.all(ctx)
	if err != nil {
		return LegacyUnknown, nil, &dcs.StoreError{Store: storeName, Op: "ask version 2", Class: dcs.ErrUnavailable, Err: err}
	}
	asked := make([]legacyAnswer, len(endpoints))
	var each sync.WaitGroup
	for i, ep := range endpoints {
		each.Go(func() { asked[i] = b.askLegacy(ctx, ep, prefix) })
	}
	each.Wait()
	said := make([]LegacyAnswer, len(asked))
	for i, a := range asked {
		said[i] = a.LegacyAnswer
	}
	return verdictOn(asked), said, nil
}

// legacyAnswer is LegacyAnswer and for whom it was given.
type legacyAnswer struct {
	LegacyAnswer
	forAll bool // for the whole of etcd, not for one member
}

func verdictOn(asked []legacyAnswer) Legacy {
	forAll, unknown := false, len(asked) == 0
	for _, a := range asked {
		switch {
		case a.Legacy == LegacyFound:
			return LegacyFound
		case a.Legacy == LegacyUnknown:
			unknown = true
		case a.forAll:
			forAll = true
		}
	}
	if unknown && !forAll {
		return LegacyUnknown
	}
	return LegacyAbsent
}

// noV2Since is the first version of etcd (major, minor) that cannot serve version 2.
var noV2Since = [2]int{3, 6}

func (b *Backend) askLegacy(ctx context.Context, ep *endpoint, prefix string) legacyAnswer {
	answer := func(l Legacy, forAll bool, text string) legacyAnswer {
		return legacyAnswer{LegacyAnswer{ep.name, l, text}, forAll}
	}
	client, err := b.pool.httpClient(ep)
	if err != nil {
		return answer(LegacyUnknown, false, err.Error())
	}
	defer client.CloseIdleConnections()
	status, body, err := b.get(ctx, client, ep.name+"/version")
	var version struct{ EtcdCluster string }
	if err == nil && status == http.StatusOK && json.Unmarshal(body, &version) == nil && atLeast(version.EtcdCluster, noV2Since) {
		return answer(LegacyAbsent, true, "etcd "+version.EtcdCluster+" has no version 2")
	}
	// With a quorum: a member that is behind must not deny what the others have.
	status, body, err = b.get(ctx, client, ep.name+"/v2/keys"+strings.TrimSuffix(prefix, "/")+"?quorum=true&recursive=true")
	if err != nil {
		return answer(LegacyUnknown, false, "no answer: "+err.Error())
	}
	var v2 struct {
		Node      *legacyNode
		ErrorCode int
		Message   string
	}
	isV2 := json.Unmarshal(body, &v2) == nil
	switch {
	case status == http.StatusOK && isV2 && v2.Node != nil && v2.Node.holdsKeys():
		return answer(LegacyFound, true, "the cluster is in the keyspace of version 2")
	case status == http.StatusOK && isV2 && v2.Node != nil:
		return answer(LegacyAbsent, true, "only empty folders in the keyspace of version 2")
	case status == http.StatusNotFound && isV2 && v2.ErrorCode == v2KeyNotFound:
		return answer(LegacyAbsent, true, "the keyspace of version 2 does not have the cluster")
	case status == http.StatusNotFound && !isV2:
		return answer(LegacyAbsent, false, "version 2 is not served")
	}
	return answer(LegacyUnknown, false, fmt.Sprintf("version 2 answers %d %s", status, v2.Message))
}

// v2KeyNotFound is EcodeKeyNotFound of etcd's version 2.
const v2KeyNotFound = 100

// legacyNode is a key or folder of version 2.
type legacyNode struct {
	Dir   bool
	Nodes []legacyNode
}

func (n legacyNode) holdsKeys() bool {
	if !n.Dir {
		return true
	}
	for _, c := range n.Nodes {
		if c.holdsKeys() {
			return true
		}
	}
	return false
}

// atLeast compares a version "3.6.1" with major and minor; what cannot be read is older.
func atLeast(version string, least [2]int) bool {
	major, rest, _ := strings.Cut(version, ".")
	minor, _, _ := strings.Cut(rest, ".")
	a, err := strconv.Atoi(major)
	b, err2 := strconv.Atoi(minor)
	if err != nil || err2 != nil {
		return false
	}
	return a > least[0] || a == least[0] && b >= least[1]
}

// largestLegacy bounds what is read of an answer. A cluster has some kilobytes.
const largestLegacy = 16 << 20

func (b *Backend) get(ctx context.Context, client *http.Client, url string) (status int, body []byte, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return 0, nil, err
	}
	if user, password := b.login.credentials(); user != "" {
		req.SetBasicAuth(user, password)
	}
	resp, err := client.Do(req)
	if err != nil {
		var of interface{ Unwrap() error }
		if errors.As(err, &of) {
			err = of.Unwrap() // without the URL, which is said already
		}
		return 0, nil, err
	}
	defer resp.Body.Close()
	body, err = io.ReadAll(io.LimitReader(resp.Body, largestLegacy))
	return resp.StatusCode, body, err
}

// httpClient makes a client that trusts and shows what a connection to ep does.
func (p *pool) httpClient(ep *endpoint) (*http.Client, error) {
	t := &http.Transport{DialContext: p.dialer.DialContext}
	if ep.secure {
		var files TLS
		if p.files != nil {
			files = *p.files
		}
		var err error
		if t.TLSClientConfig, err = files.load(); err != nil {
			return nil, err
		}
	}
	return &http.Client{Transport: t, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}, nil
}
