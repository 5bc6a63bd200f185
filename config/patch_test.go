package config

import (
	"encoding/json"
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestPatch(t *testing.T) {
	for _, c := range []struct {
		name, old, patch, want string
		changed                bool
	}{
		{"replace keeps the place", `{"b":1,"a":2}`, `{"b":3}`, `{"b":3,"a":2}`, true},
		{"new keys come last", `{"b":1}`, `{"z":1,"a":{"y":1,"x":null}}`, `{"b":1,"z":1,"a":{"y":1,"x":null}}`, true},
		{"null removes", `{"a":1,"b":{"c":1,"d":2}}`, `{"a":null,"b":{"d":null}}`, `{"b":{"c":1}}`, true},
		{"null of what is not there", `{"a":1}`, `{"b":null}`, `{"a":1}`, false},
		{"null of null", `{"a":null,"b":1}`, `{"a":null}`, `{"a":null,"b":1}`, false},
		{"mapping over scalar", `{"a":1}`, `{"a":{"b":1}}`, `{"a":{"b":1}}`, true},
		{"scalar over mapping", `{"a":{"b":1}}`, `{"a":1}`, `{"a":1}`, true},
		{"same text", `{"a":"1","b":true,"c":[1, 2]}`, `{"a":1,"b":"True","c":[1,2]}`, `{"a":"1","b":true,"c":[1, 2]}`, false},
		{"other text", `{"a":1}`, `{"a":1.0}`, `{"a":1.0}`, true},
		{"lists are replaced", `{"a":["x"]}`, `{"a":["y","z"]}`, `{"a":["y","z"]}`, true},
		{"what is untouched stays as it was written", `{"n":1e2,"s":"\u00e4<&>","a":1}`, `{"a":2}`, `{"n":1e2,"s":"\u00e4<&>","a":2}`, true},
		{"a key given twice", `{"a":1,"b":2,"a":3}`, `{"b":4}`, `{"a":3,"b":4}`, true},
		{"no document yet", ``, `{"ttl":20}`, `{"ttl":20}`, true},
		{"of a REST client", `{"ttl":30,"postgresql":{"parameters":{"work_mem":"4MB","max_connections":100}}}`,
			`{"synchronous_mode":"quorum","postgresql":{"parameters":{"work_mem":null}}}`,
			`{"ttl":30,"postgresql":{"parameters":{"max_connections":100}},"synchronous_mode":"quorum"}`, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, changed, err := Patch([]byte(c.old), []byte(c.patch))
			if err != nil || string(got) != c.want || changed != c.changed {
				t.Errorf("got  %s %v %v\nwant %s %v", got, changed, err, c.want, c.changed)
			}
		})
	}
}

func TestPatchRefusesWhatIsNoObject(t *testing.T) {
	for _, c := range [][2]string{{`{}`, `[]`}, {`{}`, `{`}, {`1`, `{}`}, {`{}`, ``}, {`{}`, `{} {}`}, {`{}`, `null`}} {
		if _, _, err := Patch([]byte(c[0]), []byte(c[1])); !errors.Is(err, errNotObject) {
			t.Errorf("%s + %s: %v", c[0], c[1], err)
		}
	}
}

// Both forms of the merge, on documents and on Go values, must agree.
func FuzzPatch(f *testing.F) {
	f.Add(`{"a":1,"b":{"c":[1]}}`, `{"a":null,"b":{"c":2,"d":{}}}`)
	f.Add(`{"a":"1"}`, `{"a":1}`)
	f.Fuzz(func(t *testing.T, old, patch string) {
		values, err1 := decodeObject([]byte(old))
		with, err2 := decodeObject([]byte(patch))
		got, changed, err := Patch([]byte(old), []byte(patch))
		if err1 != nil || err2 != nil {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		if want := patchMap(with, values); want != changed {
			t.Errorf("changed is %v, and %v for Go values", changed, want)
		}
		after, err := decodeObject(got)
		if err != nil {
			t.Fatalf("%s: %v", got, err)
		}
		if !sameValue(after, values) {
			t.Errorf("got %s, want %v", got, values)
		}
	})
}

func TestSame(t *testing.T) {
	for _, c := range []struct {
		a, b string
		want bool
	}{
		{`{"a":1,"b":{"c":true}}`, `{"b":{"c":"True"},"a":"1"}`, true},
		{`{"a":1}`, `{"a":1,"b":null}`, false},
		{`{"a":[1,2]}`, `{"a":[2,1]}`, false},
		{`{}`, `[]`, false},
	} {
		if got := Same([]byte(c.a), []byte(c.b)); got != c.want {
			t.Errorf("%s and %s: %v", c.a, c.b, got)
		}
	}
}

func TestSecretsDoNotPrint(t *testing.T) {
	raw, err := json.Marshal(map[string]any{"p": Secret("hunter2")})
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(`{"p":"***"}`, string(raw)); d != "" {
		t.Error(d)
	}
}
