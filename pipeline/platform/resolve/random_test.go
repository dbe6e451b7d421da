package resolve_test

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/slipway-build/slipway/pipeline/fixture/gittest"
	"github.com/slipway-build/slipway/pipeline/fixture/verifytest"
	"github.com/slipway-build/slipway/pipeline/platform"
	"github.com/slipway-build/slipway/pipeline/platform/resolve"
	"github.com/slipway-build/slipway/pipeline/release/fault"
)

// candidates are the ends of versions by their order, the last one that of a full version.
var candidates = []string{"-alpha", "-alpha.1", "-beta", "-beta.2", "-beta.11", "-rc.1", ""}

// told is a version as the model knows it: three numbers and a place in candidates.
type told [4]int

func (v told) String() string { return fmt.Sprintf("%d.%d.%d%s", v[0], v[1], v[2], candidates[v[3]]) }

// span is a range: from the first numbers up to the second ones, which are not in it.
type span [2][3]int

func (s span) has(v told) bool {
	n := v[:3]
	return slices.Compare(n, s[0][:]) >= 0 && slices.Compare(n, s[1][:]) < 0
}

func (s span) String() string {
	return fmt.Sprintf(">=%d.%d.%d <%d.%d.%d", s[0][0], s[0][1], s[0][2], s[1][0], s[1][1], s[1][2])
}

