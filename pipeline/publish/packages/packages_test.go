package packages_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/slipway-build/slipway/pipeline/environment"
	"github.com/slipway-build/slipway/pipeline/fixture"
	"github.com/slipway-build/slipway/pipeline/fixture/rsatest"
	"github.com/slipway-build/slipway/pipeline/fixture/verifytest"
	"github.com/slipway-build/slipway/pipeline/publish/packages"
	"github.com/slipway-build/slipway/pipeline/release/artifact"
	"github.com/slipway-build/slipway/pipeline/release/fault"
	"github.com/slipway-build/slipway/pipeline/release/manifest"
	"github.com/slipway-build/slipway/pipeline/trust/openpgp"
	"github.com/slipway-build/slipway/pipeline/trust/sign"
	"github.com/slipway-build/slipway/pipeline/trust/signature"
)

var update = flag.Bool("update", false, "write the golden files anew")

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func key(t *testing.T, name string) openpgp.Key {
	t.Helper()
	seed := sha256.Sum256([]byte(name))
	der, err := x509.MarshalPKCS8PrivateKey(ed25519.NewKeyFromSeed(seed[:]))
	must(t, err)
	s, err := sign.Load(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), nil)
	must(t, err)
	k, err := openpgp.New(s, "Packages of Example")
	must(t, err)
	return k
}

// site is a folder with releases.
type site struct {
	t   *testing.T
	dir string
	key openpgp.Key
	apk signature.Signer
}

func newSite(t *testing.T) *site {
	s := &site{t: t, dir: t.TempDir(), key: key(t, "packages")}
	must(t, os.Mkdir(filepath.Join(s.dir, "releases"), 0o755))
	return s
}

func (s *site) release(name, v string) environment.Seen {
	s.t.Helper()
	dir := filepath.Join(s.dir, "releases", name, v)
	_, err := verifytest.Write(dir, verifytest.Options{Name: name, Version: v})
	must(s.t, err)
	b, err := os.ReadFile(filepath.Join(dir, manifest.FileName))
	must(s.t, err)
	return environment.Seen{Held: environment.Held{Component: name, Version: v, Manifest: artifact.Sum(b)}}
}

func (s *site) stage(line int, current ...environment.Seen) packages.Stage {
	return packages.Stage{Name: "production", Line: line, At: time.Date(2026, 3, 2, 10, 0, line, 0, time.UTC), Current: current}
}

// wants reconciles and wants the reason why that wrote, "" for none.
func (s *site) wants(st packages.Stage, why string) {
	s.t.Helper()
	for _, check := range []bool{true, false} {
		all, err := packages.Reconcile(s.t.Context(), packages.Options{Dir: s.dir, Key: s.key, APK: s.apk, Check: check}, []packages.Stage{st})
		must(s.t, err)
		got := ""
		if len(all) > 0 {
			got = all[0].Why
		}
		if len(all) > 1 || got != why {
			s.t.Errorf("check %v: %+v, want %q", check, all, why)
		}
	}
}

func (s *site) read(name string) string {
	s.t.Helper()
	b, err := os.ReadFile(filepath.Join(s.dir, filepath.FromSlash(name)))
	must(s.t, err)
	return string(b)
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	file := filepath.Join("testdata", name)
	if *update {
		must(t, os.MkdirAll("testdata", 0o755))
		must(t, os.WriteFile(file, []byte(got), 0o644))
	}
	if want, err := os.ReadFile(file); err != nil || string(want) != got {
		t.Errorf("%s: %v\n%s", file, err, got)
	}
}

