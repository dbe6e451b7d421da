package inspect_test

import (
	"archive/tar"
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"

	"github.com/slipway-build/slipway/pipeline/fixture"
	"github.com/slipway-build/slipway/pipeline/format/archive"
	"github.com/slipway-build/slipway/pipeline/format/inspect"
	"github.com/slipway-build/slipway/pipeline/release/fault"
)

// attack is a file that must be refused, and a part of the reason.
type attack struct {
	name, format string
	b            []byte
	want         string
}

func swap(t testing.TB, b []byte, old, with string) []byte {
	t.Helper()
	if !bytes.Contains(b, []byte(old)) {
		t.Fatalf("there is no %q", old)
	}
	return bytes.ReplaceAll(b, []byte(old), []byte(with))
}

func attacks(t testing.TB) []attack {
	tgz := func(items ...item) []byte { return gz(t, tarOf(t, false, items...)) }
	good := file("a", "a")
	all := []attack{
		{"empty", inspect.TarGz, nil, "ends in the middle"},
		{"no gzip", inspect.TarGz, []byte("PK\x03\x04 and more bytes than ten"), "invalid header"},
		{"above", inspect.TarGz, tgz(file("../a", "")), "leaves its folder"},
		{"in and out", inspect.TarGz, tgz(file("a/../../b", "")), "leaves its folder"},
		{"absolute", inspect.TarGz, tgz(file("/etc/passwd", "")), "is absolute"},
		{"backslash", inspect.TarGz, tgz(file(`a\..\b`, "")), "backslash"},
		{"device name", inspect.TarGz, tgz(file("aux.txt", "")), "a device on Windows"},
		{"twice", inspect.TarGz, tgz(good, good), `the file "a" stands twice`},
		{"twice, spelled in two ways", inspect.TarGz, tgz(good, file("./a", "")), `the file "a" stands twice`},
		{"twice where case does not count", inspect.TarGz, tgz(file("a", ""), file("A", "")), "letter case"},
		{"file and folder", inspect.TarGz, tgz(good, folder("a/")), `"a" is a file and a folder`},
		{"folder and file", inspect.TarGz, tgz(file("a/b", ""), good), `"a" is a folder and a file`},
		{"below a file", inspect.TarGz, tgz(good, file("a/b", "")), `lies below "a", which is a file`},
		{"below a link", inspect.TarGz, tgz(folder("d/"), link("a", "d"), file("a/b", "")), `lies below "a", which is a symbolic link`},
		{"link above", inspect.TarGz, tgz(link("d/a", "../../b")), "leaves its root"},
		{"absolute link", inspect.TarGz, tgz(link("a", "/etc/passwd")), "is absolute"},
		{"link through a link", inspect.TarGz, tgz(link("d/up", ".."), link("a", "d/up/..")), "not clean"},
		{"link to nothing", inspect.TarGz, tgz(item{name: "a", typ: tar.TypeSymlink}), "which is not a name"},
		{"hard link to nothing", inspect.TarGz, tgz(item{name: "a", typ: tar.TypeLink, link: "b"}), "not a file before it"},
		{"hard link to a link", inspect.TarGz, tgz(good, link("l", "a"), item{name: "h", typ: tar.TypeLink, link: "l"}), "not a file before it"},
		{"hard link outside", inspect.TarGz, tgz(item{name: "a", typ: tar.TypeLink, link: "../../etc/passwd"}), "not a file before it"},
		{"device", inspect.TarGz, tgz(item{name: "a", typ: tar.TypeBlock}), "of type '4'"},
		{"pipe", inspect.TarGz, tgz(item{name: "a", typ: tar.TypeFifo}), "of type '6'"},
		{"sparse", inspect.TarGz, gz(t, sparse()), "sparse"},
		{"long name", inspect.TarGz, tgz(file(strings.Repeat("a/", 600)+"a", "")), "longer than 1024"},
		{"deep", inspect.TarGz, tgz(file(strings.Repeat("a/", 70)+"a", "")), "64 folders deep"},
		{"more behind the tar", inspect.TarGz, gz(t, append(tarOf(t, false, good), "hidden"...)), "behind the end of the tar"},
		{"more behind the gzip", inspect.TarGz, append(tgz(good), "hidden, and longer than a header"...), "behind the end of the gzip data"},
		{"a second tar", inspect.TarGz, append(tgz(good), tgz(file("b", ""))...), "behind the end of the tar"},

		{"no zip", inspect.Zip, []byte("MZ"), "central directory is missing"},
		{"bytes in front", inspect.Zip, append([]byte("#!/bin/sh\n"), zipOf(t, map[string]string{"a": ""})...), "end is marked at"},
		{"other name", inspect.Zip, bytes.Replace(zipOf(t, map[string]string{"name": "a"}), []byte("name"), []byte("game"), 1), "do not say the same"},
		{"zip slip", inspect.Zip, swap(t, zipOf(t, map[string]string{"xx/a": "a"}), "xx/a", "../a"), "leaves its folder"},
		{"NUL in a name", inspect.Zip, swap(t, zipOf(t, map[string]string{"xxxx": "a"}), "xxxx", "x\x00xx"), "not every system"},
		{"zip twice", inspect.Zip, swap(t, zipOf(t, map[string]string{"aaa": "a", "bbb": "b"}), "bbb", "aaa"), "stands twice"},
		{"zip twice by case", inspect.Zip, swap(t, zipOf(t, map[string]string{"aaa": "a", "bbb": "b"}), "bbb", "AAA"), "letter case"},
		{"overlap", inspect.Zip, zipPatch(t, 1, 42, 0), "they overlap"},
		{"gap", inspect.Zip, zipPatch(t, 0, 42, 4), "they overlap, or something is between"},
		{"checksum", inspect.Zip, zipPatch(t, 0, 16, 0x12345678), "sizes behind its data|checksum"},
		{"size", inspect.Zip, zipPatch(t, 0, 24, 1), "bytes, and its header says 1"},
		{"encrypted", inspect.Zip, zipFlags(t), "encrypted"},
		{"two disks", inspect.Zip, func() []byte { b := zipOf(t, map[string]string{"a": "a"}); b[len(b)-18] = 1; return b }(), "several disks"},
		{"zip64", inspect.Zip, func() []byte {
			b := zipOf(t, map[string]string{"a": "a"})
			copy(b[len(b)-6:], "\xff\xff\xff\xff")
			return b
		}(), "zip64"},
		{"a comment with an end in it", inspect.Zip, func() []byte {
			b := zipOf(t, map[string]string{"a": "a"})
			inner := slices.Clone(b[len(b)-22:])
			b[len(b)-2] = 22
			return append(b, inner...)
		}(), "its end is marked at"},
		{"zip link outside", inspect.Zip, zipLink(t, "../../etc/passwd"), "leaves its root"},

		{"no deb", inspect.Deb, []byte("!<arch>?"), "not a deb"},
		{"deb of nothing", inspect.Deb, ar(), "no debian-binary and no control.tar"},
		{"deb 3.0", inspect.Deb, ar(member{"debian-binary", []byte("3.0\n")}), "it should be 2.0"},
		{"deb without data", inspect.Deb, ar(member{"debian-binary", []byte("2.0\n")}, member{"control.tar", tarOf(t, false, file("control", control))}), "no data.tar"},
		{"deb in another order", inspect.Deb, ar(member{"debian-binary", []byte("2.0\n")}, member{"data.tar", tarOf(t, false)}), `it should be "control.tar data.tar"`},
		{"deb with a stranger", inspect.Deb, append(debOf(t, control, nil, debData...), ar(member{"evil", nil})[8:]...), `a member "evil"`},
		{"deb with two controls", inspect.Deb, swap(t, debOf(t, control, nil, debData...), "data.tar.gz", "control.tar"), "it should be"},
		{"deb by bzip2", inspect.Deb, swap(t, debOf(t, control, nil, debData...), "data.tar.gz ", "data.tar.bz2"), `compression by "bz2"`},
		{"a negative size", inspect.Deb, swap(t, debOf(t, control, nil, debData...), "4         `", "-4        `"), `a size of "-4"`},
		{"a wrong sum", inspect.Deb, debOf(t, control, ptr(strings.Repeat("0", 32)+"  usr/bin/hello\n"), debData...), "md5sums says 0000"},
		{"a missing sum", inspect.Deb, debOf(t, control, ptr(""), debData...), "is not in md5sums"},
		{"a sum of nothing", inspect.Deb, debOf(t, control, ptr(md5Of([]byte("hello"))+"  usr/bin/hello\n"+md5Of(nil)+"  etc/gone\n"), debData...), `"etc/gone", which is not a file`},
		{"a sum twice", inspect.Deb, debOf(t, control, ptr(strings.Repeat(md5Of([]byte("hello"))+"  usr/bin/hello\n", 2)), debData...), "stands twice"},
		{"a field twice", inspect.Deb, debOf(t, control+"version: 2\n", nil, debData...), "version stands twice"},
		{"no version", inspect.Deb, debOf(t, "Package: a\nArchitecture: all\n", nil, debData...), "no Version"},
		{"no control", inspect.Deb, debOf(t, "", nil, debData...), "no Package"},
		{"deb above", inspect.Deb, debOf(t, control, ptr(""), file("./../a", "")), "not relative and clean"},
		{"deb link above", inspect.Deb, debOf(t, control, nil, folder("./"), link("./a", "../b")), "leaves its root"},
		{"deb device", inspect.Deb, debOf(t, control, nil, item{name: "./dev/sda", typ: tar.TypeBlock}), "of type '4'"},

		{"apk 3", inspect.APK, []byte("ADBd and more"), "version 3"},
		{"apk without data", inspect.APK, gz(t, tarOf(t, true, file(".PKGINFO", pkginfo))), "says \"DATAHASH\""},
		{"apk with other data", inspect.APK, append(apkOf(t, pkginfo, true, apkData...), 0), "its data has the digest"},
		{"apk without a hash", inspect.APK, apkOf(t, "pkgname = a\npkgver = 1\narch = x\n", true, apkData...), `.PKGINFO says ""`},
		{"apk without .PKGINFO", inspect.APK, gz(t, tarOf(t, true, file(".other", ""))), "no .PKGINFO"},
		{"apk with data in the control", inspect.APK, gz(t, tarOf(t, true, file(".PKGINFO", pkginfo), file("usr/bin/sh", ""))), `"usr/bin/sh" stands in the control`},
		{"apk signed twice", inspect.APK, append(gz(t, tarOf(t, true, file(".SIGN.RSA.a", ""))), apkOf(t, pkginfo, true, apkData...)...), "stands twice"},
		{"apk with a field twice", inspect.APK, apkOf(t, pkginfo+"pkgver = 2\n", false, apkData...), "stands twice"},
		{"apk with a wrong sum", inspect.APK, apkOf(t, pkginfo, false, item{name: "a", body: "b", typ: tar.TypeReg, pax: map[string]string{"APK-TOOLS.checksum.SHA1": "00"}}), "its header says \"00\""},
		{"apk above", inspect.APK, apkOf(t, pkginfo, false, file("../a", "")), "not relative and clean"},

		{"chart of two", inspect.Chart, tgz(file("hello/Chart.yaml", chartYAML), file("b/a", "")), `is not in the folder "hello"`},
		{"chart of another name", inspect.Chart, tgz(file("other/Chart.yaml", chartYAML)), `in the folder "other"`},
		{"chart without a folder", inspect.Chart, tgz(file("Chart.yaml", chartYAML)), "is not in the folder"},
		{"chart of nothing", inspect.Chart, tgz(), "no Chart.yaml"},
		{"chart with a link", inspect.Chart, tgz(file("hello/Chart.yaml", chartYAML), link("hello/a", "Chart.yaml")), "a chart has none"},
		{"chart with a key twice", inspect.Chart, tgz(file("hello/Chart.yaml", chartYAML+"version: 2\n")), `the key "version" stands twice`},
		{"chart with an alias", inspect.Chart, tgz(file("hello/Chart.yaml", "name: &a hello\nversion: *a\n")), "an alias"},
		{"chart of two documents", inspect.Chart, tgz(file("hello/Chart.yaml", chartYAML+"---\na: b\n")), "more than one YAML document"},
		{"chart nested", inspect.Chart, tgz(file("hello/Chart.yaml", "a: "+strings.Repeat("[", 100)+strings.Repeat("]", 100))), "nested"},
		{"chart that is long", inspect.Chart, tgz(file("hello/Chart.yaml", "# "+strings.Repeat("x", 2<<20))), "longer than 1048576"},
	}
	nupkg := func(name, with string) []byte {
		files := nupkgFiles()
		files[name] = with
		if with == "" {
			delete(files, name)
		}
		return zipOf(t, files)
	}
	all = append(all,
		attack{"nupkg without a nuspec", inspect.Nupkg, nupkg("hello.nuspec", ""), "0 nuspec files"},
		attack{"nupkg with two", inspect.Nupkg, nupkg("other.nuspec", nuspec), "2 nuspec files"},
		attack{"nupkg without types", inspect.Nupkg, nupkg("[Content_Types].xml", ""), "it must have"},
		attack{"nupkg with a part of no type", inspect.Nupkg, nupkg("tools/a.exe", "x"), `"tools/a.exe" has no type`},
		attack{"nupkg with a wrong relation", inspect.Nupkg, nupkg("_rels/.rels", strings.Replace(rels, "/hello.nuspec", "/tools/LICENSE", 1)), "named as the manifest"},
		attack{"nupkg with a relation to nothing", inspect.Nupkg, nupkg("_rels/.rels", strings.Replace(rels, "/hello.nuspec", "/gone", 1)), "not in the package"},
		attack{"nupkg with an external relation", inspect.Nupkg, nupkg("_rels/.rels", strings.Replace(rels, `Id="R1"`, `TargetMode="External"`, 1)), "not in the package"},
		attack{"nupkg without a relation", inspect.Nupkg, nupkg("_rels/.rels", "<Relationships/>"), "hello.nuspec is not named"},
		attack{"nupkg with entities", inspect.Nupkg, nupkg("hello.nuspec", `<!DOCTYPE a [<!ENTITY b "c">]><package/>`), "DOCTYPE"},
		attack{"nupkg with a version twice", inspect.Nupkg, nupkg("hello.nuspec", strings.Replace(nuspec, "<tags>", "<version>2</version><tags>", 1)), "stands twice"},
		attack{"nupkg without a version", inspect.Nupkg, nupkg("hello.nuspec", "<package><metadata><id>a</id></metadata></package>"), "no version"},
		attack{"nupkg nested", inspect.Nupkg, nupkg("hello.nuspec", strings.Repeat("<a>", 100)), "elements more than 64 deep"},
		attack{"nupkg cut off", inspect.Nupkg, nupkg("hello.nuspec", "<package>"), "unexpected EOF"},
		attack{"nupkg of other letters", inspect.Nupkg, nupkg("hello.nuspec", `<?xml version="1.0" encoding="utf-16"?><package/>`), "not UTF-8"},

		attack{"no JSON", inspect.CycloneDX, []byte("{"), "ends in the middle"},
		attack{"a list", inspect.CycloneDX, []byte("[]"), "not an object"},
		attack{"other JSON", inspect.CycloneDX, []byte("{}"), "not CycloneDX"},
		attack{"a key twice", inspect.CycloneDX, swap(t, []byte(cycloneDX), `"version":1,`, `"components":[],`), `key "components" comes twice`},
		attack{"a key twice by case", inspect.CycloneDX, swap(t, []byte(cycloneDX), `"version":1,`, `"Components":[],`), `key "Components" comes twice, also as "components"`},
		attack{"components that are none", inspect.CycloneDX, []byte(`{"bomFormat":"CycloneDX","specVersion":"1.6","components":5}`), "where a list is expected"},
		attack{"more behind", inspect.CycloneDX, []byte(cycloneDX + "{}"), "something after the JSON document"},
		attack{"two digests", inspect.CycloneDX, swap(t, []byte(cycloneDX), `{"content":"00","alg":"MD5"}`, `{"content":"`+strings.Repeat("0", 64)+`","alg":"SHA-256"}`), "two SHA-256 digests"},
		attack{"no digest", inspect.CycloneDX, swap(t, []byte(cycloneDX), `"MD5"`, `"SHA-256"`), "is not sha256"},
		attack{"no subject", inspect.CycloneDX, swap(t, []byte(cycloneDX), `"name":"hello",`, ``), "no name"},
		attack{"nested", inspect.CycloneDX, []byte(strings.Repeat(`{"a":`, 100)), "nested"},
		attack{"not UTF-8", inspect.CycloneDX, []byte("{\"a\":\"\xff\"}"), "not UTF-8"},
		attack{"long", inspect.CycloneDX, bytes.Repeat([]byte(" "), 17<<20), "at most 16777216"},
		attack{"SPDX of nothing", inspect.SPDX, swap(t, []byte(spdx), "SPDXRef-hello\"}]", "SPDXRef-gone\"}]"), "which it does not have"},
		attack{"SPDX of two", inspect.SPDX, swap(t, []byte(spdx), `"name":"hello","doc`, `"documentDescribes":["SPDXRef-a"],"name":"hello","doc`), "describes 2 things"},
		attack{"SPDX with an id twice", inspect.SPDX, swap(t, []byte(spdx), `"SPDXRef-a"`, `"SPDXRef-hello"`), "stands twice"},
		attack{"SPDX 3", inspect.SPDX, []byte(`{"@context":"https://spdx.org/rdf/3.0.1/spdx-context.jsonld"}`), "not SPDX of version 2"},
		attack{"no statement", inspect.InToto, []byte("{}"), "not a statement"},
		attack{"a statement of nothing", inspect.InToto, []byte(`{"_type":"https://in-toto.io/Statement/v1","predicateType":"a","subject":[]}`), "no subject"},
		attack{"a subject twice", inspect.InToto, swap(t, []byte(statement), `"name":"b"`, `"name":"hello_linux_amd64.tar.gz"`), "stands twice"},
		attack{"a subject without a digest", inspect.InToto, swap(t, []byte(statement), `"sha256"`, `"sha1"`), "is not sha256"},
		attack{"an envelope of something else", inspect.InToto, []byte(`{"payloadType":"text/plain","payload":"","signatures":[]}`), `an envelope of "text/plain"`},
		attack{"an envelope of nothing", inspect.InToto, []byte(`{"payloadType":"application/vnd.in-toto+json","payload":"","signatures":[]}`), "reading the statement"},

		attack{"a binary for another processor", inspect.Binary, elfOf(62, buildInfo("go1.26.8", "linux", "arm64")), "it says that it is for linux/arm64"},
		attack{"a binary for another system", inspect.Binary, elfOf(62, buildInfo("go1.26.8", "windows", "amd64")), "it says that it is for windows/amd64"},
		attack{"a binary without a platform", inspect.Binary, elfOf(62, goInfo("go1.26.8", "path\tx\n")), "no GOOS"},
		attack{"a binary with a setting twice", inspect.Binary, elfOf(62, goInfo("go1.26.8", "path\tx\nbuild\tGOOS=linux\nbuild\tGOOS=darwin\n")), "stands twice"},
		attack{"build information twice", inspect.Binary, append(append(xcoff(), buildInfo("go1.26.8", "aix", "ppc64")...), buildInfo("go1.26.7", "aix", "ppc64")...), "twice"},
		attack{"XCOFF without build information", inspect.Binary, append(xcoff(), make([]byte, 3<<20)...), "no build information"},
		attack{"no binary", inspect.Binary, bytes.Repeat([]byte("a"), 100), "not an ELF, Mach-O"},
		attack{"a short binary", inspect.Binary, []byte("\x7fELF"), "ends in the middle"},
		attack{"no Go", inspect.Binary, append([]byte("\x7fELF\x02\x01\x01"), make([]byte, 200)...), ""},
	)
	return append(all, rpmAttacks(t)...)
}

