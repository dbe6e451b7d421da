package snapstore

import (
	"bytes"
	"cmp"
	"context"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/slipway-build/slipway/pipeline/internal/bounded"
	"github.com/slipway-build/slipway/pipeline/internal/canonjson"
	"github.com/slipway-build/slipway/pipeline/publish/wire"
	"github.com/slipway-build/slipway/pipeline/release/artifact"
	"github.com/slipway-build/slipway/pipeline/release/fault"
)

// The paths of what changes something.
const (
	uploadPath  = "/unscanned-upload/"
	pushPath    = "/dev/api/snap-push/"
	releasePath = "/dev/api/snap-release/"
)

// series is that of all snaps, from before there were bases.
const series = "16"

// Bounds of what is read.
const (
	maxAnswer = 16 << 20 // bytes
	maxPages  = 200
)

// number is a whole number, which the store writes as one or as a string. null is 0.
type number int64

func (n *number) UnmarshalJSON(b []byte) error {
	s := strings.Trim(string(b), `"`)
	if s == "null" || s == "" {
		*n = 0
		return nil
	}
	v, err := strconv.ParseInt(s, 10, 64)
	if err != nil || v < 0 {
		return fmt.Errorf("%.40q is not a number", s)
	}
	*n = number(v)
	return nil
}

// revision is a revision of a snap.
type revision struct {
	Revision      number   `json:"revision"`
	Version       string   `json:"version"`
	Architectures []string `json:"architectures"`
	Hash          string   `json:"sha3-384"`
	Size          int64    `json:"size"` // in bytes
	Status        string   `json:"status"`
}

// hash is the SHA3-384 of a revision in hexadecimal, as the store lists it; assertions have it in base64.
func (r *revision) hash() (string, bool) {
	const size = 384 / 8
	if b, err := hex.DecodeString(r.Hash); err == nil && len(b) == size {
		return hex.EncodeToString(b), true
	}
	if b, err := base64.RawURLEncoding.DecodeString(r.Hash); err == nil && len(b) == size {
		return hex.EncodeToString(b), true
	}
	return "", false
}

// rejected reports whether the store's review refused the revision.
func (r *revision) rejected() bool {
	return slices.Contains([]string{"AutomaticallyRejected", "Rejected"}, r.Status)
}

// inReview reports whether the store's review is not done with the revision.
func (r *revision) inReview() bool {
	return slices.Contains([]string{"ManualReviewPending", "NeedsInformation", "ReviewInProgress", "ReviewQueued"}, r.Status)
}

// mapped is what a channel has for an architecture. Where a release is progressive there are two of them.
type mapped struct {
	Channel      string `json:"channel"`
	Architecture string `json:"architecture"`
	Revision     number `json:"revision"`
}

// view is what the store has of a snap.
type view struct {
	revisions []revision
	channels  []mapped
	history   []mapped // what was released to channels, the newest first
}

// revision is the one of the number; one with the number alone where the store does not tell of it.
func (v *view) revision(n int64) revision {
	for _, r := range v.revisions {
		if int64(r.Revision) == n {
			return r
		}
	}
	return revision{Revision: number(n)}
}

// page is a page of the revisions
// (https://dashboard.snapcraft.io/docs/reference/v2/en/snaps.html#snap-releases).
type page struct {
	Revisions []revision `json:"revisions"`
	Releases  []mapped   `json:"releases"`
	Links     struct {
		Next json.RawMessage `json:"next"`
	} `json:"_links"`
}

// next is the URL of the page after it; "" for none.
func (p *page) next() string {
	var s string
	if json.Unmarshal(p.Links.Next, &s) == nil {
		return s
	}
	var link struct {
		Href string `json:"href"`
	}
	_ = json.Unmarshal(p.Links.Next, &link) // none is none
	return link.Href
}

