package reach_test

import (
	"context"
	"errors"
	"fmt"

	"github.com/tanist-ha/tanist/internal/reach"
)

func Example() {
	for _, err := range []error{
		reach.NoConnection(context.DeadlineExceeded),
		reach.NoConnection(context.Canceled),
		reach.NoAnswer(context.DeadlineExceeded),
		errors.New("dial tcp: lookup store.example on 10.0.0.53:53: read udp: i/o timeout"),
	} {
		fmt.Printf("%v: %q\n", err, reach.Hint(err))
	}
	// Output:
	// no connection came about in time (context deadline exceeded): "is the host up and its address right, does a firewall drop what is sent to it, or does the server hang?"
	// context canceled: ""
	// no answer in time (context deadline exceeded): ""
	// dial tcp: lookup store.example on 10.0.0.53:53: read udp: i/o timeout: "the name cannot be resolved: does the name server answer?"
}
