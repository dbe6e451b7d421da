package report

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/xml"
	"errors"
	"flag"
	"fmt"
	"html"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/slipway-build/slipway/pipeline/internal/words"
	"github.com/slipway-build/slipway/pipeline/release/artifact"
	"github.com/slipway-build/slipway/pipeline/release/manifest"
	"github.com/slipway-build/slipway/pipeline/release/version"
)

var update = flag.Bool("update", false, "write the golden files anew")

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	file := filepath.Join("testdata", name)
	if *update {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s differs; go test -update writes it anew", file)
	}
}

func mustVersion(s string) version.Version {
	v, err := version.Parse(s)
	if err != nil {
		panic(err)
	}
	return v
}

var targets = []string{
	"darwin/amd64", "darwin/arm64", "freebsd/386", "freebsd/amd64", "freebsd/arm64", "freebsd/riscv64",
	"linux/386", "linux/amd64", "linux/arm64", "linux/ppc64le", "linux/riscv64", "linux/s390x",
	"openbsd/386", "openbsd/amd64", "openbsd/arm64", "openbsd/riscv64", "windows/386", "windows/amd64",
}

func platform(s string) artifact.Platform {
	p, err := artifact.ParsePlatform(s)
	if err != nil {
		panic(err)
	}
	return p
}

