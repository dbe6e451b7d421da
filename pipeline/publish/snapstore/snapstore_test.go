package snapstore_test

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
	"github.com/slipway-build/slipway/pipeline/fixture/releasetest"
	"github.com/slipway-build/slipway/pipeline/fixture/snaptest"
	"github.com/slipway-build/slipway/pipeline/fixture/verifytest"
	"github.com/slipway-build/slipway/pipeline/format"
	"github.com/slipway-build/slipway/pipeline/publish"
	"github.com/slipway-build/slipway/pipeline/publish/snapstore"
	"github.com/slipway-build/slipway/pipeline/publish/wire"
	"github.com/slipway-build/slipway/pipeline/release/fault"
)

// rig is a store, a release and what stands between them.
type rig struct {
	t           *testing.T
	store       *snaptest.Store
	faults      *fixture.Faults
	rel         publish.Release
	channels    []string
	credentials string
	options     snapstore.Options
	dry         []string // what a dry run tells
	slept       time.Duration
	base        http.RoundTripper
}

func newRig(t *testing.T, rel publish.Release) *rig {
	r := &rig{t: t, store: &snaptest.Store{Name: "hello", Slow: 2, PageSize: 1}, faults: &fixture.Faults{}, rel: rel}
	r.credentials = r.store.Credentials()
	r.options = snapstore.Options{
		Release: rel, Credentials: func() string { return r.credentials },
		Store: r.faults.Serve(t, "store", r.store), Upload: r.faults.Serve(t, "upload", r.store.UploadHandler()),
		Login: r.faults.Serve(t, "login", r.store.LoginHandler()), Public: r.faults.Serve(t, "public", r.store.PublicHandler()),
		Sleep: func(_ context.Context, d time.Duration) error {
			r.slept += d
			return nil
		},
	}
	return r
}

func (r *rig) destination(dry bool) *snapstore.Destination {
	r.t.Helper()
	w := wire.Options{
		Destination: "snap", Base: r.base, Backoff: time.Millisecond, Sleep: func(context.Context, time.Duration) error { return nil }, Simulate: snapstore.Simulate,
	}
	if dry {
		w.DryRun = func(req wire.Request) { r.dry = append(r.dry, req.Method+" "+req.URL) }
	}
	o := r.options
	o.Transport, o.Channels = wire.New(w), r.channels
	d, err := snapstore.New(o)
	if err != nil {
		r.t.Fatal(err)
	}
	return d
}

func (r *rig) run(ctx context.Context) (publish.Result, error) { return r.publish(ctx, false) }

func (r *rig) publish(ctx context.Context, dry bool) (publish.Result, error) {
	target := publish.Target{Name: "snap", Wave: publish.Managers, Destination: r.destination(dry)}
	return publish.Run(ctx, []publish.Target{target}, publish.Options{
		DryRun: dry, Pause: func(context.Context, int) error { return nil },
	})
}

// changes are the changing requests as method and URL. Asking whether a push would be taken is none of them, nor is
// renewing credentials.
func (r *rig) changes() []string {
	var all []string
	asks := true // the first push of a run that has something to push
	for _, s := range r.faults.Seen() {
		if !s.Changes() || s.Service == "login" {
			continue
		}
		if asks && s.URL == "/dev/api/snap-push/" {
			asks = false
			continue
		}
		all = append(all, s.Method+" "+map[string]string{"store": r.options.Store, "upload": r.options.Upload}[s.Service]+s.URL)
	}
	return all
}

func (r *rig) look(depth publish.Depth) []string {
	r.t.Helper()
	items, err := r.destination(false).Look(r.t.Context(), depth)
	if err != nil {
		r.t.Fatal(err)
	}
	var all []string
	for _, it := range items {
		all = append(all, strings.TrimSuffix(fmt.Sprintf("%s %s: %s, %s", it.Phase, it.Name, it.State, it.Detail), ", "))
	}
	return all
}

func (r *rig) want(what string, got, want []string) {
	r.t.Helper()
	if !slices.Equal(got, want) {
		r.t.Errorf("%s:\n got %s\nwant %s", what, strings.Join(got, "\n     "), strings.Join(want, "\n     "))
	}
}

