package tap_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/slipway-build/slipway/pipeline/publish/tap"
	"github.com/slipway-build/slipway/pipeline/release/version"
)

func TestReadRecipe(t *testing.T) {
	const release = `url "https://github.com/example/kit/releases/download/`
	for _, test := range []struct {
		name, format, text string
		id, version        string // of what is read
		err                string // or in what is said
	}{
		{
			name: "formula with a version", format: "formula", id: "Kit", version: "1.2.3-rc.1",
			text: "# Comment.\nclass Kit < Formula\n  url \"https://example.com/kit.tar.gz\"\n  version \"1.2.3-rc.1\"\nend\n",
		},
		{
			name: "formula of another tool", format: "formula", id: "KitAT1", version: "1.2.0",
			text: "# typed: false\r\nclass KitAT1 < Formula\r\n  version '1.2.0'\r\n  on_macos do\r\n    url 'https://example.com/kit.tar.gz'\r\n  end\r\nend\r\n",
		},
		{
			name: "formula whose version is in its URLs", format: "formula", id: "Kit", version: "1.2.3",
			text: "class Kit < Formula\n " + release + "v1.2.3/a.tar.gz\"\n " + release + "v1.2.3/b.tar.gz\"\nend\n",
		},
		{
			name: "formula with a version beside URLs", format: "formula", id: "Kit", version: "2.0.0",
			text: "class Kit < Formula\n version \"2.0.0\"\n " + release + "v1.2.3/a.tar.gz\"\nend\n",
		},
		{
			name: "URLs of two versions", format: "formula", err: `"1.2.3" and "1.2.4"`,
			text: "class Kit < Formula\n " + release + "v1.2.3/a.tar.gz\"\n " + release + "v1.2.4/b.tar.gz\"\nend\n",
		},
		{
			name: "URL that has no version beside one that has", format: "formula", err: "no version",
			text: "class Kit < Formula\n " + release + "v1.2.3/a.tar.gz\"\n url \"https://example.com/b.tar.gz\"\nend\n",
		},
		{
			name: "formula that builds from source", format: "formula", err: "no version",
			text: "class Kit < Formula\n url \"https://github.com/example/kit/archive/refs/tags/v1.2.3.tar.gz\"\nend\n",
		},
		{
			name: "two versions", format: "formula", err: `"1.0.0" and "2.0.0"`,
			text: "class Kit < Formula\n version \"1.0.0\"\n version \"2.0.0\"\nend\n",
		},
		{name: "no SemVer", format: "formula", text: "class Kit < Formula\n version \"1.2\"\nend\n", err: "SemVer"},
		{name: "computed version", format: "formula", text: "class Kit < Formula\n version \"#{V}\"\nend\n", err: "no version"},
		{name: "version that is commented out", format: "formula", text: "class Kit < Formula\n # version \"1.0.0\"\nend\n", err: "no version"},
		{name: "version in data", format: "formula", text: "class Kit < Formula\nend\n__END__\nversion \"1.0.0\"\n", err: "no version"},
		{name: "two formulae", format: "formula", text: "class Kit < Formula\n version \"1.0.0\"\nend\nclass Kat < Formula\nend\n", err: "two recipes"},
		{name: "cask for a formula", format: "formula", text: "cask \"kit\" do\n  version \"1.0.0\"\nend\n", err: "does not begin"},
		{name: "nothing", format: "formula", err: "does not begin"},
		{name: "no text", format: "formula", text: "class Kit < Formula\n version \"1.0.0\"\n\xff", err: "UTF-8"},
		{name: "too much", format: "formula", text: strings.Repeat("#", 1<<20+1), err: "more than"},

		{name: "cask", format: "cask", id: "kit-one+", version: "1.2.3", text: "cask \"kit-one+\" do\n  version \"1.2.3\"\n  url \"https://example.com/#{version}\"\nend\n"},
		{name: "cask with the latest version", format: "cask", text: "cask \"kit\" do\n  version :latest\nend\n", err: "no version"},
		{name: "formula for a cask", format: "cask", text: "class Kit < Formula\n version \"1.0.0\"\nend\n", err: "does not begin"},

		{name: "manifest", format: "scoop", version: "1.2.3", text: `{"version": "1.2.3", "url": "https://example.com"}`},
		{name: "manifest with a byte order mark", format: "scoop", version: "1.2.3", text: "\ufeff" + `{"version": "1.2.3", "architecture": {}}`},
		{name: "manifest that fetches nothing", format: "scoop", text: `{"version": "1.2.3"}`, err: "nothing"},
		{name: "manifest without a version", format: "scoop", text: `{"url": "https://example.com"}`, err: "no version"},
		{name: "manifest whose version is a number", format: "scoop", text: `{"version": 1, "url": ""}`, err: "no version"},
		{name: "manifest with another case", format: "scoop", text: `{"Version": "1.2.3", "url": ""}`, err: "no version"},
		{name: "no SemVer in a manifest", format: "scoop", text: `{"version": "nightly", "url": ""}`, err: "SemVer"},
		{name: "list", format: "scoop", text: `["version"]`, err: "not a JSON object"},
		{name: "cut manifest", format: "scoop", text: `{"version": "1.2.3",`, err: "not a JSON object"},
		{name: "another format", format: "winget", text: "PackageVersion: 1.2.3\n", err: "no format"},
	} {
		t.Run(test.name, func(t *testing.T) {
			id, v, err := tap.ReadRecipe(test.format, []byte(test.text))
			if test.err != "" {
				if err == nil || !strings.Contains(err.Error(), test.err) {
					t.Errorf("%q %q, %v; want an error with %q", id, v, err, test.err)
				}
			} else if err != nil || id != test.id || v != test.version {
				t.Errorf("%q %q, %v; want %q %q", id, v, err, test.id, test.version)
			}
		})
	}
}

