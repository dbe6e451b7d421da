package sign_test

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"

	"golang.org/x/crypto/nacl/secretbox"
	"golang.org/x/crypto/scrypt"

	"github.com/slipway-build/slipway/pipeline/fixture"
	"github.com/slipway-build/slipway/pipeline/release/fault"
	"github.com/slipway-build/slipway/pipeline/trust/sign"
	"github.com/slipway-build/slipway/pipeline/trust/signature"
)

// passphrase must be in no error.
const passphrase = "correct horse canary"

func give(s string) func() ([]byte, error) { return func() ([]byte, error) { return []byte(s), nil } }

func never(t testing.TB) func() ([]byte, error) {
	return func() ([]byte, error) {
		t.Error("a passphrase is asked for a key that has none")
		return nil, nil
	}
}

func generate(t testing.TB, kind sign.Kind) sign.Key {
	t.Helper()
	k, err := sign.Generate(kind)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// want checks that an error says it and has the code, and that no error has a secret in it.
func want(t *testing.T, err error, code fault.Code, says string, secrets ...string) {
	t.Helper()
	if err == nil || fault.CodeOf(err) != code || !strings.Contains(err.Error(), says) {
		t.Errorf("got %v (exit %d), want exit %d and that it says %q", err, fault.CodeOf(err), code, says)
		return
	}
	for _, s := range append(secrets, passphrase) {
		if s != "" && strings.Contains(err.Error(), s) {
			t.Errorf("a secret is in the error: %v", err)
		}
	}
}

func TestGenerate(t *testing.T) {
	fixture.SkipRace(t)
	for _, kind := range sign.Kinds() {
		k := generate(t, kind)
		if other := generate(t, kind); other.Public().Equal(k.Public()) {
			t.Errorf("%s: the same key twice", kind)
		}
		message := []byte("content")
		sig, err := k.Sign(message)
		if err != nil {
			t.Fatal(err)
		}
		if err := k.Public().Verify(message, sig); err != nil {
			t.Error(err)
		}
		if again, err := k.Sign(message); err != nil || !bytes.Equal(again, sig) {
			t.Errorf("%s: the same signing gives another signature (%v)", kind, err)
		}
		for _, p := range []string{"", passphrase} {
			b, err := k.PEM([]byte(p))
			if err != nil {
				t.Fatal(err)
			}
			ask := never(t)
			if p != "" {
				ask = give(p)
			}
			back, err := sign.Load(b, ask)
			if err != nil || !back.Public().Equal(k.Public()) {
				t.Errorf("%s: read back: %v", kind, err)
			}
			if encrypted := bytes.Contains(b, []byte("BEGIN ENCRYPTED PRIVATE KEY")); encrypted != (p != "") {
				t.Errorf("%s: the file is encrypted: %t", kind, encrypted)
			}
		}
		a, err := k.PEM([]byte(passphrase))
		if err != nil {
			t.Fatal(err)
		}
		if b, _ := k.PEM([]byte(passphrase)); bytes.Equal(a, b) {
			t.Errorf("%s: salt or IV is the same twice", kind)
		}
	}
	if sign.Kinds()[0] != sign.ECDSA || generate(t, sign.ECDSA).Public().Kind() != "ECDSA P-256" {
		t.Error("the first kind is not ECDSA on P-256")
	}
	_, err := sign.Generate("dsa")
	want(t, err, fault.Usage, `"dsa" is not a kind of key`)
}

// https://www.rfc-editor.org/rfc/rfc6979#appendix-A.2.5
func TestDeterministicNonce(t *testing.T) {
	d, err := hex.DecodeString("C9AFA9D845BA75166B5C215767B1D6934E50C3DB36E89B127B8A622B120F6721")
	if err != nil {
		t.Fatal(err)
	}
	key, err := ecdsa.ParseRawPrivateKey(elliptic.P256(), d)
	if err != nil {
		t.Fatal(err)
	}
	k, err := sign.Load(pkcs8(t, key), never(t))
	if err != nil {
		t.Fatal(err)
	}
	sig, err := k.Sign([]byte("sample"))
	if err != nil {
		t.Fatal(err)
	}
	const r, s = "efd48b2aacb6a8fd1140dd9cd45e81d69d2c877b56aaf991c34d0ea84eaf3716", "f7cb1c942d657c41d436c7a1b6e29f65f3e900dbb9aff4064dc4ab2f843acda8"
	if got := hex.EncodeToString(sig); got != "3046022100"+r+"022100"+s {
		t.Errorf("the signature is %s", got)
	}
}

func TestNoSecretIsPrinted(t *testing.T) {
	raw := ed25519.NewKeyFromSeed(bytes.Repeat([]byte{0xc3}, 32))
	k, err := sign.Load(pkcs8(t, raw), never(t))
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range []any{k, &k, struct{ k any }{k}, struct{ K signature.Signer }{k}, struct{ k sign.Key }{k.(sign.Key)}} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x", "%d", "%q"} {
			out := strings.ToLower(fmt.Sprintf(verb, v))
			if strings.Contains(out, "c3c3") || strings.Contains(out, "195 195") || strings.Contains(out, "0xc3, 0xc3") {
				t.Errorf("%s prints the key: %s", verb, out)
			}
		}
	}
	if b, err := json.Marshal(k); err == nil && bytes.Contains(b, []byte("w8PD")) {
		t.Errorf("JSON has the key: %s", b)
	}
}

