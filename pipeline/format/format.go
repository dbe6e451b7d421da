// Package format holds what packages of every format have in common: what they say of themselves, what they install, and
// how each format writes names, versions and architectures.
//
// The rules of a format are here, in a file of its own, because a plan names packages and a verifier reads them without
// making any. What makes one is a small package below this one: a pure function from these values to bytes.
package format

import (
	"time"

	"github.com/slipway-build/slipway/pipeline/format/archive"
	"github.com/slipway-build/slipway/pipeline/release/artifact"
	"github.com/slipway-build/slipway/pipeline/release/version"
)

// Meta is what a package says of itself.
type Meta struct {
	Name        string          // of the package: lower-case letters, digits and single . _ - between
	Version     version.Version // of the release
	Time        time.Time       // the commit's, in whole seconds
	Title       string          // as people write the name
	Summary     string          // one line that does not end in a full stop
	Description string          // one or more paragraphs; never empty
	Homepage    string          // URL, or ""
	Repository  string          // URL of the source, or ""
	License     string          // SPDX expression, or ""
	Vendor      string          // who distributes it
	Maintainer  string          // Name <address>, or only a name
}

// Role is what a file of a package is for.
type Role string

// The roles of files.
const (
	Program    Role = "program"    // usr/bin/tool
	License    Role = "license"    // usr/share/doc/<name>/LICENSE, or where the format has them
	Document   Role = "document"   // usr/share/doc/<name>/README.md
	Manual     Role = "manual"     // usr/share/man/man1/tool.1, not compressed; a format compresses it where it must be
	Completion Role = "completion" // usr/share/bash-completion/completions/tool
	Unit       Role = "unit"       // usr/lib/systemd/system/tool.service
	Config     Role = "config"     // etc/...: kept when the user changed it
	Data       Role = "data"       // anything else
)

// File is a file that a package installs. Its name is the path on the target, without the slash in front.
type File struct {
	archive.File
	Role Role
}

// Package is a package for one platform that carries its files.
type Package struct {
	Meta
	Platform artifact.Platform
	Files    []File
	// Depends, Recommends, Suggests, Conflicts, Provides and Replaces are relations in the format's own words.
	Depends, Recommends, Suggests, Conflicts, Provides, Replaces []string
	Section                                                      string   // such as utils; a format that has none ignores it
	Changes                                                      string   // what is new, in plain text or Markdown; may be empty
	Confine                                                      string   // confinement of a snap: strict, classic, devmode; "" is strict
	Plugs                                                        []string // interfaces of a snap
	Compression                                                  string   // of a snap's file system: xz or zstd; "" is xz
	NoServices                                                   bool     // leaves the units out of a snap
	Scratch                                                      string   // folder that what writes the package keeps its data in meanwhile; "" is the system's
}

// Download is an archive of the release, as people fetch it.
type Download struct {
	Platform artifact.Platform
	URL      string
	Digest   artifact.Digest
	Size     int64    // bytes
	Folder   string   // in the archive, that everything is in; "" for none
	Programs []string // file names of the programs, with their ending, below Folder
	Files    []string // all other files, below Folder
}

// Recipe is what a package manager needs that fetches the release's own archives.
type Recipe struct {
	Meta
	Downloads   []Download        // sorted by platform
	Completions map[string]string // path in every archive below its folder, by shell: bash, zsh, fish, powershell
	Manuals     []string          // paths in every archive below its folder
	Test        []string          // arguments for a program that show that it works; such as --version
	ReleaseURL  string            // page of this release, or ""
	NotesURL    string            // page of the release notes, or ""
	ID          string            // what the format calls the package
	Tags        []string          // words to find it by
	LicenseText []byte            // in UTF-8; nil where there is none
	LicenseURL  string            // page of the licence, or ""
	IssuesURL   string            // page of the issues, or ""
	Notes       string            // what is new, in Markdown
	Changes     string            // the same in plain text, a line for each
	Signatures  Signatures
}

// Signatures are where the signature of a release's checksums is and who made it: the holder of PublicKey, or Identity
// by the word of Issuer. All is "" where a release is not signed.
type Signatures struct {
	Checksums        string // URL of SHA256SUMS
	Bundle           string // URL of the Sigstore bundle that signs it
	PublicKey        string // PEM
	Identity, Issuer string // of a certificate, whose signatures are in a transparency log
}
