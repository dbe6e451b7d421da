package git

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/slipway-build/slipway/pipeline/release/fault"
)

// programs are the keys of a repository's configuration by which a command that is used here, or Git LFS below it, would start a
// program, with a value that starts none, or the usual one. Hooks and the file system monitor are off for all.
var programs = []struct {
	key     *regexp.Regexp
	instead string
}{
	{regexp.MustCompile(`^filter\..*\.(?:clean|smudge|process)$`), ""},
	{regexp.MustCompile(`^filter\..*\.required$`), "false"},
	// What git itself does with text. A driver that does nothing would have changed nothing, which git takes for a merge.
	{regexp.MustCompile(`^merge\..*\.driver$`), "git merge-file --quiet --marker-size=%L %A %O %B"},
	{regexp.MustCompile(`^lfs\.(?:extension\..*\.(?:clean|smudge)|customtransfer\..*\.(?:path|args)|standalonetransferagent|.*\.standalonetransferagent)$`), ""},
	// A clone that is partial fetches what it lacks when it is read.
	{regexp.MustCompile(`^core\.sshcommand$`), "ssh"},
	{regexp.MustCompile(`^core\.(?:askpass|alternaterefscommand)$|^credential\.(?:.*\.)?helper$`), ""},
}

// first are the keys of which git takes the first value, the repository's, so that a later one sets none aside. Where they are,
// nothing is fetched.
var first = regexp.MustCompile(`^remote\..*\.(?:uploadpack|vcs)$|^core\.gitproxy$`)

// known are the filters that a project may need, with the values that their own installation writes into a repository. The program
// that they name is the one that is in PATH.
var known = map[string][]string{
	// git lfs install --local
	"lfs": {"git-lfs clean -- %f", "git-lfs smudge -- %f", "git-lfs smudge --skip -- %f", "git-lfs filter-process", "git-lfs filter-process --skip"},
}

// Distrust is git for the repository that it is in, without the programs that the repository's own configuration names, in
// files that it includes too: whoever made a clone decides what is in its configuration, and reading a repository is not
// consent to run that. A person's own configuration is obeyed, and so is a filter of Filters, as it installs itself.
//
// A filter that is left out this way makes files that it changes look changed; see Aside.
func (g Git) Distrust(ctx context.Context) (Git, error) {
	own, err := g.own(ctx, "--local")
	if err != nil {
		return Git{}, err
	}
	if more, err := g.hasWorktreeConfig(ctx, own); err != nil {
		return Git{}, err
	} else if more {
		settings, err := g.own(ctx, "--worktree")
		if err != nil {
			return Git{}, err
		}
		own = append(own, settings...)
	}
	for _, s := range own {
		if first.MatchString(s.Key) {
			g.Protocols = "none"
		}
		for _, p := range programs {
			if !p.key.MatchString(s.Key) || g.allows(own, s.Key) {
				continue
			}
			if strings.ContainsAny(s.Key, "=\n") {
				return Git{}, fault.Errorf(fault.Git, "the repository's configuration names a program with the key %.80q, which cannot be set aside: remove it", s.Key)
			}
			g = g.Set(s.Key + "=" + p.instead)
			g.aside = append(slices.Clip(g.aside), s.Key)
		}
	}
	return g, nil
}

// Aside are the keys of the filters that Distrust has set aside.
func (g Git) Aside() []string {
	return slices.DeleteFunc(slices.Clone(g.aside), func(key string) bool {
		return !strings.HasPrefix(key, "filter.") || strings.HasSuffix(key, ".required")
	})
}

// allows reports whether the key is of a filter of Filters, and all that the repository says of that is what its installation writes.
func (g Git) allows(own []Setting, key string) bool {
	return slices.ContainsFunc(g.Filters, func(name string) bool {
		filter := "filter." + name + "."
		return strings.HasPrefix(key, filter) && !slices.ContainsFunc(own, func(s Setting) bool {
			return strings.HasPrefix(s.Key, filter) && s.Key != filter+"required" && !slices.Contains(known[name], s.Value)
		})
	})
}

// hasWorktreeConfig reports whether git reads a file with the configuration of this work tree alone. The extension says that there
// may be one (https://git-scm.com/docs/git-worktree#_configuration_file), in any of the words that git takes for true.
func (g Git) hasWorktreeConfig(ctx context.Context, own []Setting) (bool, error) {
	const key = "extensions.worktreeconfig"
	if !slices.ContainsFunc(own, func(s Setting) bool { return s.Key == key }) {
		return false, nil // and no file that is included counts for extensions
	}
	out, err := g.Run(ctx, nil, "config", "--local", "--no-includes", "--type=bool", "--get", key)
	if No(err) {
		return false, nil
	}
	if err != nil || strings.TrimSpace(string(out)) != "true" {
		return false, err
	}
	if out, err = g.Run(ctx, nil, "rev-parse", "--git-path", "config.worktree"); err != nil {
		return false, err
	}
	name := filepath.FromSlash(strings.TrimSuffix(string(out), "\n"))
	if !filepath.IsAbs(name) {
		name = filepath.Join(g.Dir, name)
	}
	_, err = os.Stat(name)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return true, nil // git says what keeps it from reading it
}

// own is what the repository's own configuration says, without what the machine's and the person's do. Git writes the names of
// sections and keys in lower case.
func (g Git) own(ctx context.Context, which string) ([]Setting, error) {
	out, err := g.Run(ctx, nil, "config", which, "--includes", "--list", "-z")
	if err != nil {
		return nil, err
	}
	var all []Setting
	for entry := range strings.SplitSeq(string(out), "\x00") {
		if key, value, _ := strings.Cut(entry, "\n"); key != "" {
			all = append(all, Setting{key, value})
		}
	}
	return all, nil
}
