// Package tuf reads, verifies and writes the metadata of The Update Framework
// (https://theupdateframework.github.io/specification/latest/): four roles that say who may sign what, how new it is and until when
// it counts, so that whoever brings the files can neither change them, nor hand out old ones for new, nor hold new ones back for
// longer than they say themselves.
//
// Every document has one reading, every file a bound in bytes that is known before it is fetched, and one key counts once,
// by whatever names. What is refused is a fault.Mismatch, what could not be had a fault.Transient.
package tuf

import (
	"bytes"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/slipway-build/slipway/pipeline/internal/canonjson"
	"github.com/slipway-build/slipway/pipeline/release/artifact"
	"github.com/slipway-build/slipway/pipeline/release/fault"
	"github.com/slipway-build/slipway/pipeline/trust/signature"
)

// Spec is the version of the specification that is written. Of what is read the major version has to be the same.
const Spec = "1.0.34"

// The roles that every repository has, which are the types of files as well. Delegated roles have the type targets.
const (
	RoleRoot      = "root"
	RoleTimestamp = "timestamp"
	RoleSnapshot  = "snapshot"
	RoleTargets   = "targets"
)

var topRoles = []string{RoleRoot, RoleTimestamp, RoleSnapshot, RoleTargets}

// Bounds of files, in bytes. That of a target is what its metadata says, up to MaxTarget.
const (
	MaxRoot      = 512 << 10
	MaxTimestamp = 64 << 10
	MaxSnapshot  = 1 << 20
	MaxTargets   = 8 << 20
	MaxTarget    = 16 << 20

	maxSignatures = 100
	maxName       = 200 // bytes of the name of a role
)

// Head is what every role's metadata has.
type Head struct {
	Type    string    `json:"_type"`
	Spec    string    `json:"spec_version"`
	Version int64     `json:"version"`
	Expires time.Time `json:"expires"` // UTC, whole seconds
}

// NewHead is the head of metadata to write.
func NewHead(role string, version int64, expires time.Time) Head {
	return Head{role, Spec, version, expires.UTC().Truncate(time.Second)}
}

// Expired says why metadata no longer counts at a time: somebody may hold newer ones back.
func (h Head) Expired(role string, now time.Time) error {
	if now.Before(h.Expires) {
		return nil
	}
	return fault.Errorf(fault.Mismatch, "%s version %d expired %s, and it is %s here: newer ones are held back, were not signed, or this machine's clock is wrong",
		role, h.Version, h.Expires.Format(time.RFC3339), now.UTC().Format(time.RFC3339))
}

func (h *Head) head() *Head { return h }

// Root says which keys sign for which role.
type Root struct {
	Head
	Consistent bool            `json:"consistent_snapshot"` // whether the names of files have their version or digest
	Keys       map[string]Key  `json:"keys"`                // by id
	Roles      map[string]Role `json:"roles"`
	// Custom is what else the holders of the keys sign for, which the specification leaves room for. Once a root has one, it is that of all
	// that follow: the same keys may sign the roots of other repositories.
	Custom json.RawMessage `json:"custom,omitempty"`
}

// Role is how many of which keys have to sign.
type Role struct {
	KeyIDs    []string `json:"keyids"`
	Threshold int      `json:"threshold"`
}

// Timestamp says which snapshot is the newest.
type Timestamp struct {
	Head
	Meta map[string]MetaFile `json:"meta"`
}

// Snapshot says which version of every targets file belongs to the others.
type Snapshot Timestamp

// MetaFile is what is known of a file before it is there.
type MetaFile struct {
	Version int64             `json:"version"`
	Length  int64             `json:"length,omitempty"` // bytes; 0 where it is not said
	Hashes  map[string]string `json:"hashes,omitempty"`
}

// Targets are files by path, and roles that say more of them.
type Targets struct {
	Head
	Targets     map[string]Target `json:"targets"`
	Delegations *Delegations      `json:"delegations,omitempty"`
}

// Target is a file.
type Target struct {
	Length int64             `json:"length"` // bytes
	Hashes map[string]string `json:"hashes"`
	Custom json.RawMessage   `json:"custom,omitempty"`
}

