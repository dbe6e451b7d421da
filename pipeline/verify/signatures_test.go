package verify_test

import (
	"bytes"
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/slipway-build/slipway/pipeline/fixture/verifytest"
	"github.com/slipway-build/slipway/pipeline/release/artifact"
	"github.com/slipway-build/slipway/pipeline/release/fault"
	"github.com/slipway-build/slipway/pipeline/release/manifest"
	"github.com/slipway-build/slipway/pipeline/trust/sign"
	"github.com/slipway-build/slipway/pipeline/trust/signature"
	"github.com/slipway-build/slipway/pipeline/verify"
)

const attestation = "attestations/hello_1.2.3.intoto.jsonl"

// unsigned is a release that nobody signed, and that w is to sign.
func unsigned(t *testing.T, w *manifest.Signing, unpublishable ...string) *forgery {
	t.Helper()
	files, rel, err := verifytest.Files(verifytest.Options{Signing: w, Unpublishable: unpublishable})
	must(t, err)
	return &forgery{t: t, files: files, rel: rel}
}

func isSignature(p string) bool {
	return strings.HasSuffix(p, signature.Suffix) || p == attestation || strings.HasPrefix(p, "signatures/")
}

// rows are the rows about signatures, as verdict, path and detail.
func rows(report verify.Report) []string {
	var out []string
	for _, r := range report.Rows {
		if r.Kind == "signature" {
			out = append(out, string(r.Verdict)+" "+r.Path+" "+r.Detail)
		}
	}
	return out
}

// day is its first moment.
func day(s string) time.Time {
	d, err := time.Parse(time.DateOnly, s)
	if err != nil {
		panic(err) // of a constant
	}
	return d
}

// termed are options where the term is that of our key.
func termed(o verify.Options, term signature.Term) verify.Options {
	o.Terms = map[artifact.Digest]signature.Term{ours().Public().Fingerprint(): term}
	return o
}

