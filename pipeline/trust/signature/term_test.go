package signature_test

import (
	"strings"
	"testing"
	"time"

	"github.com/slipway-build/slipway/pipeline/release/artifact"
	"github.com/slipway-build/slipway/pipeline/trust/signature"
)

func TestTerm(t *testing.T) {
	key := artifact.Sum([]byte("key"))
	for _, tt := range []struct{ name, from, until, revoked, reason, at, says string }{
		{"always", "", "", "", "", "1970-01-01T00:00:00Z", ""},
		{"first second", "2026-02-01", "", "", "", "2026-02-01T00:00:00Z", ""},
		{"a second before", "2026-02-01", "", "", "", "2026-01-31T23:59:59Z", "counts from 2026-02-01 on, and the release is of 2026-01-31"},
		{"before, in a zone of the day", "2026-02-01", "", "", "", "2026-02-01T00:59:59+01:00", "and the release is of 2026-01-31"},
		{"last second", "", "2026-02-28", "", "", "2026-02-28T23:59:59Z", ""},
		{"a second later", "", "2026-02-28", "", "", "2026-03-01T00:00:00Z", "counted until 2026-02-28, and the release is of 2026-03-01"},
		{"between", "2026-01-01", "2026-01-01", "", "", "2026-01-01T12:00:00Z", ""},
		{"revoked", "", "", "2026-03-01", "stolen", "2026-03-02T00:00:00Z", "was revoked on 2026-03-01: stolen"},
		{"revoked later than it claims", "", "", "2026-03-01", "stolen", "2020-01-01T00:00:00Z", "was revoked on 2026-03-01: stolen"},
		{"revoked, in its days", "2026-01-01", "2026-12-31", "2026-03-01", "", "2026-02-01T00:00:00Z", "no reason is given"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			term, err := signature.ParseTerm(tt.from, tt.until, tt.revoked, tt.reason)
			if err != nil {
				t.Fatal(err)
			}
			at, err := time.Parse(time.RFC3339, tt.at)
			if err != nil {
				t.Fatal(err)
			}
			err = term.Check(key, at)
			if tt.says == "" && err != nil || tt.says != "" && (err == nil || !strings.Contains(err.Error(), tt.says) || !strings.Contains(err.Error(), string(key))) {
				t.Errorf("got %v, want %q", err, tt.says)
			}
		})
	}
	for _, tt := range []struct {
		from, until string
		ok          bool
	}{{"", "", true}, {"2026-01-01", "", false}, {"", "2026-01-01", false}} {
		term, err := signature.ParseTerm(tt.from, tt.until, "", "")
		if err != nil {
			t.Fatal(err)
		}
		if err := term.Check(key, time.Time{}); (err == nil) != tt.ok {
			t.Errorf("from %q until %q, of no time: %v", tt.from, tt.until, err)
		}
	}
	for _, bad := range [][3]string{{"2026-2-1"}, {"", "2026-02-30"}, {"", "", "yesterday"}, {"2026-02-01T00:00:00Z"}} {
		if _, err := signature.ParseTerm(bad[0], bad[1], bad[2], ""); err == nil {
			t.Errorf("%q are days", bad)
		}
	}
}
