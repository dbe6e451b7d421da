// Package provenance says what a release was made of, as an in-toto statement with SLSA provenance.
//
// The statement follows from the commit like everything else in a release: it has no times, no machine and no run, and
// who builds the same commit gets the same bytes. What a run adds (its identifier, its times) is added to the copy that
// is signed, and Equal tells that nothing else differs.
//
// # Build type
//
// BuildType names the meaning of the parameters, which is this. A build takes a commit of a git repository, and makes
// the release that the configuration file in it describes. External parameters: repository, the URL of the source;
// ref, the git ref of the release, refs/tags/<tag>, absent from a snapshot; config, the path of the configuration in the
// tree. Internal parameters: version, which follows from the ref; plan, the digest of everything that the commit and the
// lock in it say about the release. Resolved dependencies, in this order: the commit (gitCommit, and its tree as
// gitTree), then the inputs that the lock pins (Go toolchains as modules, base images, charts, and others by their kind),
// then the Go modules that were compiled. Everyone who builds the commit again with the same version of the builder gets every
// subject bit for bit.
package provenance

import (
	"bytes"
	"cmp"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/slipway-build/slipway/pipeline/internal/canonjson"
	"github.com/slipway-build/slipway/pipeline/release/artifact"
)

const (
	// StatementType is the version of the statement (https://github.com/in-toto/attestation/blob/main/spec/v1/statement.md).
	StatementType = "https://in-toto.io/Statement/v1"
	// PredicateType is what the statement says (https://slsa.dev/spec/v1.1/provenance).
	PredicateType = "https://slsa.dev/provenance/v1"
	// BuildType is the meaning of the parameters; see the package comment.
	BuildType = "https://github.com/slipway-build/slipway/blob/main/docs/provenance.md#build-type-v1"
	// BuilderID is the builder that trusts nobody but itself: any machine, since the result does not depend on it.
	BuilderID = "https://github.com/slipway-build/slipway"
)

// maxStatement bounds a statement from outside, in bytes.
const maxStatement = 12 << 20

// Facts are what a release was made of, and what it consists of.
type Facts struct {
	Repository string // URL of the source, or ""
	Tag        string // git tag, or "" for a snapshot
	Commit     string // git object name in hex
	Tree       string // git object name in hex, or ""
	Config     string // path of the configuration in the tree
	Version    string
	Plan       artifact.Digest
	BuilderID  string            // "" is BuilderID
	Builder    map[string]string // versions of the builder's components by name
	Files      []artifact.File   // all but the statement itself, and what is made after it
	Images     []Image
	Untagged   bool // names images by their repository alone, as releases did before names were unique
	Inputs     []artifact.Input
	Modules    []Module
}

// Image is something in a registry: the index of an image, or the manifest of a chart.
type Image struct {
	Repository string
	Tag        string
	Digest     artifact.Digest
}

// Module is a Go module that was compiled into something.
type Module struct {
	Path    string
	Version string
	Sum     string // h1:<base64>; "" for one that was replaced by a folder of the tree
}

// Metadata is what one run knows of itself (https://slsa.dev/spec/v1.1/provenance#metadata).
type Metadata struct {
	InvocationID string    // of the run, such as its URL
	StartedOn    time.Time // zero is unknown
	FinishedOn   time.Time // zero is unknown
	Byproducts   []Resource
}

// Document is a statement as JSON has it.
type Document struct {
	Type          string     `json:"_type"`
	Subject       []Resource `json:"subject"`
	PredicateType string     `json:"predicateType"`
	Predicate     Predicate  `json:"predicate"`
}

// Predicate is SLSA provenance.
type Predicate struct {
	Definition Definition `json:"buildDefinition"`
	Run        Run        `json:"runDetails"`
}

// Definition is what was built.
type Definition struct {
	BuildType    string     `json:"buildType"`
	External     External   `json:"externalParameters"`
	Internal     Internal   `json:"internalParameters"`
	Dependencies []Resource `json:"resolvedDependencies"`
}

// External are the parameters that the person who asked for the build chose.
type External struct {
	Repository string `json:"repository,omitempty"`
	Ref        string `json:"ref,omitempty"`
	Config     string `json:"config"`
}

// Internal are the parameters that followed.
type Internal struct {
	Version string          `json:"version"`
	Plan    artifact.Digest `json:"plan"`
}

