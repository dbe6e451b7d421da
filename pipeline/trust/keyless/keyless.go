// Package keyless verifies signatures that were made without a key of one's own: by a certificate that lived for
// minutes, names a workflow and is in public logs, as Sigstore has it (https://docs.sigstore.dev/about/security/).
//
// It asks no network: everything but the trusted root and the policy is in the signature. What is accepted is narrower
// than what Sigstore allows: version 0.3 of the bundle, entries of Rekor v1 and v2 with, in a bundle, the log's proof, the
// time of the signature signed by the log (v1) or by a timestamp authority (RFC 3161), and a certificate that a log of
// certificates has seen.
//
// Sigstore's own library would bring 650 packages, as many as the whole pipeline has, and a go.mod with the SDKs of
// clouds; so these few formats are read here, with the standard library alone, and checked against cosign.
package keyless

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/slipway-build/slipway/pipeline/release/artifact"
	"github.com/slipway-build/slipway/pipeline/release/fault"
	"github.com/slipway-build/slipway/pipeline/trust/signature"
)

// maxPattern bounds the parts of a policy, in bytes.
const maxPattern = 1024

// Policy says whose signatures are accepted.
type Policy struct {
	// Identity is the URI or email address in the certificate: for GitHub Actions the URL of the workflow and its ref.
	// A * stands for any characters, but one before the first @ of the pattern for none beyond the first @ of an
	// identity: a branch that is called a@refs/tags/v1 is not taken for a tag.
	Identity string
	// Issuer vouched for the identity, such as https://token.actions.githubusercontent.com. It is compared exactly.
	Issuer string
}

// Check says why the policy cannot be used: it says too little, or its identity is a pattern that strangers could meet,
// such as https://github.com/*. The error is a fault.Usage.
func (p Policy) Check() error {
	literal, _, wild := strings.Cut(p.Identity, "*")
	isURI := strings.Contains(p.Identity, "://")
	switch {
	case p.Identity == "" || p.Issuer == "":
		return fault.Errorf(fault.Usage, "want the identity of the signer and the issuer that vouches for it")
	case len(p.Identity) > maxPattern || len(p.Issuer) > maxPattern:
		return fault.Errorf(fault.Usage, "the identity of the signer or its issuer is longer than %d bytes", maxPattern)
	case strings.Contains(p.Issuer, "*"):
		return fault.Errorf(fault.Usage, "issuer %q: no * is allowed; name the one issuer", p.Issuer)
	case !wild:
		return nil
	case isURI && strings.Count(literal, "/") < 4:
		return fault.Errorf(fault.Usage, "identity %q: the * stands where anybody could put a name; name host and owner, as in https://github.com/owner/*", p.Identity)
	case !isURI:
		_, domain, ok := strings.Cut(p.Identity, "@")
		if !ok || domain == "" || strings.Contains(domain, "*") {
			return fault.Errorf(fault.Usage, "identity %q: the * stands where anybody could put a name; name the domain, as in *@example.org", p.Identity)
		}
	}
	return nil
}

// Accepts says why somebody with these claims is not whom the policy means.
func (p Policy) Accepts(c Claims) error {
	if c.Issuer != p.Issuer {
		return fmt.Errorf("the identity of the signer was vouched for by %.200q and not by %q", c.Issuer, p.Issuer)
	}
	if !match(p.Identity, c.Identity) {
		return fmt.Errorf("it was signed by %.200q and not by %q", c.Identity, p.Identity)
	}
	return nil
}

// match compares an identity with a pattern. Each side is cut at its first @, if the pattern has one, so that no * goes
// across it.
func match(pattern, s string) bool {
	before, after, ok := strings.Cut(pattern, "@")
	if !ok {
		return glob(pattern, s)
	}
	name, ref, ok := strings.Cut(s, "@")
	return ok && glob(before, name) && glob(after, ref)
}

