package ha

import "time"

// StandardRules is the rulebook that every node uses. The order is the policy: what protects data stands first, then what
// keeps facts fresh (those rules begin something and let the next ones speak), then the one situation the node is in.
func StandardRules() *Rulebook {
	return &Rulebook{Sections: []Section{
		{"authority", mayWriteNow, authorityRules},
		{"watchdog", watchdogAsked, watchdogRules},
		{"pulse", always, pulseRules},
		{"handover", handingOver, handoverRules},
		{"shutdown", shuttingDown, shutdownRules},
		{"start", always, startRules},
		{"failsafe", isPromised, failsafeRules},
		{"task", taskRuns, taskRules},
		{"found", foundingNow, foundRules},
		{"empty", isEmpty, emptyRules},
		{"wiped", wiped, wipedRules},
		{"leader", holdsKey, leaderRules},
		{"vacant", isVacant, vacantRules},
		{"follow", always, followRules},
	}}
}

func always(time.Time, *View) (bool, string) { return true, "" }

func mayWriteNow(_ time.Time, v *View) (bool, string) {
	return v.mayWrite(), "the server cannot be writable"
}

func handingOver(_ time.Time, v *View) (bool, string) {
	return v.Handover != nil, "nothing is handed over"
}

func shuttingDown(_ time.Time, v *View) (bool, string) {
	return !v.Shutdown.IsZero(), "the agent is not asked to end"
}

func taskRuns(_ time.Time, v *View) (bool, string) {
	return v.Task != nil, "no task runs on the server"
}

func foundingNow(_ time.Time, v *View) (bool, string) {
	return v.Initialize.Mine != nil || v.Initialize.Founded, "we hold no right to found the cluster"
}

func isEmpty(_ time.Time, v *View) (bool, string) {
	return v.noData(), "the data directory holds a cluster"
}

func holdsKey(_ time.Time, v *View) (bool, string) {
	return v.holds() || v.Lease.State == LeaseDoubt, "we do not hold the leader key"
}

func isVacant(_ time.Time, v *View) (bool, string) { return v.vacant(), "there is a leader key" }
