package embedetcd

import "testing"

// TestFullFileIsRewrittenOrRefused: whatever a file holds, one that fills the quota ends up smaller, or is said to hold too much. The case that
// found this: of 15.6 MiB of a quota of 16, 14.07 held data: too many to end the alarm, too few to be rewritten, and nobody said a word.
func TestFullFileIsRewrittenOrRefused(t *testing.T) {
	const quota, step = 16 << 20, 16 << 10
	for size := int64(step); size <= quota; size += step {
		for used := int64(step); used <= size; used += step {
			switch rewrite := worthwhile(size, used, quota, true); {
			case rewrite && worthwhile(used+step, used, quota, true):
				t.Fatalf("%d of %d used: worth rewriting again when it was", used, size)
			case !rewrite && fills(size, quota) && used < quota*87/100:
				t.Fatalf("%d of %d used: nobody makes room, and there is some", used, size)
			}
		}
	}
	if !worthwhile(16343040, 14753792, quota, true) {
		t.Fatal("what a new file would make room for is not rewritten")
	}
}
