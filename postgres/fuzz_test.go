package postgres_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tanist-ha/tanist/postgres"
)

// Parsers take texts from disks, stores and peers. They must not panic, and what they took must survive being written.

func FuzzParseConninfo(f *testing.F) {
	f.Add(`host=a password='it\'s' dbname=`)
	f.Add("postgres://u:p@h1:1,[::1]:2/db?sslmode=require")
	f.Fuzz(func(t *testing.T, text string) {
		c, err := postgres.ParseConninfo(text)
		if err != nil {
			return
		}
		_ = c.String()
		for k, v := range c { // Format leaves empty values out; a keyword may be anything in a URL
			if v == "" || !postgres.ValidGUCName(k) {
				delete(c, k)
			}
		}
		again, err := postgres.ParseConninfo(c.Format())
		if err != nil || !cmp.Equal(c, again) {
			t.Errorf("%q is written %q, which is read as %q, %v", text, c.Format(), again.Format(), err)
		}
	})
}

func FuzzParseHistory(f *testing.F) {
	f.Add("1\t0/5000060\tno recovery target specified\n\n# c\n2\t1/0\tx")
	f.Fuzz(func(t *testing.T, text string) {
		h, err := postgres.ParseHistory(text)
		if err != nil {
			return
		}
		if again, err := postgres.ParseHistory(h.String()); err != nil || !cmp.Equal(h, again) {
			t.Errorf("%q is written %q, which is read as %v, %v", text, h, again, err)
		}
	})
}

func FuzzParseSyncNames(f *testing.F) {
	for _, v := range syncVectors {
		f.Add(v.text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		s, err := postgres.ParseSyncNames(text)
		if err != nil {
			return
		}
		again, err := postgres.ParseSyncNames(s.String())
		if err != nil || again.String() != s.String() {
			t.Errorf("%q is written %q, which is read as %+v, %v", text, s, again, err)
		}
	})
}

func FuzzNumbers(f *testing.F) {
	for _, v := range intVectors {
		f.Add(v.text, v.unit)
	}
	f.Add("15.18 (Debian)", "0/3000060")
	f.Fuzz(func(t *testing.T, a, b string) {
		_, _ = postgres.ParseInt(a, b)
		_, _ = postgres.ParseVersion(a)
		if l, err := postgres.ParseLSN(b); err == nil {
			if again, err := postgres.ParseLSN(l.String()); err != nil || again != l {
				t.Errorf("%q is read as %s, that as %s, %v", b, l, again, err)
			}
		}
		if !postgres.ValidSlotName(postgres.SlotName(a)) && a != "" {
			t.Errorf("SlotName(%q) = %q is no slot name", a, postgres.SlotName(a))
		}
	})
}

func FuzzParseControlData(f *testing.F) {
	f.Add(controlText)
	f.Fuzz(func(t *testing.T, text string) {
		c, err := postgres.ParseControlData(text)
		if err == nil && (c.SystemID == "" || c.WALSegmentSize < 1<<20) {
			t.Errorf("%q is read as %+v", text, c)
		}
	})
}
