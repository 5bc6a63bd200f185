package restclient

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"time"

	"github.com/tanist-ha/tanist/internal/tlsfile"
)

// Options say how to reach members.
type Options struct {
	CACert          string // file; "": the system's authorities
	CertFile        string // client certificate, with the key if KeyFile is ""
	KeyFile         string
	KeyFilePassword string
	Insecure        bool   // see the package comment
	Username        string // basic authentication; "": none
	Password        string
	PollTimeout     time.Duration // of one poll in an election; 0: 2 s
}

// defaultPollTimeout is what Patroni's peers allow.
const defaultPollTimeout = 2 * time.Second

// Client asks members. It is safe for concurrent use.
type Client struct {
	http *http.Client
	opt  Options
}

// New reads the certificates and returns a client.
func New(opt Options) (*Client, error) {
	if opt.PollTimeout == 0 {
		opt.PollTimeout = defaultPollTimeout
	}
	conf, err := tlsConfig(opt)
	if err != nil {
		return nil, fmt.Errorf("client certificates: %w", err)
	}
	dialer := net.Dialer{KeepAlive: -1}
	transport := &http.Transport{
		DialContext: dialer.DialContext, TLSClientConfig: conf, DisableKeepAlives: true, DisableCompression: true,
		MaxResponseHeaderBytes: 64 << 10,
		// Proxy stays nil: members are asked directly, whatever the environment says about the web.
	}
	return &Client{http: &http.Client{Transport: transport, CheckRedirect: noRedirect}, opt: opt}, nil
}

// noRedirect takes a redirection for the answer: a member does not send one, and a password must not follow it.
func noRedirect(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }

func tlsConfig(opt Options) (*tls.Config, error) {
	conf := &tls.Config{MinVersion: tls.VersionTLS12, ClientSessionCache: tls.NewLRUClientSessionCache(64), InsecureSkipVerify: opt.Insecure}
	if opt.CACert != "" {
		pool, err := tlsfile.Pool(opt.CACert)
		if err != nil {
			return nil, err
		}
		conf.RootCAs = pool
	}
	if opt.CertFile == "" {
		return conf, nil
	}
	cached, err := tlsfile.NewCached(tlsfile.Pair{CertFile: opt.CertFile, KeyFile: opt.KeyFile, Password: opt.KeyFilePassword})
	if err != nil {
		return nil, err
	}
	conf.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return cached.Get(), nil }
	if opt.Insecure {
		roots := conf.RootCAs
		conf.VerifyConnection = func(state tls.ConnectionState) error { return verifyChain(state, roots) }
	}
	return conf, nil
}

// verifyChain verifies who signed the server's certificate, but not for which name.
func verifyChain(state tls.ConnectionState, roots *x509.CertPool) error {
	if len(state.PeerCertificates) == 0 {
		return errors.New("the server has sent no certificate")
	}
	between := x509.NewCertPool()
	for _, c := range state.PeerCertificates[1:] {
		between.AddCert(c)
	}
	_, err := state.PeerCertificates[0].Verify(x509.VerifyOptions{Roots: roots, Intermediates: between})
	return err
}

// Answer is what a member said.
type Answer struct {
	Code int
	Body []byte // a sentence, or JSON
	// StartID is the random id of the agent's run, from tanist members only.
	StartID string
	// Header is what the answer came with.
	Header http.Header
}

// maxAnswer bounds what is read of an answer.
const maxAnswer = 16 << 20

// Do sends one request to the member at apiURL (its path is replaced by target, which begins with a slash and may have a
// query). body is JSON; nil: none. Any answer of the member, also a refusal, is an Answer and not an error.
func (c *Client) Do(ctx context.Context, method, apiURL, target string, body []byte) (Answer, error) {
	u, err := resolve(apiURL, target)
	if err != nil {
		return Answer{}, err
	}
	req, err := http.NewRequestWithContext(ctx, method, u, bytes.NewReader(body))
	if err != nil {
		return Answer{}, fmt.Errorf("ask %s: %w", apiURL, err)
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if c.opt.Username != "" {
		req.SetBasicAuth(c.opt.Username, c.opt.Password)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return Answer{}, err // names method and address already
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return Answer{}, fmt.Errorf("read the answer of %s: %w", apiURL, err)
	}
	return Answer{Code: resp.StatusCode, Body: raw, StartID: resp.Header.Get(startHeader), Header: resp.Header}, nil
}

// resolve puts target in the place of the path of apiURL.
func resolve(apiURL, target string) (string, error) {
	base, err := url.Parse(apiURL)
	if err != nil {
		return "", fmt.Errorf("ask a member: %w", err)
	}
	if base.Scheme != "http" && base.Scheme != "https" || base.Host == "" {
		return "", fmt.Errorf("ask a member: its api_url %q is not an http address", apiURL)
	}
	ref, err := url.Parse(target)
	if err != nil {
		return "", fmt.Errorf("ask %s: %w", apiURL, err)
	}
	return base.ResolveReference(ref).String(), nil
}

// get decodes the JSON of a GET into out.
func (c *Client) get(ctx context.Context, apiURL, target string, out any) error {
	a, err := c.Do(ctx, http.MethodGet, apiURL, target, nil)
	if err != nil {
		return err
	}
	if a.Code != http.StatusOK {
		return fmt.Errorf("ask %s for %s: status %d: %s", apiURL, target, a.Code, shorten(a.Body))
	}
	if err := json.Unmarshal(a.Body, out); err != nil {
		return fmt.Errorf("read the answer of %s to %s: %w", apiURL, target, err)
	}
	return nil
}

// shorten keeps an answer that goes into an error readable.
func shorten(body []byte) string {
	const enough = 200
	if len(body) > enough {
		return string(body[:enough]) + "…"
	}
	return string(body)
}
