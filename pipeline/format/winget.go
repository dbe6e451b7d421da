package format

import (
	"cmp"
	"strings"
	"unicode"
)

// Winget is the format of the Windows Package Manager's manifests: several files in the folder of a version
// (https://github.com/microsoft/winget-pkgs). The name is an identifier, of publisher and title.
var Winget = Format{
	Name: "winget", Ending: ".installer.yaml", Folder: true, Goes: "winget", Arch: windows, Version: semVer,
	Path: func(n Names) string { return "packages/winget/" + n.Name },
	Called: func(f Facts) string {
		return cmp.Or(f.ID, wingetPart(f.Vendor)+"."+wingetPart(f.Title))
	},
	Unfit: func(f Facts) string {
		switch {
		case f.License == "":
			return "it requires a licence; set project.license, and name it under formats"
		case f.ID == "" && (max(len(wingetPart(f.Vendor)), len(wingetPart(f.Title))) > maxWingetPart):
			return "its identifier would be too long; set winget.id, and name it under formats"
		}
		return ""
	},
}

// maxWingetPart is how many characters each part of an identifier may have
// (https://github.com/microsoft/winget-cli/tree/master/schemas/JSON/manifests/v1.10.0).
const maxWingetPart = 32

// wingetPart is text without what an identifier of winget may not have.
func wingetPart(s string) string {
	return cmp.Or(strings.Map(func(r rune) rune {
		if r < unicode.MaxASCII && (unicode.IsLetter(r) || unicode.IsDigit(r) || r == '-') {
			return r
		}
		return -1
	}, s), "Unknown")
}
