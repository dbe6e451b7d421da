package compare_test

import (
	"bytes"
	"slices"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/slipway-build/slipway/pipeline/format/compare"
	"github.com/slipway-build/slipway/pipeline/format/inspect"
	"github.com/slipway-build/slipway/pipeline/release/artifact"
)

var formats = []string{
	"", compare.JSON, compare.YAML, compare.Text, inspect.Binary, inspect.TarGz, inspect.Zip, inspect.Deb, inspect.RPM, inspect.APK,
	inspect.Snap, inspect.Nupkg, inspect.Chart, inspect.CycloneDX, inspect.SPDX, inspect.InToto,
}

// checkDifferences holds what is told of two files against what must be true of it.
func checkDifferences(t *testing.T, d []compare.Difference, same bool) {
	t.Helper()
	if same != (len(d) == 0) {
		t.Errorf("the same: %v, and the differences are %q", same, texts(d))
	}
	if len(d) > 21 {
		t.Errorf("%d differences", len(d))
	}
	for _, s := range texts(d) {
		if !utf8.ValidString(s) || strings.ContainsFunc(s, func(r rune) bool { return !strconv.IsPrint(r) }) || len(s) > 16<<10 {
			t.Errorf("it is not to be printed: %q", s)
		}
	}
}

// Whatever two files are: they differ if and only if a difference is told, and what is told can be printed.
func FuzzFiles(f *testing.F) {
	for _, p := range plants(f) {
		if len(p.published) < 8<<10 {
			f.Add(uint8(slices.Index(formats, p.format)), p.published, p.rebuilt)
		}
	}
	f.Add(uint8(3), []byte("a\nb\n\xff"), []byte("a\n"))
	f.Fuzz(func(t *testing.T, format uint8, a, b []byte) {
		for _, format := range []string{formats[int(format)%len(formats)], ""} {
			d, err := compare.Files(t.Context(), format, source(a), source(b), compare.Options{})
			must(t, err)
			checkDifferences(t, d, bytes.Equal(a, b))
		}
	})
}

// Whatever an index, a manifest, a config and a layer are, two images that are not the same differ.
func FuzzImages(f *testing.F) {
	s, root := hello().write(f)
	index := s[root]
	manifest := s[artifact.Digest(decode(f, index)["manifests"].([]any)[0].(object)["digest"].(string))]
	config := s[artifact.Digest(decode(f, manifest)["config"].(object)["digest"].(string))]
	layer := s[artifact.Digest(decode(f, manifest)["layers"].([]any)[1].(object)["digest"].(string))]
	f.Add(index, manifest, config, layer)
	f.Add([]byte(`{"manifests":[{"digest":"x"},null,3,{"platform":{"os":"\u001b"}}]}`), []byte(`{"layers":{},"config":[]}`), []byte(`{"rootfs":{"diff_ids":[null]}}`), []byte("\x1f\x8b"))
	f.Add([]byte(`{"manifests":[]}`), []byte(`{}`), []byte(`[]`), []byte{})
	f.Fuzz(func(t *testing.T, newIndex, newManifest, newConfig, newLayer []byte) {
		// The blobs are found under the digests of the old ones, so that all of them are read.
		under := store{}
		for d, b := range s {
			under[d] = b
		}
		top := artifact.Sum([]byte("top"))
		replace := func(b []byte, old, by string) []byte { return bytes.ReplaceAll(b, []byte(old), []byte(by)) }
		m, c, l := artifact.Sum([]byte("m")), artifact.Sum([]byte("c")), artifact.Sum([]byte("l"))
		under[top] = replace(newIndex, string(artifact.Sum(manifest)), string(m))
		under[m] = replace(replace(newManifest, string(artifact.Sum(config)), string(c)), string(artifact.Sum(layer)), string(l))
		under[c], under[l] = newConfig, newLayer
		for _, both := range [][2]artifact.Digest{{top, root}, {m, artifact.Sum(manifest)}} {
			for _, turned := range []bool{false, true} {
				x, y, a, b := under, s, both[0], both[1]
				if turned {
					x, y, a, b = y, x, b, a
				}
				d, err := compare.Images(t.Context(), x, y, a, b, compare.Options{})
				must(t, err)
				checkDifferences(t, d, false)
			}
		}
	})
}
