//go:build linux

package writers_test

import (
	"fmt"
	"time"

	"github.com/tanist-ha/tanist/internal/testcluster/writers"
)

// Two servers answer for a while: from the later one's first answer to the earlier one's last commit.
func Example() {
	var acks []writers.Ack
	for t := time.Duration(0); t < 3*time.Second; t += 100 * time.Millisecond {
		if t < 2*time.Second {
			acks = append(acks, writers.Ack{Server: 0, Sent: t, Got: t + time.Millisecond})
		}
		if t >= time.Second {
			acks = append(acks, writers.Ack{Server: 1, Sent: t, Got: t + time.Millisecond})
		}
	}
	fmt.Println(writers.TwoServers(acks, 2))
	// Output: 899ms
}
