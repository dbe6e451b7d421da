package cli

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/slipway-build/slipway/pipeline/fixture/verifytest"
	"github.com/slipway-build/slipway/pipeline/release/fault"
	"github.com/slipway-build/slipway/pipeline/release/manifest"
	"github.com/slipway-build/slipway/pipeline/trust/sign"
)

// TestVerifyKey takes the project's key where none is named, in the folder of the project and for what comes from
// elsewhere, and none for a release that is neither finished nor signed.
func TestVerifyKey(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	if out, err := exec.Command("git", "init", "--quiet").CombinedOutput(); err != nil {
		t.Skipf("install git: %v: %s", err, out)
	}
	ours, theirs := key(t), key(t)
	for name, content := range map[string]string{
		"slipway.yaml": "version: 1\nproject:\n  name: hello\nbinaries:\n  - name: hello\n    main: ./cmd/hello\nsigning:\n  key: ours.pub\n",
		"ours.pub":     string(ours.Public().PEM()),
		"theirs.pub":   string(theirs.Public().PEM()),
	} {
		write(t, name, content)
	}
	release := func(name string, o verifytest.Options, signer *sign.Key) {
		t.Helper()
		if _, err := verifytest.Write(name, o); err != nil {
			t.Fatal(err)
		}
		if signer != nil {
			if _, err := sign.Release(t.Context(), name, sign.Options{Signer: *signer}); err != nil {
				t.Fatal(err)
			}
		}
	}
	want := &manifest.Signing{Key: ours.Public().Fingerprint()}
	release("dist", verifytest.Options{Signing: want}, &ours)
	release("stripped", verifytest.Options{}, nil)
	release("strange", verifytest.Options{}, &theirs)
	release("draft", verifytest.Options{Signing: want, Unpublishable: []string{"dirty"}}, nil)
	release("signed-draft", verifytest.Options{Unpublishable: []string{"dirty"}}, &theirs)
	server := httptest.NewServer(http.FileServer(http.Dir(dir)))
	defer server.Close()
	for _, tt := range []struct {
		args string
		code fault.Code
		want string
	}{
		{"", fault.OK, ", 0 failed, 0 skipped"},
		{"--key ours.pub dist", fault.OK, ", 0 failed, 0 skipped"},
		{"--key theirs.pub dist", fault.Mismatch, "is checked with key " + string(theirs.Public().Fingerprint())},
		{"stripped", fault.Mismatch, "missing; want a signature by key " + string(ours.Public().Fingerprint())},
		{"strange", fault.Mismatch, "it was signed with key " + string(theirs.Public().Fingerprint())},
		{"--key theirs.pub strange", fault.OK, ", 0 failed, 0 skipped"},
		{"--allow-unsigned strange", fault.OK, ", 0 failed, 0 skipped"},
		{"--allow-unsigned --key ours.pub strange", fault.Usage, ""},
		{"draft", fault.Mismatch, "unpublishable: dirty"},
		{"--allow-unpublishable draft", fault.OK, ", 0 failed, 0 skipped"},
		{"--allow-unpublishable --key ours.pub draft", fault.Mismatch, "missing; want a signature"},
		{"--allow-unpublishable signed-draft", fault.Mismatch, "it was signed with key"},
		{"--allow-unpublishable stripped", fault.Mismatch, "missing; want a signature"},
		{"--release dist dist/archives/hello_1.2.3_linux_amd64.tar.gz dist/packages/hello_1.2.3_amd64.deb", fault.OK, "proven: names, bytes, version and platforms are those of hello 1.2.3"},
		{"--release strange strange/archives/hello_1.2.3_linux_amd64.tar.gz", fault.Mismatch, "it was signed with key " + string(theirs.Public().Fingerprint())},
		{"dist/archives/hello_1.2.3_linux_amd64.tar.gz", fault.Usage, ""},
		{"oci://127.0.0.1:1/owner/tool:1.2.3", fault.Transient, ""},
		{server.URL + "/dist", fault.OK, ", 0 failed, 0 skipped"},
		{server.URL + "/stripped", fault.Mismatch, "missing; want a signature"},
		{"--key none.pub dist", fault.Usage, ""},
	} {
		t.Run(tt.args, func(t *testing.T) {
			var out bytes.Buffer
			errs, err := os.Create(filepath.Join(t.TempDir(), "stderr"))
			if err != nil {
				t.Fatal(err)
			}
			defer errs.Close()
			a := &app{stdout: &out, stderr: errs, getenv: func(string) string { return "" }}
			code := a.run(t.Context(), append([]string{"verify"}, strings.Fields(tt.args)...))
			if fault.Code(code) != tt.code || !strings.Contains(out.String(), tt.want) {
				said, _ := os.ReadFile(errs.Name())
				t.Errorf("exit %d, want %d and %q\n%s%s", code, tt.code, tt.want, out.String(), said)
			}
		})
	}
	write(t, "slipway.yaml", "version: 1\nprojekt: {}\n")
	a := &app{stdout: &bytes.Buffer{}, stderr: os.Stderr, getenv: func(string) string { return "" }}
	if code := a.run(t.Context(), []string{"verify", "stripped"}); fault.Code(code) != fault.Usage {
		t.Errorf("a configuration that does not say whose key it is: exit %d", code)
	}
}

func key(t *testing.T) sign.Key {
	t.Helper()
	k, err := sign.Generate(sign.ECDSA)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func write(t *testing.T, name, content string) {
	t.Helper()
	if err := os.WriteFile(name, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}
