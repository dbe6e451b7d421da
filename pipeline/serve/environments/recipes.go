package environments

import (
	"bytes"
	"cmp"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"path"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/slipway-build/slipway/pipeline/environment"
	"github.com/slipway-build/slipway/pipeline/environment/store"
	"github.com/slipway-build/slipway/pipeline/git/upload"
	"github.com/slipway-build/slipway/pipeline/internal/bounded"
	"github.com/slipway-build/slipway/pipeline/release/artifact"
	"github.com/slipway-build/slipway/pipeline/release/fault"
)

// Bounds on repositories of recipes.
const (
	maxRecipe  = 1 << 20
	maxRecipes = 32 << 20 // bytes of recipes that are kept, for whoever asks next
	// maxChanges is how many changes the history of an environment has. When there are more it begins at one further on, with all that was
	// current then: half of them later, so that nearly always a clone goes on from where it was.
	maxChanges = 10_000
)

// taps are the repositories of recipes that an environment has, by the address: what the publisher of that name writes into one.
var taps = map[string]string{"tap.git": "homebrew", "scoop.git": "scoop"}

// recipes are repositories that git clones, whose history is made of the log: a commit for each change of what is the current version of a
// component, of the recipes that this release has. Whoever has the same log and the same releases serves the same commits.
//
// A release that is not here has no part in it. Where one comes later than another that became current after it, the history is
// made anew, and has other commits from there on.
type recipes struct {
	busy chan struct{} // of whoever makes them; the rest is theirs

	stages  []environment.Stage // whose rules said what was current
	history environment.History
	digest  artifact.Digest // of the last line
	changes map[string]*changes

	made  map[[2]string]*tap // by environment and address
	texts map[artifact.Digest]map[string]map[string][]byte
	bytes int
}

// changes are those of an environment: what was current at the first of them, and what came then.
type changes struct {
	base map[string]environment.Change // by component
	all  []environment.Change
	gone int // changes that are in base
}

// tap is a repository of an environment.
type tap struct {
	repository *upload.Repository
	gone       int    // of the changes
	here       []bool // by change, the first of which is the base: whether all releases of it were here
	components map[string]map[string][]byte
	shown      map[string][]byte
	mark       int64 // of the shelf
}

// Git is a request of git.
type Git struct {
	Method   string
	Protocol string // the header Git-Protocol
	Encoding string // of the body
	Service  string // the parameter service
	Body     io.Reader
}

// IsGit reports whether an address below an environment is one that git asks for.
func IsGit(p string) bool {
	at, rest, _ := strings.Cut(p, "/")
	return taps[at] != "" && (rest == "info/refs" || rest == "git-upload-pack")
}

// Recipes answers what git asks of a repository of recipes, by an address that IsGit.
func (s *Site) Recipes(ctx context.Context, name, p string, g Git) (Answer, error) {
	at, rest, _ := strings.Cut(p, "/")
	reads := rest == "info/refs"
	switch {
	case reads && g.Method == http.MethodGet && g.Service != "git-upload-pack":
		return Answer{}, status{http.StatusForbidden, "this repository is cloned and fetched with a git that knows smart http, and nothing is written to it"}
	case reads && g.Method != http.MethodGet, !reads && g.Method != http.MethodPost:
		return Answer{}, status{http.StatusMethodNotAllowed, "this is asked for by git"}
	}
	st, v, err := s.stage(name)
	if err != nil {
		return Answer{}, err
	}
	var request []byte
	if !reads {
		if request, err = bodyOf(g); err != nil {
			return Answer{}, err
		}
	}
	r, err := s.tap(ctx, st, v.stage.Name, at)
	if err != nil {
		return Answer{}, err
	}
	version := upload.Version(g.Protocol)
	if reads {
		return Answer{Kind: "application/x-git-upload-pack-advertisement", Body: r.Advertise(version, "slipway"), Volatile: true}, nil
	}
	write, err := r.Answer(version, request)
	if errors.Is(err, upload.ErrRequest) {
		err = status{http.StatusBadRequest, err.Error()}
	}
	return Answer{Kind: "application/x-git-upload-pack-result", Write: write, Volatile: true}, err
}

