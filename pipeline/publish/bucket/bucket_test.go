package bucket_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/slipway-build/slipway/pipeline/fixture"
	"github.com/slipway-build/slipway/pipeline/fixture/buckettest"
	"github.com/slipway-build/slipway/pipeline/fixture/releasetest"
	"github.com/slipway-build/slipway/pipeline/fixture/verifytest"
	"github.com/slipway-build/slipway/pipeline/publish"
	"github.com/slipway-build/slipway/pipeline/publish/bucket"
	"github.com/slipway-build/slipway/pipeline/publish/wire"
	"github.com/slipway-build/slipway/pipeline/release/artifact"
	"github.com/slipway-build/slipway/pipeline/release/fault"
	"github.com/slipway-build/slipway/pipeline/release/manifest"
	"github.com/slipway-build/slipway/pipeline/trust/signature"
)

const (
	accessKey = "AKEXAMPLE"
	secretKey = "canary/secret+key"
	session   = "canary-session-token"
)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// stand is a bucket behind faults.
type stand struct {
	*buckettest.Bucket
	faults *fixture.Faults
	url    string
}

func newStand(t testing.TB, o buckettest.Options) *stand {
	t.Helper()
	o.AccessKey, o.SecretKey, o.SessionToken, o.Region, o.Public = accessKey, secretKey, session, "eu-test-1", true
	s := &stand{Bucket: buckettest.New(o), faults: &fixture.Faults{}}
	s.url = s.faults.Serve(t, "bucket", s)
	return s
}

type setting struct {
	dryRun   func(wire.Request)
	recorder wire.Recorder
	private  bool // read back through the API
	change   func(*bucket.Options)
	facts    bucket.Facts
	base     http.RoundTripper
}

func (s *stand) destination(t testing.TB, rel publish.Release, o setting) *bucket.Destination {
	t.Helper()
	options := bucket.Options{
		Release: rel, Facts: o.facts, Endpoint: s.url, Bucket: "bucket", Prefix: "hello", Region: "eu-test-1",
		AccessKey: func() string { return accessKey }, SecretKey: func() string { return secretKey }, SessionToken: func() string { return session },
		PublicURL: s.url + "/bucket/hello",
		Transport: wire.New(wire.Options{
			Destination: "bucket", Backoff: time.Millisecond, DryRun: o.dryRun, Simulate: bucket.Simulate, Recorder: o.recorder, Base: o.base,
			Sleep: func(ctx context.Context, _ time.Duration) error { return ctx.Err() },
		}),
	}
	if o.private {
		options.PublicURL = ""
	}
	if o.change != nil {
		o.change(&options)
	}
	d, err := bucket.New(options)
	must(t, err)
	return d
}

func (s *stand) publish(ctx context.Context, t testing.TB, rel publish.Release, o setting) (publish.Result, error) {
	t.Helper()
	return publish.Run(ctx, []publish.Target{{Name: "bucket", Wave: publish.Registries, Destination: s.destination(t, rel, o)}}, publish.Options{
		DryRun: o.dryRun != nil,
		Pause:  func(ctx context.Context, _ int) error { return ctx.Err() },
	})
}

