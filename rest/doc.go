// Package rest serves a node's REST API, as Patroni's users know it: health checks for load balancers, the status that
// peers poll in an election, the cluster for dashboards, and the commands of operators.
//
// # The nouns
//
// A [Handler] is an http.Handler over one node. It sees the node as an [ha.Asker] and the store as a [Store] of four
// methods; whoever embeds a node may mount it in a server of its own.
//
// A [Server] is the server that the agent uses. It differs from a plain http.Server in what clients of Patroni rely on:
// the request target without a leading slash that old HAProxy configurations send, requests of HTTP/1.1 without a Host
// header, and answers to OPTIONS and HEAD that are a status line and nothing else. It reads renewed certificates without a
// restart, and connections that stay silent cost a little memory and delay nobody.
//
// A health endpoint is a row of a table: paths, a predicate over the node's published [ha.Status] and the time, and a
// sentence. The table also makes docs/rest.md, and a test fails when that page is stale.
//
// # What the answers rest on
//
// Health endpoints answer from the status that the node last published. They touch neither PostgreSQL nor the store, so
// that they are quick when either is slow. /primary is 200 only while the node has authority, which is computed from its
// end when the request is answered, and its server is known to accept writes: Patroni's answer (200 while the leader key
// is held, whatever the server does) sends clients to dead servers.
//
// GET /patroni is the poll of an election. It asks the node for one fresh observation, shared by all who ask at the same
// time, for at most 500 ms; then the last one is told with its age. With ?wait_lsn=X it answers when the server's position
// has reached X, or after one second.
//
// Commands that concern the cluster are written to the store, and their outcome is awaited there; nothing here changes a
// node.
package rest
