package serve_test

import (
	"bytes"
	"compress/gzip"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/slipway-build/slipway/pipeline/environment"
	"github.com/slipway-build/slipway/pipeline/fixture/rsatest"
	"github.com/slipway-build/slipway/pipeline/publish/packages"
	"github.com/slipway-build/slipway/pipeline/release/artifact"
	"github.com/slipway-build/slipway/pipeline/release/manifest"
	"github.com/slipway-build/slipway/pipeline/serve"
)

// alpine is a copy of the root file system of Alpine for x86_64 that the environment names, which no test has of itself.
func alpine(t *testing.T) string {
	t.Helper()
	from := os.Getenv("SLIPWAY_TEST_ALPINE")
	if from == "" {
		t.Skip("SLIPWAY_TEST_ALPINE names no folder with a root file system of Alpine for x86_64")
	}
	if os.Geteuid() != 0 {
		t.Skip("chroot is for root")
	}
	root := filepath.Join(t.TempDir(), "root")
	if out, err := exec.Command("cp", "-a", from, root).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	must(t, os.WriteFile(filepath.Join(root, "dev/null"), nil, 0o666))
	must(t, os.WriteFile(filepath.Join(root, "etc/apk/repositories"), nil, 0o644))
	return root
}

// TestAlpine has apk install a package of an environment, with the commands of its page, and follow a promotion and a rollback. It is
// refused what another key has signed, an index that was changed and a package that was.
func TestAlpine(t *testing.T) {
	root := alpine(t)
	sh := func(command string) (string, error) {
		cmd := exec.CommandContext(t.Context(), "chroot", root, "/bin/sh", "-c", command)
		cmd.Env = []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin"}
		out, err := cmd.CombinedOutput()
		t.Logf("%s: %v\n%s", command, err, out)
		return string(out), err
	}
	runs := func(command string, want ...string) {
		t.Helper()
		out, err := sh(command)
		if err != nil {
			t.Fatalf("%s: %v\n%s", command, err, out)
		}
		for _, w := range want {
			if !strings.Contains(out, w) {
				t.Errorf("%s does not say %q:\n%s", command, w, out)
			}
		}
	}
	refused := func(command, want string) {
		t.Helper()
		out, err := sh(command)
		if err == nil && !strings.Contains(out, "WARNING") || !strings.Contains(out, want) {
			t.Errorf("%s: %v, and it does not say %q:\n%s", command, err, want, out)
		}
	}

	tm, dir := newTeam(t), t.TempDir()
	tm.whole, tm.apk = true, rsatest.Key(t, "packages")
	must(t, os.Symlink(tm.root, filepath.Join(dir, "releases")))
	read := func(name string) []byte {
		t.Helper()
		b, err := os.ReadFile(name)
		must(t, err)
		return b
	}
	line := 0
	var seen environment.Seen
	current := func() {
		line++
		tm.packages(dir, line, seen)
	}
	is := func(v string) {
		seen = environment.Seen{Held: environment.Held{Component: "hello", Version: v, Manifest: artifact.Sum(read(filepath.Join(tm.root, "hello", v, manifest.FileName)))}}
	}
	release := func(v, to string) {
		tm.add("hello", v, to, true)
		is(v)
	}
	release("1.0.0", "production")
	current()
	s, h := tm.serving(serve.Options{Packages: dir, Hostnames: map[string]string{"127.0.0.1": "production"}})
	var changed atomic.Pointer[change]
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if c := changed.Load(); c != nil && strings.HasSuffix(r.URL.Path, c.end) {
			_, _ = w.Write(c.body)
			return
		}
		h.ServeHTTP(w, r)
	}))
	defer server.Close()
	look := func() {
		s.Look(t.Context())
		time.Sleep(20 * time.Millisecond)
		eventually(t, "the scan", func() bool { return get(h, "/readyz").Code == http.StatusOK })
	}

	// Without its key the index is nothing.
	key := packages.APKKey(tm.apk.Public())
	base := server.URL + "/"
	must(t, os.WriteFile(filepath.Join(root, "etc/apk/repositories"), []byte(base+"apk/production\n"), 0o644))
	refused("apk update", "UNTRUSTED signature")
	must(t, os.WriteFile(filepath.Join(root, "etc/apk/keys", key), rsatest.Key(t, "another").Public().PEM(), 0o644))
	refused("apk update", "BAD signature")
	must(t, os.Remove(filepath.Join(root, "etc/apk/keys", key)))
	must(t, os.WriteFile(filepath.Join(root, "etc/apk/repositories"), nil, 0o644))
	wants(t, get(h, "/environments/production/"), http.StatusOK, "wget -P /etc/apk/keys http://example.com/environments/production/apk/production/"+key, "echo http://example.com/environments/production/apk/production &gt;&gt;/etc/apk/repositories")
	runs("wget -P /etc/apk/keys " + base + "apk/production/" + key + " && echo " + base + "apk/production >>/etc/apk/repositories && apk update")
	runs("apk add hello", "Installing hello (1.0.0-r0)")
	same := func(v string) {
		t.Helper()
		if !bytes.Equal(read(filepath.Join(root, "usr/bin/hello")), read(filepath.Join(tm.root, "hello", v, "binaries/hello_linux_amd64/hello"))) {
			t.Errorf("the program is not that of %s", v)
		}
	}
	same("1.0.0")

	// A version that is promoted is an upgrade, and one that is in staging alone is none.
	release("1.1.0", "staging")
	runs("apk update && apk upgrade")
	same("1.0.0")
	tm.ask(environment.Promote, "hello", "1.1.0", "production")
	current()
	look()
	runs("apk update && apk upgrade", "Upgrading hello (1.0.0-r0 -> 1.1.0-r0)")
	same("1.1.0")
	runs("apk policy hello", base+"apk/production")
	// What was rolled back is offered no more; who wants it back asks for what is there.
	release("1.2.0", "production")
	current()
	look()
	pack := func(v string) []byte {
		t.Helper()
		return read(filepath.Join(tm.root, "hello", v, "packages/hello_"+v+"-r0_x86_64.apk"))
	}
	for _, b := range [][]byte{flipped(pack("1.2.0")), pack("1.0.0")} {
		changed.Store(&change{"/hello-1.2.0-r0.apk", b})
		refused("apk update && apk upgrade", "ERROR: hello-1.2.0-r0: ")
		same("1.1.0")
	}
	index := read(filepath.Join(dir, "apk/production/x86_64/APKINDEX.tar.gz"))
	changed.Store(&change{"/APKINDEX.tar.gz", flipped(index)})
	refused("apk update", base+"apk/production")
	changed.Store(&change{"/APKINDEX.tar.gz", indexWith(t, index, "\nV:1.2.0-r0\n", "\nV:9.2.0-r0\n")})
	refused("apk update", "BAD signature")
	changed.Store(nil)
	runs("apk update && apk upgrade", "Upgrading hello (1.1.0-r0 -> 1.2.0-r0)")
	tm.ask(environment.Rollback, "hello", "1.1.0", "production")
	is("1.1.0")
	current()
	look()
	runs("apk update && apk upgrade --available", "Downgrading hello (1.2.0-r0 -> 1.1.0-r0)")
	same("1.1.0")
	// A package by itself is not signed, and apk takes none such.
	must(t, os.WriteFile(filepath.Join(root, "hello.apk"), pack("1.0.0"), 0o644))
	refused("apk del hello && apk add --force /hello.apk", "UNTRUSTED signature")
	runs("apk add --force --allow-untrusted /hello.apk", "Installing hello (1.0.0-r0)")
}

// change is what comes in place of an answer, by the end of its address.
type change struct {
	end  string
	body []byte
}

// flipped has another bit in its last quarter.
func flipped(b []byte) []byte {
	b = bytes.Clone(b)
	b[len(b)-len(b)/4] ^= 1
	return b
}

// indexWith is an index with other words behind the same signature.
func indexWith(t *testing.T, b []byte, old, new string) []byte {
	in := bytes.NewReader(b)
	z, err := gzip.NewReader(in)
	must(t, err)
	z.Multistream(false)
	_, err = io.Copy(io.Discard, z)
	must(t, err)
	out := bytes.NewBuffer(bytes.Clone(b[:len(b)-in.Len()]))
	must(t, z.Reset(in))
	text, err := io.ReadAll(z)
	must(t, err)
	w := gzip.NewWriter(out)
	_, err = w.Write(bytes.Replace(text, []byte(old), []byte(new), 1))
	must(t, err)
	must(t, w.Close())
	return out.Bytes()
}
