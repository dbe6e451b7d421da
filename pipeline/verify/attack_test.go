package verify_test

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/fstest"

	"github.com/slipway-build/slipway/pipeline/fixture"
	"github.com/slipway-build/slipway/pipeline/fixture/verifytest"
	"github.com/slipway-build/slipway/pipeline/release/artifact"
	"github.com/slipway-build/slipway/pipeline/release/fault"
	"github.com/slipway-build/slipway/pipeline/release/manifest"
	"github.com/slipway-build/slipway/pipeline/release/provenance"
	"github.com/slipway-build/slipway/pipeline/trust/sign"
	"github.com/slipway-build/slipway/pipeline/trust/signature"
	"github.com/slipway-build/slipway/pipeline/verify"
)

// The keys of the tests: the project's and somebody else's.
var ours, theirs = sync.OnceValue(newKey), sync.OnceValue(newKey)

func newKey() sign.Key {
	key, err := sign.Generate(sign.ECDSA)
	if err != nil {
		panic(err)
	}
	return key
}

func keys(of ...sign.Key) verify.Options {
	var o verify.Options
	for _, k := range of {
		o.Keys = append(o.Keys, k.Public())
	}
	return o
}

// forgery is a release in the hands of somebody who can change all of it but has no key.
type forgery struct {
	t     testing.TB
	files map[string][]byte
	rel   manifest.Release
}

var releases sync.Map // by version: a signed release

// signed is a copy of a release that the project has signed.
func signed(t testing.TB, version string) *forgery {
	t.Helper()
	once, _ := releases.LoadOrStore(version, sync.OnceValue(func() map[string][]byte {
		dir, err := os.MkdirTemp("", "verify-*")
		if err != nil {
			panic(err)
		}
		defer os.RemoveAll(dir)
		o := verifytest.Options{Version: version, Downloads: true, Signing: &manifest.Signing{Key: ours().Public().Fingerprint()}}
		o.EditDocument = func(kind string, b []byte) []byte { // as a build has it
			if kind == "index" {
				b = bytes.Replace(b, []byte("{"), []byte(`{"annotations":{"`+verify.Created+`":"2024-02-29T12:00:00Z"},`), 1)
			}
			return b
		}
		if _, err := verifytest.Write(dir, o); err != nil {
			panic(err)
		}
		return signDir(dir, ours())
	}))
	f := &forgery{t: t, files: map[string][]byte{}}
	for p, b := range once.(func() map[string][]byte)() {
		f.files[p] = bytes.Clone(b)
	}
	f.load()
	return f
}

// signDir signs a release on disk and returns its files.
func signDir(dir string, key sign.Key) map[string][]byte {
	_, err := sign.Release(newContext(), dir, sign.Options{Signer: key, Run: provenance.Metadata{InvocationID: "a run"}})
	if err != nil {
		panic(err)
	}
	files := map[string][]byte{}
	err = fs.WalkDir(os.DirFS(dir), ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		files[name], err = os.ReadFile(filepath.Join(dir, name))
		return err
	})
	if err != nil {
		panic(err)
	}
	return files
}

func (f *forgery) load() {
	f.t.Helper()
	rel, err := manifest.Decode(bytes.NewReader(f.files[manifest.FileName]))
	must(f.t, err)
	f.rel = rel
}

// sign has the release as it is now signed by key.
func (f *forgery) sign(key sign.Key) {
	f.t.Helper()
	dir := f.t.TempDir()
	for p, b := range f.files {
		must(f.t, os.MkdirAll(filepath.Join(dir, path.Dir(p)), 0o755))
		must(f.t, os.WriteFile(filepath.Join(dir, p), b, 0o644))
	}
	f.files = signDir(dir, key)
}

// unsign takes all signatures away.
func (f *forgery) unsign() {
	for p := range f.files {
		if strings.HasSuffix(p, signature.Suffix) || strings.HasSuffix(p, ".intoto.jsonl") || strings.HasPrefix(p, "signatures/") {
			delete(f.files, p)
		}
	}
}

