package sbom

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/package-url/packageurl-go"

	"github.com/slipway-build/slipway/pipeline/release/artifact"
)

// Member is a release that the subject of a document consists of.
type Member struct {
	Name       string
	Version    string
	Repository string // URL, or a folder
	Commit     string
	Manifest   artifact.Digest          // of its release.json, or "" for one that was not published
	Needs      []string                 // names of other members
	Bills      []func() ([]byte, error) // its bills of materials, in the form of CycloneDX as this package writes it
}

// maxParts bounds what all members together consist of.
const maxParts = 500_000

// Merged is what the members consist of, each package once.
type Merged struct{ things []thing }

// Merge reads the bills of all members, one after the other. A package is what has a package URL, or is an operating system: it is
// there once, with what all that name it agree on, and with all that any of them says it was made from. Everything else, such as an
// archive or a file in one, stands for its member, whose own bills say more.
func Merge(members []Member) (*Merged, error) {
	m := merger{things: map[string]*thing{}, edges: map[string]map[string]bool{}}
	for _, member := range members {
		if err := m.member(member); err != nil {
			return nil, fmt.Errorf("the bills of materials of %s: %w", member.Name, err)
		}
	}
	out := &Merged{}
	for _, key := range slices.Sorted(maps.Keys(m.things)) {
		t := m.things[key]
		parts := slices.Sorted(maps.Keys(m.edges[key]))
		if strings.HasPrefix(key, memberKey) {
			for _, to := range parts {
				if strings.HasPrefix(to, memberKey) {
					t.needs = append(t.needs, to)
				} else {
					t.holds = append(t.holds, to)
				}
			}
		} else {
			t.needs = parts
		}
		out.things = append(out.things, *t)
	}
	return out, nil
}

const memberKey = "component/"

type merger struct {
	things map[string]*thing
	edges  map[string]map[string]bool
}

func (m merger) edge(from, to string) {
	if from == to {
		return
	}
	if m.edges[from] == nil {
		m.edges[from] = map[string]bool{}
	}
	m.edges[from][to] = true
}

func (m merger) member(of Member) error {
	self := &thing{key: memberKey + of.Name, sort: application, name: of.Name, version: of.Version, digest: of.Manifest, whole: all, notes: []note{{"slipway:commit", of.Commit}}}
	vcs := ""
	if strings.Contains(of.Repository, "://") {
		vcs = "git+" + of.Repository + "@" + of.Commit
	}
	self.purl = packageurl.NewPackageURL(packageurl.TypeGeneric, "", of.Name, cmp.Or(of.Version, of.Commit), qualifiers("vcs_url", vcs), "").ToString()
	if len(of.Bills) == 0 {
		self.whole = unknown
	}
	m.things[self.key] = self
	for _, need := range of.Needs {
		m.edge(self.key, memberKey+need)
	}
	for _, open := range of.Bills {
		b, err := open()
		if err != nil {
			return err
		}
		var doc cdxDocument
		if err := json.Unmarshal(b, &doc); err != nil {
			return err
		}
		if doc.Format != "CycloneDX" || doc.Metadata.Component.Name == "" {
			return fmt.Errorf("%.40q is not CycloneDX, or says not what it is of", doc.Format)
		}
		keys, reached := map[string]string{}, map[string]bool{}
		for _, c := range append([]cdxComponent{doc.Metadata.Component}, doc.Components...) {
			keys[c.Ref] = m.add(self, c)
		}
		for _, d := range doc.Dependencies {
			for _, on := range d.On {
				from, to := keys[d.Ref], keys[on]
				if from == "" || to == "" {
					return fmt.Errorf("%.80q or %.80q, of which one depends on the other, is not in it", d.Ref, on)
				}
				m.edge(from, to)
				reached[to] = true
			}
		}
		for _, key := range keys {
			if !reached[key] {
				m.edge(self.key, key)
			}
		}
		for _, c := range doc.Compositions {
			if c.Aggregate != "complete" && self.whole == all {
				self.whole = unknown
			}
		}
		if len(m.things) > maxParts {
			return fmt.Errorf("all together consist of more than %d packages", maxParts)
		}
	}
	return nil
}

// add adds a package, or finds it, and returns its key; that of the member for what is none.
func (m merger) add(self *thing, c cdxComponent) string {
	t := thing{name: c.Name, version: c.Version, purl: c.PURL, cpe: c.CPE, sort: library}
	for sort, word := range cdxTypes {
		if word == c.Type && sort != plainFile && sort != archiveFile {
			t.sort = sort
		}
	}
	switch {
	case c.PURL != "":
		t.key = "package/" + c.PURL
	case t.sort == operatingSystem:
		t.key = "os/" + c.Name + "@" + c.Version
	default:
		return self.key
	}
	if c.Supplier != nil {
		t.supplier = c.Supplier.Name
	}
	for _, h := range c.Hashes {
		if d, err := artifact.ParseDigest("sha256:" + h.Value); h.Algorithm == "SHA-256" && err == nil {
			t.digest = d
		}
	}
	for _, l := range c.Licenses[:min(1, len(c.Licenses))] {
		t.license = l.Expression
		if l.One != nil {
			t.license = cmp.Or(l.One.ID, l.One.Name)
		}
	}
	for _, p := range c.Properties {
		t.notes = append(t.notes, note{p.Name, p.Value})
	}
	have, ok := m.things[t.key]
	if !ok {
		m.things[t.key] = &t
		return t.key
	}
	agree(&have.digest, t.digest)
	agree(&have.license, t.license)
	agree(&have.supplier, t.supplier)
	agree(&have.cpe, t.cpe)
	have.notes = slices.DeleteFunc(have.notes, func(n note) bool { return !slices.Contains(t.notes, n) })
	return t.key
}

// agree keeps a value that another one says, too.
func agree[T ~string](have *T, other T) {
	if *have != other {
		*have = ""
	}
}
