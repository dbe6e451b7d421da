package source_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"runtime"
	"strings"
	"testing"

	"github.com/slipway-build/slipway/pipeline/fixture"
	"github.com/slipway-build/slipway/pipeline/release/fault"
	"github.com/slipway-build/slipway/pipeline/source"
)

func export(t testing.TB, s source.Source) []string {
	t.Helper()
	out := t.TempDir()
	if err := s.Export(context.Background(), out); err != nil {
		t.Fatal(err)
	}
	return tree(t, out)
}

func want(t testing.TB, got []string, want ...string) {
	t.Helper()
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}

func link(t testing.TB, target, name string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o777); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(target, name); err != nil {
		t.Fatal(err)
	}
}

func TestExport(t *testing.T) {
	t.Parallel()
	g := newRepo(t)
	// Attributes, filters and line end conversion would each change what is written.
	g.write(".gitattributes", "*.txt text eol=crlf ident\n*.up filter=up\nignored export-ignore\n*.enc working-tree-encoding=UTF-16\n"+
		"stamp export-subst\n")
	g.write("a.txt", "$Id$\none\n")
	g.write("b.up", "down\n")
	g.write("ignored", "kept")
	g.write("stamp", "$Format:%H$")
	g.write("crlf", "a\r\nb\r\n")
	g.write("empty", "")
	g.write("bin/run", "#!/bin/sh\n")
	g.write("bin/sub dir/ü\nü", "odd name")
	if err := os.Chmod(g.path("bin/run"), 0o700); err != nil {
		t.Fatal(err)
	}
	link(t, "../bin/run", g.path("links/run"))
	link(t, "nowhere", g.path("links/dangling"))
	link(t, "loop", g.path("links/loop"))
	g.commit("one")
	g.git("config", "core.autocrlf", "true")
	g.git("config", "filter.up.smudge", "tr a-z A-Z")
	g.git("config", "filter.up.clean", "tr A-Z a-z")
	wanted := []string{
		"644 .gitattributes " + g.git("show", "HEAD:.gitattributes") + "\n",
		"644 a.txt $Id$\none\n",
		"644 b.up down\n",
		"755 bin/run #!/bin/sh\n",
		"644 bin/sub dir/ü\nü odd name",
		"644 crlf a\r\nb\r\n",
		"644 empty ",
		"644 ignored kept",
		"link links/dangling nowhere",
		"link links/loop loop",
		"link links/run ../bin/run",
		"644 stamp $Format:%H$",
	}
	want(t, export(t, g.read(source.Options{})), wanted...)

	// What happens to the work tree later changes nothing.
	s := g.read(source.Options{})
	if err := os.RemoveAll(g.path("bin")); err != nil {
		t.Fatal(err)
	}
	g.write("new", "")
	want(t, export(t, s), wanted...)

	// A second export into the same folder is refused.
	if err := s.Export(t.Context(), g.dir); err == nil || !strings.Contains(err.Error(), "not empty") {
		t.Errorf("exports into a full folder: %v", err)
	}
	if err := s.Export(t.Context(), filepath.Join(g.dir, "missing")); fault.CodeOf(err) != fault.Build {
		t.Errorf("exports into a missing folder: %v", err)
	}
}

func TestExportDirty(t *testing.T) {
	t.Parallel()
	g := newRepo(t)
	g.write(".gitignore", "*.o\n")
	for _, f := range []string{"changed", "deleted", "same", "mode", "dir/a", "dir/b", "forced.o"} {
		g.write(f, "old")
	}
	g.git("add", "--force", "forced.o")
	g.commit("one")

	g.write("changed", "new "+strings.Repeat("x", 2000))
	g.write("untracked/ü", "new")
	g.write("ignored.o", "ignored")
	g.write("staged", "index")
	g.git("add", "staged")
	g.write("staged", "work tree")
	if err := os.Remove(g.path("deleted")); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(g.path("mode"), 0o711); err != nil {
		t.Fatal(err)
	}
	// A folder that became a link: what was tracked below it is gone.
	if err := os.RemoveAll(g.path("dir")); err != nil {
		t.Fatal(err)
	}
	g.write("moved/a", "behind the link")
	link(t, "moved", g.path("dir"))
	// Another repository, which git leaves out.
	inner := g.at(g.path("inner"))
	if err := os.Mkdir(inner.dir, 0o777); err != nil {
		t.Fatal(err)
	}
	inner.git("init", "--quiet")
	inner.write("f", "")
	inner.commit("inner")

	s := g.read(source.Options{AllowDirty: true})
	want(
		t, export(t, s),
		"644 .gitignore *.o\n", "644 changed new "+strings.Repeat("x", 2000), "link dir moved", "644 forced.o old", "755 mode old",
		"644 moved/a behind the link", "644 same old", "644 staged work tree", "644 untracked/ü new",
	)

	link(t, "/etc/passwd", g.path("away"))
	refused(t, s.Export(t.Context(), t.TempDir()), "symbolic link away", "/etc/passwd")
}

