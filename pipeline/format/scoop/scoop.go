// Package scoop makes manifests for Scoop, which fetches the release's own zips for Windows.
//
// A manifest is JSON in the order and with the four spaces of Scoop's own buckets
// (https://github.com/ScoopInstaller/Scoop/wiki/App-Manifests), which its schema.json describes.
package scoop

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"github.com/slipway-build/slipway/pipeline/format"
)

type manifest struct {
	Version      string                  `json:"version"`
	Description  string                  `json:"description,omitempty"`
	Homepage     string                  `json:"homepage"`
	License      string                  `json:"license"`
	Architecture map[string]architecture `json:"architecture"`
	Bin          any                     `json:"bin,omitempty"`
	Checkver     *checkver               `json:"checkver,omitempty"`
	Autoupdate   *autoupdate             `json:"autoupdate,omitempty"`
}

type architecture struct {
	URL        string `json:"url"`
	Hash       string `json:"hash,omitempty"`
	ExtractDir string `json:"extract_dir,omitempty"`
	Bin        any    `json:"bin,omitempty"`
}

type checkver struct {
	GitHub string `json:"github"`
}

type autoupdate struct {
	Architecture map[string]architecture `json:"architecture"`
}

// names are Scoop's architectures. Where a manifest lacks arm64, Scoop installs 64bit there, for emulation.
var names = map[string]string{"386": "32bit", "amd64": "64bit", "arm64": "arm64"}

// Manifest is the manifest of the recipe, to be stored as bucket/<name>.json. It returns format.ErrNoWindows where the
// release has no zip for Windows.
//
// A repository on github.com is where checkver looks for new releases. autoupdate has the URLs and folders of this
// release with $version for its version, and is left out where a URL does not contain the version.
func Manifest(r format.Recipe) ([]byte, error) {
	m, err := describe(r)
	if err != nil {
		return nil, fmt.Errorf("making the Scoop manifest: %w", err)
	}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "    ")
	if err := enc.Encode(m); err != nil {
		return nil, fmt.Errorf("making the Scoop manifest: %w", err)
	}
	return b.Bytes(), nil
}

func describe(r format.Recipe) (manifest, error) {
	if r.Version.IsZero() {
		return manifest{}, errors.New("version is not set")
	}
	downloads, err := format.Windows(r)
	if err != nil {
		return manifest{}, err
	}
	m := manifest{
		Version:      r.Version.String(),
		Description:  cmp.Or(format.Line(r.Summary), format.Line(r.Title), format.Line(r.Name)),
		Homepage:     cmp.Or(r.Homepage, r.Repository, r.ReleaseURL),
		License:      identifiers(r.License),
		Architecture: map[string]architecture{},
	}
	if m.Homepage == "" {
		return manifest{}, errors.New("no home page, which Scoop requires; set the homepage or the repository")
	}
	for _, u := range []string{m.Homepage, r.Repository} {
		if u == "" {
			continue
		}
		if _, err := format.CheckURL(u); err != nil {
			return manifest{}, err
		}
	}
	if repo, ok := github(r.Repository); ok {
		m.Checkver = &checkver{repo}
	}

	same := true
	update := map[string]architecture{}
	for _, d := range downloads {
		for _, s := range append([]string{d.URL, d.Folder}, d.Programs...) {
			if strings.Contains(s, "$") {
				return manifest{}, fmt.Errorf("download for %s: %q has a $, which begins a variable of Scoop", d.Platform, s)
			}
		}
		name := names[d.Platform.Arch]
		m.Architecture[name] = architecture{d.URL, d.Digest.Hex(), windows(d.Folder), bin(d.Programs)}
		same = same && slices.Equal(d.Programs, downloads[0].Programs)

		a := architecture{ExtractDir: windows(d.Folder)}
		var ok bool
		if a.URL, ok = generalize(d.URL, m.Version); !ok {
			update = nil
		}
		if dir, ok := generalize(a.ExtractDir, m.Version); ok {
			a.ExtractDir = dir
		}
		if update != nil {
			update[name] = a
		}
	}
	if same {
		m.Bin = bin(downloads[0].Programs)
		for name, a := range m.Architecture {
			a.Bin = nil
			m.Architecture[name] = a
		}
	}
	if update != nil {
		m.Autoupdate = &autoupdate{update}
	}
	return m, nil
}

// windows is a path with the separators of Windows.
func windows(p string) string { return strings.ReplaceAll(p, "/", `\`) }

// bin names the programs: one by itself, several as a list.
func bin(programs []string) any {
	if len(programs) == 1 {
		return windows(programs[0])
	}
	out := make([]string, len(programs))
	for i, p := range programs {
		out[i] = windows(p)
	}
	return out
}

// generalize writes $version for the version in the path of a URL or in a folder, wherever it stands by itself: as
// part of a longer number it is not the version.
func generalize(s, version string) (string, bool) {
	head := ""
	if i := strings.Index(s, "://"); i >= 0 {
		if j := strings.IndexByte(s[i+3:], '/'); j >= 0 {
			head, s = s[:i+3+j], s[i+3+j:]
		}
	}
	digit := func(i int) bool { return i >= 0 && i < len(s) && s[i] >= '0' && s[i] <= '9' }
	more := func(i, step int) bool {
		return digit(i) || i >= 0 && i < len(s) && s[i] == '.' && digit(i+step)
	}
	var b strings.Builder
	found := false
	for i := 0; i < len(s); {
		end := i + len(version)
		if strings.HasPrefix(s[i:], version) && !more(i-1, -1) && !more(end, 1) {
			b.WriteString("$version")
			found, i = true, end
			continue
		}
		b.WriteByte(s[i])
		i++
	}
	return head + b.String(), found
}

// identifiers is an SPDX expression as Scoop writes licenses: a bar between those that one chooses from, a comma
// between those that hold together. An expression of both, or with parentheses, stays as it is.
func identifiers(expression string) string {
	e := format.Line(expression)
	or, and := strings.Contains(e, " OR "), strings.Contains(e, " AND ")
	switch {
	case e == "":
		return "Unknown"
	case strings.ContainsAny(e, "()") || or && and:
		return e
	}
	return strings.NewReplacer(" OR ", "|", " AND ", ",").Replace(e)
}

// github is the address of a repository on GitHub, without an ending.
func github(repository string) (string, bool) {
	u, err := url.Parse(repository)
	if err != nil || u.Scheme != "https" || u.Host != "github.com" {
		return "", false
	}
	p := strings.TrimSuffix(strings.Trim(u.Path, "/"), ".git")
	if owner, name, ok := strings.Cut(p, "/"); !ok || owner == "" || name == "" || strings.Contains(name, "/") {
		return "", false
	}
	return "https://github.com/" + p, true
}
