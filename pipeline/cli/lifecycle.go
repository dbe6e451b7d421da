package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"github.com/slipway-build/slipway/pipeline/internal/bounded"
	"github.com/slipway-build/slipway/pipeline/internal/filelock"
	"github.com/slipway-build/slipway/pipeline/internal/words"
	"github.com/slipway-build/slipway/pipeline/platform"
	"github.com/slipway-build/slipway/pipeline/platform/lifecycle"
	"github.com/slipway-build/slipway/pipeline/platform/resolve"
	"github.com/slipway-build/slipway/pipeline/release/artifact"
	"github.com/slipway-build/slipway/pipeline/release/fault"
	"github.com/slipway-build/slipway/pipeline/release/version"
	"github.com/slipway-build/slipway/pipeline/reproduce"
	"github.com/slipway-build/slipway/pipeline/source"
	"github.com/slipway-build/slipway/pipeline/trust/signature"
	"github.com/slipway-build/slipway/pipeline/verify"
)

// lifecycleChoices are the flags of platform lifecycle.
type lifecycleChoices struct {
	*platformChoices
	releases, publicKey, out string
	key, passphraseFile      string
	check, strand            bool
}

func (a *app) platformLifecycleCommand(p *platformChoices) *cobra.Command {
	c := lifecycleChoices{platformChoices: p}
	cmd := &cobra.Command{
		Use:   "lifecycle",
		Short: "Write down how the releases of the platform stand, signed",
		Long: `Lifecycle reads the releases of the platform, what platform.yaml says of their support and which of them are withdrawn, and the
files in risks/ and advisories/, and writes lifecycle.json with its signature: for how long each release is supported, which upgrades
there are, and which of them carry a risk. The file only grows: a release that is gone or has other bytes by now, and support that
ends earlier than was promised, are refused. A release from which no upgrade leads to a supported one is exit 9, unless --strand
says that it is meant.`,
		Example: "  go run ./ci platform lifecycle --releases https://releases.example.com --public-key edge.pub --key edge.key",
		Args:    noArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return c.run(cmd.Context(), a) },
	}
	c.flags(cmd)
	cmd.Flags().BoolVar(&c.check, "check", false, "write nothing; fail where the file differs from what is there now")
	return cmd
}

// flags adds the flags of all commands that write the lifecycle.
func (c *lifecycleChoices) flags(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVar(&c.releases, "releases", "", "where the releases are: a `place` such as a folder, slipway serve or a repository on GitHub")
	flags.StringVar(&c.publicKey, "public-key", "", "`file` with the key that they are signed with")
	flags.StringVar(&c.out, "out", "", "`file` that is written, and read where it is there (default lifecycle.json beside platform.yaml)")
	flags.StringVar(&c.key, "key", "", "private key `file` that it is signed with, or env:NAME for an environment variable")
	flags.StringVar(&c.passphraseFile, "passphrase-file", "", "`file` with the passphrase of the key")
	flags.BoolVar(&c.strand, "strand", false, "write it although a release has no way to a supported one")
}

