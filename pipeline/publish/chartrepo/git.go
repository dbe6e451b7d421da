package chartrepo

import (
	"context"
	"encoding/base64"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/slipway-build/slipway/pipeline/git"
	"github.com/slipway-build/slipway/pipeline/git/branch"
	"github.com/slipway-build/slipway/pipeline/release/fault"
)

// clone is what the branch is at, in a temporary folder.
type clone struct{ branch.Clone }

// open clones the commit that the branch is at.
func open(ctx context.Context, o Options) (*clone, error) {
	dir, err := os.MkdirTemp(o.Dir, "slipway-charts-")
	if err != nil {
		return nil, fault.New(fault.Usage, fmt.Errorf("making a folder to work in: %w", err))
	}
	c := &clone{branch.Clone{
		Dir: filepath.Join(dir, "git"), Remote: o.Remote, Branch: o.Branch, Shallow: true, Author: o.Committer, Email: o.Email,
	}}
	if c.Git, err = git.New(o.environment(dir), dir, branch.Needs); err == nil {
		c.Git.Private, c.Git.Hide = o.credentials, o.hide
		if err = c.Init(ctx); err == nil {
			err = c.Fetch(ctx)
		}
	}
	if err != nil {
		c.close()
		return nil, err
	}
	return c, nil
}

func (c *clone) close() { os.RemoveAll(filepath.Dir(c.Dir)) }

// environment is all that git sees of the machine. No configuration but that of the clone is read, so nothing changes what is
// written. GIT_CONFIG_GLOBAL keeps a HOME that Env may have from being one with a configuration.
func (o Options) environment(home string) []string {
	return append(git.Unattended([]string{
		"PATH=" + o.Path, "HOME=" + home, "GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL=" + os.DevNull,
	}), o.Env...)
}

// credentials give the token to one child process, as a header for the URL of the remote alone. In its environment nobody
// sees it who could not read this process's, while everybody on the machine sees arguments. A credential helper or
// GIT_ASKPASS would be a program on disk that has to be written, found and trusted, and that git asks only after the remote has
// refused it once. The header is not sent where the remote redirects to.
func (o Options) credentials() []git.Setting {
	if o.token() == "" || !strings.HasPrefix(o.Remote, "http") {
		return nil
	}
	return []git.Setting{
		{Key: "http." + o.Remote + ".extraHeader", Value: "Authorization: Basic " + o.basic()},
		{Key: "http.followRedirects", Value: "false"},
	}
}

func (o Options) token() string {
	if o.Token == nil {
		return ""
	}
	return o.Token()
}

func (o Options) basic() string {
	return base64.StdEncoding.EncodeToString([]byte("x-access-token:" + o.token()))
}

// hide takes the token out of what git says, in case it says it.
func (o Options) hide(said string) string {
	if o.token() == "" {
		return said
	}
	return strings.NewReplacer(o.token(), "...", o.basic(), "...").Replace(said)
}
