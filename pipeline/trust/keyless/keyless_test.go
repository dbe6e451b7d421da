package keyless_test

import (
	"bytes"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/slipway-build/slipway/pipeline/fixture/keylesstest"
	"github.com/slipway-build/slipway/pipeline/release/artifact"
	"github.com/slipway-build/slipway/pipeline/release/fault"
	"github.com/slipway-build/slipway/pipeline/trust/keyless"
	"github.com/slipway-build/slipway/pipeline/trust/signature"
)

var content = []byte("what is signed\n")

const statement = `{"_type":"https://in-toto.io/Statement/v1"}`

func trusted(t testing.TB, s *keylesstest.Sigstore, edits ...string) keyless.TrustedRoot {
	t.Helper()
	b := string(s.TrustedRoot())
	for i := 0; i < len(edits); i += 2 {
		if !strings.Contains(b, edits[i]) {
			t.Fatalf("the root has no %s", edits[i])
		}
		b = strings.ReplaceAll(b, edits[i], edits[i+1])
	}
	root, err := keyless.ParseTrustedRoot([]byte(b))
	if err != nil {
		t.Fatal(err)
	}
	return root
}

func verifier(t testing.TB, s *keylesstest.Sigstore) keyless.Verifier {
	return keyless.Verifier{Root: trusted(t, s), Policy: keyless.Policy{Identity: keylesstest.Release().Identity(), Issuer: s.IssuerURL}}
}

// want checks that an error says it, and that it is one line.
func want(t *testing.T, err error, says string) {
	t.Helper()
	switch {
	case says == "" && err != nil:
		t.Errorf("got %v, want no error", err)
	case says != "" && (err == nil || !strings.Contains(err.Error(), says)):
		t.Errorf("got %v, want an error that says %q", err, says)
	case err != nil && strings.Contains(err.Error(), "\n"):
		t.Errorf("an error in several lines: %v", err)
	}
}

// clone is a bundle that shares nothing with b: it was written and read.
func clone(t testing.TB, b signature.Bundle) signature.Bundle {
	t.Helper()
	raw, err := json.Marshal(b)
	if err != nil {
		t.Fatal(err)
	}
	var out signature.Bundle
	if err := json.Unmarshal(raw, &out); err != nil {
		t.Fatal(err)
	}
	return out
}

func TestVerify(t *testing.T) {
	s := keylesstest.New(t)
	w := keylesstest.Release()
	v := verifier(t, s)
	token := s.Token(w)
	for range 4 {
		s.SignBlob(token, []byte("others")) // so that proofs have hashes
	}
	blob, att := s.SignBlob(token, content), s.SignStatement(token, []byte(statement))
	check := func(c keyless.Claims) {
		t.Helper()
		if age := time.Since(c.Time); age < 0 || age > time.Minute {
			t.Errorf("signed at %s", c.Time)
		}
		c.Time = time.Time{}
		if w := (keyless.Claims{
			Identity: w.Identity(), Issuer: s.IssuerURL, Repository: "https://github.com/" + w.Repository, Commit: w.Commit, Ref: w.Ref, Workflow: w.Identity(),
			Run: "https://github.com/example/tool/actions/runs/3/attempts/1",
		}); c != w {
			t.Errorf("got %+v, want %+v", c, w)
		}
	}
	for _, b := range []signature.Bundle{blob, clone(t, blob)} {
		claims, err := v.Blob(b, content)
		want(t, err, "")
		check(claims)
	}
	got, claims, err := v.Statement(clone(t, att))
	want(t, err, "")
	check(claims)
	if string(got) != statement {
		t.Errorf("the statement is %q", got)
	}

	_, err = v.Blob(att, content)
	want(t, err, "it signs no file")
	_, _, err = v.Statement(blob)
	want(t, err, "it signs no statement")
	_, err = keyless.Verifier{Policy: v.Policy}.Blob(blob, content)
	want(t, err, "which is not in the trusted root")
	_, err = keyless.Verifier{Root: v.Root}.Blob(blob, content)
	want(t, err, "want the identity of the signer")

	person := s.SignBlob(s.EmailToken("jo@example.org", true), content)
	v.Policy.Identity = "*@example.org"
	claims, err = v.Blob(person, content)
	want(t, err, "")
	if claims.Identity != "jo@example.org" || claims.Commit != "" {
		t.Errorf("got %+v", claims)
	}
	_, err = v.Blob(blob, content)
	want(t, err, `it was signed by "https://github.com/example/tool/.github/workflows/release.yml@refs/tags/v1.2.3" and not by "*@example.org"`)
}

