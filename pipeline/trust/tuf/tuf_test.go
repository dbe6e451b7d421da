package tuf_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io/fs"
	"maps"
	"math"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/slipway-build/slipway/pipeline/internal/bounded"
	"github.com/slipway-build/slipway/pipeline/release/fault"
	"github.com/slipway-build/slipway/pipeline/trust/sign"
	"github.com/slipway-build/slipway/pipeline/trust/signature"
	"github.com/slipway-build/slipway/pipeline/trust/tuf"
)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func newKey(t testing.TB) signature.Signer {
	t.Helper()
	k, err := sign.Generate(sign.Ed25519)
	must(t, err)
	return k
}

// repo is a repository in memory, with all its keys.
type repo struct {
	t     testing.TB
	now   time.Time
	files map[string][]byte
	asked []string

	root      tuf.Root
	timestamp tuf.Timestamp
	snapshot  tuf.Snapshot
	roles     map[string]*tuf.Targets // targets and delegated ones
	signers   map[string][]signature.Signer
}

func (r *repo) Get(_ context.Context, name string, limit int64) ([]byte, error) {
	r.asked = append(r.asked, name)
	b, ok := r.files[name]
	if !ok {
		return nil, fs.ErrNotExist
	}
	return bounded.Read(bytes.NewReader(b), limit)
}

const year = 365 * 24 * time.Hour

// newRepo is a repository with one key for each role, and a delegated role for each of two environments.
func newRepo(t testing.TB) *repo {
	r := &repo{
		t: t, now: time.Date(2026, 3, 2, 10, 0, 0, 0, time.UTC), files: map[string][]byte{}, roles: map[string]*tuf.Targets{}, signers: map[string][]signature.Signer{},
		root: tuf.Root{Consistent: true, Keys: map[string]tuf.Key{}, Roles: map[string]tuf.Role{}},
	}
	for _, name := range []string{"root", "timestamp", "snapshot", "targets"} {
		r.rotate(name, 1, newKey(t))
	}
	top := &tuf.Targets{Targets: map[string]tuf.Target{}, Delegations: &tuf.Delegations{Keys: map[string]tuf.Key{}}}
	r.roles["targets"] = top
	r.snapshot.Meta = map[string]tuf.MetaFile{}
	for _, stage := range []string{"staging", "production"} {
		r.delegate("targets", "env-"+stage, true, stage+"/*")
		r.put("env-"+stage, stage+"/hello.json", stage)
	}
	r.publish("root", "env-staging", "env-production", "targets", "snapshot", "timestamp")
	return r
}

// rotate gives a role other keys.
func (r *repo) rotate(name string, threshold int, keys ...signature.Signer) {
	role := tuf.Role{Threshold: threshold}
	for _, k := range keys {
		key, err := tuf.NewKey(k.Public())
		must(r.t, err)
		r.root.Keys[key.ID()] = key
		role.KeyIDs = append(role.KeyIDs, key.ID())
	}
	r.root.Roles[name], r.signers[name] = role, keys
}

// delegate has a new role speak for paths.
func (r *repo) delegate(by, name string, terminating bool, paths ...string) {
	s := newKey(r.t)
	key, err := tuf.NewKey(s.Public())
	must(r.t, err)
	t := r.roles[by]
	if t.Delegations == nil {
		t.Delegations = &tuf.Delegations{Keys: map[string]tuf.Key{}}
	}
	t.Delegations.Keys[key.ID()] = key
	t.Delegations.Roles = append(t.Delegations.Roles, tuf.Delegation{Name: name, Role: tuf.Role{KeyIDs: []string{key.ID()}, Threshold: 1}, Paths: paths, Terminating: terminating})
	r.signers[name] = []signature.Signer{s}
	if r.roles[name] == nil {
		r.roles[name] = &tuf.Targets{Targets: map[string]tuf.Target{}}
	}
}

