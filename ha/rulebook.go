package ha

import (
	"fmt"
	"time"
)

// Rule is one row of the rulebook. Its comment in the source is its documentation for operators.
type Rule struct {
	ID    RuleID
	Check func(now time.Time, v *View) Verdict
}

// Section is a run of rules for one situation. Applies says whether the section is looked at; its answer is the reason why not.
type Section struct {
	Name    string
	Applies func(now time.Time, v *View) (bool, string)
	Rules   []Rule
}

// Rulebook is the ordered list of rules: sections in order, rules in order, first match wins. It is a value, so that a test can
// replace a rule by a broken one.
type Rulebook struct{ Sections []Section }

// Verdict is what one rule says.
type Verdict struct {
	matched bool
	Text    string    // why it matched, or why it passed
	Do      []Action  // what to begin; empty: wait
	Next    time.Time // when to look again at the latest, if nothing happens; zero: the next heartbeat
	Until   time.Time // when this wait ends at the latest (safety section 15); zero: it is not a wait, or ends by the act of another
}

// Decision is the next step, and why.
type Decision struct {
	Reason Reason
	Do     []Action
	Next   time.Time
	Until  time.Time
	Trace  []Skipped
}

// pass says that the rule does not apply, and why.
func pass(why string) Verdict { return Verdict{Text: why} }

// act begins actions.
func act(text string, do ...Action) Verdict { return Verdict{matched: true, Text: text, Do: do} }

// rest ends the chain: there is nothing to do until something happens.
func rest(format string, args ...any) Verdict {
	return Verdict{matched: true, Text: sentence(format, args)}
}

// wait ends the chain until next at the latest.
func wait(next time.Time, format string, args ...any) Verdict {
	return Verdict{matched: true, Text: sentence(format, args), Next: next}
}

// until marks the wait as ending at t at the latest.
func (d Verdict) until(t time.Time) Verdict { d.Until = t; return d }

func sentence(format string, args []any) string {
	if len(args) == 0 {
		return format
	}
	return fmt.Sprintf(format, args...)
}

// Decide names the next step by the standard rules. It changes nothing.
func Decide(now time.Time, v *View) Decision { return StandardRules().Decide(now, v) }

// Decide names the next step.
func (b *Rulebook) Decide(now time.Time, v *View) Decision {
	trace := make([]Skipped, 0, 64)
	for i := range b.Sections {
		s := &b.Sections[i]
		if ok, why := s.Applies(now, v); !ok {
			trace = append(trace, Skipped{RuleID(s.Name + ".*"), why})
			continue
		}
		for j := range s.Rules {
			r := &s.Rules[j]
			d := r.Check(now, v)
			if !d.matched {
				trace = append(trace, Skipped{r.ID, d.Text})
				continue
			}
			next := nextPulse(now, v)
			if d.Next.After(now) {
				next = earliest(d.Next, next) // a time that has passed means: what is waited for comes as an event
			}
			return Decision{Reason: Reason{Rule: r.ID, Text: d.Text}, Do: d.Do, Next: next, Until: d.Until, Trace: trace}
		}
	}
	return Decision{Reason: Reason{Rule: "none", Text: "no rule applies"}, Next: nextPulse(now, v), Trace: trace}
}

// IDs lists the rules in order.
func (b *Rulebook) IDs() []RuleID {
	var ids []RuleID
	for _, s := range b.Sections {
		for _, r := range s.Rules {
			ids = append(ids, r.ID)
		}
	}
	return ids
}

// Replace returns a copy of the book in which rule id has another check. It is how tests break a rule on purpose.
func (b *Rulebook) Replace(id RuleID, check func(now time.Time, v *View) Verdict) (*Rulebook, error) {
	n := &Rulebook{Sections: make([]Section, len(b.Sections))}
	found := false
	for i, s := range b.Sections {
		s.Rules = append([]Rule(nil), s.Rules...)
		for j := range s.Rules {
			if s.Rules[j].ID == id {
				s.Rules[j].Check, found = check, true
			}
		}
		n.Sections[i] = s
	}
	if !found {
		return nil, fmt.Errorf("replace rule: there is none called %q", id)
	}
	return n, nil
}

// Pass and Wait let a replaced rule answer.
func Pass(why string) Verdict { return pass(why) }

// Act begins actions from a replaced rule.
func Act(text string, do ...Action) Verdict { return act(text, do...) }

// earliest returns the earlier of two times, where zero means never.
func earliest(a, b time.Time) time.Time {
	if a.IsZero() || (!b.IsZero() && b.Before(a)) {
		return b
	}
	return a
}
