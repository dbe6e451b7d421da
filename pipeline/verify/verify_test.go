package verify_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/slipway-build/slipway/pipeline/fixture/verifytest"
	"github.com/slipway-build/slipway/pipeline/release/artifact"
	"github.com/slipway-build/slipway/pipeline/release/fault"
	"github.com/slipway-build/slipway/pipeline/release/manifest"
	"github.com/slipway-build/slipway/pipeline/verify"
)

var update = flag.Bool("update", false, "rewrite the golden files")

func release(t *testing.T, o verifytest.Options) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "dist")
	if _, err := verifytest.Write(dir, o); err != nil {
		t.Fatal(err)
	}
	return dir
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func write(t *testing.T, dir, name, content string) {
	t.Helper()
	must(t, os.WriteFile(filepath.Join(dir, filepath.FromSlash(name)), []byte(content), 0o644))
}

// replace changes one text in a file of the release.
func replace(t *testing.T, dir, name, old, new string) {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(dir, filepath.FromSlash(name)))
	must(t, err)
	if !bytes.Contains(b, []byte(old)) {
		t.Fatalf("%s has no %q", name, old)
	}
	write(t, dir, name, strings.Replace(string(b), old, new, 1))
}

// flip changes one bit in the middle of a file.
func flip(t *testing.T, dir, name string) {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(dir, filepath.FromSlash(name)))
	must(t, err)
	b[len(b)/2] ^= 1
	write(t, dir, name, string(b))
}

// digestOf is what the manifest of a release says of a file.
func digestOf(t *testing.T, dir, name string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(dir, filepath.FromSlash(name)))
	must(t, err)
	return artifact.Sum(b).Hex()
}

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	file := filepath.Join("testdata", name)
	if *update {
		must(t, os.MkdirAll("testdata", 0o755))
		must(t, os.WriteFile(file, got, 0o644))
	}
	want, err := os.ReadFile(file)
	must(t, err)
	if !bytes.Equal(got, want) {
		t.Errorf("%s differs; run with -update if that is meant. Got:\n%s", file, got)
	}
}

func TestWhole(t *testing.T) {
	for _, parallel := range []int{0, 1, 3} {
		report, err := verify.Dist(t.Context(), release(t, verifytest.Options{}), verify.Options{Parallel: parallel, Verifier: "slipway 0.0.0"})
		must(t, err)
		if report.Verdict != verify.Pass || report.Count(verify.Pass) != len(report.Rows) {
			t.Errorf("verdict %s with %d of %d passed", report.Verdict, report.Count(verify.Pass), len(report.Rows))
		}
		var text bytes.Buffer
		must(t, report.WriteText(&text))
		golden(t, "whole.txt", text.Bytes())
		b, err := json.MarshalIndent(report, "", "  ")
		must(t, err)
		golden(t, "whole.json", append(b, '\n'))
	}
}

const (
	linuxArchive = "archives/hello_1.2.3_linux_amd64.tar.gz"
	imageName    = "ghcr.io/example/hello:1.2.3-alpine"
	chartName    = "ghcr.io/example/charts/hello:1.2.3"
)

// bills are the rows of bills of materials of the image for the platforms, that they are not what they should be.
func bills(detail string, slugs ...string) []string {
	var rows []string
	for _, slug := range slugs {
		for _, ending := range []string{".cdx.json", ".spdx.json"} {
			rows = append(rows, "FAIL sbom sbom/hello_1.2.3-alpine_"+slug+ending+" "+detail)
		}
	}
	return rows
}

