package ephemeral_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math/big"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"github.com/slipway-build/slipway/pipeline/fixture/keylesstest"
	"github.com/slipway-build/slipway/pipeline/release/artifact"
	"github.com/slipway-build/slipway/pipeline/release/fault"
	"github.com/slipway-build/slipway/pipeline/trust/ephemeral"
	"github.com/slipway-build/slipway/pipeline/trust/keyless"
	"github.com/slipway-build/slipway/pipeline/trust/signature"
)

var content = []byte("what is signed\n")

const statement = `{"_type":"https://in-toto.io/Statement/v1"}`

// env is an environment with one variable.
func env(name, value string) func(string) (string, bool) {
	return func(n string) (string, bool) { return value, n == name }
}

func options(s *keylesstest.Sigstore) ephemeral.Options {
	return ephemeral.Options{
		Fulcio: s.FulcioURL, Rekor: s.RekorURL + "/", LookupEnv: s.GitHub(keylesstest.Release()),
		Timeout: 5 * time.Second, Backoff: time.Millisecond,
	}
}

// configured signs with a Rekor v2 and a timestamp authority. The edits change the signing configuration, two by two.
func configured(t testing.TB, s *keylesstest.Sigstore, edits ...string) ephemeral.Options {
	t.Helper()
	c, err := ephemeral.ParseSigningConfig([]byte(strings.NewReplacer(edits...).Replace(string(s.SigningConfig(2)))))
	if err != nil {
		t.Fatal(err)
	}
	o := options(s)
	o.Fulcio, o.Rekor, o.Config = "", "", &c
	return o
}

func newSigner(t testing.TB, o ephemeral.Options) *ephemeral.Signer {
	t.Helper()
	signer, err := ephemeral.New(o)
	if err != nil {
		t.Fatal(err)
	}
	return signer
}

func verifier(t testing.TB, s *keylesstest.Sigstore) keyless.Verifier {
	t.Helper()
	root, err := keyless.ParseTrustedRoot(s.TrustedRoot())
	if err != nil {
		t.Fatal(err)
	}
	return keyless.Verifier{Root: root, Policy: keyless.Policy{Identity: keylesstest.Release().Identity(), Issuer: s.IssuerURL}}
}

// want checks what an error says, its code, and that it is one line.
func want(t *testing.T, err error, code fault.Code, says string) {
	t.Helper()
	if err == nil || fault.CodeOf(err) != code || !strings.Contains(err.Error(), says) || strings.Contains(err.Error(), "\n") {
		t.Errorf("got %v with code %d, want an error that says %q with code %d", err, fault.CodeOf(err), says, code)
	}
}

func TestSign(t *testing.T) {
	s := keylesstest.New(t)
	v := verifier(t, s)
	o := options(s)
	o.Root, o.Policy = &v.Root, v.Policy
	signer := newSigner(t, o)
	claims, err := signer.Claims(t.Context())
	if err != nil || claims.Identity != keylesstest.Release().Identity() || claims.Ref != "refs/tags/v1.2.3" {
		t.Fatalf("got %+v, %v", claims, err)
	}
	for i := range 3 {
		more := append(content, byte('0'+i))
		b, err := signer.SignBlob(t.Context(), more)
		if err != nil {
			t.Fatal(err)
		}
		raw, err := b.Encode()
		if err != nil {
			t.Fatal(err)
		}
		if b, err = signature.ParseBundle(raw); err != nil {
			t.Fatal(err)
		}
		if _, err := v.Blob(b, more); err != nil {
			t.Error(err)
		}
		if b.Material.Entries[0].LogIndex == b.Material.Entries[0].InclusionProof.LogIndex {
			t.Error("the place in the log is that in the tree")
		}
		att, err := signer.SignStatement(t.Context(), []byte(statement))
		if err != nil {
			t.Fatal(err)
		}
		if got, _, err := v.Statement(att); err != nil || string(got) != statement {
			t.Errorf("got %s, %v", got, err)
		}
	}
	im := signature.Image{
		Repository: "ghcr.io/example/tool", Digest: artifact.Sum(nil), MediaType: signature.ManifestMediaType, Size: 9, Version: "1.2.3", Tags: []string{"1.2.3"},
	}
	if objects, err := signer.SignImage(t.Context(), im); err != nil || len(objects) != 2 {
		t.Errorf("got %d objects, %v", len(objects), err)
	}
	im.Version = ""
	if _, err := signer.SignImage(t.Context(), im); err == nil {
		t.Error("an image without a version is signed")
	}
	if n := s.Requests(keylesstest.Fulcio); n != 1 {
		t.Errorf("%d certificates for one release", n)
	}
	if n := s.Entries(); n != 8 {
		t.Errorf("%d entries for 8 signatures", n)
	}
}

