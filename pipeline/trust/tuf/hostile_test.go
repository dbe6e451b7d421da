package tuf_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/slipway-build/slipway/pipeline/internal/bounded"
	"github.com/slipway-build/slipway/pipeline/release/fault"
	"github.com/slipway-build/slipway/pipeline/trust/tuf"
)

func TestCanonical(t *testing.T) {
	for _, tt := range []struct{ doc, want, err string }{
		{`{"b":1,"a":[true, false,null,-7]}`, `{"a":[true,false,null,-7],"b":1}`, ""},
		{"{\"a\\\"\\\\b\":\"line\\nbreak\\u00e9\\/\"}", "{\"a\\\"\\\\b\":\"line\nbreaké/\"}", ""},
		{` "x" `, `"x"`, ""},
		{`[]`, `[]`, ""},
		{`[[],{}]`, `[[],{}]`, ""},
		{`9223372036854775807`, `9223372036854775807`, ""},
		{`{"b":{"d":1,"c":2},"B2":3,"a":4}`, `{"B2":3,"a":4,"b":{"c":2,"d":1}}`, ""},
		{`1.0`, "", "is not a whole one"},
		{`1e3`, "", "is not a whole one"},
		{`-0`, "", "is not a whole one"},
		{`9223372036854775808`, "", "is not a whole one"},
		{`{"a":1,"a":2}`, "", "comes twice"},
		{`{"a":1,"A":2}`, "", "comes twice"},
		{`{"a":1} {}`, "", "after the JSON document"},
		{"\"\xff\"", "", "not UTF-8"},
		{`"\ud800"`, "", "surrogate"},
		{strings.Repeat("[", 40) + strings.Repeat("]", 40), "", "nested"},
		{``, "", "EOF"},
		{`[1,]`, "", "invalid"},
	} {
		got, err := tuf.Canonical([]byte(tt.doc))
		if tt.err != "" {
			if err == nil || !strings.Contains(err.Error(), tt.err) {
				t.Errorf("%.40s: %v", tt.doc, err)
			}
			continue
		}
		if err != nil || string(got) != tt.want {
			t.Errorf("%s: %s, %v", tt.doc, got, err)
		}
	}
}

// TestHostileFiles has what a parser could take for two things, or for more than it can hold.
func TestHostileFiles(t *testing.T) {
	r := newRepo(t)
	good := string(r.files["metadata/1.root.json"])
	parse := func(s string) error {
		_, _, err := tuf.ParseRoot([]byte(s))
		return err
	}
	if err := parse(good); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ old, text, want string }{
		{`"version": 1`, `"version": 1, "version": 2`, "comes twice"},
		{`"version": 1`, `"version": 1, "Version": 2`, "comes twice"},
		{`"version": 1`, `"Version": 1`, `has to be spelled "version"`},
		{`"version": 1`, `"version": 1.0`, "whole"},
		{`"version": 1`, `"version": "1"`, "cannot unmarshal"},
		{`"version": 1`, `"version": 0`, "version 0"},
		{`"version": 1`, `"version": -1`, "version -1"},
		{`"version": 1`, `"version": 18446744073709551617`, "whole"},
		{`"spec_version": "1.0.34"`, `"spec_version": "2.0.0"`, "is not one of 1"},
		{`"_type": "root"`, `"_type": "targets"`, "is of type"},
		{`"2027-03-02T10:00:00Z"`, `"2027-03-02T10:00:00+00:30"`, "UTC"},
		{`"2027-03-02T10:00:00Z"`, `"2027-03-02T10:00:00.5Z"`, "whole seconds"},
		{`"2027-03-02T10:00:00Z"`, `"tomorrow"`, "cannot parse"},
		{`"signatures": [`, `"signatures": [` + strings.Repeat("\n{\"keyid\": \"\", \"sig\": \"\"},", 101), "more than 100 signatures"},
		{`"timestamp": {`, `"timestamp2": {`, "no keys for the role timestamp"},
		{`"signed": {`, `"signed": [], "x": {`, "cannot unmarshal"},
		{`{`, strings.Repeat(" ", tuf.MaxRoot) + `{`, "more than 524288 bytes"},
	} {
		bad := strings.Replace(good, tt.old, tt.text, 1)
		if bad == good {
			t.Errorf("%s is not there", tt.old)
		}
		if err := parse(bad); err == nil || !strings.Contains(err.Error(), tt.want) || fault.CodeOf(err) != fault.Mismatch {
			t.Errorf("%.60s: %v", tt.text, err)
		}
	}
}

