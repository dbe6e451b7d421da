// Package snapstore carries snaps to the Snap Store: each one becomes a revision, which is not served yet, and then the
// revisions are released to channels, which people follow.
//
// The store numbers what it is sent and takes the bytes of a snap once. It works through what it was sent when it comes
// to it, so whether an upload became a revision is seen in its list, by the hash of the bytes, and never told by the
// answer to the upload.
//
// The protocol is snapcraft's (https://github.com/canonical/snapcraft/blob/main/snapcraft/store/client.py,
// https://dashboard.snapcraft.io/docs/).
package snapstore

import (
	"cmp"
	"context"
	"crypto/sha3"
	"encoding/hex"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/slipway-build/slipway/pipeline/format"
	"github.com/slipway-build/slipway/pipeline/internal/web"
	"github.com/slipway-build/slipway/pipeline/publish"
	"github.com/slipway-build/slipway/pipeline/publish/wire"
	"github.com/slipway-build/slipway/pipeline/release/artifact"
	"github.com/slipway-build/slipway/pipeline/release/fault"
	"github.com/slipway-build/slipway/pipeline/release/manifest"
	"github.com/slipway-build/slipway/pipeline/release/version"
)

// The hosts of the store (https://github.com/canonical/snapcraft/blob/main/snapcraft/store/constants.py), and the one
// that machines ask for snaps (https://api.snapcraft.io/docs/).
const (
	defaultStore  = "https://dashboard.snapcraft.io"
	defaultUpload = "https://storage.snapcraftcontent.com"
	defaultLogin  = "https://login.ubuntu.com"
	defaultPublic = "https://api.snapcraft.io"
)

// How long the store is waited for, and how often it is asked meanwhile.
const (
	defaultWait = 10 * time.Minute
	firstPause  = 2 * time.Second
	maxPause    = 15 * time.Second
)

// Options say where the snaps of a release go.
type Options struct {
	Release publish.Release
	// Transport needs no credentials; the store's are shown by this package, to the store alone.
	Transport *wire.Transport
	// Credentials are what snapcraft export-login wrote, as SNAPCRAFT_STORE_CREDENTIALS has it. They need package_access,
	// package_push and package_release.
	Credentials func() string
	// Channels are where the snaps are released to, each [<track>/]<risk>[/<branch>]
	// (https://snapcraft.io/docs/channels). nil is stable for a stable version, beta for a prerelease and edge for a
	// snapshot: candidate takes no snap of grade devel, which those of prereleases are.
	Channels []string

	// The store's hosts as https://host; "" is the Snap Store's.
	Store  string // what publishers ask
	Upload string // what takes the bytes
	Login  string // what renews credentials
	Public string // what machines ask

	// Wait bounds how long the store is waited for to look through one snap; 0 is ten minutes.
	Wait time.Duration
	// Sleep waits in between; nil sleeps.
	Sleep func(ctx context.Context, d time.Duration) error
}

// Destination is the store.
type Destination struct {
	o     Options
	api   *http.Client // follows nothing, since what it carries is for one host
	login *login       // nil until it is needed
	snaps []*snap
	// before are the lengths that the histories of channels had before this process released anything to them.
	before map[place]int
}

// place is a channel for the architecture of a snap.
type place struct {
	*snap
	channel string
}

// snap is a snap of the release.
type snap struct {
	manifest.Package
	file artifact.File
	sha3 string // SHA3-384 in hexadecimal
}

func (s *snap) String() string { return s.Name + " " + s.Version + " " + s.Architecture }

var (
	names    = regexp.MustCompile(`^[a-z0-9-]{1,40}$`)
	channels = regexp.MustCompile(`^(?:[a-zA-Z0-9][a-zA-Z0-9._-]*/)?(stable|candidate|beta|edge)(?:/[a-zA-Z0-9][a-zA-Z0-9._+-]*)?$`)
)

