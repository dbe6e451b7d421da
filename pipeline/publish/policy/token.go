package policy

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/slipway-build/slipway/pipeline/internal/bounded"
	"github.com/slipway-build/slipway/pipeline/internal/canonjson"
	"github.com/slipway-build/slipway/pipeline/internal/web"
	"github.com/slipway-build/slipway/pipeline/publish/wire"
	"github.com/slipway-build/slipway/pipeline/release/fault"
)

// DefaultAudience is whom a token must be for. One for another purpose, such as signing, does not let anybody publish.
const DefaultAudience = "slipway-publish"

// TokenVariable is the environment variable with a token for the audience. It goes first. A job of GitLab sets it with
// id_tokens (https://docs.gitlab.com/ci/secrets/id_token_authentication/).
const TokenVariable = "SLIPWAY_ID_TOKEN"

// Where a job of GitHub Actions asks for tokens, and with what
// (https://docs.github.com/en/actions/reference/security/oidc).
const (
	requestURL   = "ACTIONS_ID_TOKEN_REQUEST_URL"
	requestToken = "ACTIONS_ID_TOKEN_REQUEST_TOKEN"
)

// Bounds of what is read from an issuer, in bytes.
const (
	maxToken  = 64 << 10
	maxAnswer = 1 << 20
)

// TokenSource gives tokens that say which workflow this is.
type TokenSource interface {
	// Token is a token for the audience: as a function, into which fmt cannot look when it prints. An error is a
	// *NoTokenError where there is no workflow. No error has a part of a secret in it.
	Token(ctx context.Context, audience string) (func() string, error)
}

// NoTokenError says that no workflow vouches for this run.
type NoTokenError struct {
	WayOut string // what would make one vouch
}

func (e *NoTokenError) Error() string { return "there is no identity of a workflow; " + e.WayOut }

// Environment takes tokens from where GitHub Actions and GitLab CI give them to a job.
type Environment struct {
	Lookup  func(string) (string, bool) // a variable of the environment
	Client  *http.Client                // nil is http.DefaultClient; redirects are not followed
	Timeout time.Duration               // of asking; 0 is a minute
}

// Token asks for a token; see TokenSource.
func (e Environment) Token(ctx context.Context, audience string) (func() string, error) {
	get := func(name string) string {
		v, _ := e.Lookup(name)
		return strings.TrimSpace(v)
	}
	raw, where, request := get(TokenVariable), get(requestURL), get(requestToken)
	switch {
	case raw != "":
		return keep(raw), nil
	case where != "" && request != "":
		raw, err := e.ask(ctx, where, request, audience)
		if err != nil {
			return nil, err
		}
		return keep(raw), nil
	case get("GITHUB_ACTIONS") == "true":
		return nil, &NoTokenError{"give the job permissions: id-token: write"}
	case get("GITLAB_CI") == "true":
		return nil, &NoTokenError{fmt.Sprintf("give the job id_tokens: %s: aud: %s", TokenVariable, audience)}
	}
	return nil, &NoTokenError{"push the tag and let the workflow publish it, or try it out on loopback"}
}

func keep(s string) func() string { return func() string { return s } }

func (e Environment) ask(ctx context.Context, where, request, audience string) (string, error) {
	u, err := url.Parse(where)
	if err != nil || !web.Private(u) || u.User != nil {
		return "", fault.Errorf(fault.Credentials, "asking for the identity of the workflow: %s is not a URL to send a token to", requestURL)
	}
	q := u.Query()
	q.Set("audience", audience)
	u.RawQuery = q.Encode()
	ctx, cancel := context.WithTimeout(ctx, timeout(e.Timeout))
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return "", fault.Errorf(fault.Credentials, "asking for the identity of the workflow: %s is not a URL", requestURL)
	}
	req.Header.Set("Accept", "application/json")
	req.Header.Set("Authorization", "Bearer "+request)
	res, err := careful(e.Client, e.Timeout).Do(req)
	if err != nil {
		err = cause(ctx, err)
		text := fmt.Sprintf("asking %s for the identity of the workflow: %s", u.Host, hide(err.Error(), request))
		if fault.CodeOf(wire.Fault(err)) == fault.Transient {
			return "", fault.New(fault.Transient, errors.New(text))
		}
		return "", fault.Errorf(fault.Credentials, "%s; may the job have one (permissions: id-token: write)?", text)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body) // which careful has bounded
	var answer struct {
		Value string `json:"value"`
	}
	// What json says of an answer may quote it, and it is the token.
	if err != nil || canonjson.DecodeOpen(body, &answer) != nil || answer.Value == "" {
		return "", fault.Errorf(fault.Transient, "asking %s for the identity of the workflow: there is no token in its answer", u.Host)
	}
	return answer.Value, nil
}

