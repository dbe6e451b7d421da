package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/slipway-build/slipway/pipeline/build/bake"
	"github.com/slipway-build/slipway/pipeline/build/engine"
	"github.com/slipway-build/slipway/pipeline/build/engine/dagger"
	"github.com/slipway-build/slipway/pipeline/build/oci"
	"github.com/slipway-build/slipway/pipeline/build/sbom"
	"github.com/slipway-build/slipway/pipeline/config"
	"github.com/slipway-build/slipway/pipeline/internal/filelock"
	"github.com/slipway-build/slipway/pipeline/internal/words"
	"github.com/slipway-build/slipway/pipeline/plan"
	"github.com/slipway-build/slipway/pipeline/platform"
	"github.com/slipway-build/slipway/pipeline/platform/lifecycle"
	"github.com/slipway-build/slipway/pipeline/platform/osv"
	"github.com/slipway-build/slipway/pipeline/platform/resolve"
	"github.com/slipway-build/slipway/pipeline/present/cmdline"
	"github.com/slipway-build/slipway/pipeline/release/artifact"
	"github.com/slipway-build/slipway/pipeline/release/fault"
	"github.com/slipway-build/slipway/pipeline/release/version"
	"github.com/slipway-build/slipway/pipeline/source"
)

// basesChoices are the flags of the commands about base images.
type basesChoices struct {
	platformChoices
	engine, mirror, version string
	lifecycle               string
	push, json, check       bool
}

