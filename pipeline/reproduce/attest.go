package reproduce

import (
	"cmp"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/slipway-build/slipway/pipeline/release/artifact"
	"github.com/slipway-build/slipway/pipeline/release/fault"
	"github.com/slipway-build/slipway/pipeline/release/manifest"
	"github.com/slipway-build/slipway/pipeline/release/provenance"
	"github.com/slipway-build/slipway/pipeline/trust/signature"
	"github.com/slipway-build/slipway/pipeline/verify"
)

// Attest signs the verdict of a report and writes it into the folder dir, under a name that tells the release and the key.
// There is none over a release that could not be rebuilt.
func Attest(r Report, signer signature.Signer, dir string) (string, error) {
	if r.Verdict == Skip {
		return "", fault.Errorf(fault.Mismatch, "%s was not reproduced, so there is no verdict to sign", r.title())
	}
	if r.Verdict == Fail && !slices.ContainsFunc(r.Rows, func(row Row) bool { return row.Verdict == Fail && row.Rebuilt+row.Published != "" }) {
		// A key that was not expected, or a tag that is missing here, is not a reason for others to refuse the bytes.
		return "", fault.Errorf(fault.Mismatch, "%s was not compared, so there is no verdict to sign", r.title())
	}
	if !artifact.IsCommit(r.Commit) {
		return "", fault.Errorf(fault.Mismatch, "%s names no commit, so there is no verdict to sign", r.title())
	}
	s := provenance.Summary{
		Resource: r.uri(), Commit: r.Commit, Policy: r.policy(),
		Verifier: map[string]string{"slipway": cmp.Or(r.Tool, "devel")}, Time: r.Finished, Passed: r.Verdict == Pass,
	}
	subjects := map[string]bool{}
	add := func(name string, d artifact.Digest) {
		if d != "" && !subjects[name] {
			subjects[name] = true
			s.Subject = append(s.Subject, provenance.Resource{Name: name, Digest: map[string]string{"sha256": d.Hex()}})
		}
	}
	for _, row := range r.Rows {
		if row.compared() && !row.Claimed {
			add(row.Path, row.Published)
		}
	}
	add(manifest.FileName, r.Manifest) // also where nothing was compared any more
	statement, err := s.Statement()
	if err != nil {
		return "", err
	}
	bundle, err := signature.SignStatement(signer, statement)
	if err != nil {
		return "", fmt.Errorf("signing the verdict: %w", err)
	}
	b, err := bundle.Encode()
	if err != nil {
		return "", err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", fault.New(fault.Usage, err)
	}
	name := fmt.Sprintf("%s_%s.%s%s", r.Name, r.Version, signer.Public().Fingerprint().Short(), verify.VerdictSuffix)
	name = filepath.Join(dir, strings.TrimLeft(notInNames.ReplaceAllString(name, "_"), "."))
	return name, writeWhole(name, append(b, '\n'))
}

var notInNames = regexp.MustCompile(`[^A-Za-z0-9._+-]+`)

// uri names the release: by the repository that it says it is of, which is the same for everybody, and else as a package of
// no known kind (https://github.com/package-url/purl-spec).
func (r Report) uri() string {
	if remotes.MatchString(r.Source) {
		return r.Source + "@" + cmp.Or(r.Tag, r.Commit)
	}
	return "pkg:generic/" + url.PathEscape(r.Name) + "@" + url.PathEscape(r.Version)
}

// policy says under which circumstances the verdict was reached.
func (r Report) policy() string {
	var names []string
	for _, v := range r.Variations {
		names = append(names, v.Name)
	}
	signed := "unsigned"
	if strings.HasPrefix(r.Signer, "key ") || strings.Contains(r.Signer, "identity") {
		signed = "signed"
	}
	return fmt.Sprintf("%s, %s engine, different: %s", signed, cmp.Or(r.Engine, "no"), cmp.Or(strings.Join(names, " "), "nothing"))
}

// writeWhole writes a file that is either there as a whole or not at all.
func writeWhole(name string, b []byte) error {
	f, err := os.CreateTemp(filepath.Dir(name), ".slipway-*")
	if err != nil {
		return fault.New(fault.Usage, err)
	}
	_, err = f.Write(b)
	err = errors.Join(err, f.Chmod(0o644), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), name)
	}
	if err != nil {
		return errors.Join(fault.New(fault.Build, fmt.Errorf("writing %s: %w", name, err)), os.Remove(f.Name()))
	}
	return nil
}