func ptr(s string) *string { return &s }

// sparse is a tar whose only file is a hole of a terabyte.
func sparse() []byte {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	_ = w.WriteHeader(&tar.Header{Name: "a", Typeflag: tar.TypeReg, Size: 0, Mode: 0o644, Format: tar.FormatPAX, PAXRecords: map[string]string{"vendor.xxxxxx": "1", "vendor.yyyyyyyyyyyyy": "a", "vendor.zzzzzzzzzz": "1099511627776"}})
	_ = w.Close()
	out := bytes.ReplaceAll(b.Bytes(), []byte("vendor.xxxxxx"), []byte("GNU.sparse.map"[:13]))
	out = bytes.ReplaceAll(out, []byte("vendor.yyyyyyyyyyyyy"), []byte("GNU.sparse.name.xxxx"))
	return out
}

// zipPatch changes a number in an entry of the central directory of a zip of two.
func zipPatch(t testing.TB, entry, at int, n uint32) []byte {
	b := zipOf(t, map[string]string{"aaa": "the first", "bbb": "the second"})
	i := 0
	for range entry + 1 {
		i += bytes.Index(b[i+1:], []byte("PK\x01\x02")) + 1
	}
	binary.LittleEndian.PutUint32(b[i+at:], n)
	return b
}

