// Package oidctest runs an issuer of workflow identities on this machine for tests.
//
// It answers discovery (https://openid.net/specs/openid-connect-discovery-1_0.html), publishes its keys, which it can
// change, and gives tokens to jobs as GitHub Actions does
// (https://docs.github.com/en/actions/reference/security/oidc). It signs whatever a test asks for, and also what no issuer
// would sign.
package oidctest

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"math/big"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"
)

// Paths of the issuer.
const (
	Discovery = "/.well-known/openid-configuration"
	Keys      = "/.well-known/jwks"
	Request   = "/request"
)

// Options of an issuer. The zero value is a good one.
type Options struct {
	// Serve serves the issuer and returns its URL; nil serves it until the test ends. With it something can stand in
	// front of the issuer.
	Serve func(http.Handler) string
	Now   func() time.Time // of new tokens; nil is time.Now
}

// Issuer vouches for workflows.
type Issuer struct {
	URL string

	t       testing.TB
	now     func() time.Time
	bearer  string
	mu      sync.Mutex
	keys    []Key // that are published; the first one signs
	jobs    []map[string]any
	answers map[string]http.HandlerFunc
	asked   map[string]int
}

// New serves an issuer with one RSA key.
func New(t testing.TB, o Options) *Issuer {
	t.Helper()
	i := &Issuer{t: t, now: o.Now, bearer: rand.Text(), keys: []Key{RSA("1")}, answers: map[string]http.HandlerFunc{}, asked: map[string]int{}}
	if i.now == nil {
		i.now = time.Now
	}
	if o.Serve == nil {
		o.Serve = func(h http.Handler) string {
			s := httptest.NewServer(h)
			t.Cleanup(s.Close)
			return s.URL
		}
	}
	i.URL = o.Serve(i.handler())
	return i
}

// Key signs tokens.
type Key struct {
	ID      string
	private crypto.Signer
}

// rsaKeys are made once for all tests of a program, since it takes its time.
var rsaKeys = struct {
	sync.Mutex
	byID map[string]Key
}{byID: map[string]Key{}}

// RSA is the RSA key with the name; it is the same one every time.
func RSA(id string) Key {
	rsaKeys.Lock()
	defer rsaKeys.Unlock()
	k, ok := rsaKeys.byID[id]
	if !ok {
		k = OtherRSA(id)
		rsaKeys.byID[id] = k
	}
	return k
}

// OtherRSA is a new RSA key under a name that another key may have.
func OtherRSA(id string) Key {
	private, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	return Key{ID: id, private: private}
}

// EC is a new key on the curve P-256.
func EC(id string) Key {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	return Key{ID: id, private: private}
}

// Algorithm is how the key signs (https://www.rfc-editor.org/rfc/rfc7518#section-3.1).
func (k Key) Algorithm() string {
	if _, ok := k.private.(*ecdsa.PrivateKey); ok {
		return "ES256"
	}
	return "RS256"
}

func encode(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

// jwk is the public key (https://www.rfc-editor.org/rfc/rfc7518#section-6).
func (k Key) jwk() map[string]any {
	out := map[string]any{"kid": k.ID, "alg": k.Algorithm(), "use": "sig"}
	switch p := k.private.Public().(type) {
	case *rsa.PublicKey:
		out["kty"], out["n"], out["e"] = "RSA", encode(p.N.Bytes()), encode(big.NewInt(int64(p.E)).Bytes())
	case *ecdsa.PublicKey:
		point, err := p.Bytes() // 4, x, y
		if err != nil {
			panic(err)
		}
		half := (len(point) - 1) / 2
		out["kty"], out["crv"], out["x"], out["y"] = "EC", "P-256", encode(point[1:1+half]), encode(point[1+half:])
	}
	return out
}

func (k Key) sign(text string) []byte {
	sum := sha256.Sum256([]byte(text))
	if private, ok := k.private.(*ecdsa.PrivateKey); ok {
		r, s, err := ecdsa.Sign(rand.Reader, private, sum[:])
		if err != nil {
			panic(err)
		}
		sig := make([]byte, 64)
		r.FillBytes(sig[:32])
		s.FillBytes(sig[32:])
		return sig
	}
	sig, err := k.private.Sign(rand.Reader, sum[:], crypto.SHA256)
	if err != nil {
		panic(err)
	}
	return sig
}

// Publish replaces the keys that the issuer publishes. The first one signs from now on.
func (i *Issuer) Publish(keys ...Key) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.keys = keys
}

