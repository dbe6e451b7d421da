// Package artifact holds the values that every room of the pipeline speaks of: platforms, digests and files.
package artifact

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Platform is what a binary runs on, in Go's terms for the operating system and the architecture and in OCI's for the
// variant: linux/amd64, linux/arm/v7, linux/amd64/v3.
type Platform struct {
	OS      string
	Arch    string
	Variant string
}

// ports are the pairs that Go 1.26 builds without cgo and that a release can be made for (go tool dist list -broken,
// less android, ios, js and wasip1, which are built by other tools, and less linux/sparc64 and openbsd/mips64, which
// do not compile). Go 1.26 calls freebsd/riscv64 broken and still compiles it (https://go.dev/issue/76475).
var ports = map[string][]string{
	"aix":       {"ppc64"},
	"darwin":    {"amd64", "arm64"},
	"dragonfly": {"amd64"},
	"freebsd":   {"386", "amd64", "arm", "arm64", "riscv64"},
	"illumos":   {"amd64"},
	"linux":     {"386", "amd64", "arm", "arm64", "loong64", "mips", "mips64", "mips64le", "mipsle", "ppc64", "ppc64le", "riscv64", "s390x"},
	"netbsd":    {"386", "amd64", "arm", "arm64"},
	"openbsd":   {"386", "amd64", "arm", "arm64", "ppc64", "riscv64"},
	"plan9":     {"386", "amd64", "arm"},
	"solaris":   {"amd64"},
	"windows":   {"386", "amd64", "arm64"},
}

// variants maps an architecture to the environment variable that chooses its instruction set, the values that the
// variable takes by OCI variant, and the one that a target without a variant gets. The defaults are written out so
// that no default of a Go version or of a user's environment decides what a release contains
// (https://go.dev/wiki/MinimumRequirements#architectures).
var variants = map[string]struct {
	name     string
	values   map[string]string
	standard string
}{
	"386":      {"GO386", map[string]string{"softfloat": "softfloat", "sse2": "sse2"}, "sse2"},
	"amd64":    {"GOAMD64", map[string]string{"v1": "v1", "v2": "v2", "v3": "v3", "v4": "v4"}, "v1"},
	"arm":      {"GOARM", map[string]string{"v5": "5", "v6": "6", "v7": "7"}, "6"},
	"arm64":    {"GOARM64", map[string]string{"v8.0": "v8.0", "v8.2": "v8.2", "v9.0": "v9.0"}, "v8.0"},
	"mips":     {"GOMIPS", map[string]string{"hardfloat": "hardfloat", "softfloat": "softfloat"}, "hardfloat"},
	"mipsle":   {"GOMIPS", map[string]string{"hardfloat": "hardfloat", "softfloat": "softfloat"}, "hardfloat"},
	"mips64":   {"GOMIPS64", map[string]string{"hardfloat": "hardfloat", "softfloat": "softfloat"}, "hardfloat"},
	"mips64le": {"GOMIPS64", map[string]string{"hardfloat": "hardfloat", "softfloat": "softfloat"}, "hardfloat"},
	"ppc64":    {"GOPPC64", map[string]string{"power8": "power8", "power9": "power9", "power10": "power10"}, "power8"},
	"ppc64le":  {"GOPPC64", map[string]string{"power8": "power8", "power9": "power9", "power10": "power10"}, "power8"},
	"riscv64":  {"GORISCV64", map[string]string{"rva20u64": "rva20u64", "rva22u64": "rva22u64", "rva23u64": "rva23u64"}, "rva20u64"},
}

// ParsePlatform reads os/arch or os/arch/variant. A pair that Go has no port for is refused with the architectures
// that the system does have.
func ParsePlatform(s string) (Platform, error) {
	parts := strings.Split(s, "/")
	if len(parts) < 2 || len(parts) > 3 || slices.Contains(parts, "") {
		return Platform{}, fmt.Errorf("platform %.60q is not os/arch or os/arch/variant", s)
	}
	p := Platform{OS: parts[0], Arch: parts[1]}
	if len(parts) == 3 {
		p.Variant = parts[2]
	}
	arches, ok := ports[p.OS]
	if !ok {
		return Platform{}, fmt.Errorf("platform %.60q: Go has no port to %.60q; it has %s", s, p.OS, strings.Join(slices.Sorted(maps.Keys(ports)), " "))
	}
	if !slices.Contains(arches, p.Arch) {
		return Platform{}, fmt.Errorf("platform %.60q: Go has no port to %.60q on %s; on %s it has %s", s, p.Arch, p.OS, p.OS, strings.Join(arches, " "))
	}
	if p.Variant != "" {
		v, ok := variants[p.Arch]
		if !ok {
			return Platform{}, fmt.Errorf("platform %.60q: %s has no variants", s, p.Arch)
		}
		if _, ok := v.values[p.Variant]; !ok {
			return Platform{}, fmt.Errorf("platform %.60q: %s has no variant %.60q; it has %s", s, p.Arch, p.Variant, strings.Join(slices.Sorted(maps.Keys(v.values)), " "))
		}
	}
	return p, nil
}

// Platforms returns every platform that ParsePlatform accepts, sorted.
func Platforms() []Platform {
	var all []Platform
	for system, arches := range ports {
		for _, arch := range arches {
			all = append(all, Platform{OS: system, Arch: arch})
			for variant := range variants[arch].values {
				all = append(all, Platform{OS: system, Arch: arch, Variant: variant})
			}
		}
	}
	slices.SortFunc(all, Platform.Compare)
	return all
}

// String is the form that ParsePlatform reads.
func (p Platform) String() string {
	if p.Variant == "" {
		return p.OS + "/" + p.Arch
	}
	return p.OS + "/" + p.Arch + "/" + p.Variant
}

// Slug is the platform as a part of a file name: linux_amd64, linux_armv7, linux_amd64v3.
func (p Platform) Slug() string { return p.OS + "_" + p.Arch + p.Variant }

// Exe is name with the ending that the operating system wants of a program.
func (p Platform) Exe(name string) string {
	if p.OS == "windows" {
		return name + ".exe"
	}
	return name
}

// Env is what the Go command reads the platform from: GOOS, GOARCH and the architecture's instruction set, which is
// always set so that no default outside the commit decides it.
func (p Platform) Env() []string {
	env := []string{"GOOS=" + p.OS, "GOARCH=" + p.Arch}
	if v, ok := variants[p.Arch]; ok {
		value := v.standard
		if p.Variant != "" {
			value = v.values[p.Variant]
		}
		env = append(env, v.name+"="+value)
	}
	return env
}

// Base is the platform without its variant.
func (p Platform) Base() Platform { return Platform{OS: p.OS, Arch: p.Arch} }

// Compare orders platforms bytewise by their strings, so a platform comes right before its variants.
func (p Platform) Compare(q Platform) int {
	return strings.Compare(p.String(), q.String())
}

// MarshalText writes the form of String.
func (p Platform) MarshalText() ([]byte, error) { return []byte(p.String()), nil }

// UnmarshalText reads the form of String; see ParsePlatform.
func (p *Platform) UnmarshalText(b []byte) error {
	parsed, err := ParsePlatform(string(b))
	if err == nil {
		*p = parsed
	}
	return err
}