func (a *app) basesCommand() *cobra.Command {
	c := basesChoices{platformChoices: platformChoices{channel: string(platform.Stable)}, engine: "auto"}
	cmd := &cobra.Command{
		Use:   "bases",
		Short: "Make base images for a platform once, and see what is in them",
		Long: `A base is an upstream image by digest with packages upgraded and added, and files: what bases in platform.yaml says. It is made once,
tested, and pushed with the version of the platform as its tag. platform.lock pins it by digest; what it was made of and what is installed
in it is in bases/NAME, beside platform.yaml, which is committed with the lock.`,
		Example: "  go run ./ci bases bake --version 2.1.4 --push\n  go run ./ci bases list",
		Args:    noArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.PersistentFlags().StringVar(&c.file, "platform", "", "`file` that says what the platform is, with its lock beside it (default platform.yaml here or above)")
	cmd.AddCommand(a.bakeCommand(&c), a.basesTestCommand(&c), a.basesListCommand(&c), a.outdatedCommand(&c), a.basesUpdateCommand(&c), a.cveCommand(&c))
	return cmd
}

func (c *basesChoices) engineFlag(cmd *cobra.Command) {
	cmdline.Choice(cmd, &c.engine, "engine", []string{"auto", "dagger", "host"}, "what runs programs of an image: dagger, or auto, which is dagger where there is one; host cannot")
}

// chosen are the bases that the arguments name, all where there are none.
func (c basesChoices) chosen(p platform.Platform, args []string) ([]string, error) {
	if len(p.Bases) == 0 {
		return nil, fault.Errorf(fault.Usage, "%s has no bases; see docs/bases.md", c.file)
	}
	for _, name := range args {
		if _, ok := p.Bases[name]; !ok {
			return nil, fault.Errorf(fault.Usage, "there is no base %.60q; there is %s", name, strings.Join(p.BaseNames(), ", "))
		}
	}
	if len(args) == 0 {
		return p.BaseNames(), nil
	}
	args = slices.Clone(args)
	slices.Sort(args)
	return slices.Compact(args), nil
}

// baker is the engine that runs programs of images, nil where none can.
func (c basesChoices) baker(ctx context.Context, a *app) (engine.Baker, func() error, error) {
	none := func() error { return nil }
	kind := c.engine
	if kind == "auto" {
		kind, _ = a.autoEngine(ctx)
	}
	if kind == "host" {
		return nil, none, nil
	}
	b, err := dagger.NewBaker(ctx, dagger.Options{Environ: a.environ, Log: io.Discard})
	if err != nil {
		return nil, none, err
	}
	return b, b.Close, nil
}

// printed shows what a step has written that has failed.
func (a *app) printed(err error) error {
	if f := (*engine.Failure)(nil); errors.As(err, &f) {
		fmt.Fprint(a.stderr, f.Printed)
	}
	return err
}

// work is a folder of the cache that nobody else works in, empty but for what was left where a run before this one was killed, which
// is removed. Call done at the end.
func (a *app) work(ctx context.Context) (dir string, done func() error, err error) {
	cache, err := a.cacheDir()
	if err != nil {
		return "", nil, err
	}
	dir = filepath.Join(cache, "bases")
	if err := os.MkdirAll(cache, 0o755); err != nil {
		return "", nil, err
	}
	unlock, err := filelock.Lock(ctx, dir+".lock", 10*time.Minute)
	if err != nil {
		return "", nil, fault.New(fault.Transient, err)
	}
	done = func() error { return errors.Join(os.RemoveAll(dir), unlock()) }
	if err = os.RemoveAll(dir); err == nil {
		err = os.MkdirAll(dir, 0o755)
	}
	if err != nil {
		return "", nil, errors.Join(err, done())
	}
	return dir, done, nil
}

// kitchen is what bases are made and tested with.
type kitchen struct {
	store *oci.Store
	dir   string
	baker engine.Baker
	close func()
}

// kitchen opens all of it. Call close at the end.
func (c basesChoices) kitchen(ctx context.Context, a *app) (k kitchen, err error) {
	if k.store, err = a.store(config.Config{}); err != nil {
		return k, err
	}
	dir, done, err := a.work(ctx)
	if err != nil {
		return k, err
	}
	baker, end, err := c.baker(ctx, a)
	if err != nil {
		_ = done()
		return k, err
	}
	k.dir, k.baker = dir, baker
	k.close = func() {
		_ = end()
		_ = done()
	}
	return k, nil
}

func (a *app) bakeCommand(c *basesChoices) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "bake [BASE]...",
		Short: "Make base images, test them and pin them",
		Long: `Bake has the package manager of each upstream image upgrade and add packages, in the Dagger engine, for each platform; puts the files
into it; writes what has changed as one layer; runs the test; and reads the package database. Where packages and files are as they were
nothing is to do, and the base stays what it is.

Without --push nothing is kept: what would be new is shown. With it the base goes to its registry by digest, with its record and its bills
of materials; then it gets its tag, which must be new; and then platform.lock pins it. Where anything fails, on any
platform, nothing is pushed.`,
		Example: "  go run ./ci bases bake --version 2.1.4\n  go run ./ci bases bake alpine --version 2.1.4 --push",
		RunE:    func(cmd *cobra.Command, args []string) error { return c.bake(cmd.Context(), a, args) },
	}
	cmd.Flags().BoolVar(&c.push, "push", false, "push what is new, and pin it in platform.lock")
	c.bakeFlags(cmd)
	return cmd
}

func (c *basesChoices) bakeFlags(cmd *cobra.Command) {
	cmd.Flags().StringVar(&c.version, "version", "", "`version` of the platform that the bases are made for")
	cmd.Flags().StringVar(&c.mirror, "mirror", "", "`URL` that packages come from, in place of scheme and host of the usual places")
	c.engineFlag(cmd)
}

// committed refuses to make what others are to use of anything but the commit that its record and its bills name.
func committed(ctx context.Context, head source.Source, file, dir string, r bake.Recipe) error {
	as := func(name string, has []byte) error {
		abs, err := filepath.Abs(name)
		if err != nil {
			return err
		}
		if in := inTree(head.Root, abs); in != "" {
			was, err := head.Blob(ctx, in, int64(len(has)))
			if err == nil && was != nil && bytes.Equal(was, has) {
				return nil
			}
		}
		return fault.Errorf(fault.Git, "%s is not as it is in commit %.12s, which the base would be made from; commit it first", name, head.Commit)
	}
	text, err := readConfiguration(file)
	if err == nil {
		err = as(file, text)
	}
	if err == nil && r.Test != "" {
		err = as(filepath.Join(dir, r.Test), []byte(r.Script))
	}
	if err != nil {
		return err
	}
	for _, f := range r.Added {
		var b bytes.Buffer
		if err := f.CopyTo(&b); err != nil {
			return err
		}
		if err := as(filepath.Join(dir, r.Files, f.Name), b.Bytes()); err != nil {
			return err
		}
	}
	return nil
}