func pkcs8(t testing.TB, key any) []byte {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
}

// cosignKey encrypts a key as cosign does.
func cosignKey(t testing.TB, kind string, key any, secret string) []byte {
	t.Helper()
	var salt, box [32]byte
	var nonce [24]byte
	rand.Read(salt[:])
	rand.Read(nonce[:])
	k, err := scrypt.Key([]byte(secret), salt[:], 1<<15, 8, 1, 32)
	if err != nil {
		t.Fatal(err)
	}
	copy(box[:], k)
	block, _ := pem.Decode(pkcs8(t, key))
	doc, err := json.Marshal(map[string]any{
		"kdf":        map[string]any{"name": "scrypt", "params": map[string]int{"N": 1 << 15, "r": 8, "p": 1}, "salt": salt[:]},
		"cipher":     map[string]any{"name": "nacl/secretbox", "nonce": nonce[:]},
		"ciphertext": secretbox.Seal(nil, block.Bytes, &nonce, &box),
	})
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: doc})
}

var rsaKey = sync.OnceValue(func() *rsa.PrivateKey {
	k, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	return k
})

func ecKey(t testing.TB, c elliptic.Curve) *ecdsa.PrivateKey {
	k, err := ecdsa.GenerateKey(c, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func TestLoad(t *testing.T) {
	fixture.SkipRace(t)
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for name, key := range map[string]crypto.Signer{
		"P-256": ecKey(t, elliptic.P256()), "P-384": ecKey(t, elliptic.P384()), "P-521": ecKey(t, elliptic.P521()),
		"Ed25519": ed, "RSA": rsaKey(),
	} {
		pub, err := signature.NewPublicKey(key.Public())
		if err != nil {
			t.Fatal(err)
		}
		forms := map[string][]byte{
			"PKCS #8":  pkcs8(t, key),
			"sigstore": cosignKey(t, "ENCRYPTED SIGSTORE PRIVATE KEY", key, passphrase),
			"cosign":   cosignKey(t, "ENCRYPTED COSIGN PRIVATE KEY", key, passphrase),
			"comments": append([]byte("# a comment\n"), append(pkcs8(t, key), "# and another\n"...)...),
		}
		if ec, ok := key.(*ecdsa.PrivateKey); ok {
			der, err := x509.MarshalECPrivateKey(ec)
			if err != nil {
				t.Fatal(err)
			}
			sec1 := pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der})
			forms["SEC 1"] = sec1
			forms["SEC 1 with parameters"] = append(pem.EncodeToMemory(&pem.Block{Type: "EC PARAMETERS", Bytes: []byte{6, 0}}), sec1...)
		}
		for form, b := range forms {
			given := []byte(passphrase)
			k, err := sign.Load(b, func() ([]byte, error) { return given, nil })
			if err != nil || !k.Public().Equal(pub) {
				t.Errorf("%s in %s: %v", name, form, err)
				continue
			}
			if used := form == "sigstore" || form == "cosign"; used != bytes.Equal(given, make([]byte, len(given))) {
				t.Errorf("%s in %s: of the passphrase remains %q", name, form, given)
			}
			sig, err := k.Sign([]byte("x"))
			if err != nil {
				t.Fatal(err)
			}
			if err := pub.Verify([]byte("x"), sig); err != nil {
				t.Errorf("%s in %s: %v", name, form, err)
			}
		}
	}
}

