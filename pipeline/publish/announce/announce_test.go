package announce_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/slipway-build/slipway/pipeline/fixture"
	"github.com/slipway-build/slipway/pipeline/fixture/releasetest"
	"github.com/slipway-build/slipway/pipeline/fixture/verifytest"
	"github.com/slipway-build/slipway/pipeline/publish"
	"github.com/slipway-build/slipway/pipeline/publish/announce"
	"github.com/slipway-build/slipway/pipeline/publish/wire"
	"github.com/slipway-build/slipway/pipeline/release/fault"
)

const secretPath = "/services/T0CANARY/B0CANARY/canary%2Ftoken"

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// stand is a webhook behind faults.
type stand struct {
	faults *fixture.Faults
	url    string // of the webhook
	host   string

	mu       sync.Mutex
	messages []string
	headers  []http.Header
}

func newStand(t testing.TB) *stand {
	t.Helper()
	s := &stand{faults: &fixture.Faults{}}
	base := s.faults.Serve(t, "webhook", s)
	s.url, s.host = base+secretPath+"?thread=canary-thread", strings.TrimPrefix(base, "http://")
	return s
}

func (s *stand) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodPost || r.URL.EscapedPath() != secretPath || r.URL.Query().Get("thread") != "canary-thread" || r.Header.Get("Content-Type") != "application/json" {
		http.Error(w, "no_service at "+r.URL.String()+" with canary-thread", http.StatusNotFound)
		return
	}
	b, err := io.ReadAll(r.Body)
	if err != nil || !json.Valid(b) {
		http.Error(w, "invalid_payload", http.StatusBadRequest)
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.messages, s.headers = append(s.messages, string(b)), append(s.headers, r.Header.Clone())
	fmt.Fprint(w, "ok")
}

// State is everything that was posted.
func (s *stand) State() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return strings.Join(s.messages, "")
}

func (s *stand) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.messages)
}

func open(t testing.TB, notes string, version string) publish.Release {
	t.Helper()
	return releasetest.Open(t, verifytest.Options{Version: version, Edit: func(files map[string][]byte) {
		if notes != "" {
			files["notes.md"] = []byte(notes)
		}
	}})
}

type setting struct {
	kind    announce.Kind
	again   bool
	dryRun  func(wire.Request)
	journal *publish.Journal
	links   []announce.Link
	webhook string // another URL
	base    http.RoundTripper
}

func journal(t testing.TB, rel publish.Release) *publish.Journal {
	t.Helper()
	j, err := publish.OpenJournal(rel.Dir, "", rel.Digest, func() time.Time { return time.Unix(0, 0) })
	must(t, err)
	t.Cleanup(func() { _ = j.Close() })
	return j
}

func (s *stand) destination(t testing.TB, rel publish.Release, o setting) *announce.Destination {
	t.Helper()
	if o.kind == "" {
		o.kind = announce.Slack
	}
	webhook := func() string { return s.url }
	if o.webhook != "" {
		webhook = func() string { return o.webhook }
	}
	var recorder wire.Recorder
	if o.journal != nil {
		recorder = o.journal
	}
	d, err := announce.New(announce.Options{
		Release: rel, Kind: o.kind, URL: webhook, Again: o.again, Facts: o.journal, Links: o.links,
		Transport: wire.New(wire.Options{
			Destination: "announcement", Base: announce.Hide(o.base, webhook), Recorder: recorder, DryRun: o.dryRun, Simulate: announce.Simulate,
			Backoff: time.Millisecond, Sleep: func(ctx context.Context, _ time.Duration) error { return ctx.Err() },
		}),
	})
	must(t, err)
	return d
}

func (s *stand) publish(ctx context.Context, t testing.TB, rel publish.Release, o setting) (publish.Result, error) {
	t.Helper()
	return publish.Run(ctx, []publish.Target{{Name: "announcement", Wave: publish.Announcements, Destination: s.destination(t, rel, o)}}, publish.Options{
		DryRun: o.dryRun != nil,
		Pause:  func(ctx context.Context, _ int) error { return ctx.Err() },
	})
}

