package compare

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"reflect"
	"slices"
	"strings"

	"github.com/slipway-build/slipway/pipeline/format/inspect"
	"github.com/slipway-build/slipway/pipeline/release/artifact"
)

// Media types that something is decided by (https://github.com/opencontainers/image-spec/blob/main/media-types.md,
// https://helm.sh/docs/topics/registries/#helm-chart-manifest).
const (
	chartConfig  = "application/vnd.cncf.helm.config.v1+json"
	chartContent = "application/vnd.cncf.helm.chart.content.v1.tar+gzip"
	refName      = "org.opencontainers.image.ref.name"
)

// maxIndexes are indexes in one another.
const maxIndexes = 4

// Images explains how two indexes or manifests of OCI (also those of charts) differ: annotations, platforms that only
// one has, order of manifests, then per platform config, number and media types of layers, and inside of each layer that
// differs its entries. A base layer that differs is named with both digests and looked into too.
func Images(ctx context.Context, published, rebuilt Blobs, publishedRoot, rebuiltRoot artifact.Digest, o Options) ([]Difference, error) {
	c := start(ctx, o)
	im := images{c, [2]Blobs{published, rebuilt}}
	return c.end(im.document(nil, publishedRoot, rebuiltRoot, 0))
}

type images struct {
	*comparer
	blobs [2]Blobs
}

var sides = [2]string{"published", "rebuilt"}

type object = map[string]any

// open opens a blob on both sides. Where one of them has none, that is told, and ok is false.
func (im images) open(where []string, digests [2]artifact.Digest) (s [2]Source, done func(), ok bool, err error) {
	var closers []func() error
	done = func() {
		for _, f := range closers {
			_ = f() // nothing was written
		}
	}
	ok = true
	for i, d := range digests {
		if _, bad := artifact.ParseDigest(string(d)); bad != nil {
			im.add(where, "the %s is not there to be opened: %s is not a digest", sides[i], quote(string(d)))
			ok = false
			continue
		}
		src, f, err := im.blobs[i].Open(d)
		if errors.Is(err, fs.ErrNotExist) {
			im.add(where, "the %s has no blob %s", sides[i], d)
			ok = false
			continue
		}
		if err != nil {
			done()
			return s, nil, false, fmt.Errorf("opening %s of the %s: %w", d, sides[i], err)
		}
		if f != nil {
			closers = append(closers, f)
		}
		s[i] = im.guard(sides[i], src)
	}
	return s, done, ok, nil
}

// document compares two manifests or indexes.
func (im images) document(where []string, a, b artifact.Digest, depth int) error {
	if a == b {
		return nil
	}
	if im.full() {
		im.n++
		return nil
	}
	s, done, ok, err := im.open(where, [2]artifact.Digest{a, b})
	if err != nil {
		return err
	}
	defer done()
	if !ok {
		return nil
	}
	before := im.n
	var docs [2]object
	read, err := im.both(s[0], s[1], maxDocument, func(a, b []byte) error {
		var errs [2]error
		for i, raw := range [][]byte{a, b} {
			v, err := parseJSON(raw)
			if errs[i] = err; err == nil {
				if docs[i], ok = v.(object); !ok {
					errs[i] = errors.New("it is not an object")
				}
			}
		}
		im.unopened(file{where: where, format: "manifest", strict: true}, errs[0], errs[1])
		return nil
	})
	if err := errors.Join(err, im.fatal()); err != nil {
		return err
	}
	if !read || docs[0] == nil || docs[1] == nil {
		return im.files(file{where: where, format: Text}, s[0], s[1])
	}
	_, one := docs[0]["manifests"]
	_, two := docs[1]["manifests"]
	switch {
	case one != two:
		kinds := map[bool]string{true: "an index", false: "a manifest"}
		im.add(where, "%s instead of %s", kinds[one], kinds[two])
	case one && depth >= maxIndexes:
		im.add(where, "indexes are in one another more than %d deep", maxIndexes)
	case one:
		err = im.index(where, docs[0], docs[1], depth)
	default:
		err = im.manifest(where, docs[0], docs[1])
	}
	if err == nil && im.n == before {
		// The values are the same, so it is how they are written.
		err = im.files(file{where: where, format: JSON}, s[0], s[1])
	}
	if err == nil && im.n == before {
		im.add(where, "the same bytes under %s instead of %s", a, b)
	}
	return err
}

// without is an object less some of its keys.
func without(o object, keys ...string) object {
	out := object{}
	for k, v := range o {
		if !slices.Contains(keys, k) {
			out[k] = v
		}
	}
	return out
}

