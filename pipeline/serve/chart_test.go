package serve_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/slipway-build/slipway/pipeline/fixture"
	"github.com/slipway-build/slipway/pipeline/fixture/verifytest"
	"github.com/slipway-build/slipway/pipeline/release/artifact"
	"github.com/slipway-build/slipway/pipeline/release/manifest"
	"github.com/slipway-build/slipway/pipeline/serve"
)

func packed(t testing.TB, files map[string]string) []byte {
	t.Helper()
	b, err := verifytest.Tar(files)
	must(t, err)
	return b
}

// bomb is a chart of a few kilobytes that unpacks to size bytes before its Chart.yaml comes.
func bomb(t testing.TB, size int64) []byte {
	t.Helper()
	var b bytes.Buffer
	zw := gzip.NewWriter(&b)
	tw := tar.NewWriter(zw)
	must(t, tw.WriteHeader(&tar.Header{Name: "hello/a", Mode: 0o644, Size: size}))
	_, err := io.CopyN(tw, zeros{}, size)
	must(t, err)
	must(t, tw.WriteHeader(&tar.Header{Name: "hello/Chart.yaml", Mode: 0o644}))
	must(t, tw.Close())
	must(t, zw.Close())
	return b.Bytes()
}

type zeros struct{}

func (zeros) Read(b []byte) (int, error) {
	clear(b)
	return len(b), nil
}

// TestBadCharts keeps a chart that cannot be read out of the repository, tells why, and serves the rest.
func TestBadCharts(t *testing.T) {
	fixture.SkipRace(t)
	const good = "apiVersion: v2\nname: hello\nversion: 1.2.3\n"
	nested := "a: &a [x]\n" + strings.Repeat("b: [*a,*a,*a,*a,*a,*a,*a,*a,*a]\n", 1)
	for _, tt := range []struct {
		name    string
		options verifytest.Options
		want    string
	}{
		{"no archive", verifytest.Options{Chart: []byte("no archive")}, "unpacking: gzip"},
		{"cut off", verifytest.Options{Chart: packed(t, map[string]string{"hello/Chart.yaml": good})[:60]}, "unpacking: unexpected EOF"},
		{"no Chart.yaml", verifytest.Options{Chart: packed(t, map[string]string{"hello/values.yaml": "", "Chart.yaml": good, "x/hello/Chart.yaml": good})}, "no hello/Chart.yaml"},
		{"not YAML", verifytest.Options{ChartYAML: "{"}, "reading Chart.yaml"},
		{"of another type", verifytest.Options{ChartYAML: "- a"}, "reading Chart.yaml"},
		{"aliases in the wrong place", verifytest.Options{ChartYAML: good + nested + "keywords: *a\nname: *a"}, "reading Chart.yaml"},
		{"another name", verifytest.Options{ChartYAML: strings.Replace(good, "hello", "goodbye", 1)}, `for "goodbye" "1.2.3"`},
		{"another version", verifytest.Options{ChartYAML: strings.Replace(good, "1.2.3", "9.9.9", 1)}, `for "hello" "9.9.9"`},
		{"large Chart.yaml", verifytest.Options{ChartYAML: good + "#" + strings.Repeat("x", 300<<10)}, "at most 262144"},
		{"decompression bomb", verifytest.Options{Chart: bomb(t, 64<<20)}, "unpacking: unexpected EOF"},
		{"large archive", verifytest.Options{Chart: make([]byte, 5<<20)}, "more than 4194304"},
		{
			"not SemVer", verifytest.Options{
				ChartYAML:    strings.Replace(good, "1.2.3", "1.2", 1),
				EditManifest: func(r *manifest.Release) { r.Charts[0].Version = "1.2" },
			}, "is not SemVer",
		},
		{
			"a name that leaves the folder", verifytest.Options{
				Chart:        packed(t, map[string]string{"../Chart.yaml": strings.Replace(good, "hello", "..", 1)}),
				EditManifest: func(r *manifest.Release) { r.Charts[0].Name = ".." },
			}, "cannot stand in a path",
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			root := t.TempDir()
			write(t, root, tt.options)
			h := serving(t, root, serve.Options{})
			l := list(t, h)
			if len(l.Releases) != 1 || len(l.Releases[0].Problems) != 1 || !strings.Contains(l.Releases[0].Problems[0], tt.want) {
				t.Fatalf("want a problem that says %q: %+v", tt.want, l)
			}
			if got := get(h, "/charts/index.yaml").Body.String(); !strings.Contains(got, "entries: {}") {
				t.Errorf("the index has an entry: %s", got)
			}
			if w := get(h, "/charts/hello-1.2.3.tgz"); w.Code != http.StatusNotFound {
				t.Errorf("the chart: %d", w.Code)
			}
			if w := get(h, "/releases/hello/1.2.3/"); w.Code != http.StatusOK || !strings.Contains(w.Body.String(), "is not in the Helm repository") {
				t.Errorf("the page does not tell: %d", w.Code)
			}
		})
	}
}

