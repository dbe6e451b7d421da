package environments

import (
	"bytes"
	"context"
	_ "embed"
	"fmt"
	"html/template"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/slipway-build/slipway/pipeline/environment"
)

var (
	//go:embed page.html
	pageHTML string
	//go:embed live.js
	liveJS []byte
)

// pages are whole without the one script that they have, which asks for the page again when the store has moved on. Every text
// from a store is escaped for the place where it stands, and links are relative.
var pages = template.Must(template.New("page").Funcs(template.FuncMap{
	"day":   func(t time.Time) string { return t.UTC().Format(time.DateOnly) },
	"time":  func(t time.Time) string { return t.UTC().Format("2006-01-02 15:04 UTC") },
	"stamp": stamp,
	"until": func(s string) string { // which is a stamp
		t, err := time.Parse(time.RFC3339, s)
		if err != nil {
			return s
		}
		return t.UTC().Format("2006-01-02 15:04 UTC")
	},
	"link":    escape,
	"command": func(s string) bool { return strings.HasPrefix(s, "slipway ") },
	"join":    strings.Join,
	"short":   func(s string) string { return s[:min(12, len(s))] },
}).Parse(pageHTML))

// Live is the script of the pages.
func (s *Site) Live() Answer {
	return Answer{Kind: "text/javascript; charset=utf-8", Body: liveJS}
}

// perPage is how many components or versions a page lists, and half as many lines of the log.
const perPage = 100

// searched is how many components there may be without a search.
const searched = 20

// maxShown is how many moves of a line the timeline shows.
const maxShown = 20

type fields = map[string]any

// page renders a page. What all of them have is added to the fields.
func (s *Site) page(st *state, r Request, name, title string, more fields) (Answer, error) {
	home := r.Up
	if home == "" {
		home = "./"
	}
	gone := any(nil)
	if t := s.Gone(); !t.IsZero() {
		gone = t
	}
	all := fields{"Page": name, "Title": title, "Up": r.Up, "Home": home, "Style": template.CSS(s.o.Style), "At": st.position(), "Gone": gone, "Folder": s.o.Folder}
	for key, value := range more {
		all[key] = value
	}
	var b bytes.Buffer
	if err := pages.ExecuteTemplate(&b, name, all); err != nil {
		return Answer{}, fmt.Errorf("rendering %s: %w", name, err)
	}
	return Answer{Kind: "text/html; charset=utf-8", Body: b.Bytes(), Script: true}, nil
}

// paged are the fields of a page of a list with n things, and which of these it shows.
func paged(n int, q url.Values) (from, to int, _ fields, err error) {
	number := 1
	if text := q.Get("page"); text != "" {
		if number, err = strconv.Atoi(text); err != nil {
			return 0, 0, nil, errNotFound
		}
	}
	pages := max(1, (n+perPage-1)/perPage)
	if number < 1 || number > pages {
		return 0, 0, nil, errNotFound
	}
	link := func(n int) string {
		if n < 1 || n > pages {
			return ""
		}
		v := url.Values{"page": {strconv.Itoa(n)}}
		if text := q.Get("q"); text != "" {
			v.Set("q", text)
		}
		return "?" + v.Encode()
	}
	return (number - 1) * perPage, min(number*perPage, n), fields{"Number": number, "Pages": pages, "Previous": link(number - 1), "Next": link(number + 1)}, nil
}

// Page answers with one of the pages for people.
func (s *Site) Page(ctx context.Context, r Request) (Answer, error) {
	st := s.state.Load()
	if st == nil {
		return Answer{}, errStarting
	}
	switch r.Path {
	case "":
		return s.home(st, r)
	case "timeline":
		return s.timeline(ctx, st, r)
	}
	parts := strings.Split(strings.TrimPrefix(r.Path, "c/"), "/")
	if !slices.Contains(st.components, parts[0]) {
		return Answer{}, errNotFound
	}
	switch {
	case len(parts) == 1:
		return s.component(ctx, st, r, parts[0])
	case len(parts) == 2:
		if from, to, ok := strings.Cut(parts[1], "..."); ok {
			return s.difference(ctx, st, r, parts[0], from, to)
		}
	case len(parts) == 3 && parts[2] == "why":
		return s.reasons(ctx, st, r, parts[0], parts[1])
	}
	return Answer{}, errNotFound
}

