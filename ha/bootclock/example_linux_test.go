package bootclock_test

import (
	"fmt"
	"time"

	"github.com/tanist-ha/tanist/ha/bootclock"
)

// A wait that ends on time even if the machine is suspended meanwhile.
func Example() {
	clock, err := bootclock.New()
	if err != nil {
		fmt.Println(err)
		return
	}
	deadline := clock.Now().Add(10 * time.Millisecond)
	fired, stop := clock.At(deadline)
	defer stop()
	<-fired
	fmt.Println("too early:", clock.Now().Before(deadline))
	// Output: too early: false
}
