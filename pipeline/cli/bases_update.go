package cli

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/slipway-build/slipway/pipeline/build/bake"
	"github.com/slipway-build/slipway/pipeline/build/oci"
	"github.com/slipway-build/slipway/pipeline/config"
	"github.com/slipway-build/slipway/pipeline/environment/pull"
	"github.com/slipway-build/slipway/pipeline/internal/words"
	"github.com/slipway-build/slipway/pipeline/platform"
	"github.com/slipway-build/slipway/pipeline/platform/proposal"
	"github.com/slipway-build/slipway/pipeline/platform/resolve"
	"github.com/slipway-build/slipway/pipeline/release/artifact"
	"github.com/slipway-build/slipway/pipeline/release/fault"
)

func (a *app) basesUpdateCommand(c *basesChoices) *cobra.Command {
	var patches string
	cmd := &cobra.Command{
		Use:   "update [BASE]...",
		Short: "Bring base images to the components that stand on them",
		Long: `Update bakes, with --version, and then proposes what is pinned to each component whose slipway.yaml names another tag of the same
repository: a branch of one commit that changes the lines of the base in slipway.yaml and slipway.lock and says which packages are others.
With --push it is pushed, and a pull request opened where the host is known; with --patch it is written to a folder. A branch that is there
already stays as it is.`,
		Example: "  go run ./ci bases update --version 2.1.5 --push\n  go run ./ci bases update --patch patches",
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx, push := cmd.Context(), c.push
			if push == (patches != "") {
				return fault.Errorf(fault.Usage, "say --push, or name with --patch a folder")
			}
			if c.version != "" {
				c.push = true
				if err := c.bake(ctx, a, args); err != nil {
					return err
				}
			}
			o, err := c.open(a)
			if err != nil {
				return err
			}
			names, err := c.pinned(o, args)
			if err != nil {
				return err
			}
			return a.updateComponents(ctx, o, names, patches)
		},
	}
	flags := cmd.Flags()
	flags.BoolVar(&c.push, "push", false, "push the branches, and open pull requests")
	flags.StringVar(&patches, "patch", "", "`folder` that a patch for each component is written to, in place of a push")
	flags.StringSliceVar(&c.pass, "pass", nil, "`names` of variables that a credential helper of git reads")
	c.bakeFlags(cmd)
	return cmd
}

// updateComponents proposes the bases to all components. A component that cannot be reached is named, and the others go on.
func (a *app) updateComponents(ctx context.Context, o resolve.Options, names []string, patches string) error {
	dir, done, err := a.work(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = done() }()
	var errs []error
	for _, component := range o.Platform.Names() {
		work := filepath.Join(dir, component)
		err := os.Mkdir(work, 0o755)
		if err == nil {
			err = a.updateComponent(ctx, o, component, names, work, patches)
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", component, err))
		}
	}
	return errors.Join(errs...)
}

func (a *app) updateComponent(ctx context.Context, o resolve.Options, component string, names []string, work, patches string) error {
	is := o.Platform.Components[component]
	store, err := a.store(config.Config{})
	if err != nil {
		return err
	}
	var tags []string
	for _, name := range names {
		tags = append(tags, o.Before.Bases[name].Image[strings.LastIndexByte(o.Before.Bases[name].Image, ':')+1:])
	}
	slices.Sort(tags)
	tag := tags[len(tags)-1]
	remote := o.Remote(is.Repository)
	c := proposal.Change{
		Remote: remote, Onto: is.Branch, Branch: o.Platform.Name + "-bases-" + tag, Title: "bases of " + o.Platform.Name + " " + tag, Environ: a.environ, Pass: o.Pass,
	}
	if is.TagPrefix != "" { // another project of the repository may be a component as well
		c.Branch += "-" + component
	}
	c.Edit = func(read func(string) ([]byte, error)) (map[string][]byte, string, error) {
		folder := strings.TrimSuffix(is.TagPrefix, "/")
		cfg, err := read(path.Join(folder, config.FileName))
		if errors.Is(err, fs.ErrNotExist) && folder != "" {
			folder = ""
			cfg, err = read(config.FileName)
		}
		if errors.Is(err, fs.ErrNotExist) {
			return nil, "", nil
		}
		if err != nil {
			return nil, "", err
		}
		lock, err := read(path.Join(folder, config.LockFileName))
		if err != nil {
			return nil, "", err
		}
		u := update{cfg: cfg, lock: lock}
		for _, name := range names {
			if err := u.take(ctx, name, o.Platform.Bases[name], o.Before.Bases[name], store); err != nil {
				return nil, "", err
			}
		}
		if len(u.body) == 0 {
			return nil, "", nil
		}
		return map[string][]byte{path.Join(folder, config.FileName): u.cfg, path.Join(folder, config.LockFileName): u.lock}, strings.Join(u.body, "\n"), nil
	}
	p, err := proposal.Make(ctx, work, c)
	if err != nil {
		return err
	}
	switch {
	case p.Commit == "":
		fmt.Fprintf(a.stdout, "%s: nothing to do\n", component)
		return nil
	case patches != "":
		patch, err := p.Patch(ctx)
		if err == nil {
			err = os.MkdirAll(patches, 0o755)
		}
		name := filepath.Join(patches, component+".patch")
		if err == nil {
			err = os.WriteFile(name, patch, 0o644)
		}
		if err != nil {
			return fault.New(fault.Usage, err)
		}
		fmt.Fprintf(a.stdout, "%s: %s is for %s\n", component, name, words.Line(p.Onto))
		return nil
	case p.Was:
		fmt.Fprintf(a.stdout, "%s: branch %s is there already\n", component, c.Branch)
		return nil
	}
	r := pull.Request{Branch: c.Branch, Into: p.Onto, Title: c.Title, Body: strings.Join(strings.Fields(strings.ReplaceAll(p.Body, "\n", "; ")), " ")}
	if err := p.Push(ctx, r.Options(remote, c.Branch, p.Onto, a.getenv)...); err != nil {
		return err
	}
	r.Said = p.Said
	page, err := pull.Open(ctx, remote, r, a.getenv)
	fmt.Fprintf(a.stdout, "%s: branch %s is for %s: %s\n", component, c.Branch, words.Line(p.Onto), words.Line(cmp.Or(page, "open a pull request of it")))
	return err
}

