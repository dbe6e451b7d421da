package index_test

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"math"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/slipway-build/slipway/pipeline/environment"
	"github.com/slipway-build/slipway/pipeline/environment/index"
	"github.com/slipway-build/slipway/pipeline/environment/store"
	"github.com/slipway-build/slipway/pipeline/fixture"
	"github.com/slipway-build/slipway/pipeline/fixture/gittest"
	"github.com/slipway-build/slipway/pipeline/release/artifact"
	"github.com/slipway-build/slipway/pipeline/release/fault"
	"github.com/slipway-build/slipway/pipeline/trust/sign"
	"github.com/slipway-build/slipway/pipeline/trust/signature"
	"github.com/slipway-build/slipway/pipeline/trust/tuf"
)

// team is a store, with a clock and keys.
type team struct {
	t       *testing.T
	remote  string
	dir     string // of the store and the index
	now     time.Time
	offline []signature.Signer
	online  signature.Signer
	release signature.Signer // of the components
	store   *store.Store
	index   *index.Index
	client  *tuf.Client // of the branch in a folder
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func newKey(t testing.TB, kind sign.Kind) signature.Signer {
	t.Helper()
	k, err := sign.Generate(kind)
	must(t, err)
	return k
}

func public(all ...signature.Signer) []signature.PublicKey {
	var keys []signature.PublicKey
	for _, s := range all {
		keys = append(keys, s.Public())
	}
	return keys
}

// git as a person runs it.
var environ, do = gittest.Environ, gittest.Git

// view is what the store is at.
func (tm *team) view() (v store.View) {
	tm.t.Helper()
	must(tm.t, tm.store.Read(tm.t.Context(), func(now store.View) error {
		v = now
		return nil
	}))
	return v
}

const rules = `version: 1
components:
  gateway: {key: keys/lead.pub}
  control: {key: keys/lead.pub}
stages:
  - {name: snapshot, overwrite: always, current: newest}
  - {name: staging, overwrite: if-needed, leaves: [snapshot]}
  - {name: production, leaves: [staging, snapshot], current: stable}
`

func newTeam(t *testing.T) *team {
	t.Helper()
	fixture.SkipRace(t)
	tm := &team{t: t, remote: filepath.Join(t.TempDir(), "store.git"), now: time.Date(2026, 3, 2, 10, 0, 0, 0, time.UTC), online: newKey(t, sign.ECDSA), release: newKey(t, sign.Ed25519)}
	for range 3 {
		tm.offline = append(tm.offline, newKey(t, sign.Ed25519))
	}
	do(t, ".", "init", "--quiet", "--bare", "--template=", tm.remote)
	tm.dir = t.TempDir()
	tm.store, tm.index = tm.open(tm.dir)
	must(t, tm.store.Init(t.Context(), []byte(rules), map[string][]byte{"lead.pub": tm.release.Public().PEM()}))
	tm.client = &tuf.Client{Dir: t.TempDir(), Now: func() time.Time { return tm.now }}
	return tm
}

func (tm *team) open(dir string) (*store.Store, *index.Index) {
	tm.t.Helper()
	o := store.Options{Remote: tm.remote, Environ: environ(tm.t), Dir: dir, Now: func() time.Time { return tm.now }}
	s, err := store.Open(o)
	must(tm.t, err)
	x, err := index.Open(o)
	must(tm.t, err)
	return s, x
}

// rooted is a store with a root that two of three have signed.
func rooted(t *testing.T) *team {
	tm := newTeam(t)
	tm.root()
	return tm
}

func (tm *team) root() {
	t := tm.t
	t.Helper()
	_, err := tm.index.Draft(t.Context(), tm.view(), index.Plan{Offline: public(tm.offline...), Online: public(tm.online)})
	must(t, err)
	s, err := tm.index.Sign(t.Context(), "", tm.offline[:2]...)
	must(t, err)
	tm.client.Root = s.Draft.File
}

func (tm *team) add(component, v, to string) {
	tm.t.Helper()
	tm.now = tm.now.Add(time.Second)
	e := environment.Entry{
		Component: component, Version: v, Commit: artifact.Sum([]byte(v)).Hex()[:40], Manifest: artifact.Sum([]byte(component + v)),
		Signed: environment.Identity{Key: string(tm.release.Public().Fingerprint())}, Places: []string{"https://releases.example.com/" + component + "/" + v + "/"},
	}
	tm.ask(environment.Request{Kind: environment.Add, To: to, Items: []environment.Item{{Component: component, Version: v}}, Entries: []environment.Entry{e}})
}

func (tm *team) ask(q environment.Request) {
	tm.t.Helper()
	r, err := tm.store.Ask(tm.t.Context(), q, nil)
	must(tm.t, err)
	if r.Refused() || r.Line == 0 {
		tm.t.Fatalf("%+v", r.Outcomes)
	}
}

func (tm *team) move(kind environment.Kind, component, v, to string) {
	tm.t.Helper()
	tm.now = tm.now.Add(time.Second)
	tm.ask(environment.Request{Kind: kind, To: to, Why: "a test", Items: []environment.Item{{Component: component, Version: v}}})
}

// update signs, and wants the roles that are signed.
func (tm *team) update(want ...string) index.Updated {
	tm.t.Helper()
	u, err := tm.index.Update(tm.t.Context(), tm.store, tm.online)
	must(tm.t, err)
	if !slices.Equal(u.Signed, want) {
		tm.t.Errorf("signed %q, want %q", u.Signed, want)
	}
	return u
}

// folder is the branch as somebody has it who copies it from time to time.
func (tm *team) folder() string {
	tm.t.Helper()
	dir := filepath.Join(tm.t.TempDir(), "copy")
	do(tm.t, ".", "clone", "--quiet", "--branch", index.Branch, tm.remote, dir)
	return dir
}

// read is the current version that a reader has of a copy made now.
func (tm *team) read(stage, component string) (string, error) {
	tm.t.Helper()
	return tm.readOf(tm.folder(), stage, component)
}

func (tm *team) readOf(folder, stage, component string) (string, error) {
	tm.t.Helper()
	tm.client.Source = tuf.Folder(folder)
	c, _, err := index.Read(tm.t.Context(), tm.client, stage, component)
	return c.Current, err
}

func (tm *team) wantCurrent(stage, component, want string) {
	tm.t.Helper()
	if got, err := tm.read(stage, component); err != nil || got != want {
		tm.t.Errorf("%s has %s %q and not %q: %v", stage, component, got, want, err)
	}
}

func (tm *team) wantMismatch(err error, text string) {
	tm.t.Helper()
	if fault.CodeOf(err) != fault.Mismatch || !strings.Contains(err.Error(), text) {
		tm.t.Errorf("code %d: %v; want %s", fault.CodeOf(err), err, text)
	}
}

func TestIndex(t *testing.T) {
	tm := newTeam(t)
	if _, err := tm.index.Update(t.Context(), tm.store, tm.online); !errors.Is(err, index.ErrNone) || fault.CodeOf(err) != fault.Usage {
		t.Errorf("without a root: %v", err)
	}
	s, err := tm.index.Draft(t.Context(), tm.view(), index.Plan{Offline: public(tm.offline...), Online: public(tm.online)})
	must(t, err)
	if s.Root != nil || s.Draft.Version != 1 || s.Draft.Threshold != 2 || s.Draft.Missing == "" {
		t.Errorf("%+v", s.Draft)
	}
	if _, err := tm.index.Update(t.Context(), tm.store, tm.online); fault.CodeOf(err) != fault.Usage || !strings.Contains(err.Error(), "slipway store root --sign") {
		t.Errorf("with a draft that nobody signed: %v", err)
	}
	if _, err := tm.index.Sign(t.Context(), "", tm.online); fault.CodeOf(err) != fault.Credentials {
		t.Errorf("an online key signs a root: %v", err)
	}
	if _, err := tm.index.Sign(t.Context(), artifact.Sum(nil), tm.offline[0]); fault.CodeOf(err) != fault.Mismatch {
		t.Errorf("another draft than was meant: %v", err)
	}
	digest := s.Draft.Digest
	s, err = tm.index.Sign(t.Context(), digest, tm.offline[0])
	if must(t, err); !strings.Contains(s.Draft.Missing, "1 signatures that count, and needs 2 of 3") {
		t.Error(s.Draft.Missing)
	}
	// The other one signs elsewhere.
	_, other := tm.open(t.TempDir())
	s, err = other.Sign(t.Context(), digest, tm.offline[2])
	if must(t, err); s.Draft.Missing != "" || s.Draft.Digest != digest {
		t.Errorf("%+v", s.Draft)
	}
	tm.client.Root = s.Draft.File
	if _, err := tm.index.Update(t.Context(), tm.store, tm.offline[0]); fault.CodeOf(err) != fault.Credentials {
		t.Errorf("an offline key signs an index: %v", err)
	}
	tm.add("gateway", "1.0.0", "snapshot")
	u := tm.update("root", "targets", "env-snapshot", "env-staging", "env-production", "snapshot", "timestamp")
	if u.Count != 1 || u.Root != 1 || len(u.Behind)+len(u.Notes) > 0 {
		t.Errorf("%+v", u)
	}
	tm.update()
	tm.wantCurrent("snapshot", "gateway", "1.0.0")
	if _, err := tm.read("production", "gateway"); fault.CodeOf(err) != fault.Usage {
		t.Errorf("what is not there: %v", err)
	}
	tm.move(environment.Promote, "gateway", "1.0.0", "production")
	tm.add("gateway", "1.1.0", "production")
	tm.add("control", "2.0.0", "staging")
	tm.update("env-snapshot", "env-staging", "env-production", "snapshot", "timestamp")
	tm.wantCurrent("production", "gateway", "1.1.0")
	tm.wantCurrent("snapshot", "gateway", "1.1.0")
	tm.wantCurrent("staging", "control", "2.0.0")
	tm.move(environment.Rollback, "gateway", "1.0.0", "production")
	tm.move(environment.Withdraw, "gateway", "1.1.0", "")
	tm.update("env-snapshot", "env-staging", "env-production", "snapshot", "timestamp")
	tm.client.Source = tuf.Folder(tm.folder())
	c, at, err := index.Read(t.Context(), tm.client, "production", "gateway")
	must(t, err)
	if v, ok := c.Of("1.1.0"); !ok || v.Withdrawn == nil || v.Withdrawn.Why != "a test" || c.Current != "1.0.0" || !c.Pinned || at.Count != 6 {
		t.Errorf("%+v at %+v", c, at)
	}
	v, _ := c.Of("1.0.0")
	if v.Manifest != artifact.Sum([]byte("gateway1.0.0")) || !slices.Equal(v.Places, []string{"https://releases.example.com/gateway/1.0.0/"}) || v.In != "production" {
		t.Errorf("%+v", v)
	}
	// The same by git, without a copy.
	must(t, tm.index.Open(t.Context(), func(source tuf.Source) error {
		tm.client.Source = source
		c, _, err := index.Read(t.Context(), tm.client, "staging", "control")
		if c.Current != "2.0.0" {
			t.Errorf("%+v", c)
		}
		return err
	}))
}

// TestRenewal has days go by without a move.
func TestRenewal(t *testing.T) {
	tm := rooted(t)
	tm.add("gateway", "1.0.0", "production")
	tm.update("root", "targets", "env-snapshot", "env-staging", "env-production", "snapshot", "timestamp")
	_, err := tm.read("production", "gateway")
	must(t, err)
	start := tm.now
	for _, tt := range []struct {
		after time.Duration
		want  []string
	}{
		{12 * time.Hour, nil},
		{12*time.Hour + time.Second, []string{"timestamp"}},
		{4 * 24 * time.Hour, []string{"snapshot", "timestamp"}},
		{16 * 24 * time.Hour, []string{"env-snapshot", "env-staging", "env-production", "snapshot", "timestamp"}},
	} {
		tm.now = start.Add(tt.after)
		tm.update(tt.want...)
		tm.wantCurrent("production", "gateway", "1.0.0")
	}
	// Nobody has signed for longer than a day.
	tm.now = tm.now.Add(24 * time.Hour)
	_, err = tm.read("production", "gateway")
	tm.wantMismatch(err, "timestamp version 5 expired")
	// What offline keys have to sign is told in time.
	tm.now = start.Add(91 * 24 * time.Hour)
	u, err := tm.index.Update(t.Context(), tm.store, tm.online)
	if must(t, err); len(u.Notes) != 1 || !strings.Contains(u.Notes[0], "targets version 1 expires 2026-08-29: slipway store root --renew") {
		t.Errorf("%q", u.Notes)
	}
	_, err = tm.index.Draft(t.Context(), tm.view(), index.Plan{})
	must(t, err)
	_, err = tm.index.Sign(t.Context(), "", tm.offline[1:]...)
	must(t, err)
	if u = tm.update("root", "targets", "snapshot", "timestamp"); len(u.Notes) > 0 || u.Root != 2 {
		t.Errorf("%+v", u)
	}
	tm.wantCurrent("production", "gateway", "1.0.0")
}

// TestCopies has somebody give readers older and mixed copies of the branch.
func TestCopies(t *testing.T) {
	tm := rooted(t)
	tm.add("gateway", "1.0.0", "production")
	tm.update("root", "targets", "env-snapshot", "env-staging", "env-production", "snapshot", "timestamp")
	first := tm.folder()
	_, err := tm.readOf(first, "production", "gateway")
	must(t, err)
	tm.add("gateway", "1.1.0", "production")
	tm.update("env-snapshot", "env-staging", "env-production", "snapshot", "timestamp")
	tm.wantCurrent("production", "gateway", "1.1.0")
	_, err = tm.readOf(first, "production", "gateway")
	tm.wantMismatch(err, "was seen before")
	mixed := tm.folder()
	older, err := os.ReadFile(filepath.Join(first, "metadata", "timestamp.json"))
	must(t, err)
	must(t, os.WriteFile(filepath.Join(mixed, "metadata", "timestamp.json"), older, 0o644))
	_, err = tm.readOf(mixed, "production", "gateway")
	tm.wantMismatch(err, "was seen before")
	// A reader who has seen nothing yet is given a file of an older set under the name of a newer one.
	tm.client.Dir = t.TempDir()
	mixed = tm.folder()
	names, err := filepath.Glob(filepath.Join(mixed, "metadata", "*.env-production.json"))
	must(t, err)
	slices.Sort(names)
	b, err := os.ReadFile(names[0])
	must(t, err)
	must(t, os.WriteFile(names[len(names)-1], b, 0o644))
	_, err = tm.readOf(mixed, "production", "gateway")
	tm.wantMismatch(err, "env-production: ")
	// A root that somebody else made.
	tm.client.Dir = t.TempDir()
	foreign := rooted(t)
	foreign.add("gateway", "6.6.6", "production")
	foreign.update("root", "targets", "env-snapshot", "env-staging", "env-production", "snapshot", "timestamp")
	_, err = tm.readOf(foreign.folder(), "production", "gateway")
	tm.wantMismatch(err, "0 signatures that count")
	// Another store of the same people, with the same keys.
	other := newTeam(t)
	other.offline, other.online = tm.offline, tm.online
	other.root()
	other.add("gateway", "6.6.6", "production")
	other.update("root", "targets", "env-snapshot", "env-staging", "env-production", "snapshot", "timestamp")
	_, err = tm.readOf(other.folder(), "production", "gateway")
	tm.wantMismatch(err, "it is of store")
	// The same once it has a root that follows ours, too.
	other.renew()
	other.update("root", "targets", "snapshot", "timestamp")
	_, err = tm.readOf(other.folder(), "production", "gateway")
	tm.wantMismatch(err, "2.root.json: it is signed for another purpose than the root before it")
}

// renew drafts the next root, which two of three sign.
func (tm *team) renew() {
	tm.t.Helper()
	_, err := tm.index.Draft(tm.t.Context(), tm.view(), index.Plan{})
	must(tm.t, err)
	_, err = tm.index.Sign(tm.t.Context(), "", tm.offline[:2]...)
	must(tm.t, err)
}

// TestRotation has the online key stolen and used, an offline key lost, and all of it replaced.
func TestRotation(t *testing.T) {
	tm := rooted(t)
	tm.add("gateway", "1.0.0", "production")
	tm.update("root", "targets", "env-snapshot", "env-staging", "env-production", "snapshot", "timestamp")
	tm.wantCurrent("production", "gateway", "1.0.0")

	// The thief may push too, and signs a timestamp and a snapshot of the far future.
	dir := tm.folder()
	b, err := os.ReadFile(filepath.Join(dir, "metadata", "timestamp.json"))
	must(t, err)
	stamp, _, err := tuf.ParseTimestamp(b)
	must(t, err)
	b, err = os.ReadFile(filepath.Join(dir, "metadata", fmt.Sprintf("%d.snapshot.json", stamp.Meta["snapshot.json"].Version)))
	must(t, err)
	snap, _, err := tuf.ParseSnapshot(b)
	must(t, err)
	snap.Version, stamp.Version = 1<<62, 1<<62
	b, err = tuf.Write(snap, tm.online)
	must(t, err)
	stamp.Meta["snapshot.json"] = tuf.NewMeta(snap.Version, b)
	must(t, os.WriteFile(filepath.Join(dir, "metadata", "4611686018427387904.snapshot.json"), b, 0o644))
	b, err = tuf.Write(stamp, tm.online)
	must(t, err)
	must(t, os.WriteFile(filepath.Join(dir, "metadata", "timestamp.json"), b, 0o644))
	do(t, dir, "add", ".")
	do(t, dir, "commit", "--quiet", "-m", "forged")
	do(t, dir, "push", "--quiet")
	tm.wantCurrent("production", "gateway", "1.0.0")

	// An offline key is lost; the other two name one in its place, and another online key.
	fresh, stolen := newKey(t, sign.Ed25519), tm.online
	tm.offline[0], tm.online = newKey(t, sign.Ed25519), fresh
	_, err = tm.index.Draft(t.Context(), tm.view(), index.Plan{Offline: public(tm.offline...), Online: public(fresh)})
	must(t, err)
	_, err = tm.index.Sign(t.Context(), "", tm.offline[1])
	must(t, err)
	if u, err := tm.index.Update(t.Context(), tm.store, stolen); err != nil || u.Root != 1 {
		t.Errorf("half signed: %+v, %v", u, err)
	}
	s, err := tm.index.Sign(t.Context(), "", tm.offline[2])
	if must(t, err); s.Draft.Missing != "" {
		t.Fatal(s.Draft.Missing)
	}
	if _, err := tm.index.Update(t.Context(), tm.store, stolen); fault.CodeOf(err) != fault.Credentials {
		t.Errorf("the stolen key still signs: %v", err)
	}
	tm.add("gateway", "1.1.0", "production")
	if u := tm.update("root", "targets", "env-snapshot", "env-staging", "env-production", "snapshot", "timestamp"); u.Root != 2 {
		t.Errorf("%+v", u)
	}
	tm.wantCurrent("production", "gateway", "1.1.0")
	versions := do(t, tm.remote, "show", index.Branch+":metadata/timestamp.json")
	if now, _, err := tuf.ParseTimestamp([]byte(versions + "\n")); err != nil || now.Version > 20 || now.Version <= 2 {
		t.Errorf("timestamp version %d, %v", now.Version, err)
	}
	// A reader who saw nothing since the first root comes along.
	tm.client.Dir = t.TempDir()
	tm.wantCurrent("production", "gateway", "1.1.0")
}

// TestStolenKey has somebody with the online key write an index of their own: they can say which version is current, but not give the
// file of one component or environment for that of another, nor bytes of another version that has the same name.
func TestStolenKey(t *testing.T) {
	tm := rooted(t)
	tm.add("gateway", "1.0.0", "production")
	tm.add("gateway", "1.1.0", "staging")
	tm.update("root", "targets", "env-snapshot", "env-staging", "env-production", "snapshot", "timestamp")
	for _, tt := range []struct {
		name    string
		content func(dir string) []byte
		want    string // in the error; "" for none
	}{
		{"the file of another environment", func(dir string) []byte { return target(t, dir, "staging/components/*.gateway.json") }, "it is of gateway in staging"},
		{"the file of another component", func(dir string) []byte {
			return bytes.ReplaceAll(target(t, dir, "production/components/*.gateway.json"), []byte(`"component": "gateway"`), []byte(`"component": "control"`))
		}, "it is of control in production"},
		{"a current version that is withdrawn", func(dir string) []byte {
			return bytes.ReplaceAll(target(t, dir, "production/components/*.gateway.json"), []byte(`"places": [`), []byte(`"withdrawn": {"line": 1}, "places": [`))
		}, "is none that may be used"},
		{"a current version that is not there", func(dir string) []byte {
			return bytes.ReplaceAll(target(t, dir, "production/components/*.gateway.json"), []byte(`"current": "1.0.0"`), []byte(`"current": "6.6.6"`))
		}, "is none that may be used"},
		{"another current version", func(dir string) []byte {
			return bytes.ReplaceAll(target(t, dir, "production/components/*.gateway.json"), []byte(`"1.0.0"`), []byte(`"6.6.6"`))
		}, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := tm.folder()
			tm.forge(dir, "production", "production/components/gateway.json", tt.content(dir))
			tm.client.Dir = t.TempDir()
			switch got, err := tm.readOf(dir, "production", "gateway"); {
			case tt.want == "" && (got != "6.6.6" || err != nil):
				t.Errorf("%q, %v", got, err)
			case tt.want != "":
				tm.wantMismatch(err, tt.want)
			}
		})
	}
}