func TestPublish(t *testing.T) {
	rel := releasetest.Signed(t, verifytest.Options{Version: "1.2.3-rc.1+build.5"})
	for name, o := range map[string]setting{"read back in public": {}, "read back with credentials": {private: true}} {
		t.Run(name, func(t *testing.T) {
			s := newStand(t, buckettest.Options{Page: 7})
			result, err := s.publish(t.Context(), t, rel, o)
			must(t, err)
			for _, it := range result.Outcomes[0].Items {
				if it.State != publish.Same || (it.URL == "") != o.private {
					t.Errorf("%s at %q is %s: %s", it.Name, it.URL, it.State, it.Detail)
				}
			}
			state := s.State()
			for _, f := range rel.Manifest.Files {
				if got, ok := s.Get("hello/1.2.3-rc.1+build.5/" + f.Path); !ok || artifact.Sum(got) != f.Digest {
					t.Errorf("%s is not there", f.Path)
				}
			}
			for _, want := range []string{"release.json ", "SHA256SUMS ", "release.json.sigstore.json ", "signatures/index.json "} {
				if !strings.Contains(state, "hello/1.2.3-rc.1+build.5/"+want) {
					t.Errorf("there is no %s in\n%s", want, state)
				}
			}
			if !strings.Contains(state, `Cache-Control="public, max-age=31536000, immutable" Content-Type="application/gzip" X-Amz-Meta-Sha256="`) || strings.Contains(state, "report.html") {
				t.Errorf("it is\n%s", state)
			}
			puts := fixture.Changes(s.faults.Seen())
			if last := puts[len(puts)-1]; !strings.HasSuffix(last, "/release.json") || !strings.HasSuffix(puts[len(puts)-2], "/SHA256SUMS") {
				t.Errorf("last comes %s", last)
			}
			for _, seen := range s.faults.Seen() {
				if seen.Method == http.MethodHead || strings.Contains(seen.URL, "location") {
					t.Errorf("%s was not needed", seen)
				}
			}
			s.faults.Forget()
			result, err = s.publish(t.Context(), t, rel, o)
			if err != nil || result.Changed || len(fixture.Changes(s.faults.Seen())) > 0 {
				t.Errorf("a second time: changed %v, %v, %q", result.Changed, err, fixture.Changes(s.faults.Seen()))
			}
		})
	}
}

// What people fetch by its URL is what was published.
func TestURLs(t *testing.T) {
	rel := releasetest.Open(t, verifytest.Options{Bare: true, Version: "1.2.3-rc.1+build.5"})
	s := newStand(t, buckettest.Options{})
	result, err := s.publish(t.Context(), t, rel, setting{})
	must(t, err)
	for _, it := range result.Outcomes[0].Items {
		res, err := http.Get(it.URL)
		must(t, err)
		m := artifact.NewMeter(io.Discard)
		_, err = io.Copy(m, res.Body)
		must(t, err)
		res.Body.Close()
		if m.Digest() != it.Digest {
			t.Errorf("%s: %s", it.URL, res.Status)
		}
	}
}

func TestDryRun(t *testing.T) {
	for name, before := range map[string]func(s *stand, rel publish.Release){
		"nothing there": func(*stand, publish.Release) {},
		"staged":        func(s *stand, rel publish.Release) { must(t, s.destination(t, rel, setting{}).Stage(t.Context())) },
	} {
		t.Run(name, func(t *testing.T) {
			rel := releasetest.Signed(t, verifytest.Options{Bare: true})
			s := newStand(t, buckettest.Options{})
			before(s, rel)
			was := s.State()
			s.faults.Forget()
			var mu sync.Mutex
			var told []string
			_, err := s.publish(t.Context(), t, rel, setting{dryRun: func(r wire.Request) {
				mu.Lock()
				defer mu.Unlock()
				told = append(told, r.Method+" "+strings.TrimPrefix(r.URL, s.url))
			}})
			must(t, err)
			if s.State() != was || len(fixture.Changes(s.faults.Seen())) > 0 {
				t.Fatal("a dry run changed something")
			}
			s.faults.Forget()
			_, err = s.publish(t.Context(), t, rel, setting{})
			must(t, err)
			did := fixture.Changes(s.faults.Seen())
			slices.Sort(told)
			slices.Sort(did)
			if !slices.Equal(told, did) || len(did) == 0 {
				t.Errorf("a dry run tells of\n%s\nand the real one makes\n%s", strings.Join(told, "\n"), strings.Join(did, "\n"))
			}
		})
	}
}

