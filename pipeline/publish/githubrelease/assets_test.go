package githubrelease_test

import (
	"crypto/sha256"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/slipway-build/slipway/pipeline/fixture/verifytest"
	"github.com/slipway-build/slipway/pipeline/publish/githubrelease"
	"github.com/slipway-build/slipway/pipeline/release/fault"
)

func sum(s string) [32]byte { return sha256.Sum256([]byte(s)) }

func TestAssets(t *testing.T) {
	assets, err := githubrelease.Assets(release(t, verifytest.Options{Version: "1.2.3-rc.1+b.5", Downloads: true}))
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, a := range assets {
		if !strings.Contains(a.Name, "sbom") && !strings.HasSuffix(a.Name, "dx.json") {
			names = append(names, a.Name)
		}
		if signed := strings.HasSuffix(a.Name, ".sigstore.json") || strings.HasSuffix(a.Name, ".intoto.jsonl"); a.Signature != signed {
			t.Errorf("%s is a signature: %v", a.Name, a.Signature)
		}
	}
	want := []string{
		"SHA256SUMS", "SHA256SUMS.sigstore.json", "checksums.txt", "hello-1.2.3-rc.1+b.5.tgz", "hello.1.2.3-rc-0001.nupkg",
		"hello_1.2.3-rc.1+b.5.intoto.jsonl", "hello_1.2.3-rc.1+b.5.provenance.json", "hello_1.2.3-rc.1+b.5_amd64.snap", "hello_1.2.3-rc.1+b.5_arm64.snap",
		"hello_1.2.3-rc.1+b.5_linux_amd64.tar.gz", "hello_1.2.3-rc.1+b.5_linux_arm64.tar.gz", "hello_1.2.3-rc.1+b.5_windows_amd64.zip",
		"hello_1.2.3.rc.1+b.5_amd64.deb", "hello_1.2.3.rc.1+b.5_arm64.deb", "install.sh", "release.json", "release.json.sigstore.json",
	}
	if !slices.Equal(names, want) {
		t.Errorf("got  %q\nwant %q", names, want)
	}
}

func TestAssetsRefused(t *testing.T) {
	add := func(names ...string) verifytest.Options {
		return verifytest.Options{Bare: true, Edit: func(files map[string][]byte) {
			for _, n := range names {
				files[n] = []byte("x")
			}
		}}
	}
	many := make([]string, 1000)
	for i := range many {
		many[i] = fmt.Sprintf("archives/%d.zip", i)
	}
	for name, c := range map[string]struct {
		o     verifytest.Options
		words string
	}{
		"one name":         {add("archives/a/x.zip", "archives/b/x.zip"), "archives/a/x.zip and archives/b/x.zip have one name"},
		"one but for case": {add("archives/a/x.zip", "archives/b/X.zip"), "have one name"},
		"of the manifest":  {add("archives/release.json"), "have one name"},
		"a space":          {add("archives/a b.zip"), "would rename"},
		"a tilde":          {add("archives/a~b.zip"), "would rename"},
		"a dot first":      {add("archives/.x.zip"), "would rename"},
		"letters":          {add("archives/é.zip"), "would rename"},
		"too many":         {add(many...), "takes 1000"},
		"empty": {verifytest.Options{Bare: true, Edit: func(files map[string][]byte) {
			files["archives/x.zip"] = nil
		}}, "no empty files"},
	} {
		if _, err := githubrelease.Assets(release(t, c.o)); fault.CodeOf(err) != fault.Usage || !strings.Contains(err.Error(), c.words) {
			t.Errorf("%s: %v", name, err)
		}
	}
	rel := release(t, verifytest.Options{Bare: true})
	rel.Manifest.Files[0].Kind, rel.Manifest.Files[0].Size = "archive", 2<<30
	if _, err := githubrelease.Assets(rel); fault.CodeOf(err) != fault.Usage || !strings.Contains(err.Error(), "files below 2.15 GB") {
		t.Error(err)
	}
}

// What is in dist/ beside the manifest is held to it.
func TestAssetsOfAnother(t *testing.T) {
	rel := release(t, verifytest.Options{Bare: true})
	write(t, rel.Dir, "SHA256SUMS", strings.Repeat("0", 64)+"  x\n")
	if _, err := githubrelease.Assets(rel); fault.CodeOf(err) != fault.Mismatch {
		t.Error(err)
	}
	rel = release(t, verifytest.Options{Bare: true})
	if err := os.Symlink("/etc/hosts", rel.Path("x.sigstore.json")); err != nil {
		t.Fatal(err)
	}
	if _, err := githubrelease.Assets(rel); fault.CodeOf(err) != fault.Usage {
		t.Error(err)
	}
	rel = release(t, verifytest.Options{})
	write(t, rel.Dir, "notes.md", "other")
	if _, err := githubrelease.Assets(rel); fault.CodeOf(err) != fault.Mismatch {
		t.Error(err)
	}
}

// Notes that GitHub would refuse are shown as far as they go, and are an asset too.
func TestLongNotes(t *testing.T) {
	line := strings.Repeat("é", 99) + "\n"
	for name, notes := range map[string]string{"long": strings.Repeat(line, 1500), "pairs": strings.Repeat("😀", 70_000), "code": "```go\n" + strings.Repeat(line, 1500)} {
		r := newRig(t, release(t, verifytest.Options{Edit: func(files map[string][]byte) { files["notes.md"] = []byte(notes) }}))
		r.run()
		r.has("asset notes.md")
		if content, public := r.repo.Asset("v1.2.3", "notes.md"); string(content) != notes || !public {
			t.Errorf("%s: the asset has %d bytes", name, len(content))
		}
	}
}