// TestConfig signs with the services that a signing configuration names.
func TestConfig(t *testing.T) {
	im := signature.Image{
		Repository: "ghcr.io/example/tool", Digest: artifact.Sum(nil), MediaType: signature.ManifestMediaType, Size: 9, Version: "1.2.3", Tags: []string{"1.2.3"},
	}
	for _, tt := range []struct {
		name       string
		edits      []string
		version    string // of the entries of a file
		timestamps int
		forms      int // of an image's signature
	}{
		{"Rekor v2", nil, "0.0.2", 1, 1},
		{"Rekor v1 and timestamps", []string{`"majorApiVersion": 2`, `"majorApiVersion": 3`}, "0.0.1", 1, 2},
		{"Rekor v1 alone", nil, "0.0.1", 0, 2},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := keylesstest.New(t)
			v := verifier(t, s)
			o := configured(t, s, tt.edits...)
			o.Policy = v.Policy
			if tt.timestamps == 0 {
				c, err := ephemeral.ParseSigningConfig(s.SigningConfig(1))
				if err != nil {
					t.Fatal(err)
				}
				o.Config = &c
			}
			for _, root := range []*keyless.TrustedRoot{nil, &v.Root} {
				o.Root = root
				signer := newSigner(t, o)
				for i := range 3 {
					more := append(bytes.Clone(content), byte('0'+i))
					b, err := signer.SignBlob(t.Context(), more)
					if err != nil {
						t.Fatal(err)
					}
					raw, err := b.Encode()
					if err != nil {
						t.Fatal(err)
					}
					if b, err = signature.ParseBundle(raw); err != nil {
						t.Fatal(err)
					}
					if _, err := v.Blob(b, more); err != nil {
						t.Error(err)
					}
					e := b.Material.Entries
					if len(e) != 1 || e[0].KindVersion != (signature.KindVersion{Kind: "hashedrekord", Version: tt.version}) {
						t.Errorf("got %+v", e)
					}
					if v2 := tt.version == "0.0.2"; v2 != (e[0].IntegratedTime == 0) || v2 != (e[0].InclusionPromise == nil) {
						t.Errorf("a time of the log: %d, %v", e[0].IntegratedTime, e[0].InclusionPromise)
					}
					if n := stamps(b); n != tt.timestamps {
						t.Errorf("%d timestamps, want %d", n, tt.timestamps)
					}
				}
				att, err := signer.SignStatement(t.Context(), []byte(statement))
				if err != nil {
					t.Fatal(err)
				}
				if got, _, err := v.Statement(att); err != nil || string(got) != statement || stamps(att) != tt.timestamps {
					t.Errorf("got %s, %v", got, err)
				}
				objects, err := signer.SignImage(t.Context(), im)
				if err != nil || len(objects) != tt.forms {
					t.Fatalf("got %d objects, %v", len(objects), err)
				}
				fetch := func(d artifact.Digest, _ int64) ([]byte, error) {
					for _, o := range objects {
						for _, b := range o.Blobs {
							if artifact.Sum(b) == d {
								return b, nil
							}
						}
					}
					return nil, fmt.Errorf("no blob %s", d)
				}
				if _, err := v.Referrer(objects[tt.forms-1].Manifest, fetch, im); err != nil {
					t.Error(err)
				}
				if tt.forms == 2 {
					if _, err := v.Classic(objects[0].Manifest, fetch, im); err != nil {
						t.Error(err)
					}
				}
				form := func(verify func([]byte, signature.Fetch, signature.Image) (keyless.Claims, error)) func([]byte, signature.Fetch, signature.Image) error {
					return func(m []byte, fetch signature.Fetch, im signature.Image) error {
						_, err := verify(m, fetch, im)
						return err
					}
				}
				good := func(objects ...signature.Object) bool {
					t.Helper()
					files, err := signature.Layout(objects)
					if err != nil {
						t.Fatal(err)
					}
					fsys := fstest.MapFS{}
					for name, b := range files {
						fsys[name] = &fstest.MapFile{Data: b}
					}
					checks, err := signature.VerifyLayout(fsys, []signature.Image{im}, signature.Forms{Classic: form(v.Classic), Referrer: form(v.Referrer)})
					if err != nil {
						t.Fatal(err)
					}
					return !slices.ContainsFunc(checks, func(c signature.Check) bool { return c.Err != nil })
				}
				if !good(objects...) {
					t.Error("the layout is not good")
				}
				// Whoever takes one form away takes away what only that form has from the other too: a log's promise.
				b, _, err := signature.ReadReferrer(objects[tt.forms-1].Manifest, fetch)
				if err != nil {
					t.Fatal(err)
				}
				b.Material.Entries[0].InclusionPromise, b.Material.Entries[0].IntegratedTime = nil, 0
				alone, err := signature.ReferrerObject(im, b)
				if err != nil {
					t.Fatal(err)
				}
				if good(alone) != (tt.forms == 1) {
					t.Errorf("good without the classic form: %v", tt.forms == 2)
				}
			}
		})
	}
}

