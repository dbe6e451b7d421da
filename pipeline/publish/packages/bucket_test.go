package packages_test

import (
	"archive/tar"
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/slipway-build/slipway/pipeline/environment"
	"github.com/slipway-build/slipway/pipeline/fixture"
	"github.com/slipway-build/slipway/pipeline/fixture/buckettest"
	"github.com/slipway-build/slipway/pipeline/fixture/rsatest"
	"github.com/slipway-build/slipway/pipeline/publish/bucket"
	"github.com/slipway-build/slipway/pipeline/publish/packages"
	"github.com/slipway-build/slipway/pipeline/publish/wire"
	"github.com/slipway-build/slipway/pipeline/release/artifact"
	"github.com/slipway-build/slipway/pipeline/release/fault"
)

// stand is a bucket behind faults, with releases.
type stand struct {
	*buckettest.Bucket
	t      *testing.T
	faults *fixture.Faults
	url    string
}

// kept are releases that are the same in every stand.
type kept struct {
	site *site
	all  map[string]environment.Seen
}

// releases are those of a store, with their names and versions.
func releases(t *testing.T, names ...string) kept {
	k := kept{newSite(t), map[string]environment.Seen{}}
	for _, name := range names {
		component, v, _ := strings.Cut(name, " ")
		k.all[name] = k.site.release(component, v)
	}
	return k
}

// stages are what is current in production as of line after line.
func (k kept) stages(lines ...[]string) (all []packages.Stage) {
	for i, names := range lines {
		var current []environment.Seen
		for _, name := range names {
			current = append(current, k.all[name])
		}
		all = append(all, k.site.stage(i+1, current...))
	}
	return all
}

func standOf(t *testing.T, b *buckettest.Bucket) *stand {
	s := &stand{Bucket: b, t: t, faults: &fixture.Faults{}}
	s.url = s.faults.Serve(t, "bucket", s)
	return s
}

func newStand(t *testing.T, k kept) *stand {
	s := standOf(t, buckettest.New(buckettest.Options{AccessKey: "key", SecretKey: "secret", Public: true}))
	must(t, fs.WalkDir(os.DirFS(k.site.dir), "releases", func(name string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() || !strings.HasSuffix(name, "release.json") && !strings.Contains(name, "/packages/") {
			return err
		}
		b, err := os.ReadFile(filepath.Join(k.site.dir, name))
		s.Put("site/"+name, b, nil)
		return err
	}))
	return s
}

func (s *stand) options(base http.RoundTripper) packages.Options {
	b, err := bucket.Open(bucket.Options{
		Endpoint: s.url, Bucket: "bucket", Prefix: "site", AccessKey: func() string { return "key" }, SecretKey: func() string { return "secret" },
		Transport: wire.New(wire.Options{Destination: "bucket", Base: base, Backoff: time.Millisecond, Sleep: func(ctx context.Context, _ time.Duration) error { return ctx.Err() }}),
	})
	must(s.t, err)
	return packages.Options{Bucket: b, Key: key(s.t, "packages"), APK: rsatest.Key(s.t, "packages")}
}

// reconcile goes on as the command does: as long as something is written, with what the store says by then.
func (s *stand) reconcile(ctx context.Context, o packages.Options, store ...packages.Stage) error {
	for i := 0; ; i++ {
		all, err := packages.Reconcile(ctx, o, []packages.Stage{store[min(i, len(store)-1)]})
		if err != nil && !errors.Is(err, bucket.ErrChanged) || i == 20 {
			return err
		}
		if err == nil && len(all) == 0 {
			return nil
		}
	}
}

