// Package restapi holds the JSON documents of the REST API, as Patroni's users know them, and their projections from the
// store's view of a cluster. The server writes them, the client reads them, and tanistctl shows them, so that a list looks
// the same whoever made it.
//
// Fields keep Patroni's names and order. What tanist adds begins with "tanist".
package restapi