func TestAnnounce(t *testing.T) {
	for _, kind := range []announce.Kind{announce.Slack, announce.Discord, announce.Generic} {
		rel := open(t, "", "1.2.3")
		s := newStand(t)
		j := journal(t, rel)
		var told []string
		_, err := s.publish(t.Context(), t, rel, setting{kind: kind, journal: j, dryRun: func(r wire.Request) { told = append(told, r.Method+" "+r.URL) }})
		must(t, err)
		want := "POST http://" + s.host + "/"
		if len(told) != 1 || strings.TrimSuffix(told[0], "?wait=...") != want || s.count() != 0 || j.Fact("announce "+string(kind)) != "" {
			t.Errorf("%s: a dry run tells of %q and sends %d, and notes %q", kind, told, s.count(), j.Fact("announce "+string(kind)))
		}
		result, err := s.publish(t.Context(), t, rel, setting{kind: kind, journal: j})
		must(t, err)
		if it := result.Outcomes[0].Items[0]; it.State != publish.Same || it.Phase != publish.Flip || s.count() != 1 {
			t.Errorf("%s: %+v after %d messages", kind, it, s.count())
		}
		must(t, j.Close())
		j = journal(t, rel) // another process
		result, err = s.publish(t.Context(), t, rel, setting{kind: kind, journal: j})
		if err != nil || result.Changed || s.count() != 1 {
			t.Errorf("%s a second time: changed %v, %v, %d messages", kind, result.Changed, err, s.count())
		}
		result, err = s.publish(t.Context(), t, rel, setting{kind: kind, journal: j, again: true})
		if err != nil || result.Outcomes[0].Items[0].State != publish.Same || s.count() != 2 || s.messages[0] != s.messages[1] {
			t.Errorf("%s again: %v, %v", kind, err, s.messages)
		}
	}
}

func TestGeneric(t *testing.T) {
	rel := open(t, "", "1.2.3-rc.1")
	s := newStand(t)
	_, err := s.publish(t.Context(), t, rel, setting{kind: announce.Generic, journal: journal(t, rel), links: []announce.Link{{Name: "Release", URL: "https://example.com/r"}}})
	must(t, err)
	m := rel.Manifest
	want := `{"schema":"slipway.announcement/v1","name":"hello","version":"1.2.3-rc.1","tag":"v1.2.3-rc.1","commit":"` + m.Commit +
		`","repository":"https://example.com/hello","prerelease":true,"time":"2026-03-14T15:09:26Z","digest":"` + string(rel.Digest) +
		`","notes":"• A greeting.","urls":[{"name":"Release","url":"https://example.com/r"}]}` + "\n"
	if s.messages[0] != want {
		t.Errorf("it is\n%s\nwant\n%s", s.messages[0], want)
	}
	if got := s.headers[0].Get("Idempotency-Key"); got != `"`+string(rel.Digest)+`"` {
		t.Errorf("its key is %s", got)
	}
}

// Nothing in notes mentions anybody, ends a link or turns text around.
func TestEscaped(t *testing.T) {
	const notes = "# 1.2.3\n\n<!channel> @everyone <@U123> [x](https://evil.example.com) *bold* `code` \u202eesrever & |\n\nmore\n"
	rel := open(t, notes, "1.2.3")
	links := []announce.Link{{Name: "a|b>c](d @here", URL: "https://example.com/a|b>c)d&e"}}
	for kind, want := range map[announce.Kind]string{
		announce.Slack: `{"blocks":[{"text":{"text":"*hello 1.2.3* is released.","type":"mrkdwn"},"type":"section"},` +
			`{"text":{"text":"&lt;!channel&gt; @everyone &lt;@U123&gt; [x](https://evil.example.com) *bold* ` + "`code`" + ` esrever &amp; |","type":"plain_text"},"type":"section"},` +
			`{"text":{"text":"<https://example.com/a%7Cb%3Ec)d&amp;e|a/b&gt;c](d @here>","type":"mrkdwn"},"type":"section"}],` +
			`"text":"hello 1.2.3 is released.","unfurl_links":false,"unfurl_media":false}` + "\n",
		announce.Discord: `{"allowed_mentions":{"parse":[]},"content":"**hello 1.2.3** is released.\n` +
			`\\<!channel\\> \\@everyone \\<\\@U123\\> \\[x\\]\\(https\\://evil.example.com\\) \\*bold\\* \\` + "`code\\\\`" + ` esrever & \\|\n` +
			`[a\\|b\\>c\\]\\(d \\@here](<https://example.com/a|b%3Ec%29d&e>)"}` + "\n",
	} {
		s := newStand(t)
		_, err := s.publish(t.Context(), t, rel, setting{kind: kind, journal: journal(t, open(t, notes, "1.2.3")), links: links})
		must(t, err)
		if s.messages[0] != want {
			t.Errorf("%s: it is\n%s\nwant\n%s", kind, s.messages[0], want)
		}
	}
}

