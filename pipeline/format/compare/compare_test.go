package compare_test

import (
	"archive/zip"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/slipway-build/slipway/pipeline/fixture/verifytest"
	"github.com/slipway-build/slipway/pipeline/format"
	"github.com/slipway-build/slipway/pipeline/format/archive"
	"github.com/slipway-build/slipway/pipeline/format/compare"
	"github.com/slipway-build/slipway/pipeline/format/inspect"
	"github.com/slipway-build/slipway/pipeline/release/artifact"
	"github.com/slipway-build/slipway/pipeline/release/fault"
)

func files(t testing.TB, format string, a, b []byte) []string {
	t.Helper()
	d, err := compare.Files(t.Context(), format, source(a), source(b), compare.Options{})
	must(t, err)
	return texts(d)
}

func texts(list []compare.Difference) []string {
	var out []string
	for _, d := range list {
		out = append(out, d.String())
	}
	return out
}

func thousands(n int) string {
	if n < 1000 {
		return fmt.Sprint(n)
	}
	return fmt.Sprintf("%d,%03d", n/1000, n%1000)
}

// packedSize is how many bytes the first entry of a zip takes.
func packedSize(t testing.TB, b []byte) uint64 {
	t.Helper()
	r, err := zip.NewReader(bytes.NewReader(b), int64(len(b)))
	must(t, err)
	return r.File[0].CompressedSize64
}

// planted is one change of an artifact: published has it, rebuilt has not.
type planted struct {
	name, format       string
	published, rebuilt []byte
	want               []string
}

// plants are made once, since it takes a release to make them. Nobody changes them.
func plants(t testing.TB) []planted {
	t.Helper()
	if made == nil {
		made = plant(t)
	}
	return made
}

var made []planted