// digest is that of a file as it is now.
func (f *forgery) digest(p string) artifact.Digest { return artifact.Sum(f.files[p]) }

// seal writes provenance, manifest and checksums anew, so that they agree with the files.
func (f *forgery) seal() {
	f.t.Helper()
	list := func() {
		for i, l := range f.rel.Files {
			b, ok := f.files[l.Path]
			if !ok {
				f.t.Fatalf("%s is in the manifest and not there", l.Path)
			}
			f.rel.Files[i].Size, f.rel.Files[i].Digest = int64(len(b)), artifact.Sum(b)
		}
	}
	list()
	if f.rel.Provenance != "" {
		statement, err := verifytest.Statement(f.rel)
		must(f.t, err)
		f.files[f.rel.Provenance] = statement
		list()
	}
	f.write()
}

// write writes manifest and checksums as they should be for the manifest.
func (f *forgery) write() {
	f.t.Helper()
	b, err := f.rel.Encode()
	must(f.t, err)
	f.files[manifest.FileName] = b
	for _, l := range f.rel.Lists(artifact.Sum(b)) {
		f.files[l.Name] = l.Content
	}
}

// rename gives a file another name, wherever the manifest has it.
func (f *forgery) rename(from, to string) {
	f.files[to] = f.files[from]
	delete(f.files, from)
	swap := func(p *string) {
		if *p == from {
			*p = to
		}
	}
	r := &f.rel
	for i := range r.Files {
		swap(&r.Files[i].Path)
	}
	for i := range r.Binaries {
		swap(&r.Binaries[i].Path)
	}
	for i := range r.Archives {
		swap(&r.Archives[i].Path)
	}
	for i := range r.Packages {
		swap(&r.Packages[i].Path)
	}
	for i := range r.Recipes {
		swap(&r.Recipes[i].Path)
		for j := range r.Recipes[i].Archives {
			swap(&r.Recipes[i].Archives[j])
		}
	}
	for i := range r.Charts {
		swap(&r.Charts[i].Path)
	}
	for i := range r.SBOMs {
		swap(&r.SBOMs[i].Path)
		swap(&r.SBOMs[i].Subject)
	}
	swap(&r.Notes)
	swap(&r.Provenance)
}

// check verifies the release.
func (f *forgery) check(o verify.Options) (verify.Report, error) {
	f.t.Helper()
	fsys := fstest.MapFS{}
	for p, b := range f.files {
		fsys[p] = &fstest.MapFile{Data: b, Mode: 0o644}
	}
	o.Parallel = 1
	return verify.CheckFS(newContext(), fsys, "dist", o)
}

// failed wants the release to be refused, with a row that says name and then why.
func (f *forgery) failed(o verify.Options, name, why string) {
	f.t.Helper()
	f.tells(f.refused(o), name, why)
}

// refused wants the release to be refused.
func (f *forgery) refused(o verify.Options) verify.Report {
	f.t.Helper()
	report, err := f.check(o)
	if fault.CodeOf(err) != fault.Mismatch || report.Verdict != verify.Fail {
		f.t.Errorf("verdict %s and %v, which is exit %d; want %d", report.Verdict, err, fault.CodeOf(err), fault.Mismatch)
	}
	return report
}

// tells wants a failing row that says name and then why.
func (f *forgery) tells(report verify.Report, name, why string) {
	f.t.Helper()
	for _, r := range report.Rows {
		if text := r.Path + " " + r.Detail; r.Verdict == verify.Fail && strings.Contains(text, name) && strings.Contains(text, why) {
			return
		}
	}
	f.t.Errorf("no failing row names %q and says %q:\n%s", name, why, failures(report))
}

func failures(report verify.Report) string {
	var b strings.Builder
	for _, r := range report.Rows {
		if r.Verdict != verify.Pass {
			fmt.Fprintf(&b, "%s %s %s %s\n", r.Verdict, r.Kind, r.Path, r.Detail)
		}
	}
	return b.String()
}

