package keyless

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/asn1"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"
)

// oidTimestamps is the extension with the signed certificate timestamps
// (https://www.rfc-editor.org/rfc/rfc6962#section-3.3).
var oidTimestamps = asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 11129, 2, 4, 2}

// maxTimestamps bounds the timestamps in one certificate.
const maxTimestamps = 16

// timestamp is a log's promise that a certificate will be in it (https://www.rfc-editor.org/rfc/rfc6962#section-3.2).
type timestamp struct {
	logID      []byte
	millis     uint64 // since 1970
	extensions []byte
	hash, sig  byte // algorithms
	signature  []byte
}

// Algorithms of TLS 1.2 (https://www.rfc-editor.org/rfc/rfc5246#section-7.4.1.4.1).
const (
	tlsSHA256 = 4
	tlsRSA    = 1
	tlsECDSA  = 3
)

// checkTimestamps says why no log of certificates of the root has seen the certificate.
func (r TrustedRoot) checkTimestamps(leaf certificate, issuers []*x509.Certificate) error {
	value := extension(leaf.x509, oidTimestamps)
	if value == nil {
		return errors.New("the certificate carries no timestamp of a certificate log")
	}
	timestamps, err := parseTimestamps(value)
	if err != nil {
		return fmt.Errorf("reading the certificate's timestamps: %w", err)
	}
	tbs, err := withoutTimestamps(leaf.x509.RawTBSCertificate)
	if err != nil {
		return fmt.Errorf("reading the certificate's timestamps: %w", err)
	}
	why := errors.New("the certificate carries no timestamp of a certificate log")
	for _, t := range timestamps {
		log := find(r.ctlogs, t.logID)
		switch {
		case log == nil:
			why = fmt.Errorf("the certificate's timestamp is of log %x, which is not in the trusted root", t.logID)
			continue
		case log.details != "":
			why = fmt.Errorf("the certificate's timestamp is of log %x, whose key of kind %s is not read", t.logID, log.details)
			continue
		case t.millis > math.MaxInt64 || !log.valid.contains(time.UnixMilli(int64(t.millis))):
			why = fmt.Errorf("the certificate's timestamp is of a time when log %x was not to be believed", t.logID)
			continue
		}
		for _, issuer := range issuers {
			if t.verify(tbs, issuer, log) == nil {
				return nil
			}
		}
		why = fmt.Errorf("the certificate's timestamp was not signed by log %x over this certificate", t.logID)
	}
	return why
}

// verify says why t is none of the log over the certificate
// (https://www.rfc-editor.org/rfc/rfc6962#section-3.2, digitally-signed struct).
func (t timestamp) verify(tbs []byte, issuer *x509.Certificate, log *transparencyLog) error {
	want := byte(tlsECDSA)
	if log.key.Kind() != "ECDSA P-256" {
		want = tlsRSA
	}
	if t.hash != tlsSHA256 || t.sig != want {
		return errors.New("it is signed in a way that is not that of the log")
	}
	keyHash := sha256.Sum256(issuer.RawSubjectPublicKeyInfo)
	message := []byte{0, 0} // version 1, certificate_timestamp
	message = binary.BigEndian.AppendUint64(message, t.millis)
	message = append(message, 0, 1) // precert_entry
	message = append(message, keyHash[:]...)
	message = append(message, byte(len(tbs)>>16), byte(len(tbs)>>8), byte(len(tbs)))
	message = append(message, tbs...)
	message = binary.BigEndian.AppendUint16(message, uint16(len(t.extensions)))
	message = append(message, t.extensions...)
	return log.key.Verify(message, t.signature)
}

var errTimestamps = errors.New("they are damaged")

