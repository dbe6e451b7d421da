package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"github.com/slipway-build/slipway/pipeline/internal/words"
	"github.com/slipway-build/slipway/pipeline/platform"
	"github.com/slipway-build/slipway/pipeline/platform/resolve"
	"github.com/slipway-build/slipway/pipeline/present/cmdline"
	"github.com/slipway-build/slipway/pipeline/release/fault"
)

// platformChoices are the flags of the commands about a platform.
type platformChoices struct {
	file    string // platform.yaml
	channel string
	pass    []string
	root    string // file with the keys of Sigstore's services
}

func (a *app) platformCommand() *cobra.Command {
	var c platformChoices
	cmd := &cobra.Command{
		Use:   "platform",
		Short: "Choose what a platform of several repositories consists of",
		Long: `A platform is components of several repositories under one version. platform.yaml names them: where their source and their
releases are, which versions may be taken, who signs them, and what each of them needs. Three channels take other commits by the
same definition: dev the head of each branch, staging the highest tag that is allowed, stable the tag that is pinned.`,
		Example: "  go run ./ci platform lock\n  go run ./ci platform plan",
		Args:    noArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	flags := cmd.PersistentFlags()
	flags.StringVar(&c.file, "platform", "", "`file` that says what the platform is, with its locks beside it (default platform.yaml here or above)")
	c.channel = string(platform.Stable)
	var channels []string
	for _, ch := range platform.Channels {
		channels = append(channels, string(ch))
	}
	cmdline.Choice(cmd, &c.channel, "channel", channels, "what is taken of each component: dev, staging or stable")
	flags.StringSliceVar(&c.pass, "pass", nil, "`names` of variables that a credential helper of git reads")
	flags.StringVar(&c.root, "trusted-root", "", "`file` with the keys of Sigstore's services, for components that a workflow signs")
	cmd.AddCommand(a.platformLockCommand(&c), a.platformPlanCommand(&c), a.platformBuildCommand(&c), a.platformCheckCommand(&c),
		a.platformReleaseCommand(&c), a.platformStatusCommand(&c), a.platformLifecycleCommand(&c), a.platformWithdrawCommand(&c))
	return cmd
}

// lockFile is where the lock of a channel is. That of stable is committed. Those of dev and staging are not: they change with every commit
// of a component, and platform lock writes them again before each use.
func (c platformChoices) lockFile() string {
	name := platform.LockFileName
	if c.channel != string(platform.Stable) {
		name = "platform." + c.channel + ".lock"
	}
	return filepath.Join(filepath.Dir(c.file), name)
}

// platformFile is the platform.yaml here or above, as far as the repository goes: go run -C ci runs in a folder of it.
func platformFile() string {
	for dir := ""; strings.Count(dir, "..") < 32; dir = filepath.Join(dir, "..") {
		name := filepath.Join(dir, platform.FileName)
		if _, err := os.Stat(name); err == nil {
			return name
		}
		if _, err := os.Stat(filepath.Join(dir, ".git")); err == nil {
			break
		}
	}
	return platform.FileName
}

// open reads platform.yaml and the lock beside it, which may be missing.
func (c *platformChoices) open(a *app) (resolve.Options, error) {
	if c.file == "" {
		c.file = platformFile()
	}
	o := resolve.Options{Channel: platform.Channel(c.channel), Dir: filepath.Dir(c.file), Environ: a.environ, Pass: c.pass, Root: c.root}
	err := regular(c.file)
	if errors.Is(err, os.ErrNotExist) {
		return o, fault.Errorf(fault.Usage, "%w; run this in the repository of a platform, or name its file with --platform", err)
	}
	var b []byte
	if err == nil {
		b, err = readConfiguration(c.file)
	}
	if err != nil {
		return o, err
	}
	if o.Platform, err = platform.Parse(c.file, b); err != nil {
		return o, err
	}
	if o.Before, err = readPlatformLock(c.lockFile()); err != nil {
		return o, err
	}
	if is := o.Before.Channel; is != "" && is != o.Channel {
		return o, fault.Errorf(fault.Usage, "%s is the lock of channel %s; remove it", c.lockFile(), is)
	}
	if o.Channel != platform.Stable { // the bases are those of the lock that is committed, which all channels have in common
		var committed platform.Lock
		committed, err = readPlatformLock(filepath.Join(o.Dir, platform.LockFileName))
		o.Before.Bases = committed.Bases
	}
	return o, err
}

// readPlatformLock is the lock in a file; an empty one where there is no such file.
func readPlatformLock(name string) (platform.Lock, error) {
	if err := regular(name); err != nil {
		if errors.Is(err, os.ErrNotExist) {
			err = nil
		}
		return platform.Lock{}, err
	}
	b, err := readConfiguration(name)
	if err != nil {
		return platform.Lock{}, err
	}
	return platform.ParseLock(name, b)
}

func (a *app) platformLockCommand(c *platformChoices) *cobra.Command {
	var check, keep bool
	cmd := &cobra.Command{
		Use:   "lock [COMPONENT]...",
		Short: "Choose a commit and a release of each component",
		Long: `Lock asks each repository for its refs, takes what the channel says, finds the release of that, and verifies its manifest with
the signer that platform.yaml names. It prints what changed and writes platform.lock, or platform.CHANNEL.lock for dev and staging,
whose locks need not be committed. Arguments narrow it to some components; the others stay as they were. A tag that has moved, a
release of another commit and versions that do not go together are errors, and nothing is written.`,
		Example: "  go run ./ci platform lock\n  go run ./ci platform lock gateway\n  go run ./ci platform lock --channel staging",
		RunE: func(cmd *cobra.Command, args []string) error {
			o, err := c.open(a)
			if err != nil {
				return err
			}
			var mu sync.Mutex
			o.Only, o.Keep = args, keep
			o.Kept = func(name string, err error) {
				mu.Lock()
				defer mu.Unlock()
				fmt.Fprintf(a.stderr, "%s stays %s: %s\n", name, o.Before.Components[name].Called(), words.Line(err.Error()))
			}
			l, err := resolve.Lock(cmd.Context(), o)
			if err != nil {
				return err
			}
			changes := platform.Diff(o.Before, l)
			for _, change := range changes {
				fmt.Fprintln(a.stdout, words.Line(change))
			}
			if check {
				if len(changes) > 0 {
					return fault.Errorf(fault.Mismatch, "%s differs from what is there now in %s; run platform lock to take it", c.lockFile(), count(len(changes), "component", "components"))
				}
				return nil
			}
			return fault.New(fault.Usage, writeLock(c.lockFile(), l.Encode()))
		},
	}
	cmd.Flags().BoolVar(&check, "check", false, "write nothing; fail where the lock differs from what is there now")
	cmd.Flags().BoolVar(&keep, "keep", false, "leave a component as it was locked where its repository or its releases cannot be reached")
	return cmd
}

// planned is a component in a plan of a platform.
type planned struct {
	Component string   `json:"component"`
	Version   string   `json:"version,omitempty"`
	Tag       string   `json:"tag,omitempty"`
	Commit    string   `json:"commit"`
	Manifest  string   `json:"manifest,omitempty"` // of its release, where there is one
	Needs     []string `json:"needs,omitempty"`
}

func (a *app) platformPlanCommand(c *platformChoices) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "plan",
		Short: "Show which components are published, in the order of what they need",
		Long: `Plan shows the components that are locked, each behind all that it needs. For one that had no release when it was locked it
looks again; it writes nothing.`,
		Example: "  go run ./ci platform plan\n  go run ./ci platform plan --channel dev --json",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			o, err := c.open(a)
			if err == nil {
				err = c.locked(o)
			}
			if err != nil {
				return err
			}
			all, err := plannedOf(cmd.Context(), o)
			if err != nil {
				return err
			}
			if asJSON {
				enc := json.NewEncoder(a.stdout)
				enc.SetIndent("", "  ")
				return enc.Encode(all)
			}
			width := 0
			for _, p := range all {
				width = max(width, len(p.Component))
			}
			for _, p := range all {
				called, state := platform.Chosen{Version: p.Version, Commit: p.Commit}.Called(), "missing: nothing is published for it yet"
				if p.Manifest != "" {
					state = "published " + p.Manifest
				}
				after := ""
				if len(p.Needs) > 0 {
					after = ", after " + strings.Join(p.Needs, ", ")
				}
				fmt.Fprintf(a.stdout, "%-*s  %s  %s%s\n", width, p.Component, words.Line(called), state, after)
			}
			return nil
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print the plan as JSON")
	return cmd
}

// plannedOf looks at the components that are locked.
func plannedOf(ctx context.Context, o resolve.Options) ([]planned, error) {
	order, err := o.Platform.Order()
	if err != nil {
		return nil, fault.New(fault.Usage, err)
	}
	all := make([]planned, len(order))
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(8)
	look := resolve.Looker(ctx, o)
	for i, name := range order {
		locked := o.Before.Components[name]
		g.Go(func() error {
			is, err := look(name, locked)
			if err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
			p := planned{Component: name, Version: is.Version, Tag: is.Tag, Commit: is.Commit, Manifest: string(is.Manifest)}
			for _, before := range order[:i] {
				if _, ok := o.Platform.Components[name].Needs[before]; ok {
					p.Needs = append(p.Needs, before)
				}
			}
			all[i] = p
			return nil
		})
	}
	return all, g.Wait()
}