// update are the two files of a component while bases are taken.
type update struct {
	cfg, lock []byte
	body      []string
}

// take brings a base into the files, for each distribution that has another tag of it.
func (u *update) take(ctx context.Context, name string, recipe platform.Base, is platform.Baked, store *oci.Store) error {
	cfg, err := config.Parse(config.FileName, u.cfg)
	if err != nil {
		return fault.New(fault.Usage, err)
	}
	lock, err := config.ParseLock(config.LockFileName, u.lock)
	if err != nil {
		return fault.New(fault.Usage, err)
	}
	for _, distro := range slices.Sorted(keys(cfg.Bases)) {
		image, old := cfg.Bases[distro], lock.Bases[distro]
		if !strings.HasPrefix(image, recipe.Image+":") || image == is.Image && old.Digest == is.Digest {
			continue
		}
		u.cfg = replaceImage(u.cfg, image, is.Image)
		again, err := config.Parse(config.FileName, u.cfg)
		if err != nil || again.Bases[distro] != is.Image {
			return fault.Errorf(fault.Usage, "%s: bases.%s: its line cannot be changed in place; write %s there by hand", config.FileName, distro, is.Image)
		}
		platforms := slices.Clone(recipe.Platforms)
		slices.SortFunc(platforms, artifact.Platform.Compare)
		lock.Bases[distro] = config.Base{Image: is.Image, Digest: is.Digest, Platforms: platforms}
		u.lock = lock.Encode()
		u.body = append(u.body, fmt.Sprintf("%s: %s -> %s", name, image, is.Image))
		u.body = append(u.body, packagesOf(ctx, store, old, is, recipe.Platforms)...)
	}
	return nil
}

// replaceImage puts one image in the place of another wherever it stands as a word.
func replaceImage(text []byte, old, is string) []byte {
	var out bytes.Buffer
	for {
		i := bytes.Index(text, []byte(old))
		if i < 0 {
			out.Write(text)
			return out.Bytes()
		}
		end := i + len(old)
		out.Write(text[:i])
		if end < len(text) && !bytes.ContainsRune([]byte(" \t\r\n\"',}"), rune(text[end])) {
			out.WriteString(old) // it goes on: another tag
		} else {
			out.WriteString(is)
		}
		text = text[end:]
	}
}

// packagesOf says which packages differ between two bases, as the records in their registry have them. One without a record is none of ours.
func packagesOf(ctx context.Context, store *oci.Store, old config.Base, is platform.Baked, platforms []artifact.Platform) []string {
	var of [2]map[string][]byte
	for i, b := range []config.Base{old, {Image: is.Image, Digest: is.Digest}} {
		var err error
		if of[i], err = store.Attachments(ctx, b.Image, b.Digest, bake.ArtifactType); err != nil {
			return []string{fmt.Sprintf("  which packages differ is not known: %s: %s", b.Image, words.Line(err.Error()))}
		}
	}
	var out []string
	for _, pl := range platforms {
		lines, err := bake.DifferBills(of[0][bake.BillOf(pl)], of[1][bake.BillOf(pl)])
		if err != nil {
			lines = []string{"which packages differ is not known: " + words.Line(err.Error())}
		}
		if len(lines) == 0 {
			lines = []string{"the same packages"}
		}
		out = append(out, "  "+pl.String()+":")
		for _, line := range lines {
			out = append(out, "    "+line)
		}
	}
	return out
}