// New reads from the release what goes to the store. A channel that the store would not release this version to is
// Usage, a snap that is not what the manifest says is a Mismatch.
func New(o Options) (*Destination, error) {
	for _, host := range []struct {
		url      *string
		standard string
	}{{&o.Store, defaultStore}, {&o.Upload, defaultUpload}, {&o.Login, defaultLogin}, {&o.Public, defaultPublic}} {
		*host.url = strings.TrimRight(cmp.Or(*host.url, host.standard), "/")
		if u, err := url.Parse(*host.url); err != nil || !trusted(u) || u.RawQuery != "" || u.Fragment != "" {
			return nil, fault.Errorf(fault.Usage, "a host of the Snap Store is not https://host without user or query")
		}
	}
	v := o.Release.Manifest.Version
	if len(o.Channels) == 0 {
		o.Channels = []string{standard(v)}
	}
	for i, c := range o.Channels {
		m := channels.FindStringSubmatch(c)
		switch {
		case m == nil:
			return nil, fault.Errorf(fault.Usage, "channel %.80q is not [<track>/]<risk>[/<branch>] with the risk stable, candidate, beta or edge", c)
		case !v.IsStable() && (m[1] == "stable" || m[1] == "candidate"):
			return nil, fault.Errorf(fault.Usage, "channel %s takes no snap of grade devel, as that of %s is; name beta or edge", c, v)
		case slices.ContainsFunc(o.Channels[:i], func(other string) bool { return full(other) == full(c) }):
			return nil, fault.Errorf(fault.Usage, "channel %s is named twice", c)
		}
	}
	o.Wait = cmp.Or(o.Wait, defaultWait)
	if o.Sleep == nil {
		o.Sleep = wire.Sleep
	}
	d := &Destination{o: o, before: map[place]int{}, api: &http.Client{
		Transport:     o.Transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
	for _, p := range packages(o.Release.Manifest) {
		s, err := open(o.Release, p)
		if err != nil {
			return nil, err
		}
		d.snaps = append(d.snaps, s)
	}
	return d, nil
}

// Applies reports whether a release has anything for the store.
func Applies(m manifest.Release) bool { return len(packages(m)) > 0 }

func packages(m manifest.Release) []manifest.Package {
	out, _ := format.Going(m, "snap")
	return out
}

// standard is the channel of a version if none is named.
func standard(v version.Version) string {
	switch {
	case v.IsSnapshot():
		return "edge"
	case v.IsPrerelease():
		return "beta"
	}
	return "stable"
}

// full is a channel with its track, as the store lists it.
func full(channel string) string {
	first, _, _ := strings.Cut(channel, "/")
	if slices.Contains([]string{"stable", "candidate", "beta", "edge"}, first) {
		return "latest/" + channel
	}
	return channel
}

// trusted reports whether bytes may be asked for at the URL.
func trusted(u *url.URL) bool {
	return u.User == nil && web.Private(u)
}

func open(rel publish.Release, p manifest.Package) (*snap, error) {
	file, ok := rel.File(p.Path)
	if !ok {
		return nil, fault.Errorf(fault.Mismatch, "%s is not among the files of the release", p.Path)
	}
	if !names.MatchString(p.Name) {
		return nil, fault.Errorf(fault.Usage, "%s: %.60q is not the name of a snap", p.Path, p.Name)
	}
	f, err := os.Open(rel.Path(p.Path))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	hash := sha3.New384()
	m := artifact.NewMeter(hash)
	if _, err := io.Copy(m, f); err != nil {
		return nil, fmt.Errorf("reading %s: %w", p.Path, err)
	}
	if m.Digest() != file.Digest {
		return nil, fault.Errorf(fault.Mismatch, "%s is not what the manifest says; build the release again", p.Path)
	}
	return &snap{p, file, hex.EncodeToString(hash.Sum(nil))}, nil
}

// found is how a snap stands at the store.
type found struct {
	ours  *revision // nil where the store has not these bytes
	other *revision // the same version for the same architecture, with other bytes
}

// find looks for a snap among the revisions. What the review refused was never there for anybody, and does not count
// unless it is these bytes.
func (v *view) find(s *snap) found {
	var f found
	for i := range v.revisions {
		r := &v.revisions[i]
		about := r.Version == s.Version && slices.Contains(r.Architectures, s.Architecture)
		switch hash, ok := r.hash(); {
		case ok && hash == s.sha3, !ok && about && r.Size == s.file.Size:
			if f.ours == nil || f.ours.rejected() {
				f.ours = r
			}
		case about && !r.rejected() && f.other == nil:
			f.other = r
		}
	}
	return f
}

// staged is the item of the revision.
func (v *view) staged(s *snap) publish.Item {
	it := publish.Item{Name: s.String(), Phase: publish.Stage, State: publish.Missing, Digest: s.file.Digest, Size: s.file.Size}
	switch f := v.find(s); {
	case f.ours != nil && f.ours.rejected():
		it.State, it.Detail = publish.Different, fmt.Sprintf("the store's review rejected it as revision %d", f.ours.Revision)
	case f.ours != nil:
		it.State, it.Detail = publish.Same, fmt.Sprintf("revision %d", f.ours.Revision)
		if f.ours.inReview() {
			it.Detail += ", which waits for the store's review"
		}
	case f.other != nil:
		it.State, it.Detail = publish.Different, fmt.Sprintf("revision %d is the same version with other bytes", f.other.Revision)
	}
	return it
}

// unknown is the number of a revision that the store does not have yet. None is 0.
const unknown number = -1

// standing tells how a channel stands, by revisions. Of what it had once, only what it had since this process began to release
// counts: from what was there before, somebody may have gone back on purpose.
func (d *Destination) standing(v *view, p place) publish.Moving[number] {
	ours := revision{Revision: unknown, Version: d.o.Release.Manifest.Version.String()}
	if f := v.find(p.snap); f.ours != nil {
		ours.Revision = f.ours.Revision
	}
	best := ours
	consider := func(n number) {
		if r := v.revision(int64(n)); ahead(r, best) {
			best = r
		}
	}
	m := publish.Moving[number]{Mine: ours.Revision}
	for _, c := range v.channels { // two of one channel where a release is progressive
		if c.of(p) && m.At != m.Mine {
			m.At = c.Revision
			consider(m.At)
		}
	}
	if m.At == m.Mine {
		best = ours
	}
	history := v.past(p)
	if before, began := d.before[p]; began {
		for _, c := range history[:len(history)-min(before, len(history))] {
			consider(c.Revision)
		}
	}
	m.Highest = best.Revision
	return m
}

// past is the history of a channel, the newest first.
func (v *view) past(p place) []mapped {
	var out []mapped
	for _, c := range v.history {
		if c.of(p) {
			out = append(out, c)
		}
	}
	return out
}

// of reports whether it is a revision of the channel.
func (c mapped) of(p place) bool {
	return full(c.Channel) == full(p.channel) && c.Architecture == p.Architecture && c.Revision != 0
}

// ahead reports whether a revision is newer than another. Of a version that is not SemVer the number of the revision tells.
func ahead(r, other revision) bool {
	v, err := version.Parse(r.Version)
	w, errOther := version.Parse(other.Version)
	if err == nil && errOther == nil {
		return v.Compare(w) > 0
	}
	return other.Revision > 0 && r.Revision > other.Revision
}

// Look tells of the revision of every snap, then of every channel.
func (d *Destination) Look(ctx context.Context, depth publish.Depth) ([]publish.Item, error) {
	views, err := d.views(ctx)
	if err != nil {
		return nil, err
	}
	var staged, released []publish.Item
	missing := map[string]bool{}
	for _, s := range d.snaps {
		v := views[s.Name]
		it := v.staged(s)
		channels := d.released(v, s)
		if it.State == publish.Missing && !missing[s.Name] {
			missing[s.Name] = true
			if err := d.may(ctx, s.Name); err != nil {
				return nil, err
			}
		}
		if depth == publish.Read && it.State == publish.Same {
			if err := d.read(ctx, s, v.find(s).ours, &it, channels); err != nil {
				return nil, err
			}
		}
		staged, released = append(staged, it), append(released, channels...)
	}
	return append(staged, released...), nil
}

// released are the items of the channels of a snap. No channel goes back to an older version.
func (d *Destination) released(v *view, s *snap) []publish.Item {
	var items []publish.Item
	for _, c := range d.o.Channels {
		m := d.standing(v, place{s, c})
		it := publish.Item{
			Name: s.Name + " " + full(c) + " " + s.Architecture, Phase: publish.Flip, State: m.State(),
			Digest: s.file.Digest, Size: s.file.Size, URL: "https://snapcraft.io/" + s.Name,
		}
		if it.State == publish.Movable || it.State == publish.Kept {
			it.Detail = fmt.Sprintf("it has %.60s, revision %d", cmp.Or(v.revision(int64(m.At)).Version, "another"), m.At)
		}
		items = append(items, it)
	}
	return items
}

// read fetches a released revision as machines do. One that is not released nobody can fetch: of it the store's own hash
// of what it was sent has to do.
func (d *Destination) read(ctx context.Context, s *snap, ours *revision, staged *publish.Item, channels []publish.Item) error {
	if !slices.ContainsFunc(channels, func(it publish.Item) bool { return it.State == publish.Same }) {
		return nil
	}
	digest, err := d.download(ctx, s, int64(ours.Revision))
	if err != nil {
		return fmt.Errorf("downloading %s: %w", s, err)
	}
	switch digest {
	case s.file.Digest:
	case "":
		staged.Detail += ", which the public listing does not have"
	default:
		staged.State, staged.Detail = publish.Different, staged.Detail+", whose download has other bytes"
	}
	return nil
}

// views are what the store has of each snap, by name.
func (d *Destination) views(ctx context.Context) (map[string]*view, error) {
	all := map[string]*view{}
	for _, s := range d.snaps {
		if all[s.Name] != nil {
			continue
		}
		v, err := d.view(ctx, s.Name)
		if err != nil {
			return nil, fmt.Errorf("looking for the snap %s: %w", s.Name, err)
		}
		all[s.Name] = v
	}
	return all, nil
}

// Stage uploads what is not a revision yet, one after the other, so that the numbers have the order of the manifest.
func (d *Destination) Stage(ctx context.Context) error {
	views, err := d.views(ctx)
	if err != nil {
		return err
	}
	for _, s := range d.snaps {
		switch it := views[s.Name].staged(s); it.State {
		case publish.Missing:
			if err := d.upload(ctx, s); err != nil {
				return fmt.Errorf("uploading %s: %w", s, err)
			}
		case publish.Different:
			return fault.Errorf(fault.Conflict, "%s is taken: %s", s, it.Detail)
		}
	}
	return nil
}

// upload makes a snap a revision.
func (d *Destination) upload(ctx context.Context, s *snap) error {
	id, err := d.send(ctx, s)
	if err != nil {
		return err
	}
	status, err := d.push(ctx, s, id)
	if err != nil || d.o.Transport.DryRun() {
		return err
	}
	taken, err := d.wait(ctx, status)
	if err != nil || !taken {
		return err
	}
	// The store has these bytes: an upload whose answer was lost was worked through meanwhile.
	v, err := d.view(ctx, s.Name)
	if err != nil {
		return err
	}
	if v.find(s).ours == nil {
		return fault.Errorf(fault.Transient, "the store says that it has these bytes and does not list them; run the same command again later")
	}
	return nil
}

// Flip releases the revisions to the channels that do not have them, all channels of a snap in one request.
func (d *Destination) Flip(ctx context.Context) error {
	var places []place
	for _, s := range d.snaps {
		for _, c := range d.o.Channels {
			places = append(places, place{s, c})
		}
	}
	var views map[string]*view
	return publish.Names[number]{
		Look: func(ctx context.Context) (all []publish.Moving[number], err error) {
			views, err = d.views(ctx)
			if err != nil {
				return nil, err
			}
			for _, p := range places {
				if _, seen := d.before[p]; !seen {
					d.before[p] = len(views[p.Name].past(p))
				}
				all = append(all, d.standing(views[p.Name], p))
			}
			return all, nil
		},
		Move: func(ctx context.Context, to map[int]number) error {
			for _, s := range d.snaps {
				channels := map[number][]string{}
				for i, p := range places {
					if n, ok := to[i]; ok && p.snap == s {
						channels[n] = append(channels[n], p.channel)
					}
				}
				for _, n := range slices.Sorted(maps.Keys(channels)) {
					if err := d.give(ctx, views[s.Name], s, n, channels[n]); err != nil {
						return err
					}
				}
			}
			return nil
		},
		DryRun: d.o.Transport.DryRun(),
	}.Forward(ctx)
}

// give releases a revision to channels: that of a snap of the release, or one that was in them meanwhile and is newer.
func (d *Destination) give(ctx context.Context, v *view, s *snap, n number, channels []string) error {
	switch ours := v.find(s).ours; {
	case n == unknown && !d.o.Transport.DryRun(): // where nothing was staged
		return fault.Errorf(fault.Transient, "%s is not a revision of the store yet; run the same command again", s)
	case n == unknown:
		n = 0
	case ours == nil || n != ours.Revision:
	case ours.rejected():
		return fault.Errorf(fault.Conflict, "%s cannot be released: %s", s, v.staged(s).Detail)
	case ours.inReview():
		return fault.Errorf(fault.Transient, "%s is revision %d, which waits for the store's review; run the same command again when it passed", s, n)
	}
	if err := d.release(ctx, s.Name, int64(n), channels); err != nil {
		return fmt.Errorf("releasing %s to %s: %w", s, strings.Join(channels, ", "), err)
	}
	return nil
}

// Simulate answers as a store does that takes everything; for wire.Options.
func Simulate(req *http.Request) *http.Response {
	switch {
	case strings.HasSuffix(req.URL.Path, uploadPath):
		return wire.Answer(http.StatusOK, `{"successful": true, "upload_id": "not-uploaded"}`)
	case strings.HasSuffix(req.URL.Path, pushPath):
		return wire.Answer(http.StatusAccepted, `{"success": true}`)
	case strings.HasSuffix(req.URL.Path, releasePath):
		return wire.Answer(http.StatusOK, `{"success": true}`)
	}
	return nil
}