// TestIndexes holds what is written to golden files, and what is there to what should be.
func TestIndexes(t *testing.T) {
	s := newSite(t)
	hello, world := s.release("hello", "1.2.3-rc.1"), s.release("world", "2.0.0")
	absent := environment.Seen{Held: environment.Held{Component: "absent", Version: "1.0.0", Manifest: hello.Manifest}}
	st := s.stage(3, absent, hello, world)
	s.wants(st, "there are none")
	s.wants(st, "")
	golden(t, "Release", s.read("dists/production/Release"))
	golden(t, "InRelease", s.read("dists/production/InRelease"))
	golden(t, "Packages", s.read("dists/production/main/binary-amd64/Packages"))
	golden(t, "repomd.xml", s.read("rpm/production/repodata/repomd.xml"))
	for _, kind := range []string{"primary", "filelists", "other"} {
		found, err := filepath.Glob(filepath.Join(s.dir, "rpm/production/repodata", "*-"+kind+".xml.gz"))
		if err != nil || len(found) != 1 {
			t.Fatal(found, err)
		}
		f, err := os.Open(found[0])
		must(t, err)
		z, err := gzip.NewReader(f)
		must(t, err)
		b, err := io.ReadAll(z)
		must(t, err)
		must(t, f.Close())
		golden(t, kind+".xml", string(b))
	}
	// A release that comes later is in them then.
	late := s.release("late", "1.0.0")
	st.Current = append(st.Current, late)
	s.wants(st, "they are of other versions")
	must(t, os.RemoveAll(filepath.Join(s.dir, "releases/late")))
	s.wants(st, "they are of other versions")
	// The same in another folder is the same.
	other := newSite(t)
	other.release("hello", "1.2.3-rc.1")
	other.release("world", "2.0.0")
	other.wants(st, "there are none")
	for _, name := range []string{"dists/production/InRelease", "dists/production/Release.gpg", "rpm/production/repodata/repomd.xml.asc", "packages.asc"} {
		if s.read(name) != other.read(name) {
			t.Errorf("%s differs", name)
		}
	}
	// What somebody has changed, another key and another line are seen. What the indexes before named stays for once.
	must(t, os.WriteFile(filepath.Join(s.dir, "dists/production/Release"), []byte("x"), 0o644))
	s.wants(st, "dists/production/Release is not what was written")
	s.key = key(t, "other")
	s.wants(st, "they were written otherwise")
	before := "dists/production/main/binary-amd64/by-hash/SHA256/" + artifact.Sum([]byte(s.read("dists/production/main/binary-amd64/Packages"))).Hex()
	s.wants(s.stage(4, world), "they are of line 3")
	s.read(before)
	s.wants(s.stage(5), "they are of line 4")
	if _, err := os.Stat(filepath.Join(s.dir, before)); err == nil {
		t.Error("it stays for ever")
	}
	s.wants(s.stage(4, world), "") // by somebody who read the store before
	if b := s.read("dists/production/main/binary-arm64/Packages"); b != "" {
		t.Error(b)
	}
}