func (c lifecycleChoices) run(ctx context.Context, a *app) error {
	if c.releases == "" || c.publicKey == "" {
		return fault.Errorf(fault.Usage, "name with --releases where the releases are, and with --public-key by which key they are signed")
	}
	if c.key == "" && !c.check {
		return fault.Errorf(fault.Usage, "name with --key the key that the lifecycle is signed with, or --check to write nothing")
	}
	o, err := c.open(a)
	if err != nil {
		return err
	}
	head, err := source.Find(ctx, o.Dir, "HEAD")
	if err != nil {
		return err
	}
	facts := lifecycle.Facts{Platform: o.Platform, AsOf: lifecycle.DateOf(head.Time)}
	// The day is promised never to go back, so a clock that was wrong once would keep all later ones out, and end all support.
	if tomorrow := lifecycle.DateOf(time.Now()).AddDays(1); tomorrow.Before(facts.AsOf) {
		return fault.Errorf(fault.Git, "the commit here is of %s, which is still to come: set the clock of the machine that made it, and commit again", facts.AsOf)
	}
	if facts.Risks, err = factsOf(filepath.Join(o.Dir, lifecycle.RisksDir), lifecycle.ParseRisk); err != nil {
		return err
	}
	if facts.Advisories, err = factsOf(filepath.Join(o.Dir, lifecycle.AdvisoriesDir), lifecycle.ParseAdvisory); err != nil {
		return err
	}
	if facts.Releases, err = c.released(ctx, a, o.Platform); err != nil {
		return err
	}
	if c.out == "" {
		c.out = filepath.Join(o.Dir, lifecycle.FileName)
	}
	unlock, err := c.lock(ctx, a)
	if err != nil {
		return err
	}
	defer unlock()
	before, there, err := c.before()
	if err != nil {
		return err
	}
	if before == nil && len(facts.Releases) == 0 {
		return fault.Errorf(fault.Usage, "%s has no release of %s with a full version: make one first, or name another place with --releases", c.releases, o.Platform.Name)
	}
	next, news, err := lifecycle.Next(before, artifact.Sum(there), facts)
	if err != nil {
		return err
	}
	ends := next.Check(facts.AsOf)
	for _, d := range ends {
		fmt.Fprintln(a.stderr, "no way on from "+words.Line(d.String()))
	}
	switch {
	case len(ends) > 0 && !c.strand:
		return fault.Errorf(fault.Policy, "%s from which no upgrade leads to one that is supported on %s; nothing is written: mend the ranges, or say --strand", count(len(ends), "release", "releases"), facts.AsOf)
	case c.check && news:
		return fault.Errorf(fault.Mismatch, "%s is not what is there now; run platform lifecycle to write it", c.out)
	case c.check:
		if _, err := c.bundle(); err != nil {
			return fault.New(fault.Mismatch, fmt.Errorf("%w; run platform lifecycle to sign it", err))
		}
		next = *before
	default:
		signer, err := a.openKey(c.key, c.passphraseFile)
		if err != nil {
			return err
		}
		if before == nil || next.Serial > before.Serial {
			if there, err = next.Encode(); err != nil {
				return fault.New(fault.Usage, err)
			}
		} else if bundle, err := c.bundle(); err == nil && signature.VerifyBlob(bundle, there, signer.Public()) == nil {
			break
		}
		return c.write(a, signer, next, there)
	}
	fmt.Fprintf(a.stdout, "%s: serial %d, nothing is new\n", c.out, next.Serial)
	return nil
}

// lock keeps other runs on this machine from the file until it is written: of two that begin behind the same one, only one can follow it.
// The file that is locked is in the cache, since one beside lifecycle.json would be in the repository.
func (c lifecycleChoices) lock(ctx context.Context, a *app) (unlock func() error, err error) {
	dir, err := a.cacheDir()
	if err != nil {
		return nil, err
	}
	name, err := filepath.Abs(c.out)
	if err == nil {
		dir = filepath.Join(dir, "lifecycle")
		err = os.MkdirAll(dir, 0o700)
	}
	if real, e := filepath.EvalSymlinks(filepath.Dir(name)); e == nil {
		name = filepath.Join(real, filepath.Base(name))
	}
	if err == nil {
		unlock, err = filelock.Lock(ctx, filepath.Join(dir, artifact.Sum([]byte(name)).Hex()), lockPatience)
	}
	return unlock, fault.New(fault.Usage, err)
}

// lockPatience is how long a run waits for another one, which may ask a person for a passphrase.
const lockPatience = 5 * time.Minute

// before is the file that is there, with its bytes; nil for none.
func (c lifecycleChoices) before() (*lifecycle.Lifecycle, []byte, error) {
	b, err := bounded.File(c.out, lifecycle.MaxSize)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil, nil
	}
	if err != nil {
		return nil, nil, fault.New(fault.Usage, err)
	}
	l, err := lifecycle.Decode(b)
	if err != nil {
		return nil, nil, fault.New(fault.Mismatch, fmt.Errorf("%s: %w", c.out, err))
	}
	return &l, b, nil
}

