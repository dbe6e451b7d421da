// Package pipeline_test holds the code to its architecture: which room may know which, what stays out of the small tool
// and what every package says of itself.
package pipeline_test

import (
	"bytes"
	"encoding/json"
	"go/ast"
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

// districts are the folders below pipeline/, and the three beside it, with all that each may import of the others. An arrow
// goes down only. One that is here and not in the code is removed here, so that this table is the picture of the code.
var districts = map[string]string{
	"ci": "cli", "images": "release", "cmd": "config environment platform present release reproduce scaffold serve trust verify",
	"cli":         "build config environment format images internal plan platform present publish release reproduce scaffold source trust verify",
	"build":       "format images internal plan platform present release trust verify",
	"plan":        "config format images internal platform release source trust",
	"reproduce":   "format internal release source trust verify",
	"scaffold":    "config format git images internal release",
	"platform":    "git internal release reproduce source trust verify",
	"publish":     "environment format git internal present release trust",
	"verify":      "format internal release trust",
	"environment": "git internal release trust verify",
	"config":      "format images internal release trust",
	"serve":       "environment format git internal platform release trust",

	"format": "internal release", "trust": "git internal release", "present": "internal release", "source": "git internal release",
	"git":     "internal release",
	"release": "internal", "internal": "",
	"fixture": "build format publish release trust",
}

// maxShare bounds a district: above it, it is two.
const maxShare = 0.20

// rooms are the packages with all that each may import of ours; a path is below pipeline/, but for ci, cmd and images. Data
// goes one way: whoever wants to add an arrow that is not here adds it here first, and says why in docs/architecture.md.
var rooms = map[string]string{
	"ci":          "cli",
	"cmd/slipway": "config environment environment/admit environment/index environment/pull environment/store platform/lifecycle platform/resolve present/cmdline release/artifact release/composition release/fault release/version reproduce scaffold serve trust/ledger trust/sign trust/signature trust/tuf verify",
	"images":      "release/artifact",

	"build": "build/certs build/chart build/engine build/oci build/sbom build/sbom/osdb format format/archive format/writers " +
		"internal/bounded internal/words plan present/progress present/report release/artifact release/composition release/fault release/manifest " +
		"release/notes release/provenance trust/signature verify",
	"build/bake": "build/engine build/layertar build/oci build/sbom build/sbom/osdb format/archive internal/bounded internal/canonjson plan platform platform/inventory release/artifact " +
		"release/fault",
	"build/certs":         "",
	"build/chart":         "format/archive internal/bounded internal/canonjson internal/web release/artifact release/fault",
	"build/engine":        "internal/gocommand plan release/fault",
	"build/engine/dagger": "build/certs build/engine internal/gocommand plan release/fault",
	"build/engine/host":   "build/engine internal/gocommand plan release/fault",
	"build/oci":           "build/certs format/archive images internal/bounded internal/canonjson internal/web plan release/artifact release/fault",
	"build/sbom":          "build/sbom/osdb internal/canonjson release/artifact",
	"build/layertar":      "",
	"build/sbom/osdb":     "build/layertar",

	"cli": "build build/bake build/chart build/engine build/engine/dagger build/engine/host build/oci build/sbom config environment environment/admit environment/pull environment/store format images internal/bounded internal/filelock " +
		"internal/canonjson internal/github internal/gocommand internal/words plan platform platform/assemble platform/branch platform/class platform/lifecycle platform/osv platform/proposal platform/resolve platform/supply present/cmdline present/progress present/report publish publish/announce publish/bucket " +
		"publish/chartrepo publish/folder publish/githubrelease publish/names publish/nuget publish/packages publish/policy publish/registry publish/snapstore " +
		"publish/tap publish/wire release/artifact release/fault release/manifest release/provenance release/version reproduce " +
		"scaffold source trust/ephemeral trust/keyless trust/openpgp trust/sign trust/signature verify",

	"config": "format images internal/canonjson internal/web internal/yamldoc release/artifact trust/signature",

	"fixture":              "release/fault",
	"fixture/browsertest":  "",
	"fixture/buckettest":   "",
	"fixture/canarytest":   "",
	"fixture/earlier":      "",
	"fixture/githubtest":   "",
	"fixture/gittest":      "",
	"fixture/memorytest":   "fixture",
	"fixture/moduletest":   "",
	"fixture/keylesstest":  "trust/signature",
	"fixture/nugettest":    "",
	"fixture/oidctest":     "",
	"fixture/packagetest":  "fixture/memorytest format format/archive release/artifact release/version",
	"fixture/registrytest": "",
	"fixture/rsatest":      "trust/sign trust/signature",
	"fixture/releasetest":  "fixture/verifytest publish trust/sign",
	"fixture/snaptest":     "",
	"fixture/verifytest": "build/sbom format format/archive format/writers release/artifact release/composition release/manifest release/provenance " +
		"release/version",

	"environment":       "internal/canonjson internal/together internal/yamldoc release/artifact release/fault release/version",
	"environment/admit": "environment release/artifact release/fault release/manifest trust/keyless trust/signature verify",
	"environment/index": "environment environment/store git git/branch internal/bounded internal/canonjson internal/filelock release/artifact release/fault " +
		"trust/signature trust/tuf",
	"environment/pull":  "internal/github internal/web release/fault",
	"environment/store": "environment git git/branch internal/canonjson release/artifact release/fault trust/signature",

	"format":          "format/archive release/artifact release/manifest release/version",
	"format/apk":      "format format/archive format/payload release/artifact",
	"format/archive":  "release/artifact",
	"format/brew":     "format release/artifact release/fault",
	"format/compare":  "format format/inspect internal/bounded release/artifact release/fault",
	"format/deb":      "format format/archive format/payload release/artifact",
	"format/inspect":  "internal/bounded internal/canonjson release/artifact release/fault",
	"format/nupkg":    "format format/archive",
	"format/payload":  "format format/archive release/artifact",
	"format/rpm":      "format format/archive format/payload release/artifact",
	"format/scoop":    "format",
	"format/script":   "format release/artifact release/fault",
	"format/snap":     "format format/archive format/squashfs internal/bounded",
	"format/squashfs": "format/archive release/artifact",
	"format/winget":   "format release/artifact",
	"format/writers":  "format format/apk format/brew format/deb format/nupkg format/rpm format/scoop format/script format/snap format/squashfs format/winget",

	"git":        "release/artifact release/fault",
	"git/branch": "git git/smart internal/filelock internal/web release/fault",
	"git/packet": "",
	"git/smart":  "git git/packet internal/web",
	"git/upload": "git/packet",

	"internal/bounded":   "",
	"internal/canonjson": "",
	"internal/filelock":  "",
	"internal/gocommand": "",
	"internal/github":    "internal/bounded internal/canonjson internal/web",
	"internal/together":  "",
	"internal/web":       "",
	"internal/words":     "",
	"internal/yamldoc":   "",

	"plan": "config format images internal/canonjson internal/words platform platform/lifecycle release/artifact release/artifacthub release/composition release/fault release/notes " +
		"release/version source trust/signature",

	"present/cmdline":  "internal/words release/fault",
	"present/progress": "internal/words",
	"present/report":   "internal/canonjson internal/words release/artifact release/manifest",

	"publish": "internal/bounded internal/canonjson internal/filelock present/progress publish/wire " +
		"release/artifact release/fault release/manifest trust/signature",
	"publish/announce": "internal/bounded internal/canonjson internal/web publish publish/wire release/artifact release/fault",
	"publish/bucket":   "internal/bounded internal/web publish publish/wire release/artifact release/fault trust/signature",
	"publish/chartrepo": "git git/branch internal/bounded internal/web publish publish/wire release/artifact release/fault " +
		"release/manifest",
	"publish/folder": "publish publish/wire release/artifact release/fault release/manifest trust/signature",
	"publish/githubrelease": "format internal/bounded internal/github internal/web publish publish/wire release/artifact " +
		"release/fault release/manifest release/version trust/signature",
	"release/composition": "internal/canonjson release/artifact release/version",
	"platform":            "internal/yamldoc release/artifact release/composition release/fault release/version",
	"platform/resolve":    "git internal/bounded internal/canonjson platform platform/lifecycle release/artifact release/composition release/fault release/manifest release/version reproduce source trust/signature verify",
	"platform/lifecycle":  "internal/canonjson internal/yamldoc platform release/artifact release/fault release/version",
	"platform/assemble":   "internal/bounded internal/filelock platform platform/resolve release/fault release/version reproduce/rerun source verify",
	"platform/supply":     "internal/bounded release/artifact release/composition release/fault release/manifest reproduce verify",
	"platform/proposal":   "git release/fault source",
	"platform/osversion":  "",
	"platform/osv":        "internal/bounded internal/canonjson platform/inventory platform/osversion release/fault",
	"platform/inventory":  "internal/canonjson",
	"platform/change":     "git internal/bounded platform/inventory release/artifact release/fault release/manifest",
	"platform/class":      "internal/bounded internal/gocommand platform platform/change platform/inventory platform/lifecycle platform/osversion platform/resolve release/artifact release/composition release/fault release/manifest release/version reproduce source verify",
	"platform/branch":     "git internal/bounded internal/filelock internal/words platform release/fault release/version source",

	"publish/names": "environment publish publish/wire release/artifact release/fault release/version",
	"publish/nuget": "format internal/web publish publish/wire release/artifact release/fault release/manifest",
	"publish/packages": "environment format format/archive format/inspect internal/bounded internal/canonjson internal/filelock publish/bucket release/artifact " +
		"release/fault release/manifest trust/openpgp trust/signature",
	"publish/policy": "internal/bounded internal/canonjson internal/web internal/words publish/wire release/artifact " +
		"release/fault release/manifest release/version",
	"publish/registry": "internal/bounded internal/canonjson internal/web publish publish/wire release/artifact release/fault " +
		"release/manifest release/version trust/signature",
	"publish/snapstore": "format internal/bounded internal/canonjson internal/web publish publish/wire release/artifact " +
		"release/fault release/manifest release/version",
	"publish/tap": "format internal/bounded internal/canonjson internal/github publish publish/wire release/artifact " +
		"release/fault release/manifest release/version",
	"publish/wire": "internal/bounded internal/github internal/web release/fault",

	"release/artifact":    "internal/words",
	"release/artifacthub": "release/artifact release/notes release/version",
	"release/fault":       "",
	"release/manifest": "git/branch internal/bounded internal/canonjson release/artifact release/fault " +
		"release/version",
	"release/notes":      "release/version",
	"release/provenance": "internal/canonjson release/artifact",
	"release/version":    "",

	"reproduce": "format format/compare internal/bounded internal/canonjson internal/filelock internal/github internal/web internal/words " +
		"release/artifact release/fault release/manifest release/provenance release/version reproduce/rerun source " +
		"trust/signature verify",

	"reproduce/rerun": "internal/bounded internal/gocommand release/fault",
	"scaffold":        "config format git images internal/bounded internal/words internal/yamldoc release/artifact release/fault",

	"serve": "environment/index environment/store format internal/bounded internal/canonjson internal/together internal/words platform/lifecycle release/artifact release/composition release/fault release/manifest release/provenance " +
		"release/version serve/environments trust/ledger trust/signature",
	"serve/environments": "environment environment/index environment/store git/upload internal/bounded internal/together release/artifact release/fault release/version",

	"source": "git internal/bounded internal/words release/fault release/version",

	"trust/ephemeral": "internal/bounded internal/canonjson internal/web release/fault trust/keyless trust/signature",
	"trust/keyless":   "internal/canonjson release/artifact release/fault trust/signature",
	"trust/ledger": "git/branch internal/bounded internal/canonjson internal/filelock release/artifact " +
		"release/fault release/version",
	"trust/openpgp": "trust/signature",
	"trust/sign": "internal/bounded internal/canonjson release/artifact release/fault release/manifest release/provenance " +
		"trust/signature",
	"trust/signature": "internal/bounded internal/canonjson release/artifact release/manifest",
	"trust/tuf":       "internal/bounded internal/canonjson internal/filelock release/artifact release/fault trust/signature",

	"verify": "format format/inspect internal/bounded internal/canonjson release/artifact release/composition release/fault release/manifest " +
		"release/provenance release/version trust/keyless trust/signature",
}

// heavy are the modules that must not reach the small tool, which is compiled for every target.
var heavy = []string{
	"helm.sh/", "k8s.io/", "dagger.io/", "google.golang.org/", "github.com/google/go-containerregistry", "github.com/google/go-github",
	"github.com/goreleaser/", "github.com/minio/", "github.com/sigstore/", "golang.org/x/tools/", "golang.org/x/exp/",
}

// maxPackages bounds what a program is compiled from that is not ours: modules, and of the standard library what anybody may import,
// since what it keeps to itself is other packages with each release of Go. The small tool is compiled for every target; the
// pipeline is what the first command of a newcomer compiles, the type checker that platform check compares packages with included. How many rooms our own code is in makes no difference.
var maxPackages = map[string]int{"cmd/slipway": 152, "ci": 595}

type listed struct {
	ImportPath string
	Dir        string
	Standard   bool
	Imports    []string
	GoFiles    []string
}

// lists are what was listed, by the arguments: each test asks for much the same.
var lists = map[string][]listed{}

func list(t *testing.T, args ...string) []listed {
	t.Helper()
	if all, ok := lists[strings.Join(args, " ")]; ok {
		return all
	}
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
	lists[strings.Join(args, " ")] = all
	return all
}

// roomOf is the room of a package of ours, as the tables name it.
func roomOf(importPath string) string {
	return strings.TrimPrefix(strings.TrimPrefix(importPath, module), "pipeline/")
}

// districtOf is the first part of a room's name.
func districtOf(room string) string {
	district, _, _ := strings.Cut(room, "/")
	return district
}

// arrows are the imports between districts, and lines the lines of code in each, tests left out.
func arrows(t *testing.T) (arrows map[string]map[string]bool, lines map[string]int) {
	t.Helper()
	arrows, lines = map[string]map[string]bool{}, map[string]int{}
	for _, p := range list(t, "./...") {
		if len(p.GoFiles) == 0 {
			continue // tests alone
		}
		from := districtOf(roomOf(p.ImportPath))
		if arrows[from] == nil {
			arrows[from] = map[string]bool{}
		}
		for _, imp := range p.Imports {
			if to := districtOf(roomOf(imp)); strings.HasPrefix(imp, module) && to != from {
				arrows[from][to] = true
			}
		}
		for _, name := range p.GoFiles {
			b, err := os.ReadFile(filepath.Join(p.Dir, name))
			if err != nil {
				t.Fatal(err)
			}
			lines[from] += bytes.Count(b, []byte("\n"))
		}
	}
	return arrows, lines
}

func TestDistricts(t *testing.T) {
	arrows, lines := arrows(t)
	total := 0
	for _, n := range lines {
		total += n
	}
	for from, to := range arrows {
		allowed, known := districts[from]
		if !known {
			t.Errorf("%s is a new district: say in this test what it may import", from)
		}
		for district := range to {
			if !slices.Contains(strings.Fields(allowed), district) {
				t.Errorf("%s may not import %s", from, district)
			}
		}
		if share := float64(lines[from]) / float64(total); share > maxShare {
			t.Errorf("%s has %.1f %% of the lines, more than %.0f %%: it is two districts", from, 100*share, 100*maxShare)
		}
	}
	for from, allowed := range districts {
		for district := range strings.FieldsSeq(allowed) {
			if !arrows[from][district] {
				t.Errorf("%s no longer imports %s; take it out of this test", from, district)
			}
		}
	}
	floors(t)
}

// floors are the districts in which no arrow of the table goes up: a district stands one floor above the highest that it
// imports. A circle of districts has no floor, and fails the test.
func floors(t *testing.T) map[string]int {
	t.Helper()
	floor := map[string]int{}
	for len(floor) < len(districts) {
		placed := len(floor)
		for name, below := range districts {
			if _, ok := floor[name]; ok {
				continue
			}
			at := 1
			for b := range strings.FieldsSeq(below) {
				if floor[b] == 0 {
					at = 0
					break
				}
				at = max(at, floor[b]+1)
			}
			if at > 0 {
				floor[name] = at
			}
		}
		if len(floor) == placed {
			t.Fatalf("of %d districts %d import each other in a circle", len(districts), len(districts)-placed)
		}
	}
	return floor
}

func TestRooms(t *testing.T) {
	seen := map[string]bool{}
	for _, p := range list(t, "./...") {
		room := roomOf(p.ImportPath)
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
			if strings.HasPrefix(imp, module) && !slices.Contains(strings.Fields(allowed), roomOf(imp)) {
				t.Errorf("%s may not import %s", room, roomOf(imp))
			}
			if strings.HasPrefix(imp, "dagger.io/") && room != "build/engine/dagger" {
				t.Errorf("%s imports the Dagger SDK, which stays in build/engine/dagger", room)
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
var readers = []string{"build/bake", "build/layertar", "serve", "serve/environments", "build/chart", "format/inspect", "format/compare", "platform/class"}

func TestProgramsStaySmall(t *testing.T) {
	for program, most := range maxPackages {
		others := 0
		for _, p := range list(t, "-deps", "./"+program) {
			parts := strings.Split(p.ImportPath, "/")
			if !strings.HasPrefix(p.ImportPath, module) && !(p.Standard && (slices.Contains(parts, "internal") || parts[0] == "vendor")) {
				others++
			}
			for _, h := range heavy {
				if program == "cmd/slipway" && strings.HasPrefix(p.ImportPath, h) {
					t.Errorf("%s depends on %s", program, p.ImportPath)
				}
			}
		}
		if others > most {
			t.Errorf("%s is compiled from %d packages that are not ours, more than %d", program, others, most)
		}
	}
}

// pure are the rooms, each with all below it, whose results become bytes of a release: they are given what they may know of the
// machine. Rooms that only carry a release or tell of it have clocks of their own, to wait and to journal.
var pure = []string{"images", "config", "plan", "format", "release", "build/oci", "build/chart", "build/sbom", "build/certs"}

// TestPure keeps the clock, the environment, the host and chance out of the rooms that releases are made in.
func TestPure(t *testing.T) {
	read := []string{
		"time.Now", "time.Since", "os.Getenv", "os.LookupEnv", "os.Environ", "os.ExpandEnv", "os.Hostname", "os.Getwd", "os.UserHomeDir",
	}
	checked := 0
	for _, p := range list(t, "./...") {
		room := roomOf(p.ImportPath)
		if !slices.ContainsFunc(pure, func(r string) bool { return room == r || strings.HasPrefix(room, r+"/") }) {
			continue
		}
		checked++
		for _, imp := range p.Imports {
			if imp == "crypto/rand" || strings.HasPrefix(imp, "math/rand") {
				t.Errorf("%s imports %s: a release leaves nothing to chance", room, imp)
			}
		}
		for _, name := range p.GoFiles {
			files := token.NewFileSet()
			f, err := parser.ParseFile(files, filepath.Join(p.Dir, name), nil, parser.SkipObjectResolution)
			if err != nil {
				t.Fatal(err)
			}
			ast.Inspect(f, func(n ast.Node) bool {
				if s, ok := n.(*ast.SelectorExpr); ok {
					if x, ok := s.X.(*ast.Ident); ok && slices.Contains(read, x.Name+"."+s.Sel.Name) {
						t.Errorf("%s: %s.%s: what a release is made in is told what it may know of the machine", files.Position(n.Pos()), x.Name, s.Sel.Name)
					}
				}
				return true
			})
		}
	}
	if checked < len(pure) {
		t.Errorf("of %d rooms only %d are there", len(pure), checked)
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

// TestBounded holds every whole read of what has a bound to package bounded, which tells what is cut from what is whole.
func TestBounded(t *testing.T) {
	for _, p := range list(t, "./...") {
		for _, name := range p.GoFiles {
			b, err := os.ReadFile(filepath.Join(p.Dir, name))
			if err != nil {
				t.Fatal(err)
			}
			room := roomOf(p.ImportPath)
			if bytes.Contains(b, []byte("ReadAll(io.LimitReader")) && !slices.Contains([]string{"fixture", "cmd"}, districtOf(room)) && room != "internal/bounded" {
				t.Errorf("%s/%s reads a limit of its own; see pipeline/internal/bounded", room, name)
			}
		}
	}
}