// cell is what an environment has of a component.
type cell struct {
	Current *inStage
	Others  int
}

type inStage struct {
	current
	Stage string
}

// home shows all components by environment.
func (s *Site) home(st *state, r Request) (Answer, error) {
	type row struct {
		Name  string
		Cells []cell
	}
	names, query := st.components, strings.TrimSpace(r.Query.Get("q"))
	if query != "" {
		names = slices.DeleteFunc(slices.Clone(names), func(name string) bool { return !strings.Contains(name, strings.ToLower(query)) })
	}
	from, to, more, err := paged(len(names), r.Query)
	if err != nil {
		return Answer{}, err
	}
	var rows []row
	for _, name := range names[from:to] {
		out := row{Name: name}
		for _, rule := range st.rules.Stages {
			c := st.views[rule.Name].look().byName[name]
			is := cell{}
			if c != nil {
				is.Others = len(c.Versions)
				if c.Current != nil {
					is.Others--
					is.Current = &inStage{currentOf(c), rule.Name}
				}
			}
			out.Cells = append(out.Cells, is)
		}
		rows = append(rows, out)
	}
	more["Rows"], more["Stages"], more["Query"], more["Search"] = rows, s.stages(st), query, query != "" || len(st.components) > searched
	return s.page(st, r, "home", "Environments", more)
}

func currentOf(c *shown) current {
	return current{c.Name, c.Current.Version, c.Current.Stage, c.Current.Entered, c.Current.Line, c.Pinned}
}

// stages are the environments by name, and what keeps everything out of each.
func (s *Site) stages(st *state) []stage {
	var all []stage
	for _, rule := range st.rules.Stages {
		is := stage{Name: rule.Name}
		if frozen, ok := st.Frozen(rule.Name, s.o.Now()); ok {
			is.Frozen = stopOf(frozen)
		}
		all = append(all, is)
	}
	return all
}

// component lists the versions of a component.
func (s *Site) component(ctx context.Context, st *state, r Request, name string) (Answer, error) {
	type version struct {
		listed
		Why    string // it was moved, of a version that is the current one somewhere
		Before string // the next lower version, "" for none
	}
	var all []environment.Seen
	if c := st.union().byName[name]; c != nil {
		all = c.Versions
	}
	from, to, more, err := paged(len(all), r.Query)
	if err != nil {
		return Answer{}, err
	}
	var versions []version
	for i, seen := range all[from:to] {
		is := version{listed: st.listedOf(seen)}
		if i+1+from < len(all) {
			is.Before = all[i+1+from].Version
		}
		if len(is.CurrentIn) > 0 {
			l, err := s.line(ctx, st, seen.Line)
			if err != nil {
				return Answer{}, err
			}
			is.Why = l.Why
		}
		versions = append(versions, is)
	}
	more["Versions"], more["Name"] = versions, name
	return s.page(st, r, "component", name, more)
}

// difference shows what differs between two versions.
func (s *Site) difference(ctx context.Context, st *state, r Request, name, from, to string) (Answer, error) {
	d, err := s.compare(ctx, st, name, from, to)
	if err != nil {
		return Answer{}, err
	}
	return s.page(st, r, "diff", fmt.Sprintf("%s %s → %s", name, from, to), fields{"Name": name, "Diff": d})
}