// stamps is the number of timestamps in b.
func stamps(b signature.Bundle) int {
	if b.Material.Timestamps == nil {
		return 0
	}
	return len(b.Material.Timestamps.RFC3161)
}

// TestWrongAnswers has a log and an authority answer about something else. Nothing of it gets into a bundle, with a trusted root or
// without, and of what an authority answers wrongly the log learns nothing.
func TestWrongAnswers(t *testing.T) {
	s, other := keylesstest.New(t), keylesstest.New(t)
	v := verifier(t, s)
	before, err := newSigner(t, configured(t, s)).SignBlob(t.Context(), []byte("before"))
	if err != nil {
		t.Fatal(err)
	}
	stamp := func(edit func(*keylesstest.Stamp)) keylesstest.Rules { return keylesstest.Rules{Stamp: edit} }
	log := func(edit func(*signature.LogEntry)) keylesstest.Rules { return keylesstest.Rules{Answer: edit} }
	proof := func(edit func(*signature.InclusionProof)) keylesstest.Rules {
		return log(func(e *signature.LogEntry) { edit(e.InclusionProof) })
	}
	was := before.Material.Entries[0]
	for _, tt := range []struct {
		name, service string
		rules         keylesstest.Rules
		says          string
	}{
		{"another hash", keylesstest.TSA, stamp(func(p *keylesstest.Stamp) { p.Imprint = make([]byte, 32) }), "the timestamp is of another signature"},
		{"another algorithm", keylesstest.TSA, stamp(func(p *keylesstest.Stamp) { p.Hash, p.Imprint = keylesstest.OIDSHA1, make([]byte, 20) }), "is not SHA-256"},
		{"another nonce", keylesstest.TSA, stamp(func(p *keylesstest.Stamp) { p.Nonce = big.NewInt(1) }), "its nonce is another"},
		{"no nonce", keylesstest.TSA, stamp(func(p *keylesstest.Stamp) { p.Nonce = nil }), "its nonce is another"},
		{"two nonces", keylesstest.TSA, stamp(func(p *keylesstest.Stamp) { p.Behind = []byte{2, 1, 1} }), "it is damaged"},
		{"another signature", keylesstest.TSA, stamp(func(p *keylesstest.Stamp) { p.Digest = make([]byte, 32) }), "its signature is over other content"},
		{"another key", keylesstest.TSA, stamp(func(p *keylesstest.Stamp) { p.Key = otherKey(t) }), "not signed by the authority that it names"},
		{"no certificate", keylesstest.TSA, stamp(func(p *keylesstest.Stamp) { p.Carried = 0 }), "it does not carry the certificate"},
		{"refused", keylesstest.TSA, stamp(func(p *keylesstest.Stamp) { p.Status = 2 }), "refused it (status 2)"},
		{"an extension", keylesstest.TSA, stamp(func(p *keylesstest.Stamp) { p.Behind = []byte{0xa1, 0} }), "it has extensions"},
		{"huge", keylesstest.TSA, stamp(func(p *keylesstest.Stamp) { p.Behind = bytes.Repeat([]byte{0x30, 0}, 40_000) }), "more than 65536 bytes"},

		{"another entry", keylesstest.Rekor2, log(func(e *signature.LogEntry) { *e = was }), "about other content"},
		{"another kind", keylesstest.Rekor2, log(func(e *signature.LogEntry) { e.KindVersion.Version = "0.0.1" }), "is of kind"},
		{"another body", keylesstest.Rekor2, log(func(e *signature.LogEntry) { e.CanonicalizedBody = append(e.CanonicalizedBody, ' ') }), "one canonical way"},
		{"no log", keylesstest.Rekor2, log(func(e *signature.LogEntry) { e.LogID.KeyID = nil }), "which log has the entry"},
		{"no proof", keylesstest.Rekor2, log(func(e *signature.LogEntry) { e.InclusionProof = nil }), "there is no proof"},
		{"the proof of another", keylesstest.Rekor2, log(func(e *signature.LogEntry) { e.InclusionProof = was.InclusionProof }), "does not hold"},
		{"another root", keylesstest.Rekor2, proof(func(p *signature.InclusionProof) { p.RootHash = make([]byte, 32) }), "leads to the root"},
		{"another place", keylesstest.Rekor2, proof(func(p *signature.InclusionProof) { p.LogIndex = 0 }), "does not hold"},
		{"another tree", keylesstest.Rekor2, proof(func(p *signature.InclusionProof) { p.Checkpoint = was.InclusionProof.Checkpoint }), "checkpoint is of another tree"},
		{"no checkpoint", keylesstest.Rekor2, proof(func(p *signature.InclusionProof) { p.Checkpoint.Envelope = "x" }), "the log's checkpoint does not hold: it is not a signed note"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s.Bend(tt.rules)
			had := s.Entries()
			_, err := newSigner(t, configured(t, s)).SignBlob(t.Context(), content)
			want(t, err, fault.Mismatch, tt.says)
			kind, url := "timestamp authority", s.TSAURL
			if tt.service == keylesstest.Rekor2 {
				kind, url = "transparency log", s.Rekor2URL
			}
			if host := strings.TrimSuffix(strings.TrimPrefix(url, "http://"), "/api/v1/timestamp"); !strings.Contains(fmt.Sprint(err), kind+" at "+host) {
				t.Errorf("it does not name the service: %v", err)
			}
			if n := s.Entries() - had; tt.service == keylesstest.TSA && n != 0 {
				t.Errorf("%d entries", n)
			}
		})
	}

	// What only a trusted root tells.
	for _, tt := range []struct {
		name  string
		rules keylesstest.Rules
		says  string
	}{
		{"an authority of its own", stamp(func(p *keylesstest.Stamp) { p.Certificate, p.Key = other.Stamper() }), "signed with another certificate"},
		{"a checkpoint that nobody signed", proof(func(p *signature.InclusionProof) {
			text, _, _ := strings.Cut(p.Checkpoint.Envelope, "\n\n")
			p.Checkpoint.Envelope = text + "\n\n— x AAAAAAAA\n"
		}), "has not signed it"},
		{"another log", log(func(e *signature.LogEntry) { e.LogID.KeyID = []byte("abcd") }), "which is not in the trusted root"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s.Bend(tt.rules)
			o := configured(t, s)
			o.Root = &v.Root
			_, err := newSigner(t, o).SignBlob(t.Context(), content)
			want(t, err, fault.Mismatch, "what the services answered does not hold with the trusted root")
			want(t, err, fault.Mismatch, tt.says)
		})
	}

	// A time at which the certificate was not valid: another certificate is asked for, and nothing is recorded.
	s.Bend(stamp(func(p *keylesstest.Stamp) { p.Time = "20200101000000Z" }))
	had := s.Entries()
	_, err = newSigner(t, configured(t, s)).SignBlob(t.Context(), content)
	want(t, err, fault.Transient, "no certificate was valid")
	if n := s.Entries() - had; n != 0 {
		t.Errorf("%d entries", n)
	}
}

