//go:build full

package packages_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/slipway-build/slipway/pipeline/publish/packages"
)

// TestDNF has dnf read the indexes and fetch a package.
func TestDNF(t *testing.T) {
	if _, err := exec.LookPath("dnf"); err != nil {
		t.Skip("dnf is not here")
	}
	s := newSite(t)
	s.wants(s.stage(1, s.release("hello", "1.0.0-rc.1")), "there are none")
	dir := t.TempDir()
	dnf := func(key string, args ...string) (string, error) {
		url := s.serve()
		repo := fmt.Sprintf("[main]\ncachedir=%s/cache\nlogdir=%[1]s\nreposdir=%[1]s/none\npluginpath=%[1]s/none\n[production]\nname=production\nbaseurl=%s/rpm/production\nenabled=1\ngpgcheck=0\nrepo_gpgcheck=1\ngpgkey=%s\n", dir, url, url+"/"+key)
		must(t, os.WriteFile(filepath.Join(dir, "dnf.conf"), []byte(repo), 0o644))
		return run(dir, "dnf", append([]string{"-c", filepath.Join(dir, "dnf.conf"), "--installroot", filepath.Join(dir, "root"), "--releasever", "1", "--forcearch", "x86_64", "-y"}, args...)...)
	}
	if out, err := dnf(packages.KeyFile, "install", "--downloadonly", "--downloaddir", dir, "hello"); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	same(t, filepath.Join(dir, "hello-1.0.0.rc.1-1.x86_64.rpm"), filepath.Join(s.dir, "releases/hello/1.0.0-rc.1/packages/hello-1.0.0.rc.1-1.x86_64.rpm"))
	if out, err := dnf(packages.KeyFile, "repoquery", "--list", "hello"); err != nil || !strings.Contains(out, "/usr/bin/hello") {
		t.Errorf("%v\n%s", err, out)
	}
	public, err := key(t, "other").Public()
	must(t, err)
	must(t, os.WriteFile(filepath.Join(s.dir, "other.asc"), public, 0o644))
	must(t, os.RemoveAll(filepath.Join(dir, "cache")))
	must(t, os.RemoveAll(filepath.Join(dir, "root")))
	if out, err := dnf("other.asc", "repoquery", "hello"); err == nil {
		t.Errorf("%s", out)
	}
}
