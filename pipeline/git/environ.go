package git

import (
	"cmp"
	"context"
	"fmt"
	"net/url"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// local are the variables that git sees while it works on this machine: where things are, who runs it (git asks whose a
// repository is), and how a repository that fetches contents only when they are read reaches its remote. No token, no
// key and no password is among them.
var local = []string{
	"PATH", "HOME", "XDG_CONFIG_HOME", "USER", "LOGNAME", "SUDO_UID", "TMPDIR", "TMP", "TEMP", "LD_LIBRARY_PATH",
	"HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "ALL_PROXY", "SSL_CERT_FILE", "SSL_CERT_DIR", "SSH_AUTH_SOCK",
	// Windows cannot start a program without these.
	"SYSTEMROOT", "WINDIR", "PATHEXT", "COMSPEC", "USERPROFILE", "HOMEDRIVE", "HOMEPATH", "USERNAME", "APPDATA", "LOCALAPPDATA",
	"PROGRAMDATA", "PROGRAMFILES", "PROGRAMFILES(X86)",
}

// kept are git's own variables that stay; a _ at the end is the beginning of a name. All others go: a hook or `git rebase
// --exec` around this process sets GIT_DIR, GIT_INDEX_FILE and their like, and they would point at another repository. These
// say where a person's configuration is, which names credential helpers and the folders that are safe, and how a
// remote is reached.
var kept = []string{
	"GIT_CONFIG_GLOBAL", "GIT_CONFIG_SYSTEM", "GIT_CONFIG_NOSYSTEM", "GIT_CONFIG_COUNT", "GIT_CONFIG_KEY_", "GIT_CONFIG_VALUE_",
	"GIT_EXEC_PATH", "GIT_CEILING_DIRECTORIES", "GIT_DISCOVERY_ACROSS_FILESYSTEM",
	"GIT_SSH", "GIT_SSH_COMMAND", "GIT_SSH_VARIANT", "GIT_SSL_", "GIT_PROXY_",
}

// asking are the programs that a person names for what git would ask, and stores where a credential helper finds what it keeps:
// a keyring, by the bus that it listens on, or a folder. They are seen where git goes to a remote.
var (
	asking = []string{"GIT_ASKPASS", "SSH_ASKPASS"}
	stores = []string{
		"DBUS_SESSION_BUS_ADDRESS", "DISPLAY", "WAYLAND_DISPLAY", "XDG_RUNTIME_DIR", "XDG_DATA_HOME", "XDG_CACHE_HOME",
		"GNUPGHOME", "PASSWORD_STORE_DIR", "GH_CONFIG_DIR", "GH_HOST", "GCM_CREDENTIAL_STORE",
	}
)

// tokens are the variables with what opens a host, as its own credential helper reads them, and where the name of the host is when it
// is not the usual one.
var tokens = []struct {
	host, named string
	variables   []string
}{
	// https://cli.github.com/manual/gh_help_environment
	{"github.com", "GITHUB_SERVER_URL", []string{"GH_TOKEN", "GITHUB_TOKEN"}},
	{"", "GH_HOST", []string{"GH_ENTERPRISE_TOKEN", "GITHUB_ENTERPRISE_TOKEN"}},
	// https://docs.gitlab.com/cli/#environment-variables, https://docs.gitlab.com/ci/variables/predefined_variables/
	{"gitlab.com", "CI_SERVER_URL", []string{"GITLAB_TOKEN", "CI_JOB_TOKEN"}},
}

// waysOfHTTP are variables that say how HTTP is spoken.
var waysOfHTTP = []string{"HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "SSL_CERT_FILE", "SSL_CERT_DIR"}

// Local is what git may see of an environment while it works on this machine.
func Local(environ []string) []string {
	return filter(environ, func(name string) bool { return slices.Contains(local, name) || among(kept, name) })
}

// Remote is what git may see of an environment where it goes to a remote, a URL or a path: besides what it sees on this machine what
// names a person's helpers, and the token of the remote's host where that is one of those known here. Whoever has a helper
// that reads another variable names it in pass.
func Remote(environ []string, remote string, pass ...string) []string {
	more := slices.Concat(asking, stores, pass)
	host := hostOf(remote)
	for _, t := range tokens {
		named := lookup(environ, t.named)
		if host != "" && host == cmp.Or(hostOf(named), named, t.host) {
			more = append(more, t.variables...)
		}
	}
	return filter(environ, func(name string) bool {
		return slices.Contains(local, name) || among(kept, name) || slices.ContainsFunc(more, func(n string) bool { return strings.EqualFold(n, name) })
	})
}

// Plain reports whether HTTP is spoken here without git as git would speak it: neither the environment nor anybody's configuration names a
// proxy, a certificate, a header or another address for it.
func (g Git) Plain(ctx context.Context) (bool, error) {
	for _, kv := range g.environ {
		if name := key(kv); slices.Contains(waysOfHTTP, name) || among([]string{"GIT_SSL_", "GIT_PROXY_"}, name) {
			return false, nil
		}
	}
	out, err := g.Run(ctx, nil, "config", "--name-only", "-z", "--get-regexp", `^(http|url)\.`)
	if err != nil {
		return false, err
	}
	ours := func(name string) bool { // by command, which sets nothing else of the kind
		return slices.ContainsFunc(settings, func(s string) bool { return strings.EqualFold(strings.SplitN(s, "=", 2)[0], name) })
	}
	for name := range strings.SplitSeq(string(out), "\x00") {
		if name != "" && !ours(name) {
			return false, nil
		}
	}
	return true, nil
}

// hostOf is the host of a URL, "" for what is none. A host with another port is another one.
func hostOf(remote string) string {
	u, err := url.Parse(remote)
	if err != nil || u.Scheme != "https" {
		return ""
	}
	return strings.ToLower(strings.TrimSuffix(u.Host, ":443"))
}

func lookup(environ []string, name string) string {
	for _, kv := range slices.Backward(environ) {
		if key(kv) == name {
			return kv[len(name)+1:]
		}
	}
	return ""
}

// Unattended is the environment with an SSH that asks nothing and does not wait for input, unless it names one.
func Unattended(environ []string) []string {
	for _, kv := range environ {
		if name := key(kv); name == "GIT_SSH" || name == "GIT_SSH_COMMAND" {
			return environ
		}
	}
	return append(slices.Clone(environ), "GIT_SSH_COMMAND=ssh -oBatchMode=yes -oConnectTimeout=30 -oServerAliveInterval=15 -oServerAliveCountMax=4")
}

func among(names []string, name string) bool {
	return slices.ContainsFunc(names, func(n string) bool {
		return n == name || strings.HasSuffix(n, "_") && strings.HasPrefix(name, n)
	})
}

func filter(environ []string, keep func(name string) bool) []string {
	var out []string
	for _, kv := range environ {
		if keep(key(kv)) {
			out = append(out, kv)
		}
	}
	return out
}

// key is the name of a variable, in upper case as Windows compares them.
func key(kv string) string {
	name, _, _ := strings.Cut(kv, "=")
	return strings.ToUpper(name)
}

// environment makes git's words those that are read here, its objects the real ones, keeps it from asking at a terminal and
// from writing where it only reads, and allows it the transports that are meant: none leads to ext::, which runs what it names.
func (g Git) environment() []string {
	protocols := g.Protocols
	if protocols == "" {
		protocols = "https:http:ssh:git:file"
	}
	env := append(
		slices.Clip(g.environ),
		"LC_ALL=C", "LANGUAGE=C", "GIT_TERMINAL_PROMPT=0", "GIT_OPTIONAL_LOCKS=0", "GIT_NO_REPLACE_OBJECTS=1", "GIT_ATTR_NOSYSTEM=1",
		"GIT_ALLOW_PROTOCOL="+protocols,
	)
	if g.Private == nil {
		return env
	}
	count := 0
	for _, kv := range env {
		if value, ok := strings.CutPrefix(kv, "GIT_CONFIG_COUNT="); ok {
			count, _ = strconv.Atoi(value)
			count = max(count, 0)
		}
	}
	for _, s := range g.Private() {
		env = append(env, fmt.Sprintf("GIT_CONFIG_KEY_%d=%s", count, s.Key), fmt.Sprintf("GIT_CONFIG_VALUE_%d=%s", count, s.Value))
		count++
	}
	return append(env, fmt.Sprintf("GIT_CONFIG_COUNT=%d", count))
}

// find looks git up in the PATH of environ, not in that of this process.
func find(environ []string) (string, error) {
	for _, dir := range filepath.SplitList(lookup(environ, "PATH")) {
		if !filepath.IsAbs(dir) {
			continue
		}
		if program, err := exec.LookPath(filepath.Join(dir, "git")); err == nil {
			return program, nil
		}
	}
	return "", exec.ErrNotFound
}