func (r *rig) digest(arch string) string {
	r.t.Helper()
	for _, p := range r.rel.Manifest.Packages {
		if p.Format == format.Snap.Name && p.Architecture == arch {
			f, _ := r.rel.File(p.Path)
			return string(f.Digest)
		}
	}
	r.t.Fatalf("no snap for %s", arch)
	return ""
}

func (r *rig) content(arch string) []byte {
	r.t.Helper()
	for _, p := range r.rel.Manifest.Packages {
		if p.Format == format.Snap.Name && p.Architecture == arch {
			b, err := os.ReadFile(r.rel.Path(p.Path))
			if err != nil {
				r.t.Fatal(err)
			}
			return b
		}
	}
	r.t.Fatalf("no snap for %s", arch)
	return nil
}

func TestPublish(t *testing.T) {
	r := newRig(t, releasetest.Open(t, verifytest.Options{}))
	r.want("before", r.look(publish.Listed), []string{
		"stage hello 1.2.3 amd64: missing", "stage hello 1.2.3 arm64: missing",
		"flip hello latest/stable amd64: missing", "flip hello latest/stable arm64: missing",
	})
	r.faults.Forget()
	result, err := r.run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if !result.Changed || r.slept == 0 {
		t.Errorf("changed %t, slept %s", result.Changed, r.slept)
	}
	want := fmt.Sprintf("revision 1: 1.2.3 amd64 %s Published\nrevision 2: 1.2.3 arm64 %s Published\n"+
		"latest/stable amd64: revision 1\nlatest/stable arm64: revision 2\n", r.digest("amd64"), r.digest("arm64"))
	if got := r.store.State(); got != want {
		t.Errorf("the store has\n%swant\n%s", got, want)
	}
	upload, push, give := "POST "+r.options.Upload+"/unscanned-upload/", "POST "+r.options.Store+"/dev/api/snap-push/", "POST "+r.options.Store+"/dev/api/snap-release/"
	r.want("changing requests", r.changes(), []string{upload, push, upload, push, give, give})
	r.want("after", r.look(publish.Read), []string{
		"stage hello 1.2.3 amd64: same, revision 1", "stage hello 1.2.3 arm64: same, revision 2",
		"flip hello latest/stable amd64: same", "flip hello latest/stable arm64: same",
	})

	r.faults.Forget()
	result, err = r.run(t.Context())
	if err != nil || result.Changed {
		t.Errorf("second run: changed %t, %v", result.Changed, err)
	}
	for _, s := range r.faults.Seen() {
		if s.Changes() {
			t.Errorf("the second run asks for %s", s)
		}
	}
}

