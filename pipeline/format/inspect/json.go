package inspect

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/slipway-build/slipway/pipeline/internal/canonjson"
	"github.com/slipway-build/slipway/pipeline/release/artifact"
)

// object is an object of JSON. Unlike a struct it tells keys apart by letter case.
type object map[string]json.RawMessage

// readObject reads one JSON document that has one reading, an object.
func readObject(b []byte) (object, error) {
	var o object
	err := canonjson.DecodeOpen(b, &o)
	return o, ends(err)
}

// text is the text that has the key, or "".
func (o object) text(key string) string {
	var s string
	if json.Unmarshal(o[key], &s) != nil {
		return ""
	}
	return s
}

// object is the object that has the key, or an empty one.
func (o object) object(key string) object {
	var v object
	if json.Unmarshal(o[key], &v) != nil {
		return nil
	}
	return v
}

// list are the objects of the list that has the key, which may be missing.
func (o object) list(key string) ([]object, error) {
	var v []object
	if raw, ok := o[key]; ok {
		if err := json.Unmarshal(raw, &v); err != nil {
			return nil, fmt.Errorf("reading %s: %w", key, err)
		}
	}
	return v, nil
}

// texts keeps the texts that have the keys as fields.
func (j *job) texts(prefix string, o object, keys ...string) error {
	for _, key := range keys {
		if s := o.text(key); s != "" {
			if err := j.field(prefix+key, s); err != nil {
				return err
			}
		}
	}
	return nil
}

// readFile reads the whole file as a JSON document.
func (j *job) readFile() (object, error) {
	if j.size > j.MaxDocument {
		return nil, fmt.Errorf("the document has %d bytes; at most %d are read", j.size, j.MaxDocument)
	}
	b, err := j.bytesAt(0, j.size)
	if err != nil {
		return nil, err
	}
	return readObject(b)
}

// sha256Of is the digest among the checksums that lists of a bill of materials have.
func sha256Of(list []object, name, algorithm, value string) (artifact.Digest, error) {
	var digest artifact.Digest
	for _, c := range list {
		if c.text(name) != algorithm {
			continue
		}
		d, err := artifact.ParseDigest("sha256:" + strings.ToLower(c.text(value)))
		if err != nil {
			return "", err
		}
		if digest != "" && d != digest {
			return "", errors.New("the subject has two SHA-256 digests")
		}
		digest = d
	}
	return digest, nil
}

// subject keeps what a bill of materials says of its subject, the digest under the key of its format.
func (j *job) subject(format, name, version string, digest artifact.Digest) error {
	if name == "" {
		return errors.New("its subject has no name")
	}
	j.facts.Name, j.facts.Version = name, version
	if digest == "" {
		return nil
	}
	return j.field(format+".digest", string(digest))
}

// cycloneDX reads a bill of materials (https://cyclonedx.org/docs/1.6/json/).
func (j *job) cycloneDX() error {
	doc, err := j.readFile()
	if err != nil {
		return err
	}
	if doc.text("bomFormat") != "CycloneDX" || doc.text("specVersion") == "" {
		return errors.New("not CycloneDX: its bomFormat or specVersion is missing")
	}
	components, err := doc.list("components")
	if err != nil {
		return err
	}
	meta := doc.object("metadata")
	about := meta.object("component")
	hashes, err := about.list("hashes")
	if err != nil {
		return err
	}
	digest, err := sha256Of(hashes, "alg", "SHA-256", "content")
	if err != nil {
		return err
	}
	return errors.Join(
		j.number("cyclonedx.components", int64(len(components))),
		j.texts("cyclonedx.", doc, "specVersion", "serialNumber"),
		j.texts("cyclonedx.metadata.", meta, "timestamp"),
		j.texts("cyclonedx.subject.", about, "type", "purl", "bom-ref"),
		j.subject("cyclonedx", about.text("name"), about.text("version"), digest),
	)
}