// TestTampering holds one thing after the other against a bundle, and what is said of it.
func TestTampering(t *testing.T) {
	s, other := keylesstest.New(t), keylesstest.New(t)
	v := verifier(t, s)
	token := s.Token(keylesstest.Release())
	s.SignBlob(token, []byte("first"))
	second := s.SignBlob(token, []byte("second"))
	good, att := s.SignBlob(token, content), s.SignStatement(token, []byte(statement))
	unlogged := clone(t, good)
	unlogged.Material.Entries = nil
	bend := func(r keylesstest.Rules) signature.Bundle {
		s.Bend(r)
		defer s.Bend(keylesstest.Rules{})
		return s.SignBlob(token, content)
	}
	altered := func(f func(*x509.Certificate)) signature.Bundle { return bend(keylesstest.Rules{Certificate: f}) }
	cert := func(b signature.Bundle) *signature.Certificate { return b.Material.Certificate }
	entry := func(b signature.Bundle) *signature.LogEntry { return &b.Material.Entries[0] }
	proof := func(b signature.Bundle) *signature.InclusionProof { return entry(b).InclusionProof }

	// rooted is the root with one of its lists changed.
	rooted := func(list string, edit func(string) string) *keyless.TrustedRoot {
		was := section(t, s, list)
		root := trusted(t, s, was, edit(was))
		return &root
	}
	of := func(o *keylesstest.Sigstore, list string) func(string) string {
		return func(string) string { return section(t, o, list) }
	}
	later := func(list string) string {
		return strings.ReplaceAll(list, start(t, s), `"start": "2199-01-01T00:00:00Z"`)
	}
	unread := func(list string) string { return strings.ReplaceAll(list, "PKIX_ECDSA_P256_SHA_256", "ML_DSA_65") }

	for _, tt := range []struct {
		name   string
		bundle signature.Bundle
		edit   func(b signature.Bundle)
		policy keyless.Policy
		root   *keyless.TrustedRoot
		says   string
	}{
		{name: "nothing", bundle: good},
		{name: "wrong identity", bundle: good, policy: keyless.Policy{Identity: "https://github.com/example/tool/.github/workflows/test.yml@*", Issuer: s.IssuerURL}, says: "it was signed by"},
		{name: "wrong issuer", bundle: good, policy: keyless.Policy{Identity: v.Policy.Identity, Issuer: "https://accounts.example.org"}, says: "vouched for by"},
		{name: "changed content", bundle: second, says: "the content has changed"},
		{name: "changed content and digest", bundle: second, edit: func(b signature.Bundle) { b.Message.Digest = good.Message.Digest }, says: "the signature was not made by key"},
		{name: "another signature", bundle: good, edit: func(b signature.Bundle) { b.Message.Signature = second.Message.Signature }, says: "the signature was not made by key"},

		{name: "after the certificate's time", bundle: bend(keylesstest.Rules{LogLater: 11 * time.Minute}), says: "and the certificate was valid from"},
		{name: "before the certificate's time", bundle: bend(keylesstest.Rules{LogLater: -time.Minute}), says: "and the certificate was valid from"},
		{name: "another authority", bundle: good, root: rooted("certificateAuthorities", of(other, "certificateAuthorities")), says: "no trusted authority issued the certificate"},
		{name: "an authority of another time", bundle: good, root: rooted("certificateAuthorities", later), says: "the trusted root has none that was valid then"},
		{name: "no usage", bundle: altered(func(c *x509.Certificate) { c.ExtKeyUsage = nil }), says: "not one for signing code"},
		{name: "another usage", bundle: altered(func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth} }), says: "not one for signing code"},
		{name: "any usage", bundle: altered(func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageAny} }), says: "not one for signing code"},
		{name: "an authority's certificate", bundle: altered(func(c *x509.Certificate) { c.BasicConstraintsValid, c.IsCA = true, true }), says: "that of an authority"},
		{name: "a certificate not for signatures", bundle: altered(func(c *x509.Certificate) { c.KeyUsage = x509.KeyUsageKeyEncipherment }), says: "not one for signatures"},
		{name: "two names", bundle: altered(func(c *x509.Certificate) { c.EmailAddresses = []string{"jo@example.org"} }), says: "does not name one signer"},
		{name: "no name", bundle: altered(func(c *x509.Certificate) { c.URIs = nil }), says: "does not name one signer"},
		{name: "a host's name", bundle: altered(func(c *x509.Certificate) { c.URIs, c.DNSNames = nil, []string{"example.org"} }), says: "by neither URI nor email address"},
		{name: "no issuer", bundle: altered(func(c *x509.Certificate) { c.ExtraExtensions = c.ExtraExtensions[:len(c.ExtraExtensions)-2] }), says: "does not say who vouched"},
		{name: "two issuers", bundle: altered(func(c *x509.Certificate) {
			c.ExtraExtensions[len(c.ExtraExtensions)-1].Value = []byte("https://accounts.example.org")
		}), says: "names two issuers"},
		{name: "an issuer that is no string", bundle: altered(func(c *x509.Certificate) {
			c.ExtraExtensions[len(c.ExtraExtensions)-2].Value = []byte(s.IssuerURL)
		}), says: "1.3.6.1.4.1.57264.1.8 is damaged"},
		{name: "two certificates", bundle: good, edit: func(b signature.Bundle) { cert(b).RawBytes = append(cert(b).RawBytes, cert(second).RawBytes...) }, says: "there is not one whole certificate"},
		{name: "another certificate", bundle: good, edit: func(b signature.Bundle) { cert(b).RawBytes = cert(second).RawBytes }, says: "the signature was not made by key"},
		{name: "a truncated certificate", bundle: good, edit: func(b signature.Bundle) { cert(b).RawBytes = cert(b).RawBytes[:100] }, says: "there is not one whole certificate"},
		{name: "a huge certificate", bundle: good, edit: func(b signature.Bundle) { cert(b).RawBytes = make([]byte, 1<<20) }, says: "more than 65536 bytes"},

		{name: "no timestamp", bundle: bend(keylesstest.Rules{NoTimestamp: true}), says: "carries no timestamp of a certificate log"},
		{name: "a timestamp apart", bundle: bend(keylesstest.Rules{Detached: true}), says: "carries no timestamp of a certificate log"},
		{name: "a timestamp of another certificate", bundle: bend(keylesstest.Rules{Final: func(c *x509.Certificate) { c.NotAfter = c.NotAfter.Add(time.Second) }}), says: "not signed by log"},
		{name: "a damaged timestamp", bundle: bend(keylesstest.Rules{Final: func(c *x509.Certificate) {
			e := &c.ExtraExtensions[len(c.ExtraExtensions)-1]
			e.Value = bytes.Clone(e.Value[:len(e.Value)-1])
		}}), says: "reading the certificate's timestamps: they are damaged"},
		{name: "another certificate log", bundle: good, root: rooted("ctlogs", of(other, "ctlogs")), says: "the certificate's timestamp is of log"},
		{name: "a certificate log that is not read", bundle: good, root: rooted("ctlogs", unread), says: `whose key of kind "ML_DSA_65" is not read`},
		{name: "a certificate log of another time", bundle: good, root: rooted("ctlogs", later), says: "when log"},

		{name: "no entry", bundle: unlogged, says: "it is in no transparency log"},
		{name: "another log", bundle: good, root: rooted("tlogs", of(other, "tlogs")), says: "the signature is in log"},
		{name: "a log that is not read", bundle: good, root: rooted("tlogs", unread), says: `whose key of kind "ML_DSA_65" is not read`},
		{name: "a log of another time", bundle: good, root: rooted("tlogs", later), says: "was not to be believed"},
		{name: "an entry of another log with the same id", bundle: good, edit: func(b signature.Bundle) {
			*entry(b) = other.Log(b, cert(b).RawBytes)
			entry(b).LogID = entry(good).LogID
		}, says: "the log has not signed this entry"},
		{name: "swapped entry", bundle: good, edit: func(b signature.Bundle) { *entry(b) = *entry(second) }, says: "about other content"},
		{name: "an entry of another signature", bundle: good, edit: func(b signature.Bundle) { *entry(b) = *entry(s.SignBlob(token, content)) }, says: "about another signature"},
		{name: "an entry of an envelope", bundle: good, edit: func(b signature.Bundle) { *entry(b) = *entry(att) }, says: `is of kind "dsse" "0.0.1" instead of hashedrekord 0.0.1 or 0.0.2`},
		{name: "an entry of an envelope by another name", bundle: good, edit: func(b signature.Bundle) {
			*entry(b) = *entry(att)
			entry(b).KindVersion.Kind = "hashedrekord"
		}, says: `is of kind "dsse" "0.0.1" and is called hashedrekord 0.0.1`},
		{name: "an entry of another version", bundle: good, edit: func(b signature.Bundle) { entry(b).KindVersion.Version = "0.0.2" }, says: `"0.0.1" and is called hashedrekord 0.0.2`},
		{name: "an entry of no version", bundle: good, edit: func(b signature.Bundle) { entry(b).KindVersion.Version = "0.0.3" }, says: `"0.0.3" instead of`},
		{name: "changed body: digest", bundle: good, edit: func(b signature.Bundle) { replace(entry(b), artifact.Sum(content).Hex(), artifact.Sum(nil).Hex()) }, says: "about other content"},
		{name: "changed body: algorithm", bundle: good, edit: func(b signature.Bundle) { replace(entry(b), `"sha256"`, `"sha512"`) }, says: "about other content"},
		{name: "changed body: certificate", bundle: good, edit: func(b signature.Bundle) { replace(entry(b), encoded(good), encoded(second)) }, says: "about another certificate"},
		{name: "changed body: space", bundle: good, edit: func(b signature.Bundle) { replace(entry(b), `{"apiVersion"`, `{ "apiVersion"`) }, says: "one canonical way"},
		{name: "changed body: a key twice", bundle: good, edit: func(b signature.Bundle) { replace(entry(b), `{"apiVersion"`, `{"kind":"rekord","apiVersion"`) }, says: "comes twice"},
		{name: "changed body: no JSON", bundle: good, edit: func(b signature.Bundle) { entry(b).CanonicalizedBody = []byte("{") }, says: "reading the log's entry"},
		{name: "changed body: huge", bundle: good, edit: func(b signature.Bundle) { entry(b).CanonicalizedBody = make([]byte, 2<<20) }, says: "more than 1048576 bytes"},
		{name: "changed time", bundle: good, edit: func(b signature.Bundle) { entry(b).IntegratedTime++ }, says: "with this time and place"},
		{name: "changed place", bundle: good, edit: func(b signature.Bundle) { entry(b).LogIndex++ }, says: "with this time and place"},
		{name: "missing promise", bundle: bend(keylesstest.Rules{NoPromise: true}), says: "has not signed the time of the entry"},
		{name: "empty promise", bundle: good, edit: func(b signature.Bundle) { entry(b).InclusionPromise.SignedEntryTimestamp = nil }, says: "has not signed the time of the entry"},
		{name: "another promise", bundle: good, edit: func(b signature.Bundle) { entry(b).InclusionPromise = entry(second).InclusionPromise }, says: "inclusion promise does not hold"},
		{name: "missing proof", bundle: good, edit: func(b signature.Bundle) { entry(b).InclusionProof = nil }, says: "there is no proof"},
		{name: "changed proof hash", bundle: good, edit: func(b signature.Bundle) { proof(b).Hashes[0][0] ^= 1 }, says: "leads to the root"},
		{name: "a hash too few", bundle: good, edit: func(b signature.Bundle) { proof(b).Hashes = nil }, says: "too few hashes"},
		{name: "a hash too many", bundle: good, edit: func(b signature.Bundle) { proof(b).Hashes = slices.Repeat(proof(b).Hashes, 3) }, says: "too many hashes"},
		{name: "a short hash", bundle: good, edit: func(b signature.Bundle) { proof(b).Hashes[0] = []byte{1} }, says: "a hash of 1 bytes"},
		{name: "a place outside of the tree", bundle: good, edit: func(b signature.Bundle) { proof(b).LogIndex = 1000 }, says: "entry 1000 is not in a tree of"},
		{name: "changed root", bundle: good, edit: func(b signature.Bundle) { proof(b).RootHash[0] ^= 1 }, says: "leads to the root"},
		{name: "a checkpoint of another tree", bundle: good, edit: func(b signature.Bundle) { proof(b).Checkpoint = proof(second).Checkpoint }, says: "checkpoint is of another tree"},
		{name: "a checkpoint of another log", bundle: good, edit: func(b signature.Bundle) {
			proof(b).Checkpoint = proof(other.SignBlob(other.Token(keylesstest.Release()), content)).Checkpoint
		}, says: "has not signed it"},
		{name: "a changed checkpoint", bundle: good, edit: func(b signature.Bundle) {
			proof(b).Checkpoint.Envelope = strings.Replace(proof(b).Checkpoint.Envelope, "rekor.example.org -", "rekor.example.com -", 1)
		}, says: "has not signed it"},
		{name: "no checkpoint", bundle: good, edit: func(b signature.Bundle) { proof(b).Checkpoint.Envelope = "" }, says: "it is not a signed note"},
		{name: "a checkpoint without a signature", bundle: good, edit: func(b signature.Bundle) { proof(b).Checkpoint.Envelope = "a\n1\nAAAA\n\nx\n" }, says: "not the root of a tree"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := clone(t, tt.bundle)
			if tt.edit != nil {
				tt.edit(b)
			}
			v := v
			if tt.policy != (keyless.Policy{}) {
				v.Policy = tt.policy
			}
			if tt.root != nil {
				v.Root = *tt.root
			}
			claims, err := v.Blob(b, content)
			want(t, err, tt.says)
			if err != nil && claims != (keyless.Claims{}) {
				t.Errorf("an error and claims: %+v", claims)
			}
		})
	}
}

