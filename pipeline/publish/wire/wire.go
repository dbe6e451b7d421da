// Package wire makes the requests of a publisher: each one is in the journal before it goes out, each one carries only
// the credentials of the host that it goes to, and one that was refused for the moment is made again.
//
// What may be repeated is decided by what a repetition can do. A read, a PUT and a DELETE end in the same state however
// often they are made. A POST or a PATCH whose answer was lost may have been obeyed: it is made again only when it
// certainly never was, and otherwise its caller looks at the remote before it goes on.
package wire

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/slipway-build/slipway/pipeline/internal/web"
	"github.com/slipway-build/slipway/pipeline/release/fault"
)

// Defaults of Options.
const (
	defaultAttempts = 5
	defaultBackoff  = time.Second
	// defaultMaxWait is the longest that a remote may ask to wait for before the release is given up for now.
	defaultMaxWait = 3 * time.Minute
	maxBackoff     = 30 * time.Second
)

// Request is a request that changes something at a remote.
type Request struct {
	Destination string `json:"destination"`
	Method      string `json:"method"`
	URL         string `json:"url"` // without what may be a secret
	Size        int64  `json:"size,omitempty"`
}

// String is the request in one line.
func (r Request) String() string {
	if r.Size > 0 {
		return fmt.Sprintf("%s %s (%d bytes)", r.Method, r.URL, r.Size)
	}
	return r.Method + " " + r.URL
}

// Recorder keeps what was asked of remotes.
type Recorder interface {
	// Begin returns when the request is on disk. The returned function notes how it ended; a request without an end
	// is one whose answer nobody saw.
	Begin(Request) (end func(outcome string), err error)
}

// Credential is what one host is shown. It is never sent to another.
type Credential struct {
	Host   string        // as in a URL, with the port if it has one
	Header string        // Authorization for ""
	Value  func() string // a function, into which fmt cannot look when it prints
}

// Options say how the requests of one destination are made.
type Options struct {
	Destination string
	Base        http.RoundTripper // nil is http.DefaultTransport
	Recorder    Recorder          // nil keeps nothing
	Credentials []Credential
	UserAgent   string

	// DryRun is told, one after the other, of each request that would change something instead of its being made; Simulate answers it, with
	// an empty 200 where it is nil or returns nil.
	DryRun   func(Request)
	Simulate func(*http.Request) *http.Response

	// Sent is called with the number of bytes of bodies as they leave.
	Sent func(n int64)

	Attempts int                                              // of one request; 0 is 5
	Backoff  time.Duration                                    // before the second attempt, doubled for each further one; 0 is a second
	MaxWait  time.Duration                                    // that a remote may ask for; 0 is three minutes
	Sleep    func(ctx context.Context, d time.Duration) error // nil sleeps
	Now      func() time.Time                                 // nil is time.Now; for what remotes say of when
}

// Transport is an http.RoundTripper.
type Transport struct {
	o        Options
	requests atomic.Int64
	telling  sync.Mutex
}

// New returns a transport.
func New(o Options) *Transport {
	if o.Base == nil {
		o.Base = http.DefaultTransport
	}
	if o.Attempts == 0 {
		o.Attempts = defaultAttempts
	}
	if o.Backoff == 0 {
		o.Backoff = defaultBackoff
	}
	if o.MaxWait == 0 {
		o.MaxWait = defaultMaxWait
	}
	if o.Sleep == nil {
		o.Sleep = Sleep
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	return &Transport{o: o}
}

// Client returns a client of the transport. It follows redirects of reads alone: what changes something is sent to
// where it was meant to go, or not at all.
func (t *Transport) Client() *http.Client {
	return &http.Client{
		Transport: t,
		CheckRedirect: func(req *http.Request, via []*http.Request) error {
			if len(via) >= 10 {
				return errors.New("more than 10 redirects")
			}
			if via[0].Method != http.MethodGet && via[0].Method != http.MethodHead {
				return http.ErrUseLastResponse
			}
			if via[0].URL.Scheme == "https" && req.URL.Scheme != "https" {
				return fmt.Errorf("%s is redirected to %s, which is not https", via[0].URL.Host, req.URL.Host)
			}
			return nil
		},
	}
}

// DryRun reports whether nothing is changed.
func (t *Transport) DryRun() bool { return t.o.DryRun != nil }

// Requests is the number of requests that were made, repetitions included.
func (t *Transport) Requests() int64 { return t.requests.Load() }

// Sleep waits for the time, or until the context ends, and then returns why it did.
func Sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

type readKey struct{}

// Reading marks the requests made with the context as reads, whatever their method: a query that is too long for a
// URL, or the exchange of a token.
func Reading(ctx context.Context) context.Context { return context.WithValue(ctx, readKey{}, true) }

type repeatedKey struct{}

// repeated reports whether an answer is that to a repetition of what was perhaps obeyed.
func repeated(ctx context.Context) bool {
	marked, _ := ctx.Value(repeatedKey{}).(bool)
	return marked
}

type repeatKey struct{}

// Repeating marks the requests made with the context as ones that end in the same state however often they are made,
// whatever their method: a session for an upload that nothing is sent to does nothing.
func Repeating(ctx context.Context) context.Context { return context.WithValue(ctx, repeatKey{}, true) }

// reads reports whether the request changes nothing.
func reads(req *http.Request) bool {
	switch req.Method {
	case http.MethodGet, http.MethodHead, http.MethodOptions, "":
		return true
	}
	marked, _ := req.Context().Value(readKey{}).(bool)
	return marked
}

// repeatable reports whether a second time ends in the same state as the first.
func repeatable(req *http.Request) bool {
	marked, _ := req.Context().Value(repeatKey{}).(bool)
	return marked || reads(req) || req.Method == http.MethodPut || req.Method == http.MethodDelete
}

// RoundTrip makes the request, again where that is right; see the package's comment.
func (t *Transport) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.Body != nil {
		defer req.Body.Close() // each attempt that can has a body of its own
	}
	perhaps := false // an attempt was perhaps obeyed, though nobody saw it
	for attempt := 1; ; attempt++ {
		res, err := t.once(req)
		if perhaps && res != nil {
			res.Request = req.WithContext(context.WithValue(req.Context(), repeatedKey{}, true))
		}
		wait, again := t.again(req, res, err)
		if !again || attempt >= t.o.Attempts || !rewindable(req) {
			return res, err
		}
		perhaps = perhaps || !reads(req) && (err != nil || res.StatusCode >= http.StatusInternalServerError)
		if wait == 0 {
			wait = min(t.o.Backoff<<(attempt-1), maxBackoff)
		}
		if wait > t.o.MaxWait {
			if told, _ := req.Context().Value(patientKey{}).(bool); told {
				return res, err
			}
			drain(res)
			return nil, fault.Errorf(fault.Transient, "%s asks to wait for %s; run the same command again then", req.URL.Host, wait.Round(time.Second))
		}
		drain(res)
		if err := t.o.Sleep(req.Context(), wait); err != nil {
			return nil, err
		}
	}
}

// rewindable reports whether the body can be sent a second time.
func rewindable(req *http.Request) bool {
	return req.Body == nil || req.Body == http.NoBody || req.GetBody != nil
}

func drain(res *http.Response) {
	if res != nil {
		_, _ = io.Copy(io.Discard, io.LimitReader(res.Body, 64<<10))
		res.Body.Close()
	}
}

// once makes the request one time.
func (t *Transport) once(req *http.Request) (*http.Response, error) {
	out := req.Clone(req.Context()) // a RoundTripper may not change the request
	if req.GetBody != nil && req.Body != nil && req.Body != http.NoBody {
		body, err := req.GetBody()
		if err != nil {
			return nil, err
		}
		out.Body = body
	}
	if out.Body != nil && out.Body != http.NoBody && t.o.Sent != nil {
		out.Body = &metered{out.Body, t.o.Sent}
	}
	if t.o.UserAgent != "" {
		out.Header.Set("User-Agent", t.o.UserAgent)
	}
	for _, c := range t.o.Credentials {
		if c.Host != out.URL.Host || !web.Private(out.URL) {
			continue
		}
		header := c.Header
		if header == "" {
			header = "Authorization"
		}
		if v := c.Value(); v != "" && out.Header.Get(header) == "" {
			out.Header.Set(header, v)
		}
	}
	if err := web.Covered(out); err != nil {
		if out.Body != nil {
			out.Body.Close()
		}
		return nil, fault.New(fault.Credentials, err)
	}
	if reads(out) {
		t.requests.Add(1)
		res, err := t.o.Base.RoundTrip(out)
		if err != nil {
			return nil, err
		}
		if err := web.Challenge(out, res); err != nil {
			res.Body.Close()
			return nil, fault.New(fault.Credentials, err)
		}
		return res, nil
	}
	record := Request{Destination: t.o.Destination, Method: out.Method, URL: Redact(out.URL), Size: max(out.ContentLength, 0)}
	if t.o.DryRun != nil {
		if out.Body != nil {
			out.Body.Close()
		}
		t.tell(record)
		var res *http.Response
		if t.o.Simulate != nil {
			res = t.o.Simulate(out)
		}
		if res == nil {
			res = Answer(http.StatusOK, "")
		}
		res.Request = out
		return res, nil
	}
	end := func(string) {}
	if t.o.Recorder != nil {
		var err error
		if end, err = t.o.Recorder.Begin(record); err != nil {
			if out.Body != nil {
				out.Body.Close()
			}
			return nil, err
		}
	}
	t.requests.Add(1)
	res, err := t.o.Base.RoundTrip(out)
	if err != nil {
		end("no answer")
		return nil, err
	}
	end(strconv.Itoa(res.StatusCode))
	return res, nil
}

// tell tells of requests one after the other.
func (t *Transport) tell(r Request) {
	t.telling.Lock()
	defer t.telling.Unlock()
	t.o.DryRun(r)
}

// Answer is a response for Simulate. Header fields are pairs of name and value.
func Answer(status int, body string, header ...string) *http.Response {
	h := http.Header{}
	for i := 0; i+1 < len(header); i += 2 {
		h.Set(header[i], header[i+1])
	}
	return &http.Response{
		StatusCode: status, Status: fmt.Sprintf("%d %s", status, http.StatusText(status)), Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: h, Body: io.NopCloser(strings.NewReader(body)), ContentLength: int64(len(body)),
	}
}

type metered struct {
	io.ReadCloser
	sent func(int64)
}

func (m *metered) Read(b []byte) (int, error) {
	n, err := m.ReadCloser.Read(b)
	if n > 0 {
		m.sent(int64(n))
	}
	return n, err
}

// again reports whether to make the request again, and after which time; 0 is for the backoff to say.
func (t *Transport) again(req *http.Request, res *http.Response, err error) (time.Duration, bool) {
	if err != nil {
		var dial *net.OpError
		unsent := errors.As(err, &dial) && dial.Op == "dial" // it was never on its way
		return 0, req.Context().Err() == nil && (unsent || repeatable(req)) && fault.CodeOf(err) == fault.Unclassified
	}
	wait, asked := t.asked(res)
	switch res.StatusCode {
	case http.StatusTooManyRequests:
		return wait, true
	case http.StatusForbidden:
		return wait, asked // how GitHub says that there were too many
	case http.StatusServiceUnavailable, http.StatusBadGateway, http.StatusGatewayTimeout, http.StatusInternalServerError, http.StatusRequestTimeout:
		return wait, repeatable(req)
	}
	return 0, false
}

// asked is the time that the remote asks to wait for
// (https://www.rfc-editor.org/rfc/rfc9110#field.retry-after,
// https://docs.github.com/en/rest/using-the-rest-api/rate-limits-for-the-rest-api#exceeding-the-rate-limit).
func (t *Transport) asked(res *http.Response) (time.Duration, bool) {
	if v := res.Header.Get("Retry-After"); v != "" {
		if seconds, err := strconv.ParseInt(v, 10, 32); err == nil && seconds >= 0 {
			return max(time.Duration(seconds)*time.Second, time.Millisecond), true
		}
		if at, err := http.ParseTime(v); err == nil {
			return max(at.Sub(t.o.Now()), time.Millisecond), true
		}
	}
	if res.Header.Get("X-RateLimit-Remaining") == "0" && (res.StatusCode == http.StatusForbidden || res.StatusCode == http.StatusTooManyRequests) {
		if at, err := strconv.ParseInt(res.Header.Get("X-RateLimit-Reset"), 10, 64); err == nil {
			return max(time.Unix(at, 0).Sub(t.o.Now())+time.Second, time.Millisecond), true
		}
	}
	return 0, false
}

// named are the parameters of queries that are worth telling and never secret.
var named = map[string]bool{"digest": true, "from": true, "mount": true, "name": true, "page": true, "per_page": true, "label": true, "uploads": true, "partNumber": true}

// Redact is a URL without user, password and whatever in its query might be a secret.
func Redact(u *url.URL) string {
	c := *u
	c.User, c.Fragment = nil, ""
	if c.RawQuery != "" {
		q := c.Query()
		for name := range q {
			if !named[name] {
				q.Set(name, "...")
			}
		}
		c.RawQuery = q.Encode()
	}
	return c.String()
}