// sample is a release as large as this project's own, and the steps that made it.
func sample() Data {
	const ver = "1.4.0"
	r := manifest.Release{
		Schema: manifest.Schema, Name: "slipway", Version: mustVersion(ver), Tag: "v" + ver,
		Repository: "https://github.com/slipway-build/slipway",
		Commit:     "7c0ffee2b1d94a50e3c68f1172a9d45b8e6f0d31", Tree: "3a1f5c09be7d26480f9e1c7b5d2a8e6340f7b91c",
		Time: time.Date(2026, 3, 1, 12, 34, 56, 0, time.FixedZone("", 3600)), Plan: artifact.Sum([]byte("plan")),
		Inputs: []manifest.Input{
			{Kind: "toolchain", Name: "golang.org/toolchain@v0.0.1-go1.26.8.linux-amd64", Digest: "h1:3mPpDqvKz9xZ4nTWd3cJk0l7mS4o2R8c1yQyqk7wXbA="},
			{Kind: "base", Name: "docker.io/library/alpine:3.22", Digest: string(artifact.Sum([]byte("alpine")))},
			{Kind: "base", Name: "docker.io/library/ubuntu:24.04", Digest: string(artifact.Sum([]byte("ubuntu")))},
			{Kind: "base", Name: "gcr.io/distroless/static-debian12:nonroot", Digest: string(artifact.Sum([]byte("distroless")))},
			{Kind: "base", Name: "registry.access.redhat.com/ubi9/ubi-micro:9.6", Digest: string(artifact.Sum([]byte("ubi")))},
			{Kind: "certificates", Name: "golang.org/x/crypto/x509roots/fallback", Digest: "h1:9b1QyZ0rV2d8Tq6uWc5x3nEoYk7fJm4sLhPa0gXiRzU="},
		},
	}
	file := func(path string, kind artifact.Kind, size int64) string {
		r.Files = append(r.Files, artifact.File{Path: path, Kind: kind, Size: size, Digest: artifact.Sum([]byte(path))})
		return path
	}
	var steps Timings
	ms := time.Millisecond
	steps = append(steps, Timing{"source", "source", 0, 180 * ms, stateDone}, Timing{"toolchain go1.26.8", "source", 180 * ms, 900 * ms, stateCached})
	lane := [2]time.Duration{900 * ms, 900 * ms}
	for i, target := range targets {
		p := platform(target)
		size := int64(7_600_000 + (i*7919)%13*131_071)
		r.Binaries = append(r.Binaries, manifest.Binary{
			Name: "slipway", Platform: p,
			Path: file("binaries/slipway_"+p.Slug()+"/"+p.Exe("slipway"), artifact.Binary, size),
		})
		ext := ".tar.gz"
		if p.OS == "windows" {
			ext = ".zip"
		}
		r.Archives = append(r.Archives, manifest.Archive{
			Platform: p, Path: file("archives/slipway_"+ver+"_"+p.Slug()+ext, artifact.Archive, size*2/5),
		})
		l := i % 2
		took, state := time.Duration(2100+(i*7919)%17*190)*ms, stateDone
		if i%6 == 4 {
			took, state = 160*ms, stateCached
		}
		steps = append(steps, Timing{"compile slipway " + target, "compile", lane[l], lane[l] + took, state})
		lane[l] += took
		steps = append(steps, Timing{"pack " + target, "pack", lane[l], lane[l] + time.Duration(240+i%5*40)*ms, stateDone})
	}
	end := max(lane[0], lane[1])
	for i, distro := range []string{"alpine", "ubuntu", "distroless", "ubi"} {
		im := manifest.Image{
			Repository: "ghcr.io/slipway-build/slipway", Distro: distro, Tags: []string{ver + "-" + distro},
			Floating: []string{"latest-" + distro}, Digest: artifact.Sum([]byte(distro)), Size: 2311,
		}
		if distro == "alpine" {
			im.Tags = append(im.Tags, ver)
			im.Floating = append(im.Floating, "latest", "1", "1.4")
		}
		for j, arch := range []string{"amd64", "arm64", "386", "ppc64le", "s390x", "riscv64"} {
			name := distro + arch
			im.Platforms = append(im.Platforms, manifest.ImagePlatform{
				Platform: platform("linux/" + arch), Digest: artifact.Sum([]byte(name)), Size: int64([]int{6, 33, 5, 11}[i]*1_000_000 + j*183_113),
			})
			file("images/blobs/sha256/"+artifact.Sum([]byte(name)).Hex(), artifact.Image, 4_100_000+int64(j)*91_001)
			start := end + time.Duration(i%2*15+j*130)*ms + time.Duration(i/2)*900*ms
			steps = append(steps, Timing{"image " + distro + " linux/" + arch, "images", start, start + time.Duration(110+i*5)*ms, stateDone})
		}
		r.Images = append(r.Images, im)
	}
	end += 1800 * ms
	r.Charts = []manifest.Chart{{Name: "slipway", Version: ver, AppVersion: ver, Path: file("charts/slipway-"+ver+".tgz", artifact.Chart, 9_412)}}
	for _, format := range []string{"deb", "rpm", "snap"} {
		r.Packages = append(r.Packages, manifest.Package{
			Format: format, Name: "slipway", Version: ver, Architecture: "arm64", Platform: platform("linux/arm64"),
			Path: file("packages/slipway_"+ver+"_arm64."+format, artifact.Package, 3_120_400),
		})
	}
	r.Recipes = []manifest.Recipe{{Format: "formula", Name: "slipway", Version: ver, Path: file("packages/homebrew/Formula/slipway.rb", artifact.Recipe, 1_904)}}
	for _, format := range []string{"cyclonedx", "spdx"} {
		r.SBOMs = append(r.SBOMs, manifest.SBOM{
			Format: format, Subject: r.Binaries[0].Path, Platform: r.Binaries[0].Platform, Digest: artifact.Sum([]byte(r.Binaries[0].Path)),
			Path: file("sbom/slipway_darwin_amd64."+format+".json", artifact.SBOM, 88_120),
		})
	}
	r.Notes = file("notes.md", artifact.Notes, 2_048)
	steps = append(
		steps,
		Timing{"chart slipway", "chart", end - 900*ms, end - 400*ms, stateDone},
		Timing{"manifest", "manifest", end, end + 60*ms, stateDone},
	)
	return Data{
		Release: r, Timings: steps,
		Totals: Totals{Wall: end + 90*ms, CPU: 58 * time.Second, PeakMemory: 143_654_912, Parallel: 2},
		Facts: []Fact{
			{"Engine", "host"},
			{"Go", "go1.26.8"},
			{"Host", "linux/amd64, 2 cores"},
			{"Bases", "from the local cache"},
		},
		Generated: ver,
	}
}