// TestTargets has bytes that are not what was signed for, or that nobody can tell from others.
func TestTargets(t *testing.T) {
	good := tuf.NewTarget([]byte("x"), nil)
	sha512 := "a4abd4448c49562d828115d13a1fccea927f52b4d5459297f8b43e42da89238bc13626e43dcb38ddb082488927ec904fb42057443983e88585179d50551afe62"
	for _, tt := range []struct {
		name   string
		target tuf.Target
		ok     bool
	}{
		{"as it is", good, true},
		{"by SHA-512", tuf.Target{Length: 1, Hashes: map[string]string{"sha512": sha512}}, true},
		{"by two", tuf.Target{Length: 1, Hashes: map[string]string{"sha512": sha512, "sha256": good.Hashes["sha256"]}}, true},
		{"by a third as well", tuf.Target{Length: 1, Hashes: map[string]string{"sha512": sha512, "other": "00"}}, true},
		{"by another kind alone", tuf.Target{Length: 1, Hashes: map[string]string{"other": sha512}}, false},
		{"by none", tuf.Target{Length: 1}, false},
		{"of another length", tuf.Target{Length: 2, Hashes: good.Hashes}, false},
		{"of no length", tuf.Target{Hashes: good.Hashes}, false},
		{"one of two is another", tuf.Target{Length: 1, Hashes: map[string]string{"sha512": sha512, "sha256": strings.Repeat("0", 64)}}, false},
		{"in capital letters", tuf.Target{Length: 1, Hashes: map[string]string{"sha256": strings.ToUpper(good.Hashes["sha256"])}}, false},
	} {
		if err := tt.target.Check([]byte("x")); (err == nil) != tt.ok {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
}

// TestWeb has servers that answer with what they should not.
func TestWeb(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.EscapedPath() {
		case "/base/metadata/timestamp.json":
			io.WriteString(w, "here")
		case "/base/metadata/1.a%2F%3F.json":
			io.WriteString(w, "escaped")
		case "/base/targets/a%20b/c.json":
			io.WriteString(w, "target")
		case "/base/metadata/endless.json":
			for range 1 << 10 {
				if _, err := w.Write(bytes.Repeat([]byte(" "), 1<<20)); err != nil {
					return
				}
			}
			t.Error("all of it was read")
		case "/base/metadata/short.json":
			w.Header().Set("Content-Length", "100")
			io.WriteString(w, "short")
		case "/base/metadata/broken.json":
			w.WriteHeader(http.StatusBadGateway)
		case "/base/metadata/forbidden.json":
			w.WriteHeader(http.StatusForbidden)
		default:
			w.WriteHeader(http.StatusNotFound)
		}
	}))
	defer server.Close()
	web, err := tuf.NewWeb(server.URL+"/base/", server.Client())
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{"metadata/timestamp.json": "here", "metadata/1.a/?.json": "escaped", "targets/a b/c.json": "target"} {
		if b, err := web.Get(t.Context(), name, 100); string(b) != want || err != nil {
			t.Errorf("%s: %q, %v", name, b, err)
		}
	}
	if _, err := web.Get(t.Context(), "metadata/endless.json", 100); !bounded.IsTooLarge(err) {
		t.Errorf("endless: %v", err)
	}
	for _, name := range []string{"short", "broken"} {
		if _, err := web.Get(t.Context(), "metadata/"+name+".json", 100); fault.CodeOf(err) != fault.Transient || errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, name := range []string{"forbidden", "absent"} {
		if _, err := web.Get(t.Context(), "metadata/"+name+".json", 100); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: %v", name, err)
		}
	}
	server.Close()
	if _, err := web.Get(t.Context(), "metadata/timestamp.json", 100); fault.CodeOf(err) != fault.Transient {
		t.Errorf("no server: %v", err)
	}
	for _, address := range []string{"", "example.org", "ftp://example.org/", "https://user:secret@example.org/", "https://example.org/?a", "https://example.org/#a", "https://%zz"} {
		if _, err := tuf.NewWeb(address, http.DefaultClient); fault.CodeOf(err) != fault.Usage || strings.Contains(err.Error(), "secret") {
			t.Errorf("%q: %v", address, err)
		}
	}
}

