package bake

import (
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"github.com/slipway-build/slipway/pipeline/build/engine"
	"github.com/slipway-build/slipway/pipeline/release/fault"
)

// manager is a package manager: where it is in a base, and a script for sh, whose first argument is a mirror or nothing, the second
// whether all is upgraded, and the others packages. A mirror stands in for scheme and host of every place that the
// base has packages from, and the base's own files are not changed by it.
type manager struct {
	name   string
	places []string
	script string
}

var managers = []manager{
	{"apk", []string{"sbin/apk", "usr/sbin/apk", "usr/bin/apk"}, `set -eu
mirror=$1 upgrade=$2; shift 2
from=/tmp/slipway-repositories
if [ -n "$mirror" ]; then sed "s|https\{0,1\}://[^/ ]*|$mirror|" /etc/apk/repositories >$from; else cp /etc/apk/repositories $from; fi
set -- --no-cache --repositories-file $from "$@"
if [ "$upgrade" = true ]; then apk --no-cache --repositories-file $from upgrade; fi
if [ $# -gt 3 ]; then apk add "$@"; fi
rm $from
`},
	{"apt-get", []string{"usr/bin/apt-get", "bin/apt-get"}, `set -eu
mirror=$1 upgrade=$2; shift 2
export DEBIAN_FRONTEND=noninteractive
from=/tmp/slipway-sources
mkdir $from $from/parts
: >$from/list
if [ -f /etc/apt/sources.list ]; then cp /etc/apt/sources.list $from/list; fi
for f in /etc/apt/sources.list.d/*; do if [ -f "$f" ]; then cp "$f" $from/parts/; fi; done
if [ -n "$mirror" ]; then for f in $from/list $from/parts/*; do if [ -f "$f" ]; then sed -i "s|https\{0,1\}://[^/ ]*|$mirror|g" "$f"; fi; done; fi
get() { apt-get -q -y -o Dir::Etc::SourceList=$from/list -o Dir::Etc::SourceParts=$from/parts -o APT::Install-Recommends=false "$@"; }
get -o APT::Update::Error-Mode=any update
if [ "$upgrade" = true ]; then get --with-new-pkgs upgrade; fi
if [ $# -gt 0 ]; then get install "$@"; fi
get clean
rm -r $from
`},
	{"dnf", []string{"usr/bin/microdnf", "usr/bin/dnf"}, `set -eu
mirror=$1 upgrade=$2; shift 2
run=dnf; if [ -x /usr/bin/microdnf ]; then run=microdnf; fi
from=/tmp/slipway-repos
cp -R /etc/yum.repos.d $from
if [ -n "$mirror" ]; then sed -i "s|^\(baseurl *= *\)https\{0,1\}://[^/ ]*|\1$mirror|" $from/*.repo; fi
get() { $run -y --setopt=reposdir=$from --setopt=install_weak_deps=0 --setopt=tsflags=nodocs "$@"; }
if [ "$upgrade" = true ]; then get upgrade; fi
if [ $# -gt 0 ]; then get install "$@"; fi
get clean all
rm -r $from
`},
}

// step is the one program that changes packages, for the base that has these files. There is none where nothing is asked for.
func (r Recipe) step(mirror string, base map[string]*inode) ([]engine.Step, error) {
	if !r.Upgrade && len(r.Packages) == 0 {
		return nil, nil
	}
	for _, m := range managers {
		if !slices.ContainsFunc(m.places, func(place string) bool { return base[place] != nil }) {
			continue
		}
		packages := slices.Clone(r.Packages)
		slices.Sort(packages)
		args := append([]string{"/bin/sh", "-c", m.script, "sh", mirror, fmt.Sprint(r.Upgrade)}, packages...)
		return []engine.Step{{Name: m.name, Args: args, User: "0:0", Unique: true}}, nil
	}
	var names []string
	for _, m := range managers {
		names = append(names, m.name)
	}
	return nil, fault.Errorf(fault.Usage, "%s has none of the package managers %s: leave out packages and upgrade, or make the base of another image", r.From, strings.Join(names, ", "))
}

var mirrorHost = regexp.MustCompile(`^[A-Za-z0-9.:\[\]-]+$`)

// checkMirror holds what goes into an expression of sed to what is nothing special there.
func checkMirror(mirror string) error {
	u, err := url.Parse(mirror)
	if mirror == "" || err == nil && (u.Scheme == "https" || u.Scheme == "http") && mirrorHost.MatchString(u.Host) && mirror == u.Scheme+"://"+u.Host+u.Path && !strings.ContainsAny(u.Path, `|&\ `) {
		return nil
	}
	return fault.Errorf(fault.Usage, "mirror %.120q is not a URL such as https://packages.example.com, without a user and a query", mirror)
}
