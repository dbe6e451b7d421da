package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/slipway-build/slipway/pipeline/internal/bounded"
	"github.com/slipway-build/slipway/pipeline/present/cmdline"
	"github.com/slipway-build/slipway/pipeline/present/report"
	"github.com/slipway-build/slipway/pipeline/release/fault"
	"github.com/slipway-build/slipway/pipeline/release/provenance"
	"github.com/slipway-build/slipway/pipeline/trust/ephemeral"
	"github.com/slipway-build/slipway/pipeline/trust/keyless"
	"github.com/slipway-build/slipway/pipeline/trust/sign"
	"github.com/slipway-build/slipway/pipeline/trust/signature"
	"github.com/slipway-build/slipway/pipeline/verify"
)

// keyVariable is the environment variable with the private key in PEM, for CI systems that keep secrets there.
const keyVariable = "SLIPWAY_KEY"

func (a *app) keygenCommand() *cobra.Command {
	var kind, private string
	var open bool
	cmd := &cobra.Command{
		Use:   "keygen [FILE]",
		Short: "Make the project's pair of keys: a private one to sign with, a public one for the repository",
		Long: `Keygen makes a private key, encrypted with a passphrase, and its public half. Commit the public half (FILE, by default
<project>.pub at the root of the repository) and name it under signing.key. The private half is written outside of
the repository, so that it cannot be committed by mistake: keep it where releases are signed, as a file or as the secret
SLIPWAY_KEY of a CI system. The passphrase is asked for, or read from SLIPWAY_KEY_PASSPHRASE. A file that exists is never replaced.`,
		Example: "  go run ./ci keygen\n  go run ./ci keygen --kind ed25519 --private /media/stick/project.key project.pub",
		Args:    cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			public := "slipway.pub"
			if cfg, file, err := a.readConfig(); err == nil {
				public = filepath.Join(a.root(cmd.Context(), file), cfg.Project.Name+".pub")
			}
			if len(args) == 1 {
				public = args[0]
			}
			if private == "" {
				dir, err := os.UserConfigDir()
				if err != nil {
					return fault.Errorf(fault.Usage, "finding a folder for the private key: %w; name a file with --private", err)
				}
				private = filepath.Join(dir, "slipway", strings.TrimSuffix(filepath.Base(public), ".pub")+".key")
			}
			return a.keygen(private, public, sign.Kind(kind), open)
		},
	}
	cmd.Flags().StringVar(&private, "private", "", "`file` for the private key (default slipway/<name>.key in the user's configuration)")
	kind = string(sign.ECDSA)
	cmdline.Choice(cmd, &kind, "kind", []string{string(sign.ECDSA), string(sign.Ed25519), string(sign.RSA)}, "kind of key: ecdsa, which every verifier reads, ed25519, or rsa, for repositories of packages that apk reads")
	cmd.Flags().BoolVar(&open, "no-passphrase", false, "do not encrypt the private key: for a place that is itself a vault")
	return cmd
}

func (a *app) keygen(private, public string, kind sign.Kind, open bool) error {
	for _, file := range []string{private, public} {
		if _, err := os.Lstat(file); !errors.Is(err, os.ErrNotExist) {
			return fault.Errorf(fault.Usage, "%s exists, and a key is never replaced; name another file or move it away", display(file))
		}
	}
	var passphrase []byte
	if !open {
		var err error
		if passphrase, err = a.newPassphrase(); err != nil {
			return err
		}
		defer clear(passphrase)
	}
	key, err := sign.Generate(kind)
	if err != nil {
		return err
	}
	sealed, err := key.PEM(passphrase)
	if err != nil {
		return err
	}
	defer clear(sealed)
	if err := os.MkdirAll(filepath.Dir(private), 0o700); err != nil {
		return fault.New(fault.Usage, err)
	}
	if err := writeNew(private, sealed, 0o600); err != nil {
		return err
	}
	if err := writeNew(public, key.Public().PEM(), 0o644); err != nil {
		return errors.Join(err, os.Remove(private))
	}
	_, err = fmt.Fprintf(a.stdout, "%s: keep it secret, and a copy of it somewhere else\n%s: name it under signing.key in slipway.yaml, and commit both before the next build\n%s %s\n",
		display(private), display(public), key.Public().Kind(), key.Public().Fingerprint())
	return err
}

// writeNew writes a file that must not be there.
func writeNew(name string, content []byte, mode os.FileMode) error {
	f, err := os.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, mode)
	if err != nil {
		return fault.New(fault.Usage, err)
	}
	if _, err := f.Write(content); err != nil {
		return errors.Join(err, f.Close(), os.Remove(name))
	}
	return f.Close()
}

