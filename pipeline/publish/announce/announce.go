// Package announce tells people of a release once everything of it is public: in Slack, in Discord, or wherever a
// webhook takes JSON.
//
// No remote reports whether something was posted, so the journal does: it is noted before a message goes out, and again
// when it was taken. Between the two lies a run that saw no answer. Nothing is sent after one, since a lost
// announcement is better than two.
//
// The path of a webhook is its password. The request that others see, with the journal and a dry run among them, has
// the host alone; Hide puts the rest in its place on the other side.
package announce

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/slipway-build/slipway/pipeline/internal/canonjson"
	"github.com/slipway-build/slipway/pipeline/internal/web"
	"github.com/slipway-build/slipway/pipeline/publish"
	"github.com/slipway-build/slipway/pipeline/publish/wire"
	"github.com/slipway-build/slipway/pipeline/release/fault"
)

// Kind is what a webhook takes.
type Kind string

// The kinds of webhooks.
const (
	Slack   Kind = "slack"
	Discord Kind = "discord"
	Generic Kind = "generic" // Announcement as JSON
)

// timeout is how long an announcement may hold up those who wait for the release.
const timeout = 2 * time.Minute

// Facts keep what no remote tells; a publish.Journal does.
type Facts interface {
	Fact(name string) string
	SetFact(name, value string) error
}

// The values of the fact about an announcement. None at all is for one that was never sent, or was refused.
const (
	sending = "sending"
	sent    = "sent"
)

// Link is where people read on.
type Link struct {
	Name string `json:"name"`
	URL  string `json:"url"`
}

// Options say what is announced, and where.
type Options struct {
	Release publish.Release
	// Transport has Hide as its base, with the same URL.
	Transport *wire.Transport
	Kind      Kind
	Name      string // of this announcement, in the journal; the kind for ""
	// URL is the webhook's: a function, into which fmt cannot look when it prints.
	URL   func() string
	Links []Link
	Facts Facts
	// Again sends what was sent, or perhaps was.
	Again bool
}

// Destination is a webhook.
type Destination struct {
	o    Options
	fact string

	mu    sync.Mutex
	again bool
	state string // of the fact, once this run has changed it
	why   string // nobody saw whether it arrived
}

// New checks what can be checked without sending anything.
func New(o Options) (*Destination, error) {
	switch {
	case o.Kind != Slack && o.Kind != Discord && o.Kind != Generic:
		return nil, fault.Errorf(fault.Usage, "%.40q is not a kind of announcement; want %s, %s or %s", o.Kind, Slack, Discord, Generic)
	case o.URL == nil || o.Facts == nil:
		return nil, errors.New("an announcement needs a URL and a journal")
	}
	for _, l := range o.Links {
		u, err := url.Parse(l.URL)
		if err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" || u.User != nil {
			return nil, fault.Errorf(fault.Usage, "link %.40q is not to a page", l.Name)
		}
	}
	if o.Name == "" {
		o.Name = string(o.Kind)
	}
	return &Destination{o: o, fact: "announce " + o.Name, again: o.Again}, nil
}

// target is the webhook's URL. No error has any of it.
func target(raw string) (*url.URL, error) {
	u, err := url.Parse(raw)
	switch {
	case raw == "":
		return nil, fault.Errorf(fault.Credentials, "the webhook's URL is missing")
	case err != nil || u.Host == "" || u.User != nil:
		return nil, fault.Errorf(fault.Credentials, "that is not a webhook URL; copy it again from where you created it")
	case !web.Private(u):
		return nil, fault.Errorf(fault.Credentials, "the webhook's URL is not https; its path is a password")
	}
	return u, nil
}

// Hide is the base of a transport that announces: it sends to the webhook what was addressed to its host. A nil base is
// http.DefaultTransport.
func Hide(base http.RoundTripper, webhook func() string) http.RoundTripper {
	if base == nil {
		base = http.DefaultTransport
	}
	return hider{base, webhook}
}

type hider struct {
	base    http.RoundTripper
	webhook func() string
}

// RoundTrip sends the request, and returns an answer to the one that everybody may see.
func (h hider) RoundTrip(req *http.Request) (*http.Response, error) {
	u, err := target(h.webhook())
	if err == nil && u.Host != req.URL.Host {
		err = fmt.Errorf("%s is not the webhook's host", req.URL.Host)
	}
	if err != nil {
		if req.Body != nil {
			req.Body.Close()
		}
		return nil, err
	}
	out := req.Clone(req.Context())
	query := u.Query()
	for name, values := range req.URL.Query() {
		query[name] = values
	}
	u.RawQuery, u.Fragment = query.Encode(), ""
	out.URL, out.Host = u, ""
	res, err := h.base.RoundTrip(out)
	if res != nil {
		res.Request = req
	}
	return res, err
}

// status is the fact about the announcement.
func (d *Destination) status() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.again {
		return ""
	}
	if d.state != "" {
		return d.state
	}
	return d.o.Facts.Fact(d.fact)
}

