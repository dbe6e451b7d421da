package inspect

import (
	"cmp"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/slipway-build/slipway/pipeline/internal/canonjson"
	"github.com/slipway-build/slipway/pipeline/release/artifact"
)

// words are the texts of an object by their keys.
type words map[string]string

// keep has the text at r kept under the key.
func (w words) keep(r *canonjson.Reader, key string) (err error) {
	w[key], err = r.Text()
	return err
}

// texts keeps the words with the keys as fields.
func (j *job) texts(prefix string, w words, keys ...string) error {
	for _, key := range keys {
		if w[key] != "" {
			if err := j.field(prefix+key, w[key]); err != nil {
				return err
			}
		}
	}
	return nil
}

// object reads the file as one JSON document that has one reading, an object, and calls member for each of its keys.
func (j *job) object(member func(r *canonjson.Reader, key string) error) error {
	if j.size > j.MaxDocument {
		return fmt.Errorf("the document has %d bytes; at most %d are read", j.size, j.MaxDocument)
	}
	return object(io.NewSectionReader(j, 0, j.size), member)
}

func object(src io.Reader, member func(r *canonjson.Reader, key string) error) error {
	r := canonjson.NewReader(src)
	return ends(r.Document(func(key string) error { return member(r, key) }))
}

// sha256Of is the digest among the checksums of the list at r.
func sha256Of(r *canonjson.Reader, name, algorithm, value string) (digest artifact.Digest, err error) {
	err = r.List(func() error {
		c := words{}
		err := r.Object(func(key string) error {
			if key == name || key == value {
				return c.keep(r, key)
			}
			return nil
		})
		if err != nil || c[name] != algorithm {
			return err
		}
		d, err := artifact.ParseDigest("sha256:" + strings.ToLower(c[value]))
		if err == nil && digest != "" && d != digest {
			return errors.New("the subject has two SHA-256 digests")
		}
		digest = d
		return err
	})
	return digest, err
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
	doc, meta, about := words{}, words{}, words{}
	var digest artifact.Digest
	var components int64
	err := j.object(func(r *canonjson.Reader, key string) error {
		switch key {
		case "bomFormat", "specVersion", "serialNumber":
			return doc.keep(r, key)
		case "components":
			return r.List(func() error {
				components++
				return r.Object(nothing)
			})
		case "metadata":
			return r.Object(func(key string) error {
				switch key {
				case "timestamp":
					return meta.keep(r, key)
				case "component":
					return r.Object(func(key string) (err error) {
						switch key {
						case "type", "name", "version", "purl", "bom-ref":
							return about.keep(r, key)
						case "hashes":
							digest, err = sha256Of(r, "alg", "SHA-256", "content")
						}
						return err
					})
				}
				return nil
			})
		}
		return nil
	})
	if err != nil {
		return err
	}
	if doc["bomFormat"] != "CycloneDX" || doc["specVersion"] == "" {
		return errors.New("not CycloneDX: its bomFormat or specVersion is missing")
	}
	return errors.Join(
		j.number("cyclonedx.components", components),
		j.texts("cyclonedx.", doc, "specVersion", "serialNumber"),
		j.texts("cyclonedx.metadata.", meta, "timestamp"),
		j.texts("cyclonedx.subject.", about, "type", "purl", "bom-ref"),
		j.subject("cyclonedx", about["name"], about["version"], digest),
	)
}

// nothing leaves each value of an object to be skipped.
func nothing(string) error { return nil }

// spdx reads a bill of materials of version 2 (https://spdx.github.io/spdx-spec/v2.3/). Its subject is what it
// describes; that is not counted as a component.
func (j *job) spdx() error {
	// What it describes may be named behind the packages, of which only names are kept; so the document is read twice.
	doc, info, described, err := j.spdxDocument()
	if err != nil {
		return err
	}
	ids := map[string]bool{}
	var components int64
	var about words
	var digest artifact.Digest
	err = j.object(func(r *canonjson.Reader, list string) error {
		if list != "packages" && list != "files" {
			return nil
		}
		return r.List(func() error {
			element := words{}
			var sum artifact.Digest
			err := r.Object(func(key string) (err error) {
				switch key {
				case "SPDXID", "name", "fileName", "versionInfo":
					return element.keep(r, key)
				case "checksums":
					sum, err = sha256Of(r, "algorithm", "SHA256", "checksumValue")
				}
				return err
			})
			if err != nil {
				return err
			}
			id := element["SPDXID"]
			if ids[id] || id == "" || len(id) > maxName {
				return fmt.Errorf("the SPDXID %.80q is empty, too long or stands twice", id)
			}
			ids[id] = true
			if list == "packages" {
				components++
			}
			if id == described {
				about, digest = element, sum
				if list == "packages" {
					components--
				}
			}
			return errors.Join(j.more(1), j.keep(len(id)+64))
		})
	})
	if err != nil {
		return err
	}
	if about == nil {
		return fmt.Errorf("it describes %.80q, which it does not have", described)
	}
	return errors.Join(
		j.number("spdx.components", components),
		j.texts("spdx.", doc, "spdxVersion", "name", "documentNamespace"),
		j.texts("spdx.", info, "created"),
		j.subject("spdx", cmp.Or(about["name"], about["fileName"]), about["versionInfo"], digest),
	)
}

