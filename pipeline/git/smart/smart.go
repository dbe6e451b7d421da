// Package smart speaks to a git repository over HTTP as git does, for small things: what its refs are at, objects that are new
// since, and pushes. A git that does one of them is four processes on this machine.
//
// It does not do all that git does. An address is spoken to as it is, with the user and the password that are in it, or that the caller names;
// redirects are not followed. Whatever is not as expected is an error, of which it is not known whether a push has arrived: then have git
// do the same, which knows more ways, and says in its own words what keeps it from it.
package smart

import (
	"bufio"
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
	"sync/atomic"
	"time"

	"github.com/slipway-build/slipway/pipeline/git"
	"github.com/slipway-build/slipway/pipeline/git/packet"
	"github.com/slipway-build/slipway/pipeline/internal/web"
)

const (
	maxRefs  = 16 << 20 // bytes of an answer that names refs, or says what became of them
	maxPack  = 32 << 20 // bytes of one that has objects
	maxSaid  = 64 << 10 // bytes of what is said to people
	maxName  = 4 << 10  // bytes of the name of a ref, which fits into a packet with all that is said of it
	patience = time.Minute
)

// None is the name of no object.
const None = "0000000000000000000000000000000000000000"

// Said is what a server says of why it does not answer.
type Said string

func (s Said) Error() string { return fmt.Sprintf("the git server says %.300q", string(s)) }

// ErrUnknown says that a server lets in who says who they are, and nobody has.
var ErrUnknown = errors.New("the git server asks who this is")

// client goes where it is told to, and nowhere else: no proxy, no cookies, no redirects.
var client = &http.Client{
	Transport: web.Kept(&http.Transport{
		DialContext:       (&net.Dialer{Timeout: 10 * time.Second}).DialContext,
		ForceAttemptHTTP2: true, TLSHandshakeTimeout: 10 * time.Second, IdleConnTimeout: 30 * time.Second, MaxIdleConnsPerHost: 4,
	}),
	CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
}

// Remote is a repository.
type Remote struct {
	address string
	user    *url.Userinfo
	clock   atomic.Pointer[clock]
}

// clock is what time a server said that it was, and when it said so.
type clock struct{ said, at time.Time }

// Clock is what time it is by the clock of the server, to the second, as far as an answer told.
func (r *Remote) Clock() (now time.Time, known bool) {
	if c := r.clock.Load(); c != nil {
		return c.said.Add(time.Since(c.at)), true
	}
	return time.Time{}, false
}

// New is the repository at a URL. It reports whether that is one which can be spoken to: https, or http on this machine.
func New(remote string) (*Remote, bool) {
	u, err := url.Parse(remote)
	if err != nil || !web.Private(u) || u.RawQuery != "" || u.Fragment != "" {
		return nil, false
	}
	user := u.User
	if _, named := user.Password(); !named {
		user = nil // git asks who knows it
	}
	u.User = nil
	return &Remote{address: strings.TrimSuffix(u.String(), "/"), user: user}, true
}

// As is the repository for a user with a password.
func (r *Remote) As(user, password string) *Remote {
	return &Remote{address: r.address, user: url.UserPassword(user, password)}
}

// Capabilities are what a server can do with a push.
type Capabilities map[string]bool

// Capabilities that a push may need (https://git-scm.com/docs/protocol-capabilities).
const (
	Atomic   = "atomic"
	status   = "report-status"
	sideBand = "side-band-64k"
)

// Refs are the objects of the refs whose names begin with one of the prefixes.
func (r *Remote) Refs(ctx context.Context, prefixes ...string) (refs map[string]string, err error) {
	var ask bytes.Buffer
	// https://git-scm.com/docs/protocol-v2#_ls_refs. No capability is named of which it is not known whether the server has it.
	packet.Line(&ask, "command=ls-refs\n")
	ask.WriteString(packet.Delimiter)
	for _, p := range prefixes {
		packet.Line(&ask, "ref-prefix "+p+"\n")
	}
	ask.WriteString(packet.Flush)
	return refs, r.post(ctx, "git-upload-pack", &ask, maxRefs, func(p packets) (err error) {
		refs, err = readRefs(p)
		return err
	})
}