// TestChartConflict has two releases with a chart of one name: the one that was published first stays.
func TestChartConflict(t *testing.T) {
	root := t.TempDir()
	yaml := "apiVersion: v2\nname: shared\nversion: 1.0.0\ndescription: "
	shared := func(name, text string, day int) verifytest.Options {
		return verifytest.Options{
			Name: name, Time: time.Date(2026, 1, day, 0, 0, 0, 0, time.UTC),
			Chart: packed(t, map[string]string{"shared/Chart.yaml": yaml + text}),
			EditManifest: func(r *manifest.Release) {
				r.Charts[0].Name, r.Charts[0].Version = "shared", "1.0.0"
			},
		}
	}
	write(t, filepath.Join(root, "a"), shared("a", "later", 2))
	first := write(t, filepath.Join(root, "b"), shared("b", "first", 1))
	write(t, filepath.Join(root, "c"), shared("c", "first", 3))
	h := serving(t, root, serve.Options{})
	if got := artifact.Sum(get(h, "/charts/shared-1.0.0.tgz").Body.Bytes()); got != digestOf(first, first.Charts[0].Path) {
		t.Errorf("served %s", got)
	}
	if got := get(h, "/charts/index.yaml").Body.String(); strings.Count(got, "name: shared") != 1 || !strings.Contains(got, "description: first") {
		t.Errorf("the index: %s", got)
	}
	for range 3 { // a problem is told of once, however often the folder is read
		for _, r := range list(t, h).Releases {
			want := 0
			if r.Name == "a" {
				want = 1
			}
			if len(r.Problems) != want {
				t.Errorf("%s has the problems %q", r.Name, r.Problems)
			}
		}
		time.Sleep(5 * time.Millisecond)
	}
}

func digestOf(r manifest.Release, p string) artifact.Digest {
	for _, f := range r.Files {
		if f.Path == p {
			return f.Digest
		}
	}
	return ""
}

func TestIndex(t *testing.T) {
	h := serving(t, shelves(t), serve.Options{})
	body := get(h, "/charts/index.yaml").Body.Bytes()
	var index struct {
		Generated string
		Entries   map[string][]struct {
			Version, Digest, Created string
			URLs                     []string
		}
	}
	must(t, yaml.Unmarshal(body, &index))
	if index.Generated != "2026-01-04T12:00:00Z" {
		t.Errorf("generated %s, want the time of the newest release", index.Generated)
	}
	var versions []string
	for _, e := range index.Entries["hello"] {
		versions = append(versions, e.Version)
		w := get(h, "/charts/"+e.URLs[0])
		if w.Code != http.StatusOK || artifact.Sum(w.Body.Bytes()).Hex() != e.Digest {
			t.Errorf("%s: %d, or another digest", e.URLs[0], w.Code)
		}
	}
	if got := strings.Join(versions, " "); got != "2.0.0-rc.1 1.10.0 1.9.0" {
		t.Errorf("versions %s", got)
	}
}

func FuzzReadChart(f *testing.F) {
	f.Add(packed(f, map[string]string{"hello/Chart.yaml": "name: hello\nversion: 1.0.0\nkeywords: [a]\nmaintainers:\n- name: x\n"}))
	f.Add([]byte("\x1f\x8b"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if _, err := serve.ReadChart(bytes.NewReader(b), "hello"); err != nil {
			return
		}
		if len(b) == 0 {
			t.Error("a chart of no bytes")
		}
	})
}

// FuzzChartYAML has whatever Chart.yaml is accepted stand in the index in a form that can be read.
func FuzzChartYAML(f *testing.F) {
	f.Add("name: hello\nversion: 1.0.0\ndescription: |\n  x: y\n")
	f.Add("name: &a hello\nversion: *a\nannotations: {a: 1, b: true, c: ~}\n")
	f.Add("description: \"\\x00\\u2028\"\n")
	f.Fuzz(func(t *testing.T, content string) {
		m, err := serve.ReadChart(bytes.NewReader(packed(t, map[string]string{"hello/Chart.yaml": content})), "hello")
		if err != nil {
			return
		}
		out, err := yaml.Marshal(m)
		must(t, err)
		again, err := serve.ReadChart(bytes.NewReader(packed(t, map[string]string{"hello/Chart.yaml": string(out)})), "hello")
		if err != nil {
			t.Errorf("%q is written as %q, which cannot be read: %v", content, out, err)
		}
		if again.Description != m.Description || again.Name != m.Name {
			t.Errorf("%q: %q became %q", content, m.Description, again.Description)
		}
	})
}

