package scaffold

import (
	"context"
	"errors"
	"fmt"
	"go/ast"
	"go/build/constraint"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
	"golang.org/x/mod/modfile"

	"github.com/slipway-build/slipway/pipeline/config"
	"github.com/slipway-build/slipway/pipeline/internal/bounded"
	"github.com/slipway-build/slipway/pipeline/release/fault"
)

// Bounds of a repository that is looked at.
const (
	maxEntries  = 500_000
	maxDepth    = 40
	maxFileSize = 1 << 20 // bytes of one file that is read
)

// survey is what a repository has.
type survey struct {
	root        *os.Root
	modules     []*goModule // by folder, the root's first
	mains       []*mainPackage
	charts      []chart
	dockerfiles []string
	licence     string // SPDX expression
	description string
	goreleaser  string                                     // path of its configuration
	workspace   string                                     // path of the go.work that applies to the repository
	goDirs      []string                                   // folders with Go files
	manuals     []string                                   // pages of the manual
	completions []string                                   // files where completion scripts are kept
	units       []unit                                     // units of systemd
	lfs         bool                                       // files go through the filter of Git LFS
	changelog   string                                     // path of the changelog
	versionVars map[*goModule][]map[string]config.Template // of packages that hold nothing but the version
	notes       []string
}

// goModule is a Go module of the repository.
type goModule struct {
	dir, path            string
	goVersion, toolchain string
}

// mainPackage is a program.
type mainPackage struct {
	dir    string
	module *goModule
	vars   map[string]config.Template
	runs   bool // has a main function on a platform that Slipway builds for
}

type chart struct {
	dir          string
	dependencies int
}

// lfsAttribute is a line of attributes that sends files through Git LFS (https://git-scm.com/docs/gitattributes).
var lfsAttribute = regexp.MustCompile(`(?m)^[^#\n].*\sfilter=lfs(?:\s|$)`)

// skipped are folders that hold nothing of a release, by name.
var skipped = []string{"testdata", "vendor", "node_modules", "third_party", "examples", "example", "dist"}

// aside are folders whose programs are the project's own tools more often than what it releases.
var aside = []string{"hack", "tools", "tool", "test", "tests", "e2e", "scripts", "script", "docs", "internal", "magefiles", "build", "ci"}

func skipDir(name string) bool {
	return strings.HasPrefix(name, "_") || strings.HasPrefix(name, ".") || slices.Contains(skipped, name)
}

// look reads the repository. Symbolic links are not followed, and nothing outside of the root is read but the names of
// the go.work files above it.
func look(ctx context.Context, root *os.Root) (*survey, error) {
	s := &survey{root: root, versionVars: map[*goModule][]map[string]config.Template{}}
	packages := map[string][]string{} // Go files by folder
	entries := 0
	err := fs.WalkDir(root.FS(), ".", func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case ctx.Err() != nil:
			return ctx.Err()
		}
		if entries++; entries > maxEntries {
			return fault.Errorf(fault.Usage, "the repository has more than %d files and folders", maxEntries)
		}
		base := path.Base(name)
		if d.IsDir() {
			if name != "." && (skipDir(base) || strings.Count(name, "/") >= maxDepth) {
				return fs.SkipDir
			}
			if own, err := s.module(name); err != nil {
				return err
			} else if own {
				return fs.SkipDir
			}
			if c, ok := s.chart(name); ok {
				s.charts = append(s.charts, c)
				return fs.SkipDir
			}
			return nil
		}
		if !d.Type().IsRegular() {
			return nil
		}
		s.installed(name)
		dir := path.Dir(name)
		switch {
		case base == ".gitattributes":
			b, err := s.read(name)
			s.lfs = s.lfs || err == nil && lfsAttribute.Match(b)
		case isDockerfile(base):
			s.dockerfiles = append(s.dockerfiles, name)
		case strings.HasSuffix(base, ".go") && !strings.HasSuffix(base, "_test.go") && !strings.HasPrefix(base, "_") && !strings.HasPrefix(base, "."):
			packages[dir] = append(packages[dir], name)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("looking through the repository: %w", err)
	}
	if len(s.modules) == 0 {
		if _, err := s.read("platform.yaml"); err == nil {
			return nil, fault.Errorf(fault.Usage, "there is no go.mod in the repository, and a platform needs none: take ci/ from a component, write slipway.yaml with platform: platform.yaml, and run lock")
		}
		return nil, fault.Errorf(fault.Usage, "there is no go.mod in the repository: Slipway releases Go programs; run init at the root of one, or create it with: go mod init <module path>")
	}
	for _, dir := range slices.Sorted(maps.Keys(packages)) {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		s.goDirs = append(s.goDirs, dir)
		s.goPackage(dir, packages[dir])
	}
	s.nameVersionVars()
	s.topLevel()
	return s, nil
}

