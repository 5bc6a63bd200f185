// Evidence runs tests and remembers which of them passed, so that a document which names a test as its proof can be held to it.
//
//	evidence run RECORD [arguments of go test]   as go test, whose output it shows; what the tests did is added to the file RECORD
//	evidence check RECORD DOCUMENT...            fails unless every test that the documents name has run, and passed, and skipped nothing
//
// `make test` does both. See package-level functions of this program for what a document may say.
package main

import (
	"fmt"
	"os"
)

func main() {
	if err := command(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "evidence:", err)
		os.Exit(1)
	}
}

func command(args []string) error {
	switch {
	case len(args) > 2 && args[0] == "run":
		return run(args[1], args[2:], os.Stdout)
	case len(args) > 2 && args[0] == "check":
		return check(args[1], args[2:], os.Stdout)
	}
	return fmt.Errorf("usage: evidence run RECORD ARGUMENTS-OF-GO-TEST..., or: evidence check RECORD DOCUMENT")
}
