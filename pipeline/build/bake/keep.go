package bake

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"unicode"

	"github.com/slipway-build/slipway/pipeline/build/oci"
	"github.com/slipway-build/slipway/pipeline/internal/bounded"
	"github.com/slipway-build/slipway/pipeline/platform/inventory"
	"github.com/slipway-build/slipway/pipeline/release/artifact"
	"github.com/slipway-build/slipway/pipeline/release/fault"
)

// Folder is the folder beside platform.yaml that has what is known of each base, in a folder of its name.
const Folder = "bases"

// maxSBOM bounds a bill of materials, in bytes.
const maxSBOM = 16 << 20

// BillOf is the name of the bill of materials of a platform, beside the record.
func BillOf(p artifact.Platform) string { return p.Slug() + ".cdx.json" }

// Types of what is pushed beside a base.
const (
	ArtifactType = "application/vnd.slipway.base.v1+json"
	billType     = "application/vnd.cyclonedx+json"
)

// Attached are the record and the bills, as they are pushed beside the base.
func (r Result) Attached() ([]oci.Attached, error) {
	record, err := r.Record.Encode()
	if err != nil {
		return nil, err
	}
	out := []oci.Attached{{Name: FileName, MediaType: ArtifactType, Content: record}}
	for _, m := range r.Record.Platforms {
		out = append(out, oci.Attached{Name: BillOf(m.Platform), MediaType: billType, Content: r.SBOMs[m.Platform]})
	}
	return out, nil
}

// Keep writes the record and the bills of a base into dir, the record last: what is beside an older record is noticed by its digests.
func (r Result) Keep(dir string) error {
	all, err := r.Attached()
	if err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	for i := len(all) - 1; i >= 0; i-- {
		name := filepath.Join(dir, all[i].Name)
		if err := os.WriteFile(name+".new", all[i].Content, 0o644); err != nil {
			return err
		}
		if err := os.Rename(name+".new", name); err != nil {
			return err
		}
	}
	return nil
}

// ReadKept reads the record of a base with its bills. It returns nil where there is none, and refuses a record that has not the digest, where one is wanted, and bills
// that are not those of the record.
func ReadKept(dir string, want artifact.Digest) (*Kept, error) {
	name := filepath.Join(dir, FileName)
	b, err := bounded.File(name, MaxRecord)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fault.New(fault.Usage, err)
	}
	if got := artifact.Sum(b); want != "" && got != want {
		return nil, fault.Errorf(fault.Mismatch, "%s has the digest %s, and platform.lock says %s; restore both from the same commit, or remove both and bake again", name, got, want)
	}
	k := &Kept{Packages: map[artifact.Platform][]string{}}
	if k.Record, err = DecodeRecord(b); err != nil {
		return nil, fault.Errorf(fault.Mismatch, "%s: %w", name, err)
	}
	for _, m := range k.Record.Platforms {
		name := filepath.Join(dir, BillOf(m.Platform))
		b, err := Bill(dir, m.Platform)
		if err != nil {
			return nil, err
		}
		if got := artifact.Sum(b); got != m.SBOM {
			return nil, fault.Errorf(fault.Mismatch, "%s has the digest %s, and its record says %s; take it from version control", name, got, m.SBOM)
		}
		if k.Packages[m.Platform], err = readBill(b); err != nil {
			return nil, fault.Errorf(fault.Mismatch, "%s: %w", name, err)
		}
	}
	return k, nil
}

// Bill is the bill of materials of a platform, as it lies beside the record.
func Bill(dir string, p artifact.Platform) ([]byte, error) {
	b, err := bounded.File(filepath.Join(dir, BillOf(p)), maxSBOM)
	return b, fault.New(fault.Mismatch, err)
}

// readBill reads the packages of a bill, in the form that list gives them.
func readBill(b []byte) ([]string, error) {
	all, err := inventory.ReadInstalled(b)
	if err != nil {
		return nil, err
	}
	var out []string
	for _, p := range all {
		if strings.ContainsFunc(p.Name+p.Version+p.Arch, func(r rune) bool { return r == ' ' || !unicode.IsPrint(r) }) {
			return nil, fmt.Errorf("%.200q %.80q has a space or a control character in its name, its version or its architecture", p.PURL, p.Version)
		}
		out = append(out, line(p.Kind, p.Name, p.Version, p.Arch))
	}
	slices.Sort(out)
	return out, nil
}

// Differ are the packages that differ between two lists, as lines: + for one that is new, - for one that is gone, and both versions of
// one that has another.
func Differ(before, after []string) []string {
	was, is := versions(before), versions(after)
	var out []string
	for _, name := range slices.Sorted(union(was, is)) {
		b, a := strings.Join(was[name], ", "), strings.Join(is[name], ", ")
		switch {
		case b == a:
		case b == "":
			out = append(out, fmt.Sprintf("+ %s %s", name, a))
		case a == "":
			out = append(out, fmt.Sprintf("- %s %s", name, b))
		default:
			out = append(out, fmt.Sprintf("%s %s -> %s", name, b, a))
		}
	}
	return out
}

// DifferBills are the packages that differ between two bills of materials, as Differ has them.
func DifferBills(before, after []byte) ([]string, error) {
	was, err := readBill(before)
	if err != nil {
		return nil, err
	}
	is, err := readBill(after)
	return Differ(was, is), err
}

// versions are the versions of each package of a list; a kernel may be there in several.
func versions(packages []string) map[string][]string {
	out := map[string][]string{}
	for _, p := range packages {
		if f := strings.Split(p, " "); len(f) == 4 {
			out[f[1]] = append(out[f[1]], f[2])
		}
	}
	return out
}

func union(a, b map[string][]string) func(yield func(string) bool) {
	return func(yield func(string) bool) {
		for name := range a {
			if !yield(name) {
				return
			}
		}
		for name := range b {
			if _, both := a[name]; !both && !yield(name) {
				return
			}
		}
	}
}
