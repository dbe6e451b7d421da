package ephemeral

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/slipway-build/slipway/pipeline/internal/bounded"
	"github.com/slipway-build/slipway/pipeline/internal/web"
	"github.com/slipway-build/slipway/pipeline/release/fault"
)

// Bounds of a conversation with a service.
const (
	maxAnswer = 16 << 20 // bytes
	maxSaid   = 300      // bytes of what a service says that get into an error
	attempts  = 5
	maxWait   = time.Minute
)

// client makes requests, more than once where that helps.
type client struct {
	http    *http.Client
	timeout time.Duration
	backoff time.Duration
}

func newClient(o Options) client {
	c := client{timeout: o.Timeout, backoff: o.Backoff}
	if c.timeout == 0 {
		c.timeout = 30 * time.Second
	}
	if c.backoff == 0 {
		c.backoff = time.Second
	}
	if o.Transport == nil {
		o.Transport = http.DefaultTransport
	}
	c.http = &http.Client{
		Transport: o.Transport,
		// A redirect would take the token to another host.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return c
}

// request is one to a service. The secrets are in none of its errors.
type request struct {
	service       string // for people
	method, url   string
	authorization secret
	body          []byte
	media, accept string // types of the body and of the answer; "" is JSON
	secrets       []string
}

// response is an answer that another attempt would not change.
type response struct {
	request request
	status  int
	header  http.Header
	body    []byte
}

// do makes the request, again after a wait where the service is not there or too busy. What never answers is a
// fault.Transient.
func (c client) do(ctx context.Context, r request) (response, error) {
	var last error
	for i := range attempts {
		res, wait, err := c.try(ctx, r)
		if err == nil {
			return res, nil
		}
		if ctx.Err() != nil {
			return response{}, fmt.Errorf("asking the %s: %w", r.service, ctx.Err())
		}
		last = err
		if i == attempts-1 || wait < 0 {
			break
		}
		if wait == 0 {
			wait = c.backoff << i
			wait += rand.N(wait/2 + 1) // so that jobs that begin together do not come back together
		}
		select {
		case <-ctx.Done():
			return response{}, fmt.Errorf("asking the %s: %w", r.service, ctx.Err())
		case <-time.After(wait):
		}
	}
	return response{}, fault.New(fault.Transient, fmt.Errorf("asking the %s at %s: %w; try again later", r.service, host(r.url), last))
}

// never is the wait before an attempt that would not help.
const never = time.Duration(-1)

// try makes one attempt. After an error another may help, after the wait if there is one.
func (c client) try(ctx context.Context, r request) (response, time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, r.method, r.url, bytes.NewReader(r.body))
	if err != nil {
		return response{}, never, errors.New("its URL cannot be read")
	}
	const inJSON = "application/json"
	req.Header.Set("Accept", cmp.Or(r.accept, inJSON))
	if r.body != nil {
		req.Header.Set("Content-Type", cmp.Or(r.media, inJSON))
	}
	if r.authorization != nil {
		req.Header.Set("Authorization", r.authorization())
	}
	res, err := c.http.Do(req)
	if err != nil {
		return response{}, 0, r.cause(err)
	}
	defer res.Body.Close()
	body, err := bounded.Read(res.Body, maxAnswer)
	if bounded.IsTooLarge(err) {
		return response{}, never, fmt.Errorf("it answers with %w", err)
	}
	if err != nil {
		return response{}, 0, r.cause(err)
	}
	out := response{request: r, status: res.StatusCode, header: res.Header, body: body}
	if res.StatusCode == http.StatusTooManyRequests || res.StatusCode == http.StatusRequestTimeout || res.StatusCode >= 500 {
		wait := retryAfter(res.Header.Get("Retry-After"))
		if wait > maxWait {
			return response{}, never, fmt.Errorf("%s, and asks to wait for %s", out.said(), wait.Round(time.Second))
		}
		return response{}, wait, errors.New(out.said())
	}
	return out, 0, nil
}

// cause is the reason of an error of net/http, without the URL, in which a token may stand.
func (r request) cause(err error) error {
	var u *url.Error
	if errors.As(err, &u) {
		err = u.Err
	}
	var timeout net.Error
	if errors.Is(err, context.DeadlineExceeded) || errors.As(err, &timeout) && timeout.Timeout() {
		return errors.New("it does not answer in time")
	}
	return errors.New(r.clean(err.Error()))
}

// retryAfter is how long a service asks to wait, 0 if it does not say
// (https://www.rfc-editor.org/rfc/rfc9110#section-10.2.3).
func retryAfter(s string) time.Duration {
	if n, err := strconv.ParseUint(s, 10, 31); err == nil {
		return time.Duration(n) * time.Second
	}
	if t, err := http.ParseTime(s); err == nil {
		return max(0, time.Until(t))
	}
	return 0
}

// said is the status and what the service says about it.
func (r response) said() string {
	status := fmt.Sprintf("it answers %d %s", r.status, http.StatusText(r.status))
	var v struct {
		Message string `json:"message"`
	}
	if json.Unmarshal(r.body, &v) != nil || v.Message == "" {
		return status
	}
	if v.Message = r.request.clean(v.Message); v.Message == "" {
		return status
	}
	return fmt.Sprintf("%s: %s", status, v.Message)
}

// clean is the beginning of a text of others in one line, or nothing if a part of a secret is in it.
func (r request) clean(s string) string {
	s = s[:min(4*maxSaid, len(s))]
	for _, secret := range r.secrets {
		part := min(len(secret), 12)
		for i := 0; part > 0 && i+part <= len(s); i++ {
			if strings.Contains(secret, s[i:i+part]) {
				return ""
			}
		}
	}
	s = strings.Map(func(c rune) rune {
		if !unicode.IsPrint(c) {
			return ' '
		}
		return c
	}, s)
	return strings.ToValidUTF8(s[:min(maxSaid, len(s))], "")
}

// refused is the error of an answer that is none.
func (r response) refused(code fault.Code, hint string) error {
	return fault.Errorf(code, "asking the %s at %s: %s; %s", r.request.service, host(r.request.url), r.said(), hint)
}

// unreadable is the error of an answer that is not as it should be.
func (r response) unreadable(err error) error {
	return fault.Errorf(fault.Mismatch, "asking the %s at %s: it answers with something else: %s", r.request.service, host(r.request.url), r.request.clean(err.Error()))
}

func host(s string) string {
	u, err := url.Parse(s)
	if err != nil {
		return "an unreadable URL"
	}
	return u.Host
}

// checkURL refuses a URL to which a token would go in the clear. On this machine itself it may.
func checkURL(s string) error {
	u, err := url.Parse(s)
	if err != nil || u.Host == "" || u.User != nil {
		return errors.New("the URL of a service cannot be read, or has a password in it")
	}
	if web.Private(u) {
		return nil
	}
	return fmt.Errorf("the URL of %s does not begin with https://", u.Host)
}