// view reads the revisions and the channels of a snap.
func (d *Destination) view(ctx context.Context, name string) (*view, error) {
	v := &view{}
	known := map[number]bool{}
	add := func(all []revision) {
		for _, r := range all {
			if !known[r.Revision] {
				known[r.Revision] = true
				v.revisions = append(v.revisions, r)
			}
		}
	}
	root := d.o.Store + "/api/v2/snaps/" + name
	at := root + "/releases"
	for n := 1; at != ""; n++ {
		if n > maxPages {
			return nil, fault.Errorf(fault.Transient, "the store lists the revisions on more than %d pages", maxPages)
		}
		var p page
		if err := d.ask(ctx, http.MethodGet, at, nil, &p, http.StatusOK); err != nil {
			if wire.StatusOf(err) == http.StatusNotFound {
				err = fmt.Errorf("%w; register the name with snapcraft register %s, or give credentials that may see it", err, name)
			}
			return nil, err
		}
		add(p.Revisions)
		v.history = append(v.history, p.Releases...)
		if at = p.next(); at != "" && !strings.HasPrefix(at, root+"/releases?") {
			return nil, fault.Errorf(fault.Transient, "the store says that its next page is elsewhere")
		}
	}
	// https://dashboard.snapcraft.io/docs/reference/v2/en/snaps.html#snap-channel-map
	var m struct {
		Channels  []mapped   `json:"channel-map"`
		Revisions []revision `json:"revisions"`
	}
	if err := d.ask(ctx, http.MethodGet, root+"/channel-map", nil, &m, http.StatusOK); err != nil {
		return nil, err
	}
	add(m.Revisions)
	v.channels = m.Channels
	return v, nil
}

// may asks whether the credentials may upload the snap, as snapcraft does before it does.
func (d *Destination) may(ctx context.Context, name string) error {
	request := map[string]any{"name": name, "dry_run": true}
	if err := d.ask(wire.Reading(ctx), http.MethodPost, d.o.Store+pushPath, request, nil, http.StatusOK, http.StatusAccepted); err != nil {
		return fmt.Errorf("asking to upload the snap %s: %w", name, err)
	}
	return nil
}

// send uploads the bytes and returns the name that the upload has. The host of uploads asks for no credentials.
func (d *Destination) send(ctx context.Context, s *snap) (string, error) {
	// No bytes of a snap contain its own digest.
	form := wire.Form{
		Field: "binary", Name: path.Base(s.Path), Path: d.o.Release.Path(s.Path), Size: s.file.Size, Boundary: "slipway-" + s.file.Digest.Hex()[:48],
	}
	req, err := form.Request(ctx, http.MethodPost, d.o.Upload+uploadPath)
	if err != nil {
		return "", err
	}
	req.Header.Set("Accept", "application/json")
	res, err := d.api.Do(req)
	if err != nil {
		return "", wire.Fault(err)
	}
	var answer struct {
		Successful bool            `json:"successful"`
		ID         json.RawMessage `json:"upload_id"`
	}
	if err := decode(res, &answer, http.StatusOK, http.StatusCreated); err != nil {
		return "", err
	}
	id := strings.Trim(string(answer.ID), `"`)
	if !answer.Successful || id == "" || len(id) > 200 || strings.ContainsAny(id, "\\\"{[ ") {
		return "", fault.Errorf(fault.Transient, "the host of uploads does not say that it has the bytes")
	}
	return id, nil
}

// push makes an upload one of the snap, without a channel, and returns the URL of how it goes on.
func (d *Destination) push(ctx context.Context, s *snap, upload string) (string, error) {
	request := map[string]any{
		"name": s.Name, "series": series, "updown_id": upload, "binary_filesize": s.file.Size, "source_uploaded": false,
	}
	var answer struct {
		Status string `json:"status_details_url"`
	}
	if err := d.ask(ctx, http.MethodPost, d.o.Store+pushPath, request, &answer, http.StatusOK, http.StatusAccepted); err != nil {
		return "", err
	}
	if d.o.Transport.DryRun() {
		return "", nil
	}
	if !strings.HasPrefix(answer.Status, d.o.Store+"/") {
		return "", fault.Errorf(fault.Transient, "the store does not say where to ask how the upload goes on")
	}
	return answer.Status, nil
}

