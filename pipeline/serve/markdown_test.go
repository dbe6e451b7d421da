package serve_test

import (
	"html"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/slipway-build/slipway/pipeline/fixture"
	"github.com/slipway-build/slipway/pipeline/serve"
)

func TestMarkdown(t *testing.T) {
	const link = `" rel="noopener noreferrer nofollow">`
	for _, tt := range []struct{ name, in, want string }{
		{"headings", "# A\n## B ##\n#### C\n#no\n", "<h3>A</h3>\n<h3>B</h3>\n<h4>C</h4>\n<p>#no</p>\n"},
		{"paragraphs", "a\nb\n\nc  \nd\n", "<p>a\nb</p>\n<p>c<br>\nd</p>\n"},
		{"a list", "- a\n  more\n- b\n\nend\n", "<ul>\n<li>a\nmore</li>\n<li>b</li>\n</ul>\n<p>end</p>\n"},
		{"a list in a list", "1. a\n   - b\n   - c\n2. d\n", "<ol>\n<li>a<ul>\n<li>b</li>\n<li>c</li>\n</ul>\n</li>\n<li>d</li>\n</ol>\n"},
		{"code", "a `<b>` and ``c ` d``\n\n```yaml\n# <x>\n```\nend", "<p>a <code>&lt;b&gt;</code> and <code>c ` d</code></p>\n<pre><code># &lt;x&gt;\n</code></pre>\n<p>end</p>\n"},
		{"code without an end", "```\n- x\n", "<pre><code>- x\n\n</code></pre>\n"},
		{"emphasis", "**a *b* c** _d_ snake_case_name 2 * 3 * 4 **", "<p><strong>a <em>b</em> c</strong> <em>d</em> snake_case_name 2 * 3 * 4 **</p>\n"},
		{"links", "[a **b**](https://x.example/?a=1&b=2 \"title\") <http://y.example> https://z.example/a_b.", `<p><a href="https://x.example/?a=1&amp;b=2` + link + `a <strong>b</strong></a> <a href="http://y.example` + link + `http://y.example</a> <a href="https://z.example/a_b` + link + `https://z.example/a_b</a>.</p>` + "\n"},
		{"references", "[#1], [a][B c] and [none]\n\n[#1]: https://x.example/1\n[b  c]: https://x.example/2\n[none]: javascript:alert(1)\n", `<p><a href="https://x.example/1` + link + `#1</a>, <a href="https://x.example/2` + link + "a</a> and [none]</p>\n"},
		{"a picture", "![a](https://x.example/a.png)", `<p><a href="https://x.example/a.png` + link + "a</a></p>\n"},
		{"a link in a link", "[[a](https://x.example)](https://y.example)", `<p>[<a href="https://x.example` + link + "a</a>](<a href=\"https://y.example" + link + "https://y.example</a>)</p>\n"},
		{"other addresses", "[a](javascript:alert(1)) <javascript:alert(1)> [b](data:text/html,x) [c](//x.example)", "<p>[a](javascript:alert(1)) &lt;javascript:alert(1)&gt; [b](data:text/html,x) [c](//x.example)</p>\n"},
		{"an attribute in an address", `[a](https://x.example/"onclick="alert(1))`, `<p><a href="https://x.example/&#34;onclick=&#34;alert(1` + link + "a</a>)</p>\n"},
		{"markup", "<script>alert(1)</script>\n<!-- a\nb -->\n<b>", "<p>&lt;script&gt;alert(1)&lt;/script&gt;\n&lt;b&gt;</p>\n"},
		{"escapes", `\*a\* \<b\> &lt;i&gt; &#8203;&amp; a & b`, "<p>*a* &lt;b&gt; &lt;i&gt; \u200b&amp; a &amp; b</p>\n"},
		{"a rule", "a\n\n---\n\nb\n", "<p>a</p>\n<hr>\n<p>b</p>\n"},
		{"nothing", "", ""},
	} {
		if got := string(serve.Markdown(tt.in)); got != tt.want {
			t.Errorf("%s:\n%q, want\n%q", tt.name, got, tt.want)
		}
	}
}

// What the pipeline writes as notes is shown without a mark of Markdown that is left over.
func TestMarkdownOfNotes(t *testing.T) {
	files, err := filepath.Glob("../release/notes/testdata/*.golden")
	must(t, err)
	if len(files) < 10 {
		t.Fatalf("only %d examples", len(files))
	}
	tag := regexp.MustCompile(`<[^>]*>`)
	for _, name := range files {
		if strings.Contains(name, "hostile") {
			continue // whose text is of marks
		}
		b, err := os.ReadFile(name)
		must(t, err)
		text := html.UnescapeString(tag.ReplaceAllString(string(serve.Markdown(string(b))), ""))
		for _, mark := range []string{"**", "](http", "\\"} {
			if strings.Contains(text, mark) {
				t.Errorf("%s: %q is left over in\n%s", name, mark, text)
			}
		}
	}
}

// What opens again and again and is never closed takes six times as long where there is six times as much of it, and not 36 times.
func TestMarkdownIsQuick(t *testing.T) {
	fixture.SkipRace(t)
	const size, times = 20_000, 6
	for _, s := range []string{"[", "*", "**a ", "`", "<", "![", "_a", "- ", "\t- ", "&", "[a](", "https://a", "a\n", "[\n"} {
		took := func(n int) time.Duration {
			start := time.Now()
			serve.Markdown(strings.Repeat(s, n/len(s)))
			return time.Since(start)
		}
		for try := range 3 { // others may need the processor meanwhile
			few, many := took(size), took(times*size)
			if many < times*times*few/2 || many < 100*time.Millisecond {
				break
			}
			if try == 2 {
				t.Errorf("%q: %s, and %s for %d times as much", s, few, many, times)
			}
		}
	}
}

// FuzzMarkdown holds what is written to a list of tags, each of which is closed.
func FuzzMarkdown(f *testing.F) {
	for _, s := range []string{
		"# a\n- b\n  1. c\n\n  d\n```\ne\n```\n", "[a](https://x.example) **b *c* d** `e` <https://y.example>", "[a][b]\n[b]: https://x.example\n",
		"<script>alert(1)</script> &lt; &#60; \\<", "a  \nb\n---\n", "- a\n\t- b\n\t\t- c\n\t\t\t- d\n\t\t\t\t- e\n- f", "[[a]](https://x.example)",
	} {
		f.Add(s)
	}
	tag := regexp.MustCompile(`^(?:</?(?:h[3-6]|p|ul|ol|li|pre|code|strong|em|a)>|<br>|<hr>|<a href="https?://[^"<>]+" rel="noopener noreferrer nofollow">)`)
	f.Fuzz(func(t *testing.T, s string) {
		out := string(serve.Markdown(s))
		var open []string
		for i := 0; i < len(out); i++ {
			if out[i] == '>' {
				t.Fatalf("%q: a loose > in %q", s, out)
			}
			if out[i] != '<' {
				continue
			}
			m := tag.FindString(strings.ToLower(out[i:]))
			if m == "" {
				t.Fatalf("%q: markup at %q", s, out[i:])
			}
			name := strings.Trim(strings.Fields(m)[0], "</>")
			switch {
			case name == "br" || name == "hr":
			case m[1] == '/':
				if len(open) == 0 || open[len(open)-1] != name {
					t.Fatalf("%q: </%s> closes %q in %q", s, name, open, out)
				}
				open = open[:len(open)-1]
			default:
				open = append(open, name)
			}
			i += len(m) - 1
		}
		if len(open) > 0 {
			t.Fatalf("%q: %q stay open in %q", s, open, out)
		}
	})
}
