package embedetcd

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"go.etcd.io/etcd/client/pkg/v3/types"
	"go.etcd.io/etcd/server/v3/etcdserver/api/membership"
)

// hello is what members with empty data directories tell each other, over the addresses for members.
type hello struct {
	Name    string
	Token   string
	Members string // the initial cluster, in order
	StartID string // of this start, random: tells one's own answer from another's
	Joins   bool   // it was told to join a cluster, and founds none
}

// helloPath is asked on the address for members as long as etcd does not run there; etcd itself answers "not found".
const helloPath = "/tanist/hello"

// askTimeout bounds one question, askEvery is the pause between rounds of them.
const (
	askTimeout = 2 * time.Second
	askEvery   = 200 * time.Millisecond
)

// greeter answers on the addresses for members until etcd takes them over, and asks the others.
type greeter struct {
	own     hello
	others  map[string][]string // name to addresses
	founded clusterView         // what a cluster looks like that the initial members have founded
	client  *http.Client
	servers []*http.Server
	work    sync.WaitGroup

	mu    sync.Mutex
	heard map[string]bool // who has told us that its data directory is empty
}

// clusterView is what a running member tells of its cluster.
type clusterView struct {
	id      string
	members []membership.Member // as etcd writes them on the address for members
}

// newGreeter listens on the addresses of c, which must be those that etcd takes later.
func newGreeter(ctx context.Context, c Config, initial string, listen []url.URL) (*greeter, error) {
	g := &greeter{
		own:    hello{Name: c.Name, Token: c.token(), Members: sorted(initial), StartID: rand.Text(), Joins: c.Existing},
		others: map[string][]string{}, heard: map[string]bool{},
	}
	for _, p := range c.peers() {
		if p.Name != c.Name {
			g.others[p.Name] = append(g.others[p.Name], p.URL)
		}
	}
	var err error
	if g.founded, err = foundedView(c.token(), initial); err != nil {
		return nil, err
	}
	ask, err := tlsInfo(c.PeerTLS).ClientConfig()
	if err != nil {
		return nil, fmt.Errorf("read the certificates for members: %w", err)
	}
	g.client = &http.Client{Timeout: askTimeout, Transport: &http.Transport{TLSClientConfig: ask, DisableKeepAlives: true}}
	for _, u := range listen {
		if err := g.listen(ctx, u, c.PeerTLS); err != nil {
			g.close()
			return nil, err
		}
	}
	return g, nil
}

func (g *greeter) listen(ctx context.Context, u url.URL, files *TLS) error {
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", u.Host)
	if err != nil {
		return fmt.Errorf("listen for members: %w", err)
	}
	if u.Scheme == "https" {
		cfg, err := tlsInfo(files).ServerConfig()
		if err != nil {
			l.Close()
			return fmt.Errorf("read the certificates for members: %w", err)
		}
		cfg.NextProtos = nil
		l = tls.NewListener(l, cfg)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("POST "+helloPath, g.answer)
	mux.HandleFunc("/", notYet)
	srv := &http.Server{Handler: mux, ReadHeaderTimeout: askTimeout}
	g.servers = append(g.servers, srv)
	g.work.Go(func() { _ = srv.Serve(l) })
	return nil
}

// close ends the answering, so that etcd can listen. Answers that are being given are given.
func (g *greeter) close() {
	ctx, cancel := context.WithTimeout(context.Background(), askTimeout)
	defer cancel()
	for _, s := range g.servers {
		if s.Shutdown(ctx) != nil {
			_ = s.Close()
		}
	}
	g.work.Wait()
	if g.client != nil {
		g.client.CloseIdleConnections()
	}
}

// notYet answers what running members ask at this address. It must not be "not found": while this was the address of etcd's leader, followers ask here
// for the renewal of sessions until they have elected another, and take that for the end of the session.
func notYet(w http.ResponseWriter, _ *http.Request) {
	http.Error(w, "an etcd member waits here to take part in a cluster", http.StatusServiceUnavailable)
}

func (g *greeter) answer(w http.ResponseWriter, r *http.Request) {
	var h hello
	if err := json.NewDecoder(io.LimitReader(r.Body, 1<<20)).Decode(&h); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	if g.disagreement(h) == nil {
		g.mu.Lock()
		g.heard[h.Name] = true
		g.mu.Unlock()
	}
	_ = json.NewEncoder(w).Encode(g.own) // who does not get it asks again
}

// disagreement says why the sender of h and this member cannot found a cluster together, nil if they can.
func (g *greeter) disagreement(h hello) error {
	switch {
	case h.Joins:
		return fmt.Errorf("%s waits to join a cluster (initial_cluster_state: existing), and so founds none", h.Name)
	case h.Token != g.own.Token:
		return fmt.Errorf("%s has the cluster token %q, and this member %q: they must be the same on all members", h.Name, h.Token, g.own.Token)
	case h.Members != g.own.Members:
		return fmt.Errorf("%s has the initial cluster %s, and this member %s: they must be the same on all members", h.Name, h.Members, g.own.Members)
	}
	return nil
}

// errFounded is what decide returns when this member makes a cluster with the others.
var errFounded = errors.New("a new cluster")

// decide asks until it is certain what this member is to do. With errFounded it makes a cluster with the others; without an error it joins
// the cluster of which view tells. A cluster is founded only when *each* initial member has said, in this run of ours, that its
// data directory is empty, too: so a member that lost its disk can never vote again under its old identity, whoever else is away.
func (g *greeter) decide(ctx context.Context, say func(error)) (view clusterView, err error) {
	for {
		view, err = g.round(ctx)
		if err == nil || errors.Is(err, errFounded) {
			return view, err
		}
		say(err)
		select {
		case <-ctx.Done():
			return view, fmt.Errorf("%w (%w)", err, context.Cause(ctx))
		case <-time.After(askEvery):
		}
	}
}

// round asks each of the others once.
func (g *greeter) round(ctx context.Context) (clusterView, error) {
	type result struct {
		name string
		view *clusterView
		err  error
	}
	results := make(chan result, len(g.others))
	for name, urls := range g.others {
		go func() { // ends with its question, which has a time limit
			view, err := g.askAll(ctx, name, urls)
			results <- result{name, view, err}
		}()
	}
	var living *clusterView
	var missing []error
	for range g.others {
		switch r := <-results; {
		case r.view != nil && !(g.hasHeard(r.name) && g.founded.same(*r.view)):
			living = r.view // a cluster that was there before
		case r.view != nil: // it was empty as we are, and has founded the cluster with us in it
		case r.err != nil:
			missing = append(missing, r.err)
		}
	}
	switch {
	case living != nil:
		return *living, nil
	case len(missing) > 0:
		return clusterView{}, fmt.Errorf("an empty member waits for all members of the initial cluster, or for one that runs: %w", errors.Join(missing...))
	case g.own.Joins:
		return clusterView{}, errors.New("no member of a running cluster answers at the addresses of the initial cluster")
	}
	return clusterView{}, errFounded
}

func (g *greeter) hasHeard(name string) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.heard[name]
}

