package environment_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/slipway-build/slipway/pipeline/environment"
)

func TestPromotions(t *testing.T) {
	rules := `version: 1
stages:
  - {name: next, overwrite: always, current: newest}
  - {name: beta, from: [next, outside], overwrite: if-needed, leaves: [next], auto: promote, accepts: [candidate, stable]}
  - {name: live, from: [beta], enter: pull-request, leaves: [beta], auto: promote, trusted: ["sha256:ours"], approvals: {count: 1, of: [pull-request]}}
`
	w := newWorld(t, rules)
	what := func() string {
		t.Helper()
		all, err := environment.Promotions(w.s, w.r, rulesAt, w.now, func(h environment.Held, _ string) (environment.Entry, error) {
			e, ok := w.known[h.Entry]
			if !ok {
				t.Fatalf("no entry of %+v", h)
			}
			return e, nil
		})
		if err != nil {
			t.Fatal(err)
		}
		var said []string
		for _, q := range all {
			said = append(said, fmt.Sprintf("%s %s to %s", q.Items[0].Component, q.Items[0].Version, q.To))
		}
		return strings.Join(said, ", ")
	}
	w.is("nothing", what(), "")
	w.add("next", entry("gateway", "1.0.0-rc.1", "a"))
	w.add("next", entry("gateway", "1.0.0-rc.2", "b"))
	w.add("next", entry("gateway", "1.0.1-snapshot.4.g0123456789ab", "c"))
	w.is("the highest that is accepted", what(), "gateway 1.0.0-rc.2 to beta")
	w.do(environment.Promote, "gateway", "1.0.0-rc.2", "beta")
	w.is("the next stage, and none that is lower", what(), "gateway 1.0.0-rc.2 to live")
	w.do(environment.Hold, "gateway", "1.0.0-rc.2", "live")
	w.is("held", what(), "")
	w.do(environment.Release, "gateway", "1.0.0-rc.2", "live")
	w.do(environment.Withdraw, "gateway", "1.0.0-rc.2", "")
	w.is("withdrawn, and what is lower", what(), "")
	w.do(environment.Restore, "gateway", "1.0.0-rc.2", "")
	w.do(environment.Promote, "gateway", "1.0.0-rc.2", "live")
	w.is("it is there", what(), "")
	w.add("beta", entry("gateway", "0.9.9", "d"))
	w.is("an older line", what(), "")

	w.add("next", entry("control", "0.1.0", "a"))
	w.do(environment.Promote, "control", "0.1.0", "beta")
	w.do(environment.Demote, "control", "0.1.0", "next")
	w.is("it went back", what(), "")
	w.add("next", entry("control", "0.1.0", "b"))
	w.is("other bytes than those that went back", what(), "control 0.1.0 to beta")
	control := w.r.Components["control"]
	delete(w.r.Components, "control")
	w.is("the rules have it no more", what(), "")
	w.r.Components["control"] = control
	w.do(environment.Withdraw, "control", "0.1.0", "")

	for i := range w.r.Stages {
		if w.r.Stages[i].Trusted != nil {
			w.r.Stages[i].Trusted = []string{"sha256:others"}
		}
	}
	w.add("beta", entry("gateway", "1.0.0", "e"))
	w.is("of somebody else", what(), "")
	w.add("next", entry("control", "1.0.0", "f"))
	w.is("each component", what(), "control 1.0.0 to beta")
}