func otherKey(t *testing.T) *ecdsa.PrivateKey {
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func TestSignAtTheSameTime(t *testing.T) {
	s := keylesstest.New(t)
	v := verifier(t, s)
	signer := newSigner(t, options(s))
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			more := append(bytes.Clone(content), byte(i))
			b, err := signer.SignBlob(t.Context(), more)
			if err == nil {
				_, err = v.Blob(b, more)
			}
			if err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if n := s.Requests(keylesstest.Fulcio); n != 1 {
		t.Errorf("%d certificates", n)
	}
}

// TestRenewal asks for another certificate when one runs out.
func TestRenewal(t *testing.T) {
	if testing.Short() {
		t.Skip("slow")
	}
	s := keylesstest.New(t)
	v := verifier(t, s)
	s.Bend(keylesstest.Rules{Life: time.Second})
	signer := newSigner(t, options(s))
	for range 2 {
		b, err := signer.SignBlob(t.Context(), content)
		if err == nil {
			_, err = v.Blob(b, content)
		}
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(1100 * time.Millisecond)
	}
	if n := s.Requests(keylesstest.Fulcio); n != 2 {
		t.Errorf("%d certificates, want 2", n)
	}

	s.Bend(keylesstest.Rules{LogLater: time.Hour})
	_, err := signer.SignBlob(t.Context(), content)
	want(t, err, fault.Transient, "no certificate was valid when the log took the signature")
}

func TestTokens(t *testing.T) {
	s := keylesstest.New(t)
	for _, tt := range []struct {
		name, token string
		identity    string // "" if it is refused
		says        string
	}{
		{"workflow", s.Token(keylesstest.Release()), keylesstest.Release().Identity(), ""},
		{"person", s.EmailToken("jo@example.org", true), "jo@example.org", ""},
		{"several audiences", s.Sign(map[string]any{"sub": "x", "email": "jo@example.org", "email_verified": true}, map[string]any{"aud": []string{"a", "sigstore"}}), "jo@example.org", ""},
		{"person that nobody verified", s.EmailToken("jo@example.org", false), "", "has not verified the email address"},
		{"no subject", s.Sign(nil, nil), "", "has no subject"},
		{"another audience", s.Sign(map[string]any{"sub": "x", "email": "jo@example.org", "email_verified": true}, map[string]any{"aud": "other"}), "", "does not accept the identity"},
		{"old", s.Sign(map[string]any{"sub": "x", "email": "jo@example.org", "email_verified": true}, map[string]any{"exp": 1}), "", "does not accept the identity"},
		{"another issuer", keylesstest.New(t).Token(keylesstest.Release()), "", "does not accept the identity"},
		{"a claim too few", s.Sign(map[string]any{"sub": "repo:a/b"}, nil), "", "does not accept the identity"},
		{"changed", changed(s.Token(keylesstest.Release())), "", "does not accept the identity"},
		{"two parts", "a.b", "", "not a JSON web token of three parts"},
		{"no base64", "a.%.c", "", "the token is damaged"},
		{"no JSON", "a." + base64.RawURLEncoding.EncodeToString([]byte("{")) + ".c", "", "the token is damaged"},
		{"huge", strings.Repeat("a", 1<<20), "", "more than 65536 bytes"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			o := options(s)
			o.LookupEnv = env(ephemeral.TokenVariable, tt.token+"\n")
			if !ephemeral.Available(o.LookupEnv) {
				t.Error("not available")
			}
			claims, err := newSigner(t, o).Claims(t.Context())
			if tt.identity != "" {
				if err != nil || claims.Identity != tt.identity {
					t.Errorf("got %+v, %v", claims, err)
				}
				return
			}
			want(t, err, fault.Credentials, tt.says)
			hidden(t, err.Error(), tt.token)
		})
	}
}

