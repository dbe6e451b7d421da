package signature_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/slipway-build/slipway/pipeline/release/artifact"
	"github.com/slipway-build/slipway/pipeline/trust/signature"
)

func image() signature.Image {
	return signature.Image{
		Repository: "ghcr.io/example/tool", Digest: artifact.Sum([]byte("index")), MediaType: signature.IndexMediaType, Size: 5,
		Version: "1.2.3", Tags: []string{"1.2.3-alpine", "1.2.3"},
	}
}

func chart() signature.Image {
	return signature.Image{
		Repository: "127.0.0.1:5000/charts/tool", Digest: artifact.Sum([]byte("chart")), MediaType: signature.ManifestMediaType, Size: 5,
		Version: "1.2.3+b", Tags: []string{"1.2.3_b"},
	}
}

func signImage(t testing.TB, s signature.Signer, im signature.Image) (classic, referrer signature.Object) {
	t.Helper()
	objects, err := signature.SignImage(s, im)
	if err != nil || len(objects) != 2 {
		t.Fatalf("SignImage = %d objects, %v", len(objects), err)
	}
	return objects[0], objects[1]
}

// blobs reads from objects.
func blobs(objects ...signature.Object) signature.Fetch {
	return func(d artifact.Digest, _ int64) ([]byte, error) {
		for _, o := range objects {
			for _, b := range o.Blobs {
				if artifact.Sum(b) == d {
					return b, nil
				}
			}
		}
		return nil, fmt.Errorf("%s: %w", d, fs.ErrNotExist)
	}
}

func TestImageGolden(t *testing.T) {
	for name, im := range map[string]signature.Image{"image": image(), "chart": chart()} {
		classic, referrer := signImage(t, fixedECDSA(t), im)
		var b bytes.Buffer
		for _, o := range []signature.Object{classic, referrer} {
			fmt.Fprintf(&b, "%s\n", o.Name)
			for _, part := range append([][]byte{o.Manifest}, o.Blobs...) {
				fmt.Fprintf(&b, "%s\n%s\n", artifact.Sum(part), part)
			}
		}
		golden(t, name+".txt", b.Bytes())
		if classic.Name != im.Repository+":"+classic.Tag || classic.Tag != "sha256-"+im.Digest.Hex()+".sig" {
			t.Errorf("the classic form is called %s, tag %s", classic.Name, classic.Tag)
		}
		if referrer.Name != im.Repository+"@"+string(referrer.Digest()) || referrer.Tag != "" {
			t.Errorf("the newer form is called %s, tag %q", referrer.Name, referrer.Tag)
		}
	}
}

// A signature is for one digest under one name, of one version with its tags, by one key.
func TestImageBinding(t *testing.T) {
	for name, s := range signers(t) {
		classic, referrer := signImage(t, s, image())
		fetch := blobs(classic, referrer)
		for says, f := range map[string]func(*signature.Image){
			"": func(*signature.Image) {},
			"and not over " + string(artifact.Sum([]byte("other"))): func(im *signature.Image) { im.Digest = artifact.Sum([]byte("other")) },
			`is for an image in "ghcr.io/example/tool" and not in ghcr.io/example/renamed`: func(im *signature.Image) {
				im.Repository = "ghcr.io/example/renamed"
			},
			`is for version "1.2.3" and not for "1.2.4"`:                          func(im *signature.Image) { im.Version = "1.2.4" },
			`is for tags "1.2.3-alpine 1.2.3" and not for "1.2.3-alpine"`:         func(im *signature.Image) { im.Tags = im.Tags[:1] },
			`is for tags "1.2.3-alpine 1.2.3" and not for "1.2.3-alpine 1 1.2.3"`: func(im *signature.Image) { im.Tags = []string{"1.2.3-alpine", "1", "1.2.3"} },
			"there is no version": func(im *signature.Image) { im.Version = "" },
		} {
			im := image()
			f(&im)
			want(t, signature.VerifyClassic(classic.Manifest, fetch, im, s.pub), says)
			if strings.HasPrefix(says, "and not over") {
				says = "it is a referrer of " + string(image().Digest)
			}
			want(t, signature.VerifyReferrer(referrer.Manifest, fetch, im, s.pub), says)
		}
		for other, o := range signers(t) {
			if other == name {
				continue
			}
			want(t, signature.VerifyClassic(classic.Manifest, fetch, image(), o.pub), "was not made by key "+string(o.pub.Fingerprint()))
			want(t, signature.VerifyReferrer(referrer.Manifest, fetch, image(), o.pub),
				"it was signed with key "+string(s.pub.Fingerprint())+" and not with "+string(o.pub.Fingerprint()))
		}
	}
}

