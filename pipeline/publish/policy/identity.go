package policy

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"

	"github.com/slipway-build/slipway/pipeline/internal/canonjson"
	"github.com/slipway-build/slipway/pipeline/internal/web"
	"github.com/slipway-build/slipway/pipeline/publish/wire"
	"github.com/slipway-build/slipway/pipeline/release/fault"
)

// GitHubIssuer vouches for the workflows of GitHub Actions
// (https://docs.github.com/en/actions/concepts/security/openid-connect).
const GitHubIssuer = "https://token.actions.githubusercontent.com"

// ci holds a released version to being published by the workflow of its tag.
func (o Options) ci(ctx context.Context) Finding {
	r := o.Release
	const tryOut = "push the tag, or try it out on loopback"
	switch {
	case Local(o.Destinations):
		return ci.pass("it does not leave this machine")
	case r.Tag == "" && r.Version.IsSnapshot():
		return ci.pass("%s is a snapshot, which anybody may publish", r.Version)
	case r.Tag == "":
		return ci.refuse("tag the commit and push the tag", "%s has no tag, and is not a snapshot", r.Version)
	case !names(r.Tag, r.Version.String()):
		return ci.refuse("build it again from its tag", "tag %.200q is not that of version %s", r.Tag, r.Version)
	case o.Tokens == nil:
		return ci.refuse(tryOut, "%s is published only by a workflow", r.Tag)
	}
	secret, err := o.Tokens.Token(ctx, o.Audience)
	if none, ok := errors.AsType[*NoTokenError](err); ok {
		return ci.refuse(none.WayOut, "%s is published only by a workflow", r.Tag)
	}
	if err != nil {
		return ci.unknown(err)
	}
	raw := secret()
	f := o.identity(ctx, raw)
	f.Detail = hide(f.Detail, raw)
	return f
}

// names reports whether a tag is that of the version, behind the project's prefix for tags if it has one.
func names(tag, version string) bool {
	prefix, ok := strings.CutSuffix(tag, version)
	if !ok {
		return false
	}
	return prefix == "" || !strings.ContainsRune("0123456789.+", rune(prefix[len(prefix)-1]))
}

// algorithms are those with which an issuer alone can sign. That leaves out none, which proves nothing, and the HS
// ones, for which the published key would be the secret (https://www.rfc-editor.org/rfc/rfc8725#section-2.1).
var algorithms = []string{
	oidc.RS256, oidc.RS384, oidc.RS512, oidc.ES256, oidc.ES384, oidc.ES512, oidc.PS256, oidc.PS384, oidc.PS512, oidc.EdDSA,
}

// identity holds a token to being signed by the issuer, for this audience and this moment, and to the release.
func (o Options) identity(ctx context.Context, raw string) Finding {
	const again = "run the job again"
	algorithm, said, err := parseToken(raw)
	switch iss := said.text("iss"); {
	case err != nil:
		return ci.refuse(again, "reading the identity of the workflow: %s", err)
	case !slices.Contains(algorithms, algorithm):
		return ci.refuse("use a token of an issuer that signs with a private key", "the token is signed with %.20q, which anybody could do", algorithm)
	case iss != o.Issuer:
		// Whoever is named there is not asked: a token does not choose who vouches for it.
		return ci.refuse("publish in a workflow of that issuer", "the token is issued by %.200q, and %s vouches for releases", iss, o.Issuer)
	}
	ctx, cancel := context.WithTimeout(ctx, o.Timeout)
	defer cancel()
	keys, err := o.keys(ctx, algorithm)
	if err != nil {
		return o.unasked(ctx, err)
	}
	verifier := oidc.NewVerifier(o.Issuer, keys, &oidc.Config{ClientID: o.Audience, SupportedSigningAlgs: algorithms, Now: o.Now})
	_, err = verifier.Verify(ctx, raw)
	if keys.err != nil {
		// Where no key fits there is no other error below it; where keys could not be had, there is.
		if cause := errors.Unwrap(keys.err); cause != nil {
			return o.unasked(ctx, cause)
		}
		return ci.refuse(again, "no key of %s signed the token", o.Issuer)
	}
	// From here on what counts is what was signed.
	var signed claims
	switch {
	case canonjson.DecodeOpen(keys.payload, &signed) != nil:
		return ci.refuse(again, "reading the identity of the workflow: %s", errDamaged)
	case err != nil:
		return o.invalid(signed, err)
	}
	return o.workflow(signed)
}

// invalid says why a token that the issuer signed does not count.
func (o Options) invalid(said claims, err error) Finding {
	now := o.Now().UTC()
	expired, isExpired := errors.AsType[*oidc.TokenExpiredError](err)
	switch aud := said.texts("aud"); {
	case !slices.Contains(aud, o.Audience):
		return ci.refuse("ask for one with the audience "+o.Audience, "the token is for %.200q", strings.Join(aud, ", "))
	case isExpired:
		return ci.refuse("run the job again, and look at the clock if that does not help", "the token expired at %s, and it is %s here",
			expired.Expiry.UTC().Format(time.RFC3339), now.Format(time.RFC3339))
	case said.time("nbf").After(now):
		return ci.refuse("set the clock", "the token is good from %s on, and it is %s here",
			said.time("nbf").Format(time.RFC3339), now.Format(time.RFC3339))
	}
	return ci.refuse("use a token as the issuer makes them", "the audience or the times in the token cannot be read")
}