// put adds a target to a role.
func (r *repo) put(role, name, content string) {
	t := tuf.NewTarget([]byte(content), json.RawMessage(`{"line":1}`))
	r.roles[role].Targets[name] = t
	dir, base := path.Split(name)
	r.files["targets/"+dir+t.Hashes["sha256"]+"."+base] = []byte(content)
}

// publish signs the next version of roles, and puts it where clients find it.
func (r *repo) publish(names ...string) {
	r.t.Helper()
	for _, name := range names {
		kind, head, v := "targets", (*tuf.Head)(nil), any(nil)
		switch name {
		case "root":
			kind, head, v = name, &r.root.Head, &r.root
		case "timestamp":
			kind, head, v = name, &r.timestamp.Head, &r.timestamp
		case "snapshot":
			kind, head, v = name, &r.snapshot.Head, &r.snapshot
		default:
			head, v = &r.roles[name].Head, r.roles[name]
		}
		*head = tuf.NewHead(kind, head.Version+1, r.now.Add(year))
		r.write(name, v)
	}
}

// write signs a role as it is, and has the files that name it do so.
func (r *repo) write(name string, v any) {
	r.t.Helper()
	b, err := tuf.Write(v, r.signers[name]...)
	must(r.t, err)
	var version int64
	switch v := v.(type) {
	case *tuf.Root:
		version = v.Version
	case *tuf.Timestamp:
		r.files["metadata/timestamp.json"] = b
		return
	case *tuf.Snapshot:
		version = v.Version
		r.timestamp.Meta = map[string]tuf.MetaFile{"snapshot.json": tuf.NewMeta(version, b)}
	case *tuf.Targets:
		version = v.Version
		r.snapshot.Meta[name+".json"] = tuf.NewMeta(version, b)
	}
	r.files[fmt.Sprintf("metadata/%d.%s.json", version, name)] = b
}

// client is one that was given the first root.
func (r *repo) client() *tuf.Client {
	return &tuf.Client{Source: r, Dir: r.t.TempDir(), Root: r.files["metadata/1.root.json"], Now: func() time.Time { return r.now }}
}

// read is what a client has of a target.
func read(t testing.TB, c *tuf.Client, name string) (string, error) {
	t.Helper()
	if err := c.Refresh(t.Context()); err != nil {
		return "", err
	}
	target, err := c.Find(t.Context(), name)
	if err != nil {
		return "", err
	}
	b, err := c.Fetch(t.Context(), name, target)
	return string(b), err
}

// kept are the versions that a client keeps, by role.
func kept(t testing.TB, c *tuf.Client) map[string]int64 {
	t.Helper()
	versions := map[string]int64{}
	names, err := filepath.Glob(filepath.Join(c.Dir, "*.json"))
	must(t, err)
	for _, name := range names {
		b, err := os.ReadFile(name)
		must(t, err)
		var f struct{ Signed tuf.Head }
		must(t, json.Unmarshal(b, &f))
		versions[strings.TrimSuffix(filepath.Base(name), ".json")] = f.Signed.Version
	}
	return versions
}