// broken is a build of which much went wrong, with a snapshot's name.
func broken() Data {
	d := sample()
	d.Release.Version = mustVersion("1.4.1-snapshot.7.g7c0ffee2b1d9")
	d.Release.Tag, d.Release.Repository = "", ""
	d.Release.Unpublishable = []string{"the bases are stand-ins", "the tree was dirty"}
	for i := range d.Timings {
		switch d.Timings[i].Step {
		case "compile slipway freebsd/riscv64":
			d.Timings[i].State = stateFailed
		case "pack freebsd/riscv64":
			d.Timings[i].State, d.Timings[i].End = stateSkipped, d.Timings[i].Start
		}
	}
	return d
}

// hostile has what is not ours try to become a part of the page.
func hostile() Data {
	const evil = `</title></style></svg><script>alert(1)</script><img src=x onerror="alert(1)">"'` + "`{{.}}\x00\u202e"
	d := sample()
	r := &d.Release
	r.Name, r.Tag, r.Commit, r.Tree, r.Repository = evil, evil, evil, evil, "javascript:alert(1)//"+evil
	r.Unpublishable = []string{evil}
	r.Inputs = []manifest.Input{{Kind: evil, Name: evil, Digest: evil}}
	r.Files = []artifact.File{{Path: evil, Kind: evil, Size: -1, Digest: evil}, {Path: "b" + evil, Kind: artifact.Binary, Digest: ""}}
	r.Binaries = []manifest.Binary{{Name: evil, Platform: artifact.Platform{OS: evil}, Path: "b" + evil}}
	r.Archives = []manifest.Archive{{Path: "missing"}}
	r.Charts = []manifest.Chart{{Name: evil, Version: evil, AppVersion: evil, Path: evil}}
	r.Images = []manifest.Image{{Repository: evil, Distro: evil, Tags: []string{evil}, Floating: []string{evil}, Digest: evil}}
	d.Timings = Timings{{evil, evil, 5 * time.Second, time.Second, evil}, {evil, "x", -time.Second, time.Hour, stateFailed}}
	d.Facts = []Fact{{evil, evil}}
	d.Generated = evil
	return d
}

func render(t *testing.T, d Data) string {
	t.Helper()
	var b bytes.Buffer
	if err := Write(&b, d); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestWrite(t *testing.T) {
	for name, data := range map[string]func() Data{"release": sample, "broken": broken, "hostile": hostile, "empty": func() Data { return Data{} }} {
		t.Run(name, func(t *testing.T) {
			got := render(t, data())
			if again := render(t, data()); again != got {
				t.Error("the same data gave another page")
			}
			golden(t, name+".html", []byte(got))
			checkPage(t, got)
		})
	}
}

var (
	styleText  = regexp.MustCompile(`(?s)<style>(.*?)</style>`)
	policyHash = regexp.MustCompile(`style-src 'sha256-([^']*)';`)
)

// checkPage holds a page to what the package comment promises.
func checkPage(t *testing.T, text string) {
	if i := strings.IndexFunc(text, func(r rune) bool { return r != '\n' && r != '\t' && words.IsObeyed(r) }); i >= 0 {
		t.Errorf("the page has %q", text[max(0, i-40):min(len(text), i+20)])
	}
	t.Helper()
	styles := styleText.FindAllStringSubmatch(text, -1)
	if len(styles) != 1 {
		t.Fatalf("the page has %d styles", len(styles))
	}
	sum := sha256.Sum256([]byte(styles[0][1]))
	if m := policyHash.FindStringSubmatch(html.UnescapeString(text)); m == nil || m[1] != base64.StdEncoding.EncodeToString(sum[:]) {
		t.Errorf("the policy %v does not allow the style", m)
	}
	if strings.Contains(styles[0][1], "url(") && strings.Count(styles[0][1], "url(") != strings.Count(styles[0][1], "url(#") {
		t.Error("the style loads something")
	}

	dec := xml.NewDecoder(strings.NewReader(text))
	dec.Strict, dec.AutoClose, dec.Entity = false, xml.HTMLAutoClose, xml.HTMLEntity
	ids := map[string]bool{}
	for {
		tok, err := dec.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatalf("the page is not well-formed: %v", err)
		}
		el, ok := tok.(xml.StartElement)
		if !ok {
			continue
		}
		switch el.Name.Local {
		case "script", "img", "iframe", "object", "embed", "form", "base", "image", "use", "foreignObject":
			t.Errorf("the page has a <%s>", el.Name.Local)
		}
		for _, a := range el.Attr {
			switch {
			case strings.HasPrefix(a.Name.Local, "on"), a.Name.Local == "style", a.Name.Local == "src":
				t.Errorf("<%s> has the attribute %s", el.Name.Local, a.Name.Local)
			case a.Name.Local == "href" && el.Name.Local == "link" && a.Value != "data:,",
				a.Name.Local == "href" && el.Name.Local == "a" && !strings.HasPrefix(a.Value, "https://"):
				t.Errorf("<%s> leads to %q", el.Name.Local, a.Value)
			case a.Name.Local == "id":
				if ids[a.Value] {
					t.Errorf("the id %q is there twice", a.Value)
				}
				ids[a.Value] = true
			}
		}
	}
}

