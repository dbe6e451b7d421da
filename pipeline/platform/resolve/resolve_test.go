package resolve_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/slipway-build/slipway/pipeline/fixture/gittest"
	"github.com/slipway-build/slipway/pipeline/fixture/verifytest"
	"github.com/slipway-build/slipway/pipeline/platform"
	"github.com/slipway-build/slipway/pipeline/platform/resolve"
	"github.com/slipway-build/slipway/pipeline/release/artifact"
	"github.com/slipway-build/slipway/pipeline/release/fault"
	"github.com/slipway-build/slipway/pipeline/serve"
	"github.com/slipway-build/slipway/pipeline/trust/sign"
)

// world is a platform of two components, with a repository and releases of each.
type world struct {
	t   *testing.T
	dir string // of platform.yaml
	key sign.Key
}

func newWorld(t *testing.T) *world {
	w := &world{t: t, dir: t.TempDir()}
	var err error
	w.key, err = sign.Generate(sign.Ed25519)
	w.must(err)
	w.must(os.WriteFile(filepath.Join(w.dir, "acme.pub"), w.key.Public().PEM(), 0o600))
	for _, name := range []string{"gateway", "proto"} {
		dir := filepath.Join(w.dir, name)
		w.must(os.Mkdir(dir, 0o755))
		w.git(name, "init", "--quiet", "--initial-branch=main", "--template=", ".")
		w.commit(name, "first")
	}
	return w
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) git(name string, args ...string) string {
	w.t.Helper()
	return gittest.Git(w.t, filepath.Join(w.dir, name), args...)
}

// commit is a commit, with tags.
func (w *world) commit(name, message string, tags ...string) string {
	w.git(name, "commit", "--quiet", "--allow-empty", "-m", message)
	for i, tag := range tags {
		if i%2 == 0 {
			w.git(name, "tag", "-a", "-m", tag, tag)
		} else {
			w.git(name, "tag", tag)
		}
	}
	return w.git(name, "rev-parse", "HEAD")
}

// release publishes a release of a commit.
func (w *world) release(name, v, commit string, by sign.Key) {
	w.t.Helper()
	w.write("releases", verifytest.Options{Name: name, Version: v, Commit: commit, Bare: true}, by)
}

func (w *world) write(place string, o verifytest.Options, by sign.Key) {
	w.t.Helper()
	dir := filepath.Join(w.dir, place, o.Name, o.Version)
	_, err := verifytest.Write(dir, o)
	w.must(err)
	_, err = sign.Release(w.t.Context(), dir, sign.Options{Signer: by})
	w.must(err)
}

// options are those of the platform in which the text of a component is replaced.
func (w *world) options(channel platform.Channel, replace ...string) resolve.Options {
	w.t.Helper()
	text := `version: 1
name: edge
components:
  gateway: {repository: gateway, constraint: ">=1.4.0 <2.0.0", pin: 1.4.2, releases: releases, key: acme.pub, needs: {proto: ">=0.9.0 <0.10.0"}}
  proto: {repository: proto, pin: 0.9.3, releases: releases, key: acme.pub}
`
	p, err := platform.Parse("platform.yaml", []byte(strings.NewReplacer(replace...).Replace(text)))
	w.must(err)
	return resolve.Options{Platform: p, Dir: w.dir, Channel: channel, Environ: gittest.Environ(w.t)}
}

func (w *world) lock(o resolve.Options) string {
	w.t.Helper()
	l, err := resolve.Lock(w.t.Context(), o)
	w.must(err)
	var all []string
	for _, name := range o.Platform.Names() {
		c := l.Components[name]
		all = append(all, fmt.Sprintf("%s %s %s %.6s %t", name, c.Version, c.Tag, c.Commit, c.Published()))
	}
	return strings.Join(all, "; ")
}

