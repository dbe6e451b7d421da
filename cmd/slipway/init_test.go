package main

import (
	"os"
	"regexp"
	"strings"
	"testing"
)

// The workflow of a store runs commands that there are.
func TestStoreWorkflow(t *testing.T) {
	text, err := os.ReadFile("../../pipeline/scaffold/store.yml.tmpl")
	if err != nil {
		t.Fatal(err)
	}
	all := regexp.MustCompile(`(?m)slipway/cmd/slipway@\$SLIPWAY" (.*)$`).FindAllStringSubmatch(string(text), -1)
	given := regexp.MustCompile(`\$\{[A-Z_]+:\+(.*?)\}`) // where a secret is there
	for _, run := range all {
		cmd, rest, err := newRoot().Find(strings.Fields(given.ReplaceAllString(run[1], "$1")))
		if err == nil {
			err = cmd.ParseFlags(rest)
		}
		if err == nil {
			err = cmd.ValidateArgs(cmd.Flags().Args())
		}
		if err != nil {
			t.Errorf("%s: %v", run[1], err)
		}
	}
	if len(all) != 2 {
		t.Errorf("%d commands", len(all))
	}
}