// encoded is the certificate as a log has it.
func encoded(b signature.Bundle) string {
	return base64.StdEncoding.EncodeToString([]byte(keyless.EncodeCertificates(b.Material.Certificate.RawBytes)))
}

func replace(e *signature.LogEntry, old, new string) {
	e.CanonicalizedBody = []byte(strings.Replace(string(e.CanonicalizedBody), old, new, 1))
}

// section is the JSON of one key of a root as it stands there.
func section(t *testing.T, s *keylesstest.Sigstore, name string) string {
	t.Helper()
	b := string(s.TrustedRoot())
	_, b, ok := strings.Cut(b, "\n  \""+name+"\": [")
	b, _, ok2 := strings.Cut(b, "\n  ]")
	if !ok || !ok2 {
		t.Fatalf("no %s", name)
	}
	return b
}

func start(t *testing.T, s *keylesstest.Sigstore) string {
	t.Helper()
	_, b, _ := strings.Cut(string(s.TrustedRoot()), `"start": `)
	b, _, ok := strings.Cut(b, "\n")
	if !ok {
		t.Fatal("no start")
	}
	return `"start": ` + b
}

// TestRekor2 is TestTampering for entries without a time of their own, which an authority stamps.
func TestRekor2(t *testing.T) {
	s, other := keylesstest.New(t), keylesstest.New(t)
	token := s.Token(keylesstest.Release())
	v1 := s.SignBlob(token, content)
	s.Bend(keylesstest.Rules{V2: true})
	other.Bend(keylesstest.Rules{V2: true})
	v := verifier(t, s)
	s.SignBlob(token, []byte("first"))
	second, good, att := s.SignBlob(token, []byte("second")), s.SignBlob(token, content), s.SignStatement(token, []byte(statement))
	s.Bend(keylesstest.Rules{V2: true, DSSE: true})
	envelope := s.SignStatement(token, []byte(statement))
	bend := func(r keylesstest.Rules) signature.Bundle {
		s.Bend(r)
		return s.SignBlob(token, content)
	}
	at := func(d time.Duration) func(*keylesstest.Stamp) {
		return func(p *keylesstest.Stamp) { p.Time = time.Now().Add(d).UTC().Format("20060102150405Z") }
	}
	for _, b := range []signature.Bundle{att, envelope} {
		got, claims, err := v.Statement(clone(t, b))
		want(t, err, "")
		if string(got) != statement || time.Since(claims.Time).Abs() > time.Minute {
			t.Errorf("got %q at %s", got, claims.Time)
		}
	}
	entry := func(b signature.Bundle) *signature.LogEntry { return &b.Material.Entries[0] }
	proof := func(b signature.Bundle) *signature.InclusionProof { return entry(b).InclusionProof }
	stamps := func(b signature.Bundle) *signature.TimestampData { return b.Material.Timestamps }
	of := trusted(t, s, section(t, s, "timestampAuthorities"), section(t, other, "timestampAuthorities"))
	for _, tt := range []struct {
		name   string
		bundle signature.Bundle
		edit   func(b signature.Bundle)
		root   *keyless.TrustedRoot
		says   string
	}{
		{name: "nothing", bundle: good},
		{name: "Rekor v1 with a timestamp", bundle: bend(keylesstest.Rules{Stamp: at(0)})},
		{name: "Rekor v1 with a timestamp alone", bundle: bend(keylesstest.Rules{Stamp: at(0), NoPromise: true})},
		{name: "Rekor v1 with a timestamp of another time", bundle: bend(keylesstest.Rules{Stamp: at(time.Hour)}), says: "and the certificate was valid from"},
		{name: "Rekor v1 at another time with a timestamp", bundle: bend(keylesstest.Rules{Stamp: at(0), LogLater: time.Hour}), says: "and the certificate was valid from"},
		{name: "Rekor v1 with a timestamp of an unknown authority", bundle: bend(keylesstest.Rules{Stamp: at(time.Hour)}), root: &of},
		{name: "no timestamp", bundle: good, edit: func(b signature.Bundle) { stamps(b).RFC3161 = nil }, says: "no timestamp authority has"},
		{name: "an unknown authority", bundle: good, root: &of, says: "the timestamp does not hold: it was signed with another certificate"},
		{name: "a timestamp of another signature", bundle: good, edit: func(b signature.Bundle) { *stamps(b) = *stamps(second) }, says: "the timestamp is of another signature"},
		{name: "one of two timestamps holds", bundle: good, edit: func(b signature.Bundle) {
			stamps(b).RFC3161 = append(slices.Clone(stamps(second).RFC3161), stamps(b).RFC3161...)
		}},
		{name: "after the certificate's time", bundle: bend(keylesstest.Rules{V2: true, Stamp: at(11 * time.Minute)}), says: "and the certificate was valid from"},
		{name: "before the certificate's time", bundle: bend(keylesstest.Rules{V2: true, Stamp: at(-time.Minute)}), says: "and the certificate was valid from"},
		{name: "a time of the log that nobody signed", bundle: good, edit: func(b signature.Bundle) {
			stamps(b).RFC3161 = nil
			entry(b).IntegratedTime = time.Now().Unix()
		}, says: "no timestamp authority has"},
		{name: "a promise", bundle: good, edit: func(b signature.Bundle) { entry(b).InclusionPromise = entry(v1).InclusionPromise }, says: "inclusion promise does not hold"},
		{name: "missing proof", bundle: good, edit: func(b signature.Bundle) { entry(b).InclusionProof = nil }, says: "there is no proof"},
		{name: "changed proof hash", bundle: good, edit: func(b signature.Bundle) { proof(b).Hashes[0][0] ^= 1 }, says: "leads to the root"},
		{name: "changed place", bundle: good, edit: func(b signature.Bundle) { proof(b).LogIndex-- }, says: "does not hold"},
		{name: "a checkpoint of another tree", bundle: good, edit: func(b signature.Bundle) { proof(b).Checkpoint = proof(second).Checkpoint }, says: "checkpoint is of another tree"},
		{name: "a checkpoint of another log", bundle: good, edit: func(b signature.Bundle) {
			proof(b).Checkpoint = proof(other.SignBlob(other.Token(keylesstest.Release()), content)).Checkpoint
		}, says: "has not signed it"},
		{name: "a witness's signature too", bundle: good, edit: func(b signature.Bundle) {
			proof(b).Checkpoint.Envelope += "— witness.example.org AAAAAAAA\n"
		}},
		{name: "an entry of another file", bundle: good, edit: func(b signature.Bundle) { *entry(b) = *entry(second) }, says: "about other content"},
		{name: "an entry of another signature", bundle: good, edit: func(b signature.Bundle) { *entry(b) = *entry(bend(keylesstest.Rules{V2: true})) }, says: "about another signature"},
		{name: "an entry of an envelope", bundle: good, edit: func(b signature.Bundle) { *entry(b) = *entry(envelope) }, says: "is of kind"},
		{name: "an entry of Rekor v1 by another name", bundle: v1, edit: func(b signature.Bundle) { entry(b).KindVersion.Version = "0.0.2" }, says: "and is called"},
		{name: "changed body: digest", bundle: good, edit: func(b signature.Bundle) { replace(entry(b), `"digest":"`, `"digest":"AAAA`) }, says: "about other content"},
		{name: "changed body: algorithm", bundle: good, edit: func(b signature.Bundle) { replace(entry(b), "SHA2_256", "SHA2_512") }, says: "about other content"},
		{name: "changed body: key", bundle: good, edit: func(b signature.Bundle) { replace(entry(b), "PKIX_ECDSA_P256_SHA_256", "PKIX_ED25519") }, says: "about a key of kind"},
		{name: "changed body: more", bundle: good, edit: func(b signature.Bundle) { replace(entry(b), `"spec":{`, `"spec":{"a":1,`) }, says: "one canonical way"},
		{name: "changed body: space", bundle: good, edit: func(b signature.Bundle) { replace(entry(b), `{"apiVersion"`, `{ "apiVersion"`) }, says: "one canonical way"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := clone(t, tt.bundle)
			if tt.edit != nil {
				tt.edit(b)
			}
			v := v
			if tt.root != nil {
				v.Root = *tt.root
			}
			claims, err := v.Blob(b, content)
			want(t, err, tt.says)
			if err != nil && claims != (keyless.Claims{}) {
				t.Errorf("an error and claims: %+v", claims)
			}
		})
	}
}