// TestSignatures holds to the rules on who has to sign, and what is said where nobody can tell.
func TestSignatures(t *testing.T) {
	our, their := string(ours().Public().Fingerprint()), string(theirs().Public().Fingerprint())
	toOurs := &manifest.Signing{Key: ours().Public().Fingerprint()}
	identity := &manifest.Signing{Identity: "https://example.com/workflow@refs/tags/*", Issuer: "https://issuer.example.com"}
	by := func(key sign.Key, w *manifest.Signing) *forgery {
		f := unsigned(t, w)
		f.sign(key)
		return f
	}
	missing := []string{
		"FAIL SHA256SUMS.sigstore.json missing; want a signature by key " + our,
		"FAIL " + attestation + " missing; want a signature by key " + our,
		"FAIL ghcr.io/example/charts/hello@sha256:", "FAIL ghcr.io/example/hello@sha256:",
		"FAIL release.json.sigstore.json missing; want a signature by key " + our,
	}
	wrong := []string{
		"FAIL SHA256SUMS.sigstore.json it was signed with key " + their + " and not with " + our,
		"FAIL " + attestation + " it was signed with key " + their + " and not with " + our,
		"FAIL ghcr.io/example/charts/hello:sha256-", "FAIL ghcr.io/example/charts/hello@sha256:",
		"FAIL ghcr.io/example/hello:sha256-", "FAIL ghcr.io/example/hello@sha256:",
		"FAIL release.json.sigstore.json it was signed with key " + their + " and not with " + our,
	}
	skipped := []string{
		"SKIP SHA256SUMS.sigstore.json no key to check it with; give --key",
		"SKIP " + attestation + " no key to check it with; give --key",
		"SKIP release.json.sigstore.json no key to check it with; give --key",
		"SKIP signatures no key to check it with; give --key",
	}
	held := []string{
		"PASS SHA256SUMS.sigstore.json key " + our, "PASS " + attestation + " key " + our,
		"PASS ghcr.io/example/charts/hello:sha256-", "PASS ghcr.io/example/charts/hello@sha256:",
		"PASS ghcr.io/example/hello:sha256-", "PASS ghcr.io/example/hello@sha256:",
		"PASS release.json.sigstore.json key " + our,
	}
	allowed := verify.Options{AllowUnpublishable: true}
	// out is what is said where every signature holds and does not count.
	out := func(why string) []string {
		var all []string
		for _, row := range held {
			begin, _, isFile := strings.Cut(strings.Replace(row, "PASS", "FAIL", 1), " key ")
			if isFile {
				begin += " key " + our + " " + why
			}
			all = append(all, begin)
		}
		return all
	}
	for _, tt := range []struct {
		name string
		f    *forgery
		o    verify.Options
		want []string // how the rows about signatures begin
	}{
		{"signed as it should be", by(ours(), toOurs), keys(ours()), held},
		{"signed, and nobody said by whom", by(ours(), nil), keys(ours()), held},
		{"one of several keys", by(ours(), nil), keys(theirs(), ours()), held},
		{"one of several keys, which is named", by(ours(), toOurs), keys(theirs(), ours()), held},
		{"wrong key", by(theirs(), nil), keys(ours()), wrong},
		{"keys without signatures", unsigned(t, nil), keys(ours()), missing},
		{"keys without signatures that there should be", unsigned(t, toOurs), keys(ours()), missing},
		{"keys, of an unpublishable release", unsigned(t, toOurs, "dirty"), verify.Options{AllowUnpublishable: true, Keys: keys(ours()).Keys}, missing},
		{
			"another key than is named", by(ours(), toOurs), keys(theirs()),
			append([]string{"FAIL hello 1.2.3 the release is to be signed with key " + our + ", and is checked with key " + their},
				strings.Split(strings.NewReplacer(our, their, their, our).Replace(strings.Join(wrong, "\n")), "\n")...),
		},
		{
			"a key, and an identity is named", unsigned(t, identity), keys(ours()),
			append([]string{`FAIL hello 1.2.3 the release is to be signed by "https://example.com/workflow`}, missing...),
		},
		{"no key to check with", by(ours(), nil), verify.Options{}, skipped},
		{"no key to check with, and one is named", by(ours(), toOurs), verify.Options{}, skipped},
		{"a key that is revoked", by(ours(), toOurs), termed(keys(ours()), signature.Term{Revoked: day("2026-03-01"), Reason: "stolen"}), out("was revoked on 2026-03-01: stolen")},
		{"a key that is revoked, of a release that names none", by(ours(), nil), termed(keys(theirs(), ours()), signature.Term{Revoked: day("2026-03-01"), Reason: "stolen"}), out("was revoked on 2026-03-01: stolen")},
		{"a key that counts later", by(ours(), toOurs), termed(keys(ours()), signature.Term{From: day("2999-01-01")}), out("counts from 2999-01-01 on, and the release is of ")},
		{"a key that counted before", by(ours(), toOurs), termed(keys(ours()), signature.Term{Until: day("1999-01-01")}), out("counted until 1999-01-01, and the release is of ")},
		{"a key that counts", by(ours(), toOurs), termed(keys(ours()), signature.Term{From: day("1971-01-01"), Until: day("2999-01-01")}), held},
		{"another key is revoked", by(ours(), toOurs), func() verify.Options {
			o := keys(theirs(), ours())
			o.Terms = map[artifact.Digest]signature.Term{theirs().Public().Fingerprint(): {Revoked: day("2026-03-01")}}
			return o
		}(), held},
		{"a key that is revoked did not sign", by(theirs(), nil), termed(keys(ours()), signature.Term{Revoked: day("2026-03-01")}), wrong},
		{"signatures are left out of account", by(theirs(), nil), verify.Options{AllowUnsigned: true}, nil},
		{"no signatures are left out of account", unsigned(t, toOurs), verify.Options{AllowUnsigned: true}, nil},
		{"hashes alone", unsigned(t, toOurs), verify.Options{HashesOnly: true}, nil},
		{"to be signed", unsigned(t, toOurs), verify.Options{}, []string{"FAIL hello 1.2.3 the release is to be signed with key " + our + " and is not; sign it"}},
		{
			"to be signed by an identity", unsigned(t, identity),
			verify.Options{},
			[]string{`FAIL hello 1.2.3 the release is to be signed by "https://example.com/workflow@refs/tags/*" and is not; sign it`},
		},
		{"to be signed, unpublishable", unsigned(t, toOurs, "dirty"), allowed, []string{"PASS hello 1.2.3 unsigned, as it may be while it is unpublishable"}},
		{"to be signed, and only allowed to be unpublishable", unsigned(t, toOurs), allowed, []string{"FAIL hello 1.2.3 the release is to be signed"}},
		{"unsigned", unsigned(t, nil), verify.Options{}, []string{"PASS hello 1.2.3 unsigned, and the release names no signer"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.f.t = t
			report, err := tt.f.check(tt.o)
			passes := !slices.ContainsFunc(tt.want, func(w string) bool { return !strings.HasPrefix(w, "PASS") })
			if passes != (err == nil) || err != nil && fault.CodeOf(err) != fault.Mismatch {
				t.Errorf("%v, code %d", err, fault.CodeOf(err))
			}
			got := rows(report)
			want := slices.Sorted(slices.Values(tt.want))
			slices.Sort(got)
			if !slices.EqualFunc(got, want, strings.HasPrefix) {
				t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
			}
		})
	}
}

// TestStrange opens nothing of a release that somebody else made: what is in it may be made to cost whoever reads it.
func TestStrange(t *testing.T) {
	files, rel, err := verifytest.Files(verifytest.Options{Payload: []byte("no archive")})
	must(t, err)
	f := &forgery{t: t, files: files, rel: rel}
	f.failed(verify.Options{}, linuxArchive, "")
	f.sign(theirs())
	report := f.refused(keys(ours()))
	if got := failures(report); !strings.Contains(got, "SKIP contents hello 1.2.3 nothing was opened") || strings.Contains(got, linuxArchive) {
		t.Error(got)
	}
	f.files[linuxArchive] = []byte("no Archive")
	f.failed(keys(ours()), linuxArchive, "want sha256:")
}

// TestOtherSignatures puts signatures of something else, made with the right key, in the place of this release's.
func TestOtherSignatures(t *testing.T) {
	older := signed(t, "1.2.2")
	o := keys(ours())
	t.Run("all of an older release", func(t *testing.T) {
		f := signed(t, "1.2.3")
		f.t = t
		f.unsign()
		for p, b := range older.files {
			if q := strings.ReplaceAll(p, "1.2.2", "1.2.3"); isSignature(q) {
				f.files[q] = b
			}
		}
		for _, p := range []string{"SHA256SUMS.sigstore.json", "release.json.sigstore.json"} {
			f.failed(o, p, "the content has changed")
		}
		f.failed(o, attestation, "the signed statement is about another build: version 1.2.2")
		f.failed(o, "ghcr.io/example/hello@sha256:", "there is no bundle that refers to it")
	})
	t.Run("the attestation as it is called there", func(t *testing.T) {
		f := signed(t, "1.2.3")
		f.t = t
		f.files["attestations/hello_1.2.2.intoto.jsonl"] = older.files["attestations/hello_1.2.2.intoto.jsonl"]
		f.failed(o, "attestations/hello_1.2.2.intoto.jsonl", "not in release.json")
	})
	t.Run("each in the place of another", func(t *testing.T) {
		names := []string{"SHA256SUMS.sigstore.json", "release.json.sigstore.json", attestation}
		for i, p := range names {
			f := signed(t, "1.2.3")
			f.t = t
			f.files[p] = f.files[names[(i+1)%len(names)]]
			f.failed(o, p, "")
		}
	})
	t.Run("an image of the older release added", func(t *testing.T) {
		f := signed(t, "1.2.3")
		f.t = t
		var index, others map[string]any
		must(t, json.Unmarshal(f.files["signatures/index.json"], &index))
		must(t, json.Unmarshal(older.files["signatures/index.json"], &others))
		index["manifests"] = append(index["manifests"].([]any), others["manifests"].([]any)...)
		for p, b := range older.files {
			if strings.HasPrefix(p, "signatures/blobs/") {
				f.files[p] = b
			}
		}
		b, err := json.Marshal(index)
		must(t, err)
		f.files["signatures/index.json"] = b
		f.failed(o, "ghcr.io/example/hello:sha256-", "it does not sign anything in the release")
	})
	t.Run("more files", func(t *testing.T) {
		for _, p := range []string{"signatures/extra", "signatures/blobs/sha256/" + strings.Repeat("0", 64), "signatures/blobs/sha256/x", ".signing/release.json.sigstore.json"} {
			f := signed(t, "1.2.3")
			f.t = t
			f.files[p] = []byte("{}")
			f.failed(o, p, "")
		}
	})
	t.Run("the provenance of another plan", func(t *testing.T) {
		f := signed(t, "1.2.3")
		f.t = t
		g := unsigned(t, f.rel.Signing)
		g.rel.Plan = older.digest(manifest.FileName)
		g.seal()
		g.sign(ours())
		f.files[attestation] = g.files[attestation]
		f.failed(o, attestation, "the signed statement is about another build")
	})
	t.Run("larger than it may be", func(t *testing.T) {
		f := signed(t, "1.2.3")
		f.t = t
		f.files[attestation] = append(f.files[attestation], bytes.Repeat([]byte(" "), 33<<20)...)
		f.failed(o, attestation, "at most")
	})
}

func TestReadKeys(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "a.pub", string(ours().Public().PEM()))
	write(t, dir, "b.pub", string(theirs().Public().PEM()))
	write(t, dir, "no.pub", "no key")
	write(t, dir, "large.pub", strings.Repeat("x", 70<<10))
	at := func(name string) string { return filepath.Join(dir, name) }
	got, err := verify.ReadKeys([]string{at("a.pub"), at("b.pub")})
	must(t, err)
	if len(got) != 2 || !got[0].Equal(ours().Public()) || !got[1].Equal(theirs().Public()) {
		t.Errorf("%d keys", len(got))
	}
	write(t, dir, "both.pub", string(ours().Public().PEM())+string(theirs().Public().PEM()))
	for _, name := range []string{"both.pub", "no.pub", "large.pub", "none.pub", "."} {
		if _, err := verify.ReadKeys([]string{at("a.pub"), at(name)}); fault.CodeOf(err) != fault.Usage || !strings.Contains(err.Error(), at(name)) {
			t.Errorf("%s: %v, code %d", name, err, fault.CodeOf(err))
		}
	}
}

// TestPipe does not wait for a writer where a signature should be.
func TestPipe(t *testing.T) {
	f := signed(t, "1.2.3")
	for _, p := range slices.Sorted(maps.Keys(f.files)) {
		if !isSignature(p) {
			continue
		}
		dir := t.TempDir()
		for name, b := range f.files {
			must(t, os.MkdirAll(filepath.Join(dir, filepath.Dir(name)), 0o755))
			must(t, os.WriteFile(filepath.Join(dir, name), b, 0o644))
		}
		must(t, os.Remove(filepath.Join(dir, p)))
		must(t, pipe(filepath.Join(dir, p)))
		report, err := verify.Dist(t.Context(), dir, keys(ours()))
		if fault.CodeOf(err) != fault.Mismatch || !strings.Contains(failures(report), "not a regular file") {
			t.Errorf("%s: %v\n%s", p, err, failures(report))
		}
	}
}