// Whatever happens to the one request, nothing is posted twice; and where the webhook certainly took nothing, the next
// run posts it.
func TestEveryFault(t *testing.T) {
	for f, want := range map[fixture.Fault]struct {
		posted int // after the first run
		then   int // after the second
	}{
		fixture.None:         {1, 1},
		fixture.Kill:         {0, 0},
		fixture.KillAfter:    {1, 1},
		fixture.BadGateway:   {0, 0},
		fixture.BadAfter:     {1, 1},
		fixture.TooMany:      {1, 1}, // it was sent again at once
		fixture.Unavailable:  {0, 0},
		fixture.Reset:        {0, 0},
		fixture.Lost:         {1, 1},
		fixture.Cut:          {1, 1},
		fixture.Unauthorized: {0, 1},
	} {
		rel := open(t, "", "1.2.3")
		s := newStand(t)
		j := journal(t, rel)
		ctx, cancel := context.WithCancel(t.Context())
		s.faults.Kill, s.faults.Rule = cancel, fixture.Nth(1, f)
		_, err := s.publish(ctx, t, rel, setting{journal: j})
		cancel()
		if f == fixture.Unauthorized && fault.CodeOf(err) != fault.Credentials {
			t.Errorf("%s: %v", f, err)
		}
		if s.count() != want.posted {
			t.Errorf("%s: %d messages, want %d: %v", f, s.count(), want.posted, err)
		}
		must(t, j.Close())
		result, err := s.publish(t.Context(), t, rel, setting{journal: journal(t, rel)})
		if err != nil || s.count() != want.then {
			t.Errorf("%s, and again: %d messages, want %d: %v", f, s.count(), want.then, err)
		}
		it := result.Outcomes[0].Items[0]
		seen := f == fixture.None || f == fixture.TooMany || f == fixture.Unauthorized
		if seen != (it.State == publish.Same) || !seen && (it.State != publish.Kept || !strings.Contains(it.Detail, "perhaps arrived")) {
			t.Errorf("%s, and again: it is %s: %s", f, it.State, it.Detail)
		}
	}
}

// A process that ends between the note and the message sends nothing, and the next one does not either.
func TestKilledBeforeSending(t *testing.T) {
	rel := open(t, "", "1.2.3")
	s := newStand(t)
	j := journal(t, rel)
	must(t, j.SetFact("announce slack", "sending"))
	result, err := s.publish(t.Context(), t, rel, setting{journal: j})
	if it := result.Outcomes[0].Items[0]; err != nil || it.State != publish.Kept || !strings.Contains(it.Detail, "announce again") || s.count() != 0 {
		t.Errorf("%+v %v", it, err)
	}
	if _, err := s.publish(t.Context(), t, rel, setting{journal: j, again: true}); err != nil || s.count() != 1 {
		t.Errorf("again: %v, %d messages", err, s.count())
	}
}

// A webhook that nobody listens to took nothing.
func TestDown(t *testing.T) {
	rel := open(t, "", "1.2.3")
	gone := httptest.NewServer(http.NotFoundHandler())
	gone.Close()
	s := newStand(t)
	j := journal(t, rel)
	_, err := s.publish(t.Context(), t, rel, setting{journal: j, webhook: gone.URL + secretPath})
	if fault.CodeOf(err) != fault.Transient || j.Fact("announce slack") != "" {
		t.Errorf("code %d: %v", fault.CodeOf(err), err)
	}
	if _, err := s.publish(t.Context(), t, rel, setting{journal: j}); err != nil || s.count() != 1 {
		t.Errorf("and again: %v", err)
	}
}

