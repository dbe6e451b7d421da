package provenance

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/slipway-build/slipway/pipeline/internal/canonjson"
	"github.com/slipway-build/slipway/pipeline/release/artifact"
)

const (
	// SummaryType is the type of a verdict over a release (https://slsa.dev/spec/v1.1/verification_summary).
	SummaryType = "https://slsa.dev/verification_summary/v1"
	// VerifierID is who rebuilds a release and compares; which person or machine did is told by the key of the signature.
	VerifierID = BuilderID + "/blob/main/docs/reproducibility.md#verdicts"
	// Reproduced is the property that a verdict gives: bit for bit what the commit builds. Names that begin with SLSA_ are
	// SLSA's own, so this is none (https://slsa.dev/spec/v1.1/verification_summary#fields).
	Reproduced = "SLIPWAY_REPRODUCED"

	slsaVersion = "1.1"
	passed      = "PASSED"
	failed      = "FAILED"
)

// Summary is a verdict over a release by somebody who rebuilt it.
type Summary struct {
	Subject  []Resource // everything that was compared, by SHA-256; release.json among them
	Resource string     // URI of the release: its repository, with tag or commit
	Commit   string     // that was rebuilt
	Policy   string     // under which circumstances, in words
	Verifier map[string]string
	Time     time.Time
	Passed   bool
}

// summary is a Summary as JSON has it.
type summary struct {
	Type          string           `json:"_type"`
	Subject       []Resource       `json:"subject"`
	PredicateType string           `json:"predicateType"`
	Predicate     summaryPredicate `json:"predicate"`
}

type summaryPredicate struct {
	Verifier struct {
		ID      string            `json:"id"`
		Version map[string]string `json:"version,omitempty"`
	} `json:"verifier"`
	Time     string     `json:"timeVerified"`
	Resource string     `json:"resourceUri"`
	Policy   Resource   `json:"policy"`
	Inputs   []Resource `json:"inputAttestations"`
	Result   string     `json:"verificationResult"`
	Levels   []string   `json:"verifiedLevels"`
	SLSA     string     `json:"slsaVersion"`
}

// Statement returns the canonical bytes of the verdict, for signing.
func (s Summary) Statement() ([]byte, error) {
	d := summary{Type: StatementType, Subject: sorted(s.Subject), PredicateType: SummaryType}
	p := &d.Predicate
	p.Verifier.ID, p.Verifier.Version = VerifierID, s.Verifier
	p.Time, p.Resource = stamp(s.Time), s.Resource
	p.Policy = Resource{Name: s.Policy, URI: VerifierID}
	p.Inputs = []Resource{{URI: s.Resource, Digest: map[string]string{"gitCommit": s.Commit}}}
	p.Result, p.Levels, p.SLSA = failed, []string{failed}, slsaVersion
	if s.Passed {
		p.Result, p.Levels = passed, []string{Reproduced}
	}
	if err := d.check(); err != nil {
		return nil, fmt.Errorf("writing verdict: %w", err)
	}
	return canonjson.Indent(d)
}

// ParseSummary reads a verdict from outside. It is bounded and complete, and it is in the bytes that Statement writes.
func ParseSummary(b []byte) (Summary, error) {
	var s Summary
	if len(b) > maxStatement {
		return s, fmt.Errorf("reading verdict: more than %d bytes", maxStatement)
	}
	var d summary
	if err := canonjson.Decode(b, &d); err != nil {
		return s, fmt.Errorf("reading verdict: %w", err)
	}
	if err := d.check(); err != nil {
		return s, fmt.Errorf("reading verdict: %w", err)
	}
	if canonical, err := canonjson.Indent(d); err != nil || !bytes.Equal(canonical, b) {
		return s, errors.New("reading verdict: not in its canonical form, so two readers may see two verdicts")
	}
	p := d.Predicate
	t, err := time.Parse(time.RFC3339, p.Time)
	if err != nil {
		return s, fmt.Errorf("reading verdict: %w", err)
	}
	return Summary{
		Subject: d.Subject, Resource: p.Resource, Commit: p.Inputs[0].Digest["gitCommit"], Verifier: p.Verifier.Version, Policy: p.Policy.Name,
		Time: t, Passed: p.Result == passed,
	}, nil
}

func (d summary) check() error {
	p := d.Predicate
	switch {
	case d.Type != StatementType || d.PredicateType != SummaryType:
		return fmt.Errorf("type %.80q with predicate %.80q is not a verification summary", d.Type, d.PredicateType)
	case p.Verifier.ID != VerifierID:
		return fmt.Errorf("the verifier %.120q does not rebuild releases", p.Verifier.ID)
	case p.Result != passed && p.Result != failed:
		return fmt.Errorf("the result %.40q is neither %s nor %s", p.Result, passed, failed)
	case p.Result == passed && !slices.Equal(p.Levels, []string{Reproduced}), p.Result == failed && !slices.Equal(p.Levels, []string{failed}):
		return fmt.Errorf("the levels %.80q do not belong to %s", strings.Join(p.Levels, " "), p.Result)
	case p.Resource == "":
		return errors.New("it does not say of which release it is")
	case len(p.Inputs) != 1 || !isObjectName(p.Inputs[0].Digest["gitCommit"]):
		return errors.New("it does not say which commit was rebuilt")
	case p.Inputs[0].URI != p.Resource || len(p.Inputs[0].Digest) != 1:
		return fmt.Errorf("it is of %.120q, and %.120q is what was rebuilt", p.Resource, p.Inputs[0].URI)
	case len(d.Subject) == 0:
		return errors.New("it is about nothing")
	}
	if t, err := time.Parse(time.RFC3339, p.Time); err != nil || stamp(t) != p.Time {
		return fmt.Errorf("%.40q is not a time in UTC and whole seconds", p.Time)
	}
	seen := map[string]bool{}
	for _, s := range d.Subject {
		_, err := artifact.ParseDigest("sha256:" + s.Digest["sha256"])
		switch {
		case err != nil || len(s.Digest) != 1 || s.URI != "" || s.Name == "":
			return fmt.Errorf("subject %.80q is not named by a SHA-256 alone", s.Name)
		case seen[s.Name]:
			return fmt.Errorf("subject %.80q comes twice", s.Name)
		}
		seen[s.Name] = true
	}
	return nil
}
