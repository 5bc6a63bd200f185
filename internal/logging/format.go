package logging

import (
	"log/slog"
	"os"
	"strconv"
	"strings"
	"time"
)

// DefaultFormat is the line that is written unless log.format says otherwise.
const DefaultFormat = "%(asctime)s %(levelname)s: %(message)s"

// levelNames are Python's names of the levels.
func levelName(l slog.Level) string {
	switch {
	case l >= LevelCritical:
		return "CRITICAL"
	case l >= slog.LevelError:
		return "ERROR"
	case l >= slog.LevelWarn:
		return "WARNING"
	case l >= slog.LevelInfo:
		return "INFO"
	}
	return "DEBUG"
}

// LevelCritical is above slog's levels, for what ends the agent.
const LevelCritical = slog.LevelError + 4

// Level reads one of Python's names of levels; INFO for anything else.
func Level(name string) slog.Level {
	switch strings.ToUpper(name) {
	case "DEBUG":
		return slog.LevelDebug
	case "WARN", "WARNING":
		return slog.LevelWarn
	case "ERROR":
		return slog.LevelError
	case "FATAL", "CRITICAL":
		return LevelCritical
	}
	return slog.LevelInfo
}

// piece is a part of a line: text, or a field that is filled in.
type piece struct {
	text  string // if field is ""
	field string
}

// parseFormat splits a format in Python's %(name)s notation. Widths and flags are accepted and ignored.
func parseFormat(format string) []piece {
	var out []piece
	for format != "" {
		before, rest, found := strings.Cut(format, "%(")
		name, rest, closed := strings.Cut(rest, ")")
		if !found || !closed {
			return append(out, piece{text: strings.ReplaceAll(format, "%%", "%")})
		}
		if before != "" {
			out = append(out, piece{text: strings.ReplaceAll(before, "%%", "%")})
		}
		out = append(out, piece{field: name})
		end := strings.IndexAny(rest, "sdfri")
		if end < 0 {
			end = len(rest) - 1
		}
		format = rest[end+1:]
	}
	return out
}

// fill returns the value of a field of a line, "" for those that have no meaning here.
func fill(field string, r slog.Record, layout string) string {
	switch field {
	case "asctime":
		if layout == "" {
			return r.Time.Format("2006-01-02 15:04:05,000")
		}
		return r.Time.Format(layout)
	case "levelname":
		return levelName(r.Level)
	case "levelno":
		return strconv.Itoa((int(r.Level)/4 + 2) * 10)
	case "message":
		return r.Message
	case "name", "module":
		return "tanist"
	case "process":
		return strconv.Itoa(os.Getpid())
	case "created":
		return strconv.FormatFloat(float64(r.Time.UnixNano())/1e9, 'f', 6, 64)
	case "msecs":
		return strconv.Itoa(r.Time.Nanosecond() / int(time.Millisecond))
	}
	return ""
}

// dates are the parts of a date format in C's notation, in Go's.
var dates = strings.NewReplacer("%Y", "2006", "%m", "01", "%d", "02", "%H", "15", "%M", "04", "%S", "05", "%f", "000000",
	"%z", "-0700", "%Z", "MST", "%y", "06", "%b", "Jan", "%B", "January", "%a", "Mon", "%A", "Monday", "%I", "03", "%p", "PM",
	"%j", "002", "%%", "%")

// layoutOf turns a date format in C's notation into Go's; "" stays "".
func layoutOf(dateformat string) string { return dates.Replace(dateformat) }