// A key that other bytes have is refused before anything is sent, whatever their metadata says.
func TestTaken(t *testing.T) {
	rel := releasetest.Open(t, verifytest.Options{Bare: true})
	file := rel.Manifest.Archives[0].Path
	f, _ := rel.File(file)
	right, err := os.ReadFile(rel.Path(file))
	must(t, err)
	wrong := slices.Clone(right)
	wrong[0] ^= 1
	for name, tt := range map[string]struct {
		body   []byte
		header http.Header
		want   fault.Code
	}{
		"another size":                    {[]byte("other"), http.Header{"X-Amz-Meta-Sha256": {f.Digest.Hex()}}, fault.Conflict},
		"other bytes":                     {wrong, nil, fault.Conflict},
		"other bytes with their digest":   {wrong, http.Header{"X-Amz-Meta-Sha256": {artifact.Sum(wrong).Hex()}}, fault.Conflict},
		"other bytes with a false digest": {wrong, http.Header{"X-Amz-Meta-Sha256": {f.Digest.Hex()}}, fault.Conflict},
		"right bytes without a digest":    {right, nil, fault.OK},
		"right bytes with a false digest": {right, http.Header{"X-Amz-Meta-Sha256": {artifact.Sum(wrong).Hex()}}, fault.OK},
		"right bytes with no digest":      {right, http.Header{"X-Amz-Meta-Sha256": {"../../etc"}}, fault.OK},
	} {
		t.Run(name, func(t *testing.T) {
			s := newStand(t, buckettest.Options{})
			s.Put("hello/1.2.3/"+file, tt.body, tt.header)
			was := s.State()
			_, err := s.publish(t.Context(), t, rel, setting{})
			if fault.CodeOf(err) != tt.want {
				t.Fatalf("code %d: %v", fault.CodeOf(err), err)
			}
			if tt.want == fault.OK {
				return
			}
			if !strings.Contains(err.Error(), file) {
				t.Errorf("it does not name %s: %v", file, err)
			}
			if _, visible := s.Get("hello/1.2.3/" + manifest.FileName); visible {
				t.Error("the release is visible")
			}
			if strings.Contains(name, "false") {
				return // that shows when it is read back
			}
			if s.State() != was || len(fixture.Changes(s.faults.Seen())) > 0 {
				t.Errorf("something was changed: %q", fixture.Changes(s.faults.Seen()))
			}
		})
	}
}

// Other bytes come between the look and the put: they stay.
func TestRace(t *testing.T) {
	rel := releasetest.Signed(t, verifytest.Options{Bare: true})
	for _, tt := range []struct {
		path string
		body func() []byte
		want fault.Code
	}{
		{rel.Manifest.Archives[0].Path, func() []byte { return []byte("other") }, fault.Conflict},
		{rel.Manifest.Archives[0].Path, func() []byte { b, _ := os.ReadFile(rel.Path(rel.Manifest.Archives[0].Path)); return b }, fault.OK},
		{signature.ManifestBundle, func() []byte { return []byte("another signature") }, fault.OK},
	} {
		s := newStand(t, buckettest.Options{})
		key := "hello/1.2.3/" + tt.path
		s.faults.Rule = func(_ int, _ string, r *http.Request) fixture.Fault {
			if r.Method == http.MethodPut && strings.HasSuffix(r.URL.Path, "/"+key) {
				s.Put(key, tt.body(), nil)
			}
			return fixture.None
		}
		_, err := s.publish(t.Context(), t, rel, setting{})
		if fault.CodeOf(err) != tt.want {
			t.Errorf("%s: code %d: %v", tt.path, fault.CodeOf(err), err)
		}
		if got, _ := s.Get(key); string(got) != string(tt.body()) {
			t.Errorf("%s was replaced", tt.path)
		}
	}
}

// A release is signed after it was published. Signatures that are there are kept.
func TestSignedLater(t *testing.T) {
	rel := releasetest.Open(t, verifytest.Options{Bare: true})
	s := newStand(t, buckettest.Options{})
	_, err := s.publish(t.Context(), t, rel, setting{})
	must(t, err)
	unsigned := s.State()
	releasetest.Sign(t, rel.Dir)
	s.faults.Forget()
	_, err = s.publish(t.Context(), t, rel, setting{})
	must(t, err)
	signed, puts := s.State(), fixture.Changes(s.faults.Seen())
	for line := range strings.Lines(unsigned) {
		if !strings.Contains(signed, line) {
			t.Errorf("there is no %s any more", line)
		}
	}
	if len(puts) == 0 || !strings.HasSuffix(puts[len(puts)-1], signature.ManifestBundle) {
		t.Errorf("it put %q", puts)
	}
	releasetest.Sign(t, rel.Dir) // with another key
	s.faults.Forget()
	result, err := s.publish(t.Context(), t, rel, setting{})
	if err != nil || result.Changed || s.State() != signed {
		t.Errorf("another signature: changed %v, %v", result.Changed, err)
	}
	if !slices.ContainsFunc(result.Outcomes[0].Items, func(it publish.Item) bool { return it.State == publish.Kept && it.Detail != "" }) {
		t.Error("no signature was kept")
	}
}

