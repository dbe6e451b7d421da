package main

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/slipway-build/slipway/pipeline/environment/index"
	"github.com/slipway-build/slipway/pipeline/environment/store"
	"github.com/slipway-build/slipway/pipeline/release/artifact"
	"github.com/slipway-build/slipway/pipeline/release/fault"
	"github.com/slipway-build/slipway/pipeline/trust/sign"
	"github.com/slipway-build/slipway/pipeline/trust/signature"
)

// openIndex is the index of the store.
func (s *storage) openIndex() (*index.Index, error) {
	o, err := s.options()
	if err != nil {
		return nil, err
	}
	return index.Open(o)
}

// publicKeys reads the files of public keys.
func publicKeys(flag string, names []string) ([]signature.PublicKey, error) {
	var all []signature.PublicKey
	for _, name := range names {
		b, err := readFile(name)
		var key signature.PublicKey
		if err == nil {
			key, err = signature.ParsePublicKey(b)
		}
		if err != nil {
			return nil, fault.New(fault.Usage, fmt.Errorf("reading --%s %s: %w", flag, name, err))
		}
		all = append(all, key)
	}
	return all, nil
}

// signers reads private keys.
func signers(names []string, passphrase string) ([]signature.Signer, error) {
	var all []signature.Signer
	for _, name := range names {
		s, err := sign.Source{Key: name, PassphraseFile: passphrase}.Open()
		if err != nil {
			return nil, err
		}
		all = append(all, s)
	}
	return all, nil
}

func newStoreRoot() *cobra.Command {
	var s storage
	var offline, online, by []string
	var threshold int
	var renew bool
	var draft, out, passphrase string
	cmd := &cobra.Command{
		Use: "root", Short: "Say which keys sign the index of a release store",
		Long: `root shows the root of the index: the keys that are kept offline, how many of them a root needs, and the online keys of whoever
moves versions. With --offline, --online, --threshold or --renew it drafts the next root, in the store, where the holders of
the offline keys find it; each of them adds a signature with --sign. Of a root that takes the place of another, as many keys of
that one have to sign too. It comes into force with the next slipway store sign.`,
		Example: `  slipway store root --offline a.pub --offline b.pub --offline c.pub --online ci.pub
  slipway store root --sign a.key
  slipway store root --online new.pub --sign a.key
  slipway store root --write root.json`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			x, err := s.openIndex()
			if err != nil {
				return err
			}
			plan := index.Plan{Threshold: threshold}
			if plan.Offline, err = publicKeys("offline", offline); err != nil {
				return err
			}
			for _, name := range online {
				stage, file, own := strings.Cut(name, "=")
				if !own {
					file = name
				}
				keys, err := publicKeys("online", []string{file})
				switch {
				case err != nil:
					return err
				case own:
					if plan.Environments == nil {
						plan.Environments = map[string][]signature.PublicKey{}
					}
					plan.Environments[stage] = append(plan.Environments[stage], keys...)
				default:
					plan.Online = append(plan.Online, keys...)
				}
			}
			keys, err := signers(by, passphrase)
			if err != nil {
				return err
			}
			status, err := x.Status(cmd.Context())
			if err != nil {
				return err
			}
			if renew || threshold > 0 || len(offline)+len(online) > 0 {
				st, err := s.open()
				if err != nil {
					return err
				}
				err = st.Read(cmd.Context(), func(v store.View) error {
					status, err = x.Draft(cmd.Context(), v, plan)
					return err
				})
				if err != nil {
					return err
				}
			}
			if len(keys) > 0 {
				if status, err = x.Sign(cmd.Context(), artifact.Digest(draft), keys...); err != nil {
					return err
				}
			}
			if out != "" {
				r := status.Root
				if r == nil && status.Draft != nil && status.Draft.Missing == "" {
					r = status.Draft
				}
				if r == nil {
					return fault.Errorf(fault.Usage, "there is no root that is signed: %w", index.ErrNone)
				}
				return fault.New(fault.Usage, os.WriteFile(out, r.File, 0o644))
			}
			if s.json {
				return json.NewEncoder(cmd.OutOrStdout()).Encode(status)
			}
			if status.Root == nil && status.Draft == nil {
				return fault.New(fault.Usage, index.ErrNone)
			}
			showRoot(cmd.OutOrStdout(), "root", status.Root)
			showRoot(cmd.OutOrStdout(), "draft of root", status.Draft)
			return nil
		},
	}
	s.register(cmd, false)
	flags := cmd.Flags()
	flags.StringArrayVar(&offline, "offline", nil, "public key `file` of somebody who signs roots; those named here take the place of all before")
	flags.StringArrayVar(&online, "online", nil, "public key `file` of whoever moves versions, or ENVIRONMENT=FILE for one that signs for this environment alone; those named here take the place of all before")
	flags.IntVar(&threshold, "threshold", 0, "how `many` of the offline keys a root needs (default more than half)")
	flags.BoolVar(&renew, "renew", false, "draft a root with the same keys and the stages of today, that counts for another year")
	flags.StringArrayVar(&by, "sign", nil, "sign the draft with this private key in a PEM `file`, or env:NAME")
	flags.StringVar(&draft, "draft", "", "`digest` of the draft that is meant: another one is not signed")
	flags.StringVar(&out, "write", "", "write the root that counts to a `file`, for those who read the index")
	flags.StringVar(&passphrase, "passphrase-file", "", "`file` with the passphrase of the key")
	return cmd
}

