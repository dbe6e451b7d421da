package folder_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/slipway-build/slipway/pipeline/fixture"
	"github.com/slipway-build/slipway/pipeline/fixture/releasetest"
	"github.com/slipway-build/slipway/pipeline/fixture/verifytest"
	"github.com/slipway-build/slipway/pipeline/publish"
	"github.com/slipway-build/slipway/pipeline/publish/folder"
	"github.com/slipway-build/slipway/pipeline/publish/wire"
	"github.com/slipway-build/slipway/pipeline/release/artifact"
	"github.com/slipway-build/slipway/pipeline/release/fault"
	"github.com/slipway-build/slipway/pipeline/release/manifest"
	"github.com/slipway-build/slipway/pipeline/serve"
	"github.com/slipway-build/slipway/pipeline/trust/signature"
)

// The environment of a test's child, which publishes and ends itself at one of its changes.
const (
	childDist = "FOLDER_TEST_DIST"
	childRoot = "FOLDER_TEST_ROOT"
	childKill = "FOLDER_TEST_KILL"
)

func TestMain(m *testing.M) {
	if dist := os.Getenv(childDist); dist != "" {
		os.Exit(child(dist, os.Getenv(childRoot), os.Getenv(childKill)))
	}
	os.Exit(m.Run())
}