// Before the flip nobody gets anything.
func TestStage(t *testing.T) {
	r := newRig(t, releasetest.Open(t, verifytest.Options{}))
	d := r.destination(false)
	if err := d.Stage(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := r.store.State(); strings.Contains(got, "latest/") || !strings.Contains(got, "revision 2") {
		t.Errorf("the store has\n%s", got)
	}
	r.want("staged", r.look(publish.Read), []string{
		"stage hello 1.2.3 amd64: same, revision 1", "stage hello 1.2.3 arm64: same, revision 2",
		"flip hello latest/stable amd64: missing", "flip hello latest/stable arm64: missing",
	})
}

func TestDryRun(t *testing.T) {
	r := newRig(t, releasetest.Open(t, verifytest.Options{}))
	if _, err := r.publish(t.Context(), true); err != nil {
		t.Fatal(err)
	}
	if got := r.changes(); len(got) > 0 || r.store.State() != "" {
		t.Errorf("the dry run asks for %q and leaves %q", got, r.store.State())
	}
	r.faults.Forget()
	if _, err := r.run(t.Context()); err != nil {
		t.Fatal(err)
	}
	if len(r.dry) != 6 {
		t.Errorf("told %q", r.dry)
	}
	r.want("what was told", r.dry, r.changes())
}

func TestChannels(t *testing.T) {
	for _, tt := range []struct {
		version  string
		channels []string
		held     map[string]string // version by channel, of amd64
		want     []string          // of amd64
	}{
		{"1.2.3", nil, nil, []string{"latest/stable: missing"}},
		{"1.2.3", nil, map[string]string{"stable": "1.2.2"}, []string{"latest/stable: movable, it has 1.2.2, revision 1"}},
		{"1.2.3", nil, map[string]string{"stable": "2.0.0"}, []string{"latest/stable: kept, it has 2.0.0, revision 1"}},
		{"1.2.3", nil, map[string]string{"stable": "1.2.3-rc.1"}, []string{"latest/stable: movable, it has 1.2.3-rc.1, revision 1"}},
		{"1.2.3", nil, map[string]string{"stable": "jammy"}, []string{"latest/stable: movable, it has jammy, revision 1"}},
		{"1.2.3", nil, map[string]string{"candidate": "2.0.0"}, []string{"latest/stable: missing"}},
		{"1.2.3", []string{"1.2/stable", "stable"}, map[string]string{"stable": "2.0.0"}, []string{"1.2/stable: missing", "latest/stable: kept, it has 2.0.0, revision 1"}},
		{"1.2.4-rc.1", nil, nil, []string{"latest/beta: missing"}},
		{"1.2.4-rc.1", []string{"edge", "beta"}, map[string]string{"edge": "1.2.4-rc.2"}, []string{"latest/edge: kept, it has 1.2.4-rc.2, revision 1", "latest/beta: missing"}},
		{"1.2.4-snapshot.3.g0123456789ab", nil, nil, []string{"latest/edge: missing"}},
	} {
		r := newRig(t, releasetest.Open(t, verifytest.Options{Version: tt.version}))
		r.channels = tt.channels
		for channel, v := range tt.held {
			r.store.Release(r.store.Add(v, "amd64", snaptest.Published, []byte("of "+v)), channel)
		}
		var got []string
		for _, s := range r.look(publish.Listed) {
			if strings.HasPrefix(s, "flip ") && strings.Contains(s, " amd64: ") {
				got = append(got, strings.Replace(strings.TrimPrefix(s, "flip hello "), " amd64", "", 1))
			}
		}
		r.want(fmt.Sprintf("%s to %q", tt.version, tt.channels), got, tt.want)
		before := r.store.State()
		if _, err := r.run(t.Context()); err != nil {
			t.Errorf("%s to %q: %v", tt.version, tt.channels, err)
		}
		for _, one := range tt.want {
			channel, state, _ := strings.Cut(one, ": ")
			line := channel + " amd64: revision 1\n"
			kept := strings.HasPrefix(state, "kept")
			if held := strings.Contains(before, line) && strings.Contains(r.store.State(), line); held != kept {
				t.Errorf("%s to %q: %s, left\n%s", tt.version, tt.channels, one, r.store.State())
			}
		}
		if got := r.changesOf(); got != 0 {
			t.Errorf("%s to %q: another run makes %d changing requests", tt.version, tt.channels, got)
		}
	}
}

// changesOf is the number of changing requests of another run.
func (r *rig) changesOf() int {
	r.t.Helper()
	r.faults.Forget()
	if _, err := r.run(r.t.Context()); err != nil {
		r.t.Error(err)
	}
	n := 0
	for _, s := range r.faults.Seen() {
		if s.Changes() {
			n++
		}
	}
	return n
}

func TestWrongChannels(t *testing.T) {
	for _, tt := range []struct {
		version string
		channel []string
		want    string
	}{
		{"1.2.3", []string{"latest"}, "is not [<track>/]<risk>"},
		{"1.2.3", []string{"a/b/stable/c"}, "is not [<track>/]<risk>"},
		{"1.2.3", []string{"stable", "latest/stable"}, "named twice"},
		{"1.2.3-rc.1", []string{"stable"}, "takes no snap of grade devel"},
		{"1.2.3-rc.1", []string{"1.2/candidate"}, "takes no snap of grade devel"},
	} {
		_, err := snapstore.New(snapstore.Options{Release: releasetest.Open(t, verifytest.Options{Version: tt.version}), Transport: wire.New(wire.Options{}), Channels: tt.channel})
		if fault.CodeOf(err) != fault.Usage || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s to %q: %v", tt.version, tt.channel, err)
		}
	}
	for _, host := range []string{"http://example.com", "example.com", "https://user@example.com", "https://example.com?x=1"} {
		if _, err := snapstore.New(snapstore.Options{Release: releasetest.Open(t, verifytest.Options{}), Transport: wire.New(wire.Options{}), Store: host}); fault.CodeOf(err) != fault.Usage {
			t.Errorf("%s: %v", host, err)
		}
	}
}

