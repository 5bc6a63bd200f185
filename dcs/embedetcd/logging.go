package embedetcd

import (
	"context"
	"log/slog"
	"maps"
	"runtime"
	"slices"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// newLogger makes the logger that etcd writes to. What etcd calls fatal, and its panics, call died and end the goroutine
// instead of the process. So does the one end of a member that etcd only logs: it was removed from its cluster.
func newLogger(to *slog.Logger, died func(string)) *zap.Logger {
	if to == nil {
		to = slog.New(slog.DiscardHandler)
	}
	hook := dieHook(died)
	return zap.New(&bridge{to: to, died: died}, zap.WithFatalHook(hook), zap.WithPanicHook(hook))
}

// serverError is what etcd logs when the other members have told it that it is one of them no longer.
const serverError = "server error"

// dieHook runs after an entry of level panic or fatal was written, on the goroutine that wrote it.
type dieHook func(string)

func (d dieHook) OnWrite(e *zapcore.CheckedEntry, fields []zapcore.Field) {
	d(described(e.Message, fields))
	runtime.Goexit()
}

func described(text string, fields []zapcore.Field) string {
	for _, f := range fields {
		if err, ok := f.Interface.(error); ok && f.Type == zapcore.ErrorType {
			text += ": " + err.Error()
		}
	}
	return text
}

// bridge is a zap core that writes to slog.
type bridge struct {
	to     *slog.Logger
	died   func(string)
	fields []zapcore.Field
}

// Enabled lets warnings through in any case: one of them is looked at.
func (b *bridge) Enabled(l zapcore.Level) bool {
	return l >= zapcore.WarnLevel || b.to.Enabled(context.Background(), level(l))
}

// level maps etcd's levels: what it tells in passing is detail to whoever embeds it.
func level(l zapcore.Level) slog.Level {
	switch {
	case l < zapcore.InfoLevel:
		return slog.LevelDebug - 4
	case l == zapcore.InfoLevel:
		return slog.LevelDebug
	case l == zapcore.WarnLevel:
		return slog.LevelWarn
	}
	return slog.LevelError
}

func (b *bridge) With(fields []zapcore.Field) zapcore.Core {
	return &bridge{to: b.to, died: b.died, fields: append(slices.Clone(b.fields), fields...)}
}

func (b *bridge) Check(e zapcore.Entry, to *zapcore.CheckedEntry) *zapcore.CheckedEntry {
	if b.Enabled(e.Level) {
		return to.AddCore(e, b)
	}
	return to
}

func (b *bridge) Write(e zapcore.Entry, fields []zapcore.Field) error {
	if e.Message == serverError {
		b.died(described("it is no member of its cluster any more", fields) + "; to let it join again, under a new identity, stop it and empty its data directory")
	}
	if !b.to.Enabled(context.Background(), level(e.Level)) {
		return nil
	}
	enc := zapcore.NewMapObjectEncoder()
	for _, f := range slices.Concat(b.fields, fields) {
		f.AddTo(enc)
	}
	attrs := make([]slog.Attr, 0, len(enc.Fields)+1)
	attrs = append(attrs, slog.String("component", "etcd"))
	for _, k := range slices.Sorted(maps.Keys(enc.Fields)) {
		attrs = append(attrs, slog.Any(k, enc.Fields[k]))
	}
	b.to.LogAttrs(context.Background(), level(e.Level), e.Message, attrs...)
	return nil
}

func (b *bridge) Sync() error { return nil }
