package nuget_test

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/slipway-build/slipway/pipeline/fixture"
	"github.com/slipway-build/slipway/pipeline/fixture/nugettest"
	"github.com/slipway-build/slipway/pipeline/fixture/releasetest"
	"github.com/slipway-build/slipway/pipeline/fixture/verifytest"
	"github.com/slipway-build/slipway/pipeline/publish"
	"github.com/slipway-build/slipway/pipeline/publish/nuget"
	"github.com/slipway-build/slipway/pipeline/publish/wire"
	"github.com/slipway-build/slipway/pipeline/release/fault"
)

const key = "0b1e2d3c"

// rig is a feed, a release and what stands between them.
type rig struct {
	t      *testing.T
	feed   *nugettest.Feed
	faults *fixture.Faults
	url    string
	key    string
	rel    publish.Release
	dry    []string // what a dry run tells
}

func newRig(t *testing.T, rel publish.Release) *rig {
	r := &rig{t: t, feed: &nugettest.Feed{Key: key}, faults: &fixture.Faults{}, key: key, rel: rel}
	r.url = r.faults.Serve(t, "feed", r.feed)
	return r
}

func (r *rig) destination(dry bool) *nuget.Destination {
	r.t.Helper()
	o := wire.Options{
		Destination: "chocolatey", Backoff: time.Millisecond,
		Sleep:       func(context.Context, time.Duration) error { return nil },
		Credentials: []wire.Credential{{Host: strings.TrimPrefix(r.url, "http://"), Header: nuget.KeyHeader, Value: func() string { return r.key }}},
		Simulate:    nuget.Simulate,
	}
	if dry {
		o.DryRun = func(req wire.Request) { r.dry = append(r.dry, req.String()) }
	}
	d, err := nuget.New(nuget.Options{Release: r.rel, Transport: wire.New(o), Source: r.url})
	if err != nil {
		r.t.Fatal(err)
	}
	return d
}

func (r *rig) run(ctx context.Context) (publish.Result, error) { return r.publish(ctx, false) }

func (r *rig) publish(ctx context.Context, dry bool) (publish.Result, error) {
	target := publish.Target{Name: "chocolatey", Wave: publish.Managers, Destination: r.destination(dry)}
	return publish.Run(ctx, []publish.Target{target}, publish.Options{
		DryRun: dry, Pause: func(context.Context, int) error { return nil },
	})
}

// changes are the requests that changed something, or tried to.
func (r *rig) changes() []string {
	var all []string
	for _, s := range r.faults.Seen() {
		if s.Changes() {
			all = append(all, s.String())
		}
	}
	return all
}

func (r *rig) look(depth publish.Depth) publish.Item {
	r.t.Helper()
	items, err := r.destination(false).Look(r.t.Context(), depth)
	if err != nil {
		r.t.Fatal(err)
	}
	if len(items) != 1 {
		r.t.Fatalf("%d items", len(items))
	}
	return items[0]
}

func TestPublish(t *testing.T) {
	r := newRig(t, releasetest.Open(t, verifytest.Options{}))
	if it := r.look(publish.Listed); it.State != publish.Missing || it.Phase != publish.Flip || it.Name != "hello 1.2.3" {
		t.Errorf("before: %+v", it)
	}
	result, err := r.run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if !result.Changed || result.Outcomes[0].Items[0].State != publish.Same {
		t.Errorf("result: %+v", result)
	}
	file, _ := r.rel.File("packages/hello.1.2.3.nupkg")
	if want := fmt.Sprintf("hello 1.2.3 %s \n", file.Digest); r.feed.State() != want {
		t.Errorf("feed has\n%swant\n%s", r.feed.State(), want)
	}
	if got := r.changes(); len(got) != 1 || !strings.HasPrefix(got[0], "feed PUT /api/v2/package/: 201") {
		t.Errorf("changing requests: %q", got)
	}
	if it := r.look(publish.Read); it.State != publish.Same || it.Detail != "" {
		t.Errorf("read back: %+v", it)
	}

	r.faults.Forget()
	result, err = r.run(t.Context())
	if err != nil || result.Changed {
		t.Errorf("second run: changed %t, %v", result.Changed, err)
	}
	if got := r.changes(); len(got) > 0 {
		t.Errorf("the second run asks for %q", got)
	}
}