// plainName is what no shell takes for more than it is.
var plainName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._@+-]*$`)

// recipe is the name of a recipe in a repository of an environment, and its component; "" where it has none.
func (s *Site) recipe(v *view, goes string) (component, name string) {
	for _, c := range v.components {
		if c.Current == nil {
			continue
		}
		here := s.shelf.Find(c.Name, c.Current.Version, c.Current.Manifest)
		if here == nil {
			continue
		}
		for _, at := range slices.Sorted(maps.Keys(here.Recipes(goes))) {
			if name := strings.TrimSuffix(path.Base(at), path.Ext(at)); plainName.MatchString(name) {
				return c.Name, name
			}
		}
	}
	return "", ""
}

// bodyOf is the body of a request, of which git compresses what is large.
func bodyOf(g Git) ([]byte, error) {
	in := g.Body
	switch g.Encoding {
	case "", "identity":
	case "gzip", "x-gzip":
		z, err := gzip.NewReader(in)
		if err != nil {
			return nil, status{http.StatusBadRequest, "the request is not compressed as it says"}
		}
		in = z
	default:
		return nil, status{http.StatusUnsupportedMediaType, "a request is compressed with gzip, or not at all"}
	}
	b, err := bounded.Read(in, upload.MaxRequest)
	switch {
	case bounded.IsTooLarge(err):
		return nil, status{http.StatusRequestEntityTooLarge, "the request is too large; clone the repository anew"}
	case err != nil:
		return nil, status{http.StatusBadRequest, "the request ends too early"}
	}
	return b, nil
}

// tap is the repository of an environment as the state has it.
func (s *Site) tap(ctx context.Context, st *state, stage, at string) (*upload.Repository, error) {
	r := &s.recipes
	select {
	case r.busy <- struct{}{}:
		defer func() { <-r.busy }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if err := r.follow(ctx, s, st); err != nil {
		return nil, err
	}
	c := r.changes[stage]
	if c == nil { // nothing was ever in it
		return upload.New(), nil
	}
	key := [2]string{stage, at}
	t, mark := r.made[key], s.shelf.Mark()
	if t == nil || !t.goesOn(s, c, mark) {
		t = &tap{repository: upload.New(), components: map[string]map[string][]byte{}, shown: map[string][]byte{}, gone: c.gone}
		r.made[key] = t
	}
	t.mark = mark
	return t.repository, t.follow(ctx, s, c, taps[at])
}

// follow adds the lines that are new. What it has come to is kept when it is cut off.
func (r *recipes) follow(ctx context.Context, s *Site, st *state) error {
	if r.history.Count > st.Count { // whoever asked later was first
		return nil
	}
	if !reflect.DeepEqual(r.stages, st.rules.Stages) || r.history.Count > 0 && st.At(r.history.Count) != r.digest {
		*r = recipes{busy: r.busy, stages: st.rules.Stages, changes: map[string]*changes{}, made: map[[2]string]*tap{}, texts: r.texts, bytes: r.bytes}
	}
	for r.history.Count < st.Count {
		file := r.history.Count / store.LinesOfFile
		err := s.o.Store.Lines(ctx, st.head, func(l environment.Line) error {
			switch {
			case l.N <= r.history.Count || l.N > st.Count:
				return nil
			case l.N != r.history.Count+1:
				return fault.Errorf(fault.Mismatch, "the log has line %d behind line %d: run slipway store check", l.N, r.history.Count)
			}
			for _, c := range r.history.Add(st.rules, l) {
				of := r.changes[c.Stage]
				if of == nil {
					of = &changes{base: map[string]environment.Change{}}
					r.changes[c.Stage] = of
				}
				of.add(c)
			}
			r.digest = st.At(l.N)
			return nil
		}, file)
		if err != nil {
			return err
		}
		if r.history.Count/store.LinesOfFile == file && r.history.Count < st.Count {
			return fault.Errorf(fault.Mismatch, "the log ends at line %d and should have %d", r.history.Count, st.Count)
		}
	}
	return nil
}

func (c *changes) add(next environment.Change) {
	if len(c.all) == maxChanges {
		for _, old := range c.all[:maxChanges/2] {
			c.base[old.Component] = old
		}
		c.all = append([]environment.Change(nil), c.all[maxChanges/2:]...)
		c.gone += maxChanges / 2
	}
	c.all = append(c.all, next)
}

// goesOn reports whether the releases that the history was made of are those that are here.
func (t *tap) goesOn(s *Site, c *changes, mark int64) bool {
	if t.mark == mark || t.gone != c.gone {
		return t.gone == c.gone
	}
	for i, was := range t.here {
		if c.here(s, i) != was {
			return false
		}
	}
	return true
}

// here reports whether the releases of a change are here; the first is the base.
func (c *changes) here(s *Site, i int) bool {
	one := func(c environment.Change) bool {
		return c.Version == "" || s.shelf.Find(c.Component, c.Version, c.Manifest) != nil
	}
	if i > 0 {
		return one(c.all[i-1])
	}
	for _, c := range c.base {
		if !one(c) {
			return false
		}
	}
	return true
}

// follow adds a commit for each change that is new and changes something here.
func (t *tap) follow(ctx context.Context, s *Site, c *changes, goes string) error {
	if len(t.here) == 0 {
		var last environment.Change
		for _, name := range slices.Sorted(maps.Keys(c.base)) {
			if err := t.take(ctx, s, c.base[name], goes); err != nil {
				return err
			}
			if c.base[name].Line > last.Line {
				last = c.base[name]
			}
		}
		if err := t.commit(last, fmt.Sprintf("what is current as of line %d", last.Line)); err != nil {
			return err
		}
		t.here = append(t.here, c.here(s, 0))
	}
	for i := len(t.here); i <= len(c.all); i++ {
		next := c.all[i-1]
		here := c.here(s, i)
		if here {
			if err := t.take(ctx, s, next, goes); err != nil {
				return err
			}
			message := fmt.Sprintf("%s %s\n\n%s in line %d", next.Component, cmp.Or(next.Version, "has no current version"), next.Kind, next.Line)
			if next.Why != "" {
				message += ": " + next.Why
			}
			if err := t.commit(next, message); err != nil {
				return err
			}
		}
		t.here = append(t.here, here)
	}
	return nil
}

// take has the recipes of a component be those of a version.
func (t *tap) take(ctx context.Context, s *Site, c environment.Change, goes string) error {
	delete(t.components, c.Component)
	if c.Version == "" {
		return nil
	}
	here := s.shelf.Find(c.Component, c.Version, c.Manifest)
	if here == nil {
		return nil
	}
	texts, err := s.recipes.textsOf(ctx, here, c.Manifest, goes)
	if err == nil && len(texts) > 0 {
		t.components[c.Component] = texts
	}
	return err
}

// textsOf are the recipes of a release by where they are in a repository, with the bytes that it lists.
func (r *recipes) textsOf(ctx context.Context, here Release, manifest artifact.Digest, goes string) (map[string][]byte, error) {
	if kept, ok := r.texts[manifest][goes]; ok {
		return kept, nil
	}
	texts, size := map[string][]byte{}, 0
	for at, p := range here.Recipes(goes) {
		b, err := here.Text(ctx, p, maxRecipe)
		if err != nil {
			return nil, err
		}
		texts[at], size = b, size+len(b)
	}
	if r.bytes += size; r.bytes > maxRecipes || r.texts == nil {
		r.texts, r.bytes = map[artifact.Digest]map[string]map[string][]byte{}, size
	}
	if r.texts[manifest] == nil {
		r.texts[manifest] = map[string]map[string][]byte{}
	}
	r.texts[manifest][goes] = texts
	return texts, nil
}

// commit commits what differs from what the repository has. Of two components with a recipe of one name the first by name has it.
func (t *tap) commit(c environment.Change, message string) error {
	want := map[string][]byte{}
	for _, name := range slices.Sorted(maps.Keys(t.components)) {
		for at, b := range t.components[name] {
			if _, taken := want[at]; !taken {
				want[at] = b
			}
		}
	}
	files := map[string][]byte{}
	for at, b := range want {
		if !bytes.Equal(t.shown[at], b) || t.shown[at] == nil {
			files[at] = b
		}
	}
	for at := range t.shown {
		if want[at] == nil {
			files[at] = nil
		}
	}
	if len(files) == 0 {
		return nil
	}
	author := "slipway"
	if c.By != (environment.Identity{}) {
		author = c.By.String()
	}
	t.shown = want
	return t.repository.Add(upload.Commit{Author: author, Email: "slipway@localhost", Time: c.Time.Truncate(time.Second), Message: message, Files: files})
}