// changed is a token whose signature is of something else.
func changed(token string) string {
	p := strings.Split(token, ".")
	payload, _ := base64.RawURLEncoding.DecodeString(p[1])
	p[1] = base64.RawURLEncoding.EncodeToString(bytes.Replace(payload, []byte("release.yml"), []byte("hostile.yml"), 1))
	return strings.Join(p, ".")
}

// hidden checks that nothing of a secret is in a text.
func hidden(t *testing.T, text, secret string) {
	t.Helper()
	for _, part := range append(strings.Split(secret, "."), secret) {
		if len(part) > 8 && (strings.Contains(text, part) || strings.Contains(text, part[:12])) {
			t.Errorf("there is a secret in %.300q", text)
		}
	}
}

func TestNoIdentity(t *testing.T) {
	for _, tt := range []struct {
		env  func(string) (string, bool)
		says string
	}{
		{env("", ""), "there is no identity of a workflow"},
		{env("SIGSTORE_ID_TOKEN", " "), "there is no identity of a workflow"},
		{env("GITHUB_ACTIONS", "true"), "id-token: write"},
		{env("GITLAB_CI", "true"), "id_tokens"},
		{env("ACTIONS_ID_TOKEN_REQUEST_TOKEN", "x"), "there is no identity of a workflow"},
		{func(string) (string, bool) { return "http://example.org/secret-of-others", true }, ""},
		{func(n string) (string, bool) { return "http://example.org/", n != ephemeral.TokenVariable }, "not a URL to send a token to"},
	} {
		_, err := ephemeral.New(ephemeral.Options{LookupEnv: tt.env})
		if tt.says == "" {
			if err != nil {
				t.Error(err)
			}
			continue
		}
		want(t, err, fault.Credentials, tt.says)
		if ephemeral.Available(tt.env) {
			t.Error("available")
		}
	}
	s := keylesstest.New(t)
	o := options(s)
	github := o.LookupEnv
	o.LookupEnv = func(n string) (string, bool) {
		if n == "ACTIONS_ID_TOKEN_REQUEST_TOKEN" {
			return "wrong-secret-value", true
		}
		return github(n)
	}
	_, err := newSigner(t, o).Claims(t.Context())
	want(t, err, fault.Credentials, "asking the issuer of identities")
	hidden(t, err.Error(), "wrong-secret-value")
}