func TestClient(t *testing.T) {
	r := newRepo(t)
	c := r.client()
	for _, stage := range []string{"staging", "production"} {
		if got, err := read(t, c, stage+"/hello.json"); got != stage || err != nil {
			t.Errorf("%s: %q, %v", stage, got, err)
		}
	}
	// What is there is not asked for again, and the root in the folder is enough.
	r.asked, c.Root = nil, nil
	if got, err := read(t, c, "staging/hello.json"); got != "staging" || err != nil {
		t.Errorf("%q, %v", got, err)
	}
	if want := []string{"metadata/2.root.json", "metadata/timestamp.json"}; !slices.Equal(r.asked[:len(r.asked)-1], want) {
		t.Errorf("asked for %q", r.asked)
	}
	r.put("env-staging", "staging/hello.json", "a newer one")
	r.publish("env-staging", "snapshot", "timestamp")
	if got, err := read(t, c, "staging/hello.json"); got != "a newer one" || err != nil {
		t.Errorf("%q, %v", got, err)
	}
	if want := map[string]int64{"root": 1, "timestamp": 2, "snapshot": 2, "targets": 1, "env-staging": 2, "env-production": 1}; !maps.Equal(kept(t, c), want) {
		t.Errorf("kept %v", kept(t, c))
	}
	if _, err := read(t, c, "staging/other.json"); fault.CodeOf(err) != fault.Usage {
		t.Errorf("a target that there is not: %v", err)
	}
	for _, name := range []string{"", ".", "../x", "/x", "a//b"} {
		if _, err := c.Find(t.Context(), name); fault.CodeOf(err) != fault.Usage {
			t.Errorf("%q: %v", name, err)
		}
	}
	delete(r.files, "metadata/timestamp.json")
	if err := c.Refresh(t.Context()); fault.CodeOf(err) != fault.Transient {
		t.Errorf("without a timestamp: %v", err)
	}
	if err := (&tuf.Client{Source: r, Dir: t.TempDir(), Now: time.Now}).Refresh(t.Context()); fault.CodeOf(err) != fault.Usage {
		t.Errorf("without a root: %v", err)
	}
}

// edit changes the signed part of a file without signing it again.
func (r *repo) edit(name, old, text string) {
	r.t.Helper()
	b := bytes.Replace(r.files[name], []byte(old), []byte(text), 1)
	if bytes.Equal(b, r.files[name]) {
		r.t.Fatalf("%s has no %s", name, old)
	}
	r.files[name] = b
}

