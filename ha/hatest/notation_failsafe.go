package hatest

import (
	"strings"
	"time"

	"github.com/tanist-ha/tanist/ha"
)

// readFailsafe: [on] [key NAME,NAME] [doubt NAME] [promise NAME TIME] [asking] [failed TIME TEXT]: the mode, the members in the store's
// /failsafe, one whom a write of unknown fate may have added, a promise that we have made, a round under way, and one that ended in vain.
func readFailsafe(s *situation, w *words) {
	f := &s.v.Failsafe
	for w.more() {
		switch x := w.next(); x {
		case "on":
			s.v.Settings.Failsafe = true
		case "key":
			f.Members = map[string]string{}
			for name := range strings.SplitSeq(w.next(), ",") {
				f.Members[name] = apiURL(name)
			}
			s.v.Store.Cluster.Failsafe, s.v.Store.Cluster.FailsafeVersion = f.Members, 60
		case "doubt":
			name := w.next()
			f.Doubt, f.DoubtAt = map[string]string{name: apiURL(name)}, s.now.Add(-time.Second)
		case "promise":
			f.Promise = ha.Promise{To: w.next(), Until: w.time()}
		case "asking":
			s.v.Lanes[ha.LaneFailsafe] = ha.Flight{ID: 9, Since: s.now.Add(-100 * time.Millisecond), Name: "ask failsafe"}
		case "failed":
			f.Failed, f.Problem = w.time(), w.text()
		default:
			w.unknown(x)
		}
	}
}
