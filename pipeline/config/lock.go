package config

import (
	"bytes"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/slipway-build/slipway/images"
	"github.com/slipway-build/slipway/pipeline/internal/yamldoc"
	"github.com/slipway-build/slipway/pipeline/release/artifact"
)

// Lock is the content of slipway.lock: everything from outside of the commit that a release is made from, by digest.
// A build reads it and resolves nothing.
type Lock struct {
	Version int             `yaml:"version" required:"true" enum:"1" doc:"Format of this file."`
	Go      Toolchain       `yaml:"go" doc:"Go toolchain that compiles the project, where it has binaries."`
	Bases   map[string]Base `yaml:"bases" doc:"Base images by distribution."`
	Charts  []Dependency    `yaml:"charts" doc:"Charts that the project's charts depend on."`

	where yamldoc.Positions
}

// Toolchain is a Go release and the checksums of its module golang.org/toolchain, as the Go checksum database has them
// (https://go.dev/doc/toolchain).
type Toolchain struct {
	Version string            `yaml:"version" required:"true" doc:"Go release." example:"1.26.8"`
	Sums    map[string]string `yaml:"sums" doc:"Checksum (h1:) of the toolchain by the host that runs it." example:"linux-amd64: h1:..."`
}

// Base is a base image.
type Base struct {
	Image     string              `yaml:"image" required:"true" doc:"Image and tag that the digest was resolved from."`
	Digest    artifact.Digest     `yaml:"digest" required:"true" doc:"Digest of the index (or of the manifest, where the image has one platform)."`
	Platforms []artifact.Platform `yaml:"platforms" required:"true" doc:"Platforms of the index that Go builds for."`
}

// Dependency is a chart that another chart needs.
type Dependency struct {
	Chart      string          `yaml:"chart" required:"true" doc:"Folder of the chart that needs it."`
	Name       string          `yaml:"name" required:"true" doc:"Name of the dependency."`
	Version    string          `yaml:"version" required:"true" doc:"Exact version."`
	Repository string          `yaml:"repository" doc:"Where it is fetched from."`
	Digest     artifact.Digest `yaml:"digest" required:"true" doc:"Digest of the packaged chart."`
}

var goModuleSum = regexp.MustCompile(`^h1:[A-Za-z0-9+/]{43}=$`)

// ParseLock reads slipway.lock; see Parse.
func ParseLock(name string, b []byte) (Lock, error) {
	var l Lock
	var err error
	if l.where, err = yamldoc.Decode(name, b, &l); err != nil {
		return Lock{}, err
	}
	if err := l.validate(); err != nil {
		return Lock{}, err
	}
	return l, nil
}

// At is the position of a key; see Config.At.
func (l Lock) At(key string) string { return l.where.At(key) }

func (l Lock) validate() error {
	p := yamldoc.NewProblems(l.where)
	if locked := l.Go.Version != "" || len(l.Go.Sums) > 0; locked && !goRelease.MatchString(l.Go.Version) {
		p.At("go.version", "%.60q is not a Go release such as 1.26.8", l.Go.Version)
	}
	for _, host := range sortedKeys(l.Go.Sums) {
		system, arch, _ := strings.Cut(host, "-")
		if _, err := artifact.ParsePlatform(system + "/" + arch); err != nil {
			p.At("go.sums."+host, "%.60q is not a host such as linux-amd64", host)
		}
		if !goModuleSum.MatchString(l.Go.Sums[host]) {
			p.At("go.sums."+host, "%.60q is not a checksum of the form h1:<44 characters>", l.Go.Sums[host])
		}
	}
	for _, name := range sortedKeys(l.Bases) {
		if _, ok := images.ByName(name); !ok {
			p.At("bases."+name, "there is no distribution %.60q%s", name, yamldoc.DidYouMean(name, images.Names()))
		}
		b := l.Bases[name]
		if !baseRef.MatchString(b.Image) {
			p.At("bases."+name+".image", "%.60q is not an image with its registry and tag", b.Image)
		}
		for i, pl := range b.Platforms {
			if slices.Contains(b.Platforms[:i], pl) {
				p.At(fmt.Sprintf("bases.%s.platforms[%d]", name, i), "%s is named twice", pl)
			}
		}
	}
	for i, c := range l.Charts {
		key := fmt.Sprintf("charts[%d]", i)
		if err := checkLocal(c.Chart); err != nil {
			p.At(key+".chart", "%w", err)
		}
		if artifact.CheckPath(c.Name) != nil || strings.Contains(c.Name, "/") {
			p.At(key+".name", "%.60q is not the name of a chart", c.Name)
		}
		if artifact.CheckPath(c.Version) != nil || strings.Contains(c.Version, "/") {
			p.At(key+".version", "%.60q is not the version of a chart", c.Version)
		}
	}
	return p.Err()
}