// What was lost after it was put, or is other bytes on the way that people take, is found when it is read back.
func TestReadBack(t *testing.T) {
	rel := releasetest.Open(t, verifytest.Options{Bare: true})
	s := newStand(t, buckettest.Options{})
	d := s.destination(t, rel, setting{})
	must(t, d.Stage(t.Context()))
	whole := s.State()
	lost := "hello/1.2.3/" + rel.Manifest.Archives[0].Path
	s.Drop(lost)
	items, err := d.Look(t.Context(), publish.Read)
	must(t, err)
	if !slices.ContainsFunc(items, func(it publish.Item) bool { return it.Phase == publish.Stage && it.State == publish.Missing }) {
		t.Error("it was lost and nobody noticed")
	}
	if err := d.Flip(t.Context()); fault.CodeOf(err) != fault.Transient {
		t.Errorf("made visible without it: %v", err)
	}
	must(t, d.Stage(t.Context()))
	if s.State() != whole {
		t.Error("it was not put again")
	}
	cdn := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case strings.HasSuffix(r.URL.Path, ".zip"):
			http.Error(w, "no", http.StatusForbidden)
		default:
			fmt.Fprint(w, strings.Repeat("x", 1<<16))
		}
	}))
	t.Cleanup(cdn.Close)
	change := setting{change: func(o *bucket.Options) { o.PublicURL = cdn.URL }}
	if _, err := s.destination(t, rel, change).Look(t.Context(), publish.Read); fault.CodeOf(err) != fault.Credentials || !strings.Contains(err.Error(), "without credentials") {
		t.Errorf("what nobody may read: %v", err)
	}
}

// Whatever happens to any one request, the same command again ends where a clean run does.
func TestEveryFault(t *testing.T) {
	rel := releasetest.Signed(t, verifytest.Options{Bare: true})
	clean := newStand(t, buckettest.Options{})
	_, err := clean.publish(t.Context(), t, rel, setting{})
	must(t, err)
	n, want := len(clean.faults.Seen()), clean.State()
	step := fixture.Stride(7)
	for k, f := range []fixture.Fault{
		fixture.Kill, fixture.KillAfter, fixture.BadGateway, fixture.BadAfter, fixture.TooMany, fixture.Unavailable,
		fixture.Reset, fixture.Lost, fixture.Cut, fixture.Unauthorized,
	} {
		for i := 1 + k%step; i <= n; i += step {
			s := newStand(t, buckettest.Options{})
			ctx, cancel := context.WithCancel(t.Context())
			var over atomic.Bool // requests of a run that was killed may still arrive
			s.faults.Kill, s.faults.Rule = cancel, func(n int, service string, r *http.Request) fixture.Fault {
				if over.Load() {
					return fixture.None
				}
				return fixture.Nth(i, f)(n, service, r)
			}
			_, err := s.publish(ctx, t, rel, setting{})
			cancel()
			over.Store(true)
			killed := f == fixture.Kill || f == fixture.KillAfter
			if err == nil && s.State() != want {
				t.Fatalf("%s at request %d: it succeeded with another state", f, i)
			}
			if code := fault.CodeOf(err); err != nil && !killed && code != fault.Transient && code != fault.Credentials {
				t.Errorf("%s at request %d: code %d: %v", f, i, code, err)
			}
			if _, visible := s.Get("hello/1.2.3/" + manifest.FileName); visible && s.State() != want {
				t.Errorf("%s at request %d: it is visible and not whole", f, i)
			}
			if _, err := s.publish(t.Context(), t, rel, setting{}); err != nil {
				t.Fatalf("%s at request %d, and again: %v", f, i, err)
			}
			if s.State() != want {
				t.Fatalf("%s at request %d, and again: another state", f, i)
			}
		}
	}
	t.Logf("%d requests, each with 10 faults", n)
}

