package notes_test

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/slipway-build/slipway/pipeline/release/notes"
)

func TestReverts(t *testing.T) {
	one := func(n int) string { return "This reverts commit " + hash(n) + "." }
	for _, tt := range []struct {
		name     string
		messages []string // newest first
		want     string   // descriptions of the changes
	}{
		{"a revert and what it reverts", []string{"Revert \"feat: a\"\n\n" + one(1), "feat: a", "feat: b"}, "b"},
		{"a conventional revert", []string{"revert: feat: a\n\nRefs: " + hash(1)[:8], "feat: a", "feat: b"}, "b"},
		{"a revert of a revert", []string{"Reapply \"feat: a\"\n\n" + one(1), "Revert \"feat: a\"\n\n" + one(2), "feat: a"}, "a"},
		{"of an earlier release", []string{"Revert \"feat: a\"\n\n" + one(99), "feat: b"}, "b, Revert \"feat: a\""},
		{"of both", []string{"revert: some\n\nRefs: " + hash(1)[:7] + ", " + hash(99), "feat: a", "feat: b"}, "b, some"},
		{"of a later commit", []string{"feat: a", "Revert \"feat: a\"\n\n" + one(0)}, "a, Revert \"feat: a\""},
		{"of itself", []string{"Revert \"feat: a\"\n\n" + one(0)}, "Revert \"feat: a\""},
		{
			"of a merge",
			[]string{"Revert \"Merge branch 'x'\"\n\nThis reverts commit " + hash(1) + ", reversing\nchanges made to " + hash(2) + ".", "Merge branch 'x'", "feat: a"},
			"a, Revert \"Merge branch 'x'\"",
		},
	} {
		n, err := notes.New(notes.Options{Version: parse(t, "1.2.0"), Tag: "v1.2.0", Commits: commits(tt.messages...)})
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, c := range n.Changes {
			got = append(got, c.Description)
		}
		if strings.Join(got, ", ") != tt.want {
			t.Errorf("%s: %q, want %q\n%s", tt.name, got, tt.want, n.Markdown)
		}
	}
}

func TestKinds(t *testing.T) {
	for message, want := range map[string]notes.Change{
		"feat: a":                             {Kind: notes.Added, Description: "a"},
		"fix(x): a":                           {Kind: notes.Fixed, Description: "x: a"},
		"perf: a":                             {Kind: notes.Changed, Description: "a"},
		"refactor!: a":                        {Kind: notes.Changed, Description: "a"},
		"feat!: a":                            {Kind: notes.Changed, Description: "a"},
		"fix(security): a":                    {Kind: notes.Security, Description: "security: a"},
		"fix(security)!: a":                   {Kind: notes.Security, Description: "security: a"},
		"security: a":                         {Kind: notes.Security, Description: "a"},
		"revert: feat: a":                     {Kind: notes.Removed, Description: "feat: a"},
		"revert: fix: a":                      {Kind: notes.Changed, Description: "fix: a"},
		"words":                               {Kind: notes.Changed, Description: "words"},
		"net: words":                          {Kind: notes.Changed, Description: "net: words"},
		"net!: words":                         {Kind: notes.Changed, Description: "net!: words"},
		"docs: a":                             {},
		"chore: a":                            {},
		"refactor: a":                         {},
		"Merge branch 'a'":                    {},
		"docs: about CVE-2026-12345":          {},
		"feat: find CVE-2026-12345":           {Kind: notes.Added, Description: "find CVE-2026-12345"},
		"feat: a (#1) (#2)":                   {Kind: notes.Added, Description: "a"},
		"feat: (#1)":                          {Kind: notes.Added, Description: "(#1)"},
		"chore: bump x\n\nBREAKING CHANGE: b": {Kind: notes.Changed, Description: "bump x: b"},
		"chore: bump\n\nGHSA-aaaa-bbbb-cc33": {
			Kind: notes.Security, Description: "bump",
			Links: []notes.Link{{Name: "GHSA-aaaa-bbbb-cc33", URL: "https://github.com/advisories/GHSA-aaaa-bbbb-cc33"}},
		},
	} {
		n, err := notes.New(notes.Options{Version: parse(t, "1.2.0"), Tag: "v1.2.0", Commits: commits(message)})
		if err != nil {
			t.Fatal(err)
		}
		var all []notes.Change
		if want.Kind != "" {
			all = append(all, want)
		}
		if !reflect.DeepEqual(n.Changes, all) {
			t.Errorf("%q: %+v, want %+v", message, n.Changes, all)
		}
		if n.Security != (want.Kind == notes.Security) || n.Breaking != (strings.Contains(message, "!") || strings.Contains(message, "BREAKING")) {
			t.Errorf("%q: security %t, breaking %t", message, n.Security, n.Breaking)
		}
	}
}

