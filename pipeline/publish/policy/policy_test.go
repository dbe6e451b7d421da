package policy_test

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/slipway-build/slipway/pipeline/publish/policy"
	"github.com/slipway-build/slipway/pipeline/release/artifact"
	"github.com/slipway-build/slipway/pipeline/release/fault"
	"github.com/slipway-build/slipway/pipeline/release/manifest"
	"github.com/slipway-build/slipway/pipeline/release/version"
)

const commit = "0123456789abcdef0123456789abcdef01234567"

func parse(t testing.TB, s string) version.Version {
	t.Helper()
	v, err := version.Parse(s)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// release is one that every rule lets pass, but for who publishes it.
func release(t testing.TB) manifest.Release {
	t.Helper()
	return manifest.Release{
		Name: "tool", Version: parse(t, "1.2.3"), Tag: "v1.2.3", Repository: "https://github.com/example/tool", Commit: commit,
		Inputs: []manifest.Input{
			{Kind: "toolchain", Name: "golang.org/toolchain@v0.0.1-go1.26.0.linux-amd64", Digest: "h1:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="},
			{Kind: "base", Name: "docker.io/library/alpine:3.22", Digest: string(artifact.Sum([]byte("alpine")))},
			{Kind: "base", Name: "gcr.io/distroless/static-debian12:nonroot", Digest: string(artifact.Sum([]byte("distroless")))},
		},
		Images: []manifest.Image{{
			Repository: "ghcr.io/example/tool", Distro: "alpine", Tags: []string{"1.2.3", "1.2.3-alpine"}, Floating: []string{"latest"},
			Digest:    artifact.Sum([]byte("index")),
			Platforms: []manifest.ImagePlatform{{Digest: artifact.Sum([]byte("amd64"))}},
		}},
		Charts: []manifest.Chart{{Name: "tool", Version: "1.2.3", Path: "charts/tool-1.2.3.tgz"}},
	}
}

// local are options with which the release passes.
func local(t testing.TB) policy.Options {
	return policy.Options{
		Release: release(t), Destinations: []string{"http://127.0.0.1:5000", "/srv/mirror"},
		Images: images("ghcr.io/example/tool:1.2.3"), Now: clock,
	}
}

func images(refs ...string) func(string) ([]string, error) {
	return func(string) ([]string, error) { return refs, nil }
}

var noon = time.Date(2026, 3, 14, 12, 0, 0, 0, time.UTC)

func clock() time.Time { return noon }

// registry has the images in it.
type registry map[string]error

var errGone = errors.New("no")

func (r registry) Has(_ context.Context, ref string) (bool, error) {
	err, ok := r[ref]
	if errors.Is(err, errGone) {
		return false, nil
	}
	return ok, err
}

// of are the findings of a rule.
func of(all []policy.Finding, rule string) (out []policy.Finding) {
	for _, f := range all {
		if f.Rule == rule {
			out = append(out, f)
		}
	}
	return out
}

// check holds the release to the rules and looks at what one of them says: passes is whether it holds, says is a part of
// each of its findings, in order.
func check(t *testing.T, o policy.Options, rule string, code fault.Code, says ...string) {
	t.Helper()
	all, err := policy.Check(t.Context(), o)
	found := of(all, rule)
	if len(found) != len(says) {
		t.Fatalf("%d findings, want %d: %v, %v", len(found), len(says), found, err)
	}
	for i, f := range found {
		line := f.Explain()
		if f.Passed != (code == fault.OK) || fault.CodeOf(f.Err()) != code || !strings.Contains(line, says[i]) {
			t.Errorf("got %v with code %d: %s\nwant code %d and %q", f.Passed, fault.CodeOf(f.Err()), line, code, says[i])
		}
		if strings.ContainsAny(line, "\n\r") || !strings.HasPrefix(line, "policy "+rule+": ") || f.Why == "" || f.Passed != (f.WayOut == "") {
			t.Errorf("%q is not one line with a rule, a reason and a way out", line)
		}
		if !f.Passed && (err == nil || !strings.Contains(err.Error(), line)) {
			t.Errorf("the error lacks %q: %v", line, err)
		}
	}
}

func TestAllPass(t *testing.T) {
	all, err := policy.Check(t.Context(), local(t))
	if err != nil {
		t.Fatal(err)
	}
	var rules []string
	for _, f := range all {
		rules = append(rules, f.Rule)
		if !f.Passed {
			t.Error(f.Explain())
		}
	}
	if got, want := strings.Join(rules, ", "), "publishable, ci, bases, charts, chart versions, candidate"; got != want {
		t.Errorf("got rules %s, want %s", got, want)
	}
	b, err := json.Marshal(all[0])
	want := `{"rule":"publishable","passed":true,"detail":"built from a clean commit, on real bases, for all targets",` +
		`"why":"what is published can be built again from its commit alone"}`
	if err != nil || string(b) != want {
		t.Errorf("got %s, %v\nwant %s", b, err, want)
	}
}

// TestAllAtOnce breaks every rule: all are told, and the most serious code is that of the whole.
func TestAllAtOnce(t *testing.T) {
	o := local(t)
	o.Destinations = []string{"ghcr.io"}
	o.CandidateFirst = true
	o.Release.Unpublishable = []string{"it was built from a dirty tree"}
	o.Release.Inputs[1].Digest = ""
	o.Release.Charts[0].Version = "1.2"
	o.Images = images("ghcr.io/example/other:1.0.0")
	o.Registry = registry{"ghcr.io/example/other:1.0.0": fault.Errorf(fault.Transient, "it is down")}
	all, err := policy.Check(t.Context(), o)
	if fault.CodeOf(err) != fault.Policy || len(all) != 6 || strings.Count(err.Error(), "\n") != 5 {
		t.Errorf("got %d findings, code %d: %v", len(all), fault.CodeOf(err), err)
	}
	for _, f := range all {
		if f.Passed {
			t.Error(f.Explain())
		}
	}
}

func TestExplain(t *testing.T) {
	o := local(t)
	o.Destinations = []string{"ghcr.io"}
	_, err := policy.Check(t.Context(), o)
	want := "policy ci: v1.2.3 is published only by a workflow (official releases come from CI, so that they can be repeated and none " +
		"is pushed by accident); push the tag, or try it out on loopback"
	if err == nil || err.Error() != want || fault.CodeOf(err) != fault.Policy {
		t.Errorf("got %v, want %s", err, want)
	}
}

func TestCancelled(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := policy.Check(ctx, local(t)); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

func TestLocal(t *testing.T) {
	for _, d := range []string{
		"http://127.0.0.1:5000", "https://localhost/v2", "localhost:5000/owner/name", "127.0.0.1", "[::1]:5000", "http://[::1]:5000/x",
		"/srv/mirror", "./mirror", "../mirror", ".", "..", "file:///srv/mirror", "file://localhost/srv/mirror", "127.8.9.1:80",
	} {
		if !policy.Local([]string{d}) {
			t.Errorf("%q is not local", d)
		}
	}
	for _, d := range []string{
		"", "ghcr.io", "ghcr.io/owner/name", "https://github.com/owner/name", "mirror", "s3://bucket/x", "http://localhost@example.com/",
		"localhost:5000@example.com/x", "//example.com/x", "//localhost.example.com/x", "https://127.0.0.1.example.com", "file://example.com/x",
		"http://example.com/127.0.0.1", "http://example.com#@localhost", "http://[::1", "https://localhost\\@example.com", "0.0.0.0:80",
		"http://127.0.0.1:x/", "git@github.com:owner/name.git", "javascript:localhost",
	} {
		if policy.Local([]string{d}) {
			t.Errorf("%q is local", d)
		}
		if policy.Local([]string{"./mirror", d}) {
			t.Errorf("%q beside a folder is local", d)
		}
	}
	if policy.Local(nil) {
		t.Error("nowhere is local")
	}
}

func FuzzLocal(f *testing.F) {
	for _, s := range []string{"localhost:5000/x", "http://localhost@example.com", "file:///x", "./x", "//x", "http://[::1%25x]/"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if !policy.Local([]string{s}) || strings.HasPrefix(s, "/") || strings.HasPrefix(s, ".") {
			return
		}
		// What is local and no folder says so in so many words.
		if !strings.Contains(s, "localhost") && !strings.Contains(s, "127.") && !strings.Contains(s, ":") {
			t.Errorf("%q is local", s)
		}
	})
}

func TestPublishable(t *testing.T) {
	for _, tt := range []struct {
		name         string
		why          []string
		allow        bool
		destinations []string
		code         fault.Code
		says         string
	}{
		{"clean", nil, false, []string{"ghcr.io"}, fault.OK, "built from a clean commit"},
		{
			"dirty",
			[]string{"it was built from a dirty tree"},
			false,
			[]string{"/srv"},
			fault.Policy, "1.2.3 is marked as not for publishing: it was built from a dirty tree",
		},
		{"all", []string{"a dirty tree", "stand-ins"}, false, nil, fault.Policy, "a dirty tree and stand-ins"},
		{
			"allowed here",
			[]string{"a dirty tree"},
			true,
			[]string{"localhost:5000", "./mirror"},
			fault.OK, "a dirty tree, and it does not leave this machine",
		},
		{
			"allowed elsewhere",
			[]string{"a dirty tree"},
			true,
			[]string{"localhost:5000", "ghcr.io"},
			fault.Policy, "may be tried only on loopback",
		},
		{"allowed nowhere", []string{"a dirty tree"}, true, nil, fault.Policy, "may be tried only on loopback"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			o := local(t)
			o.Release.Unpublishable, o.AllowUnpublishable, o.Destinations = tt.why, tt.allow, tt.destinations
			check(t, o, policy.Publishable, tt.code, tt.says)
		})
	}
}

