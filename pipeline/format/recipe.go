package format

import (
	"regexp"

	"github.com/slipway-build/slipway/pipeline/release/artifact"
	"github.com/slipway-build/slipway/pipeline/release/version"
)

// Formula is the format of Homebrew's formulae (https://docs.brew.sh/Formula-Cookbook).
var Formula = Format{
	Name: "formula", Ending: ".rb", Goes: "homebrew", Kept: "Formula", Arch: brewed, Version: semVer, Unfit: unbrewed,
	Path: func(n Names) string { return "packages/homebrew/Formula/" + n.Name + ".rb" },
}

// Cask is the format of Homebrew's casks (https://docs.brew.sh/Cask-Cookbook).
var Cask = Format{
	Name: "cask", Ending: ".rb", Goes: "homebrew", Kept: "Casks", Arch: brewed, Version: semVer, Unfit: unbrewed,
	Path: func(n Names) string { return "packages/homebrew/Casks/" + n.Name + ".rb" },
}

// Scoop is the format of Scoop's manifests (https://github.com/ScoopInstaller/Scoop/wiki/App-Manifests).
var Scoop = Format{
	Name: "scoop", Ending: ".json", Goes: "scoop", Kept: "bucket", Arch: windows, Version: semVer,
	Path: func(n Names) string { return "packages/scoop/" + n.Name + ".json" },
}

// Script is the install script.
var Script = Format{
	Name: "script", Ending: ".sh", Offered: true, Version: semVer,
	Arch: func(p artifact.Platform) (string, bool) {
		return "", p.OS != "windows" && p.OS != "plan9" && (p.Variant == "" || p.Arch == "arm")
	},
	Path: func(n Names) string {
		if n.Name == n.Project {
			return "packages/install.sh"
		}
		return "packages/" + n.Name + "-install.sh"
	},
	// Of 32-bit ARM it tells v6 from v7, and v6 is what no variant is.
	Choose: func(p artifact.Platform) string {
		if p.Arch == "arm" && p.Variant == "" {
			p.Variant = "v6"
		}
		return p.String()
	},
}

// windows are the platforms of Windows that package managers there know.
func windows(p artifact.Platform) (string, bool) { return "", p.OS == "windows" && p.Variant == "" }

// brewed are the platforms that Homebrew runs on (https://docs.brew.sh/Support-Tiers).
func brewed(p artifact.Platform) (string, bool) {
	return "", (p.OS == "darwin" || p.OS == "linux") && (p.Arch == "amd64" || p.Arch == "arm64") && p.Variant == ""
}

var lowerCaseFirst = regexp.MustCompile(`^[a-z]`)

func unbrewed(f Facts) string {
	if !lowerCaseFirst.MatchString(f.Name) {
		return "names there begin with a letter; set name"
	}
	return ""
}

// semVer writes a version as it is.
func semVer(v version.Version) (string, error) { return v.String(), nil }