func TestOtherBytes(t *testing.T) {
	for _, tt := range []struct {
		name, status string
		ours         bool
		detail       string
	}{
		{"same version", snaptest.Published, false, "revision 1 is the same version with other bytes"},
		{"in review", snaptest.Pending, false, "revision 1 is the same version with other bytes"},
		{"rejected", snaptest.Rejected, true, "the store's review rejected it as revision 1"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := newRig(t, releasetest.Open(t, verifytest.Options{}))
			content := []byte("other bytes")
			if tt.ours {
				content = r.content("arm64")
			}
			r.store.Add("1.2.3", "arm64", tt.status, content)
			r.store.Add("1.2.2", "arm64", snaptest.Published, []byte("before it"))
			before := r.store.State()
			if got := r.look(publish.Listed)[1]; got != "stage hello 1.2.3 arm64: different, "+tt.detail {
				t.Error(got)
			}
			_, err := r.run(t.Context())
			if fault.CodeOf(err) != fault.Conflict || r.store.State() != before {
				t.Errorf("%v, left\n%s", err, r.store.State())
			}
			if err := r.destination(false).Flip(t.Context()); err == nil || strings.Contains(r.store.State(), "latest/") {
				t.Errorf("flip: %v, left\n%s", err, r.store.State())
			}
		})
	}
	// What the review refused was never there for anybody.
	r := newRig(t, releasetest.Open(t, verifytest.Options{}))
	r.store.Add("1.2.3", "arm64", snaptest.Rejected, []byte("other bytes"))
	if _, err := r.run(t.Context()); err != nil {
		t.Error(err)
	}
}

// An upload whose answer was lost is found, whether it is listed yet or not.
func TestUploadedBefore(t *testing.T) {
	for _, slow := range []int{0, 3, 30} {
		r := newRig(t, releasetest.Open(t, verifytest.Options{}))
		r.store.Slow = slow
		pushes := 0
		r.faults.Rule = func(_ int, _ string, req *http.Request) fixture.Fault {
			if req.URL.Path == "/dev/api/snap-push/" {
				if pushes++; pushes == 2 { // after the question whether it would be taken
					return fixture.Lost
				}
			}
			return fixture.None
		}
		_, err := r.run(t.Context())
		for range 5 {
			if err == nil {
				break
			}
			if fault.CodeOf(err) != fault.Transient {
				t.Fatal(err)
			}
			_, err = r.run(t.Context())
		}
		if got := r.store.State(); err != nil || strings.Count(got, "revision") != 4 {
			t.Errorf("slow %d: %v, the store has\n%s", slow, err, got)
		}
	}
}

func TestReview(t *testing.T) {
	r := newRig(t, releasetest.Open(t, verifytest.Options{}))
	r.store.Review = snaptest.Pending
	_, err := r.run(t.Context())
	if fault.CodeOf(err) != fault.Transient || !strings.Contains(err.Error(), "waits for the store's review") {
		t.Errorf("in review: %v", err)
	}
	if got := r.look(publish.Listed)[0]; got != "stage hello 1.2.3 amd64: same, revision 1, which waits for the store's review" {
		t.Error(got)
	}
	r.store.Judge(snaptest.Published)
	if _, err := r.run(t.Context()); err != nil || strings.Count(r.store.State(), "latest/stable") != 2 {
		t.Errorf("%v, the store has\n%s", err, r.store.State())
	}

	r = newRig(t, releasetest.Open(t, verifytest.Options{}))
	r.store.Refuses = "the snap\nis bad"
	_, err = r.run(t.Context())
	if fault.CodeOf(err) != fault.Policy || !strings.Contains(err.Error(), "the store does not take the snap: the snap is bad") {
		t.Errorf("refused: %v", err)
	}
}

func TestSlowStore(t *testing.T) {
	r := newRig(t, releasetest.Open(t, verifytest.Options{}))
	r.store.Slow = 1000
	r.options.Wait = time.Minute
	d := r.destination(false)
	err := d.Stage(t.Context())
	if fault.CodeOf(err) != fault.Transient || !strings.Contains(err.Error(), "within 1m0s") {
		t.Error(err)
	}
	if r.slept < time.Minute || r.slept > 2*time.Minute {
		t.Errorf("waited %s", r.slept)
	}
}

