package sign_test

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/slipway-build/slipway/pipeline/release/artifact"
	"github.com/slipway-build/slipway/pipeline/release/fault"
	"github.com/slipway-build/slipway/pipeline/release/manifest"
	"github.com/slipway-build/slipway/pipeline/release/provenance"
	"github.com/slipway-build/slipway/pipeline/release/version"
	"github.com/slipway-build/slipway/pipeline/trust/sign"
	"github.com/slipway-build/slipway/pipeline/trust/signature"
)

const provenancePath = "attestations/tool_1.2.3.provenance.json"

// dist writes a finished release, and returns the folder and the manifest.
func dist(t testing.TB, change func(*manifest.Release)) (string, manifest.Release) {
	t.Helper()
	v, err := version.Parse("1.2.3")
	if err != nil {
		t.Fatal(err)
	}
	sum := func(s string) artifact.Digest { return artifact.Sum([]byte(s)) }
	file := func(path string, kind artifact.Kind, content string) artifact.File {
		return artifact.File{Path: path, Kind: kind, Size: int64(len(content)), Digest: sum(content)}
	}
	files := []artifact.File{file("charts/tool-1.2.3.tgz", artifact.Chart, "chart"), file("images/oci-layout", artifact.Image, "layout")}
	image := manifest.Image{Repository: "ghcr.io/example/tool", Distro: "alpine", Tags: []string{"1.2.3-alpine", "1.2.3"}, Digest: sum("index"), Size: 5}
	wolfi := image
	wolfi.Distro, wolfi.Tags, wolfi.Digest = "wolfi", []string{"1.2.3-wolfi"}, sum("wolfi")
	statement, err := provenance.Statement(provenance.Facts{
		Repository: "https://github.com/example/tool", Tag: "v1.2.3", Commit: strings.Repeat("a", 40), Config: "slipway.yaml", Version: "1.2.3",
		Plan: sum("plan"), Files: files, Images: []provenance.Image{{Repository: image.Repository, Digest: image.Digest}},
	})
	if err != nil {
		t.Fatal(err)
	}
	rel := manifest.Release{
		Name: "tool", Version: v, Tag: "v1.2.3", Commit: strings.Repeat("a", 40), Time: time.Unix(1700000000, 0), Plan: sum("plan"),
		Images: []manifest.Image{image, wolfi},
		Charts: []manifest.Chart{{
			Name: "tool", Version: "1.2.3", AppVersion: "1.2.3", Path: files[0].Path,
			Repository: "ghcr.io/example/charts/tool", Digest: sum("chart manifest"), Size: 14,
		}},
		Provenance: provenancePath,
		Files:      append(files, file(provenancePath, artifact.Provenance, string(statement))),
	}
	if change != nil {
		change(&rel)
	}
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, "attestations"), 0o755); err != nil {
		t.Fatal(err)
	}
	encoded, err := rel.Encode()
	if err != nil {
		t.Fatal(err)
	}
	put(t, dir, provenancePath, statement)
	put(t, dir, manifest.FileName, encoded)
	put(t, dir, manifest.ChecksumsName, manifest.Checksums(append(slices.Clone(rel.Files), artifact.File{Path: manifest.FileName, Digest: artifact.Sum(encoded)})))
	return dir, rel
}

func put(t testing.TB, dir, name string, b []byte) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, filepath.FromSlash(name)), b, 0o644); err != nil {
		t.Fatal(err)
	}
}