func TestContents(t *testing.T) {
	d := sample()
	text := html.UnescapeString(render(t, d))
	want := []string{d.Release.Commit, d.Release.Tree, d.Release.Plan.Hex(), "v1.4.0", "2026-03-01 11:34:56 UTC", "Publishable"}
	for _, i := range d.Release.Inputs {
		want = append(want, i.Name, i.Digest)
	}
	for _, f := range d.Release.Files {
		if f.Kind != artifact.Image {
			dir, name := split(f.Path)
			want = append(want, dir+"</bdi><bdi>"+name, f.Digest.Hex())
		}
	}
	for _, im := range d.Release.Images {
		want = append(want, string(im.Digest), im.Distro)
		for _, tag := range append(im.Tags, im.Floating...) {
			want = append(want, tag+"</li>")
		}
		for _, p := range im.Platforms {
			want = append(want, string(p.Digest))
		}
	}
	for _, s := range d.Timings {
		want = append(want, "<title>"+s.Step+"</title>")
	}
	for _, f := range d.Facts {
		want = append(want, f.Value)
	}
	for _, w := range want {
		if !strings.Contains(text, w) {
			t.Errorf("the page lacks %q", w)
		}
	}
	for _, no := range []string{"must not be published", "This build failed", "Not publishable", "Snapshot</span>"} {
		if strings.Contains(text, no) {
			t.Errorf("the page of a good release says %q", no)
		}
	}
	text = html.UnescapeString(render(t, broken()))
	for _, w := range []string{"must not be published", "the bases are stand-ins", "This build failed", "Snapshot</span>", "1 failed, 1 skipped"} {
		if !strings.Contains(text, w) {
			t.Errorf("the page of a broken build lacks %q", w)
		}
	}
}

func TestWriteError(t *testing.T) {
	r, w := io.Pipe()
	r.Close()
	if err := Write(w, sample()); !errors.Is(err, io.ErrClosedPipe) || !strings.HasPrefix(err.Error(), "rendering report.html: ") {
		t.Errorf("Write = %v", err)
	}
}

func TestTimelineLanes(t *testing.T) {
	steps := sample().Timings.sorted()
	tl := newTimeline(steps)
	if len(tl.Bars) != len(steps) {
		t.Fatalf("%d bars for %d steps", len(tl.Bars), len(steps))
	}
	for i, a := range tl.Bars {
		for _, b := range tl.Bars[:i] {
			if a.Lane == b.Lane && a.Start < b.End {
				t.Errorf("%q and %q overlap in lane %d", a.Step, b.Step, a.Lane)
			}
		}
		var x, w float64
		fmt.Sscan(a.X, &x)
		fmt.Sscan(a.Width, &w)
		if x < 0 || w <= 0 || x+w > drawWidth || a.Y+a.Height > tl.Base {
			t.Errorf("%q is drawn at %s+%s, %d of %dx%d", a.Step, a.X, a.Width, a.Y, drawWidth, tl.Base)
		}
	}
}