// TestRandom resolves random platforms by every channel, and holds what comes of it to what is found by looking at every tag: the commit,
// the tag, whether there is a release of it, or that there is nothing to choose, or that versions do not go together.
func TestRandom(t *testing.T) {
	w := newWorld(t)
	r := rand.New(rand.NewPCG(5, 6))
	numbers := func() [3]int { return [3]int{r.IntN(2), r.IntN(3), r.IntN(3)} }
	commit := func() string { return fmt.Sprintf("%016x%016x%08x", r.Uint64(), r.Uint64(), r.Uint32()) }
	var said string // of the refs of a repository, for its requests
	server := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) {
		rw.Header().Set("Content-Type", "application/x-git-upload-pack-advertisement")
		fmt.Fprint(rw, "001e# service=git-upload-pack\n0000"+said+"0000")
	}))
	defer server.Close()
	seen := map[string]int{}
	for round := range 40 {
		prefixes := []string{"", "b/", "cc/v"}
		heads, tags := commit(), map[string]string{}
		versions := map[string]map[told]string{} // by prefix, with the tag that counts
		for _, prefix := range prefixes {
			versions[prefix] = map[told]string{}
			for range 1 + r.IntN(30) {
				n := numbers()
				v := told{n[0], n[1], n[2], r.IntN(len(candidates))}
				tag := prefix + v.String()
				if r.IntN(3) > 0 {
					tag = prefix + "v" + v.String()
				}
				tags[tag] = commit()
				versions[prefix][v] = max(versions[prefix][v], tag) // v is behind all digits
			}
		}
		for _, junk := range []string{"nightly", "v1", "v1.2", "v1.2.2.2", "v01.2.2", "v1.2.2-", "b/1", "b/v1.2.2-rc..1", "b/v1.2.2-01", "other/v1.2.2", "cc/1.2.2", "v1.2.9-snapshot.1.gabcdef123456"} {
			if r.IntN(2) == 0 {
				tags[junk] = commit()
			}
		}
		line := func(id, ref string) string {
			s := id + " " + ref + "\n"
			return fmt.Sprintf("%04x%s", len(s)+4, s)
		}
		said = line(heads, "HEAD\x00symref=HEAD:refs/heads/trunk") + line(heads, "refs/heads/trunk")
		for _, tag := range slices.Sorted(maps.Keys(tags)) {
			if r.IntN(2) == 0 { // annotated: what it leads to counts
				said += line(commit(), "refs/tags/"+tag) + line(tags[tag], "refs/tags/"+tag+"^{}")
			} else {
				said += line(tags[tag], "refs/tags/"+tag)
			}
		}

		place := fmt.Sprintf("of%d", round)
		ranges, pins, need := map[string]span{}, map[string]told{}, span{numbers(), numbers()}
		text := "version: 1\nname: edge\ncomponents:\n"
		names := []string{"alpha", "beta", "gamma"}
		published := map[string]bool{}
		for i, name := range names {
			ranges[name] = span{numbers(), [3]int{1 + r.IntN(2), r.IntN(3), r.IntN(3)}}
			text += fmt.Sprintf("  %s: {repository: %q, tagPrefix: %q, releases: %s, key: acme.pub, constraint: %q", name, server.URL+"/mono", prefixes[i], place, ranges[name])
			all := slices.SortedFunc(maps.Keys(versions[prefixes[i]]), func(a, b told) int { return slices.Compare(a[:], b[:]) })
			all = slices.DeleteFunc(all, func(v told) bool { return !ranges[name].has(v) })
			if len(all) > 0 {
				pins[name] = all[r.IntN(len(all))]
				text += fmt.Sprintf(", pin: %q", pins[name])
			}
			if name == "alpha" && r.IntN(3) > 0 {
				text += fmt.Sprintf(", needs: {gamma: %q}", need)
			} else if name == "alpha" {
				need = span{{}, {99}}
			}
			text += "}\n"
			for _, v := range all {
				if tag := versions[prefixes[i]][v]; r.IntN(4) == 0 && (v == pins[name] || v == all[len(all)-1]) {
					w.write(place, verifytest.Options{Name: name, Version: v.String(), Commit: tags[tag], Bare: true}, w.key)
					published[name+" "+v.String()] = true
				}
			}
		}
		p, err := platform.Parse("platform.yaml", []byte(text))
		w.must(err)
		w.must(os.MkdirAll(filepath.Join(w.dir, place), 0o755))
		for _, channel := range platform.Channels {
			want, fails := map[string]string{}, ""
			picked := map[string]told{}
			for i, name := range names {
				best, there := pins[name], false
				if channel == platform.Stable {
					_, there = pins[name]
				} else {
					for v := range versions[prefixes[i]] {
						if ranges[name].has(v) && (!there || slices.Compare(v[:], best[:]) > 0) {
							best, there = v, true
						}
					}
				}
				tag := versions[prefixes[i]][best]
				switch {
				case channel == platform.Dev:
					want[name] = fmt.Sprintf("  %s false", heads)
				case !there:
					fails = "nothing to choose"
				default:
					picked[name] = best
					want[name] = fmt.Sprintf("%s %s %s %t", best, tag, tags[tag], published[name+" "+best.String()])
				}
			}
			if v, ok := picked["gamma"]; ok && fails == "" && !need.has(v) {
				fails = "a need"
			}
			l, err := resolve.Lock(t.Context(), resolve.Options{Platform: p, Dir: w.dir, Channel: channel, Environ: gittest.Environ(t)})
			seen[fails]++
			if (err != nil) != (fails != "") {
				t.Fatalf("%s of\n%s%q: %v, and the model says %q", channel, text, tags, err, fails)
			}
			if code := fault.CodeOf(err); err != nil && (code != fault.Usage && code != fault.Git || fails == "a need" && !strings.Contains(err.Error(), "needs gamma")) {
				t.Fatalf("%s: %d, %v", fails, code, err)
			}
			for name, want := range want {
				c := l.Components[name]
				if got := fmt.Sprintf("%s %s %s %t", c.Version, c.Tag, c.Commit, c.Published()); err == nil && got != want {
					t.Fatalf("%s of %s in\n%s%q: %s, want %s", channel, name, text, tags, got, want)
				}
				if c.Published() {
					seen["published"]++
				}
			}
			if err == nil { // the file says the same
				again, err := platform.ParseLock("platform.lock", l.Encode())
				if err != nil || len(platform.Diff(l, again)) > 0 || string(again.Encode()) != string(l.Encode()) {
					t.Fatalf("%s: %v", l.Encode(), err)
				}
			}
		}
	}
	for _, what := range []string{"", "nothing to choose", "a need", "published"} {
		if seen[what] < 3 {
			t.Errorf("%q was seen %d times: this tests one side alone", what, seen[what])
		}
	}
}