// passed wants the release to be accepted.
func (f *forgery) passed(o verify.Options) verify.Report {
	f.t.Helper()
	report, err := f.check(o)
	if err != nil || report.Verdict != verify.Pass {
		f.t.Errorf("%v:\n%s", err, failures(report))
	}
	return report
}

// kindOf is what the attacks tell files of a release apart by: the kind, and the format where there are several.
func kindOf(r manifest.Release, f artifact.File) string {
	kind := string(f.Kind)
	switch f.Kind {
	case artifact.Archive:
		return kind + strings.ReplaceAll(path.Ext(f.Path), ".gz", ".tar.gz")
	case artifact.Image:
		return kind + " " + cmp.Or(strings.Trim(strings.TrimPrefix(path.Dir(f.Path), "images"), "/"), path.Base(f.Path))
	}
	for _, p := range r.Packages {
		if p.Path == f.Path {
			return kind + " " + p.Format
		}
	}
	for _, p := range r.Recipes {
		if p.Path == f.Path {
			return kind + " " + p.Format
		}
	}
	for _, s := range r.SBOMs {
		if s.Path == f.Path {
			return kind + " " + s.Format
		}
	}
	return kind
}

// attacks are what the contents alone tell of a release whose manifest, checksums and provenance somebody rebuilt. What
// they do not tell, the signatures do. A kind of files that is not here fails the test.
var attacks = map[string]struct {
	renamed   bool // the file has another name
	older     bool // it is the file of version 1.2.2
	exchanged bool // it is the file for another platform
	edited    bool // a byte of it is another
}{
	"binary":             {renamed: true, older: true, exchanged: true, edited: true},
	"archive.tar.gz":     {renamed: true, older: true, exchanged: true, edited: true},
	"archive.zip":        {renamed: true, older: true, edited: true},
	"package deb":        {renamed: true, older: true, exchanged: true, edited: true},
	"package rpm":        {renamed: true, older: true, exchanged: true, edited: true},
	"package apk":        {renamed: true, older: true, exchanged: true, edited: true},
	"package snap":       {renamed: true, older: true, exchanged: true, edited: true},
	"recipe nupkg":       {renamed: true, older: true, edited: true},
	"recipe formula":     {older: true},
	"recipe cask":        {older: true},
	"recipe scoop":       {older: true},
	"recipe winget":      {older: true},
	"recipe script":      {older: true},
	"recipe":             {renamed: true}, // of Artifact Hub
	"chart":              {renamed: true, older: true, edited: true},
	"sbom cyclonedx":     {older: true, exchanged: true},
	"sbom spdx":          {older: true, exchanged: true},
	"provenance":         {older: true, edited: true},
	"notes":              {},
	"image oci-layout":   {renamed: true, edited: true},
	"image index.json":   {renamed: true, older: true, edited: true},
	"image blobs/sha256": {renamed: true, edited: true},
}

// TestWholeSigned accepts a signed release, and says by whom it was signed.
func TestWholeSigned(t *testing.T) {
	f := signed(t, "1.2.3")
	report := f.passed(keys(theirs(), ours()))
	if n := len(f.rel.Files); report.Count(verify.Pass) < n {
		t.Errorf("%d rows for %d files", len(report.Rows), n)
	}
	var rows []string
	for _, r := range report.Rows {
		if r.Kind == "signature" {
			rows = append(rows, r.Path)
			if r.Detail != "key "+string(ours().Public().Fingerprint()) {
				t.Errorf("%s: %q does not say by whom", r.Path, r.Detail)
			}
		}
	}
	// Two forms for each of the image and the chart.
	if want := 4 + 4; len(rows) != want {
		t.Errorf("%d signatures, want %d: %v", len(rows), want, rows)
	}
}