func TestLoadRefuses(t *testing.T) {
	fixture.SkipRace(t)
	key := ecKey(t, elliptic.P256())
	plain := pkcs8(t, key)
	own, err := sign.Load(plain, nil)
	if err != nil {
		t.Fatal(err)
	}
	encrypted, err := own.(sign.Key).PEM([]byte(passphrase))
	if err != nil {
		t.Fatal(err)
	}
	cosign := cosignKey(t, "ENCRYPTED SIGSTORE PRIVATE KEY", key, passphrase)
	old := pem.EncodeToMemory(&pem.Block{
		Type: "EC PRIVATE KEY", Bytes: []byte{1},
		Headers: map[string]string{"Proc-Type": "4,ENCRYPTED", "DEK-Info": "AES-256-CBC,00"},
	})
	block := func(kind string, b []byte) []byte { return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: b}) }
	inner := func(b []byte) []byte { p, _ := pem.Decode(b); return p.Bytes }
	changed := func(b []byte, from, to string) []byte {
		out := strings.Replace(string(inner(b)), from, to, 1)
		if out == string(inner(b)) {
			t.Fatalf("%s is not in %s", from, inner(b))
		}
		return block("ENCRYPTED SIGSTORE PRIVATE KEY", []byte(out))
	}
	small, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Logf("no RSA key of 1024 bits: %v", err)
	}
	wrong := "the passphrase is wrong or the key is damaged"
	for name, tt := range map[string]struct {
		in   []byte
		ask  func() ([]byte, error)
		says string
	}{
		"empty":                {nil, nil, "no PEM block"},
		"huge":                 {bytes.Repeat([]byte("x"), 1<<20), nil, "more than 65536 bytes"},
		"public key":           {own.Public().PEM(), nil, `"PUBLIC KEY" is not a private key`},
		"two keys":             {append(bytes.Clone(plain), plain...), nil, "more than one PEM block"},
		"OpenSSH":              {block("OPENSSH PRIVATE KEY", []byte{1}), nil, "a key of OpenSSH"},
		"PKCS #1":              {block("RSA PRIVATE KEY", []byte{1}), nil, "openssl pkcs8 -topk8"},
		"old encryption":       {old, give(passphrase), "openssl pkcs8 -topk8"},
		"damaged":              {block("PRIVATE KEY", inner(plain)[1:]), nil, "it is damaged"},
		"truncated":            {block("PRIVATE KEY", inner(plain)[:20]), nil, "it is damaged"},
		"damaged SEC 1":        {block("EC PRIVATE KEY", []byte{0x30, 0}), nil, "it is damaged"},
		"P-224":                {pkcs8(t, ecKey(t, elliptic.P224())), nil, "a curve other than"},
		"nobody to ask":        {encrypted, nil, "SLIPWAY_KEY_PASSPHRASE"},
		"wrong passphrase":     {encrypted, give("wrong canary"), wrong},
		"no passphrase":        {encrypted, give(""), wrong},
		"asking fails":         {encrypted, func() ([]byte, error) { return nil, errors.New("no terminal") }, "no terminal"},
		"cut ciphertext":       {block("ENCRYPTED PRIVATE KEY", inner(encrypted)[:100]), give(passphrase), wrong},
		"bytes after it":       {block("ENCRYPTED PRIVATE KEY", append(bytes.Clone(inner(encrypted)), 0)), give(passphrase), wrong},
		"cosign, wrong":        {cosign, give("wrong canary"), wrong},
		"cosign, no JSON":      {block("ENCRYPTED COSIGN PRIVATE KEY", []byte("{")), give(passphrase), wrong},
		"cosign, other cipher": {changed(cosign, "nacl/secretbox", "rot13"), give(passphrase), "a way of cosign that is not read"},
		"cosign, much memory":  {changed(cosign, `"N":32768`, `"N":1073741824`), give(passphrase), wrong},
		"cosign, N of 3":       {changed(cosign, `"N":32768`, `"N":3`), give(passphrase), wrong},
		"cosign, negative r":   {changed(cosign, `"r":8`, `"r":-8`), give(passphrase), wrong},
		"cosign, r of 0":       {changed(cosign, `"r":8`, `"r":0`), give(passphrase), wrong},
		"cosign, much time":    {changed(cosign, `"p":1`, `"p":100000`), give(passphrase), wrong},
		"cosign, short nonce":  {changed(cosign, `"nonce":"`, `"nonce":"AAAA`), give(passphrase), wrong},
	} {
		t.Run(name, func(t *testing.T) {
			k, err := sign.Load(tt.in, tt.ask)
			want(t, err, fault.Credentials, tt.says, "wrong canary")
			if k != nil {
				t.Error("there is a key beside the error")
			}
		})
	}
	if small != nil {
		_, err := sign.Load(pkcs8(t, small), nil)
		want(t, err, fault.Credentials, "an RSA key of 1024 bits")
	}
}

