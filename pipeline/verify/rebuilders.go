package verify

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/slipway-build/slipway/pipeline/release/artifact"
	"github.com/slipway-build/slipway/pipeline/release/fault"
	"github.com/slipway-build/slipway/pipeline/release/manifest"
	"github.com/slipway-build/slipway/pipeline/release/provenance"
	"github.com/slipway-build/slipway/pipeline/trust/signature"
)

// VerdictSuffix is what the name of a signed verdict ends with.
const VerdictSuffix = ".verdict" + signature.Suffix

// Rebuilders says how many people must have rebuilt a release, and who counts.
type Rebuilders struct {
	// Want is how many different ones must have signed that they got the same bytes; 0 asks for none.
	Want int
	// Keys are the public keys of those who are believed, each one rebuilder.
	Keys []signature.PublicKey
	// Verdicts are the files that they signed; see ReadVerdicts.
	Verdicts []Verdicted
}

// Verdicted is a verdict as somebody signed it.
type Verdicted struct {
	Name   string // of its file
	Bundle signature.Bundle
	Err    error // why it cannot be read; it counts for nobody then
}

// maxVerdicts bounds what is read from a folder of verdicts, in files.
const maxVerdicts = 10_000

// ReadVerdicts reads signed verdicts: files, and of folders those that end in VerdictSuffix. An error is a fault.Usage.
func ReadVerdicts(names []string) ([]Verdicted, error) {
	var files []string
	for _, name := range names {
		if real, err := filepath.EvalSymlinks(name); err == nil {
			name = real
		}
		info, err := os.Stat(name)
		if err != nil {
			return nil, fault.New(fault.Usage, fmt.Errorf("reading verdicts: %w", err))
		}
		if !info.IsDir() {
			files = append(files, name)
			continue
		}
		err = filepath.WalkDir(name, func(p string, e fs.DirEntry, err error) error {
			if err == nil && e.Type().IsRegular() && strings.HasSuffix(p, VerdictSuffix) {
				files = append(files, p)
			}
			if len(files) > maxVerdicts {
				return fmt.Errorf("more than %d", maxVerdicts)
			}
			return err
		})
		if err != nil {
			return nil, fault.New(fault.Usage, fmt.Errorf("reading verdicts: %w", err))
		}
	}
	var out []Verdicted
	for _, name := range files {
		info, err := os.Stat(name)
		if err == nil && info.Size() > maxBundle {
			err = fmt.Errorf("%s: more than %d bytes", name, maxBundle)
		}
		if err != nil {
			return nil, fault.New(fault.Usage, fmt.Errorf("reading verdicts: %w", err))
		}
		b, err := os.ReadFile(name)
		if err != nil {
			return nil, fault.New(fault.Usage, fmt.Errorf("reading verdicts: %w", err))
		}
		bundle, err := signature.ParseBundle([]byte(strings.TrimSuffix(string(b), "\n")))
		out = append(out, Verdicted{name, bundle, err}) // somebody else's broken file is not a reason to check nothing
	}
	return out, nil
}

// rebuilders holds the release to the verdicts of those who rebuilt it: enough of them, all the same, each by another key.
// One that is believed and got other bytes is enough to fail it.
func (d *dist) rebuilders() {
	const kind = "rebuilders"
	o := d.o.Rebuilders
	if o.Want <= 0 {
		return
	}
	self := artifact.Sum(d.raw)
	agree := map[artifact.Digest]string{}
	var refuse, others []string
	for _, v := range o.Verdicts {
		s, key, err := verdictOf(v, o.Keys)
		switch {
		case err != nil:
			others = append(others, fmt.Sprintf("%s: %v", v.Name, err))
			continue
		case !about(s, self):
			continue // another release, whose verdicts lie in the same folder
		case s.Commit != d.rel.Commit:
			refuse = append(refuse, fmt.Sprintf("%s rebuilt %.12s and not the release's commit", key.Short(), s.Commit))
		case !s.Passed:
			refuse = append(refuse, fmt.Sprintf("%s got other bytes (%s)", key.Short(), v.Name))
		default:
			agree[key] = v.Name
		}
	}
	slices.Sort(refuse)
	var keys []string
	for k := range agree {
		keys = append(keys, k.Short())
	}
	slices.Sort(keys)
	switch {
	case len(refuse) > 0:
		d.row(Fail, kind, d.name(), "%s", strings.Join(refuse, "; "))
	case len(agree) < o.Want:
		detail := fmt.Sprintf("%d of %d rebuilders got these bytes", len(agree), o.Want)
		if len(others) > 0 {
			detail += "; " + strings.Join(others, "; ")
		}
		d.row(Fail, kind, d.name(), "%s", detail)
	default:
		d.row(Pass, kind, d.name(), "%d of %d required: keys %s", len(agree), o.Want, strings.Join(keys, ", "))
	}
}

// verdictOf is what a rebuilder who is believed signed, and with which key.
func verdictOf(v Verdicted, keys []signature.PublicKey) (provenance.Summary, artifact.Digest, error) {
	if v.Err != nil {
		return provenance.Summary{}, "", v.Err
	}
	for _, k := range keys {
		statement, err := signature.VerifyStatement(v.Bundle, k)
		if err != nil {
			continue
		}
		s, err := provenance.ParseSummary(statement)
		return s, k.Fingerprint(), err
	}
	return provenance.Summary{}, "", errors.New("not signed by a trusted rebuilder")
}

// about reports whether a verdict is over the release with this manifest.
func about(s provenance.Summary, self artifact.Digest) bool {
	return slices.ContainsFunc(s.Subject, func(r provenance.Resource) bool {
		return r.Name == manifest.FileName && cmp.Or(r.Digest["sha256"], "-") == self.Hex()
	})
}
