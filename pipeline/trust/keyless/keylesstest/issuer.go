package keylesstest

import (
	"crypto"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/big"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

// Workflow is a run that signs.
type Workflow struct {
	Repository string // owner/name
	File       string // of the workflow, below .github/workflows
	Ref        string
	Commit     string
}

// Release is a workflow that releases version 1.2.3.
func Release() Workflow {
	return Workflow{Repository: "example/tool", File: "release.yml", Ref: "refs/tags/v1.2.3", Commit: "0123456789abcdef0123456789abcdef01234567"}
}

// Identity is what the certificate calls the workflow.
func (w Workflow) Identity() string { return "https://github.com/" + w.path() }

func (w Workflow) path() string {
	return w.Repository + "/.github/workflows/" + w.File + "@" + w.Ref
}

// claims are those of a token of GitHub Actions
// (https://docs.github.com/en/actions/concepts/security/openid-connect).
func (w Workflow) claims() map[string]any {
	owner, _, _ := strings.Cut(w.Repository, "/")
	return map[string]any{
		"sub": "repo:" + w.Repository + ":ref:" + w.Ref, "repository": w.Repository, "repository_owner": owner, "ref": w.Ref, "sha": w.Commit,
		"workflow": "release", "event_name": "push", "job_workflow_ref": w.path(), "job_workflow_sha": w.Commit, "workflow_ref": w.path(),
		"workflow_sha": w.Commit, "runner_environment": "github-hosted", "repository_id": "1", "repository_owner_id": "2",
		"repository_visibility": "public", "run_id": "3", "run_attempt": "1",
	}
}

// Token is a token of the workflow for the audience sigstore.
func (s *Sigstore) Token(w Workflow) string { return s.Sign(w.claims(), nil) }

// EmailToken is a token of a person.
func (s *Sigstore) EmailToken(address string, verified bool) string {
	return s.Sign(map[string]any{"sub": "person", "email": address, "email_verified": verified}, nil)
}

// Sign is a token with the claims, and with others in place of those of a good one: a claim that is nil is left out.
func (s *Sigstore) Sign(claims, other map[string]any) string {
	now := time.Now()
	all := map[string]any{"iss": s.IssuerURL, "aud": "sigstore", "iat": now.Unix(), "nbf": now.Add(-time.Minute).Unix(), "exp": now.Add(5 * time.Minute).Unix()}
	maps.Copy(all, claims)
	maps.Copy(all, other)
	maps.DeleteFunc(all, func(_ string, v any) bool { return v == nil })
	payload, err := json.Marshal(all)
	if err != nil {
		s.t.Fatal(err)
	}
	signed := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"RS256","kid":"1","typ":"JWT"}`)) + "." + base64.RawURLEncoding.EncodeToString(payload)
	sum := sha256.Sum256([]byte(signed))
	sig, err := rsa.SignPKCS1v15(nil, s.tokenKey, crypto.SHA256, sum[:])
	if err != nil {
		s.t.Fatal(err)
	}
	return signed + "." + base64.RawURLEncoding.EncodeToString(sig)
}

// GitHub is the environment of a job of the workflow with the permission to ask for tokens.
func (s *Sigstore) GitHub(w Workflow) func(string) (string, bool) {
	env := map[string]string{
		"GITHUB_ACTIONS":                 "true",
		"ACTIONS_ID_TOKEN_REQUEST_URL":   s.IssuerURL + "/request?workflow=" + url.QueryEscape(w.Repository+" "+w.File+" "+w.Ref+" "+w.Commit),
		"ACTIONS_ID_TOKEN_REQUEST_TOKEN": s.RequestToken(),
	}
	return func(name string) (string, bool) {
		v, ok := env[name]
		return v, ok
	}
}

// RequestToken is the secret with which a job asks for tokens.
func (s *Sigstore) RequestToken() string {
	return base64.RawURLEncoding.EncodeToString(logID(s.bearer))
}

// issuer answers discovery (https://openid.net/specs/openid-connect-discovery-1_0.html) and requests of jobs.
func (s *Sigstore) issuer() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /.well-known/openid-configuration", func(w http.ResponseWriter, r *http.Request) {
		answer(w, http.StatusOK, map[string]any{
			"issuer": s.IssuerURL, "jwks_uri": s.IssuerURL + "/keys", "id_token_signing_alg_values_supported": []string{"RS256"},
			"response_types_supported": []string{"id_token"}, "subject_types_supported": []string{"public"},
		})
	})
	mux.HandleFunc("GET /keys", func(w http.ResponseWriter, r *http.Request) {
		answer(w, http.StatusOK, map[string]any{"keys": []any{map[string]any{
			"kty": "RSA", "kid": "1", "alg": "RS256", "use": "sig",
			"n": base64.RawURLEncoding.EncodeToString(s.tokenKey.N.Bytes()),
			"e": base64.RawURLEncoding.EncodeToString(big.NewInt(int64(s.tokenKey.E)).Bytes()),
		}}})
	})
	mux.HandleFunc("GET /request", func(w http.ResponseWriter, r *http.Request) {
		if bearer(r) != s.RequestToken() {
			refuse(w, http.StatusUnauthorized, "wrong token")
			return
		}
		f := strings.Fields(r.URL.Query().Get("workflow"))
		if len(f) != 4 {
			refuse(w, http.StatusBadRequest, "no workflow")
			return
		}
		token := s.Sign(Workflow{f[0], f[1], f[2], f[3]}.claims(), map[string]any{"aud": r.URL.Query().Get("audience")})
		answer(w, http.StatusOK, map[string]any{"count": len(token), "value": token})
	})
	return mux
}

// authenticate returns the claims of a token that is good for Fulcio, with the key that the issuer publishes.
func (s *Sigstore) authenticate(token string) (map[string]any, error) {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return nil, errors.New("no token")
	}
	var raw [3][]byte
	for i, p := range parts {
		var err error
		if raw[i], err = base64.RawURLEncoding.DecodeString(p); err != nil {
			return nil, err
		}
	}
	var head struct{ Alg string }
	var claims map[string]any
	if err := errors.Join(json.Unmarshal(raw[0], &head), json.Unmarshal(raw[1], &claims)); err != nil {
		return nil, err
	}
	if claims["iss"] != s.IssuerURL {
		return nil, fmt.Errorf("unsupported issuer %v", claims["iss"])
	}
	key, err := s.published()
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256([]byte(parts[0] + "." + parts[1]))
	if head.Alg != "RS256" || rsa.VerifyPKCS1v15(key, crypto.SHA256, sum[:], raw[2]) != nil {
		return nil, errors.New("the token's signature is wrong")
	}
	if aud := claims["aud"]; aud != "sigstore" && !slices.Contains(list(aud), "sigstore") {
		return nil, fmt.Errorf("the token is for %v", aud)
	}
	now := float64(time.Now().Unix())
	exp, _ := claims["exp"].(float64)
	nbf, _ := claims["nbf"].(float64)
	if exp <= now || nbf > now {
		return nil, errors.New("the token is not valid now")
	}
	return claims, nil
}

func list(v any) (out []string) {
	l, _ := v.([]any)
	for _, e := range l {
		s, _ := e.(string)
		out = append(out, s)
	}
	return out
}

// published is the key at the issuer's address.
func (s *Sigstore) published() (*rsa.PublicKey, error) {
	get := func(url string, v any) error {
		resp, err := s.client.Get(url)
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		return json.NewDecoder(resp.Body).Decode(v)
	}
	var config struct {
		JWKS string `json:"jwks_uri"`
	}
	if err := get(s.IssuerURL+"/.well-known/openid-configuration", &config); err != nil {
		return nil, err
	}
	var keys struct{ Keys []struct{ N, E string } }
	if err := get(config.JWKS, &keys); err != nil {
		return nil, err
	}
	if len(keys.Keys) != 1 {
		return nil, errors.New("the issuer has not one key")
	}
	n, errN := base64.RawURLEncoding.DecodeString(keys.Keys[0].N)
	e, errE := base64.RawURLEncoding.DecodeString(keys.Keys[0].E)
	if err := errors.Join(errN, errE); err != nil {
		return nil, err
	}
	return &rsa.PublicKey{N: new(big.Int).SetBytes(n), E: int(new(big.Int).SetBytes(e).Int64())}, nil
}
