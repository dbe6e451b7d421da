package provenance_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/slipway-build/slipway/pipeline/release/artifact"
	"github.com/slipway-build/slipway/pipeline/release/provenance"
)

var update = flag.Bool("update", false, "write the golden files")

func sum(s string) artifact.Digest { return artifact.Sum([]byte(s)) }

func facts() provenance.Facts {
	return provenance.Facts{
		Repository: "https://github.com/example/tool",
		Tag:        "v1.2.3",
		Commit:     strings.Repeat("0123456789", 4),
		Tree:       strings.Repeat("abcdef0123", 4),
		Config:     "slipway.yaml",
		Version:    "1.2.3",
		Plan:       sum("plan"),
		Builder:    map[string]string{"slipway": "0.9.0", "go": "1.26.8"},
		Files: []artifact.File{
			{Path: "archives/tool_1.2.3_linux_amd64.tar.gz", Kind: artifact.Archive, Size: 7, Digest: sum("archive")},
			{Path: "binaries/tool_linux_amd64/tool", Kind: artifact.Binary, Size: 6, Digest: sum("binary")},
		},
		Images: []provenance.Image{
			{Repository: "ghcr.io/example/tool", Tag: "1.2.3-alpine", Digest: sum("alpine")},
			{Repository: "ghcr.io/example/tool", Tag: "1.2.3-ubuntu", Digest: sum("ubuntu")},
			{Repository: "ghcr.io/example/charts/tool", Tag: "1.2.3", Digest: sum("chart")},
		},
		Inputs: []artifact.Input{
			{Kind: "toolchain", Name: "golang.org/toolchain@v0.0.1-go1.26.8.linux-amd64", Digest: "h1:Khu2En+0gcYPZ2kuIihfswbzxv/mIHXgzPZ018Oty48="},
			{Kind: "base", Name: "docker.io/library/alpine:3.22", Digest: string(sum("base"))},
			{Kind: "base", Name: "docker.io/library/alpine:3.22", Digest: string(sum("base"))},
			{Kind: "chart", Name: "common@2.0.0", Digest: string(sum("common"))},
			{Kind: "certificates", Name: "mozilla", Digest: string(sum("certs"))},
		},
		Modules: []provenance.Module{
			{Path: "github.com/marklodato/go-hello-world", Version: "v0.0.1", Sum: "h1:Khu2En+0gcYPZ2kuIihfswbzxv/mIHXgzPZ018Oty48="},
			{Path: "github.com/Masterminds/semver/v3", Version: "v3.5.0+incompatible", Sum: "h1:Khu2En+0gcYPZ2kuIihfswbzxv/mIHXgzPZ018Oty48="},
			{Path: "example.org/local", Version: "v0.0.0"},
		},
	}
}

func statement(t testing.TB, f provenance.Facts) []byte {
	t.Helper()
	b, err := provenance.Statement(f)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func want(t *testing.T, err error, says string) {
	t.Helper()
	if (err == nil) != (says == "") || err != nil && !strings.Contains(err.Error(), says) {
		t.Errorf("got %v, want it to say %q", err, says)
	}
}

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	name = "testdata/" + name
	if *update {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, b) {
		t.Errorf("%s:\n%s", name, got)
	}
}

func run() provenance.Metadata {
	return provenance.Metadata{
		InvocationID: "https://ci.example/run/7", StartedOn: time.Unix(1700000000, 999).In(time.FixedZone("", 3600)), FinishedOn: time.Unix(1700000060, 0),
		Byproducts: []provenance.Resource{{Name: "build.log", Digest: map[string]string{"sha256": sum("log").Hex()}}},
	}
}

func TestGolden(t *testing.T) {
	b := statement(t, facts())
	golden(t, "statement.json", b)
	signed, err := provenance.WithMetadata(b, run())
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "signed.json", signed)
	snapshot := facts()
	snapshot.Tag, snapshot.Tree, snapshot.Repository, snapshot.Builder, snapshot.Modules = "", "", "", nil, nil
	golden(t, "snapshot.json", statement(t, snapshot))
}

// TestUntagged reads the names that images had in releases before this: the repository alone.
func TestUntagged(t *testing.T) {
	f := facts()
	f.Untagged = true
	b := statement(t, f)
	d, err := provenance.Parse(b)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, s := range d.Subject[2:] {
		names = append(names, s.Name)
	}
	if want := []string{"ghcr.io/example/charts/tool", "ghcr.io/example/tool", "ghcr.io/example/tool"}; !slices.Equal(names, want) {
		t.Errorf("got %q, want %q", names, want)
	}
}

