// Package gocommand says what the Go command may see of an environment, and asks it for the user's settings. Whoever runs the
// pipeline has tokens and keys in the environment, and a home full of them. Fetching a module may take some of these; a compiler
// and a test take none, and what they run is other people's code. It ends a program together with what it started, too.
package gocommand

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
)

// system are the variables of the environment that the Go command always sees, with the reason. None of them reaches a binary.
var system = []string{
	"PATH",
	"HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy", // the way out of this network
	"SSL_CERT_FILE", "SSL_CERT_DIR", "GIT_SSL_CAINFO",
	"TMPDIR", "TMP", "TEMP", // where there is room
	"SYSTEMROOT", "PATHEXT", // Windows cannot start a program without them
	"GOMAXPROCS",
}

// home are where the user's settings lie, and with them credentials: .netrc, .ssh, .config/gh, .docker.
var home = []string{"HOME", "USERPROFILE", "APPDATA", "LOCALAPPDATA", "XDG_CONFIG_HOME"}

// credentials lead to what opens a private proxy or repository.
var credentials = []string{"NETRC", "SSH_AUTH_SOCK", "GIT_SSH_COMMAND", "GIT_ASKPASS", "SSH_ASKPASS"}

// Modules is how modules are fetched: by the settings of the person who runs the pipeline, since they name private proxies and
// repositories. What is fetched is held to go.sum, so none of this changes a byte.
var Modules = []string{"GOPROXY", "GONOPROXY", "GOPRIVATE", "GOSUMDB", "GONOSUMDB", "GOINSECURE", "GOAUTH"}

// places are where the user's Go command finds its settings, keeps what it made and writes what is temporary.
var places = []string{"GOENV", "GOPATH", "GOMODCACHE", "GOCACHE", "GOTMPDIR", "XDG_CACHE_HOME"}

// Environ is what a compile and a test see of an environment: no home but that of Home, and no proxy that has a password.
func Environ(environ []string) []string {
	return slices.DeleteFunc(Only(environ, system), func(kv string) bool {
		name, value, _ := strings.Cut(kv, "=")
		return strings.HasSuffix(strings.ToUpper(name), "_PROXY") && IsSecret(name, value)
	})
}

// Home is the environment of an empty home in dir, to go with Environ: programs that want one do without what lies in the user's.
func Home(dir string) []string {
	return []string{
		"HOME=" + dir, "GOPATH=" + filepath.Join(dir, "go"),
		"USERPROFILE=" + dir, "APPDATA=" + filepath.Join(dir, "AppData", "Roaming"), "LOCALAPPDATA=" + filepath.Join(dir, "AppData", "Local"),
	}
}

// IsSecret reports whether a setting of Modules, or the address of a proxy, can be a password or leads to one.
func IsSecret(name, value string) bool { return name == "GOAUTH" || strings.Contains(value, "@") }

// OfUser is what the Go command sees where it reads the user's settings.
func OfUser(environ []string) []string {
	return append(Only(environ, system, home, Modules, places), "GOTOOLCHAIN=local", "GOWORK=off", "GOFLAGS=")
}

// Fetching is what the Go command sees where it fetches modules, and with it git. It runs nothing that it has fetched.
func Fetching(environ []string) []string {
	return append(Only(environ, credentials), OfUser(environ)...)
}

// Runtime is what the client of a container runtime sees, whose server may be reached by SSH.
func Runtime(environ []string) []string {
	return Only(environ, system, home, []string{
		"SSH_AUTH_SOCK", "DOCKER_HOST", "DOCKER_CONTEXT", "DOCKER_CONFIG", "DOCKER_CERT_PATH", "DOCKER_TLS_VERIFY", "CONTAINER_HOST", "CONTAINERD_ADDRESS", "XDG_RUNTIME_DIR",
	})
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