// TestHeadings has the forms in which changelogs name versions.
func TestHeadings(t *testing.T) {
	for heading, found := range map[string]bool{
		"## [1.2.3] - 2026-01-01": true,
		"## v1.2.3":               true,
		"# 1.2.3 (2026-01-01)":    true,
		"### [v1.2.3](https://example.com) (2026-01-01) ###": true,
		"## **1.2.3**":                  true,
		"## Version 1.2.3":              true,
		"## Release v1.2.3: the name":   true,
		"## hello@1.2.3":                true,
		"## cli/v1.2.3":                 true, // the tag
		"1.2.3\n-----":                  true,
		"v1.2.3 / 2026-01-01\n===":      true,
		"## [1.2.3+build] - 2026-01-01": false,
		"## 1.2.3-rc.1":                 false,
		"## 1.2.30":                     false,
		"## 1.2":                        false,
		"## api/v1.2.3":                 false,
		"## Since 1.2.3":                false,
		"#1.2.3":                        false,
		"    ## 1.2.3":                  false,
		"1.2.3":                         false,
		"## Unreleased":                 false,
		"```\n## 1.2.3\n":               false,
		"<!--\n## 1.2.3\n":              false,
	} {
		o := notes.Options{Version: parse(t, "1.2.3"), Tag: "cli/v1.2.3", Repository: hub, Changelog: []byte("# Changelog\n\n" + heading + "\n\nThe text.\n")}
		n, err := notes.New(o)
		if err != nil || strings.Contains(n.Markdown, "The text.") != found {
			t.Errorf("%q: %q, %v, want it found: %t", heading, n.Markdown, err, found)
		}
	}
	// Empty sections are none, and a candidate takes no section Unreleased.
	for _, changelog := range []string{"## 1.2.3\n\n## 1.2.2\n\ntext", "## 1.2.3\n\n### Added\n\n[x]: https://example.com\n", "## Unreleased\n\n- text\n"} {
		for _, v := range []string{"1.2.3", "1.2.3-rc.1"} {
			n, err := notes.New(notes.Options{Version: parse(t, v), Tag: "v" + v, Changelog: []byte(changelog), Commits: commits("feat: a commit")})
			if err != nil || !strings.Contains(n.Markdown, "a commit") {
				t.Errorf("%q: %q, %v", changelog, n.Markdown, err)
			}
		}
	}
}