// Requests whose bodies are files are made again by the transport.
func TestBodyIsSentAgain(t *testing.T) {
	rel := releasetest.Open(t, verifytest.Options{Bare: true})
	s := newStand(t, buckettest.Options{})
	var mu sync.Mutex
	tries := map[string]int{}
	s.faults.Rule = func(_ int, _ string, r *http.Request) fixture.Fault {
		if r.Method != http.MethodPut {
			return fixture.None
		}
		mu.Lock()
		defer mu.Unlock()
		tries[r.URL.Path]++
		return []fixture.Fault{fixture.None, fixture.Unavailable, fixture.TooMany, fixture.BadAfter, fixture.None}[tries[r.URL.Path]]
	}
	d := s.destination(t, rel, setting{})
	must(t, d.Stage(t.Context()))
	must(t, d.Flip(t.Context()))
	for path, n := range tries {
		if n != 4 {
			t.Errorf("%s was put %d times", path, n)
		}
	}
	if _, there := s.Get("hello/1.2.3/" + manifest.FileName); !there {
		t.Error("it is not published")
	}
}

func TestRefused(t *testing.T) {
	rel := releasetest.Open(t, verifytest.Options{Bare: true})
	for name, tt := range map[string]struct {
		bucket buckettest.Options
		change func(*bucket.Options)
		expire bool
		want   fault.Code
		says   string
	}{
		"a wrong secret":        {change: func(o *bucket.Options) { o.SecretKey = func() string { return "wrong" } }, want: fault.Credentials, says: "signature"},
		"a wrong key":           {change: func(o *bucket.Options) { o.AccessKey = func() string { return "wrong" } }, want: fault.Credentials, says: "Access Key"},
		"no secret":             {change: func(o *bucket.Options) { o.SecretKey = func() string { return "" } }, want: fault.Credentials, says: "set both"},
		"no credentials":        {change: func(o *bucket.Options) { o.AccessKey, o.SecretKey = nil, nil }, want: fault.Credentials, says: "Access Denied"},
		"a session that ended":  {expire: true, want: fault.Credentials, says: "expired"},
		"no session":            {change: func(o *bucket.Options) { o.SessionToken = nil }, want: fault.Credentials, says: "token"},
		"another region":        {change: func(o *bucket.Options) { o.Region = "eu-test-2" }, want: fault.Usage, says: "name the region"},
		"another bucket":        {change: func(o *bucket.Options) { o.Bucket = "other" }, want: fault.Usage, says: "make the bucket"},
		"no conditional writes": {bucket: buckettest.Options{Unconditional: true}, want: fault.Usage, says: "no conditional writes"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newStand(t, tt.bucket)
			if tt.expire {
				s.Expire()
			}
			_, err := s.publish(t.Context(), t, rel, setting{change: tt.change})
			if fault.CodeOf(err) != tt.want || !strings.Contains(err.Error(), tt.says) {
				t.Errorf("code %d: %v", fault.CodeOf(err), err)
			}
			if s.State() != "" {
				t.Errorf("something was put: %s", s.State())
			}
		})
	}
}

// A service that two write to at once may refuse both, and what it refused is put again.
func TestRefusedForTheMoment(t *testing.T) {
	rel := releasetest.Open(t, verifytest.Options{Bare: true})
	b := newStand(t, buckettest.Options{})
	var mu sync.Mutex
	tried := map[string]bool{}
	s := &stand{Bucket: b.Bucket, faults: &fixture.Faults{}}
	s.url = s.faults.Serve(t, "bucket", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		first := r.Method == http.MethodPut && len(tried) < 2 && !tried[r.URL.Path]
		if first {
			tried[r.URL.Path] = true
		}
		mu.Unlock()
		if first {
			w.WriteHeader(http.StatusConflict)
			fmt.Fprint(w, `<Error><Code>ConditionalRequestConflict</Code><Message>again</Message></Error>`)
			return
		}
		b.ServeHTTP(w, r)
	}))
	if _, err := s.publish(t.Context(), t, rel, setting{}); err != nil {
		t.Error(err)
	}
	if _, there := s.Get("hello/1.2.3/" + manifest.FileName); !there || len(tried) == 0 {
		t.Error("it is not published")
	}
}

