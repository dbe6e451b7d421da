// Package gocommand says what the Go command may see of an environment, and asks it for the user's settings. Whoever runs the
// pipeline has tokens and keys in the environment; what the Go command starts, which is compilers, tests and git, needs none of
// them.
package gocommand

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
)

// system are the variables of the environment that the Go command always sees, with the reason. None of them reaches a binary.
var system = []string{
	"PATH",                                            // git, for modules outside of a proxy
	"HOME", "USERPROFILE", "NETRC", "XDG_CONFIG_HOME", // credentials for private modules
	"SSH_AUTH_SOCK", "GIT_SSH_COMMAND", "GIT_ASKPASS",
	"HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy", // the way out of this network
	"SSL_CERT_FILE", "SSL_CERT_DIR", "GIT_SSL_CAINFO",
	"TMPDIR", "TMP", "TEMP", // where there is room
	"SYSTEMROOT", "APPDATA", "LOCALAPPDATA", "PATHEXT", // Windows cannot start a program without them
	"GOMAXPROCS",
}

// Modules is how modules are fetched: by the settings of the person who runs the pipeline, since they name private proxies and
// repositories. What is fetched is held to go.sum, so none of this changes a byte.
var Modules = []string{"GOPROXY", "GONOPROXY", "GOPRIVATE", "GOSUMDB", "GONOSUMDB", "GOINSECURE", "GOAUTH"}

// places are where the user's Go command finds its settings, keeps what it made and writes what is temporary.
var places = []string{"GOENV", "GOPATH", "GOMODCACHE", "GOCACHE", "GOTMPDIR", "XDG_CACHE_HOME"}

// Environ is what a compile, a test and a step that generates code see of an environment.
func Environ(environ []string) []string { return Only(environ, system) }

// OfUser is what the Go command sees where it reads the user's settings or fetches what the user may have.
func OfUser(environ []string) []string {
	return append(Only(environ, system, Modules, places), "GOTOOLCHAIN=local", "GOWORK=off", "GOFLAGS=")
}

// Runtime is what the client of a container runtime sees where it is asked whether its server answers.
func Runtime(environ []string) []string {
	return Only(environ, system, []string{"DOCKER_HOST", "DOCKER_CONTEXT", "DOCKER_CONFIG", "DOCKER_CERT_PATH", "DOCKER_TLS_VERIFY", "CONTAINER_HOST", "CONTAINERD_ADDRESS", "XDG_RUNTIME_DIR"})
}

// Only is what an environment has of the variables with these names, which on Windows have no letter case.
func Only(environ []string, names ...[]string) []string {
	allowed := slices.Concat(names...)
	var out []string
	for _, kv := range environ {
		name, _, _ := strings.Cut(kv, "=")
		if slices.ContainsFunc(allowed, func(n string) bool { return n == name || runtime.GOOS == "windows" && strings.EqualFold(n, name) }) {
			out = append(out, kv)
		}
	}
	return out
}

// Settings asks the Go command for the user's GOCACHE, GOMODCACHE and settings of Modules.
func Settings(ctx context.Context, goCommand string, environ []string) (map[string]string, error) {
	cmd := exec.CommandContext(ctx, goCommand, append([]string{"env", "-json", "GOCACHE", "GOMODCACHE"}, Modules...)...)
	cmd.Dir, cmd.Env = os.TempDir(), OfUser(environ)
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("asking Go for its settings: %w", Said(err))
	}
	settings := map[string]string{}
	if err := json.Unmarshal(out, &settings); err != nil {
		return nil, fmt.Errorf("asking Go for its settings: %w", err)
	}
	return settings, nil
}

// Said is the error of a command with what the command printed on standard error.
func Said(err error) error {
	var exit *exec.ExitError
	if errors.As(err, &exit) && len(exit.Stderr) > 0 {
		return fmt.Errorf("%w: %s", err, bytes.TrimSpace(exit.Stderr))
	}
	return err
}