// TestKinds holds the attacks to what a release consists of.
func TestKinds(t *testing.T) {
	f := signed(t, "1.2.3")
	seen := map[string]int{}
	for _, l := range f.rel.Files {
		kind := kindOf(f.rel, l)
		seen[kind]++
		if _, ok := attacks[kind]; !ok {
			t.Errorf("%s is of the kind %q, and no attack on that is tried", l.Path, kind)
		}
	}
	for kind := range attacks {
		if seen[kind] == 0 {
			t.Errorf("no file is of the kind %q", kind)
		}
	}
	rows := map[string]bool{}
	for _, r := range f.passed(keys(ours())).Rows {
		rows[r.Kind] = true
	}
	// Those of files are above; these have tests of their own: TestFaults, TestDocuments, TestSignatures, TestImages.
	for _, kind := range []string{"manifest", "checksums", "release", "platform", "signature"} {
		if !rows[kind] {
			t.Errorf("there is no row of kind %s", kind)
		}
		delete(rows, kind)
	}
	for kind := range rows {
		if !slices.ContainsFunc(slices.Collect(maps.Keys(attacks)), func(a string) bool { return strings.HasPrefix(a, kind) }) {
			t.Errorf("rows of kind %s are in no test", kind)
		}
	}
}

// TestEveryFile does to every file of a signed release, signatures included, what needs no knowledge: one byte changed,
// the file taken away, renamed, or there twice. Each time a row names it.
func TestEveryFile(t *testing.T) {
	fixture.SkipRace(t)
	uncompared := []string{"report.html", "build.log", "timings.json"}
	o := keys(ours())
	count := 0
	for _, p := range slices.Sorted(maps.Keys(signed(t, "1.2.3").files)) {
		if slices.Contains(uncompared, p) {
			continue
		}
		if count++; !fixture.Full && count%5 != 0 {
			continue
		}
		name, sig := p, strings.HasPrefix(p, "signatures/")
		if sig {
			name = "" // the row names the image, or the layout
		}
		f := signed(t, "1.2.3")
		f.files[p][len(f.files[p])/2] ^= 1
		f.failed(o, name, "")

		f = signed(t, "1.2.3")
		delete(f.files, p)
		f.failed(o, name, "")

		f = signed(t, "1.2.3")
		moved := path.Join(path.Dir(p), "renamed-"+path.Base(p))
		f.files[moved] = f.files[p]
		delete(f.files, p)
		report := f.refused(o)
		f.tells(report, name, "")
		if p != manifest.FileName { // without which nothing is known to be unknown
			f.tells(report, moved, "not in release.json")
		}

		f = signed(t, "1.2.3")
		f.files[moved] = f.files[p]
		f.failed(o, moved, "not in release.json")
		if t.Failed() {
			t.Fatalf("that was %s", p)
		}
	}
	if want := len(signed(t, "1.2.3").rel.Files) + 2; count < want+5 {
		t.Errorf("%d files were tried, want the %d of the release and signatures", count, want)
	}
}