// main is the module that the release is about: the root's, else the first.
func (s *survey) main() *goModule { return s.modules[0] }

// module adds the Go module whose root the folder is; own tells that it is a pipeline that an earlier run wrote.
func (s *survey) module(dir string) (own bool, err error) {
	name := path.Join(dir, "go.mod")
	b, err := s.read(name)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fault.Errorf(fault.Usage, "reading %s: %w", name, err)
	}
	// The lax parser is for dependencies: it passes over the toolchain line.
	m, err := modfile.Parse(name, b, nil)
	if err != nil || m.Module == nil {
		if dir == "." {
			return false, fault.Errorf(fault.Usage, "reading go.mod: %w", errors.Join(err, errIf(err == nil, "it names no module")))
		}
		s.note("%s: it is not read: %v", name, errors.Join(err, errIf(err == nil, "it names no module")))
		return true, nil
	}
	if dir != "." && slices.ContainsFunc(m.Require, func(r *modfile.Require) bool { return r.Mod.Path == modulePath }) {
		if b, err := s.read(path.Join(dir, "main.go")); err == nil && strings.Contains(string(b), modulePath+"/pipeline/cli") {
			return true, nil
		}
	}
	mod := &goModule{dir: dir, path: m.Module.Mod.Path}
	if m.Go != nil {
		mod.goVersion = m.Go.Version
	}
	if m.Toolchain != nil {
		mod.toolchain = m.Toolchain.Name
	}
	s.modules = append(s.modules, mod)
	return false, nil
}

func errIf(cond bool, text string) error {
	if cond {
		return errors.New(text)
	}
	return nil
}

func (s *survey) note(format string, args ...any) {
	s.notes = append(s.notes, fmt.Sprintf(format, args...))
}

// read returns the contents of a regular file of at most maxFileSize bytes.
func (s *survey) read(name string) ([]byte, error) {
	f, err := s.root.Open(filepath.FromSlash(name))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return readRegular(f)
}

func readRegular(f *os.File) ([]byte, error) {
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, errors.New("it is not a regular file")
	}
	return bounded.Read(f, maxFileSize)
}

// isFile reports whether there is a regular file of that name.
func (s *survey) isFile(name string) bool {
	info, err := s.root.Lstat(filepath.FromSlash(name))
	return err == nil && info.Mode().IsRegular()
}

// matches is how many files have names that the pattern matches.
func (s *survey) matches(pattern string) int {
	names, err := fs.Glob(s.root.FS(), pattern)
	if err != nil {
		return 0
	}
	return len(names)
}

func (s *survey) isDir(name string) bool {
	info, err := s.root.Lstat(filepath.FromSlash(name))
	return err == nil && info.IsDir()
}

// moduleOf is the module that a folder belongs to, or nil.
func (s *survey) moduleOf(dir string) *goModule {
	var best *goModule
	for _, m := range s.modules {
		if m.dir == "." || dir == m.dir || strings.HasPrefix(dir, m.dir+"/") {
			if best == nil || best.dir == "." || len(m.dir) > len(best.dir) {
				best = m
			}
		}
	}
	return best
}

// mainAt is the main package in the folder, or nil.
func (s *survey) mainAt(dir string) *mainPackage {
	i := slices.IndexFunc(s.mains, func(m *mainPackage) bool { return m.dir == dir })
	if i < 0 {
		return nil
	}
	return s.mains[i]
}

// released are the main packages that look like what the project releases: those of the root's module, or of all where
// the root has none, that are not in a folder of tools, unless there are no others. The notes are about the rest.
func (s *survey) released() (picked []*mainPackage, notes []string) {
	var left []*mainPackage
	for _, m := range s.mains {
		switch {
		case s.main().dir == "." && m.module.dir != ".":
			notes = append(notes, fmt.Sprintf("%s: this main package is in the nested module %s and is left out; if it is released, add it under binaries with main: %s and dir: %s",
				folderArg(m.dir), m.module.path, folderArg(m.dir), m.module.dir))
		case slices.ContainsFunc(strings.Split(m.dir, "/"), func(part string) bool { return slices.Contains(aside, part) }):
			left = append(left, m)
		default:
			picked = append(picked, m)
		}
	}
	if len(picked) == 0 {
		return left, notes
	}
	for _, m := range left {
		notes = append(notes, folderArg(m.dir)+": this main package is left out, as it looks like a tool of the project; add it under binaries if it is released")
	}
	return picked, notes
}

