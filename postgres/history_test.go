package postgres_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tanist-ha/tanist/postgres"
)

func TestParseHistory(t *testing.T) {
	text := "1\t0/5000060\tno recovery target specified\n\n# a comment\n 2  1/A0  before 2026-11-21 21:51:18+00\n5\t1/FFFFFFF8\n"
	got, err := postgres.ParseHistory(text)
	if err != nil {
		t.Fatal(err)
	}
	want := postgres.History{
		{Parent: 1, LSN: 0x5000060, Reason: "no recovery target specified"},
		{Parent: 2, LSN: 0x1_000000A0, Reason: "before 2026-11-21 21:51:18+00"},
		{Parent: 5, LSN: 0x1_FFFFFFF8},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("history (-want +got):\n%s", diff)
	}
	if again, err := postgres.ParseHistory(got.String()); err != nil || !cmp.Equal(got, again) {
		t.Errorf("String does not survive parsing: %v, %v", again, err)
	}
	if got := postgres.HistoryFileName(27); got != "0000001B.history" {
		t.Errorf("HistoryFileName(27) = %q", got)
	}
	for text, want := range map[string]string{
		"x\t0/1\treason":           `line 1: "x" is not a timeline`,
		"0\t0/1\treason":           `"0" is not a timeline`,
		"4294967296\t0/1\treason":  "is not a timeline",
		"1\treason":                "line 1: parse LSN",
		"1":                        "line 1: parse LSN",
		"1\t0/1\tr\n1\t0/2\tr":     "line 2: timeline 1 after 1",
		"2\t0/1\tr\n\n1\t0/2\tr\n": "line 3: timeline 1 after 2",
	} {
		if _, err := postgres.ParseHistory(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("ParseHistory(%q): %v, want %q", text, err, want)
		}
	}
}

func TestCompare(t *testing.T) {
	history := postgres.History{{Parent: 1, LSN: 100}, {Parent: 3, LSN: 200}} // of timeline 4; 2 was another branch
	at := func(tl postgres.Timeline, l postgres.LSN) postgres.Position {
		return postgres.Position{Timeline: tl, LSN: l}
	}
	tests := []struct {
		name       string
		a, b       postgres.Position
		order      int
		comparable bool
	}{
		{"newest", at(4, 300), at(4, 301), -1, true},
		{"newest, equal", at(4, 300), at(4, 300), 0, true},
		{"older counts to its switch point", at(1, 900), at(4, 300), -1, true},
		{"two that are both cut", at(1, 900), at(1, 150), 0, true},
		{"before the switch point", at(1, 90), at(1, 100), -1, true},
		{"parent and grandparent", at(3, 200), at(1, 900), 1, true},
		{"newest, not yet beyond the switch", at(4, 200), at(3, 500), 0, true},
		{"another branch is behind all", at(2, 9000), at(1, 1), -1, false},
		{"a timeline that is newer still", at(5, 9000), at(4, 1), -1, false},
		{"unknown timeline", at(4, 1), at(0, 9000), 1, false},
		{"none comparable", at(2, 1), at(5, 2), 0, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			order, ok := postgres.Compare(tt.a, tt.b, 4, history)
			if order != tt.order || ok != tt.comparable {
				t.Errorf("Compare(%v, %v) = %d, %t, want %d, %t", tt.a, tt.b, order, ok, tt.order, tt.comparable)
			}
			if back, okBack := postgres.Compare(tt.b, tt.a, 4, history); back != -order || okBack != ok {
				t.Errorf("Compare is not antisymmetric: %d, %t", back, okBack)
			}
		})
	}
}
