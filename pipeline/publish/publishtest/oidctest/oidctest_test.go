package oidctest_test

import (
	"encoding/json"
	"net/http"
	"testing"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"

	"github.com/slipway-build/slipway/pipeline/publish/publishtest/oidctest"
)

// TestVerifier: a library that knows nothing of the issuer accepts its tokens, with every kind of key, and no others.
func TestVerifier(t *testing.T) {
	i := oidctest.New(t, oidctest.Options{})
	said := oidctest.GitHub("example/tool", "refs/tags/v1.2.3", "0123")
	for _, key := range []oidctest.Key{oidctest.RSA("1"), oidctest.RSA("2"), oidctest.EC("3")} {
		i.Publish(key)
		// Anew for each key: one that just asked for the keys may take the answer to that for the next one.
		provider, err := oidc.NewProvider(t.Context(), i.URL)
		if err != nil {
			t.Fatal(err)
		}
		verifier := provider.Verifier(&oidc.Config{ClientID: "me"})
		token, err := verifier.Verify(t.Context(), i.Token("me", said))
		if err != nil {
			t.Fatalf("%s: %v", key.Algorithm(), err)
		}
		var claims struct{ Repository, Ref string }
		if err := token.Claims(&claims); err != nil || claims.Repository != "example/tool" || claims.Ref != "refs/tags/v1.2.3" ||
			token.Subject != "repo:example/tool:ref:refs/tags/v1.2.3" {
			t.Errorf("got %+v of %s, %v", claims, token.Subject, err)
		}
		for name, bad := range map[string]string{
			"another key": i.TokenBy(oidctest.EC(key.ID), "me", said), "audience": i.Token("you", said), "unsigned": i.Unsigned("me", said),
			"symmetric": i.Symmetric("me", said), "expired": i.Token("me", map[string]any{"exp": time.Now().Unix() - 1}),
		} {
			if _, err := verifier.Verify(t.Context(), bad); err == nil {
				t.Errorf("%s: %s is accepted", key.Algorithm(), name)
			}
		}
	}
}

func TestJob(t *testing.T) {
	i := oidctest.New(t, oidctest.Options{})
	job := i.Job(oidctest.GitHub("example/tool", "refs/tags/v1.2.3", "0123"))
	where, _ := job("ACTIONS_ID_TOKEN_REQUEST_URL")
	ask := func(url, bearer string) (int, string) {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+bearer)
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		var answer struct{ Value string }
		_ = json.NewDecoder(res.Body).Decode(&answer) // there is none where it is refused
		return res.StatusCode, answer.Value
	}
	provider, err := oidc.NewProvider(t.Context(), i.URL)
	if err != nil {
		t.Fatal(err)
	}
	for url, audience := range map[string]string{where + "&audience=me": "me", where: "https://github.com/example"} {
		status, token := ask(url, i.Bearer())
		if _, err := provider.Verifier(&oidc.Config{ClientID: audience}).Verify(t.Context(), token); err != nil || status != http.StatusOK {
			t.Errorf("%s: %d, %v", url, status, err)
		}
	}
	if status, token := ask(where, "x"); status != http.StatusUnauthorized || token != "" {
		t.Errorf("another secret: %d %s", status, token)
	}
	if status, _ := ask(i.URL+oidctest.Request+"?job=2", i.Bearer()); status != http.StatusNotFound {
		t.Errorf("another job: %d", status)
	}
}
