//go:build unix

package script

import (
	"archive/zip"
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"os/signal"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/slipway-build/slipway/pipeline/fixture"
	"github.com/slipway-build/slipway/pipeline/format"
	"github.com/slipway-build/slipway/pipeline/format/archive"
	"github.com/slipway-build/slipway/pipeline/release/artifact"
	"github.com/slipway-build/slipway/pipeline/release/fault"
	"github.com/slipway-build/slipway/pipeline/release/version"
)

var update = flag.Bool("update", false, "write the golden files")

const release = "https://github.com/example/kit/releases/download/v1.2.3/"

func platform(t testing.TB, s string) artifact.Platform {
	t.Helper()
	p, err := artifact.ParsePlatform(s)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

var targets = []string{
	"aix/ppc64", "darwin/amd64", "darwin/arm64", "freebsd/amd64", "linux/386", "linux/amd64", "linux/amd64/v3", "linux/arm/v6", "linux/arm/v7", "linux/arm64",
	"linux/mipsle", "linux/mipsle/softfloat", "linux/riscv64", "openbsd/amd64", "windows/amd64",
}

// published is a release with its files, as a server has them.
type published struct {
	recipe format.Recipe
	files  map[string][]byte // by name
}

// program is what stands for a program in an archive: it says which archive it is from.
func program(name string, p artifact.Platform) []byte {
	return fmt.Appendf(nil, "#!/bin/sh\necho %s 1.2.3 %s\n", name, p)
}

func publish(t testing.TB, folder string, targets ...string) published {
	t.Helper()
	v, err := version.Parse("1.2.3")
	if err != nil {
		t.Fatal(err)
	}
	out := published{files: map[string][]byte{}, recipe: format.Recipe{
		Meta:        format.Meta{Name: "kit", Version: v, Title: "Kit", Homepage: "https://kit.example.com/"},
		Completions: map[string]string{"bash": "completions/kit.bash", "zsh": "completions/_kit", "fish": "completions/kit.fish", "powershell": "completions/kit.ps1"},
		Manuals:     []string{"man/kit.1", "man/kit.toml.5"},
	}}
	for _, target := range targets {
		p := platform(t, target)
		d := format.Download{Platform: p, Folder: folder, Programs: []string{"kit", "kit daemon"}, Files: []string{"LICENSE"}}
		var files []archive.File
		for _, name := range d.Programs {
			files = append(files, archive.Bytes(path.Join(folder, name), program(name, p)).WithExec())
		}
		for _, name := range []string{"completions/kit.bash", "completions/_kit", "completions/kit.fish", "completions/kit.ps1", "man/kit.1", "man/kit.toml.5"} {
			files = append(files, archive.Bytes(path.Join(folder, name), []byte(name)))
			d.Files = append(d.Files, name)
		}
		var b bytes.Buffer
		if err := archive.TarGz(&b, files, time.Unix(1700000000, 0)); err != nil {
			t.Fatal(err)
		}
		file := "kit_1.2.3_" + p.Slug() + ".tar.gz"
		d.URL, d.Digest, d.Size = release+file, artifact.Sum(b.Bytes()), int64(b.Len())
		out.files[file] = b.Bytes()
		out.recipe.Downloads = append(out.recipe.Downloads, d)
	}
	var sums strings.Builder
	for _, d := range out.recipe.Downloads {
		fmt.Fprintf(&sums, "%s  archives/%s\n", d.Digest.Hex(), path.Base(d.URL))
	}
	out.files["SHA256SUMS"] = []byte(sums.String())
	return out
}

// serve returns the URL of a folder with the files, and what was asked for.
func serve(t testing.TB, files map[string][]byte) (string, func() []string) {
	t.Helper()
	var mu sync.Mutex
	var asked []string
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		asked = append(asked, path.Base(r.URL.Path))
		mu.Unlock()
		b, ok := files[path.Base(r.URL.Path)]
		if !ok || path.Dir(r.URL.Path) != "/mirror/v1" {
			http.NotFound(w, r)
			return
		}
		_, _ = w.Write(b)
	}))
	t.Cleanup(s.Close)
	return s.URL + "/mirror/v1", func() []string {
		mu.Lock()
		defer mu.Unlock()
		return slices.Clone(asked)
	}
}

