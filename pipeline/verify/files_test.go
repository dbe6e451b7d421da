package verify_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/slipway-build/slipway/pipeline/fixture"
	"github.com/slipway-build/slipway/pipeline/fixture/keylesstest"
	"github.com/slipway-build/slipway/pipeline/format"
	"github.com/slipway-build/slipway/pipeline/release/artifact"
	"github.com/slipway-build/slipway/pipeline/release/fault"
	"github.com/slipway-build/slipway/pipeline/release/manifest"
	"github.com/slipway-build/slipway/pipeline/trust/keyless"
	"github.com/slipway-build/slipway/pipeline/trust/signature"
	"github.com/slipway-build/slipway/pipeline/verify"
)

const (
	archiveName = "hello_1.2.3_linux_amd64.tar.gz"
	debName     = "hello_1.2.3_amd64.deb"
)

// page is what a place without folders has of a release, by name.
func page(f *forgery) map[string][]byte {
	all := map[string][]byte{}
	for p, b := range f.files {
		if strings.HasPrefix(p, "images/") || strings.HasPrefix(p, signature.LayoutDir+"/") || strings.HasPrefix(p, "binaries/") {
			continue
		}
		all[path.Base(p)] = b
	}
	return all
}

// keep leaves files with certain names and takes all others away.
func keep(names ...string) func(map[string][]byte) {
	return func(files map[string][]byte) {
		maps.DeleteFunc(files, func(name string, _ []byte) bool { return !slices.Contains(names, name) })
	}
}

func bundles(files map[string][]byte) {
	maps.DeleteFunc(files, func(name string, _ []byte) bool { return strings.HasSuffix(name, signature.Suffix) })
}

// put writes files into a new folder.
func put(t testing.TB, files map[string][]byte) string {
	t.Helper()
	dir := t.TempDir()
	for name, b := range files {
		must(t, os.MkdirAll(filepath.Join(dir, path.Dir(name)), 0o755))
		must(t, os.WriteFile(filepath.Join(dir, name), b, 0o600))
	}
	return dir
}

// TestDownloads holds the list of downloads to what people download: each under its name, and nothing under a name that is
// another file's as well.
func TestDownloads(t *testing.T) {
	f := signed(t, "1.2.3")
	sums, err := manifest.ParseChecksums(bytes.NewReader(f.files[manifest.DownloadsName]))
	must(t, err)
	for _, l := range f.rel.Files {
		if format.Offered(f.rel, l) && sums[path.Base(l.Path)] != l.Digest {
			t.Errorf("%s is not in it with its digest", l.Path)
		}
	}
	if sums[manifest.FileName] != f.digest(manifest.FileName) {
		t.Error("release.json is not in it with its digest")
	}
	for name, digest := range sums {
		if n := len(slices.DeleteFunc(slices.Clone(f.rel.Files), func(l artifact.File) bool { return path.Base(l.Path) != name })); n > 1 {
			t.Errorf("%s is in it with %s, and is the name of %d files", name, digest, n)
		}
	}
}

