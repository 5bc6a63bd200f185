package warden

import (
	"encoding/hex"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var (
	someRequest = Request{
		Kind: KindArm, Seq: 0x0102030405060708, PID: 4711, Start: 88123, Fast: 1e9, Quit: 2e9, Kill: 3e9,
		SharedMemory: SharedMemory{Known: true, Key: -5, ID: 32},
	}
	someReply = Reply{
		Version: Version, Kind: KindArm, Seq: 9, Result: ResultBusy, State: StateSweeping, Locked: true, NoPidfd: true, Guard: 12,
		PID: 4711, Start: 88123, Fast: 1e9, Quit: 2e9, Kill: 3e9, Signalled: StepQuit, Left: 3, Attached: 4, Stuck: [8]int32{7, 8},
	}
)

func TestMessagesSurvive(t *testing.T) {
	var b [RequestBytes]byte
	someRequest.Encode(&b)
	var r Request
	if err := r.Decode(b[:]); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(someRequest, r); diff != "" {
		t.Errorf("request (-want +got):\n%s", diff)
	}
	var c [ReplyBytes]byte
	someReply.Encode(&c)
	var p Reply
	if err := p.Decode(c[:]); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(someReply, p); diff != "" {
		t.Errorf("reply (-want +got):\n%s", diff)
	}
}

// The first version answers for ever: these bytes must never change.
func TestFirstVersionIsFixed(t *testing.T) {
	var b [RequestBytes]byte
	someRequest.Encode(&b)
	const request = "544e473f010002000807060504030201" + "67120000000000003b58010000000000" +
		"00ca9a3b000000000094357700000000" + "005ed0b20000000001000000fbffffff" + "2000000000000000"
	if got := hex.EncodeToString(b[:72]); got != request {
		t.Errorf("request:\n got %s\nwant %s", got, request)
	}
	var c [ReplyBytes]byte
	someReply.Encode(&c)
	const reply = "544e4721010002000900000000000000" + "02000300030000000c00000000000000" +
		"67120000000000003b58010000000000" + "00ca9a3b000000000094357700000000" + "005ed0b2000000000200000003000000" +
		"040000000700000008000000"
	if got := hex.EncodeToString(c[:92]); got != reply {
		t.Errorf("reply:\n got %s\nwant %s", got, reply)
	}
}

func TestStrangersAreNotUnderstood(t *testing.T) {
	var r Request
	var p Reply
	for _, b := range [][]byte{nil, make([]byte, 10), make([]byte, RequestBytes), make([]byte, ReplyBytes)} {
		if r.Decode(b) == nil || p.Decode(b) == nil {
			t.Errorf("%d bytes were understood", len(b))
		}
	}
}
