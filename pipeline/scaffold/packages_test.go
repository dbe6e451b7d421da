package scaffold

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/slipway-build/slipway/pipeline/config"
	"github.com/slipway-build/slipway/pipeline/format"
)

// adopt runs Init on the smallest program with more files, from a GoReleaser configuration where one is given.
func adopt(t *testing.T, remote, goReleaser string, files map[string]string) (config.Config, string) {
	t.Helper()
	all := program()
	for name, data := range files {
		all[name] = data
	}
	o := Options{Version: "v1.0.0", Remote: remote}
	if goReleaser != "" {
		all["g.yml"] = goReleaser
	}
	o.Dir = tree(t, all)
	if goReleaser != "" {
		o.GoReleaser = filepath.Join(o.Dir, "g.yml")
	}
	r, err := Init(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(filepath.Join(o.Dir, config.FileName))
	if err != nil {
		t.Fatal(err)
	}
	c, err := config.Parse(config.FileName, b)
	if err != nil {
		t.Fatal(err)
	}
	return c, lines(r.Notes)
}

const (
	onGitHub = "https://github.com/acme/tool"
	mit      = "Permission is hereby granted, free of charge, to any person obtaining a copy of this software and associated documentation files"
)

// leaving is what is made where some formats are not.
func leaving(formats string) string {
	return strings.Join(slices.DeleteFunc(slices.Clone(format.Where(nil)), func(f string) bool {
		return slices.Contains(strings.Fields(formats), f)
	}), " ")
}

func TestFormats(t *testing.T) {
	service := func(lines string) map[string]string {
		return map[string]string{"LICENSE": mit, "init/tool.service": "[Service]\nExecStart=/usr/bin/tool\n" + lines}
	}
	tests := []struct {
		name, remote, goReleaser string
		files                    map[string]string
		want                     string // formats; "" for all, "none" for no package
		note                     string
	}{
		{"GitHub", onGitHub, "", map[string]string{"LICENSE": mit}, "", "Name <address>"},
		{"elsewhere", "https://git.example.com/acme/tool", "", map[string]string{"LICENSE": mit}, strings.Join(format.Where(func(f format.Format) bool { return f.Carries }), " "), "set download"},
		{"no licence", onGitHub, "", nil, leaving("winget"), "winget: it requires a licence"},
		{"a short name", "https://github.com/acme/x", "", map[string]string{"LICENSE": mit}, leaving("deb rpm apk snap"), "too short"},
		{"a digit first", "https://github.com/acme/7tool", "", map[string]string{"LICENSE": mit}, leaving("formula cask"), "begin with a letter"},
		{"a long title", "https://github.com/acme/" + strings.Repeat("tool", 11), "", map[string]string{"LICENSE": mit}, leaving("snap winget"), "longer than 40"},
		{"a program that is no app", onGitHub, "builds: [{binary: my_tool}]\nnfpms: [{formats: [deb]}]\nsnapcrafts: [{}]", nil, "deb", "my_tool cannot be the name of an app"},
		{"a service", onGitHub, "", service(""), "", ""},
		{"a service of a kind that snapd has not", onGitHub, "", service("Type=dbus\n"), "", "the snap of tool has no services, since snapd has no counterpart of init/tool.service"},
		{"a timer", onGitHub, "", with(service(""), "init/tool.timer", "[Timer]\nOnCalendar=daily\n"), "", "no counterpart of init/tool.timer"},
		{"a classic snap", onGitHub, "snapcrafts: [{confinement: classic, apps: {tool: {plugs: [home]}}}]", nil, "snap", "its plugs are left out"},
		{"no format for the targets", onGitHub, "builds: [{goos: [windows]}]\nnfpms: [{formats: [deb, rpm]}]", nil, "none", "without deb, rpm: none of its targets"},
		{"some formats for the targets", onGitHub, "builds: [{goos: [freebsd], goarch: [amd64]}]\nnfpms: [{formats: [deb]}]\nbrews: [{}]\nscoops: [{}]", nil, "none", "deb, formula, scoop: none of its targets"},
		{"a format that knows the target", onGitHub, "builds: [{goos: [linux], goarch: [mips]}]\nnfpms: [{formats: [deb, apk]}]", nil, "deb", "without apk: none of its targets"},
		{"fetched from nowhere", "", "nfpms: [{formats: [deb]}]\nbrews: [{}]\n", nil, "deb", "without formula: nothing says"},
		{"fetched from a place", "", "brews: [{url_template: 'https://dl.example.com/{{.Version}}/{{.ArtifactName}}'}]\n", nil, "formula", ""},
		{"no common target", onGitHub, "builds: [{goos: [linux], main: .}, {id: b, binary: b, goos: [windows], main: .}]\nscoops: [{}]", nil, "none", "no target has all of tool, b"},
		{"no packages", onGitHub, "builds: [{}]", nil, "none", ""},
		{"formats that are not made", onGitHub, "nfpms: [{formats: [archlinux, ipk]}]", nil, "none", "ipk is not made"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c, notes := adopt(t, tt.remote, tt.goReleaser, tt.files)
			got := "none"
			if len(c.Packages) > 0 {
				got = strings.Join(c.Packages[0].Formats, " ")
			}
			none := strings.Contains(notes, "has no services")
			if none != (len(c.Packages) > 0 && c.Packages[0].Snap.Services == "none") {
				t.Errorf("services %q, notes:\n%s", c.Packages[0].Snap.Services, notes)
			}
			if got != tt.want || len(c.Packages) > 1 || !strings.Contains(notes, tt.note) {
				t.Errorf("formats %q, want %q; %d packages; notes:\n%s", got, tt.want, len(c.Packages), notes)
			}
		})
	}
}

