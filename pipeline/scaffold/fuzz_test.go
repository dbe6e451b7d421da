package scaffold

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"

	"github.com/slipway-build/slipway/pipeline/config"
)

// seeds are the files of that kind in the archives of testdata.
func seeds(f *testing.F, is func(string) bool) {
	f.Helper()
	names, err := filepath.Glob("testdata/*.txtar")
	if err != nil {
		f.Fatal(err)
	}
	for _, name := range names {
		ar, err := txtar.ParseFile(name)
		if err != nil {
			f.Fatal(err)
		}
		for _, file := range ar.Files {
			if is(filepath.Base(file.Name)) {
				f.Add(file.Data)
			}
		}
	}
}

// found is what a small repository has.
func found(f *testing.F) *survey {
	f.Helper()
	root, err := os.OpenRoot(tree(f, with(program(), "config.yaml", "a: 1")))
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { _ = root.Close() })
	s, err := look(f.Context(), root)
	if err != nil {
		f.Fatal(err)
	}
	return s
}

// FuzzGoReleaser converts any file: it is refused, or what comes out is a valid configuration that reads back.
func FuzzGoReleaser(f *testing.F) {
	seeds(f, func(name string) bool { return strings.Contains(name, "goreleaser") })
	f.Add([]byte(bomb()))
	f.Add([]byte("builds: &a\n  - <<: *a\n    goos: *a\n"))
	f.Add([]byte("archives:\n- name_template: '{{ \"{{ .Env.A }}\" }}'\n  wrap_in_directory: \"\\x07 '\\n\"\n"))
	s := found(f)
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) > 16<<10 {
			return
		}
		g, err := convert("f", b, s)
		if err != nil {
			return
		}
		p := proposal{survey: s}
		p.project("", g)
		if err := p.binaries(g); err != nil {
			t.Fatal(err)
		}
		p.images(g)
		p.packages(g)
		p.releaseNotes(g)
		p.signing(g)
		text := encode(p.config)
		c, err := config.Parse("c", text)
		if err != nil {
			t.Fatalf("%v in\n%s", err, text)
		}
		if again := encode(c); string(again) != string(text) {
			t.Fatalf("read back as\n%s\nwas\n%s", again, text)
		}
	})
}

// FuzzDockerfile reads any Dockerfile into a valid configuration.
func FuzzDockerfile(f *testing.F) {
	seeds(f, isDockerfile)
	f.Add([]byte("FROM ${A:-scratch}\nCOPY --from= [\"a\", \"/tool\"]\nENTRYPOINT []\nCMD [\"\"]\nEXPOSE x 1 99999\nVOLUME [\"\"]\nWORKDIR ../..\nLABEL \"{{\"=\"}}\"\n"))
	s := found(f)
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) > 16<<10 {
			return
		}
		p := proposal{survey: s}
		p.project("https://github.com/a/tool", nil)
		if err := p.binaries(nil); err != nil {
			t.Fatal(err)
		}
		d, err := p.readDockerfile("Dockerfile", string(b))
		if err != nil {
			return
		}
		p.config.Images = []config.Image{{Repository: "ghcr.io/a/tool"}}
		if d.distro != "" {
			p.image(&p.config.Images[0], importedImage{repository: "ghcr.io/a/tool"}, "tool", []*dockerfile{d})
		}
		text := encode(p.config)
		c, err := config.Parse("c", text)
		if err != nil {
			t.Fatalf("%v in\n%s", err, text)
		}
		if again := encode(c); string(again) != string(text) {
			t.Fatalf("read back as\n%s\nwas\n%s", again, text)
		}
	})
}

// FuzzText reads any README, licence and remote.
func FuzzText(f *testing.F) {
	f.Add("# T\n\nIt is. So.")
	f.Add("git@github.com:a/b.git")
	f.Add("<h1>x</h1> `a` **b** [c](d)")
	f.Fuzz(func(t *testing.T, s string) {
		recogniseLicence(s)
		p := proposal{config: config.Config{}}
		set(&p, &p.config.Project.Description, oneLine(firstSentence(s)), "description")
		if u := repositoryURL(s); u != "" {
			set(&p, &p.config.Project.Repository, u, "repository")
			if p.config.Project.Repository == "" {
				t.Errorf("%q became %q, which is not valid: %v", s, u, p.notes)
			}
		}
		if err := p.check(); err != nil {
			t.Error(err)
		}
	})
}
