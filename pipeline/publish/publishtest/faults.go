// Package publishtest has what the tests of publishing share: something that stands in front of every remote and does
// something bad to the n-th request.
package publishtest

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
)

// Fault is what happens to a request.
type Fault int

// The faults. Those named Before keep the request from the remote; those named After let it be obeyed first.
const (
	None         Fault = iota
	Kill               // Faults.Kill is called before the remote sees the request, and there is no answer
	KillAfter          // Faults.Kill is called after the remote obeyed and before it answers
	BadGateway         // 502 instead of the remote's answer, which did not see the request
	BadAfter           // 502 instead of the remote's answer, which obeyed
	TooMany            // 429 with Retry-After: 1
	Unavailable        // 503
	Reset              // the connection ends before the remote sees the request
	Lost               // the connection ends after the remote obeyed
	Cut                // the connection ends in the middle of the remote's answer
	Unauthorized       // 401, as for a token that expired
)

var faults = [...]string{"none", "kill", "kill after", "502", "502 after", "429", "503", "reset", "lost answer", "cut answer", "401"}

func (f Fault) String() string { return faults[f] }

// Seen is a request that arrived.
type Seen struct {
	Service string
	Method  string
	URL     string // path and query
	Status  int    // 0 where there was no answer
	Fault   Fault
}

// Changes tells whether the request changes something, going by its method.
func (s Seen) Changes() bool { return s.Method != http.MethodGet && s.Method != http.MethodHead }

func (s Seen) String() string {
	text := fmt.Sprintf("%s %s %s: %d", s.Service, s.Method, s.URL, s.Status)
	if s.Fault != None {
		text += " (" + s.Fault.String() + ")"
	}
	return text
}

// Faults stands in front of remotes. The zero value lets everything pass. It may be used concurrently.
type Faults struct {
	// Rule says what happens to the n-th request of all, counted from 1; nil lets it pass.
	Rule func(n int, service string, r *http.Request) Fault
	// Kill ends the process under test.
	Kill func()

	mu   sync.Mutex
	seen []Seen
}

// Serve serves a remote behind the faults until the test ends and returns its URL.
func (f *Faults) Serve(t testing.TB, service string, remote http.Handler) string {
	t.Helper()
	s := httptest.NewServer(f.Wrap(service, remote))
	t.Cleanup(s.Close)
	return s.URL
}

// Set changes the rule while requests may be under way.
func (f *Faults) Set(rule func(n int, service string, r *http.Request) Fault) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.Rule = rule
}

// Wrap puts the faults in front of a remote.
func (f *Faults) Wrap(service string, remote http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		f.mu.Lock()
		f.seen = append(f.seen, Seen{Service: service, Method: r.Method, URL: r.URL.RequestURI()})
		n, rule := len(f.seen), f.Rule
		f.mu.Unlock()
		fault := None
		if rule != nil {
			fault = rule(n, service, r)
		}
		status := 0
		defer func() { // even when the connection is ended by a panic
			f.mu.Lock()
			defer f.mu.Unlock()
			if n <= len(f.seen) { // not forgotten meanwhile
				f.seen[n-1].Status, f.seen[n-1].Fault = status, fault
			}
		}()
		status = f.answer(fault, w, r, remote)
	})
}

func (f *Faults) answer(fault Fault, w http.ResponseWriter, r *http.Request, remote http.Handler) int {
	obey := func() *httptest.ResponseRecorder {
		rec := httptest.NewRecorder()
		remote.ServeHTTP(rec, r)
		return rec
	}
	instead := func(status int) int {
		http.Error(w, http.StatusText(status), status)
		return status
	}
	switch fault {
	case Kill:
		f.Kill()
		hangUp()
	case KillAfter:
		obey()
		f.Kill()
		hangUp()
	case BadGateway:
		return instead(http.StatusBadGateway)
	case BadAfter:
		obey()
		return instead(http.StatusBadGateway)
	case TooMany:
		w.Header().Set("Retry-After", "1")
		return instead(http.StatusTooManyRequests)
	case Unavailable:
		return instead(http.StatusServiceUnavailable)
	case Unauthorized:
		return instead(http.StatusUnauthorized)
	case Reset:
		hangUp()
	case Lost:
		obey()
		hangUp()
	case Cut:
		rec := obey()
		for name, values := range rec.Header() {
			w.Header()[name] = values
		}
		body := rec.Body.Bytes()
		w.Header().Set("Content-Length", fmt.Sprint(len(body)+1))
		w.WriteHeader(rec.Code)
		_, _ = w.Write(body[:len(body)/2])
		hangUp()
	default:
		rec := &statusRecorder{ResponseWriter: w, status: http.StatusOK}
		remote.ServeHTTP(rec, r)
		return rec.status
	}
	return 0
}

// hangUp ends the connection without an answer.
func hangUp() {
	panic(http.ErrAbortHandler)
}

type statusRecorder struct {
	http.ResponseWriter
	status int
}

func (s *statusRecorder) WriteHeader(status int) {
	s.status = status
	s.ResponseWriter.WriteHeader(status)
}

func (s *statusRecorder) Unwrap() http.ResponseWriter { return s.ResponseWriter }

// Seen are the requests so far.
func (f *Faults) Seen() []Seen {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]Seen(nil), f.seen...)
}

// Forget forgets the requests so far, so that the next one is the first.
func (f *Faults) Forget() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.seen = nil
}

// Nth is a rule that does something to the n-th request alone.
func Nth(n int, fault Fault) func(int, string, *http.Request) Fault {
	return func(i int, _ string, _ *http.Request) Fault {
		if i == n {
			return fault
		}
		return None
	}
}

// Changes are the requests that change something, going by their methods, each with its URL.
func Changes(seen []Seen) []string {
	var out []string
	for _, s := range seen {
		if s.Changes() {
			out = append(out, s.Method+" "+s.URL)
		}
	}
	return out
}