// Answer replaces what the issuer answers at one of its paths; nil is the issuer's own answer again.
func (i *Issuer) Answer(path string, with http.HandlerFunc) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.answers[path] = with
}

// Asked is how often a path was asked for.
func (i *Issuer) Asked(path string) int {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.asked[path]
}

// GitHub are the claims of a run of a workflow of GitHub Actions that was started by a push to ref. The repository is
// owner/name.
func GitHub(repository, ref, commit string) map[string]any {
	owner, _, _ := strings.Cut(repository, "/")
	kind := "branch"
	if strings.HasPrefix(ref, "refs/tags/") {
		kind = "tag"
	}
	workflow := repository + "/.github/workflows/release.yml@" + ref
	return map[string]any{
		"sub": "repo:" + repository + ":ref:" + ref, "repository": repository, "repository_owner": owner, "ref": ref, "ref_type": kind,
		"sha": commit, "workflow": "release", "event_name": "push", "job_workflow_ref": workflow, "job_workflow_sha": commit,
		"workflow_ref": workflow, "workflow_sha": commit, "runner_environment": "github-hosted", "repository_id": "1",
		"repository_owner_id": "2", "repository_visibility": "public", "run_id": "3", "run_number": "4", "run_attempt": "1",
	}
}

// GitLab are the claims of a job of GitLab CI (https://docs.gitlab.com/ci/secrets/id_token_authentication/#token-payload).
// The kind of ref is tag or branch.
func GitLab(project, kind, ref, commit string) map[string]any {
	return map[string]any{
		"sub": "project_path:" + project + ":ref_type:" + kind + ":ref:" + ref, "project_path": project, "project_id": "1",
		"ref": ref, "ref_type": kind, "ref_path": "refs/" + map[string]string{"tag": "tags", "branch": "heads"}[kind] + "/" + ref,
		"ref_protected": "true", "sha": commit, "pipeline_source": "push", "pipeline_id": "2", "job_id": "3", "runner_environment": "gitlab-hosted",
	}
}

// Token is a token with the claims for the audience: good now and for five minutes. A claim among them replaces one that
// the issuer would set, and a nil one leaves it out.
func (i *Issuer) Token(audience string, said map[string]any) string {
	i.mu.Lock()
	key := i.keys[0]
	i.mu.Unlock()
	return i.TokenBy(key, audience, said)
}

// TokenBy is Token, signed with a key that need not be published.
func (i *Issuer) TokenBy(key Key, audience string, said map[string]any) string {
	return Sign(key, map[string]any{"alg": key.Algorithm(), "kid": key.ID, "typ": "JWT"}, i.claims(audience, said))
}

// Unsigned is Token with alg none and no signature (https://www.rfc-editor.org/rfc/rfc7519#section-6).
func (i *Issuer) Unsigned(audience string, said map[string]any) string {
	return signed(map[string]any{"alg": "none", "typ": "JWT"}, i.claims(audience, said)) + "."
}

// Symmetric is Token with alg HS256, with the published key as the secret
// (https://www.rfc-editor.org/rfc/rfc8725#section-2.1).
func (i *Issuer) Symmetric(audience string, said map[string]any) string {
	i.mu.Lock()
	key := i.keys[0]
	i.mu.Unlock()
	public, err := json.Marshal(key.jwk())
	if err != nil {
		panic(err)
	}
	text := signed(map[string]any{"alg": "HS256", "kid": key.ID, "typ": "JWT"}, i.claims(audience, said))
	mac := hmac.New(sha256.New, public)
	mac.Write([]byte(text))
	return text + "." + encode(mac.Sum(nil))
}

