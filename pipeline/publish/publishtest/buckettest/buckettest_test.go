package buckettest_test

import (
	"encoding/xml"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/minio/minio-go/v7/pkg/signer"

	"github.com/slipway-build/slipway/pipeline/publish/publishtest/buckettest"
	"github.com/slipway-build/slipway/pipeline/release/artifact"
)

// Requests are refused for the reasons of the real service. The signatures are those of an independent implementation.
func TestRules(t *testing.T) {
	b := buckettest.New(buckettest.Options{AccessKey: "key", SecretKey: "secret", Page: 2})
	server := httptest.NewServer(b)
	t.Cleanup(server.Close)
	type change = func(r *http.Request)
	do := func(method, path, body string, before, after change) (int, string) {
		t.Helper()
		r, err := http.NewRequest(method, server.URL+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("X-Amz-Content-Sha256", artifact.Sum([]byte(body)).Hex())
		if before != nil {
			before(r)
		}
		r = signer.SignV4(*r, "key", "secret", "", "us-east-1")
		if after != nil {
			after(r)
		}
		res, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		text, err := io.ReadAll(res.Body)
		if err != nil {
			t.Fatal(err)
		}
		var refusal struct{ Code string }
		_ = xml.Unmarshal(text, &refusal)
		return res.StatusCode, refusal.Code + map[bool]string{true: string(text)}[res.StatusCode == http.StatusOK && method == http.MethodGet]
	}
	fresh := func(r *http.Request) { r.Header.Set("If-None-Match", "*") }
	header := func(name, value string) change { return func(r *http.Request) { r.Header.Set(name, value) } }
	for _, tt := range []struct {
		name, method, path, body string
		before, after            change
		status                   int
		code                     string
	}{
		{"put", "PUT", "/bucket/a%20b+c", "x", fresh, nil, 200, ""},
		{"put again", "PUT", "/bucket/a%20b+c", "y", fresh, nil, 412, "PreconditionFailed"},
		{"get", "GET", "/bucket/a%20b+c", "", nil, nil, 200, "x"},
		{"head", "HEAD", "/bucket/a%20b+c", "", nil, nil, 200, ""},
		{"nothing", "GET", "/bucket/b", "", nil, nil, 404, "NoSuchKey"},
		{"no bucket", "GET", "/other/b", "", nil, nil, 404, "NoSuchBucket"},
		{"not signed", "GET", "/bucket/a%20b+c", "", nil, func(r *http.Request) { r.Header.Del("Authorization") }, 403, "AccessDenied"},
		{"another path", "GET", "/bucket/b", "", nil, func(r *http.Request) { r.URL.Path = "/bucket/a b+c" }, 403, "SignatureDoesNotMatch"},
		{"another query", "GET", "/bucket?list-type=2", "", nil, func(r *http.Request) { r.URL.RawQuery += "&prefix=x" }, 403, "SignatureDoesNotMatch"},
		{"another time", "GET", "/bucket/b", "", nil, header("X-Amz-Date", "20000101T000000Z"), 400, "AuthorizationHeaderMalformed"},
		{"a header later", "PUT", "/bucket/b", "x", nil, header("X-Amz-Meta-Sha256", "x"), 403, "AccessDenied"},
		{"a condition later", "PUT", "/bucket/b", "x", fresh, header("If-None-Match", "x"), 403, "SignatureDoesNotMatch"},
		{"another body", "PUT", "/bucket/b", "x", header("X-Amz-Content-Sha256", artifact.Sum([]byte("y")).Hex()), nil, 400, "XAmzContentSHA256Mismatch"},
		{"another sum", "PUT", "/bucket/b", "x", header("Content-Md5", "AAAA"), nil, 400, "BadDigest"},
		{"no digest", "PUT", "/bucket/b", "x", header("X-Amz-Content-Sha256", "UNSIGNED-PAYLOAD"), nil, 501, "NotImplemented"},
		{"delete", "DELETE", "/bucket/a%20b+c", "", nil, nil, 405, "MethodNotAllowed"},
	} {
		if status, code := do(tt.method, tt.path, tt.body, tt.before, tt.after); status != tt.status || code != tt.code {
			t.Errorf("%s: %d %s, want %d %s", tt.name, status, code, tt.status, tt.code)
		}
	}
	if want := "a b+c 1 " + string(artifact.Sum([]byte("x"))); !strings.HasPrefix(b.State(), want) || strings.Count(b.State(), "\n") != 1 {
		t.Errorf("it has %s, want %s", b.State(), want)
	}
}
