package rest

import (
	"fmt"
	"strings"
)

// documentation renders docs/rest.md from the tables that requests are answered by.
func documentation() string {
	var b strings.Builder
	b.WriteString(`# The REST API

This page is made from the tables in package rest: change those, and run ` + "`go test ./rest -run TestDocs -update`" + `.

## Health checks

For load balancers: GET, HEAD and OPTIONS. The answer is 200 or 503; GET adds the document of ` + "`/patroni`" + `, HEAD and OPTIONS
answer a status line and nothing else. Nothing is asked of PostgreSQL or the store, so the answers are quick when either is
slow. The first row that matches decides; what matches none is 503. Most paths need only *contain* the word, so that
` + "`option httpchk OPTIONS/master`" + ` (the blank is missing) works in haproxy.cfg; those marked *exact* must be the whole path.

| path | 200 when | tags |
| --- | --- | --- |
`)
	for _, e := range healthTable() {
		paths := "`" + strings.Join(e.paths, "`, `") + "`"
		if e.exact {
			paths += " (exact)"
		}
		if len(e.without) > 0 {
			paths += ", without `" + strings.Join(e.without, "` and `") + "`"
		}
		tags := ""
		if e.tags {
			tags = "yes"
		}
		fmt.Fprintf(&b, "| %s | %s | %s |\n", paths, e.sentence, tags)
	}
	b.WriteString(`
Where *tags* says yes, ` + "`?tag_NAME=VALUE`" + ` asks for a tag of the node (several: all must fit). The rows with sync, quorum
and async also need a store that was heard of within the ttl.

` + "`/primary`" + ` is stricter than Patroni's, which says 200 as long as the leader key is held: here the server must be known to
accept writes as well. It is 503 after the postmaster's end, during a crash recovery and a promotion, and while a server that
is being bootstrapped lets no client in.

## Everything else

The first component of the path counts, what follows it is ignored. Guarded requests need an address on the allow-list, a
client certificate and a password, where those are configured.

| request | guarded | answer |
| --- | --- | --- |
`)
	for _, r := range routeTable() {
		guarded := ""
		if r.guarded {
			guarded = "yes"
		}
		fmt.Fprintf(&b, "| `%s /%s` | %s | %s |\n", r.method, r.name, guarded, r.sentence)
	}
	return b.String()
}