// TestAPK holds the indexes of apk to golden files, and what is there to what should be.
func TestAPK(t *testing.T) {
	s := newSite(t)
	s.apk = rsatest.Key(t, "packages")
	hello, world := s.release("hello", "1.2.3-rc.1"), s.release("world", "2.0.0")
	st := s.stage(3, hello, world)
	s.wants(st, "there are none")
	s.wants(st, "")
	const at = "apk/production/"
	key := packages.APKKey(s.apk.Public())
	if s.read(at+key) != string(s.apk.Public().PEM()) || key != "slipway-4f1ede31a2d87d6a.rsa.pub" {
		t.Errorf("%s:\n%s", key, s.read(at+key))
	}
	index := []byte(s.read(at + "x86_64/APKINDEX.tar.gz"))
	by, signed, entries, err := apkIndex(index)
	if err != nil || by != key || len(entries) != 2 || entries[0]["P"] != "hello" || entries[1]["P"] != "world" {
		t.Errorf("%s %v %v", by, entries, err)
	}
	if _, err := packages.Verify(s.apk.Public().PEM(), index, signed); err != nil {
		t.Error(err)
	}
	var text strings.Builder
	for in := index; len(in) > 0; in, signed = in[signed:], len(index)-signed {
		z, err := gzip.NewReader(bytes.NewReader(in[:signed]))
		must(t, err)
		tarred, err := io.ReadAll(z)
		must(t, err)
		fmt.Fprintf(&text, "=== %d bytes, of which the last 1024 are zeros: %v\n", len(tarred), bytes.HasSuffix(tarred, make([]byte, 1024)))
		for r := tar.NewReader(bytes.NewReader(tarred)); ; {
			h, err := r.Next()
			if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
				break
			}
			must(t, err)
			b, err := io.ReadAll(r)
			must(t, err)
			if strings.HasPrefix(h.Name, ".SIGN.") {
				b = fmt.Appendf(nil, "%x\n", b)
			}
			fmt.Fprintf(&text, "--- %s %o %d/%d %s\n%s", h.Name, h.Mode, h.Uid, h.Gid, h.ModTime.UTC(), b)
		}
	}
	golden(t, "APKINDEX", text.String())
	for name, of := range map[string]string{
		"x86_64/hello-1.2.3_rc1-r0.apk": "releases/hello/1.2.3-rc.1/packages/hello_1.2.3_rc1-r0_x86_64.apk", "aarch64/world-2.0.0-r0.apk": "releases/world/2.0.0/packages/world_2.0.0-r0_aarch64.apk",
	} {
		if to, err := os.Readlink(filepath.Join(s.dir, at, name)); err != nil || filepath.ToSlash(to) != "../../../"+of {
			t.Errorf("%s is a link to %s, %v", name, to, err)
		}
		same(t, filepath.Join(s.dir, at, name), filepath.Join(s.dir, of))
	}
	// A link that leads elsewhere is made anew, and what is current no more goes, but for what the indexes before had.
	link := filepath.Join(s.dir, at, "x86_64/hello-1.2.3_rc1-r0.apk")
	must(t, os.Remove(link))
	must(t, os.Symlink("/etc/passwd", link))
	s.wants(st, at+"x86_64/hello-1.2.3_rc1-r0.apk is not what was written")
	s.wants(s.stage(4, world), "they are of line 3")
	must(t, func() error { _, err := os.Lstat(link); return err }())
	s.wants(s.stage(5, world), "they are of line 4")
	if _, err := os.Lstat(link); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("it stays for ever: %v", err)
	}
	// Architectures that everybody asks for are there without a package, too.
	s.wants(s.stage(6), "they are of line 5")
	if _, _, entries, err := apkIndex([]byte(s.read(at + "aarch64/APKINDEX.tar.gz"))); err != nil || len(entries) != 0 {
		t.Errorf("%v %v", entries, err)
	}
	// Another key of apk has another name, and its own place.
	s.apk = rsatest.Key(t, "another")
	s.wants(s.stage(6), "they were written otherwise")
	if by, _, _, _ := apkIndex([]byte(s.read(at + "x86_64/APKINDEX.tar.gz"))); by == key || s.read(at+by) != string(s.apk.Public().PEM()) {
		t.Error(by)
	}
	// Without one nothing more is written for apk.
	s.apk = nil
	s.wants(s.stage(7, world), "they were written otherwise")
	s.wants(s.stage(8, world), "they are of line 7")
	if all, err := filepath.Glob(filepath.Join(s.dir, at, "*", "*")); err != nil || len(all) > 0 {
		t.Errorf("%q %v", all, err)
	}
	// The same key signs all, if it is one of RSA.
	s.apk = rsatest.Key(t, "packages")
	s.key, err = openpgp.New(s.apk, "Packages of Example")
	must(t, err)
	s.wants(s.stage(9, world), "they were written otherwise")
	if !strings.Contains(s.read("dists/production/InRelease"), "Hash: SHA256") {
		t.Error(s.read("dists/production/InRelease"))
	}
	// What was recorded before there were repositories of apk is read.
	record := regexp.MustCompile(`(?s),\n  "shared": \{.*?\n  \}`).ReplaceAllString(strings.Replace(s.read("packages/production.json"), `"revision": 2`, `"revision": 1`, 1), "")
	if strings.Contains(record, "shared") {
		t.Fatal(record)
	}
	must(t, os.WriteFile(filepath.Join(s.dir, "packages/production.json"), []byte(record), 0o644))
	s.wants(s.stage(9, world), "they were written otherwise")
}