// child publishes, and is killed before or after its n-th change: "3" or "3+".
func child(dist, root, when string) int {
	at, after := strings.CutSuffix(when, "+")
	n, _ := strconv.Atoi(at)
	rel, err := publish.Open(dist)
	if err != nil {
		return 1
	}
	kill := func() {
		p, _ := os.FindProcess(os.Getpid())
		_ = p.Kill()
		select {}
	}
	d, err := folder.New(folder.Options{Release: rel, Root: root, Recorder: &recorder{begin: func(i int) error {
		if i == n && !after {
			kill()
		}
		return nil
	}, end: func(i int) {
		if i == n && after {
			kill()
		}
	}}})
	if err != nil {
		return 1
	}
	if _, err := run(context.Background(), d, false); err != nil {
		return 1
	}
	return 0
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// recorder calls functions around changes, and keeps them.
type recorder struct {
	begin func(n int) error
	end   func(n int)

	mu   sync.Mutex
	seen []string
}

func (r *recorder) Begin(req wire.Request) (func(string), error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.seen = append(r.seen, req.String())
	n := len(r.seen)
	if r.begin != nil {
		if err := r.begin(n); err != nil {
			return nil, err
		}
	}
	return func(string) {
		if r.end != nil {
			r.end(n)
		}
	}, nil
}

func destination(t testing.TB, o folder.Options) *folder.Destination {
	t.Helper()
	d, err := folder.New(o)
	must(t, err)
	return d
}

func run(ctx context.Context, d *folder.Destination, dry bool) (publish.Result, error) {
	return publish.Run(ctx, []publish.Target{{Name: "folder", Wave: publish.Registries, Destination: d}}, publish.Options{
		DryRun: dry, Pause: func(ctx context.Context, _ int) error { return ctx.Err() },
	})
}

// state is everything below the root, with times and modes.
func state(t testing.TB, root string) string {
	t.Helper()
	var b strings.Builder
	err := filepath.WalkDir(root, func(name string, e fs.DirEntry, err error) error {
		if err != nil || name == root {
			return err
		}
		rel, _ := filepath.Rel(root, name)
		if !e.Type().IsRegular() {
			fmt.Fprintf(&b, "%s %s\n", rel, e.Type())
			return nil
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		sum, size, err := artifact.SumFile(name)
		fmt.Fprintf(&b, "%s %s %d %s %s\n", rel, info.Mode(), size, sum, info.ModTime().UTC().Format(time.RFC3339))
		return err
	})
	must(t, err)
	return b.String()
}

func TestPublish(t *testing.T) {
	rel := releasetest.Signed(t, verifytest.Options{Downloads: true})
	root := t.TempDir()
	var sent int64
	result, err := run(t.Context(), destination(t, folder.Options{Release: rel, Root: root, Sent: func(n int64) { sent += n }}), false)
	must(t, err)
	var size int64
	for _, it := range result.Outcomes[0].Items {
		if it.State != publish.Same {
			t.Errorf("%s is %s: %s", it.Name, it.State, it.Detail)
		}
		size += it.Size
	}
	if sent != size {
		t.Errorf("%d bytes were told of, want %d", sent, size)
	}
	got := state(t, root)
	for _, want := range []string{"release.json ", "SHA256SUMS ", "checksums.txt ", "checksums.txt.sigstore.json ", "release.json.sigstore.json ", "signatures/index.json ", "attestations/hello_1.2.3.intoto.jsonl ", "notes.md "} {
		if !strings.Contains(got, "hello/1.2.3/"+want) {
			t.Errorf("there is no %s in\n%s", want, got)
		}
	}
	for _, none := range []string{"report.html", "build.log", "timings.json", "publish", "/.1.2.3"} {
		if strings.Contains(got, none) {
			t.Errorf("there is %s in\n%s", none, got)
		}
	}
	if !strings.Contains(got, "binaries/hello_linux_amd64/hello -rwx") || !strings.Contains(got, "2026-03-14T15:09:26Z") {
		t.Errorf("programs cannot be run, or times are not the release's, in\n%s", got)
	}
	again := &recorder{}
	result, err = run(t.Context(), destination(t, folder.Options{Release: rel, Root: root, Recorder: again}), false)
	if err != nil || result.Changed || len(again.seen) > 0 || state(t, root) != got {
		t.Errorf("a second time: changed %v, %v, %q", result.Changed, err, again.seen)
	}
	read, err := publish.Status(t.Context(), []publish.Target{{Name: "folder", Destination: destination(t, folder.Options{Release: rel, Root: root})}}, publish.Read, publish.Options{})
	if err != nil || slices.ContainsFunc(read.Outcomes[0].Items, func(it publish.Item) bool { return it.State != publish.Same }) {
		t.Errorf("read back: %v %v", read, err)
	}
}

// What is published is served, and by nobody before it is whole.
func TestServed(t *testing.T) {
	rel := releasetest.Signed(t, verifytest.Options{})
	root := t.TempDir()
	h := serve.New(serve.Options{Root: root, Rescan: time.Millisecond}).Handler()
	get := func(target string) *httptest.ResponseRecorder {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, target, http.NoBody))
		return w
	}
	const there = "/releases/hello/1.2.3/files/SHA256SUMS"
	d := destination(t, folder.Options{Release: rel, Root: root})
	must(t, d.Stage(t.Context()))
	for range 20 {
		if code := get(there).Code; code == http.StatusOK {
			t.Fatal("it is served before it is published")
		}
		if body := get("/releases.json").Body.String(); strings.Contains(body, "1.2.3") {
			t.Fatalf("it is listed before it is published: %s", body)
		}
		time.Sleep(2 * time.Millisecond)
	}
	must(t, d.Flip(t.Context()))
	for deadline := time.Now().Add(10 * time.Second); get(there).Code != http.StatusOK; time.Sleep(2 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("it is not served: %d %s", get(there).Code, get("/releases.json").Body)
		}
	}
	contents, err := rel.Contents()
	must(t, err)
	for _, f := range contents.All() {
		if w := get("/releases/hello/1.2.3/files/" + f.Path); w.Code != http.StatusOK || artifact.Sum(w.Body.Bytes()) != f.Digest {
			t.Errorf("%s is served as %d with %d bytes", f.Path, w.Code, w.Body.Len())
		}
	}
}