func listOf(v any) []any {
	l, _ := v.([]any)
	return l
}

func text(o object, key string) string {
	s, _ := o[key].(string)
	return s
}

func digest(o object) artifact.Digest { return artifact.Digest(text(o, "digest")) }

// platform names what a descriptor in an index is for.
func platform(o object) string {
	if p, ok := o["platform"].(object); ok && text(p, "os") != "unknown" {
		var words []string
		for _, k := range []string{"os", "architecture", "variant", "os.version"} {
			if s := text(p, k); s != "" {
				words = append(words, s)
			}
		}
		if len(words) > 0 {
			return strings.Join(words, "/")
		}
	}
	notes, _ := o["annotations"].(object)
	for _, s := range []string{text(notes, refName), text(o, "artifactType")} {
		if s != "" {
			return s
		}
	}
	return "manifest"
}

// descriptors are those of an index by what they are for, and their names in order. Of several for the same the second
// one has a number.
func descriptors(v any) (names []string, by map[string]object) {
	by = map[string]object{}
	seen := map[string]int{}
	for _, d := range listOf(v) {
		o, _ := d.(object)
		name := platform(o)
		if seen[name]++; seen[name] > 1 {
			name = fmt.Sprintf("%s (%d)", name, seen[name])
		}
		if _, ok := by[name]; !ok {
			names = append(names, name)
		}
		by[name] = o
	}
	return names, by
}

func (im images) index(where []string, a, b object, depth int) error {
	namesA, x := descriptors(a["manifests"])
	namesB, y := descriptors(b["manifests"])
	var both, other []string
	for _, name := range namesA {
		if _, ok := y[name]; ok {
			both = append(both, name)
		} else {
			im.add(in(where, name), "only in the published")
		}
	}
	for _, name := range namesB {
		if _, ok := x[name]; ok {
			other = append(other, name)
		} else {
			im.add(in(where, name), "only in the rebuilt")
		}
	}
	for i, name := range both {
		if other[i] != name {
			im.add(where, "the same manifests in another order: manifest %d is for %s instead of %s", i+1, quote(name), quote(other[i]))
			break
		}
	}
	im.value(nil, where, without(a, "manifests"), without(b, "manifests"))
	for _, name := range both {
		one, two := x[name], y[name]
		before := im.n
		im.value(nil, in(where, name), without(one, "digest", "size"), without(two, "digest", "size"))
		if err := im.document(in(where, name), digest(one), digest(two), depth+1); err != nil {
			return err
		}
		if im.n == before {
			im.value(nil, in(where, name), one, two)
		}
	}
	return nil
}

// manifest compares two manifests: annotations, configs, layers.
func (im images) manifest(where []string, a, b object) error {
	im.value(nil, where, without(a, "config", "layers"), without(b, "config", "layers"))
	layersA, layersB := listOf(a["layers"]), listOf(b["layers"])
	confA, _ := a["config"].(object)
	confB, _ := b["config"].(object)
	if text(confA, "mediaType") != chartConfig {
		if err := im.config(in(where, "config"), confA, confB, layersA, layersB, nil); err != nil {
			return err
		}
		return im.layers(where, layersA, layersB)
	}
	// The config of a chart repeats its Chart.yaml, so the chart is read first, and told of later.
	told := len(im.list)
	if err := im.layers(where, layersA, layersB); err != nil {
		return err
	}
	found := slices.Clone(im.list[told:])
	err := im.config(in(where, "config"), confA, confB, layersA, layersB, found)
	im.inFront(told, len(found))
	return err
}

// config compares two configs. What follows from the layers is not told again.
func (im images) config(where []string, a, b object, layersA, layersB []any, found []Difference) error {
	im.value(nil, where, without(a, "digest", "size"), without(b, "digest", "size"))
	if digest(a) == digest(b) {
		return nil
	}
	s, done, ok, err := im.open(where, [2]artifact.Digest{digest(a), digest(b)})
	if err != nil {
		return err
	}
	defer done()
	if !ok {
		return nil
	}
	told := false
	_, err = im.both(s[0], s[1], maxDocument, func(a, b []byte) error {
		v, errA := parseJSON(a)
		w, errB := parseJSON(b)
		x, okA := v.(object)
		y, okB := w.(object)
		if errA != nil || errB != nil || !okA || !okB {
			return nil
		}
		follows := im.consequences(x, y, layersA, layersB, found)
		before := im.n
		im.value(nil, where, x, y)
		told = follows || im.n > before // else it is how they are written
		return nil
	})
	if err != nil || told {
		return err
	}
	before := im.n
	if err := im.files(file{where: where, format: JSON, strict: true}, s[0], s[1]); err != nil {
		return err
	}
	if im.n == before {
		im.add(where, "the same bytes under %s instead of %s", digest(a), digest(b))
	}
	return nil
}

