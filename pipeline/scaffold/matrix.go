package scaffold

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/slipway-build/slipway/pipeline/config"
	"github.com/slipway-build/slipway/pipeline/release/artifact"
)

// target is one that GoReleaser would build: a system, an architecture and the value of the variable that chooses the
// architecture's instruction set ("" where it has none).
type target struct{ os, arch, level string }

func (t target) String() string {
	return strings.TrimSuffix(t.os+"/"+t.arch+"/"+t.level, "/")
}

// builtByGoReleaser are the pairs that GoReleaser builds; it drops all others of a matrix without a word. This is the
// list of its version 2.18, in which freebsd/riscv64 and openbsd/ppc64 are missing though Go has them
// (https://goreleaser.com/customization/builds/go/).
var builtByGoReleaser = map[string]string{
	"aix":       "ppc64",
	"android":   "386 amd64 arm arm64",
	"darwin":    "amd64 arm64",
	"dragonfly": "amd64",
	"freebsd":   "386 amd64 arm arm64",
	"illumos":   "amd64",
	"ios":       "arm64",
	"js":        "wasm",
	"linux":     "386 amd64 arm arm64 loong64 mips mips64 mips64le mipsle ppc64 ppc64le riscv64 s390x",
	"netbsd":    "386 amd64 arm arm64",
	"openbsd":   "386 amd64 arm arm64 riscv64",
	"plan9":     "386 amd64 arm",
	"solaris":   "amd64 sparc sparc64",
	"wasip1":    "wasm",
	"windows":   "386 amd64 arm64",
}

// level is how GoReleaser chooses the instruction set of an architecture: the key that lists its values, and the
// value that a build without the key gets.
type level struct{ key, standard string }

var levels = map[string]level{
	"386":      {"go386", "sse2"},
	"amd64":    {"goamd64", "v1"},
	"arm":      {"goarm", "6"},
	"arm64":    {"goarm64", "v8.0"},
	"mips":     {"gomips", "hardfloat"},
	"mipsle":   {"gomips", "hardfloat"},
	"mips64":   {"gomips", "hardfloat"},
	"mips64le": {"gomips", "hardfloat"},
	"ppc64":    {"goppc64", "power8"},
	"ppc64le":  {"goppc64", "power8"},
	"riscv64":  {"goriscv64", "rva20u64"},
}

// firstClass are what GoReleaser's names go_first_class and go_118_first_class stand for.
var firstClass = []string{
	"darwin_amd64", "darwin_arm64", "linux_386", "linux_amd64", "linux_arm", "linux_arm64", "windows_386", "windows_amd64",
}

// matrix is GoReleaser's description of what to build for.
type matrix struct {
	lists   map[string][]string // goos, goarch, goarm, ... as given
	ignore  []map[string]string // goos, goarch, goarm, ...: a rule holds where all that it names match
	targets []string            // instead of the lists, and without ignore
}

// expand returns what GoReleaser builds, in its order: the product of the lists, without the pairs that it does not
// know and those that a rule ignores. What it would refuse is an error.
func (m matrix) expand() ([]target, error) {
	var all []target
	add := func(t target) {
		if !slices.Contains(all, t) {
			all = append(all, t)
		}
	}
	for _, name := range m.targets {
		names := []string{name}
		if name == "go_first_class" || name == "go_118_first_class" {
			names = firstClass
		}
		for _, n := range names {
			t, err := parseTarget(n)
			if err != nil {
				return nil, err
			}
			add(t)
		}
	}
	if len(m.targets) > 0 {
		return all, nil
	}
	list := func(key string, standard ...string) []string {
		if given := m.lists[key]; len(given) > 0 {
			return given
		}
		return standard
	}
	for _, system := range list("goos", "linux", "darwin", "windows") {
		if _, ok := builtByGoReleaser[system]; !ok {
			return nil, fmt.Errorf("goos %q is not a system that Go has", system)
		}
		for _, arch := range list("goarch", "amd64", "arm64", "386") {
			values := []string{""}
			if l, ok := levels[arch]; ok {
				values = list(l.key, l.standard)
			}
			for _, v := range values {
				t := target{system, arch, v}
				if slices.Contains(strings.Fields(builtByGoReleaser[system]), arch) && !m.ignored(t) {
					add(t)
				}
			}
		}
	}
	return all, nil
}

func (m matrix) ignored(t target) bool {
	return slices.ContainsFunc(m.ignore, func(rule map[string]string) bool {
		for key, want := range rule {
			have := ""
			switch l := levels[t.arch]; key {
			case "goos":
				have = t.os
			case "goarch":
				have = t.arch
			case l.key:
				have = t.level
			}
			if want != "" && want != have {
				return false
			}
		}
		return true
	})
}

// parseTarget reads linux_amd64, linux_arm_7 or linux_amd64_v3.
func parseTarget(name string) (target, error) {
	parts := strings.SplitN(name, "_", 3)
	if len(parts) < 2 || slices.Contains(parts, "") {
		return target{}, fmt.Errorf("target %q is not <os>_<arch> or <os>_<arch>_<level>", name)
	}
	t := target{os: parts[0], arch: parts[1], level: levels[parts[1]].standard}
	if len(parts) == 3 {
		t.level = parts[2]
	}
	return t, nil
}

// platform is the target in Slipway's terms. The value that Slipway gives a target without a variant is left out,
// except for arm: there the number is part of the name that people know.
func (t target) platform() (artifact.Platform, error) {
	if t.os == "js" || t.os == "wasip1" || t.os == "android" || t.os == "ios" {
		return artifact.Platform{}, fmt.Errorf("nothing is released for %s", t.os)
	}
	name, variant := t.os+"/"+t.arch, t.level
	switch {
	case t.arch == "arm":
		version, abi, _ := strings.Cut(t.level, ",")
		if abi == "softfloat" && version != "5" || abi == "hardfloat" && version == "5" {
			return artifact.Platform{}, fmt.Errorf("GOARM=%s is not a variant that Slipway has", t.level)
		}
		variant = "v" + version
	case t.level == levels[t.arch].standard:
		variant = ""
	}
	if variant != "" {
		name += "/" + variant
	}
	p, err := artifact.ParsePlatform(name)
	if err != nil {
		return artifact.Platform{}, errors.New("there is no such target")
	}
	return p, nil
}

// compact sets the platforms of a binary in the shortest way: as the default matrix with what is added and excluded,
// or as a list of targets.
func compact(b config.Binary, want []artifact.Platform) config.Binary {
	want = slices.Clone(want)
	slices.SortFunc(want, artifact.Platform.Compare)
	want = slices.Compact(want)
	standard := config.DefaultTargets()
	b.Targets, b.Add, b.Exclude = nil, without(want, standard), without(standard, want)
	if len(b.Add)+len(b.Exclude) >= len(want) || !slices.Equal(b.Platforms(), want) {
		b.Targets, b.Add, b.Exclude = want, nil, nil
	}
	return b
}

func without(all, others []artifact.Platform) []artifact.Platform {
	return slices.DeleteFunc(slices.Clone(all), func(p artifact.Platform) bool { return slices.Contains(others, p) })
}
