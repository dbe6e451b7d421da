package notes_test

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/slipway-build/slipway/pipeline/release/notes"
	"github.com/slipway-build/slipway/pipeline/release/version"
)

var update = flag.Bool("update", false, "rewrite the golden files")

func parse(t testing.TB, s string) version.Version {
	t.Helper()
	v, err := version.Parse(s)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// hash is the name of the n-th commit.
func hash(n int) string { return fmt.Sprintf("%07x%033x", 0xc0ffee0+n, n) }

// commits are by one author unless a message begins with another in brackets: "[Ada Example] feat: x".
func commits(messages ...string) []notes.Commit {
	var all []notes.Commit
	for i, m := range messages {
		author := "Ada Example"
		if rest, ok := strings.CutPrefix(m, "["); ok {
			author, m, _ = strings.Cut(rest, "] ")
		}
		all = append(all, notes.Commit{Hash: hash(i), Author: author, Message: m})
	}
	return all
}

const hub = "https://github.com/example/hello"

var all = []string{
	"feat(api)!: drop the first version of the API (#31)\n\nBREAKING CHANGE: clients must ask for /v2.\nThere is no redirect.",
	"feat: read `config.yaml` from $HOME (#30)\n\nCo-authored-by: Zoë Example <zoe@example.com>\nCo-authored-by: bot[bot] <b@example.com>",
	"[Ben Example] fix(serve): do not follow links (closes #29)",
	"fix(security): check paths (#28)\n\nThis was CVE-2026-12345.",
	"perf: read git once, see https://example.com/a_b*c?x=1&y=2.",
	"[dependabot[bot]] chore(deps): bump x from 1 to 2",
	"ci: cache more", "test: try more", "refactor: say it once", "chore: tidy",
	"docs: explain " + hash(2)[:9],
	"Revert \"feat: blink\"\n\nThis reverts commit 0123456789abcdef0123456789abcdef01234567.",
	"revert: feat: shine\n\nRefs: " + hash(13)[:8],
	"feat: shine",
	"Merge pull request #27 from example/topic\n\nA title",
	"Merge branch 'main' into topic",
	"net/http: close the body",
	"cli: print less",
	"Say what was measured",
}

func TestGolden(t *testing.T) {
	changelog := read(t, "CHANGELOG.md")
	for _, tt := range []struct {
		name string
		o    notes.Options
	}{
		{"commits-github", notes.Options{Tag: "v1.2.0", Since: "v1.1.0", Repository: hub, Commits: commits(all...)}},
		{"commits-gitlab", notes.Options{Tag: "cli/v1.2.0", Since: "cli/v1.1.0", Repository: "https://gitlab.com/example/group/hello.git", Commits: commits(all[:3]...)}},
		{"commits-gitea", notes.Options{Tag: "v1.2.0", Commit: hash(0), Repository: "https://codeberg.org/example/hello/", Commits: commits(all[:3]...)}},
		{"commits-elsewhere", notes.Options{Tag: "v1.2.0", Since: "v1.1.0", Repository: "https://git.example.com/hello", Commits: commits(all...)}},
		{"commits-plain", notes.Options{Tag: "v1.2.0", Since: "v1.1.0", Repository: hub, Commits: commits("One thing", "Another thing (#4)")}},
		{"commits-maintenance", notes.Options{Tag: "v1.2.0", Since: "v1.1.0", Repository: hub, Commits: commits("ci: one", "ci: two", "chore: three")}},
		{"commits-none", notes.Options{Tag: "v1.2.0", Since: "v1.2.0-rc.1", Repository: hub}},
		{"commits-hostile", notes.Options{Tag: "v1.2.0", Since: "v1.1.0", Repository: hub, Commits: commits(hostile...)}},
		{"changelog", notes.Options{Tag: "v1.2.0", Since: "v1.1.0", Repository: hub, Changelog: changelog, Commits: commits(all...)}},
		{"changelog-oldest", notes.Options{Version: parse(t, "1.0.0"), Tag: "v1.0.0", Repository: hub, Changelog: changelog}},
		{"changelog-candidate", notes.Options{Version: parse(t, "1.3.0-rc.1"), Tag: "v1.3.0-rc.1", Since: "v1.2.0", Repository: hub, Changelog: changelog}},
		{"changelog-snapshot", notes.Options{
			Version: version.Snapshot(parse(t, "1.2.0"), 3, hash(1)), Since: "v1.2.0", Commit: hash(1), Repository: hub, Changelog: changelog,
		}},
		{"changelog-generated", notes.Options{Version: parse(t, "1.1.1"), Tag: "v1.1.1", Since: "v1.1.0", Repository: hub, Changelog: read(t, "generated.md")}},
		{"changelog-underlined", notes.Options{Version: parse(t, "2.0.0"), Tag: "v2.0.0", Since: "v1.0.0", Repository: hub, Changelog: read(t, "underlined.md")}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if tt.o.Version.IsZero() {
				tt.o.Version = parse(t, "1.2.0")
			}
			n, err := notes.New(tt.o)
			if err != nil {
				t.Fatal(err)
			}
			golden(t, tt.name+".golden", render(n))
			inert(t, tt.o, n)
		})
	}
}

