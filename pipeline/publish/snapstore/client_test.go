package snapstore

import (
	"encoding/base64"
	"encoding/json"
	"strings"
	"testing"

	"github.com/slipway-build/slipway/pipeline/publish"
	"github.com/slipway-build/slipway/pipeline/release/artifact"
	"github.com/slipway-build/slipway/pipeline/release/manifest"
	"github.com/slipway-build/slipway/pipeline/release/version"
)

const hash = "20c4e17fca36fddccb933b730454256e81714914f2f050996a63efe250e1aa44e5e4dc92959e9cd72cf7ef9ca918c5b6"

func TestNumber(t *testing.T) {
	for in, want := range map[string]number{`7`: 7, `"7"`: 7, `null`: 0, `0`: 0} {
		var n number
		if err := json.Unmarshal([]byte(in), &n); err != nil || n != want {
			t.Errorf("%s: %d, %v", in, n, err)
		}
	}
	for _, in := range []string{`-1`, `1.5`, `"x"`, `{}`, `99999999999999999999`} {
		var n number
		if err := json.Unmarshal([]byte(in), &n); err == nil {
			t.Errorf("%s: %d", in, n)
		}
	}
}

func TestFind(t *testing.T) {
	raw := make([]byte, 48)
	s := &snap{
		Package: manifest.Package{Name: "hello", Version: "1.2.3", Architecture: "amd64"},
		file:    artifact.File{Size: 5}, sha3: strings.Repeat("00", 48),
	}
	amd64 := []string{"amd64"}
	for _, tt := range []struct {
		name        string
		revisions   []revision
		ours, other number
	}{
		{"none", nil, 0, 0},
		{"by hash", []revision{{Revision: 1, Hash: s.sha3}}, 1, 0},
		{"by hash in base64", []revision{{Revision: 1, Hash: base64.RawURLEncoding.EncodeToString(raw)}}, 1, 0},
		{"by what else is told", []revision{{Revision: 1, Version: "1.2.3", Architectures: amd64, Size: 5, Hash: "?"}}, 1, 0},
		{"another size", []revision{{Revision: 1, Version: "1.2.3", Architectures: amd64, Size: 6}}, 0, 1},
		{"another hash", []revision{{Revision: 1, Version: "1.2.3", Architectures: amd64, Size: 5, Hash: hash}}, 0, 1},
		{"another version", []revision{{Revision: 1, Version: "1.2.4", Architectures: amd64, Size: 5, Hash: hash}}, 0, 0},
		{"another architecture", []revision{{Revision: 1, Version: "1.2.3", Architectures: []string{"arm64"}, Size: 5, Hash: hash}}, 0, 0},
		{"rejected", []revision{{Revision: 1, Version: "1.2.3", Architectures: amd64, Hash: hash, Status: "Rejected"}}, 0, 0},
		{"both", []revision{{Revision: 1, Version: "1.2.3", Architectures: amd64, Hash: hash}, {Revision: 2, Hash: s.sha3}}, 2, 1},
	} {
		v := &view{revisions: tt.revisions}
		f := v.find(s)
		var ours, other number
		if f.ours != nil {
			ours = f.ours.Revision
		}
		if f.other != nil {
			other = f.other.Revision
		}
		if ours != tt.ours || other != tt.other {
			t.Errorf("%s: ours %d, other %d", tt.name, ours, other)
		}
	}
}

// A progressive release has two revisions in a channel. The newer of them counts.
func TestProgressive(t *testing.T) {
	mine, err := version.Parse("1.2.3")
	if err != nil {
		t.Fatal(err)
	}
	s := &snap{Package: manifest.Package{Name: "hello", Version: "1.2.3", Architecture: "amd64"}, sha3: hash}
	v := &view{
		revisions: []revision{{Revision: 1, Version: "1.2.2"}, {Revision: 2, Version: "1.2.4"}, {Revision: 3, Version: "?"}, {Revision: 4, Hash: hash}, {Revision: 5, Version: "?"}},
	}
	for _, tt := range []struct {
		has  []number
		want publish.State
	}{
		{nil, publish.Missing},
		{[]number{0}, publish.Missing}, // closed
		{[]number{1}, publish.Movable},
		{[]number{1, 2}, publish.Kept},
		{[]number{2, 1}, publish.Kept},
		{[]number{2, 4}, publish.Same},
		{[]number{3}, publish.Movable},
		{[]number{5}, publish.Kept},
		{[]number{9}, publish.Kept}, // of which nothing else is told
	} {
		v.channels = nil
		for _, n := range tt.has {
			v.channels = append(v.channels, mapped{"latest/stable", "amd64", n})
		}
		if it := to(mine).released(v, s)[0]; it.State != tt.want {
			t.Errorf("%v: %+v", tt.has, it)
		}
	}
}

// to is a store that a version goes to.
func to(v version.Version) *Destination {
	return &Destination{o: Options{Release: publish.Release{Manifest: manifest.Release{Version: v}}, Channels: []string{"stable"}}}
}

func FuzzView(f *testing.F) {
	f.Add([]byte(`{"revisions": [{"revision": 1, "version": "1.2.3", "architectures": ["amd64"], "sha3-384": "`+hash+`"}], "_links": {"next": {"href": "x"}}}`),
		[]byte(`[{"channel": "latest/stable", "architecture": "amd64", "revision": 1}]`))
	f.Add([]byte(`{"revisions": [{"version": "1.2.3", "architectures": ["amd64"], "size": 5, "status": "Rejected"}]}`), []byte(`[{"revision": null}]`))
	mine, err := version.Parse("1.2.3")
	if err != nil {
		f.Fatal(err)
	}
	s := &snap{
		Package: manifest.Package{Name: "hello", Version: "1.2.3", Architecture: "amd64"}, file: artifact.File{Size: 5}, sha3: hash,
	}
	f.Fuzz(func(t *testing.T, revisions, channels []byte) {
		var p page
		var v view
		if json.Unmarshal(revisions, &p) != nil || json.Unmarshal(channels, &v.channels) != nil {
			return
		}
		_ = p.next()
		v.revisions = p.Revisions
		staged, released := v.staged(s), to(mine).released(&v, s)[0]
		switch staged.State {
		case publish.Same:
			if v.find(s).ours == nil {
				t.Error("nothing is the same")
			}
		case publish.Missing, publish.Different:
		default:
			t.Errorf("staged: %+v", staged)
		}
		if released.State == publish.Same && v.find(s).ours == nil {
			t.Error("a channel has what is not there")
		}
	})
}