// baked is a base of a run.
type baked struct {
	name, dir string // dir has it as an OCI layout
	bake.Result
}

func (c *basesChoices) bake(ctx context.Context, a *app, args []string) error {
	o, err := c.open(a)
	if err != nil {
		return err
	}
	names, err := c.chosen(o.Platform, args)
	if err != nil {
		return err
	}
	v, err := version.Parse(c.version)
	if err != nil || v.String() != c.version || strings.Contains(c.version, "+") {
		return fault.Errorf(fault.Usage, "--version %.80q is not a version such as 2.1.4: name the one that the platform gets next", c.version)
	}
	if err := c.locked(o); err != nil {
		return err
	}
	head, err := source.Find(ctx, o.Dir, "HEAD")
	if err != nil {
		return err
	}
	k, err := c.kitchen(ctx, a)
	if err != nil {
		return err
	}
	defer k.close()
	var all []baked
	for _, name := range names {
		b := baked{name: name, dir: filepath.Join(k.dir, name)}
		recipe, err := bake.Open(o.Dir, name, o.Platform.Bases[name])
		if err != nil {
			return err
		}
		if c.push {
			if err := committed(ctx, head, c.file, o.Dir, recipe); err != nil {
				return err
			}
		}
		// What is not locked was left by a run that was killed, and is as good as it says.
		before, err := bake.ReadKept(filepath.Join(o.Dir, bake.Folder, name), "")
		if err != nil {
			fmt.Fprintf(a.stderr, "%s is baked again, since what was kept of it cannot be used: %s\n", name, words.Line(err.Error()))
		}
		b.Result, err = bake.Make(ctx, bake.Options{
			Recipe: recipe, Tag: c.version, Now: time.Now(), Bases: k.store, Baker: k.baker, Mirror: c.mirror, Dir: b.dir, Before: before,
			Project: sbom.Project{Name: o.Platform.Name, Version: c.version, Commit: head.Commit, Time: head.Time, Tool: "slipway " + toolVersion()},
		})
		if err != nil {
			return a.printed(err)
		}
		if !b.Same {
			a.tellPackages(b, before)
		}
		all = append(all, b)
	}
	lock := o.Before
	if lock.Bases == nil {
		lock.Bases = map[string]platform.Baked{}
	}
	for _, b := range all {
		if err := c.pushBase(ctx, a, o.Dir, lock, b); err != nil {
			return err
		}
	}
	if !c.push {
		return nil
	}
	return fault.New(fault.Usage, writeLock(c.lockFile(), lock.Encode()))
}

// tellPackages says how many packages a base has, and which of them differ from those that it had before, if it was there.
func (a *app) tellPackages(b baked, before *bake.Kept) {
	for _, m := range b.Record.Platforms {
		fmt.Fprintf(a.stdout, "%s: %s for %s\n", b.name, count(m.Packages, "package", "packages"), m.Platform)
		if before == nil {
			continue
		}
		for _, line := range bake.Differ(before.Packages[m.Platform], b.Packages[m.Platform]) {
			fmt.Fprintf(a.stdout, "  %s\n", words.Line(line))
		}
	}
}

// pushBase pushes a base, keeps what is known of it, gives it its tag, and puts it into the lock. A run that was killed between any two of
// these is completed by the same command.
func (c *basesChoices) pushBase(ctx context.Context, a *app, dir string, lock platform.Lock, b baked) error {
	attached, err := b.Attached()
	if err != nil {
		return err
	}
	is := platform.Baked{Image: b.Record.Image, Digest: b.Record.Digest, Record: attached[0].Sum()}
	switch {
	case b.Same && lock.Bases[b.name] == is:
		fmt.Fprintf(a.stdout, "%s: nothing to do, packages and files are those of %s\n", b.name, is.Image)
		return nil
	case !c.push:
		fmt.Fprintf(a.stdout, "%s: made and tested; --push keeps it\n", b.name)
		return nil
	case !b.Same:
		if err := oci.Push(ctx, b.dir, is.Image, is.Digest, bake.ArtifactType, attached, nil); err != nil {
			return err
		}
		if err := b.Keep(filepath.Join(dir, bake.Folder, b.name)); err != nil {
			return fault.New(fault.Usage, err)
		}
	}
	if err := oci.Tag(ctx, is.Image, is.Digest, nil); err != nil {
		return err
	}
	lock.Bases[b.name] = is
	fmt.Fprintf(a.stdout, "%s: %s@%s\n", b.name, is.Image, is.Digest)
	return nil
}

