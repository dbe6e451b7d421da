package publish

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"

	"github.com/slipway-build/slipway/pipeline/release/artifact"
	"github.com/slipway-build/slipway/pipeline/release/fault"
	"github.com/slipway-build/slipway/pipeline/release/manifest"
	"github.com/slipway-build/slipway/pipeline/trust/signature"
)

// maxSignatures bounds the signatures of images and charts, in files.
const maxSignatures = 20_000

// SignatureIndex is what the signatures of images and charts are found by.
const SignatureIndex = signature.LayoutDir + "/index.json"

// Contents are the files that a host of releases has of one, each list in the order in which it is put. What is only
// about the build, such as its log, is not among them.
type Contents struct {
	Files      []artifact.File // of the manifest
	Signatures []artifact.File // those that were made, release.json's last
	Names      []artifact.File // the lists of checksums and release.json, by which everything else is found
}

// All are all files in the order in which they are put.
func (c Contents) All() []artifact.File { return slices.Concat(c.Files, c.Signatures, c.Names) }

// Contents lists what a host has of the release. A list of checksums that does not say what the manifest says, or a signature
// under another digest than its own, is a fault.Mismatch.
func (r Release) Contents() (Contents, error) {
	self, ok := r.File(manifest.FileName)
	if !ok {
		return Contents{}, errors.New("the release was not opened")
	}
	lists, err := r.Lists()
	if err != nil {
		return Contents{}, err
	}
	c := Contents{Names: append(lists, self)}
	c.Files = slices.SortedFunc(slices.Values(r.Manifest.Files), func(a, b artifact.File) int { return strings.Compare(a.Path, b.Path) })
	c.Signatures, err = signatures(r)
	return c, err
}

// Lists are SHA256SUMS and the like, which say what the manifest says. One that does not is a fault.Mismatch.
func (r Release) Lists() ([]artifact.File, error) {
	self, _ := r.File(manifest.FileName)
	var out []artifact.File
	for _, l := range r.Manifest.Lists(self.Digest) {
		f, err := r.Hash(l.Name)
		if err != nil {
			return nil, fmt.Errorf("reading checksums: %w", err)
		}
		if f.Digest != artifact.Sum(l.Content) {
			return nil, fault.Errorf(fault.Mismatch, "%s does not say what %s says; `verify` shows where", l.Name, manifest.FileName)
		}
		out = append(out, f)
	}
	return out, nil
}

// signatures are those that a signing left: what others name comes before what names it.
func signatures(rel Release) ([]artifact.File, error) {
	const blobs = signature.LayoutDir + "/blobs/sha256"
	var names []string
	f, err := os.Open(rel.Path(blobs))
	if err == nil {
		entries, err := f.ReadDir(maxSignatures + 1)
		if err = errors.Join(ended(err), f.Close()); err != nil {
			return nil, fmt.Errorf("reading signatures: %w", err)
		}
		if len(entries) > maxSignatures {
			return nil, fault.Errorf(fault.Usage, "%s has more than %d files; sign the release again", blobs, maxSignatures)
		}
		for _, e := range entries {
			if _, err := artifact.ParseDigest("sha256:" + e.Name()); err == nil {
				names = append(names, blobs+"/"+e.Name())
			}
		}
		slices.Sort(names)
	} else if !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("reading signatures: %w", err)
	}
	names = append(names, signature.LayoutDir+"/oci-layout", SignatureIndex)
	if rel.Manifest.Provenance != "" {
		names = append(names, signature.AttestationPath(rel.Manifest.Name, rel.Manifest.Version.String()))
	}
	names = append(names, signature.Whole(rel.Manifest)...)
	files, err := rel.Unlisted(names)
	if err != nil {
		return nil, err
	}
	for _, f := range files {
		if hex, ok := strings.CutPrefix(f.Path, blobs+"/"); ok && f.Digest.Hex() != hex {
			return nil, fault.Errorf(fault.Mismatch, "%s has other bytes than its name says; sign the release again", f.Path)
		}
	}
	return files, nil
}

// Unlisted are those of the files in dist/ that are there and that the manifest does not list, such as signatures.
func (r Release) Unlisted(names []string) ([]artifact.File, error) {
	var out []artifact.File
	for _, name := range names {
		if _, listed := r.File(name); listed {
			continue
		}
		info, err := os.Lstat(r.Path(name))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("reading signatures: %w", err)
		}
		if !info.Mode().IsRegular() {
			return nil, fault.Errorf(fault.Usage, "%s is not a regular file; sign the release again", name)
		}
		f, err := r.Hash(name)
		if err != nil {
			return nil, fmt.Errorf("reading signatures: %w", err)
		}
		out = append(out, f)
	}
	return out, nil
}

// ended is err unless it says no more than that all was read.
func ended(err error) error {
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}
