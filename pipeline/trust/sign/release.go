package sign

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path"
	"slices"

	"github.com/slipway-build/slipway/pipeline/internal/bounded"
	"github.com/slipway-build/slipway/pipeline/release/artifact"
	"github.com/slipway-build/slipway/pipeline/release/fault"
	"github.com/slipway-build/slipway/pipeline/release/manifest"
	"github.com/slipway-build/slipway/pipeline/release/provenance"
	"github.com/slipway-build/slipway/pipeline/trust/signature"
)

// maxFile bounds what is read of a release: its manifest, its checksums, its provenance. Bytes.
const maxFile = 24 << 20

// Maker makes the signatures of a release. That with a key is made here; a signature of an identity takes services that
// vouch for it.
type Maker interface {
	SignBlob(ctx context.Context, content []byte) (signature.Bundle, error)
	SignStatement(ctx context.Context, statement []byte) (signature.Bundle, error)
	SignImage(ctx context.Context, im signature.Image) ([]signature.Object, error)
}

// keyed is the Maker with a key.
type keyed struct{ signature.Signer }

func (k keyed) SignBlob(_ context.Context, content []byte) (signature.Bundle, error) {
	return signature.SignBlob(k.Signer, content)
}

func (k keyed) SignStatement(_ context.Context, statement []byte) (signature.Bundle, error) {
	return signature.SignStatement(k.Signer, statement)
}

func (k keyed) SignImage(_ context.Context, im signature.Image) ([]signature.Object, error) {
	return signature.SignImage(k.Signer, im)
}

// Options say with what a release is signed: with a key or by an identity.
type Options struct {
	Signer   signature.Signer // the key; nil where Identity signs
	Identity Maker            // nil where a key signs
	// Run is what the signed provenance says of the run that built. It is not part of what is compared.
	Run provenance.Metadata
}

// Result is what a signing wrote.
type Result struct {
	Key    artifact.Digest // fingerprint of the public key; "" for an identity
	Files  []string        // slash-separated paths below dist/, sorted
	Images []signature.Image
}

// Release signs the finished release in dir: its lists of checksums, release.json, the provenance, and every image and chart
// that the manifest names by digest. It believes the manifest, and holds the lists and the provenance to it; no other file
// is read, so the signer checks the release before.
//
// Everything is written beside its place first and moved there when all of it is done. After a signing that was killed
// the same call completes it; one with another key or another release replaces what is there. Two at once are not
// provided for. A release that contradicts itself is a fault.Mismatch, one that another key is to sign a
// fault.Credentials.
func Release(ctx context.Context, dir string, o Options) (Result, error) {
	maker := o.Identity
	if maker == nil {
		if o.Signer == nil || o.Signer.Public().IsZero() {
			return Result{}, fault.Errorf(fault.Usage, "signing: there is no key")
		}
		maker = keyed{o.Signer}
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return Result{}, fault.New(fault.Usage, fmt.Errorf("opening release: %w", err))
	}
	defer root.Close()
	s := signing{ctx: ctx, root: root, o: o, maker: maker, files: map[string][]byte{}}
	if err := s.sign(); err != nil {
		return Result{}, err
	}
	if err := s.write(); err != nil {
		return Result{}, fmt.Errorf("writing signatures: %w", err)
	}
	result := Result{Files: slices.Sorted(maps.Keys(s.files)), Images: s.images}
	if o.Identity == nil {
		result.Key = o.Signer.Public().Fingerprint()
	}
	return result, nil
}

type signing struct {
	ctx    context.Context
	root   *os.Root
	o      Options
	maker  Maker
	files  map[string][]byte // by slash-separated path
	images []signature.Image
}

func (s *signing) sign() error {
	raw, err := s.read(manifest.FileName)
	if err != nil {
		return err
	}
	rel, err := manifest.Decode(bytes.NewReader(raw))
	switch {
	case fault.CodeOf(err) == fault.Usage: // only another version reads it
		return fmt.Errorf("signing: %w", err)
	case err != nil:
		return fault.Errorf(fault.Mismatch, "signing: %w; build the release again", err)
	case len(rel.Unknown) > 0: // a signature would vouch for what was not looked at
		return fault.Errorf(fault.Usage, "signing: %s is of minor version %d, which is later than this program knows; sign with the version that built it", manifest.FileName, rel.Minor)
	}
	if err := s.allowed(rel); err != nil {
		return err
	}
	whole := map[string][]byte{signature.ManifestBundle: raw}
	for _, l := range rel.Lists(artifact.Sum(raw)) {
		got, err := s.read(l.Name)
		if err != nil {
			return err
		}
		if !bytes.Equal(got, l.Content) {
			return fault.Errorf(fault.Mismatch, "signing: %s is not that of %s; build the release again", l.Name, manifest.FileName)
		}
		whole[l.Name+signature.Suffix] = l.Content
	}
	for name, content := range whole {
		if err := s.ctx.Err(); err != nil {
			return err
		}
		b, err := s.maker.SignBlob(s.ctx, content)
		if err != nil {
			return err
		}
		if err := s.add(name, b); err != nil {
			return err
		}
	}
	if rel.Provenance != "" {
		if err := s.provenance(rel); err != nil {
			return err
		}
	}
	return s.layout(rel)
}