// newPassphrase is the passphrase for a new key: from the environment, else from a person, who types it twice.
func (a *app) newPassphrase() ([]byte, error) {
	if p := a.getenv(sign.PassphraseVariable); p != "" {
		return []byte(p), nil
	}
	first, err := a.ask("passphrase for the new key: ")
	if err != nil {
		return nil, err
	}
	if len(first) == 0 {
		return nil, fault.Errorf(fault.Usage, "the passphrase is empty; use --no-passphrase for a key that is not encrypted")
	}
	second, err := a.ask("the same again: ")
	if err != nil {
		return nil, err
	}
	defer clear(second)
	if !bytes.Equal(first, second) {
		clear(first)
		return nil, fault.Errorf(fault.Usage, "the two passphrases differ; nothing was written")
	}
	return first, nil
}

// ask reads a line from the terminal without showing it.
func (a *app) ask(question string) ([]byte, error) {
	in := int(os.Stdin.Fd())
	if !term.IsTerminal(in) {
		return nil, fault.Errorf(fault.Credentials, "there is no terminal to ask for the passphrase; set %s", sign.PassphraseVariable)
	}
	fmt.Fprint(a.stderr, question)
	b, err := term.ReadPassword(in)
	fmt.Fprintln(a.stderr)
	return b, err
}

// signChoices are the flags of sign.
type signChoices struct {
	key, passphraseFile string
	fulcio, rekor       string
	signingConfig       string
	trustedRoot         string
	allowUnpublishable  bool
}

func (a *app) signCommand() *cobra.Command {
	var c signChoices
	cmd := &cobra.Command{
		Use:   "sign [DIST]",
		Short: "Sign a finished release: its checksums, its manifest, its provenance, its images and charts",
		Long: `Sign checks every file of the release first and signs what names them all: SHA256SUMS, release.json, the provenance
and, by digest, every image and chart. Building needs no key, so that no compiler and no dependency ever runs beside
one: sign in a job of its own. The key is a file, or the environment variable SLIPWAY_KEY; an encrypted one is opened
with SLIPWAY_KEY_PASSPHRASE or by asking.

Without a key the workflow that runs signs by its identity: Sigstore's authority certifies it for ten minutes and its
log makes that public. This requires an OIDC token, which GitHub Actions gives a job with the permission id-token: write,
or SIGSTORE_ID_TOKEN. cosign verifies what is written, and so does the verify command.`,
		Example: "  go run ./ci sign --key ~/.config/slipway/project.key\n  go run ./ci sign dist",
		Args:    cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			f, err := a.finished(cmd.Context(), args)
			if err != nil {
				return err
			}
			return a.sign(cmd.Context(), f, c)
		},
	}
	cmd.Flags().StringVar(&c.key, "key", "", "private `key`: a PEM file, or env:NAME (default env:SLIPWAY_KEY)")
	cmd.Flags().StringVar(&c.passphraseFile, "passphrase-file", "", "`file` with the key's passphrase (default $SLIPWAY_KEY_PASSPHRASE, else it is asked for)")
	cmd.Flags().StringVar(&c.fulcio, "fulcio", "", "`URL` of the certificate authority, without a key (default "+ephemeral.PublicFulcio+")")
	cmd.Flags().StringVar(&c.rekor, "rekor", "", "`URL` of the log, a Rekor v1, without a key (default "+ephemeral.PublicRekor+")")
	cmd.Flags().StringVar(&c.signingConfig, "signing-config", "", "`file` that names all services, as Sigstore distributes it (signing_config.v0.2.json), without a key")
	cmd.Flags().StringVar(&c.trustedRoot, "trusted-root", "", "`file` with the services' keys: each signature is verified with it before it is kept")
	cmd.Flags().BoolVar(&c.allowUnpublishable, "allow-unpublishable", false, "sign a release that is marked as not for publishing, to try it")
	return cmd
}

func (a *app) sign(ctx context.Context, f finished, c signChoices) error {
	if err := a.belongs(ctx, f); err != nil {
		return err
	}
	o, err := a.signer(f, c)
	if err != nil {
		return err
	}
	checked, err := verify.Dist(ctx, f.dir, verify.Options{AllowUnpublishable: c.allowUnpublishable, AllowUnsigned: true})
	if err != nil {
		if checked.Verdict != "" {
			err = errors.Join(err, checked.WriteText(a.stdout))
		}
		return err
	}
	if err := a.ranFor(ctx, f, o); err != nil {
		return err
	}
	o.Run = a.runOf(f.dir)
	result, err := sign.Release(ctx, f.dir, o)
	if err != nil {
		return err
	}
	for _, im := range result.Images {
		fmt.Fprintf(a.stdout, "signed %s\n", im)
	}
	who := "with key " + string(result.Key)
	if signer, ok := o.Identity.(*ephemeral.Signer); ok {
		claims, err := signer.Claims(ctx)
		if err != nil {
			return err
		}
		who = "by " + claims.Identity
	}
	_, err = fmt.Fprintf(a.stdout, "%s %s: signed %s, %s\n", checked.Name, checked.Version, who, count(len(result.Files), "file", "files"))
	return err
}

