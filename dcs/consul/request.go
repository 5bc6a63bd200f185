package consul

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/tanist-ha/tanist/dcs"
	"github.com/tanist-ha/tanist/internal/reach"
)

const (
	// firstPause and lastPause are the limits of the pause before a request is made again.
	firstPause = 50 * time.Millisecond
	lastPause  = 500 * time.Millisecond
	// patience is how long an attempt is given at least before it is made again on another connection.
	patience = time.Second
	// longest bounds an attempt of a request whose caller has set no limit.
	longest = 10 * time.Second
	// answerLimit bounds what is read of an answer. A cluster's folder takes some ten kilobytes.
	answerLimit = 256 << 20
)

// request is one request of Consul's HTTP API.
type request struct {
	op       string // for errors
	method   string
	path     string // not escaped
	query    url.Values
	body     []byte
	changes  bool  // without an answer, it may have had an effect
	once     bool  // it must not be made again if it may have had an effect
	waits    bool  // a blocking query: one attempt, as long as its context
	statuses []int // that are answers and no failure, beside 200
}

// answer is what came back.
type answer struct {
	status int
	index  dcs.Version // X-Consul-Index, 0: none
	header http.Header
	body   []byte
}

// outcome is one attempt's.
type outcome struct {
	answer
	sent    bool // the agent may have seen it
	verdict verdict
	err     error
}

// do makes a request until it is answered, refused, or ctx ends. A failure that may have had an effect ends a request that
// must not be made twice.
func (b *Backend) do(ctx context.Context, r request) (answer, error) {
	var last error
	pause, happened := time.Duration(0), false
	for {
		o := b.attempt(ctx, r)
		if o.err == nil {
			return o.answer, nil
		}
		happened = happened || r.changes && o.sent && o.verdict == failed
		over := ctx.Err() != nil
		if over && last != nil && !(o.sent && errors.Is(last, reach.ErrNoConnection)) {
			o.err = last // says more than that the time is over
		}
		last = o.err
		switch {
		case o.verdict == refused:
			return answer{}, b.fail(r.op, class(happened && r.once), o.err)
		case r.waits, r.once && happened, over:
			if cause := context.Cause(ctx); over && !errors.Is(o.err, cause) {
				o.err = fmt.Errorf("%w (%w)", o.err, cause)
			}
			return answer{}, b.fail(r.op, class(happened), o.err)
		}
		pause = min(max(2*pause, firstPause), lastPause)
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return answer{}, b.fail(r.op, class(happened), fmt.Errorf("%w (%w)", o.err, context.Cause(ctx)))
		}
	}
}

// fail makes the error of a request.
func (b *Backend) fail(op string, class, err error) *dcs.StoreError {
	return &dcs.StoreError{Store: storeName, Op: op, Server: b.base.Host, Class: class, Err: err, Hint: hint(err)}
}

// attempt sends the request once.
func (b *Backend) attempt(ctx context.Context, r request) outcome {
	if ctx.Err() != nil {
		return outcome{err: context.Cause(ctx)}
	}
	if !r.once && !r.waits {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, b.patienceFor(ctx), reach.ErrSilent)
		defer cancel()
	}
	var sent atomic.Bool
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{GotConn: func(httptrace.GotConnInfo) { sent.Store(true) }})
	a, err := b.send(ctx, r)
	o := outcome{answer: a, sent: sent.Load(), err: err}
	if err != nil {
		if unfit(err) {
			o.verdict = refused
		}
		var u *url.Error
		if errors.As(err, &u) {
			o.err = u.Err // the method and the URL are said elsewhere
		}
		if ctx.Err() != nil {
			o.err = vain(context.Cause(ctx), o.sent)
		}
		return o
	}
	if a.status == http.StatusOK || slices.Contains(r.statuses, a.status) {
		return o
	}
	text := strings.TrimSpace(string(a.body[:min(len(a.body), 300)]))
	o.verdict = judge(a.status, text)
	o.err = fmt.Errorf("status %d: %s", a.status, text)
	if a.status == http.StatusNotFound || a.status == http.StatusMethodNotAllowed {
		o.err = fmt.Errorf("%w: %w", errNotConsul, o.err)
	}
	return o
}

// vain says how the time of an attempt was spent.
func vain(cause error, sent bool) error {
	switch {
	case sent:
		return reach.NoAnswer(cause)
	case errors.Is(cause, reach.ErrSilent): // the end of this attempt alone
		return reach.ErrNoConnection
	}
	return reach.NoConnection(cause)
}

// patienceFor is a third of the time left, so that a request that may be repeated is made at least twice.
func (b *Backend) patienceFor(ctx context.Context) time.Duration {
	deadline, ok := ctx.Deadline()
	if !ok {
		return longest
	}
	return min(max(time.Until(deadline)/3, patience), longest)
}

// send makes the HTTP request and reads the whole answer.
func (b *Backend) send(ctx context.Context, r request) (answer, error) {
	u := *b.base
	u.Path, u.RawQuery = r.path, b.query(r).Encode()
	var body io.Reader
	if r.body != nil {
		body = bytes.NewReader(r.body)
	}
	req, err := http.NewRequestWithContext(ctx, r.method, u.String(), body)
	if err != nil {
		return answer{}, err
	}
	if token := *b.token.Load(); token != "" {
		req.Header.Set("X-Consul-Token", token)
	}
	if r.body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := b.http.Do(req)
	if err != nil {
		return answer{}, err
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(io.LimitReader(resp.Body, answerLimit))
	if err != nil {
		return answer{}, fmt.Errorf("read the answer: %w", err)
	}
	a := answer{status: resp.StatusCode, header: resp.Header, body: raw}
	if index, err := strconv.ParseInt(resp.Header.Get("X-Consul-Index"), 10, 64); err == nil && index > 0 {
		a.index = dcs.Version(index)
	}
	return a, nil
}

func (b *Backend) query(r request) url.Values {
	q := url.Values{}
	for k, v := range r.query {
		q[k] = v
	}
	if b.cfg.Datacenter != "" {
		q.Set("dc", b.cfg.Datacenter)
	}
	return q
}