func TestLock(t *testing.T) {
	w := newWorld(t)
	pinned := w.commit("gateway", "two", "v1.4.2", "v1.4.1", "v0.1.0", "other/v1.9.0", "v1", "nightly")
	candidate := w.commit("gateway", "three", "v1.5.0-rc.1", "v1.5.0-rc.2")
	w.commit("gateway", "beyond", "v2.0.0-rc.1", "v2.0.0")
	head := w.commit("gateway", "head")
	proto := w.commit("proto", "two", "0.9.3")
	w.release("gateway", "1.4.2", pinned, w.key)
	w.release("proto", "0.9.3", proto, w.key)

	want := func(what, got, want string) {
		t.Helper()
		if got != want {
			t.Errorf("%s: %s, want %s", what, got, want)
		}
	}
	want("stable", w.lock(w.options(platform.Stable)), fmt.Sprintf("gateway 1.4.2 v1.4.2 %.6s true; proto 0.9.3 0.9.3 %.6s true", pinned, proto))
	want("staging", w.lock(w.options(platform.Staging)), fmt.Sprintf("gateway 1.5.0-rc.2 v1.5.0-rc.2 %.6s false; proto 0.9.3 0.9.3 %.6s true", candidate, proto))
	want("dev", w.lock(w.options(platform.Dev)), fmt.Sprintf("gateway   %.6s false; proto   %.6s false", head, proto))
	w.release("gateway", fmt.Sprintf("1.5.0-snapshot.3.g%.12s", head), head, w.key)
	want("dev, published", w.lock(w.options(platform.Dev)), fmt.Sprintf("gateway 1.5.0-snapshot.3.g%.12s  %.6[1]s true; proto   %.6[2]s false", head, proto))

	// A server says the same as the folder.
	s := serve.New(serve.Options{Root: filepath.Join(w.dir, "releases"), Rescan: time.Hour})
	server := httptest.NewServer(s.Handler())
	t.Cleanup(server.Close)
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		if res, err := http.Get(server.URL + "/releases.json"); err == nil {
			res.Body.Close()
			if res.StatusCode == http.StatusOK || time.Now().After(end) {
				break
			}
		}
	}
	want("served", w.lock(w.options(platform.Stable, "releases: releases", "releases: "+server.URL)), w.lock(w.options(platform.Stable)))

	// One component alone is chosen anew.
	before, err := resolve.Lock(t.Context(), w.options(platform.Stable))
	w.must(err)
	o := w.options(platform.Stable, "pin: 1.4.2", "pin: 1.4.1", "0.9.3", "0.9.4")
	o.Before, o.Only = before, []string{"gateway"}
	want("one", w.lock(o), fmt.Sprintf("gateway 1.4.1 v1.4.1 %.6s false; proto 0.9.3 0.9.3 %.6s true", pinned, proto))
}

func TestRefused(t *testing.T) {
	w := newWorld(t)
	pinned := w.commit("gateway", "two", "v1.4.2", "v1.9.9")
	proto := w.commit("proto", "two", "0.9.3", "v0.10.0")
	w.release("gateway", "1.4.2", pinned, w.key)
	w.release("proto", "0.9.3", proto, w.key)
	before, err := resolve.Lock(t.Context(), w.options(platform.Stable))
	w.must(err)
	stranger, err := sign.Generate(sign.Ed25519)
	w.must(err)
	for _, tt := range []struct {
		what    string
		do      func(o *resolve.Options)
		channel platform.Channel
		replace []string
		code    fault.Code
		want    string
	}{
		{what: "no such component", do: func(o *resolve.Options) { o.Only = []string{"gate"} }, code: fault.Usage, want: `there is no component "gate"; there is gateway, proto`},
		{what: "no pin", replace: []string{"pin: 0.9.3, ", ""}, code: fault.Usage, want: "proto: platform.yaml:5:"},
		{what: "no tag", replace: []string{"pin: 1.4.2", "pin: 1.4.3"}, code: fault.Git, want: "gateway: gateway has no tag v1.4.3, which is pinned at platform.yaml:4:"},
		{what: "no tag in range", channel: platform.Staging, replace: []string{">=1.4.0", ">=1.99.0", "pin: 1.4.2, ", ""}, code: fault.Git, want: `has no tag <version> in ">=1.99.0 <2.0.0"; it has 2 tags`},
		{what: "no branch", channel: platform.Dev, replace: []string{"repository: proto", "repository: proto, branch: next"}, code: fault.Git, want: `proto has no branch "next"`},
		{what: "no repository", replace: []string{"repository: proto", "repository: prota"}, code: fault.Usage, want: "proto: repository prota: there is no such folder"},
		{what: "a need", replace: []string{"pin: 0.9.3", "pin: 0.10.0"}, code: fault.Usage, want: "gateway 1.4.2 needs proto >=0.9.0 <0.10.0, and 0.10.0 is chosen"},
		{what: "a tag that moved", do: func(o *resolve.Options) {
			c := before.Components["gateway"]
			c.Commit = strings.Repeat("1", 40)
			o.Before = platform.Lock{Components: map[string]platform.Chosen{"gateway": c}}
		}, code: fault.Git, want: "tag v1.4.2 moved: it was commit 111111111111"},
		{what: "a release that became another", do: func(o *resolve.Options) {
			c := before.Components["gateway"]
			c.Manifest = artifact.Sum(nil)
			o.Before = platform.Lock{Components: map[string]platform.Chosen{"gateway": c}}
		}, code: fault.Mismatch, want: "gateway: release 1.4.2 was e3b0c44298fc when it was locked, and is "},
		{what: "a release that is gone", do: func(o *resolve.Options) { o.Before = before }, replace: []string{"pin: 0.9.3, releases: releases", "pin: 0.9.3, releases: proto"}, code: fault.Mismatch, want: "when it was locked, and is gone: a version is made once"},
		{what: "a release of another commit", do: func(*resolve.Options) { w.release("gateway", "1.9.9", strings.Repeat("2", 40), w.key) }, replace: []string{"pin: 1.4.2", "pin: 1.9.9"}, code: fault.Git, want: "is of commit 222222222222, and tag v1.9.9 is at "},
		{what: "another's key", do: func(*resolve.Options) { w.release("proto", "0.10.0", proto, stranger) }, replace: []string{"pin: 0.9.3", "pin: 0.10.0", "<0.10.0", "<0.11.0"}, code: fault.Mismatch, want: "0.10.0: "},
		{what: "another release under that name", do: func(*resolve.Options) {
			w.must(os.RemoveAll(filepath.Join(w.dir, "releases", "gateway", "1.4.2")))
			w.must(os.Rename(filepath.Join(w.dir, "releases", "gateway", "1.9.9"), filepath.Join(w.dir, "releases", "gateway", "1.4.2")))
		}, want: ""}, // it is called 1.9.9, and 1.4.2 is not published
	} {
		if tt.channel == "" {
			tt.channel = platform.Stable
		}
		o := w.options(tt.channel, tt.replace...)
		if tt.do != nil {
			tt.do(&o)
		}
		l, err := resolve.Lock(t.Context(), o)
		if tt.want == "" {
			if err != nil || l.Components["gateway"].Published() {
				t.Errorf("%s: %+v, %v", tt.what, l, err)
			}
			continue
		}
		if err == nil || !strings.Contains(err.Error(), tt.want) || fault.CodeOf(err) != tt.code {
			t.Errorf("%s: %d, %v, want %d, %q", tt.what, fault.CodeOf(err), err, tt.code, tt.want)
		}
	}
}