func TestSignImageRefuses(t *testing.T) {
	for says, f := range map[string]func(*signature.Image){
		"is not sha256:":                    func(im *signature.Image) { im.Digest = "sha256:x" },
		`media type "text/plain"`:           func(im *signature.Image) { im.MediaType = "text/plain" },
		"a size of 0 bytes":                 func(im *signature.Image) { im.Size = 0 },
		"there is no version":               func(im *signature.Image) { im.Version = "" },
		`"a,b" is not a tag`:                func(im *signature.Image) { im.Tags = []string{"a,b"} },
		`"a b" is not a tag`:                func(im *signature.Image) { im.Tags = []string{"a b"} },
		`"" is not a tag`:                   func(im *signature.Image) { im.Tags = []string{""} },
		`"ghcr.io/a:1" is not a repository`: func(im *signature.Image) { im.Repository = "ghcr.io/a:1" },
		`"ghcr.io/a@sha256`:                 func(im *signature.Image) { im.Repository = "ghcr.io/a@sha256:00/b" },
		`"" is not a repository`:            func(im *signature.Image) { im.Repository = "" },
	} {
		im := image()
		f(&im)
		_, err := signature.SignImage(fixedEd25519(t), im)
		want(t, err, says)
	}
	b, err := signature.SignBlob(fixedEd25519(t), []byte("x"))
	if err != nil {
		t.Fatal(err)
	}
	_, err = signature.ReferrerObject(image(), b)
	want(t, err, "the bundle signs a file and not a statement")
}

// A statement that somebody else with the key would sign, and a payload, must be about this and nothing more.
func TestForeignContent(t *testing.T) {
	im := image()
	p, err := im.Payload()
	if err != nil {
		t.Fatal(err)
	}
	s, err := im.Statement()
	if err != nil {
		t.Fatal(err)
	}
	want(t, im.CheckPayload(p), "")
	want(t, im.CheckStatement(s), "")
	for from, tt := range map[string]struct{ to, says string }{
		`"version":"1.2.3"`: {`"version":"1.2.3","more":"x"`, "more than repository"},
		`{"critical"`:       {`{"critical":{},"critical"`, "comes twice"},
		`"type":"cosign container image signature"`:   {`"type":"atomic container signature"`, "of type"},
		`,"version":"1.2.3"`:                          {``, `is for version ""`},
		`"optional":{"tags":"1.2.3-alpine 1.2.3",`:    {`"optional":{"tags":"1.2.3-alpine 1.2.3","tags":"x",`, "comes twice"},
		`"docker-reference":"ghcr.io/example/tool"`:   {`"docker-reference":"ghcr.io/example/tool:1.2.3"`, "is for an image in"},
		`"docker-manifest-digest":"sha256:1bc04b5291`: {`"docker-manifest-digest":"SHA256:1bc04b5291`, "the signature is over SHA256"},
	} {
		changed := strings.Replace(string(p), from, tt.to, 1)
		if changed == string(p) {
			t.Errorf("%s is not in %s", from, p)
		}
		want(t, im.CheckPayload([]byte(changed)), tt.says)
	}
	for from, tt := range map[string]struct{ to, says string }{
		`"version":"1.2.3"`:               {`"version":"1.2.3","more":"x"`, "more than repository"},
		`"predicate":{}`:                  {`"predicate":{"a":1}`, "unknown"},
		`https://in-toto.io/Statement/v1`: {`https://in-toto.io/Statement/v0.1`, "a statement"},
		`/cosign/sign/v1`:                 {`/cosign/other/v1`, "says"},
		`"digest":{`:                      {`"digest":{"sha512":"00",`, "one digest"},
		`"subject":[{`:                    {`"subject":[{"name":"x","digest":{},"annotations":{}},{`, "2 subjects"},
		`"subject":[`:                     {`"subject":[],"subject":[`, "comes twice"},
	} {
		changed := strings.Replace(string(s), from, tt.to, 1)
		if changed == string(s) {
			t.Errorf("%s is not in %s", from, s)
		}
		says := tt.says
		if says == "a statement" {
			says = "the signed statement is of type"
		}
		want(t, im.CheckStatement([]byte(changed)), says)
	}
}