func zipFlags(t testing.TB) []byte {
	b := zipOf(t, map[string]string{"a": "a"})
	b[6] |= 1
	b[bytes.Index(b, []byte("PK\x01\x02"))+8] |= 1
	return b
}

// zipLink is a zip with a symbolic link, stored.
func zipLink(t testing.TB, to string) []byte {
	t.Helper()
	le := binary.LittleEndian
	common := le.AppendUint16(nil, 20)
	common = append(common, 0, 0, 0, 0, 0, 0, 0x21, 0)
	common = le.AppendUint32(common, crc32.ChecksumIEEE([]byte(to)))
	common = le.AppendUint32(common, uint32(len(to)))
	common = le.AppendUint32(common, uint32(len(to)))
	common = append(common, 1, 0, 0, 0)
	b := append([]byte("PK\x03\x04"), common...)
	b = append(append(b, 'l'), to...)
	dir := len(b)
	b = append(append(b, "PK\x01\x02\x14\x03"...), common...)
	b = append(b, 0, 0, 0, 0, 0, 0)
	b = le.AppendUint32(b, 0o120777<<16)
	b = append(le.AppendUint32(b, 0), 'l')
	size := len(b) - dir
	b = append(b, "PK\x05\x06\x00\x00\x00\x00\x01\x00\x01\x00"...)
	b = le.AppendUint32(b, uint32(size))
	b = le.AppendUint32(b, uint32(dir))
	return append(b, 0, 0)
}