// names are those of all files that the indexes name which a reader gets now, with what each should have where an index says that.
func names(read func(string) ([]byte, bool)) (map[string]artifact.Digest, error) {
	all := map[string]artifact.Digest{}
	if release, ok := read("dists/production/Release"); ok {
		for _, m := range regexp.MustCompile(`(?m)^ ([0-9a-f]{64}) \d+ (main/binary-[a-z0-9]+)/Packages$`).FindAllSubmatch(release, -1) {
			name := "dists/production/" + string(m[2]) + "/by-hash/SHA256/" + string(m[1])
			all[name] = artifact.Digest("sha256:" + string(m[1]))
			index, ok := read(name)
			if !ok {
				return nil, fmt.Errorf("Release names %s, which is not there", name)
			}
			for _, p := range regexp.MustCompile(`(?s)\nFilename: (\S+)\n.*?\nSHA256: (\S+)\n`).FindAllSubmatch(index, -1) {
				all[string(p[1])] = artifact.Digest("sha256:" + string(p[2]))
			}
		}
		if len(all) == 0 {
			return nil, errors.New("Release names nothing")
		}
	}
	if md, ok := read("rpm/production/repodata/repomd.xml"); ok {
		for _, m := range regexp.MustCompile(`href="(repodata/([0-9a-f]{64})-[a-z]+.xml.gz)"`).FindAllSubmatch(md, -1) {
			name := "rpm/production/" + string(m[1])
			all[name] = artifact.Digest("sha256:" + string(m[2]))
			index, _ := read(name)
			z, err := gzip.NewReader(bytes.NewReader(index))
			if err != nil {
				return nil, fmt.Errorf("repomd.xml names %s: %w", name, err)
			}
			text, err := io.ReadAll(z)
			if err != nil {
				return nil, err
			}
			for _, p := range regexp.MustCompile(`(?s)pkgid="YES">([0-9a-f]{64})<.*?<location href="../../(\S+)"`).FindAllSubmatch(text, -1) {
				all[string(p[2])] = artifact.Digest("sha256:" + string(p[1]))
			}
		}
	}
	for _, arch := range []string{"x86_64", "aarch64"} {
		index, ok := read("apk/production/" + arch + "/APKINDEX.tar.gz")
		if !ok {
			continue
		}
		key, signed, entries, err := apkIndex(index)
		if err != nil {
			return nil, err
		}
		pem, _ := read("apk/production/" + key)
		if public, err := packages.Verify(pem, index, signed); err != nil {
			return nil, fmt.Errorf("%s: %w %s", arch, err, public)
		}
		for _, e := range entries {
			name := "apk/production/" + arch + "/" + e["P"] + "-" + e["V"] + ".apk"
			b, _ := read(name)
			all[name] = artifact.Sum(b)
			if fmt.Sprint(len(b)) != e["S"] {
				return nil, fmt.Errorf("the index of %s names %s, which has %d bytes and not %s", arch, name, len(b), e["S"])
			}
		}
	}
	return all, nil
}

// apkIndex reads an index with nothing of ours: the name of the key, where what is signed begins, and the entries.
func apkIndex(b []byte) (key string, signed int, entries []map[string]string, err error) {
	in := bytes.NewReader(b)
	z, err := gzip.NewReader(in)
	if err != nil {
		return "", 0, nil, err
	}
	z.Multistream(false)
	h, err := tar.NewReader(z).Next()
	if err != nil {
		return "", 0, nil, err
	}
	key = strings.TrimPrefix(h.Name, ".SIGN.RSA256.")
	if _, err := io.Copy(io.Discard, z); err != nil {
		return "", 0, nil, err
	}
	signed = len(b) - in.Len()
	if err := z.Reset(in); err != nil {
		return "", 0, nil, err
	}
	r := tar.NewReader(z)
	for h.Name != "APKINDEX" {
		if h, err = r.Next(); err != nil {
			return "", 0, nil, err
		}
	}
	e := map[string]string{}
	for lines := bufio.NewScanner(r); lines.Scan(); {
		field, value, ok := strings.Cut(lines.Text(), ":")
		if ok {
			e[field] = value
			continue
		}
		entries, e = append(entries, e), map[string]string{}
	}
	return key, signed, entries, nil
}