// TestAttacks does to a repository what somebody can who has its files, or some of its keys. The client has seen version 2 of all.
func TestAttacks(t *testing.T) {
	for _, tt := range []struct {
		name   string
		attack func(r *repo, before map[string][]byte)
		want   string
		code   fault.Code
		kept   map[string]int64 // beyond what was kept before
	}{
		{name: "replay of an older timestamp", attack: func(r *repo, before map[string][]byte) {
			r.files["metadata/timestamp.json"] = before["metadata/timestamp.json"]
		}, want: "version 1, and 2 was seen before"},
		{name: "replay of everything", attack: func(r *repo, before map[string][]byte) { r.files = before }, want: "root version 1 is the last there is, and 2 was seen before"},
		{name: "freeze: the timestamp has expired", attack: func(r *repo, _ map[string][]byte) {
			r.timestamp.Expires = r.now.Add(time.Hour)
			r.timestamp.Version++
			r.write("timestamp", &r.timestamp)
			r.now = r.now.Add(time.Hour)
		}, want: "timestamp version 3 expired"},
		{name: "freeze: nothing new comes at all", attack: func(r *repo, _ map[string][]byte) { r.now = r.now.Add(2 * year) }, want: "root version 2 expired"},
		{name: "freeze: the snapshot has expired", attack: func(r *repo, _ map[string][]byte) {
			r.snapshot.Version++
			r.snapshot.Expires = r.now
			r.write("snapshot", &r.snapshot)
			r.publish("timestamp")
		}, want: "snapshot version 3 expired", kept: map[string]int64{"timestamp": 3}},
		{name: "freeze: targets have expired", attack: func(r *repo, _ map[string][]byte) {
			r.roles["targets"].Version++
			r.roles["targets"].Expires = r.now
			r.write("targets", r.roles["targets"])
			r.publish("snapshot", "timestamp")
		}, want: "targets version 3 expired", kept: map[string]int64{"timestamp": 3, "snapshot": 3}},
		{name: "freeze: an environment has expired", attack: func(r *repo, _ map[string][]byte) {
			r.roles["env-staging"].Version++
			r.roles["env-staging"].Expires = r.now
			r.write("env-staging", r.roles["env-staging"])
			r.publish("snapshot", "timestamp")
		}, want: "env-staging version 3 expired", kept: map[string]int64{"timestamp": 3, "snapshot": 3}},
		{name: "rollback of the snapshot", attack: func(r *repo, before map[string][]byte) {
			r.timestamp.Meta["snapshot.json"] = tuf.NewMeta(1, before["metadata/1.snapshot.json"])
			r.publish("timestamp")
		}, want: "names version 1 of the snapshot, and 2 was seen"},
		{name: "rollback of the targets", attack: func(r *repo, before map[string][]byte) {
			r.snapshot.Meta["targets.json"] = tuf.NewMeta(1, before["metadata/1.targets.json"])
			r.publish("snapshot", "timestamp")
		}, want: `names version 1 of "targets.json", and 2 was seen`, kept: map[string]int64{"timestamp": 3}},
		{name: "rollback of an environment", attack: func(r *repo, before map[string][]byte) {
			r.snapshot.Meta["env-staging.json"] = tuf.NewMeta(1, before["metadata/1.env-staging.json"])
			r.publish("snapshot", "timestamp")
		}, want: `names version 1 of "env-staging.json", and 2 was seen`, kept: map[string]int64{"timestamp": 3}},
		{name: "an environment is left out", attack: func(r *repo, _ map[string][]byte) {
			delete(r.snapshot.Meta, "env-staging.json")
			r.publish("snapshot", "timestamp")
		}, want: `names version 0 of "env-staging.json", and 2 was seen`, kept: map[string]int64{"timestamp": 3}},
		{name: "rollback of the root", attack: func(r *repo, _ map[string][]byte) { delete(r.files, "metadata/2.root.json") }, want: "root version 1 is the last there is, and 2 was seen before"},
		{name: "mix and match: an older snapshot under the newer name", attack: func(r *repo, before map[string][]byte) {
			r.publish("snapshot", "timestamp")
			r.files["metadata/3.snapshot.json"] = before["metadata/1.snapshot.json"]
		}, want: "signed for", kept: map[string]int64{"timestamp": 3}},
		{name: "mix and match: without lengths and digests", attack: func(r *repo, before map[string][]byte) {
			r.publish("snapshot")
			r.timestamp.Meta["snapshot.json"] = tuf.MetaFile{Version: 3}
			r.publish("timestamp")
			r.files["metadata/3.snapshot.json"] = r.files["metadata/2.snapshot.json"]
		}, want: "it is version 2, and the file that names it names 3: they are of two sets", kept: map[string]int64{"timestamp": 3}},
		{name: "mix and match: an older environment in a newer snapshot", attack: func(r *repo, _ map[string][]byte) {
			r.publish("env-staging")
			r.snapshot.Meta["env-staging.json"] = tuf.MetaFile{Version: 3}
			r.publish("snapshot", "timestamp")
			r.files["metadata/3.env-staging.json"] = r.files["metadata/2.env-staging.json"]
		}, want: "they are of two sets", kept: map[string]int64{"timestamp": 3, "snapshot": 3}},
		{name: "an edited timestamp", attack: func(r *repo, _ map[string][]byte) {
			r.edit("metadata/timestamp.json", `"version": 2,`, `"version": 9,`)
		}, want: "0 signatures that count"},
		{name: "a timestamp that the snapshot's key signed", attack: func(r *repo, _ map[string][]byte) {
			r.signers["timestamp"] = r.signers["snapshot"]
			r.publish("timestamp")
		}, want: "0 signatures that count"},
		{name: "a snapshot in the place of the timestamp", attack: func(r *repo, _ map[string][]byte) {
			r.files["metadata/timestamp.json"] = r.files["metadata/2.snapshot.json"]
		}, want: `it is of type "snapshot" and not timestamp`},
		{name: "endless data", attack: func(r *repo, _ map[string][]byte) {
			r.files["metadata/timestamp.json"] = bytes.Repeat([]byte(" "), tuf.MaxTimestamp+1)
		}, want: "more than 65536 bytes"},
		{name: "more data than was signed for", attack: func(r *repo, _ map[string][]byte) {
			r.publish("snapshot", "timestamp")
			r.files["metadata/3.snapshot.json"] = append(r.files["metadata/3.snapshot.json"], ' ')
		}, want: "more than", kept: map[string]int64{"timestamp": 3}},
		{name: "a root that the keys before have not signed", attack: func(r *repo, _ map[string][]byte) {
			r.rotate("root", 1, newKey(r.t))
			r.publish("root")
		}, want: "by the root before it: it has 0 signatures that count"},
		{name: "a root that its own keys have not signed", attack: func(r *repo, _ map[string][]byte) {
			by := r.signers["root"]
			r.rotate("root", 1, newKey(r.t))
			r.signers["root"] = by
			r.publish("root")
		}, want: "by itself: it has 0 signatures that count"},
		{name: "a root that leaves one out", attack: func(r *repo, _ map[string][]byte) {
			r.root.Version += 2
			b, err := tuf.Write(&r.root, r.signers["root"]...)
			must(r.t, err)
			r.files["metadata/3.root.json"] = b
		}, want: "it is version 4, and 3 follows 2"},
		{name: "a threshold that is not reached", attack: func(r *repo, _ map[string][]byte) {
			r.rotate("snapshot", 2, newKey(r.t), newKey(r.t))
			r.signers["snapshot"] = r.signers["snapshot"][:1]
			r.publish("root", "snapshot", "timestamp")
		}, want: "1 signatures that count, and needs 2 of 2", kept: map[string]int64{"root": 3, "timestamp": 3}},
		{name: "one key counted twice, by another id", attack: func(r *repo, _ map[string][]byte) {
			one := newKey(r.t)
			r.rotate("snapshot", 2, one)
			key, err := tuf.NewKey(one.Public())
			must(r.t, err)
			b, err := key.MarshalJSON()
			must(r.t, err)
			var other tuf.Key
			must(r.t, other.UnmarshalJSON(bytes.Replace(b, []byte("{"), []byte(`{"also":1,`), 1)))
			r.root.Keys[other.ID()] = other
			role := r.root.Roles["snapshot"]
			role.KeyIDs = append(role.KeyIDs, other.ID())
			r.root.Roles["snapshot"] = role
			r.publish("root", "snapshot")
			r.edit("metadata/3.snapshot.json", `"keyid": "`+key.ID(), `"keyid": "`+other.ID())
			first := bytes.Clone(r.files["metadata/3.snapshot.json"])
			sig := first[bytes.Index(first, []byte(`    {`)):bytes.Index(first, []byte("\n  ],"))]
			r.edit("metadata/3.snapshot.json", string(sig), string(sig)+",\n"+strings.Replace(string(sig), other.ID(), key.ID(), 1))
			r.timestamp.Meta["snapshot.json"] = tuf.NewMeta(3, r.files["metadata/3.snapshot.json"])
			r.publish("timestamp")
		}, want: "1 signatures that count, and needs 2 of 2", kept: map[string]int64{"root": 3, "timestamp": 3}},
		{name: "one signature twice", attack: func(r *repo, _ map[string][]byte) {
			b := r.files["metadata/timestamp.json"]
			sig := b[bytes.Index(b, []byte(`    {`)):bytes.Index(b, []byte("\n  ],"))]
			r.edit("metadata/timestamp.json", string(sig), string(sig)+",\n"+string(sig))
		}, want: "two signatures of key"},
		{name: "a key id that lies", attack: func(r *repo, _ map[string][]byte) {
			key, err := tuf.NewKey(newKey(r.t).Public())
			must(r.t, err)
			r.root.Keys[r.root.Roles["timestamp"].KeyIDs[0]] = key
			r.publish("root")
		}, want: "has the id of another key"},
		{name: "a key named twice for a role", attack: func(r *repo, _ map[string][]byte) {
			role := r.root.Roles["timestamp"]
			r.root.Roles["timestamp"] = tuf.Role{KeyIDs: append(role.KeyIDs, role.KeyIDs...), Threshold: 2}
			r.publish("root")
		}, want: "is there twice"},
		{name: "a threshold of none", attack: func(r *repo, _ map[string][]byte) {
			r.root.Roles["timestamp"] = tuf.Role{}
			r.publish("root")
		}, want: "a threshold of 0"},
		{name: "a delegated role with the name of another", attack: func(r *repo, _ map[string][]byte) {
			r.roles["targets"].Delegations.Roles[0].Name = "timestamp"
			r.publish("targets", "snapshot", "timestamp")
		}, want: `"timestamp" is not the name of a delegated role`, kept: map[string]int64{"timestamp": 3, "snapshot": 3}},
		{name: "an environment that another key signed", attack: func(r *repo, _ map[string][]byte) {
			r.signers["env-staging"] = r.signers["env-production"]
			r.publish("env-staging", "snapshot", "timestamp")
		}, want: "0 signatures that count", kept: map[string]int64{"timestamp": 3, "snapshot": 3}},
		{name: "other bytes of a target", attack: func(r *repo, _ map[string][]byte) {
			for name := range r.files {
				if strings.HasPrefix(name, "targets/staging/") {
					r.files[name] = []byte("sTAGING2")
				}
			}
		}, want: "signed for"},
		{name: "a target that is not there", attack: func(r *repo, _ map[string][]byte) {
			maps.DeleteFunc(r.files, func(name string, _ []byte) bool { return strings.HasPrefix(name, "targets/") })
		}, want: "file does not exist", code: fault.Transient},
		{name: "a snapshot that is not there", attack: func(r *repo, _ map[string][]byte) {
			r.publish("snapshot", "timestamp")
			delete(r.files, "metadata/3.snapshot.json")
		}, want: "file does not exist", code: fault.Transient, kept: map[string]int64{"timestamp": 3}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := newRepo(t)
			before := maps.Clone(r.files)
			c := r.client()
			_, err := read(t, c, "staging/hello.json")
			must(t, err)
			r.put("env-staging", "staging/hello.json", "staging2")
			r.publish("root", "env-staging", "targets", "snapshot", "timestamp")
			got, err := read(t, c, "staging/hello.json")
			if must(t, err); got != "staging2" {
				t.Fatal(got)
			}
			want := kept(t, c)
			tt.attack(r, before)
			got, err = read(t, c, "staging/hello.json")
			if tt.code == 0 {
				tt.code = fault.Mismatch
			}
			if err == nil || !strings.Contains(err.Error(), tt.want) || fault.CodeOf(err) != tt.code {
				t.Errorf("%q, code %d: %v", got, fault.CodeOf(err), err)
			}
			maps.Copy(want, tt.kept)
			if !maps.Equal(kept(t, c), want) {
				t.Errorf("kept %v, want %v", kept(t, c), want)
			}
		})
	}
}

