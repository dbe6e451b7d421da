// Package rpm writes packages for rpm: Fedora, Red Hat Enterprise Linux, SUSE and their children.
//
// The payload is compressed with gzip, by the compressor that is pinned in go.mod. Every rpm reads it; zstd would shut out
// those of Amazon Linux 2 and CentOS 7.
//
// Scripts do what Fedora's macros do: a unit that is new follows the distribution's presets, is not started, and is
// restarted by an upgrade if it runs (https://docs.fedoraproject.org/en-US/packaging-guidelines/Scriptlets/#_systemd).
package rpm

import (
	"bytes"
	"cmp"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/template"

	"github.com/slipway-build/slipway/pipeline/format"
	"github.com/slipway-build/slipway/pipeline/format/archive"
	"github.com/slipway-build/slipway/pipeline/format/payload"
	"github.com/slipway-build/slipway/pipeline/release/artifact"
)

// buildHost is what every package says it was built on: which machine it was does not matter, and must not show.
const buildHost = "localhost"

// width is how many characters a line of the description has at most; checkers want less than 80.
const width = 78

// Write writes the package. The same package gives the same bytes. An error names what cannot be in an rpm, and leaves
// nothing written unless w itself fails.
func Write(w io.Writer, p format.Package) (err error) {
	names, err := payload.Check(format.RPM, p)
	if err != nil {
		return err
	}
	tree, err := tree(p)
	if err != nil {
		return err
	}
	scripts, needs, err := scripts(p)
	if err != nil {
		return err
	}
	related, err := relations(p, names, needs)
	if err != nil {
		return err
	}
	// The header is in front of the payload, and has the digests of it.
	data, err := archive.NewSpool(p.Scratch)
	if err != nil {
		return fmt.Errorf("package %s: %w", p.Name, err)
	}
	defer func() { err = errors.Join(err, data.Close()) }()
	compressed := artifact.NewMeter(data)
	plain, digests, err := writePayload(compressed, tree, p.Time)
	if err != nil {
		return err
	}

	header := slices.Concat(
		about(p, names), filesOf(tree, digests, p.Time), scripts, related, changelog(p, full(names)),
		[]value{
			texts(tagPayloadDigest, compressed.Digest().Hex()),
			numbers(tagPayloadDigestAlgo, algoSHA256),
			texts(tagPayloadDigestAlt, plain.Digest().Hex()),
		},
	)
	main := writeHeader(header, regionMain)
	signature := writeHeader([]value{
		text(sigSHA256, artifact.Sum(main).Hex()),
		numbers(sigSize, uint32(int64(len(main))+compressed.Size())), //nolint:gosec // bounded by payload.Tree
		numbers(sigPayloadSize, uint32(plain.Size())),                //nolint:gosec // bounded by payload.Tree
	}, regionSignature)
	front := append(lead(p.Name+"-"+full(names)), signature...)
	front = append(front, make([]byte, -len(front)&7)...) // the signature ends at a multiple of eight bytes
	for _, part := range []io.WriterTo{bytes.NewReader(front), bytes.NewReader(main), data} {
		if _, err := part.WriteTo(w); err != nil {
			return fmt.Errorf("writing rpm: %w", err)
		}
	}
	return nil
}

// full is the version with the release, as everything outside of the package names it.
func full(names payload.Names) string { return names.Version + "-" + format.RPMRelease }

// about is what the package says of itself. Times are of 32 bits, as payload.Check has them.
func about(p format.Package, names payload.Names) []value {
	description := payload.Wrap(p.Description, width)
	values := []value{
		text(tagI18NTable, "C"),
		text(tagName, p.Name),
		text(tagVersion, names.Version),
		text(tagRelease, format.RPMRelease),
		text(tagSummary, cmp.Or(strings.TrimRight(p.Summary, "."), description[0])),
		text(tagDescription, strings.Join(description, "\n")),
		numbers(tagBuildTime, uint32(p.Time.Unix())), //nolint:gosec // see above
		text(tagBuildHost, buildHost),
		text(tagLicense, cmp.Or(p.License, "NOASSERTION")), // obligatory; so SPDX calls what is not known
		text(tagPackager, p.Maintainer),
		text(tagGroup, "Applications/System"),
		text(tagOS, "linux"),
		text(tagArch, names.Arch),
		text(tagSourceRPM, p.Name+"-"+full(names)+".src.rpm"), // without one it would be taken for source
		text(tagPayloadFormat, "cpio"),
		text(tagPayloadCompressor, "gzip"),
		text(tagPayloadFlags, "9"), // of the compressor; readers ignore it
	}
	if p.Vendor != "" {
		values = append(values, text(tagVendor, p.Vendor))
	}
	if p.Homepage != "" {
		values = append(values, text(tagURL, p.Homepage))
	}
	return values
}

// tree is the files of the package, and the folders that are its own, so that they go when it goes. Names of folders have
// no slash at their end here.
func tree(p format.Package) ([]payload.Entry, error) {
	files, err := payload.Files(p)
	if err != nil {
		return nil, err
	}
	all, err := payload.Tree(p, payload.Licensed(p, files))
	if err != nil {
		return nil, err
	}
	var out []payload.Entry
	for _, e := range all {
		if e.Name = strings.TrimSuffix(e.Name, "/"); !e.Folder || own(p.Name, e.Name) {
			out = append(out, e)
		}
	}
	slices.SortFunc(out, func(a, b payload.Entry) int { return strings.Compare(a.Name, b.Name) })
	return out, nil
}

// own reports whether a folder is the package's: one that has its name, or is in such a one.
func own(name, dir string) bool { return slices.Contains(strings.Split(dir, "/"), name) }

//go:embed scripts.tmpl
var scriptsText string

var scriptsTemplate = template.Must(template.New("scripts").Parse(scriptsText))

// shell runs the scriptlets.
const shell = "/bin/sh"

// scripts are the scriptlets that units need, and what they depend on. They never fail, and do nothing where there is no
// systemd.
func scripts(p format.Package) (all []value, needs []relation, err error) {
	units, err := payload.UnitsOf(p)
	if err != nil || len(units.All) == 0 {
		return nil, nil, err
	}
	for _, s := range []struct {
		name         string // of the template
		tag, program int
		sense        uint32
	}{
		{"post", tagPost, tagPostProgram, sensePost},
		{"preun", tagPreRemove, tagPreRemoveProgram, sensePreRemove},
		{"postun", tagPostRemove, tagPostRemoveProgram, sensePostRemove},
	} {
		var b bytes.Buffer
		if err := scriptsTemplate.ExecuteTemplate(&b, s.name, units); err != nil {
			return nil, nil, err
		}
		body := strings.TrimSpace(b.String())
		if body == "" {
			continue
		}
		all = append(all, text(s.tag, body+"\n"), text(s.program, shell))
		needs = append(needs, relation{shell, "", senseInterpreter | s.sense})
	}
	return all, needs, nil
}

// changelog is one entry.
func changelog(p format.Package, version string) []value {
	var points []string
	for _, s := range payload.Changes(p) {
		points = append(points, "- "+strings.Join(payload.Wrap(s, width-2), "\n  "))
	}
	return []value{
		numbers(tagChangelogTime, uint32(p.Time.Unix())), //nolint:gosec // before 2106
		texts(tagChangelogName, p.Maintainer+" - "+version),
		texts(tagChangelogText, strings.Join(points, "\n")),
	}
}
