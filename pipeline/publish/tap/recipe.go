package tap

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"unicode/utf8"

	"github.com/slipway-build/slipway/pipeline/internal/canonjson"
	"github.com/slipway-build/slipway/pipeline/release/version"
)

// recipe is what a recipe is of.
type recipe struct {
	id      string // class of a formula, token of a cask; "" for Scoop, whose manifests have no name but the file's
	version version.Version
}

// read reads what a recipe is of: no more than it needs to tell whose turn it is. It refuses what could be taken for two
// versions.
func read(format string, b []byte) (recipe, error) {
	switch {
	case len(b) > maxRecipe:
		return recipe{}, fmt.Errorf("it has more than %d bytes", maxRecipe)
	case !utf8.Valid(b):
		return recipe{}, errors.New("it is not text in UTF-8")
	}
	place := places[format]
	if place.read == nil {
		return recipe{}, fmt.Errorf("there is no format %q", format)
	}
	return place.read(b)
}

// How lines of a formula and a cask look. Ruby has other ways to write them, but recipes are not written in those.
var (
	formulaHead = regexp.MustCompile(`^class ([A-Z][A-Za-z0-9_]*) < Formula$`)
	caskHead    = regexp.MustCompile(`^cask ["']([a-z0-9][a-z0-9+._@-]*)["'] do$`)
	versionLine = regexp.MustCompile(`^version ["']([^"'\\#]*)["']$`)
	urlLine     = regexp.MustCompile(`^url ["']([^"']*)["']`)
	// A formula leaves the version out where Homebrew reads it from such a URL; see format/brew.
	gitHubRelease = regexp.MustCompile(`^https://github\.com/[^/]+/[^/]+/releases/download/(?:[rvV]_?)?(\d+(?:\.\d+)+)/[^/]+$`)
)

func readFormula(b []byte) (recipe, error) { return readRuby(string(b), formulaHead) }

func readCask(b []byte) (recipe, error) { return readRuby(string(b), caskHead) }

// readRuby reads a formula or a cask line by line.
func readRuby(text string, head *regexp.Regexp) (recipe, error) {
	var r recipe
	var said, addressed []string // versions, by the line that has them
	plain := true                // every URL is one that a version is read from
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if line == "__END__" {
			break // what follows is data
		}
		if m := head.FindStringSubmatch(line); m != nil {
			if r.id != "" {
				return recipe{}, errors.New("it has two recipes")
			}
			r.id = m[1]
		} else if m := versionLine.FindStringSubmatch(line); m != nil {
			said = append(said, m[1])
		} else if m := urlLine.FindStringSubmatch(line); m != nil {
			if m := gitHubRelease.FindStringSubmatch(m[1]); m != nil {
				addressed = append(addressed, m[1])
			} else {
				plain = false
			}
		}
	}
	if r.id == "" {
		return recipe{}, errors.New("it does not begin as one")
	}
	found := said
	if len(said) == 0 && plain {
		found = addressed
	}
	if len(found) == 0 {
		return recipe{}, errors.New("no version is in it")
	}
	for _, v := range found[1:] {
		if v != found[0] {
			return recipe{}, fmt.Errorf("the versions %.60q and %.60q are in it", found[0], v)
		}
	}
	var err error
	r.version, err = version.Parse(found[0])
	return r, err
}

// readScoop reads a Scoop manifest. Many are written with a byte order mark.
func readScoop(b []byte) (recipe, error) {
	var m map[string]json.RawMessage
	if err := canonjson.DecodeOpen(bytes.TrimPrefix(b, []byte("\ufeff")), &m); err != nil {
		return recipe{}, errors.New("it is not a JSON object")
	}
	if m["url"] == nil && m["architecture"] == nil {
		return recipe{}, errors.New("it fetches nothing")
	}
	var s string
	if err := json.Unmarshal(m["version"], &s); err != nil {
		return recipe{}, errors.New("no version is in it")
	}
	v, err := version.Parse(s)
	return recipe{version: v}, err
}