// TestQuiet has a repository in which nothing new comes: first for so long that what the client keeps expires, and then under the
// number of what it has.
func TestQuiet(t *testing.T) {
	r := newRepo(t)
	r.timestamp.Version++
	r.timestamp.Expires = r.now.Add(24 * time.Hour)
	r.write("timestamp", &r.timestamp)
	c := r.client()
	must(t, c.Refresh(t.Context()))
	r.put("env-staging", "staging/hello.json", "unnumbered")
	r.publish("env-staging", "snapshot")
	r.write("timestamp", &r.timestamp)
	if got, err := read(t, c, "staging/hello.json"); got != "staging" || err != nil {
		t.Errorf("another timestamp of the same version: %q, %v", got, err)
	}
	r.now = r.now.Add(24 * time.Hour)
	if err := c.Refresh(t.Context()); fault.CodeOf(err) != fault.Mismatch || !strings.Contains(err.Error(), "timestamp version 2 expired") {
		t.Error(err)
	}
}

// TestRoleNames has roles whose names could be those of other files.
func TestRoleNames(t *testing.T) {
	r := newRepo(t)
	names := []string{"Timestamp", "../up", "a/b", "?#", "%41"}
	for _, name := range names {
		r.delegate("targets", name, false, "odd/*")
	}
	r.put("%41", "odd/hello", "found")
	r.publish(append(slices.Clone(names), "targets", "snapshot", "timestamp")...)
	c := r.client()
	if got, err := read(t, c, "odd/hello"); got != "found" || err != nil {
		t.Errorf("%q, %v", got, err)
	}
	have := slices.Sorted(maps.Keys(kept(t, c)))
	want := []string{"%2541", "%3F%23", "%54imestamp", "..%2Fup", "a%2Fb", "root", "snapshot", "targets", "timestamp"}
	if !slices.Equal(have, want) {
		t.Errorf("kept %q", have)
	}
}