// goPackage looks for a program, and for version variables, in the Go files of a folder.
func (s *survey) goPackage(dir string, files []string) {
	mod := s.moduleOf(dir)
	if mod == nil {
		return
	}
	holdsVersion := slices.Contains([]string{"version", "buildinfo", "versioninfo"}, path.Base(dir))
	m := &mainPackage{dir: dir, module: mod, vars: map[string]config.Template{}}
	versions := map[string]config.Template{}
	for _, name := range files {
		src, err := s.read(name)
		if err != nil {
			continue
		}
		fset := token.NewFileSet()
		head, err := parser.ParseFile(fset, name, src, parser.PackageClauseOnly)
		if err != nil || (head.Name.Name != "main" && !holdsVersion) {
			continue
		}
		f, err := parser.ParseFile(fset, name, src, parser.SkipObjectResolution|parser.ParseComments)
		if err != nil || !builds(path.Base(name), f) {
			continue
		}
		if f.Name.Name != "main" {
			importPath := path.Join(mod.path, strings.TrimPrefix(strings.TrimPrefix(dir, mod.dir), "/"))
			collectVars(f, importPath, versions)
			continue
		}
		collectVars(f, "main", m.vars)
		m.runs = m.runs || slices.ContainsFunc(f.Decls, func(d ast.Decl) bool {
			fn, ok := d.(*ast.FuncDecl)
			return ok && fn.Recv == nil && fn.Name.Name == "main"
		})
	}
	if m.runs {
		s.mains = append(s.mains, m)
	}
	if len(versions) > 0 {
		s.versionVars[mod] = append(s.versionVars[mod], versions)
	}
}

// nameVersionVars gives the programs without version variables those of their module's only version package.
func (s *survey) nameVersionVars() {
	for _, m := range s.mains {
		if found := s.versionVars[m.module]; len(m.vars) == 0 && len(found) == 1 {
			m.vars = found[0]
		}
	}
}

// builds reports whether the file is compiled on any target of the default matrix, without build tags of the project's.
func builds(name string, f *ast.File) bool {
	var expr constraint.Expr
	for _, group := range f.Comments {
		if group.Pos() > f.Package {
			break
		}
		for _, c := range group.List {
			if constraint.IsGoBuild(c.Text) {
				if x, err := constraint.Parse(c.Text); err == nil {
					expr = x
				}
			}
		}
	}
	words := strings.Split(strings.TrimSuffix(name, ".go"), "_")[1:]
	for _, p := range config.DefaultTargets() {
		tag := func(t string) bool {
			return t == p.OS || t == p.Arch || t == "gc" || strings.HasPrefix(t, "go1.") || (t == "unix" && p.OS != "windows")
		}
		if expr != nil && !expr.Eval(tag) {
			continue
		}
		fits := true
		for i := max(0, len(words)-2); i < len(words); i++ {
			if isPlatformWord(words[i]) && !tag(words[i]) {
				fits = false
			}
		}
		if fits {
			return true
		}
	}
	return false
}

// isPlatformWord reports whether a part of a file's name is a system or an architecture, which constrains where the file
// is built (https://pkg.go.dev/cmd/go#hdr-Build_constraints).
func isPlatformWord(w string) bool {
	systems := []string{"aix", "android", "darwin", "dragonfly", "freebsd", "illumos", "ios", "js", "linux", "netbsd", "openbsd", "plan9", "solaris", "wasip1", "windows"}
	arches := []string{"386", "amd64", "arm", "arm64", "loong64", "mips", "mips64", "mips64le", "mipsle", "ppc64", "ppc64le", "riscv64", "s390x", "wasm"}
	return slices.Contains(systems, w) || slices.Contains(arches, w)
}

// versionNames are the names that projects give to what the linker sets, in lower case, by the value.
var versionNames = map[config.Template][]string{
	"{{ .Version }}": {"version", "buildversion", "appversion", "gitversion"},
	"{{ .Tag }}":     {"tag", "gittag", "buildtag", "versiontag"},
	"{{ .Commit }}":  {"commit", "gitcommit", "commitsha", "commithash", "buildcommit", "sha", "gitsha", "revision", "gitrevision"},
	"{{ .Date }}":    {"date", "builddate", "buildtime", "builtat", "commitdate"},
}

// valueOf is what a variable of that name is set to, or "".
func valueOf(name string) config.Template {
	name = strings.ToLower(strings.ReplaceAll(name, "_", ""))
	for value, names := range versionNames {
		if slices.Contains(names, name) {
			return value
		}
	}
	return ""
}

