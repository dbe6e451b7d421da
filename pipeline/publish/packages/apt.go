package packages

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/slipway-build/slipway/pipeline/format/archive"
	"github.com/slipway-build/slipway/pipeline/release/artifact"
)

// controls are the fields of a package that apt reads, in the order in which they are written
// (https://www.debian.org/doc/debian-policy/ch-controlfields.html#binary-package-control-files-debian-control).
var controls = []string{
	"Package", "Source", "Version", "Architecture", "Multi-Arch", "Essential", "Maintainer", "Installed-Size", "Pre-Depends", "Depends",
	"Recommends", "Suggests", "Enhances", "Breaks", "Conflicts", "Replaces", "Provides", "Section", "Priority", "Homepage", "Built-Using",
}

// always are architectures that a repository has, be there a package for them or not: apt complains of one that it does not find.
var always = []string{"amd64", "arm64"}

// apt writes the indexes of a repository of apt with one component, main, below dists/ (https://wiki.debian.org/DebianRepository/Format).
// Release is not signed yet. Nothing in it says until when it counts: that is not a function of what is current.
func apt(stage string, at time.Time, all []Package) (map[string][]byte, error) {
	texts := map[string]*bytes.Buffer{}
	for _, arch := range always {
		texts[arch] = &bytes.Buffer{}
	}
	for _, p := range all {
		if texts[p.Architecture] == nil && p.Architecture != "all" {
			texts[p.Architecture] = &bytes.Buffer{}
		}
	}
	for _, p := range all {
		b, err := stanza(p)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", p.at, err)
		}
		for arch, text := range texts {
			if arch == p.Architecture || p.Architecture == "all" {
				text.Write(b)
			}
		}
	}
	dir := "dists/" + stage + "/"
	files := map[string][]byte{}
	var list bytes.Buffer
	arches := slices.Sorted(maps.Keys(texts))
	for _, arch := range arches {
		plain := texts[arch].Bytes()
		for _, f := range []struct {
			name    string
			content []byte
		}{{"Packages", plain}, {"Packages.gz", gzipped(plain)}} {
			in := "main/binary-" + arch + "/"
			sum := artifact.Sum(f.content).Hex()
			files[dir+in+f.name] = f.content
			files[dir+in+"by-hash/SHA256/"+sum] = f.content // where an older Release finds it, too
			fmt.Fprintf(&list, " %s %d %s\n", sum, len(f.content), in+f.name)
		}
	}
	files[dir+"Release"] = fmt.Appendf(nil, "Origin: %s\nLabel: %[1]s\nSuite: %s\nCodename: %[2]s\nDate: %s\nAcquire-By-Hash: yes\nArchitectures: %s\nComponents: main\nDescription: Current versions of %[2]s\nSHA256:\n%[5]s",
		origin, stage, at.UTC().Format("Mon, 02 Jan 2006 15:04:05 UTC"), strings.Join(arches, " "), list.String())
	return files, nil
}

// origin is who makes a repository, as its readers see it.
const origin = "slipway"

// stanza is a package as an index has it.
func stanza(p Package) ([]byte, error) {
	var b bytes.Buffer
	write := func(key, value string) error {
		for i, line := range strings.Split(value, "\n") {
			if i > 0 && (!strings.HasPrefix(line, " ") || strings.TrimSpace(line) == "") || strings.ContainsAny(line, "\r\x00") {
				return fmt.Errorf("its field %s has a line %.80q", key, line)
			}
		}
		fmt.Fprintf(&b, "%s: %s\n", key, value)
		return nil
	}
	for _, key := range controls {
		if value := p.Fields["control."+key]; value != "" {
			if err := write(key, value); err != nil {
				return nil, err
			}
		}
	}
	fmt.Fprintf(&b, "Filename: %s\nSize: %d\nSHA256: %s\n", p.at, p.Size, p.Digest.Hex())
	if value := p.Fields["control.Description"]; value != "" {
		if err := write("Description", value); err != nil {
			return nil, err
		}
	}
	b.WriteByte('\n')
	return b.Bytes(), nil
}

func gzipped(b []byte) []byte {
	var out bytes.Buffer
	w := archive.Gzip(&out)
	_, _ = w.Write(b) // into memory
	_ = w.Close()
	return out.Bytes()
}
