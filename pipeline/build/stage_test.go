package build

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/slipway-build/slipway/pipeline/fixture/verifytest"
	"github.com/slipway-build/slipway/pipeline/plan"
	"github.com/slipway-build/slipway/pipeline/release/artifact"
)

func put(t *testing.T, name, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func exists(name string) bool {
	_, err := os.Lstat(name)
	return err == nil
}

// TestReplaceable holds a build to replacing nothing that is not a build's.
func TestReplaceable(t *testing.T) {
	for _, tt := range []struct {
		name string
		make func(dir string)
		want bool
	}{
		{"nothing", func(string) {}, true},
		{"an empty folder", func(dir string) { _ = os.Mkdir(dir, 0o755) }, true},
		{"a release", func(dir string) {
			if _, err := verifytest.Write(dir, verifytest.Options{Name: "tool", Version: "1.2.3"}); err != nil {
				t.Fatal(err)
			}
		}, true},
		{"a release of another project", func(dir string) {
			if _, err := verifytest.Write(dir, verifytest.Options{Name: "other", Version: "1.2.3"}); err != nil {
				t.Fatal(err)
			}
		}, false},
		{"what a failed build leaves", func(dir string) { put(t, dir+"/build.log", stamp("sha256:0", "sha256:1")) }, true},
		{"somebody's folder", func(dir string) { put(t, dir+"/main.go", "package main\n") }, false},
		{"somebody's log", func(dir string) { put(t, dir+"/build.log", "making it\n") }, false},
		{"somebody's release.json", func(dir string) { put(t, dir+"/release.json", "{}\n") }, false},
		{"a file", func(dir string) { put(t, dir, "dist\n") }, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "dist")
			tt.make(dir)
			s, err := newStage(dir, "tool")
			if (err == nil) != tt.want {
				t.Fatalf("error %v", err)
			}
			if err == nil {
				s.remove()
			}
			if left, _ := filepath.Glob(filepath.Join(filepath.Dir(dir), stagePrefix+"*")); len(left) > 0 {
				t.Errorf("%v is left", left)
			}
		})
	}
}

func TestCommit(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "dist")
	for i := range 2 {
		s, err := newStage(dir, "tool")
		if err != nil {
			t.Fatal(err)
		}
		put(t, s.path(LogName), stamp("sha256:0", "sha256:1"))
		put(t, s.path(fmt.Sprintf("archives/%d", i)), "x")
		if err := s.commit(); err != nil {
			t.Fatal(err)
		}
		s.remove()
		if !exists(filepath.Join(dir, "archives", fmt.Sprint(i))) || i > 0 && exists(filepath.Join(dir, "archives", "0")) {
			t.Errorf("after build %d dist/ is not that build's", i)
		}
	}
	s, err := newStage(dir, "tool")
	if err != nil {
		t.Fatal(err)
	}
	defer s.remove()
	put(t, s.path(LogName), stamp("sha256:0", "sha256:1"))
	put(t, s.path("binaries/tool"), "half of it")
	if err := s.keepLog(); err != nil {
		t.Fatal(err)
	}
	if !exists(filepath.Join(dir, LogName)) || exists(filepath.Join(dir, "binaries")) || exists(filepath.Join(dir, "archives")) {
		t.Error("a failed build leaves more than its log")
	}
}

// TestCarry keeps signatures with the bytes that they sign.
func TestCarry(t *testing.T) {
	const attestation = "attestations/tool_1.2.3.intoto.jsonl"
	signed := []string{"SHA256SUMS.sigstore.json", "release.json.sigstore.json", attestation, "signatures/index.json", "signatures/blobs/sha256/aa"}
	for _, tt := range []struct {
		name, old, sums string
		signed          []string
		want, lost      bool
	}{
		{"the same bytes", "a", "a", signed, true, false},
		{"other bytes", "a", "b", signed, false, true},
		{"none to keep", "a", "b", nil, false, false},
		{"nothing there", "", "a", nil, false, false},
		{"half a release", "", "a", signed, false, true},
		{"one signature", "a", "a", signed[:1], true, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			out := filepath.Join(t.TempDir(), "dist")
			s := &stage{out: out, dir: filepath.Join(t.TempDir(), "stage")}
			put(t, s.path("SHA256SUMS"), tt.sums)
			if tt.old != "" {
				put(t, filepath.Join(out, "SHA256SUMS"), tt.old)
				put(t, filepath.Join(out, "attestations", "other.json"), "x")
			}
			for _, name := range tt.signed {
				put(t, filepath.Join(out, name), name)
			}
			lost, err := s.carry(attestation)
			if err != nil || lost != tt.lost {
				t.Errorf("lost %v, %v", lost, err)
			}
			for _, name := range tt.signed {
				if b, _ := os.ReadFile(s.path(name)); (string(b) == name) != tt.want {
					t.Errorf("%s is %q", name, b)
				}
			}
			if exists(s.path("attestations/other.json")) {
				t.Error("what is no signature was kept")
			}
		})
	}
}