// inFront moves what was found last in front of the n differences that were found from told on.
func (im images) inFront(told, n int) {
	if told > len(im.list) {
		return
	}
	found := im.list[told:]
	im.list = append(im.list[:told:told], append(slices.Clone(found[n:]), found[:n]...)...)
}

// consequences makes the same in two configs what follows from layers that differ: their digests, and what a chart
// repeats of its Chart.yaml. It reports whether there was something.
func (im images) consequences(a, b object, layersA, layersB []any, found []Difference) (any bool) {
	x, _ := a["rootfs"].(object)
	y, _ := b["rootfs"].(object)
	idsA, idsB := listOf(x["diff_ids"]), listOf(y["diff_ids"])
	switch {
	case len(layersA) != len(layersB):
		any = !reflect.DeepEqual(idsA, idsB)
		delete(x, "diff_ids")
		delete(y, "diff_ids")
	case len(idsA) == len(layersA) && len(idsB) == len(layersB):
		for i := range idsA {
			one, _ := layersA[i].(object)
			two, _ := layersB[i].(object)
			if digest(one) != digest(two) && !reflect.DeepEqual(idsA[i], idsB[i]) {
				idsB[i], any = idsA[i], true
			}
		}
	}
	for _, d := range found {
		n := len(d.Where)
		if n == 0 || !strings.HasSuffix(d.Where[n-1], "/Chart.yaml") {
			continue
		}
		// Both are told in the same words, if they say the same.
		key, _, _ := strings.Cut(d.What, ": ")
		if v, ok := a[key].(string); ok && d.What == key+": "+instead(v, text(b, key)) {
			b[key], any = v, true
		}
	}
	return any
}

// layers compares the layers of two manifests.
func (im images) layers(where []string, a, b []any) error {
	if len(a) != len(b) {
		im.add(where, "%s instead of %d", count(int64(len(a)), "layer"), len(b))
	}
	// One more or less is one difference: those at the beginning and at the end that are the same are left out.
	at := func(list []any, i int) object { o, _ := list[i].(object); return o }
	first, n := 0, min(len(a), len(b))
	for first < n && digest(at(a, first)) == digest(at(b, first)) {
		im.descriptor(in(where, layerName(first)), at(a, first), at(b, first))
		first++
	}
	tail := 0
	if len(a) != len(b) {
		for tail < n-first && digest(at(a, len(a)-1-tail)) == digest(at(b, len(b)-1-tail)) {
			tail++
		}
	}
	for i := first; i < max(len(a), len(b))-tail; i++ {
		switch {
		case i >= len(b)-tail:
			im.add(in(where, layerName(i)), "only in the published: %s", plain(string(digest(at(a, i)))))
		case i >= len(a)-tail:
			im.add(in(where, layerName(i)), "only in the rebuilt: %s", plain(string(digest(at(b, i)))))
		default:
			if err := im.layer(in(where, layerName(i)), at(a, i), at(b, i), i == 0 && len(a) > 1); err != nil {
				return err
			}
		}
	}
	return nil
}

func layerName(i int) string { return fmt.Sprintf("layer %d", i+1) }

// descriptor compares what a manifest says of a layer besides its digest.
func (im images) descriptor(where []string, a, b object) {
	im.value(nil, where, without(a, "digest", "size"), without(b, "digest", "size"))
}

// layer compares two layers. The base is what the image is built on: that it is another one is told by its digest.
func (im images) layer(where []string, a, b object, base bool) error {
	im.descriptor(where, a, b)
	one, two := digest(a), digest(b)
	if one == two {
		return nil
	}
	if base {
		im.add(where, "base layer %s instead of %s", plain(string(one)), plain(string(two)))
	}
	if im.full() {
		im.n++
		return nil
	}
	s, done, ok, err := im.open(where, [2]artifact.Digest{one, two})
	if err != nil {
		return err
	}
	defer done()
	if !ok {
		return nil
	}
	f := file{where: where}
	switch media := text(a, "mediaType"); {
	case media == chartContent:
		f.format, f.strict = inspect.Chart, true
	case strings.Contains(media, ".layer.") || strings.Contains(media, ".rootfs."):
		f.format, f.strict = layer, true
	}
	before := im.n
	if err := im.files(f, s[0], s[1]); err != nil {
		return err
	}
	if im.n == before {
		im.add(where, "the same bytes under %s instead of %s", one, two)
	}
	return nil
}