// whole is an error where something that a reader finds names what is not there. Old are names that an index had which is still read.
func (s *stand) whole(old map[string]artifact.Digest) error {
	read := func(name string) ([]byte, bool) { return s.Get("site/" + name) }
	all, err := names(read)
	if err != nil {
		return err
	}
	for _, of := range []map[string]artifact.Digest{all, old} {
		for name, d := range of {
			if b, ok := read(name); !ok || artifact.Sum(b) != d {
				return fmt.Errorf("%s is named and is not there", name)
			}
		}
	}
	return nil
}

func (s *stand) names() map[string]artifact.Digest {
	s.t.Helper()
	all, err := names(func(name string) ([]byte, bool) { return s.Get("site/" + name) })
	must(s.t, err)
	return all
}

// The same is in a bucket as in a folder, and nothing is written twice.
func TestBucket(t *testing.T) {
	k := releases(t, "hello 1.0.0", "hello 1.1.0", "world 1.0.0-rc.1")
	stages := k.stages([]string{"hello 1.0.0"}, []string{"hello 1.1.0", "world 1.0.0-rc.1"})
	s := newStand(t, k)
	o := s.options(nil)
	for i, st := range stages {
		for _, check := range []bool{true, false} {
			o.Check = check
			all, err := packages.Reconcile(t.Context(), o, []packages.Stage{st})
			if err != nil || len(all) != 1 || all[0].Line != i+1 || all[0].Was != i {
				t.Errorf("line %d, check %v: %+v %v", i+1, check, all, err)
			}
		}
		must(t, s.whole(nil))
		s.faults.Forget()
		must(t, s.reconcile(t.Context(), o, st))
		if c := fixture.Changes(s.faults.Seen()); len(c) > 0 {
			t.Errorf("again: %q", c)
		}
		_, err := packages.Reconcile(t.Context(), packages.Options{Dir: k.site.dir, Key: o.Key, APK: o.APK}, []packages.Stage{st})
		must(t, err)
	}
	n := 0
	must(t, filepath.WalkDir(k.site.dir, func(file string, e fs.DirEntry, err error) error {
		name, _ := filepath.Rel(k.site.dir, file)
		if name = filepath.ToSlash(name); err != nil || e.IsDir() || strings.HasPrefix(name, "releases/") || path.Base(name) == ".lock" {
			return err
		}
		n++
		want, err := os.ReadFile(file)
		if got, _ := s.Get("site/" + name); !bytes.Equal(got, want) {
			t.Errorf("%s is not the same", name)
		}
		return err
	}))
	if objects := strings.Count(s.State(), "\n") - strings.Count(s.State(), "site/releases/"); objects != n || n < 30 {
		t.Errorf("%d objects and %d files", objects, n)
	}
	if state := s.State(); !regexp.MustCompile(`site/dists/production/main/binary-amd64/by-hash/\S+ \S+ \S+ Cache-Control="public`).MatchString(state) || !regexp.MustCompile(`site/dists/production/InRelease \S+ \S+ Cache-Control="no-cache"`).MatchString(state) {
		t.Error(state)
	}
	// A package of which the bucket has other bytes than its release, or none.
	far := k.stages(nil, nil, []string{"world 1.0.0-rc.1", "hello 1.0.0"})[2]
	name := "site/releases/hello/1.0.0/packages/hello_1.0.0_amd64.deb"
	right, _ := s.Get(name)
	s.Drop(name)
	if err := s.reconcile(t.Context(), o, far); fault.CodeOf(err) != fault.Mismatch || !strings.Contains(err.Error(), "hello_1.0.0_amd64.deb: file does not exist, and its release has it: publish it again") {
		t.Error(err)
	}
	s.Put(name, append(right, 'x'), nil)
	if err := s.reconcile(t.Context(), o, far); fault.CodeOf(err) != fault.Mismatch || !strings.Contains(err.Error(), "has other bytes than its release says") {
		t.Error(err)
	}
	must(t, s.whole(nil))
}