func (a *app) basesTestCommand(c *basesChoices) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "test [BASE]...",
		Short:   "Run the tests of base images again, in what is pinned",
		Long:    "Test takes each base by the digest that is pinned and runs its test, as platform.yaml has it now, on all of its platforms.",
		Example: "  go run ./ci bases test",
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx := cmd.Context()
			o, err := c.open(a)
			if err != nil {
				return err
			}
			names, err := c.pinned(o, args)
			if err != nil {
				return err
			}
			k, err := c.kitchen(ctx, a)
			if err != nil {
				return err
			}
			defer k.close()
			for _, name := range names {
				recipe, err := bake.Open(o.Dir, name, o.Platform.Bases[name])
				if err != nil {
					return err
				}
				is := o.Before.Bases[name]
				if err := bake.Retest(ctx, recipe, plan.Base{Image: is.Image, Digest: is.Digest}, k.store, k.baker, filepath.Join(k.dir, name)); err != nil {
					return a.printed(err)
				}
				fmt.Fprintf(a.stdout, "%s: %s passes on %s\n", name, is.Image, count(len(recipe.Platforms), "platform", "platforms"))
			}
			return nil
		},
	}
	c.engineFlag(cmd)
	return cmd
}

// pinned are the bases that the arguments name, all of which have to be locked.
func (c basesChoices) pinned(o resolve.Options, args []string) ([]string, error) {
	names, err := c.chosen(o.Platform, args)
	for _, name := range names {
		if _, ok := o.Before.Bases[name]; !ok {
			return nil, fault.Errorf(fault.Usage, "base %s is not in %s; run bases bake --push", name, c.lockFile())
		}
	}
	return names, err
}

// listed is a base as list and outdated show it.
type listed struct {
	Name     string              `json:"name"`
	Image    string              `json:"image"`
	Digest   string              `json:"digest"`
	Time     time.Time           `json:"time"` // when it was made
	Packages map[string][]string `json:"packages"`
	Releases []string            `json:"releases,omitempty"` // supported ones that stand on it
	From     string              `json:"from,omitempty"`
	Upstream string              `json:"upstream,omitempty"` // digest that it was made of
	Today    string              `json:"today,omitempty"`    // digest that the tag of the upstream image has now
}

// supported are the releases of a platform that are supported today, each with the bases that its lock has.
func (c basesChoices) supported(ctx context.Context, o resolve.Options) (map[string]map[string]platform.Baked, error) {
	place := c.lifecycle
	if place == "" {
		place = filepath.Join(o.Dir, lifecycle.FileName)
		if _, err := os.Stat(place); errors.Is(err, os.ErrNotExist) {
			return nil, nil
		}
	}
	l, err := resolve.Lifecycle(ctx, place, nil)
	if err != nil {
		return nil, err
	}
	if l.Name != o.Platform.Name {
		return nil, fault.Errorf(fault.Usage, "%s is of %s, and %s of %s", place, l.Name, c.file, o.Platform.Name)
	}
	out := map[string]map[string]platform.Baked{}
	for _, r := range l.Releases {
		if r.Withdrawn != "" || r.Until.Before(lifecycle.DateOf(time.Now())) {
			continue
		}
		v := r.Version.String()
		at, err := source.Find(ctx, o.Dir, "refs/tags/v"+v)
		if err != nil {
			return nil, fmt.Errorf("release %s, which %s has: %w", v, place, err)
		}
		name, err := filepath.Abs(c.lockFile())
		if err != nil {
			return nil, err
		}
		b, err := at.Blob(ctx, inTree(at.Root, name), maxConfig)
		if err != nil {
			return nil, fmt.Errorf("release %s: %w", v, err)
		}
		lock, err := platform.ParseLock("v"+v+":"+platform.LockFileName, b)
		if err != nil {
			return nil, err
		}
		out[v] = lock.Bases
	}
	return out, nil
}

