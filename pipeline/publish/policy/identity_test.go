package policy_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/slipway-build/slipway/pipeline/fixture/oidctest"
	"github.com/slipway-build/slipway/pipeline/publish/policy"
	"github.com/slipway-build/slipway/pipeline/release/fault"
)

// source gives one token.
type source string

func (s source) Token(context.Context, string) (func() string, error) {
	return func() string { return string(s) }, nil
}

// remote are options with which a release goes to others, with a token.
func remote(t testing.TB, i *oidctest.Issuer, token string) policy.Options {
	o := local(t)
	o.Destinations = []string{"http://127.0.0.1:5000", "ghcr.io"}
	o.Issuer, o.Host = i.URL, "github.com"
	o.Tokens = source(token)
	return o
}

func issuer(t testing.TB) *oidctest.Issuer {
	t.Helper()
	return oidctest.New(t, oidctest.Options{Now: clock})
}

// run are the claims of the workflow that may publish the release.
func run() map[string]any { return oidctest.GitHub("example/tool", "refs/tags/v1.2.3", commit) }

// but are claims with others in place of some.
func but(said map[string]any, other ...any) map[string]any {
	out := maps.Clone(said)
	for i := 0; i < len(other); i += 2 {
		out[other[i].(string)] = other[i+1]
	}
	return out
}

func TestCI(t *testing.T) {
	snapshot := parse(t, "1.2.4-snapshot.4.g0123456789ab")
	for _, tt := range []struct {
		name string
		edit func(*policy.Options)
		code fault.Code
		says string
	}{
		{"local", func(o *policy.Options) { o.Destinations = []string{"localhost:5000", "./mirror"} }, fault.OK, "does not leave this machine"},
		{
			"snapshot", func(o *policy.Options) { o.Release.Tag, o.Release.Version = "", snapshot },
			fault.OK, "is a snapshot, which anybody may publish",
		},
		{"nobody", func(*policy.Options) {}, fault.Policy, "v1.2.3 is published only by a workflow"},
		{
			"no token", func(o *policy.Options) { o.Tokens = policy.Environment{Lookup: env()} },
			fault.Policy, "v1.2.3 is published only by a workflow",
		},
		{"no tag", func(o *policy.Options) { o.Release.Tag = "" }, fault.Policy, "1.2.3 has no tag, and is not a snapshot"},
		{
			"another version's tag", func(o *policy.Options) { o.Release.Tag = "v1.2.4" },
			fault.Policy, `tag "v1.2.4" is not that of version 1.2.3`,
		},
		{"a longer version's tag", func(o *policy.Options) { o.Release.Tag = "v11.2.3" }, fault.Policy, "is not that of version"},
		{"a branch of versions", func(o *policy.Options) { o.Release.Tag = "v1.1.2.3" }, fault.Policy, "is not that of version"},
		{"prefix", func(o *policy.Options) { o.Release.Tag = "tool/v1.2.3" }, fault.Policy, "tool/v1.2.3 is published only by a workflow"},
		{"bare", func(o *policy.Options) { o.Release.Tag = "1.2.3" }, fault.Policy, "1.2.3 is published only by a workflow"},
		{
			"source down", func(o *policy.Options) { o.Tokens = broken{fault.Errorf(fault.Transient, "502")} },
			fault.Transient, "the same command asks again",
		},
		{"source refuses", func(o *policy.Options) { o.Tokens = broken{fault.Errorf(fault.Credentials, "403")} }, fault.Credentials, "403"},
		{"source fails", func(o *policy.Options) { o.Tokens = broken{errors.New("reset")} }, fault.Transient, "reset"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			o := local(t)
			o.Destinations = []string{"ghcr.io"}
			tt.edit(&o)
			check(t, o, policy.CI, tt.code, tt.says)
		})
	}
}

type broken struct{ err error }

func (b broken) Token(context.Context, string) (func() string, error) { return nil, b.err }

func env(pairs ...string) func(string) (string, bool) {
	return func(name string) (string, bool) {
		for i := 0; i < len(pairs); i += 2 {
			if pairs[i] == name {
				return pairs[i+1], true
			}
		}
		return "", false
	}
}