// TestForged rebuilds manifest, checksums and provenance around each fault. Signatures tell it of every file; the
// contents of those that say what they are.
func TestForged(t *testing.T) {
	fixture.SkipRace(t)
	older := signed(t, "1.2.2")
	tried := map[string]int{}
	for _, l := range signed(t, "1.2.3").rel.Files {
		kind := kindOf(signed(t, "1.2.3").rel, l)
		told := attacks[kind]
		base := path.Base(l.Path)
		try := func(attack string, contents bool, name string, plant func(f *forgery)) {
			tried[attack]++
			t.Run(attack+" "+l.Path, func(t *testing.T) {
				f := signed(t, "1.2.3")
				f.t = t
				plant(f)
				report := f.refused(keys(ours()))
				f.tells(report, "release.json.sigstore.json", "the content has changed")
				f.tells(report, "SHA256SUMS.sigstore.json", "the content has changed")
				f.tells(report, "checksums.txt.sigstore.json", "the content has changed")
				f.unsign()
				f.rel.Signing = nil
				f.write()
				if !contents {
					f.passed(verify.Options{}) // so that nobody takes this for more than it is
					return
				}
				f.failed(verify.Options{}, name, "")
			})
		}
		if l.Path == signed(t, "1.2.3").rel.Provenance { // which seal would mend
			try("older", told.older, base, func(f *forgery) {
				statement, err := verifytest.Statement(older.rel)
				must(f.t, err)
				f.put(l.Path, statement)
			})
			try("edited", told.edited, base, func(f *forgery) {
				f.put(l.Path, bytes.Replace(f.files[l.Path], []byte("sha256\": \""), []byte("sha256\": \"0000"), 1))
			})
			continue
		}
		renamed := path.Join(path.Dir(l.Path), "renamed-"+base)
		try("renamed", told.renamed, "renamed-"+base, func(f *forgery) {
			f.rename(l.Path, renamed)
			f.seal()
		})
		try("edited", told.edited, base, func(f *forgery) {
			b := f.files[l.Path]
			at := len(b) / 2
			switch {
			case kind == "notes" || kind == "recipe":
				b[bytes.LastIndexAny(b, "abcdefghijklm")] ^= 1
			case !told.edited: // a blank more keeps a recipe and a document what they are
				at = bytes.LastIndexAny(b, " \n")
				f.files[l.Path] = slices.Insert(b, at, b[at])
			default:
				b[at] ^= 1
			}
			f.seal()
		})
		if was := strings.ReplaceAll(l.Path, "1.2.3", "1.2.2"); older.files[was] != nil && !bytes.Equal(older.files[was], signed(t, "1.2.3").files[l.Path]) {
			try("older", told.older, base, func(f *forgery) {
				f.files[l.Path] = older.files[was]
				f.seal()
			})
		}
		for _, pair := range [][2]string{{"amd64", "arm64"}, {"x86_64", "aarch64"}} {
			other := strings.Replace(l.Path, pair[0], pair[1], 1)
			if other == l.Path || signed(t, "1.2.3").files[other] == nil {
				continue
			}
			try("exchanged", told.exchanged, base, func(f *forgery) {
				f.files[l.Path], f.files[other] = f.files[other], f.files[l.Path]
				f.seal()
			})
		}
	}
	for attack, least := range map[string]int{"renamed": 50, "edited": 50, "older": 20, "exchanged": 10} {
		if tried[attack] < least {
			t.Errorf("%d files were %s, want %d or more", tried[attack], attack, least)
		}
	}
	for kind, told := range attacks {
		if told.older != (kind != "notes" && kind != "recipe" && kind != "image oci-layout" && kind != "image blobs/sha256") {
			t.Errorf("an older %s is found: %t", kind, told.older)
		}
	}
}

// put puts another file in the place of one, and mends manifest and checksums, but not the provenance.
func (f *forgery) put(p string, b []byte) {
	f.t.Helper()
	f.files[p] = b
	for i, l := range f.rel.Files {
		if l.Path == p {
			f.rel.Files[i].Size, f.rel.Files[i].Digest = int64(len(b)), artifact.Sum(b)
		}
	}
	f.write()
}

// TestOlderRelabelled changes what the manifest says along with the file: an older package that is listed with its own
// version is found, since the manifest's version decides.
func TestOlderRelabelled(t *testing.T) {
	older := signed(t, "1.2.2")
	unsigned := func() *forgery {
		f := signed(t, "1.2.3")
		f.unsign()
		f.rel.Signing = nil
		return f
	}
	for i, p := range older.rel.Packages {
		f := unsigned()
		now := f.rel.Packages[i].Path
		f.rename(now, p.Path)
		f.files[p.Path] = older.files[p.Path]
		f.rel.Packages[i] = p
		f.seal()
		f.failed(verify.Options{}, p.Path, "its version in release.json is ")
	}
	for i, r := range older.rel.Recipes {
		f := unsigned()
		now := f.rel.Recipes[i].Path
		f.rename(now, r.Path)
		f.files[r.Path] = older.files[r.Path]
		f.rel.Recipes[i].Version = r.Version
		f.seal()
		f.failed(verify.Options{}, r.Path, "its version in release.json is ")
	}
	f := unsigned()
	c := older.rel.Charts[0]
	f.rename(f.rel.Charts[0].Path, c.Path)
	f.files[c.Path] = older.files[c.Path]
	f.rel.Charts[0].Version, f.rel.Charts[0].AppVersion = c.Version, c.AppVersion
	f.seal()
	f.failed(verify.Options{}, c.Path, `its version in release.json is "1.2.2", want "1.2.3"`)
}