// target is the bytes of the one target of a copy that matches a pattern.
func target(t testing.TB, dir, pattern string) []byte {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dir, "targets", filepath.FromSlash(pattern)))
	must(t, err)
	if len(names) != 1 {
		t.Fatalf("%q", names)
	}
	b, err := os.ReadFile(names[0])
	must(t, err)
	return b
}

// forge puts other bytes into a copy in the place of a target, and signs all that follows from it with the online key.
func (tm *team) forge(dir, stage, name string, content []byte) {
	t := tm.t
	t.Helper()
	at := func(format string, args ...any) string {
		return filepath.Join(dir, "metadata", fmt.Sprintf(format, args...))
	}
	file := func(name string) []byte {
		b, err := os.ReadFile(name)
		must(t, err)
		return b
	}
	put := func(name string, v any) []byte {
		b, err := tuf.Write(v, tm.online)
		must(t, err)
		must(t, os.WriteFile(name, b, 0o644))
		return b
	}
	stamp, _, err := tuf.ParseTimestamp(file(at("timestamp.json")))
	must(t, err)
	snap, _, err := tuf.ParseSnapshot(file(at("%d.snapshot.json", stamp.Meta["snapshot.json"].Version)))
	must(t, err)
	role := "env-" + stage
	targets, _, err := tuf.ParseTargets(file(at("%d.%s.json", snap.Meta[role+".json"].Version, role)))
	must(t, err)
	forged := tuf.NewTarget(content, targets.Targets[name].Custom)
	targets.Targets[name] = forged
	folder, base := path.Split(name)
	must(t, os.WriteFile(filepath.Join(dir, "targets", folder, forged.Hashes["sha256"]+"."+base), content, 0o644))
	targets.Version++
	snap.Version++
	stamp.Version++
	snap.Meta[role+".json"] = tuf.NewMeta(targets.Version, put(at("%d.%s.json", targets.Version, role), targets))
	stamp.Meta["snapshot.json"] = tuf.NewMeta(snap.Version, put(at("%d.snapshot.json", snap.Version), snap))
	put(at("timestamp.json"), stamp)
}