func TestBounds(t *testing.T) {
	var messages []string
	for i := range 5000 {
		messages = append(messages, fmt.Sprintf("[Author %d Example] feat(s%d): change number %d ", i, i%9, i)+strings.Repeat("*_", 40))
	}
	o := notes.Options{Version: parse(t, "1.2.0"), Tag: "v1.2.0", Since: "v1.1.0", Repository: hub, Commits: commits(messages...)}
	n, err := notes.New(o)
	if err != nil {
		t.Fatal(err)
	}
	inert(t, o, n)
	items := strings.Count(n.Markdown, "\n- ")
	more := fmt.Sprintf("\n\n%d more changes are not listed here: see [v1.1.0...v1.2.0](%s/compare/v1.1.0...v1.2.0).\n\n## Authors\n\nAuthor 0 Example, ", 5000-items, hub)
	if len(n.Markdown) < notes.MaxLen-1000 || !strings.Contains(n.Markdown, more) || !strings.Contains(n.Markdown, " more\n\n**Full changes**") {
		t.Errorf("%d bytes, %d items, end %q", len(n.Markdown), items, n.Markdown[len(n.Markdown)-300:])
	}
	if last := n.Changes[len(n.Changes)-1]; len(n.Changes) != notes.MaxChanges || last.Description != "And 4901 more changes" || len(last.Links) != 1 {
		t.Errorf("%d changes, the last is %+v", len(n.Changes), last)
	}

	for name, changelog := range map[string]string{
		"paragraphs": "## 1.2.0\n\n" + strings.Repeat("- an item of the list\n\n", 9000),
		"one line":   "## 1.2.0\n\nshort\n" + strings.Repeat("x", 200_000),
		"code":       "## 1.2.0\n\n~~~~\n" + strings.Repeat("line\n", 30_000) + "~~~~\n",
		"comment":    "## 1.2.0\n\ntext\n<!--\n" + strings.Repeat("line\n", 30_000) + "-->\n",
		"references": "## 1.2.0\n\n" + strings.Repeat("[a] ", 10) + "\n\n## 1.1.0\n\n[a]: " + strings.Repeat("y", 200_000) + "\n",
	} {
		o := notes.Options{Version: parse(t, "1.2.0"), Tag: "v1.2.0", Since: "v1.1.0", Commit: hash(1), Repository: hub, Changelog: []byte(changelog)}
		n, err := notes.New(o)
		if err != nil {
			t.Fatal(err)
		}
		inert(t, o, n)
		end := "\n\n**Full changes**: [v1.1.0...v1.2.0](" + hub + "/compare/v1.1.0...v1.2.0)\n"
		if name != "references" {
			end = "\n\nThe changelog of this version is longer; the rest is in [the source of the release](" + hub + "/tree/" + hash(1) + ")." + end
		}
		switch name {
		case "code":
			end = "\n~~~~" + end
		case "comment":
			end = "\n-->" + end
		}
		if !strings.HasSuffix(n.Markdown, end) {
			t.Errorf("%s: ends %q", name, n.Markdown[max(0, len(n.Markdown)-300):])
		}
	}
}

func TestHosts(t *testing.T) {
	for repository, want := range map[string]string{
		"https://github.com/example/hello":             "https://github.com/example/hello/compare/a%28b/v1...v2",
		"https://github.example.com/example/hello.git": "https://github.example.com/example/hello/compare/a%28b/v1...v2",
		"http://gitlab.example.com:8080/a/b/c/d/":      "http://gitlab.example.com:8080/a/b/c/d/-/compare/a%28b/v1...v2",
		"https://www.github.com/example/hello?x=1#y":   "https://www.github.com/example/hello/compare/a%28b/v1...v2",
		"https://gitea.example.com/example/hello":      "https://gitea.example.com/example/hello/compare/a%28b/v1...v2",
		"https://example.com/example/hello":            "",
		"https://github.com/example":                   "",
		"https://github.com/example/he(llo":            "",
		"https://github.com/example/hello%0a":          "",
	} {
		n, err := notes.New(notes.Options{Version: parse(t, "1.2.0"), Tag: "v2", Since: "a(b/v1", Repository: repository})
		if err != nil {
			t.Fatal(err)
		}
		line := "**Full changes**: a(b/v1...v2\n"
		if want != "" {
			line = "**Full changes**: [a(b/v1...v2](" + want + ")\n"
		}
		if !strings.HasSuffix(n.Markdown, line) {
			t.Errorf("%s: %s", repository, n.Markdown)
		}
	}
}

func TestRefuses(t *testing.T) {
	v := parse(t, "1.2.0")
	for _, tt := range []struct {
		o    notes.Options
		want string
	}{
		{notes.Options{}, "version is not set"},
		{notes.Options{Version: v, Commit: "main"}, "not an object name"},
		{notes.Options{Version: v, Tag: "v1\n"}, "not a tag"},
		{notes.Options{Version: v, Since: strings.Repeat("x", 2000)}, "not a tag"},
		{notes.Options{Version: v, Repository: "git@github.com:example/hello"}, "URL"},
		{notes.Options{Version: v, Repository: "ftp://github.com/example/hello"}, "URL"},
		{notes.Options{Version: v, Repository: "https://user:secret@github.com/example/hello"}, "without"},
	} {
		if n, err := notes.New(tt.o); err == nil || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%+v: %q, %v, want %q", tt.o, n.Markdown, err, tt.want)
		}
	}
}

