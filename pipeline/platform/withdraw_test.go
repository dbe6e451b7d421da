package platform_test

import (
	"strings"
	"testing"

	"github.com/slipway-build/slipway/pipeline/platform"
	"github.com/slipway-build/slipway/pipeline/release/fault"
	"github.com/slipway-build/slipway/pipeline/release/version"
)

// A reason is added wherever the others stand, and nothing else of the file changes.
func TestWithdraw(t *testing.T) {
	const head = "version: 1\nname: edge # ours\ncomponents:\n  web: {repository: web, releases: r, key: k}\n"
	v, err := version.Parse("2.2.2")
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ name, text, why, want string }{
		{"none", head, "lost", head + "withdrawn:\n  2.2.2: \"lost\"\n"},
		{"no end of the line", strings.TrimSuffix(head, "\n"), "lost", head + "withdrawn:\n  2.2.2: \"lost\"\n"},
		{"block", head + "withdrawn: # why\n    2.1.0: old\n# end\n", "a \"b\": #c", head + "withdrawn: # why\n    2.2.2: \"a \\\"b\\\": #c\"\n    2.1.0: old\n# end\n"},
		{"flow", head + "withdrawn: {2.1.0: old}\n", "lost", head + "withdrawn: {2.2.2: \"lost\", 2.1.0: old}\n"},
		{"empty flow", head + "withdrawn: {}\nsupport: {minor: 6}\n", "lost", head + "withdrawn: {2.2.2: \"lost\"}\nsupport: {minor: 6}\n"},
		{"there already", head + "withdrawn: {2.2.2: lost}\n", "lost", head + "withdrawn: {2.2.2: lost}\n"},
		{"for another reason", head + "withdrawn: {2.2.2: old}\n", "lost", "error platform.yaml:5:13: 2.2.2 is withdrawn already: old"},
		{"null", head + "withdrawn:\n", "lost", "error add to it by hand"},
		{"two lines", head, "one\ntwo", "error is not one line of text"},
	} {
		got, err := platform.Withdraw("platform.yaml", []byte(tt.text), v, tt.why)
		if want, fails := strings.CutPrefix(tt.want, "error "); fails {
			if err == nil || !strings.Contains(err.Error(), want) || fault.CodeOf(err) != fault.Usage {
				t.Errorf("%s: %q, %v, want %q", tt.name, got, err, want)
			}
			continue
		}
		if err != nil || string(got) != tt.want {
			t.Errorf("%s: %q, %v, want %q", tt.name, got, err, tt.want)
		}
	}
}

// YAML ends lines where others see one that goes on.
func TestWithdrawWhereLinesEndOtherwise(t *testing.T) {
	v, err := version.Parse("2.2.2")
	if err != nil {
		t.Fatal(err)
	}
	for _, end := range []string{"\r", "\u0085", "\u2028", "\u2029"} {
		for _, withdrawn := range []string{"withdrawn:\n  2.1.0: x\n", "withdrawn: {}\n"} {
			b := "# a" + strings.Repeat(end+"#", 9) + "\nversion: 1\nname: edge\ncomponents:\n  web: {repository: web, releases: r, key: k}\n" + withdrawn
			if got, err := platform.Withdraw("platform.yaml", []byte(b), v, "lost"); err == nil || !strings.Contains(err.Error(), `by hand: 2.2.2: "lost"`) {
				t.Errorf("%q: %q, %v", b, got, err)
			}
		}
	}
}

func FuzzWithdraw(f *testing.F) {
	f.Add([]byte(whole), "lost")
	f.Add([]byte("#\r#\u2028\u2028\nversion: 1\nname: edge\ncomponents:\n  web: {repository: web, releases: r, key: k}\nwithdrawn: {}\n"), "x")
	f.Add([]byte("version: 1\nname: edge\ncomponents:\n  web: {repository: web, releases: r, key: k}\nwithdrawn: {2.1.0: x}\n"), "a\tb")
	v, err := version.Parse("2.2.2")
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, b []byte, why string) {
		got, err := platform.Withdraw("platform.yaml", b, v, why)
		if err != nil {
			return
		}
		p, err := platform.Parse("platform.yaml", got)
		if err != nil || p.Withdrawn["2.2.2"] != why {
			t.Fatalf("%q: %v, %+v", got, err, p.Withdrawn)
		}
		before, err := platform.Parse("platform.yaml", b)
		if err != nil || len(p.Withdrawn) < len(before.Withdrawn) || len(p.Components) != len(before.Components) {
			t.Fatalf("%q: %v", b, err)
		}
	})
}
