package verify_test

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"fmt"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/slipway-build/slipway/pipeline/fixture"
	"github.com/slipway-build/slipway/pipeline/fixture/memorytest"
	"github.com/slipway-build/slipway/pipeline/fixture/verifytest"
	"github.com/slipway-build/slipway/pipeline/release/manifest"
	"github.com/slipway-build/slipway/pipeline/verify"
)

// What verify may take for any release, whoever made it: docs/security.md promises it.
const (
	maxBombMemory = 128 << 20 // bytes
	maxBombTime   = 10 * time.Second
)

// bombDir names, in the process that is measured, the release that it verifies; bombKey asks for a signature.
const bombDir, bombKey = "VERIFY_BOMB", "VERIFY_BOMB_KEY"

// bomb is a release that is small to make and large to read. Its lists agree throughout, so that each file is opened.
type bomb struct {
	name string
	edit func(files map[string][]byte)             // before the files are listed
	doc  func(kind string, b []byte) []byte        // a document of the image or the chart
	last func(dir string, files map[string][]byte) // after all lists are written
	base bool                                      // its image has a layer of 2 GB of zeros
	pass bool                                      // it is not wrong, only large: without a key it passes
}

// fill is what is repeated between a beginning and an end, up to a size in bytes.
func fill(begin, part, end string, size int) []byte {
	n := (size - len(begin) - len(end)) / len(part)
	return []byte(begin + strings.TrimSuffix(strings.Repeat(part, n), ",") + end)
}

// zeros are gzip of that many zeros.
func zeros(n int64) []byte {
	var b bytes.Buffer
	zw, _ := gzip.NewWriterLevel(&b, gzip.BestSpeed)
	block := make([]byte, 1<<20)
	for ; n > 0; n -= int64(len(block)) {
		_, _ = zw.Write(block[:min(n, int64(len(block)))])
	}
	_ = zw.Close()
	return b.Bytes()
}

// tarball is a tar.gz with n empty files, whose names name makes.
func tarball(n int, name func(i int) string) []byte {
	var b bytes.Buffer
	zw, _ := gzip.NewWriterLevel(&b, gzip.BestSpeed)
	tw := tar.NewWriter(zw)
	for i := range n {
		if err := tw.WriteHeader(&tar.Header{Name: name(i), Mode: 0o644, Typeflag: tar.TypeReg, Format: tar.FormatPAX}); err != nil {
			panic(err)
		}
	}
	_, _ = tw.Close(), zw.Close()
	return b.Bytes()
}

func zipped(n int, name func(i int) string) []byte {
	var b bytes.Buffer
	zw := zip.NewWriter(&b)
	for i := range n {
		if _, err := zw.Create(name(i)); err != nil {
			panic(err)
		}
	}
	_ = zw.Close()
	return b.Bytes()
}