// TestFiles checks single files by what lies beside them.
func TestFiles(t *testing.T) {
	ourKey := "key " + string(ours().Public().Fingerprint())
	wanted := keys(ours())
	wanted.Version = "1.2.4"
	unchecked, unsignedAllowed := verify.Options{}, verify.Options{AllowUnsigned: true}
	bare := func(files map[string][]byte) { // of a release that nobody signed
		r := signed(t, "1.2.3")
		r.unsign()
		r.rel.Signing = nil
		r.write()
		clear(files)
		maps.Copy(files, page(r))
	}
	for _, tt := range []struct {
		name   string
		change func(files map[string][]byte)
		o      verify.Options
		files  []string
		code   fault.Code
		want   string // in a row or in what is proven, or of the error where there are no rows
	}{
		{"all that there is", nil, keys(ours()), []string{archiveName, debName, "hello-1.2.3.tgz", "hello_linux_amd64.cdx.json", "install.sh"}, 0, "which " + ourKey + " signed"},
		{"what a release offers besides", nil, keys(ours()), []string{"notes.md"}, 0, "PASS  notes"},
		{"one of two keys", nil, keys(theirs(), ours()), nil, 0, "hello 1.2.3 at commit 0123456789ab"},
		{"the manifest alone", keep(archiveName, manifest.FileName, signature.ManifestBundle), keys(ours()), nil, 0, "linux/amd64"},
		{"the manifest, and another file signed", keep(archiveName, manifest.FileName, manifest.ChecksumsName, signature.ChecksumsBundle), keys(ours()), nil, 0, "linux/amd64"},
		{"the manifest, and a list nobody signed", keep(archiveName, manifest.FileName, manifest.ChecksumsName, signature.ManifestBundle), keys(ours()), nil, 0, "linux/amd64"},
		{"a list alone", keep(archiveName, manifest.DownloadsName, manifest.DownloadsName+signature.Suffix), keys(ours()), nil, 0, "named by checksums.txt"},
		{"the list with folders alone", keep(archiveName, manifest.ChecksumsName, signature.ChecksumsBundle), keys(ours()), nil, 0, "named by SHA256SUMS"},
		{"both lists", func(f map[string][]byte) { delete(f, manifest.FileName) }, keys(ours()), nil, 0, "named by SHA256SUMS and checksums.txt"},
		{"signatures left out of account", bundles, unsignedAllowed, nil, 0, "no signature was checked"},
		{"unsigned, as the release says", bare, unchecked, nil, 0, "unsigned, and the release names no signer"},

		{"a key that is revoked", nil, termed(keys(ours()), signature.Term{Revoked: day("2026-03-01"), Reason: "stolen"}), nil, 5, "was revoked on 2026-03-01: stolen"},
		{"a key that is revoked, by a list", func(f map[string][]byte) { delete(f, manifest.FileName) }, termed(keys(ours()), signature.Term{Revoked: day("2026-03-01"), Reason: "stolen"}), nil, 5, "was revoked on 2026-03-01: stolen"},
		{"a key of some time, by a list that tells none", func(f map[string][]byte) { delete(f, manifest.FileName) }, termed(keys(ours()), signature.Term{Until: day("2999-01-01")}), nil, 5, "nothing tells of which time this is"},
		{"another byte", func(f map[string][]byte) { f[archiveName][100] ^= 1 }, keys(ours()), nil, 5, "want sha256:"},
		{"a byte more", func(f map[string][]byte) { f[archiveName] = append(f[archiveName], 0) }, keys(ours()), nil, 5, "bytes, want"},
		{"another byte, by a list", func(f map[string][]byte) { f[archiveName][100] ^= 1; delete(f, manifest.FileName) }, keys(ours()), nil, 5, "want sha256:"},
		{"another name", func(f map[string][]byte) { f["other.deb"] = f[debName] }, keys(ours()), []string{"other.deb"}, 5, "no file of this name"},
		{"another name, by a list", func(f map[string][]byte) { f["other.deb"] = f[debName]; delete(f, manifest.FileName) }, keys(ours()), []string{"other.deb"}, 5, "does not name it"},
		{"a file under the name of another", func(f map[string][]byte) { f[archiveName] = f[debName] }, keys(ours()), nil, 5, ""},
		{"one good and one bad", func(f map[string][]byte) { f[archiveName][9] ^= 1 }, keys(ours()), []string{debName, archiveName}, 5, "want sha256:"},
		{"the key of somebody else", nil, keys(theirs()), nil, 5, "is checked with key"},
		{"the key of somebody else, by a list", func(f map[string][]byte) { delete(f, manifest.FileName) }, keys(theirs()), nil, 5, "and not with"},
		{"no signatures", bundles, keys(ours()), nil, 5, "missing; want a signature"},
		{"no signature of the one list", func(f map[string][]byte) { bundles(f); delete(f, manifest.FileName) }, keys(ours()), nil, 5, "missing; want a signature"},
		{"one list of two without a signature", func(f map[string][]byte) { delete(f, manifest.FileName); delete(f, signature.ChecksumsBundle) }, keys(ours()), nil, 5, "missing; want a signature"},
		{"no key", nil, unchecked, nil, 5, "no key to check it with"},
		{"no key, and nothing that says whether there should be one", func(f map[string][]byte) { bundles(f); delete(f, manifest.FileName) }, unchecked, nil, 5, "only release.json tells whether it should be signed"},
		{"no signature of a release that is to be signed", bundles, unchecked, nil, 5, "is to be signed with"},
		{"a list that was changed", func(f map[string][]byte) { f[manifest.ChecksumsName][0] ^= 1 }, keys(ours()), nil, 5, "SHA256SUMS"},
		{"another list that was changed", func(f map[string][]byte) { f[manifest.DownloadsName][0] ^= 1 }, keys(ours()), nil, 5, "checksums.txt"},
		{"a list of another release", func(f map[string][]byte) {
			for _, name := range []string{manifest.DownloadsName, manifest.DownloadsName + signature.Suffix} {
				f[name] = signed(t, "1.2.2").files[name]
			}
		}, keys(ours()), nil, 5, "checksums.txt"},
		{"the signature of another list", func(f map[string][]byte) {
			f[manifest.DownloadsName+signature.Suffix] = f[signature.ChecksumsBundle]
		}, keys(ours()), nil, 5, "the content has changed"},
		{"another version than is asked for", nil, wanted, nil, 5, "1.2.4 is asked for"},
		{"a version that only the manifest tells", func(f map[string][]byte) { delete(f, manifest.FileName) }, wanted, nil, 5, "only release.json tells"},
		{"a list that cannot be read", func(f map[string][]byte) {
			keep(archiveName, manifest.ChecksumsName, signature.ChecksumsBundle)(f)
			f[manifest.ChecksumsName] = []byte("\x00")
		}, keys(ours()), nil, 5, "want <64 hex digits>"},
		{"a signature and no manifest", keep(archiveName, signature.ManifestBundle, manifest.ChecksumsName), keys(ours()), nil, 5, "missing; want a signature"},
		{"what names the files", nil, keys(ours()), []string{manifest.ChecksumsName}, 5, "no file of this name"},

		{"nothing beside it", keep(archiveName), keys(ours()), nil, 2, "has none of release.json, SHA256SUMS, checksums.txt"},
		{"a manifest of another major version", func(f map[string][]byte) {
			f[manifest.FileName] = bytes.Replace(f[manifest.FileName], []byte(manifest.Schema), []byte("slipway.release/v2"), 1)
		}, keys(ours()), nil, 2, "slipway.release/v2"},
		{"no such file", nil, keys(ours()), []string{archiveName, "none"}, 2, "none"},
		{"a folder", func(f map[string][]byte) { f["folder/file"] = nil }, keys(ours()), []string{archiveName, "folder"}, 2, "is not a file"},
		{"two folders", func(f map[string][]byte) { f["folder/file"] = nil }, keys(ours()), []string{archiveName, "folder/file"}, 2, "lie in two folders"},
		{"a URL among them", nil, keys(ours()), []string{archiveName, "https://me:secret@example.com/x"}, 2, "https://example.com/x: "},
		{"rebuilders", nil, verify.Options{Rebuilders: verify.Rebuilders{Want: 1}}, nil, 2, "over a whole release"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			files := page(signed(t, "1.2.3"))
			if tt.change != nil {
				tt.change(files)
			}
			t.Chdir(put(t, files))
			names := tt.files
			if names == nil {
				names = []string{archiveName}
			}
			report, err := verify.Files(t.Context(), names, tt.o)
			var said bytes.Buffer
			must(t, report.WriteText(&said))
			if err != nil {
				fmt.Fprintln(&said, err)
			}
			if fault.CodeOf(err) != tt.code || (tt.code == 0) != (report.Verdict == verify.Pass) || !strings.Contains(said.String(), tt.want) {
				t.Errorf("exit %d, want %d and %q\n%s", fault.CodeOf(err), tt.code, tt.want, said.String())
			}
			if strings.Contains(said.String(), "secret") {
				t.Error("it tells a password")
			}
		})
	}
}