func TestDryRun(t *testing.T) {
	r := newRig(t, releasetest.Open(t, verifytest.Options{}))
	if _, err := r.publish(t.Context(), true); err != nil {
		t.Fatal(err)
	}
	if got := r.changes(); len(got) > 0 || r.feed.State() != "" {
		t.Errorf("the dry run asks for %q and leaves %q", got, r.feed.State())
	}
	told := r.dry
	if len(told) != 1 || !strings.HasPrefix(told[0], "PUT "+r.url+"/api/v2/package/ (") {
		t.Fatalf("told: %q", told)
	}
	if _, err := r.run(t.Context()); err != nil {
		t.Fatal(err)
	}
	got := r.changes()
	if len(got) != len(told) || !strings.HasPrefix(got[0], "feed PUT /api/v2/package/:") {
		t.Errorf("told %q, did %q", told, got)
	}
}

func TestOtherBytes(t *testing.T) {
	for _, moderated := range []bool{false, true} {
		r := newRig(t, releasetest.Open(t, verifytest.Options{}))
		r.feed.Moderated = moderated
		r.feed.Put("HELLO", "1.2.3.0", []byte("other bytes")) // the same id and version to a feed
		before := r.feed.State()
		it := r.look(publish.Listed)
		if it.State != publish.Different || !strings.HasPrefix(it.Detail, "the feed has other bytes") {
			t.Errorf("moderated %t: %+v", moderated, it)
		}
		_, err := r.run(t.Context())
		if fault.CodeOf(err) != fault.Conflict {
			t.Errorf("moderated %t: %v", moderated, err)
		}
		if err := r.destination(false).Flip(t.Context()); fault.CodeOf(err) != fault.Conflict {
			t.Errorf("moderated %t: flip: %v", moderated, err)
		}
		if got := r.changes(); len(got) > 0 || r.feed.State() != before {
			t.Errorf("moderated %t: asked for %q, left %q", moderated, got, r.feed.State())
		}
	}
}