// Somebody else may sign an image too; that is no reason to refuse it.
func TestSecondSigner(t *testing.T) {
	ours, theirs := fixedECDSA(t), fixedEd25519(t)
	a, _ := signImage(t, ours, image())
	b, _ := signImage(t, theirs, image())
	var ma, mb map[string]any
	if err := errors.Join(json.Unmarshal(a.Manifest, &ma), json.Unmarshal(b.Manifest, &mb)); err != nil {
		t.Fatal(err)
	}
	ma["layers"] = append(mb["layers"].([]any), ma["layers"].([]any)...)
	both, err := json.Marshal(ma)
	if err != nil {
		t.Fatal(err)
	}
	want(t, signature.VerifyClassic(both, blobs(a, b), image(), ours.pub), "")
	want(t, signature.VerifyClassic(both, blobs(a, b), image(), theirs.pub), "")
	want(t, signature.VerifyClassic(both, blobs(a, b), image(), signers(t)["RSA 2048"].pub), "was not made by key")
	sigs, err := signature.ReadClassic(both, blobs(a, b))
	if err != nil || len(sigs) != 2 || sigs[0].Annotations[signature.SignatureAnnotation] == "" {
		t.Errorf("ReadClassic = %v, %v", sigs, err)
	}
}

func TestManifestRefuses(t *testing.T) {
	s := fixedECDSA(t)
	classic, referrer := signImage(t, s, image())
	fetch := blobs(classic, referrer)
	edit := func(o signature.Object, from, to string) []byte {
		changed := strings.ReplaceAll(string(o.Manifest), from, to)
		if changed == string(o.Manifest) {
			t.Fatalf("%s is not in %s", from, o.Manifest)
		}
		return []byte(changed)
	}
	for from, tt := range map[string]struct{ to, says string }{
		`"schemaVersion":2`: {`"schemaVersion":1`, "media type"},
		`"layers":[`:        {`"layers":[],"layers":[`, "comes twice"},
		`cosign/signature"`: {`cosign/other"`, "a layer has no signature"},
		`simplesigning`:     {`complexsigning`, "a layer of type"},
		`"sha256:`:          {`"sha512:`, "is not sha256"},
		`"size":`:           {`"size":9`, "bytes instead of"},
		`image.config`:      {`image.other`, "not in cosign's classic form"},
		`{"schemaVersion"`:  {`{"extra":1,"schemaVersion"`, "unknown"},
	} {
		want(t, signature.VerifyClassic(edit(classic, from, tt.to), fetch, image(), s.pub), tt.says)
	}
	for from, tt := range map[string]struct{ to, says string }{
		`"artifactType":"application/vnd.dev`: {`"artifactType":"application/vnd.other`, "an artifact of type"},
		`"subject"`:                           {`"subjekt"`, "unknown"},
		`"layers":[`:                          {`"layers":[{},`, "2 layers instead of one"},
		`oci.empty`:                           {`oci.full`, "a config of type"},
		`44136fa3`:                            {`54136fa3`, "instead of an empty one"},
		`"size":5,`:                           {`"size":6,`, "6 bytes) and not of"},
		string(image().Digest):                {string(artifact.Sum(nil)), "it is a referrer of sha256:e3b0c442"},
	} {
		want(t, signature.VerifyReferrer(edit(referrer, from, tt.to), fetch, image(), s.pub), tt.says)
	}
	var m map[string]any
	if err := json.Unmarshal(referrer.Manifest, &m); err != nil {
		t.Fatal(err)
	}
	delete(m, "subject")
	b, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	want(t, signature.VerifyReferrer(b, fetch, image(), s.pub), "does not say what it signs")
	want(t, signature.VerifyReferrer(classic.Manifest, fetch, image(), s.pub), "an artifact of type")
	want(t, signature.VerifyClassic(referrer.Manifest, fetch, image(), s.pub), "not in cosign's classic form")
	want(t, signature.VerifyClassic(bytes.Repeat([]byte(" "), 5<<20), fetch, image(), s.pub), "more than 4194304 bytes")
	want(t, signature.VerifyClassic(classic.Manifest, blobs(), image(), s.pub), "file does not exist")
	want(t, signature.VerifyReferrer(referrer.Manifest, blobs(), image(), s.pub), "file does not exist")
	liar := func(artifact.Digest, int64) ([]byte, error) { return []byte("{}"), nil }
	want(t, signature.VerifyClassic(classic.Manifest, liar, image(), s.pub), "has the digest sha256:44136fa355b3678a")
	want(t, signature.VerifyReferrer(referrer.Manifest, liar, image(), s.pub), "has the digest sha256:44136fa355b3678a")
}

