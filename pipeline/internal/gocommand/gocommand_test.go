package gocommand_test

import (
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/slipway-build/slipway/pipeline/internal/gocommand"
)

func TestEnviron(t *testing.T) {
	environ := []string{
		"PATH=/bin", "HOME=/home/u", "GOPROXY=https://proxy.example", "GOFLAGS=-mod=mod", "GOCACHE=/c", "DOCKER_HOST=unix:///d",
		"GITHUB_TOKEN=t", "SLIPWAY_KEY=k", "AWS_SECRET_ACCESS_KEY=s", "SLIPWAY_REGISTRY_DOCKER_IO=u:p", "path=x", "PATHS=x", "DOCKER_PASSWORD=p",
	}
	for _, c := range []struct {
		name      string
		got, want []string
	}{
		{"compile", gocommand.Environ(environ), []string{"PATH=/bin", "HOME=/home/u"}},
		{"user", gocommand.OfUser(environ), []string{
			"PATH=/bin", "HOME=/home/u", "GOPROXY=https://proxy.example", "GOCACHE=/c", "GOTOOLCHAIN=local", "GOWORK=off", "GOFLAGS=",
		}},
		{"runtime", gocommand.Runtime(environ), []string{"PATH=/bin", "HOME=/home/u", "DOCKER_HOST=unix:///d"}},
	} {
		if !slices.Equal(c.got, c.want) {
			t.Errorf("%s sees %q and not %q", c.name, c.got, c.want)
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