// TestOwnKey has production be signed for with a key of its own.
func TestOwnKey(t *testing.T) {
	tm := newTeam(t)
	own := newKey(t, sign.ECDSA)
	_, err := tm.index.Draft(t.Context(), tm.view(), index.Plan{Offline: public(tm.offline[0]), Online: public(tm.online), Environments: map[string][]signature.PublicKey{"production": public(own)}})
	must(t, err)
	s, err := tm.index.Sign(t.Context(), "", tm.offline[0])
	must(t, err)
	tm.client.Root = s.Draft.File
	tm.add("gateway", "1.0.0", "production")
	u := tm.update("root", "targets", "env-snapshot", "env-staging", "snapshot", "timestamp")
	if !slices.Equal(u.Behind, []string{"production"}) {
		t.Errorf("%+v", u)
	}
	tm.wantCurrent("snapshot", "gateway", "1.0.0")
	_, err = tm.read("production", "gateway")
	tm.wantMismatch(err, `does not name "env-production"`)
	if u, err := tm.index.Update(t.Context(), tm.store, own, tm.online); err != nil || len(u.Behind) > 0 || !slices.Equal(u.Signed, []string{"env-production", "snapshot", "timestamp"}) {
		t.Errorf("%+v, %v", u, err)
	}
	tm.wantCurrent("production", "gateway", "1.0.0")
	// The next one without the key of production leaves it as it is.
	tm.add("gateway", "1.1.0", "production")
	tm.update("env-snapshot", "env-staging", "snapshot", "timestamp")
	tm.wantCurrent("production", "gateway", "1.0.0")
	tm.wantCurrent("staging", "gateway", "1.1.0")
	// A stage that the rules gain waits for the offline keys.
	dir := filepath.Join(t.TempDir(), "main")
	do(t, ".", "clone", "--quiet", "--branch", "main", tm.remote, dir)
	must(t, os.WriteFile(filepath.Join(dir, environment.RulesFile), []byte(rules+"  - {name: space}\n"), 0o644))
	do(t, dir, "commit", "--quiet", "-a", "-m", "another stage")
	do(t, dir, "push", "--quiet")
	if u := tm.update(); len(u.Notes) != 1 || !strings.Contains(u.Notes[0], "no key speaks for space yet: slipway store root --renew") {
		t.Errorf("%+v", u)
	}
	// A renewal keeps the keys.
	_, err = tm.index.Draft(t.Context(), tm.view(), index.Plan{})
	must(t, err)
	s, err = tm.index.Sign(t.Context(), "", tm.offline[0])
	if must(t, err); len(s.Draft.Own["production"]) != 1 || s.Draft.Missing != "" {
		t.Errorf("%+v", s.Draft)
	}
	if u, err := tm.index.Update(t.Context(), tm.store, own, tm.online); err != nil || len(u.Notes)+len(u.Behind) > 0 || !slices.Contains(u.Signed, "env-space") {
		t.Errorf("%+v, %v", u, err)
	}
}

