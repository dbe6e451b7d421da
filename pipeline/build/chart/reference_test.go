package chart

import (
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
)

const digestHex = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

func TestCheckReference(t *testing.T) {
	for _, ref := range []string{
		"nginx:1.27.3",
		"nginx:v1.27.3",
		"nginx:1.27.3-alpine",
		"nginx:1.27.3-alpine3.21",
		"ghcr.io/owner/name:1.2.3-rc.1-ubuntu",
		"ghcr.io/owner/name:1.2.3-ubuntu-24.04",
		"ghcr.io/owner/name:0.0.1-snapshot.5.g0123456789ab-ubi",
		"ghcr.io/owner/name:1.2.3_build.7",
		"localhost:5000/x:1.2.3",
		"localhost:5000/a/b/c:1.2.3",
		"[::1]:5000/x:1.2.3",
		"nginx@sha256:" + digestHex,
		"localhost:5000/x@sha256:" + digestHex,
		"nginx:latest@sha256:" + digestHex,
	} {
		if err := checkReference(ref); err != nil {
			t.Errorf("%q is refused: %v", ref, err)
		}
	}
	for ref, says := range map[string]string{
		"":                                  "not a reference",
		"nginx":                             "no tag",
		"nginx:":                            "malformed",
		"nginx:latest":                      `"latest" is not a release`,
		"nginx:1":                           `"1" is not a release`,
		"nginx:1.2":                         `"1.2" is not a release`,
		"nginx:v1.2":                        "not a release",
		"nginx:master":                      "not a release",
		"nginx:1.2.3.4":                     "not a release",
		"nginx:01.2.3":                      "not a release",
		"nginx:1.2.3-":                      "not a release",
		"nginx:1.2.3-_x":                    "not a release",
		"nginx:latest-1.2.3":                "not a release",
		"nginx:1.2.3+build":                 "malformed",
		"nginx:1.2.3 ":                      "malformed",
		"nginx:" + strings.Repeat("1", 129): "malformed",
		"localhost:5000/x":                  "no tag",
		"localhost:5000":                    `"5000" is not a release`,
		"registry:1.2.3/x":                  "not a reference",
		"UPPER:1.2.3":                       "not a reference",
		"a//b:1.2.3":                        "not a reference",
		"/a:1.2.3":                          "not a reference",
		"a b:1.2.3":                         "not a reference",
		"https://ghcr.io/a:1.2.3":           "not a reference",
		"nginx@sha256:0123":                 "digest",
		"nginx@":                            "digest",
		"nginx@sha512:" + digestHex:         "digest",
		"nginx@sha256:" + strings.ToUpper(digestHex):         "digest",
		"nginx@sha256:" + digestHex + "@sha256:" + digestHex: "digest",
		"@sha256:" + digestHex:                               "not a reference",
		strings.Repeat("a", 256) + ":1.2.3":                  "not a reference",
		"nginx:1.2.3\n":                                      "malformed",
		"ghcr.io/owner/name:1.2.3-rc..1":                     "not a release",
		"{{ .Values.image }}:1.2.3":                          "not a reference",
	} {
		if err := checkReference(ref); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%q: error %v, want one that says %q", ref, err, says)
		}
	}
}

// FuzzCheckReference holds what is accepted against another parser: the same repository, and either a digest or a tag
// that has three numbers.
func FuzzCheckReference(f *testing.F) {
	for _, s := range []string{"nginx:1.2.3", "localhost:5000/x:v1.2.3-alpine", "a/b@sha256:" + digestHex, "[::1]:1/x:1.2.3", "x:y/z", "@", ":"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if checkReference(s) != nil {
			return
		}
		bare, digest, pinned := strings.Cut(s, "@")
		if strings.HasPrefix(s, "[") || strings.Contains(bare, ":0") { // hosts that the other parser does not know
			return
		}
		if !pinned {
			ref, err := name.NewTag(s)
			if err != nil || strings.Count(ref.TagStr(), ".") < 2 || !strings.HasSuffix(s, ":"+ref.TagStr()) {
				t.Errorf("%q is accepted: %v %v", s, ref, err)
			}
			return
		}
		if ref, err := name.NewDigest(s); err != nil || ref.DigestStr() != digest {
			t.Errorf("%q is accepted: %v %v", s, ref, err)
		}
	})
}