// Delegations are the roles that a targets role has others speak for, the first before the next.
type Delegations struct {
	Keys  map[string]Key `json:"keys"`
	Roles []Delegation   `json:"roles"`
}

// Delegation is such a role: it speaks for paths that match one of the patterns, or whose SHA-256 begins with one of the prefixes.
type Delegation struct {
	Name string `json:"name"`
	Role
	Paths       []string `json:"paths,omitempty"`
	Prefixes    []string `json:"path_hash_prefixes,omitempty"`
	Terminating bool     `json:"terminating"` // whether no other role is asked about these paths after it
}

// Covers reports whether the role speaks for a path. In a pattern * and ? stand for no slash.
func (d Delegation) Covers(name string) bool {
	sum := artifact.Sum([]byte(name)).Hex()
	return slices.ContainsFunc(d.Paths, func(p string) bool { ok, _ := path.Match(p, name); return ok }) ||
		slices.ContainsFunc(d.Prefixes, func(p string) bool { return strings.HasPrefix(sum, p) })
}

// NewMeta is what is said of a file that is there.
func NewMeta(version int64, b []byte) MetaFile {
	return MetaFile{version, int64(len(b)), sums(b)}
}

// NewTarget is the target that a file is. Custom is any JSON, nil for none.
func NewTarget(b []byte, custom json.RawMessage) Target {
	return Target{int64(len(b)), sums(b), custom}
}

func sums(b []byte) map[string]string { return map[string]string{"sha256": artifact.Sum(b).Hex()} }

// checkBytes holds bytes to a length, 0 for any, and to hashes, of which one at least has to be of a known kind.
func checkBytes(b []byte, length int64, hashes map[string]string) error {
	if length > 0 && int64(len(b)) != length {
		return fmt.Errorf("it has %d bytes, and %d were signed for", len(b), length)
	}
	known := len(hashes) == 0
	for kind, want := range hashes {
		var got string
		switch kind {
		case "sha256":
			sum := sha256.Sum256(b)
			got = hex.EncodeToString(sum[:])
		case "sha512":
			sum := sha512.Sum512(b)
			got = hex.EncodeToString(sum[:])
		default:
			continue
		}
		if known = true; got != want {
			return fmt.Errorf("its %s is %s, and %.128s was signed for", kind, got, want)
		}
	}
	if !known {
		return errors.New("none of its digests is of a kind that is known: sha256 or sha512")
	}
	return nil
}

// Check holds the bytes of a target to what is signed of it.
func (t Target) Check(b []byte) error {
	if len(t.Hashes) == 0 {
		return errors.New("no digest of it is signed")
	}
	if t.Length == 0 && len(b) > 0 {
		return fmt.Errorf("it has %d bytes, and none was signed for", len(b))
	}
	return checkBytes(b, t.Length, t.Hashes)
}

// checked is a role's metadata.
type checked interface {
	head() *Head
	check() error
}

func (h *Head) checkHead(role string) error {
	major, _, _ := strings.Cut(h.Spec, ".")
	switch {
	case h.Type != role:
		return fmt.Errorf("it is of type %.40q and not %s", h.Type, role)
	case major != "1":
		return fmt.Errorf("spec_version %.40q is not one of 1", h.Spec)
	case h.Version < 1:
		return fmt.Errorf("version %d is not a version", h.Version)
	case h.Expires.IsZero() || h.Expires.Location() != time.UTC || h.Expires.Nanosecond() != 0:
		return errors.New("expires is not a time of UTC in whole seconds")
	}
	return nil
}

func checkKeys(keys map[string]Key) error {
	for id, k := range keys {
		if k.id != id {
			return fmt.Errorf("key %.80q has the id of another key: its own is %s", id, k.id)
		}
	}
	return nil
}

func (r Role) check() error {
	if r.Threshold < 1 {
		return fmt.Errorf("a threshold of %d", r.Threshold)
	}
	there := map[string]bool{}
	for _, id := range r.KeyIDs {
		if there[id] {
			return fmt.Errorf("key %.80q is there twice", id)
		}
		there[id] = true
	}
	return nil
}

func (r *Root) check() error {
	for _, name := range topRoles {
		role, ok := r.Roles[name]
		if !ok {
			return fmt.Errorf("no keys for the role %s", name)
		}
		if err := role.check(); err != nil {
			return fmt.Errorf("role %s: %w", name, err)
		}
	}
	return checkKeys(r.Keys)
}