// TestRewritten has somebody who may push take history away, of the branch and of the log.
func TestRewritten(t *testing.T) {
	tm := rooted(t)
	tm.add("gateway", "1.0.0", "production")
	log := do(t, tm.remote, "rev-parse", "log")
	tm.update("root", "targets", "env-snapshot", "env-staging", "env-production", "snapshot", "timestamp")
	before := do(t, tm.remote, "rev-parse", index.Branch)
	tm.add("gateway", "1.1.0", "production")
	tm.update("env-snapshot", "env-staging", "env-production", "snapshot", "timestamp")
	after := do(t, tm.remote, "rev-parse", index.Branch)

	do(t, tm.remote, "update-ref", "refs/heads/"+index.Branch, before)
	_, err := tm.index.Update(t.Context(), tm.store, tm.online)
	tm.wantMismatch(err, "was rewritten")
	do(t, tm.remote, "update-ref", "-d", "refs/heads/"+index.Branch)
	_, err = tm.index.Status(t.Context())
	tm.wantMismatch(err, "was rewritten")
	do(t, tm.remote, "update-ref", "refs/heads/"+index.Branch, after)

	// Whoever signs elsewhere, and has not seen the log before, holds it to what was signed.
	do(t, tm.remote, "update-ref", "refs/heads/log", log)
	s, x := tm.open(t.TempDir())
	_, err = x.Update(t.Context(), s, tm.online)
	tm.wantMismatch(err, "of a longer log")
	tm.store, tm.index = tm.open(t.TempDir())
	tm.add("gateway", "6.6.6", "production")
	tm.add("gateway", "6.6.7", "production")
	_, err = tm.index.Update(t.Context(), tm.store, tm.online)
	tm.wantMismatch(err, "the log was rewritten: line 2 was")
}