func TestDryRun(t *testing.T) {
	for name, before := range map[string]func(rel publish.Release, root string){
		"nothing there": func(publish.Release, string) {},
		"unsigned there": func(rel publish.Release, root string) {
			unsigned := releasetest.Open(t, verifytest.Options{Bare: true})
			_, err := run(t.Context(), destination(t, folder.Options{Release: unsigned, Root: root}), false)
			must(t, err)
		},
		"staged": func(rel publish.Release, root string) {
			must(t, destination(t, folder.Options{Release: rel, Root: root}).Stage(t.Context()))
			must(t, os.WriteFile(filepath.Join(root, "hello", ".1.2.3.copying-00ff"), nil, 0o644))
		},
		"half staged": func(rel publish.Release, root string) {
			d := destination(t, folder.Options{Release: rel, Root: root, Recorder: &recorder{begin: func(n int) error {
				if n > 5 {
					return errors.New("enough")
				}
				return nil
			}}})
			if d.Stage(t.Context()) == nil {
				t.Fatal("all was staged")
			}
			must(t, os.WriteFile(filepath.Join(root, "hello", ".1.2.3.copying-00ff"), nil, 0o644))
		},
	} {
		t.Run(name, func(t *testing.T) {
			rel := releasetest.Signed(t, verifytest.Options{Bare: true})
			root := t.TempDir()
			before(rel, root)
			was := state(t, root)
			var told []string
			_, err := run(t.Context(), destination(t, folder.Options{Release: rel, Root: root, DryRun: func(r wire.Request) { told = append(told, r.String()) }}), true)
			must(t, err)
			if state(t, root) != was {
				t.Fatal("a dry run changed something")
			}
			did := &recorder{}
			_, err = run(t.Context(), destination(t, folder.Options{Release: rel, Root: root, Recorder: did}), false)
			must(t, err)
			if !slices.Equal(told, did.seen) || len(told) == 0 {
				t.Errorf("a dry run tells of\n%s\nand the real one does\n%s", strings.Join(told, "\n"), strings.Join(did.seen, "\n"))
			}
		})
	}
}

// What has the release's name and is not the release is refused, and left alone.
func TestTaken(t *testing.T) {
	rel := releasetest.Open(t, verifytest.Options{Bare: true})
	for name, tt := range map[string]struct {
		make func(root, final string)
		want string
	}{
		"another release": {func(root, final string) {
			other := releasetest.Open(t, verifytest.Options{Bare: true, Time: time.Unix(1_700_000_000, 0).UTC()})
			_, err := run(t.Context(), destination(t, folder.Options{Release: other, Root: root}), false)
			must(t, err)
		}, "its release.json"},
		"a folder of something else": {func(_, final string) { must(t, os.MkdirAll(final, 0o755)) }, "it is not a release"},
		"a file": {func(_, final string) {
			must(t, os.MkdirAll(filepath.Dir(final), 0o755))
			must(t, os.WriteFile(final, nil, 0o644))
		}, "not a folder"},
		"a link": {func(root, final string) {
			must(t, os.MkdirAll(filepath.Dir(final), 0o755))
			must(t, os.Mkdir(filepath.Join(root, "elsewhere"), 0o755))
			must(t, os.Symlink("../elsewhere", final))
		}, "not a folder"},
		"one file of it": {func(root, final string) {
			_, err := run(t.Context(), destination(t, folder.Options{Release: rel, Root: root}), false)
			must(t, err)
			must(t, os.Truncate(filepath.Join(final, "images", "index.json"), 3))
		}, "index.json"},
		"a link for a file": {func(root, final string) {
			_, err := run(t.Context(), destination(t, folder.Options{Release: rel, Root: root}), false)
			must(t, err)
			must(t, os.Remove(filepath.Join(final, "images", "index.json")))
			must(t, os.Symlink("oci-layout", filepath.Join(final, "images", "index.json")))
		}, "not a regular file"},
	} {
		t.Run(name, func(t *testing.T) {
			root := t.TempDir()
			tt.make(root, filepath.Join(root, "hello", "1.2.3"))
			was := state(t, root)
			d := destination(t, folder.Options{Release: rel, Root: root})
			_, err := run(t.Context(), d, false)
			if fault.CodeOf(err) != fault.Conflict || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("code %d: %v", fault.CodeOf(err), err)
			}
			for step, f := range map[string]func(context.Context) error{"stage": d.Stage, "flip": d.Flip} {
				if err := f(t.Context()); fault.CodeOf(err) != fault.Conflict {
					t.Errorf("%s: %v", step, err)
				}
			}
			if state(t, root) != was {
				t.Error("something was changed")
			}
		})
	}
}

