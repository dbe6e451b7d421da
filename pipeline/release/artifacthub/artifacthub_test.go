package artifacthub_test

import (
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
	helmyaml "sigs.k8s.io/yaml"

	"github.com/slipway-build/slipway/pipeline/release/artifact"
	"github.com/slipway-build/slipway/pipeline/release/artifacthub"
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

func facts(t testing.TB) artifacthub.Facts {
	platforms := []artifact.Platform{{OS: "linux", Arch: "amd64"}, {OS: "linux", Arch: "arm", Variant: "v7"}}
	return artifacthub.Facts{
		Version: parse(t, "1.2.3-rc.1+build.4"),
		License: "Apache-2.0",
		Images: []artifacthub.Image{
			{Repository: "ghcr.io/example/hello", Distro: "alpine", Platforms: platforms},
			{Repository: "registry.example.com:5000/hello", Distro: "ubi"},
		},
		Changes: []notes.Change{
			{Kind: notes.Added, Description: "cli: a flag", Links: []notes.Link{{Name: "#12", URL: "https://github.com/example/hello/issues/12"}}},
			{Kind: notes.Security, Description: "yes: no # not a comment"},
		},
		Security:     true,
		Links:        []notes.Link{{Name: "source", URL: "https://github.com/example/hello"}, {Name: "support", URL: "https://github.com/example/hello/issues"}},
		SignKey:      artifacthub.SignKey{Fingerprint: "00112233445566778899", URL: "https://example.com/slipway.pub"},
		Category:     "integration-delivery",
		RepositoryID: "01234567-89ab-cdef-0123-456789abcdef",
		Owners:       []artifacthub.Owner{{Name: "example", Email: "owner@example.com"}},
		Ignore:       []artifacthub.Ignored{{Name: "old"}, {Name: "hello", Version: "^0\\."}},
	}
}

func TestGolden(t *testing.T) {
	f := facts(t)
	if err := f.Check(); err != nil {
		t.Error(err)
	}
	annotations := artifacthub.Annotations(f)
	var b strings.Builder
	for _, k := range slices.Sorted(maps.Keys(annotations)) {
		fmt.Fprintf(&b, "-- %s --\n%s\n", k, strings.TrimSuffix(annotations[k], "\n"))
	}
	file, err := artifacthub.Repository(f)
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprintf(&b, "-- %s --\n%s", artifacthub.RepositoryFile, file)
	name := filepath.Join("testdata", "facts.golden")
	if *update {
		if err := os.WriteFile(name, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if b.String() != string(want) {
		t.Errorf("%s is out of date (run go test -update and look at the difference); got:\n%s", name, b.String())
	}
}

// accepted reads annotations as Artifact Hub does, with two readers of YAML: one of version 1.1 and one of 1.2.
func accepted(t *testing.T, f artifacthub.Facts, annotations map[string]string) {
	t.Helper()
	var images []struct {
		Name, Image string
		Platforms   []string
	}
	var changes []struct {
		Kind, Description string
		Links             []notes.Link
	}
	var links []notes.Link
	var key artifacthub.SignKey
	for name, into := range map[string]any{"images": &images, "changes": &changes, "links": &links, "signKey": &key} {
		text := annotations["artifacthub.io/"+name]
		if err := yaml.Unmarshal([]byte(text), into); err != nil {
			t.Errorf("%s: %v\n%s", name, err, text)
		}
		var one, two any
		if err := helmyaml.Unmarshal([]byte(text), &one); err != nil {
			t.Errorf("%s: %v\n%s", name, err, text)
		}
		if err := yaml.Unmarshal([]byte(text), &two); err != nil || !reflect.DeepEqual(one, two) {
			t.Errorf("%s is %v to one reader and %v to another (%v)", name, one, two, err)
		}
	}
	if len(changes) != len(f.Changes) {
		t.Errorf("%d changes of %d", len(changes), len(f.Changes))
	}
	for i, c := range changes {
		if want := f.Changes[i]; c.Kind != string(want.Kind) || c.Description != want.Description || len(c.Links) != len(want.Links) {
			t.Errorf("change %+v, want %+v", c, want)
		}
	}
	for _, i := range images {
		if i.Name == "" || strings.Contains(i.Image, "+") || strings.Contains(i.Image, "latest") {
			t.Errorf("image %+v", i)
		}
	}
	for _, name := range []string{"prerelease", "containsSecurityUpdates"} {
		if _, err := strconv.ParseBool(annotations["artifacthub.io/"+name]); err != nil {
			t.Error(err)
		}
	}
}

func TestAccepted(t *testing.T) {
	f := facts(t)
	accepted(t, f, artifacthub.Annotations(f))

	annotations := artifacthub.Annotations(artifacthub.Facts{Version: parse(t, "1.2.3")})
	want := map[string]string{"artifacthub.io/prerelease": "false", "artifacthub.io/containsSecurityUpdates": "false"}
	if !reflect.DeepEqual(annotations, want) {
		t.Errorf("%v, want %v", annotations, want)
	}
	if b, err := artifacthub.Repository(artifacthub.Facts{}); b != nil || err != nil {
		t.Errorf("%q, %v", b, err)
	}
}

// TestRefused names what Artifact Hub would not take, and leaves it out of the annotations.
func TestRefused(t *testing.T) {
	for want, change := range map[string]func(*artifacthub.Facts){
		"category":     func(f *artifacthub.Facts) { f.Category = "Databases" },
		"has the kind": func(f *artifacthub.Facts) { f.Changes = []notes.Change{{Kind: "feature", Description: "x"}} },
		"has no name":  func(f *artifacthub.Facts) { f.Links = []notes.Link{{URL: "https://example.com"}} },
		"not an http":  func(f *artifacthub.Facts) { f.Links = []notes.Link{{Name: "x", URL: "javascript:alert(1)"}} },
		"has no URL":   func(f *artifacthub.Facts) { f.SignKey = artifacthub.SignKey{Fingerprint: "00"} },
		"fingerprint": func(f *artifacthub.Facts) {
			f.SignKey = artifacthub.SignKey{Fingerprint: "a b", URL: "https://example.com"}
		},
		"not a repository": func(f *artifacthub.Facts) { f.Images = []artifacthub.Image{{Repository: "hello"}} },
		"repository ID":    func(f *artifacthub.Facts) { f.RepositoryID = "hello" },
		"address":          func(f *artifacthub.Facts) { f.Owners = []artifacthub.Owner{{Name: "x", Email: "x"}} },
		"package has no":   func(f *artifacthub.Facts) { f.Ignore = []artifacthub.Ignored{{Version: "1"}} },
		"versions of":      func(f *artifacthub.Facts) { f.Ignore = []artifacthub.Ignored{{Name: "x", Version: "("}} },
	} {
		f := facts(t)
		change(&f)
		err := f.Check()
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
		_, repoErr := artifacthub.Repository(f)
		inFile := f.RepositoryID == "hello" || len(f.Owners[0].Email) == 1 || len(f.Ignore) == 1
		if (repoErr != nil) != inFile {
			t.Errorf("%s: %v", want, repoErr)
		}
		for key, value := range artifacthub.Annotations(f) {
			if strings.Contains(value, "javascript:") || strings.Contains(value, "feature") || value == "Databases" || value == "" {
				t.Errorf("%s: %q", key, value)
			}
		}
	}
}

func FuzzAnnotations(f *testing.F) {
	f.Add("yes", "0x10")
	f.Add("- a: b\n# c", "1_000")
	f.Add("12:30:45", "'\"\\\u2028\x85\t")
	f.Add("!!binary |", "&a *a %TAG --- ...")
	f.Fuzz(func(t *testing.T, description, name string) {
		n, err := notes.New(notes.Options{Version: parse(t, "1.2.3"), Tag: "v1.2.3", Commits: []notes.Commit{{Message: "fix(" + name + "): " + description}}})
		if err != nil {
			t.Fatal(err)
		}
		facts := facts(t)
		facts.Changes = n.Changes
		accepted(t, facts, artifacthub.Annotations(facts))
	})
}
