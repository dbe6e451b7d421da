package gocommand_test

import (
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/slipway-build/slipway/pipeline/internal/gocommand"
)

func TestEnviron(t *testing.T) {
	environ := []string{
		"PATH=/bin", "HOME=/home/u", "GOPROXY=https://proxy.example", "GOFLAGS=-mod=mod", "GOCACHE=/c", "DOCKER_HOST=unix:///d",
		"GITHUB_TOKEN=t", "SLIPWAY_KEY=k", "AWS_SECRET_ACCESS_KEY=s", "SLIPWAY_REGISTRY_DOCKER_IO=u:p", "path=x", "PATHS=x", "DOCKER_PASSWORD=p",
		"NETRC=/n", "SSH_AUTH_SOCK=/a", "GIT_ASKPASS=/g", "SSH_ASKPASS=/s", "http_proxy=http://u:p@proxy.example", "HTTPS_PROXY=http://proxy.example",
	}
	const proxies = "http_proxy=http://u:p@proxy.example HTTPS_PROXY=http://proxy.example"
	const user = "PATH=/bin HOME=/home/u GOPROXY=https://proxy.example GOCACHE=/c " + proxies + " GOTOOLCHAIN=local GOWORK=off GOFLAGS="
	for name, c := range map[string]struct {
		got  []string
		want string
	}{
		"compile": {gocommand.Environ(environ), "PATH=/bin HTTPS_PROXY=http://proxy.example"},
		"user":    {gocommand.OfUser(environ), user},
		"fetch":   {gocommand.Fetching(environ), "NETRC=/n SSH_AUTH_SOCK=/a GIT_ASKPASS=/g SSH_ASKPASS=/s " + user},
		"runtime": {gocommand.Runtime(environ), "PATH=/bin HOME=/home/u DOCKER_HOST=unix:///d SSH_AUTH_SOCK=/a " + proxies},
	} {
		if got := strings.Join(c.got, " "); got != c.want {
			t.Errorf("%s sees %s and not %s", name, got, c.want)
		}
	}
}

func TestSettings(t *testing.T) {
	goCommand, err := exec.LookPath("go")
	if err != nil {
		t.Skip(err)
	}
	modules := t.TempDir()
	got, err := gocommand.Settings(t.Context(), goCommand, []string{
		"HOME=" + t.TempDir(), "GOMODCACHE=" + modules, "GOPROXY=https://user:word@proxy.example", "GOENV=off", "GOCACHE=" + filepath.Join(modules, "c"),
	})
	if err != nil {
		t.Fatal(err)
	}
	if got["GOMODCACHE"] != modules || got["GOPROXY"] != "https://user:word@proxy.example" {
		t.Errorf("%q", got)
	}
	_, err = gocommand.Settings(t.Context(), "git", nil)
	if err == nil || !strings.Contains(err.Error(), "'env' is not a git command") {
		t.Errorf("of another command: %v", err)
	}
}
