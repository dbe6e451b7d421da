package scaffold

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
)

// Write tells a person what was written, what was left, what to look at and what to run next.
func (r Result) Write(w io.Writer) error {
	var b strings.Builder
	for _, f := range r.Files {
		if f.Skipped != "" {
			fmt.Fprintf(&b, "left %s: %s\n", f.Path, f.Skipped)
		} else {
			fmt.Fprintf(&b, "wrote %s\n", f.Path)
		}
	}
	for _, n := range r.Notes {
		fmt.Fprintf(&b, "note: %s\n", n)
	}
	if len(r.Next) > 0 {
		b.WriteString("next:\n")
	}
	for _, n := range r.Next {
		fmt.Fprintf(&b, "  %s\n", n)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// Remote is the address of the repository's origin, empty where there is none to be had.
func Remote(ctx context.Context, dir string) string {
	cmd := exec.CommandContext(ctx, "git", "config", "--get", "remote.origin.url")
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GIT_TERMINAL_PROMPT=0")
	out, err := cmd.Output()
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(out))
}