// The digest is that of the example in the specification of in-toto: hex, since it is no file's SHA-256.
func TestDirHash(t *testing.T) {
	d, err := provenance.Parse(statement(t, facts()))
	if err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(d.Predicate.Definition.Dependencies, func(r provenance.Resource) bool {
		return r.Name == "github.com/marklodato/go-hello-world@v0.0.1"
	})
	r := d.Predicate.Definition.Dependencies[i]
	if len(r.Digest) != 1 || r.Digest["dirHash"] != "2a1bb6127fb481c60f67692e22285fb306f3c6ffe62075e0ccf674d7c3adcb8f" {
		t.Errorf("the module is described as %+v", r)
	}
}

// The order in which facts come, and facts that come twice, change nothing.
func TestOrder(t *testing.T) {
	f := facts()
	b := statement(t, f)
	slices.Reverse(f.Files)
	slices.Reverse(f.Images)
	slices.Reverse(f.Inputs)
	slices.Reverse(f.Modules)
	f.Modules = append(f.Modules, f.Modules...)
	if !bytes.Equal(statement(t, f), b) {
		t.Error("the order of the facts is in the statement")
	}
	if bytes.Contains(b, []byte("metadata")) || bytes.Contains(b, []byte("On\"")) {
		t.Error("the unsigned statement has a time")
	}
	if !bytes.HasSuffix(b, []byte("}\n")) || !json.Valid(b) {
		t.Error("it is not JSON with a newline at its end")
	}
}

func TestStatementRefuses(t *testing.T) {
	for says, f := range map[string]func(*provenance.Facts){
		"the first dependency is not a git commit":                    func(f *provenance.Facts) { f.Commit = "main" },
		"git commit in 40 or 64":                                      func(f *provenance.Facts) { f.Commit = "" },
		"the path of the configuration":                               func(f *provenance.Facts) { f.Config = "" },
		"or the version is missing":                                   func(f *provenance.Facts) { f.Version = "" },
		"plan: digest":                                                func(f *provenance.Facts) { f.Plan = "" },
		"it is about nothing":                                         func(f *provenance.Facts) { f.Files, f.Images = nil, nil },
		`subject "x" is not named by a SHA-256`:                       func(f *provenance.Facts) { f.Files[0].Path, f.Files[0].Digest = "x", "" },
		"has no name":                                                 func(f *provenance.Facts) { f.Files[0].Path = "" },
		`base "x": digest "md5:1"`:                                    func(f *provenance.Facts) { f.Inputs[1] = artifact.Input{Kind: "base", Name: "x", Digest: "md5:1"} },
		`toolchain "x" is not a module@version`:                       func(f *provenance.Facts) { f.Inputs[0].Name = "x" },
		"sum \"h1:AA==\" is not":                                      func(f *provenance.Facts) { f.Modules[0].Sum = "h1:AA==" },
		"sum \"sha256:":                                               func(f *provenance.Facts) { f.Modules[0].Sum = string(sum("x")) },
		`two subjects are called "ghcr.io/example/tool:1.2.3-alpine"`: func(f *provenance.Facts) { f.Images[1].Tag = "1.2.3-alpine" },
		`two subjects are called "binaries/tool_linux_amd64/tool"`:    func(f *provenance.Facts) { f.Files[0].Path = f.Files[1].Path },
		"has no name or no version":                                   func(f *provenance.Facts) { f.Modules[0].Version = "" },
	} {
		x := facts()
		f(&x)
		_, err := provenance.Statement(x)
		want(t, err, says)
	}
}

