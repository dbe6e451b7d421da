package bake

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/slipway-build/slipway/pipeline/build/engine"
	"github.com/slipway-build/slipway/pipeline/build/layertar"
	"github.com/slipway-build/slipway/pipeline/build/oci"
	"github.com/slipway-build/slipway/pipeline/build/sbom"
	"github.com/slipway-build/slipway/pipeline/fixture/registrytest"
	"github.com/slipway-build/slipway/pipeline/format/archive"
	"github.com/slipway-build/slipway/pipeline/plan"
	"github.com/slipway-build/slipway/pipeline/platform"
	"github.com/slipway-build/slipway/pipeline/release/artifact"
	"github.com/slipway-build/slipway/pipeline/release/fault"
)

// The databases of two small bases.
const (
	apkInstalled = "P:musl\nV:1.2.5-r0\nA:x86_64\n\nP:zlib\nV:1.3.1-r1\nA:x86_64\n\n"
	dpkgStatus   = "Package: libc6\nStatus: install ok installed\nArchitecture: amd64\nVersion: 2.36-9\n\nPackage: zlib1g\nStatus: install ok installed\nArchitecture: amd64\nVersion: 1:1.2.13\n\n"
)

// text is a file of a layer; "-> target" is a link, and a name that ends in a slash a folder.
func layerOf(t testing.TB, files map[string]string) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, name := range slices.Sorted(maps.Keys(files)) {
		h := &tar.Header{Name: name, Mode: 0o755, Typeflag: tar.TypeReg, Size: int64(len(files[name])), ModTime: time.Unix(1e9, 0)}
		if to, ok := strings.CutPrefix(files[name], "-> "); ok {
			h.Typeflag, h.Linkname, h.Size = tar.TypeSymlink, to, 0
		} else if to, ok := strings.CutPrefix(files[name], "=> "); ok {
			h.Typeflag, h.Linkname, h.Size = tar.TypeLink, to, 0
		} else if strings.HasSuffix(name, "/") {
			h.Typeflag = tar.TypeDir
		} else if files[name] == "device" {
			h.Typeflag, h.Size = tar.TypeChar, 0
		}
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if h.Size > 0 {
			if _, err := io.WriteString(w, files[name]); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// bases are images of one layer, for any platform.
type bases map[artifact.Digest][]byte

func (b bases) Base(_ context.Context, is plan.Base, p artifact.Platform) (oci.Base, error) {
	content, ok := b[is.Digest]
	if !ok {
		return oci.Base{}, fmt.Errorf("there is no %s", is.Digest)
	}
	h, err := v1.NewHash(string(artifact.Sum(content)))
	return oci.Base{
		Config: v1.ConfigFile{OS: p.OS, Architecture: p.Arch, RootFS: v1.RootFS{Type: "layers", DiffIDs: []v1.Hash{h}}},
		Layers: []oci.Layer{{
			Blob: oci.Blob{Digest: artifact.Sum(content), Size: int64(len(content))}, MediaType: types.OCIUncompressedLayer,
			Open: func(context.Context) (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(content)), nil },
		}},
	}, err
}

// fake is an engine that knows two package managers and one word of shell: it changes real databases in real tars, and the world that
// it takes packages from changes between runs.
type fake struct {
	world   map[string]string // versions by package
	extra   map[string]string // files that are there after a bake, as layerOf has them
	removed []string
	cannot  string // platform
	runs    []string
}

func (f *fake) Name() string { return "fake 1" }

func (f *fake) Bake(ctx context.Context, b engine.Bake, out string) error {
	if b.Platform == f.cannot {
		return fault.New(fault.Build, &engine.Failure{Step: b.Steps[0].Name, Err: errors.New("exec format error")})
	}
	dir, err := os.MkdirTemp(filepath.Dir(b.Image), "fake-*")
	if err != nil {
		return err
	}
	layers, err := layersOf(dir, b.Image)
	if err != nil {
		return err
	}
	is, err := flat(ctx, layers, dir)
	if err != nil {
		return err
	}
	read := func(name string) string {
		if is[name] == nil || is[name].kind != tar.TypeReg {
			return ""
		}
		r, err := is[name].open()
		if err != nil {
			return ""
		}
		defer r.Close()
		content, _ := io.ReadAll(r)
		return string(content)
	}
	write := func(name, content string) {
		n := &inode{kind: tar.TypeReg, mode: 0o755, size: int64(len(content)), sum: artifact.Sum([]byte(content)), open: func() (io.ReadCloser, error) {
			return io.NopCloser(strings.NewReader(content)), nil
		}}
		if to, ok := strings.CutPrefix(content, "-> "); ok {
			n = &inode{kind: tar.TypeSymlink, mode: 0o777, link: to}
		} else if to, ok := strings.CutPrefix(content, "=> "); ok {
			n = is[to]
		} else if content == "device" {
			n = &inode{kind: tar.TypeChar}
		} else if strings.HasSuffix(name, "/") {
			n = &inode{kind: tar.TypeDir, mode: 0o750, uid: 7}
		}
		is[strings.TrimSuffix(name, "/")] = n
	}
	for _, s := range b.Steps {
		f.runs = append(f.runs, s.Name)
		switch s.Name {
		case "apk", "apt-get":
			name, package_, version := "lib/apk/db/installed", "P:", "V:"
			rest := "A:x86_64\n\n"
			if s.Name == "apt-get" {
				name, package_, version, rest = "var/lib/dpkg/status", "Package: ", "Version: ", "Status: install ok installed\nArchitecture: amd64\n\n"
			}
			has := map[string]string{}
			for entry := range strings.SplitSeq(read(name), "\n\n") {
				var p, v string
				for l := range strings.SplitSeq(entry, "\n") {
					if after, ok := strings.CutPrefix(l, package_); ok {
						p = after
					} else if after, ok := strings.CutPrefix(l, version); ok {
						v = after
					}
				}
				if p != "" {
					has[p] = v
				}
			}
			upgrade, wanted := s.Args[5] == "true", s.Args[6:]
			for p := range has {
				if v := f.world[p]; upgrade && v != "" {
					has[p] = v
				}
			}
			for _, p := range wanted {
				if f.world[p] == "" {
					return fault.New(fault.Build, &engine.Failure{Step: s.Name, Printed: p + " (no such package)\n", Err: errors.New("exit status 1")})
				}
				has[p] = f.world[p]
				write("usr/bin/"+p, p+" "+has[p])
			}
			var text strings.Builder
			for _, p := range slices.Sorted(maps.Keys(has)) {
				fmt.Fprintf(&text, "%s%s\n%s%s\n%s", package_, p, version, has[p], rest)
			}
			write(name, text.String())
			for _, name := range slices.Sorted(maps.Keys(f.extra)) {
				write(name, f.extra[name])
			}
			for _, name := range f.removed {
				maps.DeleteFunc(is, func(n string, _ *inode) bool { return n == name || under(n, name) })
			}
		case "test":
			for l := range strings.Lines(s.Args[2]) {
				if name, ok := strings.CutPrefix(strings.TrimSpace(l), "test -e /"); ok && is[name] == nil {
					return fault.New(fault.Build, &engine.Failure{Step: "test", Printed: "there is no " + name + "\n", Err: errors.New("exit status 1")})
				}
			}
		}
	}
	if out == "" {
		return nil
	}
	return pack(ctx, dir, out, b.Platform, is)
}

// pack writes a file system as an OCI archive of one layer, so that nothing of the layers below is as it was.
func pack(ctx context.Context, dir, out, pl string, is map[string]*inode) error {
	var content bytes.Buffer
	w := tar.NewWriter(&content)
	for _, name := range slices.Sorted(maps.Keys(is)) {
		n := is[name]
		h := &tar.Header{Name: "./" + name, Typeflag: n.kind, Mode: n.mode, Uid: n.uid, Gid: n.gid, Linkname: n.link, Size: n.size, ModTime: time.Now()}
		for first, m := range is {
			if m == n && first < name {
				h.Typeflag, h.Linkname, h.Size = tar.TypeLink, first, 0
			}
		}
		if err := w.WriteHeader(h); err != nil {
			return err
		}
		if h.Typeflag == tar.TypeReg {
			r, err := n.open()
			if err != nil {
				return err
			}
			if _, err := io.Copy(w, r); err != nil {
				return err
			}
			r.Close()
		}
	}
	if err := w.Close(); err != nil {
		return err
	}
	to, err := oci.NewLayout(filepath.Join(dir, "out"))
	if err != nil {
		return err
	}
	parsed, err := artifact.ParsePlatform(pl)
	if err != nil {
		return err
	}
	base, err := bases{"": content.Bytes()}.Base(ctx, plan.Base{}, parsed)
	if err != nil {
		return err
	}
	im := img{Base: base}
	if err := im.add(ctx, to); err != nil {
		return err
	}
	return im.archive(to, filepath.Join(dir, "out"), out)
}

// bed is a base to be made, and all that it is made with.
type bed struct {
	Options
	fake  *fake
	bases bases
}

func newBed(t testing.TB, upstream map[string]string, edit func(*platform.Base)) *bed {
	t.Helper()
	dir := t.TempDir()
	for name, content := range map[string]string{"files/etc/motd": "hello\n", "base.test": "test -e /usr/bin/tini\ntest -e /etc/motd\n"} {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	content := layerOf(t, upstream)
	digest := artifact.Sum(content)
	b := platform.Base{
		Image: "registry.example.com/acme/base", From: "docker.io/library/alpine:3.22@" + string(digest), Packages: []string{"tini"}, Upgrade: true, Files: "files", Test: "base.test",
		Platforms: []artifact.Platform{{OS: "linux", Arch: "arm64"}, {OS: "linux", Arch: "amd64"}},
	}
	if edit != nil {
		edit(&b)
	}
	r, err := Open(dir, "alpine", b)
	if err != nil {
		t.Fatal(err)
	}
	f := &fake{world: map[string]string{"tini": "0.19.0-r3", "zlib": "1.3.1-r2"}}
	have := bases{digest: content}
	return &bed{fake: f, bases: have, Options: Options{
		Recipe: r, Tag: "2.1.4", Bases: have, Baker: f, Now: time.Date(2026, 3, 4, 5, 6, 7, 8, time.UTC),
		Project: sbom.Project{Name: "edge", Version: "2.1.4", Commit: strings.Repeat("a", 40), Time: time.Unix(1.7e9, 0).UTC(), Tool: "slipway 1.0.0"},
	}}
}

// alpine is an upstream image.
func alpine() map[string]string {
	return map[string]string{
		"lib/apk/db/installed": apkInstalled, "sbin/apk": "apk", "etc/os-release": "ID=alpine\nVERSION_ID=3.22.1\n", "etc/gone": "x", "old/": "", "old/file": "x",
		"usr/share/same": "same", "etc/machine-id": "",
	}
}

func (b *bed) bake(t testing.TB) (Result, error) {
	t.Helper()
	b.Dir = filepath.Join(t.TempDir(), "layout")
	return Make(t.Context(), b.Options)
}

// entries are the entries of the layer of a platform, each with its content or target.
func (b *bed) entries(t testing.TB, r Result, i int) map[string]string {
	t.Helper()
	open := func(context.Context) (io.ReadCloser, error) {
		return os.Open(blobFile(b.Dir, r.Record.Platforms[i].Layer))
	}
	out, last, left := map[string]string{}, "", int64(maxUnpacked)
	err := layertar.Read(t.Context(), open, &left, func(h *tar.Header, r io.Reader) error {
		content, err := io.ReadAll(r)
		if err != nil {
			return err
		}
		if h.Name <= last || !h.ModTime.Equal(b.Project.Time) || h.Uname != "" {
			t.Errorf("%s behind %s, of %s and %q", h.Name, last, h.ModTime, h.Uname)
		}
		last = h.Name
		switch h.Typeflag {
		case tar.TypeSymlink:
			content = []byte("-> " + h.Linkname)
		case tar.TypeLink:
			content = []byte("=> " + h.Linkname)
		}
		out[h.Name] = string(content)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestMake(t *testing.T) {
	b := newBed(t, alpine(), nil)
	b.fake.extra = map[string]string{
		"var/cache/apk/x": "cache", "var/log/apk.log": "day", "var/log/nginx/": "", "run/nginx/": "", "run/nginx/pid": "1", "etc/machine-id": "1234", "tmp/x": "x", "root/.cache/x": "x", "etc/resolv.conf": "nameserver",
		"usr/bin/b": "two names", "usr/bin/c": "=> usr/bin/b", "usr/bin/link": "-> tini", "usr/share/same": "same",
		"etc/ssl/certs/engine.pem": "-> /usr/local/share/ca-certificates/engine.crt",
	}
	b.fake.removed = []string{"etc/gone", "old"}
	r, err := b.bake(t)
	if err != nil {
		t.Fatal(err)
	}
	if got := r.Record.Platforms; len(got) != 2 || got[0].Platform.Arch != "amd64" || got[0].Packages != 3 || r.Record.Image != "registry.example.com/acme/base:2.1.4" || r.Same {
		t.Errorf("%+v", r.Record)
	}
	got := b.entries(t, r, 0)
	database := got["lib/apk/db/installed"]
	delete(got, "lib/apk/db/installed")
	want := map[string]string{
		"etc/.wh.gone": "", ".wh.old": "", "run/nginx/": "", "var/log/nginx/": "", "etc/motd": "hello\n", "usr/bin/b": "two names", "usr/bin/c": "=> usr/bin/b", "usr/bin/link": "-> tini", "usr/bin/tini": "tini 0.19.0-r3",
	}
	if !maps.Equal(got, want) || !strings.Contains(database, "V:1.3.1-r2") {
		t.Errorf("the layer has %v, want %v", got, want)
	}
	if want := []string{"apk musl 1.2.5-r0 x86_64", "apk tini 0.19.0-r3 x86_64", "apk zlib 1.3.1-r2 x86_64"}; !slices.Equal(r.Packages[r.Record.Platforms[0].Platform], want) {
		t.Errorf("%v, want %v", r.Packages, want)
	}

	again, err := b.bake(t)
	if err != nil || again.Record.Digest != r.Record.Digest {
		t.Errorf("the same again has digest %s and not %s, %v", again.Record.Digest, r.Record.Digest, err)
	}

	// Kept, and nothing to do; then packages or files that are others.
	dir := filepath.Join(t.TempDir(), "bases", "alpine")
	if err := r.Keep(dir); err != nil {
		t.Fatal(err)
	}
	attached, err := r.Attached()
	if err != nil {
		t.Fatal(err)
	}
	if b.Before, err = ReadKept(dir, attached[0].Sum()); err != nil {
		t.Fatal(err)
	}
	if got, err := b.bake(t); err != nil || !got.Same || got.Record.Digest != r.Record.Digest {
		t.Errorf("%+v, %v", got, err)
	}
	b.fake.world["zlib"] = "1.3.1-r9"
	got9, err := b.bake(t)
	if err != nil || got9.Same {
		t.Errorf("another version of zlib: %+v, %v", got9, err)
	}
	pl := r.Record.Platforms[0].Platform
	if got := Differ(r.Packages[pl], got9.Packages[pl]); !slices.Equal(got, []string{"zlib 1.3.1-r2 -> 1.3.1-r9"}) {
		t.Errorf("%v", got)
	}
	b.fake.world["zlib"] = "1.3.1-r2"
	b.Added = append(b.Added, archive.Bytes("etc/other", nil))
	b.sums = append(b.sums, added{Name: "etc/other", Digest: artifact.Sum(nil)})
	if got, err := b.bake(t); err != nil || got.Same {
		t.Errorf("another file: %+v, %v", got, err)
	}

	// What is kept is what was written.
	if err := os.WriteFile(filepath.Join(dir, BillOf(pl)), []byte("{}\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := ReadKept(dir, attached[0].Sum()); fault.CodeOf(err) != fault.Mismatch || !strings.Contains(err.Error(), "its record says") {
		t.Errorf("another bill: %v", err)
	}
	if _, err := ReadKept(dir, artifact.Sum(nil)); fault.CodeOf(err) != fault.Mismatch || !strings.Contains(err.Error(), "platform.lock says") {
		t.Errorf("another record: %v", err)
	}
	if k, err := ReadKept(t.TempDir(), artifact.Sum(nil)); k != nil || err != nil {
		t.Errorf("%v, %v", k, err)
	}
}

func TestDebian(t *testing.T) {
	b := newBed(t, map[string]string{"var/lib/dpkg/status": dpkgStatus, "usr/bin/apt-get": "apt", "etc/os-release": "ID=debian\nVERSION_ID=\"12\"\n"}, nil)
	b.fake.world["zlib1g"] = "1:1.2.13.dfsg-1"
	r, err := b.bake(t)
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Keep(filepath.Join(t.TempDir(), "x")); err != nil {
		t.Fatal(err)
	}
	for pl, bill := range r.SBOMs { // epochs and all
		if got, err := readBill(bill); err != nil || !slices.Equal(got, r.Packages[pl]) || len(got) != 3 {
			t.Errorf("%v, want %v, %v", got, r.Packages[pl], err)
		}
	}
}

func TestRefused(t *testing.T) {
	for name, tt := range map[string]struct {
		code     fault.Code
		want     string
		upstream map[string]string
		base     func(*platform.Base)
		edit     func(*bed)
	}{
		"no engine":          {code: fault.Usage, want: "start a container runtime", edit: func(b *bed) { b.Baker = nil }},
		"no database":        {code: fault.Usage, want: "no package database", upstream: map[string]string{"sbin/apk": "apk"}},
		"broken database":    {code: fault.Usage, want: "the package database var/lib/dpkg/status", upstream: map[string]string{"usr/bin/apt-get": "x", "var/lib/dpkg/status": "no field\n"}},
		"no package manager": {code: fault.Usage, want: "none of the package managers apk, apt-get, dnf", upstream: map[string]string{"lib/apk/db/installed": apkInstalled}},
		"no such package":    {code: fault.Build, want: "apk: exit status 1", base: func(b *platform.Base) { b.Packages = []string{"tiny"} }},
		"a test that fails":  {code: fault.Build, want: "test: exit status 1", edit: func(b *bed) { b.Script = "test -e /usr/bin/none\n" }},
		"one platform":       {code: fault.Build, want: "for linux/arm64: apk: exec format error", edit: func(b *bed) { b.fake.cannot = "linux/arm64" }},
		"a device":           {code: fault.Unclassified, want: `"usr/x" is a device`, edit: func(b *bed) { b.fake.extra = map[string]string{"usr/x": "device"} }},
		"a folder as a file": {code: fault.Unclassified, want: "file etc is a folder", upstream: map[string]string{"lib/apk/db/installed": apkInstalled, "sbin/apk": "", "etc/": ""}, edit: func(b *bed) {
			b.Added = []archive.File{archive.Bytes("etc", nil)}
		}},
		"a mirror with a user":     {code: fault.Usage, want: "mirror", edit: func(b *bed) { b.Mirror = "https://a:b@example.com" }},
		"a mirror of sed":          {code: fault.Usage, want: "mirror", edit: func(b *bed) { b.Mirror = "https://example.com/|e" }},
		"a mirror that is no URL":  {code: fault.Usage, want: "mirror", edit: func(b *bed) { b.Mirror = "example.com" }},
		"an upstream that is gone": {code: fault.Unclassified, want: "there is no sha256:", edit: func(b *bed) { clear(b.bases) }},
	} {
		t.Run(name, func(t *testing.T) {
			if tt.upstream == nil {
				tt.upstream = alpine()
			}
			b := newBed(t, tt.upstream, tt.base)
			if tt.edit != nil {
				tt.edit(b)
			}
			r, err := b.bake(t)
			if err == nil || fault.CodeOf(err) != tt.code || !strings.Contains(err.Error(), tt.want) || r.Record.Name != "" {
				t.Errorf("%v, code %v, want %q; %+v", err, fault.CodeOf(err), tt.want, r)
			}
			if left, _ := filepath.Glob(filepath.Join(b.Dir, ".work-*")); len(left) > 0 {
				t.Errorf("it leaves %v", left)
			}
		})
	}
}

// TestRecipe holds the digest of a recipe to what it asks for, and not to how that is written.
func TestRecipe(t *testing.T) {
	digest := func(edit func(*platform.Base)) artifact.Digest {
		d, err := newBed(t, alpine(), edit).Recipe.Digest()
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	two := func(b *platform.Base) { b.Packages = []string{"a", "b"} }
	if digest(nil) != digest(func(b *platform.Base) { slices.Reverse(b.Platforms) }) || digest(two) != digest(func(b *platform.Base) { b.Packages = []string{"b", "a"} }) {
		t.Error("another order is another recipe")
	}
	for name, edit := range map[string]func(*platform.Base){
		"packages": two, "upgrade": func(b *platform.Base) { b.Upgrade = false }, "files": func(b *platform.Base) { b.Files = "" }, "test": func(b *platform.Base) { b.Test = "" },
		"platforms": func(b *platform.Base) { b.Platforms = b.Platforms[:1] }, "image": func(b *platform.Base) { b.Image += "x" }, "from": func(b *platform.Base) { b.From += "0" },
	} {
		if digest(nil) == digest(edit) {
			t.Errorf("with other %s it is the same recipe", name)
		}
	}
}

func TestOpen(t *testing.T) {
	dir := t.TempDir()
	outside := filepath.Join(t.TempDir(), "secret")
	for name, content := range map[string]string{"empty.test": " \n", "a/.wh.x": "", "large": strings.Repeat("x", maxTest+1)} {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(outside, []byte("secret"), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, sub := range []string{"b", "none"} {
		if err := os.Mkdir(filepath.Join(dir, sub), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink(outside, filepath.Join(dir, "b", "link")); err != nil {
		t.Skip(err)
	}
	for want, b := range map[string]platform.Base{
		"is no shell script": {Test: "empty.test"}, "no such file": {Test: "missing"}, "more than": {Test: "large"},
		"removes a file": {Files: "a"}, "escapes": {Files: "b"}, "there are none": {Files: "none"},
	} {
		if _, err := Open(dir, "x", b); fault.CodeOf(err) != fault.Usage || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v, want %q", b, err, want)
		}
	}
}

// TestPush pushes to a registry that works, to one that is full, and under a tag that is taken.
func TestPush(t *testing.T) {
	full := true
	reg := registrytest.New(registrytest.Options{Referrers: true})
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if full && r.Method != http.MethodGet && r.Method != http.MethodHead {
			http.Error(w, "disk full", http.StatusInsufficientStorage)
			return
		}
		reg.ServeHTTP(w, r)
	}))
	defer s.Close()
	host := strings.TrimPrefix(s.URL, "http://")
	b := newBed(t, alpine(), func(base *platform.Base) { base.Image = host + "/acme/base" })
	r, err := b.bake(t)
	if err != nil {
		t.Fatal(err)
	}
	attached, err := r.Attached()
	if err != nil {
		t.Fatal(err)
	}
	push := func() error {
		return oci.Push(t.Context(), b.Dir, r.Record.Image, r.Record.Digest, ArtifactType, attached, nil)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if err := oci.Push(ctx, b.Dir, r.Record.Image, r.Record.Digest, ArtifactType, attached, nil); err == nil || fault.CodeOf(err) != fault.Transient || !strings.Contains(err.Error(), "507") {
		t.Errorf("full: %v", err)
	}
	if reg.Tag("acme/base", "2.1.4") != "" {
		t.Error("a push that failed has given a tag")
	}
	full = false
	if err := oci.Tag(t.Context(), r.Record.Image, r.Record.Digest, nil); fault.CodeOf(err) != fault.Usage {
		t.Errorf("a tag for what is not there: %v", err)
	}
	if err := push(); err != nil {
		t.Fatal(err)
	}
	if reg.Tag("acme/base", "2.1.4") != "" {
		t.Error("the tag is there before it was asked for")
	}
	for range 2 {
		if err := errors.Join(push(), oci.Tag(t.Context(), r.Record.Image, r.Record.Digest, nil)); err != nil {
			t.Fatal(err)
		}
	}
	if got := reg.Tag("acme/base", "2.1.4"); got != string(r.Record.Digest) {
		t.Errorf("the tag has %s, want %s", got, r.Record.Digest)
	}
	res, err := http.Get(s.URL + "/v2/acme/base/referrers/" + string(r.Record.Digest))
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if list, err := io.ReadAll(res.Body); err != nil || !strings.Contains(string(list), ArtifactType) {
		t.Errorf("%s, %v", list, err)
	}

	// A component takes it as any base.
	store := &oci.Store{Dir: t.TempDir()}
	is, err := store.Base(t.Context(), plan.Base{Image: r.Record.Image, Digest: r.Record.Digest}, artifact.Platform{OS: "linux", Arch: "arm64"})
	if err != nil || len(is.Layers) != 2 {
		t.Errorf("%+v, %v", is, err)
	}
	has, err := store.Attachments(t.Context(), r.Record.Image, r.Record.Digest, ArtifactType)
	if err != nil || len(has) != 3 || !bytes.Equal(has[FileName], attached[0].Content) {
		t.Errorf("%d files are attached, %v", len(has), err)
	}
	if _, err := store.Attachments(t.Context(), r.Record.Image, r.Record.Platforms[0].Manifest, ArtifactType); err == nil || !strings.Contains(err.Error(), "nothing of type") {
		t.Errorf("%v", err)
	}
	if err := Retest(t.Context(), b.Recipe, plan.Base{Image: r.Record.Image, Digest: r.Record.Digest}, store, b.fake, t.TempDir()); err != nil {
		t.Error(err)
	}
	b.Script = "test -e /usr/bin/none\n"
	if err := Retest(t.Context(), b.Recipe, plan.Base{Image: r.Record.Image, Digest: r.Record.Digest}, store, b.fake, t.TempDir()); fault.CodeOf(err) != fault.Build {
		t.Errorf("%v", err)
	}

	b.Script, b.fake.world["zlib"] = "", "9"
	if r, err = b.bake(t); err != nil {
		t.Fatal(err)
	}
	before := reg.State()
	if err := push(); fault.CodeOf(err) != fault.Conflict || !strings.Contains(err.Error(), "never moves") || reg.State() != before {
		t.Errorf("a tag that is taken: %v", err)
	}
}

func TestRecord(t *testing.T) {
	b := newBed(t, alpine(), nil)
	r, err := b.bake(t)
	if err != nil {
		t.Fatal(err)
	}
	for want, edit := range map[string]func(*Record){
		"no name":       func(r *Record) { r.Name = "A" },
		"no image":      func(r *Record) { r.Image = "" },
		"whole seconds": func(r *Record) { r.Time = r.Time.Add(1) },
		"0 platforms":   func(r *Record) { r.Platforms = nil },
		"did not pass":  func(r *Record) { r.Test = &Tested{Script: r.Recipe} },
		"is not behind": func(r *Record) { r.Platforms = append(r.Platforms, r.Platforms[0]) },
		"has no packages": func(r *Record) {
			r.Platforms = []Made{{Platform: r.Platforms[0].Platform, SBOM: r.Recipe, Manifest: r.Recipe}}
		},
		"digest": func(r *Record) { r.Upstream = "sha256:1" },
	} {
		is := r.Record
		edit(&is)
		if _, err := is.Encode(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
	text, err := r.Record.Encode()
	if err != nil {
		t.Fatal(err)
	}
	for old, with := range map[string]string{"slipway.base/v1": "slipway.base/v2", "  \"name\"": "\"name\"", "\"engine\"": "\"Engine\""} {
		if _, err := DecodeRecord(bytes.Replace(text, []byte(old), []byte(with), 1)); err == nil {
			t.Errorf("%s in place of %s is read", with, old)
		}
	}
	if _, err := DecodeRecord(make([]byte, MaxRecord+1)); err == nil {
		t.Error("it has no bound")
	}
}

func FuzzDecodeRecord(f *testing.F) {
	d := artifact.Sum(nil)
	text, err := Record{
		Name: "alpine", Image: "ghcr.io/acme/base:2.1.4", Digest: d, From: "docker.io/library/alpine:3.22", Upstream: d, Recipe: d, Engine: "dagger v0.21.8", Time: time.Unix(1.7e9, 0).UTC(),
		Test: &Tested{d, true}, Platforms: []Made{{artifact.Platform{OS: "linux", Arch: "amd64"}, d, d, d, 16}},
	}.Encode()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(text)
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := DecodeRecord(b)
		if err != nil || r.Minor != 0 || len(r.Requires) > 0 {
			return
		}
		if again, err := r.Encode(); err != nil || !bytes.Equal(again, b) {
			t.Errorf("%q is written as %q, %v", b, again, err)
		}
	})
}

// What whiteouts hide is what looking at each of them finds.
func TestHider(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	name := func() string {
		return []string{"a", "b", "ab", "a b"}[r.IntN(4)] + strings.Repeat("/a", r.IntN(3)) + strings.Repeat("/b", r.IntN(2))
	}
	hidden := 0
	for range 500 {
		var gone, opaque []string
		for range r.IntN(3) {
			gone = append(gone, name())
		}
		for range r.IntN(3) {
			opaque = append(opaque, name())
		}
		if r.IntN(20) == 0 {
			opaque = append(opaque, "")
		}
		hides := hider(gone, opaque)
		for range 10 {
			n := name()
			want := slices.ContainsFunc(gone, func(g string) bool { return n == g || under(n, g) }) || slices.ContainsFunc(opaque, func(o string) bool { return under(n, o) })
			if hides(n) != want {
				t.Fatalf("%q of %q and %q: hidden is %t", n, gone, opaque, !want)
			}
			if want {
				hidden++
			}
		}
	}
	if hidden < 500 || hidden > 4500 {
		t.Errorf("%d of 5000 are hidden: this tests one side alone", hidden)
	}
}