// TestSeveralEntries needs one that holds, wherever it stands.
func TestSeveralEntries(t *testing.T) {
	s := keylesstest.New(t)
	v := verifier(t, s)
	token := s.Token(keylesstest.Release())
	bad, good := s.SignBlob(token, []byte("x")), s.SignBlob(token, content)
	good.Material.Entries = append(slices.Clone(bad.Material.Entries), good.Material.Entries...)
	_, err := v.Blob(good, content)
	want(t, err, "")
	good.Material.Entries[1] = good.Material.Entries[0]
	_, err = v.Blob(good, content)
	want(t, err, "about other content")
}

// TestMaterial refuses what is no bundle of a certificate.
func TestMaterial(t *testing.T) {
	s := keylesstest.New(t)
	v := verifier(t, s)
	good := s.SignBlob(s.Token(keylesstest.Release()), content)
	for _, tt := range []struct {
		edit func(b *signature.Bundle)
		says string
	}{
		{func(b *signature.Bundle) { b.MediaType = "application/vnd.dev.sigstore.bundle+json;version=0.1" }, "it is a bundle of type"},
		{func(b *signature.Bundle) { b.Envelope = &signature.Envelope{} }, "both a file and a statement"},
		{func(b *signature.Bundle) { b.Material.PublicKey = &signature.PublicKeyIdentifier{} }, "verify it with the key"},
		{func(b *signature.Bundle) { b.Material.Certificate = nil }, "does not have the certificate of the signer alone"},
		{func(b *signature.Bundle) { b.Material.Chain = &signature.CertificateChain{} }, "does not have the certificate of the signer alone"},
	} {
		b := clone(t, good)
		tt.edit(&b)
		_, err := v.Blob(b, content)
		want(t, err, tt.says)
	}
	_, _, err := v.Statement(signature.Bundle{MediaType: signature.BundleMediaType, Material: good.Material, Envelope: &signature.Envelope{Payload: []byte("{}")}})
	want(t, err, "0 signatures")
}

