package config_test

import (
	"fmt"

	"github.com/tanist-ha/tanist/config"
)

// A member's file is read once; the cluster's document is merged with it each time it changes.
func Example() {
	c, warnings, err := config.Load(config.Options{Environ: []string{`PATRONI_CONFIGURATION=
scope: batman
name: node1
etcd3: {hosts: "10.0.0.1:2379,10.0.0.2:2379"}
postgresql:
  wal_log_hint: on
  parameters: {work_mem: 8MB}
`}})
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, w := range warnings {
		fmt.Println("warning:", w)
	}
	fmt.Println(c.Name, c.Etcd3.Endpoints())

	s, err := c.Dynamic([]byte(`{"ttl": 20, "synchronous_mode": true, "postgresql": {"parameters": {"work_mem": "4MB", "max_connections": 200}}}`))
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(s.TTL, s.LoopWait, s.RetryTimeout)
	fmt.Println(s.Postgres.Parameters["work_mem"], s.Postgres.Controlled["max_connections"])
	for _, n := range s.Notices {
		fmt.Println("notice:", n)
	}
	// Output:
	// warning: PATRONI_CONFIGURATION:6: postgresql.wal_log_hint: unknown key, it does nothing; did you mean the parameter wal_log_hints? all members must agree on it: change it below postgresql.parameters with `tanistctl edit-config`; a new cluster takes it from bootstrap.dcs.postgresql.parameters
	// node1 [http://10.0.0.1:2379 http://10.0.0.2:2379]
	// 20s 1s 9s
	// 8MB 200
	// notice: ttl 20, loop_wait 10 and retry_timeout 10 do not fit together (at least 20, 1 and 3, and loop_wait + 2 * retry_timeout at most ttl): used are ttl 20, loop_wait 1 and retry_timeout 9
	// notice: synchronous_mode is set and NOT honoured
}

// A change of the cluster's document keeps the order of its keys.
func ExamplePatch() {
	doc, changed, err := config.Patch(
		[]byte(`{"ttl":30,"loop_wait":10,"postgresql":{"parameters":{"work_mem":"4MB"},"use_pg_rewind":true}}`),
		[]byte(`{"loop_wait":null,"ttl":"30","postgresql":{"parameters":{"work_mem":"8MB"}}}`))
	fmt.Println(string(doc), changed, err)
	// Output: {"ttl":30,"postgresql":{"parameters":{"work_mem":"8MB"},"use_pg_rewind":true}} true <nil>
}
