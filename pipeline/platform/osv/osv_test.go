package osv_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/slipway-build/slipway/pipeline/platform/osv"
	"github.com/slipway-build/slipway/pipeline/release/fault"
)

const bill = `{"components": [
{"name": "app", "purl": "pkg:golang/example.com/app@v1.0.0"},
{"name": "libcrypto3", "version": "3.3.2-r0", "purl": "pkg:apk/alpine/libcrypto3@3.3.2-r0?arch=x86_64&distro=alpine-3.20.3&upstream=openssl"},
{"name": "musl", "version": "1.2.5-r0", "purl": "pkg:apk/alpine/musl@1.2.5-r0?arch=x86_64&distro=alpine-3.20.3"}]}`

const debian = `{"components": [
{"name": "libc6", "version": "2.36-9+deb12u10", "purl": "pkg:deb/debian/libc6@2.36-9%2Bdeb12u10?arch=amd64&distro=debian-12&upstream=glibc"},
{"name": "bind9-dnsutils", "version": "1:9.18.28-1", "purl": "pkg:deb/debian/bind9-dnsutils@1:9.18.28-1?arch=amd64&distro=debian-12&upstream=bind9%401%3A9.18.28-1%7Edeb12u2"}]}`

func image(t testing.TB, name, text string) osv.Image {
	t.Helper()
	im, err := osv.ReadImage(name, []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return im
}

func TestReadImage(t *testing.T) {
	im := image(t, "a", bill)
	want := []osv.Package{{"apk", "libcrypto3", "3.3.2-r0", "openssl", "3.3.2-r0"}, {"apk", "musl", "1.2.5-r0", "musl", "1.2.5-r0"}}
	if im.System != "alpine-3.20.3" || !slices.Equal(im.Packages, want) {
		t.Errorf("%+v", im)
	}
	im = image(t, "d", debian)
	if p := im.Packages[1]; p != (osv.Package{"deb", "bind9-dnsutils", "1:9.18.28-1", "bind9", "1:9.18.28-1~deb12u2"}) {
		t.Errorf("%+v", p)
	}
	for _, bad := range []string{"", "[]", `{"components": [{"purl": "pkg:apk/a/%zz@1"}]}`, `{"components": [{"purl": "pkg:apk/a/b?arch=%zz"}]}`} {
		if _, err := osv.ReadImage("x", []byte(bad)); err == nil {
			t.Errorf("%s is read", bad)
		}
	}
}

// record is one of a package with events, each as introduced=1.0.
func record(id, ecosystem, name string, more string, events ...string) string {
	var all []string
	for _, e := range events {
		key, value, _ := strings.Cut(e, "=")
		all = append(all, fmt.Sprintf(`{%q: %q}`, key, value))
	}
	return fmt.Sprintf(`{"schema_version": "1.7.0", "id": %q, %s "affected": [{"package": {"ecosystem": %q, "name": %q}, "ranges": [{"type": "ECOSYSTEM", "events": [%s]}]}]}`,
		id, more, ecosystem, name, strings.Join(all, ", "))
}

func find(t testing.TB, im osv.Image, records ...string) ([]osv.Finding, error) {
	t.Helper()
	tree := fstest.MapFS{"readme.txt": {Data: []byte("no record")}}
	for i, r := range records {
		tree[fmt.Sprintf("a/%d.json", i)] = &fstest.MapFile{Data: []byte(r)}
	}
	return osv.Find(t.Context(), tree, []osv.Image{im})
}

func TestFind(t *testing.T) {
	const a = "Alpine:v3.20"
	for _, tt := range []struct {
		name, ecosystem, pkg string
		events               []string
		has                  bool
		fixed                string
	}{
		{"before its fix", a, "openssl", []string{"introduced=0", "fixed=3.3.3-r0"}, true, "3.3.3-r0"},
		{"at its fix", a, "openssl", []string{"introduced=0", "fixed=3.3.2-r0"}, false, ""},
		{"behind its fix", a, "openssl", []string{"introduced=0", "fixed=3.3.1-r9"}, false, ""},
		{"without a fix", a, "openssl", []string{"introduced=3.3.2-r0"}, true, ""},
		{"before it came", a, "openssl", []string{"introduced=3.3.2-r1", "fixed=3.4.0-r0"}, false, ""},
		{"come again", a, "openssl", []string{"introduced=0", "fixed=3.1.0-r0", "introduced=3.3.0-r0", "fixed=3.3.5-r0"}, true, "3.3.5-r0"},
		{"come again, in any order", a, "openssl", []string{"fixed=3.3.5-r0", "introduced=3.3.0-r0", "fixed=3.1.0-r0", "introduced=0"}, true, "3.3.5-r0"},
		{"between two", a, "openssl", []string{"introduced=0", "fixed=3.1.0-r0", "introduced=3.4.0-r0"}, false, ""},
		{"the last that has it", a, "openssl", []string{"introduced=0", "last_affected=3.3.2-r0"}, true, ""},
		{"behind the last", a, "openssl", []string{"introduced=0", "last_affected=3.3.1-r0"}, false, ""},
		{"as apk orders", a, "openssl", []string{"introduced=0", "fixed=3.3.10-r0"}, true, "3.3.10-r0"},
		{"another release", "Alpine:v3.19", "openssl", []string{"introduced=0"}, false, ""},
		{"all releases", "Alpine", "openssl", []string{"introduced=0"}, true, ""},
		{"another distribution", "Debian:12", "openssl", []string{"introduced=0"}, false, ""},
		{"the name of what is installed", a, "libcrypto3", []string{"introduced=0"}, false, ""},
	} {
		got, err := find(t, image(t, "alpine linux/amd64", bill), record("CVE-2026-1", tt.ecosystem, tt.pkg, "", tt.events...), record("X", a, "other", "", "introduced=0"))
		if err != nil || (len(got) == 1) != tt.has || tt.has && (got[0].Package != "libcrypto3" || got[0].Fixed != tt.fixed || got[0].Unclear != "") {
			t.Errorf("%s: %+v, %v", tt.name, got, err)
		}
	}
	got, err := find(t, image(t, "d", debian),
		record("DSA-1", "Debian:12", "bind9", `"aliases": ["CVE-1"], "upstream": ["CVE-2"],`, "introduced=0", "fixed=1:9.18.28-1"),
		record("DSA-2", "Debian:12", "glibc", `"withdrawn": "2026-01-01T00:00:00Z",`, "introduced=0"),
		`{"id": "DSA-3", "affected": [{"package": {"ecosystem": "Debian:12", "name": "glibc"}, "versions": ["2.36-9+deb12u10"]}]}`,
		`{"id": "DSA-4", "affected": [{"package": {"ecosystem": "Debian:12", "name": "glibc"}, "versions": ["2.36-9"], "ranges": [{"type": "GIT", "events": [{"introduced": "0"}]}]}]}`)
	if err != nil || len(got) != 2 || got[0].Package != "bind9-dnsutils" || !slices.Equal(got[0].Aliases, []string{"CVE-1", "CVE-2"}) || got[1].ID != "DSA-3" {
		t.Errorf("%+v, %v", got, err)
	}
	// What cannot be compared counts.
	got, err = find(t, image(t, "a", bill), record("X", a, "openssl", "", "introduced=0", "fixed=3:new"))
	if err != nil || len(got) != 1 || got[0].Unclear == "" {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestRefused(t *testing.T) {
	im := image(t, "alpine linux/amd64", bill)
	for want, text := range map[string]string{
		"no file speaks of alpine-3.20.3, which alpine linux/amd64 is of": record("X", "Alpine:v3.19", "openssl", "", "introduced=0"),
		"a/0.json: it has no id":         `{"x": 1}`,
		"a/0.json":                       `{`,
		"a/0.json has more than 4194304": `{"id": "` + strings.Repeat("x", 4<<20) + `"}`,
	} {
		if _, err := find(t, im, text); fault.CodeOf(err) != fault.Usage || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := osv.Find(ctx, fstest.MapFS{"a.json": {Data: []byte(record("X", "Alpine", "openssl", "", "introduced=0"))}}, []osv.Image{im}); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
}

func TestSystems(t *testing.T) {
	for system, ecosystems := range map[string]string{
		"alpine-3.22.1": "Alpine:v3.22", "debian-12": "Debian:12", "ubuntu-24.04": "Ubuntu:24.04:LTS", "ubuntu-25.10": "Ubuntu:25.10",
		"rhel-9.8": "Red Hat:enterprise_linux:9::baseos", "rocky-9.4": "Rocky Linux:9", "almalinux-9.4": "AlmaLinux:9", "wolfi-20230201": "Wolfi",
	} {
		im := image(t, "x", strings.ReplaceAll(bill, "alpine-3.20.3", system))
		if got, err := find(t, im, record("X", ecosystems, "openssl", "", "introduced=0")); err != nil || len(got) != 1 {
			t.Errorf("%s does not speak of %s: %v, %v", ecosystems, system, got, err)
		}
	}
}

func FuzzFind(f *testing.F) {
	im := image(f, "a", bill)
	f.Add([]byte(record("X", "Alpine:v3.20", "openssl", "", "introduced=0", "fixed=3.3.3-r0", "last_affected=1")))
	f.Fuzz(func(t *testing.T, b []byte) {
		found, err := osv.Find(t.Context(), fstest.MapFS{"a.json": {Data: b}}, []osv.Image{im})
		for _, one := range found {
			if err != nil || one.ID == "" || one.Package == "" {
				t.Errorf("%+v, %v", one, err)
			}
		}
	})
}