func TestStatementTampering(t *testing.T) {
	s := keylesstest.New(t)
	v := verifier(t, s)
	token := s.Token(keylesstest.Release())
	good, second := s.SignStatement(token, []byte(statement)), s.SignStatement(token, []byte(statement))
	for _, tt := range []struct {
		name string
		edit func(b *signature.Bundle)
		says string
	}{
		{"payload", func(b *signature.Bundle) { b.Envelope.Payload = []byte("{}") }, "the signature was not made by key"},
		{"type", func(b *signature.Bundle) { b.Envelope.PayloadType = "text/plain" }, "the payload is of type"},
		{"two signatures", func(b *signature.Bundle) { b.Envelope.Signatures = slices.Repeat(b.Envelope.Signatures, 2) }, "2 signatures"},
		{"entry", func(b *signature.Bundle) { b.Material.Entries = second.Material.Entries }, "about another signature"},
		{"entry of a blob", func(b *signature.Bundle) { b.Material.Entries = s.SignBlob(token, content).Material.Entries }, "instead of dsse"},
		{"entry with two signatures", func(b *signature.Bundle) {
			e := &b.Material.Entries[0]
			one := string(e.CanonicalizedBody)
			i := strings.Index(one, `{"signature"`)
			sig := one[i:strings.LastIndex(one, "]")]
			replace(e, sig, sig+","+sig)
		}, "2 signatures instead of one"},
		{"envelope hash", func(b *signature.Bundle) {
			replace(&b.Material.Entries[0], `"envelopeHash":{"algorithm":"sha256","value":"`, `"envelopeHash":{"algorithm":"sha256","value":"0`)
		}, "reading the log's entry"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := clone(t, good)
			tt.edit(&b)
			got, _, err := v.Statement(b)
			want(t, err, tt.says)
			if got != nil {
				t.Errorf("an unsigned statement: %s", got)
			}
		})
	}
}