func (d *Destination) note(value, why string) error {
	d.mu.Lock()
	d.state, d.why, d.again = value, why, false
	d.mu.Unlock()
	return d.o.Facts.SetFact(d.fact, value)
}

// Look reports whether the announcement was made, going by the journal.
func (d *Destination) Look(ctx context.Context, _ publish.Depth) ([]publish.Item, error) {
	u, err := target(d.o.URL())
	if err != nil {
		return nil, err
	}
	it := publish.Item{Name: d.o.Name + " at " + u.Host, Phase: publish.Flip, State: publish.Missing}
	switch d.status() {
	case sent:
		it.State = publish.Same
	case sending:
		d.mu.Lock()
		why := d.why
		d.mu.Unlock()
		if why == "" {
			why = "an earlier run ended before there was an answer"
		}
		it.State = publish.Kept
		it.Detail = "it was sent and perhaps arrived (" + why + "), so it is not sent twice; look, and announce again if it is not there"
	}
	return []publish.Item{it}, ctx.Err()
}

// Stage does nothing: an announcement is seen at once.
func (d *Destination) Stage(context.Context) error { return nil }

// Flip announces, at most once. After an error that leaves open whether the message arrived, nothing is sent any more.
func (d *Destination) Flip(ctx context.Context) error {
	if d.status() != "" {
		return nil
	}
	req, err := d.request(ctx)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	if err := ctx.Err(); err != nil {
		return err
	}
	if d.o.Transport.DryRun() {
		_, err := d.send(req.WithContext(ctx))
		return err
	}
	if err := d.note(sending, ""); err != nil {
		return err
	}
	arrived, err := d.send(req.WithContext(ctx))
	err = d.clean(err)
	switch {
	case err == nil:
		return d.note(sent, "")
	case arrived:
		return errors.Join(err, d.note(sending, err.Error()))
	}
	return errors.Join(err, d.note("", ""))
}

// request is what others see of the message.
func (d *Destination) request(ctx context.Context) (*http.Request, error) {
	u, err := target(d.o.URL())
	if err != nil {
		return nil, err
	}
	content, err := d.message()
	if err != nil {
		return nil, err
	}
	body, err := canonjson.Encode(content)
	if err != nil {
		return nil, err
	}
	visible := url.URL{Scheme: u.Scheme, Host: u.Host, Path: "/"}
	if d.o.Kind == Discord {
		// Only then does the answer say whether there is a message
		// (https://docs.discord.com/developers/resources/webhook#execute-webhook).
		visible.RawQuery = "wait=true"
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, visible.String(), bytes.NewReader(append(body, '\n')))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	if d.o.Kind == Generic {
		// A receiver that keeps it takes the message once, even where it is announced again
		// (https://datatracker.ietf.org/doc/draft-ietf-httpapi-idempotency-key-header/).
		req.Header.Set("Idempotency-Key", `"`+string(d.o.Release.Digest)+`"`)
	}
	return req, nil
}

// send makes the request. Beside an error it reports whether the message may have arrived all the same.
func (d *Destination) send(req *http.Request) (bool, error) {
	res, err := d.o.Transport.Client().Do(req)
	if err != nil {
		dial, ok := errors.AsType[*net.OpError](err)
		return !ok || dial.Op != "dial", wire.Fault(err)
	}
	defer res.Body.Close()
	if 200 <= res.StatusCode && res.StatusCode < 300 {
		_, _ = io.Copy(io.Discard, io.LimitReader(res.Body, 64<<10)) // so that the connection can be used again
		return true, nil
	}
	unclear := res.StatusCode >= 500 || res.StatusCode == http.StatusRequestTimeout
	return unclear, wire.Expect(res)
}

// clean takes out of an error what a remote repeats of the webhook's URL.
func (d *Destination) clean(err error) error {
	u, parseErr := target(d.o.URL())
	if err == nil || parseErr != nil {
		return err
	}
	secrets := []string{u.Path, u.EscapedPath()}
	for part := range strings.SplitSeq(u.Path, "/") {
		secrets = append(secrets, part, url.PathEscape(part))
	}
	for _, values := range u.Query() {
		for _, v := range values {
			secrets = append(secrets, v, url.QueryEscape(v))
		}
	}
	secrets = slices.DeleteFunc(secrets, func(s string) bool { return len(s) < 6 }) // words, and nothing that is secret
	slices.SortFunc(secrets, func(a, b string) int { return len(b) - len(a) })
	text := err.Error()
	for _, s := range secrets {
		text = strings.ReplaceAll(text, s, "...")
	}
	if text == err.Error() {
		return err
	}
	return fault.New(fault.CodeOf(err), errors.New(text))
}

// Simulate answers what a dry run does not send.
func Simulate(*http.Request) *http.Response { return wire.Answer(http.StatusOK, "ok") }
