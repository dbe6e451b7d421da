package git_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/slipway-build/slipway/pipeline/git"
	"github.com/slipway-build/slipway/pipeline/release/fault"
)

var needs = git.Version{Major: 2, Minor: 25}

// environ is this process's, with nothing of the machine's configuration of git and with more.
func environ(t testing.TB, more ...string) []string {
	return append(append(
		os.Environ(), "HOME="+t.TempDir(), "GIT_CONFIG_GLOBAL="+os.DevNull, "GIT_CONFIG_NOSYSTEM=1",
		"GIT_AUTHOR_NAME=Test", "GIT_AUTHOR_EMAIL=test@example.com", "GIT_COMMITTER_NAME=Test", "GIT_COMMITTER_EMAIL=test@example.com",
	), more...)
}

// do runs git as a person does.
func do(t testing.TB, dir string, args ...string) string {
	t.Helper()
	cmd := exec.Command("git", args...)
	cmd.Dir, cmd.Env = dir, environ(t)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("git %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return strings.TrimSpace(string(out))
}

func write(t testing.TB, name, text string, mode os.FileMode) string {
	t.Helper()
	must(t, os.MkdirAll(filepath.Dir(name), 0o755))
	must(t, os.WriteFile(name, []byte(text), mode))
	return name
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// repository has files that go through the filters one to four and lfs, and that git has to read again to see whether they changed.
func repository(t testing.TB) string {
	dir := t.TempDir()
	do(t, dir, "init", "--quiet", "--initial-branch=main")
	for _, n := range []string{"one", "two", "three", "four", "lfs"} {
		write(t, filepath.Join(dir, "f."+n), n+"\n", 0o644)
		f, err := os.OpenFile(filepath.Join(dir, ".gitattributes"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
		must(t, err)
		_, err = f.WriteString("*." + n + " filter=" + n + "\n")
		must(t, errors.Join(err, f.Close()))
	}
	do(t, dir, "add", "--all")
	do(t, dir, "commit", "--quiet", "--message", "one")
	for _, n := range []string{"one", "two", "three", "four", "lfs"} {
		later := time.Now().Add(time.Hour)
		must(t, os.Chtimes(filepath.Join(dir, "f."+n), later, later))
	}
	return dir
}

// recorder is a program that writes down under which name it was run. As a filter it changes nothing.
func recorder(t testing.TB) (program, ran string) {
	if runtime.GOOS == "windows" {
		t.Skip("the programs are scripts")
	}
	dir := t.TempDir()
	ran = filepath.Join(dir, "ran")
	return write(t, filepath.Join(dir, "program"), "#!/bin/sh\necho \"$1\" >>'"+ran+"'\ncase $1 in uploadpack|ssh) exit 1;; esac\ncat\n", 0o755), ran
}

// taken is what ran since it was last asked.
func taken(t testing.TB, ran string) []string {
	t.Helper()
	b, err := os.ReadFile(ran)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	must(t, err)
	must(t, os.Remove(ran))
	names := strings.Fields(string(b))
	slices.Sort(names)
	return slices.Compact(names)
}

func TestDistrust(t *testing.T) {
	program, ran := recorder(t)
	dir := repository(t)
	for i, key := range []string{
		"filter.one.clean", "filter.one.smudge", "core.fsmonitor", "core.sshCommand", "core.askPass", "core.editor", "core.pager", "core.gitProxy",
		"core.alternateRefsCommand", "credential.helper", "credential.https://example.com.helper", "diff.external", "diff.x.textconv", "gpg.program",
		"remote.origin.uploadpack", "remote.origin.vcs", "uploadpack.packObjectsHook", "pager.status", "alias.status", "lfs.extension.x.clean",
		"lfs.customtransfer.x.path",
	} {
		value := program + " " + key
		if strings.HasPrefix(key, "alias.") {
			value = "!" + value
		}
		do(t, dir, "config", key, value)
		if i == 0 {
			do(t, dir, "config", "filter.one.required", "true")
		}
	}
	hooks := filepath.Join(dir, ".git", "hooks")
	for _, hook := range []string{"post-index-change", "reference-transaction", "pre-push"} {
		write(t, filepath.Join(hooks, hook), "#!/bin/sh\nexec '"+program+"' hook:"+hook+"\n", 0o755)
	}
	included := filepath.Join(t.TempDir(), "included")
	do(t, dir, "config", "include.path", included)
	do(t, dir, "config", "-f", included, "filter.two.process", program+" two")
	do(t, dir, "config", "-f", included, "filter.two.clean", program+" two")
	onlyIf := filepath.Join(t.TempDir(), "onlyif")
	do(t, dir, "config", "includeIf.onbranch:main.path", onlyIf)
	do(t, dir, "config", "-f", onlyIf, "FILTER.three.CLEAN", program+" three")
	do(t, dir, "config", "extensions.worktreeConfig", "yes")
	do(t, dir, "config", "--worktree", "filter.four.clean", program+" four")
	do(t, dir, "config", "filter.lfs.clean", program+" lfs")

	plain, err := git.New(git.Local(environ(t)), dir, needs)
	must(t, err)
	plain.Filters = []string{"lfs"} // which is not Git LFS here
	g, err := plain.Distrust(t.Context())
	must(t, err)
	for _, args := range [][]string{
		{"status", "--porcelain=v2", "-z", "--untracked-files=all"},
		{"log", "-z", "--format=%H%n%aN%n%B"},
		{"ls-files", "-z", "--others", "--exclude-standard"},
		{"cat-file", "commit", "HEAD"},
		{"tag", "v1"},
	} {
		_, err := g.Run(t.Context(), nil, args...)
		must(t, err)
	}
	if names := taken(t, ran); names != nil {
		t.Errorf("the repository had these programs run: %q", names)
	}
	// The test sees them: without Distrust the filters run, whatever else is said on the command line.
	_, _ = plain.Run(t.Context(), nil, "status")
	if names := taken(t, ran); !slices.Contains(names, "filter.one.clean") && !slices.Contains(names, "two") {
		t.Errorf("without Distrust these run: %q", names)
	}

	do(t, dir, "config", "filter.a=b.clean", program)
	if _, err := plain.Distrust(t.Context()); fault.CodeOf(err) != fault.Git || !strings.Contains(err.Error(), "filter.a=b.clean") {
		t.Errorf("a key that cannot be set aside: %v", err)
	}
}

// TestPlanted plants each program that git's documentation lets a repository's configuration name, and runs each kind of command that
// rooms run in a repository that is not theirs, with the options that they run it with. Without Distrust some of them start.
func TestPlanted(t *testing.T) {
	program, ran := recorder(t)
	dir := repository(t)
	write(t, filepath.Join(dir, ".gitattributes"), "* filter=one diff=x merge=x\n", 0o644)
	do(t, dir, "commit", "--quiet", "--all", "--message", "attributes")
	do(t, dir, "checkout", "--quiet", "-b", "side", "HEAD~1")
	write(t, filepath.Join(dir, "f.one"), "side\n", 0o644)
	do(t, dir, "commit", "--quiet", "--all", "--message", "side")
	do(t, dir, "checkout", "--quiet", "main")
	write(t, filepath.Join(dir, "f.one"), "main\n", 0o644)
	do(t, dir, "commit", "--quiet", "--all", "--message", "main")
	// A commit with a signature has a log that shows signatures ask gpg.program for it.
	commit, err := exec.Command("git", "-C", dir, "cat-file", "commit", "HEAD").Output()
	must(t, err)
	head, body, _ := strings.Cut(string(commit), "\n\n")
	plant := exec.Command("git", "-C", dir, "hash-object", "-t", "commit", "-w", "--stdin")
	plant.Stdin = strings.NewReader(head + "\ngpgsig -----BEGIN PGP SIGNATURE-----\n \n x\n -----END PGP SIGNATURE-----\n\n" + body)
	id, err := plant.Output()
	must(t, err)
	do(t, dir, "update-ref", "HEAD", strings.TrimSpace(string(id)))

	for _, key := range []string{
		"filter.one.clean", "filter.one.smudge", "merge.x.driver", "diff.x.textconv", "diff.x.command", "diff.external",
		"gpg.program", "gpg.openpgp.program", "gpg.ssh.program", "gpg.x509.program", "gpg.ssh.defaultKeyCommand",
		"core.fsmonitor", "core.editor", "core.pager", "core.sshCommand", "core.askPass", "core.alternateRefsCommand", "credential.helper",
		"sequence.editor", "interactive.diffFilter", "pager.log", "pager.diff", "tar.tar.command", "trailer.x.command", "trailer.x.cmd",
		"mergetool.x.cmd", "difftool.x.cmd", "submodule.x.update", "uploadpack.packObjectsHook", "remote.origin.receivepack",
	} {
		value := program + " " + key
		if key == "submodule.x.update" {
			value = "!" + value
		}
		do(t, dir, "config", key, value)
	}
	for key, value := range map[string]string{
		"log.showSignature": "true", "commit.gpgSign": "true", "tag.gpgSign": "true", "trailer.x.key": "X", "merge.x.name": "x", "merge.tool": "x",
		"diff.trustExitCode": "true", "core.hooksPath": filepath.Dir(program), "user.name": "Test", "user.email": "test@example.com",
	} {
		do(t, dir, "config", key, value)
	}
	plain, err := git.New(git.Local(environ(t)), dir, needs)
	must(t, err)
	g, err := plain.Distrust(t.Context())
	must(t, err)
	all := [][]string{
		{"log", "-1", "-p", "--no-show-signature", "--no-ext-diff", "--no-textconv", "--format=%H%x00%B", "HEAD", "--"},
		{"diff-tree", "--root", "-r", "-p", "--no-ext-diff", "--no-textconv", "HEAD"},
		{"diff-tree", "-r", "-z", "--no-renames", "--name-only", "HEAD~1", "HEAD", "--"},
		{"diff", "--name-only", "-z", "--no-ext-diff"},
		{"status", "--porcelain=v2", "-z"},
		{"commit-tree", "HEAD^{tree}", "-p", "HEAD", "-m", "x"},
		{"read-tree", "HEAD"},
		{"tag", "--points-at", "HEAD"},
		{"rev-list", "--count", "HEAD"},
		{"checkout", "--quiet", "--force", "--detach", "HEAD", "--"},
		{"cherry-pick", "--no-commit", "side"},
		{"reset", "--quiet", "HEAD", "--", "f.one"},
		{"checkout-index", "--quiet", "--force", "--", "f.one"},
	}
	for _, args := range all {
		if _, err := g.Run(t.Context(), nil, args...); err != nil && args[0] != "cherry-pick" {
			t.Error(err)
		}
		if args[0] == "cherry-pick" { // as git merges text by itself
			if b, err := os.ReadFile(filepath.Join(dir, "f.one")); err != nil || !strings.Contains(string(b), "<<<<<<<") || !strings.Contains(string(b), "side\n>>>>>>>") {
				t.Errorf("%q, %v", b, err)
			}
		}
		if names := taken(t, ran); names != nil {
			t.Errorf("git %s ran %q", args[0], names)
		}
	}
	for _, args := range append(all, []string{"log", "-1", "-p"}, []string{"diff", "HEAD~1"}) {
		_, _ = plain.Run(t.Context(), nil, args...)
	}
	names := taken(t, ran)
	for _, want := range []string{"filter.one.clean", "filter.one.smudge", "merge.x.driver", "diff.x.command", "diff.x.textconv"} {
		if !slices.Contains(names, want) {
			t.Errorf("without Distrust, and with a log that shows everything, %s does not run, but %q: this tests nothing", want, names)
		}
	}
}

// A person's own filters are obeyed, and so is Git LFS where it was installed for one repository and the caller allows it.
func TestOwnFilters(t *testing.T) {
	program, ran := recorder(t)
	dir := repository(t)
	global := filepath.Join(t.TempDir(), "config")
	do(t, dir, "config", "-f", global, "filter.one.clean", program+" mine")
	bin := t.TempDir()
	write(t, filepath.Join(bin, "git-lfs"), "#!/bin/sh\nexec '"+program+"' git-lfs\n", 0o755)
	do(t, dir, "config", "filter.lfs.clean", "git-lfs clean -- %f")
	do(t, dir, "config", "filter.lfs.required", "true")
	env := environ(t, "GIT_CONFIG_GLOBAL="+global, "PATH="+bin+string(filepath.ListSeparator)+os.Getenv("PATH"))
	for filter, want := range map[string][]string{"lfs": {"git-lfs", "mine"}, "": {"mine"}, "other": {"mine"}} {
		later := time.Now().Add(time.Hour)
		must(t, os.Chtimes(filepath.Join(dir, "f.lfs"), later, later))
		g, err := git.New(git.Local(env), dir, needs)
		must(t, err)
		g.Filters = []string{filter}
		g, err = g.Distrust(t.Context())
		must(t, err)
		out, err := g.Run(t.Context(), nil, "status", "--porcelain=v2")
		must(t, err)
		if len(out) > 0 {
			t.Errorf("changed:\n%s", out)
		}
		if names := taken(t, ran); !slices.Equal(names, want) {
			t.Errorf("with the filter %q of the clone these ran: %q", filter, names)
		}
		if aside := g.Aside(); (len(aside) == 0) != (filter == "lfs") {
			t.Errorf("with the filter %q of the clone %q were set aside", filter, aside)
		}
	}
}

// A clone that fetches what it lacks when it is read reaches its remote by a person's programs, not by its own.
func TestPartialClone(t *testing.T) {
	program, ran := recorder(t)
	from := repository(t)
	do(t, from, "config", "uploadpack.allowFilter", "true")
	do(t, from, "config", "uploadpack.allowAnySHA1InWant", "true")
	dir := filepath.Join(t.TempDir(), "clone")
	do(t, from, "clone", "--quiet", "--no-checkout", "--filter=blob:none", "file://"+filepath.ToSlash(from), dir)
	do(t, dir, "config", "remote.origin.uploadpack", program+" uploadpack")
	plain, err := git.New(git.Local(environ(t)), dir, needs)
	must(t, err)
	if _, err := plain.Run(t.Context(), nil, "cat-file", "blob", "HEAD:f.one"); err == nil || taken(t, ran) == nil {
		t.Fatalf("the program of the clone did not run: %v", err)
	}
	g, err := plain.Distrust(t.Context())
	must(t, err)
	if _, err := g.Run(t.Context(), nil, "cat-file", "blob", "HEAD:f.one"); git.KindOf(err) != git.Absent || !strings.Contains(err.Error(), "transport 'file' not allowed") {
		t.Error(err)
	}
	do(t, dir, "config", "--unset", "remote.origin.uploadpack")
	g, err = plain.Distrust(t.Context())
	must(t, err)
	if out, err := g.Run(t.Context(), nil, "cat-file", "blob", "HEAD:f.one"); err != nil || string(out) != "one\n" {
		t.Errorf("%q, %v", out, err)
	}
	do(t, dir, "config", "remote.origin.url", "ssh://127.0.0.1:1/x")
	do(t, dir, "config", "core.sshCommand", program+" ssh")
	g, err = plain.Distrust(t.Context())
	must(t, err)
	if _, err := g.Run(t.Context(), nil, "cat-file", "blob", "HEAD:f.two"); err == nil {
		t.Error("what is nowhere was read")
	}
	if names := taken(t, ran); names != nil {
		t.Errorf("these ran: %q", names)
	}
}

// The first core.gitProxy counts, so that no later one sets that of a clone aside.
func TestGitProxy(t *testing.T) {
	program, ran := recorder(t)
	from := repository(t)
	do(t, from, "config", "uploadpack.allowFilter", "true")
	dir := filepath.Join(t.TempDir(), "clone")
	do(t, from, "clone", "--quiet", "--no-checkout", "--filter=blob:none", "file://"+filepath.ToSlash(from), dir)
	do(t, dir, "config", "remote.origin.url", "git://127.0.0.1:1/x")
	do(t, dir, "config", "core.gitProxy", program)
	plain, err := git.New(git.Local(environ(t)), dir, needs)
	must(t, err)
	if _, err := plain.Run(t.Context(), nil, "cat-file", "blob", "HEAD:f.one"); err == nil || taken(t, ran) == nil {
		t.Fatalf("the program of the clone did not run: %v", err)
	}
	g, err := plain.Distrust(t.Context())
	must(t, err)
	if _, err := g.Run(t.Context(), nil, "cat-file", "blob", "HEAD:f.one"); git.KindOf(err) != git.Absent {
		t.Error(err)
	}
	if names := taken(t, ran); names != nil {
		t.Errorf("these ran: %q", names)
	}
}

// The extension only allows a work tree to have configuration of its own; most have none.
func TestNoWorktreeConfig(t *testing.T) {
	dir := repository(t)
	do(t, dir, "config", "extensions.worktreeConfig", "true")
	other := filepath.Join(t.TempDir(), "other")
	do(t, dir, "worktree", "add", "--quiet", other)
	for _, dir := range []string{dir, other} {
		g, err := git.New(git.Local(environ(t)), dir, needs)
		must(t, err)
		if _, err := g.Distrust(t.Context()); err != nil {
			t.Errorf("%s: %v", dir, err)
		}
	}
}

// What git sees of the machine.
func TestEnvironment(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("the git that tells its environment is a script")
	}
	bin := t.TempDir()
	write(t, filepath.Join(bin, "git"), "#!/bin/sh\nexec env\n", 0o755)
	all := []string{
		"PATH=" + bin + string(filepath.ListSeparator) + os.Getenv("PATH"), "HOME=/home/me", "GITHUB_TOKEN=canary", "AWS_SECRET_ACCESS_KEY=canary",
		"SLIPWAY_KEY=canary", "GIT_ASKPASS=ask", "GIT_DIR=elsewhere", "GIT_INDEX_FILE=elsewhere", "GIT_TRACE=1", "LC_ALL=de_DE.UTF-8", "GIT_SSL_CAINFO=ca",
		"GIT_EXTERNAL_DIFF=elsewhere", "GIT_CONFIG_COUNT=1", "GIT_CONFIG_KEY_0=user.name", "GIT_CONFIG_VALUE_0=Me", "https_proxy=http://proxy", "GIT_SSH=plink",
		"MY_TOKEN=mine", "GITLAB_TOKEN=canary",
	}
	see := func(env []string, change func(*git.Git)) string {
		t.Helper()
		g, err := git.New(env, t.TempDir(), needs)
		must(t, err)
		if change != nil {
			change(&g)
		}
		out, err := g.Run(t.Context(), nil, "version")
		must(t, err)
		return "\n" + string(out)
	}
	has := func(seen string, want bool, names ...string) {
		t.Helper()
		for _, n := range names {
			if strings.Contains(seen, "\n"+n) != want {
				t.Errorf("git sees %s: %v", n, !want)
			}
		}
	}
	here, there := see(git.Local(all), nil), see(git.Remote(all, "https://GitHub.com/example/tool", "my_token"), nil)
	for _, seen := range []string{here, there} {
		has(seen, true, "HOME=/home/me", "GIT_SSL_CAINFO=ca", "GIT_CONFIG_KEY_0=user.name", "https_proxy=", "GIT_SSH=plink", "LC_ALL=C\n", "GIT_TERMINAL_PROMPT=0",
			"GIT_NO_REPLACE_OBJECTS=1", "GIT_ALLOW_PROTOCOL=https:http:ssh:git:file\n")
		has(seen, false, "GIT_DIR", "GIT_INDEX_FILE", "GIT_TRACE", "GIT_EXTERNAL_DIFF", "LC_ALL=de_DE", "GIT_SSH_COMMAND")
	}
	if strings.Contains(here, "canary") {
		t.Errorf("git sees a secret while it works on this machine:\n%s", here)
	}
	has(here, false, "GIT_ASKPASS")
	has(there, true, "GIT_ASKPASS=ask", "GITHUB_TOKEN=canary", "MY_TOKEN=mine")
	has(there, false, "AWS_", "SLIPWAY_KEY", "GITLAB_TOKEN")
	for remote, tokens := range map[string][]string{
		"https://git.example.com/a": {"GITHUB_TOKEN"}, "https://github.com/a": nil, "https://gitlab.com/a": {"GITLAB_TOKEN"}, "https://elsewhere.example/github.com": nil,
		"http://github.com/a": nil, "https://github.com:8443/a": nil, "/srv/github.com": nil, "git@github.com:a/b": nil, "https://%zz": nil,
	} {
		seen := see(git.Remote(append(all, "GITHUB_SERVER_URL=https://git.example.com"), remote), nil)
		has(seen, true, tokens...)
		if strings.Count(seen, "canary") != len(tokens) {
			t.Errorf("for %s git sees\n%s", remote, seen)
		}
	}

	private := see(git.Local(all), func(g *git.Git) {
		g.Private = func() []git.Setting { return []git.Setting{{Key: "a.b", Value: "c"}, {Key: "d.e", Value: "f"}} }
		g.Protocols = "https"
	})
	has(private, true, "GIT_CONFIG_KEY_1=a.b", "GIT_CONFIG_VALUE_1=c", "GIT_CONFIG_KEY_2=d.e", "GIT_CONFIG_COUNT=3", "GIT_ALLOW_PROTOCOL=https\n")
	if env := git.Unattended(all); len(env) != len(all) {
		t.Errorf("another SSH is named than the person's: %q", env[len(all):])
	}
	if env := git.Unattended(nil); len(env) != 1 || !strings.HasPrefix(env[0], "GIT_SSH_COMMAND=ssh -oBatchMode=yes ") {
		t.Errorf("%q", env)
	}
}

// HTTP is spoken without git only where nobody has said how git is to speak it.
func TestPlain(t *testing.T) {
	set := func(key string) []string {
		return []string{"GIT_CONFIG_COUNT=1", "GIT_CONFIG_KEY_0=" + key, "GIT_CONFIG_VALUE_0=https://example.com/"}
	}
	for name, tt := range map[string]struct {
		more []string
		want bool
	}{
		"nothing":           {nil, true},
		"another setting":   {set("user.name"), true},
		"a proxy":           {set("http.proxy"), false},
		"one of a host":     {set("http.https://example.com.proxy"), false},
		"another address":   {set("url.https://mirror.example.com/.insteadOf"), false},
		"a proxy for all":   {[]string{"https_proxy=http://127.0.0.1:1"}, false},
		"a certificate":     {[]string{"GIT_SSL_CAINFO=/x"}, false},
		"one for all":       {[]string{"SSL_CERT_FILE=/x"}, false},
		"a key of no proxy": {[]string{"SSH_AUTH_SOCK=/x"}, true},
	} {
		env := append([]string{"PATH=" + os.Getenv("PATH"), "HOME=" + t.TempDir(), "GIT_CONFIG_NOSYSTEM=1"}, tt.more...)
		g, err := git.New(git.Remote(env, "https://example.com/x"), t.TempDir(), git.Version{})
		if err != nil {
			t.Fatal(err)
		}
		if plain, err := g.Plain(t.Context()); err != nil || plain != tt.want {
			t.Errorf("%s: %v, %v", name, plain, err)
		}
	}
}

func TestBounds(t *testing.T) {
	dir := repository(t)
	g, err := git.New(git.Local(environ(t)), dir, needs)
	must(t, err)
	must(t, g.CheckVersion(t.Context()))
	id, err := g.ID(t.Context(), strings.NewReader(strings.Repeat("x", 1<<20)), "hash-object", "-w", "--stdin")
	must(t, err)
	if out, err := g.Run(t.Context(), nil, "cat-file", "blob", id); err != nil || len(out) != 1<<20 {
		t.Errorf("%d bytes, %v", len(out), err)
	}
	small := g
	small.Max = 1<<20 - 1
	if _, err := small.Run(t.Context(), nil, "cat-file", "blob", id); fault.CodeOf(err) != fault.Git || !strings.Contains(err.Error(), "it wrote more than 0 MiB") {
		t.Error(err)
	}
	if _, err := g.ID(t.Context(), nil, "cat-file", "-t", id); fault.CodeOf(err) != fault.Git || !strings.Contains(err.Error(), `it answers "blob"`) {
		t.Error(err)
	}
	var got bytes.Buffer
	copyAll := func(r io.Reader) error { _, err := io.Copy(&got, r); return err }
	if err := g.Stream(t.Context(), nil, copyAll, "cat-file", "blob", id); err != nil || got.Len() != 1<<20 {
		t.Errorf("%d bytes, %v", got.Len(), err)
	}
	enough := errors.New("enough")
	if err := g.Stream(t.Context(), nil, func(io.Reader) error { return enough }, "cat-file", "blob", id); !errors.Is(err, enough) {
		t.Error(err)
	}
	short := func(r io.Reader) error { _, err := io.ReadFull(r, make([]byte, 10)); return err }
	if err := g.Stream(t.Context(), nil, short, "cat-file", "blob", strings.Repeat("0", 40)); fault.CodeOf(err) != fault.Git || !strings.Contains(err.Error(), "running git cat-file: ") {
		t.Errorf("git's own complaint is not the error: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := g.Run(ctx, nil, "version"); !errors.Is(err, context.Canceled) || fault.CodeOf(err) != fault.Transient {
		t.Error(err)
	}
	if _, err := git.New([]string{"PATH=" + t.TempDir() + string(filepath.ListSeparator) + "."}, dir, needs); fault.CodeOf(err) != fault.Git ||
		!strings.Contains(err.Error(), "git is not in PATH: install git 2.25 or later") {
		t.Error(err)
	}
	newer, err := git.New(git.Local(environ(t)), dir, git.Version{Major: 99})
	must(t, err)
	if err := newer.CheckVersion(t.Context()); fault.CodeOf(err) != fault.Git || !strings.Contains(err.Error(), "install git 99.0 or later") {
		t.Error(err)
	}
}

// An end from outside ends git, also one that is waiting.
func TestCancelled(t *testing.T) {
	g, err := git.New(git.Local(environ(t)), repository(t), needs)
	must(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	r, w, err := os.Pipe()
	must(t, err)
	defer w.Close()
	defer r.Close()
	go func() { _, _ = w.WriteString("HEAD\n"); cancel() }()
	err = g.Stream(ctx, r, func(r io.Reader) error { _, err := io.Copy(io.Discard, r); return err }, "cat-file", "--batch")
	if !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

func TestKinds(t *testing.T) {
	for said, want := range map[string]struct {
		kind git.Kind
		code fault.Code
	}{
		"fatal: not a git repository (or any of the parent directories): .git":                               {git.NoRepository, fault.Transient},
		"fatal: this operation must be run in a work tree":                                                   {git.NotBare, fault.Transient},
		"fatal: remote error: upload-pack: not our ref 1111":                                                 {git.NoRef, fault.Transient},
		"fatal: Authentication failed for 'https://example.com/x.git/'":                                      {git.Refused, fault.Credentials},
		"fatal: could not read Username for 'https://example.com': terminal prompts disabled":                {git.Refused, fault.Credentials},
		"remote: Repository not found.\nfatal: repository 'https://github.com/a/b/' not found":               {git.Refused, fault.Credentials},
		"git@example.com: Permission denied (publickey).":                                                    {git.Refused, fault.Credentials},
		"remote: error: GH006: Protected branch update failed for refs/heads/main.":                          {git.Protected, fault.Policy},
		"fatal: repository 'https://example.com/x.git/' not found":                                           {git.Absent, fault.Usage},
		"fatal: transport 'ext' not allowed":                                                                 {git.Absent, fault.Usage},
		"! [rejected]        a -> main (fetch first)":                                                        {git.Moved, fault.Transient},
		"! [remote rejected] a -> main (cannot lock ref 'refs/heads/main': is at 1 but expected 2)":          {git.Moved, fault.Transient},
		"fatal: unable to access 'https://example.com/': Could not resolve host: example.com":                {git.Other, fault.Transient},
		"fatal: detected dubious ownership in repository at '/x'\nTo add an exception for this directory, x": {git.Other, fault.Transient},
	} {
		err := fault.New(fault.Git, &git.Error{Command: "push", Said: said, Err: errors.New("exit status 1")})
		if got := git.KindOf(err); got != want.kind {
			t.Errorf("%q is of kind %d, want %d", said, got, want.kind)
		}
		if got := git.OfRemote(err); fault.CodeOf(got) != want.code || !strings.HasPrefix(got.Error(), "running git push: ") || strings.Contains(got.Error(), "\n") {
			t.Errorf("%q has code %d, want %d: %v", said, fault.CodeOf(got), want.code, got)
		}
	}
	other := fault.New(fault.Mismatch, errors.New("x"))
	if git.KindOf(other) != git.Other || git.OfRemote(other) != other || git.OfRemote(nil) != nil {
		t.Error("an error of something else was changed")
	}
	hostile := &git.Error{Command: "status", Said: "fatal: bad\x1b[2J \u202ename\nfatal: bad\x1b[2J \u202ename\n\n" + strings.Repeat("x", 1000)}
	if s := hostile.Error(); strings.ContainsAny(s, "\x1b\u202e\n") || strings.Count(s, "bad") != 1 || len(s) > 650 {
		t.Errorf("%q", s)
	}
}

// No hook of the repository that is pushed from runs; those of the one that is pushed to do, also where that is on this machine.
func TestPushHooks(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("hooks are scripts")
	}
	from, to := t.TempDir(), t.TempDir()
	do(t, to, "init", "--quiet", "--bare", ".")
	do(t, from, "init", "--quiet", "--initial-branch=main", ".")
	do(t, from, "remote", "add", "origin", to)
	do(t, from, "commit", "--quiet", "--allow-empty", "--message", "x")
	for _, hook := range []string{"pre-push", "reference-transaction"} {
		write(t, filepath.Join(from, ".git", "hooks", hook), "#!/bin/sh\ntouch '"+from+"/ran-"+hook+"'\n", 0o755)
	}
	write(t, filepath.Join(to, "hooks", "post-receive"), "#!/bin/sh\ntouch '"+to+"/ran'\n", 0o755)
	for i, remote := range []string{"origin", to, "file://" + to} {
		g, err := git.New(git.Remote(environ(t), remote), from, needs)
		must(t, err)
		_, err = g.Run(t.Context(), nil, "push", "--quiet", "--", remote, "HEAD:refs/heads/"+string(rune('a'+i)))
		must(t, err)
		if err := os.Remove(filepath.Join(to, "ran")); err != nil {
			t.Errorf("%s: its own hook did not run: %v", remote, err)
		}
		if ran, _ := filepath.Glob(filepath.Join(from, "ran-*")); len(ran) > 0 {
			t.Errorf("%s: %q", remote, ran)
		}
	}
}