func TestSource(t *testing.T) {
	fixture.SkipRace(t)
	k := generate(t, sign.ECDSA)
	plain, err := k.PEM(nil)
	if err != nil {
		t.Fatal(err)
	}
	sealed, err := k.PEM([]byte(passphrase))
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	plainFile := writeFile(t, filepath.Join(dir, "plain.pem"), plain)
	sealedFile := writeFile(t, filepath.Join(dir, "sealed.pem"), sealed)
	pass := writeFile(t, filepath.Join(dir, "pass"), []byte(passphrase+"\n"))
	passWindows := writeFile(t, filepath.Join(dir, "pass.crlf"), []byte(passphrase+"\r\n"))
	wrongPass := writeFile(t, filepath.Join(dir, "wrong"), []byte("wrong canary\n"))
	env := func(pairs ...string) func(string) (string, bool) {
		return func(name string) (string, bool) {
			for i := 0; i < len(pairs); i += 2 {
				if pairs[i] == name {
					return pairs[i+1], true
				}
			}
			return "", false
		}
	}
	for name, s := range map[string]sign.Source{
		"file":                        {Key: plainFile, LookupEnv: env()},
		"environment":                 {Key: "env:SIGNING_KEY", LookupEnv: env("SIGNING_KEY", string(plain))},
		"passphrase file":             {Key: sealedFile, PassphraseFile: pass, LookupEnv: env(sign.PassphraseVariable, "other")},
		"passphrase file, CRLF":       {Key: sealedFile, PassphraseFile: passWindows, LookupEnv: env()},
		"passphrase from environment": {Key: sealedFile, LookupEnv: env(sign.PassphraseVariable, passphrase), Prompt: give("other")},
		"prompt":                      {Key: sealedFile, LookupEnv: env(), Prompt: give(passphrase)},
	} {
		if got, err := s.Open(); err != nil || !got.Public().Equal(k.Public()) {
			t.Errorf("%s: %v", name, err)
		}
	}
	body := strings.Split(string(plain), "\n")[1]
	for name, tt := range map[string]struct {
		s    sign.Source
		code fault.Code
		says string
	}{
		"nothing":             {sign.Source{}, fault.Usage, "there is no key to sign with"},
		"the key as its path": {sign.Source{Key: string(plain)}, fault.Usage, "this is the key itself"},
		"in one line":         {sign.Source{Key: strings.ReplaceAll(string(plain), "\n", "\\n")}, fault.Usage, "this is the key itself"},
		"the key as a name":   {sign.Source{Key: "env:" + body}, fault.Usage, "this is the key itself"},
		"a line of the key":   {sign.Source{Key: body}, fault.Usage, "this is the key itself"},
		"small letters":       {sign.Source{Key: "env:key"}, fault.Usage, "not the name of an environment variable"},
		"no name":             {sign.Source{Key: "env:"}, fault.Usage, "not the name of an environment variable"},
		"unset":               {sign.Source{Key: "env:NOPE", LookupEnv: env()}, fault.Credentials, "environment variable NOPE"},
		"set to nothing":      {sign.Source{Key: "env:NOPE", LookupEnv: env("NOPE", "")}, fault.Credentials, "environment variable NOPE"},
		"no file":             {sign.Source{Key: filepath.Join(dir, "gone")}, fault.Credentials, "reading private key: open"},
		"a folder":            {sign.Source{Key: dir}, fault.Credentials, "it is a folder"},
		"no passphrase file":  {sign.Source{Key: sealedFile, PassphraseFile: filepath.Join(dir, "gone")}, fault.Credentials, "reading passphrase: open"},
		"nobody to ask":       {sign.Source{Key: sealedFile, LookupEnv: env()}, fault.Credentials, "SLIPWAY_KEY_PASSPHRASE"},
		"wrong passphrase":    {sign.Source{Key: sealedFile, PassphraseFile: wrongPass}, fault.Credentials, "the passphrase is wrong"},
		"the prompt fails":    {sign.Source{Key: sealedFile, LookupEnv: env(), Prompt: func() ([]byte, error) { return nil, fs.ErrClosed }}, fault.Credentials, "asking for the passphrase"},
		"not a key":           {sign.Source{Key: pass}, fault.Credentials, "no PEM block"},
		"huge":                {sign.Source{Key: writeFile(t, filepath.Join(dir, "huge"), make([]byte, 1<<20))}, fault.Credentials, "more than 65536 bytes"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := tt.s.Open()
			want(t, err, tt.code, tt.says, body, "wrong canary")
		})
	}
}