// TestSeenAsAWhole holds what a folder remembers to be replaced: one who is killed as it is written leaves what was there.
func TestSeenAsAWhole(t *testing.T) {
	tm := rooted(t)
	dir := t.TempDir()
	tm.store, tm.index = tm.open(dir)
	tm.update("root", "targets", "env-snapshot", "env-staging", "env-production", "snapshot", "timestamp")
	link, seen := filepath.Join(dir, "link"), filepath.Join(dir, "metadata.seen")
	must(t, os.Link(seen, link))
	tm.add("gateway", "1.0.0", "production")
	tm.update("env-snapshot", "env-staging", "env-production", "snapshot", "timestamp")
	before, err := os.ReadFile(link)
	must(t, err)
	if now, err := os.ReadFile(seen); err != nil || string(before) == string(now) || strings.TrimSpace(string(now)) != do(t, tm.remote, "rev-parse", index.Branch) {
		t.Errorf("%s has been written over: %q, %q, %v", seen, before, now, err)
	}
}

// TestTwoAtOnce has two machines sign at once, each what it has read: the branch ends with the newest, and nothing is signed twice under
// one number.
func TestTwoAtOnce(t *testing.T) {
	tm := rooted(t)
	o := store.Options{Remote: tm.remote, Environ: environ(t), Dir: t.TempDir(), Now: func() time.Time { return tm.now.Add(time.Second) }}
	store2, err := store.Open(o)
	must(t, err)
	index2, err := index.Open(o)
	must(t, err)
	for i := range 4 {
		tm.add("gateway", fmt.Sprintf("1.%d.0", i), "production")
		errs := make(chan error, 2)
		var signed [2]index.Updated
		go func() {
			var err error
			signed[0], err = tm.index.Update(t.Context(), tm.store, tm.online)
			errs <- err
		}()
		go func() {
			var err error
			signed[1], err = index2.Update(t.Context(), store2, tm.online)
			errs <- err
		}()
		for range 2 {
			if err := <-errs; err != nil {
				t.Error(err)
			}
		}
		if n := len(signed[0].Signed) + len(signed[1].Signed); signed[0].Count != i+1 || signed[1].Count != i+1 || n > 7 {
			t.Errorf("%+v", signed)
		}
		tm.wantCurrent("production", "gateway", fmt.Sprintf("1.%d.0", i))
	}
	if n := do(t, tm.remote, "rev-list", "--count", index.Branch); n != "6" { // two of the root
		t.Errorf("%s commits", n)
	}
}

