package environments

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"path"
	"slices"
	"strings"

	"github.com/slipway-build/slipway/pipeline/environment"
)

// Request is a request as far as it matters here.
type Request struct {
	Path  string // below what the function answers, without a leading /
	Query url.Values
	// Up leads from the address that was asked for to the root of the server: "../" for each of its folders.
	Up string
	// Base is the URL of the environment as who asks reaches it, "" where that cannot be told. It ends in /.
	Base string
}

// Environment answers what is asked for below the address of an environment.
func (s *Site) Environment(ctx context.Context, name string, r Request) (Answer, error) {
	st, v, err := s.stage(name)
	if err != nil {
		return Answer{}, err
	}
	first, rest, _ := strings.Cut(r.Path, "/")
	switch {
	case r.Path == "":
		return s.environmentPage(st, v, r)
	case r.Path == "charts/index.yaml":
		return s.once(st, "charts/"+name, func() (Answer, error) { return s.helmIndex(v) })
	case r.Path == "install.sh":
		return s.install(v, r)
	case first == "releases":
		return s.download(v, rest)
	case first == aptDir, first == dnfDir, first == apkDir, r.Path == keyFile:
		return s.packages(v, r.Path)
	case first == "metadata", first == "targets":
		return s.metadata(ctx, r.Path)
	}
	return Answer{}, errNotFound
}

// download answers with a file of a version, from here or where its entry says.
func (s *Site) download(v *view, p string) (Answer, error) {
	parts := strings.SplitN(p, "/", 3)
	if len(parts) < 2 || parts[1] == "" {
		return Answer{}, errNotFound
	}
	component, version := parts[0], parts[1]
	if version == "current" {
		c := v.byName[component]
		if c == nil || c.Current == nil {
			return Answer{}, errNotFound
		}
		to := escape(c.Current.Version) + "/"
		if len(parts) == 3 {
			to = "../" + strings.Repeat("../", strings.Count(parts[2], "/")) + to + escape(parts[2])
		}
		return Answer{Code: http.StatusTemporaryRedirect, Location: to, Volatile: true}, nil
	}
	seen, e, ok := v.version(component, version)
	if !ok {
		return Answer{}, errNotFound
	}
	if len(parts) == 2 {
		return Answer{Code: http.StatusTemporaryRedirect, Location: escape(version) + "/", Volatile: true}, nil
	}
	return s.file(seen, e, parts[2])
}

// file is a file of a version by what its address is below that of the version.
func (s *Site) file(seen environment.Seen, e *environment.Entry, p string) (Answer, error) {
	name, flat := strings.CutPrefix(p, "download/")
	name = strings.TrimPrefix(name, "files/")
	if here := s.shelf.Find(seen.Component, seen.Version, seen.Manifest); here != nil {
		if p == "" {
			return Answer{Release: here}, nil // its page
		}
		file, err := here.File(name, flat)
		if err == nil && file == "" {
			err = errNotFound
		}
		return Answer{Release: here, File: file}, err
	}
	to, ok := elsewhere(e, name, flat)
	if !ok {
		return Answer{}, status{http.StatusNotFound, fmt.Sprintf("the bytes of %s %s are not here, and its entry names no server that has them", seen.Component, seen.Version)}
	}
	return Answer{Code: http.StatusTemporaryRedirect, Location: to, Volatile: true}, nil
}

// elsewhere is where the first place of an entry has a file. Of the places that publish makes, the releases of GitHub have no folders,
// and a slipway serve has files by their names beside those by their paths.
func elsewhere(e *environment.Entry, name string, flat bool) (string, bool) {
	for _, place := range e.Places {
		u, err := url.Parse(place)
		if err != nil || u.Scheme != "https" && u.Scheme != "http" {
			continue
		}
		base := strings.TrimSuffix(u.Path, "/") + "/"
		served, isServed := strings.CutSuffix(base, "/files/")
		switch parts := strings.Split(base, "/"); {
		case u.Host == "github.com" && slices.Contains(parts, "download"):
			base += path.Base("/" + name)
		case flat && isServed:
			base = served + "/download/" + name
		case name == "" && isServed:
			base = served + "/"
		default:
			base += name
		}
		return (&url.URL{Scheme: u.Scheme, Host: u.Host, Path: base}).String(), true
	}
	return "", false
}

// escape is a path as it stands in an address.
func escape(p string) string { return (&url.URL{Path: p}).EscapedPath() }