// askAll asks one member on its addresses until one answers. nil and nil: it is as empty as we are, and knows the same of us.
func (g *greeter) askAll(ctx context.Context, name string, urls []string) (view *clusterView, err error) {
	for _, u := range urls {
		var h *hello
		if h, view, err = g.ask(ctx, u); err != nil {
			err = fmt.Errorf("%s does not answer: %w", name, err)
			continue
		}
		if view != nil {
			return view, nil
		}
		if h.Name != name {
			return nil, fmt.Errorf("%s answers at the address of %s", h.Name, name)
		}
		if err := g.disagreement(*h); err != nil && !g.own.Joins {
			return nil, err
		}
		g.mu.Lock()
		g.heard[name] = true
		g.mu.Unlock()
		return nil, nil
	}
	return nil, err
}

// ask tells our hello to an address for members. Where etcd runs already, the answer is its cluster.
func (g *greeter) ask(ctx context.Context, base string) (*hello, *clusterView, error) {
	body, err := json.Marshal(g.own)
	if err != nil {
		return nil, nil, err
	}
	resp, err := g.do(ctx, http.MethodPost, base+helloPath, body)
	if err != nil {
		return nil, nil, err
	}
	defer resp.Body.Close()
	switch resp.StatusCode {
	case http.StatusOK:
		var h hello
		return &h, nil, json.NewDecoder(io.LimitReader(resp.Body, 1<<20)).Decode(&h)
	case http.StatusNotFound:
		view, err := g.askMembers(ctx, base)
		return nil, view, err
	}
	return nil, nil, fmt.Errorf("%s answers %s: no etcd member", base, resp.Status)
}

func (g *greeter) askMembers(ctx context.Context, base string) (*clusterView, error) {
	resp, err := g.do(ctx, http.MethodGet, base+"/members", nil)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	view := &clusterView{id: resp.Header.Get("X-Etcd-Cluster-Id")}
	if resp.StatusCode != http.StatusOK || view.id == "" {
		return nil, fmt.Errorf("%s answers %s: no etcd member", base, resp.Status)
	}
	return view, json.NewDecoder(io.LimitReader(resp.Body, 1<<20)).Decode(&view.members)
}

func (g *greeter) do(ctx context.Context, method, address string, body []byte) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, address, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	return g.client.Do(req)
}

// foundedView computes the identities that etcd gives to a cluster and to the members that found it.
func foundedView(token, initial string) (clusterView, error) {
	urls, err := types.NewURLsMap(initial)
	if err != nil {
		return clusterView{}, fmt.Errorf("read the initial cluster: %w", err)
	}
	cl, err := membership.NewClusterFromURLsMap(nil, token, urls)
	if err != nil {
		return clusterView{}, err
	}
	view := clusterView{id: cl.ID().String()}
	for _, m := range cl.Members() {
		view.members = append(view.members, *m)
	}
	return view, nil
}

// same says whether other is the same cluster with the very same members.
func (v clusterView) same(other clusterView) bool {
	ids := func(ms []membership.Member) []types.ID {
		var out []types.ID
		for _, m := range ms {
			if !m.IsLearner {
				out = append(out, m.ID)
			}
		}
		slices.Sort(out)
		return out
	}
	return v.id == other.id && len(v.members) == len(other.members) && slices.Equal(ids(v.members), ids(other.members))
}

func sorted(initial string) string {
	parts := strings.Split(initial, ",")
	slices.Sort(parts)
	return strings.Join(parts, ",")
}