// TestPackageNames has projects whose names not every format takes.
func TestPackageNames(t *testing.T) {
	for project, want := range map[string][2]string{
		"my_tool": {"my-tool", ""}, "a.tool": {"a.tool", "a-tool"}, "tool": {"tool", ""},
	} {
		c, notes := adopt(t, "https://github.com/acme/"+project, "project_name: "+project+"\nbuilds: [{binary: tool}]\nnfpms: [{formats: [deb]}]\nsnapcrafts: [{}]", nil)
		if len(c.Packages) != 1 || c.Packages[0].Name != want[0] || c.Packages[0].Snap.Name != want[1] {
			t.Errorf("%s: %+v, want %v; notes:\n%s", project, c.Packages, want, notes)
		}
	}
	for in, want := range map[string]string{"42": "", "a": "", "A__b": "a-b", strings.Repeat("long-", 8) + "name": strings.Repeat("long-", 7) + "long"} {
		if got := format.SnapName(in); got != want {
			t.Errorf("%q became %q, want %q", in, got, want)
		}
	}
}

func TestShellOf(t *testing.T) {
	for name, want := range map[string]string{
		"completions/tool.bash": "bash", "completion/tool-completion.bash": "bash", "completions/tool.bash-completion": "bash",
		"completions/_tool": "zsh", "completions/tool.zsh": "zsh", "completions/zsh/_tool": "zsh", "completions/tool.fish": "fish",
		"completions/tool.ps1": "powershell", "completions/bash/tool": "bash", "completions/powershell/tool": "powershell",
		"completions/tool": "", "completions/tools.bash": "", "completions/README.md": "", "completions/other.bash": "", "completions/sh/tool": "",
	} {
		if got := shellOf(name, "tool"); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
}

func TestReadUnit(t *testing.T) {
	for text, want := range map[string]unit{
		"[Service]\nExecStart=/usr/bin/a --b c\n":             {program: "/usr/bin/a", snapped: true},
		"[Unit]\nExecStart=/usr/bin/a\n":                      {},
		"[Service]\r\nType=oneshot\r\nExecStart = /a\r\n":     {program: "/a", snapped: true},
		"[Service]\nExecStart=-/a\n":                          {program: "/a"},
		"[Service]\nExecStart=/a\nExecStart=/b\n":             {program: "/a"},
		"[Service]\nType=dbus\nExecStart=/a\n":                {program: "/a"},
		"[Service]\nExecStart=/a \"b\"\n":                     {program: "/a"},
		"[Service]\nExecStartPre=/a\n[Install]\nExecStart=/b": {},
		"": {},
	} {
		want.path = "x.service"
		if got := readUnit("x.service", text); got != want {
			t.Errorf("%q: %+v, want %+v", text, got, want)
		}
	}
	for _, name := range []string{"x.timer", "x@.service"} {
		if readUnit(name, "[Service]\nExecStart=/a\n").snapped {
			t.Errorf("%s was taken for a service of snapd", name)
		}
	}
}

func TestChangelogs(t *testing.T) {
	tests := []struct {
		files map[string]string
		want  string
	}{
		{map[string]string{"CHANGELOG.md": ""}, "CHANGELOG.md"},
		{map[string]string{"CHANGELOG.md": "", "changelog.md": "# 1.2.3"}, "CHANGELOG.md"},
		{map[string]string{"HISTORY.md": "1.2.3 / 2026-01-02\n==="}, "HISTORY.md"},
		{map[string]string{"CHANGES.md": "## [v1.2.3]", "RELEASES.md": "# 1.0.0"}, "CHANGES.md"},
		{map[string]string{"RELEASES.md": "# How to release\nTag it."}, "CHANGELOG.md"},
		{map[string]string{"Changelog.md": "# Version 1.2.3"}, "Changelog.md"},
		{map[string]string{"docs/HISTORY.md": "# 1.2.3"}, "CHANGELOG.md"},
	}
	for _, tt := range tests {
		c, _ := adopt(t, onGitHub, "", tt.files)
		if got := c.Notes.ChangelogFile(); got != tt.want {
			t.Errorf("%v: %q, want %q", tt.files, got, tt.want)
		}
	}
}

func TestImportedNotes(t *testing.T) {
	for section, want := range map[string]struct{ from, note string }{
		"changelog: {use: git}":                     {"commits", ""},
		"changelog: {sort: asc, filters: {x: [y]}}": {"commits", "changelog.filters: commits are grouped"},
		"changelog: {use: github-native}":           {"commits", "not by GitHub"},
		"changelog: {disable: true}":                {"", "changelog.disable: release notes are always written"},
		"changelog: {skip: true}":                   {"", "changelog.skip: release notes are always written"},
		"changelog: {disable: '{{ .IsSnapshot }}'}": {"commits", "always written"},
		"changelog: {ai: {use: x}}":                 {"commits", "changelog.ai: it is not carried over"},
		"changelog:":                                {"", ""},
		"release: {disable: true}":                  {"", "release.disable: a build publishes nothing"},
		"release: {footer: x, draft: true}":         {"", "release: how the release is published"},
	} {
		c, notes := adopt(t, onGitHub, section, nil)
		if c.Notes.From != want.from || !strings.Contains(notes, want.note) {
			t.Errorf("%s: from %q, notes:\n%s", section, c.Notes.From, notes)
		}
	}
}

func TestImportedSigning(t *testing.T) {
	const keyless = "signs: [{cmd: cosign, args: [sign-blob, '${artifact}', --yes], artifacts: checksum}]"
	const identity = "https://github.com/acme/tool/.github/workflows/release.yml@refs/tags/*"
	for _, tt := range []struct{ remote, section, identity, note string }{
		{onGitHub, keyless, identity, "id-token: write"},
		{"https://git.example.com/acme/tool", keyless, "", "set signing.identity and signing.issuer"},
		{onGitHub, "docker_signs: [{args: [sign, '${artifact}']}]", identity, "docker_signs"},
		{onGitHub, "docker_signs: [{}]", "", "docker_signs: the key is not carried over: the keygen command"},
		{onGitHub, "signs: [{}]", "", "signs: the key is not carried over"},
		{onGitHub, "signs: [{artifacts: none}]", "", ""},
		{onGitHub, "signs: [{cmd: cosign, args: [sign-blob, --key=env://K]}]", "", "signing.key"},
		{onGitHub, "signs: [{cmd: cosign, args: [sign-blob, --key, cosign.key]}]", "", "signing.key"},
		{onGitHub, "binary_signs: [{}]", "", "binary_signs: the key"},
	} {
		c, notes := adopt(t, tt.remote, tt.section, nil)
		if c.Signing.Identity != tt.identity || c.Signing.Key != "" || !strings.Contains(notes, tt.note) {
			t.Errorf("%s: %+v, notes:\n%s", tt.section, c.Signing, notes)
		}
	}
}

func TestFormulaTest(t *testing.T) {
	for test, want := range map[string]string{
		`system "#{bin}/tool --version"`:                                         "",
		`system "#{bin}/tool version --short"`:                                   "version --short",
		`system "#{bin}/tool", "version"`:                                        "version",
		`system bin/"tool", "-v"`:                                                "-v",
		`assert_match version.to_s, shell_output("#{bin}/tool version")`:         "version",
		`system "#{bin}/tool --help"`:                                            "left",
		`system "#{bin}/tool version"` + "\n" + `system "#{bin}/tool", "--help"`: "left",
		`system "#{bin}/tool", "version", "#{testpath}"`:                         "version",
		`assert true`: "left",
	} {
		c, notes := adopt(t, onGitHub, "brews:\n  - test: |\n      "+strings.ReplaceAll(test, "\n", "\n      ")+"\n", nil)
		got := strings.Join(c.Packages[0].Test, " ")
		if strings.Contains(notes, "brews.test") {
			got = "left"
		}
		if got != want {
			t.Errorf("%s: %q, want %q", test, got, want)
		}
	}
}

// TestContents has every kind of content in a package for Debian.
func TestContents(t *testing.T) {
	files := map[string]string{
		"LICENSE": mit, "tool.conf": "", "CHANGELOG.md": "", "c/tool.bash": "", "c/_tool": "", "c/tool.fish": "", "m/tool.1": "", "m/tool.5": "",
		"u/tool.service": "", "d/a": "", "d/b": "", "d/sub/c": "",
	}
	tests := []struct{ content, want, note string }{
		{"{src: tool.conf, dst: /etc/tool.conf}", "files:/etc/tool.conf=tool.conf", ""},
		{"{src: tool.conf, dst: /etc/, type: config}", "files:/etc/tool.conf=tool.conf", ""},
		{"{src: './{{ .ProjectName }}.conf', dst: '/etc/{{ .ProjectName }}'}", "files:/etc/tool=tool.conf", ""},
		{"{src: tool.conf, dst: /etc/x, packager: deb}", "files:/etc/x=tool.conf", ""},
		{"{src: tool.conf, dst: /etc/x, packager: rpm}", "", "for rpm alone"},
		{"{src: 'd/*', dst: /usr/share/tool}", "files:/usr/share/tool/a=d/a files:/usr/share/tool/b=d/b", ""},
		{"{src: 'd/**', dst: /usr/share/tool}", "", "the pattern d/**"},
		{"{src: d, dst: /usr/share/tool}", "", "there is no file d"},
		{"{src: ../x, dst: /x}", "", "there is no file ../x"},
		{"{src: '../*', dst: /x}", "", "the pattern ../*"},
		{"{src: tool.conf, dst: relative}", "", "is left out"},
		{"{src: m/tool.1, dst: /usr/share/man/man1/tool.1.gz}", "manual:m/tool.1", ""},
		{"{src: 'm/tool.*', dst: /usr/share/man/man1/}", "manual:m/tool.1 manual:m/tool.5", ""},
		{"{src: './m/*.1', dst: /usr/share/man/man1/}", "manual:pattern m/*.1", ""},
		{"{src: m/tool.1, dst: /usr/share/man/man1/other.1}", "files:/usr/share/man/man1/other.1=m/tool.1", ""},
		{"{src: c/tool.bash, dst: /usr/share/bash-completion/completions/tool}", "bash:c/tool.bash", ""},
		{"{src: c/_tool, dst: /usr/share/zsh/site-functions/_tool}", "zsh:c/_tool", ""},
		{"{src: c/tool.fish, dst: /usr/share/fish/vendor_completions.d/tool.fish}", "fish:c/tool.fish", ""},
		{"{src: c/tool.fish, dst: /usr/share/fish/vendor_completions.d/other.fish}", "files:/usr/share/fish/vendor_completions.d/other.fish=c/tool.fish", ""},
		{"{src: u/tool.service, dst: /etc/systemd/system/tool.service}", "unit:u/tool.service", ""},
		{"{src: LICENSE, dst: /usr/share/licenses/tool/LICENSE}", "", ""},
		{"{src: CHANGELOG.md, dst: /usr/share/doc/tool/changelog.gz}", "", "it is made from the licence or the release notes"},
		{"{src: CHANGELOG.md, dst: /usr/share/doc/tool/CHANGELOG.md, type: doc}", "files:/usr/share/doc/tool/CHANGELOG.md=CHANGELOG.md", ""},
		{"{src: /a, dst: /b, type: ghost}", "", "ghost is not carried over"},
		{"{dst: /b}", "", ""},
	}
	for _, tt := range tests {
		c, notes := adopt(t, onGitHub, "nfpms:\n  - formats: [deb]\n    contents: ["+tt.content+"]\n", files)
		var got []string
		p := c.Packages[0]
		for _, m := range p.Manuals {
			if strings.Contains(m, "*") {
				m = "pattern " + m
			}
			got = append(got, "manual:"+m)
		}
		for _, u := range p.Units {
			got = append(got, "unit:"+u)
		}
		for _, shell := range sortedKeys(p.Completions) {
			got = append(got, shell+":"+p.Completions[shell])
		}
		for _, to := range sortedKeys(p.Files) {
			got = append(got, "files:"+to+"="+p.Files[to])
		}
		if s := strings.Join(got, " "); s != tt.want || !strings.Contains(notes, tt.note) || tt.want == "" && tt.note != "" && !strings.Contains(notes, "g.yml:3:") {
			t.Errorf("%s: %s, want %s; notes:\n%s", tt.content, s, tt.want, notes)
		}
	}
}

// TestManyPackages bounds what a file can ask for.
func TestManyPackages(t *testing.T) {
	var b strings.Builder
	b.WriteString("brews:\n")
	for range maxPackages + 1 {
		b.WriteString("  - name: p" + strings.Repeat("x", b.Len()%97) + strings.Repeat("y", b.Len()%89) + "\n")
	}
	o := Options{Dir: tree(t, with(program(), "g.yml", b.String()))}
	o.GoReleaser = filepath.Join(o.Dir, "g.yml")
	if _, err := Init(t.Context(), o); err == nil || !strings.Contains(err.Error(), "more than 100 packages") {
		t.Errorf("error %v", err)
	}
}