// TestAPKRefused is about keys that sign nothing for apk and packages that have no place.
func TestAPKRefused(t *testing.T) {
	s := newSite(t)
	must(t, os.MkdirAll(filepath.Join(s.dir, "releases"), 0o755))
	for kind, want := range map[sign.Kind]string{sign.ECDSA: "a key of kind ECDSA P-256 does not sign for apk, which knows RSA alone: keygen --kind rsa makes one", sign.RSA: ""} {
		k, err := sign.Generate(kind)
		must(t, err)
		_, err = packages.Reconcile(t.Context(), packages.Options{Dir: s.dir, Key: s.key, APK: k}, []packages.Stage{s.stage(1)})
		if (want == "") != (err == nil) || err != nil && (fault.CodeOf(err) != fault.Usage || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: %v", kind, err)
		}
	}
	for _, name := range []string{"../hello", "", "a/b", ".new", "a b", "-a"} {
		if err := packages.Repository(rsatest.Key(t, "packages"), name, "1.0-r0", "x86_64"); err == nil || !strings.Contains(err.Error(), "cannot be part of an address of apk") {
			t.Errorf("%q: %v", name, err)
		}
		if packages.Repository(rsatest.Key(t, "packages"), "hello", name, "x86_64") == nil || packages.Repository(rsatest.Key(t, "packages"), "hello", "1.0-r0", name) == nil {
			t.Errorf("%q as version or architecture", name)
		}
	}
	must(t, packages.Repository(rsatest.Key(t, "packages"), "lib-x++", "1.0_rc1_p2-r0", "x86_64"))
	for _, control := range []string{"", "x", "0+", "5+100", "-1+3"} {
		if id, err := packages.IdentityOf(strings.NewReader("0123456789"), control); err == nil {
			t.Errorf("%q: %s", control, id)
		}
	}
}

// Wherever a run ends that writes to a folder, what is there names what is there, as in a bucket, and the next run goes on.
func TestInterrupted(t *testing.T) {
	k := releases(t, "hello 1.0.0", "hello 1.1.0", "world 1.0.0")
	stages := k.stages([]string{"hello 1.0.0"}, []string{"hello 1.0.0", "world 1.0.0"}, []string{"hello 1.1.0", "world 1.0.0"})
	at := func(lines int) *site {
		s := &site{t: t, dir: t.TempDir(), key: k.site.key, apk: rsatest.Key(t, "packages")}
		must(t, os.Symlink(filepath.Join(k.site.dir, "releases"), filepath.Join(s.dir, "releases")))
		for _, st := range stages[:lines] {
			_, err := packages.Reconcile(t.Context(), packages.Options{Dir: s.dir, Key: s.key, APK: s.apk}, []packages.Stage{st})
			must(t, err)
		}
		return s
	}
	all := func(s *site) map[string]string {
		files := map[string]string{}
		must(t, filepath.WalkDir(s.dir, func(file string, e fs.DirEntry, err error) error {
			name, _ := filepath.Rel(s.dir, file)
			if err != nil || e.IsDir() || strings.HasPrefix(name, "releases") || strings.HasSuffix(name, ".lock") {
				return err
			}
			b, err := os.ReadFile(file)
			files[filepath.ToSlash(name)] = string(b)
			return err
		}))
		return files
	}
	want := all(at(3))
	for i, name := range slices.Sorted(maps.Keys(want)) {
		if i%fixture.Stride(2) != 0 {
			continue
		}
		s := at(2)
		read := func(name string) ([]byte, bool) {
			b, err := os.ReadFile(filepath.Join(s.dir, name))
			return b, err == nil
		}
		old, err := names(read)
		must(t, err)
		// A folder stands where the file is to be made.
		way := filepath.Join(s.dir, filepath.Dir(name), ".new-"+filepath.Base(name))
		must(t, os.MkdirAll(filepath.Join(way, "x"), 0o755))
		_, err = packages.Reconcile(t.Context(), packages.Options{Dir: s.dir, Key: s.key, APK: s.apk}, stages[2:])
		now, wrong := names(read)
		if wrong != nil {
			t.Errorf("%s cannot be written: %v", name, wrong)
		}
		for _, of := range []map[string]artifact.Digest{old, now} {
			for file, d := range of {
				if b, ok := read(file); !ok || artifact.Sum(b) != d {
					t.Errorf("%s cannot be written: %s is named and is not there", name, file)
				}
			}
		}
		must(t, os.RemoveAll(way))
		if got := all(s); err != nil && maps.Equal(got, want) || err == nil && !maps.Equal(got, want) {
			t.Errorf("%s cannot be written: %v", name, err)
		}
		_, err = packages.Reconcile(t.Context(), packages.Options{Dir: s.dir, Key: s.key, APK: s.apk}, stages[2:])
		must(t, err)
		if got := all(s); !maps.Equal(got, want) {
			t.Errorf("%s could not be written: there is %q and not %q", name, slices.Sorted(maps.Keys(got)), slices.Sorted(maps.Keys(want)))
		}
	}
}