func TestCredentials(t *testing.T) {
	r := newRig(t, releasetest.Open(t, verifytest.Options{}))
	r.store.Expire()
	if _, err := r.run(t.Context()); err != nil {
		t.Errorf("stale: %v", err)
	}
	renewed := 0
	for _, s := range r.faults.Seen() {
		if s.Service == "login" {
			renewed++
		}
	}
	if renewed != 1 {
		t.Errorf("renewed %d times", renewed)
	}

	r.store.Revoke()
	_, err := r.run(t.Context())
	if fault.CodeOf(err) != fault.Credentials || !strings.Contains(err.Error(), "macaroon-authorization-required") {
		t.Errorf("revoked: %v", err)
	}
	for _, bad := range []string{"", "?", "eyJ0IjogIm1hY2Fyb29uIiwgInYiOiAieCJ9"} {
		r.credentials = bad
		if _, err := r.run(t.Context()); fault.CodeOf(err) != fault.Credentials {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

// A token that goes stale before any request is renewed, and nothing is asked for twice.
func TestExpiresMidway(t *testing.T) {
	rel := releasetest.Open(t, verifytest.Options{})
	clean := newRig(t, rel)
	if _, err := clean.run(t.Context()); err != nil {
		t.Fatal(err)
	}
	want := clean.store.State()
	for n := 1; n <= len(clean.faults.Seen()); n++ {
		r := newRig(t, rel)
		r.faults.Rule = func(i int, _ string, _ *http.Request) fixture.Fault {
			if i == n {
				r.store.Expire()
			}
			return fixture.None
		}
		if _, err := r.run(t.Context()); err != nil || r.store.State() != want {
			t.Errorf("at request %d: %v, the store has\n%s", n, err, r.store.State())
		}
	}
}

func TestUnknownName(t *testing.T) {
	r := newRig(t, releasetest.Open(t, verifytest.Options{}))
	r.store.Name = "other"
	_, err := r.run(t.Context())
	if fault.CodeOf(err) != fault.Usage || !strings.Contains(err.Error(), "snapcraft register hello") {
		t.Error(err)
	}
}

// Of every request of a run, each fault: the run after it ends where one clean run ends.
func TestFaults(t *testing.T) {
	rel := releasetest.Open(t, verifytest.Options{})
	for _, slow := range []int{0, 6} {
		setup := func() *rig {
			r := newRig(t, rel)
			r.store.Slow, r.store.PageSize = slow, 2
			r.channels = []string{"stable", "1.2/stable"}
			r.store.Release(r.store.Add("1.2.2", "amd64", snaptest.Published, []byte("before it")), "stable")
			return r
		}
		clean := setup()
		if _, err := clean.run(t.Context()); err != nil {
			t.Fatal(err)
		}
		want, requests := clean.store.State(), len(clean.faults.Seen())
		if requests < 20 {
			t.Fatalf("a run makes %d requests", requests)
		}
		for f := fixture.Kill; f <= fixture.Unauthorized; f++ {
			for n := 1 + int(f)%fixture.Stride(4); n <= requests; n += fixture.Stride(4) {
				r := setup()
				ctx, cancel := context.WithCancel(t.Context())
				r.faults.Kill = cancel
				r.faults.Rule = fixture.Nth(n, f)
				_, first := r.run(ctx)
				killed := ctx.Err() != nil
				cancel()
				if code := fault.CodeOf(first); first != nil && !killed && code != fault.Transient && code != fault.Credentials {
					t.Errorf("slow %d, %s at request %d: %v", slow, f, n, first)
				}
				r.faults.Rule = nil
				if _, err := r.run(t.Context()); err != nil {
					t.Errorf("slow %d, %s at request %d: the next run: %v", slow, f, n, err)
				}
				if got := r.store.State(); got != want {
					t.Errorf("slow %d, %s at request %d: the store has\n%swant\n%s", slow, f, n, got, want)
				}
			}
		}
	}
}

func TestReadBack(t *testing.T) {
	rel := releasetest.Open(t, verifytest.Options{})
	for _, tt := range []struct {
		name   string
		public http.HandlerFunc // in the place of the store's
		want   string
	}{
		{"not public", http.NotFound, "same, revision 1, which the public listing does not have"},
		{"other bytes", func(w http.ResponseWriter, req *http.Request) {
			if strings.HasPrefix(req.URL.Path, "/v2/") {
				fmt.Fprintf(w, `{"channel-map": [{"channel": {"architecture": "amd64"}, "revision": 1, "download": {"url": "http://%s/file"}}]}`, req.Host)
			}
		}, "different, revision 1, whose download has other bytes"},
	} {
		r := newRig(t, rel)
		if _, err := r.run(t.Context()); err != nil {
			t.Fatal(err)
		}
		r.options.Public = r.faults.Serve(t, "public", tt.public)
		if got := r.look(publish.Read)[0]; got != "stage hello 1.2.3 amd64: "+tt.want {
			t.Errorf("%s: %s", tt.name, got)
		}
	}
	r := newRig(t, rel)
	if _, err := r.run(t.Context()); err != nil {
		t.Fatal(err)
	}
	r.options.Public = r.faults.Serve(t, "public", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, `{"channel-map": [{"channel": {"architecture": "amd64"}, "revision": 1, "download": {"url": "http://example.com/file"}}]}`)
	}))
	if _, err := r.destination(false).Look(t.Context(), publish.Read); fault.CodeOf(err) != fault.Transient || !strings.Contains(err.Error(), "not https") {
		t.Errorf("elsewhere: %v", err)
	}
}

