package cli

import (
	"testing"

	"github.com/slipway-build/slipway/pipeline/config"
)

// What a publishing enters, and where it goes, by what is in slipway.yaml and what is said on the command line.
func TestEnters(t *testing.T) {
	apart := config.Config{Destinations: map[string]config.Publish{"staging": {}}}
	in := apart
	in.Environment = config.Environment{Store: "https://example.com/releases.git", Enter: "snapshot"}
	for _, c := range []struct {
		what    string
		cfg     config.Config
		choices publishChoices
		stage   string
		follows bool
		to      string
	}{
		{"no store", apart, publishChoices{}, "", false, ""},
		{"a set", apart, publishChoices{to: "staging"}, "", false, "staging"},
		{"a store", in, publishChoices{}, "snapshot", true, ""},
		{"an environment with a set", in, publishChoices{environment: "staging"}, "staging", true, "staging"},
		{"an environment without one", in, publishChoices{environment: "production"}, "production", true, ""},
		{"an environment by another set", in, publishChoices{environment: "production", to: "staging"}, "production", true, "staging"},
		{"a set, which enters nothing", in, publishChoices{to: "staging"}, "", true, "staging"},
		{"a rehearsal", in, publishChoices{destinations: "to.yaml"}, "", false, ""},
		{"a rehearsal with a store", in, publishChoices{destinations: "to.yaml", environment: "staging"}, "staging", true, ""},
	} {
		stage, follows := c.choices.enters(c.cfg)
		if stage != c.stage || follows != c.follows || c.choices.to != c.to {
			t.Errorf("%s: it enters %q, follows %t and goes to %q", c.what, stage, follows, c.choices.to)
		}
	}
}
