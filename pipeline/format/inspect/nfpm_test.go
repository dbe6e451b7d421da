package inspect_test

import (
	"bytes"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/slipway-build/slipway/pipeline/format/inspect"
)

// flat is all that is known of a file, by names such as rpm.Name and usr/bin/hello size.
func flat(f inspect.Facts) map[string]string {
	all := map[string]string{"name": f.Name, "version": f.Version, "architecture": f.Architecture}
	maps.Copy(all, f.Fields)
	for _, e := range f.Entries {
		name := strings.TrimSpace(e.Part + " " + e.Name)
		for key, value := range map[string]string{
			"type": e.Type.String(), "mode": e.Mode.String(), "size": fmt.Sprint(e.Size), "link": e.Link, "time": e.ModTime.Format(time.RFC3339),
			"owner": fmt.Sprintf("%d:%d %s:%s", e.UID, e.GID, e.Owner, e.Group), "digest": string(e.Digest),
		} {
			all[name+" "+key] = value
		}
		for _, x := range e.Extra {
			all[name+" "+x.Key] += x.Value + "\n"
		}
	}
	return all
}

// The packages in testdata/nfpm were made by nFPM 2.45.2 of the same package, before there were writers here. What ours say
// otherwise is listed, with the reason; "*" stands for every file.
func TestNFPM(t *testing.T) {
	for _, tt := range []struct {
		format string
		may    map[string]string
	}{
		{inspect.Deb, map[string]string{
			"ar.members":  "the data were compressed behind nFPM, by the pinned compressor",
			"ar.data.tar": "", "ar.data.tar.gz": "", "data.compression": "", "data.gzip.flags": "", "data.gzip.mtime": "", "data.gzip.os": "",
			"control.Installed-Size": "each file is rounded up",
			"control control digest": "", "control control size": "",
		}},
		{inspect.RPM, map[string]string{
			"* name":             "a dot is in front of the names in the payload",
			"* slash":            "",
			"* cpio-time":        "files have a time there",
			"payload.gzip.mtime": "nFPM writes one that is none",
			"payload.cpio.size":  "follows from the above",
			"rpm.PayloadDigest":  "", "rpm.signature.273": "", "rpm.signature.1000": "",
			"rpm.signature.1007":   "the size of the archive, and not of its files",
			"rpm.PayloadDigestAlt": "nFPM leaves it out",
			"rpm.RequireName":      "features of rpm and the shell of the scripts",
			"rpm.RequireVersion":   "", "rpm.RequireFlags": "",
		}},
		{inspect.APK, map[string]string{
			"pkginfo.builddate":       "nFPM leaves it out",
			"pkginfo.origin":          "nFPM leaves it out",
			"control .PKGINFO time":   "nFPM writes 1970",
			"control.gzip.mtime":      "nFPM writes one that is none",
			"data.gzip.mtime":         "",
			"pkginfo.datahash":        "follows from the above",
			"control .PKGINFO digest": "", "control .PKGINFO size": "", "apk.control": "", "apk.data": "",
		}},
	} {
		theirs, err := os.ReadFile("testdata/nfpm/hello." + tt.format)
		must(t, err)
		i := slices.IndexFunc(packers, func(p packer) bool { return p.format == tt.format })
		var ours bytes.Buffer
		must(t, packers[i].write(&ours, release(t, []byte("a program\n"))))
		before, err := open(t, tt.format, theirs)
		must(t, err)
		after, err := open(t, tt.format, ours.Bytes())
		must(t, err)
		a, b := flat(before), flat(after)
		keys := maps.Clone(a)
		maps.Copy(keys, b)
		differs := map[string]bool{}
		for _, key := range slices.Sorted(maps.Keys(keys)) {
			if a[key] == b[key] {
				continue
			}
			listed := key
			if _, of, ok := strings.Cut(key, " "); ok && tt.format == inspect.RPM {
				listed = "* " + of
			}
			differs[listed] = true
			if _, ok := tt.may[listed]; !ok {
				t.Errorf("%s: %s was %q and is %q", tt.format, key, a[key], b[key])
			}
		}
		for key := range tt.may {
			if !differs[key] {
				t.Errorf("%s: %s is listed and does not differ", tt.format, key)
			}
		}
	}
}