// TestFilesAt finds what names a file in another folder, as a build has it, and at a URL, of which nothing else is asked for.
func TestFilesAt(t *testing.T) {
	f := signed(t, "1.2.3")
	t.Chdir(put(t, page(f)))
	dist := put(t, f.files)
	s := newSite(t, f.files)
	o := keys(ours())
	for _, o.Release = range []string{dist, s.URL + "/r/"} {
		if report, err := verify.Files(t.Context(), []string{archiveName, debName}, o); err != nil {
			t.Errorf("%s: %v\n%s", o.Release, err, failures(report))
		}
	}
	if want := 6; len(s.asked) != want {
		t.Errorf("%d requests, want %d: %v", len(s.asked), want, s.asked)
	}
	// A program is one of those that have its name.
	o.Release = dist
	program := filepath.Join(dist, "binaries", "hello_linux_arm64", "hello")
	report, err := verify.Files(t.Context(), []string{program}, o)
	if err != nil || !strings.Contains(failuresAnd(report), "linux/arm64") {
		t.Errorf("a program: %v\n%s", err, failuresAnd(report))
	}
	// What an image consists of is no download.
	if _, err := verify.Files(t.Context(), []string{filepath.Join(dist, "images", "blobs", "sha256", f.rel.Images[0].Digest.Hex())}, o); fault.CodeOf(err) != fault.Mismatch {
		t.Errorf("a blob of an image: %v", err)
	}
	flip(t, dist, "binaries/hello_linux_arm64/hello")
	if _, err := verify.Files(t.Context(), []string{program}, o); fault.CodeOf(err) != fault.Mismatch {
		t.Errorf("a changed program: %v", err)
	}
	gone := httptest.NewServer(http.NotFoundHandler())
	defer gone.Close()
	for at, code := range map[string]fault.Code{gone.URL: fault.Usage, "ftp://127.0.0.1/x": fault.Usage, filepath.Join(dist, "none"): fault.Usage, "http://127.0.0.1:1/": fault.Transient} {
		o.Release = at
		if _, err := verify.Files(t.Context(), []string{archiveName}, o); fault.CodeOf(err) != code {
			t.Errorf("%s: %v, exit %d and not %d", at, err, fault.CodeOf(err), code)
		}
	}
}

// failuresAnd are all rows.
func failuresAnd(report verify.Report) string {
	var b bytes.Buffer
	_ = report.WriteText(&b)
	return b.String()
}

// TestSummary shows what a person is told of two files, of a release and of one with a fault.
func TestSummary(t *testing.T) {
	f := signed(t, "1.2.3")
	here, err := os.Getwd()
	must(t, err)
	t.Chdir(put(t, page(f)))
	var text bytes.Buffer
	show := func(report verify.Report) {
		must(t, report.WriteSummary(&text))
		text.WriteString("\n")
	}
	report, err := verify.Files(t.Context(), []string{archiveName, debName}, keys(ours()))
	must(t, err)
	show(report)
	whole, err := f.check(keys(ours()))
	must(t, err)
	show(whole)
	f.files["archives/"+archiveName][9] ^= 1
	broken, err := f.check(keys(ours()))
	if err == nil {
		t.Error("a changed archive passes")
	}
	show(broken)
	t.Chdir(here)
	golden(t, "summary.txt", bytes.ReplaceAll(bytes.ReplaceAll(text.Bytes(),
		[]byte(ours().Public().Fingerprint()), []byte("sha256:0000")), []byte(f.digest("archives/"+archiveName)), []byte("sha256:1111")))
}

// mutations calls try with each change of a document: of each value in it where it is JSON, and of a byte here and there.
func mutations(b []byte, step int, try func(what string, changed []byte)) {
	for at := 0; at < len(b); at += max(1, len(b)/step) {
		changed := bytes.Clone(b)
		changed[at] ^= 1
		try(fmt.Sprintf("byte %d", at), changed)
	}
	try("the end", b[:len(b)-2])
	var doc any
	if json.Unmarshal(b, &doc) != nil {
		return
	}
	var walk func(at string, v any, set func(any))
	show := func(at string) {
		changed, err := json.Marshal(doc)
		if err != nil {
			panic(err)
		}
		try(at, changed)
	}
	walk = func(at string, v any, set func(any)) {
		switch v := v.(type) {
		case map[string]any:
			for _, k := range slices.Sorted(maps.Keys(v)) {
				walk(at+"."+k, v[k], func(to any) { v[k] = to })
				was := v[k]
				delete(v, k)
				show(at + "." + k + " gone")
				v[k] = was
			}
		case []any:
			for i := range v {
				if i > 1 && !fixture.Full {
					break
				}
				walk(fmt.Sprintf("%s[%d]", at, i), v[i], func(to any) { v[i] = to })
			}
			set(append(slices.Clone(v), "x"))
			show(at + " longer")
			set(v)
		case string:
			set(v + "x")
			show(at)
			set(v)
		case float64:
			set(v + 1)
			show(at)
			set(v)
		}
	}
	walk("", doc, func(any) {})
}