func FuzzCommits(f *testing.F) {
	for _, m := range hostile {
		f.Add(m, "Ada Example", uint8(0))
	}
	f.Add(strings.Join(all, "\x00"), "@x <y@example.com>", uint8(3))
	repositories := []string{hub, "https://gitlab.com/a/b", "https://codeberg.org/a/b", ""}
	f.Fuzz(func(t *testing.T, messages, author string, n uint8) {
		o := notes.Options{Version: parse(t, "1.2.0"), Tag: "v1.2.0", Since: "v1.1.0", Repository: repositories[int(n)%len(repositories)]}
		for i, m := range strings.Split(messages, "\x00") {
			o.Commits = append(o.Commits, notes.Commit{Hash: hash(i), Author: author, Message: m})
		}
		got, err := notes.New(o)
		if err != nil {
			t.Fatal(err)
		}
		inert(t, o, got)
		if again, _ := notes.New(o); !reflect.DeepEqual(got, again) {
			t.Error("two runs differ")
		}
	})
}

func FuzzChangelog(f *testing.F) {
	for _, name := range []string{"CHANGELOG.md", "generated.md", "underlined.md"} {
		f.Add(string(read(f, name)))
	}
	f.Add("## 1.2.0\n<!--\n```\n## 1.1.0\n[x]: y\n- [x] [z](https://a) CVE-2026-12345 <b> \\* **")
	f.Add("1.2.0\n===\n* a\n\n  b\n* c\n---\n~~~ x\n")
	f.Fuzz(func(t *testing.T, changelog string) {
		o := notes.Options{Version: parse(t, "1.2.0"), Tag: "v1.2.0", Since: "v1.1.0", Repository: hub, Changelog: []byte(changelog)}
		n, err := notes.New(o)
		if err != nil {
			t.Fatal(err)
		}
		inert(t, o, n)
		if !strings.HasSuffix(n.Markdown, "**Full changes**: [v1.1.0...v1.2.0]("+hub+"/compare/v1.1.0...v1.2.0)\n") {
			t.Errorf("the notes end %q", n.Markdown[max(0, len(n.Markdown)-200):])
		}
	})
}

// However long what the notes begin with is, all of the notes fit, and what is missing is counted.
func TestFirst(t *testing.T) {
	long := slices.Repeat([]string{strings.Repeat("<*", 900)}, 300)
	o := notes.Options{
		Version: parse(t, "2.1.4"), Changelog: []byte("## 2.1.4\n\n" + strings.Repeat("A line of the changelog.\n\n", 9000)),
		First: []notes.Section{{Title: "Fixed", Items: long}, {Title: "None"}, {Title: "Excepted", Items: []string{"a\n# b", strings.Repeat("x", 5000)}}},
	}
	n, err := notes.New(o)
	if err != nil {
		t.Fatal(err)
	}
	shown := strings.Count(n.Markdown, "\n- \\<")
	if len(n.Markdown) > notes.MaxLen || shown == 0 || !strings.Contains(n.Markdown, fmt.Sprintf("\n- And %d more\n\n## Excepted\n\n- a # b\n- xxx", 300-shown)) {
		t.Errorf("%d bytes, %d shown: %.200s", len(n.Markdown), shown, n.Markdown)
	}
	if !strings.Contains(n.Markdown, "A line of the changelog.") || !strings.Contains(n.Markdown, "the rest is in") || strings.Contains(n.Markdown, "None") {
		t.Error("the changelog has no room, or a section without items is there")
	}
	o.Changelog = nil
	for range 3000 {
		o.Commits = append(o.Commits, notes.Commit{Hash: strings.Repeat("1", 40), Author: "A", Message: "feat: " + strings.Repeat("word ", 20)})
	}
	if n, err = notes.New(o); err != nil || len(n.Markdown) > notes.MaxLen || !strings.HasPrefix(n.Markdown, "## Fixed\n\n- \\<") {
		t.Errorf("%d bytes of commits, %v", len(n.Markdown), err)
	}
}