// TestImages forges images and the manifests around them.
func TestImages(t *testing.T) {
	older := signed(t, "1.2.2")
	o := keys(ours())
	// adopt puts the layout of another release in the place of this one's.
	adopt := func(f, from *forgery) {
		for p := range f.files {
			if strings.HasPrefix(p, "images/") {
				delete(f.files, p)
			}
		}
		f.rel.Files = slices.DeleteFunc(f.rel.Files, func(l artifact.File) bool { return l.Kind == artifact.Image })
		for _, l := range from.rel.Files {
			if l.Kind == artifact.Image {
				f.rel.Files = append(f.rel.Files, l)
				f.files[l.Path] = from.files[l.Path]
			}
		}
	}
	name := func(f *forgery, old, new string) {
		f.files["images/index.json"] = bytes.ReplaceAll(f.files["images/index.json"], []byte(old), []byte(new))
	}
	t.Run("the image of an older version under the new tag", func(t *testing.T) {
		f := signed(t, "1.2.3")
		f.t = t
		tags := f.rel.Images[0].Tags
		adopt(f, older)
		f.rel.Images = slices.Clone(older.rel.Images)
		f.rel.Images[0].Tags = tags
		name(f, "1.2.2-alpine", "1.2.3-alpine")
		f.seal()
		f.failed(o, "ghcr.io/example/hello@", "there is no")
		f.unsign()
		f.rel.Signing = nil
		f.write()
		f.failed(verify.Options{}, imageName+" linux/amd64", `image.version is "1.2.2", want "1.2.3"`)
		f.failed(verify.Options{}, chartName, "")
	})
	t.Run("renamed", func(t *testing.T) {
		f := signed(t, "1.2.3")
		f.t = t
		f.rel.Images[0].Repository = "ghcr.io/example/other"
		name(f, "ghcr.io/example/hello:", "ghcr.io/example/other:")
		f.seal()
		f.failed(o, "ghcr.io/example/other@", "there is no bundle that refers to it")
		f.failed(o, "ghcr.io/example/hello:sha256-", "it does not sign anything in the release")
		f.unsign()
		f.rel.Signing = nil
		f.write()
		f.failed(verify.Options{}, "sbom/hello_1.2.3-alpine_linux_amd64.cdx.json", imageName)
	})
	t.Run("renamed chart", func(t *testing.T) {
		f := signed(t, "1.2.3")
		f.t = t
		f.rel.Charts[0].Repository = "ghcr.io/example/charts/other"
		name(f, "charts/hello:", "charts/other:")
		f.seal()
		f.failed(o, "ghcr.io/example/charts/other@", "there is no bundle that refers to it")
	})
	t.Run("another tag", func(t *testing.T) {
		f := signed(t, "1.2.3")
		f.t = t
		f.rel.Images[0].Tags = []string{"1.2.3"}
		name(f, "1.2.3-alpine", "1.2.3")
		f.seal()
		f.failed(o, "ghcr.io/example/hello@sha256:", `the signature is for tags "1.2.3-alpine" and not for "1.2.3"`)
	})
	t.Run("platforms exchanged", func(t *testing.T) {
		f := signed(t, "1.2.3")
		f.t = t
		f.relayout(func(kind string, doc map[string]any) {
			if kind == "index" {
				all := doc["manifests"].([]any)
				a, b := all[0].(map[string]any), all[1].(map[string]any)
				a["platform"], b["platform"] = b["platform"], a["platform"]
			}
		})
		ps := f.rel.Images[0].Platforms
		ps[0].Digest, ps[1].Digest = ps[1].Digest, ps[0].Digest
		ps[0].Size, ps[1].Size = ps[1].Size, ps[0].Size
		f.seal()
		f.failed(o, "ghcr.io/example/hello@sha256:", "")
		f.unsign()
		f.rel.Signing = nil
		f.write()
		f.failed(verify.Options{}, imageName+" linux/amd64", "its config is for linux/arm64")
		f.failed(verify.Options{}, imageName+" linux/arm64", "its config is for linux/amd64")
	})
	t.Run("programs exchanged", func(t *testing.T) {
		f := signed(t, "1.2.3")
		f.t = t
		var own []any
		f.relayout(func(kind string, doc map[string]any) {
			if kind == "manifest" {
				own = append(own, doc["layers"].([]any)[1])
			}
		})
		n := 0
		f.relayout(func(kind string, doc map[string]any) {
			if kind == "manifest" {
				n++
				doc["layers"].([]any)[1] = own[2-n]
			}
		})
		f.seal()
		f.unsign()
		f.rel.Signing = nil
		f.write()
		f.failed(verify.Options{}, imageName+" linux/amd64", `"usr/local/bin/hello" in it is `)
		f.failed(verify.Options{}, imageName+" linux/arm64", `"usr/local/bin/hello" in it is `)
	})
	t.Run("another chart in the registry", func(t *testing.T) {
		f := signed(t, "1.2.3")
		f.t = t
		adopt(f, older)
		name(f, "1.2.2", "1.2.3")
		c := &f.rel.Charts[0]
		c.Digest, c.Size = older.rel.Charts[0].Digest, older.rel.Charts[0].Size
		f.seal()
		f.failed(o, "ghcr.io/example/charts/hello@", "there is no bundle that refers to it")
		f.unsign()
		f.rel.Signing = nil
		f.write()
		f.failed(verify.Options{}, chartName, "its layer is ")
	})
}