// TestFilesMutated changes everything that a verdict about files follows from, a byte and a value at a time: none of it passes.
func TestFilesMutated(t *testing.T) {
	fixture.SkipRace(t)
	files := page(signed(t, "1.2.3"))
	names := []string{archiveName, debName, "hello-1.2.3.tgz", "hello_linux_amd64.cdx.json"}
	dir := put(t, files)
	t.Chdir(dir)
	tried, seen := 0, 0
	verdict := func(what string) {
		t.Helper()
		tried++
		report, err := verify.Files(t.Context(), names, keys(ours()))
		if code := fault.CodeOf(err); report.Verdict == verify.Pass || code != fault.Mismatch && code != fault.Usage {
			t.Errorf("%s changed: %s, %v", what, report.Verdict, err)
		}
	}
	read := slices.Clone(names)
	for _, l := range []string{manifest.FileName, manifest.ChecksumsName, manifest.DownloadsName} {
		read = append(read, l, l+signature.Suffix)
	}
	for _, name := range read {
		steps := 20
		if name == manifest.FileName && !fixture.Full {
			steps = 100
		}
		mutations(files[name], steps, func(what string, changed []byte) {
			if strings.HasSuffix(name, signature.Suffix) && unsaid(what, files[name], changed) {
				return
			}
			if seen++; seen%5 != 0 && !fixture.Full && name == manifest.FileName && strings.HasPrefix(what, ".") {
				return
			}
			must(t, os.WriteFile(name, changed, 0o600))
			verdict(name + ": " + what)
		})
		must(t, os.WriteFile(name, files[name], 0o600))
	}
	if report, err := verify.Files(t.Context(), names, keys(ours())); err != nil {
		t.Errorf("as it was: %v\n%s", err, failures(report))
	}
	if tried < 420 {
		t.Errorf("only %d changes were tried", tried)
	}
	t.Logf("%d changes", tried)
}

// registry is what a registry has of a release, by reference and digest.
type registry struct {
	tags  map[string]artifact.Digest
	blobs map[artifact.Digest][]byte
	lists map[artifact.Digest][]byte // of referrers, by what they refer to; nil if it keeps none
	err   error
}

func newRegistry(f *forgery) *registry {
	r := &registry{tags: map[string]artifact.Digest{}, blobs: map[artifact.Digest][]byte{}}
	for p, b := range f.files {
		if path.Base(path.Dir(p)) == "sha256" {
			r.blobs[artifact.Sum(b)] = b
		}
	}
	for _, index := range []string{"images/index.json", "signatures/index.json"} {
		var doc struct {
			Manifests []struct {
				Digest      artifact.Digest
				Annotations map[string]string
			}
		}
		must(f.t, json.Unmarshal(f.files[index], &doc))
		for _, m := range doc.Manifests {
			r.tags[m.Annotations["org.opencontainers.image.ref.name"]] = m.Digest
		}
	}
	return r
}

// The forms in which a registry has the signatures of images.
const (
	classic = "classic"
	listed  = "listed" // referrers, of which the registry keeps the lists
	tagged  = "tagged" // referrers, of which the lists are under tags
)

// newRegistryOf has the signatures in one form alone.
func newRegistryOf(f *forgery, form string) *registry {
	r := newRegistry(f)
	if form == classic {
		return r
	}
	lists := map[artifact.Digest]map[string]any{}
	for name := range maps.Clone(r.tags) {
		if strings.HasSuffix(name, ".sig") {
			delete(r.tags, name)
		}
		_, digest, ok := strings.Cut(name, "@")
		if !ok {
			continue
		}
		b := r.blobs[artifact.Digest(digest)]
		var m struct {
			ArtifactType string
			Subject      struct{ Digest artifact.Digest }
		}
		must(f.t, json.Unmarshal(b, &m))
		lists[m.Subject.Digest] = map[string]any{
			"schemaVersion": 2, "mediaType": signature.IndexMediaType,
			"manifests": []any{map[string]any{"mediaType": signature.ManifestMediaType, "size": len(b), "digest": digest, "artifactType": m.ArtifactType}},
		}
	}
	if form == listed {
		r.lists = map[artifact.Digest][]byte{}
	}
	for of, list := range lists {
		b, err := json.Marshal(list)
		must(f.t, err)
		r.blobs[artifact.Sum(b)] = b
		if form == listed {
			r.lists[of] = b
			continue
		}
		for _, name := range []string{"hello", "charts/hello"} {
			r.tags["ghcr.io/example/"+name+":"+signature.ReferrersTag(of)] = artifact.Sum(b)
		}
	}
	return r
}

// change gives a document other bytes and, if whoever changes it goes on, puts it under their digest wherever the old one is named.
func (r *registry) change(d artifact.Digest, to []byte, on bool) {
	r.blobs[d] = to
	for of, list := range r.lists {
		if artifact.Sum(list) == d {
			r.lists[of] = to
		}
	}
	if !on {
		return
	}
	now := artifact.Sum(to)
	r.blobs[now] = to
	for name, of := range maps.Clone(r.tags) {
		if of == d {
			of = now
		}
		r.tags[strings.Replace(name, d.Hex(), now.Hex(), 1)] = of
	}
	for of, list := range maps.Clone(r.lists) {
		if of == d {
			r.lists[now] = list
		}
	}
	for parent, b := range maps.Clone(r.blobs) {
		var doc map[string]any
		if parent == d || parent == now || !bytes.Contains(b, []byte(d)) || json.Unmarshal(b, &doc) != nil {
			continue
		}
		for _, key := range []string{"manifests", "layers", "config", "subject"} {
			parts, ok := doc[key].([]any)
			if !ok {
				parts = []any{doc[key]}
			}
			for _, part := range parts {
				if part, ok := part.(map[string]any); ok && part["digest"] == string(d) {
					part["digest"], part["size"] = now, len(to)
				}
			}
		}
		if changed, err := json.Marshal(doc); err == nil && bytes.Contains(changed, []byte(now)) {
			r.change(parent, changed, true)
		}
	}
}