type capture struct{ urls []string }

func (c *capture) RoundTrip(r *http.Request) (*http.Response, error) {
	c.urls = append(c.urls, r.URL.Scheme+"://"+r.URL.Host+r.URL.Path+" "+strings.Split(r.Header.Get("Authorization"), ",")[0])
	return wire.Answer(http.StatusForbidden, ""), nil
}

// The first request is the one for the list, in the region and at the address that the endpoint wants.
func TestAddresses(t *testing.T) {
	rel := releasetest.Open(t, verifytest.Options{Bare: true})
	for _, tt := range []struct {
		o      bucket.Options
		url    string
		region string
	}{
		{bucket.Options{Endpoint: "https://minio.example.com"}, "https://minio.example.com/bucket/", "us-east-1"},
		{bucket.Options{Endpoint: "https://minio.example.com:9000/", Region: "home"}, "https://minio.example.com:9000/bucket/", "home"},
		{bucket.Options{Endpoint: "https://s3.eu-central-1.amazonaws.com"}, "https://bucket.s3.dualstack.eu-central-1.amazonaws.com/", "eu-central-1"},
		{bucket.Options{Endpoint: "https://s3.amazonaws.com"}, "https://bucket.s3.dualstack.us-east-1.amazonaws.com/", "us-east-1"},
		{bucket.Options{Endpoint: "https://s3.amazonaws.com", Region: "eu-west-3"}, "https://bucket.s3.dualstack.eu-west-3.amazonaws.com/", "eu-west-3"},
	} {
		var c capture
		o := tt.o
		o.Release, o.Bucket, o.Transport = rel, "bucket", wire.New(wire.Options{Base: &c})
		o.AccessKey, o.SecretKey = func() string { return accessKey }, func() string { return secretKey }
		d, err := bucket.New(o)
		must(t, err)
		if _, err := d.Look(t.Context(), publish.Listed); fault.CodeOf(err) != fault.Credentials {
			t.Errorf("%s: %v", o.Endpoint, err)
		}
		if len(c.urls) != 1 || !strings.HasPrefix(c.urls[0], tt.url+" AWS4-HMAC-SHA256 ") || !strings.Contains(c.urls[0], "/"+tt.region+"/s3/") {
			t.Errorf("%s: %q", o.Endpoint, c.urls)
		}
	}
}

func TestOptions(t *testing.T) {
	rel := releasetest.Open(t, verifytest.Options{Bare: true})
	for name, o := range map[string]bucket.Options{
		"no endpoint":         {Bucket: "bucket"},
		"not encrypted":       {Bucket: "bucket", Endpoint: "http://s3.example.com"},
		"a path":              {Bucket: "bucket", Endpoint: "https://s3.example.com/bucket"},
		"a password":          {Bucket: "bucket", Endpoint: "https://user:canary@s3.example.com"},
		"another scheme":      {Bucket: "bucket", Endpoint: "ftp://s3.example.com"},
		"no bucket":           {Endpoint: "https://s3.example.com"},
		"a bucket's name":     {Endpoint: "https://s3.example.com", Bucket: "A_b"},
		"a prefix":            {Endpoint: "https://s3.example.com", Bucket: "bucket", Prefix: "a/../b"},
		"a prefix with /":     {Endpoint: "https://s3.example.com", Bucket: "bucket", Prefix: "/a"},
		"a long prefix":       {Endpoint: "https://s3.example.com", Bucket: "bucket", Prefix: strings.Repeat("a/", 500) + "a"},
		"a public URL":        {Endpoint: "https://s3.example.com", Bucket: "bucket", PublicURL: "example.com"},
		"a public URL's user": {Endpoint: "https://s3.example.com", Bucket: "bucket", PublicURL: "https://user:canary@example.com"},
	} {
		o.Release = rel
		if _, err := bucket.New(o); fault.CodeOf(err) != fault.Usage || strings.Contains(err.Error(), "canary") {
			t.Errorf("%s: code %d: %v", name, fault.CodeOf(err), err)
		}
	}
}