func TestAtOnce(t *testing.T) {
	for _, tt := range []struct {
		steps Timings
		want  int
	}{
		{Timings{{End: 5}}, 1},
		{Timings{{End: 5}, {Start: 5, End: 9}}, 1},
		{Timings{{End: 5}, {Start: 4, End: 9}, {Start: 4, End: 4}}, 2},
		{Timings{{}, {}, {}}, 1},
	} {
		if got := atOnce(tt.steps); got != tt.want {
			t.Errorf("atOnce(%v) = %d, want %d", tt.steps, got, tt.want)
		}
	}
}

func TestTicks(t *testing.T) {
	for _, wall := range []time.Duration{
		time.Millisecond, 37 * time.Millisecond, time.Second, 59 * time.Second, 4 * time.Minute, 3 * time.Hour, 1000 * time.Hour,
	} {
		got := ticks(wall, float64(drawWidth)/float64(wall))
		if len(got) < 2 || len(got) > 9 || got[0].Label != "0" {
			t.Errorf("%s: %+v", wall, got)
		}
	}
	for d, want := range map[time.Duration]string{0: "0", 2e8: "200ms", 15e9: "15s", 60e9: "1m", 90e9: "1m30s", 2 * 3600e9: "2h", 20 * 60e9: "20m"} {
		if got := mark(d); got != want {
			t.Errorf("mark(%s) = %q, want %q", d, got, want)
		}
	}
}

func TestLabel(t *testing.T) {
	s := Timing{Step: "compile slipway linux/amd64", Group: "compile"}
	for _, tt := range []struct {
		room float64
		want string
	}{{200, "compile slipway linux/amd64"}, {130, "slipway linux/amd64"}, {80, "linux/amd64"}, {60, "linux/am…"}, {30, ""}, {-5, ""}} {
		if got := label(s, tt.room); got != tt.want {
			t.Errorf("label with %.0f = %q, want %q", tt.room, got, tt.want)
		}
	}
}

func TestFormat(t *testing.T) {
	for n, want := range map[int64]string{
		0: "0 B", 999: "999 B", 1000: "1.0 kB", 999_949: "999.9 kB", 999_950: "1.0 MB", 8_123_456: "8.1 MB", 1_234_000_000: "1.23 GB",
	} {
		if got := artifact.FormatSize(n); got != want {
			t.Errorf("FormatSize(%d) = %q, want %q", n, got, want)
		}
	}
	for d, want := range map[time.Duration]string{
		-1: "0ms", 12 * time.Millisecond: "12ms", 100 * time.Millisecond: "0.1s", 59960 * time.Millisecond: "1m00s", 3661 * time.Second: "1h01m",
	} {
		if got := formatDuration(d); got != want {
			t.Errorf("formatDuration(%s) = %q, want %q", d, got, want)
		}
	}
}

func TestTimingsEncode(t *testing.T) {
	s := time.Second
	got, err := Timings{
		{"compile <a>", "compile", s, 2500 * time.Millisecond, stateDone},
		{"source", "source", 0, s, stateCached},
	}.Encode(Totals{CPU: 4 * s, PeakMemory: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "timings.json", got)
	got, err = Timings(nil).Encode(Totals{})
	if want := "{\n  \"schema\": \"slipway.timings/v1\",\n  \"wallMs\": 0,\n  \"cpuMs\": 0,\n  \"peakMemoryBytes\": 0,\n  \"steps\": []\n}\n"; err != nil || string(got) != want {
		t.Errorf("no steps: %q, %v", got, err)
	}
}
