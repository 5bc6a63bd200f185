package postgres

import (
	"fmt"
	"strconv"
	"strings"
)

// LSN is a position in the write-ahead log, in bytes. Zero is "none".
type LSN uint64

// ParseLSN reads the form that PostgreSQL prints, two hexadecimal halves: "0/3000060".
func ParseLSN(s string) (LSN, error) {
	hi, lo, ok := strings.Cut(s, "/")
	if !ok {
		return 0, fmt.Errorf("parse LSN %q: want two hexadecimal numbers with a slash between", s)
	}
	h, err := strconv.ParseUint(hi, 16, 32)
	if err != nil {
		return 0, fmt.Errorf("parse LSN %q: %w", s, err)
	}
	l, err := strconv.ParseUint(lo, 16, 32)
	if err != nil {
		return 0, fmt.Errorf("parse LSN %q: %w", s, err)
	}
	return LSN(h<<32 | l), nil
}

// String prints the position as PostgreSQL does.
func (l LSN) String() string { return fmt.Sprintf("%X/%X", uint32(l>>32), uint32(l)) }

// Timeline numbers a branch of the log; a promotion starts a new one. Zero is "unknown".
type Timeline uint32

// Position is a place in the log of a cluster with branches.
type Position struct {
	Timeline Timeline
	LSN      LSN
}

// String prints the position as "LSN on timeline N".
func (p Position) String() string { return fmt.Sprintf("%s on timeline %d", p.LSN, p.Timeline) }
