package registry_test

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/slipway-build/slipway/pipeline/fixture"
	"github.com/slipway-build/slipway/pipeline/fixture/registrytest"
	"github.com/slipway-build/slipway/pipeline/fixture/releasetest"
	"github.com/slipway-build/slipway/pipeline/fixture/verifytest"
	"github.com/slipway-build/slipway/pipeline/publish"
	"github.com/slipway-build/slipway/pipeline/release/fault"
	"github.com/slipway-build/slipway/pipeline/release/manifest"
)

// hub gives a release metadata for Artifact Hub that no other version has.
func hub(version string) func(map[string][]byte) {
	return func(files map[string][]byte) {
		files["charts/artifacthub-repo.yml"] = []byte("owners:\n  - name: example\n    email: " + version + "@example.com\n")
	}
}

// small is a release with one image, a chart and no signatures.
func small(t *testing.T, version string) publish.Release {
	return releasetest.Open(t, verifytest.Options{Version: version, Bare: true, Edit: hub(version), EditManifest: func(r *manifest.Release) {
		r.Images[0].Floating = []string{"latest-alpine", "latest", major(version), minor(version)}
	}})
}

// Two versions are published at once: whatever waits for whatever, no name goes back.
func TestRivals(t *testing.T) {
	for name, o := range map[string]registrytest.Options{"lists referrers": {Referrers: true}, "keeps no lists": {}} {
		t.Run(name, func(t *testing.T) {
			rels := []publish.Release{small(t, "1.2.3"), small(t, "1.3.0")}
			fixture.Interleave(t, 8, 20, func(t *testing.T) fixture.Rivals {
				s := newStand(t, o)
				for _, rel := range rels { // what has no name yet moves none
					if err := s.destination(t, rel, setting{}).Stage(t.Context()); err != nil {
						t.Fatal(err)
					}
				}
				publisher := func(i int) func(*fixture.Turn) error {
					return func(turn *fixture.Turn) error {
						_, err := s.publish(t, rels[i], setting{base: turn.Base(registrytest.Where)})
						return err
					}
				}
				return fixture.Rivals{Publish: [2]func(*fixture.Turn) error{publisher(0), publisher(1)}, Back: func() (back []string) {
					for tag, v := range map[string]string{"latest": "1.3.0", "latest-alpine": "1.3.0", "1": "1.3.0", "1.3": "1.3.0", "1.2": "1.2.3"} {
						if s.Tag("example/hello", tag) != s.Tag("example/hello", v+"-alpine") {
							back = append(back, tag)
						}
					}
					if want := hubOf(s, "1.3.0"); want == "" || s.Tag("example/charts/hello", "artifacthub.io") != want {
						back = append(back, "artifacthub.io")
					}
					return back
				}}
			})
		})
	}
}

// hubOf is the digest of the metadata that are attached to a version of the chart.
func hubOf(s *stand, version string) string {
	chart := s.Tag("example/charts/hello", version)
	for line := range strings.Lines(s.State()) {
		f := strings.Fields(line)
		if len(f) == 3 && f[0] == "example/charts/hello" && f[1] == "manifest" {
			if doc := s.Document(f[0], f[2]); strings.Contains(doc, "artifacthub.config") && strings.Contains(doc, `"subject":{`) && strings.Contains(doc, chart) {
				return f[2]
			}
		}
	}
	return ""
}

// A publisher that ended between its write and its look left names at its own version. The same command puts them right, and
// any other leaves what somebody moved by hand.
func TestLeftBehind(t *testing.T) {
	s := newStand(t, registrytest.Options{Referrers: true})
	older, newer := open(t, "1.2.3"), open(t, "1.3.0")
	for _, rel := range []publish.Release{older, newer} {
		if _, err := s.publish(t, rel, setting{}); err != nil {
			t.Fatal(err)
		}
	}
	right := s.Tag("example/hello", "latest")
	put := func(tag, from string) {
		t.Helper()
		req, _ := http.NewRequest("PUT", "http://"+s.host+"/v2/example/hello/manifests/"+tag, strings.NewReader(s.Document("example/hello", s.Tag("example/hello", from))))
		req.Header.Set("Content-Type", "application/vnd.oci.image.index.v1+json")
		res, err := http.DefaultClient.Do(req)
		if err != nil || res.StatusCode != http.StatusCreated {
			t.Fatal(res, err)
		}
		res.Body.Close()
	}
	put("latest", "1.2.3-alpine")
	items, err := s.destination(t, older, setting{}).Look(t.Context(), publish.Listed)
	if err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(items, func(it publish.Item) bool { return strings.HasSuffix(it.Name, "/example/hello:latest") })
	if it := items[i]; it.State != publish.Movable || it.Detail != "it went back to 1.2.3 and belongs to 1.3.0" {
		t.Errorf("it is told as %+v", it)
	}
	if _, err := s.publish(t, older, setting{}); err != nil || s.Tag("example/hello", "latest") != right {
		t.Errorf("the same command leaves it, %v", err)
	}
	put("latest", "1.2.3-alpine")
	backport := open(t, "1.2.4")
	if result, err := s.publish(t, backport, setting{}); err != nil || s.Tag("example/hello", "latest") != s.Tag("example/hello", "1.2.3-alpine") {
		t.Errorf("another release moves what is not its own: %v, %v", result, err)
	}
}

// A registry that lists a higher version and gives other bytes for it is not believed.
func TestGivesOtherBytes(t *testing.T) {
	s := newStand(t, registrytest.Options{Referrers: true})
	older, newer := open(t, "1.2.3"), open(t, "1.3.0")
	for _, rel := range []publish.Release{newer, older} {
		if _, err := s.publish(t, rel, setting{}); err != nil {
			t.Fatal(err)
		}
	}
	high := s.Tag("example/hello", "1.3.0-alpine")
	low := s.Tag("example/hello", "1.2.3-alpine")
	inner := s.Registry
	s.host = strings.TrimPrefix(s.faults.Serve(t, "registry", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodHead && strings.HasSuffix(r.URL.Path, "/example/hello/manifests/latest") {
			w.Header().Set("Docker-Content-Digest", low)
			return
		}
		if r.Method == http.MethodGet && strings.HasSuffix(r.URL.Path, "/manifests/"+high) {
			fmt.Fprint(w, "{}")
			return
		}
		inner.ServeHTTP(w, r)
	})), "http://")
	err := s.destination(t, older, setting{}).Flip(context.Background())
	if fault.CodeOf(err) != fault.Transient || !strings.Contains(err.Error(), "gives other bytes") {
		t.Errorf("other bytes are given a name: %v", err)
	}
}