// wait returns when the store has looked through an upload. It reports whether the store had the bytes before; what its
// review says against them is Policy.
func (d *Destination) wait(ctx context.Context, at string) (taken bool, err error) {
	var waited time.Duration
	for pause := firstPause; ; pause = min(pause*3/2, maxPause) {
		var status struct {
			Processed bool   `json:"processed"`
			Code      string `json:"code"`
			Errors    []struct {
				Message string `json:"message"`
			} `json:"errors"`
		}
		if err := d.ask(ctx, http.MethodGet, at, nil, &status, http.StatusOK); err != nil {
			return false, fmt.Errorf("asking how the upload goes on: %w", err)
		}
		if status.Processed {
			var messages []string
			for _, e := range status.Errors {
				if strings.Contains(e.Message, "already been uploaded") {
					return true, nil
				}
				messages = append(messages, wire.Message([]byte(e.Message)))
			}
			if len(messages) > 0 {
				return false, fault.Errorf(fault.Policy, "the store does not take the snap: %s", strings.Join(messages, "; "))
			}
			return false, nil
		}
		if waited >= d.o.Wait {
			return false, fault.Errorf(fault.Transient, "the store did not finish checking the upload within %s; run the same command again later", d.o.Wait)
		}
		if err := d.o.Sleep(ctx, pause); err != nil {
			return false, err
		}
		waited += pause
	}
}

// release gives a revision to channels
// (https://dashboard.snapcraft.io/docs/reference/v1/snap.html#release-a-snap-build-to-a-channel).
func (d *Destination) release(ctx context.Context, name string, revision int64, channels []string) error {
	request := map[string]any{"name": name, "revision": strconv.FormatInt(revision, 10), "channels": channels}
	return d.ask(ctx, http.MethodPost, d.o.Store+releasePath, request, nil, http.StatusOK, http.StatusCreated, http.StatusAccepted)
}

// download is the digest of a released revision as machines get it, to whom no credentials are shown; "" where the
// public listing has it not (https://api.snapcraft.io/docs/info.html).
func (d *Destination) download(ctx context.Context, s *snap, revision int64) (artifact.Digest, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, d.o.Public+"/v2/snaps/info/"+s.Name+"?fields=download,revision", nil)
	if err != nil {
		return "", err
	}
	req.Header.Set("Snap-Device-Series", series)
	client := d.o.Transport.Client()
	res, err := client.Do(req)
	if err != nil {
		return "", wire.Fault(err)
	}
	if res.StatusCode == http.StatusNotFound {
		res.Body.Close()
		return "", nil
	}
	var info struct {
		Channels []struct {
			Channel struct {
				Architecture string `json:"architecture"`
			} `json:"channel"`
			Revision number `json:"revision"`
			Download struct {
				URL string `json:"url"`
			} `json:"download"`
		} `json:"channel-map"`
	}
	if err := decode(res, &info, http.StatusOK); err != nil {
		return "", err
	}
	for _, c := range info.Channels {
		if c.Channel.Architecture != s.Architecture || int64(c.Revision) != revision {
			continue
		}
		u, err := url.Parse(c.Download.URL)
		if err != nil || !trusted(u) {
			return "", fault.Errorf(fault.Transient, "the public listing names a download that is not https")
		}
		if req, err = http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil); err != nil {
			return "", err
		}
		if res, err = client.Do(req); err != nil {
			return "", wire.Fault(err)
		}
		if err := wire.Expect(res, http.StatusOK); err != nil {
			return "", err
		}
		defer res.Body.Close()
		m := artifact.NewMeter(io.Discard)
		if _, err := io.Copy(m, io.LimitReader(res.Body, s.file.Size+1)); err != nil {
			return "", wire.Fault(err)
		}
		return m.Digest(), nil
	}
	return "", nil
}