func TestExportConflict(t *testing.T) {
	t.Parallel()
	g := newRepo(t)
	conflict(g)
	got := export(t, g.read(source.Options{AllowDirty: true}))
	if len(got) != 1 || !strings.HasPrefix(got[0], "644 f <<<<<<<") {
		t.Errorf("got %q", got)
	}
}

func TestExportSparse(t *testing.T) {
	t.Parallel()
	g := newRepo(t)
	g.write("in/f", "in")
	g.write("out/f", "out")
	g.commit("one")
	g.git("sparse-checkout", "set", "in")
	want(t, export(t, g.read(source.Options{})), "644 in/f in", "644 out/f out")

	g.write("in/f", "changed")
	s := g.read(source.Options{AllowDirty: true})
	refused(t, s.Export(t.Context(), t.TempDir()), "out/f", "git sparse-checkout disable")
}

// TestExportUmask is not parallel, since the umask is the whole process's.
func TestExportUmask(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("has no umask")
	}
	g := newRepo(t)
	g.write("d/f", "one")
	g.write("d/x", "two")
	if err := os.Chmod(g.path("d/x"), 0o755); err != nil {
		t.Fatal(err)
	}
	g.commit("one")
	s := g.read(source.Options{})
	defer setUmask(setUmask(0o077))
	want(t, export(t, s), "644 d/f one", "755 d/x two")
	setUmask(0)
	want(t, export(t, s), "644 d/f one", "755 d/x two")
}

// submodules is a repository with the submodule sub, which has the submodule "deep er".
func submodules(t *testing.T) (g, sub, deep *gitRepo) {
	deep = newRepo(t)
	deep.write("deep.txt", "deep")
	deep.commit("deep")
	sub = newRepo(t)
	sub.write("sub.txt", "sub")
	sub.git("submodule", "--quiet", "add", deep.dir, "deep er")
	sub.commit("sub")
	g = newRepo(t)
	g.write("top.txt", "top")
	g.git("submodule", "--quiet", "add", sub.dir, "lib/sub")
	g.git("submodule", "--quiet", "update", "--init", "--recursive")
	g.commit("top")
	return g, sub, deep
}

func TestSubmodules(t *testing.T) {
	t.Parallel()
	g, subOrigin, _ := submodules(t)
	sub, deep := g.at(g.path("lib/sub")), g.at(g.path("lib/sub/deep er"))
	modules := func(r *gitRepo) string { return "644 .gitmodules " + r.git("show", "HEAD:.gitmodules") + "\n" }
	whole := []string{
		modules(g), strings.Replace(modules(sub), ".gitmodules", "lib/sub/.gitmodules", 1), "644 lib/sub/deep er/deep.txt deep",
		"644 lib/sub/sub.txt sub", "644 top.txt top",
	}
	s := g.read(source.Options{})
	want(t, export(t, s), whole...)

	// From inside a submodule the submodule is the source.
	if inner := g.read(source.Options{Dir: sub.dir}); inner.Commit != sub.git("rev-parse", "HEAD") {
		t.Errorf("inside: %+v", inner)
	}

	read := func(o source.Options) error {
		o.Dir = g.dir
		_, err := source.Read(t.Context(), o)
		return err
	}
	dirty := source.Options{AllowDirty: true}

	// A change and an untracked file inside, which the configuration would hide.
	g.git("config", "submodule.lib/sub.ignore", "all")
	g.git("config", "diff.ignoreSubmodules", "all")
	sub.write("new", "new")
	refused(t, read(source.Options{}), "lib/sub", "--dirty")
	want(t, export(t, g.read(dirty)), append(append(append([]string{}, whole[:3]...), "644 lib/sub/new new"), whole[3:]...)...)
	want(t, export(t, s), whole...)
	if err := os.Remove(sub.path("new")); err != nil {
		t.Fatal(err)
	}

	// Drift, two levels down.
	recorded := deep.git("rev-parse", "HEAD")
	drifted := deep.commit("drift")
	refused(t, read(source.Options{}), "lib/sub/deep er", recorded, drifted, "git submodule update --recursive")
	if s := g.read(dirty); !s.Dirty {
		t.Error("drift is not dirty")
	}
	want(t, export(t, s), whole...)
	deep.git("checkout", "--quiet", recorded)
	g.read(source.Options{})

	// The recorded commit is not there.
	subOrigin.write("later", "")
	later := subOrigin.commit("later")
	g.git("update-index", "--cacheinfo", "160000,"+later+",lib/sub")
	g.git("commit", "--quiet", "--allow-empty", "--message", "later")
	refused(t, read(source.Options{}), "lib/sub", later)
	gone := s
	gone.Commit = g.git("rev-parse", "HEAD")
	refused(t, gone.Export(t.Context(), t.TempDir()), "lib/sub", later, "git submodule update --init --recursive")
	g.git("reset", "--quiet", "--soft", "HEAD~1")
	g.git("reset", "--quiet")

	// Not checked out: no folder, an empty one, and a .git that is none.
	for _, state := range []string{"missing", "empty", "hollow"} {
		if err := os.RemoveAll(sub.dir); err != nil {
			t.Fatal(err)
		}
		if state != "missing" {
			if err := os.Mkdir(sub.dir, 0o777); err != nil {
				t.Fatal(err)
			}
		}
		if state == "hollow" {
			if err := os.Mkdir(sub.path(".git"), 0o777); err != nil {
				t.Fatal(err)
			}
		}
		for _, err := range []error{read(source.Options{}), read(dirty), s.Export(t.Context(), t.TempDir())} {
			refused(t, err, "lib/sub is not checked out", "git submodule update --init --recursive")
		}
	}
}