// A release is signed after it was published. Signatures that are there are kept.
func TestSignedLater(t *testing.T) {
	rel := releasetest.Open(t, verifytest.Options{})
	root := t.TempDir()
	_, err := run(t.Context(), destination(t, folder.Options{Release: rel, Root: root}), false)
	must(t, err)
	unsigned := state(t, root)
	releasetest.Sign(t, rel.Dir)
	r := &recorder{}
	_, err = run(t.Context(), destination(t, folder.Options{Release: rel, Root: root, Recorder: r}), false)
	must(t, err)
	signed := state(t, root)
	for line := range strings.Lines(unsigned) {
		if !strings.Contains(signed, line) {
			t.Errorf("there is no %s any more", line)
		}
	}
	last := r.seen[len(r.seen)-2]
	if !strings.HasSuffix(last, "hello/1.2.3/"+signature.ManifestBundle) || !strings.HasPrefix(last, folder.Rename) {
		t.Errorf("last of all comes %s", last)
	}
	releasetest.Sign(t, rel.Dir) // with another key
	r = &recorder{}
	result, err := run(t.Context(), destination(t, folder.Options{Release: rel, Root: root, Recorder: r}), false)
	if err != nil || len(r.seen) > 0 || state(t, root) != signed {
		t.Errorf("another signature: %v %q", err, r.seen)
	}
	kept := 0
	for _, it := range result.Outcomes[0].Items {
		if it.State == publish.Kept {
			kept++
		}
	}
	if kept < 4 {
		t.Errorf("%d signatures were kept", kept)
	}
}

// What is gone from a folder that was whole is put back.
func TestLost(t *testing.T) {
	rel := releasetest.Signed(t, verifytest.Options{Bare: true})
	root := t.TempDir()
	_, err := run(t.Context(), destination(t, folder.Options{Release: rel, Root: root}), false)
	must(t, err)
	whole := state(t, root)
	must(t, os.RemoveAll(filepath.Join(root, "hello", "1.2.3", "archives")))
	_, err = run(t.Context(), destination(t, folder.Options{Release: rel, Root: root}), false)
	if err != nil || state(t, root) != whole {
		t.Errorf("it was not put back: %v", err)
	}
}

// A process is killed before and after each of its changes, and the next one ends where a clean one does.
func TestKilled(t *testing.T) {
	if testing.Short() {
		t.Skip("starts many processes")
	}
	for name, o := range map[string]struct{ late bool }{"first": {}, "signatures": {late: true}} {
		t.Run(name, func(t *testing.T) {
			rel := releasetest.Open(t, verifytest.Options{Bare: true})
			if !o.late {
				releasetest.Sign(t, rel.Dir)
			}
			start := func(root string) {
				if o.late {
					unsigned := releasetest.Open(t, verifytest.Options{Bare: true})
					_, err := run(t.Context(), destination(t, folder.Options{Release: unsigned, Root: root}), false)
					must(t, err)
				}
			}
			if o.late {
				releasetest.Sign(t, rel.Dir)
			}
			clean := t.TempDir()
			start(clean)
			all := &recorder{}
			_, err := run(t.Context(), destination(t, folder.Options{Release: rel, Root: clean, Recorder: all}), false)
			must(t, err)
			want := state(t, clean)
			for n := 1; n <= len(all.seen); n += fixture.Stride(5) {
				for _, when := range []string{strconv.Itoa(n), strconv.Itoa(n) + "+"} {
					root := t.TempDir()
					start(root)
					cmd := exec.Command(os.Args[0])
					cmd.Env = append(os.Environ(), childDist+"="+rel.Dir, childRoot+"="+root, childKill+"="+when)
					if err := cmd.Run(); err == nil || cmd.ProcessState.ExitCode() == 1 {
						t.Fatalf("killed at %s: it ended with %v", when, err)
					}
					visible(t, rel, root, o.late)
					_, err := run(t.Context(), destination(t, folder.Options{Release: rel, Root: root}), false)
					must(t, err)
					if got := state(t, root); got != want {
						t.Fatalf("killed at %s of %d, and again:\n%s\nwant\n%s", when, len(all.seen), got, want)
					}
				}
			}
			t.Logf("killed before and after each of %d changes", len(all.seen))
		})
	}
}

