package verify

import (
	"encoding/json"
	"io"

	"github.com/slipway-build/slipway/pipeline/release/fault"
)

// Flags are what a person says of a verification: the same to the pipeline and to the small tool, which print the same.
type Flags struct {
	Options
	KeyFiles, RebuilderKeys []string // PEM files
	Verdicts                []string // signed verdicts, or folders of them
	By                      IdentityFlags
	JSON, Verbose           bool
}

// flagSet is what Register needs of the flags of a command.
type flagSet interface {
	BoolVar(p *bool, name string, value bool, usage string)
	IntVar(p *int, name string, value int, usage string)
	StringVar(p *string, name, value, usage string)
	StringArrayVar(p *[]string, name string, value []string, usage string)
}

// Register adds the flags to those of a command. Key and identity are what their descriptions say besides.
func (f *Flags) Register(flags flagSet, key, identity string) {
	flags.BoolVar(&f.JSON, "json", false, "print JSON")
	flags.BoolVar(&f.Verbose, "verbose", false, "print every check and not only those that did not pass")
	flags.StringArrayVar(&f.KeyFiles, "key", nil, "public key in a PEM `file` that the release must be signed with; if several are given, one is enough"+key)
	flags.StringVar(&f.By.Identity, "identity", "", "URL of the `workflow` that must have signed the release, in which * stands for anything"+identity)
	flags.StringVar(&f.By.Issuer, "issuer", GitHubIssuer, "`URL` of the issuer that vouches for the workflow")
	flags.StringVar(&f.By.Root, "trusted-root", "", "`file` with the keys of Sigstore's services, as cosign trusted-root create writes it")
	flags.StringVar(&f.Release, "release", "", "folder or `URL` of the release that the files are of (default the folder that they are in)")
	flags.IntVar(&f.Rebuilders.Want, "rebuilders", 0, "`number` of rebuilders who must have signed that they got the same bytes")
	flags.StringArrayVar(&f.RebuilderKeys, "rebuilder-key", nil, "public key in a PEM `file` of a rebuilder who counts")
	flags.StringArrayVar(&f.Verdicts, "verdicts", nil, "`path` of signed verdicts, or of a folder that has some")
	flags.StringVar(&f.Version, "want", "", "`version` that the release must be")
	flags.BoolVar(&f.AllowUnsigned, "allow-unsigned", false, "ignore signatures, whether there are any or not")
	flags.BoolVar(&f.AllowUnpublishable, "allow-unpublishable", false, "accept a release that its manifest marks as not to be published, such as one with stand-in bases")
}

// Check says what of the flags contradicts itself, as a fault.Usage.
func (f *Flags) Check() error {
	if f.AllowUnsigned && len(f.KeyFiles) > 0 {
		return fault.Errorf(fault.Usage, "--key and --allow-unsigned cannot be used together: signatures are either checked or ignored")
	}
	if want := f.Rebuilders.Want; want < 0 || want > len(f.RebuilderKeys) || (want > 0) != (len(f.Verdicts) > 0) {
		return fault.Errorf(fault.Usage, "--rebuilders %d, with %d times --rebuilder-key and %d times --verdicts: name the key of each rebuilder who counts, and where their signed verdicts are",
			want, len(f.RebuilderKeys), len(f.Verdicts))
	}
	return nil
}

// Read reads the files that the flags name into Options, to what is there. An error is a fault.Usage.
func (f *Flags) Read() error {
	keys, err := ReadKeys(f.KeyFiles)
	if err != nil {
		return err
	}
	f.Keys = append(f.Keys, keys...)
	if f.Identity, err = f.By.Verifier(); err != nil {
		return err
	}
	if f.Rebuilders.Keys, err = ReadKeys(f.RebuilderKeys); err != nil {
		return err
	}
	f.Rebuilders.Verdicts, err = ReadVerdicts(f.Verdicts)
	return err
}

// Write prints a report in the way that the flags ask for.
func (f *Flags) Write(w io.Writer, r Report) error {
	switch {
	case f.JSON:
		enc := json.NewEncoder(w)
		enc.SetIndent("", "  ")
		return enc.Encode(r)
	case f.Verbose:
		return r.WriteText(w)
	}
	return r.WriteSummary(w)
}