func TestPolicy(t *testing.T) {
	const issuer = "https://token.actions.githubusercontent.com"
	long := strings.Repeat("a", 1025)
	for _, tt := range []struct{ identity, issuer, says string }{
		{"https://github.com/owner/name/.github/workflows/release.yml@refs/tags/*", issuer, ""},
		{"https://github.com/owner/*", issuer, ""},
		{"jo@example.org", issuer, ""},
		{"*@example.org", issuer, ""},
		{"", issuer, "want the identity"},
		{"jo@example.org", "", "want the identity"},
		{"*", issuer, "anybody"},
		{"jo@*", issuer, "anybody"},
		{"jo*", issuer, "anybody"},
		{"*://github.com/owner/name", issuer, "anybody"},
		{"https://*/owner/name", issuer, "anybody"},
		{"https://github.com/*", issuer, "anybody"},
		{"https://github.com/ow*/name", issuer, "anybody"},
		{"jo@example.org", "https://*", "no * is allowed"},
		{long, issuer, "longer than"},
		{"a", long, "longer than"},
	} {
		err := keyless.Policy{Identity: tt.identity, Issuer: tt.issuer}.Check()
		want(t, err, tt.says)
		if err != nil && fault.CodeOf(err) != fault.Usage {
			t.Errorf("%v has the code %d", err, fault.CodeOf(err))
		}
	}
}

