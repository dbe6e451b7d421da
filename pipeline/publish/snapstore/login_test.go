package snapstore

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/slipway-build/slipway/pipeline/release/fault"
)

// craft-store's test of the header
// (https://github.com/canonical/craft-store/blob/main/tests/unit/test_ubuntu_one_store_client.py): what its macaroons
// are made of, and what pymacaroons makes of them.
const (
	vectorRoot = "MDAxZGxvY2F0aW9uIGZha2Utc2VydmVyLmNvbQowMDEwaWRlbnRpZmllciAKMDAxM2NpZCAxMjM0NTY3ODkwCjAwMTN2aWQgMTIzNDU2Nzg5MAowMDE0Y2wg" +
		"ZmFrZS1zc28uY29tCjAwMmZzaWduYXR1cmUg2VM0YdeDXkhRx-O2ORREBs92hZfepuEzIy-9I4WlwFAK"
	vectorDischargeSignature = "d9533461d7835e4851c7e3b639122406cf768597dea6e133232fbd2385a5c050"
	vectorBound              = "MDAxZGxvY2F0aW9uIGZha2Utc2VydmVyLmNvbQowMDEwaWRlbnRpZmllciAKMDAyZnNpZ25hdHVyZSB6hf06Su8kgum0keaUXy6VxGUHlN9bFL2A0EKNptFZMwo"
)

// vectorDischarge is a macaroon of a location and an empty identifier.
func vectorDischarge(t testing.TB) string {
	sig, err := hex.DecodeString(vectorDischargeSignature)
	if err != nil {
		t.Fatal(err)
	}
	return base64.RawURLEncoding.EncodeToString([]byte("001dlocation fake-server.com\n0010identifier \n002fsignature " + string(sig) + "\n"))
}

func TestBind(t *testing.T) {
	l, err := newLogin(vectorRoot, vectorDischarge(t))
	if err != nil {
		t.Fatal(err)
	}
	if want := "Macaroon root=" + vectorRoot + ", discharge=" + vectorBound; l.header != want {
		t.Errorf("got  %s\nwant %s", l.header, want)
	}
}

func TestParseLogin(t *testing.T) {
	root, discharge := vectorRoot, vectorDischarge(t)
	b64 := func(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }
	typed := fmt.Sprintf(`{"t": "u1-macaroon", "v": {"r": %q, "d": %q}}`, root, discharge)
	untyped := fmt.Sprintf(`{"r": %q, "d": %q}`, root, discharge)
	config := "[login.ubuntu.com]\nmacaroon = " + root + "\nunbound_discharge = " + discharge + "\nemail = mail@example.com\n\n"
	for name, in := range map[string]string{
		"typed": b64(typed), "with a line end": b64(typed) + "\n", "untyped": b64(untyped), "configuration": config, "encoded configuration": b64(config),
		"padded": b64(strings.Replace(typed, root, root+"==", 1)),
	} {
		l, err := parseLogin(in)
		if err != nil {
			t.Errorf("%s: %v", name, err)
		} else if !strings.HasSuffix(l.header, "discharge="+vectorBound) || l.discharge != discharge {
			t.Errorf("%s: %+v", name, l)
		}
	}
	for name, in := range map[string]string{
		"nothing": "", "no base64": "?", "no JSON": b64("x"), "no macaroons": b64("{}"), "half": b64(fmt.Sprintf(`{"r": %q}`, root)),
		"another type": b64(`{"t": "macaroon", "v": "` + root + `"}`), "another section": strings.Replace(config, "login.ubuntu.com", "login.staging.ubuntu.com", 1),
		"cut": b64(strings.Replace(typed, discharge, discharge[:80], 1)), "too long": b64(typed + strings.Repeat(" ", maxCredentials)),
		"a field of headers in it": b64(fmt.Sprintf(`{"r": "%s\nX: y", "d": %q}`, root, discharge)),
	} {
		l, err := parseLogin(in)
		if fault.CodeOf(err) != fault.Credentials {
			t.Errorf("%s: %+v, %v", name, l, err)
		} else if strings.Contains(err.Error(), root[:20]) {
			t.Errorf("%s: the secret is told: %v", name, err)
		}
	}
}

func FuzzParseLogin(f *testing.F) {
	typed, err := json.Marshal(map[string]any{"t": "u1-macaroon", "v": map[string]string{"r": vectorRoot, "d": vectorDischarge(f)}})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(base64.StdEncoding.EncodeToString(typed))
	f.Add("[login.ubuntu.com]\nmacaroon=" + vectorRoot + "\nunbound_discharge=" + vectorDischarge(f))
	f.Add("[")
	f.Fuzz(func(t *testing.T, s string) {
		l, err := parseLogin(s)
		if err != nil {
			return
		}
		if strings.Trim(l.header, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_=, ") != "" {
			t.Errorf("header %q", l.header)
		}
	})
}

func FuzzParseMacaroon(f *testing.F) {
	f.Add(vectorRoot)
	f.Add(vectorBound)
	f.Add("MDAw")
	f.Fuzz(func(t *testing.T, s string) {
		m, err := parseMacaroon(s)
		if err != nil {
			return
		}
		if got := m.String(); got != strings.TrimRight(s, "=") {
			t.Errorf("%q is written as %q", s, got)
		}
	})
}