// TestFaults plants one fault and expects exactly the rows that tell of it.
func TestFaults(t *testing.T) {
	baseLayer := verifytest.Blob([]byte("a base layer"))
	for _, tt := range []struct {
		name    string
		options verifytest.Options
		plant   func(t *testing.T, dir string)
		want    []string // verdict, kind, path and a part of the detail
	}{
		{
			name:  "no manifest",
			plant: func(t *testing.T, dir string) { must(t, os.Remove(filepath.Join(dir, manifest.FileName))) },
			want:  []string{"FAIL manifest release.json missing"},
		},
		{
			name:  "manifest is not JSON",
			plant: func(t *testing.T, dir string) { write(t, dir, manifest.FileName, "[") },
			want:  []string{"FAIL manifest release.json reading manifest"},
		},
		{
			name:  "manifest with an unknown field",
			plant: func(t *testing.T, dir string) { replace(t, dir, manifest.FileName, `"schema"`, `"more": 1, "schema"`) },
			want:  []string{"FAIL manifest release.json key \"more\" is unknown"},
		},
		{
			name: "manifest with a key twice",
			plant: func(t *testing.T, dir string) {
				replace(t, dir, manifest.FileName, `"commit":`, `"commit": "another", "commit":`)
			},
			want: []string{`FAIL manifest release.json key "commit" comes twice`},
		},
		{
			name: "manifest with a key in another letter case too",
			plant: func(t *testing.T, dir string) {
				replace(t, dir, manifest.FileName, `"images":`, `"Images": [], "images":`)
			},
			want: []string{`FAIL manifest release.json key "Images" comes twice, also as "images"`},
		},
		{
			name:  "manifest in another form",
			plant: func(t *testing.T, dir string) { replace(t, dir, manifest.FileName, `"name": `, `"name":  `) },
			want:  []string{"FAIL manifest release.json not in canonical form"},
		},
		{
			name: "manifest with a path that leaves the folder",
			plant: func(t *testing.T, dir string) {
				b, err := os.ReadFile(filepath.Join(dir, manifest.FileName))
				must(t, err)
				write(t, dir, manifest.FileName, strings.ReplaceAll(string(b), linuxArchive, "../etc/passwd"))
			},
			want: []string{"FAIL manifest release.json leaves its folder"},
		},
		{
			name: "manifest larger than its bound",
			plant: func(t *testing.T, dir string) {
				must(t, os.Truncate(filepath.Join(dir, manifest.FileName), 17<<20))
			},
			want: []string{"FAIL manifest release.json at most 16777216"},
		},
		{
			name:  "a byte changed",
			plant: func(t *testing.T, dir string) { flip(t, dir, linuxArchive) },
			want:  []string{"FAIL archive " + linuxArchive + " want sha256:"},
		},
		{
			name:    "a byte more",
			options: verifytest.Options{Payload: []byte("27 bytes that are no archive")[:27]},
			plant:   func(t *testing.T, dir string) { write(t, dir, linuxArchive, strings.Repeat("x", 28)) },
			want:    []string{"FAIL archive " + linuxArchive + " 28 bytes, want 27"},
		},
		{
			name:  "truncated",
			plant: func(t *testing.T, dir string) { must(t, os.Truncate(filepath.Join(dir, linuxArchive), 3)) },
			want:  []string{"FAIL archive " + linuxArchive + " 3 bytes, want "},
		},
		{
			name:  "a file missing",
			plant: func(t *testing.T, dir string) { must(t, os.Remove(filepath.Join(dir, linuxArchive))) },
			want:  []string{"FAIL archive " + linuxArchive + " missing"},
		},
		{
			name:  "a file too many",
			plant: func(t *testing.T, dir string) { write(t, dir, "archives/extra", "") },
			want:  []string{"FAIL file archives/extra not in release.json"},
		},
		{
			name:  "report.html where it is not excepted",
			plant: func(t *testing.T, dir string) { write(t, dir, "archives/report.html", "") },
			want:  []string{"FAIL file archives/report.html not in release.json"},
		},
		{
			name: "a folder in place of a file",
			plant: func(t *testing.T, dir string) {
				must(t, os.Remove(filepath.Join(dir, linuxArchive)))
				must(t, os.Mkdir(filepath.Join(dir, linuxArchive), 0o755))
			},
			want: []string{"FAIL archive " + linuxArchive + " missing"},
		},
		{
			name: "a link to the same bytes",
			plant: func(t *testing.T, dir string) {
				must(t, os.Rename(filepath.Join(dir, linuxArchive), filepath.Join(dir, "build.log")))
				must(t, os.Symlink("../build.log", filepath.Join(dir, linuxArchive)))
			},
			want: []string{"FAIL archive " + linuxArchive + " missing", "FAIL link " + linuxArchive + " symbolic link"},
		},
		{
			name: "a link to a folder outside",
			plant: func(t *testing.T, dir string) {
				outside := t.TempDir()
				must(t, os.Rename(filepath.Join(dir, "charts"), filepath.Join(outside, "charts")))
				must(t, os.Symlink(filepath.Join(outside, "charts"), filepath.Join(dir, "charts")))
			},
			want: []string{"FAIL link charts symbolic link", "FAIL chart charts/hello-1.2.3.tgz missing", "FAIL recipe charts/artifacthub-repo.yml missing"},
		},
		{
			name:  "checksums missing",
			plant: func(t *testing.T, dir string) { must(t, os.Remove(filepath.Join(dir, manifest.ChecksumsName))) },
			want:  []string{"FAIL checksums SHA256SUMS missing"},
		},
		{
			name: "checksums with another digest",
			plant: func(t *testing.T, dir string) {
				replace(t, dir, manifest.ChecksumsName, digestOf(t, dir, linuxArchive), strings.Repeat("0", 64))
			},
			want: []string{"FAIL checksums SHA256SUMS " + linuxArchive + " has sha256:0000"},
		},
		{
			name: "checksums without a line",
			plant: func(t *testing.T, dir string) {
				line := digestOf(t, dir, linuxArchive) + "  " + linuxArchive + "\n"
				replace(t, dir, manifest.ChecksumsName, line, "")
			},
			want: []string{"FAIL checksums SHA256SUMS " + linuxArchive + " is missing from it"},
		},
		{
			name: "checksums with a line more",
			plant: func(t *testing.T, dir string) {
				b, err := os.ReadFile(filepath.Join(dir, manifest.ChecksumsName))
				must(t, err)
				write(t, dir, manifest.ChecksumsName, string(b)+strings.Repeat("0", 64)+"  zzz\n")
			},
			want: []string{"FAIL checksums SHA256SUMS zzz is in it"},
		},
		{
			name: "checksums in another order",
			plant: func(t *testing.T, dir string) {
				b, err := os.ReadFile(filepath.Join(dir, manifest.ChecksumsName))
				must(t, err)
				first, rest, _ := strings.Cut(string(b), "\n")
				write(t, dir, manifest.ChecksumsName, rest+first+"\n")
			},
			want: []string{"FAIL checksums SHA256SUMS not in bytewise order"},
		},
		{
			name:    "unpublishable",
			options: verifytest.Options{Unpublishable: []string{"stand-in bases", "the tree was dirty"}},
			plant:   func(*testing.T, string) {},
			want:    []string{"FAIL release hello 1.2.3 unpublishable: stand-in bases; the tree was dirty"},
		},
		{
			name: "another image of that name",
			options: verifytest.Options{EditManifest: func(r *manifest.Release) {
				r.Images[0].Digest = artifact.Sum([]byte("another"))
			}},
			plant: func(*testing.T, string) {},
			want: []string{
				"FAIL image " + imageName + " index.json gives sha256:", "FAIL index " + imageName + " is not in release.json",
				"SKIP platform " + imageName + " linux/amd64 could not be read", "SKIP platform " + imageName + " linux/arm64 could not be read",
			},
		},
		{
			name:    "a tag that index.json does not have",
			options: verifytest.Options{EditManifest: func(r *manifest.Release) { r.Images[0].Tags = append(r.Images[0].Tags, "1.2.3") }},
			plant:   func(*testing.T, string) {},
			want:    []string{"FAIL image ghcr.io/example/hello:1.2.3 index.json does not name it"},
		},
		{
			name:    "an image without a tag",
			options: verifytest.Options{EditManifest: func(r *manifest.Release) { r.Images[0].Tags = nil }},
			plant:   func(*testing.T, string) {},
			want: append(bills("which is not in release.json", "linux_amd64", "linux_arm64"),
				"FAIL image ghcr.io/example/hello has no tag", "FAIL image "+imageName+" index.json names it"),
		},
		{
			name:    "a name that the manifest does not have",
			options: verifytest.Options{EditManifest: func(r *manifest.Release) { r.Images = nil }},
			plant:   func(*testing.T, string) {},
			want:    append(bills("which is not in release.json", "linux_amd64", "linux_arm64"), "FAIL image "+imageName+" index.json names it"),
		},
		{
			name: "an unnamed image",
			options: verifytest.Options{Edit: func(files map[string][]byte) {
				files["images/index.json"] = bytes.Replace(files["images/index.json"], []byte("image.ref.name"), []byte("image.title"), 1)
			}},
			plant: func(*testing.T, string) {},
			want:  []string{"FAIL layout images/index.json is named \"\"", "FAIL image " + imageName + " does not name it"},
		},
		{
			name:    "no index.json",
			options: verifytest.Options{Edit: func(files map[string][]byte) { delete(files, "images/index.json") }},
			plant:   func(*testing.T, string) {},
			want: []string{
				"FAIL layout images/index.json not in release.json", "FAIL image " + imageName + " does not name it", "FAIL chart " + chartName + " does not name it",
			},
		},
		{
			name: "oci-layout of another version",
			options: verifytest.Options{Edit: func(files map[string][]byte) {
				files["images/oci-layout"] = []byte(`{"imageLayoutVersion":"2.0.0"}`)
			}},
			plant: func(*testing.T, string) {},
			want:  []string{`FAIL layout images/oci-layout "2.0.0", want 1.0.0`},
		},
		{
			name:    "no oci-layout",
			options: verifytest.Options{Edit: func(files map[string][]byte) { delete(files, "images/oci-layout") }},
			plant:   func(*testing.T, string) {},
			want:    []string{"FAIL layout images/oci-layout not in release.json"},
		},
		{
			name:    "a layer that the manifest does not list",
			options: verifytest.Options{Edit: func(files map[string][]byte) { delete(files, baseLayer) }},
			plant:   func(*testing.T, string) {},
			want: []string{
				"FAIL platform " + imageName + " linux/amd64 layer 0: blob sha256:", "FAIL platform " + imageName + " linux/arm64 layer 0: blob sha256:",
			},
		},
		{
			name:  "a layer that is gone",
			plant: func(t *testing.T, dir string) { must(t, os.Remove(filepath.Join(dir, baseLayer))) },
			want: []string{
				"FAIL image " + baseLayer + " missing",
				"FAIL platform " + imageName + " linux/amd64 layer 0", "FAIL platform " + imageName + " linux/arm64 layer 0",
			},
		},
		{
			name: "a layer under a name that is not its digest",
			options: verifytest.Options{Edit: func(files map[string][]byte) {
				files[baseLayer] = []byte("A BASE LAYER")
			}},
			plant: func(*testing.T, string) {},
			want: []string{
				"FAIL image " + baseLayer + " it has no place in the layout",
				"FAIL platform " + imageName + " linux/amd64 is listed with", "FAIL platform " + imageName + " linux/arm64 is listed with",
			},
		},
		{
			name:    "a blob that nothing refers to",
			options: verifytest.Options{Edit: func(files map[string][]byte) { files[verifytest.Blob([]byte("orphan"))] = []byte("orphan") }},
			plant:   func(*testing.T, string) {},
			want:    []string{"FAIL layout " + verifytest.Blob([]byte("orphan")) + " no image refers"},
		},
		{
			name: "a platform that the index does not have",
			options: verifytest.Options{EditManifest: func(r *manifest.Release) {
				p := r.Images[0].Platforms[0]
				p.Platform.Arch, p.Digest = "s390x", artifact.Sum([]byte("none"))
				r.Images[0].Platforms = append(r.Images[0].Platforms, p)
			}},
			plant: func(*testing.T, string) {},
			want:  []string{"FAIL platform " + imageName + " linux/s390x does not have its manifest"},
		},
		{
			name: "a platform that the manifest does not have",
			options: verifytest.Options{EditManifest: func(r *manifest.Release) {
				r.Images[0].Platforms = r.Images[0].Platforms[:1]
			}},
			plant: func(*testing.T, string) {},
			want:  append(bills("which is not in release.json", "linux_arm64"), "FAIL index "+imageName+" for linux/arm64 that release.json does not name"),
		},
		{
			name: "two platforms swapped",
			options: verifytest.Options{EditManifest: func(r *manifest.Release) {
				p := r.Images[0].Platforms
				p[0].Platform, p[1].Platform = p[1].Platform, p[0].Platform
			}},
			plant: func(*testing.T, string) {},
			want: append(bills("digest in release.json is", "linux_amd64", "linux_arm64"),
				"FAIL platform "+imageName+" linux/amd64 the index gives it for linux/arm64",
				"FAIL platform "+imageName+" linux/arm64 the index gives it for linux/amd64",
			),
		},
		{
			name:    "a pull of another size",
			options: verifytest.Options{EditManifest: func(r *manifest.Release) { r.Images[0].Platforms[1].Size++ }},
			plant:   func(*testing.T, string) {},
			want:    []string{"FAIL platform " + imageName + " linux/arm64 a pull fetches"},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := release(t, tt.options)
			tt.plant(t, dir)
			report, err := verify.Dist(t.Context(), dir, verify.Options{})
			if fault.CodeOf(err) != fault.Mismatch {
				t.Errorf("error %v has code %d, want %d", err, fault.CodeOf(err), fault.Mismatch)
			}
			if report.Verdict != verify.Fail {
				t.Errorf("verdict %s, want FAIL", report.Verdict)
			}
			left := tt.want
			for _, row := range report.Rows {
				if row.Verdict == verify.Pass {
					continue
				}
				found := -1
				for i, want := range left {
					start := fmt.Sprintf("%s %s %s ", row.Verdict, row.Kind, row.Path)
					if detail, ok := strings.CutPrefix(want, start); ok && strings.Contains(row.Detail, detail) {
						found = i
					}
				}
				if found < 0 {
					t.Errorf("unexpected row: %s %s %s %s", row.Verdict, row.Kind, row.Path, row.Detail)
					continue
				}
				left = append(append([]string{}, left[:found]...), left[found+1:]...)
			}
			for _, want := range left {
				t.Errorf("no row: %s", want)
			}
		})
	}
}

