package flight_test

import (
	"bytes"
	"fmt"
	"strings"
	"time"

	"github.com/tanist-ha/tanist/ha"
	"github.com/tanist-ha/tanist/ha/flight"
	"github.com/tanist-ha/tanist/ha/hatest"
)

// A simulated cluster is recorded; the file that this makes is read again, and every decision in it is made once more. A rulebook without
// one of its rules comes to another result.
func Example() {
	var file bytes.Buffer
	hatest.Run(hatest.Options{Seed: 1, Faults: 5 * time.Second, Calm: time.Second, Record: func(run string, e ha.RecordEntry) {
		if !strings.HasPrefix(run, "a-") { // one of the three nodes
			return
		}
		line, err := flight.Encode(e)
		if err != nil {
			fmt.Println(err)
		}
		file.Write(line)
	}})

	entries, broken, err := flight.Read(&file)
	fmt.Println("read without losses:", len(entries) > 0 && broken == 0 && err == nil)
	fmt.Println("differences:", len(ha.Replay(entries)))

	without, err := ha.StandardRules().Replace("start.unobserved", func(time.Time, *ha.View) ha.Verdict { return ha.Pass("never") })
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, d := range ha.ReplayWith(without, entries) {
		fmt.Printf("entry %d, after %s, %s differs\n", d.Entry, d.Event, d.What)
	}
	// Output:
	// read without losses: true
	// differences: 0
	// entry 0, after Tick, rule differs
}