func TestOptions(t *testing.T) {
	token := env(ephemeral.TokenVariable, "x")
	for _, tt := range []struct {
		o    ephemeral.Options
		says string
	}{
		{ephemeral.Options{Fulcio: "http://example.org"}, "does not begin with https://"},
		{ephemeral.Options{Rekor: "ftp://127.0.0.1"}, "does not begin with https://"},
		{ephemeral.Options{Rekor: "https://jo:secret@example.org"}, "has a password in it"},
		{ephemeral.Options{Rekor: "rekor"}, "the URL of a service cannot be read"},
		{ephemeral.Options{Policy: keyless.Policy{Identity: "*"}}, "want the identity"},
		{ephemeral.Options{Rekor: "https://example.org", Config: &ephemeral.SigningConfig{}}, "the services are named twice"},
		{ephemeral.Options{Config: &ephemeral.SigningConfig{}}, "there is no certificate authority"},
	} {
		tt.o.LookupEnv = token
		_, err := ephemeral.New(tt.o)
		want(t, err, fault.Usage, tt.says)
		hidden(t, err.Error(), "secret")
	}
	if _, err := ephemeral.New(ephemeral.Options{LookupEnv: token}); err != nil {
		t.Error(err)
	}
}

// TestFaults survives what services do, and records each signature once.
func TestFaults(t *testing.T) {
	if testing.Short() {
		t.Skip("slow")
	}
	f := func(status int) keylesstest.Fault { return keylesstest.Fault{Status: status} }
	for _, tt := range []struct {
		name   string
		faults []keylesstest.Fault
	}{
		{"busy", []keylesstest.Fault{f(429), {Status: 429, RetryAfter: "1"}}},
		{"gateway", []keylesstest.Fault{f(502), f(503), f(504), {Status: 500, Body: "<html>"}}},
		{"gone", []keylesstest.Fault{{Drop: true}, {Drop: true}}},
		{"slow", []keylesstest.Fault{{Delay: time.Minute}}},
		{"answer lost", []keylesstest.Fault{{Lost: true}, f(502), {Lost: true}}},
	} {
		for _, service := range []string{keylesstest.Issuer, keylesstest.Fulcio, keylesstest.Rekor, keylesstest.Rekor2, keylesstest.TSA} {
			t.Run(tt.name+" "+service, func(t *testing.T) {
				t.Parallel()
				s := keylesstest.New(t)
				v := verifier(t, s)
				o := options(s)
				if service == keylesstest.Rekor2 || service == keylesstest.TSA {
					o = configured(t, s)
				}
				o.Timeout, o.Root = time.Second, &v.Root
				s.Fail(service, tt.faults...)
				b, err := newSigner(t, o).SignBlob(t.Context(), content)
				if err == nil {
					_, err = v.Blob(b, content)
				}
				if err != nil {
					t.Fatal(err)
				}
				// A Rekor v2 does not give the proof of an entry twice: where the answer was lost there is another signature.
				most := 1
				if service == keylesstest.Rekor2 && slices.ContainsFunc(tt.faults, func(f keylesstest.Fault) bool { return f.Lost }) {
					most = 2
				}
				if n := s.Entries(); n != most {
					t.Errorf("%d entries of one signature, want %d", n, most)
				}
			})
		}
	}
}