// TestDelegations has roles that speak for each other in a circle, too many of them, and one that no other is asked after.
func TestDelegations(t *testing.T) {
	r := newRepo(t)
	r.delegate("targets", "a", false, "x/*", "y/*")
	r.delegate("a", "b", false, "x/*")
	r.delegate("b", "a", false, "x/*")
	r.delegate("targets", "last", true, "x/*")
	r.delegate("targets", "never", false, "x/*", "y/*")
	r.signers["a"] = append(r.signers["a"], newKey(t))
	for _, by := range []string{"targets", "b"} { // both have a speak with the same key
		key, err := tuf.NewKey(r.signers["a"][0].Public())
		must(t, err)
		d := r.roles[by].Delegations
		d.Keys[key.ID()] = key
		for i := range d.Roles {
			if d.Roles[i].Name == "a" {
				d.Roles[i].KeyIDs = []string{key.ID()}
			}
		}
	}
	r.put("never", "x/1", "not asked")
	r.put("never", "y/1", "asked last")
	r.put("b", "y/1", "not theirs")
	r.publish("a", "b", "last", "never", "targets", "snapshot", "timestamp")
	c := r.client()
	if got, err := read(t, c, "x/1"); fault.CodeOf(err) != fault.Usage {
		t.Errorf("x/1: %q, %v", got, err)
	}
	if got, err := read(t, c, "y/1"); got != "asked last" || err != nil {
		t.Errorf("y/1: %q, %v", got, err)
	}
	var many []string
	for i := range 40 {
		name := fmt.Sprintf("many-%02d", i)
		many = append(many, name)
		r.delegate("targets", name, false, "z/*")
	}
	r.put("many-39", "z/1", "too far")
	r.publish(append(many, "targets", "snapshot", "timestamp")...)
	if got, err := read(t, c, "z/1"); fault.CodeOf(err) != fault.Mismatch || !strings.Contains(err.Error(), "more than 32 roles") {
		t.Errorf("z/1: %q, %v", got, err)
	}
}

