package environments

import (
	"archive/tar"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/slipway-build/slipway/pipeline/internal/bounded"
)

// maxPackages is how many bytes an index of packages has at most.
const maxPackages = 64 << 20

// What is in a folder of indexes of packages: the key that signed those of apt and dnf, and below the name of an environment those of apt,
// of dnf and of apk, with a key.
const (
	keyFile  = "packages.asc"
	aptDir   = "dists"
	dnfDir   = "rpm"
	apkDir   = "apk"
	apkIndex = "x86_64/APKINDEX.tar.gz"
)

// packageKinds are what is known of the files by how their names end.
var packageKinds = map[string]string{".gz": "application/gzip", ".xml": "application/xml"}

// packages answers with a file of the indexes of packages, which whoever has their key has written and signed. They name packages by their
// address below the environment.
func (s *Site) packages(v *view, name string) (Answer, error) {
	if s.o.Packages == "" || !packaged(v.stage.Name, name) {
		return Answer{}, errNotFound
	}
	root, err := os.OpenRoot(s.o.Packages)
	if err != nil {
		return Answer{}, err
	}
	defer root.Close()
	if to, err := root.Readlink(name); err == nil && strings.HasPrefix(name, apkDir+"/") {
		// A package under the name that apk has for it, wherever its release is.
		of, ok := strings.CutPrefix(path.Join(path.Dir(name), filepath.ToSlash(to)), "releases/")
		if !ok {
			return Answer{}, errNotFound
		}
		return s.download(v, of)
	}
	if info, err := root.Stat(name); errors.Is(err, fs.ErrNotExist) || err == nil && !info.Mode().IsRegular() {
		return Answer{}, errNotFound
	}
	b, err := bounded.FS(root.FS(), name, maxPackages)
	kind := "text/plain; charset=utf-8"
	for ending, is := range packageKinds {
		if strings.HasSuffix(name, ending) {
			kind = is
		}
	}
	return Answer{Kind: kind, Body: b}, err
}

// packaged tells the files of an environment.
func packaged(stage, name string) bool {
	if name == keyFile {
		return true
	}
	return !strings.Contains(name, "/.") && !strings.HasSuffix(name, "/") &&
		(strings.HasPrefix(name, aptDir+"/"+stage+"/") || strings.HasPrefix(name, dnfDir+"/"+stage+"/repodata/") || strings.HasPrefix(name, apkDir+"/"+stage+"/"))
}

// apkKey is the name of the key that signed an index, which is that of its first entry; "" where that cannot be read.
func (s *Site) apkKey(stage string) string {
	root, err := os.OpenRoot(s.o.Packages)
	if err != nil {
		return ""
	}
	defer root.Close()
	f, err := root.Open(apkDir + "/" + stage + "/" + apkIndex)
	if err != nil {
		return ""
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		return ""
	}
	h, err := tar.NewReader(io.LimitReader(z, 1<<10)).Next()
	if err != nil {
		return ""
	}
	name, ok := strings.CutPrefix(h.Name, ".SIGN.RSA256.")
	if !ok || !plainName.MatchString(name) {
		return ""
	}
	return name
}

// packageCommands have apt, dnf and apk use an environment, by title; none where it has no indexes.
func (s *Site) packageCommands(v *view, base string) (all [][2]string) {
	stage := v.stage.Name
	there := func(name string) bool {
		if s.o.Packages == "" {
			return false
		}
		root, err := os.OpenRoot(s.o.Packages)
		if err != nil {
			return false
		}
		defer root.Close()
		_, err = root.Stat(name)
		return err == nil
	}
	if there(aptDir + "/" + stage + "/InRelease") {
		keyring := "/etc/apt/keyrings/slipway-" + stage + ".asc"
		all = append(all, [2]string{"Debian and Ubuntu", fmt.Sprintf(
			"curl -fsSL %[1]s%[2]s | sudo tee %[3]s >/dev/null\necho 'deb [signed-by=%[3]s] %[1]s %[4]s main' | sudo tee /etc/apt/sources.list.d/slipway-%[4]s.list\nsudo apt-get update", base, keyFile, keyring, stage)})
	}
	if there(dnfDir + "/" + stage + "/repodata/repomd.xml.asc") {
		all = append(all, [2]string{"Fedora, RHEL and others with dnf", fmt.Sprintf(
			"printf '%%s\\n' '[slipway-%[1]s]' name=slipway-%[1]s baseurl=%[2]s%[3]s/%[1]s gpgcheck=0 repo_gpgcheck=1 gpgkey=%[2]s%[4]s | sudo tee /etc/yum.repos.d/slipway-%[1]s.repo", stage, base, dnfDir, keyFile)})
	}
	if key := s.apkKey(stage); key != "" {
		all = append(all, [2]string{"Alpine, as root", fmt.Sprintf(
			"wget -P /etc/apk/keys %[1]s%[2]s/%[3]s/%[4]s\necho %[1]s%[2]s/%[3]s >>/etc/apk/repositories\napk update", base, apkDir, stage, key)})
	}
	return all
}