// list is what is known of bases, as it is written down.
func (c basesChoices) list(ctx context.Context, a *app, args []string) (resolve.Options, []listed, error) {
	o, err := c.open(a)
	if err != nil {
		return o, nil, err
	}
	names, err := c.pinned(o, args)
	if err != nil {
		return o, nil, err
	}
	supported, err := c.supported(ctx, o)
	if err != nil {
		return o, nil, err
	}
	var all []listed
	for _, name := range names {
		is := o.Before.Bases[name]
		kept, err := bake.ReadKept(filepath.Join(o.Dir, bake.Folder, name), is.Record)
		if err == nil && kept == nil {
			err = fault.Errorf(fault.Usage, "%s/%s has no %s; commit it with the lock", bake.Folder, name, bake.FileName)
		}
		if err != nil {
			return o, nil, err
		}
		l := listed{Name: name, Image: is.Image, Digest: string(is.Digest), Time: kept.Record.Time, From: kept.Record.From, Upstream: string(kept.Record.Upstream), Packages: map[string][]string{}}
		for pl, packages := range kept.Packages {
			l.Packages[pl.String()] = packages
		}
		for _, v := range sortedVersions(supported) {
			if on := supported[v]; on[name].Digest == is.Digest {
				l.Releases = append(l.Releases, v)
			}
		}
		all = append(all, l)
	}
	return o, all, nil
}

// sortedVersions are the keys, by rising version.
func sortedVersions[T any](m map[string]T) []string {
	var out []string
	for v := range m {
		out = append(out, v)
	}
	slices.SortFunc(out, func(a, b string) int {
		x, _ := version.Parse(a)
		y, _ := version.Parse(b)
		return x.Compare(y)
	})
	return out
}

func (a *app) basesListCommand(c *basesChoices) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "list [BASE]...",
		Short: "Show the base images that are pinned, and what stands on them",
		Long: `List shows each base that is pinned, with the number of packages that its bills of materials have, and the releases of the platform
that are supported and stand on it, where there is a lifecycle.json.`,
		Example: "  go run ./ci bases list\n  go run ./ci bases list --json",
		RunE: func(cmd *cobra.Command, args []string) error {
			_, all, err := c.list(cmd.Context(), a, args)
			if err != nil {
				return err
			}
			if c.json {
				return a.writeJSON(all)
			}
			for _, l := range all {
				fmt.Fprintf(a.stdout, "%s  %s@%s  made %s of %s%s\n", l.Name, l.Image, l.Digest, l.Time.Format(time.DateOnly), l.From, on(l.Releases))
				for _, pl := range slices.Sorted(keys(l.Packages)) {
					fmt.Fprintf(a.stdout, "  %s: %s\n", pl, count(len(l.Packages[pl]), "package", "packages"))
				}
			}
			return nil
		},
	}
	c.listFlags(cmd)
	return cmd
}

func (c *basesChoices) listFlags(cmd *cobra.Command) {
	cmd.Flags().StringVar(&c.lifecycle, "lifecycle", "", "lifecycle.json, a `file` or URL, that says which releases are supported (default the one beside platform.yaml, if any)")
	cmd.Flags().BoolVar(&c.json, "json", false, "print JSON")
}

func keys[T any](m map[string]T) func(func(string) bool) {
	return func(yield func(string) bool) {
		for k := range m {
			if !yield(k) {
				return
			}
		}
	}
}

// on says which supported releases stand on something.
func on(releases []string) string {
	if len(releases) == 0 {
		return ""
	}
	return "; on it: " + strings.Join(releases, ", ")
}

func (a *app) writeJSON(v any) error {
	enc := json.NewEncoder(a.stdout)
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}