// repository is one of the registry.
type repository struct {
	*registry
	name string
}

func (r repository) Manifest(_ context.Context, at string, limit int64) ([]byte, error) {
	d, ok := artifact.Digest(at), true
	if !strings.HasPrefix(at, "sha256:") {
		d, ok = r.tags[r.name+":"+at]
	}
	b, found := r.blobs[d]
	switch {
	case r.err != nil:
		return nil, r.err
	case !ok || !found:
		return nil, fs.ErrNotExist
	case int64(len(b)) > limit:
		return nil, errors.New("too large")
	}
	return b, nil
}

func (r repository) Blob(_ context.Context, d artifact.Digest, _ int64) ([]byte, error) {
	b, ok := r.blobs[d]
	if !ok {
		return nil, fs.ErrNotExist
	}
	return b, nil
}

func (r repository) Referrers(_ context.Context, d artifact.Digest, _ int64) ([][]byte, error) {
	switch {
	case r.err != nil:
		return nil, r.err
	case r.lists == nil:
		return nil, fs.ErrNotExist
	case r.lists[d] == nil:
		return [][]byte{[]byte(`{"schemaVersion":2,"mediaType":"` + signature.IndexMediaType + `","manifests":[]}`)}, nil
	}
	return [][]byte{r.lists[d]}, nil
}

// image checks what a registry has. The host of a mirror is taken for that of the release.
func (r *registry) image(t testing.TB, name string, o verify.Options) (verify.Report, error) {
	t.Helper()
	o.Repository = func(_, path string) verify.Repository { return repository{r, "ghcr.io/" + path} }
	return verify.Image(t.Context(), name, o)
}

const image = "oci://ghcr.io/example/hello"

// TestImage checks images and charts where a registry has them.
func TestImage(t *testing.T) {
	want := func(o verify.Options, version string) verify.Options { o.Version = version; return o }
	f := signed(t, "1.2.3")
	digest := "@" + string(f.rel.Images[0].Digest)
	older := newRegistry(signed(t, "1.2.2"))
	put := func(to, from string) func(*registry) { // as somebody does who may write to the registry and has no key
		return func(r *registry) {
			maps.Copy(r.blobs, older.blobs)
			maps.Copy(r.tags, older.tags)
			r.tags["ghcr.io/example/"+to] = r.tags["ghcr.io/example/"+from]
		}
	}
	// aside has another repository with all that this one has.
	aside := func(r *registry) {
		for name, d := range maps.Clone(r.tags) {
			r.tags[strings.Replace(name, "example/hello:", "example/other:", 1)] = d
		}
	}
	o := keys(ours())
	for _, tt := range []struct {
		name   string
		change func(*registry)
		image  string
		o      verify.Options
		code   fault.Code
		want   string
	}{
		{"by its tag", nil, image + ":1.2.3-alpine", o, 0, "is ghcr.io/example/hello 1.2.3, as key"},
		{"one of two keys", nil, image + ":1.2.3-alpine", keys(theirs(), ours()), 0, "as key " + string(ours().Public().Fingerprint())},
		{"by its digest", nil, image + digest, o, 0, "release"},
		{"by both", nil, image + ":1.2.3-alpine" + digest, want(o, "v1.2.3"), 0, "release"},
		{"a chart", nil, "oci://ghcr.io/example/charts/hello:1.2.3", o, 0, "chart "},
		{"a copy elsewhere", nil, "oci://mirror.example.com:5000/example/hello:1.2.3-alpine", o, 0, "this is a copy of it in mirror.example.com:5000/example/hello"},
		{"a name that moves, and the version", put("hello:latest", "hello:1.2.3-alpine"), image + ":latest", want(o, "1.2.3"), 0, "tags 1.2.3-alpine"},

		{"a key that is revoked", nil, image + ":1.2.3-alpine", termed(o, signature.Term{Revoked: day("2026-03-01"), Reason: "stolen"}), 5, "was revoked on 2026-03-01: stolen"},
		{"a key of another time", nil, image + ":1.2.3-alpine", termed(o, signature.Term{Until: day("1999-01-01")}), 5, "counted until 1999-01-01"},
		{"a key of its time", nil, image + ":1.2.3-alpine", termed(o, signature.Term{Until: day("2999-01-01")}), 0, "release"},
		{"a key that is revoked, and another", nil, image + ":1.2.3-alpine", termed(keys(theirs(), ours()), signature.Term{Revoked: day("2026-03-01")}), 5, "was revoked on 2026-03-01"},
		{"a name that moves", put("hello:latest", "hello:1.2.3-alpine"), image + ":latest", o, 5, `give --want 1.2.3 if that is`},
		{"a name that moved", put("hello:latest", "hello:1.2.2-alpine"), image + ":latest", want(o, "1.2.3"), 5, `1.2.3 is asked for, and it is signed as version "1.2.2"`},
		{"an older image under the tag", put("hello:1.2.3-alpine", "hello:1.2.2-alpine"), image + ":1.2.3-alpine", o, 5, `signed as version "1.2.2"`},
		{"an older image under the tag, and its version", put("hello:1.2.3-alpine", "hello:1.2.2-alpine"), image + ":1.2.3-alpine", want(o, "1.2.2"), 5, "this is the tag 1.2.3-alpine"},
		{"another digest than the tag has", nil, image + ":1.2.3" + digest, o, 5, "this is the tag 1.2.3"},
		{"another version than is asked for", nil, image + ":1.2.3-alpine", want(o, "1.2.4"), 5, "1.2.4 is asked for"},
		{"a chart in the place of the image", put("hello:1.2.3-alpine", "charts/hello:1.2.3"), image + ":1.2.3-alpine", o, 5, "missing: the registry has no signature of it"},
		{"under another name", aside, "oci://ghcr.io/example/other:1.2.3-alpine", o, 5, `it is signed as "ghcr.io/example/hello", and this is ghcr.io/example/other`},
		{"the signature of another image", func(r *registry) {
			put("hello:"+signature.ClassicTag(f.rel.Images[0].Digest), "hello:"+signature.ClassicTag(signed(t, "1.2.2").rel.Images[0].Digest))(r)
			r.tags["ghcr.io/example/hello:1.2.2-alpine"] = f.rel.Images[0].Digest
		}, image + ":1.2.2-alpine", o, 5, "the signature is over "},
		{"the key of somebody else", nil, image + ":1.2.3-alpine", keys(theirs()), 5, "was not made by key"},
		{"no signature", func(r *registry) {
			delete(r.tags, "ghcr.io/example/hello:"+signature.ClassicTag(f.rel.Images[0].Digest))
		}, image + ":1.2.3-alpine", o, 5, "has no signature"},
		{"other bytes for the digest", func(r *registry) { r.blobs[f.rel.Images[0].Digest] = []byte("{}") }, image + digest, o, 5, "the registry gives sha256:"},
		{"no image", func(r *registry) { r.blobs[f.rel.Images[0].Digest] = []byte(`{"mediaType":"text/plain"}`) }, image + ":1.2.3-alpine", o, 5, "is not that of an image"},
		{"two readings", func(r *registry) {
			r.blobs[f.rel.Images[0].Digest] = []byte(`{"mediaType":"` + signature.IndexMediaType + `","manifests":[],"Manifests":[]}`)
		}, image + ":1.2.3-alpine", o, 5, "comes twice"},

		{"not there", nil, image + ":9.9.9", o, 2, "has nothing of this name"},
		{"no key", nil, image + ":1.2.3-alpine", verify.Options{}, 2, "give --key"},
		{"signatures left out of account", nil, image + ":1.2.3-alpine", verify.Options{AllowUnsigned: true}, 2, "give --key"},
		{"no reference", nil, image, o, 2, "is not an image such as"},
		{"no path", nil, "oci://ghcr.io:1.2.3", o, 2, "is not an image such as"},
		{"another digest algorithm", nil, image + "@sha512:00", o, 2, "is not an image such as"},
		{"rebuilders", nil, image + ":1.2.3-alpine", verify.Options{Keys: o.Keys, Rebuilders: verify.Rebuilders{Want: 1}}, 2, "over a whole release"},
		{"a registry that is down", func(r *registry) { r.err = fault.Errorf(fault.Transient, "the server says 503") }, image + ":1.2.3-alpine", o, 6, "503"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := newRegistry(f)
			if tt.change != nil {
				tt.change(r)
			}
			report, err := r.image(t, tt.image, tt.o)
			said := failuresAnd(report)
			if err != nil {
				said += err.Error()
			}
			if fault.CodeOf(err) != tt.code || (tt.code == 0) != (report.Verdict == verify.Pass) || !strings.Contains(said, tt.want) {
				t.Errorf("exit %d, want %d and %q\n%s", fault.CodeOf(err), tt.code, tt.want, said)
			}
		})
	}
}

