package flight

import (
	"bytes"
	"encoding/json"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/tanist-ha/tanist/ha"
	"github.com/tanist-ha/tanist/ha/hatest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// receivers lists the types in the source of package ha that have a method of that name.
func receivers(t *testing.T, method string) []string {
	t.Helper()
	files, err := filepath.Glob("../*.go")
	if err != nil || len(files) == 0 {
		t.Fatal("the source of package ha is not where it was", err)
	}
	var names []string
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range file.Decls {
			if f, ok := d.(*ast.FuncDecl); ok && f.Name.Name == method && f.Recv != nil {
				names = append(names, f.Recv.List[0].Type.(*ast.Ident).Name)
			}
		}
	}
	slices.Sort(names)
	return names
}

func TestEveryTypeIsKnown(t *testing.T) {
	for method, known := range map[string]map[string]reflect.Type{"event": events, "lane": actions, "command": commands} {
		if diff := cmp.Diff(receivers(t, method), slices.Sorted(maps.Keys(known))); diff != "" {
			t.Errorf("types of package ha with the method %s (-), and those that can be recorded (+):\n%s", method, diff)
		}
	}
}

// fill sets everything in v to something that is not zero.
func fill(rng *rand.Rand, v reflect.Value, depth int) {
	switch v.Type() {
	case timeType:
		v.Set(reflect.ValueOf(time.Unix(rng.Int64N(1<<32), rng.Int64N(1e9)).UTC()))
		return
	case anyType:
		v.Set(reflect.ValueOf([]any{"text", int64(7), 0.5, true, []any{int64(1)}, map[string]any{"a<b": int64(2)}}[rng.IntN(6)]))
		return
	}
	switch v.Kind() {
	case reflect.String:
		v.SetString(fmt.Sprintf("<text> %d\n", rng.Int()))
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		v.SetInt(rng.Int64()>>(64-v.Type().Bits()) | 1)
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		v.SetUint(rng.Uint64()>>(64-v.Type().Bits()) | 1)
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(rng, v.Elem(), depth)
	case reflect.Struct:
		for i := range v.NumField() {
			fill(rng, v.Field(i), depth)
		}
	case reflect.Array:
		for i := range v.Len() {
			fill(rng, v.Index(i), depth)
		}
	default:
		fillMany(rng, v, depth)
	}
}

func fillMany(rng *rand.Rand, v reflect.Value, depth int) {
	switch v.Kind() {
	case reflect.Slice:
		if depth > 3 {
			return
		}
		v.Set(reflect.MakeSlice(v.Type(), 2, 2))
		for i := range v.Len() {
			fill(rng, v.Index(i), depth+1)
		}
	case reflect.Map:
		v.Set(reflect.MakeMap(v.Type()))
		for range 2 {
			key, value := reflect.New(v.Type().Key()).Elem(), reflect.New(v.Type().Elem()).Elem()
			fill(rng, key, depth+1)
			fill(rng, value, depth+1)
			v.SetMapIndex(key, value)
		}
	case reflect.Interface:
		types := unions[v.Type()]
		names := slices.Sorted(maps.Keys(types))
		p := reflect.New(types[names[rng.IntN(len(names))]]).Elem()
		fill(rng, p, depth+1)
		v.Set(p)
	default:
		panic("fill: " + v.Type().String())
	}
}

func roundTrip(t *testing.T, e ha.RecordEntry) {
	t.Helper()
	line, err := Encode(e)
	if err != nil {
		t.Fatalf("%+v: %v", e, err)
	}
	if n := bytes.Count(line, []byte("\n")); n != 1 || !json.Valid(line) {
		t.Fatalf("not one line of JSON: %s", line)
	}
	back, err := Decode(line)
	if err != nil {
		t.Fatalf("%s: %v", line, err)
	}
	if diff := cmp.Diff(e, back); diff != "" {
		t.Fatalf("%s\nwritten -, read +:\n%s", line, diff)
	}
}