// parseTimestamps reads a SignedCertificateTimestampList.
func parseTimestamps(der []byte) ([]timestamp, error) {
	var list []byte
	if rest, err := asn1.Unmarshal(der, &list); err != nil || len(rest) > 0 {
		return nil, errTimestamps
	}
	list, rest, ok := vector(list)
	if !ok || len(rest) > 0 || len(list) == 0 {
		return nil, errTimestamps
	}
	var out []timestamp
	for len(list) > 0 {
		var b []byte
		if b, list, ok = vector(list); !ok || len(out) == maxTimestamps {
			return nil, errTimestamps
		}
		t, err := parseTimestamp(b)
		if err != nil {
			return nil, err
		}
		out = append(out, t)
	}
	return out, nil
}

func parseTimestamp(b []byte) (timestamp, error) {
	const head = 1 + sha256.Size + 8
	if len(b) < head {
		return timestamp{}, errTimestamps
	}
	if b[0] != 0 {
		return timestamp{}, fmt.Errorf("version %d of a timestamp is not read", b[0]+1)
	}
	t := timestamp{logID: b[1 : 1+sha256.Size], millis: binary.BigEndian.Uint64(b[1+sha256.Size : head])}
	var ok bool
	if t.extensions, b, ok = vector(b[head:]); !ok || len(b) < 2 {
		return timestamp{}, errTimestamps
	}
	t.hash, t.sig = b[0], b[1]
	if t.signature, b, ok = vector(b[2:]); !ok || len(b) > 0 {
		return timestamp{}, errTimestamps
	}
	return t, nil
}

// vector cuts off bytes that come after their length in two bytes.
func vector(b []byte) (content, rest []byte, ok bool) {
	if len(b) < 2 {
		return nil, nil, false
	}
	n := 2 + int(binary.BigEndian.Uint16(b))
	if len(b) < n {
		return nil, nil, false
	}
	return b[2:n], b[n:], true
}

// withoutTimestamps is the certificate as the log signed it: without the extension that came of it
// (https://www.rfc-editor.org/rfc/rfc6962#section-3.2). Everything else stays byte for byte.
func withoutTimestamps(tbs []byte) ([]byte, error) {
	fields, err := elements(tbs)
	if err != nil {
		return nil, err
	}
	i := slices.IndexFunc(fields, func(f asn1.RawValue) bool { return f.Class == asn1.ClassContextSpecific && f.Tag == 3 })
	if i < 0 {
		return nil, errTimestamps
	}
	extensions, err := elements(fields[i].Bytes)
	if err != nil {
		return nil, err
	}
	var kept []byte
	for _, e := range extensions {
		var oid asn1.ObjectIdentifier
		if _, err := asn1.Unmarshal(e.Bytes, &oid); err != nil {
			return nil, errTimestamps
		}
		if !oid.Equal(oidTimestamps) {
			kept = append(kept, e.FullBytes...)
		}
	}
	list, err := sequence(kept)
	if err != nil {
		return nil, err
	}
	var out []byte
	for j, f := range fields {
		b := f.FullBytes
		if j == i {
			if b, err = asn1.Marshal(asn1.RawValue{Class: asn1.ClassContextSpecific, Tag: 3, IsCompound: true, Bytes: list}); err != nil {
				return nil, err
			}
		}
		out = append(out, b...)
	}
	return sequence(out)
}

func sequence(content []byte) ([]byte, error) {
	return asn1.Marshal(asn1.RawValue{Class: asn1.ClassUniversal, Tag: asn1.TagSequence, IsCompound: true, Bytes: content})
}

// elements are what is in a SEQUENCE.
func elements(der []byte) ([]asn1.RawValue, error) {
	var seq asn1.RawValue
	if rest, err := asn1.Unmarshal(der, &seq); err != nil || len(rest) > 0 || seq.Tag != asn1.TagSequence || seq.Class != asn1.ClassUniversal {
		return nil, errTimestamps
	}
	var out []asn1.RawValue
	for rest := seq.Bytes; len(rest) > 0; {
		var e asn1.RawValue
		var err error
		if rest, err = asn1.Unmarshal(rest, &e); err != nil {
			return nil, errTimestamps
		}
		out = append(out, e)
	}
	return out, nil
}