func (m MetaFile) check() error {
	if m.Version < 1 || m.Length < 0 {
		return fmt.Errorf("version %d of %d bytes is none", m.Version, m.Length)
	}
	return nil
}

func (t *Timestamp) check() error {
	m, ok := t.Meta[RoleSnapshot+".json"]
	if !ok {
		return errors.New("it names no snapshot")
	}
	return m.check()
}

func (s *Snapshot) check() error {
	if _, ok := s.Meta[RoleTargets+".json"]; !ok {
		return errors.New("it names no targets")
	}
	for name, m := range s.Meta {
		if err := m.check(); err != nil {
			return fmt.Errorf("%.80q: %w", name, err)
		}
	}
	return nil
}

func (t *Targets) check() error {
	for name, target := range t.Targets {
		if target.Length < 0 {
			return fmt.Errorf("%.80q has %d bytes", name, target.Length)
		}
	}
	if t.Delegations == nil {
		return nil
	}
	names := map[string]bool{}
	for _, d := range t.Delegations.Roles {
		if d.Name == "" || len(d.Name) > maxName || slices.Contains(topRoles, d.Name) || names[d.Name] {
			return fmt.Errorf("%.80q is not the name of a delegated role, or is there twice", d.Name)
		}
		names[d.Name] = true
		if err := d.Role.check(); err != nil {
			return fmt.Errorf("role %.80q: %w", d.Name, err)
		}
		for _, p := range d.Paths {
			if _, err := path.Match(p, ""); err != nil {
				return fmt.Errorf("role %.80q: %.80q is not a pattern of paths", d.Name, p)
			}
		}
	}
	return checkKeys(t.Delegations.Keys)
}

// File is a signed file. Nothing of it is verified by having one.
type File struct {
	signed     json.RawMessage
	form       []byte // canonical, of signed
	signatures []fileSignature
}

type fileSignature struct {
	KeyID string `json:"keyid"`
	Sig   string `json:"sig"` // in hex
}

type fileJSON struct {
	Signatures []fileSignature `json:"signatures"`
	Signed     json.RawMessage `json:"signed"`
}

// parse reads a file of a role into v. Keys that it does not know are allowed, since they are signed for as well.
func parse(b []byte, role string, limit int, v checked) (File, error) {
	f, err := parseFile(b, limit)
	if err == nil {
		err = canonjson.DecodeOpen(f.signed, v)
	}
	if err == nil {
		err = v.head().checkHead(role)
	}
	if err == nil {
		err = v.check()
	}
	return f, fault.New(fault.Mismatch, err)
}

func parseFile(b []byte, limit int) (File, error) {
	if len(b) > limit {
		return File{}, fmt.Errorf("more than %d bytes", limit)
	}
	var j fileJSON
	if err := canonjson.DecodeOpen(b, &j); err != nil {
		return File{}, err
	}
	if len(j.Signatures) > maxSignatures {
		return File{}, fmt.Errorf("more than %d signatures", maxSignatures)
	}
	for i, s := range j.Signatures {
		if slices.ContainsFunc(j.Signatures[:i], func(o fileSignature) bool { return o.KeyID == s.KeyID }) {
			return File{}, fmt.Errorf("two signatures of key %.80q", s.KeyID)
		}
	}
	form, err := Canonical(j.Signed)
	return File{j.Signed, form, j.Signatures}, err
}

// ParseRoot reads root metadata. Its signatures are not verified.
func ParseRoot(b []byte) (r Root, f File, err error) {
	f, err = parse(b, RoleRoot, MaxRoot, &r)
	return r, f, err
}

// ParseTimestamp reads timestamp metadata. Its signatures are not verified.
func ParseTimestamp(b []byte) (t Timestamp, f File, err error) {
	f, err = parse(b, RoleTimestamp, MaxTimestamp, &t)
	return t, f, err
}

// ParseSnapshot reads snapshot metadata. Its signatures are not verified.
func ParseSnapshot(b []byte) (s Snapshot, f File, err error) {
	f, err = parse(b, RoleSnapshot, MaxSnapshot, &s)
	return s, f, err
}