// Encode returns the bytes of slipway.lock: keys in a fixed order, so that a difference in version control is a
// difference in what a release is made from.
func (l Lock) Encode() []byte {
	var b bytes.Buffer
	b.WriteString("# What a release is made from, by digest. Written by the lock command; commit it.\n")
	b.WriteString("version: 1\n")
	if l.Go.Version != "" {
		fmt.Fprintf(&b, "go:\n  version: %s\n", quote(l.Go.Version))
	}
	if len(l.Go.Sums) > 0 {
		b.WriteString("  sums:\n")
		for _, host := range sortedKeys(l.Go.Sums) {
			fmt.Fprintf(&b, "    %s: %s\n", host, l.Go.Sums[host])
		}
	}
	if len(l.Bases) > 0 {
		b.WriteString("bases:\n")
		for _, name := range sortedKeys(l.Bases) {
			base := l.Bases[name]
			fmt.Fprintf(&b, "  %s:\n    image: %s\n    digest: %s\n    platforms:\n", name, quote(base.Image), base.Digest)
			for _, p := range base.Platforms {
				fmt.Fprintf(&b, "      - %s\n", p)
			}
		}
	}
	if len(l.Charts) > 0 {
		b.WriteString("charts:\n")
		for _, c := range l.Charts {
			fmt.Fprintf(&b, "  - chart: %s\n    name: %s\n    version: %s\n    repository: %s\n    digest: %s\n",
				quote(c.Chart), quote(c.Name), quote(c.Version), quote(c.Repository), c.Digest)
		}
	}
	return b.Bytes()
}

// quote is s as a YAML scalar that reads back as the same string.
func quote(s string) string {
	n := yaml.Node{Kind: yaml.ScalarNode}
	n.SetString(s)
	if out, err := yaml.Marshal(&n); err == nil && !strings.Contains(strings.TrimSpace(string(out)), "\n") {
		return strings.TrimSpace(string(out))
	}
	return fmt.Sprintf("%q", s)
}

// Change is one difference between two locks.
type Change struct {
	What     string // go, base alpine, chart postgresql
	Old, New string // empty where it was added or removed
}

func (c Change) String() string {
	switch {
	case c.Old == "":
		return fmt.Sprintf("+ %s: %s", c.What, c.New)
	case c.New == "":
		return fmt.Sprintf("- %s: %s", c.What, c.Old)
	}
	return fmt.Sprintf("~ %s: %s -> %s", c.What, c.Old, c.New)
}

// Diff lists what differs between two locks, sorted by what it is.
func Diff(before, after Lock) []Change {
	a, b := before.flat(), after.flat()
	var changes []Change
	for _, k := range sortedKeys(a) {
		if a[k] != b[k] {
			changes = append(changes, Change{k, a[k], b[k]})
		}
	}
	for _, k := range sortedKeys(b) {
		if _, ok := a[k]; !ok {
			changes = append(changes, Change{k, "", b[k]})
		}
	}
	slices.SortFunc(changes, func(a, b Change) int { return strings.Compare(a.What, b.What) })
	return changes
}

func (l Lock) flat() map[string]string {
	m := map[string]string{}
	if l.Go.Version != "" {
		m["go"] = l.Go.Version
	}
	for host, sum := range l.Go.Sums {
		m["go for "+host] = sum
	}
	for name, b := range l.Bases {
		var ps []string
		for _, p := range b.Platforms {
			ps = append(ps, p.String())
		}
		m["base "+name] = fmt.Sprintf("%s@%s (%s)", b.Image, b.Digest, strings.Join(ps, " "))
	}
	for _, c := range l.Charts {
		// A chart may need another one twice, under two aliases.
		name := "chart " + c.Name + " of " + c.Chart
		key := name
		for n := 2; m[key] != ""; n++ {
			key = fmt.Sprintf("%s (%d)", name, n)
		}
		m[key] = fmt.Sprintf("%s from %s, %s", c.Version, c.Repository, c.Digest)
	}
	return m
}