// unasked is an issuer whose keys are not known.
func (o Options) unasked(ctx context.Context, err error) Finding {
	if mismatch, ok := errors.AsType[*oidc.IssuerMismatchError](err); ok {
		return ci.refuse("correct the issuer in the configuration", "%s says that it is %.200q", o.Issuer, mismatch.Discovered)
	}
	if fault.CodeOf(err) == fault.Unclassified {
		// go-oidc quotes whole answers that it cannot read.
		if _, failed := errors.AsType[*url.Error](err); !failed && ctx.Err() == nil {
			err = errors.New("it answers with something else")
		}
	}
	err = cause(ctx, err)
	if code := fault.CodeOf(wire.Fault(err)); code != fault.Transient {
		return ci.refuse("correct the issuer in the configuration", "asking %s for its keys: %s", o.Issuer, err)
	}
	return ci.unknown(fault.New(fault.Transient, fmt.Errorf("asking %s for its keys: %w", o.Issuer, err)))
}

// keySet are the keys of an issuer. It remembers what they signed, and what was wrong: of that the verifier keeps the
// text alone.
type keySet struct {
	remote  oidc.KeySet
	payload []byte
	err     error
}

func (k *keySet) VerifySignature(ctx context.Context, jwt string) ([]byte, error) {
	k.payload, k.err = k.remote.VerifySignature(ctx, jwt)
	return k.payload, k.err
}

// keys asks the issuer where its keys are (https://openid.net/specs/openid-connect-discovery-1_0.html). They are fetched
// when a signature is verified.
func (o Options) keys(ctx context.Context, algorithm string) (*keySet, error) {
	if u, err := url.Parse(o.Issuer); err != nil || !web.Private(u) || u.User != nil {
		return nil, fault.Errorf(fault.Policy, "its URL does not begin with https://")
	}
	ctx = oidc.ClientContext(ctx, careful(o.Client, o.Timeout))
	provider, err := oidc.NewProvider(ctx, o.Issuer)
	if err != nil {
		return nil, err
	}
	var about struct {
		Keys       string   `json:"jwks_uri"`
		Algorithms []string `json:"id_token_signing_alg_values_supported"`
	}
	if err := provider.Claims(&about); err != nil {
		return nil, err
	}
	if u, err := url.Parse(about.Keys); err != nil || !web.Private(u) || u.User != nil {
		return nil, fault.Errorf(fault.Policy, "its keys are at %.200q, which does not begin with https://", about.Keys)
	}
	if len(about.Algorithms) > 0 && !slices.Contains(about.Algorithms, algorithm) {
		return nil, fault.Errorf(fault.Policy, "the token is signed with %.20q, which the issuer says it does not use", algorithm)
	}
	return &keySet{remote: oidc.NewRemoteKeySet(ctx, about.Keys)}, nil
}

// workflow holds what a good token says to the release: the claims of GitHub
// (https://docs.github.com/en/actions/reference/security/oidc#oidc-token-claims) or those of GitLab
// (https://docs.gitlab.com/ci/secrets/id_token_authentication/#token-payload). A run that somebody started by hand passes
// if it was started for the tag.
func (o Options) workflow(said claims) Finding {
	r := o.Release
	const push = "push the tag, and let its own workflow publish it"
	host, want, ok := repository(r.Repository)
	if !ok {
		return ci.refuse("set project.repository to one such as https://github.com/owner/name",
			"%.200q is not the URL of the release's repository", r.Repository)
	}
	if vouched := o.vouched(); !strings.EqualFold(host, vouched) {
		return ci.refuse("publish in a workflow of "+host, "%s vouches for workflows of %s, and the release is from %s", o.Issuer, vouched, host)
	}
	of, ref := said.text("repository"), said.text("ref")
	project := said.text("project_path")
	switch {
	case of != "" && project != "", of == "" && project == "":
		return ci.refuse("use a token of GitHub Actions or GitLab CI", "the token does not say which repository its workflow is of")
	case project != "":
		of = project
		kind := map[string]string{"tag": "refs/tags/", "branch": "refs/heads/"}[said.text("ref_type")]
		if kind == "" {
			kind = "refs/unknown/"
		}
		ref = kind + ref
	}
	commit := said.text("sha")
	switch {
	case !strings.EqualFold(of, want): // the hosts do not tell letter cases of a repository apart
		return ci.refuse(push, "the workflow is of repository %.200q, and the release is of %s", of, want)
	case ref != "refs/tags/"+r.Tag:
		return ci.refuse(push, "the workflow was run for %.200q, and the release is %s", ref, r.Tag)
	case commit != r.Commit:
		return ci.refuse("build and publish in one run of the workflow",
			"the workflow was run for commit %.64q, and the release is of %s", commit, r.Commit)
	}
	return ci.pass("%s vouches for the workflow of %s, run for %s at %.12s", o.Issuer, want, r.Tag, r.Commit)
}

// vouched is the host whose repositories the issuer knows.
func (o Options) vouched() string {
	if o.Host != "" {
		return o.Host
	}
	u, err := url.Parse(o.Issuer)
	if err != nil {
		return ""
	}
	// An enterprise may have an issuer of its own below GitHub's.
	if o.Issuer == GitHubIssuer || strings.HasPrefix(o.Issuer, GitHubIssuer+"/") {
		return "github.com"
	}
	return u.Host
}

// repository takes the host and owner/name from the URL of a repository.
func repository(s string) (host, path string, ok bool) {
	u, err := url.Parse(s)
	if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" || u.User != nil {
		return "", "", false
	}
	path = strings.TrimSuffix(strings.Trim(u.Path, "/"), ".git")
	return u.Host, path, path != ""
}
