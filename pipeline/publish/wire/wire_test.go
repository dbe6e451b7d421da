package wire_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/slipway-build/slipway/pipeline/fixture"
	"github.com/slipway-build/slipway/pipeline/publish/wire"
	"github.com/slipway-build/slipway/pipeline/release/fault"
)

// remote takes what it is sent.
type remote struct {
	mu     sync.Mutex
	bodies []string
	heads  []http.Header
}

func (r *remote) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	b, err := io.ReadAll(req.Body)
	r.mu.Lock()
	defer r.mu.Unlock()
	if err == nil {
		r.bodies, r.heads = append(r.bodies, string(b)), append(r.heads, req.Header)
	}
	fmt.Fprint(w, "done")
}

// waits are how long a transport waited.
type waits struct {
	mu   sync.Mutex
	list []time.Duration
}

func (w *waits) sleep(ctx context.Context, d time.Duration) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.list = append(w.list, d)
	return ctx.Err()
}

func send(t *testing.T, tr *wire.Transport, ctx context.Context, method, url string) (int, error) {
	t.Helper()
	req, err := http.NewRequestWithContext(ctx, method, url, strings.NewReader("body"))
	if err != nil {
		t.Fatal(err)
	}
	res, err := tr.Client().Do(req)
	if err != nil {
		return 0, err
	}
	defer res.Body.Close()
	return res.StatusCode, nil
}

// What is refused after an attempt that was perhaps obeyed may be what that attempt did.
func TestRefusedAfterwards(t *testing.T) {
	for _, c := range []struct {
		fault fixture.Fault
		code  fault.Code
	}{{fixture.None, fault.Conflict}, {fixture.TooMany, fault.Conflict}, {fixture.BadAfter, fault.Transient}, {fixture.Lost, fault.Transient}} {
		f := &fixture.Faults{Rule: fixture.Nth(1, c.fault)}
		base := f.Serve(t, "remote", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusConflict) }))
		req, err := http.NewRequestWithContext(t.Context(), "PUT", base, strings.NewReader("body"))
		if err != nil {
			t.Fatal(err)
		}
		res, err := wire.New(wire.Options{Sleep: (&waits{}).sleep}).Client().Do(req)
		if err != nil {
			t.Fatal(err)
		}
		if err := wire.Expect(res, 200); fault.CodeOf(err) != c.code {
			t.Errorf("after %s: %d, %v", c.fault, fault.CodeOf(err), err)
		}
	}
}

// Where a read was led to is not told with what it was signed by.
func TestSignedURL(t *testing.T) {
	gone := httptest.NewServer(http.NotFoundHandler())
	gone.Close()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, gone.URL+"/blob?X-Amz-Signature=canary", http.StatusTemporaryRedirect)
	}))
	defer s.Close()
	tr := wire.New(wire.Options{Sleep: (&waits{}).sleep})
	_, err := tr.Client().Get(s.URL)
	if err = wire.Fault(err); fault.CodeOf(err) != fault.Transient || strings.Contains(err.Error(), "canary") || !strings.Contains(err.Error(), "/blob") {
		t.Error(err)
	}
	// A query that is sent as a POST goes nowhere else with what is in it.
	if status, err := send(t, tr, wire.Reading(t.Context()), "POST", s.URL); err != nil || status != http.StatusTemporaryRedirect {
		t.Errorf("%d, %v", status, err)
	}
}