// TestJunk has somebody who may push put files there that nobody signed.
func TestJunk(t *testing.T) {
	tm := rooted(t)
	tm.add("gateway", "1.0.0", "production")
	tm.update("root", "targets", "env-snapshot", "env-staging", "env-production", "snapshot", "timestamp")
	junk := func(name, content string) {
		dir := tm.folder()
		must(t, os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o755))
		must(t, os.WriteFile(filepath.Join(dir, name), []byte(content), 0o644))
		do(t, dir, "add", ".")
		do(t, dir, "commit", "--quiet", "-m", "junk")
		do(t, dir, "push", "--quiet")
	}
	for _, name := range []string{"draft/root.json", "draft/targets.json", "metadata/99.env-production.json", "metadata/99.snapshot.json", "metadata/x", "targets/production/components/x.json", "readme"} {
		junk(name, "{}")
	}
	tm.add("gateway", "1.1.0", "production")
	tm.update("env-snapshot", "env-staging", "env-production", "snapshot", "timestamp")
	tm.wantCurrent("production", "gateway", "1.1.0")
	for i := range 5 {
		junk(fmt.Sprintf("metadata/%d.snapshot.json", 100+i), "{}")
	}
	tm.now = tm.now.Add(13 * time.Hour)
	tm.update("timestamp")
	tm.wantCurrent("production", "gateway", "1.1.0")
	foreign := strings.Replace(string(rooted(t).client.Root), `"version": 1`, `"version": 2`, 1)
	for _, tt := range []struct{ name, content, want string }{
		{"metadata/2.root.json", "{}", "metadata/2.root.json: "},
		{"metadata/2.root.json", foreign, "metadata/2.root.json: by the root before it: it has 0 signatures"},
		{"metadata/timestamp.json", "{}", "metadata/timestamp.json: "},
	} {
		before := do(t, tm.remote, "rev-parse", index.Branch)
		junk(tt.name, tt.content)
		_, err := tm.index.Update(t.Context(), tm.store, tm.online)
		tm.wantMismatch(err, tt.want)
		do(t, tm.remote, "update-ref", "refs/heads/"+index.Branch, before)
		must(t, os.Remove(filepath.Join(tm.dir, "metadata.seen")))
	}
	tm.update()
}