func plant(t testing.TB) []planted {
	p := program()
	elf := p.elf()
	windows := verifytest.Program("hello", "1.2.3", artifact.Platform{OS: "windows", Arch: "amd64"})
	mac := change(p, func(b *build) { b.system, b.arch = "darwin", "arm64" })
	identified := func(id, code string) build {
		return change(mac, func(b *build) { b.code = "\xff Go build ID: \"" + id + "\"\n \xff" + code + b.code })
	}
	file := func(n int) node {
		return reg([]string{"a.txt", "b.txt", "c.txt"}[n], []string{"one\n", "two\n", "three\n"}[n])
	}
	base := tgz(t, file(0), file(1), exe("hello", string(elf)), symlink("link", "a.txt"))
	edited := func(by func(n []node) []node) []byte {
		return tgz(t, by([]node{file(0), file(1), exe("hello", string(elf)), symlink("link", "a.txt")})...)
	}
	set := func(i int, by func(*node)) []byte {
		return edited(func(n []node) []node { by(&n[i]); return n })
	}
	patched := replaced(t, elf, "code of the program code", "code of the pROgram code")
	plain := tarOf(t, file(0), file(1))
	large := []node{exe("hello", string(elf))}
	fast, best := gz(t, tarOf(t, large...), 1, gzip.Header{OS: 255}), gz(t, tarOf(t, large...), 6, gzip.Header{OS: 255})
	zips := []member{zipped("a.txt", "one\n"), zipped("hello.exe", strings.Repeat("hello ", 100))}
	zipBase := zipOf(t, "", zips...)
	zipSet := func(by func(*member)) []byte {
		return zipOf(t, "", zips[0], change(zips[1], by))
	}
	data := []node{exe("./usr/bin/hello", string(elf)), reg("./usr/share/doc/hello/copyright", "MIT\n")}
	debBase := debOf(t, control, data...)
	r := release(t)
	other := func(by func(*format.Package)) format.Package {
		q := release(t)
		by(&q)
		return q
	}
	rpmBase, apkBase, snapBase, nupkgBase := rpmOf(t, r), apkOf(t, r), snapOf(t, r), nupkgOf(t, r)
	_, rpmHeader, payload := rpmParts(rpmBase)
	repacked := resealed(t, rpmBase, rpmHeader, regzipped(t, payload, 1))
	_, apkData := apkParts(t, apkBase)
	withProgram := other(func(p *format.Package) { p.Files[0].File = archive.Bytes("usr/bin/hello", patched).WithExec() })
	more := other(func(p *format.Package) {
		p.Files = slices.Insert(p.Files, 1, format.File{File: archive.Bytes("usr/share/hello/also", []byte("more\n")), Role: format.Data})
	})
	chart := chartOf(t, "1.2.3", "replicas: 1\nimage:\n  tag: a\n", "2026-03-14T15:09:26Z")
	released, rel, err := verifytest.Files(verifytest.Options{})
	must(t, err)
	var cdx, spdx string
	for name := range released {
		if strings.HasPrefix(name, "sbom/hello_linux_amd64") {
			if strings.HasSuffix(name, ".cdx.json") {
				cdx = name
			} else {
				spdx = name
			}
		}
	}
	component := decode(t, released[cdx])
	component["components"] = append(component["components"].([]any), object{"type": "library", "bom-ref": "pkg:golang/example.com/b@v1.0.0", "name": "example.com/b", "version": "v1.0.0"})
	spdxDoc := decode(t, released[spdx])
	spdxDoc["packages"].([]any)[0].(object)["licenseConcluded"] = "GPL-3.0-only"
	statement := released[rel.Provenance]
	yaml := "a: 1\nlist:\n  - name: x\n    value: \"1.10\"\n  - name: y\n    value: two\n"
	return []planted{
		{"a byte of an ELF", inspect.Binary, replaced(t, elf, "code of", "c0de of"), elf, []string{"byte 0x79 is 0x30 instead of 0x6f (1 of 1,647), in section .text"}},
		{"bytes of an ELF in two sections", inspect.Binary, patched, elf, []string{"bytes 0x85 to 0x86 differ (2 of 1,647), in section .text"}},
		{"another Go", inspect.Binary, change(p, func(b *build) { b.goVersion = "go1.26.7" }).elf(), elf, []string{"build info says go1.26.7 instead of go1.26.8"}},
		{"another dependency", inspect.Binary, change(p, func(b *build) { b.dep = "v1.0.1-rc.1" }).elf(), elf, []string{"build info says dependency example.com/a v1.0.1-rc.1 h1:a instead of v1.0.0 h1:a"}},
		{"one more dependency", inspect.Binary, change(p, func(b *build) { b.extra = "dep\texample.com/b\tv1.0.0\th1:b\n" }).elf(), elf, []string{"build info says dependency example.com/b v1.0.0 h1:b only in the published"}},
		{"ldflags", inspect.Binary, change(p, func(b *build) { b.ldflags = "-s -w" }).elf(), elf, []string{`build info says setting -ldflags "-s -w" instead of "-X main.version=1.2.3"`}},
		{"another Go and other code", inspect.Binary, change(p, func(b *build) { b.goVersion, b.code = "go1.26.7", b.code+"sixteen bytes at" }).elf(), elf, []string{
			"build info says go1.26.7 instead of go1.26.8",
			"section .text differs, too",
		}},
		{"more code", inspect.Binary, change(p, func(b *build) { b.code += "sixteen bytes at" }).elf(), elf, []string{"1,663 bytes instead of 1,647; section .text differs"}},
		{"a Mach-O", inspect.Binary, replaced(t, mac.machO(), "code of", "c0de of"), mac.machO(), []string{"byte 0x109 is 0x30 instead of 0x6f (1 of 1,504), in section __TEXT,__text"}},
		{"ldflags of a Mach-O", inspect.Binary, change(mac, func(b *build) { b.ldflags = "" }).machO(), mac.machO(), []string{`build info says setting -ldflags "" instead of "-X main.version=1.2.3"`}},
		{"identifiers of a Mach-O", inspect.Binary, identified("abcdefgh", "code").machO(), identified("ABCDEFGH", "code").machO(), []string{"bytes 0x118 to 0x11f differ (8 of 1,536), in section __TEXT,__text"}},
		{"code and identifiers of a Mach-O", inspect.Binary, identified("abcdefgh", "code").machO(), identified("ABCDEFGH", "c0de").machO(), []string{"byte 0x125 is 0x6f instead of 0x30 (1 of 1,536), in section __TEXT,__text"}},
		{"a PE", inspect.Binary, replaced(t, windows, "says hello", "says hallo"), windows, []string{"byte 0x306 is 0x61 instead of 0x65 (1 of 779), in section .data"}},
		{"another Go in a PE", inspect.Binary, replaced(t, windows, "go1.26.0", "go1.26.1"), windows, []string{"build info says go1.26.1 instead of go1.26.0"}},
		{"bytes after a program", inspect.Binary, append(bytes.Clone(elf), "more"...), elf, []string{fmt.Sprintf("4 bytes after the end only in the published, from %#x: \"more\"", len(elf))}},

		{"mtime in a tar", inspect.TarGz, set(0, func(n *node) { n.ModTime = commitTime.Add(time.Hour) }), base, []string{"a.txt: mtime 2026-03-14T16:09:26Z instead of 2026-03-14T15:09:26Z"}},
		{"mtimes in a tar", inspect.TarGz, edited(func(n []node) []node {
			for i := range n {
				n[i].ModTime = commitTime.Add(time.Hour)
			}
			return n
		}), base, []string{`mtime 2026-03-14T16:09:26Z instead of 2026-03-14T15:09:26Z of 4 entries, the first of them "a.txt"`}},
		{"order", inspect.TarGz, edited(func(n []node) []node { n[0], n[1] = n[1], n[0]; return n }), base, []string{`the same entries in another order: entry 1 is "b.txt" instead of "a.txt"`}},
		{"uid", inspect.TarGz, set(1, func(n *node) { n.Uid = 1000 }), base, []string{"b.txt: uid 1000 instead of 0"}},
		{"owner", inspect.TarGz, set(1, func(n *node) { n.Uname = "build" }), base, []string{`b.txt: owner "build" instead of ""`}},
		{"mode", inspect.TarGz, set(2, func(n *node) { n.Mode = 0o4750 }), base, []string{"hello: mode 4750 instead of 0755"}},
		{"link", inspect.TarGz, set(3, func(n *node) { n.Linkname = "b.txt" }), base, []string{`link: link to "b.txt" instead of "a.txt"`}},
		{"type", inspect.TarGz, set(3, func(n *node) { *n = change(reg("link", ""), func(n *node) { n.Mode = 0o777 }) }), base, []string{"link: file instead of symbolic link"}},
		{"an entry more", inspect.TarGz, edited(func(n []node) []node { return append(n, file(2)) }), base, []string{"c.txt: only in the published"}},
		{"an entry less", inspect.TarGz, edited(func(n []node) []node { return n[:3] }), base, []string{"link: only in the rebuilt"}},
		{"a name", inspect.TarGz, set(1, func(n *node) { n.Name = "d.txt" }), base, []string{`d.txt: is called "b.txt" in the rebuilt`}},
		{"a name as it is written", inspect.TarGz, set(1, func(n *node) { n.Name = "./b.txt" }), base, []string{`b.txt: written as "./b.txt" instead of "b.txt"`}},
		{"a program in a tar", inspect.TarGz, set(2, func(n *node) { n.body = string(patched) }), base, []string{"hello: bytes 0x85 to 0x86 differ (2 of 1,647), in section .text"}},
		{"a line in a tar", inspect.TarGz, set(1, func(n *node) { n.body = "twos\n" }), base, []string{`b.txt: line 1: "twos" instead of "two"`}},
		{"PAX", inspect.TarGz, set(0, func(n *node) { n.Format = 4; n.PAXRecords = map[string]string{"EXAMPLE.a": "b"} }), base, []string{"a.txt: PAX record EXAMPLE.a b instead of none"}},
		{"gzip mtime", inspect.TarGz, gz(t, plain, 6, gzip.Header{OS: 255, ModTime: commitTime}), gz(t, plain, 6, gzip.Header{OS: 255}), []string{"gzip header: mtime 2026-03-14T15:09:26Z instead of none"}},
		{"gzip system", inspect.TarGz, gz(t, plain, 6, gzip.Header{OS: 3}), gz(t, plain, 6, gzip.Header{OS: 255}), []string{"gzip header: operating system 3 (Unix) instead of 255 (unknown)"}},
		{"gzip name", inspect.TarGz, gz(t, plain, 6, gzip.Header{OS: 255, Name: "a.tar"}), gz(t, plain, 6, gzip.Header{OS: 255}), []string{`gzip header: name "a.tar" instead of ""`}},
		{"gzip level", inspect.TarGz, fast, best, []string{fmt.Sprintf("the same contents, compressed differently: %d bytes instead of %d", len(fast), len(best))}},
		{"XFL", inspect.TarGz, func() []byte { b := bytes.Clone(base); b[8] = 2; return b }(), base, []string{"gzip header: XFL 2 instead of 0"}},
		{"level of a file with another line", inspect.TarGz, gz(t, tarOf(t, reg("a.txt", "one\n")), 9, gzip.Header{OS: 255}), tgz(t, reg("a.txt", "two\n")), []string{
			`a.txt: line 1: "one" instead of "two"`,
			"gzip header: XFL 2 instead of 0",
		}},
		{"a compressed page", inspect.TarGz, tgz(t, reg("hello.1.gz", string(gz(t, []byte("a page\n"), 9, gzip.Header{})))), tgz(t, reg("hello.1.gz", string(gz(t, []byte("a pages\n"), 9, gzip.Header{})))), []string{`hello.1.gz: line 1: "a page" instead of "a pages"`}},
		{"the time of a compressed page", inspect.TarGz, tgz(t, reg("hello.1.gz", string(gz(t, []byte("a page\n"), 9, gzip.Header{ModTime: commitTime})))), tgz(t, reg("hello.1.gz", string(gz(t, []byte("a page\n"), 9, gzip.Header{})))), []string{"hello.1.gz: gzip header: mtime 2026-03-14T15:09:26Z instead of none"}},
		{"a zip in a tar in a tar", inspect.TarGz, tgz(t, reg("in.tgz", string(tgz(t, reg("a.zip", string(zipOf(t, "", zipped("x", "x\n")))))))), tgz(t, reg("in.tgz", string(tgz(t, reg("a.zip", string(zipOf(t, "", zipped("x", "y\n")))))))), []string{`in.tgz, a.zip, x: line 1: "x" instead of "y"`}},
		{"zeros behind a tar", inspect.TarGz, gz(t, append(bytes.Clone(plain), make([]byte, 512)...), 6, gzip.Header{OS: 255}), gz(t, plain, 6, gzip.Header{OS: 255}), []string{"the tar around the same entries: 512 zeros after the end only in the published, from 0xc00"}},
		{"bytes after the end", inspect.TarGz, append(bytes.Clone(base), "more"...), base, []string{fmt.Sprintf("4 bytes after the end only in the published, from %#x: \"more\"", len(base))}},

		{"zip extra field", inspect.Zip, zipSet(func(m *member) { m.Extra = []byte("\x99\x99\x02\x00ab") }), zipBase, []string{"hello.exe: extra field 9999:2:6162 instead of none"}},
		{"zip mtime", inspect.Zip, zipSet(func(m *member) { m.Modified = commitTime.Add(time.Hour) }), zipBase, []string{"hello.exe: mtime 2026-03-14T16:09:26Z instead of 2026-03-14T15:09:26Z"}},
		{"zip mode", inspect.Zip, zipSet(func(m *member) { m.SetMode(0o755) }), zipBase, []string{"hello.exe: mode 0755 instead of 0644"}},
		{"zip method", inspect.Zip, zipSet(func(m *member) { m.Method = zip.Store }), zipBase, []string{"hello.exe: method stored instead of deflate"}},
		{"zip level", inspect.Zip, zipAt(t, 1, "", zips[1]), zipOf(t, "", zips[1]), []string{
			fmt.Sprintf("hello.exe: the same contents, compressed differently: %d bytes instead of %d", packedSize(t, zipAt(t, 1, "", zips[1])), packedSize(t, zipOf(t, "", zips[1]))),
		}},
		{"zip comment", inspect.Zip, zipOf(t, "made by hand", zips...), zipBase, []string{`comment of the zip "made by hand" instead of ""`}},
		{"comment of an entry", inspect.Zip, zipSet(func(m *member) { m.Comment = "hi" }), zipBase, []string{`hello.exe: comment "hi" instead of ""`}},
		{"bytes after a zip", inspect.Zip, append(bytes.Clone(zipBase), 0, 0), zipBase, []string{fmt.Sprintf("2 zeros after the end only in the published, from %#x", len(zipBase))}},

		{"control", inspect.Deb, debOf(t, strings.Replace(control, "says hello", "says hallo", 1), data...), debBase, []string{`control, control: Description "says hallo" instead of "says hello"`}},
		{"data", inspect.Deb, debOf(t, control, exe("./usr/bin/hello", string(patched)), data[1]), debBase, []string{"data, usr/bin/hello: bytes 0x85 to 0x86 differ (2 of 1,647), in section .text"}},
		{"mtime in data", inspect.Deb, debOf(t, control, data[0], change(data[1], func(n *node) { n.ModTime = commitTime.Add(time.Second) })), debBase, []string{"data, usr/share/doc/hello/copyright: mtime 2026-03-14T15:09:27Z instead of 2026-03-14T15:09:26Z"}},
		{"mtime of a member", inspect.Deb, replaced(t, debBase, "1773500966", "1773500967"), debBase, []string{"debian-binary: mtime 2026-03-14T15:09:27Z instead of 2026-03-14T15:09:26Z"}},
		{"an entry of data", inspect.Deb, debOf(t, control, append(data[:2:2], reg("./usr/lib/a.so", "x"))...), debBase, []string{"data, usr/lib/a.so: only in the published"}},
		{"a size", inspect.Deb, debOf(t, strings.Replace(control, "Size: 1", "Size: 2", 1), data[0], reg(data[1].Name, "MIT OR Apache-2.0\n")), debBase, []string{`data, usr/share/doc/hello/copyright: line 1: "MIT OR Apache-2.0" instead of "MIT"`}},

		{"data at another level", inspect.Deb, packedDeb(t, 1, control, large...), packedDeb(t, 6, control, large...), []string{
			fmt.Sprintf("data.tar.gz: the same contents, compressed differently: %d bytes instead of %d", len(gz(t, tarOf(t, large...), 1, gzip.Header{OS: 255})), len(gz(t, tarOf(t, large...), 6, gzip.Header{OS: 255}))),
		}},

		{"a tag", inspect.RPM, rpmOf(t, other(func(p *format.Package) { p.Summary = "Says hallo" })), rpmBase, []string{`header: Summary "Says hallo" instead of "Says hello"`}},
		{"a program in an rpm", inspect.RPM, rpmOf(t, withProgram), rpmBase, []string{"usr/bin/hello: bytes 0x85 to 0x86 differ (2 of 1,647), in section .text"}},
		{"a tag of files", inspect.RPM, rpmOf(t, other(func(p *format.Package) { p.Files[1].Role = format.Document })), rpmBase, []string{"usr/share/hello/data: flags 2 instead of 0"}},
		{"a tag that no entry has", inspect.RPM, otherDevice(t, rpmBase), rpmBase, []string{"header: tag 1033: 000700010001 instead of 000100010001"}},
		{"the payload at another level", inspect.RPM, repacked, rpmBase, []string{
			fmt.Sprintf("payload: the same contents, compressed differently: %s bytes instead of %s", thousands(len(regzipped(t, payload, 1))), thousands(len(payload))),
		}},
		{"an apk at another level", inspect.APK, repackedAPK(t, apkBase, 1), repackedAPK(t, apkBase, 9), []string{
			fmt.Sprintf("data: the same contents, compressed differently: %s bytes instead of %s", thousands(len(regzipped(t, apkData, 1))), thousands(len(regzipped(t, apkData, 9)))),
		}},
		{"a field of an apk", inspect.APK, apkOf(t, other(func(p *format.Package) { p.Homepage = "https://example.com/hallo" })), apkBase, []string{`control, .PKGINFO: url "https://example.com/hallo" instead of "https://example.com/hello"`}},
		{"a program in an apk", inspect.APK, apkOf(t, withProgram), apkBase, []string{"data, usr/bin/hello: bytes 0x85 to 0x86 differ (2 of 1,647), in section .text"}},
		{"a mode in a snap", inspect.Snap, snapOf(t, other(func(p *format.Package) { p.Files[1].File = p.Files[1].WithExec() })), snapBase, []string{"usr/share/hello/data: mode 0755 instead of 0644"}},
		{"the time of a snap", inspect.Snap, func() []byte { b := bytes.Clone(snapBase); b[8]++; return b }(), snapBase, []string{"superblock: time 2026-03-14T15:09:27Z instead of 2026-03-14T15:09:26Z"}},
		{"the yaml of a snap", inspect.Snap, snapOf(t, other(func(p *format.Package) { p.Summary = "Says hallo" })), snapBase, []string{`meta/snap.yaml: summary: "Says hallo" instead of "Says hello"`}},
		{"a file more in a snap", inspect.Snap, snapOf(t, more), snapBase, []string{"usr/share/hello/also: only in the published"}},
		{"a file more in an rpm", inspect.RPM, rpmOf(t, more), rpmBase, []string{"usr/share/hello/also: only in the published"}},
		{"a file more in an apk", inspect.APK, apkOf(t, more), apkBase, []string{"data, usr/share/hello/also: only in the published"}},
		{"a nuspec", inspect.Nupkg, nupkgOf(t, other(func(p *format.Package) { p.Description = "It says hallo." })), nupkgBase, []string{`hello.nuspec: description "It says hallo." instead of "It says hello."`}},

		{"values", inspect.Chart, chartOf(t, "1.2.3", "replicas: 1\nimage:\n  tag: b\n", "2026-03-14T15:09:26Z"), chart, []string{`hello/values.yaml: image.tag: "b" instead of "a"`}},
		{"generated", inspect.Chart, chartOf(t, "1.2.3", "replicas: 1\nimage:\n  tag: a\n", "2026-03-15T15:09:26Z"), chart, []string{`hello/Chart.lock: generated: "2026-03-15T15:09:26Z" instead of "2026-03-14T15:09:26Z"`}},
		{"appVersion", inspect.Chart, chartOf(t, "1.2.4", "replicas: 1\nimage:\n  tag: a\n", "2026-03-14T15:09:26Z"), chart, []string{`hello/Chart.yaml: appVersion: "1.2.4" instead of "1.2.3"`}},

		{"a component", inspect.CycloneDX, encode(t, component), encode(t, decode(t, released[cdx])), []string{`components["pkg:golang/example.com/b@v1.0.0"]: only in the published`}},
		{"a license", inspect.SPDX, encode(t, spdxDoc), encode(t, decode(t, released[spdx])), []string{`packages["SPDXRef-subject"].licenseConcluded: only in the published: "GPL-3.0-only"`}},
		{"white space", inspect.SPDX, append(bytes.Clone(released[spdx]), '\n'), released[spdx], []string{"the same values, with other white space, from line 75"}},
		{"provenance", inspect.InToto, replaced(t, statement, "refs/tags/v1.2.3", "refs/tags/v1.2.2"), statement, []string{`predicate.buildDefinition.externalParameters.ref: "refs/tags/v1.2.2" instead of "refs/tags/v1.2.3"`}},
		{"provenance in an envelope", inspect.InToto, envelope(t, string(replaced(t, statement, "refs/tags/v1.2.3", "refs/tags/v1.2.2"))), envelope(t, string(statement)), []string{`payload.predicate.buildDefinition.externalParameters.ref: "refs/tags/v1.2.2" instead of "refs/tags/v1.2.3"`}},
		{"keys", compare.JSON, []byte(`{"a":1,"b":{"c":[]}}`), []byte(`{"b":{"c":[]},"a":1}`), []string{"the same values, with keys in another order, from line 1"}},
		{"depth", compare.JSON, []byte(strings.Repeat("[", 9000) + "1" + strings.Repeat("]", 9000)), []byte(strings.Repeat("[", 9000) + "2" + strings.Repeat("]", 9000)), []string{
			"neither can be opened as json: it is nested more than 64 deep",
			`line 1: ..."[[[[[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]"... instead of ..."[[[[[[[[[[[[[[[[[[[[2]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]"...`,
		}},
		{"a component of another version", compare.JSON, []byte(`{"components":[{"name":"a","version":"1"},{"name":"b","version":"1"}]}`), []byte(`{"components":[{"name":"b","version":"1"},{"name":"a","version":"2"}]}`), []string{
			`components["a"].version: "1" instead of "2"`,
			"components: the same elements in another order",
		}},
		{"another type", compare.JSON, []byte(`{"a":{"b":null}}`), []byte(`{"a":[true]}`), []string{`a: {"b":null} instead of [true]`}},
		{"elements", compare.JSON, []byte(`{"a":[1,2,3]}`), []byte(`{"a":[1,3,2]}`), []string{"a: the same elements in another order"}},
		{"a number", compare.JSON, []byte(`{"a b":[1,{"x":2}]}`), []byte(`{"a b":[1,{"x":2.5}]}`), []string{`["a b"][1].x: 2 instead of 2.5`}},
		{"YAML", compare.YAML, []byte(strings.Replace(yaml, "two", "2", 1)), []byte(yaml), []string{`list["y"].value: 2 instead of "two"`}},
		{"quotes in YAML", compare.YAML, []byte(strings.Replace(yaml, `"1.10"`, "1.10", 1)), []byte(yaml), []string{`list["x"].value: 1.10 instead of "1.10"`}},
		{"a comment in YAML", compare.YAML, []byte("# hi\n" + yaml), []byte(yaml), []string{`the same values, written differently: line 1 only in the published: "# hi"`}},
		{"no YAML", compare.YAML, []byte("a: {{ x }}\nb: 1\n"), []byte("a: {{ x }}\nb: 2\n"), []string{`line 2: "b: 1" instead of "b: 2"`}},
		{"a line", compare.Text, []byte("a\nb\nx\ny\n"), []byte("a\nc\nx\nz\n"), []string{`line 2: "b" instead of "c" (2 lines differ)`}},
		{"a line more", compare.Text, []byte("a\nb\nx\n"), []byte("a\nx\n"), []string{`line 2 only in the published: "b"`}},
		{"a line feed", compare.Text, []byte("a\nb"), []byte("a\nb\n"), []string{`line 2 has no line feed in the published: "b"`}},
		{"a long line", compare.Text, []byte(strings.Repeat("long ", 100) + "\x1b[31mred"), []byte(strings.Repeat("long ", 100) + "blue"), []string{`line 1: ..."long long long long \x1b[31mred" instead of ..."long long long long blue"`}},
		{"a folder that is no archive of a release", inspect.TarGz, tgz(t, symlink("sh", "/bin/sh"), reg("a", "a\n")), tgz(t, symlink("sh", "/bin/sh"), reg("a", "b\n")), []string{
			`neither can be opened as tar.gz: "sh" is a link to "/bin/sh", which is absolute`,
			`a: line 1: "a" instead of "b"`,
		}},
		{"bytes", "", []byte("\x00\x01\x02\x03"), []byte("\x00\x01\x05\x06"), []string{"bytes 0x2 to 0x3 differ (2 of 4)"}},
		{"sizes", "", []byte("\x00\x01\x02\x03"), []byte("\x00\x07\x02\x03\x04"), []string{"4 bytes instead of 5; they differ from byte 0x1"}},
	}
}

