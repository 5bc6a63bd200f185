package restapi

import "github.com/tanist-ha/tanist/dcs"

// History shows the /history key as the API does: arrays of three to five values (timeline, position in bytes, reason,
// time, member that became leader).
func History(h dcs.History) [][]any {
	out := make([][]any, 0, len(h))
	for _, line := range h {
		row := []any{line.Timeline, line.LSN, line.Reason}
		if line.Timestamp != "" || line.Leader != "" {
			row = append(row, line.Timestamp)
		}
		if line.Leader != "" {
			row = append(row, line.Leader)
		}
		out = append(out, row)
	}
	return out
}