func readRefs(p packets) (map[string]string, error) {
	refs := map[string]string{}
	for {
		text, mark, err := p.text()
		switch {
		case err != nil:
			return nil, noEOF(err)
		case mark == packet.Flush:
			return refs, nil
		}
		id, name, _ := strings.Cut(text, " ")
		if err := add(refs, name, id); err != nil {
			return nil, err
		}
	}
}

func add(refs map[string]string, name, id string) error {
	// https://git-scm.com/docs/git-check-ref-format
	if len(id) != len(None) || !git.IsObject(id) || name == "" || len(name) > maxName || strings.ContainsAny(name, " \n\x00:^~?*[\\") || strings.Contains(name, "..") {
		return fmt.Errorf("the git server says that %.80q is at %.60q", name, id)
	}
	refs[name] = id
	return nil
}

// Writable is what a push may find: all refs that the server shows to somebody who may push, and what it can do with a push.
func (r *Remote) Writable(ctx context.Context) (refs map[string]string, can Capabilities, err error) {
	return refs, can, r.do(ctx, http.MethodGet, "/info/refs?service=git-receive-pack", "application/x-git-receive-pack-advertisement", nil, maxRefs, func(p packets) (err error) {
		refs, can, err = readWritable(p)
		return err
	})
}

// readWritable reads https://git-scm.com/docs/http-protocol#_smart_server_response.
func readWritable(p packets) (map[string]string, Capabilities, error) {
	if text, _, err := p.text(); err != nil || text != "# service=git-receive-pack" {
		return nil, nil, fmt.Errorf("the answer begins with %.80q, %w", text, cannot(err))
	}
	if _, mark, err := p.text(); err != nil || mark != packet.Flush {
		return nil, nil, cannot(err)
	}
	refs, can := map[string]string{}, Capabilities(nil)
	for {
		text, mark, err := p.text()
		switch {
		case err != nil:
			return nil, nil, noEOF(err)
		case mark == packet.Flush && can != nil:
			return refs, can, nil
		case mark != "":
			return nil, nil, cannot(nil)
		}
		if can == nil {
			var list string
			text, list, _ = strings.Cut(text, "\x00")
			can = Capabilities{}
			for _, c := range strings.Fields(list) {
				can[c] = true
			}
		}
		id, name, _ := strings.Cut(text, " ")
		if strings.HasSuffix(name, "^{}") || name == ".have" || id == "shallow" {
			continue // which are no refs
		}
		if err := add(refs, name, id); err != nil {
			return nil, nil, err
		}
	}
}

// cannot is why an answer cannot be read.
func cannot(err error) error {
	if err != nil {
		return noEOF(err)
	}
	return fmt.Errorf("it is not the answer of a git server")
}

// Fetch is a pack with the objects that are wanted, and all that they need, without what those need that are there already.
// Objects in it may be told by their difference to others in it, and to no others.
func (r *Remote) Fetch(ctx context.Context, want, have []string) (pack []byte, err error) {
	var ask bytes.Buffer
	// https://git-scm.com/docs/protocol-v2#_fetch
	packet.Line(&ask, "command=fetch\n")
	ask.WriteString(packet.Delimiter)
	for _, text := range []string{"no-progress", "ofs-delta"} {
		packet.Line(&ask, text+"\n")
	}
	for _, id := range want {
		packet.Line(&ask, "want "+id+"\n")
	}
	for _, id := range have {
		packet.Line(&ask, "have "+id+"\n")
	}
	packet.Line(&ask, "done\n")
	ask.WriteString(packet.Flush)
	return pack, r.post(ctx, "git-upload-pack", &ask, maxPack, func(p packets) (err error) {
		pack, err = readPack(p)
		return err
	})
}

func readPack(p packets) ([]byte, error) {
	text, _, err := p.text()
	if err != nil {
		return nil, noEOF(err)
	}
	if text != "packfile" {
		return nil, cannot(nil)
	}
	pack, _, err := p.bands()
	return pack, err
}

// Update moves a ref from one object to another, None for none, and only from there.
type Update struct{ Name, From, To string }

// Pushed is what became of a push.
type Pushed struct {
	Refused map[string]string // why, by the names of the refs that did not move
	Said    string            // by the server, to people
}

