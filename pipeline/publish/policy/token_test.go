package policy_test

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/slipway-build/slipway/pipeline/fixture/oidctest"
	"github.com/slipway-build/slipway/pipeline/publish/policy"
	"github.com/slipway-build/slipway/pipeline/release/fault"
)

func TestEnvironment(t *testing.T) {
	i := issuer(t)
	for _, tt := range []struct {
		name string
		env  func(string) (string, bool)
		says string // of the way out; "" for a token
	}{
		{"github", i.Job(run()), ""},
		{"a variable", env(policy.TokenVariable, " "+i.Token(policy.DefaultAudience, run())+"\n"), ""},
		{"nothing", env(), "push the tag and let the workflow publish it"},
		{"empty", env(policy.TokenVariable, " "), "push the tag"},
		{"github without permission", env("GITHUB_ACTIONS", "true"), "give the job permissions: id-token: write"},
		{"github with half", env("GITHUB_ACTIONS", "true", "ACTIONS_ID_TOKEN_REQUEST_URL", i.URL), "give the job permissions: id-token: write"},
		{"gitlab without a token", env("GITLAB_CI", "true"), "give the job id_tokens: SLIPWAY_ID_TOKEN: aud: slipway-publish"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			o := remote(t, i, "")
			o.Tokens = policy.Environment{Lookup: tt.env}
			if tt.says == "" {
				check(t, o, policy.CI, fault.OK, "vouches for the workflow of example/tool")
				return
			}
			check(t, o, policy.CI, fault.Policy, tt.says)
			_, err := o.Tokens.Token(t.Context(), policy.DefaultAudience)
			if _, ok := errors.AsType[*policy.NoTokenError](err); !ok || !strings.Contains(err.Error(), tt.says) {
				t.Errorf("got %v", err)
			}
		})
	}
}

// TestAudience: a token that a job has for something else, such as signing, is not asked for and does not count.
func TestAudience(t *testing.T) {
	i := issuer(t)
	var asked string
	i.Answer(oidctest.Request, func(w http.ResponseWriter, r *http.Request) {
		asked = r.URL.Query().Get("audience")
		fmt.Fprintf(w, `{"value":%q}`, i.Token("sigstore", run()))
	})
	o := remote(t, i, "")
	o.Tokens = policy.Environment{Lookup: i.Job(run())}
	check(t, o, policy.CI, fault.Policy, `the token is for "sigstore"`)
	if asked != policy.DefaultAudience {
		t.Errorf("asked for audience %q", asked)
	}
}

func TestRequestFails(t *testing.T) {
	bearerSeen := 0
	for name, tt := range map[string]struct {
		with func(*oidctest.Issuer) http.HandlerFunc
		code fault.Code
		says string
	}{
		"502": {func(*oidctest.Issuer) http.HandlerFunc {
			return func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "x", http.StatusBadGateway) }
		}, fault.Transient, "502 Bad Gateway"},
		"403": {func(*oidctest.Issuer) http.HandlerFunc {
			return func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "x", http.StatusForbidden) }
		}, fault.Credentials, "may the job have one (permissions: id-token: write)?"},
		"404": {func(*oidctest.Issuer) http.HandlerFunc { return http.NotFound }, fault.Credentials, "404"},
		"says the secret": {func(i *oidctest.Issuer) http.HandlerFunc {
			return func(w http.ResponseWriter, r *http.Request) {
				http.Error(w, "not "+r.Header.Get("Authorization"), http.StatusUnauthorized)
			}
		}, fault.Credentials, "has a secret in it and is not shown"},
		"redirect": {func(i *oidctest.Issuer) http.HandlerFunc {
			return func(w http.ResponseWriter, r *http.Request) {
				bearerSeen++
				http.Redirect(w, r, i.URL+oidctest.Keys, http.StatusTemporaryRedirect)
			}
		}, fault.Transient, "307"},
		"hangs up": {func(*oidctest.Issuer) http.HandlerFunc {
			return func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }
		}, fault.Transient, "EOF"},
		"hangs": {func(*oidctest.Issuer) http.HandlerFunc {
			return func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }
		}, fault.Transient, "does not answer in time"},
		"no token": {func(*oidctest.Issuer) http.HandlerFunc {
			return func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, `{"count":0}`) }
		}, fault.Transient, "there is no token in its answer"},
		"half a token": {func(i *oidctest.Issuer) http.HandlerFunc {
			return func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintf(w, `{"value":"%s`, i.Token("x", run())) }
		}, fault.Transient, "there is no token in its answer"},
	} {
		t.Run(name, func(t *testing.T) {
			i := issuer(t)
			i.Answer(oidctest.Request, tt.with(i))
			o := remote(t, i, "")
			o.Tokens = policy.Environment{Lookup: i.Job(run()), Timeout: 200 * time.Millisecond}
			check(t, o, policy.CI, tt.code, tt.says)
			hidden(t, o, i.Bearer(), i.Token("x", run()))
			if n := i.Asked(oidctest.Keys); n != 0 {
				t.Errorf("the keys were asked for %d times", n)
			}
		})
	}
	if bearerSeen == 0 {
		t.Error("nothing was redirected")
	}
	for _, url := range []string{"http://issuer.invalid/x", "issuer.invalid", "https://user:secret-of-the-user@issuer.invalid/", "ftp://localhost/", "http://\x7f/"} {
		o := remote(t, issuer(t), "")
		o.Tokens = policy.Environment{Lookup: env("ACTIONS_ID_TOKEN_REQUEST_URL", url, "ACTIONS_ID_TOKEN_REQUEST_TOKEN", "canary-canary-canary")}
		check(t, o, policy.CI, fault.Credentials, "ACTIONS_ID_TOKEN_REQUEST_URL is not a URL to send a token to")
		hidden(t, o, "canary-canary-canary", "secret-of-the-user")
	}
}
