package rerun

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestFindPipeline takes the pipeline that is nearest to the configuration, and no program that is none.
func TestFindPipeline(t *testing.T) {
	src := t.TempDir()
	for name, text := range map[string]string{
		"ci/main.go":           `import "example.com/pipeline/cli"`,
		"ci/go.mod":            "module ci\n",
		"a/slipway-ci/main.go": `import "example.com/pipeline/cli"`,
		"a/b/ci/main.go":       "package lint\n",
	} {
		name = filepath.Join(src, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for _, tt := range []struct {
		config, named string
		dir, pkg      string
		own           bool
	}{
		{"", "", "ci", ".", true},
		{"slipway.yaml", "", "ci", ".", true},
		{"other/slipway.yaml", "", "ci", ".", true},
		{"a/slipway.yaml", "", "", "./a/slipway-ci", false},
		{"a/b/slipway.yaml", "", "", "./a/slipway-ci", false},
		{"a/b/slipway.yaml", "ci", "ci", ".", true},
		{"", "a/b/ci", "", "./a/b/ci", false}, // who names it knows
	} {
		dir, pkg, own, err := findPipeline(src, tt.config, tt.named)
		if err != nil || dir != filepath.Join(src, tt.dir) || pkg != tt.pkg || own != tt.own {
			t.Errorf("configuration %q, named %q: %s in %s, own %v, %v; want %s in %s", tt.config, tt.named, pkg, dir, own, err, tt.pkg, tt.dir)
		}
	}
	if _, _, _, err := findPipeline(filepath.Join(src, "a", "b"), "slipway.yaml", ""); err == nil {
		t.Error("a program that is no pipeline was taken for one")
	}
}

func TestListener(t *testing.T) {
	var l listener
	for _, s := range []string{"done    plan  0.1s  hello\ndone    eng", "ine  0.1s  host on linux/amd64 with go1.26.7\n", "x on y/z with go\n"} {
		if _, err := l.Write([]byte(s)); err != nil {
			t.Fatal(err)
		}
	}
	if l.engine != "host" {
		t.Errorf("it heard %q", l.engine)
	}
}

func TestTail(t *testing.T) {
	var l tail
	_, _ = l.Write([]byte(strings.Repeat("noise\n", 10_000) + "slipway: first\nslipway: second\n"))
	if got := l.words(); got != "first; second" {
		t.Errorf("%q", got)
	}
	l = tail{}
	_, _ = l.Write([]byte("a\n\nb\nc\nd\ne \x1b[31m\xff\n"))
	if got := l.words(); got != "b; c; d; e \x1b[31m?" {
		t.Errorf("%q", got)
	}
}

// TestEnv: the build sees what it needs of this machine, and no secret.
func TestEnv(t *testing.T) {
	work, home := t.TempDir(), t.TempDir()
	if err := os.Mkdir(filepath.Join(home, ".docker"), 0o755); err != nil {
		t.Fatal(err)
	}
	o := Options{
		Work: work, Place: Place{Home: filepath.Join(work, "home"), Cache: "c", Zone: "Z", Locale: "L", Modules: filepath.Join(work, "m"), CPUs: 3},
		Environ: append(os.Environ(), "HOME="+home, "TOKEN=canary", "MINE=passed", "DOCKER_HOST=engine", "GIT_DIR=x"), Pass: []string{"MINE"},
	}
	goCommand, err := findGo()
	if err != nil {
		t.Fatal(err)
	}
	see := func(o Options) []string {
		t.Helper()
		env, err := o.env(t.Context(), goCommand)
		if err != nil {
			t.Fatal(err)
		}
		return env
	}
	env := see(o)
	for _, want := range []string{"HOME=" + o.Place.Home, "MINE=passed", "DOCKER_HOST=engine", "DOCKER_CONFIG=" + filepath.Join(home, ".docker"), "TZ=Z", "LC_ALL=L", "SLIPWAY_CACHE=c", "GOMAXPROCS=3", "GOMODCACHE=" + o.Place.Modules, "GOENV=off"} {
		if !slices.Contains(env, want) {
			t.Errorf("the build does not see %s", want)
		}
	}
	for _, kv := range env {
		if strings.Contains(kv, "canary") || strings.HasPrefix(kv, "GIT_DIR=") || kv == "HOME="+home {
			t.Errorf("the build sees %s", kv)
		}
	}
	o.Place.Home = home // not varied
	p := pipeline{o: o, env: see(o)}
	if env := p.compiling().env; slices.ContainsFunc(env, func(kv string) bool {
		return strings.Contains(kv, home) && !strings.HasPrefix(kv, "GOCACHE=") && !strings.HasPrefix(kv, "PATH=")
	}) {
		t.Errorf("the compiler of the pipeline sees the home of the user: %q", env)
	}
	for sumdb, want := range map[string]bool{"sum.example+key https://sum.example": true, "sum.example+key https://me:canary@sum.example": false} {
		o := o
		o.Environ = append(slices.Clone(o.Environ), "GOSUMDB="+sumdb)
		p := pipeline{o: o, env: see(o)}
		if slices.Contains(p.compiling().env, "GOSUMDB="+sumdb) != want {
			t.Errorf("the compiler of the pipeline sees GOSUMDB=%s: %v", sumdb, !want)
		}
	}
	o.Engine, o.Modules = "host", filepath.Join(work, "a, b")
	env = see(o)
	if slices.Contains(env, "DOCKER_HOST=engine") {
		t.Error("a build without an engine sees where one is")
	}
	if i := slices.IndexFunc(env, func(kv string) bool { return strings.HasPrefix(kv, "GOPROXY=") }); env[i] != "GOPROXY="+fileURL(o.Modules) || strings.Contains(env[i], ",") {
		t.Errorf("modules come from %s", env[i])
	}
}