// TestReferrers checks images and charts whose signatures are bundles that refer to them, as the registry lists them or as a tag does.
func TestReferrers(t *testing.T) {
	f := signed(t, "1.2.3")
	of := f.rel.Images[0].Digest
	o := keys(ours())
	older := o
	older.Version = "1.2.2"
	// list edits the list of what refers to the image.
	list := func(edit func(doc map[string]any)) func(*registry) {
		return func(r *registry) {
			b := r.lists[of]
			if b == nil {
				b = r.blobs[r.tags["ghcr.io/example/hello:"+signature.ReferrersTag(of)]]
			}
			var doc map[string]any
			must(t, json.Unmarshal(b, &doc))
			edit(doc)
			changed, err := json.Marshal(doc)
			must(t, err)
			r.change(artifact.Sum(b), changed, true)
		}
	}
	entry := func(edit func(m map[string]any)) func(*registry) {
		return list(func(doc map[string]any) { edit(doc["manifests"].([]any)[0].(map[string]any)) })
	}
	for _, form := range []string{listed, tagged} {
		for _, tt := range []struct {
			name   string
			change func(*registry)
			image  string
			o      verify.Options
			code   fault.Code
			want   string
		}{
			{"by its tag", nil, image + ":1.2.3-alpine", o, 0, "in a bundle that refers to it"},
			{"by its digest", nil, image + "@" + string(of), o, 0, "release"},
			{"a chart", nil, "oci://ghcr.io/example/charts/hello:1.2.3", o, 0, "chart "},
			{"a copy elsewhere", nil, "oci://mirror.example.com/example/hello:1.2.3-alpine", o, 0, "this is a copy of it"},
			{"both forms, of which one is somebody else's", func(r *registry) {
				tag := "ghcr.io/example/hello:" + signature.ClassicTag(of)
				r.tags[tag] = newRegistry(f).tags[tag]
				var m struct {
					Layers []struct{ Digest artifact.Digest }
				}
				must(t, json.Unmarshal(r.blobs[r.tags[tag]], &m))
				r.change(m.Layers[0].Digest, []byte("{}"), true)
			}, image + ":1.2.3-alpine", o, 0, "in a bundle that refers to it"},
			{"others before it", list(func(doc map[string]any) {
				other := map[string]any{"mediaType": signature.ManifestMediaType, "size": 2, "digest": string(artifact.Sum(nil)), "artifactType": "application/spdx+json"}
				said := maps.Clone(other)
				said["artifactType"], said["annotations"] = signature.BundleMediaType, map[string]any{"dev.sigstore.bundle.predicateType": "https://slsa.dev/provenance/v1"}
				gone := maps.Clone(other)
				gone["artifactType"] = signature.BundleMediaType
				doc["manifests"] = append([]any{other, said, gone}, doc["manifests"].([]any)...)
			}), image + ":1.2.3-alpine", o, 0, "release"},

			{"a key of another time", nil, image + ":1.2.3-alpine", termed(o, signature.Term{Until: day("1999-01-01")}), 5, "counted until 1999-01-01"},
			{"the key of somebody else", nil, image + ":1.2.3-alpine", keys(theirs()), 5, "was signed with key"},
			{"another version than is asked for", nil, image + ":1.2.3-alpine", older, 5, "1.2.2 is asked for"},
			{"another tag", func(r *registry) { r.tags["ghcr.io/example/hello:1.2.2-alpine"] = of }, image + ":1.2.2-alpine", o, 5, "this is the tag 1.2.2-alpine"},
			{"another name", func(r *registry) {
				r.tags["ghcr.io/example/other:x"] = of
				r.tags["ghcr.io/example/other:"+signature.ReferrersTag(of)] = r.tags["ghcr.io/example/hello:"+signature.ReferrersTag(of)]
			}, "oci://ghcr.io/example/other:x", o, 5, `it is signed as "ghcr.io/example/hello"`},
			{"the bundle of another image", func(r *registry) {
				chart := f.rel.Charts[0].Digest
				if r.lists != nil {
					r.lists[of] = r.lists[chart]
				}
				r.tags["ghcr.io/example/hello:"+signature.ReferrersTag(of)] = r.tags["ghcr.io/example/hello:"+signature.ReferrersTag(chart)]
			}, image + ":1.2.3-alpine", o, 5, "it is a referrer of "},
			{"no signature", list(func(doc map[string]any) { doc["manifests"] = []any{} }), image + ":1.2.3-alpine", o, 5, "has no signature"},
			{"of another type", entry(func(m map[string]any) { m["artifactType"] = "application/spdx+json" }), image + ":1.2.3-alpine", o, 5, "has no signature"},
			{"called something else", entry(func(m map[string]any) {
				m["annotations"] = map[string]any{"dev.sigstore.bundle.predicateType": "https://slsa.dev/provenance/v1"}
			}), image + ":1.2.3-alpine", o, 5, "has no signature"},
			{"not there", entry(func(m map[string]any) { m["digest"] = string(artifact.Sum(nil)) }), image + ":1.2.3-alpine", o, 5, "file does not exist"},
			{"a digest that is none", entry(func(m map[string]any) { m["digest"] = "sha256:../x" }), image + ":1.2.3-alpine", o, 5, "reading referrers"},
			{"no list", list(func(doc map[string]any) { doc["mediaType"] = signature.ManifestMediaType }), image + ":1.2.3-alpine", o, 5, "reading referrers: media type"},
			{"very many", list(func(doc map[string]any) {
				for range 32 {
					doc["manifests"] = append(doc["manifests"].([]any), doc["manifests"].([]any)[0])
				}
			}), image + ":1.2.3-alpine", o, 5, "more than 32 signatures"},
		} {
			t.Run(form+"/"+tt.name, func(t *testing.T) {
				r := newRegistryOf(f, form)
				if tt.change != nil {
					tt.change(r)
				}
				report, err := r.image(t, tt.image, tt.o)
				said := failuresAnd(report)
				if fault.CodeOf(err) != tt.code || (tt.code == 0) != (report.Verdict == verify.Pass) || !strings.Contains(said, tt.want) {
					t.Errorf("exit %d, want %d and %q\n%v\n%s", fault.CodeOf(err), tt.code, tt.want, err, said)
				}
				var summary bytes.Buffer
				must(t, report.WriteSummary(&summary))
				if report.Verdict == verify.Pass && strings.Contains(summary.String(), "in a bundle") {
					t.Errorf("the form is in the summary:\n%s", summary.String())
				}
			})
		}
	}
}