// What is made again is what ends in the same state, and what certainly was not obeyed.
func TestRepetitions(t *testing.T) {
	for _, c := range []struct {
		fault    fixture.Fault
		method   string
		repeated bool
	}{
		{fixture.BadGateway, "GET", true},
		{fixture.BadGateway, "PUT", true},
		{fixture.BadAfter, "PUT", true},
		{fixture.BadGateway, "DELETE", true},
		{fixture.BadGateway, "POST", false},
		{fixture.BadGateway, "PATCH", false},
		{fixture.Lost, "PUT", true},
		{fixture.Lost, "POST", false},
		{fixture.Reset, "POST", false},
		{fixture.Reset, "GET", true},
		{fixture.TooMany, "POST", true},
		{fixture.TooMany, "PATCH", true},
		{fixture.Unavailable, "POST", false},
		{fixture.Unavailable, "PUT", true},
		{fixture.Unauthorized, "PUT", false},
	} {
		f, r, w := &fixture.Faults{Rule: fixture.Nth(1, c.fault)}, &remote{}, &waits{}
		tr := wire.New(wire.Options{Sleep: w.sleep})
		status, err := send(t, tr, t.Context(), c.method, f.Serve(t, "remote", r))
		if again := len(f.Seen()) == 2; again != c.repeated {
			t.Errorf("%s of a %s: made again: %v, %d, %v", c.fault, c.method, again, status, err)
		}
		for _, b := range r.bodies {
			if b != "body" {
				t.Errorf("%s of a %s: the body was %q", c.fault, c.method, b)
			}
		}
	}
	// Whoever makes a request may know better.
	f := &fixture.Faults{Rule: fixture.Nth(1, fixture.Lost)}
	if _, err := send(t, wire.New(wire.Options{Sleep: (&waits{}).sleep}), wire.Repeating(t.Context()), "POST", f.Serve(t, "remote", &remote{})); err != nil || len(f.Seen()) != 2 {
		t.Errorf("a POST that may be repeated: %d requests, %v", len(f.Seen()), err)
	}
}

func TestNobodyListens(t *testing.T) {
	s := httptest.NewServer(http.NotFoundHandler())
	s.Close()
	w := &waits{}
	_, err := send(t, wire.New(wire.Options{Sleep: w.sleep, Attempts: 3}), t.Context(), "POST", s.URL)
	if err == nil || len(w.list) != 2 || fault.CodeOf(wire.Fault(err)) != fault.Transient {
		t.Errorf("%v after %v", err, w.list)
	}
}

func TestWaits(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for name, c := range map[string]struct {
		status int
		header http.Header
		want   time.Duration // 0: it is given up
	}{
		"seconds":             {429, http.Header{"Retry-After": {"7"}}, 7 * time.Second},
		"a date":              {429, http.Header{"Retry-After": {now.Add(9 * time.Second).Format(http.TimeFormat)}}, 9 * time.Second},
		"none":                {429, nil, time.Second},
		"secondary limit":     {403, http.Header{"Retry-After": {"60"}}, time.Minute},
		"primary limit":       {403, http.Header{"X-Ratelimit-Remaining": {"0"}, "X-Ratelimit-Reset": {fmt.Sprint(now.Add(30 * time.Second).Unix())}}, 31 * time.Second},
		"longer than is good": {429, http.Header{"Retry-After": {"3600"}}, 0},
		"nonsense":            {429, http.Header{"Retry-After": {"-5"}}, time.Second},
	} {
		n := 0
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			if n++; n == 1 {
				for k, v := range c.header {
					w.Header()[k] = v
				}
				w.WriteHeader(c.status)
			}
		}))
		w := &waits{}
		_, err := send(t, wire.New(wire.Options{Sleep: w.sleep, Now: func() time.Time { return now }}), t.Context(), "POST", s.URL)
		s.Close()
		if c.want == 0 {
			if fault.CodeOf(errors.Unwrap(err)) != fault.Transient || !strings.Contains(err.Error(), "asks to wait for 1h") || len(w.list) != 0 {
				t.Errorf("%s: %v after %v", name, err, w.list)
			}
		} else if err != nil || len(w.list) != 1 || w.list[0] != c.want {
			t.Errorf("%s: waited %v, %v", name, w.list, err)
		}
	}
}