// relayout changes the manifests and the index of the image, and everything that refers to them.
func (f *forgery) relayout(edit func(kind string, doc map[string]any)) {
	f.t.Helper()
	blob := func(d artifact.Digest) string { return "images/blobs/sha256/" + d.Hex() }
	replace := func(kind string, old artifact.Digest) (artifact.Digest, int64) {
		var doc map[string]any
		must(f.t, json.Unmarshal(f.files[blob(old)], &doc))
		edit(kind, doc)
		b, err := json.Marshal(doc)
		must(f.t, err)
		d := artifact.Sum(b)
		delete(f.files, blob(old))
		f.files[blob(d)] = b
		for i, l := range f.rel.Files {
			if l.Path == blob(old) {
				f.rel.Files[i].Path = blob(d)
			}
		}
		return d, int64(len(b))
	}
	im := &f.rel.Images[0]
	moved := map[string]any{}
	for i, p := range im.Platforms {
		d, size := replace("manifest", p.Digest)
		var m struct {
			Config struct{ Size int64 }
			Layers []struct{ Size int64 }
		}
		must(f.t, json.Unmarshal(f.files[blob(d)], &m))
		moved[string(p.Digest)] = []any{string(d), size}
		im.Platforms[i].Digest, im.Platforms[i].Size = d, size+m.Config.Size+m.Layers[0].Size+m.Layers[1].Size
		for j, s := range f.rel.SBOMs {
			if s.Digest == p.Digest {
				f.rel.SBOMs[j].Digest = d
				f.files[s.Path] = bytes.ReplaceAll(f.files[s.Path], []byte(p.Digest.Hex()), []byte(d.Hex()))
			}
		}
	}
	was := im.Digest
	inner := edit
	edit = func(kind string, doc map[string]any) {
		for _, m := range doc["manifests"].([]any) {
			m := m.(map[string]any)
			if to, ok := moved[m["digest"].(string)].([]any); ok {
				m["digest"], m["size"] = to[0], to[1]
			}
		}
		inner(kind, doc)
	}
	im.Digest, im.Size = replace("index", im.Digest)
	var top map[string]any
	must(f.t, json.Unmarshal(f.files["images/index.json"], &top))
	for _, m := range top["manifests"].([]any) {
		if m := m.(map[string]any); m["digest"] == string(was) {
			m["digest"], m["size"] = im.Digest, im.Size
		}
	}
	b, err := json.Marshal(top)
	must(f.t, err)
	f.files["images/index.json"] = b
}