// TestImageMutated changes every document that a verdict about an image follows from, under its digest and under one of its
// own: none of it passes, in none of the forms of signatures.
func TestImageMutated(t *testing.T) {
	fixture.SkipRace(t)
	f := signed(t, "1.2.3")
	for _, form := range []string{classic, listed, tagged} {
		tried := 0
		for name, of := range map[string]artifact.Digest{image + ":1.2.3-alpine": f.rel.Images[0].Digest, "oci://ghcr.io/example/charts/hello:1.2.3": f.rel.Charts[0].Digest} {
			ref, _ := verify.ParseReference(name)
			at := ref.Host + "/" + ref.Path
			clean := newRegistryOf(f, form)
			documents := []artifact.Digest{of}
			manifest := clean.tags[at+":"+signature.ClassicTag(of)]
			if form != classic {
				list := clean.tags[at+":"+signature.ReferrersTag(of)]
				if form == listed {
					list = artifact.Sum(clean.lists[of])
				}
				var index struct {
					Manifests []struct{ Digest artifact.Digest }
				}
				must(t, json.Unmarshal(clean.blobs[list], &index))
				documents, manifest = append(documents, list), index.Manifests[0].Digest
			}
			var signed struct {
				Config struct{ Digest artifact.Digest }
				Layers []struct{ Digest artifact.Digest }
			}
			must(t, json.Unmarshal(clean.blobs[manifest], &signed))
			documents = append(documents, manifest, signed.Config.Digest, signed.Layers[0].Digest)
			for _, d := range documents {
				mutations(clean.blobs[d], 100, func(what string, changed []byte) {
					tried++
					on := tried%2 == 1
					if on && (form == classic && d == signed.Config.Digest || d != of && unsaid(what, clean.blobs[d], changed)) {
						return // the config of the classic form says nothing about the image
					}
					r := newRegistryOf(f, form)
					r.change(d, changed, on)
					report, err := r.image(t, name, keys(ours()))
					if report.Verdict == verify.Pass || fault.CodeOf(err) != fault.Mismatch {
						t.Errorf("%s: %s of %s: %s changed: %s, %v", form, d, name, what, report.Verdict, err)
					}
				})
			}
		}
		if tried < 420 {
			t.Errorf("%s: only %d changes were tried", form, tried)
		}
		t.Logf("%s: %d changes", form, tried)
	}
}