func TestMerge(t *testing.T) {
	a, b, c := image(), image(), chart()
	b.Tags = []string{"1.2.3", "1.2.3-wolfi"}
	got := signature.Merge([]signature.Image{a, c, b})
	if len(got) != 2 || !slices.Equal(got[0].Tags, []string{"1.2.3-alpine", "1.2.3", "1.2.3-wolfi"}) || len(a.Tags) != 2 {
		t.Errorf("Merge = %+v", got)
	}
}

func layout(t testing.TB, s signature.Signer, images ...signature.Image) fstest.MapFS {
	t.Helper()
	var objects []signature.Object
	for _, im := range images {
		classic, referrer := signImage(t, s, im)
		objects = append(objects, referrer, classic)
	}
	files, err := signature.Layout(objects)
	if err != nil {
		t.Fatal(err)
	}
	fsys := fstest.MapFS{}
	for name, b := range files {
		fsys[name] = &fstest.MapFile{Data: b}
	}
	return fsys
}

func TestLayout(t *testing.T) {
	s := fixedECDSA(t)
	images := []signature.Image{image(), chart()}
	good := layout(t, s, images...)
	golden(t, "index.json", append(bytes.Clone(good["index.json"].Data), '\n'))
	// Two configs, two payloads, two bundles, four manifests and the one that is empty.
	if n := len(good); n != 2+11 {
		t.Errorf("the layout has %d files", n)
	}
	failed := func(fsys fs.FS, images []signature.Image, key signature.PublicKey) string {
		checks, err := signature.VerifyLayout(fsys, images, signature.ByKey(key))
		if err != nil {
			return err.Error()
		}
		var bad []string
		for _, c := range checks {
			if c.Err != nil {
				bad = append(bad, c.Name+": "+c.Err.Error())
			}
		}
		if len(bad) == 0 && len(checks) != 2*len(images) {
			t.Errorf("%d checks for %d images", len(checks), len(images))
		}
		return strings.Join(bad, "\n")
	}
	if got := failed(good, images, s.pub); got != "" {
		t.Errorf("a good layout: %s", got)
	}
	classicName := image().Repository + ":" + signature.ClassicTag(image().Digest)
	renamed := image()
	renamed.Repository = "ghcr.io/example/renamed"
	newer := image()
	newer.Version = "1.2.4"
	for name, tt := range map[string]struct {
		change func(fstest.MapFS) []signature.Image
		says   []string
	}{
		"one image more than signed": {
			func(fstest.MapFS) []signature.Image { return append(slices.Clone(images), renamed) },
			[]string{renamed.Repository + ":" + signature.ClassicTag(renamed.Digest) + ": there is no such signature", renamed.String() + ": there is no bundle"},
		},
		"one signature more than images": {
			func(fstest.MapFS) []signature.Image { return images[:1] },
			[]string{"it does not sign anything in the release", "which is not in the release under this name"},
		},
		"another version": {
			func(fstest.MapFS) []signature.Image { return []signature.Image{newer, chart()} },
			[]string{classicName + `: the signature is for version "1.2.3" and not for "1.2.4"`},
		},
		"another name": {
			func(fstest.MapFS) []signature.Image { return []signature.Image{renamed, chart()} },
			[]string{classicName + ": it does not sign anything", "under this name", renamed.String() + ": there is no bundle"},
		},
		"a file more": {
			func(f fstest.MapFS) []signature.Image {
				f["blobs/sha256/extra"] = &fstest.MapFile{}
				return images
			}, []string{"blobs/sha256/extra: no signature names it"},
		},
		"no index": {
			func(f fstest.MapFS) []signature.Image { delete(f, "index.json"); return images },
			[]string{"reading signatures: open index.json"},
		},
		"no oci-layout": {
			func(f fstest.MapFS) []signature.Image { delete(f, "oci-layout"); return images },
			[]string{"reading signatures: open oci-layout"},
		},
		"another layout": {
			func(f fstest.MapFS) []signature.Image {
				f["oci-layout"] = &fstest.MapFile{Data: []byte(`{"imageLayoutVersion":"9"}`)}
				return images
			}, []string{"oci-layout is not"},
		},
		"an empty index": {
			func(f fstest.MapFS) []signature.Image {
				f["index.json"] = &fstest.MapFile{Data: []byte(`{"schemaVersion":2,"mediaType":"` + signature.IndexMediaType + `","manifests":[]}`)}
				return images
			}, []string{classicName + ": there is no such signature", image().String() + ": there is no bundle", "no signature names it"},
		},
		"the same index twice": {
			func(f fstest.MapFS) []signature.Image {
				b := string(f["index.json"].Data)
				list := b[strings.Index(b, "[")+1 : strings.LastIndex(b, "]")]
				f["index.json"] = &fstest.MapFile{Data: []byte(strings.Replace(b, list, list+","+list, 1))}
				return images
			}, []string{"is named twice"},
		},
		"the referrer under the classic name": {
			func(f fstest.MapFS) []signature.Image {
				_, referrer := signImage(t, s, image())
				b := string(f["index.json"].Data)
				f["index.json"] = &fstest.MapFile{Data: []byte(strings.Replace(b, referrer.Name, "ghcr.io/example/tool:latest", 1))}
				return images
			}, []string{"ghcr.io/example/tool:latest: it does not sign anything", image().String() + ": there is no bundle"},
		},
		"another digest in the name": {
			func(f fstest.MapFS) []signature.Image {
				_, referrer := signImage(t, s, image())
				b := string(f["index.json"].Data)
				f["index.json"] = &fstest.MapFile{Data: []byte(strings.Replace(b, referrer.Name, image().String(), 1))}
				return images
			}, []string{"it is not named by its digest"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			fsys := maps.Clone(good)
			got := failed(fsys, tt.change(fsys), s.pub)
			for _, says := range tt.says {
				if !strings.Contains(got, says) {
					t.Errorf("got  %s\nwant it to say %q", got, says)
				}
			}
		})
	}
	// Every byte counts: whichever file is cut off, is gone or has a bit changed.
	for name := range good {
		for how, change := range map[string]func([]byte) []byte{
			"changed": func(b []byte) []byte { b = bytes.Clone(b); b[len(b)/2] ^= 1; return b },
			"cut off": func(b []byte) []byte { return b[:len(b)-1] },
			"emptied": func([]byte) []byte { return nil },
			"longer":  func(b []byte) []byte { return append(bytes.Clone(b), '\n', 'x') },
		} {
			fsys := maps.Clone(good)
			fsys[name] = &fstest.MapFile{Data: change(good[name].Data)}
			if failed(fsys, images, s.pub) == "" {
				t.Errorf("%s is %s and nobody sees it", name, how)
			}
		}
		fsys := maps.Clone(good)
		delete(fsys, name)
		if failed(fsys, images, s.pub) == "" {
			t.Errorf("%s is gone and nobody sees it", name)
		}
	}
	if got := failed(good, images, fixedEd25519(t).pub); strings.Count(got, "\n") != 3 {
		t.Errorf("with another key: %s", got)
	}
	if got := failed(layout(t, s), nil, s.pub); got != "" {
		t.Errorf("a release without images: %s", got)
	}
}