// golden are the recipes that the packers are tested with.
func golden(t testing.TB, format, pattern string) map[string][]byte {
	t.Helper()
	names, err := filepath.Glob(filepath.Join("..", "..", "format", pattern))
	if err != nil || len(names) == 0 {
		t.Fatalf("no %s: %v", format, err)
	}
	all := map[string][]byte{}
	for _, name := range names {
		if all[filepath.Base(name)], err = os.ReadFile(name); err != nil {
			t.Fatal(err)
		}
	}
	return all
}

// Whatever is published has to be read by the release after it.
func TestReadPacked(t *testing.T) {
	for format, pattern := range map[string]string{
		"formula": "brew/testdata/*.formula.rb", "cask": "brew/testdata/*.cask.rb", "scoop": "scoop/testdata/*.golden",
	} {
		for name, text := range golden(t, format, pattern) {
			if _, v, err := tap.ReadRecipe(format, text); err != nil {
				t.Errorf("%s: %v", name, err)
			} else if !bytes.Contains(text, []byte(v)) {
				t.Errorf("%s: version %s is not in it", name, v)
			}
		}
	}
}

func FuzzReadRecipe(f *testing.F) {
	for format, pattern := range map[string]string{
		"formula": "brew/testdata/*.formula.rb", "cask": "brew/testdata/*.cask.rb", "scoop": "scoop/testdata/*.golden",
	} {
		for _, text := range golden(f, format, pattern) {
			f.Add(format, text)
		}
	}
	f.Add("formula", []byte("class A < Formula\n version \"1.0.0\"\n version \"1.0.1\""))
	f.Add("scoop", []byte(`{"version":"1.0.0","version":"1.0.1","url":""}`))
	f.Fuzz(func(t *testing.T, format string, b []byte) {
		id, v, err := tap.ReadRecipe(format, b)
		if err != nil {
			return
		}
		if parsed, err := version.Parse(v); err != nil || parsed.String() != v {
			t.Errorf("version %q: %v", v, err)
		}
		if format != "scoop" && (!bytes.Contains(b, []byte(id)) || id == "" || !bytes.Contains(b, []byte(v))) {
			t.Errorf("%q %q is not what %q says", id, v, b)
		}
		if again, w, err := tap.ReadRecipe(format, append(bytes.Clone(b), '\n')); err == nil && (again != id || w != v) {
			t.Errorf("%q %q, and %q %q with a newline", id, v, again, w)
		}
	})
}