// reasons shows where a version is and what the rules say of each environment that it could enter.
func (s *Site) reasons(ctx context.Context, st *state, r Request, name, version string) (Answer, error) {
	type answer struct {
		decision
		Text string // in place of rules
	}
	seen, _, ok := st.union().version(name, version)
	if !ok {
		return Answer{}, errNotFound
	}
	l, err := s.line(ctx, st, seen.Line)
	if err != nil {
		return Answer{}, err
	}
	var all []answer
	for _, stage := range st.rules.StageNames() {
		d, err := s.decide(st, name, version, stage)
		switch {
		case stage == seen.Stage:
			d.There = true
		case slices.Index(st.rules.StageNames(), stage) < slices.Index(st.rules.StageNames(), seen.Stage):
			continue // which it has gone through, or been taken past
		}
		is := answer{decision: d}
		if err != nil && !d.There {
			if Code(err) >= 500 {
				return Answer{}, err
			}
			is.Text = err.Error()
		}
		is.To = stage
		all = append(all, is)
	}
	is := st.listedOf(seen)
	return s.page(st, r, "why", name+" "+version, fields{"Version": is, "Line": lineOf(l), "Decisions": all, "Images": is.Images})
}

// timeline shows the lines of the log, the last one first.
func (s *Site) timeline(ctx context.Context, st *state, r Request) (Answer, error) {
	q := url.Values{"limit": {strconv.Itoa(perPage / 2)}, "after": {r.Query.Get("after")}}
	result, err := s.moves(ctx, st, q)
	if err != nil {
		return Answer{}, err
	}
	all, next := result.(moves), ""
	if all.Next != "" {
		next = "?" + url.Values{"after": {all.Next}}.Encode()
	}
	type shortened struct {
		line
		More int // moves of it that are not shown
	}
	lines := make([]shortened, len(all.Moves))
	for i, l := range all.Moves {
		lines[i] = shortened{l, max(0, len(l.Moves)-maxShown)}
		lines[i].Moves = l.Moves[:min(len(l.Moves), maxShown)]
	}
	return s.page(st, r, "timeline", "Timeline", fields{"Lines": lines, "Next": next})
}

// environmentPage shows the current versions of an environment, and how to get them.
func (s *Site) environmentPage(st *state, v *view, r Request) (Answer, error) {
	type command struct {
		Title, Text string
		Rows        int
	}
	var now []current
	for _, c := range v.components {
		if c.Current != nil {
			now = append(now, currentOf(c))
		}
	}
	var commands []command
	add := func(title, text string) {
		commands = append(commands, command{title, text, 1 + strings.Count(text, "\n") + len(text)/60})
	}
	if r.Base != "" {
		add("Helm", fmt.Sprintf("helm repo add %s %scharts", v.stage.Name, r.Base))
		if names := s.scripted(v); len(names) > 0 {
			add("curl", fmt.Sprintf("curl -fsSL %sinstall.sh | sh -s -- %s", r.Base, names[0]))
		}
		for _, c := range s.packageCommands(v, r.Base) {
			add(c[0], c[1])
		}
		if component, name := s.recipe(v, "homebrew"); name != "" {
			tap := component + "/" + v.stage.Name
			add("Homebrew", fmt.Sprintf("brew tap %s %stap.git\nbrew install %[1]s/%[3]s", tap, r.Base, name))
		}
		if _, name := s.recipe(v, "scoop"); name != "" {
			add("Scoop", fmt.Sprintf("scoop bucket add %s %sscoop.git\nscoop install %[1]s/%[3]s", v.stage.Name, r.Base, name))
		}
	}
	is := fields{"Name": v.stage.Name, "Current": now, "Commands": commands}
	if files := s.signed.files.Load(); files != nil {
		if at, ok := files.Signed(v.stage.Name); ok {
			is["Signed"] = at.Count
			if r.Base != "" && len(now) > 0 {
				add("Signed index", fmt.Sprintf("slipway current %s --environment %s --from %s --root root.json", now[0].Component, v.stage.Name, strings.TrimSuffix(r.Base, "/")))
				is["Commands"] = commands
			}
		}
	}
	for _, stage := range s.stages(st) {
		if stage.Name == v.stage.Name && stage.Frozen != nil {
			is["Frozen"] = stage.Frozen
		}
	}
	return s.page(st, r, "environment", v.stage.Name, is)
}