func install(t testing.TB, r format.Recipe, o format.Signatures) []byte {
	t.Helper()
	r.Signatures = o
	b, err := Install(r)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// interpreters are the shells that most machines have.
func interpreters(t testing.TB) map[string][]string {
	t.Helper()
	all := everyInterpreter(t)
	for _, name := range []string{"mksh", "yash", "zsh"} {
		delete(all, name)
	}
	if testing.Short() {
		return map[string][]string{"sh": all["sh"]}
	}
	return all
}

// everyInterpreter is the commands that run a script, by name; dash is among them where it is not what sh is.
func everyInterpreter(t testing.TB) map[string][]string {
	t.Helper()
	out := map[string][]string{}
	for name, command := range map[string][]string{
		"sh": {"sh"}, "dash": {"dash"}, "bash": {"bash", "--posix"}, "busybox": {"busybox", "sh"}, "mksh": {"mksh"}, "yash": {"yash", "-o", "posix"},
		"zsh": {"zsh", "--emulate", "sh"},
	} {
		if p, err := exec.LookPath(command[0]); err == nil {
			out[name] = append([]string{p}, command[1:]...)
		}
	}
	if len(out["sh"]) == 0 {
		t.Skip("no POSIX shell")
	}
	same, err := filepath.EvalSymlinks(out["sh"][0])
	if err == nil && len(out["dash"]) > 0 && same == out["dash"][0] {
		delete(out, "dash")
	}
	return out
}

// machine is where a script runs: a folder of tools that is all of its PATH, and folders of its own.
type machine struct {
	t         testing.TB
	root      string
	env       map[string]string
	shell     []string
	uid, gid  uint32
	stdin     bool // the script comes over standard input, as with curl | sh
	directory string
}

// tools are all that the script may use beside what the test gives it.
var tools = []string{"[", "cat", "chmod", "cp", "echo", "gzip", "id", "mkdir", "mktemp", "mv", "od", "printf", "rm", "sed", "sha256sum", "tar", "tr", "uname"}

func newMachine(t testing.TB, shell []string, more ...string) *machine {
	t.Helper()
	m := &machine{t: t, root: t.TempDir(), shell: shell, env: map[string]string{}}
	for _, dir := range []string{"bin", "home dir", "tmp dir"} {
		if err := os.Mkdir(filepath.Join(m.root, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	m.env["PATH"] = filepath.Join(m.root, "bin")
	m.env["HOME"] = filepath.Join(m.root, "home dir")
	m.env["TMPDIR"] = filepath.Join(m.root, "tmp dir")
	m.env["LC_ALL"] = "C.UTF-8" // or yash does not read what is beyond ASCII
	m.directory = m.root
	for _, tool := range slices.Concat(tools, more) {
		m.tool(tool)
	}
	return m
}

// tool puts a program of this machine into the PATH.
func (m *machine) tool(name string) {
	m.t.Helper()
	p, err := exec.LookPath(name)
	if err != nil {
		m.t.Skipf("no %s; install it", name)
	}
	m.without(name)
	if err := os.Symlink(p, filepath.Join(m.root, "bin", name)); err != nil {
		m.t.Fatal(err)
	}
}

func (m *machine) without(name string) {
	if err := os.Remove(filepath.Join(m.root, "bin", name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		m.t.Fatal(err)
	}
}

// fake puts a script into the PATH.
func (m *machine) fake(name, body string) {
	m.t.Helper()
	m.without(name)
	if err := os.WriteFile(filepath.Join(m.root, "bin", name), []byte("#!/bin/sh\n"+body), 0o755); err != nil {
		m.t.Fatal(err)
	}
}

func (m *machine) uname(system, processor string) {
	m.fake("uname", `case $1 in -s) echo '`+system+`' ;; -m) echo '`+processor+`' ;; -p) echo "${FAKE_P:-unknown}" ;; -o) echo "${FAKE_O:-}" ;; esac`)
}

// run runs the script and returns the exit code and what it says.
func (m *machine) run(script []byte, args ...string) (int, string) {
	m.t.Helper()
	command := slices.Clone(m.shell)
	if m.stdin {
		command = append(command, "-s", "--")
	} else {
		p := filepath.Join(m.root, "install.sh")
		if err := os.WriteFile(p, script, 0o644); err != nil {
			m.t.Fatal(err)
		}
		command = append(command, p)
	}
	command = append(command, args...)
	cmd := exec.Command(command[0], command[1:]...)
	cmd.Dir = m.directory
	for k, v := range m.env {
		cmd.Env = append(cmd.Env, k+"="+v)
	}
	if m.stdin {
		cmd.Stdin = bytes.NewReader(script)
	}
	m.prepare(cmd)
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		m.t.Fatal(err)
	}
	return cmd.ProcessState.ExitCode(), string(out)
}

// left are the files below a folder of the machine, sorted, with the modes of those that are executable.
func (m *machine) left(dir string) []string {
	m.t.Helper()
	out := []string{}
	root := filepath.Join(m.root, dir)
	err := filepath.WalkDir(root, func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() && p == root {
			return err
		}
		rel, err := filepath.Rel(root, p)
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		if !d.IsDir() || strings.Contains(rel, "kit.") {
			out = append(out, fmt.Sprintf("%s %o", rel, info.Mode().Perm()))
		}
		return nil
	})
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		m.t.Fatal(err)
	}
	return out
}

func (m *machine) clean() {
	m.t.Helper()
	if left := m.left("tmp dir"); len(left) > 0 {
		m.t.Errorf("left in the temporary folder: %q", left)
	}
}

func TestGolden(t *testing.T) {
	p := publish(t, "kit_1.2.3", targets...)
	for i := range p.recipe.Downloads { // no compressor in the golden file
		p.recipe.Downloads[i].Digest = artifact.Sum([]byte(p.recipe.Downloads[i].URL))
	}
	signed := signedOptions()
	signed.PublicKey = goldenKey
	plain := p.recipe
	plain.Completions, plain.Manuals = nil, nil
	var sums strings.Builder
	for _, c := range []struct {
		name string
		r    format.Recipe
		o    format.Signatures
	}{{"signed.sh", p.recipe, signed}, {"plain.sh", plain, format.Signatures{}}} {
		got := install(t, c.r, c.o)
		fmt.Fprintf(&sums, "%s  %s\n", artifact.Sum(got).Hex(), c.name)
		compare(t, filepath.Join("testdata", c.name), got)
	}
	compare(t, filepath.Join("testdata", "SHA256SUMS"), []byte(sums.String()))
}

func compare(t *testing.T, golden string, got []byte) {
	t.Helper()
	if *update {
		if err := os.WriteFile(golden, got, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s differs (-update writes it):\n%s", golden, got)
	}
}

func TestSameBytesEveryTime(t *testing.T) {
	first := install(t, publish(t, "", targets...).recipe, format.Signatures{})
	for range 20 {
		if !bytes.Equal(first, install(t, publish(t, "", targets...).recipe, format.Signatures{})) {
			t.Fatal("two runs differ")
		}
	}
}

func TestShellcheck(t *testing.T) {
	if _, err := exec.LookPath("shellcheck"); err != nil {
		t.Skip("no shellcheck; install the package shellcheck")
	}
	p := publish(t, "", targets...)
	bare := p.recipe
	bare.Completions, bare.Manuals = nil, nil
	bare.Homepage = ""
	for name, script := range map[string][]byte{
		"plain": install(t, bare, format.Signatures{}), "key": install(t, p.recipe, withKey(t, ecdsaKey(t))), "ed25519": install(t, p.recipe, withKey(t, edKey(t))),
		"keyless": install(t, p.recipe, keyless()),
	} {
		f := filepath.Join(t.TempDir(), "install.sh")
		if err := os.WriteFile(f, script, 0o644); err != nil {
			t.Fatal(err)
		}
		// Everything there is, save what is left open on purpose: functions that are called in a condition or a
		// substitution exit by fail, and not because set -e is on.
		out, err := exec.Command("shellcheck", "-s", "sh", "-o", "all", "-e", "SC2310,SC2311,SC2312", f).CombinedOutput()
		if err != nil {
			t.Errorf("%s: %v\n%s", name, err, out)
		}
	}
}

// TestInstall installs for real with every shell: from a folder below the archive's top or none, with curl or wget,
// from a file or standard input, to a folder with a space in its name, over an old program.
func TestInstall(t *testing.T) {
	for name, shell := range everyInterpreter(t) {
		for _, fetcher := range []string{"curl", "wget"} {
			t.Run(name+" "+fetcher, func(t *testing.T) {
				folder := map[string]string{"curl": "kit 1.2.3", "wget": ""}[fetcher]
				p := publish(t, folder, targets...)
				script := install(t, p.recipe, format.Signatures{})
				base, asked := serve(t, p.files)
				m := newMachine(t, shell, fetcher)
				m.uname("Linux", "x86_64")
				m.stdin = fetcher == "wget" && !strings.Contains(name, "zsh")
				m.env["KIT_DOWNLOAD_BASE"] = base + "/"
				dir := filepath.Join(m.root, "opt dir", "bin")
				if err := os.MkdirAll(dir, 0o755); err != nil {
					t.Fatal(err)
				}
				old := filepath.Join(dir, "kit")
				if err := os.WriteFile(old, []byte("old"), 0o644); err != nil {
					t.Fatal(err)
				}
				running, err := os.Open(old)
				if err != nil {
					t.Fatal(err)
				}
				defer running.Close()

				code, said := m.run(script, "--dir", dir+"/", "--with-docs")
				if code != 0 {
					t.Fatalf("exit code %d\n%s", code, said)
				}
				want := []string{
					"bin/kit 755", "bin/kit daemon 755", "share/bash-completion/completions/kit 644", "share/fish/vendor_completions.d/kit.fish 644",
					"share/man/man1/kit.1 644", "share/man/man5/kit.toml.5 644", "share/zsh/site-functions/_kit 644",
				}
				if got := m.left("opt dir"); !slices.Equal(got, want) {
					t.Errorf("installed %q, want %q\n%s", got, want, said)
				}
				out, err := exec.Command(filepath.Join(dir, "kit daemon")).Output()
				if err != nil || string(out) != "kit daemon 1.2.3 linux/amd64\n" {
					t.Errorf("the program says %q, %v", out, err)
				}
				// The old program was not written to while it may have run.
				if b := make([]byte, 9); true {
					if n, _ := running.Read(b); string(b[:n]) != "old" {
						t.Errorf("the old file was changed: %q", b[:n])
					}
				}
				if got := asked(); !slices.Equal(got, []string{"kit_1.2.3_linux_amd64.tar.gz"}) {
					t.Errorf("asked for %q", got)
				}
				if !strings.Contains(said, "is not in your PATH") {
					t.Errorf("said\n%s", said)
				}
				m.clean()
			})
		}
	}
}

// TestFailures leaves what was there as it was, and nothing else, with each shell.
func TestFailures(t *testing.T) {
	for name, shell := range interpreters(t) {
		for _, c := range []struct {
			name   string
			change func(m *machine, files map[string][]byte)
			args   []string
			code   int
			want   string
		}{
			{"wrong checksum", func(_ *machine, files map[string][]byte) { files["kit_1.2.3_linux_amd64.tar.gz"][100] ^= 1 }, nil, 5, "and not "},
			{"a file with more bytes", func(_ *machine, files map[string][]byte) {
				files["kit_1.2.3_linux_amd64.tar.gz"] = append(files["kit_1.2.3_linux_amd64.tar.gz"], 0)
			}, nil, 4, "did not work"},
			{"empty file", func(_ *machine, files map[string][]byte) { files["kit_1.2.3_linux_amd64.tar.gz"] = nil }, nil, 5, "and not "},
			{"not there", func(_ *machine, files map[string][]byte) { delete(files, "kit_1.2.3_linux_amd64.tar.gz") }, nil, 4, "did not work"},
			{"no archive for the processor", func(m *machine, _ map[string][]byte) { m.uname("Linux", "s390x") }, nil, 3, "there is no archive for linux on s390x; there are: aix/ppc64 darwin/amd64"},
			{"no archive for the system", func(m *machine, _ map[string][]byte) { m.uname("Haiku", "x86_64") }, nil, 3, "there is no archive for Haiku"},
			{"Windows", func(m *machine, _ map[string][]byte) { m.uname("MINGW64_NT-10.0", "x86_64") }, nil, 3, "scoop or winget"},
			{"nothing to download with", func(m *machine, _ map[string][]byte) { m.without("curl") }, nil, 7, "curl and wget are missing"},
			{"nothing to hash with", func(m *machine, _ map[string][]byte) { m.without("sha256sum") }, nil, 7, "openssl are missing"},
			{"nothing to unpack with", func(m *machine, _ map[string][]byte) { m.without("gzip") }, nil, 7, "tar and gzip are needed"},
			{"a hash that lies", func(m *machine, _ map[string][]byte) { m.fake("sha256sum", "exit 0") }, nil, 5, "has the SHA-256  and not"},
			{"no uname", func(m *machine, _ map[string][]byte) { m.fake("uname", "exit 1") }, nil, 7, "uname does not work"},
			{"an option that is none", nil, []string{"--frobnicate"}, 2, "what is --frobnicate?"},
			{"an option without its value", nil, []string{"--dir"}, 2, "--dir needs a folder"},
			{"documents without a place", nil, []string{"--with-docs", "--dir", "/nowhere/programs"}, 2, "called bin"},
			{"a base that is not a URL", func(m *machine, _ map[string][]byte) { m.env["KIT_DOWNLOAD_BASE"] = "file:///etc" }, nil, 2, "KIT_DOWNLOAD_BASE"},
			{"no home", func(m *machine, _ map[string][]byte) {
				delete(m.env, "HOME")
				delete(m.env, "KIT_INSTALL_DIR")
				m.fake("id", "echo 1000")
			}, nil, 2, "HOME is not set"},
			{"a folder in the way", func(m *machine, _ map[string][]byte) {
				if err := os.MkdirAll(filepath.Join(m.root, "to", "kit daemon"), 0o755); err != nil {
					t.Fatal(err)
				}
			}, nil, 6, "kit daemon is a folder"},
			{"a file where the folder should be", func(m *machine, _ map[string][]byte) { m.env["KIT_INSTALL_DIR"] += "/old/bin" }, nil, 6, "did not work; choose another folder"},
			{"no temporary folder", func(m *machine, _ map[string][]byte) { m.env["TMPDIR"] = m.root + "/none" }, nil, 6, "set TMPDIR"},
			{"an archive without the program", func(_ *machine, files map[string][]byte) {}, nil, 1, "has no kit"},
		} {
			t.Run(name+" "+c.name, func(t *testing.T) {
				if c.name == "no home" && sharedFolder(t) {
					t.Skip("/usr/local/bin can be written")
				}
				p := publish(t, "", targets...)
				if strings.HasPrefix(c.name, "an archive without") {
					for i := range p.recipe.Downloads {
						p.recipe.Downloads[i].Folder = "elsewhere"
					}
				}
				script := install(t, p.recipe, format.Signatures{})
				m := newMachine(t, shell, "curl")
				if c.name == "no home" {
					m.unprivileged()
				}
				m.uname("Linux", "x86_64")
				base, _ := serve(t, p.files)
				m.env["KIT_DOWNLOAD_BASE"] = base
				m.env["KIT_INSTALL_DIR"] = filepath.Join(m.root, "to")
				if err := os.MkdirAll(filepath.Join(m.root, "to"), 0o755); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(filepath.Join(m.root, "to", "old"), []byte("old"), 0o644); err != nil {
					t.Fatal(err)
				}
				if c.change != nil {
					c.change(m, p.files)
				}
				code, said := m.run(script, c.args...)
				if code != c.code || !strings.Contains(said, c.want) {
					t.Errorf("exit code %d, want %d and %q\n%s", code, c.code, c.want, said)
				}
				if left := m.left("to"); !slices.Equal(left, []string{"old 644"}) {
					t.Errorf("left %q", left)
				}
				m.clean()
			})
		}
	}
}

// TestReadOnly has an ordinary user install to a folder of somebody else.
func TestReadOnly(t *testing.T) {
	for name, shell := range interpreters(t) {
		t.Run(name, func(t *testing.T) {
			p := publish(t, "", targets...)
			script := install(t, p.recipe, format.Signatures{})
			m := newMachine(t, shell, "curl")
			m.uname("Linux", "x86_64")
			m.unprivileged()
			base, asked := serve(t, p.files)
			m.env["KIT_DOWNLOAD_BASE"] = base
			if err := os.Mkdir(filepath.Join(m.root, "locked"), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.Chmod(filepath.Join(m.root, "locked"), 0o555); err != nil {
				t.Fatal(err)
			}
			code, said := m.run(script, "--dir="+filepath.Join(m.root, "locked"))
			if code != 6 || !strings.Contains(said, "cannot be written") || len(asked()) > 0 {
				t.Errorf("exit code %d, asked for %q\n%s", code, asked(), said)
			}
			m.clean()

			if sharedFolder(t) {
				t.Skip("/usr/local/bin can be written")
			}
			if code, said := m.run(script); code != 0 {
				t.Errorf("exit code %d\n%s", code, said)
			}
			if got := m.left("home dir"); !slices.Equal(got, []string{".local/bin/kit 755", ".local/bin/kit daemon 755"}) {
				t.Errorf("an ordinary user gets %q", got)
			}
		})
	}
}

// sharedFolder tells whether an ordinary user may write to the script's default folder, where no test installs anything.
func sharedFolder(t *testing.T) bool {
	t.Helper()
	const dir = "/usr/local/bin"
	info, err := os.Stat(dir)
	if err != nil {
		return false
	}
	if os.Getuid() == 0 {
		return info.Mode().Perm()&0o022 != 0
	}
	f, err := os.CreateTemp(dir, "test")
	if err != nil {
		return false
	}
	f.Close()
	if err := os.Remove(f.Name()); err != nil {
		t.Fatal(err)
	}
	return true
}

func TestNothingIsDone(t *testing.T) {
	for name, shell := range interpreters(t) {
		p := publish(t, "", targets...)
		script := install(t, p.recipe, format.Signatures{})
		m := newMachine(t, shell, "curl")
		m.uname("Linux", "x86_64")
		base, asked := serve(t, p.files)
		m.env["KIT_DOWNLOAD_BASE"] = base
		m.env["KIT_INSTALL_DIR"] = filepath.Join(m.root, "to")
		for arg, want := range map[string]string{
			"--dry-run": "Would install Kit 1.2.3 for linux/amd64 to " + m.root + "/to\nfrom " + base + "/kit_1.2.3_linux_amd64.tar.gz\nwith the SHA-256 ",
			"--version": "kit 1.2.3\n", "--help": "Usage: install.sh [--dir DIR]", "-h": "https://kit.example.com/",
		} {
			if code, said := m.run(script, arg); code != 0 || !strings.Contains(said, want) {
				t.Errorf("%s %s: exit code %d\n%s", name, arg, code, said)
			}
		}
		if len(m.left("to")) > 0 || len(asked()) > 0 {
			t.Errorf("%s: something was done", name)
		}
		m.clean()
	}
}

// TestTruncated cuts the script off everywhere near its end and at the end of every line, of every fifth where the run is not
// the full one, and behind the first bytes: none of it does anything, and its exit code says so. Of the first line alone no
// shell can tell that more was to come.
func TestTruncated(t *testing.T) {
	p := publish(t, "", "linux/amd64")
	script := install(t, p.recipe, format.Signatures{})
	base, asked := serve(t, p.files)
	first := bytes.IndexByte(script, '\n') + 2
	for name, shell := range everyInterpreter(t) {
		if testing.Short() && name != "sh" {
			continue
		}
		m := newMachine(t, shell, "curl")
		m.uname("Linux", "x86_64")
		m.env["KIT_DOWNLOAD_BASE"] = base
		m.env["KIT_INSTALL_DIR"] = filepath.Join(m.root, "to")
		m.stdin = name != "zsh"
		lines, step := 0, 5
		if fixture.Full {
			step = 1
		}
		for n := first; n < len(script)-1; n++ { // the newline at the end may be missing
			if n > first+3 && n < len(script)-60 {
				if testing.Short() || script[n] != '\n' {
					continue
				}
				if lines++; lines%step != 0 {
					continue
				}
			}
			code, _ := m.run(script[:n])
			if left := m.left("to"); code == 0 || len(left) > 0 || len(asked()) > 0 {
				t.Fatalf("%s: the first %d of %d bytes, up to %q, exit with %d and install %q", name, n, len(script), script[max(0, n-20):n], code, left)
			}
		}
		m.clean()
	}
}

// TestEndless has a server send more than there is of a file, to a program that takes whatever comes.
func TestEndless(t *testing.T) {
	p := publish(t, "", "linux/amd64")
	script := install(t, p.recipe, format.Signatures{})
	for name, shell := range everyInterpreter(t) {
		m := newMachine(t, shell, "head")
		m.uname("Linux", "x86_64")
		m.fake("curl", `while [ "$1" != --output ]; do shift; done; exec head -c 30000000 /dev/zero >"$2"`) // more than any file here, and less than fills a disk
		code, said := m.run(script, "--dir", m.root+"/to")
		if left := m.left("to"); code != 4 || len(left) > 0 {
			t.Errorf("%s: exit code %d, left %q\n%s", name, code, left, said)
		}
		m.clean()
	}
}

func TestPlatforms(t *testing.T) {
	p := publish(t, "", slices.Concat(targets, []string{"linux/mips64", "linux/ppc64le", "netbsd/arm64", "illumos/amd64", "freebsd/arm/v7"})...)
	script := install(t, p.recipe, format.Signatures{})
	noARM := publish(t, "", "darwin/amd64", "linux/386")
	without := install(t, noARM.recipe, format.Signatures{})
	for name, shell := range interpreters(t) {
		for _, c := range []struct {
			script                    []byte
			system, processor, p, env string
			want                      string
		}{
			{script, "Linux", "x86_64", "", "", "linux/amd64"},
			{script, "Linux", "i686", "", "", "linux/386"},
			{script, "Linux", "aarch64", "", "", "linux/arm64"},
			{script, "Linux", "armv5tel", "", "", ""},
			{script, "Linux", "armv6l", "", "", "linux/arm/v6"},
			{script, "Linux", "armv7l", "", "", "linux/arm/v7"},
			{script, "Linux", "armv8l", "", "", "linux/arm/v7"},
			{script, "Linux", "armv7b", "", "", ""}, // the other order of bytes
			{script, "Linux", "armv5teb", "", "", ""},
			{script, "Linux", "mips", "", "", "linux/mipsle"}, // this machine's order of bytes
			{script, "Linux", "mips64", "", "", ""},
			{script, "Linux", "ppc64le", "", "", "linux/ppc64le"},
			{script, "Linux", "riscv64", "", "", "linux/riscv64"},
			{script, "Linux", "s390x", "", "", ""},
			{script, "Linux", "loongarch64", "", "", ""},
			{script, "Darwin", "arm64", "", "", "darwin/arm64"},
			{script, "Darwin", "x86_64", "", "", "darwin/amd64"},
			{script, "Darwin", "x86_64", "", "1", "darwin/arm64"}, // under Rosetta
			{script, "FreeBSD", "amd64", "", "", "freebsd/amd64"},
			{script, "FreeBSD", "arm", "armv7", "", "freebsd/arm/v7"},
			{script, "OpenBSD", "amd64", "", "", "openbsd/amd64"},
			{script, "NetBSD", "evbarm", "aarch64", "", "netbsd/arm64"},
			{script, "NetBSD", "evbarm", "unknown", "", ""},
			{script, "SunOS", "i86pc", "", "", ""},
			{script, "AIX", "00F84C254C00", "", "", "aix/ppc64"},
			{without, "Darwin", "arm64", "", "", "darwin/amd64"},
			{without, "Linux", "x86_64", "", "", "linux/386"},
			{without, "Linux", "aarch64", "", "", ""},
		} {
			m := newMachine(t, shell, "curl")
			m.uname(c.system, c.processor)
			m.env["FAKE_P"] = c.p
			m.fake("sysctl", "echo "+c.env)
			code, said := m.run(c.script, "--dry-run", "--dir", "/x")
			if c.want == "" && code != 3 || c.want != "" && (code != 0 || !strings.Contains(said, " for "+c.want+" to /x")) {
				t.Errorf("%s: %s %s %s: want %q, exit code %d\n%s", name, c.system, c.processor, c.p, c.want, code, said)
			}
		}
		m := newMachine(t, shell, "curl")
		m.uname("SunOS", "i86pc")
		m.env["FAKE_O"] = "illumos"
		if code, said := m.run(script, "--dry-run", "--dir", "/x"); code != 0 || !strings.Contains(said, "illumos/amd64") {
			t.Errorf("%s: illumos: exit code %d\n%s", name, code, said)
		}
	}
}

// TestLeastDemanding takes the archive that runs on the most machines.
func TestLeastDemanding(t *testing.T) {
	p := publish(t, "", "linux/amd64/v2", "linux/amd64/v3", "linux/arm", "linux/arm/v7", "linux/mipsle", "linux/mipsle/softfloat", "linux/ppc64le/power10", "linux/ppc64le/power9")
	entries, err := table(p.recipe.Downloads)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, e := range entries {
		got = append(got, e.Platform+" "+strings.TrimSuffix(strings.TrimPrefix(e.File, "kit_1.2.3_linux_"), ".tar.gz"))
	}
	want := []string{"linux/amd64 amd64v2", "linux/arm/v6 arm", "linux/arm/v7 armv7", "linux/mipsle mipslesoftfloat", "linux/ppc64le ppc64lepower9"}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

// TestHashes uses each tool that there may be.
func TestHashes(t *testing.T) {
	for _, tool := range []string{"sha256sum", "shasum", "sha256", "openssl"} {
		t.Run(tool, func(t *testing.T) {
			p := publish(t, "", targets...)
			m := newMachine(t, interpreters(t)["sh"], "curl")
			m.without("sha256sum")
			if tool == "sha256" { // of the BSDs
				real, err := exec.LookPath("sha256sum")
				if err != nil {
					t.Skip("no sha256sum")
				}
				m.fake(tool, `[ "$1" = -q ] || exit 1`+"\nhashed=$("+real+")\necho \"${hashed%% *}\"\n")
			} else {
				m.tool(tool)
			}
			m.tool("env")
			m.uname("Linux", "x86_64")
			base, _ := serve(t, p.files)
			m.env["KIT_DOWNLOAD_BASE"] = base
			if tool == "shasum" { // which is written in Perl
				m.tool("perl")
			}
			dir := filepath.Join(m.root, "to")
			if code, said := m.run(install(t, p.recipe, format.Signatures{}), "--dir", dir); code != 0 || len(m.left("to")) != 2 {
				t.Errorf("exit code %d\n%s", code, said)
			}
			p.files["kit_1.2.3_linux_amd64.tar.gz"][50] ^= 1
			if code, said := m.run(install(t, p.recipe, format.Signatures{}), "--dir", dir); code != 5 {
				t.Errorf("a changed byte: exit code %d\n%s", code, said)
			}
		})
	}
}

func TestZip(t *testing.T) {
	p := publish(t, "", "linux/amd64")
	d := &p.recipe.Downloads[0]
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	for _, name := range d.Programs {
		f, err := w.Create(name)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.Write(program(name, d.Platform)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	d.URL, d.Digest = release+"kit.zip", artifact.Sum(b.Bytes())
	p.files["kit.zip"] = b.Bytes()
	m := newMachine(t, interpreters(t)["sh"], "curl", "unzip")
	m.uname("Linux", "x86_64")
	base, _ := serve(t, p.files)
	m.env["KIT_DOWNLOAD_BASE"] = base
	if code, said := m.run(install(t, p.recipe, format.Signatures{}), "--dir", "-to"); code != 0 || !slices.Equal(m.left("-to"), []string{"kit 755", "kit daemon 755"}) {
		t.Errorf("exit code %d\n%s", code, said)
	}
}

// TestProtocols sees what curl is told: nothing but TLS 1.2 unless somebody says where else to fetch from.
func TestProtocols(t *testing.T) {
	p := publish(t, "", targets...)
	script := install(t, p.recipe, format.Signatures{})
	bounds := "--location --max-redirs 10 --retry 3 --retry-max-time 3600 --connect-timeout 60 --speed-limit 512 --speed-time 60 --max-time 3600 --max-filesize "
	for _, d := range p.recipe.Downloads {
		if d.Platform.String() == "linux/amd64" {
			bounds += strconv.FormatInt(d.Size, 10)
		}
	}
	for base, want := range map[string]string{
		"":                           "--proto =https --tlsv1.2 --fail --silent --show-error " + bounds + " --output X " + release + "kit_1.2.3_linux_amd64.tar.gz",
		"https://mirror.example.com": "--proto =https --tlsv1.2 --fail --silent --show-error " + bounds + " --output X https://mirror.example.com/kit_1.2.3_linux_amd64.tar.gz",
		"http://mirror.example.com/": "--proto =http,https --tlsv1.2 --fail --silent --show-error " + bounds + " --output X http://mirror.example.com/kit_1.2.3_linux_amd64.tar.gz",
	} {
		m := newMachine(t, interpreters(t)["sh"])
		m.uname("Linux", "x86_64")
		m.env["KIT_DOWNLOAD_BASE"] = base
		m.fake("curl", `printf '%s\n' "$*" >>"`+m.root+`/said"; exit 22`)
		if code, said := m.run(script, "--dir", m.root+"/to"); code != 4 {
			t.Errorf("exit code %d\n%s", code, said)
		}
		b, err := os.ReadFile(m.root + "/said")
		if err != nil {
			t.Fatal(err)
		}
		words := strings.Split(strings.TrimSpace(string(b)), " --output ")
		if len(words) != 2 {
			t.Fatalf("curl was told %q", b)
		}
		got := words[0] + " --output X " + words[1][strings.LastIndexByte(words[1], ' ')+1:]
		if got != want {
			t.Errorf("curl was told\n%s, want\n%s", got, want)
		}
	}
}

// TestInterrupted removes everything temporary when it is told to stop.
func TestInterrupted(t *testing.T) {
	stops := map[string]int{"INT": 130, "TERM": 143}
	if !signal.Ignored(syscall.SIGHUP) { // as under nohup, where no shell may trap it
		stops["HUP"] = 129
	}
	for name, shell := range everyInterpreter(t) {
		for signal, want := range stops {
			p := publish(t, "", targets...)
			m := newMachine(t, shell)
			m.uname("Linux", "x86_64")
			m.fake("curl", "kill -"+signal+" $PPID\n") // stopped while it downloads
			code, said := m.run(install(t, p.recipe, format.Signatures{}), "--dir", m.root+"/to")
			if code != want {
				t.Errorf("%s: %s: exit code %d\n%s", name, signal, code, said)
			}
			if left := m.left("to"); len(left) > 0 {
				t.Errorf("%s: %s leaves %q", name, signal, left)
			}
			m.clean()
		}
	}
}

// Keys and signatures.

func ecdsaKey(t testing.TB) crypto.Signer {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func edKey(t testing.TB) crypto.Signer {
	t.Helper()
	_, k, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func publicPEM(t testing.TB, k crypto.Signer) string {
	t.Helper()
	der, err := x509.MarshalPKIXPublicKey(k.Public())
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
}

// goldenKey is the example of RFC 8410, section 10.1.
const goldenKey = "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=\n-----END PUBLIC KEY-----\n"

func signedOptions() format.Signatures {
	return format.Signatures{Checksums: release + "SHA256SUMS", Bundle: release + "SHA256SUMS.sigstore.json"}
}

func withKey(t testing.TB, k crypto.Signer) format.Signatures {
	o := signedOptions()
	o.PublicKey = publicPEM(t, k)
	return o
}

func keyless() format.Signatures {
	o := signedOptions()
	o.Identity, o.Issuer = "https://github.com/example/kit/.github/workflows/release.yml@refs/tags/v1.2.3", "https://token.actions.githubusercontent.com"
	return o
}

func signature(t testing.TB, k crypto.Signer, content []byte) string {
	t.Helper()
	var sig []byte
	var err error
	if key, ok := k.(ed25519.PrivateKey); ok {
		sig = ed25519.Sign(key, content)
	} else {
		sum := sha256.Sum256(content)
		sig, err = k.Sign(rand.Reader, sum[:], crypto.SHA256)
	}
	if err != nil {
		t.Fatal(err)
	}
	return base64.StdEncoding.EncodeToString(sig)
}

// bundle is a Sigstore bundle over the content, in many lines.
func bundle(t testing.TB, k crypto.Signer, content []byte) []byte {
	sum := sha256.Sum256(content)
	return fmt.Appendf(nil, `{
  "mediaType": "application/vnd.dev.sigstore.bundle.v0.3+json",
  "verificationMaterial": {"publicKey": {"hint": ""}},
  "messageSignature": {
    "messageDigest": {"algorithm": "SHA2_256", "digest": %q},
    "signature": %q
  }
}`, base64.StdEncoding.EncodeToString(sum[:]), signature(t, k, content))
}

// TestSignature checks real signatures with real verifiers.
func TestSignature(t *testing.T) {
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	for keyName, key := range map[string]crypto.Signer{"ecdsa": ecdsaKey(t), "ed25519": edKey(t), "rsa": rsaKey} {
		for _, verifier := range []string{"openssl", "cosign", "cosign3"} {
			if verifier != "openssl" && keyName == "rsa" {
				continue
			}
			for _, c := range []struct {
				name   string
				change func(files map[string][]byte)
				code   int
				want   string
			}{
				{"right", func(map[string][]byte) {}, 0, "The signature is right (" + strings.TrimSuffix(verifier, "3") + ")"},
				{"another key", func(files map[string][]byte) {
					files["SHA256SUMS.sigstore.json"] = bundle(t, map[string]func(testing.TB) crypto.Signer{"ecdsa": ecdsaKey, "ed25519": edKey, "rsa": ecdsaKey}[keyName](t), files["SHA256SUMS"])
				}, 5, "refuses the signature"},
				{"other checksums", func(files map[string][]byte) { files["SHA256SUMS"] = append([]byte("\n"), files["SHA256SUMS"]...) }, 5, "refuses the signature"},
				{"no signature", func(files map[string][]byte) { files["SHA256SUMS.sigstore.json"] = []byte("{}") }, 5, "refuses the signature"},
				{"no bundle", func(files map[string][]byte) { delete(files, "SHA256SUMS.sigstore.json") }, 4, "SHA256SUMS.sigstore.json did not work"},
				{"checksums of another release", func(files map[string][]byte) {
					files["SHA256SUMS"] = bytes.ReplaceAll(files["SHA256SUMS"], []byte("linux_amd64"), []byte("linux_amd65"))
					files["SHA256SUMS.sigstore.json"] = bundle(t, key, files["SHA256SUMS"])
				}, 5, "do not name kit_1.2.3_linux_amd64.tar.gz"},
			} {
				t.Run(keyName+" "+verifier+" "+c.name, func(t *testing.T) {
					p := publish(t, "", targets...)
					p.files["SHA256SUMS.sigstore.json"] = bundle(t, key, p.files["SHA256SUMS"])
					c.change(p.files)
					m := newMachine(t, interpreters(t)["sh"], "curl")
					m.tool(verifier)
					if verifier == "cosign3" {
						if err := os.Rename(filepath.Join(m.root, "bin", verifier), filepath.Join(m.root, "bin", "cosign")); err != nil {
							t.Fatal(err)
						}
					}
					m.uname("Linux", "x86_64")
					base, _ := serve(t, p.files)
					m.env["KIT_DOWNLOAD_BASE"] = base
					code, said := m.run(install(t, p.recipe, withKey(t, key)), "--dir", m.root+"/to", "--require-signature")
					if code != c.code || !strings.Contains(said, c.want) {
						t.Errorf("exit code %d, want %d and %q\n%s", code, c.code, c.want, said)
					}
					if n := len(m.left("to")); (n == 2) != (c.code == 0) {
						t.Errorf("%d files were installed", n)
					}
					m.clean()
				})
			}
		}
	}
}

// TestNoVerifier says that nothing was checked, or fails where that was asked for.
func TestNoVerifier(t *testing.T) {
	p := publish(t, "", targets...)
	for name, o := range map[string]format.Signatures{"key": withKey(t, ecdsaKey(t)), "old openssl": withKey(t, edKey(t)), "keyless": keyless()} {
		m := newMachine(t, interpreters(t)["sh"], "curl")
		if name == "old openssl" {
			m.fake("openssl", "echo LibreSSL 3.3.6")
		}
		m.uname("Linux", "x86_64")
		base, asked := serve(t, p.files)
		m.env["KIT_DOWNLOAD_BASE"] = base
		if code, said := m.run(install(t, p.recipe, o), "--dir", m.root+"/a"); code != 0 || !strings.Contains(said, "was not checked, only the SHA-256") || len(asked()) != 1 {
			t.Errorf("%s: exit code %d\n%s", name, code, said)
		}
		if code, said := m.run(install(t, p.recipe, o), "--dir", m.root+"/b", "--require-signature"); code != 7 || len(m.left("b")) > 0 {
			t.Errorf("%s: exit code %d\n%s", name, code, said)
		}
	}
}

// TestKeyless sees what cosign is told; who it believes is its own affair.
func TestKeyless(t *testing.T) {
	p := publish(t, "", targets...)
	p.files["SHA256SUMS.sigstore.json"] = []byte("{}")
	o := keyless()
	o.Identity = "it's $(exit 1) `exit 2` \"3\" \\"
	m := newMachine(t, interpreters(t)["sh"], "curl")
	m.fake("cosign", `[ "$2" = --help ] && { echo --new-bundle-format; exit; }
shift; for a; do printf '<%s>\n' "$a"; done >"`+m.root+`/said"`)
	m.uname("Linux", "x86_64")
	base, _ := serve(t, p.files)
	m.env["KIT_DOWNLOAD_BASE"] = base
	if code, said := m.run(install(t, p.recipe, o), "--dir", m.root+"/to"); code != 0 {
		t.Fatalf("exit code %d\n%s", code, said)
	}
	b, err := os.ReadFile(m.root + "/said")
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"<--new-bundle-format>", "<--certificate-identity>\n<" + o.Identity + ">", "<--certificate-oidc-issuer>\n<" + o.Issuer + ">"} {
		if !strings.Contains(string(b), want+"\n") {
			t.Errorf("cosign was not told %s but\n%s", want, b)
		}
	}
	if strings.Contains(string(b), "ignore-tlog") {
		t.Errorf("cosign does not look into the log:\n%s", b)
	}
	m.fake("cosign", "exit 1")
	if code, said := m.run(install(t, p.recipe, o), "--dir", m.root+"/other"); code != 5 || len(m.left("other")) > 0 {
		t.Errorf("exit code %d\n%s", code, said)
	}
}

func TestErrors(t *testing.T) {
	key := publicPEM(t, ecdsaKey(t))
	p224, err := ecdsa.GenerateKey(elliptic.P224(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name   string
		change func(*format.Recipe, *format.Signatures)
		want   string
	}{
		{"no archive", func(r *format.Recipe, _ *format.Signatures) { r.Downloads = r.Downloads[:0] }, "no archive is for a system with a POSIX shell"},
		{"only Windows", func(r *format.Recipe, _ *format.Signatures) { r.Downloads[0].Platform = platform(t, "windows/amd64") }, "no archive is for a system"},
		{"a platform that is none", func(r *format.Recipe, _ *format.Signatures) { r.Downloads[0].Platform.Arch = "amd64) id ;; *" }, "no port"},
		{"a name that is a path", func(r *format.Recipe, _ *format.Signatures) { r.Name = "../kit" }, "cannot be installed by a script"},
		{"a URL that is not https", func(r *format.Recipe, _ *format.Signatures) { r.Downloads[0].URL = "http://example.com/kit.tar.gz" }, "not an https URL"},
		{"a URL with a quote and a space", func(r *format.Recipe, _ *format.Signatures) { r.Downloads[0].URL = "https://example.com/' id '.tar.gz" }, "a URL does not"},
		{"a URL without a file", func(r *format.Recipe, _ *format.Signatures) { r.Downloads[0].URL = "https://example.com/" }, "names no file"},
		{"an archive of another kind", func(r *format.Recipe, _ *format.Signatures) { r.Downloads[0].URL = "https://example.com/kit.rar" }, "neither a .tar.gz"},
		{"a digest that is none", func(r *format.Recipe, _ *format.Signatures) { r.Downloads[0].Digest = "sha256:'" }, "is not sha256"},
		{"a program elsewhere", func(r *format.Recipe, _ *format.Signatures) { r.Downloads[0].Programs = []string{"../kit"} }, "leaves its folder"},
		{"a program of two lines", func(r *format.Recipe, _ *format.Signatures) { r.Downloads[0].Programs = []string{"a\nb"} }, "not every system allows"},
		{"two programs of one name", func(r *format.Recipe, _ *format.Signatures) { r.Downloads[0].Programs = []string{"a/kit", "b/kit"} }, "two programs"},
		{"no program", func(r *format.Recipe, _ *format.Signatures) { r.Downloads[0].Programs = nil }, "no program"},
		{"a program that hides", func(r *format.Recipe, _ *format.Signatures) { r.Downloads[0].Programs = []string{"\u200bkit"} }, "cannot be seen"},
		{"a folder elsewhere", func(r *format.Recipe, _ *format.Signatures) { r.Downloads[0].Folder = "/etc" }, "is absolute"},
		{"a manual elsewhere", func(r *format.Recipe, _ *format.Signatures) { r.Manuals = []string{"../../x.1"} }, "leaves its folder"},
		{"a manual without a section", func(r *format.Recipe, _ *format.Signatures) { r.Manuals = []string{"kit"} }, "section"},
		{"a key without a place", func(_ *format.Recipe, o *format.Signatures) { o.PublicKey = key }, "the URL of the signed checksums is missing"},
		{"a key without a signature", func(_ *format.Recipe, o *format.Signatures) { o.PublicKey, o.Checksums = key, release+"SHA256SUMS" }, "the URL of the bundle"},
		{"a signature without a key", func(_ *format.Recipe, o *format.Signatures) { *o = signedOptions() }, "need the public key"},
		{"an identity without its issuer", func(_ *format.Recipe, o *format.Signatures) { *o = keyless(); o.Issuer = "" }, "need the public key, or both"},
		{"a key and an identity", func(_ *format.Recipe, o *format.Signatures) { *o = keyless(); o.PublicKey = key }, "one of them"},
		{"no key", func(_ *format.Recipe, o *format.Signatures) { *o = signedOptions(); o.PublicKey = "key" }, "not one PEM block"},
		{"two keys", func(_ *format.Recipe, o *format.Signatures) { *o = signedOptions(); o.PublicKey = key + key }, "not one PEM block"},
		{"a key that is none", func(_ *format.Recipe, o *format.Signatures) {
			*o = signedOptions()
			o.PublicKey = string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: []byte("x")}))
		}, "reading the public key"},
		{"a curve that is too small", func(_ *format.Recipe, o *format.Signatures) { *o = signedOptions(); o.PublicKey = publicPEM(t, p224) }, "P-224"},
		{"a bundle that is not https", func(_ *format.Recipe, o *format.Signatures) { *o = keyless(); o.Bundle = "ftp://example.com/x" }, "not an https URL"},
		{"an identity of two lines", func(_ *format.Recipe, o *format.Signatures) { *o = keyless(); o.Identity += "\n" }, "cannot be seen"},
	} {
		p := publish(t, "", "linux/amd64")
		o := format.Signatures{}
		c.change(&p.recipe, &o)
		p.recipe.Signatures = o
		b, err := Install(p.recipe)
		if err == nil || !strings.Contains(err.Error(), c.want) || b != nil {
			t.Errorf("%s: %v", c.name, err)
		}
		if code := fault.CodeOf(err); code != fault.Usage {
			t.Errorf("%s: exit code %d", c.name, code)
		}
	}
}

// TestHostileText runs scripts whose texts try to be commands.
func TestHostileText(t *testing.T) {
	for _, text := range []string{
		`'; touch OWNED; '`, `"; touch OWNED; "`, "$(touch OWNED)", "`touch OWNED`", "a\ntouch OWNED\n", "\nUSAGE\ntouch OWNED\n", `\'; touch OWNED #`, `'"'"'; touch OWNED`,
		"${IFS}", "\x00'", "\x1b[31m", "a\r\ntouch OWNED", "%s%n", "-n", "é世界", "\xff'", "*", "\u202e",
	} {
		p := publish(t, "", "linux/amd64")
		r := p.recipe
		r.Title, r.Homepage, r.Repository = text, text, text
		d := &r.Downloads[0]
		if artifact.CheckPath(text) == nil && text != "\u202e" {
			r.Completions = map[string]string{"bash": text, "zsh": text, "fish": text}
			d.Folder, d.Programs = text, []string{text}
			var b bytes.Buffer
			if err := archive.TarGz(&b, []archive.File{archive.Bytes(text+"/"+text, program("x", d.Platform))}, time.Unix(1700000000, 0)); err != nil {
				t.Fatal(err)
			}
			d.Digest = artifact.Sum(b.Bytes())
			p.files[path.Base(d.URL)] = b.Bytes()
		}
		script, err := Install(r)
		if err != nil {
			t.Errorf("%q: %v", text, err)
			continue
		}
		base, _ := serve(t, p.files)
		for name, shell := range interpreters(t) {
			m := newMachine(t, shell, "curl", "touch")
			m.uname("Linux", "x86_64")
			m.env["KIT_DOWNLOAD_BASE"] = base
			for _, args := range [][]string{{"--help"}, {"--dir", m.root + "/to/bin", "--with-docs"}} {
				if code, said := m.run(script, args...); code != 0 || strings.ContainsAny(said, "\x1b\u202e") {
					t.Errorf("%s: %q %s: exit code %d\n%s", name, text, args[0], code, said)
				}
			}
			if _, err := os.Stat(filepath.Join(m.root, "OWNED")); err == nil {
				t.Errorf("%s: %q was a command", name, text)
			}
			want := len(d.Programs)
			if got := m.left("to/bin"); len(got) != want {
				t.Errorf("%s: %q installs %q", name, text, got)
			}
		}
	}
}

// FuzzQuote reads a word as a shell does.
func FuzzQuote(f *testing.F) {
	f.Add("it's")
	f.Add(`'\''`)
	f.Add("a\nb\\")
	f.Fuzz(func(t *testing.T, s string) {
		q := quote(s)
		var b strings.Builder
		for rest := q; rest != ""; {
			switch {
			case rest[0] == '\'':
				i := strings.IndexByte(rest[1:], '\'')
				if i < 0 {
					t.Fatalf("%q: %s does not end", s, q)
				}
				b.WriteString(rest[1 : 1+i])
				rest = rest[2+i:]
			case strings.HasPrefix(rest, `\'`):
				b.WriteByte('\'')
				rest = rest[2:]
			default:
				t.Fatalf("%q: %s has %q outside of its quotes", s, q, rest)
			}
		}
		if b.String() != strings.ReplaceAll(s, "\x00", "") {
			t.Errorf("%q is written %s and read %q", s, q, b.String())
		}
	})
}