// allowed refuses a key that the release is not to be signed with: a verifier would refuse the signature.
func (s *signing) allowed(rel manifest.Release) error {
	w := rel.Signing
	if s.o.Identity != nil {
		if w != nil && w.Key != "" {
			return fault.Errorf(fault.Credentials, "signing: the release is to be signed with key %s, and not by an identity", w.Key)
		}
		return nil
	}
	have := s.o.Signer.Public().Fingerprint()
	switch {
	case w == nil || w.Key == have:
		return nil
	case w.Key == "":
		return fault.Errorf(fault.Credentials, "signing: the release is to be signed by %.120q, and not with a key", w.Identity)
	default:
		return fault.Errorf(fault.Credentials, "signing: the release is to be signed with key %s, and this one is %s", w.Key, have)
	}
}

// add puts a bundle among the files, with the newline that text files end in.
func (s *signing) add(name string, b signature.Bundle) error {
	content, err := b.Encode()
	if err == nil {
		s.files[name] = append(content, '\n')
	}
	return err
}

func (s *signing) provenance(rel manifest.Release) error {
	unsigned, err := s.read(rel.Provenance)
	if err != nil {
		return err
	}
	i := slices.IndexFunc(rel.Files, func(f artifact.File) bool { return f.Path == rel.Provenance })
	if got := artifact.Sum(unsigned); i < 0 || rel.Files[i].Digest != got {
		return fault.Errorf(fault.Mismatch, "signing: %s has changed: its digest is %s and not that of %s", rel.Provenance, got, manifest.FileName)
	}
	statement, err := provenance.WithMetadata(unsigned, s.o.Run)
	if err != nil {
		return fault.New(fault.Mismatch, fmt.Errorf("%s: %w", rel.Provenance, err))
	}
	b, err := s.maker.SignStatement(s.ctx, statement)
	if err != nil {
		return err
	}
	name := signature.AttestationPath(rel.Name, rel.Version.String())
	if slices.ContainsFunc(rel.Files, func(f artifact.File) bool { return f.Path == name }) {
		return fault.Errorf(fault.Mismatch, "signing: %s is a file of the release, and the signed provenance has that name", name)
	}
	return s.add(name, b)
}

func (s *signing) layout(rel manifest.Release) error {
	s.images = signature.ImagesOf(rel)
	var objects []signature.Object
	for _, im := range s.images {
		if err := s.ctx.Err(); err != nil {
			return err
		}
		if err := im.Check(); err != nil {
			return fault.New(fault.Mismatch, fmt.Errorf("%s: %s: %w", manifest.FileName, im, err))
		}
		signed, err := s.maker.SignImage(s.ctx, im)
		if err != nil {
			return err
		}
		objects = append(objects, signed...)
	}
	files, err := signature.Layout(objects)
	if err != nil {
		return err
	}
	for name, content := range files {
		s.files[signature.LayoutDir+"/"+name] = content
	}
	return nil
}

func (s *signing) read(name string) ([]byte, error) {
	info, err := s.root.Lstat(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fault.Errorf(fault.Usage, "signing: there is no %s in %s; name the dist/ folder of a finished release", name, s.root.Name())
	}
	if err == nil && !info.Mode().IsRegular() {
		return nil, fault.Errorf(fault.Mismatch, "reading release: %s is not a regular file", name)
	}
	if err != nil {
		return nil, fmt.Errorf("reading release: %w", err)
	}
	b, err := bounded.FS(s.root.FS(), name, maxFile)
	if bounded.IsTooLarge(err) {
		err = fault.New(fault.Mismatch, err)
	}
	if err != nil {
		return nil, fmt.Errorf("reading release: %w", err)
	}
	return b, nil
}

// write puts everything into the work folder and moves it from there. The bundle of the manifest goes last: a release
// that has it has the rest.
func (s *signing) write() error {
	work := signature.WorkDir
	if err := s.root.RemoveAll(work); err != nil {
		return err
	}
	if err := s.root.MkdirAll(work+"/"+signature.LayoutDir, 0o755); err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(s.files)) {
		if err := s.ctx.Err(); err != nil {
			return errors.Join(err, s.root.RemoveAll(work))
		}
		if err := s.put(work+"/"+name, s.files[name]); err != nil {
			return errors.Join(err, s.root.RemoveAll(work))
		}
	}
	if err := s.replace(); err != nil {
		return err
	}
	return s.root.RemoveAll(work)
}

// put writes a file and waits until it is on the disk.
func (s *signing) put(name string, content []byte) error {
	if err := s.root.MkdirAll(path.Dir(name), 0o755); err != nil {
		return err
	}
	f, err := s.root.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	return errors.Join(err, f.Sync(), f.Close())
}

func (s *signing) replace() error {
	work := signature.WorkDir
	// What says that the release is signed goes away before anything that it vouches for is replaced.
	if err := s.root.Remove(signature.ManifestBundle); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := s.root.Rename(signature.LayoutDir, work+"/replaced"); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := s.root.Rename(work+"/"+signature.LayoutDir, signature.LayoutDir); err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(s.files)) {
		if path.Dir(name) != "." && path.Dir(name) != signature.AttestationsDir || name == signature.ManifestBundle {
			continue
		}
		if err := s.root.MkdirAll(path.Dir(name), 0o755); err != nil {
			return err
		}
		if err := s.root.Rename(work+"/"+name, name); err != nil {
			return err
		}
	}
	return s.root.Rename(work+"/"+signature.ManifestBundle, signature.ManifestBundle)
}