func TestWorkflow(t *testing.T) {
	i := issuer(t)
	gitlab := oidctest.GitLab("group/sub/tool", "tag", "v1.2.3", commit)
	onGitLab := func(o *policy.Options) {
		o.Release.Repository, o.Host = "https://gitlab.com/group/sub/tool", "gitlab.com"
	}
	seconds := func(d time.Duration) int64 { return noon.Add(d).Unix() }
	for _, tt := range []struct {
		name string
		said map[string]any
		edit func(*policy.Options)
		code fault.Code
		says string
	}{
		{"github", run(), nil, fault.OK, "vouches for the workflow of example/tool, run for v1.2.3 at 0123456789ab"},
		{"started by hand for the tag", but(run(), "event_name", "workflow_dispatch"), nil, fault.OK, "run for v1.2.3"},
		{"letter case of the repository", but(run(), "repository", "Example/Tool"), nil, fault.OK, "vouches"},
		{
			"a tag with a prefix", but(run(), "ref", "refs/tags/tool/v1.2.3"), func(o *policy.Options) { o.Release.Tag = "tool/v1.2.3" },
			fault.OK, "vouches",
		},
		{"repository ends in .git", run(), func(o *policy.Options) { o.Release.Repository += ".git" }, fault.OK, "vouches"},
		{"several audiences", but(run(), "aud", []string{"x", policy.DefaultAudience}), nil, fault.OK, "vouches"},
		{"another audience that was asked for", but(run(), "aud", "mine"), func(o *policy.Options) { o.Audience = "mine" }, fault.OK, "vouches"},
		{"gitlab", gitlab, onGitLab, fault.OK, "vouches for the workflow of group/sub/tool"},

		{
			"foreign repository", but(run(), "repository", "mallory/tool"), nil,
			fault.Policy, `the workflow is of repository "mallory/tool", and the release is of example/tool`,
		},
		{"a fork", but(run(), "repository", "mallory/example/tool"), nil, fault.Policy, "is of repository"},
		{"repository is no text", but(run(), "repository", 7), nil, fault.Policy, "does not say which repository"},
		{"no repository", but(run(), "repository", nil), nil, fault.Policy, "does not say which repository"},
		{"two repositories", but(run(), "project_path", "example/tool"), nil, fault.Policy, "does not say which repository"},
		{
			"another letter case of a claim", but(run(), "repository", nil, "Repository", "example/tool"), nil,
			fault.Policy, "does not say which repository",
		},
		{
			"other tag", but(run(), "ref", "refs/tags/v1.2.4"), nil,
			fault.Policy, `the workflow was run for "refs/tags/v1.2.4", and the release is v1.2.3`,
		},
		{"branch", but(run(), "ref", "refs/heads/main"), nil, fault.Policy, `run for "refs/heads/main"`},
		{"a branch with the name of the tag", but(run(), "ref", "refs/heads/v1.2.3"), nil, fault.Policy, "run for"},
		{"letter case of the tag", but(run(), "ref", "refs/tags/V1.2.3"), nil, fault.Policy, "run for"},
		{"a pull request", but(run(), "ref", "refs/pull/1/merge"), nil, fault.Policy, "run for"},
		{"no ref", but(run(), "ref", nil), nil, fault.Policy, `run for ""`},
		{
			"other commit", but(run(), "sha", strings.Repeat("a", 40)), nil,
			fault.Policy, "run for commit \"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\", and the release is of " + commit,
		},
		{"a part of the commit", but(run(), "sha", commit[:12]), nil, fault.Policy, "run for commit"},
		{"no commit", but(run(), "sha", nil), nil, fault.Policy, "run for commit"},
		{
			"no release repository", run(), func(o *policy.Options) { o.Release.Repository = "" },
			fault.Policy, "is not the URL of the release's repository",
		},
		{
			"release repository is not a URL", run(), func(o *policy.Options) { o.Release.Repository = "git@github.com:example/tool" },
			fault.Policy, "is not the URL",
		},
		{
			"release repository with a user", run(), func(o *policy.Options) { o.Release.Repository = "https://me@github.com/example/tool" },
			fault.Policy, "is not the URL",
		},
		{
			"same name elsewhere", run(), func(o *policy.Options) { o.Release.Repository = "https://gitlab.com/example/tool" },
			fault.Policy, "vouches for workflows of github.com, and the release is from gitlab.com",
		},
		{"the issuer's own host", run(), func(o *policy.Options) { o.Host = "" }, fault.Policy, "and the release is from github.com"},
		{"gitlab branch", but(gitlab, "ref_type", "branch"), onGitLab, fault.Policy, `run for "refs/heads/v1.2.3"`},
		{"gitlab without a kind", but(gitlab, "ref_type", nil), onGitLab, fault.Policy, `run for "refs/unknown/v1.2.3"`},
		{"gitlab ref in full", but(gitlab, "ref_type", "", "ref", "refs/tags/v1.2.3"), onGitLab, fault.Policy, "run for"},
		{"gitlab project", but(gitlab, "project_path", "group/tool"), onGitLab, fault.Policy, `is of repository "group/tool"`},
		{"gitlab commit", but(gitlab, "sha", ""), onGitLab, fault.Policy, "run for commit"},
		{"gitlab tag", but(gitlab, "ref", "v1.2.2"), onGitLab, fault.Policy, `run for "refs/tags/v1.2.2"`},

		{"wrong audience", but(run(), "aud", "sigstore"), nil, fault.Policy, `the token is for "sigstore" (`},
		{"no audience", but(run(), "aud", nil), nil, fault.Policy, "the token is for"},
		{"default audience", but(run(), "aud", "https://github.com/example"), nil, fault.Policy, "ask for one with the audience slipway-publish"},
		{"wrong issuer", but(run(), "iss", "https://token.example.com"), nil, fault.Policy, `the token is issued by "https://token.example.com"`},
		{"no issuer", but(run(), "iss", nil), nil, fault.Policy, `issued by ""`},
		{"issuer that begins alike", but(run(), "iss", i.URL+"/"), nil, fault.Policy, "issued by"},
		{
			"expired", but(run(), "exp", seconds(-time.Second)), nil,
			fault.Policy, "the token expired at 2026-03-14T11:59:59Z, and it is 2026-03-14T12:00:00Z here",
		},
		{"no expiry", but(run(), "exp", nil), nil, fault.Policy, "expired"},
		{"expiry that is none", but(run(), "exp", "tomorrow"), nil, fault.Policy, "cannot be read"},
		{
			"not yet", but(run(), "nbf", seconds(time.Hour), "exp", seconds(2*time.Hour)), nil,
			fault.Policy, "the token is good from 2026-03-14T13:00:00Z on",
		},
		{"a clock a little behind", but(run(), "nbf", seconds(4*time.Minute)), nil, fault.OK, "vouches"},
		{
			"a clock far ahead", run(), func(o *policy.Options) { o.Now = func() time.Time { return noon.Add(6 * time.Minute) } },
			fault.Policy, "look at the clock",
		},
		{
			"a clock far behind", run(), func(o *policy.Options) { o.Now = func() time.Time { return noon.Add(-7 * time.Minute) } },
			fault.Policy, "set the clock",
		},
		{
			"a clock a little ahead", run(), func(o *policy.Options) { o.Now = func() time.Time { return noon.Add(4 * time.Minute) } },
			fault.OK, "vouches",
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			token := i.Token(policy.DefaultAudience, tt.said)
			o := remote(t, i, token)
			if tt.edit != nil {
				tt.edit(&o)
			}
			check(t, o, policy.CI, tt.code, tt.says)
			hidden(t, o, token)
		})
	}
}