// What cannot be reached is an error, or stays as it was where that is asked for.
func TestKeep(t *testing.T) {
	w := newWorld(t)
	pinned := w.commit("gateway", "two", "v1.4.2")
	proto := w.commit("proto", "two", "0.9.3")
	w.release("gateway", "1.4.2", pinned, w.key)
	w.release("proto", "0.9.3", proto, w.key)
	o := w.options(platform.Stable)
	before, err := resolve.Lock(t.Context(), o)
	w.must(err)
	gone := httptest.NewServer(http.NotFoundHandler())
	gone.Close()
	o = w.options(platform.Stable, "repository: proto", "repository: "+gone.URL+"/proto.git")
	o.Before = before
	if _, err := resolve.Lock(t.Context(), o); fault.CodeOf(err) != fault.Transient || !strings.HasPrefix(err.Error(), "proto: ") {
		t.Errorf("%d, %v", fault.CodeOf(err), err)
	}
	var kept []string
	o.Keep, o.Kept = true, func(name string, _ error) { kept = append(kept, name) }
	l, err := resolve.Lock(t.Context(), o)
	if err != nil || len(platform.Diff(before, l)) > 0 || len(kept) != 1 || kept[0] != "proto" {
		t.Errorf("%+v, %v, kept %q", l, err, kept)
	}
	o.Before = platform.Lock{} // there is nothing to keep
	if _, err := resolve.Lock(t.Context(), o); fault.CodeOf(err) != fault.Transient {
		t.Errorf("%d, %v", fault.CodeOf(err), err)
	}
}

// One repository and one place of releases are asked once, however many components are there.
func TestAskedOnce(t *testing.T) {
	w := newWorld(t)
	var mu sync.Mutex
	asked := map[string]int{}
	server := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		mu.Lock()
		asked[r.URL.Path]++
		mu.Unlock()
		if strings.HasPrefix(r.URL.Path, "/mono/") {
			rw.Header().Set("Content-Type", "application/x-git-upload-pack-advertisement")
			fmt.Fprint(rw, "001e# service=git-upload-pack\n0000")
			first := strings.Repeat("1", 40) + " refs/tags/a/v1.4.2\x00\n"
			second := strings.Repeat("1", 40) + " refs/tags/v0.9.3\n"
			fmt.Fprintf(rw, "%04x%s%04x%s0000", len(first)+4, first, len(second)+4, second)
			return
		}
		fmt.Fprint(rw, `{"releases":[]}`)
	}))
	defer server.Close()
	o := w.options(platform.Stable, "repository: gateway", "tagPrefix: a/, repository: "+server.URL+"/mono", "repository: proto", "repository: "+server.URL+"/mono", "releases: releases", "releases: "+server.URL+"/of")
	l, err := resolve.Lock(t.Context(), o)
	if err != nil || l.Components["gateway"].Tag != "a/v1.4.2" || l.Components["proto"].Tag != "v0.9.3" {
		t.Fatalf("%+v, %v", l, err)
	}
	for p, n := range asked {
		if n != 1 {
			t.Errorf("%s is asked %d times", p, n)
		}
	}
	if len(asked) < 2 {
		t.Errorf("asked %v", asked)
	}
	clear(asked)
	look := resolve.Looker(t.Context(), o)
	for name, c := range l.Components {
		if is, err := look(name, c); err != nil || !reflect.DeepEqual(is, c) {
			t.Errorf("%+v, %v", is, err)
		}
	}
	for p, n := range asked {
		if n != 1 {
			t.Errorf("to look, %s is asked %d times", p, n)
		}
	}
	if len(asked) == 0 {
		t.Error("nobody is asked by who looks")
	}
}