// What ssh does with a key that others can read: it does not take it.
func TestFileModes(t *testing.T) {
	fixture.SkipRace(t)
	if runtime.GOOS == "windows" {
		t.Skip("modes say nothing about who may read here")
	}
	k := generate(t, sign.Ed25519)
	plain, err := k.PEM(nil)
	if err != nil {
		t.Fatal(err)
	}
	sealed, err := k.PEM([]byte(passphrase))
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	file := writeFile(t, filepath.Join(dir, "key.pem"), plain)
	locked := writeFile(t, filepath.Join(dir, "locked.pem"), sealed)
	pass := writeFile(t, filepath.Join(dir, "pass"), []byte(passphrase))
	for _, mode := range []fs.FileMode{0o600, 0o400, 0o640, 0o604, 0o644, 0o660, 0o602, 0o601} {
		for _, s := range []sign.Source{{Key: file}, {Key: locked, PassphraseFile: pass}} {
			for _, name := range []string{file, pass} {
				if err := os.Chmod(name, mode); err != nil {
					t.Fatal(err)
				}
			}
			_, err := s.Open()
			if mode&0o077 == 0 {
				if err != nil {
					t.Errorf("%04o: %v", mode, err)
				}
				continue
			}
			want(t, err, fault.Credentials, fmt.Sprintf("others may read or write it (mode %04o)", mode))
		}
	}
	if os.Getuid() != 0 {
		return
	}
	// A secret that is mounted into a container belongs to somebody else.
	if err := errors.Join(os.Chmod(file, 0o644), os.Chown(file, 65532, 65532)); err != nil {
		t.Skip(err)
	}
	if _, err := (sign.Source{Key: file}).Open(); err != nil {
		t.Error(err)
	}
}

func openssl(t *testing.T, stdin []byte, args ...string) []byte {
	t.Helper()
	path, err := exec.LookPath("openssl")
	if err != nil {
		t.Skip("openssl is not installed; apt-get install openssl")
	}
	cmd := exec.Command(path, args...)
	cmd.Stdin = bytes.NewReader(stdin)
	cmd.Env = []string{"PASS=" + passphrase}
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("openssl %s: %v\n%s", strings.Join(args, " "), err, stderr.String())
	}
	return out
}

