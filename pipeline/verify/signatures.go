package verify

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/slipway-build/slipway/pipeline/internal/bounded"
	"github.com/slipway-build/slipway/pipeline/release/artifact"
	"github.com/slipway-build/slipway/pipeline/release/fault"
	"github.com/slipway-build/slipway/pipeline/release/manifest"
	"github.com/slipway-build/slipway/pipeline/release/provenance"
	"github.com/slipway-build/slipway/pipeline/trust/signature"
)

// maxBundle bounds a bundle, in bytes: a statement grows by a third in it.
const maxBundle = 18 << 20

// Authority is a possible signer of a release: the holder of a key, or the identity that a certificate names. An error of a method
// says why a signature is not one of theirs.
type Authority interface {
	// String names them for the report, such as key sha256:<hex>.
	String() string
	// Blob holds b to being a signature over content.
	Blob(b signature.Bundle, content []byte) error
	// Statement returns the in-toto statement that is signed in b.
	Statement(b signature.Bundle) ([]byte, error)
	// Forms hold a signature of an image, in either form, to being theirs.
	Forms() signature.Forms
}

// holder is who has the private half of a key.
type holder struct{ key signature.PublicKey }

func (h holder) String() string { return "key " + string(h.key.Fingerprint()) }

func (h holder) Blob(b signature.Bundle, content []byte) error {
	return signature.VerifyBlob(b, content, h.key)
}

func (h holder) Statement(b signature.Bundle) ([]byte, error) {
	return signature.VerifyStatement(b, h.key)
}

func (h holder) Forms() signature.Forms { return signature.ByKey(h.key) }

// ReadKeys reads the public keys in PEM files, for Options.Keys. An error is a fault.Usage that names the file.
func ReadKeys(files []string) ([]signature.PublicKey, error) {
	const maxKey = 64 << 10
	var keys []signature.PublicKey
	for _, name := range files {
		b, err := bounded.File(name, maxKey)
		if err != nil {
			return nil, fault.New(fault.Usage, fmt.Errorf("reading public key: %w", err))
		}
		key, err := signature.ParsePublicKey(b)
		if err != nil {
			return nil, fault.New(fault.Usage, fmt.Errorf("%s: %w", name, err))
		}
		keys = append(keys, key)
	}
	return keys, nil
}

// signatureKind is the kind of rows about signatures.
const signatureKind = "signature"

// isSignature reports whether a file that the manifest does not list has a name that a signing gives.
func (d *dist) isSignature(p string) bool { return isSignature(d.rel, p) }

func isSignature(rel manifest.Release, p string) bool {
	if slices.Contains(signature.Whole(rel), p) || p == attestation(rel) {
		return true
	}
	inside, ok := strings.CutPrefix(p, signature.LayoutDir+"/")
	if !ok {
		return false
	}
	hex, isBlob := strings.CutPrefix(inside, "blobs/sha256/")
	if isBlob {
		_, err := artifact.ParseDigest("sha256:" + hex)
		return err == nil
	}
	return inside == "index.json" || inside == "oci-layout"
}

// attestation is where the signed provenance lies; "" if there is none to be signed.
func (d *dist) attestation() string { return attestation(d.rel) }

func attestation(rel manifest.Release) string {
	if rel.Provenance == "" {
		return ""
	}
	return signature.AttestationPath(rel.Name, rel.Version.String())
}

// Uncompared says why a file of a release that its manifest does not list is not part of what the commit decides, and so of
// what is compared; "" for one that has no place in the release.
func Uncompared(rel manifest.Release, p string) string {
	switch {
	case p == attestation(rel):
		return "the signed provenance: it has the times of the run beside what the release says without them"
	case isSignature(rel, p):
		return "a signature: each holder of a key makes another, at another time"
	case isUncompared(p):
		return "tells of the machine that built or published"
	}
	return ""
}

// signatures holds the release to being signed by whom it should be.
func (d *dist) signatures() {
	if d.o.AllowUnsigned || d.o.HashesOnly {
		return
	}
	var there []string
	for p := range d.present {
		if _, ok := d.listed[p]; !ok && d.isSignature(p) {
			there = append(there, p)
		}
	}
	who := d.authorities()
	switch s := d.rel.Signing; {
	case d.raw == nil && len(d.o.Keys) == 0 && d.o.Identity != nil:
		d.row(Fail, signatureKind, strings.Join(d.names(), " "), "the identity signs as the run for one commit, which only %s tells; put it beside", manifest.FileName)
	case len(who) > 0:
		rows := d.best(who)
		d.report.Rows = append(d.report.Rows, rows...)
		whole := d.whole()
		if d.raw != nil && slices.ContainsFunc(rows, func(r Row) bool { return r.Verdict != Pass && slices.Contains(whole, r.Path) }) {
			d.strange = true
			d.row(Skip, "contents", d.name(), "nothing was opened, since what names it all is not signed as it should be")
		}
	case len(there) > 0:
		d.unchecked(there)
	case d.raw == nil:
		d.row(Skip, signatureKind, strings.Join(d.names(), " "), "only %s tells whether it should be signed; give --key, put it beside, or give --allow-unsigned", manifest.FileName)
	case s == nil:
		d.row(Pass, signatureKind, d.name(), "unsigned, and the release names no signer")
	case len(d.rel.Unpublishable) > 0 && d.o.AllowUnpublishable:
		d.row(Pass, signatureKind, d.name(), "unsigned, as it may be while it is unpublishable")
	case s.Key != "":
		d.row(Fail, signatureKind, d.name(), "the release is to be signed with key %s and is not; sign it", s.Key)
	default:
		d.row(Fail, signatureKind, d.name(), "the release is to be signed by %.200q and is not; sign it", s.Identity)
	}
}

// authorities are who may have signed: the holders of the keys that there are to check with, or the identity. Of
// several keys it is the one that the release names. Where it names another, or none but an identity, no signature can help it; they are checked all the same, so
// that the report tells of each.
func (d *dist) authorities() []Authority {
	var all []Authority
	var prints []string
	for _, k := range d.o.Keys {
		all = append(all, holder{k})
		prints = append(prints, string(k.Fingerprint()))
	}
	s := d.rel.Signing
	if d.o.Identity != nil && (len(all) == 0 || s != nil && s.Identity != "") {
		who := Identity{Verifier: *d.o.Identity, Release: d.rel}
		if s != nil && s.Identity == "" {
			d.row(Fail, signatureKind, d.name(), "the release is to be signed with key %s, and is checked for the %s", s.Key, who)
		}
		return []Authority{who}
	}
	if len(all) == 0 || s == nil {
		return all
	}
	if i := slices.Index(prints, string(s.Key)); i >= 0 {
		return all[i : i+1]
	}
	want := "with key " + string(s.Key)
	if s.Key == "" {
		want = fmt.Sprintf("by %.200q", s.Identity)
	}
	d.row(Fail, signatureKind, d.name(), "the release is to be signed %s, and is checked with key %s", want, strings.Join(prints, " or "))
	return all
}

// unchecked says of all signatures that there is nothing to check them with.
func (d *dist) unchecked(there []string) {
	why := "no key to check it with; give --key"
	if s := d.rel.Signing; s != nil && s.Identity != "" {
		why = "no identity to check it with; give --identity and --trusted-root"
	}
	images := false
	for _, p := range there {
		if strings.HasPrefix(p, signature.LayoutDir+"/") {
			images = true
			continue
		}
		d.row(Skip, signatureKind, p, "%s", why)
	}
	if images {
		d.row(Skip, signatureKind, signature.LayoutDir, "%s", why)
	}
}

// best is what is found with the key that most signatures hold with: one key signs all of a release.
func (d *dist) best(who []Authority) []Row {
	var rows []Row
	fewest := -1
	for _, a := range who {
		found := d.by(a)
		failed := 0
		for _, r := range found {
			if r.Verdict != Pass {
				failed++
			}
		}
		if fewest < 0 || failed < fewest {
			rows, fewest = d.inTerm(a, found), failed
		}
	}
	return rows
}