// hidden looks for a part of the secrets in all that is said.
func hidden(t *testing.T, o policy.Options, secrets ...string) {
	t.Helper()
	all, err := policy.Check(t.Context(), o)
	b, errJSON := json.Marshal(all)
	if errJSON != nil {
		t.Fatal(errJSON)
	}
	said := fmt.Sprintf("%v\n%+v\n%#v\n%s\n%+v", err, all, all, b, o.Tokens)
	if _, ok := o.Tokens.(source); ok {
		said = fmt.Sprintf("%v\n%+v\n%#v\n%s", err, all, all, b)
	}
	for _, s := range secrets {
		for n := 0; n+16 <= len(s); n++ {
			if strings.Contains(said, s[n:n+16]) {
				t.Fatalf("a secret is in %s", said)
			}
		}
	}
}

func TestForged(t *testing.T) {
	i := issuer(t)
	good := i.Token(policy.DefaultAudience, run())
	parts := strings.Split(good, ".")
	other := strings.Split(i.Token(policy.DefaultAudience, but(run(), "repository", "mallory/tool")), ".")
	said := but(run(), "iss", i.URL, "aud", policy.DefaultAudience, "exp", noon.Add(time.Minute).Unix())
	signedBy := func(k oidctest.Key, algorithm, kid string) string {
		return oidctest.Sign(k, map[string]any{"alg": algorithm, "kid": kid}, said)
	}
	for name, tt := range map[string]struct{ token, says string }{
		"none":                    {i.Unsigned(policy.DefaultAudience, run()), `signed with "none", which anybody could do`},
		"none in capitals":        {signedBy(oidctest.RSA("1"), "NONE", "1"), `signed with "NONE"`},
		"symmetric":               {i.Symmetric(policy.DefaultAudience, run()), `signed with "HS256", which anybody could do`},
		"no algorithm":            {signedBy(oidctest.RSA("1"), "", "1"), `signed with ""`},
		"an algorithm not in use": {signedBy(oidctest.RSA("1"), "PS256", "1"), "which the issuer says it does not use"},
		"another key, same name": {
			i.TokenBy(oidctest.OtherRSA("1"), policy.DefaultAudience, run()), "no key of " + i.URL + " signed the token",
		},
		"another key, another name":   {i.TokenBy(oidctest.RSA("2"), policy.DefaultAudience, run()), "no key of"},
		"another key, no name":        {signedBy(oidctest.OtherRSA(""), "RS256", ""), "no key of"},
		"another kind of key":         {i.TokenBy(oidctest.EC("1"), policy.DefaultAudience, run()), "no key of"},
		"an algorithm for other keys": {signedBy(oidctest.RSA("1"), "ES256", "1"), "no key of"},
		"other claims":                {parts[0] + "." + other[1] + "." + parts[2], "no key of"},
		"no signature":                {parts[0] + "." + parts[1] + ".", "no key of"},
		"two parts":                   {parts[0] + "." + parts[1], "three parts"},
		"four parts":                  {good + ".x", "three parts"},
		"no base64":                   {"!." + parts[1] + "." + parts[2], "damaged"},
		"no JSON":                     {parts[0] + ".aGVsbG8." + parts[2], "damaged"},
		"null":                        {parts[0] + ".bnVsbA." + parts[2], "damaged"},
		"a list":                      {parts[0] + ".W10." + parts[2], "damaged"},
		"bad signature text":          {parts[0] + "." + parts[1] + ".!", "damaged"},
		"huge":                        {strings.Repeat("a", 1<<17), "more than 65536 bytes"},
		"a header that must be known": {
			oidctest.Sign(oidctest.RSA("1"), map[string]any{"alg": "RS256", "kid": "1", "crit": []string{"b64"}, "b64": false}, said), "no key of",
		},
		"a key in its own header": {
			oidctest.Sign(oidctest.OtherRSA("x"), map[string]any{"alg": "RS256", "kid": "x", "jku": "https://mallory.example.com/keys"}, said), "no key of",
		},
	} {
		t.Run(name, func(t *testing.T) {
			o := remote(t, i, tt.token)
			check(t, o, policy.CI, fault.Policy, tt.says)
			hidden(t, o, tt.token)
		})
	}
	// The issuer that a token names is not asked.
	before := i.Asked(oidctest.Discovery)
	o := remote(t, i, i.Token(policy.DefaultAudience, run()))
	o.Issuer = "https://issuer.invalid"
	check(t, o, policy.CI, fault.Policy, "vouches for releases")
	if n := i.Asked(oidctest.Discovery); n != before {
		t.Errorf("the issuer in the token was asked %d times", n-before)
	}
}

