package ha

// RuleName is one row of the list of rules.
type RuleName struct {
	Section string
	ID      RuleID
}

// Rules lists the standard rules in the order in which they are asked. Ids are stable: they stand in logs, metrics, answers of REST and
// bug reports. docs/rules.md says what each does.
func Rules() []RuleName {
	var list []RuleName
	for _, s := range StandardRules().Sections {
		for _, r := range s.Rules {
			list = append(list, RuleName{Section: s.Name, ID: r.ID})
		}
	}
	return list
}