// inTerm fails the signatures that hold and do not count any more, or not yet.
func (d *dist) inTerm(a Authority, rows []Row) []Row {
	why := d.o.counts(a, d.rel.Time)
	for i, r := range rows {
		if why != nil && r.Verdict == Pass {
			rows[i].Verdict, rows[i].Detail = Fail, oneLine(why)
		}
	}
	return rows
}

// counts says why what the authority signed for a release of the time does not count.
func (o Options) counts(a Authority, release time.Time) error {
	h, ok := a.(holder)
	if !ok {
		return nil
	}
	key := h.key.Fingerprint()
	return o.Terms[key].Check(key, release)
}

// by holds every signature that there must be to being theirs.
func (d *dist) by(a Authority) []Row {
	var rows []Row
	row := func(path string, err error) {
		r := Row{Path: path, Kind: signatureKind, Verdict: Pass, Detail: a.String()}
		if err != nil {
			r.Verdict, r.Detail = Fail, oneLine(err)
		}
		rows = append(rows, r)
	}
	for _, name := range d.whole() {
		content := d.raw
		if name != signature.ManifestBundle {
			content = d.lists[strings.TrimSuffix(name, signature.Suffix)]
		}
		row(name, d.blob(a, name, content))
	}
	if d.beside {
		return rows
	}
	if name := d.attestation(); name != "" {
		row(name, d.statement(a, name))
	}
	images := signature.ImagesOf(d.rel)
	if _, ok := d.present[signature.LayoutDir+"/index.json"]; !ok {
		if d.o.Downloads { // they are in the registries
			return rows
		}
		for _, im := range images {
			row(im.String(), missing(a))
		}
		return rows
	}
	checks, err := signature.VerifyLayout(regular{d, signature.LayoutDir}, images, a.Forms())
	if err != nil {
		row(signature.LayoutDir, err)
	}
	for _, c := range checks {
		name := c.Name
		if !strings.ContainsAny(name, ":@") { // a file of the layout and no image
			name = path.Join(signature.LayoutDir, name)
		}
		row(name, c.Err)
	}
	return rows
}

func missing(a Authority) error { return fmt.Errorf("missing; want a signature by %s", a) }

// bundle reads the bundle in a file.
func (d *dist) bundle(a Authority, name string) (signature.Bundle, error) {
	b, err := d.read(name, maxBundle)
	if errors.Is(err, errMissing) {
		return signature.Bundle{}, missing(a)
	}
	if err != nil {
		return signature.Bundle{}, err
	}
	return signature.ParseBundle(b)
}

func (d *dist) blob(a Authority, name string, content []byte) error {
	b, err := d.bundle(a, name)
	if err != nil {
		return err
	}
	if content == nil {
		return errors.New("what it signs could not be read")
	}
	return a.Blob(b, content)
}

// statement holds the signed provenance to the one that the manifest lists.
func (d *dist) statement(a Authority, name string) error {
	b, err := d.bundle(a, name)
	if err != nil {
		return err
	}
	signed, err := a.Statement(b)
	if err != nil {
		return err
	}
	unsigned, err := d.read(d.rel.Provenance, maxStatement)
	if err == nil && artifact.Sum(unsigned) != d.listed[d.rel.Provenance].Digest {
		err = errors.New("it has changed")
	}
	if err != nil {
		return fmt.Errorf("%s: %w", d.rel.Provenance, err)
	}
	return provenance.Equal(signed, unsigned)
}

// regular is a folder of the release in which nothing can be opened but folders and regular files: a pipe would wait
// for a writer.
type regular struct {
	*dist
	dir string
}

// Open opens a folder or a regular file.
func (r regular) Open(name string) (fs.File, error) {
	full := path.Join(r.dir, name)
	if _, ok := r.present[full]; !ok && !r.folders[full] {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
	}
	return r.fsys.Open(full)
}