// TestDraftOfOthers has somebody who may push change a draft in ways that nobody is shown who signs it.
func TestDraftOfOthers(t *testing.T) {
	tm := rooted(t)
	tm.add("gateway", "1.0.0", "production")
	tm.update("root", "targets", "env-snapshot", "env-staging", "env-production", "snapshot", "timestamp")
	thief, err := tuf.NewKey(newKey(t, sign.Ed25519).Public())
	must(t, err)
	for name, change := range map[string]func(r *tuf.Root, top *tuf.Targets){
		"nothing": func(*tuf.Root, *tuf.Targets) {},
		"another key for targets": func(r *tuf.Root, _ *tuf.Targets) {
			r.Keys[thief.ID()], r.Roles["targets"] = thief, tuf.Role{KeyIDs: []string{thief.ID()}, Threshold: 1}
		},
		"another key for snapshots": func(r *tuf.Root, _ *tuf.Targets) {
			r.Keys[thief.ID()], r.Roles["snapshot"] = thief, tuf.Role{KeyIDs: append(r.Roles["snapshot"].KeyIDs, thief.ID()), Threshold: 1}
		},
		"a key for nothing": func(r *tuf.Root, _ *tuf.Targets) { r.Keys[thief.ID()] = thief },
		"fewer keys that sign targets": func(r *tuf.Root, _ *tuf.Targets) {
			r.Roles["targets"] = tuf.Role{KeyIDs: r.Roles["targets"].KeyIDs, Threshold: 1}
		},
		"another store":    func(r *tuf.Root, _ *tuf.Targets) { r.Custom = []byte(`{"store":"0123456789abcdef0123456789abcdef"}`) },
		"a root for ever":  func(r *tuf.Root, _ *tuf.Targets) { r.Expires = r.Expires.AddDate(100, 0, 0) },
		"targets for ever": func(_ *tuf.Root, top *tuf.Targets) { top.Expires = top.Expires.AddDate(100, 0, 0) },
		"the last version": func(_ *tuf.Root, top *tuf.Targets) { top.Version = math.MaxInt64 },
		"another root":     func(r *tuf.Root, _ *tuf.Targets) { r.Version++ },
		"other names":      func(r *tuf.Root, _ *tuf.Targets) { r.Consistent = false },
		"a target": func(_ *tuf.Root, top *tuf.Targets) {
			top.Targets["production/components/gateway.json"] = tuf.NewTarget([]byte("{}"), nil)
		},
		"an environment that speaks for another": func(_ *tuf.Root, top *tuf.Targets) { top.Delegations.Roles[0].Paths = []string{"*/components/*"} },
		"an environment that speaks for all":     func(_ *tuf.Root, top *tuf.Targets) { top.Delegations.Roles[0].Prefixes = []string{""} },
		"a role that is no environment":          func(_ *tuf.Root, top *tuf.Targets) { top.Delegations.Roles[0].Name = "x" },
	} {
		_, err := tm.index.Draft(t.Context(), tm.view(), index.Plan{})
		must(t, err)
		dir := tm.folder()
		files := []string{filepath.Join(dir, "draft", "root.json"), filepath.Join(dir, "draft", "targets.json")}
		b, err := os.ReadFile(files[0])
		must(t, err)
		root, _, err := tuf.ParseRoot(b)
		must(t, err)
		b, err = os.ReadFile(files[1])
		must(t, err)
		top, _, err := tuf.ParseTargets(b)
		must(t, err)
		change(&root, &top)
		for i, v := range []any{root, top} {
			b, err := tuf.Write(v)
			must(t, err)
			must(t, os.WriteFile(files[i], b, 0o644))
		}
		do(t, dir, "commit", "--quiet", "--allow-empty", "--all", "-m", "x")
		do(t, dir, "push", "--quiet")
		if _, err = tm.index.Sign(t.Context(), "", tm.offline[0]); name == "nothing" {
			must(t, err)
		} else if fault.CodeOf(err) != fault.Mismatch || !strings.Contains(err.Error(), "draft it anew") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestOldOnTop has somebody who may push, and has no key, put what was signed before on top of what is: an index that went on from there would
// name an old state of an environment that its signer does not speak for, and numbers that readers have seen others of.
func TestOldOnTop(t *testing.T) {
	tm := newTeam(t)
	own := newKey(t, sign.ECDSA)
	_, err := tm.index.Draft(t.Context(), tm.view(), index.Plan{Offline: public(tm.offline[0]), Online: public(tm.online), Environments: map[string][]signature.PublicKey{"production": public(own)}})
	must(t, err)
	s, err := tm.index.Sign(t.Context(), "", tm.offline[0])
	must(t, err)
	tm.client.Root = s.Draft.File
	var copies []string
	for _, v := range []string{"1.0.0", "1.1.0"} {
		tm.add("gateway", v, "production")
		_, err := tm.index.Update(t.Context(), tm.store, own, tm.online)
		must(t, err)
		copies = append(copies, tm.folder())
	}
	names := func(pattern string) (all []string) {
		for _, dir := range copies {
			found, err := filepath.Glob(filepath.Join(dir, "metadata", pattern))
			must(t, err)
			all = append(all, filepath.Base(found[len(found)-1]))
		}
		return all
	}
	snapshots, productions := names("*.snapshot.json"), names("*.env-production.json")
	read := func(i int, name string) []byte {
		b, err := os.ReadFile(filepath.Join(copies[i], "metadata", name))
		must(t, err)
		return b
	}
	before := do(t, tm.remote, "rev-parse", index.Branch)
	for name, change := range map[string]func(dir string) error{
		"an older timestamp": func(dir string) error {
			return os.WriteFile(filepath.Join(dir, "timestamp.json"), read(0, "timestamp.json"), 0o644)
		},
		"no timestamp": func(dir string) error { return os.Remove(filepath.Join(dir, "timestamp.json")) },
		"no snapshot":  func(dir string) error { return os.Remove(filepath.Join(dir, snapshots[1])) },
		"an older snapshot": func(dir string) error {
			return os.WriteFile(filepath.Join(dir, snapshots[1]), read(0, snapshots[0]), 0o644)
		},
		"an older environment": func(dir string) error {
			return os.WriteFile(filepath.Join(dir, productions[1]), read(0, productions[0]), 0o644)
		},
		"a snapshot that names it": func(dir string) error {
			old, _, err := tuf.ParseSnapshot(read(0, snapshots[0]))
			must(t, err)
			snapshot, _, err := tuf.ParseSnapshot(read(1, snapshots[1]))
			must(t, err)
			snapshot.Meta["env-production.json"] = old.Meta["env-production.json"]
			b, err := tuf.Write(snapshot)
			must(t, err)
			return os.WriteFile(filepath.Join(dir, snapshots[1]), b, 0o644)
		},
	} {
		for _, fresh := range []bool{false, true} {
			dir := tm.folder()
			must(t, change(filepath.Join(dir, "metadata")))
			do(t, dir, "commit", "--quiet", "--all", "-m", "x")
			do(t, dir, "push", "--quiet")
			tm.now = tm.now.Add(time.Second)
			st, x := tm.store, tm.index
			if fresh {
				st, x = tm.open(t.TempDir())
			}
			if u, err := x.Update(t.Context(), st, tm.online); fault.CodeOf(err) != fault.Mismatch || !strings.Contains(err.Error(), "as it was") {
				t.Errorf("%s: %+v, %v", name, u, err)
			}
			do(t, tm.remote, "update-ref", "refs/heads/"+index.Branch, before)
			must(t, os.RemoveAll(filepath.Join(tm.dir, "metadata.seen")))
		}
	}
	tm.add("control", "1.0.0", "staging")
	tm.update("env-snapshot", "env-staging", "snapshot", "timestamp")
	tm.wantCurrent("production", "gateway", "1.1.0")
}

// TestFirstRoot has somebody sign a first root that is none: whoever looks for the first would not find it again.
func TestFirstRoot(t *testing.T) {
	tm := rooted(t)
	tm.add("gateway", "1.0.0", "production")
	dir := tm.folder()
	name := filepath.Join(dir, "draft", "root.json")
	b, err := os.ReadFile(name)
	must(t, err)
	root, _, err := tuf.ParseRoot(b)
	must(t, err)
	root.Version = 5
	b, err = tuf.Write(root, tm.offline[:2]...)
	must(t, err)
	must(t, os.WriteFile(name, b, 0o644))
	do(t, dir, "commit", "--quiet", "--all", "-m", "x")
	do(t, dir, "push", "--quiet")
	if _, err := tm.index.Update(t.Context(), tm.store, tm.online); fault.CodeOf(err) != fault.Usage || !strings.Contains(err.Error(), "root version 5: it is not the first") {
		t.Error(err)
	}
	tm.root()
	tm.update("root", "targets", "env-snapshot", "env-staging", "env-production", "snapshot", "timestamp")
	tm.wantCurrent("production", "gateway", "1.0.0")
}

// TestPrune has many moves leave few files.
func TestPrune(t *testing.T) {
	tm := rooted(t)
	for i := range 8 {
		tm.add("gateway", "1."+string(rune('0'+i))+".0", "production")
		_, err := tm.index.Update(t.Context(), tm.store, tm.online)
		must(t, err)
	}
	count := map[string]int{}
	for name := range strings.SplitSeq(do(t, tm.remote, "ls-tree", "-r", "--name-only", index.Branch), "\n") {
		name = name[strings.LastIndex(name, "/")+1:]
		_, kind, _ := strings.Cut(name, ".")
		count[kind]++
	}
	// Of an environment a file for each of the versions that stay, and one that is new.
	want := map[string]int{"root.json": 1, "targets.json": 1, "json": 1, "snapshot.json": 5, "env-snapshot.json": 5, "env-staging.json": 5, "env-production.json": 5, "gateway.json": 15}
	if !maps.Equal(count, want) {
		t.Errorf("%v", count)
	}
	tm.wantCurrent("production", "gateway", "1.7.0")
}

// TestClocks has those who sign with clocks that are wrong: behind the log nothing is signed, and what was signed with one that was ahead
// is signed again.
func TestClocks(t *testing.T) {
	tm := rooted(t)
	tm.add("gateway", "1.0.0", "production")
	right := tm.now
	tm.now = right.Add(-time.Hour)
	if _, err := tm.index.Update(t.Context(), tm.store, tm.online); fault.CodeOf(err) != fault.Transient || !strings.Contains(err.Error(), "set the clock") {
		t.Error(err)
	}
	tm.now = right.Add(100 * 24 * time.Hour)
	tm.update("root", "targets", "env-snapshot", "env-staging", "env-production", "snapshot", "timestamp")
	tm.now = right
	tm.update("env-snapshot", "env-staging", "env-production", "snapshot", "timestamp")
	tm.update()
	tm.wantCurrent("production", "gateway", "1.0.0")
	tm.now = right.Add(25 * time.Hour)
	_, err := tm.read("production", "gateway")
	tm.wantMismatch(err, "timestamp version 3 expired")
}

// TestTakenOff has a machine whose clock is ahead move something and sign it: once its line is taken off the log, others sign on.
func TestTakenOff(t *testing.T) {
	tm := rooted(t)
	tm.add("gateway", "1.0.0", "production")
	tm.update("root", "targets", "env-snapshot", "env-staging", "env-production", "snapshot", "timestamp")
	tm.wantCurrent("production", "gateway", "1.0.0")
	right := tm.now
	tm.now = right.Add(100 * time.Hour)
	tm.add("gateway", "1.1.0", "production")
	tm.update("env-snapshot", "env-staging", "env-production", "snapshot", "timestamp")
	tm.now = right.Add(time.Minute)
	tm.store, tm.index = tm.open(t.TempDir())
	_, err := tm.index.Update(t.Context(), tm.store, tm.online)
	if fault.CodeOf(err) != fault.Transient || !strings.Contains(err.Error(), "--from-line 2") {
		t.Error(err)
	}
	_, err = tm.store.TakeOff(t.Context(), 2)
	must(t, err)
	_, err = tm.store.Repair(t.Context())
	must(t, err)
	tm.update("env-snapshot", "env-staging", "env-production", "snapshot", "timestamp")
	tm.wantCurrent("production", "gateway", "1.0.0")
}

// TestClock has a reader whose clock is behind.
func TestClock(t *testing.T) {
	tm := rooted(t)
	tm.add("gateway", "1.0.0", "production")
	tm.update("root", "targets", "env-snapshot", "env-staging", "env-production", "snapshot", "timestamp")
	tm.client.Now = func() time.Time { return tm.now.Add(-time.Hour) }
	if _, err := tm.read("production", "gateway"); fault.CodeOf(err) != fault.Transient || !strings.Contains(err.Error(), "set the clock") {
		t.Error(err)
	}
}

// TestPlans has roots that nobody could mean.
func TestPlans(t *testing.T) {
	tm := newTeam(t)
	a, b := newKey(t, sign.Ed25519), newKey(t, sign.ECDSA)
	for want, plan := range map[string]index.Plan{
		"say --offline":                  {Online: public(b)},
		"say --online":                   {Offline: public(a)},
		"a --threshold from 1 to 1":      {Offline: public(a), Online: public(b), Threshold: 2},
		"is to be offline and online":    {Offline: public(a), Online: public(a)},
		"to be offline and online":       {Offline: public(a), Online: public(b), Environments: map[string][]signature.PublicKey{"production": public(a)}},
		"is named twice":                 {Offline: public(a, a), Online: public(b)},
		`there is no environment "prod"`: {Offline: public(a), Online: public(b), Environments: map[string][]signature.PublicKey{"prod": public(b)}},
	} {
		if _, err := tm.index.Draft(t.Context(), tm.view(), plan); fault.CodeOf(err) != fault.Usage || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", want, err)
		}
	}
	if _, err := tm.index.Sign(t.Context(), "", a); fault.CodeOf(err) != fault.Usage {
		t.Errorf("nothing to sign: %v", err)
	}
	v := tm.view()
	v.Store = strings.Repeat("0", 32)
	_, err := tm.index.Draft(t.Context(), v, index.Plan{Offline: public(a), Online: public(tm.online)})
	must(t, err)
	_, err = tm.index.Sign(t.Context(), "", a)
	must(t, err)
	_, err = tm.index.Update(t.Context(), tm.store, tm.online)
	tm.wantMismatch(err, "the root is of store 0000")
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(`{"schema":"slipway.index/v1","environment":"staging","component":"hello","current":"1.0.0","versions":[{"version":"1.0.0","in":"staging","commit":"","manifest":"sha256:0000000000000000000000000000000000000000000000000000000000000000","entry":"sha256:0000000000000000000000000000000000000000000000000000000000000000","entered":"2026-03-02T10:00:00Z","line":1,"places":[]}]}`))
	f.Add([]byte(`{"schema":"slipway.index/v2"}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := index.Parse(b)
		if err != nil {
			if code := fault.CodeOf(err); code != fault.Mismatch && code != fault.Usage {
				t.Errorf("code %d: %v", code, err)
			}
			return
		}
		if v, ok := c.Of(c.Current); c.Current != "" && (!ok || v.Withdrawn != nil) {
			t.Errorf("the current version %q is none", c.Current)
		}
	})
}
