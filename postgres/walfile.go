package postgres

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"
)

// Sizes in the log, in bytes (PostgreSQL source, xlog_internal.h and xlogrecord.h: the same in majors 14 to 18).
const (
	shortPageHeader = 24 // at each page of the log
	longPageHeader  = 40 // at the first page of a segment, instead
	walAlignment    = 8  // records begin at multiples of it
	recordHeader    = 24
	// A checkpoint record is about 120 bytes long; a longer "length" is not a length.
	longestCheckpoint = 1024
)

// WALFileName is the name of the file in pg_wal that holds the byte at l on timeline t.
func WALFileName(t Timeline, l LSN, segmentSize int) (string, error) {
	if !validSegmentSize(segmentSize) {
		return "", errSegmentSize(segmentSize)
	}
	number := uint64(l) / uint64(segmentSize)
	perID := uint64(1<<32) / uint64(segmentSize)
	return fmt.Sprintf("%08X%08X%08X", uint32(t), uint32(number/perID), uint32(number%perID)), nil
}

// ParseWALFileName is the inverse of WALFileName: the timeline and the first position of a file of the log. Names of
// other files, with a suffix as in ".partial" too, are an error.
func ParseWALFileName(name string, segmentSize int) (Timeline, LSN, error) {
	if !validSegmentSize(segmentSize) {
		return 0, 0, errSegmentSize(segmentSize)
	}
	if len(name) != 24 {
		return 0, 0, fmt.Errorf("parse WAL file name %q: want 24 hexadecimal digits", name)
	}
	var part [3]uint64
	for i := range part {
		n, err := strconv.ParseUint(name[8*i:8*i+8], 16, 32)
		if err != nil {
			return 0, 0, fmt.Errorf("parse WAL file name %q: want 24 hexadecimal digits", name)
		}
		part[i] = n
	}
	perID := uint64(1<<32) / uint64(segmentSize)
	if part[2] >= perID {
		return 0, 0, fmt.Errorf("parse WAL file name %q: no such segment with segments of %d bytes", name, segmentSize)
	}
	return Timeline(part[0]), LSN(part[1]<<32 + part[2]*uint64(segmentSize)), nil
}

func validSegmentSize(n int) bool { return n >= 1<<20 && n <= 1<<30 && n&(n-1) == 0 }

func errSegmentSize(n int) error {
	return fmt.Errorf("WAL segment size %d is not a power of two from 1 MB to 1 GB", n)
}

// CheckpointEnd tells where the checkpoint record that begins at start ends. For the shutdown checkpoint of a primary
// that is the whole of its log: a standby that has reached it has everything. It is not where the next record would
// begin: at the end of a page that lies a page header further, where no standby gets to.
//
// read returns n bytes of the log from position l on; it is asked for the first four bytes of the record, which never
// cross a page. All majors begin a record with its length; page headers that the record crosses come on top.
func CheckpointEnd(start LSN, segmentSize int, read func(l LSN, n int) ([]byte, error)) (LSN, error) {
	if !validSegmentSize(segmentSize) {
		return 0, errSegmentSize(segmentSize)
	}
	if start == 0 || start%walAlignment != 0 || start%WALPageSize < shortPageHeader {
		return 0, fmt.Errorf("find end of checkpoint at %s: no record can begin there", start)
	}
	raw, err := read(start, 4)
	if err != nil {
		return 0, fmt.Errorf("read checkpoint record at %s: %w", start, err)
	}
	if len(raw) != 4 {
		return 0, fmt.Errorf("read checkpoint record at %s: %w", start, errors.New("short read"))
	}
	length := binary.NativeEndian.Uint32(raw)
	if length < recordHeader || length > longestCheckpoint {
		return 0, fmt.Errorf("find end of checkpoint at %s: a record of %d bytes cannot be a checkpoint", start, length)
	}
	return recordEnd(start, length, segmentSize), nil
}

// recordEnd adds length bytes of a record to start, and the page headers between.
func recordEnd(start LSN, length uint32, segmentSize int) LSN {
	pos, left := start, LSN(length)
	for {
		room := WALPageSize - pos%WALPageSize
		if left <= room {
			return (pos + left + walAlignment - 1) / walAlignment * walAlignment
		}
		pos, left = pos+room, left-room
		if pos%LSN(segmentSize) == 0 {
			pos += longPageHeader
		} else {
			pos += shortPageHeader
		}
	}
}