// visible checks that what has the release's name is whole; signatures may be missing.
func visible(t *testing.T, rel publish.Release, root string, late bool) {
	t.Helper()
	final := filepath.Join(root, "hello", "1.2.3")
	if _, err := os.Stat(final); errors.Is(err, fs.ErrNotExist) && !late {
		return
	}
	contents, err := rel.Contents()
	must(t, err)
	for _, f := range slices.Concat(contents.Files, contents.Names) {
		if sum, _, err := artifact.SumFile(filepath.Join(final, filepath.FromSlash(f.Path))); err != nil || sum != f.Digest {
			t.Errorf("%s is visible and not whole: %v", f.Path, err)
		}
	}
	for _, f := range contents.Signatures {
		if sum, _, err := artifact.SumFile(filepath.Join(final, filepath.FromSlash(f.Path))); sum != f.Digest && (!late || !errors.Is(err, fs.ErrNotExist)) {
			t.Errorf("%s is visible and not whole: %v", f.Path, err)
		}
	}
}

// The context ends before and after each change.
func TestCanceled(t *testing.T) {
	rel := releasetest.Signed(t, verifytest.Options{Bare: true})
	clean := t.TempDir()
	all := &recorder{}
	_, err := run(t.Context(), destination(t, folder.Options{Release: rel, Root: clean, Recorder: all}), false)
	must(t, err)
	want := state(t, clean)
	for n := 1; n <= 2*len(all.seen); n++ {
		root := t.TempDir()
		ctx, cancel := context.WithCancel(t.Context())
		r := &recorder{begin: func(i int) error {
			if 2*i-1 == n {
				cancel()
			}
			return nil
		}, end: func(i int) {
			if 2*i == n {
				cancel()
			}
		}}
		_, err := run(ctx, destination(t, folder.Options{Release: rel, Root: root, Recorder: r}), false)
		if err != nil && !errors.Is(err, context.Canceled) {
			t.Errorf("canceled at %d: %v", n, err)
		}
		cancel()
		_, err = run(t.Context(), destination(t, folder.Options{Release: rel, Root: root}), false)
		if err != nil || state(t, root) != want {
			t.Fatalf("canceled at %d, and again: %v", n, err)
		}
	}
}

// A journal that cannot be written stops everything: nothing is done that it does not know of.
func TestNoJournal(t *testing.T) {
	rel := releasetest.Open(t, verifytest.Options{Bare: true})
	root := t.TempDir()
	d := destination(t, folder.Options{Release: rel, Root: root, Recorder: &recorder{begin: func(int) error { return errors.New("no journal") }}})
	if err := d.Stage(t.Context()); err == nil || !strings.Contains(err.Error(), "no journal") {
		t.Errorf("it went on: %v", err)
	}
	if got := state(t, root); strings.Contains(got, "sha256:") {
		t.Errorf("something was copied: %s", got)
	}
}

type fullDisk struct {
	w    io.Writer
	left *int
}

func (f fullDisk) Write(b []byte) (int, error) {
	if len(b) > *f.left {
		n, err := f.w.Write(b[:*f.left])
		*f.left = 0
		if err == nil {
			err = &fs.PathError{Op: "write", Path: "disk", Err: syscall.ENOSPC}
		}
		return n, err
	}
	*f.left -= len(b)
	return f.w.Write(b)
}

