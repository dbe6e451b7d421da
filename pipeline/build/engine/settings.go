package engine

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
)

// ModuleEnv is how modules are fetched: by the settings of the person who runs the pipeline, since they name private
// proxies and repositories. What is fetched is held to go.sum, so none of this changes a binary.
var ModuleEnv = []string{"GOPROXY", "GONOPROXY", "GOPRIVATE", "GOSUMDB", "GONOSUMDB", "GOINSECURE", "GOAUTH"}

// Settings asks the Go command for the user's settings of modules and caches.
func Settings(ctx context.Context, goCommand string, environ []string) (map[string]string, error) {
	args := append([]string{"env", "-json", "GOCACHE", "GOMODCACHE"}, ModuleEnv...)
	cmd := exec.CommandContext(ctx, goCommand, args...)
	cmd.Dir = os.TempDir()
	cmd.Env = append(slices.Clone(environ), "GOTOOLCHAIN=local", "GOWORK=off")
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("asking Go for its settings: %w", withStderr(err))
	}
	settings := map[string]string{}
	if err := json.Unmarshal(out, &settings); err != nil {
		return nil, fmt.Errorf("asking Go for its settings: %w", err)
	}
	return settings, nil
}

func withStderr(err error) error {
	var exit *exec.ExitError
	if errors.As(err, &exit) && len(exit.Stderr) > 0 {
		return fmt.Errorf("%w: %s", err, bytes.TrimSpace(exit.Stderr))
	}
	return err
}