func rpmAttacks(t testing.TB) []attack {
	entries := func(change func([]node) []node) []byte { return cpioOf(change(rpmEntries())...) }
	same := cpioOf(rpmEntries()...)
	good := func() []byte { return rpmOf(t, rpmTags(), same) }
	patch := func(at int, c byte) []byte {
		b := good()
		b[at] ^= c
		return b
	}
	header := bytes.LastIndex(good(), []byte{0x8e, 0xad, 0xe8, 1})
	return []attack{
		{"no rpm", inspect.RPM, make([]byte, 200), "not an rpm"},
		{"rpm without a header", inspect.RPM, good()[:100], "signature header"},
		{"rpm with a changed header", inspect.RPM, swap(t, good(), "x86_64", "x86_65"), "the SHA-256 of the header"},
		{"rpm with a changed payload", inspect.RPM, patch(len(good())-1, 1), "the SHA-256 of the payload"},
		{"rpm with more behind", inspect.RPM, append(good(), 0), "the SHA-256 of the payload"},
		{"rpm with a huge index", inspect.RPM, patch(header+8, 0x7f), "at most 4096"},
		{"rpm with a huge store", inspect.RPM, patch(header+12, 0x7f), "at most 4096"},
		{"rpm without a version", inspect.RPM, rpmOf(t, rpmTags().with(1001, nil), same), "no name, version"},
		{"rpm with a payload of another digest", inspect.RPM, rpmOf(t, rpmTags().with(5092, []string{strings.Repeat("0", 64)}), same), "it says \"0000"},
		{"rpm with a payload of no digest", inspect.RPM, rpmOf(t, rpmTags().with(5092, []string{"", ""}), same), "does not say the SHA-256 of the payload"},
		{"rpm with a payload by another algorithm", inspect.RPM, rpmOf(t, rpmTags().with(5093, []uint32{2}), same), "by algorithm"},
		{"rpm by lzma", inspect.RPM, rpmOf(t, rpmTags().with(1125, "lzma"), same), `compressed with "lzma"`},
		{"rpm with another payload", inspect.RPM, rpmOf(t, rpmTags().with(1124, "drpm"), same), `format "drpm"`},
		{"rpm with fewer modes", inspect.RPM, rpmOf(t, rpmTags().with(1030, []uint16{1}), same), "5 names, and 1 values"},
		{"rpm with a folder out of range", inspect.RPM, rpmOf(t, rpmTags().with(1116, []uint32{0, 1, 1, 2, 9}), same), "not there"},
		{"rpm with a name twice", inspect.RPM, rpmOf(t, rpmTags().with(1117, []string{"bin", "hello", "hello", "one", "two"}), same), "stands twice"},
		{"rpm with another file digest", inspect.RPM, rpmOf(t, rpmTags(), entries(func(n []node) []node { n[1].body = "jello"; return n })), "has the digest"},
		{"rpm with another size", inspect.RPM, rpmOf(t, rpmTags(), entries(func(n []node) []node { n[1].body = "hello!"; return n })), "has 6 bytes"},
		{"rpm with another mode", inspect.RPM, rpmOf(t, rpmTags(), entries(func(n []node) []node { n[1].mode = 0o104755; return n })), "has the mode 104755"},
		{"rpm with another link", inspect.RPM, rpmOf(t, rpmTags(), entries(func(n []node) []node { n[2].body = "/etc"; return n })), "the header says to"},
		{"rpm with a file more", inspect.RPM, rpmOf(t, rpmTags(), entries(func(n []node) []node { return append(n, node{"./evil", "", 0o100644, 1, 9}) })), "not in the header"},
		{"rpm with a file twice", inspect.RPM, rpmOf(t, rpmTags(), entries(func(n []node) []node { return append(n, n[1]) })), "or twice"},
		{"rpm with a file less", inspect.RPM, rpmOf(t, rpmTags(), entries(func(n []node) []node { return n[1:] })), `"usr/bin" is in the header`},
		{"rpm with half a hard link", inspect.RPM, rpmOf(t, rpmTags().with(1037, []uint32{0, 0, 0, 2, 64}), entries(func(n []node) []node { return n[:4] })), "no contents"},
		{"rpm above", inspect.RPM, rpmOf(t, rpmTags().with(1118, []string{"/../", "/usr/bin/", "/usr/share/"}), entries(func(n []node) []node { n[0].name = "./../bin"; return n })), "not relative and clean"},
		{"rpm device", inspect.RPM, rpmOf(t, rpmTags(), entries(func(n []node) []node { n[1].mode = 0o060644; return n })), "a device"},
		{"rpm with more behind the cpio", inspect.RPM, rpmOf(t, rpmTags(), append(slices.Clone(same), "hidden"...)), "behind the end of the cpio"},
		{"rpm with no cpio", inspect.RPM, rpmOf(t, rpmTags(), bytes.Repeat([]byte("x"), 200)), "it should be newc"},
		{"rpm with a long name", inspect.RPM, rpmOf(t, rpmTags(), cpioOf(node{strings.Repeat("a", 5000), "", 0o100644, 1, 1})), "a name of 5001 bytes"},
	}
}