type journal struct {
	mu    sync.Mutex
	lines []string
}

func (j *journal) Begin(r wire.Request) (func(string), error) {
	j.add(fmt.Sprintf("%+v %s", r, r))
	return j.add, nil
}

func (j *journal) add(s string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.lines = append(j.lines, s)
}

// No error, no line of the journal and none of a dry run has the secret, even where the remote says it.
func TestCanary(t *testing.T) {
	rel := releasetest.Open(t, verifytest.Options{Bare: true})
	j := &journal{}
	tell := func(r wire.Request) { j.add(r.String()) }
	s := newStand(t, buckettest.Options{})
	for _, o := range []setting{{dryRun: tell}, {recorder: j}, {recorder: j, change: func(o *bucket.Options) { o.Region = "eu-test-2" }}} {
		_, err := s.publish(t.Context(), t, rel, o)
		j.add(fmt.Sprint(err))
	}
	d := s.destination(t, rel, setting{})
	j.add(fmt.Sprintf("%v %+v %#v", d, d, d))
	for _, status := range []int{400, 403, 409, 412, 500, 501, 503} {
		echo := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Method == http.MethodGet && r.URL.Query().Get("list-type") != "" {
				fmt.Fprint(w, `<ListBucketResult></ListBucketResult>`)
				return
			}
			w.WriteHeader(status)
			fmt.Fprintf(w, `<Error><Code>Odd</Code><Message>%s %s</Message></Error>`, secretKey, r.Header.Get("X-Amz-Security-Token"))
		}))
		t.Cleanup(echo.Close)
		_, err := s.publish(t.Context(), t, rel, setting{recorder: j, change: func(o *bucket.Options) { o.Endpoint = echo.URL }})
		if err == nil {
			t.Errorf("%d is no error", status)
		}
		j.add(fmt.Sprint(err))
	}
	if len(j.lines) < 50 {
		t.Fatalf("%d lines", len(j.lines))
	}
	for _, line := range j.lines {
		if strings.Contains(line, "canary") {
			t.Errorf("it tells a secret: %s", line)
		}
	}
}

// Several publish the same release at once.
func TestConcurrent(t *testing.T) {
	rel := releasetest.Signed(t, verifytest.Options{Bare: true})
	clean := newStand(t, buckettest.Options{})
	_, err := clean.publish(t.Context(), t, rel, setting{})
	must(t, err)
	s := newStand(t, buckettest.Options{})
	errs := make(chan error)
	const n = 4
	for range n {
		go func() {
			_, err := s.publish(t.Context(), t, rel, setting{})
			errs <- err
		}()
	}
	for range n {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
	if s.State() != clean.State() {
		t.Error("it is not what one leaves")
	}
}

// What a bucket answers is bounded and believed where it agrees alone.
func TestHostile(t *testing.T) {
	fixture.SkipRace(t)
	rel := releasetest.Open(t, verifytest.Options{Bare: true})
	for name, h := range map[string]http.HandlerFunc{
		"a list without an end": func(w http.ResponseWriter, r *http.Request) {
			fmt.Fprintf(w, `<ListBucketResult><IsTruncated>true</IsTruncated><NextContinuationToken>x</NextContinuationToken>`)
			for i := range 1000 {
				fmt.Fprintf(w, `<Contents><Key>%s%d</Key><Size>1</Size></Contents>`, r.URL.Query().Get("continuation-token"), i)
			}
			fmt.Fprint(w, `</ListBucketResult>`)
		},
		"an answer without an end": func(w http.ResponseWriter, r *http.Request) {
			fmt.Fprint(w, `<ListBucketResult>`)
			for range 20 << 10 {
				if _, err := fmt.Fprint(w, strings.Repeat(" ", 1<<10)); err != nil {
					return
				}
			}
		},
		"no XML": func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, "hello") },
		"a page": func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, "<html><body>Sign in</body></html>") },
		"odd sizes": func(w http.ResponseWriter, r *http.Request) {
			fmt.Fprint(w, `<ListBucketResult><Contents><Key>x</Key><Size>-9e99</Size></Contents></ListBucketResult>`)
		},
		"redirects": func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "http://127.0.0.1:1/", http.StatusMovedPermanently)
		},
	} {
		t.Run(name, func(t *testing.T) {
			server := httptest.NewServer(h)
			t.Cleanup(server.Close)
			s := &stand{url: server.URL}
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			defer cancel()
			items, err := s.destination(t, rel, setting{}).Look(ctx, publish.Listed)
			if code := fault.CodeOf(err); code != fault.Transient && code != fault.Usage && name != "a page" {
				t.Errorf("code %d: %v", code, err)
			}
			if slices.ContainsFunc(items, func(it publish.Item) bool { return it.State != publish.Missing }) {
				t.Error("something is there")
			}
			if err != nil && len(err.Error()) > 2000 {
				t.Errorf("an error of %d bytes", len(err.Error()))
			}
		})
	}
}