func TestImagesIn(t *testing.T) {
	tests := map[string]struct {
		yaml string
		want []string
	}{
		"everywhere in a pod": {
			`{spec: {containers: [{name: a, image: A}], initContainers: [{name: b, image: B}], ephemeralContainers: [{image: C}], volumes: [{name: v, image: {reference: D}}, {name: w, emptyDir: {}}]}}`,
			[]string{`container "a" A`, `container "b" B`, `container without a name C`, `volume "v" D`},
		},
		"in a list, a cron job and a custom resource": {
			"kind: List\nitems:\n- spec: {jobTemplate: {spec: {template: {spec: {containers: [{name: a, image: A}]}}}}}\n- {kind: Custom, spec: {deep: [[{podTemplate: {spec: {containers: [{name: b, image: B}]}}}]]}}",
			[]string{`container "a" A`, `container "b" B`},
		},
		"several documents":         {"---\n{containers: [{name: a, image: A}]}\n---\n# nothing\n---\n{containers: [{name: b, image: B}]}\n...\n", []string{`container "a" A`, `container "b" B`}},
		"JSON":                      {`{"containers": [{"name": "a", "image": "A"}]}`, []string{`container "a" A`}},
		"aliases":                   {"x: &c [{name: a, image: &i A}]\nspec: {containers: *c}\nother: {containers: [{name: b, image: *i}]}", []string{`container "a" A`, `container "b" A`}},
		"merged":                    {"base: &b {image: A}\nspec: {containers: [{name: a, <<: *b}, {name: b, <<: [{x: 1}, *b]}]}", []string{`container "a" A`, `container "b" A`}},
		"merged pod spec":           {"base: &b {containers: [{name: a, image: A}]}\nspec: {<<: *b}", []string{`container "a" A`, `container "a" A`}},
		"no reference":              {"containers: [{name: a}, text, {image: {repository: x}}]\nspec: {containers: {type: array}, image: B}", nil},
		"a number":                  {"containers: [{name: a, image: 1.2}]", []string{`container "a" 1.2`}},
		"empty":                     {"containers: [{name: a, image: ''}]", []string{`container "a" `}},
		"duplicate keys hide none":  {"containers: [{name: a, image: A}]\ncontainers: [{name: b, image: B}]", []string{`container "a" A`, `container "b" B`}},
		"text with YAML is no YAML": {"data: {x: 'containers: [{image: A}]'}", nil},
	}
	for name, tt := range tests {
		found, err := imagesIn([]byte(tt.yaml))
		var got []string
		for _, f := range found {
			got = append(got, f.owner+" "+f.ref)
		}
		if err != nil || strings.Join(got, ";") != strings.Join(tt.want, ";") {
			t.Errorf("%s: got %q, %v; want %q", name, got, err, tt.want)
		}
	}
	for name, y := range map[string]string{
		"alias bomb":        aliasBomb,
		"alias of a parent": "a: &a {b: *a}",
		"deep nesting":      strings.Repeat("[", 2000) + strings.Repeat("]", 2000),
		"malformed":         "a: [",
		"malformed second":  "a: 1\n---\n\tb",
	} {
		if _, err := imagesIn([]byte(y)); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func FuzzImagesIn(f *testing.F) {
	f.Add([]byte("spec: {containers: [{name: a, image: A}]}"))
	f.Add([]byte("a: &a {b: *a}\n---\nx: <<"))
	f.Fuzz(func(_ *testing.T, b []byte) {
		_, _ = imagesIn(b)
	})
}