// spdxDocument reads what a bill of materials says of itself, and the identifier of the one thing that it describes.
func (j *job) spdxDocument() (doc, info words, described string, err error) {
	const self = "SPDXRef-DOCUMENT"
	doc, info = words{}, words{}
	things := map[string]bool{}
	describes := func(id string) error {
		if things[id] {
			return nil
		}
		things[id] = true
		return j.keep(len(id) + 64)
	}
	err = j.object(func(r *canonjson.Reader, key string) error {
		switch key {
		case "spdxVersion", "SPDXID", "name", "documentNamespace":
			return doc.keep(r, key)
		case "creationInfo":
			return r.Object(func(key string) error {
				if key == "created" {
					return info.keep(r, key)
				}
				return nil
			})
		case "documentDescribes":
			return r.List(func() error {
				id, err := r.Text()
				return errors.Join(err, describes(id))
			})
		case "relationships":
			return r.List(func() error {
				w := words{}
				err := r.Object(func(key string) error {
					switch key {
					case "spdxElementId", "relationshipType", "relatedSpdxElement":
						return w.keep(r, key)
					}
					return nil
				})
				switch from, to := w["spdxElementId"], w["relatedSpdxElement"]; {
				case err != nil:
				case w["relationshipType"] == "DESCRIBES" && from == self:
					err = describes(to)
				case w["relationshipType"] == "DESCRIBED_BY" && to == self:
					err = describes(from)
				}
				return err
			})
		}
		return nil
	})
	if err != nil {
		return nil, nil, "", err
	}
	if !strings.HasPrefix(doc["spdxVersion"], "SPDX-2.") || doc["SPDXID"] != self {
		return nil, nil, "", errors.New("not SPDX of version 2: its spdxVersion or SPDXID is missing")
	}
	if len(things) != 1 {
		return nil, nil, "", fmt.Errorf("it describes %d things; it should describe one", len(things))
	}
	for described = range things {
	}
	return doc, info, described, nil
}

// payloadType is the type of in-toto statements in an envelope.
const payloadType = "application/vnd.in-toto+json"

// inToto reads a statement, bare or in a DSSE envelope, and keeps its subjects as entries, whose names are not paths
// (https://github.com/in-toto/attestation/blob/main/spec/v1/statement.md,
// https://github.com/secure-systems-lab/dsse/blob/master/envelope.md). Signatures are counted and not checked.
func (j *job) inToto() error {
	doc := words{}
	enveloped := false
	var signatures int64
	if err := j.object(func(r *canonjson.Reader, key string) error {
		switch key {
		case "payload":
			enveloped = true
			return doc.keep(r, key)
		case "payloadType":
			return doc.keep(r, key)
		case "signatures":
			return r.List(func() error {
				signatures++
				return r.Object(nothing)
			})
		}
		return nil
	}); err != nil {
		return err
	}
	if !enveloped {
		return j.statement(io.NewSectionReader(j, 0, j.size))
	}
	if doc["payloadType"] != payloadType {
		return fmt.Errorf("an envelope of %.80q; it should be %s", doc["payloadType"], payloadType)
	}
	if err := j.number("in-toto.signatures", signatures); err != nil {
		return err
	}
	if err := j.statement(base64.NewDecoder(base64.StdEncoding.Strict(), strings.NewReader(doc["payload"]))); err != nil {
		return fmt.Errorf("reading the statement: %w", err)
	}
	return nil
}

func (j *job) statement(src io.Reader) error {
	doc := words{}
	seen := map[string]bool{}
	err := object(src, func(r *canonjson.Reader, key string) error {
		switch key {
		case "_type", "predicateType":
			return doc.keep(r, key)
		case "subject":
			return r.List(func() error {
				w := words{}
				if err := r.Object(func(key string) error {
					switch key {
					case "name":
						return w.keep(r, key)
					case "digest":
						return r.Object(func(key string) error {
							if key == "sha256" {
								return w.keep(r, key)
							}
							return nil
						})
					}
					return nil
				}); err != nil {
					return err
				}
				name := w["name"]
				if seen[name] || name == "" || len(name) > maxName {
					return fmt.Errorf("the subject %.80q has no name, or stands twice", name)
				}
				seen[name] = true
				d, err := artifact.ParseDigest("sha256:" + w["sha256"])
				if err != nil {
					return fmt.Errorf("the subject %q: %w", name, err)
				}
				j.facts.Entries = append(j.facts.Entries, Entry{Name: name, Type: File, Digest: d})
				return errors.Join(j.more(1), j.keep(len(name)+256))
			})
		}
		return nil
	})
	if err != nil {
		return err
	}
	if !strings.HasPrefix(doc["_type"], "https://in-toto.io/Statement/v") || doc["predicateType"] == "" {
		return errors.New("not a statement: its _type or predicateType is missing")
	}
	if len(j.facts.Entries) == 0 {
		return errors.New("it has no subject")
	}
	j.facts.Name = j.facts.Entries[0].Name
	return errors.Join(
		j.number("in-toto.subjects", int64(len(j.facts.Entries))),
		j.texts("in-toto.", doc, "_type", "predicateType"),
	)
}