func glob(pattern, s string) bool {
	parts := strings.Split(pattern, "*")
	last := len(parts) - 1
	if last == 0 {
		return s == pattern
	}
	s, ok := strings.CutPrefix(s, parts[0])
	if !ok {
		return false
	}
	for _, p := range parts[1:last] {
		if _, s, ok = strings.Cut(s, p); !ok {
			return false
		}
	}
	return strings.HasSuffix(s, parts[last])
}

// Claims are what the certificate authority says of a signer. What follows the issuer is empty where the certificate
// does not have it (https://github.com/sigstore/fulcio/blob/main/docs/oid-info.md).
type Claims struct {
	Identity   string    // URI or email address
	Issuer     string    // of the token that proved the identity
	Repository string    // URI of the repository that was built
	Commit     string    // that was built
	Ref        string    // that the run was started for, such as refs/tags/v1.2.3
	Workflow   string    // URI of the instructions that signed, with their ref
	Run        string    // URI of the run
	Time       time.Time // when the log took the signature, or a timestamp authority saw it
}

// Verifier verifies signatures by the identity of who made them. Every error is a sentence that says what did not hold.
type Verifier struct {
	Root   TrustedRoot
	Policy Policy
}

// Blob says why b is not a signature over content, usually the bytes of a file, by whom the policy accepts.
func (v Verifier) Blob(b signature.Bundle, content []byte) (Claims, error) {
	if b.Message == nil {
		return Claims{}, errors.New("it signs no file")
	}
	s, err := open(b)
	if err != nil {
		return Claims{}, err
	}
	s.check = func(key signature.PublicKey) error { return b.Message.Verify(content, key) }
	s.record = hashedRekord(artifact.Sum(content), b.Message.Signature, s.certificate)
	return v.verify(s)
}

// Statement returns the in-toto statement in b, which somebody signed whom the policy accepts. No statement is returned
// that nobody did.
func (v Verifier) Statement(b signature.Bundle) ([]byte, Claims, error) {
	if b.Envelope == nil {
		return nil, Claims{}, errors.New("it signs no statement")
	}
	s, err := open(b)
	if err != nil {
		return nil, Claims{}, err
	}
	var statement []byte
	s.check = func(key signature.PublicKey) (err error) {
		statement, err = signature.VerifyEnvelope(*b.Envelope, signature.StatementType, key)
		return err
	}
	if s.record, err = envelope(*b.Envelope, s.certificate); err != nil {
		return nil, Claims{}, err
	}
	claims, err := v.verify(s)
	if err != nil {
		return nil, Claims{}, err
	}
	return statement, claims, nil
}

// signed is a signature with what vouches for it.
type signed struct {
	certificate []byte // DER
	entries     []signature.LogEntry
	timestamps  []signature.Timestamp
	record      record // of the log
	proven      bool   // whether an entry must come with its proof
	// check says why the signature was not made with key.
	check func(key signature.PublicKey) error
}

// open takes apart a bundle that ParseBundle may not have read.
func open(b signature.Bundle) (signed, error) {
	m := b.Material
	switch {
	case !signature.IsBundle(b.MediaType):
		return signed{}, fmt.Errorf("it is a bundle of type %.80q instead of %s", b.MediaType, signature.BundleMediaType)
	case b.Message != nil && b.Envelope != nil:
		return signed{}, errors.New("it signs both a file and a statement")
	case m.PublicKey != nil:
		return signed{}, errors.New("it was signed with a key and not with a certificate; verify it with the key")
	case m.Certificate == nil || m.Chain != nil:
		return signed{}, errors.New("it does not have the certificate of the signer alone")
	}
	s := signed{certificate: m.Certificate.RawBytes, entries: m.Entries, proven: true}
	if m.Timestamps != nil {
		s.timestamps = m.Timestamps.RFC3161
	}
	return s, nil
}