func bombs() []bomb {
	const mib = 1 << 20
	cdx, spdx := "sbom/hello_linux_amd64.cdx.json", "sbom/hello_linux_amd64.spdx.json"
	tgz, zipName := "archives/hello_1.2.3_linux_amd64.tar.gz", "archives/hello_1.2.3_windows_amd64.zip"
	chart := "charts/hello-1.2.3.tgz"
	statement := "attestations/hello_1.2.3.provenance.json"
	// put replaces a file; insert puts a key at the beginning of a document.
	put := func(p string, b func() []byte) func(map[string][]byte) {
		return func(files map[string][]byte) {
			if files[p] == nil {
				panic(p + " is not in the release")
			}
			files[p] = b()
		}
	}
	insert := func(p string, member func() []byte) func(map[string][]byte) {
		return func(files map[string][]byte) {
			files[p] = append(append([]byte("{"), member()...), append([]byte(","), bytes.TrimPrefix(files[p], []byte("{"))...)...)
		}
	}
	document := func(kind string, member []byte) func(string, []byte) []byte {
		return func(k string, b []byte) []byte {
			if k != kind {
				return b
			}
			return append(append([]byte("{"), member...), append([]byte(","), bytes.TrimPrefix(b, []byte("{"))...)...)
		}
	}
	overwrite := func(p string, b func() []byte) func(string, map[string][]byte) {
		return func(dir string, _ map[string][]byte) {
			if err := os.WriteFile(filepath.Join(dir, filepath.FromSlash(p)), b(), 0o644); err != nil {
				panic(err)
			}
		}
	}
	long := strings.Repeat("n", 200)
	return []bomb{
		{name: "SBOM, small components", edit: insert(cdx, func() []byte { return fill(`"components":[`, `{"a":1},`, `]`, 63*mib) })},
		{name: "SBOM, lost components", edit: insert(cdx, func() []byte { return fill(`"lost":[`, `{"a":1},`, `]`, 63*mib) }), pass: true},
		{name: "SBOM, nested", edit: insert(cdx, func() []byte { return fill(`"lost":[`, `[[[[[[[[1]]]]]]]],`, `]`, 63*mib) }), pass: true},
		{name: "SBOM, too deep", edit: insert(cdx, func() []byte { return []byte(`"lost":` + strings.Repeat("[", 31*mib)) })},
		{name: "SBOM, one text", edit: insert(cdx, func() []byte { return fill(`"lost":"`, `x`, `"`, 63*mib) })},
		{name: "SBOM, one text of escapes", edit: insert(cdx, func() []byte { return fill(`"lost":"`, `\u0001`, `"`, 7*mib) }), pass: true},
		{name: "SBOM, one number", edit: insert(cdx, func() []byte { return fill(`"lost":1`, `0`, ``, 63*mib) })},
		{name: "SBOM, many keys", edit: insert(cdx, func() []byte {
			var b bytes.Buffer
			for i := range 5_000_000 {
				fmt.Fprintf(&b, `"%d":1,`, i)
			}
			return append([]byte(`"lost":{`), append(bytes.TrimSuffix(b.Bytes(), []byte(",")), '}')...)
		})},
		{name: "SBOM, white space", edit: insert(cdx, func() []byte { return fill(`"lost":`, ` `, `1`, 63*mib) }), pass: true},
		{name: "SBOM, relationships", edit: insert(spdx, func() []byte {
			return fill(`"lost":[`, `{"spdxElementId":"SPDXRef-DOCUMENT","relationshipType":"DESCRIBES","relatedSpdxElement":"x"},`, `]`, 63*mib)
		}), pass: true},
		{name: "SBOM, packages", edit: func(files map[string][]byte) {
			var b bytes.Buffer
			for i := range 1_500_000 {
				fmt.Fprintf(&b, `{"SPDXID":"SPDXRef-%d"},`, i)
			}
			files[spdx] = bytes.Replace(files[spdx], []byte(`"packages": [`), append([]byte(`"packages": [`), b.Bytes()...), 1)
		}},
		{name: "statement, subjects", last: overwrite(statement, func() []byte {
			return fill(`{"_type":"https://in-toto.io/Statement/v1","subject":[`, `{"name":"a","digest":{"sha256":"`+strings.Repeat("0", 64)+`"}},`, `]}`, 15*mib)
		})},
		{name: "release.json, files", last: overwrite(manifest.FileName, func() []byte { return fill(`{"schema":"slipway.release/v1","files":[`, `{},`, `]}`, 15*mib) })},
		{name: "release.json, texts", last: overwrite(manifest.FileName, func() []byte { return fill(`{"schema":"slipway.release/v1","unpublishable":[`, `"",`, `]}`, 15*mib) })},
		{name: "release.json, unknown keys", last: overwrite(manifest.FileName, func() []byte {
			return fill(`{"schema":"slipway.release/v1","minor":9,"later":[`, `[],`, `]}`, 15*mib)
		})},
		{name: "release.json, too large", last: overwrite(manifest.FileName, func() []byte { return fill(`{"schema":"`, `x`, `"}`, 200*mib) })},
		{name: "SHA256SUMS, lines", last: overwrite("SHA256SUMS", func() []byte { return fill("", strings.Repeat("0", 64)+"  a\n", "", 15*mib) })},
		{name: "SHA256SUMS, one line", last: overwrite("SHA256SUMS", func() []byte { return fill("", "0", "\n", 200*mib) })},
		{name: "bundle, one text", last: overwrite("SHA256SUMS.sigstore.json", func() []byte { return fill(`{"mediaType":"`, `x`, `"}`, 15*mib) }), pass: true},
		{name: "bundle, entries", last: overwrite("SHA256SUMS.sigstore.json", func() []byte {
			return fill(`{"mediaType":"application/vnd.dev.sigstore.bundle.v0.3+json","verificationMaterial":{"tlogEntries":[`, `{},`, `]}}`, 15*mib)
		}), pass: true},
		{name: "envelope of provenance", last: overwrite(statement+".sigstore.json", func() []byte {
			return []byte(`{"dsseEnvelope":{"payloadType":"application/vnd.in-toto+json","payload":"` +
				base64.StdEncoding.EncodeToString(fill(`{"subject":[`, `{},`, `]}`, 11*mib)) + `","signatures":[{"sig":""}]}}`)
		})},
		{name: "tar.gz, 4 GB of zeros", edit: put(tgz, func() []byte { return zeros(4 << 30) })},
		{name: "tar.gz, entries", edit: put(tgz, func() []byte { return tarball(250_000, strconv.Itoa) })},
		{name: "tar.gz, names", edit: put(tgz, func() []byte { return tarball(60_000, func(i int) string { return long + strconv.Itoa(i) }) })},
		{name: "tar.gz, folders", edit: put(tgz, func() []byte {
			return tarball(15_000, func(i int) string { return strings.Repeat(strconv.Itoa(i)+"/", 40) + "a" })
		})},
		{name: "zip, entries", edit: put(zipName, func() []byte { return zipped(250_000, strconv.Itoa) })},
		{name: "zip, names", edit: put(zipName, func() []byte { return zipped(50_000, func(i int) string { return long + strconv.Itoa(i) }) })},
		{name: "chart, zeros", edit: put(chart, func() []byte { return zeros(1 << 30) })},
		{name: "chart, aliases", edit: put(chart, func() []byte {
			var y strings.Builder
			y.WriteString("a0: &a0 [x,x,x,x,x,x,x,x,x]\n")
			for i := range 20 {
				fmt.Fprintf(&y, "a%d: &a%d [%s]\n", i+1, i+1, strings.TrimSuffix(strings.Repeat(fmt.Sprintf("*a%d,", i), 9), ","))
			}
			b, err := verifytest.Tar(map[string]string{"hello/Chart.yaml": "apiVersion: v2\nname: hello\nversion: 1.2.3\nappVersion: 1.2.3\n" + y.String()})
			if err != nil {
				panic(err)
			}
			return b
		})},
		{name: "layer, zeros", base: true, pass: true},
		{name: "config, history", doc: document("config", fill(`"history":[`, `{},`, `]`, 3*mib)), pass: true},
		{name: "config, keys", doc: document("config", fill(`"config":{"Labels":{`, `"":"",`, `}}`, 3*mib))},
		{name: "image manifest, layers", doc: document("manifest", fill(`"annotations":{"a":"`, `b`, `"}`, 3*mib)), pass: true},
		{name: "index, manifests", doc: document("index", fill(`"manifests":[`, `{},`, `]`, 3*mib))},
		{name: "notes", edit: put("notes.md", func() []byte { return fill("", "x", "\n", 300*mib) })},
		{name: "program", edit: put("binaries/hello_linux_amd64/hello", func() []byte { return append([]byte("\x7fELF\x02\x01\x01"), make([]byte, 300*mib)...) })},
		{name: "snap", edit: put("packages/hello_1.2.3_amd64.snap", func() []byte { return append([]byte("hsqs\xff\xff\xff\xff"), make([]byte, 96)...) })},
	}
}