func get(t testing.TB, dir, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(dir, filepath.FromSlash(name)))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// tree is every file below dir.
func tree(t testing.TB, dir string) map[string]string {
	t.Helper()
	out := map[string]string{}
	err := filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			rel, _ := filepath.Rel(dir, name)
			out[filepath.ToSlash(rel)] = string(get(t, dir, filepath.ToSlash(rel)))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// verified checks everything that is signed.
func verified(t testing.TB, dir string, rel manifest.Release, key signature.PublicKey) error {
	t.Helper()
	var errs []error
	for bundle, signed := range map[string]string{signature.ChecksumsBundle: manifest.ChecksumsName, signature.ManifestBundle: manifest.FileName} {
		b, err := signature.ParseBundle(get(t, dir, bundle))
		if err == nil {
			err = signature.VerifyBlob(b, get(t, dir, signed), key)
		}
		errs = append(errs, err)
	}
	b, err := signature.ParseBundle(get(t, dir, signature.AttestationPath(rel.Name, rel.Version.String())))
	errs = append(errs, err)
	if err == nil {
		statement, err := signature.VerifyStatement(b, key)
		errs = append(errs, err)
		if err == nil {
			errs = append(errs, provenance.Equal(statement, get(t, dir, rel.Provenance)))
		}
	}
	checks, err := signature.VerifyLayout(os.DirFS(filepath.Join(dir, signature.LayoutDir)), signature.ImagesOf(rel), signature.ByKey(key))
	errs = append(errs, err)
	for _, c := range checks {
		errs = append(errs, c.Err)
	}
	return errors.Join(errs...)
}

func TestRelease(t *testing.T) {
	for _, kind := range sign.Kinds() {
		k := generate(t, kind)
		dir, rel := dist(t, func(r *manifest.Release) { r.Signing = &manifest.Signing{Key: k.Public().Fingerprint()} })
		before := tree(t, dir)
		run := provenance.Metadata{InvocationID: "https://ci.example/run/7", StartedOn: time.Unix(1700000100, 5), FinishedOn: time.Unix(1700000200, 0)}
		res, err := sign.Release(t.Context(), dir, sign.Options{Signer: k, Run: run})
		if err != nil {
			t.Fatal(err)
		}
		if err := verified(t, dir, rel, k.Public()); err != nil {
			t.Error(err)
		}
		after := tree(t, dir)
		for name, content := range before {
			if after[name] != content {
				t.Errorf("%s is another file now", name)
			}
		}
		for name := range after {
			if _, ok := before[name]; !ok && !slices.Contains(res.Files, name) {
				t.Errorf("%s is not in the result", name)
			}
		}
		// Three images and charts: config, payload and manifest of the one form, bundle and manifest of the other, and the
		// empty config of all.
		if want := 3 + 2 + 3*5 + 1; len(res.Files) != want || len(after) != len(before)+want {
			t.Errorf("%d files are told and %d written, want %d", len(res.Files), len(after)-len(before), want)
		}
		if res.Key != k.Public().Fingerprint() || len(res.Images) != 3 || res.Images[2].MediaType != signature.ManifestMediaType {
			t.Errorf("the result is %+v", res)
		}
		attested := after[signature.AttestationPath("tool", "1.2.3")]
		if strings.Count(attested, "\n") != 1 || !strings.HasSuffix(attested, "\n") {
			t.Errorf("the attestation is not one line: %q", attested)
		}
		b, err := signature.ParseBundle([]byte(attested))
		if err != nil {
			t.Fatal(err)
		}
		d, err := provenance.Parse(b.Envelope.Payload)
		if err != nil || d.Predicate.Run.Metadata.InvocationID != run.InvocationID || d.Predicate.Run.Metadata.StartedOn != "2023-11-14T22:15:00Z" {
			t.Errorf("the run is told as %+v, %v", d.Predicate.Run.Metadata, err)
		}

		// The same once more, and then with another key.
		if _, err := sign.Release(t.Context(), dir, sign.Options{Signer: k, Run: run}); err != nil {
			t.Fatal(err)
		}
		if !maps.Equal(tree(t, dir), after) {
			t.Error("the same signing gives other files")
		}
		if err := verified(t, dir, rel, generate(t, kind).Public()); err == nil {
			t.Error("another key verifies")
		}
	}
}

func TestReleaseReplacesAnotherKey(t *testing.T) {
	dir, rel := dist(t, nil)
	a, b := generate(t, sign.ECDSA), generate(t, sign.Ed25519)
	for _, k := range []sign.Key{a, b} {
		if _, err := sign.Release(t.Context(), dir, sign.Options{Signer: k}); err != nil {
			t.Fatal(err)
		}
		if err := verified(t, dir, rel, k.Public()); err != nil {
			t.Error(err)
		}
	}
	if err := verified(t, dir, rel, a.Public()); err == nil {
		t.Error("signatures of the first key remain")
	}
}

// Wherever a signing is killed, the next one ends as if it had not been.
func TestReleaseAfterAKill(t *testing.T) {
	k := generate(t, sign.ECDSA)
	whole, _ := dist(t, nil)
	if _, err := sign.Release(t.Context(), whole, sign.Options{Signer: k}); err != nil {
		t.Fatal(err)
	}
	wanted := tree(t, whole)
	for name, interrupt := range map[string]func(dir string) error{
		"while writing": func(dir string) error {
			return errors.Join(os.MkdirAll(filepath.Join(dir, signature.WorkDir, "signatures", "blobs"), 0o755),
				os.WriteFile(filepath.Join(dir, signature.WorkDir, "signatures", "index.json"), []byte("{"), 0o644))
		},
		"before the new layout": func(dir string) error {
			return errors.Join(os.MkdirAll(filepath.Join(dir, signature.WorkDir), 0o755),
				os.Remove(filepath.Join(dir, signature.ManifestBundle)),
				os.Rename(filepath.Join(dir, signature.LayoutDir), filepath.Join(dir, signature.WorkDir, "replaced")))
		},
		"between the bundles": func(dir string) error {
			return errors.Join(os.MkdirAll(filepath.Join(dir, signature.WorkDir), 0o755),
				os.Remove(filepath.Join(dir, signature.ManifestBundle)), os.Remove(filepath.Join(dir, signature.ChecksumsBundle)))
		},
		"with a file of another release": func(dir string) error {
			return os.WriteFile(filepath.Join(dir, signature.LayoutDir, "blobs", "sha256", "stale"), nil, 0o644)
		},
		"with a file where the layout goes": func(dir string) error {
			return errors.Join(os.RemoveAll(filepath.Join(dir, signature.LayoutDir)), os.WriteFile(filepath.Join(dir, signature.LayoutDir), nil, 0o644))
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir, _ := dist(t, nil)
			if _, err := sign.Release(t.Context(), dir, sign.Options{Signer: generate(t, sign.ECDSA)}); err != nil {
				t.Fatal(err)
			}
			if err := interrupt(dir); err != nil {
				t.Fatal(err)
			}
			if _, err := sign.Release(t.Context(), dir, sign.Options{Signer: k}); err != nil {
				t.Fatal(err)
			}
			if !maps.Equal(tree(t, dir), wanted) {
				t.Error("it is not what a signing without an interruption gives")
			}
		})
	}

	// One that is stopped in time leaves what was there.
	dir, _ := dist(t, nil)
	before := tree(t, dir)
	for n := range 40 {
		ctx := &countdown{Context: t.Context(), left: n}
		_, err := sign.Release(ctx, dir, sign.Options{Signer: k})
		if err == nil {
			if n < 10 {
				t.Errorf("after %d looks at the context it is done", n)
			}
			break
		}
		if !errors.Is(err, context.Canceled) || !maps.Equal(tree(t, dir), before) {
			t.Errorf("stopped at look %d: %v, and dist/ has changed: %t", n, err, !maps.Equal(tree(t, dir), before))
		}
	}
	if !maps.Equal(tree(t, dir), wanted) {
		t.Error("a signing after many that were stopped gives other files")
	}
}

// countdown is done after some looks at it.
type countdown struct {
	context.Context
	left int
}

func (c *countdown) Err() error {
	if c.left--; c.left < 0 {
		return context.Canceled
	}
	return nil
}

func TestReleaseRefuses(t *testing.T) {
	k := generate(t, sign.Ed25519)
	other := generate(t, sign.Ed25519)
	for name, tt := range map[string]struct {
		release func(*manifest.Release)
		change  func(dir string)
		code    fault.Code
		says    string
	}{
		"no manifest": {
			change: func(dir string) { os.Remove(filepath.Join(dir, manifest.FileName)) },
			code:   fault.Usage, says: "there is no release.json",
		},
		"no checksums": {
			change: func(dir string) { os.Remove(filepath.Join(dir, manifest.ChecksumsName)) },
			code:   fault.Usage, says: "there is no SHA256SUMS",
		},
		"a manifest cut off": {
			change: func(dir string) { put(t, dir, manifest.FileName, get(t, dir, manifest.FileName)[:100]) },
			code:   fault.Mismatch, says: "reading manifest",
		},
		"a manifest with two readings": {
			change: func(dir string) {
				put(t, dir, manifest.FileName, bytes.Replace(get(t, dir, manifest.FileName), []byte(`"name"`), []byte(`"name": "x", "name"`), 1))
			},
			code: fault.Mismatch, says: `key "name" comes twice; build the release again`,
		},
		"a manifest in another form": {
			change: func(dir string) {
				put(t, dir, manifest.FileName, bytes.Replace(get(t, dir, manifest.FileName), []byte(`"name": `), []byte(`"name":  `), 1))
			},
			code: fault.Mismatch, says: "not in canonical form from byte",
		},
		"a manifest of a later minor version": {
			change: func(dir string) {
				later := bytes.Replace(get(t, dir, manifest.FileName), []byte(`"name": `), []byte("\"minor\": 2,\n  \"name\": "), 1)
				put(t, dir, manifest.FileName, append(bytes.TrimSuffix(later, []byte("\n}\n")), ",\n  \"later\": true\n}\n"...))
			},
			code: fault.Usage, says: "is of minor version 2, which is later than this program knows",
		},
		"a manifest that requires what nobody knows": {
			change: func(dir string) {
				put(t, dir, manifest.FileName, bytes.Replace(get(t, dir, manifest.FileName), []byte(`"name": `), []byte("\"requires\": [\n    \"wings\"\n  ],\n  \"name\": "), 1))
			},
			code: fault.Usage, says: `it requires "wings"`,
		},
		"checksums of another release": {
			change: func(dir string) {
				put(t, dir, manifest.ChecksumsName, append(get(t, dir, manifest.ChecksumsName), []byte(strings.Repeat("0", 64)+"  extra\n")...))
			},
			code: fault.Mismatch, says: "SHA256SUMS is not that of release.json",
		},
		"a manifest that was changed after its checksums": {
			change: func(dir string) {
				put(t, dir, manifest.FileName, bytes.Replace(get(t, dir, manifest.FileName), []byte(`"v1.2.3"`), []byte(`"v1.2.4"`), 1))
			},
			code: fault.Mismatch, says: "SHA256SUMS is not that of release.json",
		},
		"provenance that was changed": {
			change: func(dir string) { put(t, dir, provenancePath, []byte("{}")) },
			code:   fault.Mismatch, says: provenancePath + " has changed",
		},
		"provenance that is none": {
			release: func(r *manifest.Release) { r.Files[2].Digest = artifact.Sum([]byte("{}")) },
			change:  func(dir string) { put(t, dir, provenancePath, []byte("{}")) },
			code:    fault.Mismatch, says: "reading provenance",
		},
		"a link": {
			change: func(dir string) {
				os.Rename(filepath.Join(dir, manifest.FileName), filepath.Join(dir, "other"))
				os.Symlink("/etc/passwd", filepath.Join(dir, manifest.FileName))
			},
			code: fault.Mismatch, says: "release.json is not a regular file",
		},
		"another key": {
			release: func(r *manifest.Release) { r.Signing = &manifest.Signing{Key: other.Public().Fingerprint()} },
			code:    fault.Credentials, says: "to be signed with key " + string(other.Public().Fingerprint()) + ", and this one is " + string(k.Public().Fingerprint()),
		},
		"an identity": {
			release: func(r *manifest.Release) {
				r.Signing = &manifest.Signing{Identity: "me@example.org", Issuer: "https://issuer.example"}
			},
			code: fault.Credentials, says: `to be signed by "me@example.org", and not with a key`,
		},
		"a repository with a tag": {
			release: func(r *manifest.Release) { r.Images[0].Repository += ":1" },
			code:    fault.Mismatch, says: `release.json: ghcr.io/example/tool:1@sha256:`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir, _ := dist(t, tt.release)
			if tt.change != nil {
				tt.change(dir)
			}
			before := len(tree(t, dir))
			_, err := sign.Release(t.Context(), dir, sign.Options{Signer: k})
			want(t, err, tt.code, tt.says)
			if n := len(tree(t, dir)); n != before {
				t.Errorf("it wrote %d files", n-before)
			}
		})
	}
	_, err := sign.Release(t.Context(), filepath.Join(t.TempDir(), "gone"), sign.Options{Signer: k})
	want(t, err, fault.Usage, "opening release")
	_, err = sign.Release(t.Context(), t.TempDir(), sign.Options{})
	want(t, err, fault.Usage, "there is no key")
}

// A release of files alone is signed too, and one without provenance gets no attestation.
func TestReleaseOfFilesAlone(t *testing.T) {
	k := generate(t, sign.ECDSA)
	dir, rel := dist(t, func(r *manifest.Release) {
		r.Images, r.Charts[0].Repository, r.Charts[0].Digest, r.Charts[0].Size, r.Provenance = nil, "", "", 0, ""
	})
	res, err := sign.Release(t.Context(), dir, sign.Options{Signer: k})
	if err != nil {
		t.Fatal(err)
	}
	want := []string{signature.ChecksumsBundle, signature.ManifestBundle, "signatures/index.json", "signatures/oci-layout"}
	slices.Sort(want)
	if !slices.Equal(res.Files, want) {
		t.Errorf("it writes %q", res.Files)
	}
	if checks, err := signature.VerifyLayout(os.DirFS(filepath.Join(dir, signature.LayoutDir)), signature.ImagesOf(rel), signature.ByKey(k.Public())); err != nil || len(checks) != 0 {
		t.Errorf("VerifyLayout = %v, %v", checks, err)
	}
}
