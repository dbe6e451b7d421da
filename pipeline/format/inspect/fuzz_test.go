package inspect_test

import (
	"bytes"
	"path"
	"strings"
	"testing"

	"github.com/slipway-build/slipway/pipeline/format/inspect"
	"github.com/slipway-build/slipway/pipeline/release/artifact"
	"github.com/slipway-build/slipway/pipeline/release/fault"
)

// fuzz opens anything as one format. What is found must be what a caller may rely on.
func fuzz(f *testing.F, format string) {
	for _, m := range made(f) {
		if m.format == format {
			f.Add(m.b)
		}
	}
	for name, fm := range samples {
		if fm == format {
			f.Add(sample(f, name))
		}
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		o := inspect.Options{MaxBytes: 16 << 20, MaxEntries: 2000, MaxDocument: 1 << 20}
		facts, err := inspect.Open(t.Context(), format, bytes.NewReader(b), int64(len(b)), o)
		if err != nil {
			if fault.CodeOf(err) != fault.Mismatch || len(facts.Entries)+len(facts.Fields) > 0 {
				t.Errorf("code %d of %v, with %d entries", fault.CodeOf(err), err, len(facts.Entries))
			}
			return
		}
		if facts.Format != format || len(facts.Entries) > o.MaxEntries {
			t.Errorf("format %q, %d entries", facts.Format, len(facts.Entries))
		}
		if format == inspect.InToto {
			return
		}
		seen := map[string]inspect.Type{}
		for _, e := range facts.Entries {
			key := e.Part + "\x00" + e.Name
			if _, ok := seen[key]; ok {
				t.Errorf("%q stands twice", e.Name)
			}
			seen[key] = e.Type
			if e.Name != path.Clean(e.Name) || path.IsAbs(e.Name) || strings.HasPrefix(e.Name, "..") && (e.Name == ".." || e.Name[2] == '/') || strings.ContainsAny(e.Name, "\x00\n") {
				t.Errorf("the name %q", e.Name)
			}
			switch e.Type {
			case inspect.File:
				if e.Digest == "" || e.Size < 0 || e.Size > o.MaxBytes || e.Mode.IsDir() {
					t.Errorf("%q: %s, %d bytes, %s", e.Name, e.Digest, e.Size, e.Mode)
				}
			case inspect.Symlink:
				to := path.Join(path.Dir(e.Name), e.Link)
				if !path.IsAbs(e.Link) && (to == ".." || strings.HasPrefix(to, "../")) {
					t.Errorf("%q is a link to %q", e.Name, e.Link)
				}
			case inspect.HardLink:
				// In an rpm the contents stand with the last name.
				if seen[e.Part+"\x00"+e.Link] != inspect.File && format != inspect.RPM {
					t.Errorf("%q is a hard link to %q", e.Name, e.Link)
				}
			case inspect.Folder:
			default:
				t.Errorf("%q is a %s", e.Name, e.Type)
			}
		}
	})
}

func FuzzBinary(f *testing.F)    { fuzz(f, inspect.Binary) }
func FuzzTarGz(f *testing.F)     { fuzz(f, inspect.TarGz) }
func FuzzZip(f *testing.F)       { fuzz(f, inspect.Zip) }
func FuzzDeb(f *testing.F)       { fuzz(f, inspect.Deb) }
func FuzzRPM(f *testing.F)       { fuzz(f, inspect.RPM) }
func FuzzAPK(f *testing.F)       { fuzz(f, inspect.APK) }
func FuzzSnap(f *testing.F)      { fuzz(f, inspect.Snap) }
func FuzzNupkg(f *testing.F)     { fuzz(f, inspect.Nupkg) }
func FuzzChart(f *testing.F)     { fuzz(f, inspect.Chart) }
func FuzzCycloneDX(f *testing.F) { fuzz(f, inspect.CycloneDX) }
func FuzzSPDX(f *testing.F)      { fuzz(f, inspect.SPDX) }
func FuzzInToto(f *testing.F)    { fuzz(f, inspect.InToto) }

// FuzzRPMHeader reaches what stands behind the digests of an rpm: they are made to hold.
func FuzzRPMHeader(f *testing.F) {
	payload := gz(f, cpioOf(rpmEntries()...))
	f.Add(rpmHeader(63, rpmTags().with(5092, []string{artifact.Sum(payload).Hex()})))
	f.Fuzz(func(t *testing.T, header []byte) {
		b := sealed(header, payload)
		_, _ = inspect.Open(t.Context(), inspect.RPM, bytes.NewReader(b), int64(len(b)), inspect.Options{MaxBytes: 1 << 20, MaxDocument: 1 << 20})
	})
}

func FuzzRPMPayload(f *testing.F) {
	f.Add(cpioOf(rpmEntries()...))
	f.Fuzz(func(t *testing.T, cpio []byte) {
		b := rpmOf(t, rpmTags(), cpio)
		_, _ = inspect.Open(t.Context(), inspect.RPM, bytes.NewReader(b), int64(len(b)), inspect.Options{MaxBytes: 1 << 20, MaxDocument: 1 << 20})
	})
}