// One change is one difference, which is told at the innermost place.
func TestPlanted(t *testing.T) {
	for _, p := range plants(t) {
		t.Run(p.name, func(t *testing.T) {
			if got := files(t, p.format, p.published, p.rebuilt); !slices.Equal(got, p.want) {
				t.Errorf("got\n\t%s\nwant\n\t%s", strings.Join(got, "\n\t"), strings.Join(p.want, "\n\t"))
			}
		})
	}
}

// Nobody has looked whether the two sides of a difference are the right way round who has only seen one of them.
func TestTheOtherWayRound(t *testing.T) {
	for _, p := range plants(t) {
		got := files(t, p.format, p.rebuilt, p.published)
		if len(got) == 0 || len(got) != len(p.want) {
			t.Errorf("%s: %q, and the other way round %q", p.name, p.want, got)
		}
		for i := range min(len(got), len(p.want)) {
			if one, two, ok := strings.Cut(p.want[i], " instead of "); ok && len(p.want[i]) < 100 && got[i] == one+" instead of "+two {
				t.Errorf("%s: both ways it is %q", p.name, got[i])
			}
		}
	}
}

func TestEqual(t *testing.T) {
	for _, p := range plants(t) {
		for _, b := range [][]byte{p.published, p.rebuilt} {
			if got := files(t, p.format, b, bytes.Clone(b)); len(got) != 0 {
				t.Errorf("%s: %q", p.name, got)
			}
			if got := files(t, "", b, bytes.Clone(b)); len(got) != 0 {
				t.Errorf("%s: %q", p.name, got)
			}
		}
	}
}