// Whatever the store answers, what it is asked next is asked of it, and nothing is believed that it does not say.
func TestAnswers(t *testing.T) {
	rel := releasetest.Open(t, verifytest.Options{})
	const empty = `{"revisions": [], "channel-map": []}`
	for _, tt := range []struct {
		name    string
		answers map[string]string // by the end of the path
		want    string
	}{
		{"no JSON", map[string]string{"/releases": "<html>"}, "reading the answer"},
		{"revision", map[string]string{"/releases": `{"revisions": [{"revision": -1}]}`}, "is not a number"},
		{"next page", map[string]string{"/releases": `{"_links": {"next": "https://example.com/"}}`}, "next page is elsewhere"},
		{"no end", map[string]string{"/releases": "next"}, "more than 200 pages"},
		{"too long", map[string]string{"/releases": strings.Repeat(" ", 17<<20)}, "more than 16777216 bytes"},
		{"not uploaded", map[string]string{"/unscanned-upload/": `{"successful": false, "upload_id": "1"}`}, "does not say that it has the bytes"},
		{"no id", map[string]string{"/unscanned-upload/": `{"successful": true}`}, "does not say that it has the bytes"},
		{"no status", map[string]string{"/snap-push/": `{"success": true}`}, "does not say where"},
		{"taken and not listed", map[string]string{
			"/snap-push/": `{"status_details_url": "http://HOST/status"}`,
			"/status":     `{"processed": true, "errors": [{"message": "binary_sha3_384: A file with this exact same content has already been uploaded"}]}`,
		}, "does not list them"},
		{"status elsewhere", map[string]string{"/snap-push/": `{"status_details_url": "https://example.com/status"}`}, "does not say where"},
	} {
		r := newRig(t, rel)
		r.options.Store = r.faults.Serve(t, "store", http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
			for end, text := range tt.answers {
				if strings.HasSuffix(req.URL.Path, end) {
					if text == "next" {
						text = `{"_links": {"next": {"href": "http://HOST` + req.URL.Path + `?page=2"}}}`
					}
					fmt.Fprint(w, strings.ReplaceAll(text, "HOST", req.Host))
					return
				}
			}
			fmt.Fprint(w, empty)
		}))
		r.options.Upload = r.options.Store
		if tt.answers["/unscanned-upload/"] == "" {
			r.options.Upload = r.faults.Serve(t, "upload", r.store.UploadHandler())
		}
		if err := r.destination(false).Stage(t.Context()); fault.CodeOf(err) != fault.Transient || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
}

func TestChangedFile(t *testing.T) {
	rel := releasetest.Open(t, verifytest.Options{})
	for _, p := range rel.Manifest.Packages {
		if p.Format == format.Snap.Name {
			if err := os.WriteFile(rel.Path(p.Path), []byte("changed"), 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	if _, err := snapstore.New(snapstore.Options{Release: rel, Transport: wire.New(wire.Options{})}); fault.CodeOf(err) != fault.Mismatch {
		t.Error(err)
	}
}