// A disk that is full keeps what was copied, and says what to do.
func TestDiskFull(t *testing.T) {
	rel := releasetest.Signed(t, verifytest.Options{})
	clean := t.TempDir()
	all := &recorder{}
	_, err := run(t.Context(), destination(t, folder.Options{Release: rel, Root: clean, Recorder: all}), false)
	must(t, err)
	root := t.TempDir()
	copied := map[string]int{}
	last := ""
	for room := 0; ; room += 20_000 {
		left := room
		r := &recorder{}
		d := destination(t, folder.Options{Release: rel, Root: root, Recorder: r})
		d.SetWriter(func(w io.Writer) io.Writer { return fullDisk{w, &left} })
		err := d.Stage(t.Context())
		for i, c := range r.seen {
			if err == nil || i < len(r.seen)-1 {
				copied[c]++
			}
		}
		if strings.Contains(state(t, root), "copying-") {
			t.Error("half a file was left")
		}
		if err == nil {
			must(t, d.Flip(t.Context()))
			break
		}
		if fault.CodeOf(err) != fault.Transient || !strings.Contains(err.Error(), "make room in "+root) {
			t.Fatalf("code %d: %v", fault.CodeOf(err), err)
		}
		if last = err.Error(); room > 100_000_000 {
			t.Fatal("there is never room enough: " + last)
		}
	}
	for c, n := range copied {
		if n != 1 {
			t.Errorf("%s was done %d times", c, n)
		}
	}
	if last == "" || state(t, root) != state(t, clean) {
		t.Error("it is not what a clean run leaves")
	}
}

// A copy that was damaged under its hidden name is made again.
func TestDamagedCopy(t *testing.T) {
	rel := releasetest.Open(t, verifytest.Options{Bare: true})
	root := t.TempDir()
	d := destination(t, folder.Options{Release: rel, Root: root})
	must(t, d.Stage(t.Context()))
	var name string
	must(t, filepath.WalkDir(root, func(p string, e fs.DirEntry, err error) error {
		if err == nil && strings.HasSuffix(p, "hello_1.2.3_linux_amd64.tar.gz") {
			name = p
		}
		return err
	}))
	b, err := os.ReadFile(name)
	must(t, err)
	must(t, os.WriteFile(name, bytes.Repeat([]byte("x"), len(b)), 0o644))
	items, err := d.Look(t.Context(), publish.Read)
	must(t, err)
	if !slices.ContainsFunc(items, func(it publish.Item) bool { return it.Phase == publish.Stage && it.State == publish.Missing }) {
		t.Error("nobody noticed")
	}
	must(t, d.Stage(t.Context()))
	if got, err := os.ReadFile(name); err != nil || !bytes.Equal(got, b) {
		t.Errorf("it was not copied again: %v", err)
	}
}

// Several publish the same release, signed by each of two keys, at once.
func TestConcurrent(t *testing.T) {
	one, two := releasetest.Signed(t, verifytest.Options{Bare: true}), releasetest.Signed(t, verifytest.Options{Bare: true})
	for range 10 {
		root := t.TempDir()
		errs := make(chan error)
		const n = 6
		for i := range n {
			rel := one
			if i%2 == 1 {
				rel = two
			}
			d := destination(t, folder.Options{Release: rel, Root: root})
			go func() {
				_, err := run(t.Context(), d, false)
				errs <- err
			}()
		}
		for range n {
			if err := <-errs; err != nil && fault.CodeOf(err) != fault.Transient {
				t.Errorf("code %d: %v", fault.CodeOf(err), err)
			}
		}
		_, err := run(t.Context(), destination(t, folder.Options{Release: one, Root: root}), false)
		must(t, err)
		got := state(t, root)
		if strings.Contains(got, "partial-") {
			t.Errorf("something is left over:\n%s", got)
		}
		// The signatures of images belong together, whosever they are.
		of := func(rel publish.Release) []artifact.File {
			contents, err := rel.Contents()
			must(t, err)
			return contents.All()
		}
		whole := func(rel publish.Release) bool {
			return !slices.ContainsFunc(of(rel), func(f artifact.File) bool {
				return !strings.Contains(got, string(f.Digest)) && !strings.HasSuffix(f.Path, signature.Suffix)
			})
		}
		if !whole(one) && !whole(two) {
			t.Errorf("neither release is whole:\n%s", got)
		}
	}
}