// TestFolder has a link that leads out of a folder.
func TestFolder(t *testing.T) {
	dir := t.TempDir()
	must(t, os.MkdirAll(filepath.Join(dir, "index", "metadata"), 0o755))
	must(t, os.WriteFile(filepath.Join(dir, "index", "metadata", "timestamp.json"), []byte("here"), 0o644))
	must(t, os.WriteFile(filepath.Join(dir, "secret"), []byte("secret"), 0o644))
	must(t, os.Symlink(filepath.Join(dir, "secret"), filepath.Join(dir, "index", "metadata", "link.json")))
	folder := tuf.Folder(filepath.Join(dir, "index"))
	if b, err := folder.Get(t.Context(), "metadata/timestamp.json", 4); string(b) != "here" || err != nil {
		t.Errorf("%q, %v", b, err)
	}
	if _, err := folder.Get(t.Context(), "metadata/timestamp.json", 3); !bounded.IsTooLarge(err) {
		t.Error(err)
	}
	for _, name := range []string{"metadata/link.json", "metadata/../../secret", "/etc/passwd"} {
		if b, err := folder.Get(t.Context(), name, 100); err == nil {
			t.Errorf("%s: %q", name, b)
		}
	}
	if _, err := tuf.Folder(filepath.Join(dir, "none")).Get(t.Context(), "metadata/timestamp.json", 3); fault.CodeOf(err) != fault.Usage || errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
}

// Metadata as large as it may be is read in little time, also before anybody is known to have signed it.
func TestManyKeysAndRoles(t *testing.T) {
	const (
		head = `{"signatures":[],"signed":{"_type":"targets","spec_version":"1.0.0","version":1,"expires":"2030-01-01T00:00:00Z","targets":{},"delegations":{"keys":{},"roles":[`
		role = `{"name":"%s","keyids":[%s],"threshold":1,"paths":["x"],"terminating":true}`
	)
	var ids, roles []string
	for i := range 110_000 {
		ids = append(ids, fmt.Sprintf(`"%064x"`, i))
	}
	for i := range 90_000 {
		roles = append(roles, fmt.Sprintf(role, fmt.Sprint("r", i), ""))
	}
	for name, list := range map[string]string{"keys": fmt.Sprintf(role, "a", strings.Join(ids, ",")), "roles": strings.Join(roles, ",")} {
		began := time.Now()
		if _, _, err := tuf.ParseTargets([]byte(head + list + "]}}}")); err != nil || time.Since(began) > 10*time.Second {
			t.Errorf("%s: %s, %v", name, time.Since(began), err)
		}
	}
}

func FuzzCanonical(f *testing.F) {
	f.Add([]byte(`{"b":[1,"x\n",null],"a":{"é":true}}`))
	f.Add([]byte(`{"a":1,"a":2}`))
	f.Fuzz(func(t *testing.T, doc []byte) {
		one, err := tuf.Canonical(doc)
		if err != nil {
			return
		}
		// A text with a line break is no JSON any more; whatever is one has the same form again.
		if two, err := tuf.Canonical(one); err == nil && !bytes.Equal(one, two) {
			t.Errorf("%q becomes %q and then %q", doc, one, two)
		}
	})
}

func FuzzFiles(f *testing.F) {
	r := newRepo(f)
	for _, b := range r.files {
		f.Add(b)
	}
	key, err := tuf.NewKey(newKey(f).Public())
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		root, file, err := tuf.ParseRoot(b)
		if err == nil {
			if root.Version < 1 || root.Roles["root"].Threshold < 1 {
				t.Errorf("a root of version %d and threshold %d", root.Version, root.Roles["root"].Threshold)
			}
			// Nobody has signed it with a key that was made just now.
			if file.Verify(map[string]tuf.Key{key.ID(): key}, tuf.Role{KeyIDs: []string{key.ID()}, Threshold: 1}) == nil {
				t.Error("a signature of nobody counts")
			}
			again, err := file.Encode()
			if err != nil {
				t.Fatal(err)
			}
			if _, second, err := tuf.ParseRoot(again); err != nil || second.Digest() != file.Digest() {
				t.Errorf("written again it is something else: %v", err)
			}
		}
		for _, err := range []error{parseError(tuf.ParseTimestamp(b)), parseError(tuf.ParseSnapshot(b)), parseError(tuf.ParseTargets(b))} {
			if err != nil && fault.CodeOf(err) != fault.Mismatch {
				t.Errorf("code %d: %v", fault.CodeOf(err), err)
			}
		}
	})
}

func parseError[T any](_ T, _ tuf.File, err error) error { return err }