func (i *Issuer) claims(audience string, said map[string]any) map[string]any {
	now := i.now()
	all := map[string]any{"iss": i.URL, "aud": audience, "iat": now.Unix(), "nbf": now.Add(-time.Minute).Unix(), "exp": now.Add(5 * time.Minute).Unix()}
	maps.Copy(all, said)
	maps.DeleteFunc(all, func(_ string, v any) bool { return v == nil })
	return all
}

// Sign is a token with this header and these claims, whatever they say.
func Sign(key Key, header, said map[string]any) string {
	text := signed(header, said)
	return text + "." + encode(key.sign(text))
}

// signed is what is signed of a token.
func signed(header, said map[string]any) string {
	h, errH := json.Marshal(header)
	c, errC := json.Marshal(said)
	if errH != nil || errC != nil {
		panic(fmt.Sprint(errH, errC))
	}
	return encode(h) + "." + encode(c)
}

// Job is the environment of a job of GitHub Actions that may ask for tokens with the claims.
func (i *Issuer) Job(said map[string]any) func(string) (string, bool) {
	i.mu.Lock()
	i.jobs = append(i.jobs, maps.Clone(said))
	n := len(i.jobs)
	i.mu.Unlock()
	env := map[string]string{
		"GITHUB_ACTIONS":                 "true",
		"ACTIONS_ID_TOKEN_REQUEST_URL":   fmt.Sprintf("%s%s?job=%d", i.URL, Request, n),
		"ACTIONS_ID_TOKEN_REQUEST_TOKEN": i.bearer,
	}
	return func(name string) (string, bool) {
		v, ok := env[name]
		return v, ok
	}
}

// Bearer is the secret with which a job asks for tokens.
func (i *Issuer) Bearer() string { return i.bearer }

func (i *Issuer) handler() http.Handler {
	mux := http.NewServeMux()
	handle := func(path string, own http.HandlerFunc) {
		mux.HandleFunc("GET "+path, func(w http.ResponseWriter, r *http.Request) {
			i.mu.Lock()
			i.asked[path]++
			h := i.answers[path]
			i.mu.Unlock()
			if h == nil {
				h = own
			}
			h(w, r)
		})
	}
	handle(Discovery, func(w http.ResponseWriter, _ *http.Request) {
		answer(w, map[string]any{
			"issuer": i.URL, "jwks_uri": i.URL + Keys, "id_token_signing_alg_values_supported": []string{"RS256", "ES256"},
			"response_types_supported": []string{"id_token"}, "subject_types_supported": []string{"public"},
		})
	})
	handle(Keys, func(w http.ResponseWriter, _ *http.Request) {
		i.mu.Lock()
		defer i.mu.Unlock()
		list := []any{}
		for _, k := range i.keys {
			list = append(list, k.jwk())
		}
		answer(w, map[string]any{"keys": list})
	})
	handle(Request, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer "+i.bearer {
			http.Error(w, "wrong token", http.StatusUnauthorized)
			return
		}
		said, ok := i.job(r.URL.Query())
		if !ok {
			http.Error(w, "no such job", http.StatusNotFound)
			return
		}
		// Without an audience it is the owner's URL.
		audience := r.URL.Query().Get("audience")
		if audience == "" {
			audience = fmt.Sprintf("https://github.com/%v", said["repository_owner"])
		}
		token := i.Token(audience, said)
		answer(w, map[string]any{"count": len(token), "value": token})
	})
	return mux
}

func (i *Issuer) job(q url.Values) (map[string]any, bool) {
	i.mu.Lock()
	defer i.mu.Unlock()
	var n int
	if _, err := fmt.Sscan(q.Get("job"), &n); err != nil || n < 1 || n > len(i.jobs) {
		return nil, false
	}
	return i.jobs[n-1], true
}

func answer(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(v) // the reader hung up
}
