package postgres_test

import (
	"encoding/binary"
	"errors"
	"strings"
	"testing"

	"github.com/tanist-ha/tanist/postgres"
)

func TestWALFileName(t *testing.T) {
	tests := []struct {
		timeline postgres.Timeline
		lsn      postgres.LSN
		size     int
		want     string
		start    postgres.LSN
	}{
		{1, 0x1500718, 16 << 20, "000000010000000000000001", 0x1000000},
		{0x1B, 0x12_FF000000, 16 << 20, "0000001B00000012000000FF", 0x12_FF000000},
		{2, 0x3_00100000, 1 << 20, "000000020000000300000001", 0x3_00100000},
		{2, 0x3_FFFFFFFF, 1 << 20, "000000020000000300000FFF", 0x3_FFF00000},
		{2, 0x3_FFFFFFFF, 1 << 30, "000000020000000300000003", 0x3_C0000000},
	}
	for _, tt := range tests {
		got, err := postgres.WALFileName(tt.timeline, tt.lsn, tt.size)
		if err != nil || got != tt.want {
			t.Errorf("WALFileName(%d, %s, %d) = %q, %v, want %q", tt.timeline, tt.lsn, tt.size, got, err, tt.want)
		}
		tl, start, err := postgres.ParseWALFileName(tt.want, tt.size)
		if err != nil || tl != tt.timeline || start != tt.start {
			t.Errorf("ParseWALFileName(%q) = %d, %s, %v, want %d, %s", tt.want, tl, start, err, tt.timeline, tt.start)
		}
	}
	for _, name := range []string{"", "00000001.history", "000000010000000000000001.partial", "00000001000000000000000G", "000000010000000000000100"} {
		if _, _, err := postgres.ParseWALFileName(name, 16<<20); err == nil {
			t.Errorf("ParseWALFileName(%q) took it", name)
		}
	}
	if _, err := postgres.WALFileName(1, 1, 3<<20); err == nil {
		t.Error("WALFileName took segments of 3 MB")
	}
}

func TestCheckpointEndArithmetic(t *testing.T) {
	const seg = 1 << 20
	tests := []struct {
		name   string
		start  postgres.LSN
		length uint32
		want   postgres.LSN
	}{
		{"aligned", 0x2000 + 24, 120, 0x2000 + 144},
		{"rounded up", 0x2000 + 24, 114, 0x2000 + 144},
		{"up to the end of a page", 0x4000 - 120, 114, 0x4000},
		{"over the end of a page", 0x4000 - 112, 114, 0x4000 + 24 + 8},
		{"last place on a page", 0x4000 - 8, 114, 0x4000 + 24 + 112},
		{"over the end of a segment", seg - 112, 114, seg + 40 + 8},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			end, err := postgres.CheckpointEnd(tt.start, seg, func(l postgres.LSN, n int) ([]byte, error) {
				if l != tt.start || n != 4 {
					t.Errorf("read %d bytes at %s", n, l)
				}
				return binary.NativeEndian.AppendUint32(nil, tt.length), nil
			})
			if err != nil || end != tt.want {
				t.Errorf("end = %s, %v, want %s", end, err, tt.want)
			}
		})
	}
}

func TestCheckpointEndRefuses(t *testing.T) {
	gone := errors.New("file gone")
	record := func(n uint32) []byte { return binary.NativeEndian.AppendUint32(nil, n) }
	tests := []struct {
		name    string
		start   postgres.LSN
		size    int
		answer  []byte
		failure error
		want    string
	}{
		{"none", 0, 1 << 20, record(114), nil, "no record can begin there"},
		{"odd", 0x2001, 1 << 20, record(114), nil, "no record can begin there"},
		{"in a page header", 0x2008, 1 << 20, record(114), nil, "no record can begin there"},
		{"segment size", 0x2020, 12, record(114), nil, "power of two"},
		{"empty page", 0x2020, 1 << 20, record(0), nil, "a record of 0 bytes"},
		{"garbage", 0x2020, 1 << 20, record(1 << 30), nil, "cannot be a checkpoint"},
		{"short", 0x2020, 1 << 20, []byte{1}, nil, "short read"},
		{"read error", 0x2020, 1 << 20, nil, gone, "file gone"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := postgres.CheckpointEnd(tt.start, tt.size, func(postgres.LSN, int) ([]byte, error) { return tt.answer, tt.failure })
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want %q", err, tt.want)
			}
		})
	}
}
