package restclient

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	"github.com/tanist-ha/tanist/ha"
	"github.com/tanist-ha/tanist/internal/restapi"
)

// Status is the answer of GET /patroni.
type Status = restapi.Status

const startHeader = restapi.StartHeader

// HandoverRequest asks for another leader.
type HandoverRequest struct {
	Leader      string `json:"leader,omitempty"`       // who leads now; a switchover names it
	Candidate   string `json:"candidate,omitempty"`    // who shall lead; a failover names it
	ScheduledAt string `json:"scheduled_at,omitempty"` // ISO 8601 with a time zone; "": now
}

// Switchover asks the member at apiURL to hand the leadership over, and returns when that is done or refused. A member of
// an old Patroni that knows no switchover is asked for a failover.
func (c *Client) Switchover(ctx context.Context, apiURL string, req HandoverRequest) (Answer, error) {
	a, err := c.post(ctx, apiURL, "/switchover", req)
	if err == nil && a.Code == http.StatusNotImplemented {
		return c.Failover(ctx, apiURL, req)
	}
	return a, err
}

// Failover asks the member at apiURL to make the candidate leader.
func (c *Client) Failover(ctx context.Context, apiURL string, req HandoverRequest) (Answer, error) {
	return c.post(ctx, apiURL, "/failover", req)
}

// CancelSwitchover withdraws a scheduled switchover.
func (c *Client) CancelSwitchover(ctx context.Context, apiURL string) (Answer, error) {
	return c.Do(ctx, http.MethodDelete, apiURL, "/switchover", nil)
}

// PatchConfig merges a JSON object into the dynamic configuration; the answer has all of it.
func (c *Client) PatchConfig(ctx context.Context, apiURL string, patch []byte) (Answer, error) {
	return c.Do(ctx, http.MethodPatch, apiURL, "/config", patch)
}

// PutConfig replaces the dynamic configuration.
func (c *Client) PutConfig(ctx context.Context, apiURL string, config []byte) (Answer, error) {
	return c.Do(ctx, http.MethodPut, apiURL, "/config", config)
}

// Status asks for the member's status.
func (c *Client) Status(ctx context.Context, apiURL string) (Status, error) {
	var s Status
	err := c.get(ctx, apiURL, "/patroni", &s)
	return s, err
}

// Explain asks a tanist member why it does what it does.
func (c *Client) Explain(ctx context.Context, apiURL string) (ha.Explanation, error) {
	var e ha.Explanation
	err := c.get(ctx, apiURL, "/explain", &e)
	return e, err
}

// Events asks a tanist member for its last changed decisions, newest last.
func (c *Client) Events(ctx context.Context, apiURL string) ([]ha.HistoryItem, error) {
	var e []ha.HistoryItem
	err := c.get(ctx, apiURL, "/events", &e)
	return e, err
}

// aliveTimeout bounds the probe for somebody of the same name.
const aliveTimeout = 3 * time.Second

// Alive says whether an agent answers at apiURL, whatever it answers, and the random id of its run ("" if it is not
// tanist): an agent that reaches itself finds its own.
func (c *Client) Alive(ctx context.Context, apiURL string) (startID string, ok bool) {
	ctx, cancel := context.WithTimeout(ctx, aliveTimeout)
	defer cancel()
	a, err := c.Do(ctx, http.MethodGet, apiURL, "/liveness", nil)
	return a.StartID, err == nil
}

func (c *Client) post(ctx context.Context, apiURL, target string, body any) (Answer, error) {
	raw, err := json.Marshal(body)
	if err != nil {
		return Answer{}, fmt.Errorf("encode the request to %s: %w", target, err)
	}
	return c.Do(ctx, http.MethodPost, apiURL, target, raw)
}
