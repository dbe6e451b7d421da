package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/slipway-build/slipway/pipeline/internal/words"
	"github.com/slipway-build/slipway/pipeline/platform"
	"github.com/slipway-build/slipway/pipeline/platform/assemble"
	"github.com/slipway-build/slipway/pipeline/platform/resolve"
	"github.com/slipway-build/slipway/pipeline/present/cmdline"
	"github.com/slipway-build/slipway/pipeline/publish"
	"github.com/slipway-build/slipway/pipeline/publish/folder"
	"github.com/slipway-build/slipway/pipeline/release/fault"
	"github.com/slipway-build/slipway/pipeline/trust/sign"
	"github.com/slipway-build/slipway/pipeline/trust/signature"
	"github.com/slipway-build/slipway/pipeline/verify"
)

// buildChoices are the flags of platform build.
type buildChoices struct {
	*platformChoices
	out, engine         string
	key, passphraseFile string
	jobs                uint
	wait                time.Duration
	json                bool
}

func (a *app) platformBuildCommand(p *platformChoices) *cobra.Command {
	c := buildChoices{platformChoices: p, engine: "auto"}
	cmd := &cobra.Command{
		Use:   "build",
		Short: "Build the components that are not published yet, each by its own pipeline",
		Long: `Build clones each component that has no release at the commit that is locked, compiles the pipeline of that commit and runs it,
once all that the component needs is published or built. What comes of it is checked and is in built/COMPONENT, beside
platform.yaml. Where one fails, what needs it is skipped, the others go on, and the exit code is 4; the same command goes on from there.

No key and no token is given to a component's pipeline. With --key what was built is signed afterwards, if it is to be signed with
that key, and put into the component's releases where they are a folder. Other releases are published by the component's
own workflow: --wait waits for those.`,
		Example: "  go run ./ci platform build\n  go run ./ci platform build --channel dev --key acme.key\n  go run ./ci platform build --wait 30m",
		Args:    noArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return c.run(cmd.Context(), a) },
	}
	flags := cmd.Flags()
	flags.StringVar(&c.out, "out", "", "`folder` of what is built (default built beside platform.yaml)")
	cmdline.Choice(cmd, &c.engine, "engine", []string{"auto", "dagger", "host"}, "what compiles: auto, dagger or host")
	flags.UintVar(&c.jobs, "jobs", 1, "`number` of components that are built at once")
	flags.StringVar(&c.key, "key", "", "private key `file` that what was built is signed with, or env:NAME for an environment variable")
	flags.StringVar(&c.passphraseFile, "passphrase-file", "", "`file` with the passphrase of the key")
	flags.DurationVar(&c.wait, "wait", 0, "`time` to wait until everything is published, such as 30m")
	flags.BoolVar(&c.json, "json", false, "print JSON")
	return cmd
}

func (c buildChoices) run(ctx context.Context, a *app) error {
	o, err := c.open(a)
	if err != nil {
		return err
	}
	if err := c.locked(o); err != nil {
		return err
	}
	b := assemble.Options{Options: o, Out: c.out, Jobs: int(c.jobs), Engine: c.engine}
	if b.Out == "" {
		b.Out = filepath.Join(o.Dir, "built")
	}
	var mu sync.Mutex
	b.Step = func(component, what string) {
		mu.Lock()
		defer mu.Unlock()
		fmt.Fprintf(a.stderr, "%s: %s\n", component, words.Line(what))
	}
	if c.key != "" {
		signer, err := a.openKey(c.key, c.passphraseFile)
		if err != nil {
			return err
		}
		if !slices.ContainsFunc(o.Platform.Names(), func(name string) bool {
			signs, err := signs(o, name, signer)
			return signs && err == nil
		}) {
			return fault.Errorf(fault.Usage, "%s is the key of no component; name with --key the private half of a key in platform.yaml", c.key)
		}
		b.Finish = func(ctx context.Context, component, dist string) error {
			mu.Lock() // two of them may be in one folder of releases
			defer mu.Unlock()
			return a.release(ctx, o, component, dist, signer)
		}
	}
	all, err := assemble.Run(ctx, b)
	if err == nil {
		err = c.await(ctx, o, all)
	}
	if len(all) > 0 {
		err = errors.Join(c.print(a, all), err)
	}
	return err
}

// locked says which component the lock does not have.
func (c *platformChoices) locked(o resolve.Options) error {
	order, err := o.Platform.Order()
	if err != nil {
		return fault.New(fault.Usage, err)
	}
	for _, name := range order {
		if _, ok := o.Before.Components[name]; !ok {
			flag := ""
			if o.Channel != platform.Stable {
				flag = " --channel " + string(o.Channel)
			}
			return fault.Errorf(fault.Usage, "%s is not locked on channel %s; run platform lock%s", name, o.Channel, flag)
		}
	}
	return nil
}