// unsaid reports whether nothing depends on a change: it is in the annotations of a manifest, which are neither signed nor read, in
// the name of a key that is given, or in bits of base64 that stand for nothing.
func unsaid(what string, was, now []byte) bool {
	if strings.HasSuffix(what, ".hint gone") {
		return true
	}
	a, err := signature.ParseBundle(was)
	if b, e := signature.ParseBundle(now); err == nil {
		return e == nil && reflect.DeepEqual(a, b)
	}
	var c, d map[string]any
	if json.Unmarshal(was, &c) != nil || json.Unmarshal(now, &d) != nil {
		return false
	}
	delete(c, "annotations")
	delete(d, "annotations")
	return reflect.DeepEqual(c, d)
}

// TestIdentityOfOne holds a single file and an image to the identity that must have signed them.
func TestIdentityOfOne(t *testing.T) {
	s := keylesstest.New(t)
	w := keylesstest.Release()
	root, err := keyless.ParseTrustedRoot(s.TrustedRoot())
	must(t, err)
	o := verify.Options{Identity: &keyless.Verifier{Root: root, Policy: keyless.Policy{Identity: w.Identity(), Issuer: s.IssuerURL}}}
	f := certified(t, s, w, func(r *manifest.Release) { r.Commit, r.Tag = w.Commit, strings.TrimPrefix(w.Ref, "refs/tags/") })
	files := page(f)
	t.Chdir(put(t, files))
	if report, err := verify.Files(t.Context(), []string{archiveName}, o); err != nil {
		t.Errorf("%v\n%s", err, failures(report))
	}
	must(t, os.Remove(manifest.FileName))
	report, err := verify.Files(t.Context(), []string{archiveName}, o)
	if fault.CodeOf(err) != fault.Mismatch || !strings.Contains(failures(report), "which only release.json tells") {
		t.Errorf("without the commit: %v\n%s", err, failures(report))
	}
	if report, err = newRegistry(f).image(t, image+":1.2.3-alpine", o); err != nil {
		t.Errorf("%v\n%s", err, failures(report))
	}
	// With a Rekor v2 there is the newer form alone.
	v2 := certified2(t, s, w, func(r *manifest.Release) { r.Commit, r.Tag = w.Commit, strings.TrimPrefix(w.Ref, "refs/tags/") })
	for _, form := range []string{listed, tagged} {
		if report, err = newRegistryOf(v2, form).image(t, image+":1.2.3-alpine", o); err != nil {
			t.Errorf("%v\n%s", err, failures(report))
		}
	}
	other := *o.Identity
	other.Policy.Identity = strings.Replace(other.Policy.Identity, "release.yml", "other.yml", 1)
	for _, r := range []*registry{newRegistry(f), newRegistryOf(v2, listed)} {
		if report, err = r.image(t, image+":1.2.3-alpine", verify.Options{Identity: &other}); fault.CodeOf(err) != fault.Mismatch {
			t.Errorf("an image that another workflow is to have signed: %v\n%s", err, failures(report))
		}
	}
}

// FuzzImage has a registry answer anything in the place of an image, of what signs it, and of what is signed.
func FuzzImage(f *testing.F) {
	r := signed(f, "1.2.3")
	of := r.rel.Images[0].Digest
	clean := newRegistry(r)
	sig := clean.blobs[clean.tags["ghcr.io/example/hello:"+signature.ClassicTag(of)]]
	f.Add(clean.blobs[of], sig, []byte("{}"))
	f.Add([]byte(`{"mediaType":"`+signature.ManifestMediaType+`"}`), []byte(`{"layers":[{}]}`), []byte("[]"))
	f.Fuzz(func(t *testing.T, image, signed, blob []byte) {
		if bytes.Equal(image, clean.blobs[of]) && bytes.Equal(signed, sig) {
			return
		}
		d := artifact.Sum(image)
		reg := &registry{
			tags:  map[string]artifact.Digest{"ghcr.io/example/hello:x": d, "ghcr.io/example/hello:" + signature.ClassicTag(d): artifact.Sum(signed)},
			blobs: map[artifact.Digest][]byte{d: image, artifact.Sum(signed): signed, artifact.Sum(blob): blob},
		}
		if report, err := reg.image(t, "oci://ghcr.io/example/hello:x", keys(ours())); fault.CodeOf(err) != fault.Mismatch {
			t.Errorf("%v\n%s", err, failuresAnd(report))
		}
	})
}

// FuzzReference reads names of images: what is taken goes into a URL as it is.
func FuzzReference(f *testing.F) {
	for _, s := range []string{
		"ghcr.io/owner/tool:1.2.3", "oci://127.0.0.1:5000/a/b:x@sha256:" + strings.Repeat("0", 64), "[::1]:5000/a:b", "a/b", "host/../x:1", "host/a/../x:1", "host/a//b:1",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		ref, ok := verify.ParseReference(s)
		if !ok {
			return
		}
		again := ref.Host + "/" + ref.Path
		if ref.Tag != "" {
			again += ":" + ref.Tag
		}
		if ref.Digest != "" {
			again += "@" + string(ref.Digest)
		}
		if strings.TrimPrefix(s, "oci://") != again || strings.ContainsAny(ref.Host+ref.Path+ref.Tag, "?#%@ \\") || strings.Contains(ref.Path, "..") || strings.Contains(ref.Path, "//") {
			t.Errorf("%q is read as %+v", s, ref)
		}
	})
}
