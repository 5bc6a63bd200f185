package servertest

import "github.com/tanist-ha/tanist/internal/testcluster/procs"

func awaitStop(pid int) error { return procs.AwaitStop(pid) }
