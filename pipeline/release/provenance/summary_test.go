package provenance_test

import (
	"bytes"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/slipway-build/slipway/pipeline/release/provenance"
)

func aSummary() provenance.Summary {
	return provenance.Summary{
		Subject: []provenance.Resource{
			{Name: "release.json", Digest: map[string]string{"sha256": strings.Repeat("a", 64)}},
			{Name: "archives/tool.tar.gz", Digest: map[string]string{"sha256": strings.Repeat("b", 64)}},
		},
		Resource: "https://example.com/owner/tool@v1.2.3", Commit: strings.Repeat("1", 40),
		Verifier: map[string]string{"slipway": "1.0.0"}, Time: time.Date(2026, 11, 28, 10, 0, 0, 0, time.UTC), Passed: true,
	}
}

// TestSummary writes a verdict and reads it again, and wants what SLSA says of one
// (https://slsa.dev/spec/v1.1/verification_summary).
func TestSummary(t *testing.T) {
	for _, passed := range []bool{true, false} {
		s := aSummary()
		s.Passed = passed
		b, err := s.Statement()
		if err != nil {
			t.Fatal(err)
		}
		for _, want := range []string{
			`"_type": "https://in-toto.io/Statement/v1"`, `"predicateType": "https://slsa.dev/verification_summary/v1"`,
			`"timeVerified": "2026-11-28T10:00:00Z"`, `"resourceUri": "https://example.com/owner/tool@v1.2.3"`,
			map[bool]string{true: `"verificationResult": "PASSED"`, false: `"verificationResult": "FAILED"`}[passed],
		} {
			if !bytes.Contains(b, []byte(want)) {
				t.Errorf("it does not say %s:\n%s", want, b)
			}
		}
		got, err := provenance.ParseSummary(b)
		if err != nil {
			t.Fatal(err)
		}
		got.Subject[0], got.Subject[1] = got.Subject[1], got.Subject[0] // they are sorted by name
		if !reflect.DeepEqual(got, s) {
			t.Errorf("read again it is\n%+v\nwant\n%+v", got, s)
		}
	}
}

// TestSummaryRefused: there is one reading of a verdict, and what is none is refused.
func TestSummaryRefused(t *testing.T) {
	good, err := aSummary().Statement()
	if err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct{ from, to, words string }{
		"another predicate":  {"verification_summary/v1", "provenance/v1", "is not a verification summary"},
		"another verifier":   {"#verdicts\"", "#other\"", "does not rebuild releases"},
		"another result":     {`"PASSED"`, `"MAYBE"`, "is neither PASSED nor FAILED"},
		"other levels":       {provenance.Reproduced, "SLSA_BUILD_LEVEL_4", "do not belong to PASSED"},
		"of another release": {`"resourceUri": "https://`, `"resourceUri": "https://x.`, "is what was rebuilt"},
		"two digests":        {`"gitCommit"`, `"gitTree": "1", "gitCommit"`, "is what was rebuilt"},
		"no commit":          {strings.Repeat("1", 40), "main", "which commit was rebuilt"},
		"a short digest":     {strings.Repeat("b", 64), "bb", "is not named by a SHA-256"},
		"a subject twice":    {"archives/tool.tar.gz", "release.json", "comes twice"},
		"a time in a zone":   {"10:00:00Z", "10:00:00+01:00", "is not a time in UTC"},
		"a key that is more": {`"slsaVersion"`, `"more": 1, "slsaVersion"`, `key "more" is unknown`},
		"a key twice":        {`"verificationResult": "PASSED"`, `"verificationResult": "FAILED", "verificationResult": "PASSED"`, "comes twice"},
		"another letter":     {`"verificationResult"`, `"VerificationResult"`, `has to be spelled "verificationResult"`},
		"something behind":   {"\n}\n", "\n}\n{}", "something after the JSON document"},
		"the end cut off":    {"\n}\n", "", "reading verdict"},
	} {
		b := strings.Replace(string(good), tt.from, tt.to, 1)
		if b == string(good) {
			t.Fatalf("%s: nothing was changed", name)
		}
		if _, err := provenance.ParseSummary([]byte(b)); err == nil || !strings.Contains(err.Error(), tt.words) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, s := range map[string]provenance.Summary{
		"of nothing":    {Resource: "x", Commit: strings.Repeat("1", 40), Time: time.Unix(0, 0)},
		"of no release": func() provenance.Summary { s := aSummary(); s.Resource = ""; return s }(),
		"of no time":    func() provenance.Summary { s := aSummary(); s.Time = time.Time{}; return s }(),
	} {
		if _, err := s.Statement(); err == nil {
			t.Errorf("a verdict %s was written", name)
		}
	}
}

// FuzzParseSummary: what is read is written again in the same bytes.
func FuzzParseSummary(f *testing.F) {
	good, err := aSummary().Statement()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add([]byte("{}"))
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := provenance.ParseSummary(b)
		if err != nil {
			return
		}
		again, err := s.Statement()
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(again, b) {
			t.Errorf("%s\nbecame\n%s", b, again)
		}
	})
}
