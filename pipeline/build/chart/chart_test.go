package chart

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"log"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"helm.sh/helm/v3/pkg/chart/loader"
	"helm.sh/helm/v3/pkg/lint"

	"github.com/slipway-build/slipway/pipeline/release/artifact"
	"github.com/slipway-build/slipway/pipeline/release/fault"
)

var update = flag.Bool("update", false, "rewrite the golden files")

var commitTime = time.Date(2026, 2, 3, 4, 5, 6, 0, time.UTC)

// TestMain silences Helm, which logs what it finds odd in a chart.
func TestMain(m *testing.M) {
	log.SetOutput(io.Discard)
	m.Run()
}

func appOptions(dir string) Options {
	return Options{
		Dir:        dir,
		Version:    "1.2.3",
		AppVersion: "1.2.3",
		Time:       commitTime,
		Annotations: map[string]string{
			"artifacthub.io/prerelease": "false",
			"example.com/stable":        "true",
		},
	}
}

func mustPack(t *testing.T, o Options) ([]byte, Result) {
	t.Helper()
	var b bytes.Buffer
	r, err := Package(t.Context(), &b, o)
	if err != nil {
		t.Fatal(err)
	}
	return b.Bytes(), r
}

// wantFault checks the code and that the message has all the texts.
func wantFault(t *testing.T, err error, code fault.Code, texts ...string) {
	t.Helper()
	if err == nil {
		t.Fatalf("no error, want one of code %d", code)
	}
	if got := fault.CodeOf(err); got != code {
		t.Errorf("code %d, want %d: %v", got, code, err)
	}
	for _, text := range texts {
		if !strings.Contains(err.Error(), text) {
			t.Errorf("error %q does not say %q", err, text)
		}
	}
}