func FuzzAnswer(f *testing.F) {
	f.Add(200, `<ListBucketResult><Contents><Key>hello/1.2.3/SHA256SUMS</Key><ETag>"x"</ETag><Size>5</Size></Contents></ListBucketResult>`)
	f.Add(403, `<Error><Code>AccessDenied</Code><Message>no</Message></Error>`)
	f.Add(200, `<ListBucketResult><IsTruncated>true</IsTruncated></ListBucketResult>`)
	f.Add(301, ``)
	dir := f.TempDir()
	_, err := verifytest.Write(filepath.Join(dir, "dist"), verifytest.Options{Bare: true})
	must(f, err)
	rel, err := publish.Open(filepath.Join(dir, "dist"))
	must(f, err)
	var mu sync.Mutex
	var status int
	var body string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		w.WriteHeader(status)
		fmt.Fprint(w, body)
	}))
	f.Cleanup(server.Close)
	f.Fuzz(func(t *testing.T, answer int, text string) {
		if answer < 200 || answer > 599 || len(text) > 1<<16 || answer == 204 || answer == 304 {
			return
		}
		mu.Lock()
		status, body = answer, text
		mu.Unlock()
		s := &stand{url: server.URL}
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		items, err := s.destination(t, rel, setting{}).Look(ctx, publish.Listed)
		if err != nil {
			if fault.CodeOf(err) == fault.Unclassified && ctx.Err() == nil || len(err.Error()) > 4000 {
				t.Errorf("code %d: %.200s", fault.CodeOf(err), err)
			}
			return
		}
		for _, it := range items {
			if it.State == publish.Same {
				t.Errorf("%s is there, by %q", it.Name, text)
			}
		}
	})
}

// notes are facts in memory.
type notes map[string]string

func (n notes) Fact(name string) string { return n[name] }

func (n notes) SetFact(name, value string) error {
	n[name] = value
	return nil
}

// A run that knows the entity tags from the one before asks for no object, and one whose objects have others does.
func TestFacts(t *testing.T) {
	rel := releasetest.Signed(t, verifytest.Options{Bare: true})
	s, facts := newStand(t, buckettest.Options{}), notes{}
	must(t, func() error { _, err := s.publish(t.Context(), t, rel, setting{facts: facts}); return err }())
	heads := func() int {
		s.faults.Forget()
		result, err := s.publish(t.Context(), t, rel, setting{facts: facts})
		if err == nil && result.Changed {
			t.Error("something was changed")
		}
		n := 0
		for _, r := range s.faults.Seen() {
			if r.Method == http.MethodHead {
				n++
			}
		}
		return n
	}
	if n := heads(); n != 0 {
		t.Errorf("%d objects were asked for", n)
	}
	clear(facts)
	if n := heads(); n == 0 {
		t.Error("nothing was asked for without facts")
	}
	key := "hello/1.2.3/SHA256SUMS"
	if b, ok := s.Get(key); ok {
		s.Put(key, append(b[:len(b)-1:len(b)-1], '!'), nil)
		if _, err := s.publish(t.Context(), t, rel, setting{facts: facts}); fault.CodeOf(err) != fault.Conflict {
			t.Errorf("other bytes of the same size: %v", err)
		}
	} else {
		t.Fatalf("there is no %s in\n%s", key, s.State())
	}
}