func TestBases(t *testing.T) {
	pinned := string(artifact.Sum([]byte("base")))
	for _, tt := range []struct {
		name, digest string
		code         fault.Code
		says         string
	}{
		{"alpine:3.22", pinned, fault.OK, "1 base, pinned by digest"},
		{"gcr.io/distroless/static-debian12:nonroot", pinned, fault.OK, "pinned"},
		{"debian:stable-20260101-slim", pinned, fault.OK, "pinned"},
		{"localhost:5000/alpine:3.22", pinned, fault.OK, "pinned"},
		{"example.com/latest:1.0", pinned, fault.OK, "pinned"},
		{"alpine:3.22@" + pinned, pinned, fault.OK, "pinned"},
		{"alpine:3.22", "", fault.Policy, `"alpine:3.22" is not pinned`},
		{"alpine:3.22", "sha256:abc", fault.Policy, "is not pinned"},
		{"alpine:3.22", strings.ToUpper(pinned), fault.Policy, "is not pinned"},
		{"alpine:3.22", "sha512:" + strings.Repeat("a", 128), fault.Policy, "is not pinned"},
		{"alpine", pinned, fault.Policy, `"alpine" has no tag, which is latest`},
		{"localhost:5000/alpine", pinned, fault.Policy, "has no tag"},
		{"alpine@" + pinned, pinned, fault.Policy, "has no tag"},
		{"alpine:latest", pinned, fault.Policy, `tag "latest" of "alpine" moves`},
		{"alpine:Latest", pinned, fault.Policy, "moves"},
		{"alpine:edge", pinned, fault.Policy, "moves"},
		{"example.com/base:master", pinned, fault.Policy, "moves"},
		{"example.com/base:main", pinned, fault.Policy, "moves"},
		{"example.com/base:nightly-slim", pinned, fault.Policy, "moves"},
		{"debian:stable-slim", pinned, fault.Policy, "moves"},
		{"example.com/base:alpine_latest", pinned, fault.Policy, "moves"},
		{"example.com/base:edge-amd64", pinned, fault.Policy, "moves"},
	} {
		t.Run(tt.name+" "+tt.digest[:min(12, len(tt.digest))], func(t *testing.T) {
			o := local(t)
			o.Release.Inputs = []manifest.Input{{Kind: "chart", Name: "redis", Digest: ""}, {Kind: "base", Name: tt.name, Digest: tt.digest}}
			check(t, o, policy.Bases, tt.code, tt.says)
		})
	}
	t.Run("none", func(t *testing.T) {
		o := local(t)
		o.Release.Inputs = nil
		check(t, o, policy.Bases, fault.OK, "there are none")
	})
	t.Run("two", func(t *testing.T) {
		o := local(t)
		o.Release.Inputs = []manifest.Input{
			{Kind: "base", Name: "a:latest", Digest: pinned}, {Kind: "base", Name: "b:1", Digest: pinned}, {Kind: "base", Name: "c", Digest: pinned},
		}
		check(t, o, policy.Bases, fault.Policy, `"latest"`, `"c" has no tag`)
	})
}

