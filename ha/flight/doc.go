// Package flight keeps the flight record of a node: every event that it was told, the decision that followed, and what that decision asked
// for. From it "why did it fail over last night?" can be answered after the fact, and the same decisions can be made again, by this
// release or by the next.
//
// A [Recorder] is an ha.Recorder. It holds the newest entries in memory, and writes all of them to a file if one is named:
//
//	rec, err := flight.Open(flight.Options{File: "/var/log/tanist/n1.flight", Logger: log})
//	node, err := ha.NewNode(ha.Config{Recorder: rec, …})
//	…
//	defer rec.Close()
//
// [Read] brings the entries of a file back, and ha.Replay recomputes them:
//
//	entries, _, err := flight.Read(file)
//	for _, d := range ha.Replay(entries) {
//		fmt.Println(d)
//	}
//
// # The file
//
// It is JSON, one entry in a line. Fields that are zero are left out, times are RFC 3339, durations are texts like "30s", and what may be
// of several types (events, actions, commands) stands in an object with the name of its type. Values of events are written by the
// names of their Go fields, so that a field that is added later appears without anybody's doing; unknown fields are ignored.
//
// A record begins with a checkpoint, the whole view of the node, and has more of them on the way. Where entries are missing (the disk was
// slow or full, the file was turned over) a replay continues with the next checkpoint.
//
// # What it costs
//
// Record never blocks: entries that the disk does not take in time are dropped, and counted. The file holds what the node knows: settings
// of the server, addresses and the cluster's configuration, no passwords of the agent; it is readable by its owner alone.
package flight