// TestDocuments plants faults inside the documents of the layout, under the digests that they then have.
func TestDocuments(t *testing.T) {
	for _, tt := range []struct {
		name, kind, old, new, want string
	}{
		{"index is not JSON", "index", "{", "[", "invalid character ':'"},
		{"index with a malformed digest", "index", "sha256:", "sha256:../../", "is not sha256:"},
		{"manifest is not JSON", "manifest", "{", "", "something after the JSON document"},
		{"manifest with a malformed digest", "manifest", "sha256:", "md5:", "is not sha256:"},
		{"manifest whose config has no digest", "manifest", `"digest"`, `"indigestion"`, "a descriptor has no digest"},
		{"manifest with a size that is not the blob's", "manifest", `"size":12`, `"size":13`, "its descriptor says 13"},
		{"manifest without layers", "manifest", `"layers"`, `"strata"`, "it has no layer"},
		{"manifest with layers and Layers", "manifest", `"layers":`, `"layers":[],"Layers":`, `key "layers" comes twice, also as "Layers"`},
		{"manifest with Layers and layers", "manifest", `"layers":`, `"Layers":[],"layers":`, `key "Layers" has to be spelled "layers"`},
		{"manifest with layers twice", "manifest", `"layers":`, `"layers":[],"layers":`, `key "layers" comes twice`},
		{"manifest with layers twice, escaped", "manifest", `"layers":`, `"\u006cayers":[],"layers":`, `key "layers" comes twice`},
		{"manifest with a long s", "manifest", `"layers":`, `"layer\u017f":[],"layers":`, `has to be spelled "layers"`},
		{"manifest with Config and config", "manifest", `"config":`, `"Config":{},"config":`, `key "Config" has to be spelled "config"`},
		{"index with Manifests", "index", `"manifests":`, `"Manifests":[],"manifests":`, `key "Manifests" has to be spelled "manifests"`},
		{"config with Architecture", "config", `"architecture":`, `"Architecture":"s390x","architecture":`, `key "Architecture" has to be spelled "architecture"`},
		{"config with labels in two places", "config", `"config":{`, `"Config":{"Labels":{}},"config":{`, `key "Config" has to be spelled "config"`},
		{"config with a label twice", "config", `"org.opencontainers.image.version":"1.2.3"`, `"org.opencontainers.image.version":"9.9.9","org.opencontainers.image.version":"1.2.3"`, "comes twice"},
		{"something unknown twice", "config", `"config":{`, `"x":{"a":1,"A":2},"config":{`, `key "a" comes twice, also as "A"`},
		{"config for another architecture", "config", `"architecture":"a`, `"architecture":"xa`, "its config is for linux/xa"},
		{"config for another system", "config", `"os":"linux"`, `"os":"windows"`, "its config is for windows/"},
		{"config of another version", "config", `"org.opencontainers.image.version":"1.2.3"`, `"org.opencontainers.image.version":"1.2.2"`, `image.version is "1.2.2", want "1.2.3"`},
		{"config of another commit", "config", `"org.opencontainers.image.revision":"0`, `"org.opencontainers.image.revision":"f`, `image.revision is "f`},
		{"chart manifest is not JSON", "chart manifest", "{", "", "something after the JSON document"},
		{"chart of another name", "chart config", `"name":"hello"`, `"name":"goodbye"`, `config's name is "goodbye", want "hello"`},
		{"chart of another version", "chart config", `"version":"1.2.3"`, `"version":"1.2.2"`, `config's version is "1.2.2", want "1.2.3"`},
		{"chart of another program", "chart config", `"appVersion":"1.2.3"`, `"appVersion":"1.2.2"`, `config's appVersion is "1.2.2", want "1.2.3"`},
		{"chart with a config of another type", "chart manifest", `helm.config`, `helm.other`, `its config is of type`},
		{"chart with a layer of another type", "chart manifest", `content.v1`, `content.v2`, `it has 1 layers, want one of type`},
		{"config larger than its bound", "config", "{", "{" + strings.Repeat(" ", 5<<20), "at most 4194304"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := release(t, verifytest.Options{EditDocument: func(kind string, b []byte) []byte {
				if kind != tt.kind {
					return b
				}
				if !bytes.Contains(b, []byte(tt.old)) {
					t.Errorf("%s has no %s", b, tt.old)
				}
				return bytes.Replace(b, []byte(tt.old), []byte(tt.new), 1)
			}})
			report, err := verify.Dist(t.Context(), dir, verify.Options{})
			if fault.CodeOf(err) != fault.Mismatch {
				t.Errorf("error %v has code %d, want %d", err, fault.CodeOf(err), fault.Mismatch)
			}
			var details []string
			for _, row := range report.Rows {
				if row.Verdict == verify.Fail {
					details = append(details, row.Kind+" "+row.Path+" "+row.Detail)
				}
			}
			if got := strings.Join(details, "\n"); !strings.Contains(got, tt.want) {
				t.Errorf("no failure says %q:\n%s", tt.want, got)
			}
		})
	}
}