// A file that is cut off, or has a byte in its middle that is another one, is not what it should be. That is told, which
// of the two it is, and nothing panics.
func TestDamaged(t *testing.T) {
	seen := map[string]bool{}
	for _, p := range plants(t) {
		if seen[p.format] || p.format == "" || p.format == compare.Text || p.format == compare.YAML {
			continue
		}
		seen[p.format] = true
		whole := p.rebuilt
		for n := 0; n < len(whole); n += max(1, len(whole)/25) {
			got := files(t, p.format, whole[:n], whole)
			want := "the published cannot be opened as " + p.format + ": "
			if len(got) < 2 || !strings.HasPrefix(got[0], want) {
				// A program is one as long as its build information is there, and a snap without what fills its last block.
				if !(len(got) == 1 && (p.format == inspect.Binary && strings.Contains(got[0], "after the end only in the rebuilt") ||
					p.format == inspect.Snap && strings.HasPrefix(got[0], "superblock: padding "))) {
					t.Errorf("%s, cut off at byte %d of %d: %q, want %q", p.format, n, len(whole), got, want)
				}
			}
			other := bytes.Clone(whole)
			other[n] ^= 0x55
			if got := files(t, p.format, whole, other); len(got) == 0 {
				t.Errorf("%s with another byte %d: no difference", p.format, n)
			}
		}
		got := files(t, p.format, []byte("neither"), []byte("nor"))
		if want := "neither can be opened as " + p.format + ": "; len(got) != 2 || !strings.HasPrefix(got[0], want) {
			t.Errorf("%s: %q, want %q", p.format, got, want)
		}
	}
	if len(seen) < 11 {
		t.Errorf("only %d formats", len(seen))
	}
}

