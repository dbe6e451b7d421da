package cli

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/slipway-build/slipway/pipeline/present/cmdline"
)

// shown finds the commands of this program in the shell blocks of a page.
var (
	blocks = regexp.MustCompile("(?ms)^```sh\n(.*?)^```")
	ours   = regexp.MustCompile(`(?m)(?:go run \./ci|go run -C \S+ \.|go run github\.com/slipway-build/slipway/ci@\S+|(?:(?:^|[ (])\./|<slipway>/)bin/(?:ci|release)) ([^#|)&>\n]*)`)
)

// TestDocs holds every command that the documentation shows to the commands and flags that there are.
func TestDocs(t *testing.T) {
	pages := []string{"../../README.md", "../../CONTRIBUTING.md"}
	err := filepath.WalkDir("../../docs", func(name string, d os.DirEntry, err error) error {
		if strings.HasSuffix(name, ".md") {
			pages = append(pages, name)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	for _, page := range pages {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		for _, block := range blocks.FindAllStringSubmatch(string(text), -1) {
			for _, shown := range ours.FindAllStringSubmatch(block[1], -1) {
				found++
				root := (&app{}).command()
				root.InitDefaultCompletionCmd("init")
				cmd, rest, err := root.Find(strings.Fields(shown[1]))
				if err == nil {
					err = cmd.ParseFlags(rest)
				}
				if err == nil {
					err = cmd.ValidateArgs(cmd.Flags().Args())
				}
				if err != nil {
					t.Errorf("%s: %s: %v", page, shown[0], err)
				}
			}
		}
		for _, link := range regexp.MustCompile(`\]\(([^)#:]+)(?:#[^)]*)?\)`).FindAllStringSubmatch(string(text), -1) {
			if _, err := os.Stat(filepath.Join(filepath.Dir(page), link[1])); err != nil {
				t.Errorf("%s: the link to %s leads nowhere", page, link[1])
			}
		}
	}
	if found < 20 {
		t.Errorf("only %d commands were found", found)
	}
}

// TestHelp holds every command to have a help with an example.
func TestHelp(t *testing.T) {
	root := (&app{}).command()
	for _, cmd := range append(root.Commands(), root) {
		if cmd.Short == "" || cmd.Example == "" && cmd.Name() != "completion" {
			t.Errorf("%s has no short help or no example", cmd.CommandPath())
		}
	}
}

// TestCommands holds the list of commands that the other program names to those that there are.
func TestCommands(t *testing.T) {
	var names []string
	for _, cmd := range (&app{}).command().Commands() {
		names = append(names, cmd.Name())
	}
	if !slices.Equal(names, cmdline.Pipeline) {
		t.Errorf("the commands are %q and cmdline.Pipeline has %q", names, cmdline.Pipeline)
	}
}