// TestRootRotation has a client that slept through three roots: one of three keys was lost, then all keys were replaced.
func TestRootRotation(t *testing.T) {
	r := newRepo(t)
	a, b, c, d, e := newKey(t), newKey(t), newKey(t), newKey(t), newKey(t)
	delete(r.files, "metadata/1.root.json")
	r.root.Version = 0
	r.rotate("root", 2, a, b, c)
	r.publish("root", "env-staging", "env-production", "targets", "snapshot", "timestamp")
	client := r.client()
	_, err := read(t, client, "staging/hello.json")
	must(t, err)
	r.rotate("root", 2, a, b, d) // c is lost
	r.publish("root")
	r.rotate("root", 2, d, e)
	r.signers["root"] = []signature.Signer{a, d, e} // as many of the keys before
	r.publish("root")
	r.rotate("timestamp", 1, newKey(t))
	r.publish("root", "timestamp")
	client.Root = nil
	if got, err := read(t, client, "staging/hello.json"); err != nil || got != "staging" {
		t.Errorf("%q, %v", got, err)
	}
	if got := kept(t, client)["root"]; got != 4 {
		t.Errorf("kept root %d", got)
	}
	// One of the two that are left cannot do it alone.
	r.signers["root"] = []signature.Signer{e}
	r.publish("root")
	if err := client.Refresh(t.Context()); fault.CodeOf(err) != fault.Mismatch || !strings.Contains(err.Error(), "5.root.json: by the root before it: it has 1 signatures that count, and needs 2 of 2 keys") {
		t.Error(err)
	}
}