type facts struct{ err error }

func (f facts) Fact(string) string           { return "" }
func (f facts) SetFact(string, string) error { return f.err }

// What cannot be noted is not sent.
func TestNoJournal(t *testing.T) {
	rel := open(t, "", "1.2.3")
	s := newStand(t)
	url := func() string { return s.url }
	d, err := announce.New(announce.Options{
		Release: rel, Kind: announce.Slack, URL: url, Facts: facts{errors.New("disk full")},
		Transport: wire.New(wire.Options{Base: announce.Hide(nil, url)}),
	})
	must(t, err)
	if err := d.Flip(t.Context()); err == nil || s.count() != 0 {
		t.Errorf("it was sent: %v", err)
	}
}

func TestRefused(t *testing.T) {
	rel := open(t, "", "1.2.3")
	s := newStand(t)
	for name, webhook := range map[string]string{
		"no URL": " ", "not one": "://canary", "no host": "https:///canary", "not encrypted": "http://hooks.example.com/canary", "another scheme": "ftp://127.0.0.1/canary",
		"a user": "https://canary:canary@hooks.example.com/canary", "not a URL": "https://hooks.example.com/%zzcanary",
	} {
		for step, f := range map[string]func(*announce.Destination) error{
			"look": func(d *announce.Destination) error { _, err := d.Look(t.Context(), publish.Listed); return err },
			"flip": func(d *announce.Destination) error { return d.Flip(t.Context()) },
		} {
			err := f(s.destination(t, rel, setting{journal: journal(t, rel), webhook: webhook}))
			if fault.CodeOf(err) != fault.Credentials || strings.Contains(err.Error(), "canary") {
				t.Errorf("%s, %s: code %d: %v", name, step, fault.CodeOf(err), err)
			}
		}
	}
	url := func() string { return s.url }
	for name, o := range map[string]announce.Options{
		"a kind":        {Kind: "irc", URL: url},
		"a link":        {Kind: announce.Slack, URL: url, Links: []announce.Link{{URL: "javascript:alert(1)"}}},
		"a link's user": {Kind: announce.Slack, URL: url, Links: []announce.Link{{URL: "https://a:b@example.com"}}},
	} {
		o.Facts = facts{}
		if _, err := announce.New(o); fault.CodeOf(err) != fault.Usage {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := announce.New(announce.Options{Kind: announce.Slack}); err == nil {
		t.Error("no URL and no journal")
	}
	// A transport without the webhook behind it reaches the host, and nothing there.
	d, err := announce.New(announce.Options{Release: rel, Kind: announce.Slack, URL: url, Facts: journal(t, rel), Transport: wire.New(wire.Options{})})
	must(t, err)
	if err := d.Flip(t.Context()); fault.CodeOf(err) != fault.Usage || s.count() != 0 {
		t.Errorf("without Hide: %v", err)
	}
}

type failing struct{ err error }

func (f failing) RoundTrip(r *http.Request) (*http.Response, error) {
	return nil, fmt.Errorf("%s: %w", r.URL, f.err)
}

// Of the webhook's URL no error, no line of the journal, no line of a dry run and no item has more than the host, even
// where the remote repeats it.
func TestCanary(t *testing.T) {
	rel := open(t, "", "1.2.3")
	var lines []string
	add := func(values ...any) { lines = append(lines, fmt.Sprint(values...)) }
	tell := func(r wire.Request) { add(fmt.Sprintf("%+v", r), r.String()) }
	for _, kind := range []announce.Kind{announce.Slack, announce.Discord, announce.Generic} {
		s := newStand(t)
		j := journal(t, rel)
		for _, o := range []setting{
			{dryRun: tell},
			{},
			{again: true},
			{again: true, webhook: s.url + "-wrong-canary"}, // a 404 that repeats all of it
			{again: true, base: failing{errors.New("no route")}},
			{again: true, base: failing{io.ErrUnexpectedEOF}},
		} {
			o.kind, o.journal = kind, j
			result, err := s.publish(t.Context(), t, rel, o)
			add(err)
			add(fmt.Sprintf("%+v", result))
		}
		d := s.destination(t, rel, setting{kind: kind, journal: j})
		add(fmt.Sprintf("%v %+v %#v", d, d, d))
		for _, f := range []fixture.Fault{fixture.Reset, fixture.BadGateway, fixture.Unauthorized} {
			s.faults.Forget()
			s.faults.Rule = fixture.Nth(1, f)
			result, err := s.publish(t.Context(), t, rel, setting{kind: kind, journal: j, again: true})
			add(err)
			add(fmt.Sprintf("%+v", result))
		}
		must(t, j.Close())
	}
	b, err := os.ReadFile(filepath.Join(rel.Dir, filepath.FromSlash(publish.JournalName)))
	must(t, err)
	lines = append(lines, strings.Split(string(b), "\n")...)
	if len(lines) < 80 || !strings.Contains(string(b), `"method":"POST"`) {
		t.Fatalf("%d lines", len(lines))
	}
	for _, line := range lines {
		if lower := strings.ToLower(line); strings.Contains(lower, "canary") && !strings.Contains(lower, "testcanary") || strings.Contains(line, "/services") {
			t.Errorf("it tells a secret: %s", line)
		}
	}
}

// capture takes every message.
type capture struct{ body []byte }

func (c *capture) RoundTrip(r *http.Request) (*http.Response, error) {
	var err error
	c.body, err = io.ReadAll(r.Body)
	return wire.Answer(http.StatusOK, "ok"), err
}

// Notes make a message of bounded size, whatever is in them.
func FuzzNotes(f *testing.F) {
	for _, s := range []string{
		"## Added\n\n- A greeting.\n", "", "#", "* \n\n", "<!-- x -->\ntext", strings.Repeat("word ", 1000), strings.Repeat("x", 5000), strings.Repeat("*", 3000),
		"\xff\x00\u202e", strings.Repeat("😀<@!>", 400), "a\n===\nb",
	} {
		f.Add(s)
	}
	rel := open(f, "", "1.2.3")
	webhook := func() string { return "https://hooks.example.com/services/x" }
	f.Fuzz(func(t *testing.T, notes string) {
		must(t, os.WriteFile(rel.Path(rel.Manifest.Notes), []byte(notes), 0o644))
		for _, kind := range []announce.Kind{announce.Slack, announce.Discord, announce.Generic} {
			var taken capture
			d, err := announce.New(announce.Options{
				Release: rel, Kind: kind, URL: webhook, Facts: facts{}, Again: true,
				Links:     []announce.Link{{Name: notes, URL: "https://example.com/" + strings.Repeat("a", 3000)}, {Name: notes, URL: "https://example.com/"}},
				Transport: wire.New(wire.Options{Base: announce.Hide(&taken, webhook)}),
			})
			must(t, err)
			must(t, d.Flip(t.Context()))
			var content struct {
				Content string
				Notes   string
				Blocks  []struct{ Text struct{ Type, Text string } }
			}
			must(t, json.Unmarshal(taken.body, &content))
			texts := []string{content.Content, content.Notes}
			for _, b := range content.Blocks {
				texts = append(texts, b.Text.Text)
				if b.Text.Text == "" || utf8.RuneCountInString(b.Text.Text) > 3000 {
					t.Errorf("a block of %d characters", utf8.RuneCountInString(b.Text.Text))
				}
			}
			if n := len(utf16.Encode([]rune(content.Content))); n > 2000 || utf8.RuneCountInString(content.Notes) > 500 {
				t.Errorf("%d units, %d characters of notes", n, utf8.RuneCountInString(content.Notes))
			}
			for _, text := range texts {
				if strings.ContainsFunc(text, func(r rune) bool { return r != '\n' && (unicode.IsControl(r) || unicode.Is(unicode.Cf, r)) }) {
					t.Errorf("it has characters that nobody sees: %q", text)
				}
				if kind == announce.Slack && strings.Contains(text, "<!") || kind == announce.Slack && strings.Contains(text, "<@") {
					t.Errorf("it mentions somebody: %q", text)
				}
			}
		}
	})
}

var _ announce.Facts = (*publish.Journal)(nil)
