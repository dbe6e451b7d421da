package pipeline_test

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestSecurityDocument holds docs/security.md and docs/environments.md to what they say: each test that they name is there.
func TestSecurityDocument(t *testing.T) {
	var doc []byte
	for _, name := range []string{"security", "environments"} {
		b, err := os.ReadFile("../docs/" + name + ".md")
		if err != nil {
			t.Fatal(err)
		}
		doc = append(doc, b...)
	}
	named := regexp.MustCompile("`([a-z0-9/]+)\\.((?:Test|Fuzz)[A-Za-z0-9]+)(?:/([a-z_]+))?`").FindAllStringSubmatch(string(doc), -1)
	if len(named) < 30 {
		t.Errorf("it names %d tests", len(named))
	}
	for _, m := range named {
		dir, script := m[1], m[3]
		if strings.HasPrefix(dir, "cmd/") {
			dir = "../" + dir
		}
		files, err := filepath.Glob(dir + "/*_test.go")
		if err != nil {
			t.Fatal(err)
		}
		found := false
		for _, f := range files {
			b, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			found = found || bytes.Contains(b, []byte("\nfunc "+m[2]+"("))
		}
		if script != "" && found {
			_, err := os.Stat(dir + "/testdata/" + script + ".txtar")
			found = err == nil
		}
		if !found {
			t.Errorf("there is no %s", m[0])
		}
	}
}
