package cli

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/slipway-build/slipway/pipeline/config"
	"github.com/slipway-build/slipway/pipeline/plan"
	"github.com/slipway-build/slipway/pipeline/present/cmdline"
	"github.com/slipway-build/slipway/pipeline/release/manifest"
	"github.com/slipway-build/slipway/pipeline/release/version"
	"github.com/slipway-build/slipway/pipeline/source"
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

// TestInstall holds every file and every image that docs/install.md names to the plan of a version of this repository.
func TestInstall(t *testing.T) {
	read := func(name string) []byte {
		t.Helper()
		b, err := os.ReadFile(filepath.Join("../..", name))
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	cfg, err := config.Parse("slipway.yaml", read("slipway.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	lock, err := config.ParseLock("slipway.lock", read("slipway.lock"))
	if err != nil {
		t.Fatal(err)
	}
	files := map[string][]byte{}
	for _, name := range plan.Reads(cfg, nil) {
		files[name] = read(name)
	}
	v, err := version.Parse("1.2.3")
	if err != nil {
		t.Fatal(err)
	}
	p, err := plan.New(source.Source{Commit: strings.Repeat("1", 40), Tree: strings.Repeat("2", 40), Time: time.Unix(1700000000, 0).UTC(), Version: v, Tag: "v1.2.3"}, cfg, lock, plan.Options{Files: files})
	if err != nil {
		t.Fatal(err)
	}
	planned, err := p.Encode()
	if err != nil {
		t.Fatal(err)
	}
	text := strings.NewReplacer("${version}", "1.2.3", "$version", "1.2.3").Replace(string(read("docs/install.md")))
	found := 0
	for _, named := range regexp.MustCompile(`\$release/([A-Za-z0-9_.-]+)|ghcr\.io/slipway-build/([a-z]+)(?:/[a-z]+)?(?::(1\.2\.3[-a-z]*))?`).FindAllStringSubmatch(text, -1) {
		found++
		for _, name := range named[1:] {
			if name != "" && name != manifest.DownloadsName && !regexp.MustCompile(`[/"]`+regexp.QuoteMeta(name)+`"`).Match(planned) {
				t.Errorf("docs/install.md names %s, which no version has", name)
			}
		}
	}
	if found < 12 {
		t.Errorf("only %d names were found", found)
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
