package dcs

import (
	"bytes"
	"encoding/json"
	"fmt"
)

// DecodeStatus reads the value of /status, as a hint brings it. What cannot be understood is absent; ok is false if that is all of it.
func DecodeStatus(value []byte) (s Status, ok bool) {
	if len(value) > maxValue {
		return Status{}, false
	}
	s, problems := decodeStatus(value)
	return s, len(problems) == 0
}

// decodeStatus reads /status: an object, or the bare position that Patroni wrote at first (also as /optime/leader).
func decodeStatus(value []byte) (Status, []string) {
	value = bytes.TrimSpace(value)
	if len(value) == 0 {
		return Status{}, nil
	}
	if value[0] != '{' {
		n, err := natural(value)
		if err != nil {
			return Status{}, []string{"its value is neither a JSON object nor a position; it is ignored"}
		}
		return Status{Optime: n}, nil
	}
	f, err := parseFields(value)
	if err != nil {
		return Status{}, []string{"its value " + err.Error() + "; it is ignored"}
	}
	s := Status{Optime: f.number("optime"), Slots: f.slots("slots")}
	f.read("retain_slots", &s.RetainSlots)
	return s, f.problems()
}

// slots reads an object of positions and leaves out what is none.
func (f *fields) slots(name string) map[string]uint64 {
	var raw map[string]json.RawMessage
	if !f.read(name, &raw) || raw == nil {
		return nil
	}
	slots := make(map[string]uint64, len(raw))
	for k, r := range raw {
		n, err := natural(r)
		if err != nil {
			f.bad = append(f.bad, name+"."+k)
			continue
		}
		slots[k] = n
	}
	return slots
}

// decodeFailsafe reads name to api_url. One wrong value spoils the whole: with a member left out, a leader would keep on
// without having asked everybody.
func decodeFailsafe(value []byte) (map[string]string, []string) {
	var m map[string]*string
	if json.Unmarshal(value, &m) != nil || m == nil {
		return nil, []string{"its value is not a JSON object of names and URLs; failsafe mode cannot be used"}
	}
	urls := make(map[string]string, len(m))
	for name, u := range m {
		if u == nil {
			return nil, []string{fmt.Sprintf("it has no URL for %s; failsafe mode cannot be used", quote(name))}
		}
		urls[name] = *u
	}
	return urls, nil
}

// decodeConfig keeps a JSON object as it is.
func decodeConfig(value []byte) (json.RawMessage, []string) {
	t := bytes.TrimSpace(value)
	if len(t) == 0 || t[0] != '{' || !json.Valid(t) {
		return nil, []string{"its value is not a JSON object; the cluster runs as if there were no dynamic configuration"}
	}
	return json.RawMessage(value), nil
}

// decodeReserved reads tanist's own key. Garbage counts as nothing reserved; the next leader writes over it.
func decodeReserved(value []byte) (Reserved, []string) {
	var r Reserved
	if json.Unmarshal(value, &r) != nil {
		return Reserved{}, []string{"its value is not a JSON object with a timeline; it is ignored"}
	}
	return r, nil
}
