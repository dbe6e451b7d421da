package scaffold

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/slipway-build/slipway/pipeline/git"
	"github.com/slipway-build/slipway/pipeline/internal/words"
)

// Write tells a person what was written, what was left, what to look at and what to run next.
func (r Result) Write(w io.Writer) error {
	var b strings.Builder
	for _, f := range r.Files {
		if f.Skipped != "" {
			fmt.Fprintf(&b, "left %s: %s\n", words.Line(f.Path), words.Line(f.Skipped))
		} else {
			fmt.Fprintf(&b, "wrote %s\n", words.Line(f.Path))
		}
	}
	for _, n := range r.Notes {
		fmt.Fprintf(&b, "note: %s\n", words.Line(n))
	}
	if len(r.Next) > 0 {
		b.WriteString("next:\n")
	}
	for _, n := range r.Next {
		fmt.Fprintf(&b, "  %s\n", words.Line(n))
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// Remote is the address of the repository's origin, empty where there is none to be had.
func Remote(ctx context.Context, dir string) string {
	g, err := git.New(git.Local(os.Environ()), dir, git.Version{})
	if err != nil {
		return ""
	}
	out, err := g.Run(ctx, nil, "config", "--get", "remote.origin.url")
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(out))
}
