// Command tanistctl shows and steers clusters: it is patronictl for operators of tanist and of Patroni, with the same
// verbs, options, tables and exit codes, and it explains what it sees.
package main

import (
	"bufio"
	"context"
	"os"
	"os/signal"
	"syscall"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	a := &app{
		in: bufio.NewReader(os.Stdin), out: os.Stdout, err: os.Stderr,
		environ: os.Environ(), now: time.Now, connect: connect, client: client,
	}
	code := a.run(ctx, os.Args[1:])
	stop()
	os.Exit(code)
}