// object writes an object that git itself would refuse to write.
func (g *gitRepo) object(kind, contents string) string {
	g.Helper()
	return g.gitIn(contents, "hash-object", "-t", kind, "-w", "--literally", "--stdin")
}

// rawTree writes a tree from mode, name and object in turn.
func (g *gitRepo) rawTree(entries ...string) string {
	g.Helper()
	var b bytes.Buffer
	for ; len(entries) > 0; entries = entries[3:] {
		id, err := hex.DecodeString(entries[2])
		if err != nil {
			g.Fatal(err)
		}
		fmt.Fprintf(&b, "%s %s\x00%s", entries[0], entries[1], id)
	}
	return g.object("tree", b.String())
}

// TestHostileTree exports trees that only an attacker writes.
func TestHostileTree(t *testing.T) {
	t.Parallel()
	g := newRepo(t)
	g.commit("one")
	blob := g.object("blob", "x")
	sub := g.rawTree("100644", "f", blob)
	up := g.object("blob", "..")
	for _, tt := range []struct {
		name  string
		tree  []string
		words []string
	}{
		{"parent", []string{"40000", "..", sub}, []string{"../f", "rename"}},
		{"dot", []string{"40000", ".", sub}, []string{"./f"}},
		{"slash", []string{"100644", "a/../../f", blob}, []string{"a/../../f"}},
		{"absolute", []string{"100644", "/etc/f", blob}, []string{"/etc/f", "absolute"}},
		{"empty name", []string{"40000", "", sub}, []string{"empty filename"}},
		{"git", []string{"40000", ".git", sub}, []string{".git/f"}},
		{"git in upper case", []string{"40000", ".GIT", sub}, []string{".GIT/f"}},
		{"git below", []string{"40000", "a", g.rawTree("40000", ".Git", sub)}, []string{"a/.Git/f"}},
		{"git on NTFS", []string{"40000", "git~1", sub}, []string{"git~1/f"}},
		{"git with a dot", []string{"40000", ".git.", sub}, []string{".git./f"}},
		{"git with a stream", []string{"40000", ".git::$INDEX_ALLOCATION", sub}, []string{"::$INDEX_ALLOCATION"}},
		{"git on HFS+", []string{"40000", ".g\u200cit", sub}, []string{"take for .git"}},
		{"submodule called git", []string{"160000", ".git", strings.Repeat("1", 40)}, []string{"path .git"}},
		{"twice", []string{"100644", "f", blob, "100644", "f", blob}, []string{"path f", "same name"}},
		{"file and folder", []string{"100644", "f", blob, "40000", "f", sub}, []string{"path f", "same name"}},
		{"link and folder", []string{"120000", "f", g.object("blob", "g"), "40000", "f", sub}, []string{"path f", "same name"}},
		{"folder and link", []string{"40000", "f", sub, "120000", "f", g.object("blob", "g")}, []string{"path f", "same name"}},
		{"mode", []string{"100000", "f", blob}, nil},
		{"missing blob", []string{"100644", "f", strings.Repeat("1", 40)}, []string{"reading f", "missing", "git fsck"}},
		{"tree as file", []string{"100644", "f", sub}, []string{"git answers"}},
		{"empty link", []string{"120000", "f", g.object("blob", "")}, []string{"no target"}},
		{"link with zero byte", []string{"120000", "f", g.object("blob", "a\x00b")}, []string{"no target"}},
		{"long link", []string{"120000", "f", g.object("blob", strings.Repeat("a", 5000))}, []string{"5000 bytes"}},
		{"link out", []string{"120000", "f", up}, []string{"symbolic link f leads out of the source, to .."}},
		{"absolute link", []string{"120000", "f", g.object("blob", "/etc/passwd")}, []string{"/etc/passwd"}},
		{
			"link out through another",
			[]string{"40000", "a", g.rawTree("120000", "top", g.object("blob", "..")), "120000", "f", g.object("blob", "a/top/../x")},
			[]string{"symbolic link f", "a/top/../x"},
		},
		{"long path", []string{"100644", strings.Repeat("a", 5000), blob}, []string{"longer than 4096 bytes"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			root := g.rawTree(tt.tree...)
			commit := g.object("commit", "tree "+root+"\nauthor a <a> 0 +0000\ncommitter a <a> 0 +0000\n\n")
			parent := t.TempDir()
			out := filepath.Join(parent, "out")
			if err := os.Mkdir(out, 0o777); err != nil {
				t.Fatal(err)
			}
			err := source.Source{Root: g.dir, Commit: commit}.Export(t.Context(), out)
			if tt.words == nil && err == nil {
				// git shows some odd modes as ordinary ones.
				want(t, tree(t, out), "644 f x")
			} else {
				refused(t, err, tt.words...)
			}
			if entries, err := os.ReadDir(parent); err != nil || len(entries) != 1 {
				t.Errorf("something was written outside: %v, %v", entries, err)
			}
			for _, line := range tree(t, out) {
				if strings.Contains(strings.ToLower(line), ".git") {
					t.Errorf("wrote %q", line)
				}
			}
		})
	}
	t.Run("damaged blob", func(t *testing.T) {
		t.Parallel()
		g := newRepo(t)
		g.git("config", "core.compression", "0")
		g.write("a", "a")
		g.write("b", strings.Repeat("0123456789", 200_000))
		g.write("c", "c")
		s := source.Source{Root: g.dir, Commit: g.commit("one")}
		id := g.git("rev-parse", "HEAD:b")
		name := g.path(".git/objects/" + id[:2] + "/" + id[2:])
		if err := os.Chmod(name, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Truncate(name, 1_000_000); err != nil {
			t.Fatal(err)
		}
		refused(t, s.Export(t.Context(), t.TempDir()), "running git cat-file", id)
	})
	t.Run("unknown commit", func(t *testing.T) {
		err := source.Source{Root: g.dir, Commit: strings.Repeat("1", 40)}.Export(t.Context(), t.TempDir())
		refused(t, err, "running git ls-tree")
	})
}

func TestExportLFS(t *testing.T) {
	t.Parallel()
	const contents = "the real contents\n"
	sum := fmt.Sprintf("%x", sha256.Sum256([]byte(contents)))
	pointer := func(size int) string {
		return fmt.Sprintf("version https://git-lfs.github.com/spec/v1\noid sha256:%s\nsize %d\n", sum, size)
	}
	setUp := func(t *testing.T, pointer string) (*gitRepo, string) {
		g := newRepo(t)
		g.write("big.bin", pointer)
		g.write("fixture.txt", pointer)
		g.write("z", "z")
		g.commit("files")
		g.write(".gitattributes", "*.bin filter=lfs diff=lfs merge=lfs -text\n")
		g.commit("attributes")
		return g, g.path(".git/lfs/objects/" + sum[:2] + "/" + sum[2:4] + "/" + sum)
	}
	whole := []string{
		"644 .gitattributes *.bin filter=lfs diff=lfs merge=lfs -text\n", "644 big.bin " + contents,
		"644 fixture.txt " + pointer(len(contents)), "644 z z",
	}

	t.Run("contents in the clone", func(t *testing.T) {
		t.Parallel()
		g, stored := setUp(t, pointer(len(contents)))
		g.at(filepath.Dir(stored)).write(filepath.Base(stored), contents)
		s := g.read(source.Options{})
		want(t, export(t, s), whole...)
		s.Dirty = true
		want(t, export(t, s), whole...)

		linked := filepath.Join(t.TempDir(), "linked")
		g.git("worktree", "add", "--quiet", "--detach", linked)
		want(t, export(t, g.read(source.Options{Dir: linked})), whole...)
	})
	t.Run("contents in another store", func(t *testing.T) {
		t.Parallel()
		g, _ := setUp(t, pointer(len(contents)))
		store := t.TempDir()
		g.at(filepath.Join(store, "objects", sum[:2], sum[2:4])).write(sum, contents)
		g.git("config", "lfs.storage", store)
		want(t, export(t, g.read(source.Options{})), whole...)
	})
	t.Run("missing", func(t *testing.T) {
		t.Parallel()
		g, _ := setUp(t, pointer(len(contents)))
		refused(t, g.read(source.Options{}).Export(t.Context(), t.TempDir()), "big.bin", "not in this clone", "git lfs pull")
	})
	for name, wrong := range map[string]string{"other bytes": "THE REAL CONTENTS\n", "other size": "x"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g, stored := setUp(t, pointer(len(contents)))
			g.at(filepath.Dir(stored)).write(filepath.Base(stored), wrong)
			refused(t, g.read(source.Options{}).Export(t.Context(), t.TempDir()), "big.bin", "damaged", "git lfs pull")
		})
	}
	for name, bad := range map[string]string{
		"extension":     strings.Replace(pointer(3), "oid", "ext-0-foo sha256:"+sum+"\noid", 1),
		"path as oid":   strings.Replace(pointer(3), sum, "../../../../../../../../../../../../etc/passwd", 1),
		"negative size": pointer(-1),
		"only version":  "version https://git-lfs.github.com/spec/v1\n",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g, _ := setUp(t, bad)
			refused(t, g.read(source.Options{}).Export(t.Context(), t.TempDir()), "big.bin", "not understood")
		})
	}
}