func TestChartVersions(t *testing.T) {
	for _, tt := range []struct {
		name   string
		charts []manifest.Chart
		code   fault.Code
		says   []string
	}{
		{"none", nil, fault.OK, []string{"there are no charts"}},
		{
			"two",
			[]manifest.Chart{{Name: "a", Version: "1.0.0"}, {Name: "b", Version: "1.0.0"}},
			fault.OK,
			[]string{"2 charts, each with a version of its own"},
		},
		{"two versions", []manifest.Chart{{Name: "a", Version: "1.0.0"}, {Name: "a", Version: "1.0.1-rc.1+x"}}, fault.OK, []string{"2 charts"}},
		{
			"same",
			[]manifest.Chart{{Name: "a", Version: "1.0.0", Path: "x.tgz"}, {Name: "a", Version: "1.0.0", Path: "y.tgz"}},
			fault.Policy,
			[]string{"x.tgz and y.tgz are both a 1.0.0"},
		},
		{"no SemVer", []manifest.Chart{{Name: "a", Version: "1.0"}}, fault.Policy, []string{`chart a: version "1.0" is not SemVer`}},
		{"a v", []manifest.Chart{{Name: "a", Version: "v1.0.0"}}, fault.Policy, []string{"is not SemVer"}},
		{
			"empty",
			[]manifest.Chart{{Name: "a"}, {Name: "b", Version: "../x"}},
			fault.Policy,
			[]string{`chart a: version "" is not SemVer`, "chart b"},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			o := local(t)
			o.Release.Charts = tt.charts
			check(t, o, policy.ChartVersions, tt.code, tt.says...)
		})
	}
}

