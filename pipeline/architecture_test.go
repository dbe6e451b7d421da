// Package pipeline_test holds the code to its architecture: which room may know which, what stays out of the small tool
// and what every package says of itself.
package pipeline_test

import (
	"encoding/json"
	"go/parser"
	"go/token"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/slipway-build/slipway/"

// rooms are the packages with all that each may import of ours. Data goes one way: whoever wants to add an arrow that
// is not here adds it here first, and says why in docs/architecture.md.
var rooms = map[string]string{
	"ci":          "pipeline/cli",
	"cmd/slipway": "pipeline/release/artifact pipeline/release/fault pipeline/trust/ledger pipeline/reproduce pipeline/scaffold pipeline/serve pipeline/trust/sign pipeline/trust/signature pipeline/verify",

	"pipeline/release/fault":    "",
	"pipeline/release/version":  "",
	"pipeline/release/artifact": "",
	"pipeline/build/certs":      "",
	"pipeline/present/progress": "",
	"pipeline/format/archive":   "pipeline/release/artifact",
	"images":                    "pipeline/release/artifact",
	"pipeline/source":           "pipeline/release/fault pipeline/release/version",
	"pipeline/config":           "images pipeline/release/artifact",
	"pipeline/release/manifest": "pipeline/release/artifact pipeline/release/version",
	"pipeline/trust/ledger":     "pipeline/release/artifact pipeline/release/fault pipeline/release/version",
	"pipeline/present/report":   "pipeline/release/artifact pipeline/release/manifest",
	"pipeline/plan": "images pipeline/release/artifact pipeline/release/artifacthub pipeline/config pipeline/release/fault pipeline/release/notes pipeline/format " +
		"pipeline/trust/signature pipeline/source pipeline/release/version",

	"pipeline/release/notes":       "pipeline/release/version",
	"pipeline/release/artifacthub": "pipeline/release/artifact pipeline/release/notes pipeline/release/version",

	"pipeline/format":        "pipeline/format/archive pipeline/release/artifact pipeline/release/version",
	"pipeline/format/brew":   "pipeline/release/artifact pipeline/release/fault pipeline/format",
	"pipeline/format/nupkg":  "pipeline/format/archive pipeline/release/artifact pipeline/format",
	"pipeline/format/scoop":  "pipeline/release/artifact pipeline/format",
	"pipeline/format/script": "pipeline/release/artifact pipeline/release/fault pipeline/format",
	"pipeline/format/winget": "pipeline/release/artifact pipeline/format",

	"pipeline/format/nfpm":     "pipeline/format/archive pipeline/release/artifact pipeline/format",
	"pipeline/format/deb":      "pipeline/format/archive pipeline/release/artifact pipeline/format pipeline/format/nfpm",
	"pipeline/format/rpm":      "pipeline/format/archive pipeline/release/artifact pipeline/format pipeline/format/nfpm",
	"pipeline/format/apk":      "pipeline/format/archive pipeline/release/artifact pipeline/format pipeline/format/nfpm",
	"pipeline/format/snap":     "pipeline/format/archive pipeline/release/artifact pipeline/format pipeline/format/squashfs",
	"pipeline/format/squashfs": "pipeline/format/archive pipeline/release/artifact",

	"pipeline/format/inspect":     "pipeline/release/artifact pipeline/release/fault",
	"pipeline/format/compare":     "pipeline/release/artifact pipeline/release/fault pipeline/format/inspect",
	"pipeline/build/sbom/osdb":    "",
	"pipeline/build/sbom":         "pipeline/release/artifact pipeline/build/sbom/osdb",
	"pipeline/release/provenance": "pipeline/release/artifact",
	"pipeline/trust/signature":    "pipeline/release/artifact pipeline/release/manifest",
	"pipeline/trust/keyless":      "pipeline/release/artifact pipeline/release/fault pipeline/trust/signature",
	"pipeline/trust/ephemeral":    "pipeline/release/artifact pipeline/release/fault pipeline/trust/keyless pipeline/trust/signature",
	"pipeline/trust/sign":         "pipeline/release/artifact pipeline/release/fault pipeline/release/manifest pipeline/release/provenance pipeline/trust/signature",

	"pipeline/build/engine":        "pipeline/release/fault pipeline/plan",
	"pipeline/build/engine/host":   "pipeline/build/engine pipeline/release/fault pipeline/plan",
	"pipeline/build/engine/dagger": "pipeline/build/certs pipeline/build/engine pipeline/release/fault pipeline/plan",

	"pipeline/build/oci":   "images pipeline/format/archive pipeline/release/artifact pipeline/build/certs pipeline/release/fault pipeline/plan",
	"pipeline/build/chart": "pipeline/format/archive pipeline/release/artifact pipeline/release/fault",
	"pipeline/verify": "pipeline/release/artifact pipeline/release/fault pipeline/format/inspect pipeline/trust/keyless pipeline/release/manifest pipeline/format pipeline/release/provenance " +
		"pipeline/trust/signature pipeline/release/version",
	"pipeline/reproduce": "pipeline/release/artifact pipeline/format/compare pipeline/release/fault pipeline/release/manifest pipeline/release/provenance pipeline/trust/signature pipeline/source " +
		"pipeline/verify pipeline/release/version",
	"pipeline/build": "pipeline/format/archive pipeline/release/artifact pipeline/build/certs pipeline/build/chart pipeline/build/engine pipeline/release/fault " +
		"pipeline/release/manifest pipeline/build/oci pipeline/format pipeline/format/apk pipeline/format/brew pipeline/format/deb pipeline/format/nupkg " +
		"pipeline/format/rpm pipeline/format/scoop pipeline/format/script pipeline/format/snap pipeline/format/squashfs pipeline/format/winget " +
		"pipeline/plan pipeline/present/progress pipeline/release/provenance pipeline/present/report pipeline/build/sbom pipeline/build/sbom/osdb pipeline/trust/signature pipeline/verify",

	"pipeline/publish":               "pipeline/release/artifact pipeline/release/fault pipeline/release/manifest pipeline/present/progress pipeline/publish/wire pipeline/trust/signature",
	"pipeline/publish/wire":          "pipeline/release/fault",
	"pipeline/publish/policy":        "pipeline/release/artifact pipeline/release/fault pipeline/release/manifest pipeline/publish/wire pipeline/release/version",
	"pipeline/publish/registry":      "pipeline/release/artifact pipeline/release/fault pipeline/release/manifest pipeline/publish pipeline/publish/wire pipeline/trust/signature pipeline/release/version",
	"pipeline/publish/folder":        "pipeline/release/artifact pipeline/release/fault pipeline/release/manifest pipeline/publish pipeline/publish/wire pipeline/trust/signature",
	"pipeline/publish/bucket":        "pipeline/release/artifact pipeline/release/fault pipeline/publish pipeline/publish/wire pipeline/trust/signature",
	"pipeline/publish/githubrelease": "pipeline/release/artifact pipeline/release/fault pipeline/release/manifest pipeline/publish pipeline/publish/wire pipeline/trust/signature pipeline/release/version",
	"pipeline/publish/chartrepo":     "pipeline/release/artifact pipeline/release/fault pipeline/release/manifest pipeline/publish pipeline/publish/wire pipeline/release/version",
	"pipeline/publish/tap":           "pipeline/release/artifact pipeline/release/fault pipeline/release/manifest pipeline/publish pipeline/publish/wire pipeline/release/version",
	"pipeline/publish/nuget":         "pipeline/release/artifact pipeline/release/fault pipeline/release/manifest pipeline/publish pipeline/publish/wire",
	"pipeline/publish/snapstore":     "pipeline/release/artifact pipeline/release/fault pipeline/release/manifest pipeline/publish pipeline/publish/wire pipeline/release/version",
	"pipeline/publish/announce":      "pipeline/release/artifact pipeline/release/fault pipeline/publish pipeline/publish/wire",

	"pipeline/serve":    "pipeline/release/artifact pipeline/release/fault pipeline/trust/ledger pipeline/release/manifest pipeline/trust/signature pipeline/release/version",
	"pipeline/scaffold": "images pipeline/release/artifact pipeline/config pipeline/release/fault",
	"pipeline/cli": "images pipeline/release/artifact pipeline/build pipeline/build/chart pipeline/config pipeline/build/engine " +
		"pipeline/publish pipeline/publish/announce pipeline/publish/bucket pipeline/publish/chartrepo pipeline/publish/folder " +
		"pipeline/publish/githubrelease pipeline/publish/nuget pipeline/publish/policy pipeline/publish/registry pipeline/publish/snapstore " +
		"pipeline/publish/tap pipeline/publish/wire " +
		"pipeline/build/engine/dagger pipeline/build/engine/host pipeline/release/fault pipeline/trust/keyless pipeline/trust/ephemeral pipeline/release/manifest pipeline/build/oci pipeline/plan " +
		"pipeline/present/progress pipeline/release/provenance pipeline/present/report pipeline/reproduce pipeline/scaffold pipeline/trust/sign pipeline/trust/signature pipeline/source " +
		"pipeline/verify pipeline/release/version",

	// Fixtures that the tests of several rooms share.
	"pipeline/fixture":              "",
	"pipeline/fixture/registrytest": "",
	"pipeline/fixture/releasetest":  "pipeline/publish pipeline/trust/sign pipeline/fixture/verifytest",
	"pipeline/fixture/githubtest":   "",
	"pipeline/fixture/gittest":      "",
	"pipeline/fixture/nugettest":    "",
	"pipeline/fixture/snaptest":     "",
	"pipeline/fixture/buckettest":   "",
	"pipeline/fixture/oidctest":     "",
	"pipeline/fixture/keylesstest":  "pipeline/release/artifact pipeline/trust/keyless pipeline/trust/signature",
	"pipeline/fixture/packagetest":  "pipeline/format/archive pipeline/release/artifact pipeline/format pipeline/release/version",
	"pipeline/fixture/verifytest": "pipeline/format/archive pipeline/release/artifact pipeline/release/manifest pipeline/format pipeline/format/apk pipeline/format/brew " +
		"pipeline/format/deb pipeline/format/nupkg pipeline/format/rpm pipeline/format/scoop pipeline/format/script pipeline/format/snap " +
		"pipeline/format/squashfs pipeline/format/winget pipeline/release/provenance pipeline/build/sbom pipeline/trust/sign pipeline/trust/signature pipeline/release/version",
}

// heavy are the modules that must not reach the small tool, which is compiled for every target.
var heavy = []string{"helm.sh/", "k8s.io/", "dagger.io/", "github.com/google/go-containerregistry", "github.com/sigstore/", "google.golang.org/"}

// maxPackages bounds what the small tool is compiled from, the standard library included: net/http alone is 185, 33 open the
// formats that verify looks into, and 20 rebuild a release and explain what differs.
const maxPackages = 285

type listed struct {
	ImportPath string
	Dir        string
	Standard   bool
	Imports    []string
	GoFiles    []string
}

func list(t *testing.T, args ...string) []listed {
	t.Helper()
	cmd := exec.Command("go", append([]string{"list", "-json=ImportPath,Dir,Standard,Imports,GoFiles"}, args...)...)
	cmd.Dir = ".."
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var all []listed
	for dec := json.NewDecoder(out); ; {
		var p listed
		if err := dec.Decode(&p); err == io.EOF {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		all = append(all, p)
	}
	if err := cmd.Wait(); err != nil {
		t.Fatal(err)
	}
	return all
}

func TestRooms(t *testing.T) {
	seen := map[string]bool{}
	for _, p := range list(t, "./...") {
		room := strings.TrimPrefix(p.ImportPath, module)
		if len(p.GoFiles) == 0 {
			continue // tests alone
		}
		seen[room] = true
		allowed, known := rooms[room]
		if !known {
			t.Errorf("%s is a new room: say in this test what it may import", room)
			continue
		}
		for _, imp := range p.Imports {
			if ours, ok := strings.CutPrefix(imp, module); ok && !slices.Contains(strings.Fields(allowed), ours) {
				t.Errorf("%s may not import %s", room, ours)
			}
			if strings.HasPrefix(imp, "dagger.io/") && room != "pipeline/build/engine/dagger" {
				t.Errorf("%s imports the Dagger SDK, which stays in pipeline/build/engine/dagger", room)
			}
			if slices.Contains([]string{"compress/gzip", "compress/flate", "compress/zlib"}, imp) && !slices.Contains(readers, room) {
				t.Errorf("%s imports %s: what is written into a release is compressed by the pinned library", room, imp)
			}
		}
	}
	for room := range rooms {
		if !seen[room] {
			t.Errorf("%s is in this test and nowhere else", room)
		}
	}
}

// readers are the rooms that decompress and never compress.
var readers = []string{"pipeline/serve", "pipeline/build/chart", "pipeline/format/inspect", "pipeline/format/compare"}

func TestSmallToolStaysSmall(t *testing.T) {
	deps := list(t, "-deps", "./cmd/slipway")
	if len(deps) > maxPackages {
		t.Errorf("cmd/slipway is compiled from %d packages, more than %d, for every target", len(deps), maxPackages)
	}
	for _, p := range deps {
		for _, h := range heavy {
			if strings.HasPrefix(p.ImportPath, h) {
				t.Errorf("cmd/slipway depends on %s", p.ImportPath)
			}
		}
	}
}

func TestPackageComments(t *testing.T) {
	for _, p := range list(t, "./...") {
		found := len(p.GoFiles) == 0
		for _, name := range p.GoFiles {
			f, err := parser.ParseFile(token.NewFileSet(), filepath.Join(p.Dir, name), nil, parser.ParseComments|parser.PackageClauseOnly)
			if err != nil {
				t.Fatal(err)
			}
			text := f.Doc.Text()
			found = found || strings.HasPrefix(text, "Package ") || strings.HasPrefix(text, "Command ")
		}
		if !found {
			t.Errorf("%s has no package comment", p.ImportPath)
		}
	}
}