func TestEqual(t *testing.T) {
	unsigned := statement(t, facts())
	for _, m := range []provenance.Metadata{{}, run(), {InvocationID: "x"}, {StartedOn: time.Unix(1, 0)}} {
		signed, err := provenance.WithMetadata(unsigned, m)
		if err != nil {
			t.Fatal(err)
		}
		want(t, provenance.Equal(signed, unsigned), "")
		// What was added before is replaced and not kept.
		again, err := provenance.WithMetadata(signed, provenance.Metadata{})
		if err != nil || !bytes.Equal(again, unsigned) {
			t.Errorf("metadata remains: %v", err)
		}
	}
	signed, err := provenance.WithMetadata(unsigned, run())
	if err != nil {
		t.Fatal(err)
	}
	want(t, provenance.Equal(unsigned, signed), "the unsigned statement has the metadata of a run")
	want(t, provenance.Equal([]byte("{}"), unsigned), "signed statement: reading provenance")
	want(t, provenance.Equal(signed, []byte("{}")), "unsigned statement: reading provenance")
	for says, f := range map[string]func(*provenance.Facts){
		"version 1.2.2 with plan":           func(f *provenance.Facts) { f.Version = "1.2.2" },
		"with plan " + sum("other").Short(): func(f *provenance.Facts) { f.Plan = sum("other") },
		"other external parameters":         func(f *provenance.Facts) { f.Tag = "v1.2.4" },
		"other subjects":                    func(f *provenance.Facts) { f.Files[0].Digest = sum("evil") },
		"other subjects (4 and 5)":          func(f *provenance.Facts) { f.Files = f.Files[:1] },
		"other dependencies":                func(f *provenance.Facts) { f.Commit = strings.Repeat("f", 40) },
		"other dependencies (5 and 8)":      func(f *provenance.Facts) { f.Modules = nil },
		"another builder":                   func(f *provenance.Facts) { f.BuilderID = "https://builder.example" },
	} {
		x := facts()
		f(&x)
		signed, err := provenance.WithMetadata(statement(t, x), run())
		if err != nil {
			t.Fatal(err)
		}
		want(t, provenance.Equal(signed, unsigned), says)
	}
}

func TestParseRefuses(t *testing.T) {
	good := string(statement(t, facts()))
	replace := func(from, to string) string {
		out := strings.Replace(good, from, to, 1)
		if out == good {
			t.Fatalf("%s is not in the statement", from)
		}
		return out
	}
	for name, tt := range map[string]struct{ in, says string }{
		"empty":           {"", "EOF"},
		"truncated":       {good[:len(good)/2], "unexpected EOF"},
		"no newline":      {strings.TrimSuffix(good, "\n"), "canonical"},
		"two":             {good + good, "something after the JSON document"},
		"huge":            {strings.Repeat(" ", 13<<20), "more than 12582912 bytes"},
		"unknown key":     {replace(`"config"`, `"secret": "x", "config"`), `key "secret" is unknown`},
		"same key":        {replace(`"config"`, `"config": "x", "config"`), `key "config" comes twice`},
		"letter case":     {replace(`"predicateType"`, `"PredicateType"`), `has to be spelled "predicateType"`},
		"other order":     {replace(`"_type": "https://in-toto.io/Statement/v1",`, ``), "a statement of type"},
		"other statement": {replace(`Statement/v1`, `Statement/v0.1`), "a statement of type"},
		"other predicate": {replace(`slsa.dev/provenance/v1`, `slsa.dev/provenance/v0.2`), "it says"},
		"other build":     {replace(provenance.BuildType, "https://example.org"), "a build of type"},
		"no builder":      {replace(`"id": "`+provenance.BuilderID+`"`, `"id": ""`), "who built"},
		"upper-case hex":  {replace(sum("archive").Hex(), strings.ToUpper(sum("archive").Hex())), "not named by a SHA-256"},
		"second digest":   {replace(`"sha256": "`, `"md5": "00", "sha256": "`), "not named by a SHA-256"},
		"empty resource":  {replace(`"uri": "pkg:golang/example.org/local@v0.0.0"`, `"uri": ""`), "neither a URI nor a digest"},
		"time":            {replace(`"runDetails": {`, `"runDetails": {"metadata": {"startedOn": "2023-11-14T23:15:00+01:00"},`), "is not a time in UTC"},
		"not a time":      {replace(`"runDetails": {`, `"runDetails": {"metadata": {"finishedOn": "today"},`), "is not a time in UTC"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := provenance.Parse([]byte(tt.in))
			want(t, err, tt.says)
		})
	}
	_, err := provenance.WithMetadata([]byte(good), provenance.Metadata{Byproducts: []provenance.Resource{{Name: "x"}}})
	want(t, err, `resource "x" has neither a URI nor a digest`)
}

func FuzzParse(f *testing.F) {
	b := statement(f, facts())
	f.Add(b)
	signed, err := provenance.WithMetadata(b, run())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(signed)
	f.Fuzz(func(t *testing.T, in []byte) {
		if _, err := provenance.Parse(in); err != nil {
			return
		}
		out, err := provenance.WithMetadata(in, provenance.Metadata{})
		if err != nil {
			t.Fatal(err)
		}
		if err := provenance.Equal(in, out); err != nil {
			t.Errorf("%v: %s", err, in)
		}
	})
}
