package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/tanist-ha/tanist/dcs"
	"github.com/tanist-ha/tanist/ha"
	"github.com/tanist-ha/tanist/internal/overview"
	"github.com/tanist-ha/tanist/internal/table"
)

// answerTimeout bounds the wait for one member. They are asked all at once.
const answerTimeout = 3 * time.Second

// explained is what one member answered, or why it did not.
type explained struct {
	member  overview.Member
	answer  ha.Explanation
	problem string
}

func (a *app) explainCommand() *cobra.Command {
	format, show := table.Pretty, shown{}
	cmd := &cobra.Command{
		Use:   "explain [OPTIONS] [CLUSTER] [MEMBER]...",
		Short: "Say why each member does what it does",
		Long: "Asks the members, the leader first, for the rule that decided last, its reason, the rules that were passed over and\n" +
			"why, what is waited for and until when, and the last changes. It answers \"why is this member not the leader?\" and\n" +
			"\"why did it fail over?\".",
		RunE: func(cmd *cobra.Command, args []string) error {
			if format != table.Pretty && format != table.JSON {
				return &usageError{cmd, fmt.Errorf("invalid value for --format: %q is not one of pretty, json", format)}
			}
			return a.explain(cmd.Context(), args, format, show)
		},
	}
	cmd.Flags().StringVarP(&format, "format", "f", table.Pretty, "pretty or json")
	cmd.Flags().IntVarP(&show.events, "events", "n", 5, "how many of the last changes to show")
	cmd.Flags().BoolVarP(&show.all, "all", "a", false, "show every rule that was passed over, not only those of the situation")
	return cmd
}

// shown is how much of an explanation people want to see.
type shown struct {
	events int
	all    bool
}

func (a *app) explain(ctx context.Context, args []string, format string, show shown) error {
	scope, err := a.scope(args)
	if err != nil {
		return err
	}
	var names []string
	if len(args) > 1 {
		names = args[1:]
	}
	c, err := a.load(ctx, scope)
	if err != nil {
		return err
	}
	answers, err := a.askAll(ctx, scope, c, names)
	if err != nil {
		return err
	}
	if format == table.JSON {
		return printExplanationsJSON(a.out, answers)
	}
	notices := a.notices(c)
	for i, e := range answers {
		if i > 0 {
			fmt.Fprintln(a.out)
		}
		// What concerns the cluster is said once, below.
		e.answer.Notices = slices.DeleteFunc(e.answer.Notices, func(n string) bool { return slices.Contains(notices, n) })
		e.print(a.out, show)
	}
	for _, n := range notices {
		fmt.Fprintln(a.out, "\nNotice: "+n)
	}
	if slices.ContainsFunc(answers, func(e explained) bool { return e.problem == "" }) {
		return nil
	}
	return &hinted{fmt.Errorf("no member of %s explains itself", scope), "list shows what the store knows; the agents' logs show their decisions"}
}

// askAll asks the named members, or all, at once. The answers are in order, the leader first.
func (a *app) askAll(ctx context.Context, scope string, c dcs.Cluster, names []string) ([]explained, error) {
	for _, n := range names {
		if !isMember(c, n) {
			return nil, fmt.Errorf("%s is not a member of cluster %s", n, scope)
		}
	}
	if len(c.Members) == 0 {
		return nil, &hinted{fmt.Errorf("cluster %s has no members", scope), "check the name of the cluster and the namespace"}
	}
	client, err := a.requester()
	if err != nil {
		return nil, err
	}
	var out []explained
	for _, m := range overview.Of(scope, c).Members {
		if len(names) == 0 || slices.Contains(names, m.Name) {
			out = append(out, explained{member: m})
		}
	}
	slices.SortStableFunc(out, func(x, y explained) int {
		switch {
		case x.member.Leads() == y.member.Leads():
			return 0
		case x.member.Leads():
			return -1
		}
		return 1
	})
	ctx, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	var asked sync.WaitGroup
	for i := range out {
		m := c.Members[slices.IndexFunc(c.Members, func(m dcs.Member) bool { return m.Name == out[i].member.Name })]
		asked.Go(func() { out[i].answer, out[i].problem = askOne(ctx, client, m) })
	}
	asked.Wait()
	return out, nil
}

func askOne(ctx context.Context, client requester, m dcs.Member) (e ha.Explanation, problem string) {
	status, body, err := client.Request(ctx, m, http.MethodGet, "explain", nil)
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return e, fmt.Sprintf("no answer within %v", answerTimeout)
	case err != nil:
		return e, err.Error()
	case m.Data.Tanist == "" && status != http.StatusOK:
		return e, "it is run by Patroni, which explains itself in its log only"
	case status != http.StatusOK:
		return e, fmt.Sprintf("it answers %d", status)
	}
	if err := json.Unmarshal(body, &e); err != nil {
		return e, "its answer is not understood: " + err.Error()
	}
	return e, ""
}

// print writes the answer as a short report.
func (e explained) print(w io.Writer, show shown) {
	name := fmt.Sprintf("%s (%s, %s)", e.member.Name, table.Title(e.member.Role), e.member.State)
	if e.problem != "" {
		fmt.Fprintf(w, "%s: %s\n", name, e.problem)
		return
	}
	x := e.answer
	fmt.Fprintf(w, "%s: %s\n  rule: %s\n", name, x.Sentence, x.Rule)
	if x.Until != nil {
		left := "is over"
		if d := x.Until.Sub(x.At); d > 0 {
			left = "at most " + d.Round(100*time.Millisecond).String() + " more"
		}
		fmt.Fprintf(w, "  waits until %s (%s)\n", x.Until.Format(time.RFC3339), left)
	}
	fmt.Fprintf(w, "  fence: %s\n", x.Fence)
	if x.Watchdog != "" {
		fmt.Fprintf(w, "  watchdog: %s\n", x.Watchdog)
	}
	printPassed(w, x, show.all)
	if n := min(show.events, len(x.Events)); n > 0 {
		fmt.Fprintln(w, "  last changes:")
		for _, ev := range x.Events[len(x.Events)-n:] {
			fmt.Fprintf(w, "    %s  %s: %s\n", ev.At.Format("2006-01-02 15:04:05.000Z07:00"), ev.Rule, ev.Sentence)
		}
	}
	for _, n := range x.Notices {
		fmt.Fprintf(w, "  notice: %s\n", strings.ReplaceAll(n, "\n", " "))
	}
}

// printPassed lists rules that were passed over. Unless all are asked for, these are the ones of the section that decided,
// and the situations that the member is not in.
func printPassed(w io.Writer, x ha.Explanation, all bool) {
	section, _, _ := strings.Cut(string(x.Rule), ".")
	var passed []ha.Skipped
	width := 0
	for _, p := range x.Passed {
		if all || strings.HasPrefix(string(p.Rule), section+".") || strings.HasSuffix(string(p.Rule), ".*") {
			passed = append(passed, p)
			width = max(width, len(p.Rule))
		}
	}
	if len(passed) > 0 {
		fmt.Fprintln(w, "  passed over:")
	}
	for _, p := range passed {
		fmt.Fprintf(w, "    %-*s  %s\n", width, p.Rule, p.Why)
	}
}

// printExplanationsJSON writes one line per member: its explanation, or its name and the problem.
func printExplanationsJSON(w io.Writer, answers []explained) error {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	for _, e := range answers {
		var err error
		if e.problem != "" {
			err = enc.Encode(map[string]string{"name": e.member.Name, "problem": e.problem})
		} else {
			err = enc.Encode(e.answer)
		}
		if err != nil {
			return err
		}
	}
	return nil
}