func TestCandidate(t *testing.T) {
	for _, tt := range []struct {
		name, version string
		off           bool
		released      []string
		code          fault.Code
		says          string
	}{
		{name: "not asked for", version: "1.2.3", off: true, says: "asks for none"},
		{name: "there", version: "1.2.3", released: []string{"1.2.2", "1.2.3-rc.1"}, says: "1.2.3-rc.1 was published before"},
		{name: "a beta", version: "1.2.3", released: []string{"1.2.3-beta"}, says: "1.2.3-beta was published before"},
		{name: "again", version: "1.2.3", released: []string{"1.2.3-rc.1", "1.2.3"}, says: "1.2.3-rc.1"},
		{name: "itself", version: "1.2.3-rc.1", says: "1.2.3-rc.1 is not stable itself"},
		{name: "snapshot", version: "1.2.3-snapshot.4.g0123456789ab", says: "is not stable itself"},
		{name: "metadata", version: "1.2.3+linux", released: []string{"1.2.3-rc.1+linux"}, says: "1.2.3-rc.1+linux was published"},
		{
			name: "none", version: "1.2.3", code: fault.Policy, says: "no candidate of 1.2.3 was published (people try a candidate before everybody gets the stable version); release 1.2.3-rc.1 first",
		},
		{
			name: "of another patch", version: "1.2.3", released: []string{"1.2.4-rc.1", "1.3.3-rc.1", "2.2.3-rc.1"}, code: fault.Policy, says: "no candidate",
		},
		{
			name: "a snapshot is none", version: "1.2.3", released: []string{"1.2.3-snapshot.4.g0123456789ab"}, code: fault.Policy, says: "no candidate",
		},
		{name: "itself is none", version: "1.2.3", released: []string{"1.2.3", "1.2.3+x"}, code: fault.Policy, says: "no candidate"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			o := local(t)
			o.Release.Version, o.CandidateFirst = parse(t, tt.version), !tt.off
			for _, r := range tt.released {
				o.Released = append(o.Released, parse(t, r))
			}
			check(t, o, policy.Candidate, tt.code, tt.says)
		})
	}
}