// A server that always says one byte more is given up all the same, while it lists its releases and while one is verified.
func TestDrip(t *testing.T) {
	w := newWorld(t)
	w.commit("gateway", "two", "v1.4.2")
	w.commit("proto", "two", "0.9.3")
	var list bool
	server := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if list && r.URL.Path == "/releases.json" {
			fmt.Fprint(rw, `{"releases":[{"name":"gateway","version":"1.4.2","path":"r/"}]}`)
			return
		}
		for r.Context().Err() == nil {
			fmt.Fprint(rw, " ")
			rw.(http.Flusher).Flush()
			time.Sleep(10 * time.Millisecond)
		}
	}))
	defer server.Close()
	for _, list = range []bool{false, true} {
		o := w.options(platform.Stable, "releases: releases", "releases: "+server.URL)
		o.Patience = 500 * time.Millisecond
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		_, err := resolve.Lock(ctx, o)
		cancel()
		if err == nil || !strings.Contains(err.Error(), "has not answered in 500ms") || fault.CodeOf(err) != fault.Transient {
			t.Errorf("list %t: %d, %v", list, fault.CodeOf(err), err)
		}
	}
}

// A repository that says nothing is given up, one that wants a password starts no program that the platform's own repository names, and
// an empty one is called so.
func TestUnfriendly(t *testing.T) {
	w := newWorld(t)
	w.git(".", "init", "--quiet", "--template=", ".")
	started := filepath.Join(w.dir, "started")
	w.git(".", "config", "credential.helper", "!touch "+started+";")
	w.git(".", "config", "core.sshCommand", "touch "+started+";")
	server := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, "/silent") {
			time.Sleep(time.Second)
		}
		rw.Header().Set("WWW-Authenticate", "Basic realm=x")
		rw.WriteHeader(http.StatusUnauthorized)
	}))
	defer server.Close()
	w.must(os.MkdirAll(filepath.Join(w.dir, "releases"), 0o755))
	w.must(os.Mkdir(filepath.Join(w.dir, "empty"), 0o755))
	w.git("empty", "init", "--quiet", "--template=", ".")
	for _, tt := range []struct {
		repository, want string
		code             fault.Code
	}{
		{server.URL + "/silent", "it has not answered in 300ms", fault.Transient},
		{server.URL + "/private", "give git credentials for it", fault.Credentials},
		{"ssh://127.0.0.1:1/x", "asking ssh://127.0.0.1:1/x for its refs", fault.Transient},
		{"ext::touch%20" + started, "transport 'ext' not allowed", fault.Usage},
		{"empty", "empty is empty, or its HEAD is at no branch; name one with branch", fault.Git},
	} {
		o := w.options(platform.Dev, "repository: proto", "repository: "+tt.repository)
		o.Patience = 300 * time.Millisecond
		if _, err := resolve.Lock(t.Context(), o); err == nil || !strings.Contains(err.Error(), tt.want) || fault.CodeOf(err) != tt.code {
			t.Errorf("%s: %d, %v, want %d, %q", tt.repository, fault.CodeOf(err), err, tt.code, tt.want)
		}
	}
	if _, err := os.Stat(started); err == nil {
		t.Error("a program is started that the configuration of a repository names")
	}
}

// The folder of platform.yaml may be named from elsewhere.
func TestElsewhere(t *testing.T) {
	w := newWorld(t)
	t.Chdir(filepath.Dir(w.dir))
	w.must(os.Mkdir(filepath.Join(w.dir, "releases"), 0o755))
	o := w.options(platform.Dev)
	o.Dir = filepath.Base(w.dir)
	if _, err := resolve.Lock(t.Context(), o); err != nil {
		t.Error(err)
	}
}