// TestBare accepts a release that has nothing but programs, archives, an image and a chart.
func TestBare(t *testing.T) {
	report, err := verify.Dist(t.Context(), release(t, verifytest.Options{Bare: true}), verify.Options{})
	if err != nil || report.Verdict != verify.Pass {
		t.Errorf("%v\n%s", err, failures(report))
	}
}

func TestAllowUnpublishable(t *testing.T) {
	dir := release(t, verifytest.Options{Unpublishable: []string{"stand-in bases"}})
	report, err := verify.Dist(t.Context(), dir, verify.Options{AllowUnpublishable: true})
	must(t, err)
	var text bytes.Buffer
	must(t, report.WriteText(&text))
	if want := "unpublishable, and allowed: stand-in bases"; !strings.Contains(text.String(), want) {
		t.Errorf("the report does not say %q:\n%s", want, text.String())
	}
}

// TestFloating accepts a layout that names the image by its floating tags too, as long as they are this image.
func TestFloating(t *testing.T) {
	const floating = "ghcr.io/example/hello:latest"
	for _, digest := range []string{"", artifact.Sum([]byte("another")).Hex()} {
		dir := release(t, verifytest.Options{
			Edit: func(files map[string][]byte) {
				var index struct {
					Manifests []map[string]any `json:"manifests"`
				}
				must(t, json.Unmarshal(files["images/index.json"], &index))
				second := map[string]any{}
				for k, v := range index.Manifests[0] {
					second[k] = v
				}
				second["annotations"] = map[string]string{"org.opencontainers.image.ref.name": floating}
				if digest != "" {
					second["digest"] = "sha256:" + digest
				}
				index.Manifests = append(index.Manifests, second)
				b, err := json.Marshal(index)
				must(t, err)
				files["images/index.json"] = b
			},
			EditManifest: func(r *manifest.Release) { r.Images[0].Floating = []string{"latest", "1"} },
		})
		report, err := verify.Dist(t.Context(), dir, verify.Options{})
		if (err == nil) != (digest == "") {
			t.Errorf("with digest %q: %v, %+v", digest, err, report.Rows)
		}
	}
}

