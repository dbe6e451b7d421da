package openpgp_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/sha256"
	"crypto/x509"
	"encoding/pem"
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/slipway-build/slipway/pipeline/fixture/rsatest"
	"github.com/slipway-build/slipway/pipeline/trust/openpgp"
	"github.com/slipway-build/slipway/pipeline/trust/sign"
	"github.com/slipway-build/slipway/pipeline/trust/signature"
)

var update = flag.Bool("update", false, "write the golden files anew, which gpg has to read then")

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// seeded is a key that is the same every time.
func seeded(t *testing.T, kind string) signature.Signer {
	t.Helper()
	if kind == "rsa" {
		return rsatest.Key(t, kind)
	}
	seed := sha256.Sum256([]byte(kind))
	var key any = ed25519.NewKeyFromSeed(seed[:])
	if kind == "ecdsa" {
		k, err := ecdsa.ParseRawPrivateKey(elliptic.P256(), seed[:])
		must(t, err)
		key = k
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	must(t, err)
	s, err := sign.Load(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), nil)
	must(t, err)
	return s
}

const text = "Origin: slipway\n- a line that begins with a hyphen\n\nSHA256:\n 0123 main/x\n"

// TestSignatures holds certificates and signatures to golden files, and has gpg read them where it is there.
func TestSignatures(t *testing.T) {
	at := time.Date(2026, 3, 2, 10, 0, 0, 0, time.UTC)
	for _, kind := range []string{"ed25519", "ecdsa", "rsa"} {
		k, err := openpgp.New(seeded(t, kind), "Packages of Example")
		must(t, err)
		public, err := k.Public()
		must(t, err)
		detached, err := k.Detached([]byte(text), at)
		must(t, err)
		clear, err := k.Clear([]byte(text), at)
		must(t, err)
		dir := t.TempDir()
		for name, b := range map[string][]byte{"public.asc": public, "detached.asc": detached, "clear.asc": clear} {
			golden := filepath.Join("testdata", kind+"-"+name)
			if *update {
				must(t, os.MkdirAll("testdata", 0o755))
				must(t, os.WriteFile(golden, b, 0o644))
			}
			if want, err := os.ReadFile(golden); err != nil || !bytes.Equal(b, want) {
				t.Errorf("%s: %v\n%s", golden, err, b)
			}
			must(t, os.WriteFile(filepath.Join(dir, name), b, 0o600))
		}
		must(t, os.WriteFile(filepath.Join(dir, "text"), []byte(text), 0o600))
		must(t, os.WriteFile(filepath.Join(dir, "other"), []byte(text+"x"), 0o600))
		if _, err := exec.LookPath("gpg"); err != nil {
			t.Log("gpg is not here")
			continue
		}
		gpg := func(args ...string) (string, error) {
			cmd := exec.Command("gpg", append([]string{"--homedir", dir, "--batch", "--no-autostart", "--status-fd", "1", "--trust-model", "always"}, args...)...)
			cmd.Dir = dir
			out, err := cmd.CombinedOutput()
			return string(out), err
		}
		if out, err := gpg("--import", "public.asc"); err != nil || !strings.Contains(out, "IMPORT_OK 1 "+k.Fingerprint()) {
			t.Fatalf("%s: %v\n%s", kind, err, out)
		}
		for _, args := range [][]string{{"--verify", "detached.asc", "text"}, {"--verify", "clear.asc"}} {
			if out, err := gpg(args...); err != nil || !strings.Contains(out, "VALIDSIG "+k.Fingerprint()+" 2026-03-02") || !strings.Contains(out, "Packages of Example") {
				t.Errorf("%s %q: %v\n%s", kind, args, err, out)
			}
		}
		if out, err := gpg("--decrypt", "clear.asc"); err != nil || !strings.Contains(out, text) {
			t.Errorf("%v\n%s", err, out)
		}
		for _, text := range []string{"\n", "\n\na\n\n\n", "-\n-----BEGIN PGP SIGNATURE-----\n- x\nFrom x\nHash: SHA1\n", "a\rb\n", "\ta\f\n\xe9\v\n\u00a0\n", strings.Repeat("a", 19_000) + "\n"} {
			clear, err := k.Clear([]byte(text), at)
			must(t, err)
			must(t, os.WriteFile(filepath.Join(dir, "odd.asc"), clear, 0o600))
			if out, err := gpg("--yes", "--output", "odd", "--decrypt", "odd.asc"); err != nil || !strings.Contains(out, "VALIDSIG") {
				t.Errorf("%.60q: %v\n%s", text, err, out)
			}
			if got, err := os.ReadFile(filepath.Join(dir, "odd")); err != nil || string(got) != text {
				t.Errorf("%.60q is %.60q, %v", text, got, err)
			}
		}
		if out, err := gpg("--verify", "detached.asc", "other"); err == nil || !strings.Contains(out, "BADSIG") {
			t.Errorf("other bytes: %v\n%s", err, out)
		}
	}
}

func TestUnfit(t *testing.T) {
	k, err := openpgp.New(seeded(t, "ecdsa"), "x")
	must(t, err)
	now := time.Date(2026, 3, 2, 10, 0, 0, 0, time.UTC)
	for text, want := range map[string]string{
		"a \nb\n": "line 1 of what is signed ends in a blank", "a\n\t\n": "line 2", "a\r\n": "line 1", "a\n\nb\x00\n": "line 3 of what is signed has a zero byte",
		strings.Repeat("a", 25_000) + "\n": "line 1 of what is signed has 25000 bytes", "a": "does not end in a newline", "": "does not end in a newline",
	} {
		if b, err := k.Clear([]byte(text), now); err == nil || !strings.Contains(err.Error(), want) || b != nil {
			t.Errorf("%.20q: %v", text, err)
		}
	}
	for _, year := range []int{1960, 1970, 2019, 2107} {
		at := time.Date(year, 1, 1, 0, 0, 0, 0, time.UTC)
		for name, sign := range map[string]func([]byte, time.Time) ([]byte, error){"clear": k.Clear, "detached": k.Detached} {
			if b, err := sign([]byte("a\n"), at); err == nil || !strings.Contains(err.Error(), "no reader takes a signature of that time") || b != nil {
				t.Errorf("%s in %d: %v", name, year, err)
			}
		}
	}
	p384, err := ecdsa.GenerateKey(elliptic.P384(), nil)
	must(t, err)
	der, err := x509.MarshalPKCS8PrivateKey(p384)
	must(t, err)
	s, err := sign.Load(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), nil)
	must(t, err)
	if _, err := openpgp.New(s, "x"); err == nil || !strings.Contains(err.Error(), "P-256") {
		t.Error(err)
	}
}
