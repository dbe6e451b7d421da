package serve

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"html/template"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/slipway-build/slipway/pipeline/internal/bounded"
	"github.com/slipway-build/slipway/pipeline/release/manifest"
	"github.com/slipway-build/slipway/pipeline/release/provenance"
)

// Bounds on what is read of a release for its page, in bytes, and on the lines of a list.
const (
	maxNotes      = 256 << 10
	maxProvenance = 8 << 20
	maxBill       = 4 << 20
	maxPrograms   = 20
	maxRows       = 200
)

// texts are what a page takes from the files of a release. They are read once; where one is damaged, it is tried again.
type texts struct {
	mu      sync.Mutex
	whole   bool
	notes   template.HTML
	modules map[string]string      // versions by path; nil where nothing tells
	mains   []string               // paths of the main packages
	values  map[string]chartValues // by the name of the chart; those that can be read
}

// describe reads the texts of a release.
func (l *library) describe(ctx context.Context, o *opened) {
	t := &o.texts
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.whole {
		return
	}
	t.whole, t.mains = true, nil
	text := func(p string, limit int64) []byte {
		if p == "" {
			return nil
		}
		b, err := l.text(ctx, item{o.release, o.files[p]}, limit)
		t.whole = t.whole && (err == nil || bounded.IsTooLarge(err))
		return b
	}
	if b := text(o.manifest.Notes, maxNotes); b != nil {
		t.notes = markdown(string(b))
	}
	if d, err := provenance.Parse(text(o.manifest.Provenance, maxProvenance)); err == nil {
		t.modules = map[string]string{}
		for _, r := range d.Predicate.Definition.Dependencies {
			path, version, ok := strings.Cut(r.Name, "@")
			if ok && strings.HasPrefix(r.URI, "pkg:golang/") && !strings.Contains(path, ":") {
				t.modules[path] = version
			}
		}
	}
	t.values = map[string]chartValues{}
	left := maxValues
	for _, c := range o.manifest.Charts[:min(len(o.manifest.Charts), maxPrograms)] {
		v, size, err := readValues(bytes.NewReader(text(c.Path, maxChart)), c.Name, left)
		if err == nil {
			t.values[c.Name] = v
			left -= size
		}
	}
	bills := billsOf(o.manifest)
	for _, p := range bills[:min(len(bills), maxPrograms)] {
		if main := mainOf(text(p, maxBill)); main != "" {
			t.mains = append(t.mains, main)
		}
	}
}

// text is the content of a file of a release that has at most limit bytes.
func (l *library) text(ctx context.Context, i item, limit int64) ([]byte, error) {
	if i.file.Size > limit {
		return nil, &bounded.TooLarge{Name: i.file.Path, Limit: limit}
	}
	b, err := l.body(ctx, i)
	if err != nil {
		return nil, err
	}
	defer b.close()
	if b.bytes != nil {
		return b.bytes, nil
	}
	all, err := bounded.Read(b, limit)
	return all, cmp.Or(err, b.still())
}

// row is a difference. Before is "" for what is new, After for what is gone.
type row struct{ Name, Before, After string }

// difference is what differs in one respect.
type difference struct {
	Title string
	Rows  []row
	More  int // that are not listed
}

// differences are what is other in a release than in the one before, in the order in which people ask for it, and what else
// was compared.
func differences(before, after *opened) (all []difference, same []string) {
	add := func(title string, before, after map[string]string) {
		d := difference{Title: title, Rows: rows(before, after)}
		if len(d.Rows) == 0 {
			same = append(same, strings.ToLower(title[:1])+title[1:])
			return
		}
		if len(d.Rows) > maxRows {
			d.Rows, d.More = d.Rows[:maxRows], len(d.Rows)-maxRows
		}
		for i, r := range d.Rows {
			d.Rows[i] = r.shorten()
		}
		all = append(all, d)
	}
	if before.texts.modules != nil && after.texts.modules != nil {
		add("Modules", before.texts.modules, after.texts.modules)
	}
	add("What it is made with", inputs(before.manifest), inputs(after.manifest))
	for _, name := range slices.Sorted(maps.Keys(after.texts.values)) {
		if old, ok := before.texts.values[name]; ok { // of another chart all values are new
			add("Values of the chart "+name, old, after.texts.values[name])
		}
	}
	add("Sizes", sizes(before.manifest), sizes(after.manifest))
	add("Images", images(before.manifest), images(after.manifest))
	return all, same
}

// rows are the keys whose values differ, in order.
func rows(before, after map[string]string) []row {
	var all []row
	for _, key := range slices.Sorted(maps.Keys(merge(before, after))) {
		if before[key] != after[key] {
			all = append(all, row{key, before[key], after[key]})
		}
	}
	return all
}

func merge(a, b map[string]string) map[string]string {
	all := maps.Clone(a)
	if all == nil {
		all = map[string]string{}
	}
	maps.Copy(all, b)
	return all
}

// inputs are the pinned inputs of a release, by what they are called without a version.
func inputs(r manifest.Release) map[string]string {
	all := map[string]string{}
	for _, in := range r.Inputs {
		name, version, ok := strings.Cut(in.Name, "@")
		if !ok {
			version = in.Digest[:min(19, len(in.Digest))]
		}
		all[string(in.Kind)+" "+name] = version
	}
	return all
}

func sizes(r manifest.Release) map[string]string {
	of := map[string]int64{}
	for _, f := range r.Files {
		of[f.Path] = f.Size
	}
	all := map[string]string{}
	for _, a := range r.Archives {
		all["archive "+a.Platform.String()] = humanSize(of[a.Path])
	}
	for _, p := range r.Packages {
		all[p.Format+" "+p.Name+" "+p.Architecture] = humanSize(of[p.Path])
	}
	for _, c := range r.Charts {
		all["chart "+c.Name] = humanSize(of[c.Path])
	}
	for _, im := range r.Images {
		for _, p := range im.Platforms {
			all["image "+im.Repository+" "+im.Distro+" "+p.Platform.String()] = humanSize(p.Size)
		}
	}
	return all
}

// images are the images of a release, by what they are called, with their platforms.
func images(r manifest.Release) map[string]string {
	all := map[string]string{}
	for _, im := range r.Images {
		var platforms []string
		for _, p := range im.Platforms {
			platforms = append(platforms, p.Platform.String())
		}
		all[fmt.Sprintf("%s, %s", im.Repository, im.Distro)] = strings.Join(platforms, ", ")
	}
	return all
}

// neighbours are the releases of the same name that are next to r by their versions, and the one that it is compared with: of
// a stable version the stable one before it. Each may be nil.
func (s *shelf) neighbours(r *release) (newer, older, before *release) {
	i := slices.Index(s.releases, r)
	if i < 0 {
		return nil, nil, nil
	}
	if i > 0 && s.releases[i-1].Name == r.Name {
		newer = s.releases[i-1]
	}
	for _, o := range s.releases[i+1:] {
		if o.Name != r.Name {
			break
		}
		if older == nil {
			older = o
		}
		if o.Version.IsStable() || !r.Version.IsStable() {
			return newer, older, o
		}
	}
	return newer, older, nil
}
