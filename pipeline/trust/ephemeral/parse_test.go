package ephemeral

import (
	"encoding/base64"
	"encoding/json"
	"strings"
	"testing"
	"time"
)

func TestRetryAfter(t *testing.T) {
	for _, tt := range []struct {
		header string
		want   time.Duration
	}{
		{"", 0}, {"7", 7 * time.Second}, {"-7", 0}, {"soon", 0}, {"99999999999999999999", 0}, {"Mon, 02 Jan 2006 15:04:05 GMT", 0},
	} {
		if got := retryAfter(tt.header); got != tt.want {
			t.Errorf("%q: got %s, want %s", tt.header, got, tt.want)
		}
	}
	in := time.Now().Add(time.Hour).UTC().Format("Mon, 02 Jan 2006 15:04:05 GMT")
	if got := retryAfter(in); got < 59*time.Minute || got > time.Hour {
		t.Errorf("%q: got %s", in, got)
	}
}

func FuzzParseToken(f *testing.F) {
	f.Add("a." + base64.RawURLEncoding.EncodeToString([]byte(`{"sub":"x","email":"e","email_verified":"true"}`)) + ".c")
	f.Fuzz(func(t *testing.T, raw string) {
		token, err := parseToken(raw)
		if err != nil {
			if len(raw) > 100 && strings.Contains(err.Error(), raw[:100]) {
				t.Errorf("an error with the token: %v", err)
			}
			return
		}
		if token.subject == "" || token.raw() != raw {
			t.Errorf("got %q", token.subject)
		}
	})
}

func FuzzEntry(f *testing.F) {
	hash := strings.Repeat("0a", 32)
	f.Add([]byte(`{"body":"AA==","integratedTime":1,"logID":"` + hash + `","logIndex":2,"verification":{"signedEntryTimestamp":"AA==","inclusionProof":{"checkpoint":"x","rootHash":"` + hash + `","hashes":["` + hash + `"],"treeSize":9,"logIndex":1}}}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		var e loggedEntry
		if json.Unmarshal(b, &e) != nil {
			return
		}
		out, err := e.entry("dsse")
		if err != nil {
			return
		}
		if len(out.LogID.KeyID) != 32 || len(out.InclusionProof.RootHash) != 32 || len(out.InclusionProof.Hashes) != len(e.Verification.InclusionProof.Hashes) {
			t.Errorf("got %+v", out)
		}
	})
}

func FuzzAccept(f *testing.F) {
	f.Add("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
	f.Fuzz(func(t *testing.T, pem string) {
		c := &credential{}
		if err := c.accept([]string{pem}); err == nil {
			t.Error("a certificate for no key")
		}
	})
}