func (a *app) outdatedCommand(c *basesChoices) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "outdated [BASE]...",
		Short: "Show which base images have a newer upstream image",
		Long: `Outdated asks the registry of each upstream image which digest its tag has now, and shows it beside the one that the base was made of.
What is newer is taken by writing its digest into platform.yaml, and baking.`,
		Example: "  go run ./ci bases outdated\n  go run ./ci bases outdated --check",
		RunE: func(cmd *cobra.Command, args []string) error {
			_, all, err := c.list(cmd.Context(), a, args)
			if err != nil {
				return err
			}
			store, err := a.store(config.Config{})
			if err != nil {
				return err
			}
			old := 0
			for i, l := range all {
				today, _, err := store.Resolve(cmd.Context(), l.From)
				if err != nil {
					return err
				}
				if all[i].Today = string(today); all[i].Today != l.Upstream {
					old++
				}
			}
			if c.json {
				err = a.writeJSON(all)
			}
			for _, l := range all {
				state := l.Upstream + ", as it is today"
				if l.Today != l.Upstream {
					state = l.Upstream + " -> " + l.Today
				}
				if !c.json {
					fmt.Fprintf(a.stdout, "%s  %s  %s%s\n", l.Name, l.From, state, on(l.Releases))
				}
			}
			if err == nil && c.check && old > 0 {
				err = fault.Errorf(fault.Policy, "%s of an older image than there is; write the new digests into %s, and bake", count(old, "base is", "bases are"), c.file)
			}
			return err
		},
	}
	c.listFlags(cmd)
	cmd.Flags().BoolVar(&c.check, "check", false, "fail where there is a newer one")
	return cmd
}

func (a *app) cveCommand(c *basesChoices) *cobra.Command {
	var dir string
	cmd := &cobra.Command{
		Use:   "cve [BASE]...",
		Short: "Show which vulnerabilities base images have",
		Long: `Cve holds the bills of materials of the bases that are pinned to files in the OSV format in a folder, as osv.dev has them for each
distribution, unpacked. Nothing is asked of any server. A base whose distribution no file speaks of is exit 2: nothing is known of it.`,
		Example: "  go run ./ci bases cve --osv osv\n  go run ./ci bases cve --osv osv --check",
		RunE: func(cmd *cobra.Command, args []string) error {
			if dir == "" {
				return fault.Errorf(fault.Usage, "name with --osv a folder with files in the OSV format, such as the unpacked all.zip of a distribution from osv.dev")
			}
			o, all, err := c.list(cmd.Context(), a, args)
			if err != nil {
				return err
			}
			var images []osv.Image
			releases := map[string][]string{}
			for _, l := range all {
				for pl := range l.Packages {
					parsed, err := artifact.ParsePlatform(pl)
					if err != nil {
						return err
					}
					bill, err := bake.Bill(filepath.Join(o.Dir, bake.Folder, l.Name), parsed)
					if err != nil {
						return err
					}
					im, err := osv.ReadImage(l.Name+" "+pl, bill)
					if err != nil {
						return err
					}
					images = append(images, im)
					releases[im.Name] = l.Releases
				}
			}
			found, err := osv.Find(cmd.Context(), os.DirFS(dir), images)
			if err != nil {
				return err
			}
			if c.json {
				if err := a.writeJSON(append([]osv.Finding{}, found...)); err != nil {
					return err
				}
			}
			for _, f := range found {
				if c.json {
					break
				}
				fixed := ", which nothing fixes yet"
				if f.Fixed != "" {
					fixed = ", fixed in " + f.Fixed
				}
				if f.Unclear != "" {
					fixed = ", perhaps: " + f.Unclear
				}
				id := strings.Join(append([]string{f.ID}, f.Aliases...), " ")
				fmt.Fprintln(a.stdout, words.Line(fmt.Sprintf("%s: %s: %s %s%s%s", f.Image, id, f.Package, f.Version, fixed, on(releases[f.Image]))))
			}
			if c.check && len(found) > 0 {
				return fault.Errorf(fault.Policy, "%s in base images; bake new ones", count(len(found), "vulnerability is", "vulnerabilities are"))
			}
			return nil
		},
	}
	c.listFlags(cmd)
	cmd.Flags().StringVar(&dir, "osv", "", "`folder` with files in the OSV format")
	cmd.Flags().BoolVar(&c.check, "check", false, "fail where there is one")
	return cmd
}