func TestPolicyAccepts(t *testing.T) {
	const tags = "https://github.com/o/n/.github/workflows/*.yml@refs/tags/*"
	for _, tt := range []struct {
		pattern, identity string
		ok                bool
	}{
		{"a@b", "a@b", true},
		{"a@b", "a@bc", false},
		{"a@b", "A@b", false},
		{tags, "https://github.com/o/n/.github/workflows/release.yml@refs/tags/v1", true},
		{tags, "https://github.com/o/n/.github/workflows/release.yml@refs/tags/tool@v1", true},
		{tags, "https://github.com/o/n/.github/workflows/release.yml@refs/heads/main", false},
		{tags, "https://github.com/o/n/.github/workflows/x.yml@refs/heads/y.yml@refs/tags/v1", false},
		{tags, "https://github.com/o/n/.github/workflows/.yml", false},
		{"https://github.com/o/*", "https://github.com/o/n/.github/workflows/x.yml@refs/heads/main", true},
		{"https://github.com/o/*", "https://github.com/other/n", false},
		{"https://github.com/o/*a*a*b", "https://github.com/o/aab", true},
		{"https://github.com/o/*a*a*b", "https://github.com/o/ab", false},
		{"https://github.com/o/*ab*ab", "https://github.com/o/ab", false},
	} {
		err := keyless.Policy{Identity: tt.pattern, Issuer: "i"}.Accepts(keyless.Claims{Identity: tt.identity, Issuer: "i"})
		if (err == nil) != tt.ok {
			t.Errorf("%s and %s: got %v", tt.pattern, tt.identity, err)
		}
	}
}