func TestRoundTrip(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for _, union := range []reflect.Type{reflect.TypeFor[ha.Event](), reflect.TypeFor[ha.Action](), reflect.TypeFor[ha.Command]()} {
		for name, typ := range unions[union] {
			t.Run(union.Name()+"/"+name, func(t *testing.T) {
				empty, full := reflect.New(typ).Elem(), reflect.New(typ).Elem()
				fill(rng, full, 0)
				for _, v := range []reflect.Value{empty, full} {
					e := ha.RecordEntry{At: time.Unix(1, 2).UTC(), Event: ha.Tick{}, Rule: "a.b", Text: "why"}
					switch x := v.Interface().(type) {
					case ha.Event:
						e.Event = x
					case ha.Action:
						e.Began = []ha.Request{{ID: 3, Action: x, Sent: time.Unix(4, 5).UTC()}}
					case ha.Command:
						e.Event = ha.Commanded{ID: 6, Command: x}
					}
					if typ == reflect.TypeFor[ha.Begun]() || typ == reflect.TypeFor[ha.Commanded]() {
						if v == empty {
							continue // never without what it wraps
						}
					}
					roundTrip(t, e)
				}
			})
		}
	}
	e := ha.RecordEntry{Event: ha.Tick{}, Start: &ha.Checkpoint{}}
	fill(rng, reflect.ValueOf(e.Start).Elem(), 0)
	roundTrip(t, e)
}

func TestBytesThatAreNoText(t *testing.T) {
	roundTrip(t, ha.RecordEntry{Event: ha.Tick{}, Began: []ha.Request{{Action: ha.WriteConfig{Raw: []byte{0xff, 0}}}, {Action: ha.WriteConfig{Raw: []byte{}}}}})
}

func TestDecodeSaysWhatIsWrong(t *testing.T) {
	for line, want := range map[string]string{
		`{`:                                      "unexpected EOF",
		`{}`:                                     "it has no event",
		`{"Event":{"Tock":{}}}`:                  `"Tock" is not a known Event: was the record made by a later release?`,
		`{"Event":{"Released":{"ID":"x"}}}`:      "Event: Released: ID: a string is no uint64",
		`{"Event":{"Released":{"ID":-1}}}`:       "invalid syntax",
		`{"Event":{"Tick":{}},"At":"yesterday"}`: "cannot parse",
		`{"Event":{"Tick":{}},"Began":7}`:        "Began: a json.Number is no []ha.Request",
		`{"Event":{"Tick":[]}}`:                  "Tick: a []interface {} is no ha.Tick",
		`{"Event":7}`:                            "Event: a json.Number is no ha.Event",
	} {
		if _, err := Decode([]byte(line)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", line, err, want)
		}
	}
	if _, err := Decode([]byte(`{"Event":{"Tick":{"Later":1}},"Later":{"a":1}}`)); err != nil {
		t.Errorf("unknown fields: %v", err)
	}
}

// simulate records the runs of the agents of a simulated cluster with faults.
func simulate(t *testing.T, o hatest.Options) map[string][]ha.RecordEntry {
	t.Helper()
	runs := map[string][]ha.RecordEntry{}
	o.Record = func(run string, e ha.RecordEntry) { runs[run] = append(runs[run], e) }
	hatest.Run(o)
	if len(runs) < 3 {
		t.Fatalf("%d runs of agents recorded", len(runs))
	}
	return runs
}

func TestReplayOfASimulatedRun(t *testing.T) {
	total := 0
	for seed := uint64(1); seed <= 3; seed++ {
		for run, entries := range simulate(t, hatest.Options{Seed: seed, Faults: 2 * time.Minute, Calm: 30 * time.Second}) {
			var file bytes.Buffer
			for _, e := range entries {
				line, err := Encode(e)
				if err != nil {
					t.Fatal(err)
				}
				file.Write(line)
			}
			read, broken, err := Read(&file)
			if err != nil || broken != 0 || len(read) != len(entries) {
				t.Fatalf("seed %d, run %s: %d entries read of %d, %d broken, %v", seed, run, len(read), len(entries), broken, err)
			}
			total += len(read)
			for _, d := range ha.Replay(read) {
				t.Errorf("seed %d, run %s: %s", seed, run, d)
			}
		}
	}
	if total < 1000 {
		t.Errorf("only %d entries were replayed", total)
	}
}

// A release that decides otherwise shows at the first such decision.
func TestReplayShowsAnotherDecision(t *testing.T) {
	other, err := ha.StandardRules().Replace("vacant.poll", func(time.Time, *ha.View) ha.Verdict { return ha.Pass("nobody is asked") })
	if err != nil {
		t.Fatal(err)
	}
	different := 0
	for _, entries := range simulate(t, hatest.Options{Seed: 3, Faults: 2 * time.Minute, Calm: 30 * time.Second}) {
		found := ha.ReplayWith(other, entries)
		different += len(found)
		if len(found) > 1 {
			t.Errorf("one beginning, and %d differences: %v", len(found), found)
		}
	}
	if different == 0 {
		t.Error("a rulebook that never polls decides the same")
	}
}