func TestFaultsThatStay(t *testing.T) {
	s := keylesstest.New(t)
	o := options(s)
	token := s.Token(keylesstest.Release())
	o.LookupEnv = env(ephemeral.TokenVariable, token)
	said := func(text string) string {
		b, err := json.Marshal(map[string]any{"code": 3, "message": text})
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	for _, tt := range []struct {
		name, service string
		fault         keylesstest.Fault
		requests      int
		code          fault.Code
		says          string
	}{
		{"down", keylesstest.Fulcio, keylesstest.Fault{Status: 503, Body: said("maintenance")}, 5, fault.Transient, "503 Service Unavailable: maintenance; try again later"},
		{"dropped", keylesstest.Rekor, keylesstest.Fault{Drop: true}, 5, fault.Transient, "EOF; try again later"},
		{"a long wait", keylesstest.Rekor, keylesstest.Fault{Status: 429, RetryAfter: "3600"}, 1, fault.Transient, "asks to wait for 1h0m0s"},
		{"denied", keylesstest.Fulcio, keylesstest.Fault{Status: 403}, 1, fault.Credentials, "403 Forbidden"},
		{"the token in the answer", keylesstest.Fulcio, keylesstest.Fault{Status: 400, Body: said("bad token " + token)}, 1, fault.Credentials, "400 Bad Request; it does not accept"},
		{"a part of the token in the answer", keylesstest.Fulcio, keylesstest.Fault{Status: 400, Body: said("bad token " + token[100:140])}, 1, fault.Credentials, "400 Bad Request; it does not accept"},
		{"escape sequences in the answer", keylesstest.Fulcio, keylesstest.Fault{Status: 400, Body: said("a\x1b[31m\nb")}, 1, fault.Credentials, ": a [31m b; "},
		{"moved", keylesstest.Fulcio, keylesstest.Fault{Status: 307, Body: "https://example.org/"}, 1, fault.Usage, "is it a Fulcio?"},
		{"elsewhere", keylesstest.Rekor, keylesstest.Fault{Status: 404}, 1, fault.Usage, "is it a Rekor v1?"},
		{"no JSON", keylesstest.Fulcio, keylesstest.Fault{Status: 200, Body: "<html>"}, 1, fault.Mismatch, "it answers with something else"},
		{"no certificate", keylesstest.Fulcio, keylesstest.Fault{Status: 200, Body: "{}"}, 1, fault.Mismatch, "0 certificates"},
		{"no PEM", keylesstest.Fulcio, keylesstest.Fault{Status: 200, Body: chain("x")}, 1, fault.Mismatch, "a certificate is damaged"},
		{"another's certificate", keylesstest.Fulcio, keylesstest.Fault{Status: 200, Body: chain(keyless.EncodeCertificates(s.SignBlob(token, content).Material.Certificate.RawBytes))}, 1, fault.Mismatch, "the certificate is of another key"},
		{"a huge answer", keylesstest.Rekor, keylesstest.Fault{Status: 201, Body: strings.Repeat(" ", 17<<20)}, 1, fault.Transient, "more than 16777216 bytes"},
		{"no entry", keylesstest.Rekor, keylesstest.Fault{Status: 201, Body: "{}"}, 1, fault.Mismatch, "0 entries"},
		{"an empty entry", keylesstest.Rekor, keylesstest.Fault{Status: 201, Body: `{"x":{}}`}, 1, fault.Mismatch, "no body, no signed time"},
		{"an entry without a hash", keylesstest.Rekor, keylesstest.Fault{Status: 201, Body: `{"x":{"body":"AA==","verification":{"signedEntryTimestamp":"AA==","inclusionProof":{"checkpoint":"x"}}}}`}, 1, fault.Mismatch, "a hash cannot be read"},
		{"a conflict with nothing", keylesstest.Rekor, keylesstest.Fault{Status: 409}, 1, fault.Mismatch, "does not say where"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			signer := newSigner(t, o)
			before := s.Requests(tt.service)
			for range 5 {
				s.Fail(tt.service, tt.fault)
			}
			_, err := signer.SignBlob(t.Context(), content)
			want(t, err, tt.code, tt.says)
			hidden(t, fmt.Sprint(err), token)
			if n := s.Requests(tt.service) - before; n != tt.requests {
				t.Errorf("%d requests, want %d", n, tt.requests)
			}
			s.Heal()
		})
	}
}