// TestRefused is about folders that are not as they should be.
func TestRefused(t *testing.T) {
	reconcile := func(s *site, st packages.Stage) error {
		_, err := packages.Reconcile(t.Context(), packages.Options{Dir: s.dir, Key: s.key}, []packages.Stage{st})
		return err
	}
	fails := func(err error, code fault.Code, text string) {
		t.Helper()
		if fault.CodeOf(err) != code || !strings.Contains(fmt.Sprint(err), text) {
			t.Errorf("%v %v, want %q", fault.CodeOf(err), err, text)
		}
	}
	s := newSite(t)
	hello := s.release("hello", "1.0.0")
	deb := filepath.Join(s.dir, "releases/hello/1.0.0/packages/hello_1.0.0_amd64.deb")
	b, err := os.ReadFile(deb)
	must(t, err)
	must(t, os.WriteFile(deb, append(b, 'x'), 0o644))
	fails(reconcile(s, s.stage(1, hello)), fault.Mismatch, "hello_1.0.0_amd64.deb has other bytes than its release says")
	must(t, os.WriteFile(filepath.Join(s.dir, "packages/production.json"), []byte("{}"), 0o644))
	fails(reconcile(s, s.stage(1)), fault.Mismatch, "packages/production.json is not what was written: remove it")
	must(t, os.RemoveAll(filepath.Join(s.dir, "releases")))
	fails(reconcile(s, s.stage(1)), fault.Usage, "has no folder releases")
}

// TestElsewhere has packages of a release that is not in the folder, which is brought once.
func TestElsewhere(t *testing.T) {
	far, s := newSite(t), newSite(t)
	hello, world := far.release("hello", "1.0.0"), s.release("world", "1.0.0")
	brought, failing := 0, error(nil)
	o := packages.Options{Dir: s.dir, Key: s.key, APK: rsatest.Key(t, "packages"), Fetch: func(_ context.Context, seen environment.Seen) (string, error) {
		brought++
		return filepath.Join(far.dir, "releases", seen.Component, seen.Version), failing
	}}
	reconcile := func(written int, stages ...packages.Stage) error {
		t.Helper()
		all, err := packages.Reconcile(t.Context(), o, stages)
		if len(all) != written {
			t.Errorf("%+v, %v", all, err)
		}
		return err
	}
	other := s.stage(1, world)
	other.Name = "staging"
	failing = fault.Errorf(fault.Transient, "it is far away")
	if err := reconcile(1, s.stage(1, hello), other); fault.CodeOf(err) != fault.Transient || !strings.Contains(fmt.Sprint(err), "packages of production: hello 1.0.0: it is far away") {
		t.Error(err)
	}
	failing = nil
	must(t, reconcile(1, s.stage(1, hello), other))
	must(t, reconcile(0, s.stage(1, hello), other))
	must(t, reconcile(1, s.stage(2, hello, world), other))
	if brought != 2 {
		t.Errorf("it was brought %d times", brought)
	}
	if b := s.read("dists/production/main/binary-amd64/Packages"); !strings.Contains(b, "Filename: releases/hello/1.0.0/packages/hello_1.0.0_amd64.deb\n") || !strings.Contains(b, "Package: world") {
		t.Error(b)
	}
	if to, err := os.Readlink(filepath.Join(s.dir, "apk/production/x86_64/hello-1.0.0-r0.apk")); err != nil || filepath.ToSlash(to) != "../../../releases/hello/1.0.0/packages/hello_1.0.0-r0_x86_64.apk" {
		t.Error(to, err)
	}
	must(t, reconcile(1, s.stage(3, world), other))
	if _, err := os.Stat(filepath.Join(s.dir, "packages/known", hello.Manifest.Hex()+".json")); err == nil {
		t.Error("what is current nowhere stays known")
	}
	// What is brought is held to what the store has.
	hello.Manifest = world.Manifest
	hello.Version = "1.0.0"
	must(t, os.RemoveAll(filepath.Join(s.dir, "packages/known")))
	if err := reconcile(0, s.stage(4, hello)); fault.CodeOf(err) != fault.Mismatch || !strings.Contains(fmt.Sprint(err), "release.json is not the one that the store has") {
		t.Error(err)
	}
}

