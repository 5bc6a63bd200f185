package restclient

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/tanist-ha/tanist/ha"
	"github.com/tanist-ha/tanist/internal/restapi"
	"github.com/tanist-ha/tanist/postgres"
)

// accepted is the whole body of a yes: anything else, also with status 200, is a no.
const accepted = "Accepted"

// Failsafe implements ha.Peers. A member whose connection fails is asked once more, as Patroni does.
func (c *Client) Failsafe(ctx context.Context, members map[string]string, ask ha.FailsafeAsk) []ha.FailsafeAnswer {
	body, err := json.Marshal(ask)
	answers := make([]ha.FailsafeAnswer, 0, len(members))
	var all sync.WaitGroup
	var mu sync.Mutex
	for name, apiURL := range members {
		all.Go(func() {
			a := ha.FailsafeAnswer{Name: name, Problem: fmt.Sprint(err)}
			if err == nil {
				a = c.failsafe(ctx, name, apiURL, body)
			}
			mu.Lock()
			defer mu.Unlock()
			answers = append(answers, a)
		})
	}
	all.Wait()
	slices.SortFunc(answers, func(a, b ha.FailsafeAnswer) int { return cmp.Compare(a.Name, b.Name) })
	return answers
}

// failsafe asks one member.
func (c *Client) failsafe(ctx context.Context, name, apiURL string, body []byte) ha.FailsafeAnswer {
	answer := ha.FailsafeAnswer{Name: name}
	a, err := c.Do(ctx, http.MethodPost, apiURL, "/failsafe", body)
	if err != nil && ctx.Err() == nil {
		a, err = c.Do(ctx, http.MethodPost, apiURL, "/failsafe", body)
	}
	switch {
	case err != nil:
		answer.Problem = err.Error()
		return answer
	case a.Code != http.StatusOK || string(a.Body) != accepted:
		answer.Problem = fmt.Sprintf("status %d: %s", a.Code, plain(a.Body))
		return answer
	}
	answer.Accepted = true
	if lsn, err := strconv.ParseUint(a.Header.Get("lsn"), 10, 64); err == nil {
		answer.LSN = postgres.LSN(lsn)
	}
	if told := a.Header.Get(restapi.PromiseHeader); told != "" {
		seconds, err := strconv.ParseFloat(told, 64)
		answer.Promise = time.Duration(seconds * float64(time.Second))
		if err != nil || answer.Promise <= 0 || seconds > forever {
			answer.Accepted, answer.Problem = false, "its promise cannot be read: "+told
		}
	}
	return answer
}

// forever bounds a promise, in seconds, so that it can be computed with.
const forever = 1 << 30

// plain makes an answer that may be a page readable in a sentence.
func plain(body []byte) string {
	s := shorten(body)
	if _, message, ok := strings.Cut(s, "<p>Message: "); ok {
		s, _, _ = strings.Cut(message, "</p>")
	}
	return s
}
