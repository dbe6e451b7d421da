package filelock_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/slipway-build/slipway/pipeline/internal/filelock"
)

// A file is replaced, or left as it was, and nothing lies about afterwards.
func TestReplace(t *testing.T) {
	dir := t.TempDir()
	name := filepath.Join(dir, "file")
	for _, want := range []string{"first", "", "second"} {
		if err := filelock.Replace(dir, name, []byte(want)); err != nil {
			t.Fatal(err)
		}
		if got, err := os.ReadFile(name); err != nil || string(got) != want {
			t.Errorf("%q, %v", got, err)
		}
	}
	if err := os.Mkdir(filepath.Join(dir, "folder"), 0o700); err != nil {
		t.Fatal(err)
	}
	for in, to := range map[string]string{filepath.Join(dir, "none"): name, dir: filepath.Join(dir, "folder")} {
		if filelock.Replace(in, to, []byte("third")) == nil {
			t.Errorf("%s is replaced by a file in %s", to, in)
		}
	}
	if got, err := os.ReadFile(name); err != nil || string(got) != "second" {
		t.Errorf("%q, %v", got, err)
	}
	if all, err := os.ReadDir(dir); err != nil || len(all) != 2 {
		t.Errorf("there is %v, %v", all, err)
	}
}