func render(n notes.Notes) string {
	var b strings.Builder
	b.WriteString(n.Markdown)
	fmt.Fprintf(&b, "-- security %t, breaking %t --\n", n.Security, n.Breaking)
	for _, c := range n.Changes {
		fmt.Fprintf(&b, "%s: %s\n", c.Kind, c.Description)
		for _, l := range c.Links {
			fmt.Fprintf(&b, "\t%s %s\n", l.Name, l.URL)
		}
	}
	return b.String()
}

func read(t testing.TB, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(filepath.Join("testdata", name), []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if want := string(read(t, name)); got != want {
		t.Errorf("%s is out of date (run go test -update and look at the difference); got:\n%s", name, got)
	}
}

var hostile = []string{
	"feat: <script>alert(1)</script> <img src=x onerror=y> <!-- swallowed",
	"feat(<b>x</b>): ![image](https://example.com/x.png) and [link](javascript:alert(1))",
	"fix: # heading",
	"fix: - 1. nested list",
	"fix: 1. ordered",
	"fix: > quote",
	"fix: + more",
	"fix: ``` fence",
	"fix: ~~~ fence ~~gone~~ | a | b | $x^2$ &lt;b&gt; &#64;octocat",
	"fix: --- rule",
	"fix: === underline",
	"fix: thanks @octocat, @example/team and user@example.com, `@code`",
	"fix: `a``b` ``c` \\`d` ` ` `e\\` \\",
	"fix: `a``b` ``c` \\`",
	"fix: *bold* __bold__ _it_ [ref][1] [1]: https://example.com [^1] [ ] task",
	"fix: turned \u202e txet \u2066 and hidden\u200b \x1b[31mred\x07 and \xff bytes\u2028line",
	"fix: <https://example.com> https://example.com/)](x) https://example.com/<b>",
	"fix: " + strings.Repeat("long ", 100),
	"fix!: one\n\nBREAKING CHANGE: # heading\n- item\n\n```\nfence",
	"fix!: two\n\nBREAKING CHANGE: <details>\n" + strings.Repeat("x", 5000),
	"# heading\n\n## heading",
	"- item",
	"",
	"   \n\n",
	"[@octocat <octocat@example.com>] fix: author with an address",
	"[**x** <img>] fix: author with markup",
	"[name@example.com] fix: an address for a name",
	"[] fix: nobody\n\nCo-authored-by: <only@example.com>\nCo-authored-by: One [bot] <x@example.com>\nCo-authored-by: a <b> c <d@example.com>",
}

var (
	// literal is what is no markup, from left to right: what is escaped, and code, in which nothing is.
	literal = regexp.MustCompile("\\\\[!-/:-@\\[-`{-~]|`[^`]+`")
	// prefix is how lines of the notes begin; autolink and links are what else the notes have of Markdown.
	prefix   = regexp.MustCompile(`^(?:## (?:[A-Z][a-z ]+)$|- (?:\*\*(?:\\.|&#8203;|[^*\\])*:\*\* )?|  |\*\*Full changes\*\*: )`)
	autolink = regexp.MustCompile(`<https?://[^<>\s]*>|@&#8203;`)
	links    = regexp.MustCompile(`\[[^\[\]]*\]\(https://[^()\s]*\)`)
	notified = regexp.MustCompile(`@[\pL\pN_]`)
	block    = regexp.MustCompile(`^(?:#|-|\+|=|[0-9]{1,9}[.)](?:\s|$))`)
)

// inert holds generated notes to lines of the forms that they may have.
func inert(t *testing.T, o notes.Options, n notes.Notes) {
	t.Helper()
	if !utf8.ValidString(n.Markdown) || len(n.Markdown) > notes.MaxLen || !strings.HasSuffix(n.Markdown, "\n") {
		t.Errorf("%d bytes, valid %t", len(n.Markdown), utf8.ValidString(n.Markdown))
	}
	if len(n.Changes) > notes.MaxChanges {
		t.Errorf("%d changes", len(n.Changes))
	}
	for _, c := range n.Changes {
		if c.Description == "" || c.Kind == "" || strings.ContainsAny(c.Description, "\n\r\x00\x1b") || !utf8.ValidString(c.Description) {
			t.Errorf("change %q", c)
		}
		for _, l := range c.Links {
			if l.Name == "" || !strings.HasPrefix(l.URL, "http") || strings.ContainsAny(l.Name+l.URL, "\n\r") {
				t.Errorf("link %q", l)
			}
		}
	}
	if len(o.Changelog) > 0 {
		return
	}
	for line := range strings.Lines(n.Markdown) {
		line = strings.TrimSuffix(line, "\n")
		rest := literal.ReplaceAllString(prefix.ReplaceAllString(line, ""), "·")
		rest = autolink.ReplaceAllString(rest, "·")
		rest = links.ReplaceAllString(rest, "·")
		if strings.ContainsAny(rest, "`*_[]<>&~|$\\") {
			t.Errorf("markup is left in %q: %q", line, rest)
		}
		if notified.MatchString(rest) {
			t.Errorf("somebody is notified by %q", line)
		}
		if block.MatchString(rest) {
			t.Errorf("a block begins in %q: %q", line, rest)
		}
	}
}

// TestIndependentReader has the notes of hostile commits read by GitHub's own implementation of Markdown.
func TestIndependentReader(t *testing.T) {
	cmark, err := exec.LookPath("cmark-gfm")
	if err != nil {
		t.Skip("install cmark-gfm")
	}
	messages := slices.Clone(hostile)
	r := rand.New(rand.NewPCG(1, 2))
	parts := []string{
		"`", "``", "\\", "*", "_", "[", "]", "(", ")", "<", ">", "&", "~", "|", "$", "#", "!", "@", "a", " ", "1. ", "- ", "https://", "#12", "www.x.org",
		"<b>", "<!--", "-->", "&lt;", "&#60;", "![", "](https://x)", "c0ffee0", "x@y.org", ":", "\"", "'", "/", "^", "é", "=", "+", "{", "}", "mailto:a@b.c",
	}
	for range 3000 {
		m := "fix: "
		for range 1 + r.IntN(14) {
			m += parts[r.IntN(len(parts))]
		}
		if r.IntN(4) == 0 {
			m += "\n\nBREAKING CHANGE: " + m[5:]
		}
		messages = append(messages, m)
	}
	tag := regexp.MustCompile(`<[^>]*>`)
	allowed := regexp.MustCompile(`^(</?(h2|ul|li|p|strong|code|a)>|<a href="(https?://|http://www\.)[^"]*">|<br />)$`)
	mention := regexp.MustCompile(`@[A-Za-z0-9_]`)
	for rest := messages; len(rest) > 0; rest = rest[min(len(rest), 200):] {
		some := rest[:min(len(rest), 200)]
		o := notes.Options{Version: parse(t, "1.2.0"), Tag: "v1.2.0", Since: "v1.1.0", Repository: hub, Commits: commits(some...)}
		n, err := notes.New(o)
		if err != nil {
			t.Fatal(err)
		}
		inert(t, o, n)
		cmd := exec.Command(cmark, "--unsafe", "-e", "table", "-e", "strikethrough", "-e", "autolink", "-e", "tasklist", "-e", "footnotes")
		cmd.Stdin = strings.NewReader(n.Markdown)
		out, err := cmd.Output()
		if err != nil {
			t.Fatal(err)
		}
		html := string(out)
		if got := strings.Count(html, "<li>"); got != len(some) {
			t.Errorf("%d items of %d commits", got, len(some))
		}
		if strings.Count(html, "<h2>") != strings.Count(n.Markdown, "\n## ")+1 || strings.Count(html, "<ul>") > strings.Count(html, "<h2>") {
			t.Error("there are other headings or lists")
		}
		for line := range strings.Lines(html) {
			for _, found := range tag.FindAllString(line, -1) {
				if !allowed.MatchString(found) {
					t.Errorf("%s in %s", found, line)
				}
			}
			text := regexp.MustCompile(`<code>[^<]*</code>|<a [^>]*>[^<]*</a>`).ReplaceAllString(line, "")
			if mention.MatchString(text) {
				t.Errorf("somebody is notified by %s", line)
			}
		}
	}
}