// A credential goes to its host, and to no other that answers lead to.
func TestCredentials(t *testing.T) {
	there, here := &remote{}, &remote{}
	far := httptest.NewServer(there)
	defer far.Close()
	near := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		here.ServeHTTP(httptest.NewRecorder(), r)
		http.Redirect(w, r, far.URL, http.StatusFound)
	}))
	defer near.Close()
	host := strings.TrimPrefix(near.URL, "http://")
	tr := wire.New(wire.Options{Credentials: []wire.Credential{
		{Host: host, Value: func() string { return "Bearer secret" }},
		{Host: host, Header: "X-Key", Value: func() string { return "secret" }},
		{Host: "example.com", Value: func() string { return "Bearer other" }},
	}})
	res, err := tr.Client().Get(near.URL)
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	if h := here.heads[0]; h.Get("Authorization") != "Bearer secret" || h.Get("X-Key") != "secret" {
		t.Errorf("the host got %v", h)
	}
	if h := there.heads[0]; h.Get("Authorization") != "" || h.Get("X-Key") != "" {
		t.Errorf("another host got %v", h)
	}
	// What changes something does not follow.
	there.bodies = nil
	if status, err := send(t, tr, t.Context(), "PUT", near.URL); err != nil || status != http.StatusFound || len(there.bodies) != 0 {
		t.Errorf("a PUT was led to another host: %d, %v", status, err)
	}
	if fmt.Sprintf("%v %+v", tr, tr) == "" || strings.Contains(fmt.Sprintf("%+v", tr), "secret") {
		t.Error("a secret is printed")
	}
}

// A credential is not sent where others may read it.
func TestCredentialsInTheOpen(t *testing.T) {
	got := ""
	tr := wire.New(wire.Options{
		Credentials: []wire.Credential{{Host: "registry.example.com", Value: func() string { return "Bearer secret" }}},
		Base: roundTripper(func(r *http.Request) (*http.Response, error) {
			got = r.Header.Get("Authorization")
			return wire.Answer(200, ""), nil
		}),
	})
	for u, want := range map[string]string{"http://registry.example.com/": "", "https://registry.example.com/": "Bearer secret"} {
		if _, err := send(t, tr, t.Context(), "GET", u); err != nil || got != want {
			t.Errorf("%s got %q, %v", u, got, err)
		}
	}
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

type recorder struct {
	mu    sync.Mutex
	lines []string
	err   error
}

func (r *recorder) Begin(q wire.Request) (func(string), error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.lines = append(r.lines, q.String())
	return func(outcome string) {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.lines = append(r.lines, outcome)
	}, r.err
}

// Each request that changes something is noted before it goes out, each time, without what may be a secret.
func TestRecord(t *testing.T) {
	f, r := &fixture.Faults{Rule: fixture.Nth(2, fixture.BadGateway)}, &recorder{}
	base := f.Serve(t, "remote", &remote{})
	tr := wire.New(wire.Options{Recorder: r, Sleep: (&waits{}).sleep})
	if _, err := send(t, tr, t.Context(), "GET", base); err != nil {
		t.Fatal(err)
	}
	if _, err := send(t, tr, t.Context(), "PUT", base+"/x?digest=sha256:1&token=secret"); err != nil {
		t.Fatal(err)
	}
	request := "PUT " + base + "/x?digest=sha256%3A1&token=... (4 bytes)"
	if want := []string{request, "502", request, "200"}; strings.Join(r.lines, "\n") != strings.Join(want, "\n") {
		t.Errorf("noted %q, want %q", r.lines, want)
	}
	r.err = errors.New("disk full")
	n := len(f.Seen())
	if _, err := send(t, tr, t.Context(), "PUT", base); err == nil || len(f.Seen()) != n {
		t.Errorf("a request went out that could not be noted: %v", err)
	}
}

func TestDryRun(t *testing.T) {
	f := &fixture.Faults{}
	base := f.Serve(t, "remote", &remote{})
	var told []string
	tr := wire.New(wire.Options{
		DryRun:   func(r wire.Request) { told = append(told, r.String()) },
		Simulate: func(r *http.Request) *http.Response { return wire.Answer(http.StatusCreated, "", "Location", "/y") },
	})
	for _, method := range []string{"GET", "POST", "DELETE"} {
		if _, err := send(t, tr, t.Context(), method, base+"/x"); err != nil {
			t.Fatal(err)
		}
	}
	if len(f.Seen()) != 1 || strings.Join(told, "\n") != "POST "+base+"/x (4 bytes)\nDELETE "+base+"/x (4 bytes)" {
		t.Errorf("told %q, sent %v", told, f.Seen())
	}
	// What is marked as a read is made.
	if _, err := send(t, tr, wire.Reading(t.Context()), "POST", base+"/query"); err != nil || len(f.Seen()) != 2 {
		t.Error("a query was not made")
	}
}

func TestSent(t *testing.T) {
	f, n := &fixture.Faults{Rule: fixture.Nth(1, fixture.BadAfter)}, int64(0)
	tr := wire.New(wire.Options{Sent: func(k int64) { n += k }, Sleep: (&waits{}).sleep})
	if _, err := send(t, tr, t.Context(), "PUT", f.Serve(t, "remote", &remote{})); err != nil || n != 8 {
		t.Errorf("%d bytes of two attempts with 4 each, %v", n, err)
	}
}

func TestExpect(t *testing.T) {
	answer := func(status int, body string) *http.Response {
		res := wire.Answer(status, body)
		res.Request = httptest.NewRequest("PUT", "https://user:pass@example.com/x?key=secret", nil)
		return res
	}
	if err := wire.Expect(answer(201, ""), 200, 201); err != nil {
		t.Error(err)
	}
	for status, code := range map[int]fault.Code{401: fault.Credentials, 403: fault.Credentials, 409: fault.Conflict, 429: fault.Transient, 500: fault.Transient, 404: fault.Usage, 422: fault.Usage} {
		err := wire.Expect(answer(status, `{"message":"Validation Failed","errors":[{"code":"already_exists","field":"name"}]}`), 200)
		if fault.CodeOf(err) != code || wire.StatusOf(err) != status || !strings.Contains(err.Error(), "Validation Failed; already_exists name") || strings.Contains(err.Error(), "secret") || strings.Contains(err.Error(), "pass") {
			t.Errorf("%d: %v", status, err)
		}
	}
	limited := answer(403, "slow down")
	limited.Header.Set("Retry-After", "60")
	if err := wire.Expect(limited, 200); fault.CodeOf(err) != fault.Transient {
		t.Errorf("too many requests: %v", err)
	}
	long := wire.Message([]byte("a\x1b[31m\nb" + strings.Repeat("é", 1000)))
	if strings.ContainsAny(long, "\x1b\n") || len(long) > 600 {
		t.Errorf("%q", long)
	}
}

func TestReadAll(t *testing.T) {
	res := wire.Answer(200, "12345")
	res.Request = httptest.NewRequest("GET", "/", nil)
	if _, err := wire.ReadAll(res, 4); fault.CodeOf(err) != fault.Transient {
		t.Error(err)
	}
	res = wire.Answer(200, "12345")
	res.Request = httptest.NewRequest("GET", "/", nil)
	if b, err := wire.ReadAll(res, 5); err != nil || !bytes.Equal(b, []byte("12345")) {
		t.Error(b, err)
	}
}

func FuzzMessage(f *testing.F) {
	f.Add([]byte(`{"message":"no","errors":[{"code":"x"}]}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		if m := wire.Message(b); strings.ContainsAny(m, "\n\r\x1b") || len(m) > 600 {
			t.Errorf("%q", m)
		}
		if u, err := url.Parse("https://example.com/?" + url.QueryEscape(string(b))); err == nil {
			_ = wire.Redact(u)
		}
	})
}