// beginnings makes entries of which every tenth is a checkpoint.
func beginnings(n int) []ha.RecordEntry {
	m := ha.NewMachine(ha.Self{Name: "a"}, ha.Settings{LoopWait: time.Second, TTL: 20 * time.Second}, nil, nil)
	var entries []ha.RecordEntry
	for i := range n {
		var start *ha.Checkpoint
		if i%10 == 0 {
			start = m.Checkpoint()
		}
		at := time.Unix(int64(i), 0).UTC()
		began, _ := m.Step(at, ha.Tick{})
		entries = append(entries, m.Entry(at, ha.Tick{}, began, start))
	}
	return entries
}

func TestRecorderKeepsWholeStretches(t *testing.T) {
	r, err := Open(Options{Keep: 25})
	if err != nil {
		t.Fatal(err)
	}
	for i, e := range beginnings(300) {
		r.Record(e)
		got := r.Entries()
		if len(got) < min(i+1, 25) || len(got) > 35 || got[0].Start == nil {
			t.Fatalf("after %d entries: %d kept, the first a checkpoint: %v", i+1, len(got), got[0].Start != nil)
		}
		if d := ha.Replay(got); len(d) > 0 {
			t.Fatalf("after %d entries: %v", i+1, d)
		}
	}
	if err := r.Close(); err != nil {
		t.Error(err)
	}
	r.Record(ha.RecordEntry{Event: ha.Tick{}})
	if n := len(r.Entries()); n > 35 {
		t.Errorf("%d entries kept: one came after Close", n)
	}
}

func readFile(t *testing.T, name string) (entries []ha.RecordEntry, broken int) {
	t.Helper()
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	entries, broken, err = Read(f)
	if err != nil {
		t.Fatal(err)
	}
	return entries, broken
}

func TestFile(t *testing.T) {
	name := filepath.Join(t.TempDir(), "record")
	all := beginnings(40)
	write := func(entries []ha.RecordEntry) {
		t.Helper()
		r, err := Open(Options{File: name})
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			r.Record(e)
		}
		if err := r.Close(); err != nil {
			t.Fatal(err)
		}
	}
	write(all[:20])
	got, broken := readFile(t, name)
	if diff := cmp.Diff(all[:20], got); diff != "" || broken != 0 {
		t.Fatalf("%d broken; recorded -, read +:\n%s", broken, diff)
	}
	// A crash in the middle of a line; the next run begins a line of its own.
	raw, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, raw[:len(raw)-7], 0o600); err != nil {
		t.Fatal(err)
	}
	write(all[20:])
	got, broken = readFile(t, name)
	if broken != 1 || len(got) != 39 || len(ha.Replay(got)) > 0 {
		t.Errorf("after a crash: %d entries, %d broken", len(got), broken)
	}
	info, err := os.Stat(name)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
}

func TestReadLeavesOutWhatCannotBeReplayed(t *testing.T) {
	var file bytes.Buffer
	for i, e := range beginnings(30) {
		line, err := Encode(e)
		if err != nil {
			t.Fatal(err)
		}
		if i == 13 {
			line = []byte("{\"garbage\n")
		}
		file.Write(line)
	}
	got, broken, err := Read(&file)
	if err != nil || broken != 1 || len(got) != 23 {
		t.Errorf("%d entries, %d broken, %v", len(got), broken, err)
	}
}

func TestFileIsTurnedOver(t *testing.T) {
	name := filepath.Join(t.TempDir(), "record")
	r, err := Open(Options{File: name, MaxBytes: 4 << 10})
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range beginnings(200) {
		r.Record(e)
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	for _, n := range []string{name, name + ".1"} {
		got, broken := readFile(t, n)
		if len(got) == 0 || broken != 0 || got[0].Start == nil || len(ha.Replay(got)) > 0 {
			t.Errorf("%s: %d entries, %d broken", n, len(got), broken)
		}
	}
}

func TestFileThatCannotBeWritten(t *testing.T) {
	if _, err := Open(Options{File: filepath.Join(t.TempDir(), "missing", "record")}); err == nil {
		t.Error("a folder that is missing was not noticed")
	}
	if _, err := os.Stat("/dev/full"); err != nil {
		t.Skip("no /dev/full here")
	}
	r, err := Open(Options{File: "/dev/full"})
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range beginnings(50) {
		r.Record(e)
	}
	if err := r.Close(); err == nil || !strings.Contains(err.Error(), "incomplete") {
		t.Errorf("a full disk: %v", err)
	}
	if n := len(r.Entries()); n != 50 {
		t.Errorf("%d entries in memory", n)
	}
}