// Run is who built, and in a signed statement when.
type Run struct {
	Builder    Builder      `json:"builder"`
	Metadata   *RunMetadata `json:"metadata,omitempty"`
	Byproducts []Resource   `json:"byproducts,omitempty"`
}

// Builder is who built.
type Builder struct {
	ID      string            `json:"id"`
	Version map[string]string `json:"version,omitempty"`
}

// RunMetadata is Metadata as JSON has it.
type RunMetadata struct {
	InvocationID string `json:"invocationId,omitempty"`
	StartedOn    string `json:"startedOn,omitempty"`
	FinishedOn   string `json:"finishedOn,omitempty"`
}

// Resource is a resource descriptor
// (https://github.com/in-toto/attestation/blob/main/spec/v1/resource_descriptor.md).
type Resource struct {
	Name   string            `json:"name,omitempty"`
	URI    string            `json:"uri,omitempty"`
	Digest map[string]string `json:"digest,omitempty"`
}

// Statement returns the canonical bytes of the statement about the facts: the same for the same facts in any order. It
// ends in a newline.
func Statement(f Facts) ([]byte, error) {
	d, err := f.document()
	if err == nil {
		err = d.check()
	}
	if err != nil {
		return nil, fmt.Errorf("writing provenance: %w", err)
	}
	return canonjson.Indent(d)
}

func (f Facts) document() (Document, error) {
	var subjects []Resource
	for _, file := range f.Files {
		subjects = append(subjects, Resource{Name: file.Path, Digest: sha256Of(file.Digest)})
	}
	for _, im := range f.Images {
		name := im.Repository + ":" + im.Tag
		if f.Untagged {
			name = im.Repository
		}
		subjects = append(subjects, Resource{Name: name, Digest: sha256Of(im.Digest)})
	}
	subjects = sorted(subjects)
	for i := 1; i < len(subjects) && !f.Untagged; i++ {
		if subjects[i].Name == subjects[i-1].Name { // the name is what tells subjects apart
			return Document{}, fmt.Errorf("two subjects are called %.120q", subjects[i].Name)
		}
	}
	dependencies := []Resource{f.source()}
	var inputs, modules []Resource
	for _, in := range f.Inputs {
		r, err := input(in)
		if err != nil {
			return Document{}, err
		}
		inputs = append(inputs, r)
	}
	for _, m := range f.Modules {
		r, err := module(m.Path, m.Version, m.Sum)
		if err != nil {
			return Document{}, err
		}
		modules = append(modules, r)
	}
	external := External{Repository: f.Repository, Config: f.Config}
	if f.Tag != "" {
		external.Ref = "refs/tags/" + f.Tag
	}
	return Document{
		Type:          StatementType,
		Subject:       subjects,
		PredicateType: PredicateType,
		Predicate: Predicate{
			Definition: Definition{
				BuildType:    BuildType,
				External:     external,
				Internal:     Internal{Version: f.Version, Plan: f.Plan},
				Dependencies: slices.Concat(dependencies, sorted(inputs), sorted(modules)),
			},
			Run: Run{Builder: Builder{ID: cmp.Or(f.BuilderID, BuilderID), Version: f.Builder}},
		},
	}, nil
}

// source is the commit. Its URI is that of a download location in SPDX, which in-toto recommends for git.
func (f Facts) source() Resource {
	r := Resource{Name: "source", Digest: map[string]string{"gitCommit": f.Commit}}
	if f.Tree != "" {
		r.Digest["gitTree"] = f.Tree
	}
	if f.Repository != "" {
		ref := f.Commit
		if f.Tag != "" {
			ref = "refs/tags/" + f.Tag
		}
		r.URI = "git+" + f.Repository + "@" + ref
	}
	return r
}

// input describes something that the lock pins. A digest of a Go module is none of a file, so it has a name of its own.
func input(in artifact.Input) (Resource, error) {
	if strings.HasPrefix(in.Digest, "h1:") {
		path, version, ok := strings.Cut(in.Name, "@")
		if !ok {
			return Resource{}, fmt.Errorf("%s %.80q is not a module@version", in.Kind, in.Name)
		}
		r, err := module(path, version, in.Digest)
		r.Name = in.Kind + ":" + in.Name
		return r, err
	}
	d, err := artifact.ParseDigest(in.Digest)
	if err != nil {
		return Resource{}, fmt.Errorf("%s %.80q: %w", in.Kind, in.Name, err)
	}
	r := Resource{Name: in.Kind + ":" + in.Name, Digest: sha256Of(d)}
	if in.Kind == "base" {
		name, _, _ := strings.Cut(in.Name, "@")
		r.URI = "docker://" + name + "@" + in.Digest
	}
	return r, nil
}