func TestReadContents(t *testing.T) {
	for _, test := range []struct {
		name, answer string
		content      string
		odd, err     string
	}{
		{name: "file", answer: `{"type":"file","encoding":"base64","content":"aGVs\nbG8=\n"}`, content: "hello"},
		{name: "empty file", answer: `{"type":"file","encoding":"base64","content":""}`},
		{name: "large file", answer: `{"type":"file","encoding":"none","content":""}`, odd: "more than"},
		{name: "folder", answer: ` [{"type":"file"}]`, odd: "folder"},
		{name: "symbolic link", answer: `{"type":"symlink","target":"x"}`, odd: "symlink"},
		{name: "submodule", answer: `{"type":"submodule"}`, odd: "submodule"},
		{name: "another encoding", answer: `{"type":"file","encoding":"utf-8","content":"hello"}`, err: "utf-8"},
		{name: "no base64", answer: `{"type":"file","encoding":"base64","content":"*"}`, err: "base64"},
		{name: "no JSON", answer: `<html>`, err: "not what the API says"},
	} {
		t.Run(test.name, func(t *testing.T) {
			there, content, odd, err := tap.ReadContents([]byte(test.answer))
			switch {
			case test.err != "":
				if err == nil || !strings.Contains(err.Error(), test.err) {
					t.Errorf("%v, want an error with %q", err, test.err)
				}
			case err != nil || !there || string(content) != test.content || !strings.Contains(odd, test.odd) || (odd == "") != (test.odd == ""):
				t.Errorf("%t %q %q, %v", there, content, odd, err)
			}
		})
	}
}

func FuzzReadContents(f *testing.F) {
	f.Add([]byte(`{"type":"file","encoding":"base64","content":"aGVs\nbG8=\n"}`))
	f.Add([]byte(`{"type":"file","encoding":"none","content":""}`))
	f.Add([]byte(`[]`))
	f.Fuzz(func(t *testing.T, b []byte) {
		there, content, odd, err := tap.ReadContents(b)
		if err != nil || odd != "" {
			return
		}
		var f struct {
			Content string `json:"content"`
		}
		if json.Unmarshal(b, &f) != nil || !there {
			t.Fatalf("%q is read and is not JSON", b)
		}
		if want := strings.NewReplacer("\n", "", "\r", "").Replace(f.Content); base64.StdEncoding.EncodeToString(content) != want {
			// The last character may have bits that are dropped.
			if again, err := base64.StdEncoding.DecodeString(want); err != nil || !bytes.Equal(again, content) {
				t.Errorf("%q is read as %q", f.Content, content)
			}
		}
	})
}

func TestValidBranch(t *testing.T) {
	for _, good := range []string{"main", "gh-pages", "release/1.x", "slipway/homebrew-hello-1.2.3+build.7", "a@b", "ärger", "feature#1"} {
		if !tap.ValidBranch(good) {
			t.Errorf("%q is refused", good)
		}
	}
	for _, bad := range []string{"", "@", "-x", "a..b", "a b", "a//b", "/a", "a/", ".a", "a/.b", "a.lock", "a.lock/b", "a~1", "a^", "a:b", "a?", "a*", "a[", `a\b`, "a@{1}", "a\x7f", "a.", strings.Repeat("a", 241)} {
		if tap.ValidBranch(bad) {
			t.Errorf("%q is taken", bad)
		}
	}
}
