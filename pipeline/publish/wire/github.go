package wire

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/slipway-build/slipway/pipeline/internal/github"
	"github.com/slipway-build/slipway/pipeline/release/fault"
)

// GitHub returns a client of the API of GitHub whose requests the transport makes, and whose errors have exit codes. It
// reads answers of at most limit bytes. An API at a place that no token is to be shown to is a Usage error.
func (t *Transport) GitHub(api, uploads string, limit int64) (*github.Client, error) {
	c, err := github.New(github.Options{HTTP: patient{t.Client()}, API: api, Uploads: uploads, MaxAnswer: limit, Expect: Expect, Fault: Fault})
	return c, fault.New(fault.Usage, err)
}

// patient makes requests whose caller tells itself what an answer says that asks for a longer wait than is right.
type patient struct{ *http.Client }

func (p patient) Do(req *http.Request) (*http.Response, error) {
	return p.Client.Do(req.WithContext(context.WithValue(req.Context(), patientKey{}, true)))
}

type patientKey struct{}

// Refusal is what a remote said where it refused, in lower case; "" where it did not.
func Refusal(err error) string {
	if e, ok := errors.AsType[*StatusError](err); ok {
		return strings.ToLower(e.Message)
	}
	return ""
}

// GitHubRepository asks what a repository on GitHub is. Absent is the exit code where there is none, or the token does not see it.
func GitHubRepository(ctx context.Context, c *github.Client, r github.Repo, absent fault.Code) (github.Repository, error) {
	out, err := c.Repository(ctx, r)
	switch {
	case StatusOf(err) == http.StatusNotFound:
		return out, fault.Errorf(absent, "there is no repository %s, or the token may not see it: %w", r, err)
	case err != nil:
		return out, fmt.Errorf("asking for %s: %w", r, err)
	case out.FullName != "" && !r.Is(out.FullName):
		return out, fault.Errorf(fault.Usage, "%s is called %.200q now; write that", r, out.FullName)
	}
	return out, nil
}
