//go:build linux

package procs_test

import (
	"fmt"
	"os"

	"github.com/tanist-ha/tanist/internal/testcluster/procs"
)

func ExampleStat() {
	me, err := procs.Stat(os.Getpid())
	fmt.Println(me.Alive(), me.Parent == os.Getppid(), err)
	// Output:
	// true true <nil>
}
