package nuget

import (
	"crypto/sha512"
	"encoding/base64"
	"strings"
	"testing"

	"github.com/slipway-build/slipway/pipeline/release/artifact"
)

const (
	head = `<entry xmlns="http://www.w3.org/2005/Atom" xmlns:d="http://schemas.microsoft.com/ado/2007/08/dataservices" ` +
		`xmlns:m="http://schemas.microsoft.com/ado/2007/08/dataservices/metadata">`
	tail = `</entry>`
)

func TestParse(t *testing.T) {
	e, err := parse([]byte(`<?xml version="1.0" encoding="utf-8"?>` + head + `<title type="text">hello</title><content><title>no</title></content><m:properties>
<d:Version> 1.2.3 </d:Version><d:PackageHash>aGFzaA==</d:PackageHash><d:PackageHashAlgorithm>SHA512</d:PackageHashAlgorithm>
<d:PackageStatus>Submitted</d:PackageStatus><d:Other><d:Version>9</d:Version></d:Other></m:properties>` + tail))
	want := entry{id: "hello", version: "1.2.3", hash: "aGFzaA==", algorithm: "SHA512", status: "Submitted"}
	if err != nil || e != want {
		t.Errorf("%+v, %v", e, err)
	}
	for _, tt := range []struct{ in, want string }{
		{"", "has no id"},
		{head + tail, "has no id"},
		{`<feed xmlns="http://www.w3.org/2005/Atom"/>`, `not an Atom entry but "feed"`},
		{`<entry/>`, `not an Atom entry but "entry"`},
		{`<!DOCTYPE entry [<!ENTITY a "aaaa">]>` + head + tail, "document type"},
		{head + `<title>&a;</title>` + tail, "invalid character entity"},
		{head + `<title>hello</title><m:properties><d:Version>1</d:Version><d:Version>2</d:Version></m:properties>` + tail, "Version is there twice"},
		{head + strings.Repeat("<a>", 40), "more than 32 deep"},
		{head + `<title>hello`, "unexpected EOF"},
		{`<?xml version="1.0" encoding="utf-16"?>` + head + tail, "encoding"},
	} {
		if _, err := parse([]byte(tt.in)); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%.60s: %v, want %s", tt.in, err, tt.want)
		}
	}
}

func TestIs(t *testing.T) {
	content := []byte("content")
	long := sha512.Sum512(content)
	p := &pkg{sha512: long[:], file: artifact.File{Digest: artifact.Sum(content)}}
	other := make([]byte, 64)
	b64 := base64.StdEncoding.EncodeToString
	for _, tt := range []struct {
		algorithm, hash string
		same, known     bool
	}{
		{"SHA512", b64(long[:]), true, true},
		{"sha512", b64(long[:]), true, true},
		{"", b64(long[:]), true, true},
		{"SHA512", b64(other), false, true},
		{"SHA256", "7XACtDnprIRfIjV9giusFERzD722AW0+yUMil7nsn3M=", true, true},
		{"SHA256", b64(other[:32]), false, true},
		{"SHA512", b64(long[:32]), false, false},
		{"MD5", b64(other[:16]), false, false},
		{"SHA512", "", false, false},
		{"SHA512", "?", false, false},
	} {
		e := entry{algorithm: tt.algorithm, hash: tt.hash}
		if same, known := e.is(p); same != tt.same || known != tt.known {
			t.Errorf("%s %.20s: same %t, known %t", tt.algorithm, tt.hash, same, known)
		}
	}
}

func TestNormal(t *testing.T) {
	for in, want := range map[string]string{
		"1.2.3": "1.2.3", "1.2.3.0": "1.2.3", "1.2.3.4": "1.2.3.4", "1.2": "1.2.0", "01.002.0003": "1.2.3", "1.00.0": "1.0.0",
		"1.2.3-RC-0001": "1.2.3-rc-0001", "1.2.3+meta": "1.2.3", "1.2.3-a+b": "1.2.3-a", "1.2.3.00-a": "1.2.3-a",
	} {
		if got := normal(in); got != want {
			t.Errorf("normal(%q) = %q, want %q", in, got, want)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(head + `<title>hello</title><m:properties><d:Version>1.2.3</d:Version></m:properties>` + tail))
	f.Add([]byte(`<!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>`))
	f.Add([]byte(head + `<m:properties><d:Id>a</d:Id>`))
	f.Fuzz(func(t *testing.T, b []byte) {
		e, err := parse(b)
		if err != nil {
			return
		}
		if e.id == "" || e.version == "" {
			t.Error("an entry without a name")
		}
		if n := len(e.id) + len(e.version) + len(e.hash) + len(e.algorithm) + len(e.status); n > 4*len(b) {
			t.Errorf("%d bytes of %d", n, len(b))
		}
		if normal(normal(e.version)) != normal(e.version) {
			t.Errorf("normal(%q) is not normal", e.version)
		}
	})
}