func TestRotation(t *testing.T) {
	i := issuer(t)
	first, second, third := oidctest.RSA("1"), oidctest.RSA("2"), oidctest.EC("3")
	try := func(key oidctest.Key, code fault.Code) {
		t.Helper()
		check(t, remote(t, i, i.TokenBy(key, policy.DefaultAudience, run())), policy.CI, code, "")
	}
	try(first, fault.OK)
	try(second, fault.Policy)
	i.Publish(second, first) // the new one signs, and what the old one signed is good for a while
	try(first, fault.OK)
	try(second, fault.OK)
	i.Publish(third, second)
	try(first, fault.Policy)
	try(second, fault.OK)
	try(third, fault.OK)
	i.Publish(oidctest.OtherRSA("2")) // another key under the name of one that was taken back
	try(second, fault.Policy)
	i.Publish()
	try(third, fault.Policy)
}

func TestIssuerFails(t *testing.T) {
	const canary = "canary-0123456789abcdef-canary"
	status := func(code int) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) { http.Error(w, canary, code) }
	}
	text := func(s string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, s) }
	}
	hangUp := func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }
	for _, path := range []string{oidctest.Discovery, oidctest.Keys} {
		for name, tt := range map[string]struct {
			with http.HandlerFunc
			code fault.Code
			says string
		}{
			"502": {status(502), fault.Transient, "502 Bad Gateway"},
			"429": {status(429), fault.Transient, "429"},
			"404": {status(404), fault.Policy, "404 Not Found"},
			"403": {status(403), fault.Policy, "403"},
			"redirect": {
				func(w http.ResponseWriter, r *http.Request) {
					http.Redirect(w, r, "https://issuer.invalid/", http.StatusFound)
				},
				fault.Transient, "302 Found",
			},
			"hangs up":     {hangUp, fault.Transient, "EOF"},
			"no JSON":      {text("<html>" + canary), fault.Transient, "it answers with something else"},
			"empty":        {text(""), fault.Transient, "it answers with something else"},
			"endless":      {text(strings.Repeat(" ", 2<<20)), fault.Transient, "more than 1048576 bytes"},
			"never enough": {func(w http.ResponseWriter, r *http.Request) { <-r.Context().Done() }, fault.Transient, "does not answer in time"},
		} {
			t.Run(path+" "+name, func(t *testing.T) {
				i := issuer(t)
				token := i.Token(policy.DefaultAudience, run())
				i.Answer(path, tt.with)
				o := remote(t, i, token)
				if name == "never enough" {
					o.Timeout = 100 * time.Millisecond
				}
				check(t, o, policy.CI, tt.code, tt.says)
				hidden(t, o, token)
				i.Answer(path, nil)
				check(t, o, policy.CI, fault.OK, "vouches") // the same command asks again
			})
		}
	}
	discovery := func(i *oidctest.Issuer, issuer, keys string) http.HandlerFunc {
		return text(fmt.Sprintf(`{"issuer":%q,"jwks_uri":%q}`, issuer, keys))
	}
	for name, tt := range map[string]struct {
		with func(*oidctest.Issuer) http.HandlerFunc
		code fault.Code
		says string
	}{
		"says less": {func(i *oidctest.Issuer) http.HandlerFunc { return discovery(i, i.URL, i.URL+oidctest.Keys) }, fault.OK, "vouches"},
		"another": {
			func(i *oidctest.Issuer) http.HandlerFunc { return discovery(i, "https://other.example.com", i.URL) },
			fault.Policy, `says that it is "https://other.example.com"`,
		},
		"keys in http": {
			func(i *oidctest.Issuer) http.HandlerFunc { return discovery(i, i.URL, "http://keys.invalid/") },
			fault.Policy, "does not begin with https://",
		},
		"keys in a file": {
			func(i *oidctest.Issuer) http.HandlerFunc { return discovery(i, i.URL, "file:///etc/passwd") },
			fault.Policy, "does not begin with https://",
		},
		"no keys": {
			func(i *oidctest.Issuer) http.HandlerFunc { return discovery(i, i.URL, "") },
			fault.Policy, "does not begin with https://",
		},
	} {
		t.Run(name, func(t *testing.T) {
			i := issuer(t)
			i.Answer(oidctest.Discovery, tt.with(i))
			check(t, remote(t, i, i.Token(policy.DefaultAudience, run())), policy.CI, tt.code, tt.says)
		})
	}
	// An answer with the token in it, which an issuer could know, is not shown.
	i := issuer(t)
	token := i.Token(policy.DefaultAudience, run())
	i.Answer(oidctest.Keys, func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "bad "+token[:200], http.StatusBadGateway) })
	check(t, remote(t, i, token), policy.CI, fault.Transient, "has a secret in it and is not shown")
	hidden(t, remote(t, i, token), token)

	gone := httptest.NewServer(nil)
	gone.Close()
	o := remote(t, i, i.Token(policy.DefaultAudience, but(run(), "iss", gone.URL)))
	o.Issuer = gone.URL
	check(t, o, policy.CI, fault.Transient, "refused")
	for _, url := range []string{"http://issuer.invalid", "issuer.invalid", "https://me@issuer.invalid", "ftp://localhost"} {
		o := remote(t, i, i.Token(policy.DefaultAudience, but(run(), "iss", url)))
		o.Issuer = url
		check(t, o, policy.CI, fault.Policy, "does not begin with https://")
	}
}