func timeout(d time.Duration) time.Duration {
	if d == 0 {
		return time.Minute
	}
	return d
}

// careful is a client that believes no answer to be small. Whatever is not a 200 is an error with an exit code, so that no
// redirect takes a secret, or the question whose keys count, to another host.
func careful(c *http.Client, d time.Duration) *http.Client {
	base := http.DefaultTransport
	if c != nil && c.Transport != nil {
		base = c.Transport
	}
	return &http.Client{Transport: checked{base}, Timeout: timeout(d)}
}

type checked struct{ base http.RoundTripper }

func (c checked) RoundTrip(req *http.Request) (*http.Response, error) {
	res, err := c.base.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	if err := wire.Expect(res, http.StatusOK); err != nil {
		return nil, err
	}
	body, err := bounded.Body(res, maxAnswer)
	if bounded.IsTooLarge(err) {
		return nil, fault.New(fault.Transient, err)
	}
	if err != nil {
		return nil, err
	}
	res.Body, res.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
	return res, nil
}

// cause is the reason of an error of net/http, without the URL, in which something may stand that is nobody's business.
func cause(ctx context.Context, err error) error {
	u, failed := errors.AsType[*url.Error](err)
	switch {
	case failed && u.Timeout(), errors.Is(err, context.DeadlineExceeded), errors.Is(ctx.Err(), context.DeadlineExceeded):
		return fault.Errorf(fault.Transient, "it does not answer in time")
	case failed:
		return u.Err
	}
	return err
}

// hide is the text, or that it is not shown if a part of the secret is in it. No secret of an issuer is so short that
// it has no such part.
func hide(text, secret string) string {
	const part = 12
	for i := 0; i+part <= len(secret); i++ {
		if strings.Contains(text, secret[i:i+part]) {
			return "the error has a secret in it and is not shown"
		}
	}
	return text
}

// claims are what a token says, by name. The names are exact, other than in what encoding/json does with a struct.
type claims map[string]json.RawMessage

// parseToken reads the algorithm and the claims of a token (https://www.rfc-editor.org/rfc/rfc7519). Nothing of it is
// proven by that. No error quotes the token.
func parseToken(raw string) (algorithm string, c claims, err error) {
	if len(raw) > maxToken {
		return "", nil, fmt.Errorf("the token has more than %d bytes", maxToken)
	}
	parts := strings.Split(raw, ".")
	if len(parts) != 3 {
		return "", nil, errors.New("it is not a JSON web token of three parts")
	}
	var said [2]claims
	for i := range said {
		b, err := base64.RawURLEncoding.DecodeString(parts[i])
		if err != nil || canonjson.DecodeOpen(b, &said[i]) != nil || said[i] == nil {
			return "", nil, errDamaged
		}
	}
	return said[0].text("alg"), said[1], nil
}

var errDamaged = errors.New("the token is damaged")

// text is a claim that is a string, "" for any other.
func (c claims) text(name string) string {
	var s string
	if json.Unmarshal(c[name], &s) != nil {
		return ""
	}
	return s
}

// texts is a claim that is a string or a list of them.
func (c claims) texts(name string) []string {
	var list []string
	if json.Unmarshal(c[name], &list) == nil {
		return list
	}
	return []string{c.text(name)}
}

// time is a claim in seconds since 1970, the zero time for any other.
func (c claims) time(name string) time.Time {
	var seconds float64
	const last = 253402300799 // of the year 9999
	if len(c[name]) == 0 || json.Unmarshal(c[name], &seconds) != nil || seconds < 0 || seconds > last {
		return time.Time{}
	}
	return time.Unix(int64(seconds), 0).UTC()
}
