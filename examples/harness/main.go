// Harness runs a cluster of three in one process: real nodes with the real rules, on the in-memory store, with servers that exist in
// memory only, and with a clock that stands still until the harness moves it. A lease of thirty seconds takes no time to expire, and the
// same story comes out each time.
//
// It shows how to test what you build on package ha, and what the ports of a node are:
//
//   - cluster.go holds the hosts, and moves the clock when nobody has anything left to do;
//   - host.go is one node with its ports: Clock, Recorder, Peers, and the Store with hints of its own;
//   - server.go is a scripted PostgreSQL;
//   - story.go tells what happens.
package main

import (
	"log"
	"os"
)

func main() {
	if err := story(os.Stdout); err != nil {
		log.Fatal(err)
	}
}
