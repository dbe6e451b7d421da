package artifact_test

import (
	"path"
	"path/filepath"
	"strings"
	"testing"

	"github.com/slipway-build/slipway/pipeline/release/artifact"
)

func TestCheckPath(t *testing.T) {
	for _, p := range []string{
		"a", "a/b", ".hidden", "a/..b", "a/...b", "console", "a/com10", "com", "nullable/x", "binaries/tool_linux_amd64/tool",
		"naïve/résumé.txt", "日本/語", "-x", " leading", "a b", "1.2.3+meta", strings.Repeat("a/", 511) + "a", strings.Repeat("x", 255),
	} {
		if err := artifact.CheckPath(p); err != nil {
			t.Errorf("CheckPath(%.60q) = %v", p, err)
		}
	}
	for p, want := range map[string]string{
		"":                              `path "" is empty`,
		".":                             `path "." is empty`,
		"..":                            `path ".." leaves its folder`,
		"../x":                          `path "../x" leaves its folder`,
		"a/../../x":                     `path "a/../../x" leaves its folder`,
		"a/../x":                        `path "a/../x" is not clean; write "x"`,
		"./x":                           `path "./x" is not clean; write "x"`,
		"x/":                            `path "x/" is not clean; write "x"`,
		"x//y":                          `path "x//y" is not clean; write "x/y"`,
		"/etc/passwd":                   `path "/etc/passwd" is absolute; it must be relative`,
		"//host/share":                  `path "//host/share" is absolute; it must be relative`,
		`a\b`:                           `path "a\\b" has a backslash; separate with /`,
		`C:\x`:                          `path "C:\\x" has a backslash; separate with /`,
		"C:x":                           `path "C:x": "C:x" has a character that not every system allows in a file name`,
		"a/b:stream":                    `path "a/b:stream": "b:stream" has a character that not every system allows in a file name`,
		"CON":                           `path "CON": "CON" is a device on Windows; choose another name`,
		"a/con.txt":                     `path "a/con.txt": "con.txt" is a device on Windows; choose another name`,
		"nul.tar.gz":                    `path "nul.tar.gz": "nul.tar.gz" is a device on Windows; choose another name`,
		"LPT1/x":                        `path "LPT1/x": "LPT1" is a device on Windows; choose another name`,
		"com¹":                          `path "com¹": "com¹" is a device on Windows; choose another name`,
		"ConOut$":                       `path "ConOut$": "ConOut$" is a device on Windows; choose another name`,
		"aux .c":                        `path "aux .c": "aux .c" is a device on Windows; choose another name`,
		"a./b":                          `path "a./b": "a." ends in a dot or a space, which Windows drops`,
		"a/b ":                          `path "a/b ": "b " ends in a dot or a space, which Windows drops`,
		"a/...":                         `path "a/...": "..." ends in a dot or a space, which Windows drops`,
		"a\nb":                          `path "a\nb": "a\nb" has a character that not every system allows in a file name`,
		"a\x00b":                        `path "a\x00b": "a\x00b" has a character that not every system allows in a file name`,
		"a\x7f":                         `path "a\x7f": "a\x7f" has a character that not every system allows in a file name`,
		"a\u0085b":                      `path "a\u0085b": "a\u0085b" has a character that not every system allows in a file name`,
		"what?":                         `path "what?": "what?" has a character that not every system allows in a file name`,
		"*":                             `path "*": "*" has a character that not every system allows in a file name`,
		"a\xff":                         `path "a\xff" is not UTF-8`,
		strings.Repeat("x", 256):        `path "` + strings.Repeat("x", 40) + `"...: "` + strings.Repeat("x", 40) + `"... is longer than 255 bytes`,
		strings.Repeat("a/", 512) + "a": `path "` + strings.Repeat("a/", 20) + `"... is longer than 1024 bytes`,
	} {
		if err := artifact.CheckPath(p); err == nil {
			t.Errorf("CheckPath(%.60q) accepts it", p)
		} else if err.Error() != want {
			t.Errorf("CheckPath(%.60q):\n got %s\nwant %s", p, err, want)
		}
	}
}

func TestCheckPaths(t *testing.T) {
	for _, tt := range []struct {
		paths []string
		want  string
	}{
		{nil, ""},
		{[]string{"a", "b/a", "b/c", "ab"}, ""},
		{[]string{"a", "../a"}, `path "../a" leaves its folder`},
		{[]string{"a", "a"}, `path "a" is named twice`},
		{[]string{"a/README", "a/readme"}, `paths "a/README" and "a/readme" are one file where letter case does not count`},
		{[]string{"straſse", "strasse"}, `paths "straſse" and "strasse" are one file where letter case does not count`},
		{[]string{"\u212a", "k"}, "paths \"\u212a\" and \"k\" are one file where letter case does not count"},
		{[]string{"ΟΔΟΣ", "οδος"}, `paths "ΟΔΟΣ" and "οδος" are one file where letter case does not count`},
		{[]string{"a", "a/b"}, `path "a" is a file and a folder of "a/b"`},
		{[]string{"A/B/C", "a"}, `path "a" is a file and a folder of "A/B/C"`},
	} {
		err := artifact.CheckPaths(tt.paths)
		if got := message(err); got != tt.want {
			t.Errorf("CheckPaths(%q):\n got %s\nwant %s", tt.paths, got, tt.want)
		}
	}
}

func message(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

func FuzzCheckPath(f *testing.F) {
	for _, s := range []string{"a/b", "../x", "/x", "CON", "a\\b", "C:x", "x ", "x\n", "\xff", "a/./b"} {
		f.Add(s)
	}
	root := string(filepath.Separator) + "root"
	f.Fuzz(func(t *testing.T, s string) {
		if artifact.CheckPath(s) != nil {
			return
		}
		if !filepath.IsLocal(s) || path.IsAbs(s) || path.Clean(s) != s || strings.ContainsAny(s, "\n\r\x00\\:") {
			t.Errorf("%q is accepted", s)
		}
		if joined := filepath.Join(root, filepath.FromSlash(s)); !strings.HasPrefix(joined, root+string(filepath.Separator)) {
			t.Errorf("%q leaves its root: %s", s, joined)
		}
		if err := artifact.CheckPaths([]string{s, "other/" + s}); err != nil && s != "other" && !strings.EqualFold(strings.SplitN(s, "/", 2)[0], "other") && len(s) < 1000 {
			t.Errorf("%q: %v", s, err)
		}
	})
}
