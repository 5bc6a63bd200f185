// Package restapi holds the JSON documents that agents and tools exchange over the REST API: the server writes them, the
// client reads them. (What GET /cluster answers is in package overview.)
//
// Fields keep Patroni's names and order. What tanist adds begins with "tanist".
package restapi