// openKey opens a private key, a file or env:NAME. The passphrase of one that is sealed is in a file or the environment, or is asked for.
func (a *app) openKey(name, passphraseFile string) (signature.Signer, error) {
	return sign.Source{
		Key: name, PassphraseFile: passphraseFile, LookupEnv: a.lookupEnv,
		Prompt: func() ([]byte, error) { return a.ask("passphrase of " + name + ": ") },
	}.Open()
}

// signer is the key that the flags and the environment name, else the identity of the workflow that runs.
func (a *app) signer(f finished, c signChoices) (sign.Options, error) {
	if c.key == "" && a.getenv(keyVariable) != "" {
		c.key = "env:" + keyVariable
	}
	if c.key == "" && ephemeral.Available(a.lookupEnv) {
		o := ephemeral.Options{Fulcio: c.fulcio, Rekor: c.rekor, LookupEnv: a.lookupEnv}
		if c.signingConfig != "" {
			config, err := readSigningConfig(c.signingConfig)
			if err != nil {
				return sign.Options{}, err
			}
			o.Config = &config
		}
		if c.trustedRoot != "" {
			root, err := verify.ReadTrustedRoot(c.trustedRoot)
			if err != nil {
				return sign.Options{}, err
			}
			o.Root = &root
		}
		// The log is public and keeps what it has, so a workflow that nobody would accept signs nothing.
		rel, err := f.manifest()
		if err == nil && rel.Signing != nil && rel.Signing.Identity == "" {
			return sign.Options{}, fault.Errorf(fault.Credentials,
				"the release is to be signed with key %s, and there is none here: set %s (a signature by the identity of this workflow would be refused)", rel.Signing.Key, keyVariable)
		}
		if err == nil && rel.Signing != nil {
			o.Policy = keyless.Policy{Identity: rel.Signing.Identity, Issuer: rel.Signing.Issuer}
		}
		signer, err := ephemeral.New(o)
		return sign.Options{Identity: signer}, err
	}
	if c.key == "" {
		return sign.Options{}, fault.Errorf(fault.Credentials,
			"there is no key to sign with: name one with --key, or set %s; the keygen command makes one (there is no identity of a workflow either: a job in GitHub Actions has one with the permission id-token: write)", keyVariable)
	}
	key, err := a.openKey(c.key, c.passphraseFile)
	return sign.Options{Signer: key}, err
}

func readSigningConfig(name string) (ephemeral.SigningConfig, error) {
	const maxConfig = 2 << 20
	b, err := bounded.File(name, maxConfig)
	if err != nil {
		return ephemeral.SigningConfig{}, fault.New(fault.Usage, fmt.Errorf("reading signing configuration: %w", err))
	}
	config, err := ephemeral.ParseSigningConfig(b)
	if err != nil {
		err = fmt.Errorf("%s: %w", name, err)
	}
	return config, err
}

// ranFor refuses an identity that no verifier would accept for this release, before the log keeps for good that it signed.
func (a *app) ranFor(ctx context.Context, f finished, o sign.Options) error {
	signer, ok := o.Identity.(*ephemeral.Signer)
	if !ok {
		return nil
	}
	rel, err := f.manifest()
	if err != nil {
		return err
	}
	claims, err := signer.Claims(ctx)
	if err != nil {
		return err
	}
	if err := (verify.Identity{Release: rel}).Accepts(claims); err != nil {
		return fault.New(fault.Credentials, fmt.Errorf("signing: %w; sign in the run that the tag starts", err))
	}
	return nil
}

// lookupEnv reads the environment of this run.
func (a *app) lookupEnv(name string) (string, bool) {
	for _, v := range a.environ {
		if key, value, ok := strings.Cut(v, "="); ok && key == name {
			return value, true
		}
	}
	return "", false
}

// runOf is what is known of the run that built: when, and which run of a CI system signs.
func (a *app) runOf(dir string) provenance.Metadata {
	var m provenance.Metadata
	if b, err := bounded.File(filepath.Join(dir, report.TimingsName), 4<<20); err == nil {
		m.StartedOn, m.FinishedOn = report.RunTimes(b)
		m.StartedOn, m.FinishedOn = m.StartedOn.Truncate(time.Second), m.FinishedOn.Truncate(time.Second)
	}
	if id := a.getenv("GITHUB_RUN_ID"); id != "" {
		m.InvocationID = fmt.Sprintf("%s/%s/actions/runs/%s/attempts/%s",
			a.getenv("GITHUB_SERVER_URL"), a.getenv("GITHUB_REPOSITORY"), id, a.getenv("GITHUB_RUN_ATTEMPT"))
	} else if url := a.getenv("CI_JOB_URL"); url != "" { // GitLab
		m.InvocationID = url
	}
	return m
}
