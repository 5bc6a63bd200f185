package postgres

import (
	"fmt"
	"strconv"
	"strings"
)

// The majors that tanist supports.
const (
	MinMajor = 14
	MaxMajor = 18
)

// Version is a server version as in server_version_num: 150018 is 15.18. Zero is unknown.
type Version int

// Major is the major version: 15 for 15.18. Before 10 it had two parts; of those only the first is told.
func (v Version) Major() int { return int(v) / 10000 }

// Minor is the minor version: 18 for 15.18.
func (v Version) Minor() int { return int(v) % 10000 }

// Supported says whether tanist knows this major.
func (v Version) Supported() bool { return v.Major() >= MinMajor && v.Major() <= MaxMajor }

// String is the version as people write it: "15.18".
func (v Version) String() string {
	if v.Major() < 10 {
		return fmt.Sprintf("%d.%d.%d", v/10000, v/100%100, v%100)
	}
	return fmt.Sprintf("%d.%d", v.Major(), v.Minor())
}

// ParseVersion reads a version in any form in which PostgreSQL tells it: server_version ("15.18 (Debian 15.18-1)"), the
// --version of a program ("postgres (PostgreSQL) 15.18"), server_version_num ("150018"), the file PG_VERSION ("15\n"),
// and development versions ("19beta1"), which count as minor 0.
func ParseVersion(s string) (Version, error) {
	text := strings.TrimSpace(s)
	if _, after, ok := strings.Cut(text, "(PostgreSQL) "); ok {
		text = after
	}
	text, _, _ = strings.Cut(text, " ")
	if n, err := strconv.Atoi(text); err == nil && n >= 80000 && n < 1000000 {
		return Version(n), nil // server_version_num
	}
	var part []int
	for p := range strings.SplitSeq(text, ".") {
		digits, suffix := p, ""
		if i := strings.IndexFunc(p, func(r rune) bool { return r < '0' || r > '9' }); i >= 0 {
			digits, suffix = p[:i], p[i:]
		}
		n, err := strconv.Atoi(digits)
		if err != nil || n >= 100 {
			return 0, fmt.Errorf("parse version %q: not a PostgreSQL version", s)
		}
		part = append(part, n)
		if suffix == "" {
			continue
		}
		if !strings.HasPrefix(suffix, "devel") && !strings.HasPrefix(suffix, "alpha") && !strings.HasPrefix(suffix, "beta") && !strings.HasPrefix(suffix, "rc") {
			return 0, fmt.Errorf("parse version %q: not a PostgreSQL version", s)
		}
		break
	}
	switch {
	case part[0] >= 10 && len(part) <= 2:
		return Version(part[0]*10000 + append(part, 0)[1]), nil
	case part[0] < 10 && len(part) >= 2 && len(part) <= 3:
		return Version(part[0]*10000 + part[1]*100 + append(part, 0)[2]), nil
	}
	return 0, fmt.Errorf("parse version %q: not a PostgreSQL version", s)
}