func TestNotAFolder(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	write(t, filepath.Dir(file), "file", "")
	for _, dir := range []string{file, filepath.Join(file, "x"), filepath.Join(t.TempDir(), "none")} {
		if _, err := verify.Dist(t.Context(), dir, verify.Options{}); fault.CodeOf(err) != fault.Usage {
			t.Errorf("%s: error %v has code %d, want %d", dir, err, fault.CodeOf(err), fault.Usage)
		}
	}
}

// TestUnreadable fails what it may not read: unchecked is no pass.
func TestUnreadable(t *testing.T) {
	if runtime.GOOS == "windows" || os.Getuid() == 0 {
		t.Skip("permissions do not bind this user")
	}
	dir := release(t, verifytest.Options{})
	must(t, os.Chmod(filepath.Join(dir, linuxArchive), 0))
	must(t, os.Chmod(filepath.Join(dir, "charts"), 0))
	t.Cleanup(func() { _ = os.Chmod(filepath.Join(dir, "charts"), fs.FileMode(0o755)) })
	report, err := verify.Dist(t.Context(), dir, verify.Options{})
	if fault.CodeOf(err) != fault.Mismatch || report.Count(verify.Fail) != 4 {
		t.Errorf("%v, %d failed, want 4: %+v", err, report.Count(verify.Fail), report.Rows)
	}
}

func TestCancelled(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := verify.Dist(ctx, release(t, verifytest.Options{}), verify.Options{}); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want %v", err, context.Canceled)
	}
}

func TestWriteTextEscapes(t *testing.T) {
	dir := release(t, verifytest.Options{})
	write(t, dir, "evil\x1b[2J\nPASS", "")
	report, err := verify.Dist(t.Context(), dir, verify.Options{})
	if fault.CodeOf(err) != fault.Mismatch {
		t.Errorf("error %v has code %d, want %d", err, fault.CodeOf(err), fault.Mismatch)
	}
	var text bytes.Buffer
	must(t, report.WriteText(&text))
	if strings.ContainsRune(text.String(), '\x1b') || !strings.Contains(text.String(), `"evil\x1b[2J\nPASS"`) {
		t.Errorf("a file name reaches the terminal as it is: %q", text.String())
	}
	lines := strings.Split(strings.TrimSpace(text.String()), "\n")
	if last := lines[len(lines)-2]; !strings.HasPrefix(last, "FAIL") {
		t.Errorf("the failure is not at the end: %s", last)
	}
}

// FuzzLayout feeds documents from outside to the reader of layouts: it may fail them, and not more than that.
func FuzzLayout(f *testing.F) {
	f.Add("index", []byte(`{"manifests":[{"digest":"sha256:"}]}`))
	f.Add("manifest", []byte(`{"config":{},"layers":[{}]}`))
	f.Add("config", []byte(`{"os":1}`))
	f.Add("index.json", []byte(`{"manifests":[{"annotations":{"org.opencontainers.image.ref.name":""}}]}`))
	f.Fuzz(func(t *testing.T, which string, content []byte) {
		o := verifytest.Options{EditDocument: func(kind string, b []byte) []byte {
			if kind == which {
				return content
			}
			return b
		}}
		if which == "index.json" {
			o.Edit = func(files map[string][]byte) { files["images/index.json"] = content }
		}
		files, _, err := verifytest.Files(o)
		if err != nil {
			t.Fatal(err)
		}
		fsys := fstest.MapFS{}
		for p, b := range files {
			fsys[p] = &fstest.MapFile{Data: b, Mode: 0o644}
		}
		report, err := verify.CheckFS(t.Context(), fsys, "dist", verify.Options{Parallel: 1})
		if err != nil && fault.CodeOf(err) != fault.Mismatch {
			t.Fatal(err)
		}
		if passed := report.Count(verify.Pass) == len(report.Rows); passed != (report.Verdict == verify.Pass) {
			t.Errorf("verdict %s with %d of %d passed", report.Verdict, report.Count(verify.Pass), len(report.Rows))
		}
	})
}

func BenchmarkDist(b *testing.B) {
	dir := filepath.Join(b.TempDir(), "dist")
	payload := make([]byte, 64<<20)
	if _, err := verifytest.Write(dir, verifytest.Options{Payload: payload}); err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(len(payload)))
	for b.Loop() {
		if _, err := verify.Dist(b.Context(), dir, verify.Options{HashesOnly: true}); err != nil {
			b.Fatal(err)
		}
	}
}

// newContext is for what outlives one test.
func newContext() context.Context { return context.Background() }
