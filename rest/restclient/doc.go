// Package restclient asks other members over the REST API: agents poll each other with it in an election, and tanistctl
// carries operators' commands to a member. It speaks to tanist and to Patroni 4 members alike.
//
// A [Client] implements the port [ha.Peers]. Each request uses a connection of its own: an idle connection that a
// partition has cut would make a member look dead for as long as TCP takes to notice.
//
// TLS follows Patroni's rules. With Insecure, as agents ask each other, certificates of servers are not verified, unless
// the client has a certificate itself: then the chain is verified, but not the host name. Without Insecure, as tools ask,
// chain and name are verified.
package restclient