func chain(pem string) string {
	b, _ := json.Marshal(map[string]any{"signedCertificateDetachedSct": map[string]any{"chain": map[string]any{"certificates": []string{pem}}}})
	return string(b)
}

// TestRedirect sends a token nowhere else.
func TestRedirect(t *testing.T) {
	s := keylesstest.New(t)
	asked := false
	elsewhere := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked = true }))
	defer elsewhere.Close()
	for _, service := range []string{keylesstest.Issuer, keylesstest.Fulcio} {
		s.Fail(service, keylesstest.Fault{Status: 307, Body: elsewhere.URL})
		if _, err := newSigner(t, options(s)).Claims(t.Context()); err == nil {
			t.Error("a redirect is an answer")
		}
	}
	if asked {
		t.Error("a redirect was followed")
	}
}

// TestCertificates refuses what could not be verified, before anything is signed.
func TestCertificates(t *testing.T) {
	s := keylesstest.New(t)
	signer := newSigner(t, options(s))
	for _, tt := range []struct {
		rules keylesstest.Rules
		says  string
	}{
		{keylesstest.Rules{NoTimestamp: true}, "no timestamp of a certificate log"},
		{keylesstest.Rules{Detached: true}, "no timestamp of a certificate log"},
		{keylesstest.Rules{Certificate: func(c *x509.Certificate) { c.ExtKeyUsage = nil }}, "not one for signing code"},
	} {
		s.Bend(tt.rules)
		_, err := signer.SignBlob(t.Context(), content)
		want(t, err, fault.Mismatch, tt.says)
	}
	s.Bend(keylesstest.Rules{NoPromise: true})
	if n := s.Entries(); n != 0 {
		t.Errorf("%d entries", n)
	}
	_, err := signer.SignBlob(t.Context(), content)
	want(t, err, fault.Mismatch, "no signed time")
}

func TestPolicy(t *testing.T) {
	s := keylesstest.New(t)
	o := options(s)
	o.Policy = keyless.Policy{Identity: "https://github.com/example/tool/.github/workflows/other.yml@refs/tags/*", Issuer: s.IssuerURL}
	_, err := newSigner(t, o).SignBlob(t.Context(), content)
	want(t, err, fault.Credentials, "this workflow may not sign the release: it was signed by")
	if s.Entries() != 0 {
		t.Error("the log has a signature")
	}
}

func TestRoot(t *testing.T) {
	s := keylesstest.New(t)
	root := verifier(t, keylesstest.New(t)).Root
	o := options(s)
	o.Root = &root
	signer := newSigner(t, o)
	_, err := signer.SignBlob(t.Context(), content)
	want(t, err, fault.Mismatch, "does not hold with the trusted root")
	_, err = signer.SignStatement(t.Context(), []byte(statement))
	want(t, err, fault.Mismatch, "does not hold with the trusted root")
}

func TestCancel(t *testing.T) {
	s := keylesstest.New(t)
	o := options(s)
	o.Backoff = time.Hour
	s.Fail(keylesstest.Fulcio, keylesstest.Fault{Status: 503})
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	begun := time.Now()
	if _, err := newSigner(t, o).SignBlob(ctx, content); err == nil || ctx.Err() == nil {
		t.Errorf("got %v", err)
	}
	if d := time.Since(begun); d > 5*time.Second {
		t.Errorf("it took %s to stop", d)
	}
}

// TestSecrets looks for the token wherever somebody could.
func TestSecrets(t *testing.T) {
	s := keylesstest.New(t)
	token := s.Token(keylesstest.Release())
	o := options(s)
	o.LookupEnv = env(ephemeral.TokenVariable, token)
	signer := newSigner(t, o)
	b, err := signer.SignBlob(t.Context(), content)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := b.Encode()
	if err != nil {
		t.Fatal(err)
	}
	hidden(t, string(raw), token)
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x"} {
		text := fmt.Sprintf(verb, signer)
		hidden(t, text, token)
		hidden(t, text, fmt.Sprintf("%x", token))
	}
	signer = newSigner(t, options(s))
	hidden(t, fmt.Sprintf("%+v %#v", signer, signer), s.RequestToken())
}