// TestBombs verifies each in a process of its own, with a key and without, and holds it to the bounds.
func TestBombs(t *testing.T) {
	if dir := os.Getenv(bombDir); dir != "" {
		verifyBomb(t, dir)
		return
	}
	if testing.Short() || runtime.GOOS != "linux" {
		t.Skip("starts many processes, and reads /proc")
	}
	fixture.SkipRace(t)
	for i, b := range bombs() {
		if !fixture.Full && i%8 != 0 {
			continue
		}
		t.Run(b.name, func(t *testing.T) {
			o := verifytest.Options{Edit: b.edit, EditDocument: b.doc, Downloads: true}
			if b.base {
				o.Base = zeros(2 << 30)
			}
			dir := t.TempDir()
			if _, err := verifytest.Write(dir, o); err != nil {
				t.Fatal(err)
			}
			if b.last != nil {
				b.last(dir, nil)
			}
			for _, key := range []string{"", "1"} {
				start := time.Now()
				c := exec.Command(os.Args[0], "-test.run", "^TestBombs$", "-test.v")
				c.Env = append(os.Environ(), bombDir+"="+dir, bombKey+"="+key, "GOMAXPROCS=2")
				out, err := c.CombinedOutput()
				took := time.Since(start)
				if err != nil {
					t.Fatalf("%v\n%.2000s", err, out)
				}
				said, err := os.ReadFile(filepath.Join(dir, "said"))
				if err != nil {
					t.Fatal(err)
				}
				peak, verdict, _ := strings.Cut(string(said), " ")
				n, err := strconv.ParseInt(peak, 10, 64)
				if err != nil {
					t.Fatal(err)
				}
				t.Logf("key %q: %d MiB, %.1f s, %.200s", key, n>>20, took.Seconds(), verdict)
				if n > maxBombMemory {
					t.Errorf("it takes %d MiB", n>>20)
				}
				if took > 5*maxBombTime { // a machine may be busy; the figure is for two idle cores
					t.Errorf("it takes %s", took)
				}
				if passes := strings.HasPrefix(verdict, "PASS"); passes != (b.pass && key == "") {
					t.Errorf("passes: %v", passes)
				}
				if err := os.Remove(filepath.Join(dir, "said")); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}

func verifyBomb(t *testing.T, dir string) {
	o := verify.Options{AllowUnsigned: true}
	if os.Getenv(bombKey) != "" {
		o = keys(ours())
	}
	report, err := verify.Dist(t.Context(), dir, o)
	verdict := "PASS"
	if err != nil {
		verdict = "error: " + err.Error()
	} else if report.Verdict != verify.Pass {
		var text strings.Builder
		must(t, report.WriteText(&text))
		verdict = fmt.Sprintf("%s: %s", report.Verdict, text.String())
	}
	peak := memorytest.Peak(t)
	if err := os.WriteFile(path.Join(dir, "said"), fmt.Appendf(nil, "%d %s", peak, verdict), 0o600); err != nil {
		t.Fatal(err)
	}
}