// module describes a Go module by its package URL, in lower-case letters whatever the path
// (https://github.com/package-url/purl-spec/blob/main/types-doc/golang-definition.md), and its directory hash
// (https://github.com/in-toto/attestation/blob/main/spec/v1/digest_set.md#dirhash).
func module(path, version, sum string) (Resource, error) {
	if path == "" || version == "" {
		return Resource{}, fmt.Errorf("module %.80q@%.80q has no name or no version", path, version)
	}
	parts := strings.Split(strings.ToLower(path), "/")
	for i, p := range parts {
		parts[i] = url.PathEscape(p)
	}
	r := Resource{Name: path + "@" + version, URI: "pkg:golang/" + strings.Join(parts, "/") + "@" + strings.ReplaceAll(url.PathEscape(version), "+", "%2B")}
	if sum == "" {
		return r, nil
	}
	b64, ok := strings.CutPrefix(sum, "h1:")
	b, err := base64.StdEncoding.Strict().DecodeString(b64)
	if !ok || err != nil || len(b) != 32 {
		return Resource{}, fmt.Errorf("module %s@%s: sum %.80q is not h1:<base64 of 32 bytes>", path, version, sum)
	}
	r.Digest = map[string]string{"dirHash": hex.EncodeToString(b)}
	return r, nil
}

func sha256Of(d artifact.Digest) map[string]string { return map[string]string{"sha256": d.Hex()} }

// sorted is rs in order, each one once.
func sorted(rs []Resource) []Resource {
	rs = slices.Clone(rs)
	slices.SortFunc(rs, func(a, b Resource) int {
		return cmp.Or(strings.Compare(a.Name, b.Name), strings.Compare(a.URI, b.URI), strings.Compare(key(a), key(b)))
	})
	return slices.CompactFunc(rs, func(a, b Resource) bool { return a.Name == b.Name && a.URI == b.URI && key(a) == key(b) })
}

// key is the digest of a resource as one string.
func key(r Resource) string { return fmt.Sprint(r.Digest) }

// Parse reads a statement from outside, signed or not. It is bounded and complete, and it is in the bytes that this
// package writes: so every reader reads it alike.
func Parse(b []byte) (Document, error) {
	d, err := parse(b)
	if err != nil {
		return Document{}, fmt.Errorf("reading provenance: %w", err)
	}
	return d, nil
}

func parse(b []byte) (Document, error) {
	if len(b) > maxStatement {
		return Document{}, fmt.Errorf("more than %d bytes", maxStatement)
	}
	var d Document
	if err := canonjson.Decode(b, &d); err != nil {
		return Document{}, err
	}
	if err := d.check(); err != nil {
		return Document{}, err
	}
	canonical, err := canonjson.Indent(d)
	if err != nil {
		return Document{}, err
	}
	if !bytes.Equal(b, canonical) {
		return Document{}, errors.New("it is not written in the one canonical way, so another reader may see something else in it")
	}
	return d, nil
}