// bundle is the signature beside the file.
func (c lifecycleChoices) bundle() (signature.Bundle, error) {
	b, err := bounded.File(c.out+signature.Suffix, maxConfig)
	if err != nil {
		return signature.Bundle{}, err
	}
	bundle, err := signature.ParseBundle(b)
	if err != nil {
		err = fmt.Errorf("%s%s: %w", c.out, signature.Suffix, err)
	}
	return bundle, err
}

// write signs the file before it takes the place of the one that is there, so that no reader finds it without.
func (c lifecycleChoices) write(a *app, signer signature.Signer, l lifecycle.Lifecycle, b []byte) error {
	bundle, err := signature.SignBlob(signer, b)
	if err != nil {
		return err
	}
	signed, err := bundle.Encode()
	if err == nil {
		// Whoever reads between the two finds a signature of other bytes, and reads again.
		err = writeLock(c.out+signature.Suffix, signed)
	}
	if err == nil {
		err = writeLock(c.out, b)
	}
	if err != nil {
		return fault.New(fault.Usage, err)
	}
	fmt.Fprintf(a.stdout, "%s: serial %d, %s, signed with key %s\n", c.out, l.Serial, count(len(l.Releases), "release", "releases"), signer.Public().Fingerprint())
	return nil
}

// factsOf reads the files of a folder, which may be missing.
func factsOf[T any](dir string, parse func(name string, b []byte) (T, error)) (all []T, err error) {
	files, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	var errs []error
	for _, f := range files {
		name := filepath.Join(dir, f.Name())
		if ext := filepath.Ext(name); ext != ".yaml" {
			if strings.EqualFold(ext, ".yml") || strings.EqualFold(ext, ".yaml") { // and nobody would miss what it says
				errs = append(errs, fmt.Errorf("%s: only files that end in .yaml are read; rename it", name))
			}
			continue
		}
		err := regular(name)
		var b []byte
		if err == nil {
			b, err = readConfiguration(name)
		}
		var one T
		if err == nil {
			one, err = parse(name, b)
		}
		all, errs = append(all, one), append(errs, err)
	}
	return all, fault.New(fault.Usage, errors.Join(append(errs, err)...))
}

// composed are the full releases of a platform at a place, each verified by its signature, the lowest version first.
func (a *app) composed(ctx context.Context, platform, place, publicKey string) ([]resolve.Composed, error) {
	keys, err := verify.ReadKeys([]string{publicKey})
	if err != nil {
		return nil, err
	}
	list, err := resolve.Released(ctx, place, 0, a.getenv)
	if err != nil {
		return nil, err
	}
	list = slices.DeleteFunc(list, func(l reproduce.Listed) bool {
		v, err := version.Parse(l.Version)
		return err != nil || !v.IsStable() || !l.Of(platform, "v"+l.Version)
	})
	all := make([]resolve.Composed, len(list))
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(8)
	for i, l := range list {
		g.Go(func() (err error) {
			all[i], err = resolve.Composition(ctx, l.Address(), verify.Options{Keys: keys, Version: l.Version})
			return err
		})
	}
	return all, g.Wait()
}

// released are the releases of the platform as the lifecycle has them.
func (c lifecycleChoices) released(ctx context.Context, a *app, p platform.Platform) ([]lifecycle.Release, error) {
	list, err := a.composed(ctx, p.Name, c.releases, c.publicKey)
	if err != nil {
		return nil, err
	}
	all := make([]lifecycle.Release, len(list))
	for i, is := range list {
		all[i] = lifecycle.Release{Version: is.Version, Manifest: is.Manifest, Date: lifecycle.DateOf(is.Release.Time)}
		if u := is.Upgrades; u != nil {
			all[i].To = u.To
			if err := all[i].From.UnmarshalText([]byte(u.From)); err != nil {
				return nil, fault.Errorf(fault.Mismatch, "%s: %w", is.Place, err)
			}
		}
	}
	return all, nil
}