func TestAttacks(t *testing.T) {
	names := map[string]bool{}
	for _, a := range attacks(t) {
		if names[a.name] {
			t.Errorf("there are two attacks called %q", a.name)
		}
		names[a.name] = true
		f, err := open(t, a.format, a.b)
		if err == nil {
			t.Errorf("%s: %s is taken: %s", a.format, a.name, dump(f))
			continue
		}
		if fault.CodeOf(err) != fault.Mismatch || !slices.ContainsFunc(strings.Split(a.want, "|"), func(w string) bool { return strings.Contains(err.Error(), w) }) {
			t.Errorf("%s: %s: code %d, %v; want %q", a.format, a.name, fault.CodeOf(err), err, a.want)
		}
		if len(err.Error()) > 600 {
			t.Errorf("%s: %s: an error of %d bytes", a.format, a.name, len(err.Error()))
		}
	}
	t.Logf("%d attacks", len(names))
}

// A SquashFS whose metadata is not compressed, so that it can be changed in place.
func TestSnapAttacks(t *testing.T) {
	plain := sample(t, "plain.snap")
	le := binary.LittleEndian
	inodes, folders := int(le.Uint64(plain[64:])), int(le.Uint64(plain[72:]))
	root := le.Uint64(plain[32:])
	rootAt := inodes + int(root>>16) + 2 + int(root&0xffff)
	if le.Uint16(plain[rootAt:]) != 1 {
		t.Fatal("the root is not where it should be")
	}
	// The names of the sample's folders, each with its entry in front: offset, number, type, size.
	entry := func(name string) int {
		i := bytes.Index(plain[folders:], append([]byte{byte(len(name) - 1), 0}, name...))
		if i < 0 {
			t.Fatalf("there is no entry %q", name)
		}
		return folders + i - 6
	}
	// The list of the folder a begins with a header of 12 bytes and the entry b.
	inode := func(name string) int { return inodes + 2 + int(le.Uint16(plain[entry(name):])) }
	for _, a := range []struct {
		name string
		at   int
		with []byte
		want string
	}{
		{"magic", 0, []byte("sqsh"), "not a SquashFS"},
		{"version", 28, []byte{3}, "version 4.0"},
		{"compression", 20, []byte{5}, "lz4"},
		{"block size", 12, []byte{0, 0, 0, 1}, "a block size"},
		{"inodes in all", 4, []byte{9}, "9"},
		{"end", 40, []byte{0xff, 0xff, 0xff}, "it says that it has"},
		{"root", 32, []byte{0xff, 0x1f}, "the root"},
		{"root far away", 38, []byte{1}, "no inode"},
		{"table of inodes", 64, []byte{0xff, 0xff, 0xff}, "tables of inodes"},
		{"table of owners", 48, []byte{0xff, 0xff, 0xff}, "a table at"},
		{"an owner", rootAt + 4, []byte{7}, "an owner"},
		{"a cycle", entry("a"), append(le.AppendUint16(nil, uint16(root)), plain[entry("a")+2:entry("a")+4]...), "stands twice|reached twice"},
		{"a cycle below", entry("c"), le.AppendUint16(nil, le.Uint16(plain[entry("a"):])), "stands twice|reached twice"},
		{"a name with a slash", entry("b") + 8, []byte("/"), "not the name of a file"},
		{"the name .", entry("b") + 8, []byte("."), "not the name of a file"},
		{"names in disorder", entry("b") + 8, []byte("z"), "not behind"},
		{"a name twice", entry("b") + 8, []byte("c"), "not behind"},
		{"a long name", entry("b") + 6, []byte{0xff, 0xff}, "a name of 65536 bytes"},
		{"another type", entry("b") + 4, []byte{1}, "of type 1 in its folder"},
		{"too many entries", entry("b") - 12, []byte{0xff, 0xff}, "it may have 256"},
		{"a device", inode("b"), []byte{4}, "of type"},
		{"a huge file", inode("b") + 28, []byte{0xff, 0xff, 0xff, 0xff}, "at most 4294967296|bytes of a fragment|ends in the middle|a block of"},
		{"a fragment out of range", inode("b") + 20, []byte{9, 0}, "a fragment 9, of 1"},
		{"a fragment's tail out of range", inode("b") + 24, []byte{0xff, 0xff}, "of a fragment of"},
		{"a long link", inode("e") + 20, []byte{0xff, 0xff}, "a link to a name of"},
		{"a number twice", inode("b") + 12, []byte{1}, "stands twice"},
		{"more behind", len(plain) - 1, []byte{1}, "behind the end of the file system"},
	} {
		b := slices.Clone(plain)
		copy(b[a.at:], a.with)
		f, err := open(t, inspect.Snap, b)
		if err == nil {
			t.Errorf("%s is taken: %s", a.name, dump(f))
		} else if !slices.ContainsFunc(strings.Split(a.want, "|"), func(w string) bool { return strings.Contains(err.Error(), w) }) {
			t.Errorf("%s: %v; want %q", a.name, err, a.want)
		}
	}
}