// Push moves refs, to objects that the server has or that are in the pack. With what the server can do it is all refs or none, and
// without, nil, each by itself.
func (r *Remote) Push(ctx context.Context, updates []Update, pack []byte, can Capabilities) (pushed Pushed, err error) {
	asked := []string{status}
	if can != nil {
		asked = []string{status, sideBand, Atomic}
		for _, c := range asked {
			if !can[c] {
				return Pushed{}, fmt.Errorf("the git server does not support %s", c)
			}
		}
	}
	var ask bytes.Buffer
	// https://git-scm.com/docs/pack-protocol#_pushing_data_to_a_server
	for i, u := range updates {
		text := u.From + " " + u.To + " " + u.Name
		if i == 0 {
			text += "\x00 " + strings.Join(asked, " ")
		}
		packet.Line(&ask, text)
	}
	ask.WriteString(packet.Flush)
	if slices.ContainsFunc(updates, func(u Update) bool { return u.To != None }) {
		ask.Write(pack)
	}
	return pushed, r.post(ctx, "git-receive-pack", &ask, maxRefs, func(p packets) (err error) {
		pushed, err = readPushed(p, updates, can != nil)
		return err
	})
}

func readPushed(p packets, updates []Update, banded bool) (Pushed, error) {
	var pushed Pushed
	if banded {
		data, said, err := p.bands()
		if err != nil {
			return Pushed{}, err
		}
		pushed.Said, p = string(said), reader(bytes.NewReader(data))
	}
	text, _, err := p.text()
	if err != nil {
		return Pushed{}, noEOF(err)
	}
	if text != "unpack ok" {
		return Pushed{}, fmt.Errorf("the git server says %.300q", text)
	}
	became := map[string]string{}
	for {
		text, mark, err := p.text()
		if err != nil {
			return Pushed{}, noEOF(err)
		}
		if mark == packet.Flush {
			break
		}
		what, of, _ := strings.Cut(text, " ")
		name, why, _ := strings.Cut(of, " ")
		switch {
		case what == "ok" && why == "":
		case what == "ng" && why != "":
			if pushed.Refused == nil {
				pushed.Refused = map[string]string{}
			}
			pushed.Refused[name] = why
		default:
			return Pushed{}, fmt.Errorf("the git server says %.300q", text)
		}
		became[name] = what
	}
	for _, u := range updates {
		if became[u.Name] == "" {
			return Pushed{}, fmt.Errorf("the git server does not say what became of %.80q", u.Name)
		}
	}
	return pushed, nil
}

func reader(r io.Reader) packets { return packets{bufio.NewReader(r)} }

// post asks a service of the server.
func (r *Remote) post(ctx context.Context, service string, ask *bytes.Buffer, limit int64, read func(packets) error) error {
	return r.do(ctx, http.MethodPost, "/"+service, "application/x-"+service+"-result", ask, limit, read)
}

func (r *Remote) do(ctx context.Context, method, at, kind string, ask *bytes.Buffer, limit int64, read func(packets) error) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	var body io.Reader
	if ask != nil {
		body = ask
	}
	req, err := http.NewRequestWithContext(ctx, method, r.address+at, body)
	if err != nil {
		return err
	}
	req.Header.Set("User-Agent", "git/slipway") // some hosts let nobody else in
	req.Header.Set("Accept", kind)
	if strings.HasSuffix(at, "/git-upload-pack") {
		req.Header.Set("Git-Protocol", "version=2")
	}
	if ask != nil {
		req.Header.Set("Content-Type", strings.TrimSuffix(kind, "result")+"request")
	}
	if r.user != nil {
		password, _ := r.user.Password()
		req.SetBasicAuth(r.user.Username(), password)
	}
	res, err := client.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if res.StatusCode == http.StatusUnauthorized && r.user == nil {
		return ErrUnknown
	}
	if res.StatusCode != http.StatusOK || res.Header.Get("Content-Type") != kind {
		return fmt.Errorf("the git server answers %s", res.Status)
	}
	if said, err := http.ParseTime(res.Header.Get("Date")); err == nil {
		r.clock.Store(&clock{said, time.Now()})
	}
	limited := &io.LimitedReader{R: res.Body, N: limit + 1}
	if err = read(reader(limited)); limited.N == 0 {
		return fmt.Errorf("the git server answers with more than %d MiB", limit>>20)
	}
	return err
}