// The page of a release names each value of a chart that another release has by default.
func TestChartValues(t *testing.T) {
	long := strings.Repeat("x", 1000)
	for _, tt := range []struct {
		name, before, after string
		want, none          []string
	}{
		{"nothing", "a: 1 # one\n", "# two\na:  1\n", []string{"The same in both:", "values of the chart hello"}, []string{"Values of the chart hello"}},
		{
			"changed, new and gone", "image: {tag: '1', pull: Always}\nports: [80]\n", "image: {tag: 1, pull: Always}\nports: [80, 443]\nnew:\n",
			[]string{"Values of the chart hello: 3 differences", "<div>image.tag</div>", "&#34;1&#34; → 1", "<div>ports[1]</div>", "new: 443", "new: null"},
			[]string{"image.pull", "ports[0]"},
		},
		{"gone", "a: {b: {}}\n", "a: {c: []}\n", []string{"<div>a.b</div>", "gone; it was {}", "<div>a.c</div>", "new: []"}, nil},
		{"a key with a dot", "a.b: 1\n", "a: {b: 1}\n", []string{`<div>a\.b</div>`, "<div>a.b</div>"}, nil},
		{"styles", "a: 'x'\nb: |\n  y\n", "a: \"x\"\nb: \"y\\n\"\n", nil, []string{"Values of the chart hello"}},
		{"long values", "a: " + long + "1" + long + "\n", "a: " + long + "2" + long + "\n", []string{"x1x", "x2x", "…"}, []string{strings.Repeat("x", 300)}},
		{"markup", "a: 1\n", "a: <script>\n", []string{"&lt;script&gt;"}, []string{"<script>"}},
		{"an alias bomb", "a: 1\n", "a: &a [1]\nb: &b [*a, *a]\nc: [*b, *b]\n", []string{"<div>c[1]</div>", "new: *b"}, nil},
		{"no YAML", "a: 1\n", "a: [\n", nil, []string{"alues of the chart"}},
		{"too deep", "a: 1\n", strings.Repeat("[", 100) + strings.Repeat("]", 100), nil, []string{"alues of the chart"}},
		{"too many", "a: 1\n", long + ":\n" + strings.Repeat("- 1\n", 1000), nil, []string{"alues of the chart"}},
		{"none", "", "a: 1\n", []string{"new: 1"}, nil},
		{"a list of all", "a: 1\n", "b: {" + func() string {
			var b strings.Builder
			for i := range 500 {
				fmt.Fprintf(&b, "k%d: 1, ", i)
			}
			return b.String()
		}() + "}\n", []string{"200 differences and 301 more"}, nil},
	} {
		root := t.TempDir()
		for v, values := range map[string]string{"1.0.0": tt.before, "1.1.0": tt.after} {
			files := map[string]string{"hello/Chart.yaml": "apiVersion: v2\nname: hello\nversion: " + v + "\n"}
			if values != "" {
				files["hello/values.yaml"] = values
			}
			write(t, filepath.Join(root, v), verifytest.Options{Version: v, Chart: packed(t, files)})
		}
		page := get(serving(t, root, serve.Options{}), "/releases/hello/1.1.0/").Body.String()
		for _, want := range tt.want {
			if !strings.Contains(page, want) {
				t.Errorf("%s: the page has no %s", tt.name, want)
			}
		}
		for _, none := range tt.none {
			if strings.Contains(page, none) {
				t.Errorf("%s: the page has %s", tt.name, none)
			}
		}
	}
}

// FuzzChartValues has values stay within their bound, and be none where the file is none.
func FuzzChartValues(f *testing.F) {
	f.Add("a: {b: [1, ~, 'x', *c]}\nd: &c x\n<<: *c\n")
	f.Add("? [a]\n: !!binary x\n--- x\n")
	f.Fuzz(func(t *testing.T, content string) {
		values, err := serve.ReadValues(bytes.NewReader(packed(t, map[string]string{"hello/values.yaml": content})), "hello")
		size := 0
		for at, v := range values {
			size += len(at) + len(v)
		}
		if size > 256<<10 || err != nil && values != nil {
			t.Errorf("%d bytes of values, %v", size, err)
		}
	})
}