// writeTree writes the files in the given order; a content that begins with "-> " is a symbolic link.
func writeTree(t *testing.T, dir string, files map[string]string, order []string) {
	t.Helper()
	for _, n := range order {
		p := filepath.Join(dir, n)
		if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
			t.Fatal(err)
		}
		var err error
		if target, ok := strings.CutPrefix(files[n], "-> "); ok {
			err = os.Symlink(target, p)
		} else {
			err = os.WriteFile(p, []byte(files[n]), 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// tempChart is a small valid chart, with files set on top; an empty content takes a file away.
func tempChart(t *testing.T, set map[string]string) string {
	t.Helper()
	files := map[string]string{
		"Chart.yaml":          "apiVersion: v2\nname: tiny\nversion: 0.0.0\n",
		"values.yaml":         "image: ghcr.io/owner/tiny:1.0.0\n",
		"templates/pod.yaml":  "apiVersion: v1\nkind: Pod\nmetadata: {name: tiny}\nspec:\n  containers:\n    - {name: main, image: {{ .Values.image | quote }}}\n",
		"templates/NOTES.txt": "Thank you.\n",
	}
	maps.Copy(files, set)
	maps.DeleteFunc(files, func(_, content string) bool { return content == "" })
	dir := filepath.Join(t.TempDir(), "tiny")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	writeTree(t, dir, files, slices.Sorted(maps.Keys(files)))
	return dir
}

type member struct {
	header *tar.Header
	data   string
}

func members(t *testing.T, tgz []byte) []member {
	t.Helper()
	gz, err := gzip.NewReader(bytes.NewReader(tgz))
	if err != nil {
		t.Fatal(err)
	}
	var all []member
	for tr := tar.NewReader(gz); ; {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			return all
		}
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(tr)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, member{h, string(b)})
	}
}

func TestPackageGolden(t *testing.T) {
	tgz, r := mustPack(t, appOptions("testdata/app"))
	var b strings.Builder
	fmt.Fprintf(&b, "%s\n\nimages %s\nrenders %d\nwarnings %q\n\n", artifact.Sum(tgz), strings.Join(r.Images, " "), r.Renders, r.Warnings)
	for _, m := range members(t, tgz) {
		h := m.header
		fmt.Fprintf(&b, "%s %o %d:%d %s %d\n", h.Name, h.Mode, h.Uid, h.Gid, h.ModTime.UTC().Format(time.RFC3339), h.Size)
	}
	for _, m := range members(t, tgz) {
		if m.header.Name == "app/Chart.yaml" || m.header.Name == "app/Chart.lock" {
			fmt.Fprintf(&b, "\n--- %s\n%s", m.header.Name, m.data)
		}
	}
	const golden = "testdata/app.golden"
	if *update {
		if err := os.WriteFile(golden, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if b.String() != string(want) {
		t.Errorf("the packaged chart changed; if that is meant, run with -update\n--- got\n%s--- want\n%s", b.String(), want)
	}
}

func TestHelmReadsPackage(t *testing.T) {
	tgz, _ := mustPack(t, appOptions("testdata/app"))
	c, err := loader.LoadArchive(bytes.NewReader(tgz))
	if err != nil {
		t.Fatal(err)
	}
	m := c.Metadata
	if m.Name != "app" || m.Version != "1.2.3" || m.AppVersion != "1.2.3" {
		t.Errorf("got %s %s %s", m.Name, m.Version, m.AppVersion)
	}
	want := map[string]string{
		"artifacthub.io/prerelease": "false",
		"example.com/changes":       "- one\n- two\n",
		"example.com/stable":        "true",
	}
	if !maps.Equal(m.Annotations, want) {
		t.Errorf("annotations %v, want %v", m.Annotations, want)
	}
	if len(c.Dependencies()) != 1 || c.Schema == nil || len(c.Templates) != 3 {
		t.Errorf("%d dependencies, schema %q, %d templates", len(c.Dependencies()), c.Schema, len(c.Templates))
	}
	dir := filepath.Join(t.TempDir(), "app")
	unpack(t, tgz, filepath.Dir(dir))
	if l := lint.AllWithKubeVersionAndSchemaValidation(dir, nil, "default", &kubernetes, false); l.HighestSeverity > 1 {
		t.Errorf("helm's linter says %v", l.Messages)
	}
}

func unpack(t *testing.T, tgz []byte, dir string) {
	t.Helper()
	for _, m := range members(t, tgz) {
		p := filepath.Join(dir, m.header.Name)
		if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(p, []byte(m.data), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// TestSameBytes varies what must not matter: the folder, the order in which its entries were made, modes, times, the
// time zone of the commit time, fractions of its second, TMPDIR.
func TestSameBytes(t *testing.T) {
	want, wantResult := mustPack(t, appOptions("testdata/app"))
	files := map[string]string{}
	err := filepath.WalkDir("testdata/app", func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(p)
		rel, _ := filepath.Rel("testdata/app", p)
		files[rel] = string(b)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	orders := [][]string{slices.Sorted(maps.Keys(files)), slices.Sorted(maps.Keys(files))}
	slices.Reverse(orders[1])
	for i, order := range orders {
		t.Setenv("TMPDIR", t.TempDir())
		old := syscall.Umask([]int{0o077, 0o002}[i])
		dir := filepath.Join(t.TempDir(), fmt.Sprint("copy", i))
		writeTree(t, dir, files, order)
		syscall.Umask(old)
		for j, n := range order {
			when := commitTime.Add(time.Duration(j-7) * 1000 * time.Hour)
			if err := os.Chtimes(filepath.Join(dir, n), when, when); err != nil {
				t.Fatal(err)
			}
			if err := os.Chmod(filepath.Join(dir, n), []os.FileMode{0o755, 0o600, 0o444}[j%3]); err != nil {
				t.Fatal(err)
			}
		}
		o := appOptions(dir)
		o.Time = commitTime.In(time.FixedZone("far", 14*3600)).Add(999 * time.Millisecond)
		got, result := mustPack(t, o)
		if !bytes.Equal(got, want) {
			t.Errorf("variant %d: %s, want %s", i, artifact.Sum(got), artifact.Sum(want))
		}
		if fmt.Sprint(result) != fmt.Sprint(wantResult) {
			t.Errorf("variant %d: %v, want %v", i, result, wantResult)
		}
	}
}

func TestNothingWrittenOnError(t *testing.T) {
	for name, set := range map[string]map[string]string{
		"image":    {"values.yaml": "image: tiny:latest\n"},
		"lint":     {"templates/x.json": "{}"},
		"manifest": {"templates/x.yaml": "a: [\n"},
	} {
		var b bytes.Buffer
		if _, err := Package(t.Context(), &b, appOptions(tempChart(t, set))); err == nil || b.Len() > 0 {
			t.Errorf("%s: wrote %d bytes, error %v", name, b.Len(), err)
		}
	}
}

func TestRefusals(t *testing.T) {
	chartYAML := func(lines string) map[string]string {
		return map[string]string{"Chart.yaml": "apiVersion: v2\n" + lines + "\n"}
	}
	tests := map[string]struct {
		files   map[string]string
		version string
		code    fault.Code
		says    []string
	}{
		"name of the parent folder": {files: chartYAML("name: ..\nversion: 0.0.0"), code: fault.Usage, says: []string{`".."`}},
		"name with a slash":         {files: chartYAML("name: a/b\nversion: 0.0.0"), code: fault.Usage, says: []string{`"a/b"`}},
		"name of a device":          {files: chartYAML("name: con\nversion: 0.0.0"), code: fault.Usage, says: []string{`"con"`}},
		"name that is a number":     {files: chartYAML("name: 12\nversion: 0.0.0"), code: fault.Usage, says: []string{"name"}},
		"no version to stamp":       {files: chartYAML("name: tiny"), code: fault.Usage, says: []string{"version: 0.0.0"}},
		"version with a slash":      {version: "1.2.3/../../x", code: fault.Usage, says: []string{"1.2.3/../../x"}},
		"version with two numbers":  {version: "1.2", code: fault.Usage, says: []string{`"1.2"`}},
		"version with a v":          {version: "v1.2.3", code: fault.Usage, says: []string{`"v1.2.3"`}},
		"no version":                {version: " ", code: fault.Usage, says: []string{"semantic version"}},
		"no Chart.yaml":             {files: map[string]string{"Chart.yaml": ""}, code: fault.Usage, says: []string{"Chart.yaml is missing"}},
		"Chart.yaml twice a key":    {files: chartYAML("name: tiny\nname: tiny\nversion: 0.0.0"), code: fault.Usage, says: []string{"Chart.yaml", "line 3"}},
		"Chart.yaml alias bomb":     {files: chartYAML("name: tiny\nversion: 0.0.0\n" + aliasBomb), code: fault.Usage, says: []string{"alias"}},
		"Helm 2":                    {files: map[string]string{"requirements.yaml": "dependencies: []\n"}, code: fault.Usage, says: []string{"requirements.yaml"}},
		"link out of the chart":     {files: map[string]string{"LICENSE": "-> ../../LICENSE"}, code: fault.Usage, says: []string{"LICENSE", "symbolic link"}},
		"absolute link":             {files: map[string]string{"files/hosts": "-> /etc/hosts"}, code: fault.Usage, says: []string{"files/hosts"}},
		"link to a folder outside":  {files: map[string]string{"templates/up": "-> ../.."}, code: fault.Usage, says: []string{"templates/up"}},
		"link chain out":            {files: map[string]string{"a": "-> b", "b": "-> ../.."}, code: fault.Usage, says: []string{"a is a symbolic link"}},
		"link in ignored ci folder": {files: map[string]string{".helmignore": "ci/\n", "ci/x-values.yaml": "-> ../../x"}, code: fault.Usage, says: []string{"ci/x-values.yaml"}},
		"dangling link":             {files: map[string]string{"a": "-> nothing"}, code: fault.Usage, says: []string{"a is a symbolic link"}},
		"link loop":                 {files: map[string]string{"a": "-> a"}, code: fault.Usage, says: []string{"a is a symbolic link"}},
		"link to its own folder":    {files: map[string]string{"files/a": "-> .", "files/b": "-> ."}, code: fault.Usage, says: []string{"files/a/a", "symbolic link"}},
		"folders too deep":          {files: map[string]string{strings.Repeat("a/", 40) + "b": "x"}, code: fault.Usage, says: []string{"nested deeper than 32"}},
		"bad .helmignore":           {files: map[string]string{".helmignore": "**/x\n"}, code: fault.Usage, says: []string{".helmignore", "double-star"}},
		"names that differ by case": {files: map[string]string{"files/a": "1", "files/A": "2"}, code: fault.Usage, says: []string{"letter case"}},
		"a file too large":          {files: map[string]string{"big": strings.Repeat("x", 5<<20+1)}, code: fault.Usage, says: []string{"big is larger"}},
		"lint: extension":           {files: map[string]string{"templates/x.json": "{}"}, code: fault.Build, says: []string{"chart tiny", "templates/x.json"}},
		"lint: YAML":                {files: map[string]string{"templates/x.yaml": "a: [\n"}, code: fault.Build, says: []string{"templates/x.yaml"}},
		"lint: values":              {files: map[string]string{"values.yaml": "a: [\n"}, code: fault.Build, says: []string{"values.yaml"}},
		"lint: apiVersion":          {files: map[string]string{"Chart.yaml": "apiVersion: v7\nname: tiny\nversion: 0.0.0\n"}, code: fault.Build, says: []string{"Chart.yaml", "v7"}},
		"template does not parse":   {files: map[string]string{"templates/x.yaml": "{{ if }}"}, code: fault.Build, says: []string{"templates/x.yaml"}},
		"template fails with ci values": {
			files: map[string]string{"templates/x.yaml": `{{ if .Values.boom }}{{ fail "no" }}{{ end }}`, "ci/boom-values.yaml": "boom: true\n"},
			code:  fault.Build, says: []string{"templates/x.yaml", "ci/boom-values.yaml"},
		},
		"YAML broken with ci values": {
			files: map[string]string{"templates/x.yaml": "a: {{ .Values.raw }}\n", "ci/raw-values.yaml": "raw: '[1'\n"},
			code:  fault.Build, says: []string{"templates/x.yaml", "ci/raw-values.yaml"},
		},
		"ci values are no YAML": {files: map[string]string{"ci/x-values.yaml": "a: [\n"}, code: fault.Build, says: []string{"ci/x-values.yaml"}},
		"ci values do not fit the schema": {
			files: map[string]string{
				"values.schema.json":   `{"properties": {"image": {"type": "string"}}, "additionalProperties": false}`,
				"ci/extra-values.yaml": "extra: 1\n",
			},
			code: fault.Build, says: []string{"ci/extra-values.yaml", "extra"},
		},
		"defaults do not fit the schema": {files: map[string]string{"values.schema.json": `{"properties": {"image": {"type": "integer"}}}`}, code: fault.Build, says: []string{"values.yaml", "image"}},
		"schema is not JSON":             {files: map[string]string{"values.schema.json": "{"}, code: fault.Build, says: []string{"values.schema.json"}},
		"schema refers to the network":   {files: map[string]string{"values.schema.json": `{"properties": {"a": {"$ref": "http://127.0.0.1:1/x.json"}}}`}, code: fault.Build, says: []string{"http://127.0.0.1:1/x.json"}},
		"schema refers to a file":        {files: map[string]string{"values.schema.json": `{"$ref": "file:///etc/passwd"}`}, code: fault.Build, says: []string{"file:///etc/passwd"}},
		"schema refers to its neighbour": {files: map[string]string{"values.schema.json": `{"allOf": [{"$ref": "etc/passwd"}]}`}, code: fault.Build, says: []string{`"etc/passwd"`}},
		"schema of an unknown draft":     {files: map[string]string{"values.schema.json": `{"$schema": "http://json-schema.org/draft-03/schema#"}`}, code: fault.Build, says: []string{"draft-03"}},
		"image by a moving tag":          {files: map[string]string{"values.yaml": "image: owner/tiny:latest\n"}, code: fault.Policy, says: []string{"templates/pod.yaml", "default values", `container "main"`, `"owner/tiny:latest"`}},
		"image only with ci values": {
			files: map[string]string{"ci/bad-values.yaml": "image: localhost:5000/tiny\n"},
			code:  fault.Policy, says: []string{"templates/pod.yaml", "ci/bad-values.yaml", "localhost:5000/tiny"},
		},
		"image in a hook of a subchart": {
			files: map[string]string{
				"charts/sub/Chart.yaml":         "apiVersion: v2\nname: sub\nversion: 1.0.0\n",
				"charts/sub/templates/job.yaml": "kind: Job\napiVersion: batch/v1\nmetadata: {name: x, annotations: {helm.sh/hook: pre-install}}\nspec: {template: {spec: {initContainers: [{name: i, image: busybox}]}}}\n",
				"Chart.yaml":                    "apiVersion: v2\nname: tiny\nversion: 0.0.0\ndependencies: [{name: sub, version: 1.0.0}]\n",
			},
			code: fault.Policy, says: []string{"charts/sub/templates/job.yaml", `"i"`, `"busybox"`},
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			o := appOptions(tempChart(t, tt.files))
			if tt.version != "" {
				o.Version = tt.version
			}
			o.Annotations = nil
			_, err := Package(t.Context(), io.Discard, o)
			wantFault(t, err, tt.code, tt.says...)
		})
	}
}

// aliasBomb is two to the power of thirty values.
var aliasBomb = func() string {
	var b strings.Builder
	b.WriteString("annotations:\n  a0: &a0 [x, x]\n")
	for i := 1; i < 30; i++ {
		fmt.Fprintf(&b, "  a%d: &a%d [*a%d, *a%d]\n", i, i, i-1, i-1)
	}
	return b.String()
}()

func TestIrregularFile(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("no FIFO")
	}
	dir := tempChart(t, nil)
	if err := syscall.Mkfifo(filepath.Join(dir, "pipe"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := Package(t.Context(), io.Discard, appOptions(dir))
	wantFault(t, err, fault.Usage, "pipe is neither a file nor a folder")
}

func TestMissingFolder(t *testing.T) {
	_, err := Package(t.Context(), io.Discard, appOptions(filepath.Join(t.TempDir(), "nowhere")))
	wantFault(t, err, fault.Usage, "nowhere")
}

func TestTooLarge(t *testing.T) {
	if testing.Short() {
		t.Skip("writes 20 MiB and 10,000 files")
	}
	big := map[string]string{}
	for i := range 5 {
		big[fmt.Sprint("files/", i)] = strings.Repeat("x", 5<<20)
	}
	_, err := Package(t.Context(), io.Discard, appOptions(tempChart(t, big)))
	wantFault(t, err, fault.Usage, "larger than 20971520 bytes")

	many := map[string]string{}
	for i := range maxEntries + 1 {
		many[fmt.Sprint("files/", i)] = "x"
	}
	_, err = Package(t.Context(), io.Discard, appOptions(tempChart(t, many)))
	wantFault(t, err, fault.Usage, "at most 10000")
}

// TestLinkInside: what a link leads to inside of the chart is packaged in its place, files and folders.
func TestLinkInside(t *testing.T) {
	tgz, _ := mustPack(t, appOptions(tempChart(t, map[string]string{
		"files/real":   "content",
		"files/link":   "-> real",
		"more":         "-> files",
		"gone/.keep":   "-> ../files/real",
		".helmignore":  "gone/\n",
		"templates/.x": "-> ../files/real", // ignored by Helm's default rule
	})))
	got := map[string]string{}
	for _, m := range members(t, tgz) {
		if m.header.Typeflag != tar.TypeReg {
			t.Errorf("%s has type %c", m.header.Name, m.header.Typeflag)
		}
		got[strings.TrimPrefix(m.header.Name, "tiny/")] = m.data
	}
	for _, n := range []string{"files/link", "files/real", "more/link", "more/real"} {
		if got[n] != "content" {
			t.Errorf("%s is %q", n, got[n])
		}
	}
	if len(got) != 9 {
		t.Errorf("packaged %q", slices.Sorted(maps.Keys(got)))
	}
}

// TestIgnoreAsHelm compares with what Helm itself loads from the folder.
func TestIgnoreAsHelm(t *testing.T) {
	dir := tempChart(t, map[string]string{
		".helmignore":         "# comment\n*.bak\n/root.txt\nsub/*.md\nskipped/\n!*.*\n",
		"root.txt":            "x",
		"files/root.txt":      "x",
		"files/a.bak":         "x",
		"sub/a.md":            "x",
		"sub/deep/a.md":       "x",
		"skipped/a":           "x",
		"files/skipped/a.txt": "x",
		"noext":               "x",
		"templates/.hidden":   "x",
		"templates/_help.tpl": "",
	})
	c, err := loader.LoadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var want []string
	for _, f := range c.Raw {
		want = append(want, f.Name)
	}
	tr, err := readTree(dir)
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(want)
	if got := slices.Sorted(maps.Keys(tr.files)); !slices.Equal(got, want) {
		t.Errorf("got %q, Helm loads %q", got, want)
	}
}

func TestWarnings(t *testing.T) {
	_, r := mustPack(t, appOptions(tempChart(t, map[string]string{
		"templates/odd.yaml": "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: Not_A_Name}\n",
	})))
	if len(r.Warnings) != 1 || !strings.HasPrefix(r.Warnings[0], "templates/odd.yaml: ") {
		t.Errorf("warnings %q", r.Warnings)
	}
}

// TestKubernetes: a chart that refuses old clusters renders.
func TestKubernetes(t *testing.T) {
	mustPack(t, appOptions(tempChart(t, map[string]string{
		"templates/x.yaml": `{{ if semverCompare "<1.30-0" .Capabilities.KubeVersion.Version }}{{ fail "too old" }}{{ end }}`,
	})))
}

func TestCancelled(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := Package(ctx, io.Discard, appOptions("testdata/app"))
	wantFault(t, err, fault.Transient, "canceled")
}

// What a packaged chart runs is what was found when it was packaged.
func TestImagesOfPackage(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "tool")
	for name, content := range map[string]string{
		"Chart.yaml":         "apiVersion: v2\nname: tool\nversion: 0.0.0\n",
		"values.yaml":        "image: ghcr.io/example/tool:1.2.3\n",
		"templates/pod.yaml": "apiVersion: v1\nkind: Pod\nmetadata:\n  name: tool\nspec:\n  containers:\n    - name: tool\n      image: {{ .Values.image }}\n",
	} {
		file := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	var b bytes.Buffer
	r, err := Package(t.Context(), &b, Options{Dir: dir, Version: "1.2.3", AppVersion: "1.2.3", Time: time.Unix(1, 0)})
	if err != nil {
		t.Fatal(err)
	}
	refs, err := Images(b.Bytes())
	if want := []string{"ghcr.io/example/tool:1.2.3"}; err != nil || !slices.Equal(refs, want) || !slices.Equal(r.Images, want) {
		t.Errorf("%q, %v; when it was packaged %q", refs, err, r.Images)
	}
	if _, err := Images([]byte("no chart")); err == nil {
		t.Error("what is no chart has images")
	}
}