func showRoot(w io.Writer, what string, r *index.RootStatus) {
	if r == nil {
		return
	}
	fmt.Fprintf(w, "%s version %d, until %s\n", what, r.Version, r.Expires.Format(time.DateOnly))
	for _, id := range r.Offline {
		fmt.Fprintf(w, "  offline  %s\n", id)
	}
	fmt.Fprintf(w, "  needs    %d of %d\n", r.Threshold, len(r.Offline))
	for _, id := range r.Online {
		fmt.Fprintf(w, "  online   %s\n", id)
	}
	for _, stage := range slices.Sorted(maps.Keys(r.Own)) {
		for _, id := range r.Own[stage] {
			fmt.Fprintf(w, "  online   %s for %s\n", id, stage)
		}
	}
	switch {
	case r.Digest == "":
	case r.Missing == "":
		fmt.Fprintf(w, "  draft    %s\n  signed; slipway store sign has it come into force\n", r.Digest)
	default:
		fmt.Fprintf(w, "  draft    %s\n  lacks    %s\n", r.Digest, r.Missing)
	}
}

// signIndex signs what a store is at.
func (s *storage) signIndex(cmd *cobra.Command, st *store.Store, x *index.Index, keys []signature.Signer) error {
	u, err := x.Update(cmd.Context(), st, keys...)
	if err != nil {
		return err
	}
	if s.json {
		return json.NewEncoder(cmd.OutOrStdout()).Encode(u)
	}
	if len(u.Signed) > 0 {
		fmt.Fprintf(cmd.OutOrStdout(), "the index of line %d is signed: %s\n", u.Count, strings.Join(u.Signed, ", "))
	}
	for _, stage := range u.Behind {
		fmt.Fprintf(cmd.ErrOrStderr(), "  %s stays as it was signed last: none of the keys speaks for it\n", stage)
	}
	for _, note := range u.Notes {
		fmt.Fprintf(cmd.ErrOrStderr(), "  %s\n", note)
	}
	return nil
}

func newStoreSign() *cobra.Command {
	var s storage
	var by []string
	var passphrase string
	cmd := &cobra.Command{
		Use: "sign", Short: "Sign what a release store is at, for its readers",
		Long: `sign puts a file for each component of each environment on branch metadata, below metadata of The Update Framework that is
signed with --key, numbered and expires: within a day for the newest. So run it at every move and twice a day besides. It does
nothing where there is nothing new and nothing is half through its time. An environment that has a key of its own stays as it was
where that key is not given.`,
		Example: "  slipway store sign --key ci.key\n  slipway store sign --key ci.key --key production.key",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if len(by) == 0 {
				return fault.Errorf(fault.Usage, "sign with what? name an online key with --key; slipway store root prints which there are")
			}
			keys, err := signers(by, passphrase)
			if err != nil {
				return err
			}
			st, err := s.open()
			if err != nil {
				return err
			}
			x, err := s.openIndex()
			if err != nil {
				return err
			}
			return s.signIndex(cmd, st, x, keys)
		},
	}
	s.register(cmd, false)
	cmd.Flags().StringArrayVar(&by, "key", nil, "sign with this online key in a PEM `file`, or env:NAME")
	cmd.Flags().StringVar(&passphrase, "passphrase-file", "", "`file` with the passphrase of the key")
	return cmd
}