// What is listed is bounded, and what is quoted.
func TestBounds(t *testing.T) {
	var a, b []node
	for i := range 50 {
		name := fmt.Sprintf("%02d", i)
		a, b = append(a, reg(name, "a"+name)), append(b, reg(name, "b"+name))
	}
	for limit, want := range map[int]int{0: 20, 7: 7, 49: 49, 50: 50, 100: 50} {
		d, err := compare.Files(t.Context(), inspect.TarGz, source(tgz(t, a...)), source(tgz(t, b...)), compare.Options{Max: limit})
		must(t, err)
		last := map[int]string{50: `49: line 1: "a49" instead of "b49"`, 49: "1 more difference is not listed"}[want]
		if last == "" {
			last = fmt.Sprintf("%d more differences are not listed", 50-want)
		}
		if n := want + min(1, 50-want); len(d) != n || d[n-1].String() != last {
			t.Errorf("at most %d: %d, and the last is %q, want %d and %q", limit, len(d), d[len(d)-1], n, last)
		}
	}
	long := strings.Repeat("\x1b\u202e<script>\x00", 10_000)
	for _, format := range []string{compare.JSON, compare.YAML, compare.Text, ""} {
		x := encode(t, object{long: long, "list": []any{long, object{"name": long}}})
		y := encode(t, object{long: long + "x", "list": []any{object{"name": long + "y"}}})
		for _, d := range files(t, format, x, y) {
			if len(d) > 3000 || strings.ContainsAny(d, "\x1b\x00\u202e\n") {
				t.Errorf("%s: %q", format, d)
			}
		}
	}
}