// spdx reads a bill of materials of version 2 (https://spdx.github.io/spdx-spec/v2.3/). Its subject is what it
// describes; that is not counted as a component.
func (j *job) spdx() error {
	doc, err := j.readFile()
	if err != nil {
		return err
	}
	const self = "SPDXRef-DOCUMENT"
	if !strings.HasPrefix(doc.text("spdxVersion"), "SPDX-2.") || doc.text("SPDXID") != self {
		return errors.New("not SPDX of version 2: its spdxVersion or SPDXID is missing")
	}
	var described []string
	if raw, ok := doc["documentDescribes"]; ok {
		if err := json.Unmarshal(raw, &described); err != nil {
			return fmt.Errorf("reading documentDescribes: %w", err)
		}
	}
	relations, err := doc.list("relationships")
	if err != nil {
		return err
	}
	for _, r := range relations {
		from, typ, to := r.text("spdxElementId"), r.text("relationshipType"), r.text("relatedSpdxElement")
		switch {
		case typ == "DESCRIBES" && from == self:
			described = append(described, to)
		case typ == "DESCRIBED_BY" && to == self:
			described = append(described, from)
		}
	}
	slices.Sort(described)
	if described = slices.Compact(described); len(described) != 1 {
		return fmt.Errorf("it describes %d things; it should describe one", len(described))
	}
	packages, err := doc.list("packages")
	if err != nil {
		return err
	}
	files, err := doc.list("files")
	if err != nil {
		return err
	}
	components := len(packages)
	ids := map[string]bool{}
	var about object
	for i, p := range append(slices.Clone(packages), files...) {
		id := p.text("SPDXID")
		if ids[id] || id == "" {
			return fmt.Errorf("the SPDXID %.80q is empty or stands twice", id)
		}
		ids[id] = true
		if id != described[0] {
			continue
		}
		if about = p; i < len(packages) {
			components--
		}
	}
	if about == nil {
		return fmt.Errorf("it describes %.80q, which it does not have", described[0])
	}
	sums, err := about.list("checksums")
	if err != nil {
		return err
	}
	digest, err := sha256Of(sums, "algorithm", "SHA256", "checksumValue")
	if err != nil {
		return err
	}
	name := about.text("name")
	if name == "" {
		name = about.text("fileName")
	}
	return errors.Join(
		j.number("spdx.components", int64(components)),
		j.texts("spdx.", doc, "spdxVersion", "name", "documentNamespace"),
		j.texts("spdx.", doc.object("creationInfo"), "created"),
		j.subject("spdx", name, about.text("versionInfo"), digest),
	)
}

// payloadType is the type of in-toto statements in an envelope.
const payloadType = "application/vnd.in-toto+json"

// inToto reads a statement, bare or in a DSSE envelope, and keeps its subjects as entries, whose names are not paths
// (https://github.com/in-toto/attestation/blob/main/spec/v1/statement.md,
// https://github.com/secure-systems-lab/dsse/blob/master/envelope.md). Signatures are counted and not checked.
func (j *job) inToto() error {
	doc, err := j.readFile()
	if err != nil {
		return err
	}
	if raw, ok := doc["payload"]; ok {
		if doc.text("payloadType") != payloadType {
			return fmt.Errorf("an envelope of %.80q; it should be %s", doc.text("payloadType"), payloadType)
		}
		signatures, err := doc.list("signatures")
		if err != nil {
			return err
		}
		var payload []byte
		var encoded string
		if err := json.Unmarshal(raw, &encoded); err != nil {
			return fmt.Errorf("reading the payload: %w", err)
		}
		if payload, err = base64.StdEncoding.Strict().DecodeString(encoded); err != nil {
			return fmt.Errorf("reading the payload: %w", err)
		}
		if doc, err = readObject(payload); err != nil {
			return fmt.Errorf("reading the statement: %w", err)
		}
		if err := j.number("in-toto.signatures", int64(len(signatures))); err != nil {
			return err
		}
	}
	if !strings.HasPrefix(doc.text("_type"), "https://in-toto.io/Statement/v") || doc.text("predicateType") == "" {
		return errors.New("not a statement: its _type or predicateType is missing")
	}
	subjects, err := doc.list("subject")
	if err != nil {
		return err
	}
	if len(subjects) == 0 {
		return errors.New("it has no subject")
	}
	seen := map[string]bool{}
	for _, s := range subjects {
		name := s.text("name")
		if seen[name] || name == "" || len(name) > maxName {
			return fmt.Errorf("the subject %.80q has no name, or stands twice", name)
		}
		seen[name] = true
		d, err := artifact.ParseDigest("sha256:" + s.object("digest").text("sha256"))
		if err != nil {
			return fmt.Errorf("the subject %q: %w", name, err)
		}
		if err := errors.Join(j.more(1), j.keep(len(name)+256)); err != nil {
			return err
		}
		j.facts.Entries = append(j.facts.Entries, Entry{Name: name, Type: File, Digest: d})
	}
	j.facts.Name = subjects[0].text("name")
	return errors.Join(
		j.number("in-toto.subjects", int64(len(subjects))),
		j.texts("in-toto.", doc, "_type", "predicateType"),
	)
}