func TestParseTrustedRoot(t *testing.T) {
	s := keylesstest.New(t)
	good := string(s.TrustedRoot())
	authorities, logs, ctlogs := section(t, s, "certificateAuthorities"), section(t, s, "tlogs"), section(t, s, "ctlogs")
	stampers := section(t, s, "timestampAuthorities")
	key := func(list string) string { // with its quotation marks
		_, b, _ := strings.Cut(list, `"rawBytes": `)
		b, _, _ = strings.Cut(b, "\n")
		return strings.TrimSuffix(b, ",")
	}
	leaf := s.SignBlob(s.Token(keylesstest.Release()), content).Material.Certificate.RawBytes
	for _, tt := range []struct{ name, old, new, says string }{
		{"nothing", "", "", ""},
		{"version 0.2", "trustedroot+json;version=0.1", "trustedroot.v0.2+json", ""},
		{"another type", "version=0.1", "version=9", "media type"},
		{"unknown key", `"tlogs"`, `"extra": 1, "tlogs"`, "extra"},
		{"a key twice", `"tlogs"`, `"Ctlogs": [], "tlogs"`, "comes twice"},
		{"two documents", good, good + good, "after the JSON document"},
		{"deep", stampers, strings.Repeat("[", 40) + strings.Repeat("]", 40), "nested more than"},
		{"no timestamp authority", stampers, "", ""},
		{"many timestamp authorities", stampers, stampers + strings.Repeat(","+stampers, 64), "more than 64"},
		{"a timestamp authority without time", stampers, strings.Replace(stampers, start(t, s), "", 1), "timestamp authority 0: it does not say"},
		{"a damaged timestamp authority", stampers, strings.Replace(stampers, `"rawBytes": "`, `"rawBytes": "AAAA`, 1), "timestamp authority 0: certificate 0"},
		{"no logs", logs, "", "want a certificate authority"},
		{"no certificate logs", ctlogs, "", "want a certificate authority"},
		{"no authorities", authorities, "", "want a certificate authority"},
		{"many logs", logs, logs + strings.Repeat(","+logs, 64), "more than 64"},
		{"a log twice", logs, logs + "," + logs, "comes twice"},
		{"a log without an id", `"logId"`, `"checkpointKeyId"`, "it has no id"},
		{"another hash", "SHA2_256", "SHA2_512", "hash algorithm"},
		{"no key", key(logs), `""`, "public key"},
		{"a key with another name", "PKIX_ECDSA_P256_SHA_256", "PKIX_ED25519", "it is ECDSA P-256 and is called PKIX_ED25519"},
		{"a key with the name of RSA", "PKIX_ECDSA_P256_SHA_256", "PKIX_RSA_PKCS1V15_2048_SHA256", "it is ECDSA P-256 and is called"},
		{"a key of PKCS #1", "PKIX_ECDSA_P256_SHA_256", "PKCS1_RSA_PKCS1V5", "public key"},
		{"a kind of key that is not read", "PKIX_ECDSA_P256_SHA_256", "ML_DSA_65", ""},
		{"no time", start(t, s), "", "valid from"},
		{"an end before the start", start(t, s), start(t, s) + `, "end": "2001-01-01T00:00:00Z"`, "valid from"},
		{"a leaf as an authority", key(authorities), `"` + base64.StdEncoding.EncodeToString(leaf) + `"`, "may not issue others"},
		{"a damaged authority", key(authorities), `"AAAA"`, "certificate 0"},
		{"an authority without certificates", section(t, s, "certificateAuthorities"), `{"certChain":{},"validFor":{"start":"2020-01-01T00:00:00Z"}}`, "0 certificates"},
		{"huge", good, strings.Repeat(" ", 5<<20), "more than"},
		{"empty", good, "", "EOF"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if !strings.Contains(good, tt.old) {
				t.Fatalf("there is no %s", tt.old)
			}
			_, err := keyless.ParseTrustedRoot([]byte(strings.ReplaceAll(good, tt.old, tt.new)))
			if tt.old == "" {
				_, err = keyless.ParseTrustedRoot([]byte(good))
			}
			want(t, err, tt.says)
		})
	}
}

func FuzzParseTrustedRoot(f *testing.F) {
	f.Add(keylesstest.New(f).TrustedRoot())
	f.Fuzz(func(t *testing.T, b []byte) { keyless.ParseTrustedRoot(b) })
}

func FuzzParseLogEntry(f *testing.F) {
	s := keylesstest.New(f)
	e, err := keyless.EncodeLogEntry(s.SignBlob(s.Token(keylesstest.Release()), content).Material.Entries[0])
	if err != nil {
		f.Fatal(err)
	}
	f.Add(e)
	f.Fuzz(func(t *testing.T, text string) {
		e, err := keyless.ParseLogEntry(text)
		if err != nil {
			return
		}
		again, err := keyless.EncodeLogEntry(e)
		if err != nil {
			t.Fatal(err)
		}
		if e2, err := keyless.ParseLogEntry(again); err != nil || !bytes.Equal(e2.CanonicalizedBody, e.CanonicalizedBody) || e2.LogIndex != e.LogIndex {
			t.Errorf("%q became %q: %v", text, again, err)
		}
	})
}

// FuzzVerify changes bundles: one that is still accepted says the same.
func FuzzVerify(f *testing.F) {
	s := keylesstest.New(f)
	v := verifier(f, s)
	token := s.Token(keylesstest.Release())
	s.SignBlob(token, []byte("first"))
	b := s.SignBlob(token, content)
	claims, err := v.Blob(b, content)
	if err != nil {
		f.Fatal(err)
	}
	raw, err := b.Encode()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(raw, 0, byte(0))
	f.Add(raw, 500, byte('A'))
	f.Fuzz(func(t *testing.T, b []byte, at int, to byte) {
		if at > 0 && at < len(b) {
			b = bytes.Clone(b)
			b[at] = to
		}
		bundle, err := signature.ParseBundle(b)
		if err != nil {
			return
		}
		if _, err := v.Blob(bundle, []byte("other content")); err == nil {
			t.Error("a signature over other content")
		}
		if got, err := v.Blob(bundle, content); err == nil && got != claims {
			t.Errorf("got %+v, want %+v", got, claims)
		}
	})
}