// peak runs f and tells how many bytes were allocated, freed or not.
func peak(f func()) int64 {
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return int64(after.TotalAlloc - before.TotalAlloc)
}

// What is small and unpacks to much ends at the bound, and takes no memory until then.
func TestBombs(t *testing.T) {
	fixture.SkipRace(t)
	big := make([]byte, 64<<20)
	var tarBomb, zipBomb bytes.Buffer
	must(t, archive.TarGz(&tarBomb, []archive.File{archive.Bytes("a", big)}, commitTime))
	must(t, archive.Zip(&zipBomb, []archive.File{archive.Bytes("a", big)}, commitTime))
	plain := tarOf(t, false, item{name: "./a", body: string(big), typ: tar.TypeReg})
	zw, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1))
	must(t, err)
	deb := func(name string, data []byte) []byte {
		return ar(member{"debian-binary", []byte("2.0\n")}, member{"control.tar", tarOf(t, false, file("control", control))}, member{name, data})
	}
	cpio := cpioOf(node{"./usr/bin/hello", string(big), 0o100755, 1, 1})
	for _, b := range []struct {
		name, format string
		b            []byte
	}{
		{"tar.gz", inspect.TarGz, tarBomb.Bytes()},
		{"zip", inspect.Zip, zipBomb.Bytes()},
		{"deb", inspect.Deb, deb("data.tar.gz", gz(t, plain))},
		{"deb by zstd", inspect.Deb, deb("data.tar.zst", zw.EncodeAll(plain, nil))},
		{"apk", inspect.APK, apkOf(t, pkginfo, false, item{name: "a", body: string(big), typ: tar.TypeReg})},
		{"rpm", inspect.RPM, rpmOf(t, tags{
			1000: "hello", 1001: "1", 1002: "1", 1022: "x86_64", 1028: []uint32{64 << 20}, 1030: []uint16{0o100755},
			1034: []uint32{uint32(commitTime.Unix())}, 1035: []string{""}, 1036: []string{""}, 1037: []uint32{0}, 1039: []string{""}, 1040: []string{""},
			1116: []uint32{0}, 1117: []string{"hello"}, 1118: []string{"/usr/bin/"}, 1124: "cpio", 5011: []uint32{8}, 5093: []uint32{8},
		}, cpio)},
		{"padding of a tar", inspect.TarGz, gz(t, append(tarOf(t, false), big...))},
	} {
		used := peak(func() {
			_, err := inspect.Open(t.Context(), b.format, bytes.NewReader(b.b), int64(len(b.b)), inspect.Options{MaxBytes: 16 << 20})
			if err == nil || !strings.Contains(err.Error(), "unpacks to more than 16777216 bytes") {
				t.Errorf("%s: %v", b.name, err)
			}
		})
		if used > 12<<20 {
			t.Errorf("%s: %d bytes were allocated", b.name, used)
		}
	}

	// Dictionaries and windows of gigabytes that a few bytes ask for.
	xz := sample(t, "hello-xz.deb")
	i := bytes.LastIndex(xz, []byte("\xfd7zXZ"))
	head := i + 12
	length := (int(xz[head]) + 1) * 4
	// The properties of LZMA2 stand behind its filter's number and their length.
	j := head + 2 + bytes.Index(xz[head+2:head+length], []byte{0x21, 1})
	xz[j+2] = 40 // 4 GiB - 1
	binary.LittleEndian.PutUint32(xz[head+length-4:], crc32.ChecksumIEEE(xz[head:head+length-4]))
	window := append([]byte{0x28, 0xb5, 0x2f, 0xfd, 0x00, 0xa0}, make([]byte, 100)...) // 1 GiB
	for name, d := range map[string]made1{
		"a dictionary of 67108864|a dictionary of 4294967295 bytes": {inspect.Deb, xz},
		"window size exceeded": {inspect.Deb, deb("data.tar.zst", window)},
	} {
		used := peak(func() {
			_, err := open(t, d.format, d.b)
			if err == nil || !slices.ContainsFunc(strings.Split(name, "|"), func(w string) bool { return strings.Contains(err.Error(), w) }) {
				t.Errorf("%s: %v", name, err)
			}
		})
		if used > 20<<20 {
			t.Errorf("%s: %d bytes were allocated", name, used)
		}
	}

	// More entries than there may be, and folders that names imply.
	var items []item
	for i := range 300 {
		items = append(items, file(fmt.Sprint(i), ""))
	}
	var deep []item
	for i := range 30 {
		deep = append(deep, file(strings.Repeat(fmt.Sprint(i)+"/", 20)+"a", ""))
	}
	for _, list := range [][]item{items, deep} {
		b := gz(t, tarOf(t, false, list...))
		if _, err := inspect.Open(t.Context(), inspect.TarGz, bytes.NewReader(b), int64(len(b)), inspect.Options{MaxEntries: 299}); err == nil || !strings.Contains(err.Error(), "more than 299 entries") {
			t.Errorf("%d entries: %v", len(list), err)
		}
		if _, err := inspect.Open(t.Context(), inspect.TarGz, bytes.NewReader(b), int64(len(b)), inspect.Options{MaxEntries: 1000}); err != nil {
			t.Errorf("%d entries: %v", len(list), err)
		}
	}
}

// A large file passes through and is not held.
func TestMemory(t *testing.T) {
	if testing.Short() {
		t.Skip("unpacks 100 MB several times")
	}
	body := []byte(pattern(100 << 20))
	var tgz, zip bytes.Buffer
	must(t, archive.TarGz(&tgz, []archive.File{archive.Bytes("a", body)}, commitTime))
	must(t, archive.Zip(&zip, []archive.File{archive.Bytes("a", body)}, commitTime))
	for format, b := range map[string][]byte{inspect.TarGz: tgz.Bytes(), inspect.Zip: zip.Bytes()} {
		used := peak(func() {
			f, err := inspect.Open(t.Context(), format, readerAt{bytes.NewReader(b)}, int64(len(b)), inspect.Options{})
			must(t, err)
			if f.Entries[0].Size != 100<<20 {
				t.Errorf("%s: %d bytes", format, f.Entries[0].Size)
			}
		})
		t.Logf("%s: %d KB allocated", format, used>>10)
		if used > 2<<20 {
			t.Errorf("%s: %d bytes were allocated", format, used)
		}
	}
}

type readerAt struct{ io.ReaderAt }