// signs reports whether a key is the one that platform.yaml says a component is signed with.
func signs(o resolve.Options, component string, signer signature.Signer) (bool, error) {
	name := o.Platform.Components[component].Key
	if name == "" {
		return false, nil
	}
	keys, err := verify.ReadKeys([]string{filepath.Join(o.Dir, filepath.FromSlash(name))})
	return err == nil && keys[0].Fingerprint() == signer.Public().Fingerprint(), err
}

// release signs what was built of a component, and puts it into the folder of the component's releases. It leaves what another key is
// to sign, and does not put anything into a place that is no folder here.
func (a *app) release(ctx context.Context, o resolve.Options, component, dist string, signer signature.Signer) error {
	def := o.Platform.Components[component]
	if signs, err := signs(o, component, signer); !signs || err != nil {
		return err
	}
	if _, err := verify.Dist(ctx, dist, verify.Options{AllowUnpublishable: o.Channel == platform.Dev, AllowUnsigned: true}); err != nil {
		return fmt.Errorf("%s: %w; look with ci verify %s", dist, err, dist)
	}
	if _, err := sign.Release(ctx, dist, sign.Options{Signer: signer, Run: a.runOf(dist)}); err != nil {
		return err
	}
	if verify.IsURL(def.Releases) {
		return nil
	}
	rel, err := publish.Open(dist)
	if err != nil {
		return err
	}
	root, err := filepath.Abs(filepath.Join(o.Dir, filepath.FromSlash(def.Releases)))
	if err == nil {
		err = os.MkdirAll(root, 0o755)
	}
	if err != nil {
		return fault.New(fault.Usage, err)
	}
	d, err := folder.New(folder.Options{Release: rel, Root: root, Destination: "folder"})
	if err == nil {
		err = d.Stage(ctx)
	}
	if err == nil {
		err = d.Flip(ctx)
	}
	return err
}

// between is how long platform build waits before it looks again whether something is published.
const between = 15 * time.Second

// await looks whether what was built is published by now, and as long as --wait says waits for it.
func (c buildChoices) await(ctx context.Context, o resolve.Options, all []assemble.Component) error {
	for until := time.Now().Add(c.wait); ; {
		var missing []string
		look := resolve.Looker(ctx, o)
		for i := range all {
			is := &all[i]
			if is.State != assemble.Built { // nobody publishes what failed
				continue
			}
			found, err := look(is.Name, o.Before.Components[is.Name])
			if err != nil && fault.CodeOf(err) != fault.Transient {
				return fmt.Errorf("%s: %w", is.Name, err)
			}
			if err == nil && found.Published() {
				is.Chosen, is.State = found, assemble.Published
				continue
			}
			missing = append(missing, is.Name)
		}
		left := time.Until(until)
		if len(missing) == 0 || c.wait == 0 {
			return nil
		}
		if left <= 0 {
			return fault.Errorf(fault.Transient, "after %s there is no release of %s; the workflow of each has to publish it", c.wait, strings.Join(missing, ", "))
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(min(between, left)):
		}
	}
}

func (c buildChoices) print(a *app, all []assemble.Component) error {
	type row struct {
		Component string         `json:"component"`
		State     assemble.State `json:"state"`
		Version   string         `json:"version,omitempty"`
		Commit    string         `json:"commit"`
		Manifest  string         `json:"manifest,omitempty"`
		Dist      string         `json:"dist,omitempty"`
		After     string         `json:"after,omitempty"` // why it was skipped
		Error     string         `json:"error,omitempty"`
	}
	rows, width := make([]row, len(all)), 0
	var failed []string
	for i, is := range all {
		rows[i] = row{Component: is.Name, State: is.State, Version: is.Version, Commit: is.Commit, Manifest: string(is.Manifest), Dist: is.Dist, After: is.After}
		if is.Err != nil {
			rows[i].Error = is.Err.Error()
			failed = append(failed, is.Name)
		}
		width = max(width, len(is.Name))
	}
	if c.json {
		enc := json.NewEncoder(a.stdout)
		enc.SetIndent("", "  ")
		if err := enc.Encode(rows); err != nil {
			return err
		}
	}
	code := fault.Build
	for i, is := range all {
		state := string(is.State)
		switch is.State {
		case assemble.Published:
			state += " " + string(is.Manifest)
		case assemble.Built:
			state += " in " + display(is.Dist) + ", and not published"
		case assemble.Skipped:
			state += ": " + is.After + " is not there"
		case assemble.Failed:
			state += ": " + rows[i].Error
			if len(failed) == 1 {
				code = fault.CodeOf(is.Err)
			}
		}
		if !c.json {
			fmt.Fprintf(a.stdout, "%-*s  %s  %s\n", width, is.Name, words.Line(is.Called()), words.Line(state))
		}
	}
	if len(failed) > 0 {
		return fault.Errorf(code, "%s: %s; the same command goes on from there", count(len(failed), "component is not built", "components are not built"), strings.Join(failed, ", "))
	}
	return nil
}
