// Command tanist is the agent: it runs beside one PostgreSQL server, keeps it in its cluster, and makes it the primary or a
// standby. It is started like Patroni, with Patroni's configuration file:
//
//	tanist /etc/patroni/patroni.yml
package main

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/tanist-ha/tanist/ha/guard"
)

func main() {
	guard.Main() // does not return in the guard, nor in a process that is to become the server

	if os.Getpid() == 1 { // in a container: somebody must reap the processes that nobody waits for
		self, err := os.Executable()
		if err != nil {
			self = "/proc/self/exe" // works, but tools show it by that name
		}
		os.Exit(runAsInit(self, os.Args))
	}
	err := rootCommand(os.Stdout, os.Stderr, os.Environ()).ExecuteContext(context.Background())
	if err != nil {
		printError(os.Stderr, err)
		os.Exit(1)
	}
}

// printError writes each of joined errors on a line of its own, and its hint, if it has one, below it.
func printError(w *os.File, err error) {
	var joined interface{ Unwrap() []error }
	if errors.As(err, &joined) {
		for _, e := range joined.Unwrap() {
			printError(w, e)
		}
		return
	}
	fmt.Fprintf(w, "tanist: %v\n", err)
	var advice interface{ Hint() string }
	if errors.As(err, &advice) && advice.Hint() != "" {
		fmt.Fprintf(w, "        %s\n", advice.Hint())
	}
}
