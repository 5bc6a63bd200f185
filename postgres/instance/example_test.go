package instance_test

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"strings"

	"github.com/tanist-ha/tanist/postgres"
	"github.com/tanist-ha/tanist/postgres/instance"
	"github.com/tanist-ha/tanist/postgres/pgxdriver"
)

// A clone refuses a data directory that holds somebody's files. Nothing is started here: the programs are stand-ins.
func Example() {
	dir, err := os.MkdirTemp("", "example")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	program := "#!/bin/sh\necho 'postgres (PostgreSQL) 17.4'\n"
	_ = os.WriteFile(dir+"/postgres", []byte(program), 0o700)
	_ = os.MkdirAll(dir+"/data", 0o700)
	_ = os.WriteFile(dir+"/data/thesis.txt", []byte("years of work"), 0o600)

	inst, err := instance.New(instance.Config{
		Name: "node1", Scope: "demo", DataDir: dir + "/data", BinDir: dir,
		Replication: instance.Credentials{Username: "replicator"},
		Connector:   pgxdriver.Connector{},
		Logger:      slog.New(slog.DiscardHandler),
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer inst.Close()

	ctx := context.Background()
	o := inst.Observe(ctx)
	fmt.Println("data directory:", o.DataDir, "- runs:", o.Postmaster != nil)
	_, err = inst.Run(ctx, postgres.Task{
		Kind: postgres.TaskClone, Upstream: &postgres.Upstream{Name: "node2", Host: "10.0.0.2", Port: 5432},
	}, nil)
	fmt.Println(strings.ReplaceAll(err.Error(), dir, "…"))
	// Output:
	// data directory: foreign - runs: false
	// clone: the data directory is foreign and is not overwritten: …/data is not empty and holds no PostgreSQL cluster (hint: is postgresql.data_dir right? Nothing was changed in it)
}