// TestStolenOnlineKeys has somebody with the keys of timestamp, snapshot and staging: they can say what is in staging, as new as they
// like, and neither speak for production nor for longer than until the root has other keys. Then versions begin anew.
func TestStolenOnlineKeys(t *testing.T) {
	r := newRepo(t)
	c := r.client()
	_, err := read(t, c, "staging/hello.json")
	must(t, err)
	r.put("env-staging", "staging/hello.json", "forged")
	r.put("env-staging", "production/hello.json", "forged")
	r.put("env-staging", "production/new.json", "forged")
	r.publish("env-staging", "snapshot", "timestamp")
	for name, want := range map[string]string{"staging/hello.json": "forged", "production/hello.json": "production", "production/new.json": ""} {
		if got, err := read(t, c, name); got != want || (err == nil) != (want != "") {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
	honest := r.signers["targets"]
	r.signers["targets"] = r.signers["env-staging"]
	r.publish("targets", "snapshot", "timestamp")
	if err := c.Refresh(t.Context()); fault.CodeOf(err) != fault.Mismatch || !strings.Contains(err.Error(), "0 signatures that count") {
		t.Errorf("targets that a stolen key signed: %v", err)
	}
	// As far ahead as numbers go: nothing that is honest could follow.
	r.signers["targets"] = honest
	r.snapshot.Version, r.timestamp.Version, r.roles["env-staging"].Version = math.MaxInt64-1, math.MaxInt64-1, math.MaxInt64-1
	r.publish("targets", "env-staging", "snapshot", "timestamp")
	_, err = read(t, c, "staging/hello.json")
	must(t, err)
	if got := kept(t, c); got["timestamp"] != math.MaxInt64 || got["env-staging"] != math.MaxInt64 {
		t.Errorf("kept %v", got)
	}
	// The holders of the offline keys name other ones.
	r.rotate("snapshot", 1, newKey(t))
	r.rotate("timestamp", 1, newKey(t))
	r.roles["targets"].Delegations.Roles = r.roles["targets"].Delegations.Roles[1:]
	r.delegate("targets", "env-staging", true, "staging/*")
	r.snapshot.Version, r.timestamp.Version, r.roles["env-staging"].Version = 1, 1, 1
	r.put("env-staging", "staging/hello.json", "honest")
	r.publish("root", "env-staging", "targets", "snapshot", "timestamp")
	if got, err := read(t, c, "staging/hello.json"); got != "honest" || err != nil {
		t.Errorf("after other keys: %q, %v", got, err)
	}
	if got := kept(t, c); got["timestamp"] != 2 || got["env-staging"] != 2 {
		t.Errorf("kept %v", got)
	}
}

// TestClock has a machine whose clock is wrong: before its time everything counts, after it nothing does and the error says so.
func TestClock(t *testing.T) {
	r := newRepo(t)
	c := r.client()
	real := r.now
	c.Now = func() time.Time { return real.Add(-10 * year) }
	if err := c.Refresh(t.Context()); err != nil {
		t.Error(err)
	}
	c.Now = func() time.Time { return real.Add(10 * year) }
	if err := c.Refresh(t.Context()); fault.CodeOf(err) != fault.Mismatch || !strings.Contains(err.Error(), "2036-02-28") || !strings.Contains(err.Error(), "or this machine's clock is wrong") {
		t.Error(err)
	}
}