// TestGitHubIssuer: GitHub's issuer vouches for github.com without anybody having to say so, and no other does.
func TestGitHubIssuer(t *testing.T) {
	i := issuer(t)
	for _, tt := range []struct {
		issuer string
		code   fault.Code
		says   string
	}{
		{"", fault.OK, "https://token.actions.githubusercontent.com vouches"},
		{policy.GitHubIssuer + "/enterprise", fault.OK, "vouches"},
		{
			"https://token.actions.githubusercontent.com.example.com",
			fault.Policy, "vouches for workflows of token.actions.githubusercontent.com.example.com",
		},
		{"https://ghes.example.com/_services/token", fault.Policy, "vouches for workflows of ghes.example.com"},
	} {
		name := tt.issuer
		if name == "" {
			name = policy.GitHubIssuer
		}
		o := remote(t, i, i.Token(policy.DefaultAudience, but(run(), "iss", name)))
		o.Issuer, o.Host = tt.issuer, ""
		o.Client = &http.Client{Transport: pretend{i, name}}
		check(t, o, policy.CI, tt.code, tt.says)
	}
}

// pretend is the network of another issuer, whose keys are those of i.
type pretend struct {
	i    *oidctest.Issuer
	name string
}

func (p pretend) RoundTrip(req *http.Request) (*http.Response, error) {
	if strings.HasSuffix(req.URL.Path, oidctest.Discovery) {
		rec := httptest.NewRecorder()
		fmt.Fprintf(rec, `{"issuer":%q,"jwks_uri":"https://keys.example.com/"}`, p.name)
		return rec.Result(), nil
	}
	req, err := http.NewRequestWithContext(req.Context(), http.MethodGet, p.i.URL+oidctest.Keys, nil)
	if err != nil {
		return nil, err
	}
	return http.DefaultTransport.RoundTrip(req)
}

// FuzzToken: whatever a token is, it lets a release pass only if it says what the good one says, with its signature.
func FuzzToken(f *testing.F) {
	i := issuer(f)
	good := i.Token(policy.DefaultAudience, run())
	parts := strings.Split(good, ".")
	for _, s := range []string{
		good, "", "..", good + "=", "\n" + good, i.Unsigned(policy.DefaultAudience, run()), i.Symmetric(policy.DefaultAudience, run()),
		parts[0] + ".e30." + parts[2], `{"payload":"` + parts[1] + `","protected":"` + parts[0] + `","signature":"` + parts[2] + `"}`,
	} {
		f.Add(s)
	}
	o := remote(f, i, "")
	f.Fuzz(func(t *testing.T, raw string) {
		o := o
		o.Tokens = source(raw)
		all, _ := policy.Check(t.Context(), o)
		found := of(all, policy.CI)
		clean := strings.Join(strings.Fields(raw), "")
		if len(found) != 1 || found[0].Passed && !strings.HasPrefix(clean, parts[0]+"."+parts[1]+".") {
			t.Fatalf("%q: %v", raw, found)
		}
	})
}