// Whatever happens to any one request, no reader ever finds an index that names what is not there, nor loses what the index before has
// named; the next run goes on, also with what the store says by then; and in the end there is what there is after clean runs alone.
func TestEveryFault(t *testing.T) {
	k := releases(t, "hello 1.0.0", "hello 1.1.0", "world 1.0.0")
	stages := k.stages([]string{"hello 1.0.0"}, []string{"hello 1.0.0", "world 1.0.0"}, []string{"hello 1.1.0", "world 1.0.0"}, []string{"hello 1.0.0"}, []string{"hello 1.0.0"}, []string{"hello 1.1.0"})
	const at = 2 // what the faults happen to
	clean := newStand(t, k)
	var states []string
	n := 0
	var begin *buckettest.Bucket
	for i, st := range stages {
		if i == at {
			begin = clean.Clone()
		}
		clean.faults.Forget()
		_, err := packages.Reconcile(t.Context(), clean.options(nil), []packages.Stage{st})
		must(t, err)
		states = append(states, clean.State())
		if i == at {
			n = len(clean.faults.Seen())
		}
	}
	for f, kind := range []fixture.Fault{
		fixture.Kill, fixture.KillAfter, fixture.BadGateway, fixture.BadAfter, fixture.TooMany, fixture.Unavailable,
		fixture.Reset, fixture.Lost, fixture.Cut, fixture.Unauthorized,
	} {
		killed := kind == fixture.Kill || kind == fixture.KillAfter
		step := fixture.Stride(31)
		if killed {
			step = min(step, fixture.Stride(5))
		}
		for i := 1 + f%step; i <= n; i += step {
			s := standOf(t, begin.Clone())
			old := s.names()
			s.faults.Forget()
			ctx, cancel := context.WithCancel(t.Context())
			s.faults.Kill = cancel
			var over atomic.Bool
			s.faults.Set(func(nth int, service string, r *http.Request) fixture.Fault {
				if over.Load() {
					return fixture.None
				}
				if err := s.whole(old); err != nil {
					t.Errorf("%s at request %d, before request %d, %s %s: %v", kind, i, nth, r.Method, r.URL.Path, err)
				}
				return fixture.Nth(i, kind)(nth, service, r)
			})
			o := s.options(nil)
			_, err := packages.Reconcile(ctx, o, stages[at:at+1])
			cancel()
			over.Store(true)
			if err == nil && s.State() != states[at] {
				t.Errorf("%s at request %d: it succeeded with another state", kind, i)
			}
			if code := fault.CodeOf(err); err != nil && !killed && code != fault.Transient && code != fault.Credentials {
				t.Errorf("%s at request %d: code %d: %v", kind, i, code, err)
			}
			must(t, s.whole(old))
			if (i/step+f)%2 == 0 { // else the store has moved meanwhile
				if _, err := packages.Reconcile(t.Context(), o, stages[at:at+1]); err != nil || !strings.Contains(s.State(), "production/InRelease") {
					t.Errorf("%s at request %d, and again: %v", kind, i, err)
				}
				must(t, s.whole(old))
			}
			for _, st := range stages[at+1:] {
				_, err := packages.Reconcile(t.Context(), o, []packages.Stage{st})
				must(t, err)
				must(t, s.whole(nil))
			}
			if last := states[len(states)-1]; s.State() != last {
				t.Errorf("%s at request %d: in the end there is\n%s\nand not\n%s", kind, i, s.State(), last)
			}
		}
	}
	t.Logf("%d requests, each with 10 faults", n)
}

// overtaking makes requests, and has something else done before the n-th.
type overtaking struct {
	n       int
	then    func()
	seen    int
	changed bool // something, or is about to when it is overtaken
}

func (o *overtaking) RoundTrip(r *http.Request) (*http.Response, error) {
	o.seen++
	o.changed = o.changed || o.seen <= o.n && fixture.Seen{Method: r.Method}.Changes()
	if o.seen == o.n {
		o.then()
	}
	return http.DefaultTransport.RoundTrip(r)
}

