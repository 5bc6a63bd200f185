//go:build linux

// Package writers has the clients that tell whether a cluster kept its word: they commit numbered rows all the time, one held and one
// fresh connection per server and one with all hosts, and remember what was acknowledged, by whom, and when. Measured afterwards: the
// longest silence (Longest of Outages), the time in which two servers certainly acknowledged (TwoServers), and the acknowledged rows that
// are not there (Lost of Present).
//
//	w, err := writers.Start(ctx, cluster)
//	... // a bad day
//	w.Finish()
//	two := writers.TwoServers(w.Acks, len(cluster.Nodes))
package writers
