package ephemeral

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"strings"

	"github.com/slipway-build/slipway/pipeline/internal/canonjson"
	"github.com/slipway-build/slipway/pipeline/release/fault"
)

// Where the identity of a workflow is found.
const (
	// TokenVariable is the environment variable with a token for the audience sigstore. It goes first.
	TokenVariable = "SIGSTORE_ID_TOKEN"
	// requestURL and requestToken are where a job of GitHub Actions asks for tokens, and with what
	// (https://docs.github.com/en/actions/reference/security/oidc).
	requestURL   = "ACTIONS_ID_TOKEN_REQUEST_URL"
	requestToken = "ACTIONS_ID_TOKEN_REQUEST_TOKEN"
)

// audience is whom tokens are for.
const audience = "sigstore"

// maxToken bounds a token, in bytes.
const maxToken = 64 << 10

// Available reports whether there is the identity of a workflow. A nil lookup is os.LookupEnv.
func Available(lookup func(string) (string, bool)) bool {
	_, err := newTokens(lookup, client{})
	return err == nil
}

// secret is a function, into which fmt cannot look when it is in something that is printed.
type secret func() string

func keep(s string) secret { return func() string { return s } }

// token says who signs: whoever has it can sign.
type token struct {
	raw     secret
	subject string // over which the possession of a key is proven
}

// tokens gives tokens.
type tokens struct {
	raw     secret // the one that there is, nil to ask for one
	url     string // where to ask
	request secret // with what
	client  client
}

func newTokens(lookup func(string) (string, bool), c client) (*tokens, error) {
	if lookup == nil {
		lookup = os.LookupEnv
	}
	get := func(name string) string {
		v, ok := lookup(name)
		if !ok {
			return ""
		}
		return strings.TrimSpace(v)
	}
	t := &tokens{url: get(requestURL), client: c}
	raw, request := get(TokenVariable), get(requestToken)
	switch {
	case raw != "":
		t.raw = keep(raw)
		return t, nil
	case t.url != "" && request != "":
		t.request = keep(request)
		if err := checkURL(t.url); err != nil {
			return nil, fault.Errorf(fault.Credentials, "signing without a key: %s is not a URL to send a token to", requestURL)
		}
		return t, nil
	case get("GITHUB_ACTIONS") == "true":
		return nil, fault.Errorf(fault.Credentials, "signing without a key: the job has no identity; give it permissions: id-token: write")
	case get("GITLAB_CI") == "true":
		return nil, fault.Errorf(fault.Credentials, "signing without a key: the job has no identity; give it id_tokens: %s: aud: %s", TokenVariable, audience)
	}
	return nil, fault.Errorf(fault.Credentials, "signing without a key: there is no identity of a workflow; sign in CI, set %s, or sign with a key", TokenVariable)
}

// get returns a token, a fresh one where there are any.
func (t *tokens) get(ctx context.Context) (token, error) {
	raw := t.raw
	if raw == nil {
		fresh, err := t.ask(ctx)
		if err != nil {
			return token{}, err
		}
		raw = keep(fresh)
	}
	out, err := parseToken(raw())
	if err != nil {
		return token{}, fault.New(fault.Credentials, fmt.Errorf("reading the identity of the workflow: %w", err))
	}
	return out, nil
}

func (t *tokens) ask(ctx context.Context) (string, error) {
	u, err := url.Parse(t.url)
	if err != nil {
		return "", fault.Errorf(fault.Credentials, "asking for the identity of the workflow: %s is not a URL", requestURL)
	}
	q := u.Query()
	q.Set("audience", audience)
	u.RawQuery = q.Encode()
	res, err := t.client.do(ctx, request{
		service: "issuer of identities", method: http.MethodGet, url: u.String(),
		authorization: keep("Bearer " + t.request()), secrets: []string{t.request()},
	})
	if err != nil {
		return "", err
	}
	if res.status != http.StatusOK {
		return "", res.refused(fault.Credentials, "may the job have one (permissions: id-token: write)?")
	}
	var answer struct {
		Value string `json:"value"`
	}
	// What json says of an answer may quote it, and it is the token.
	if canonjson.DecodeOpen(res.body, &answer) != nil || answer.Value == "" {
		return "", res.unreadable(errors.New("there is no token in it"))
	}
	return answer.Value, nil
}

// parseToken reads what is needed of a JSON web token (https://www.rfc-editor.org/rfc/rfc7519). Whether it is good is
// for the certificate authority to say. No error quotes it.
func parseToken(raw string) (token, error) {
	if len(raw) > maxToken {
		return token{}, fmt.Errorf("the token has more than %d bytes", maxToken)
	}
	parts := strings.Split(raw, ".")
	if len(parts) != 3 {
		return token{}, errors.New("it is not a JSON web token of three parts")
	}
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return token{}, errors.New("the token is damaged")
	}
	var claims struct {
		Subject  string `json:"sub"`
		Email    string `json:"email"`
		Verified any    `json:"email_verified"` // a boolean, or a string of some issuers
	}
	if canonjson.DecodeOpen(payload, &claims) != nil {
		return token{}, errors.New("the token is damaged")
	}
	switch {
	case claims.Email != "" && claims.Verified != true && claims.Verified != "true":
		return token{}, errors.New("the issuer has not verified the email address in the token")
	case claims.Email != "":
		return token{raw: keep(raw), subject: claims.Email}, nil
	case claims.Subject == "":
		return token{}, errors.New("the token has no subject")
	}
	return token{raw: keep(raw), subject: claims.Subject}, nil
}