// ParseTargets reads metadata of targets or of a delegated role. Its signatures are not verified.
func ParseTargets(b []byte) (t Targets, f File, err error) {
	f, err = parse(b, RoleTargets, MaxTargets, &t)
	return t, f, err
}

// Holds are the keys of a role that have signed the file, by id: a key is counted once, by whatever ids.
func (f File) Holds(keys map[string]Key, role Role) []string {
	var held []string
	counted := map[artifact.Digest]bool{}
	for _, s := range f.signatures {
		key, ok := keys[s.KeyID]
		if !ok || !slices.Contains(role.KeyIDs, s.KeyID) || key.public.IsZero() || counted[key.public.Fingerprint()] {
			continue
		}
		if sig, err := hex.DecodeString(s.Sig); err == nil && key.verify(f.form, sig) == nil {
			counted[key.public.Fingerprint()] = true
			held = append(held, s.KeyID)
		}
	}
	return held
}

// Verify says why not as many of a role's keys as are needed have signed the file.
func (f File) Verify(keys map[string]Key, role Role) error {
	if held := f.Holds(keys, role); len(held) < role.Threshold || role.Threshold < 1 {
		return fault.Errorf(fault.Mismatch, "it has %d signatures that count, and needs %d of %d keys", len(held), role.Threshold, len(role.KeyIDs))
	}
	return nil
}

// Verify says why not as many keys as a role needs, by this root, have signed the file.
func (r Root) Verify(f File, role string) error { return f.Verify(r.Keys, r.Roles[role]) }

// Succeeds says why a root is not the one that follows another: it is the next version, and as many keys of both have signed it.
func (r Root) Succeeds(f File, before Root) error {
	if r.Version != before.Version+1 {
		return fault.Errorf(fault.Mismatch, "it is version %d, and %d follows %d", r.Version, before.Version+1, before.Version)
	}
	if err := before.Verify(f, RoleRoot); err != nil {
		return fmt.Errorf("by the root before it: %w", err)
	}
	if err := r.Verify(f, RoleRoot); err != nil {
		return fmt.Errorf("by itself: %w", err)
	}
	if before.Custom == nil {
		return nil
	}
	was, err := Canonical(before.Custom)
	if err != nil {
		return fault.New(fault.Mismatch, err)
	}
	if is, err := Canonical(r.Custom); err != nil || !bytes.Equal(is, was) {
		return fault.Errorf(fault.Mismatch, "it is signed for another purpose than the root before it: its custom part is %.200s, and was %.200s", r.Custom, was)
	}
	return nil
}

// New is the unsigned file of a role's metadata.
func New(v any) (File, error) {
	signed, err := canonjson.Encode(v)
	if err != nil {
		return File{}, err
	}
	form, err := Canonical(signed)
	return File{signed: signed, form: form}, err
}

// Digest names what is signed, whoever has signed it.
func (f File) Digest() artifact.Digest { return artifact.Sum(f.form) }

// Sign is the file with a signature besides, which takes the place of one of the same key.
func (f File) Sign(signer signature.Signer) (File, error) {
	key, err := NewKey(signer.Public())
	if err != nil {
		return File{}, fault.New(fault.Usage, err)
	}
	sig, err := signer.Sign(f.form)
	if err == nil {
		err = key.verify(f.form, sig)
	}
	if err != nil {
		return File{}, fmt.Errorf("signing metadata: %w", err)
	}
	f.signatures = append(slices.DeleteFunc(slices.Clone(f.signatures), func(s fileSignature) bool { return s.KeyID == key.id }),
		fileSignature{key.id, hex.EncodeToString(sig)})
	return f, nil
}

// Encode is the bytes of the file.
func (f File) Encode() ([]byte, error) {
	if f.signatures == nil {
		f.signatures = []fileSignature{}
	}
	return canonjson.Indent(fileJSON{f.signatures, f.signed})
}

// Write is a file of a role's metadata, signed.
func Write(v any, signers ...signature.Signer) ([]byte, error) {
	f, err := New(v)
	for _, s := range signers {
		if err == nil {
			f, err = f.Sign(s)
		}
	}
	if err != nil {
		return nil, err
	}
	return f.Encode()
}