func TestOpenSSL(t *testing.T) {
	if testing.Short() {
		t.Skip("slow")
	}
	for _, kind := range sign.Kinds() {
		k := generate(t, kind)
		for _, secret := range []string{"", passphrase} {
			b, err := k.PEM([]byte(secret))
			if err != nil {
				t.Fatal(err)
			}
			if pub := openssl(t, b, "pkey", "-passin", "env:PASS", "-pubout"); !bytes.Equal(pub, k.Public().PEM()) {
				t.Errorf("%s: openssl sees the key\n%s", kind, pub)
			}
		}
	}
	type form struct {
		name string
		pem  []byte
	}
	var forms []form
	for _, curve := range []string{"P-256", "P-384", "P-521"} {
		forms = append(forms, form{curve, openssl(t, nil, "genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:"+curve)})
	}
	p256 := forms[0].pem
	forms = append(forms,
		form{"Ed25519", openssl(t, nil, "genpkey", "-algorithm", "ed25519")},
		form{"RSA", openssl(t, nil, "genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048")},
		form{"SEC 1", openssl(t, p256, "pkey", "-traditional")},
		form{"SEC 1 with parameters", openssl(t, nil, "ecparam", "-name", "prime256v1", "-genkey")},
		form{"default cipher", openssl(t, p256, "pkcs8", "-topk8", "-passout", "env:PASS")},
		form{"AES-128", openssl(t, p256, "pkcs8", "-topk8", "-v2", "aes-128-cbc", "-passout", "env:PASS")},
		form{"AES-192", openssl(t, p256, "pkcs8", "-topk8", "-v2", "aes-192-cbc", "-passout", "env:PASS")},
		form{"SHA-512", openssl(t, p256, "pkcs8", "-topk8", "-v2", "aes-256-cbc", "-v2prf", "hmacWithSHA512", "-passout", "env:PASS")},
		form{"SHA-384", openssl(t, p256, "pkcs8", "-topk8", "-v2", "aes-256-cbc", "-v2prf", "hmacWithSHA384", "-passout", "env:PASS")},
		form{"scrypt", openssl(t, p256, "pkcs8", "-topk8", "-scrypt", "-passout", "env:PASS")},
		form{"genpkey", openssl(t, nil, "genpkey", "-algorithm", "ed25519", "-aes-256-cbc", "-pass", "env:PASS")},
	)
	for _, f := range forms {
		k, err := sign.Load(f.pem, give(passphrase))
		if err != nil {
			t.Errorf("%s: %v\n%s", f.name, err, f.pem)
			continue
		}
		if pub := openssl(t, f.pem, "pkey", "-passin", "env:PASS", "-pubout"); !bytes.Equal(pub, k.Public().PEM()) {
			t.Errorf("%s: openssl sees another key", f.name)
		}
		// Its signatures are verified by openssl, which takes RSA and ECDSA over a digest.
		if h := k.Public().Hash(); h != 0 {
			dir := t.TempDir()
			sig, err := k.Sign([]byte("content"))
			if err != nil {
				t.Fatal(err)
			}
			name := strings.ToLower(strings.ReplaceAll(h.String(), "-", ""))
			openssl(t, []byte("content"), "dgst", "-"+name, "-verify", writeFile(t, filepath.Join(dir, "pub"), k.Public().PEM()),
				"-signature", writeFile(t, filepath.Join(dir, "sig"), sig))
		}
	}
	// What protects little is refused with the way out.
	for _, args := range [][]string{
		{"pkcs8", "-topk8", "-v2", "aes-256-cbc", "-v2prf", "hmacWithSHA1", "-passout", "env:PASS"},
		{"pkcs8", "-topk8", "-v2", "des3", "-passout", "env:PASS"},
		{"pkey", "-traditional", "-aes256", "-passout", "env:PASS"},
	} {
		_, err := sign.Load(openssl(t, p256, args...), give(passphrase))
		want(t, err, fault.Credentials, "openssl pkcs8 -topk8 -v2 aes-256-cbc")
	}
}

func FuzzLoad(f *testing.F) {
	key := ecKey(f, elliptic.P256())
	f.Add("PRIVATE KEY", mustDecode(pkcs8(f, key)))
	f.Add("ENCRYPTED SIGSTORE PRIVATE KEY", []byte(`{"kdf":{"name":"scrypt","params":{"N":2,"r":1,"p":1},"salt":""},"cipher":{"name":"nacl/secretbox","nonce":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"},"ciphertext":"AAAAAAAAAAAAAAAAAAAAAAAA"}`))
	if path, err := exec.LookPath("openssl"); err == nil {
		for _, kdf := range [][]string{{"-v2", "aes-256-cbc", "-iter", "1"}, {"-scrypt", "-scrypt_N", "2", "-scrypt_r", "1", "-scrypt_p", "1"}} {
			cmd := exec.Command(path, append([]string{"pkcs8", "-topk8", "-passout", "pass:" + passphrase}, kdf...)...)
			cmd.Stdin = bytes.NewReader(pkcs8(f, key))
			sealed, err := cmd.Output()
			if err != nil {
				f.Fatal(err)
			}
			if _, err := sign.Load(sealed, give(passphrase)); err != nil {
				f.Fatal(err)
			}
			f.Add("ENCRYPTED PRIVATE KEY", mustDecode(sealed))
		}
	}
	f.Add("EC PRIVATE KEY", []byte{0x30, 0})
	f.Fuzz(func(t *testing.T, kind string, der []byte) {
		if len(der) > 400 {
			return
		}
		k, err := sign.Load(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), give(passphrase))
		if (k == nil) == (err == nil) {
			t.Fatalf("key %v and error %v", k, err)
		}
		if err != nil && fault.CodeOf(err) != fault.Credentials {
			t.Errorf("exit %d: %v", fault.CodeOf(err), err)
		}
		if k != nil {
			if _, err := k.Sign([]byte("x")); err != nil {
				t.Errorf("a key that cannot sign is loaded: %v", err)
			}
		}
	})
}

func mustDecode(b []byte) []byte {
	block, _ := pem.Decode(b)
	return block.Bytes
}