func TestWrongKey(t *testing.T) {
	r := newRig(t, releasetest.Open(t, verifytest.Options{}))
	r.key = "of another"
	_, err := r.run(t.Context())
	if fault.CodeOf(err) != fault.Credentials || r.feed.State() != "" {
		t.Fatalf("%v, left %q", err, r.feed.State())
	}
	if strings.Contains(err.Error(), r.key) {
		t.Errorf("the key is told: %v", err)
	}
	r.key = key
	if _, err := r.run(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestModeration(t *testing.T) {
	r := newRig(t, releasetest.Open(t, verifytest.Options{}))
	r.feed.Moderated = true
	if _, err := r.run(t.Context()); err != nil {
		t.Fatal(err)
	}
	for status, want := range map[string]string{
		nugettest.Submitted: "it waits for the moderators of the feed", nugettest.Approved: "",
		nugettest.Rejected: "the moderators of the feed rejected it",
	} {
		r.feed.Moderate("hello", "1.2.3", status)
		for _, depth := range []publish.Depth{publish.Listed, publish.Read} {
			if it := r.look(depth); it.State != publish.Same || it.Detail != want {
				t.Errorf("%s: %+v", status, it)
			}
		}
	}
	r.faults.Forget()
	if _, err := r.run(t.Context()); err != nil || len(r.changes()) > 0 {
		t.Errorf("again: %v, asked for %q", err, r.changes())
	}
}

// What a feed refuses that has no such package is no package to it.
func TestBadPackage(t *testing.T) {
	r := newRig(t, releasetest.Open(t, verifytest.Options{Edit: func(files map[string][]byte) { files["packages/hello.1.2.3.nupkg"] = []byte("no zip") }}))
	_, err := r.run(t.Context())
	if fault.CodeOf(err) != fault.Usage || !strings.Contains(err.Error(), "not a valid zip file") || r.feed.State() != "" {
		t.Errorf("%v, left %q", err, r.feed.State())
	}
}

// A feed lists a package some time after it took it. Another run in between is told to wait, and changes nothing.
func TestLate(t *testing.T) {
	r := newRig(t, releasetest.Open(t, verifytest.Options{}))
	r.feed.Late = true
	result, err := r.run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if it := result.Outcomes[0].Items[0]; it.State != publish.Same || it.Detail != "the feed took it and does not list it yet" {
		t.Errorf("%+v", it)
	}
	before := r.feed.State()
	_, err = r.run(t.Context())
	if fault.CodeOf(err) != fault.Transient || !strings.Contains(err.Error(), "does not list it yet") {
		t.Errorf("while it is not listed: %v", err)
	}
	r.feed.List()
	r.faults.Forget()
	if _, err := r.run(t.Context()); err != nil || len(r.changes()) > 0 {
		t.Errorf("when it is listed: %v, asked for %q", err, r.changes())
	}
	if r.feed.State() != before {
		t.Errorf("left %q", r.feed.State())
	}
}

// The download may be at another host, which is not shown the key.
func TestReadElsewhere(t *testing.T) {
	r := newRig(t, releasetest.Open(t, verifytest.Options{}))
	r.feed.Files = r.faults.Serve(t, "files", r.feed.FilesHandler())
	if _, err := r.run(t.Context()); err != nil {
		t.Fatal(err)
	}
	if it := r.look(publish.Read); it.State != publish.Same {
		t.Errorf("%+v", it)
	}
	if last := r.faults.Seen()[len(r.faults.Seen())-1]; last.Service != "files" || last.Status != http.StatusOK {
		t.Errorf("last request: %s", last)
	}
}

func TestReadBack(t *testing.T) {
	rel := releasetest.Open(t, verifytest.Options{})
	file, _ := rel.File("packages/hello.1.2.3.nupkg")
	content, err := os.ReadFile(rel.Path(file.Path))
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name   string
		answer func(w http.ResponseWriter)
		state  publish.State
		detail string
	}{
		{"same", func(w http.ResponseWriter) { _, _ = w.Write(content) }, publish.Same, ""},
		{"other", func(w http.ResponseWriter) { _, _ = w.Write([]byte("other")) }, publish.Different, "its download has other bytes"},
		{"more", func(w http.ResponseWriter) { _, _ = w.Write(append(slices.Clone(content), 0)) }, publish.Different, "its download has other bytes"},
		{"gone", func(w http.ResponseWriter) { w.WriteHeader(http.StatusNotFound) }, publish.Missing, "it is listed and cannot be downloaded"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := newRig(t, rel)
			r.feed.Files = r.faults.Serve(t, "files", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { tt.answer(w) }))
			r.feed.Put("hello", "1.2.3", content)
			if it := r.look(publish.Read); it.State != tt.state || it.Detail != tt.detail {
				t.Errorf("%+v", it)
			}
		})
	}
}

// Of every request of a run, each fault: the run after it ends where one clean run ends.
func TestFaults(t *testing.T) {
	rel := releasetest.Open(t, verifytest.Options{})
	for _, moderated := range []bool{false, true} {
		clean := newRig(t, rel)
		clean.feed.Moderated = moderated
		if _, err := clean.run(t.Context()); err != nil {
			t.Fatal(err)
		}
		want, requests := clean.feed.State(), len(clean.faults.Seen())
		if requests < 3 {
			t.Fatalf("a run makes %d requests", requests)
		}
		for f := fixture.Kill; f <= fixture.Unauthorized; f++ {
			for n := 1; n <= requests; n++ {
				r := newRig(t, rel)
				r.feed.Moderated = moderated
				ctx, cancel := context.WithCancel(t.Context())
				r.faults.Kill = cancel
				r.faults.Rule = fixture.Nth(n, f)
				_, first := r.run(ctx)
				cancel()
				if code := fault.CodeOf(first); first != nil && ctx.Err() == nil && code != fault.Transient && code != fault.Credentials {
					t.Errorf("%s at request %d: %v", f, n, first)
				}
				r.faults.Rule = nil
				if _, err := r.run(t.Context()); err != nil {
					t.Errorf("%s at request %d: the next run: %v", f, n, err)
				}
				if got := r.feed.State(); got != want {
					t.Errorf("%s at request %d: the feed has\n%swant\n%s", f, n, got, want)
				}
			}
		}
	}
}

