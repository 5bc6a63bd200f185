package logging

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// Options say how lines look and where they go.
type Options struct {
	Output     io.Writer      // written to by one line at a time
	Level      *slog.LevelVar // the least important level that is written
	JSON       bool           // slog's JSON lines instead of text
	Format     string         // of a line, in Python's notation; "" for DefaultFormat
	DateFormat string         // of %(asctime)s, in C's notation; "" for Python's default, with milliseconds
}

// New returns the logger.
func New(o Options) *slog.Logger {
	if o.JSON {
		return slog.New(slog.NewJSONHandler(o.Output, &slog.HandlerOptions{Level: o.Level, ReplaceAttr: pythonLevels}))
	}
	if o.Format == "" {
		o.Format = DefaultFormat
	}
	return slog.New(&handler{
		level: o.Level, pieces: parseFormat(o.Format), layout: layoutOf(o.DateFormat), out: &lines{w: o.Output},
	})
}

// pythonLevels writes levels as Patroni's users filter for them.
func pythonLevels(groups []string, a slog.Attr) slog.Attr {
	if l, ok := a.Value.Any().(slog.Level); ok && len(groups) == 0 && a.Key == slog.LevelKey {
		return slog.String(slog.LevelKey, levelName(l))
	}
	return a
}

// lines makes each line one write.
type lines struct {
	mu sync.Mutex
	w  io.Writer
}

func (l *lines) write(b []byte) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	_, err := l.w.Write(b)
	return err
}

// handler writes text lines. Attributes follow the message as key=value.
type handler struct {
	level  *slog.LevelVar
	pieces []piece
	layout string
	out    *lines
	attrs  string // of the logger, ready to be appended
	group  string // prefix of keys, "a.b."
}

func (h *handler) Enabled(_ context.Context, l slog.Level) bool { return l >= h.level.Level() }

func (h *handler) Handle(_ context.Context, r slog.Record) error {
	var b strings.Builder
	b.Grow(200)
	message := oneLine(r.Message) + h.attrs + h.recordAttrs(r)
	for _, p := range h.pieces {
		switch p.field {
		case "":
			b.WriteString(p.text)
		case "message":
			b.WriteString(message)
		default:
			b.WriteString(fill(p.field, r, h.layout))
		}
	}
	b.WriteByte('\n')
	return h.out.write([]byte(b.String()))
}

func (h *handler) recordAttrs(r slog.Record) string {
	var b strings.Builder
	r.Attrs(func(a slog.Attr) bool {
		writeAttr(&b, h.group, a)
		return true
	})
	return b.String()
}

func (h *handler) WithAttrs(attrs []slog.Attr) slog.Handler {
	var b strings.Builder
	for _, a := range attrs {
		writeAttr(&b, h.group, a)
	}
	c := *h
	c.attrs += b.String()
	return &c
}

func (h *handler) WithGroup(name string) slog.Handler {
	c := *h
	if name != "" {
		c.group += name + "."
	}
	return &c
}

func writeAttr(b *strings.Builder, prefix string, a slog.Attr) {
	v := a.Value.Resolve()
	if a.Equal(slog.Attr{}) {
		return
	}
	if v.Kind() == slog.KindGroup {
		if a.Key != "" {
			prefix += a.Key + "."
		}
		for _, sub := range v.Group() {
			writeAttr(b, prefix, sub)
		}
		return
	}
	text := v.String()
	if v.Kind() == slog.KindAny {
		text = fmt.Sprint(v.Any())
	}
	if text == "" || strings.ContainsAny(text, " \t\n\r\"=") {
		text = strconv.Quote(text)
	}
	b.WriteString(" " + prefix + a.Key + "=" + text)
}

// oneLine keeps a message on its line, so that no value can forge another entry.
func oneLine(s string) string {
	if !slices.ContainsFunc([]byte(s), func(c byte) bool { return c < ' ' && c != '\t' }) {
		return s
	}
	return strings.Map(func(r rune) rune {
		if r < ' ' && r != '\t' {
			return ' '
		}
		return r
	}, s)
}
