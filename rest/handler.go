package rest

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"github.com/tanist-ha/tanist/dcs"
	"github.com/tanist-ha/tanist/ha"
)

// Store is what the API needs of the consistent store; dcs.Client implements it. Errors wrap the Err values of package dcs.
type Store interface {
	// Load reads the whole cluster, linearizably.
	Load(ctx context.Context) (dcs.Cluster, error)
	// PutConfig writes the dynamic configuration over version prev of it; 0: it must be absent.
	PutConfig(ctx context.Context, prev dcs.Version, raw []byte) error
	// PutFailover writes the request f over the one that Load showed as version prev; 0: Load showed none.
	PutFailover(ctx context.Context, prev dcs.Version, f dcs.Failover) error
	// ClearFailover withdraws the request that Load showed as version prev.
	ClearFailover(ctx context.Context, prev dcs.Version) error
}

// Config is what a Handler is made of.
type Config struct {
	Node  ha.Asker
	Store Store
	Peers ha.Peers // asked before a switchover whether a candidate would do
	// Patch merges a patch into the dynamic configuration; changed is false if nothing would be.
	Patch func(old, patch []byte) (merged []byte, changed bool, err error)

	// Version is the Patroni version that the API is compatible with, three plain numbers: tools parse it. "": ha.PatroniVersion.
	Version string
	Release string // of tanist

	Access Access
	// ServerTokens is what the Server header tells: "original" (also ""), "minimal" or "productonly".
	ServerTokens string
	HTTPHeaders  map[string]string // added to each answer that has headers
	HTTPSHeaders map[string]string // added under TLS, after those

	Logger *slog.Logger
}

// Validate joins all that is missing or wrong.
func (c *Config) Validate() error {
	var errs []error
	need := func(ok bool, what string) {
		if !ok {
			errs = append(errs, errors.New(what))
		}
	}
	need(c.Node != nil, "Node is nil")
	need(c.Store != nil, "Store is nil")
	need(c.Peers != nil, "Peers is nil")
	need(c.Patch != nil, "Patch is nil")
	need(c.Logger != nil, "Logger is nil")
	switch c.ServerTokens {
	case "", "original", "minimal", "productonly":
	default:
		errs = append(errs, errors.New("ServerTokens is not original, minimal or productonly"))
	}
	_, err := newGate(c.Access)
	return errors.Join(append(errs, err)...)
}

// Handler serves the API of one node. It is safe for concurrent use.
type Handler struct {
	Config
	gate    *gate
	health  []endpoint
	routes  map[routeKey]route
	metrics http.Handler
	plain   http.Header // sent with each answer
	secure  http.Header // sent with each answer under TLS
	last    atomic.Pointer[view]
	glanced atomic.Int64 // when a leader was last asked for a look, in nanoseconds
}

// NewHandler checks cfg and returns its handler.
func NewHandler(cfg Config) (*Handler, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	cfg.Version = cmp.Or(cfg.Version, ha.PatroniVersion)
	h := &Handler{Config: cfg, health: healthTable(), routes: map[routeKey]route{}}
	h.gate, _ = newGate(cfg.Access)
	for _, r := range routeTable() {
		h.routes[routeKey{r.method, r.name}] = r
	}
	h.metrics = newMetrics(h)
	h.plain = http.Header{"Server": {serverName(cfg)}}
	for k, v := range cfg.HTTPHeaders {
		h.plain.Set(k, v)
	}
	h.secure = h.plain.Clone()
	for k, v := range cfg.HTTPSHeaders {
		h.secure.Set(k, v)
	}
	return h, nil
}

func serverName(cfg Config) string {
	switch cfg.ServerTokens {
	case "minimal":
		return "Patroni/" + cfg.Version
	case "productonly":
		return "Patroni"
	}
	return strings.TrimSuffix("tanist/"+cfg.Release, "/") + " Patroni/" + cfg.Version
}

// ServeHTTP implements http.Handler. The first component of the path chooses the route, and what follows it is ignored;
// what has no route is a health check.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	headers := h.plain
	if r.TLS != nil {
		headers = h.secure
	}
	for k, v := range headers {
		w.Header()[k] = v
	}
	name, _, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	if rt, ok := h.routes[routeKey{r.Method, name}]; ok {
		if rt.guarded && !h.admit(w, r) {
			return
		}
		rt.serve(h, w, r)
		return
	}
	switch r.Method {
	case http.MethodGet, http.MethodHead, http.MethodOptions:
		h.serveHealth(w, r)
	default:
		page(w, http.StatusNotImplemented, "Unsupported method "+r.Method+" of /"+name)
	}
}

// status is never nil.
func (h *Handler) status() *ha.Status {
	if st := h.Node.Status(); st != nil {
		return st
	}
	return &ha.Status{}
}

// storeContext bounds one use of the store.
func (h *Handler) storeContext(ctx context.Context) (context.Context, context.CancelFunc) {
	timeout := h.status().Settings.RetryTimeout
	if timeout <= 0 {
		timeout = 10 * time.Second
	}
	return context.WithTimeout(ctx, timeout)
}

// load reads the cluster afresh.
func (h *Handler) load(ctx context.Context) (dcs.Cluster, error) {
	ctx, cancel := h.storeContext(ctx)
	defer cancel()
	return h.Store.Load(ctx)
}