func FuzzVerify(f *testing.F) {
	s := fixedEd25519(f)
	classic, referrer := signImage(f, s, image())
	for _, o := range []signature.Object{classic, referrer} {
		f.Add(o.Manifest, o.Blobs[0], o.Blobs[1])
	}
	f.Fuzz(func(t *testing.T, manifest, config, content []byte) {
		o := signature.Object{Blobs: [][]byte{config, content}}
		im := image()
		im.Repository = "ghcr.io/example/other" // which nobody signed
		if signature.VerifyClassic(manifest, blobs(o), im, s.pub) == nil || signature.VerifyReferrer(manifest, blobs(o), im, s.pub) == nil {
			t.Error("a forgery")
		}
		_ = im.CheckPayload(content)
		_ = im.CheckStatement(content)
		fsys := fstest.MapFS{"oci-layout": {Data: []byte(`{"imageLayoutVersion":"1.0.0"}`)}, "index.json": {Data: manifest}}
		if checks, err := signature.VerifyLayout(fsys, []signature.Image{im}, signature.ByKey(s.pub)); err == nil && len(checks) < 2 {
			t.Error("what is missing is not told")
		}
	})
}

// TestUnnamed reads a statement of cosign, which leaves out the name of its subject: the repository is in an annotation.
func TestUnnamed(t *testing.T) {
	s := fixedECDSA(t)
	im := image()
	const said = `"repository":"ghcr.io/example/tool","tags":"1.2.3-alpine 1.2.3","version":"1.2.3"`
	for annotations, says := range map[string]string{
		said: "",
		strings.Replace(said, "tool", "other", 1):                          `is for an image in "ghcr.io/example/other"`,
		strings.Replace(said, `"repository"`, `"other"`, 1):                `is for an image in ""`,
		strings.Replace(said, `"version":"1.2.3"`, `"version":"1.2.2"`, 1): `is for version "1.2.2"`,
		said + `,"more":"x"`: "says more than",
	} {
		for _, name := range []string{"", `"name":"ghcr.io/example/tool",`} {
			b, err := signature.SignStatement(s, []byte(`{"_type":"https://in-toto.io/Statement/v1","subject":[{`+name+`"digest":{"sha256":"`+im.Digest.Hex()+
				`"},"annotations":{`+annotations+`}}],"predicateType":"https://sigstore.dev/cosign/sign/v1","predicate":{}}`))
			if err != nil {
				t.Fatal(err)
			}
			o, err := signature.ReferrerObject(im, b)
			if err != nil {
				t.Fatal(err)
			}
			err = signature.VerifyReferrer(o.Manifest, blobs(o), im, s.pub)
			if name != "" { // two names are one too many
				if err == nil {
					t.Errorf("%s: accepted beside a name", annotations)
				}
				continue
			}
			want(t, err, says)
			claimed, err := signature.ClaimedByReferrer(o.Manifest, blobs(o))
			if err != nil || says == "" && (claimed.String() != im.String() || claimed.Version != im.Version || !slices.Equal(claimed.Tags, im.Tags)) {
				t.Errorf("%s: got %+v, %v", annotations, claimed, err)
			}
		}
	}
}

// FuzzReadReferrers reads any index: what it names is little and bounded.
func FuzzReadReferrers(f *testing.F) {
	f.Add([]byte(`{"schemaVersion":2,"mediaType":"` + signature.IndexMediaType + `","manifests":[{"mediaType":"` + signature.ManifestMediaType + `","size":5,"digest":"` +
		string(artifact.Sum(nil)) + `","artifactType":"` + signature.BundleMediaType + `"}]}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		listed, err := signature.ReadReferrers(b)
		if len(listed) > 32 || err != nil && len(listed) > 0 {
			t.Errorf("%d manifests, %v", len(listed), err)
		}
		for _, l := range listed {
			if _, err := artifact.ParseDigest(string(l.Digest)); err != nil || l.Size <= 0 {
				t.Errorf("got %+v", l)
			}
		}
	})
}