// verify holds a signature to everything but its content's meaning.
func (v Verifier) verify(s signed) (Claims, error) {
	if err := v.Policy.Check(); err != nil {
		return Claims{}, err
	}
	leaf, err := parseCertificate(s.certificate)
	if err != nil {
		return Claims{}, err
	}
	if err := s.check(leaf.key); err != nil {
		return Claims{}, err
	}
	if err := v.Policy.Accepts(leaf.claims); err != nil {
		return Claims{}, err
	}
	if len(s.entries) == 0 {
		return Claims{}, errors.New("it is in no transparency log")
	}
	s.record.key = leaf.key.Kind()
	stamped, why := v.timestamps(s, leaf)
	if why != nil && !stamped.IsZero() {
		return Claims{}, why
	}
	var errs []error
	for _, e := range s.entries {
		at, err := v.entry(s, leaf, e, stamped)
		if err == nil {
			claims := leaf.claims
			claims.Time = at.UTC()
			return claims, nil
		}
		if errors.Is(err, errNoTime) && why != nil {
			err = why
		}
		if !slices.ContainsFunc(errs, func(o error) bool { return o.Error() == err.Error() }) {
			errs = append(errs, err)
		}
	}
	return Claims{}, errors.Join(errs...)
}

// timestamps is the earliest time at which an authority saw the signature; zero if none did, with the reason if one is
// said to have. One of another time than that of the certificate is an error, with its time.
func (v Verifier) timestamps(s signed, leaf certificate) (time.Time, error) {
	var first time.Time
	var why error
	for _, t := range s.timestamps {
		at, err := v.Root.stamped(t.Signed, s.record.signature)
		if err != nil {
			why = err
			continue
		}
		if err := v.valid(leaf, at); err != nil {
			return at, err
		}
		first = earlier(first, at)
	}
	if !first.IsZero() {
		why = nil
	}
	return first, why
}

// earlier is the earlier of two times, of which a may be none.
func earlier(a, b time.Time) time.Time {
	if a.IsZero() || b.Before(a) {
		return b
	}
	return a
}

// valid says why the certificate was none at the time of the signature.
func (v Verifier) valid(leaf certificate, at time.Time) error {
	if at.Before(leaf.x509.NotBefore) || at.After(leaf.x509.NotAfter) {
		return fmt.Errorf("it was signed at %s, and the certificate was valid from %s to %s", stamp(at), stamp(leaf.x509.NotBefore), stamp(leaf.x509.NotAfter))
	}
	issuers, err := v.Root.issuers(leaf, at)
	if err != nil {
		return err
	}
	return v.Root.checkTimestamps(leaf, issuers)
}

// errNoTime tells of an entry whose log did not sign its time, as those of Rekor v2 are.
var errNoTime = errors.New("the log has not signed the time of the entry (there is no inclusion promise), and no timestamp authority has")

// entry is the time of a log's entry, which shows that the certificate was valid when the signature was made; stamped is
// that of a timestamp authority, if there is one.
func (v Verifier) entry(s signed, leaf certificate, e signature.LogEntry, stamped time.Time) (time.Time, error) {
	none := time.Time{}
	if err := s.record.check(e); err != nil {
		return none, err
	}
	log, err := v.Root.log(e)
	if err != nil {
		return none, err
	}
	logged := stamped
	if p := e.InclusionPromise; p != nil && len(p.SignedEntryTimestamp) > 0 {
		if err := log.checkPromise(e); err != nil {
			return none, err
		}
		logged = time.Unix(e.IntegratedTime, 0)
		if err := v.valid(leaf, logged); err != nil {
			return none, err
		}
	} else if logged.IsZero() || !s.proven { // without a proof the promise stands for it
		return none, errNoTime
	}
	if !log.valid.contains(logged) {
		return none, fmt.Errorf("the entry is of %s, when log %x was not to be believed", stamp(logged), log.id)
	}
	at := earlier(stamped, logged)
	if !s.proven {
		return at, nil
	}
	if e.InclusionProof == nil {
		return none, errors.New("there is no proof that the entry is in the log")
	}
	return at, log.checkProof(e.CanonicalizedBody, *e.InclusionProof)
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }
