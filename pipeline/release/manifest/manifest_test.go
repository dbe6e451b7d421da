package manifest_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"io"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/slipway-build/slipway/pipeline/fixture/earlier"
	"github.com/slipway-build/slipway/pipeline/release/artifact"
	"github.com/slipway-build/slipway/pipeline/release/fault"
	"github.com/slipway-build/slipway/pipeline/release/manifest"
	"github.com/slipway-build/slipway/pipeline/release/version"
)

var update = flag.Bool("update", false, "rewrite the golden files")

const (
	binary  = "binaries/tool_linux_amd64/tool"
	archive = "archives/tool_1.2.3-rc.1+b_linux_amd64.tar.gz"
	chart   = "charts/tool-1.2.3-rc.1+b.tgz"
	deb     = "packages/tool_1.2.3~rc.1+b_amd64.deb"
	formula = "packages/homebrew/Formula/tool.rb"
	bill    = "sbom/tool_linux_amd64.spdx.json"
)

// release is a whole release, its files in no order.
func release(t testing.TB) manifest.Release {
	t.Helper()
	v, err := version.Parse("1.2.3-rc.1+b")
	if err != nil {
		t.Fatal(err)
	}
	linux := artifact.Platform{OS: "linux", Arch: "amd64"}
	sum := func(s string) artifact.Digest { return artifact.Sum([]byte(s)) }
	return manifest.Release{
		Schema: manifest.Schema, Name: "tool", Version: v, Tag: "v1.2.3-rc.1+b", Repository: "https://example.com/a?b=c&d=<e>",
		Commit: "0123456789abcdef0123456789abcdef01234567", Tree: "89abcdef0123456789abcdef0123456789abcdef",
		Time: time.Date(2024, 2, 29, 12, 0, 0, 0, time.UTC), Plan: sum("plan"),
		Unpublishable: []string{"it was built from a dirty tree"},
		Inputs:        []manifest.Input{{Kind: "base", Name: "docker.io/library/alpine:3.22", Digest: string(sum("base"))}},
		Binaries:      []manifest.Binary{{Name: "tool", Platform: linux, Path: binary}},
		Archives:      []manifest.Archive{{Platform: linux, Path: archive}},
		Images: []manifest.Image{{
			Repository: "ghcr.io/example/tool", Distro: "alpine", Tags: []string{"1.2.3-rc.1_b-alpine", "1.2.3-rc.1_b"}, Digest: sum("index"), Size: 300,
			Platforms: []manifest.ImagePlatform{{Platform: linux, Digest: sum("manifest"), Size: 1 << 33}},
		}},
		Charts: []manifest.Chart{{
			Name: "tool", Version: v.String(), AppVersion: v.String(), Path: chart,
			Repository: "ghcr.io/example/charts/tool", Digest: sum("chart manifest"), Size: 400,
		}},
		Packages: []manifest.Package{{
			Format: "deb", Name: "tool", Version: "1.2.3~rc.1+b", Architecture: "amd64", Platform: linux, Path: deb,
		}},
		Recipes: []manifest.Recipe{{Format: "formula", Name: "tool", Version: v.String(), Path: formula, Archives: []string{archive}}},
		SBOMs:   []manifest.SBOM{{Format: "spdx", Subject: binary, Platform: linux, Digest: sum("binary"), Path: bill}},
		Notes:   "notes.md", Provenance: "attestations/tool.provenance.json",
		Signing: &manifest.Signing{Key: sum("key")},
		Files: []artifact.File{
			{Path: chart, Kind: artifact.Chart, Size: 3, Digest: sum("chart")},
			{Path: binary, Kind: artifact.Binary, Size: 1, Digest: sum("binary")},
			{Path: "images/oci-layout", Kind: artifact.Image, Size: 4, Digest: sum("layout")},
			{Path: archive, Kind: artifact.Archive, Size: 2, Digest: sum("archive")},
			{Path: "archives.txt", Kind: artifact.Archive, Size: 0, Digest: sum("")},
			{Path: deb, Kind: artifact.Package, Size: 5, Digest: sum("deb")},
			{Path: formula, Kind: artifact.Recipe, Size: 6, Digest: sum("formula")},
			{Path: bill, Kind: artifact.SBOM, Size: 7, Digest: sum("bill")},
			{Path: "notes.md", Kind: artifact.Notes, Size: 8, Digest: sum("notes")},
			{Path: "attestations/tool.provenance.json", Kind: artifact.Provenance, Size: 9, Digest: sum("statement")},
		},
	}
}

func encode(t testing.TB, r manifest.Release) []byte {
	t.Helper()
	b, err := r.Encode()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestEncode(t *testing.T) {
	r := release(t)
	given := slices.Clone(r.Files)
	got := encode(t, r)
	if !slices.Equal(given, r.Files) {
		t.Error("Encode put the given files in order")
	}
	const golden = "testdata/release.json.golden"
	if *update {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(golden, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("the manifest changed:\n%s", got)
	}

	back, err := manifest.Decode(bytes.NewReader(got))
	if err != nil {
		t.Fatal(err)
	}
	slices.SortFunc(r.Files, func(a, b artifact.File) int { return strings.Compare(a.Path, b.Path) })
	if !reflect.DeepEqual(back, r) {
		t.Errorf("the manifest reads back as\n%+v\nwant\n%+v", back, r)
	}

	name := filepath.Join(t.TempDir(), manifest.FileName)
	if err := os.WriteFile(name, got, 0o644); err != nil {
		t.Fatal(err)
	}
	if loaded, err := manifest.Load(name); err != nil || !reflect.DeepEqual(loaded, r) {
		t.Errorf("Load = %+v, %v", loaded, err)
	}
	if _, err := manifest.Load(name + ".gone"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("Load of nothing: %v", err)
	}
}

// One release has one encoding, however its values came about.
func TestEncodeIsCanonical(t *testing.T) {
	want := encode(t, release(t))
	r := release(t)
	r.Schema = ""
	r.Time = r.Time.In(time.FixedZone("somewhere", -5*3600))
	slices.Reverse(r.Files)
	if got := encode(t, r); !bytes.Equal(got, want) {
		t.Errorf("another order and zone give other bytes:\n%s", got)
	}

	empty := release(t)
	empty = manifest.Release{Name: empty.Name, Version: empty.Version, Commit: empty.Commit, Time: empty.Time, Plan: empty.Plan}
	b := encode(t, empty)
	if bytes.Contains(b, []byte("null")) {
		t.Errorf("a list that is not there is null:\n%s", b)
	}
	back, err := manifest.Decode(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(encode(t, back), b) {
		t.Error("an empty release encodes differently after it was decoded")
	}
	r = release(t)
	r.Images[0].Tags, r.Images[0].Platforms = nil, nil
	if b := encode(t, r); bytes.Contains(b, []byte("null")) || r.Images[0].Tags != nil {
		t.Errorf("an image without platforms:\n%s", b)
	}
}

// Encode does not write, and Decode does not read, what contradicts itself.
func TestCheck(t *testing.T) {
	for want, edit := range map[string]func(r *manifest.Release){
		`name, version or commit is missing`:                                                func(r *manifest.Release) { r.Name = "" },
		`commit, tree or tag begins with -; git would take it for an option`:                func(r *manifest.Release) { r.Commit = "--upload-pack=x" },
		`time 1969-12-31T23:59:59Z is not a commit time in whole seconds since 1970`:        func(r *manifest.Release) { r.Time = time.Unix(-1, 0).UTC() },
		`time 1970-01-01T00:00:00.5Z is not a commit time in whole seconds since 1970`:      func(r *manifest.Release) { r.Time = time.Unix(0, 5e8).UTC() },
		`plan: digest "sha256:x" is not sha256:<64 lower-case hex digits>`:                  func(r *manifest.Release) { r.Plan = "sha256:x" },
		`"archives.txt": digest "" is not sha256:<64 lower-case hex digits>`:                func(r *manifest.Release) { r.Files[4].Digest = "" },
		`"archives.txt": size -1 is negative`:                                               func(r *manifest.Release) { r.Files[4].Size = -1 },
		`release.json cannot list itself`:                                                   func(r *manifest.Release) { r.Files[4].Path = manifest.FileName },
		`SHA256SUMS cannot list itself`:                                                     func(r *manifest.Release) { r.Files[4].Path = manifest.ChecksumsName },
		`paths "SHA256SUMS" and "sha256sums" are one file where letter case does not count`: func(r *manifest.Release) { r.Files[4].Path = "sha256sums" },
		`downloads: "other.txt" is not checksums.txt`:                                       func(r *manifest.Release) { r.Downloads = "other.txt" },
		`checksums.txt cannot list itself`: func(r *manifest.Release) {
			r.Downloads, r.Files[4].Path = manifest.DownloadsName, manifest.DownloadsName
		},
		`paths "checksums.txt" and "Checksums.txt" are one file where letter case does not count`: func(r *manifest.Release) {
			r.Downloads, r.Files[4].Path = manifest.DownloadsName, "Checksums.txt"
		},
		`path "release.json" is a file and a folder of "release.json/x"`:                                       func(r *manifest.Release) { r.Files[4].Path = "release.json/x" },
		`path "../x" leaves its folder`:                                                                        func(r *manifest.Release) { r.Files[4].Path = "../x" },
		`path "/x" is absolute; it must be relative`:                                                           func(r *manifest.Release) { r.Files[4].Path = "/x" },
		`path "` + binary + `" is named twice`:                                                                 func(r *manifest.Release) { r.Files[4].Path = binary },
		`"binaries/gone" is not among the files`:                                                               func(r *manifest.Release) { r.Binaries[0].Path = "binaries/gone" },
		`"` + archive + `" is a file of kind "archive" and named as binary`:                                    func(r *manifest.Release) { r.Binaries[0].Path = archive },
		`"` + chart + `" is a file of kind "chart" and named as archive`:                                       func(r *manifest.Release) { r.Archives[0].Path = chart },
		`"charts/gone.tgz" is not among the files`:                                                             func(r *manifest.Release) { r.Charts[0].Path = "charts/gone.tgz" },
		`platform "/" is not os/arch or os/arch/variant`:                                                       func(r *manifest.Release) { r.Binaries[0].Platform = artifact.Platform{} },
		`chart tool: it has only some of repository, digest and size`:                                          func(r *manifest.Release) { r.Charts[0].Repository = "" },
		`chart tool: digest "x" is not sha256:<64 lower-case hex digits>`:                                      func(r *manifest.Release) { r.Charts[0].Digest = "x" },
		`"` + archive + `" is a file of kind "archive" and named as package`:                                   func(r *manifest.Release) { r.Packages[0].Path = archive },
		`"` + deb + `" is a file of kind "package" and named as recipe`:                                        func(r *manifest.Release) { r.Recipes[0].Path = deb },
		formula + `: "` + deb + `" is a file of kind "package" and named as archive`:                           func(r *manifest.Release) { r.Recipes[0].Archives[0] = deb },
		`"` + deb + `" is a file of kind "package" and named as sbom`:                                          func(r *manifest.Release) { r.SBOMs[0].Path = deb },
		bill + `: digest "" is not sha256:<64 lower-case hex digits>`:                                          func(r *manifest.Release) { r.SBOMs[0].Digest = "" },
		`"gone.md" is not among the files`:                                                                     func(r *manifest.Release) { r.Notes = "gone.md" },
		`"notes.md" is a file of kind "notes" and named as provenance`:                                         func(r *manifest.Release) { r.Provenance = "notes.md" },
		`signing: want a key, or an identity and its issuer`:                                                   func(r *manifest.Release) { r.Signing = &manifest.Signing{} },
		`signing: key: digest "x" is not sha256:<64 lower-case hex digits>`:                                    func(r *manifest.Release) { r.Signing.Key = "x" },
		`image ghcr.io/example/tool (alpine): digest "" is not sha256:<64 lower-case hex digits>`:              func(r *manifest.Release) { r.Images[0].Digest = "" },
		`image ghcr.io/example/tool (alpine): size -5 is negative`:                                             func(r *manifest.Release) { r.Images[0].Size = -5 },
		`image ghcr.io/example/tool (alpine): linux/amd64: digest "" is not sha256:<64 lower-case hex digits>`: func(r *manifest.Release) { r.Images[0].Platforms[0].Digest = "" },
		`image ghcr.io/example/tool (alpine): linux/amd64: size -1 is negative`:                                func(r *manifest.Release) { r.Images[0].Platforms[0].Size = -1 },
		`image ghcr.io/example/tool (alpine): platform "/" is not os/arch or os/arch/variant`:                  func(r *manifest.Release) { r.Images[0].Platforms[0].Platform = artifact.Platform{} },
	} {
		r := release(t)
		edit(&r)
		if _, err := r.Encode(); err == nil || err.Error() != "writing manifest: "+want {
			t.Errorf("Encode:\n got %v\nwant writing manifest: %s", err, want)
		}
	}
}

func TestDecode(t *testing.T) {
	good := string(encode(t, release(t)))
	swap := func(from, to string) string {
		if !strings.Contains(good, from) {
			t.Fatalf("the manifest has no %s", from)
		}
		return strings.Replace(good, from, to, 1)
	}
	for _, tt := range []struct{ name, in, want string }{
		{"nothing", "", "unexpected EOF"},
		{"half", good[:len(good)/2], "unexpected EOF"},
		{"two", good + good, "there is something after the JSON document"},
		{"something behind", good + "x", "there is something after the JSON document"},
		{"no object", "[]", "cannot unmarshal array"},
		{"null", "null", `schema "" is not "slipway.release/v1"`},
		{"no schema", "{}", `schema "" is not "slipway.release/v1"`},
		{"newer", swap("slipway.release/v1", "slipway.release/v2"), `schema "slipway.release/v2" is not "slipway.release/v1"; read it with the version of slipway that wrote it`},
		{"newer with a field", swap(`"slipway.release/v1",`, `"slipway.release/v2", "news": 1,`), `schema "slipway.release/v2" is not`},
		{"unknown field", swap(`"name": "tool",`, `"name": "tool", "extra": 1,`), `key "extra" is unknown`},
		{"unknown field of an image", swap(`"distro"`, `"flavour": 1, "distro"`), `key "flavour" is unknown`},
		{"unknown field of an image in a later minor version", strings.Replace(swap(`"name": "tool",`, `"minor": 1, "name": "tool",`), `"distro"`, `"flavour": 1, "distro"`, 1), `key "flavour" is unknown`},
		{"a key twice", swap(`"commit":`, `"commit": "another", "commit":`), `key "commit" comes twice`},
		{"a key in capitals", swap(`"commit":`, `"Commit": "another", "commit":`), `key "Commit" comes twice, also as "commit"`},
		{"minor that is written out", swap(`"name": "tool",`, "\"minor\": 0,\n  \"name\": \"tool\","), "not in canonical form from byte 40 on, so two readers may see two releases"},
		{"a space", good[:1] + " " + good[1:], "not in canonical form from byte 2 on"},
		{"no newline", good[:len(good)-1], "not in canonical form"},
		{"files in another order", swap(`"archives.txt"`, `"zzz.txt"`), "not in canonical form"},
		{"wrong type", swap(`"size": 300`, `"size": "300"`), "cannot unmarshal string"},
		{"fraction", swap(`"size": 300`, `"size": 300.5`), "cannot unmarshal number 300.5"},
		{"overflow", swap(`"size": 300`, `"size": 9223372036854775808`), "cannot unmarshal number 9223372036854775808"},
		{"version", swap(`"version": "1.2.3-rc.1+b"`, `"version": "1.2"`), `version "1.2" is not SemVer`},
		{"no version", swap(`"version": "1.2.3-rc.1+b",`, ``), "name, version or commit is missing"},
		{"time", swap("2024-02-29T12", "2023-02-29T12"), "day out of range"},
		{"digest", swap(`"sha256:`, `"SHA256:`), `digest "SHA256:`},
		{"platform", swap(`"linux/amd64"`, `"linux/z80"`), `platform "linux/z80": Go has no port to "z80" on linux`},
		{"path", swap(`"path": "archives.txt"`, `"path": "../archives.txt"`), `path "../archives.txt" leaves its folder`},
		{"path in JSON's spelling", swap(`"path": "archives.txt"`, `"path": "\u002e\u002e\u002farchives.txt"`), `path "../archives.txt" leaves its folder`},
		{"zero byte", swap(`"path": "archives.txt"`, `"path": "a\u0000"`), "has a character that not every system allows"},
		{"too deep", strings.Repeat("[", 1<<20), "nested more than 32 deep"},
		{"too large", good + strings.Repeat(" ", 16<<20), "more than 16777216 bytes"},
	} {
		r, err := manifest.Decode(strings.NewReader(tt.in))
		if err == nil || !strings.HasPrefix(err.Error(), "reading manifest: ") || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %s", tt.name, err, tt.want)
		}
		if !reflect.DeepEqual(r, manifest.Release{}) {
			t.Errorf("%s: a release beside an error: %+v", tt.name, r)
		}
	}
	broken := errors.New("the disk is gone")
	if _, err := manifest.Decode(io.MultiReader(strings.NewReader("{"), failing{broken})); !errors.Is(err, broken) {
		t.Errorf("a reader that fails: %v", err)
	}
}

// A release of another version is read as far as it goes, and passed on as the same bytes. The files in testdata say what a
// later version may write; none of them is written again.
func TestVersions(t *testing.T) {
	for _, tt := range []struct {
		name, file, want string
		unknown          []string
	}{
		{name: "of 0a03cd7", file: filepath.Join(earlier.Unpack(t), "dist", manifest.FileName)},
		{name: "of a later minor version", file: "testdata/later.json", unknown: []string{"shards", "retention"}},
		{name: "with a later key in two letter cases", file: "testdata/later_twice.json", want: `reading manifest: key "shards" comes twice, also as "Shards"`},
		{name: "with a later key below the top", file: "testdata/later_below.json", want: `reading manifest: key "since" is unknown`},
		{name: "with a later key and no later version", file: "testdata/later_unsaid.json", want: `reading manifest: key "retention" is unknown`},
		{name: "that requires what is not known", file: "testdata/requires.json", want: `reading manifest: it requires "shards", which this version does not know; read it with a newer slipway`},
		{name: "of another major version", file: "testdata/major.json", want: `reading manifest: schema "slipway.release/v2" is not "slipway.release/v1"; read it with the version of slipway that wrote it`},
	} {
		b, err := os.ReadFile(tt.file)
		if err != nil {
			t.Fatal(err)
		}
		r, err := manifest.Decode(bytes.NewReader(b))
		if tt.want != "" {
			if err == nil || err.Error() != tt.want {
				t.Errorf("a release %s: %v, want %s", tt.name, err, tt.want)
			}
			if old := strings.Contains(tt.want, "read it with"); (fault.CodeOf(err) == fault.Usage) != old {
				t.Errorf("a release %s is exit %d", tt.name, fault.CodeOf(err))
			}
			continue
		}
		if err != nil {
			t.Errorf("a release %s: %v", tt.name, err)
			continue
		}
		var unknown []string
		for _, m := range r.Unknown {
			unknown = append(unknown, m.Key)
		}
		if !slices.Equal(unknown, tt.unknown) {
			t.Errorf("a release %s has the unknown keys %q, want %q", tt.name, unknown, tt.unknown)
		}
		if again := encode(t, r); !bytes.Equal(again, b) {
			t.Errorf("a release %s is passed on as\n%s", tt.name, again)
		}
		if r.Unknown == nil {
			continue
		}
		r.Minor = 0
		if _, err := r.Encode(); err == nil {
			t.Errorf("a release %s is written as one of this version", tt.name)
		}
	}
}

// What a bounded reader is given without end, it stops reading.
func TestBounds(t *testing.T) {
	endless := &zeros{}
	if _, err := manifest.Decode(endless); err == nil || endless.n > 17<<20 {
		t.Errorf("Decode: %v after %d bytes", err, endless.n)
	}
	endless = &zeros{}
	if _, err := manifest.ParseChecksums(endless); err == nil || endless.n > 17<<20 {
		t.Errorf("ParseChecksums: %v after %d bytes", err, endless.n)
	}
}

type zeros struct{ n int }

func (z *zeros) Read(b []byte) (int, error) {
	z.n += len(b)
	return len(b), nil
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

// The list of downloads has files by their names alone, and none by a name that is not its own alone.
func TestLists(t *testing.T) {
	r := release(t)
	if lists := r.Lists("sha256:00"); len(lists) != 1 || lists[0].Name != manifest.ChecksumsName {
		t.Errorf("a release of before: %v", lists)
	}
	r.Downloads = manifest.DownloadsName
	for _, p := range []string{"packages/homebrew/Casks/TOOL.rb", "sbom/sha256sums", "charts/checksums.txt"} {
		r.Files = append(r.Files, artifact.File{Path: p, Kind: artifact.Recipe, Digest: artifact.Sum([]byte(p))})
	}
	b := encode(t, r)
	if !bytes.Contains(b, []byte("\"minor\": 1,")) || !bytes.HasSuffix(b, []byte("],\n  \"downloads\": \"checksums.txt\"\n}\n")) {
		t.Errorf("%s", b)
	}
	if _, err := manifest.Decode(bytes.NewReader(bytes.Replace(b, []byte("\"minor\": 1,\n  "), nil, 1))); err == nil {
		t.Error("a release of minor version 0 has the key")
	}
	lists := r.Lists(artifact.Sum(b))
	if len(lists) != 2 || lists[1].Name != manifest.DownloadsName {
		t.Fatalf("%v", lists)
	}
	sums, err := manifest.ParseChecksums(bytes.NewReader(lists[1].Content))
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		"archives.txt", "notes.md", manifest.FileName, "tool-1.2.3-rc.1+b.tgz", "tool.provenance.json", "tool_1.2.3-rc.1+b_linux_amd64.tar.gz",
		"tool_1.2.3~rc.1+b_amd64.deb", "tool_linux_amd64.spdx.json",
	}
	if got := slices.Sorted(maps.Keys(sums)); !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}

func TestChecksums(t *testing.T) {
	r := release(t)
	b := manifest.Checksums(r.Files)
	lines := strings.Split(strings.TrimSuffix(string(b), "\n"), "\n")
	if len(lines) != len(r.Files) || !strings.HasSuffix(string(b), "\n") {
		t.Fatalf("%q", b)
	}
	var names []string
	for _, l := range lines {
		names = append(names, l[66:])
		if l[64:66] != "  " {
			t.Errorf("line %q", l)
		}
	}
	// Bytewise, "archives.txt" stands before "archives/": a dot is less than a slash.
	if want := []string{
		"archives.txt", archive, "attestations/tool.provenance.json", binary, chart, "images/oci-layout", "notes.md", formula, deb, bill,
	}; !slices.Equal(names, want) {
		t.Errorf("the order is %q, want %q", names, want)
	}
	got, err := manifest.ParseChecksums(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]artifact.Digest{}
	for _, f := range r.Files {
		want[f.Path] = f.Digest
	}
	if !maps.Equal(got, want) {
		t.Errorf("ParseChecksums = %v, want %v", got, want)
	}
}

func TestParseChecksums(t *testing.T) {
	const form = "want <64 hex digits>, two spaces and a path"
	sum := artifact.Sum([]byte("x")).Hex()
	for _, tt := range []struct{ name, in, want string }{
		{"text", sum + "  a\n", ""},
		{"binary", sum + " *a\n", ""},
		{"no newline at the end", sum + "  a\n" + sum + "  b/c", ""},
		{"spaces inside", sum + "  a b\n", ""},
		{"nothing", "", "checksums:1: " + form},
		{"an empty line", sum + "  a\n\n" + sum + "  b\n", "checksums:2: " + form},
		{"one space", sum + " a\n", "checksums:1: " + form},
		{"a tab", sum + "\ta\n", "checksums:1: " + form},
		{"no path", sum + "  \n", `checksums:1: path "" is empty`},
		{"no path at all", sum + "\n", "checksums:1: " + form},
		{"upper case", strings.ToUpper(sum) + "  a\n", "checksums:1: " + form},
		{"short", sum[1:] + "  a\n", "checksums:1: " + form},
		{"long", sum + "0  a\n", "checksums:1: " + form},
		{"another tool", "SHA256 (a) = " + sum + "\n", "checksums:1: " + form},
		{"escaped", `\` + sum + `  a\nb` + "\n", "checksums:1: " + form},
		{"a comment", "# sums\n" + sum + "  a\n", "checksums:1: " + form},
		{"carriage returns", sum + "  a\r\n", `checksums:1: path "a\r": "a\r" has a character that not every system allows in a file name`},
		{"up", sum + "  a\n" + sum + "  ../a\n", `checksums:2: path "../a" leaves its folder`},
		{"absolute", sum + "  /etc/passwd\n", `checksums:1: path "/etc/passwd" is absolute; it must be relative`},
		{"not clean", sum + "  ./a\n", `checksums:1: path "./a" is not clean; write "a"`},
		{"twice", sum + "  a\n" + sum + " *a\n", `checksums:2: "a" is named twice`},
		{"twice by case", sum + "  a\n" + sum + "  A\n", `reading checksums: paths "a" and "A" are one file where letter case does not count`},
		{"file and folder", sum + "  a\n" + sum + "  a/b\n", `reading checksums: path "a" is a file and a folder of "a/b"`},
		{"not UTF-8", sum + "  \xff\n", `checksums:1: path "\xff" is not UTF-8`},
	} {
		sums, err := manifest.ParseChecksums(strings.NewReader(tt.in))
		got := ""
		if err != nil {
			got = err.Error()
		}
		if got != tt.want || (err == nil) != (sums != nil) {
			t.Errorf("%s:\n got %s with %v\nwant %s", tt.name, got, sums, tt.want)
		}
	}
}

func FuzzDecode(f *testing.F) {
	good := encode(f, release(f))
	f.Add(good)
	f.Add(bytes.Replace(good, []byte(`"name"`), []byte(`"NAME"`), 1))
	f.Add(bytes.Replace(good, []byte("12:00:00Z"), []byte("12:00:00+01:00"), 1))
	f.Add(bytes.Replace(good, []byte(`"tags": [`), []byte(`"tags": null, "tags": [`), 1))
	f.Add(bytes.Replace(good, []byte(`oci-layout"`), []byte(`oci\u002dlayout"`), 1))
	f.Add([]byte(`{"schema":"slipway.release/v1"}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := manifest.Decode(bytes.NewReader(b))
		if err != nil {
			return
		}
		for _, file := range r.Files {
			if !filepath.IsLocal(file.Path) {
				t.Fatalf("path %q leaves its root", file.Path)
			}
		}
		first, err := r.Encode()
		if err != nil {
			t.Fatalf("what was read cannot be written: %v", err)
		}
		again, err := manifest.Decode(bytes.NewReader(first))
		if err != nil {
			t.Fatalf("what was written cannot be read: %v", err)
		}
		second, err := again.Encode()
		if err != nil || !bytes.Equal(first, second) {
			t.Fatalf("the second encoding differs from the first (%v):\n%s\n%s", err, first, second)
		}
		if !json.Valid(first) {
			t.Fatalf("no JSON: %s", first)
		}
	})
}

func FuzzParseChecksums(f *testing.F) {
	sum := artifact.Sum([]byte("x")).Hex()
	for _, s := range []string{sum + "  a\n", sum + " *a/b\n" + sum + "  c", "", "\n", sum + "  ../a\n", sum + "  a\r\n"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		sums, err := manifest.ParseChecksums(bytes.NewReader(b))
		if err != nil {
			return
		}
		var files []artifact.File
		for p, d := range sums {
			if !filepath.IsLocal(p) {
				t.Fatalf("path %q leaves its root", p)
			}
			files = append(files, artifact.File{Path: p, Digest: d})
		}
		back, err := manifest.ParseChecksums(bytes.NewReader(manifest.Checksums(files)))
		if err != nil || !maps.Equal(back, sums) {
			t.Fatalf("%q reads back as %v, %v, want %v", b, back, err, sums)
		}
	})
}