// collectVars adds the version variables of a file: package-level strings that are empty or a literal, since the
// linker sets no others (https://pkg.go.dev/cmd/link).
func collectVars(f *ast.File, importPath string, into map[string]config.Template) {
	for _, d := range f.Decls {
		decl, ok := d.(*ast.GenDecl)
		if !ok || decl.Tok != token.VAR {
			continue
		}
		for _, spec := range decl.Specs {
			v := spec.(*ast.ValueSpec)
			typ, isIdent := v.Type.(*ast.Ident)
			isString := isIdent && typ.Name == "string"
			if v.Type != nil && !isString {
				continue
			}
			for i, name := range v.Names {
				literal := isString && len(v.Values) == 0
				if i < len(v.Values) {
					lit, ok := v.Values[i].(*ast.BasicLit)
					literal = ok && lit.Kind == token.STRING
				}
				if value := valueOf(name.Name); literal && value != "" {
					into[importPath+"."+name.Name] = value
				}
			}
		}
	}
}

// chart reads the folder's Chart.yaml, if it has one.
func (s *survey) chart(dir string) (chart, bool) {
	b, err := s.read(path.Join(dir, "Chart.yaml"))
	if err != nil {
		return chart{}, false
	}
	var meta struct {
		Name         string `yaml:"name"`
		Dependencies []any  `yaml:"dependencies"`
	}
	if err := unmarshal(b, &meta); err != nil || meta.Name == "" {
		s.note("%s/Chart.yaml: it is not the description of a chart: the chart is left out", dir)
		return chart{}, false
	}
	return chart{dir: dir, dependencies: len(meta.Dependencies)}, true
}

// unmarshal turns the panics that malformed input can cause in the parser into errors.
func unmarshal(b []byte, v any) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("yaml: %v", r)
		}
	}()
	return yaml.Unmarshal(b, v)
}

// topLevel reads what stands at the root of the repository.
func (s *survey) topLevel() {
	list, err := fs.ReadDir(s.root.FS(), ".")
	if err != nil {
		return
	}
	licences := map[string]bool{}
	for _, e := range list {
		if !e.Type().IsRegular() {
			continue
		}
		lower := strings.ToLower(e.Name())
		s.changelogAt(e.Name())
		switch {
		case licenceFile.MatchString(lower):
			if b, err := s.read(e.Name()); err == nil {
				if id := recogniseLicence(string(b)); id != "" {
					licences[id] = true
				} else {
					s.note("%s: the licence was not recognised", e.Name())
				}
			}
		case strings.HasPrefix(lower, "readme") && s.description == "":
			if b, err := s.read(e.Name()); err == nil {
				s.description = firstSentence(string(b))
			}
		case slices.Contains([]string{".goreleaser.yml", ".goreleaser.yaml", "goreleaser.yml", "goreleaser.yaml"}, e.Name()):
			s.goreleaser = e.Name()
		}
	}
	s.licence = joinLicences(licences)
	switch {
	case len(licences) > 1 && strings.Contains(s.licence, " OR "):
		s.note("project.license: several licences were found; %q assumes that the user may choose", s.licence)
	case strings.HasSuffix(s.licence, "-only"):
		s.note("project.license: the text of the licence does not say whether later versions are allowed; %q assumes that they are not", s.licence)
	}
	s.workspace = s.findWorkspace()
}

// findWorkspace looks for go.work where the Go command does: in the folder and in those above it.
func (s *survey) findWorkspace() string {
	dir, err := filepath.Abs(s.root.Name())
	if err != nil {
		return ""
	}
	for up := ""; ; up += "../" {
		if info, err := os.Stat(filepath.Join(dir, "go.work")); err == nil && info.Mode().IsRegular() {
			return up + "go.work"
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return ""
		}
		dir = parent
	}
}

// folderArg is a folder as an argument of the Go command: ./cmd/tool, or . for the root.
func folderArg(dir string) string {
	if dir = path.Clean(dir); dir == "." {
		return "."
	}
	return "./" + dir
}

// optionalDir is the folder, or "" for the root, which is the default.
func optionalDir(dir string) string {
	if dir == "." {
		return ""
	}
	return dir
}

var majorSuffix = regexp.MustCompile(`/v[0-9]+$`)

// modulePrefix is a module path without its major version.
func modulePrefix(p string) string { return majorSuffix.ReplaceAllString(p, "") }

func lastElement(p string) string {
	if p == "" {
		return ""
	}
	return path.Base(p)
}

var plainRuns = regexp.MustCompile(`[^a-z0-9]+`)

// plainName is a name as slipway.yaml requires it: lower case, with single separators.
func plainName(s string) string {
	s = plainRuns.ReplaceAllStringFunc(strings.ToLower(s), func(run string) string {
		if len(run) == 1 && strings.Contains("._-", run) {
			return run
		}
		return "-"
	})
	return strings.Trim(s, "._-")
}

// oneLine is text as one line, as long as a label should be.
func oneLine(s string) string {
	s = strings.Join(strings.Fields(s), " ")
	if runes := []rune(s); len(runes) > 300 {
		s = strconv.QuoteToGraphic(string(runes[:297]))
		s = s[1:len(s)-1] + "..."
	}
	return s
}
