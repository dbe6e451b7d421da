package tuf_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/sha256"
	"crypto/x509"
	"encoding/pem"
	"flag"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/slipway-build/slipway/pipeline/release/fault"
	"github.com/slipway-build/slipway/pipeline/trust/sign"
	"github.com/slipway-build/slipway/pipeline/trust/signature"
	"github.com/slipway-build/slipway/pipeline/trust/tuf"
)

var update = flag.Bool("update", false, "write testdata/written anew, which go-tuf has to read then; see docs/security.md")

// memory is a repository in memory.
func memory(t *testing.T, dir string) *repo {
	t.Helper()
	r := &repo{t: t, now: time.Date(2026, 3, 2, 10, 0, 0, 0, time.UTC), files: map[string][]byte{}}
	must(t, fs.WalkDir(os.DirFS(dir), ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		r.files[name], err = os.ReadFile(filepath.Join(dir, filepath.FromSlash(name)))
		return err
	}))
	return r
}

// TestGoTUF reads a repository that was written with go-tuf v2.4.2: two of three keys, of which one is lost in the second root,
// delegations by pattern and by digest, targets with two digests, and keys in the metadata that the specification does not know.
func TestGoTUF(t *testing.T) {
	r := memory(t, filepath.Join("testdata", "go-tuf"))
	c := r.client()
	for name, want := range map[string]string{
		"top.txt": "at the top", "staging/components/hello.json": "staging", "production/components/hello.json": "production", "any/where": "by its digest",
	} {
		if got, err := read(t, c, name); got != want || err != nil {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
	if got, want := kept(t, c), (map[string]int64{"root": 2, "timestamp": 1, "snapshot": 1, "targets": 1, "env-staging": 1, "env-production": 1, "bins": 1}); !maps.Equal(got, want) {
		t.Errorf("kept %v", got)
	}
	// A change of one byte of any of these is noticed.
	for _, name := range []string{"metadata/2.root.json", "metadata/timestamp.json", "metadata/1.snapshot.json", "metadata/1.targets.json", "metadata/1.env-staging.json"} {
		r := memory(t, filepath.Join("testdata", "go-tuf"))
		r.edit(name, "2036", "2037")
		if _, err := read(t, r.client(), "staging/components/hello.json"); fault.CodeOf(err) != fault.Mismatch {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// seeded is a key that is the same every time.
func seeded(t *testing.T, name string) signature.Signer {
	t.Helper()
	seed := sha256.Sum256([]byte(name))
	var key any = ed25519.NewKeyFromSeed(seed[:])
	if strings.HasPrefix(name, "ecdsa") {
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

// TestWritten holds what is written to what go-tuf has read.
func TestWritten(t *testing.T) {
	r := newRepo(t)
	r.root.Keys, r.files = map[string]tuf.Key{}, map[string][]byte{}
	r.now = r.now.Add(9 * year)
	r.root.Version, r.snapshot.Version, r.timestamp.Version = 0, 0, 0
	for _, name := range []string{"timestamp", "snapshot", "targets"} {
		r.rotate(name, 1, seeded(t, "ecdsa "+name))
	}
	a, b, c, d := seeded(t, "a"), seeded(t, "ecdsa b"), seeded(t, "c"), seeded(t, "d")
	r.rotate("root", 2, a, b, c)
	r.signers["root"] = []signature.Signer{a, b}
	r.publish("root")
	r.rotate("root", 2, b, c, d)
	r.publish("root")
	r.roles = map[string]*tuf.Targets{"targets": {Targets: map[string]tuf.Target{}, Delegations: &tuf.Delegations{Keys: map[string]tuf.Key{}}}}
	r.snapshot.Meta = map[string]tuf.MetaFile{}
	for _, stage := range []string{"staging", "production"} {
		name := "env-" + stage
		r.delegate("targets", name, true, stage+"/components/*")
		key, err := tuf.NewKey(seeded(t, stage).Public())
		must(t, err)
		r.signers[name] = []signature.Signer{seeded(t, stage)}
		d := &r.roles["targets"].Delegations.Roles[len(r.roles["targets"].Delegations.Roles)-1]
		delete(r.roles["targets"].Delegations.Keys, d.KeyIDs[0])
		r.roles["targets"].Delegations.Keys[key.ID()], d.KeyIDs = key, []string{key.ID()}
		r.put(name, stage+"/components/hello.json", "what is in "+stage+"\n")
	}
	r.publish("env-staging", "env-production", "targets", "snapshot", "timestamp")
	dir := filepath.Join("testdata", "written")
	if *update {
		must(t, os.RemoveAll(dir))
		for name, b := range r.files {
			at := filepath.Join(dir, filepath.FromSlash(name))
			must(t, os.MkdirAll(filepath.Dir(at), 0o755))
			must(t, os.WriteFile(at, b, 0o644))
		}
	}
	have := memory(t, dir)
	if !maps.EqualFunc(have.files, r.files, bytes.Equal) {
		t.Errorf("%s has %q, and other files or bytes are written now: %q", dir, slices.Sorted(maps.Keys(have.files)), slices.Sorted(maps.Keys(r.files)))
	}
	if got, err := read(t, have.client(), "staging/components/hello.json"); got != "what is in staging\n" || err != nil {
		t.Errorf("%q, %v", got, err)
	}
}