func TestURLs(t *testing.T) {
	rel := releasetest.Open(t, verifytest.Options{})
	for _, tt := range []struct{ source, reads, put, get string }{
		{"", "", "https://push.chocolatey.org/api/v2/package/", "https://community.chocolatey.org/api/v2/Packages(Id='hello',Version='1.2.3')"},
		{"https://push.chocolatey.org/", "", "https://push.chocolatey.org/api/v2/package/", "https://community.chocolatey.org/api/v2/Packages(Id='hello',Version='1.2.3')"},
		{"https://nuget.example.com", "", "https://nuget.example.com/api/v2/package/", "https://nuget.example.com/api/v2/Packages(Id='hello',Version='1.2.3')"},
		{"https://example.com/repository/choco/", "", "https://example.com/repository/choco/", "https://example.com/repository/choco/Packages(Id='hello',Version='1.2.3')"},
		{"https://example.com/push", "https://example.org/feed/", "https://example.com/push/", "https://example.org/feed/Packages(Id='hello',Version='1.2.3')"},
	} {
		var got []string
		base := roundTrip(func(req *http.Request) *http.Response {
			got = append(got, req.Method+" "+req.URL.String())
			if req.Method == http.MethodPut {
				return wire.Answer(http.StatusAccepted, "")
			}
			return wire.Answer(http.StatusNotFound, "")
		})
		d, err := nuget.New(nuget.Options{Release: rel, Transport: wire.New(wire.Options{Base: base}), Source: tt.source, Reads: tt.reads})
		if err != nil {
			t.Fatal(err)
		}
		if err := d.Flip(t.Context()); err != nil {
			t.Error(err)
		}
		if want := []string{"GET " + tt.get, "PUT " + tt.put}; !slices.Equal(got, want) {
			t.Errorf("%+v:\n got %q\nwant %q", tt, got, want)
		}
	}
	for _, source := range []string{"http://example.com", "ftp://example.com", "example.com", "https://key@example.com", "https://example.com?key=1", "https://"} {
		if _, err := nuget.New(nuget.Options{Release: rel, Transport: wire.New(wire.Options{}), Source: source}); fault.CodeOf(err) != fault.Usage {
			t.Errorf("source %q: %v", source, err)
		} else if strings.Contains(err.Error(), "key") {
			t.Errorf("source %q is told: %v", source, err)
		}
	}
}

type roundTrip func(*http.Request) *http.Response

func (f roundTrip) RoundTrip(req *http.Request) (*http.Response, error) {
	res := f(req)
	res.Request = req
	return res, nil
}

func TestAnswers(t *testing.T) {
	rel := releasetest.Open(t, verifytest.Options{})
	for _, tt := range []struct{ name, body, want string }{
		{"no XML", "<html>", "reading the feed's answer"},
		{"another package", entryOf("<d:Id>other</d:Id><d:Version>1.2.3</d:Version>"), `answers with "other" "1.2.3"`},
		{"another version", entryOf("<d:Id>hello</d:Id><d:Version>1.2.4</d:Version>"), `answers with "hello" "1.2.4"`},
		{"too long", entryOf(strings.Repeat(" ", 1<<20)), "more than 1048576 bytes"},
	} {
		base := roundTrip(func(*http.Request) *http.Response { return wire.Answer(http.StatusOK, tt.body) })
		d, err := nuget.New(nuget.Options{Release: rel, Transport: wire.New(wire.Options{Base: base})})
		if err != nil {
			t.Fatal(err)
		}
		_, err = d.Look(t.Context(), publish.Listed)
		if fault.CodeOf(err) != fault.Transient || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
}

func entryOf(properties string) string {
	return `<entry xmlns="http://www.w3.org/2005/Atom" xmlns:d="http://schemas.microsoft.com/ado/2007/08/dataservices" ` +
		`xmlns:m="http://schemas.microsoft.com/ado/2007/08/dataservices/metadata"><m:properties>` + properties + `</m:properties></entry>`
}

// What is on disk is what the manifest says, or it does not leave.
func TestChangedFile(t *testing.T) {
	rel := releasetest.Open(t, verifytest.Options{})
	if err := os.WriteFile(rel.Path("packages/hello.1.2.3.nupkg"), []byte("changed"), 0o644); err != nil {
		t.Fatal(err)
	}
	_, err := nuget.New(nuget.Options{Release: rel, Transport: wire.New(wire.Options{})})
	if fault.CodeOf(err) != fault.Mismatch {
		t.Error(err)
	}
}
