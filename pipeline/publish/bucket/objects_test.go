package bucket_test

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/slipway-build/slipway/pipeline/fixture"
	"github.com/slipway-build/slipway/pipeline/fixture/buckettest"
	"github.com/slipway-build/slipway/pipeline/publish/bucket"
	"github.com/slipway-build/slipway/pipeline/publish/wire"
	"github.com/slipway-build/slipway/pipeline/release/artifact"
	"github.com/slipway-build/slipway/pipeline/release/fault"
)

func (s *stand) objects(t *testing.T, change func(*bucket.Options)) *bucket.Objects {
	t.Helper()
	o := bucket.Options{
		Endpoint: s.url, Bucket: "bucket", Prefix: "some/where", Region: "eu-test-1",
		AccessKey: func() string { return accessKey }, SecretKey: func() string { return secretKey }, SessionToken: func() string { return session },
		Transport: wire.New(wire.Options{Destination: "bucket", Backoff: time.Millisecond, Sleep: func(ctx context.Context, _ time.Duration) error { return ctx.Err() }}),
	}
	if change != nil {
		change(&o)
	}
	b, err := bucket.Open(o)
	must(t, err)
	return b
}

// What changes is replaced by whoever has read what is there.
func TestObjects(t *testing.T) {
	s, ctx := newStand(t, buckettest.Options{Page: 2}), t.Context()
	b := s.objects(t, nil)
	if _, _, err := b.Read(ctx, "a", 10); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
	if err := b.Write(ctx, "a", []byte("x"), `0123`, false); !errors.Is(err, bucket.ErrChanged) {
		t.Error(err)
	}
	must(t, b.Write(ctx, "a", []byte("one"), "", false))
	must(t, b.Write(ctx, "a", []byte("one"), "", false)) // as one whose answer was lost
	if err := b.Write(ctx, "a", []byte("two"), "", false); !errors.Is(err, bucket.ErrChanged) || fault.CodeOf(err) != fault.Transient || !strings.Contains(err.Error(), "some/where/a") {
		t.Error(err)
	}
	got, tag, err := b.Read(ctx, "a", 10)
	if err != nil || string(got) != "one" || tag == "" {
		t.Errorf("%q %q %v", got, tag, err)
	}
	must(t, b.Write(ctx, "a", []byte("two"), tag, true))
	if err := b.Write(ctx, "a", []byte("three"), tag, true); !errors.Is(err, bucket.ErrChanged) {
		t.Error(err)
	}
	if _, _, err := b.Read(ctx, "a", 2); err == nil || fault.CodeOf(err) != fault.Transient || errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
	digest := artifact.Sum([]byte("two"))
	must(t, b.Copy(ctx, "b/c d+e", "a", digest))
	must(t, b.Copy(ctx, "b/c d+e", "a", digest))
	must(t, b.Copy(ctx, "b/f", "b/c d+e", digest))
	if err := b.Copy(ctx, "b/g", "none", digest); err == nil {
		t.Error("what is not there is copied")
	}
	for name, want := range map[string]artifact.Digest{"b/c d+e": digest, "b/f": digest, "a": "", "none": ""} {
		if told, err := b.Told(ctx, name); err != nil || told != want {
			t.Errorf("%s: %q, %v", name, told, err)
		}
	}
	var out bytes.Buffer
	if err := b.Fetch(ctx, "b/f", &out, 2); err != nil || out.String() != "tw" {
		t.Errorf("%q %v", &out, err)
	}
	s.Put("some/where else", nil, nil)
	for begin, want := range map[string]bool{"b/": true, "c/": false, "": true} {
		if any, err := b.Any(ctx, begin); err != nil || any != want {
			t.Errorf("%q: %v, %v", begin, any, err)
		}
	}
	must(t, b.Write(ctx, "b/h", nil, "", true))
	if all, err := b.List(ctx, "b/"); err != nil || !slices.Equal(all, []string{"b/c d+e", "b/f", "b/h"}) {
		t.Errorf("%q %v", all, err)
	}
	for range 2 {
		must(t, b.Remove(ctx, "b/f"))
	}
	if all, err := b.List(ctx, ""); err != nil || !slices.Equal(all, []string{"a", "b/c d+e", "b/h"}) {
		t.Errorf("%q %v", all, err)
	}
	if state := s.State(); !strings.Contains(state, `some/where/a 3 `+string(digest)+` Cache-Control="public, max-age=31536000, immutable"`) || !strings.Contains(state, `some/where/b/c d+e 3 `+string(digest)+` Cache-Control="no-cache"`) {
		t.Error(state)
	}
	// A bucket that is not there has no objects that are not there.
	other := s.objects(t, func(o *bucket.Options) { o.Bucket = "other" })
	_, _, err = other.Read(ctx, "a", 10)
	_, listErr := other.List(ctx, "")
	_, anyErr := other.Any(ctx, "")
	for _, err := range []error{err, listErr, anyErr, other.Write(ctx, "a", nil, "", false), other.Write(ctx, "a", nil, "x", false)} {
		if fault.CodeOf(err) != fault.Usage || errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), "make the bucket") {
			t.Error(err)
		}
	}
	none := newStand(t, buckettest.Options{Unconditional: true}).objects(t, nil)
	if err := none.Write(ctx, "a", nil, "", false); fault.CodeOf(err) != fault.Usage || !strings.Contains(err.Error(), "no conditional writes") {
		t.Error(err)
	}
}

// An answer that was lost is no rival's.
func TestLostAnswer(t *testing.T) {
	for _, f := range []fixture.Fault{fixture.Lost, fixture.BadAfter, fixture.Unavailable, fixture.Cut} {
		s := newStand(t, buckettest.Options{})
		b := s.objects(t, nil)
		must(t, b.Write(t.Context(), "a", []byte("one"), "", false))
		_, tag, err := b.Read(t.Context(), "a", 10)
		must(t, err)
		puts := 0
		s.faults.Set(func(_ int, _ string, r *http.Request) fixture.Fault {
			if r.Method == http.MethodPut {
				if puts++; puts == 1 {
					return f
				}
			}
			return fixture.None
		})
		if err := b.Write(t.Context(), "a", []byte("two"), tag, false); err != nil || puts != 2 {
			t.Errorf("%s: %v after %d requests", f, err, puts)
		}
		if got, _ := s.Get("some/where/a"); string(got) != "two" {
			t.Errorf("%s: %s", f, got)
		}
	}
}