// serve serves the folder, as any server of files does it, but for times: here two indexes are written in one second.
func (s *site) serve() string {
	files := http.FileServer(http.Dir(s.dir))
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.Header.Del("If-Modified-Since")
		files.ServeHTTP(w, r)
	}))
	s.t.Cleanup(server.Close)
	return server.URL
}

func run(dir, name string, args ...string) (string, error) {
	cmd := exec.Command(name, args...)
	cmd.Dir = dir
	cmd.Env = []string{"PATH=" + os.Getenv("PATH") + ":/usr/sbin:/sbin", "HOME=" + dir, "LC_ALL=C"}
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// TestApt has apt-get read the indexes and fetch a package, without any rights over the system.
func TestApt(t *testing.T) {
	if _, err := exec.LookPath("apt-get"); err != nil {
		t.Skip("apt-get is not here")
	}
	s := newSite(t)
	s.wants(s.stage(1, s.release("hello", "1.0.0")), "there are none")
	dir := t.TempDir()
	for _, d := range []string{"state/lists/partial", "cache/archives/partial", "etc/preferences.d", "out"} {
		must(t, os.MkdirAll(filepath.Join(dir, d), 0o755))
	}
	must(t, os.WriteFile(filepath.Join(dir, "status"), nil, 0o644))
	keyring := filepath.Join(s.dir, packages.KeyFile)
	list := func(signedBy string) {
		must(t, os.WriteFile(filepath.Join(dir, "etc/sources.list"), []byte("deb [signed-by="+signedBy+"] "+s.serve()+" production main\n"), 0o644))
	}
	apt := func(args ...string) (string, error) {
		all := []string{
			"-o", "Dir::State=" + dir + "/state", "-o", "Dir::State::status=" + dir + "/status", "-o", "Dir::Cache=" + dir + "/cache", "-o", "Dir::Etc=" + dir + "/etc",
			"-o", "APT::Architecture=amd64", "-o", "APT::Architectures=amd64", "-o", "APT::Sandbox::User=", "-o", "Acquire::Languages=none", "-o", "Dir::Log=" + dir, "-o", "Acquire::http::Proxy=false",
		}
		return run(filepath.Join(dir, "out"), "apt-get", append(all, args...)...)
	}
	list(keyring)
	if out, err := apt("update"); err != nil || strings.Contains(out, "W:") {
		t.Fatalf("%v\n%s", err, out)
	}
	if out, err := apt("download", "hello"); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	same(t, filepath.Join(dir, "out/hello_1.0.0_amd64.deb"), filepath.Join(s.dir, "releases/hello/1.0.0/packages/hello_1.0.0_amd64.deb"))
	// What comes after that is seen, also where the version is lower: after a rollback.
	s.wants(s.stage(2, s.release("hello", "0.9.0")), "they are of line 1")
	if out, err := apt("update"); err != nil || strings.Contains(out, "W:") {
		t.Fatalf("%v\n%s", err, out)
	}
	if out, err := apt("install", "--simulate", "hello"); err != nil || !strings.Contains(out, "Inst hello (0.9.0 slipway:production [amd64])") {
		t.Errorf("%v\n%s", err, out)
	}
	// A key of RSA is one like others.
	var err error
	s.key, err = openpgp.New(rsatest.Key(t, "packages"), "Packages of Example")
	must(t, err)
	s.wants(s.stage(3, s.release("hello", "1.1.0")), "they were written otherwise")
	if out, err := apt("update"); err != nil || strings.Contains(out, "W:") {
		t.Fatalf("%v\n%s", err, out)
	}
	if out, err := apt("install", "--simulate", "hello"); err != nil || !strings.Contains(out, "Inst hello (1.1.0 ") {
		t.Errorf("%v\n%s", err, out)
	}
	// A repository that somebody else has signed is refused.
	public, err := key(t, "other").Public()
	must(t, err)
	must(t, os.WriteFile(filepath.Join(dir, "other.asc"), public, 0o644))
	list(filepath.Join(dir, "other.asc"))
	if out, err := apt("update"); err == nil || !strings.Contains(out, "NO_PUBKEY") {
		t.Errorf("%v\n%s", err, out)
	}
}

func same(t *testing.T, got, want string) {
	t.Helper()
	a, err := os.ReadFile(got)
	must(t, err)
	b, err := os.ReadFile(want)
	must(t, err)
	if !bytes.Equal(a, b) {
		t.Errorf("%s has other bytes", got)
	}
}

// TestFields is about what a package says of itself and another could not.
func TestFields(t *testing.T) {
	for value, want := range map[string]string{
		"One\n two\n .\n three": "Description: One\n two\n .\n three\n\n",
		"One\nFilename: other":  `its field Description has a line "Filename: other"`,
		"One\n \nPackage: x":    `its field Description has a line " "`,
		"One\rFilename: other":  `its field Description has a line "One\rFilename: other"`,
	} {
		got, err := packages.Stanza(map[string]string{"control.Description": value, "control.tar.size": "1", "control.md5sums": "2"})
		if err != nil {
			got = err.Error()
		}
		if !strings.HasSuffix(got, want) || strings.Contains(got, "md5sums") {
			t.Errorf("%q: %q", value, got)
		}
	}
	for value, want := range map[string]string{
		"a b\nc>=1": "C:Q1x\nS:5\nD:a b c>=1\n\n", "a\rP:other": `its field depend is "a\rP:other"`, "a\x00": `its field depend is "a\x00"`,
	} {
		got, err := packages.ApkStanza(map[string]string{"pkginfo.depend": value, "pkginfo.datahash": "1"})
		if err != nil {
			got = err.Error()
		}
		if got != want {
			t.Errorf("%q: %q", value, got)
		}
	}
	for _, tt := range []struct {
		fields map[string]string
		want   string
	}{
		{
			map[string]string{"rpm.RequireName": "rpmlib(X)\nopenssl\nlibc\nlibc\nx<&\"", "rpm.RequireFlags": "16777226\n12\n0\n0\n8", "rpm.RequireVersion": "1\n1:1.1-2\n\n\n3"},
			"<rpm:requires>\n<rpm:entry name=\"openssl\" flags=\"GE\" epoch=\"1\" ver=\"1.1\" rel=\"2\"/>\n<rpm:entry name=\"libc\"/>\n<rpm:entry name=\"x&lt;&amp;&#34;\" flags=\"EQ\" epoch=\"0\" ver=\"3\"/>\n</rpm:requires>\n</format>",
		},
		{map[string]string{"rpm.Summary": "a</summary>\x00\x1b"}, "<summary>a&lt;/summary&gt;\ufffd\ufffd</summary>"},
		{map[string]string{"rpm.ProvideName": "a\nb", "rpm.ProvideFlags": "8", "rpm.ProvideVersion": "1\n2"}, "it has 2 names, 1 flags and 2 versions of what it provides"},
		{map[string]string{"rpm.ProvideName": "a", "rpm.ProvideFlags": "x", "rpm.ProvideVersion": "1"}, `parsing "x"`},
	} {
		got, err := packages.Primary(tt.fields)
		if err != nil {
			got = err.Error()
		}
		if !strings.Contains(got, tt.want) {
			t.Errorf("%q: %s", tt.fields, got)
		}
	}
	for _, b := range []string{"", strings.Repeat("x", 200), strings.Repeat("\x00", 96) + "\x8e\xad\xe8\x01\x00\x00\x00\x00\xff\xff\xff\xff\xff\xff\xff\xff"} {
		if at, err := packages.HeaderOf(strings.NewReader(b)); err == nil {
			t.Errorf("%q: %v", b, at)
		}
	}
}