// broken is a file that cannot be read from a byte on.
type broken struct {
	io.ReaderAt
	from int64
	err  error
}

func (b broken) ReadAt(p []byte, off int64) (int, error) {
	if off+int64(len(p)) > b.from {
		return 0, b.err
	}
	return b.ReaderAt.ReadAt(p, off)
}

// What cannot be read is no difference.
func TestErrors(t *testing.T) {
	gone := errors.New("the disk is gone")
	p := plants(t)
	for _, one := range []planted{p[0], p[len(p)-1]} {
		for _, from := range []int64{0, 2} {
			a, b := source(one.published), source(one.rebuilt)
			d, err := compare.Files(t.Context(), one.format, compare.Source{ReaderAt: broken{a, from, gone}, Size: a.Size}, b, compare.Options{})
			if !errors.Is(err, gone) || d != nil || !strings.Contains(err.Error(), "reading the published") || fault.CodeOf(err) != fault.Transient {
				t.Errorf("%s: %v, %v (%d)", one.name, d, err, fault.CodeOf(err))
			}
			if _, err := compare.Files(t.Context(), one.format, a, compare.Source{ReaderAt: b, Size: b.Size + 1}, compare.Options{}); !errors.Is(err, io.ErrUnexpectedEOF) {
				t.Errorf("%s that became shorter: %v", one.name, err)
			}
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := compare.Files(ctx, inspect.Binary, source(p[0].published), source(p[0].rebuilt), compare.Options{}); !errors.Is(err, context.Canceled) {
		t.Errorf("%v, want %v", err, context.Canceled)
	}
}

func TestFormatOf(t *testing.T) {
	for name, want := range map[string]string{
		"archives/hello_1.2.3_linux_amd64.tar.gz": inspect.TarGz, "a.zip": inspect.Zip, "a.deb": inspect.Deb, "a.rpm": inspect.RPM,
		"a.apk": inspect.APK, "a.snap": inspect.Snap, "a.nupkg": inspect.Nupkg, "charts/hello-1.2.3.tgz": inspect.Chart, "a.tgz": inspect.TarGz,
		"hello/charts/b-1.tgz": inspect.Chart, "sbom/a.cdx.json": inspect.CycloneDX, "sbom/a.spdx.json": inspect.SPDX, "a.JSON": compare.JSON,
		"attestations/hello_1.2.3.provenance.json": inspect.InToto, "a.yaml": compare.YAML, "a.yml": compare.YAML, "hello.exe": inspect.Binary,
		"binaries/hello_linux_amd64/hello": "", "notes.md": compare.Text, "SHA256SUMS": compare.Text, "Chart.lock": compare.YAML, "go.lock": "",
	} {
		if got := compare.FormatOf(name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
}

// The program of a large archive is compared without being held.
func TestLarge(t *testing.T) {
	if testing.Short() {
		t.Skip("packs 140 MB")
	}
	body := make([]byte, 70<<20)
	a := gz(t, tarOf(t, reg("large", string(body))), 1, gzip.Header{OS: 255})
	body[69<<20] = 1
	b := gz(t, tarOf(t, reg("large", string(body))), 1, gzip.Header{OS: 255})
	want := []string{"large: byte 0x4500000 is 0x00 instead of 0x01 (1 of 73,400,320)"}
	if got := files(t, inspect.TarGz, a, b); !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}

// Archives in one another are opened as deep as anybody has a reason for; below that, bytes are compared.
func TestNested(t *testing.T) {
	a, b := []byte("a\n"), []byte("b\n")
	for range 12 {
		a, b = tgz(t, reg("in.tgz", string(a)), reg("x", "1\n")), tgz(t, reg("in.tgz", string(b)), reg("x", "2\n"))
	}
	d, err := compare.Files(t.Context(), inspect.TarGz, source(a), source(b), compare.Options{})
	must(t, err)
	last := d[len(d)-1]
	deepest := slices.MaxFunc(d, func(a, b compare.Difference) int { return len(a.Where) - len(b.Where) })
	if len(d) != 10 || last.String() != `x: line 1: "1" instead of "2"` || len(deepest.Where) != 9 || !strings.Contains(deepest.What, "bytes") {
		t.Errorf("%q", texts(d))
	}
}
