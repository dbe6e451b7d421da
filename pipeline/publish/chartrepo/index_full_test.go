//go:build full

package chartrepo

import (
	"os"
	"path/filepath"
	"testing"

	"helm.sh/helm/v3/pkg/repo"
)

// indexed are the versions of each chart that Helm finds in an index.
func indexed(t *testing.T, index []byte) (map[string][]string, error) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "index.yaml")
	if err := os.WriteFile(file, index, 0o644); err != nil {
		t.Fatal(err)
	}
	read, err := repo.LoadIndexFile(file)
	if err != nil {
		return nil, err
	}
	versions := map[string][]string{}
	for name, list := range read.Entries {
		for _, v := range list {
			versions[name] = append(versions[name], v.Version)
		}
	}
	return versions, nil
}