// Whoever was overtaken by somebody who read the store later replaces no index of theirs, wherever that was, and says so if it took
// something away that they have.
func TestOvertaken(t *testing.T) {
	k := releases(t, "hello 1.0.0", "hello 1.1.0", "world 1.0.0")
	stages := k.stages([]string{"hello 1.0.0"}, []string{"hello 1.1.0"}, []string{"hello 1.1.0", "world 1.0.0"}, []string{"hello 1.0.0"})
	clean := newStand(t, k)
	for _, st := range stages[:2] {
		must(t, clean.reconcile(t.Context(), clean.options(nil), st))
	}
	begin := clean.Clone()
	must(t, clean.reconcile(t.Context(), clean.options(nil), stages[3]))
	told := 0
	for n, more := 1, true; more; n += fixture.Stride(1) {
		s := standOf(t, begin.Clone())
		other := func() { must(t, s.reconcile(t.Context(), s.options(nil), stages[3])) }
		o := &overtaking{n: n, then: other}
		_, err := packages.Reconcile(t.Context(), s.options(o), stages[2:3])
		more = o.seen >= n
		if !more {
			must(t, err)
			break
		}
		if errors.Is(err, bucket.ErrChanged) && fault.CodeOf(err) == fault.Transient {
			told++
		} else if err != nil {
			t.Errorf("before request %d: %v", n, err)
		}
		for _, name := range []string{"dists/production/InRelease", "dists/production/Release.gpg", "rpm/production/repodata/repomd.xml.asc", "apk/production/x86_64/APKINDEX.tar.gz"} {
			want, _ := clean.Get("site/" + name)
			if got, _ := s.Get("site/" + name); !bytes.Equal(got, want) {
				t.Errorf("before request %d: %s is not that of the newer line", n, name)
			}
		}
		if err == nil || !o.changed {
			must(t, s.whole(nil))
		}
		other()
		must(t, s.whole(nil))
	}
	if told == 0 {
		t.Error("nothing was ever taken away")
	}
}

// Of two who write at the same time, the one who read the store later has written in the end, whatever the other does meanwhile.
func TestRivals(t *testing.T) {
	k := releases(t, "hello 1.0.0", "hello 1.1.0", "world 1.0.0")
	stages := k.stages([]string{"hello 1.0.0"}, []string{"hello 1.1.0"}, []string{"hello 1.1.0", "world 1.0.0"}, []string{"hello 1.0.0"})
	clean := newStand(t, k)
	for _, st := range stages[:2] {
		must(t, clean.reconcile(t.Context(), clean.options(nil), st))
	}
	begin := clean.Clone()
	must(t, clean.reconcile(t.Context(), clean.options(nil), stages[3]))
	want := map[string][]byte{}
	for _, name := range []string{"dists/production/InRelease", "dists/production/main/binary-amd64/Packages", "rpm/production/repodata/repomd.xml.asc", "apk/production/x86_64/APKINDEX.tar.gz", "apk/production/x86_64/hello-1.0.0-r0.apk"} {
		want[name], _ = clean.Get("site/" + name)
	}
	fixture.Interleave(t, 6, 40, func(t *testing.T) fixture.Rivals {
		s := standOf(t, begin.Clone())
		publisher := func(read ...packages.Stage) func(*fixture.Turn) error {
			return func(turn *fixture.Turn) error { return s.reconcile(t.Context(), s.options(turn.Base(nil)), read...) }
		}
		return fixture.Rivals{Publish: [2]func(*fixture.Turn) error{publisher(stages[2], stages[3]), publisher(stages[3])}, Back: func() (back []string) {
			for name, b := range want {
				if got, _ := s.Get("site/" + name); !bytes.Equal(got, b) {
					back = append(back, name)
				}
			}
			if err := s.whole(nil); err != nil {
				back = append(back, err.Error())
			}
			return back
		}}
	})
}