// TestExportBigBlob holds the memory of a large file's export to a bound.
func TestExportBigBlob(t *testing.T) {
	if testing.Short() {
		t.Skip("writes 50 MB")
	}
	size := 50 << 20 // six times the bound
	if fixture.Full {
		size *= 10
	}
	g := newRepo(t)
	f, err := os.Create(g.path("big"))
	if err != nil {
		t.Fatal(err)
	}
	h := sha256.New()
	block := bytes.Repeat([]byte("0123456789abcdef"), 1<<16)
	for n := 0; n < size; n += len(block) {
		block[0]++
		if _, err := io.MultiWriter(f, h).Write(block); err != nil {
			t.Fatal(err)
		}
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	g.write("small", "x")
	g.git("config", "core.compression", "0")
	g.commit("one")
	s := g.read(source.Options{})

	out := t.TempDir()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	if err := s.Export(t.Context(), out); err != nil {
		t.Fatal(err)
	}
	runtime.ReadMemStats(&after)
	// Everything allocated, whether or not it was freed.
	if used := after.TotalAlloc - before.TotalAlloc; used > 8<<20 {
		t.Errorf("allocates %d MiB", used>>20)
	}
	sum, err := os.Open(filepath.Join(out, "big"))
	if err != nil {
		t.Fatal(err)
	}
	defer sum.Close()
	got := sha256.New()
	if _, err := io.Copy(got, sum); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got.Sum(nil), h.Sum(nil)) {
		t.Error("wrote other bytes")
	}
}

// TestExportCancelled ends a running export.
func TestExportCancelled(t *testing.T) {
	t.Parallel()
	g := newRepo(t)
	g.write("f", "one")
	g.commit("one")
	s := g.read(source.Options{})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.Export(ctx, t.TempDir()); err == nil || !strings.Contains(err.Error(), context.Canceled.Error()) {
		t.Errorf("error %v", err)
	}
}

// TestExportSpecialFile meets a named pipe, which git does not see and would block a reader.
func TestExportSpecialFile(t *testing.T) {
	mkfifo, err := exec.LookPath("mkfifo")
	if err != nil {
		t.Skip("needs mkfifo")
	}
	t.Parallel()
	g := newRepo(t)
	g.write("f", "one")
	g.commit("one")
	if err := os.Remove(g.path("f")); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command(mkfifo, g.path("f")).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	s := g.read(source.Options{AllowDirty: true})
	refused(t, s.Export(t.Context(), t.TempDir()), "f is neither a file nor a symbolic link")
}