func (d Document) check() error {
	def, run := d.Predicate.Definition, d.Predicate.Run
	switch {
	case d.Type != StatementType:
		return fmt.Errorf("a statement of type %.80q instead of %s", d.Type, StatementType)
	case d.PredicateType != PredicateType:
		return fmt.Errorf("it says %.80q instead of %s", d.PredicateType, PredicateType)
	case def.BuildType != BuildType:
		return fmt.Errorf("a build of type %.120q instead of %s", def.BuildType, BuildType)
	case len(d.Subject) == 0:
		return errors.New("it is about nothing")
	case def.External.Config == "" || def.Internal.Version == "":
		return errors.New("the path of the configuration or the version is missing")
	case len(def.Dependencies) == 0 || !isObjectName(def.Dependencies[0].Digest["gitCommit"]):
		return errors.New("the first dependency is not a git commit in 40 or 64 hex digits")
	case run.Builder.ID == "":
		return errors.New("it does not say who built")
	}
	if _, err := artifact.ParseDigest(string(def.Internal.Plan)); err != nil {
		return fmt.Errorf("plan: %w", err)
	}
	seen := map[string]bool{}
	for _, s := range d.Subject {
		sha, err := artifact.ParseDigest("sha256:" + s.Digest["sha256"])
		switch {
		case err != nil || len(s.Digest) != 1 || s.URI != "":
			return fmt.Errorf("subject %.80q is not named by a SHA-256 alone", s.Name)
		case s.Name == "":
			return fmt.Errorf("subject %s has no name", sha)
		case seen[s.Name+"@"+string(sha)]:
			return fmt.Errorf("subject %.80q comes twice", s.Name)
		}
		seen[s.Name+"@"+string(sha)] = true
	}
	for _, r := range slices.Concat(def.Dependencies, run.Byproducts) {
		if r.URI == "" && len(r.Digest) == 0 {
			return fmt.Errorf("resource %.80q has neither a URI nor a digest", r.Name)
		}
	}
	if m := run.Metadata; m != nil {
		for _, s := range []string{m.StartedOn, m.FinishedOn} {
			if t, err := time.Parse(time.RFC3339, s); s != "" && (err != nil || stamp(t) != s) {
				return fmt.Errorf("%.40q is not a time in UTC and whole seconds", s)
			}
		}
	}
	return nil
}

// isObjectName reports whether s names a git object, in SHA-1 or SHA-256.
func isObjectName(s string) bool {
	return (len(s) == 40 || len(s) == 64) && strings.Trim(s, "0123456789abcdef") == ""
}

func stamp(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format("2006-01-02T15:04:05Z")
}

// WithMetadata returns the statement with what one run knows of itself, for signing. Whatever of that was in it is
// replaced.
func WithMetadata(statement []byte, m Metadata) ([]byte, error) {
	d, err := Parse(statement)
	if err != nil {
		return nil, err
	}
	d.Predicate.Run.Metadata = nil
	if meta := (RunMetadata{InvocationID: m.InvocationID, StartedOn: stamp(m.StartedOn), FinishedOn: stamp(m.FinishedOn)}); meta != (RunMetadata{}) {
		d.Predicate.Run.Metadata = &meta
	}
	d.Predicate.Run.Byproducts = sorted(m.Byproducts)
	if err := d.check(); err != nil {
		return nil, fmt.Errorf("writing provenance: %w", err)
	}
	return canonjson.Indent(d)
}

// Equal says why a signed statement is not the unsigned one with the metadata of a run; nil means that it is.
func Equal(signed, unsigned []byte) error {
	s, err := Parse(signed)
	if err != nil {
		return fmt.Errorf("signed statement: %w", err)
	}
	u, err := Parse(unsigned)
	if err != nil {
		return fmt.Errorf("unsigned statement: %w", err)
	}
	if u.Predicate.Run.Metadata != nil || len(u.Predicate.Run.Byproducts) > 0 {
		return errors.New("the unsigned statement has the metadata of a run")
	}
	s.Predicate.Run.Metadata, s.Predicate.Run.Byproducts = nil, nil
	b, err := canonjson.Indent(s)
	if err != nil {
		return err
	}
	if !bytes.Equal(b, unsigned) {
		return fmt.Errorf("the signed statement is about another build: %s", difference(s, u))
	}
	return nil
}

// difference names the first part that is not the same.
func difference(s, u Document) string {
	sd, ud := s.Predicate.Definition, u.Predicate.Definition
	switch {
	case sd.Internal != ud.Internal:
		return fmt.Sprintf("version %.40s with plan %s instead of %.40s with plan %s",
			sd.Internal.Version, sd.Internal.Plan.Short(), ud.Internal.Version, ud.Internal.Plan.Short())
	case sd.External != ud.External:
		return "other external parameters"
	case !same(s.Subject, u.Subject):
		return fmt.Sprintf("other subjects (%d and %d)", len(s.Subject), len(u.Subject))
	case !same(sd.Dependencies, ud.Dependencies):
		return fmt.Sprintf("other dependencies (%d and %d)", len(sd.Dependencies), len(ud.Dependencies))
	}
	return "another builder"
}

func same(a, b []Resource) bool {
	return slices.EqualFunc(a, b, func(a, b Resource) bool { return a.Name == b.Name && a.URI == b.URI && key(a) == key(b) })
}
