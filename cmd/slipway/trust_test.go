package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/slipway-build/slipway/pipeline/fixture/verifytest"
	"github.com/slipway-build/slipway/pipeline/release/fault"
	"github.com/slipway-build/slipway/pipeline/release/manifest"
	"github.com/slipway-build/slipway/pipeline/trust/sign"
)

// TestTrust takes keys from the slipway.yaml of a project, each for its days.
func TestTrust(t *testing.T) {
	dir := t.TempDir()
	write := func(name, content string) string {
		t.Helper()
		p := filepath.Join(dir, name)
		if err := os.WriteFile(p, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return p
	}
	old, err := sign.Generate(sign.ECDSA)
	if err != nil {
		t.Fatal(err)
	}
	current, err := sign.Generate(sign.Ed25519)
	if err != nil {
		t.Fatal(err)
	}
	write("old.pub", string(old.Public().PEM()))
	write("current.pub", string(current.Public().PEM()))
	dist := filepath.Join(dir, "dist")
	if _, err := verifytest.Write(dist, verifytest.Options{Signing: &manifest.Signing{Key: old.Public().Fingerprint()}}); err != nil {
		t.Fatal(err)
	}
	if _, err := sign.Release(t.Context(), dist, sign.Options{Signer: old}); err != nil {
		t.Fatal(err)
	}
	trust := func(rest string) []string { return []string{"--trust", rest} }
	for _, tt := range []struct {
		name string
		args []string
		code fault.Code
		says string
	}{
		{"the key that signs", trust("signing: {key: old.pub}"), fault.OK, "PASS: hello 1.2.3"},
		{"the key before", trust("signing: {key: current.pub}\ntrust: [{key: old.pub, until: 2999-12-31}]"), fault.OK, "PASS: hello 1.2.3"},
		{"of another time", trust("signing: {key: current.pub}\ntrust: [{key: old.pub, until: 1999-12-31}]"), fault.Mismatch, "counted until 1999-12-31, and the release is of "},
		{"revoked", trust("signing: {key: current.pub}\ntrust: [{key: old.pub, revoked: 2026-03-01, reason: lost}]"), fault.Mismatch, "was revoked on 2026-03-01: lost"},
		{"another key alone", trust("signing: {key: current.pub}"), fault.Mismatch, "the release is to be signed with key " + string(old.Public().Fingerprint())},
		{"no key", trust(""), fault.Usage, "it names no key, neither under signing.key nor under trust"},
		{"a key that is not there", trust("signing: {key: none.pub}"), fault.Usage, "slipway.yaml:4:16: signing.key: "},
		{"a mistake", trust("trust: [{key: old.pub, revoked: 2026-03-01}]"), fault.Usage, "say why under reason"},
		{"no file", []string{"--trust", filepath.Join(dir, "none.yaml")}, fault.Usage, "none.yaml"},
		{"and none", append(trust("signing: {key: old.pub}"), "--allow-unsigned"), fault.Usage, "either checked or ignored"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if tt.args[0] == "--trust" && !filepath.IsAbs(tt.args[1]) {
				tt.args[1] = write("slipway.yaml", "version: 1\nproject: {name: hello}\nbinaries: [{name: hello, main: .}]\n"+tt.args[1]+"\n")
			}
			cmd := newVerify()
			var out bytes.Buffer
			cmd.SetOut(&out)
			cmd.SilenceErrors, cmd.SilenceUsage = true, true
			cmd.SetArgs(append(tt.args, dist))
			err := cmd.ExecuteContext(t.Context())
			said := out.String()
			if err != nil {
				said += err.Error()
			}
			if fault.CodeOf(err) != tt.code || !strings.Contains(said, tt.says) {
				t.Errorf("code %d, want %d and %q:\n%s", fault.CodeOf(err), tt.code, tt.says, said)
			}
		})
	}
}