func TestRefused(t *testing.T) {
	rel := releasetest.Open(t, verifytest.Options{Bare: true})
	root := t.TempDir()
	gone := destination(t, folder.Options{Release: rel, Root: filepath.Join(root, "gone")})
	if _, err := gone.Look(t.Context(), publish.Listed); fault.CodeOf(err) != fault.Usage || !strings.Contains(err.Error(), "mount the disk") {
		t.Errorf("a root that is not there: %v", err)
	}
	if _, err := folder.New(folder.Options{Release: rel}); fault.CodeOf(err) != fault.Usage {
		t.Errorf("no root: %v", err)
	}
	must(t, os.WriteFile(filepath.Join(root, "hello"), nil, 0o644))
	if _, err := destination(t, folder.Options{Release: rel, Root: root}).Look(t.Context(), publish.Listed); fault.CodeOf(err) != fault.Usage {
		t.Errorf("a file with the release's name: %v", err)
	}
	must(t, os.Remove(filepath.Join(root, "hello")))

	for _, name := range []string{"..", "a/b", ".hidden", "con"} {
		odd := rel
		odd.Manifest.Name = name
		if _, err := folder.New(folder.Options{Release: odd, Root: root}); fault.CodeOf(err) != fault.Usage {
			t.Errorf("name %q: %v", name, err)
		}
	}
	changed := releasetest.Open(t, verifytest.Options{Bare: true})
	d := destination(t, folder.Options{Release: changed, Root: root})
	must(t, os.WriteFile(changed.Path("images/oci-layout"), []byte("other"), 0o644))
	if err := d.Stage(t.Context()); fault.CodeOf(err) != fault.Mismatch {
		t.Errorf("a file that is not what the release says: %v", err)
	}
	must(t, os.Truncate(changed.Path(manifest.ChecksumsName), 10))
	if _, err := folder.New(folder.Options{Release: changed, Root: root}); fault.CodeOf(err) != fault.Mismatch {
		t.Errorf("checksums that say something else: %v", err)
	}
	if os.Getuid() == 0 {
		return // may write everywhere
	}
	locked := t.TempDir()
	must(t, os.Chmod(locked, 0o555))
	if err := destination(t, folder.Options{Release: rel, Root: locked}).Stage(t.Context()); fault.CodeOf(err) != fault.Credentials {
		t.Errorf("a root that may not be written: %v", err)
	}
}

// Nothing that begins like the version of a release is taken for what it left.
func TestSweepsItsOwn(t *testing.T) {
	rel := releasetest.Open(t, verifytest.Options{Bare: true})
	root := t.TempDir()
	others := []string{".1.2.30.partial-0123456789ab", ".1.2.3-rc.1.partial-0123456789ab", ".1.2.3.partial-x", "1.2.4"}
	for _, name := range others {
		must(t, os.MkdirAll(filepath.Join(root, "hello", name), 0o755))
	}
	must(t, os.MkdirAll(filepath.Join(root, "hello", ".1.2.3.partial-0123456789ab"), 0o755))
	_, err := run(t.Context(), destination(t, folder.Options{Release: rel, Root: root}), false)
	must(t, err)
	for _, name := range others {
		if _, err := os.Stat(filepath.Join(root, "hello", name)); err != nil {
			t.Error(err)
		}
	}
	if _, err := os.Stat(filepath.Join(root, "hello", ".1.2.3.partial-0123456789ab")); err == nil {
		t.Error("what an older publishing left is still there")
	}
}