func TestRemoveStale(t *testing.T) {
	dir := t.TempDir()
	gone := exec.Command(os.Args[0], "-test.run=^$")
	if err := gone.Run(); err != nil {
		t.Fatal(err)
	}
	dead := filepath.Join(dir, fmt.Sprintf("%s%d-1", stagePrefix, gone.Process.Pid))
	parent := filepath.Join(dir, fmt.Sprintf("%s%d-1", stagePrefix, os.Getppid()))
	own := filepath.Join(dir, fmt.Sprintf("%s%d-1", stagePrefix, os.Getpid()))
	strange := filepath.Join(dir, stagePrefix+"x-1")
	for _, d := range []string{dead, parent, own, strange} {
		put(t, filepath.Join(d, "dist", "file"), "x")
	}
	RemoveStale(dir, stagePrefix)
	if exists(dead) {
		t.Error("the folder of a process that is no more is left")
	}
	for _, d := range []string{parent, own, strange} {
		if !exists(d) {
			t.Errorf("%s was removed", filepath.Base(d))
		}
	}
}

// TestOtherProject leaves what builds of another project are made in, beside the dist/ of that one, to those.
func TestOtherProject(t *testing.T) {
	root := t.TempDir()
	gone := exec.Command(os.Args[0], "-test.run=^$")
	if err := gone.Run(); err != nil {
		t.Fatal(err)
	}
	running := filepath.Join(root, "b", fmt.Sprintf("%s%d-1", stagePrefix, os.Getppid()))
	killed := filepath.Join(root, "b", fmt.Sprintf("%s%d-1", stagePrefix, gone.Process.Pid))
	put(t, filepath.Join(running, "dist", "file"), "x")
	put(t, filepath.Join(killed, "dist", "file"), "x")
	for _, project := range []string{"a", "b"} {
		s, err := newStage(filepath.Join(root, project, "dist"), project)
		if err != nil {
			t.Fatal(err)
		}
		s.remove()
		if !exists(running) || exists(killed) != (project == "a") {
			t.Errorf("after a build of %s: a running build of b is there: %v, a killed one: %v", project, exists(running), exists(killed))
		}
	}
}

func TestStamped(t *testing.T) {
	name := filepath.Join(t.TempDir(), LogName)
	mark := stamp("sha256:aa", "sha256:bb")
	put(t, name, mark+"more\n")
	if !stamped(name, mark) || stamped(name, stamp("sha256:ab", "sha256:bb")) || stamped(name, stamp("sha256:aa", "sha256:bc")) || stamped(name+"x", mark) {
		t.Error("the stamp of another program or plan passes, or the own one does not")
	}
}

// TestComplete packs an archive of two binaries exactly once, whichever of them is ready last.
func TestComplete(t *testing.T) {
	a := plan.Archive{Binaries: []string{"binaries/a", "binaries/b"}}
	for _, order := range [][]string{{"binaries/a", "binaries/b"}, {"binaries/b", "binaries/a"}} {
		b := &builder{}
		packs := 0
		for _, name := range order {
			b.add(artifact.File{Path: name})
			if b.complete(a.Binaries, plan.Binary{Path: name}) {
				packs++
			}
		}
		// Both asking after both are there, as happens when they finish together: still once.
		again := 0
		for _, name := range order {
			if b.complete(a.Binaries, plan.Binary{Path: name}) {
				again++
			}
		}
		if packs != 1 || again != 1 {
			t.Errorf("%v: packed %d times, and %d where both finish together", order, packs, again)
		}
	}
}

func TestIsProgram(t *testing.T) {
	name := filepath.Join(t.TempDir(), "out")
	for text, want := range map[string]bool{"\x7fELF and more": true, "!<arch>\n__.PKGDEF": false, "": true} {
		put(t, name, text)
		if err := isProgram(name); (err == nil) != want {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func TestCheckFiles(t *testing.T) {
	dir := t.TempDir()
	put(t, dir+"/LICENSE", "x")
	put(t, dir+"/docs/a.md", "x")
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	p := plan.Plan{
		Licenses: []string{"LICENSE*", "COPYING*"},
		Archives: []plan.Archive{{Files: []string{"docs/*.md", "README*"}}},
		Images:   []plan.Image{{Files: map[string]string{"/etc/x": "docs/a.md"}}},
	}
	if err := CheckFiles(p, root); err != nil {
		t.Error(err)
	}
	p.Images[0].Files["/etc/y"] = "docs"
	p.Archives[0].Files = []string{"NOTICE"}
	if err := CheckFiles(p, root); err == nil || len(err.(interface{ Unwrap() []error }).Unwrap()) != 2 {
		t.Errorf("%v, want two errors", err)
	}
}
