package main

import (
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/slipway-build/slipway/pipeline/platform"
	"github.com/slipway-build/slipway/pipeline/platform/lifecycle"
	"github.com/slipway-build/slipway/pipeline/release/artifact"
	semver "github.com/slipway-build/slipway/pipeline/release/version"
	"github.com/slipway-build/slipway/pipeline/trust/sign"
	"github.com/slipway-build/slipway/pipeline/trust/signature"
)

// TestSupport asks what an operator asks, of a file and of a server, on several days.
func TestSupport(t *testing.T) {
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	v := func(s string) semver.Version {
		t.Helper()
		v, err := semver.Parse(s)
		must(err)
		return v
	}
	day := func(s string) lifecycle.Date {
		t.Helper()
		d, err := lifecycle.ParseDate(s)
		must(err)
		return d
	}
	within := func(s string) lifecycle.Range {
		t.Helper()
		r, err := platform.ParseRange(s)
		must(err)
		return lifecycle.Range{Range: r}
	}
	l := lifecycle.Lifecycle{
		Name: "edge", Serial: 1, AsOf: day("2026-03-10"),
		Risks: []lifecycle.Risk{{Name: "MulticastSkew", From: within("<2.1.3"), To: within("=2.2.0"), Message: "Gateways lose their peers.", Since: day("2026-02-01")}},
		Advisories: []lifecycle.Advisory{{
			ID: "EDGE-2026-003", Affected: within("<2.2.0"), Fixed: []semver.Version{v("2.1.4")}, Published: day("2026-03-03"), Due: day("2026-03-17"),
		}},
	}
	for _, r := range [][3]string{{"2.0.0", "2025-01-10", "2025-10-10"}, {"2.1.2", "2025-06-01", "2026-12-03"}, {"2.1.4", "2026-03-03", "2026-12-03"}, {"2.2.0", "2026-01-15", "2027-02-11"}, {"2.2.3", "2026-03-03", "2027-02-11"}} {
		l.Releases = append(l.Releases, lifecycle.Release{Version: v(r[0]), Manifest: artifact.Sum([]byte(r[0])), Date: day(r[1]), Until: day(r[2])})
	}
	l.Releases[4].From = within(">=2.1.4")
	b, err := l.Encode()
	must(err)
	withdrawn := l
	withdrawn.Releases = append(slices.Clone(l.Releases), lifecycle.Release{Version: v("2.3.0"), Manifest: artifact.Sum(nil), Date: day("2026-03-09"), Until: day("2027-03-09"), Withdrawn: "it loses its peers"})
	gone, err := withdrawn.Encode()
	must(err)
	dir := t.TempDir()
	key, err := sign.Generate(sign.Ed25519)
	must(err)
	stranger, err := sign.Generate(sign.Ed25519)
	must(err)
	bundle, err := signature.SignBlob(key, b)
	must(err)
	signed, err := bundle.Encode()
	must(err)
	file := filepath.Join(dir, "lifecycle.json")
	for name, b := range map[string][]byte{
		"lifecycle.json": b, "lifecycle.json.sigstore.json": signed, "edge.pub": key.Public().PEM(), "stranger.pub": stranger.Public().PEM(),
		"other.json": []byte(strings.Replace(string(b), "2026-12-03", "2036-12-03", 1)), "other.json.sigstore.json": signed, "bad.json": []byte("{}"), "gone.json": gone,
		"newer.json": []byte(strings.Replace(string(b), "lifecycle/v1", "lifecycle/v2", 1)),
	} {
		must(os.WriteFile(filepath.Join(dir, name), b, 0o600))
	}
	server := httptest.NewServer(http.FileServer(http.Dir(dir)))
	defer server.Close()
	pub := filepath.Join(dir, "edge.pub")

	for _, tt := range []struct {
		args string
		code int
		want string
	}{
		{"support FILE --key PUB --at 2026-03-10", 0, "2.2  2.2.3  until 2027-02-11\n2.1  2.1.4  until 2026-12-03\n2.0  2.0.0  ended on 2025-10-10\n"},
		{"support URL/lifecycle.json --key PUB --at 2026-03-17 --running 2.1.2", 0, "2.1  2.1.4  until 2026-12-03     you run 2.1.2: due, EDGE-2026-003 by 2026-03-17; go to 2.1.4\n"},
		{"support FILE --at 2026-03-18 --running 2.1.2", 9, "slipway: edge 2.1.2 is overdue\n"},
		{"support FILE --at 2026-03-10 --running 2.0.0", 9, "you run 2.0.0: ended, EDGE-2026-003 by 2026-03-17; go to 2.1.4\n"},
		{"support FILE --at 2026-03-25 --running 2.2.3", 0, "you run 2.2.3: unknown"},
		{"support FILE --at 2026-11-20 --fresh 0", 0, "2.1  2.1.4  until 2026-12-03, in 13 days"},
		{"support FILE --at 2020-01-01 --running 2.1.2 --json", 0, `"state": "due"`}, // before the day of which it is
		{"support DIR/gone.json --at 2026-03-10", 0, "2.3  2.3.0  until 2027-03-09     due, withdrawn: it loses its peers\n2.2  2.2.3"},
		{"support DIR/gone.json --at 2026-03-10 --running 2.3.0", 0, "you run 2.3.0: due, withdrawn: it loses its peers; from 2.3.0 no upgrade leads to a release that is supported on 2026-03-10\n"},
		{"support FILE --fresh -1", 2, "--fresh -1 is not a number of days from 0 to 36500"},
		{"support FILE --fresh 9223372036854775807", 2, "is not a number of days"},
		{"support FILE --running 9.9.9", 2, "9.9.9 is no release of edge"},
		{"support FILE --running x", 2, "--running: version \"x\" is not SemVer"},
		{"support FILE --at tomorrow", 2, "--at: \"tomorrow\" is not a day such as 2026-03-17"},
		{"support FILE --key STRANGER", 5, "lifecycle.json: "},
		{"support DIR/other.json --key PUB", 5, "other.json: "},
		{"support DIR/bad.json", 5, "bad.json: "},
		{"support DIR/newer.json", 2, "read it with the version of slipway that wrote it"},
		{"support URL/nowhere.json", 2, "the server says 404"},
		{"support DIR/nowhere.json", 2, "no such file"},
		{"upgrade FILE --from 2.0.0 --at 2026-03-10", 0, "not to 2.2.0: MulticastSkew: Gateways lose their peers.\n2.0.0 -> 2.1.4\n2.1.4 -> 2.2.3\n"},
		{"upgrade FILE --from 2.2.3 --at 2026-03-10", 0, "2.2.3 is where upgrades end\n"},
		{"upgrade FILE --from 2.2.0 --at 2026-03-10", 0, "2.2.0 -> 2.2.3\n"},
		{"upgrade FILE --from 2.0.0 --to 2.2.0 --json", 0, `"path": [`},
		{"upgrade FILE --from 2.2.3 --to 2.0.0", 9, "from 2.2.3 no upgrade leads to 2.0.0"},
		{"upgrade FILE --from 2.2.3 --to 2.2.3", 0, "2.2.3 is what is in use\n"},
		{"upgrade FILE --from 2.2.3 --to 9.9.9", 2, "9.9.9 is no release of edge"},
		{"upgrade FILE --from 9.9.9", 2, "9.9.9 is no release of edge"},
		{"upgrade FILE", 2, "name with --from"},
		{"platform graph FILE --check --at 2026-03-10", 0, "2.1.2 -> 2.2.0  no: MulticastSkew: Gateways lose their peers.\n"},
		{"platform graph FILE --check --at 2030-01-01", 9, "no upgrade leads on from 2.2.3: no later release takes an upgrade from it"},
		{"platform graph FILE --format dot", 0, "  \"2.1.2\" -> \"2.2.0\" [style=dashed, label=\"MulticastSkew\"]\n"},
		{"platform graph FILE --json", 0, `"notBecause": "MulticastSkew"`},
	} {
		args := strings.Fields(strings.NewReplacer("FILE", file, "URL", server.URL, "PUB", pub, "STRANGER", filepath.Join(dir, "stranger.pub"), "DIR", dir).Replace(tt.args))
		var stdout, stderr strings.Builder
		if code := run(args, &stdout, &stderr); code != tt.code || !strings.Contains(stdout.String()+stderr.String(), tt.want) {
			t.Errorf("%s: exit %d, want %d with %q\n%s%s", tt.args, code, tt.code, tt.want, stdout.String(), stderr.String())
		}
	}
}