// ask makes a request of the store in JSON, and reads the answer into out unless that is nil. Where the credentials went
// stale they are renewed, and the request is made again: with a 401 it was not obeyed.
func (d *Destination) ask(ctx context.Context, method, at string, in, out any, want ...int) error {
	var body []byte
	if in != nil {
		var err error
		if body, err = json.Marshal(in); err != nil {
			return err
		}
	}
	if d.login == nil {
		l, err := parseLogin(d.credentials())
		if err != nil {
			return err
		}
		d.login = &l
	}
	for renewed := false; ; renewed = true {
		res, err := d.json(ctx, method, at, body, d.login.header)
		if err != nil {
			return err
		}
		if res.StatusCode != http.StatusUnauthorized {
			return decode(res, out, want...)
		}
		answer, err := wire.ReadAll(res, maxAnswer)
		if err != nil {
			return err
		}
		if renewed || !stale(answer) {
			res.Body = io.NopCloser(bytes.NewReader(answer))
			return fmt.Errorf("%w; give credentials that snapcraft export-login wrote recently", decode(res, nil, want...))
		}
		if err := d.renew(ctx); err != nil {
			return fmt.Errorf("renewing the credentials of the Snap Store: %w", err)
		}
	}
}

func (d *Destination) credentials() string {
	if d.o.Credentials == nil {
		return ""
	}
	return d.o.Credentials()
}

// stale reports whether a 401 is about a discharge that the login host renews.
func stale(answer []byte) bool {
	type problem struct {
		Code string `json:"code"`
	}
	var known struct {
		Errors []problem `json:"error_list"`
	}
	return json.Unmarshal(answer, &known) == nil &&
		slices.ContainsFunc(known.Errors, func(p problem) bool { return p.Code == "macaroon-needs-refresh" })
}

// renew asks the login host for a discharge in the place of the one that went stale.
func (d *Destination) renew(ctx context.Context) error {
	body, err := json.Marshal(map[string]string{"discharge_macaroon": d.login.discharge})
	if err != nil {
		return err
	}
	res, err := d.json(wire.Reading(ctx), http.MethodPost, d.o.Login+"/api/v2/tokens/refresh", body, "")
	if err != nil {
		return err
	}
	var answer struct {
		Discharge string `json:"discharge_macaroon"`
	}
	if err := decode(res, &answer, http.StatusOK); err != nil {
		return err
	}
	l, err := newLogin(d.login.root, answer.Discharge)
	if err != nil {
		return fault.New(fault.Transient, errors.New("the answer of the login host has no discharge"))
	}
	d.login = &l
	return nil
}

// json makes one request with a body in JSON, or none where it is nil.
func (d *Destination) json(ctx context.Context, method, at string, body []byte, authorization string) (*http.Response, error) {
	var r io.Reader
	if body != nil {
		r = bytes.NewReader(body)
	}
	req, err := http.NewRequestWithContext(ctx, method, at, r)
	if err != nil {
		return nil, err
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	req.Header.Set("Accept", "application/json")
	if authorization != "" {
		req.Header.Set("Authorization", authorization)
	}
	res, err := d.api.Do(req)
	return res, wire.Fault(err)
}

// decode reads an answer in JSON into out, unless that is nil. An answer of another status is an error that says what
// the store says, in its own form of it.
func decode(res *http.Response, out any, want ...int) error {
	if !slices.Contains(want, res.StatusCode) {
		b, _ := bounded.Head(res.Body, 64<<10)
		res.Body.Close()
		var known struct {
			Errors []json.RawMessage `json:"error_list"`
			Other  []json.RawMessage `json:"error-list"`
		}
		if json.Unmarshal(b, &known) == nil && len(known.Errors)+len(known.Other) > 0 {
			if plain, err := json.Marshal(map[string]any{"errors": append(known.Errors, known.Other...)}); err == nil {
				b = plain
			}
		}
		res.Body = io.NopCloser(bytes.NewReader(b))
		return wire.Expect(res, want...)
	}
	b, err := wire.ReadAll(res, maxAnswer)
	if err != nil || out == nil {
		return err
	}
	if err := canonjson.DecodeOpen(b, out); err != nil {
		return fault.New(fault.Transient, fmt.Errorf("reading the answer of %s: %w", cmp.Or(res.Request.URL.Host, "the store"), err))
	}
	return nil
}
