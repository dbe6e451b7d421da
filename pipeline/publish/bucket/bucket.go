// Package bucket carries a release to an S3-compatible bucket, for those who host their own: below <prefix>/<version>/
// it has the files of a folder of releases; see package folder.
//
// Everything is put on the condition that nothing has its key yet, so that not even two who publish at once replace what
// the other has put. What names all the rest, release.json last, is put when the rest is there: no one finds a release
// that is not whole.
package bucket

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path"
	"slices"
	"strings"
	"sync"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/s3utils"
	"golang.org/x/sync/errgroup"

	"github.com/slipway-build/slipway/pipeline/internal/web"
	"github.com/slipway-build/slipway/pipeline/publish"
	"github.com/slipway-build/slipway/pipeline/publish/wire"
	"github.com/slipway-build/slipway/pipeline/release/artifact"
	"github.com/slipway-build/slipway/pipeline/release/fault"
	"github.com/slipway-build/slipway/pipeline/trust/signature"
)

const (
	// parallel is how many requests are under way at once.
	parallel = 8
	// maxPut is the most that one request puts, in bytes
	// (https://docs.aws.amazon.com/AmazonS3/latest/userguide/qfacts.html).
	maxPut = 5 << 30
	// maxKey is the longest key, in bytes
	// (https://docs.aws.amazon.com/AmazonS3/latest/userguide/object-keys.html).
	maxKey = 1024
	// maxListed bounds what is listed below the release's prefix, in objects.
	maxListed = 200_000
	// forever is how long what is published may be kept: it never changes.
	forever = "public, max-age=31536000, immutable"
	// digestName is the metadata that tells the digest of an object.
	digestName = "sha256"
)

// Options say where a release goes.
type Options struct {
	Release   publish.Release
	Transport *wire.Transport
	Endpoint  string // URL of the service, without the bucket
	Bucket    string
	Prefix    string // of the keys of this project's releases, without slashes around it; "" for none
	Region    string // "" is the one that the endpoint's name tells, else us-east-1, which services without regions take

	// The credentials are functions, into which fmt cannot look when it prints. AccessKey and SecretKey may be nil where
	// everybody may read and nothing is put; SessionToken where there is none.
	AccessKey, SecretKey, SessionToken func() string

	// PublicURL is where people find what is below Prefix. What is staged is read back from there, without credentials;
	// "" reads it back with them, from the endpoint.
	PublicURL string

	// Facts keep, from one run to the next, which entity tags the objects had when their bytes were the right ones; nil
	// keeps nothing. An object with other bytes has another one.
	Facts Facts
}

// Facts are what is noted about the release on this machine.
type Facts interface {
	Fact(name string) string
	SetFact(name, value string) error
}

// service is a bucket, with how it is reached.
type service struct {
	o     Options
	where string // URL of the bucket, for errors
	core  *minio.Core
}

// Destination is where a release goes in a bucket.
type Destination struct {
	service
	base     string // of the keys of the release, ends with a slash
	public   string // URL that base has for people, with a slash; "" for none
	contents publish.Contents

	mu   sync.Mutex
	seen map[string]string // by key, the entity tags of objects that have the right bytes
}

// connect holds the options to what a service takes. Nothing is asked of it yet.
func connect(o Options) (s service, err error) {
	u, err := address(o.Endpoint)
	if err != nil || strings.Trim(u.Path, "/") != "" {
		return s, fault.Errorf(fault.Usage, "endpoint %.80q is not the URL of a service: https, a host, nothing else", redacted(o.Endpoint))
	}
	if u.Scheme != "https" && !web.Loopback(u.Host) {
		return s, fault.Errorf(fault.Usage, "endpoint %s is not https; credentials are not sent where others read them", u.Host)
	}
	if err := s3utils.CheckValidBucketNameStrict(o.Bucket); err != nil {
		return s, fault.Errorf(fault.Usage, "bucket %.80q: %w", o.Bucket, err)
	}
	if o.Prefix != "" {
		if err := artifact.CheckPath(o.Prefix); err != nil {
			return s, fault.Errorf(fault.Usage, "prefix: %w", err)
		}
	}
	s = service{o: o, where: u.Scheme + "://" + u.Host + "/" + o.Bucket}
	s.core, err = minio.NewCore(u.Host, &minio.Options{
		Creds:      s.credentials(),
		Secure:     u.Scheme == "https",
		Transport:  gate{o.Transport},
		Region:     cmp.Or(o.Region, s3utils.GetRegionFromURL(*u), "us-east-1"), // with one, nobody asks for it
		MaxRetries: 1,                                                           // the transport decides what may be made again
	})
	return s, fault.New(fault.Usage, err)
}

// below is a name below the prefix.
func (s service) below(name string) string {
	if s.o.Prefix == "" {
		return name
	}
	return s.o.Prefix + "/" + name
}

// New reads from the release what is put.
func New(o Options) (*Destination, error) {
	s, err := connect(o)
	if err != nil {
		return nil, err
	}
	d := &Destination{service: s, seen: map[string]string{}}
	d.base = s.below(o.Release.Manifest.Version.String() + "/")
	if o.PublicURL != "" {
		if _, err := address(o.PublicURL); err != nil {
			return nil, fault.Errorf(fault.Usage, "public URL %.80q is not one of a folder", redacted(o.PublicURL))
		}
		d.public = strings.TrimSuffix(o.PublicURL, "/") + "/" + s3utils.EncodePath(o.Release.Manifest.Version.String()) + "/"
	}
	if d.contents, err = o.Release.Contents(); err != nil {
		return nil, err
	}
	for _, f := range d.contents.All() {
		switch {
		case f.Size > maxPut:
			return nil, fault.Errorf(fault.Usage, "%s has %d bytes, and one request puts at most %d; host the release in a folder",
				f.Path, f.Size, int64(maxPut))
		case len(d.key(f)) > maxKey:
			return nil, fault.Errorf(fault.Usage, "key %.80q... is longer than %d bytes; choose a shorter prefix", d.key(f), maxKey)
		}
	}
	return d, nil
}

// address reads a URL that has nothing behind its path, and nobody's name in it.
func address(s string) (*url.URL, error) {
	u, err := url.Parse(s)
	if err != nil {
		return nil, err
	}
	if u.Host == "" || u.Scheme != "https" && u.Scheme != "http" || u.RawQuery != "" || u.Fragment != "" || u.User != nil {
		return nil, errors.New("not the URL of a place")
	}
	return u, nil
}

// redacted is a URL of the configuration for an error.
func redacted(s string) string {
	u, err := url.Parse(s)
	if err != nil {
		return ""
	}
	return wire.Redact(u)
}

func (d *Destination) key(f artifact.File) string { return d.base + f.Path }

// url is where people get a file; "" where that is not known.
func (d *Destination) url(f artifact.File) string {
	if d.public == "" {
		return ""
	}
	return d.public + s3utils.EncodePath(f.Path)
}

// object is what is known of an object from a list.
type object struct {
	size int64
	etag string
}

// list tells what is there already, by key.
func (d *Destination) list(ctx context.Context) (map[string]object, error) {
	there := map[string]object{}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	listed := 0
	for o := range d.core.ListObjectsIter(ctx, d.o.Bucket, minio.ListObjectsOptions{Prefix: d.base, Recursive: true}) {
		if o.Err != nil {
			return nil, d.fault(http.MethodGet, "", o.Err)
		}
		if listed++; listed > maxListed {
			return nil, fault.Errorf(fault.Usage, "%s has more than %d objects below %s; choose another prefix", d.where, maxListed, d.base)
		}
		there[o.Key] = object{o.Size, o.ETag}
	}
	return there, ctx.Err() // the list of a canceled one is merely short
}

// Look tells of every file.
func (d *Destination) Look(ctx context.Context, depth publish.Depth) ([]publish.Item, error) {
	there, err := d.list(ctx)
	if err != nil {
		return nil, err
	}
	files := d.contents.All()
	if tags := d.tags(files, there); depth == publish.Listed && tags != "" && d.o.Facts != nil && d.o.Facts.Fact(d.fact()) == tags {
		for _, f := range files {
			d.learn(f, there[d.key(f)].etag)
		}
	}
	items := make([]publish.Item, len(files))
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(parallel)
	for i, f := range files {
		phase := publish.Stage
		if slices.Contains(d.contents.Names, f) {
			phase = publish.Flip
		}
		items[i] = publish.Item{
			Name: d.o.Bucket + "/" + d.key(f), Phase: phase, State: publish.Missing, Digest: f.Digest, Size: f.Size, URL: d.url(f),
		}
		if o, ok := there[d.key(f)]; ok {
			g.Go(func() error { return d.compare(ctx, f, o, depth, &items[i]) })
		}
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	d.keep(files, items)
	if d.o.Facts == nil || slices.ContainsFunc(items, func(it publish.Item) bool { return it.State != publish.Same }) {
		return items, nil
	}
	return items, d.o.Facts.SetFact(d.fact(), d.tags(files, there))
}

func (d *Destination) fact() string { return "objects of " + d.where + " " + d.base }

// tags stand for the sizes and entity tags of all files; "" where one is not there or has none.
func (d *Destination) tags(files []artifact.File, there map[string]object) string {
	m := artifact.NewMeter(io.Discard)
	for _, f := range files {
		o, ok := there[d.key(f)]
		if !ok || o.etag == "" {
			return ""
		}
		fmt.Fprintf(m, "%s %d %s\n", d.key(f), o.size, o.etag)
	}
	return string(m.Digest())
}

// keep leaves signatures alone that are there already. Those of images and charts belong together.
func (d *Destination) keep(files []artifact.File, items []publish.Item) {
	const why = "another signature is there, and what is published is not replaced"
	others := false
	for i, f := range files {
		others = others || f.Path == publish.SignatureIndex && items[i].State == publish.Different
	}
	for i, f := range files {
		if !slices.Contains(d.contents.Signatures, f) {
			continue
		}
		if s := items[i].State; s == publish.Different || others && s == publish.Missing && strings.HasPrefix(f.Path, signature.LayoutDir+"/") {
			items[i].State, items[i].Detail = publish.Kept, why
		}
	}
}

// compare holds an object to what it should be. Its metadata is believed where it says that the bytes are the right
// ones, since reading them back tells otherwise; that they are others is for the bytes to say.
func (d *Destination) compare(ctx context.Context, f artifact.File, o object, depth publish.Depth, it *publish.Item) error {
	if o.size != f.Size {
		it.State, it.Detail = publish.Different, fmt.Sprintf("it has %d bytes and not %d", o.size, f.Size)
		return nil
	}
	if depth == publish.Listed {
		if d.knows(f, o.etag) {
			it.State = publish.Same
			return nil
		}
		sum, err := d.told(ctx, d.key(f))
		if err != nil {
			return err
		}
		if sum == f.Digest {
			it.State = publish.Same
			d.learn(f, o.etag)
			return nil
		}
	}
	read := d.fetch
	if depth == publish.Read && d.public != "" {
		read = d.fetchPublic
	}
	sum, err := read(ctx, f)
	switch {
	case err != nil:
		return err
	case sum == "":
		it.Detail = "it is listed and cannot be fetched"
	case sum == f.Digest:
		it.State = publish.Same
		d.learn(f, o.etag)
	default:
		it.State, it.Detail = publish.Different, "it is "+string(sum)+" and not "+string(f.Digest)
	}
	return nil
}

// knows reports whether an object with the entity tag was found to have the right bytes: it has another one when it has
// others.
func (d *Destination) knows(f artifact.File, etag string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return etag != "" && d.seen[d.key(f)] == etag
}

func (d *Destination) learn(f artifact.File, etag string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.seen[d.key(f)] = etag
}

// told is the digest that the metadata of an object says; "" for none.
func (s service) told(ctx context.Context, key string) (artifact.Digest, error) {
	info, err := s.core.StatObject(ctx, s.o.Bucket, key, minio.StatObjectOptions{})
	if err = s.fault(http.MethodHead, key, err); wire.StatusOf(err) == http.StatusNotFound {
		return "", nil
	} else if err != nil {
		return "", err
	}
	sum, err := artifact.ParseDigest("sha256:" + info.Metadata.Get("X-Amz-Meta-"+digestName))
	if err != nil {
		return "", nil // somebody else's, or none
	}
	return sum, nil
}

// fetch is the digest of an object's bytes; "" where there is no object.
func (d *Destination) fetch(ctx context.Context, f artifact.File) (artifact.Digest, error) {
	body, _, _, err := d.core.GetObject(whole(ctx), d.o.Bucket, d.key(f), minio.GetObjectOptions{})
	if err = d.fault(http.MethodGet, d.key(f), err); wire.StatusOf(err) == http.StatusNotFound {
		return "", nil
	} else if err != nil {
		return "", err
	}
	defer body.Close()
	return digest(body, f)
}

// fetchPublic is fetch on the way that people take.
func (d *Destination) fetchPublic(ctx context.Context, f artifact.File) (artifact.Digest, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, d.url(f), http.NoBody)
	if err != nil {
		return "", err
	}
	res, err := d.o.Transport.Client().Do(req)
	if err != nil {
		return "", wire.Fault(err)
	}
	defer res.Body.Close()
	if res.StatusCode == http.StatusNotFound {
		return "", nil
	}
	if err := wire.Expect(res, http.StatusOK); err != nil {
		return "", fmt.Errorf("reading back without credentials: %w", err)
	}
	return digest(res.Body, f)
}

// digest reads no more than one byte too many.
func digest(r io.Reader, f artifact.File) (artifact.Digest, error) {
	m := artifact.NewMeter(io.Discard)
	if _, err := io.Copy(m, io.LimitReader(r, f.Size+1)); err != nil {
		return "", wire.Fault(fmt.Errorf("reading back %s: %w", f.Path, err))
	}
	return m.Digest(), nil
}

// Stage puts everything but what names the release.
func (d *Destination) Stage(ctx context.Context) error {
	todo, err := d.missing(ctx, publish.Stage)
	if err != nil {
		return err
	}
	// Signatures come after what they sign, and in their order.
	files := slices.DeleteFunc(slices.Clone(todo), func(f artifact.File) bool { return slices.Contains(d.contents.Signatures, f) })
	// The largest first, so that none of them is left alone at the end.
	slices.SortStableFunc(files, func(a, b artifact.File) int { return cmp.Compare(b.Size, a.Size) })
	g, all := errgroup.WithContext(ctx)
	g.SetLimit(parallel)
	for _, f := range files {
		g.Go(func() error { return d.put(all, f) })
	}
	if err := g.Wait(); err != nil {
		return err
	}
	for _, f := range todo {
		if !slices.Contains(d.contents.Signatures, f) {
			continue
		}
		if err := d.put(ctx, f); err != nil {
			return err
		}
	}
	return nil
}

// missing are the files of the phase that are not there. Other bytes under the key of any file are a Conflict, and what
// should have been there before the phase is Transient: it is put first.
func (d *Destination) missing(ctx context.Context, phase publish.Phase) ([]artifact.File, error) {
	items, err := d.Look(ctx, publish.Listed)
	if err != nil {
		return nil, err
	}
	var todo []artifact.File
	for i, f := range d.contents.All() {
		switch it := items[i]; {
		case it.State == publish.Different:
			return nil, d.taken(f, it.Detail)
		case it.State != publish.Missing:
		case it.Phase == phase:
			todo = append(todo, f)
		case phase == publish.Flip && !d.o.Transport.DryRun():
			return nil, fault.Errorf(fault.Transient, "%s is not staged; run the same command again", it.Name)
		}
	}
	return todo, nil
}

func (d *Destination) taken(f artifact.File, detail string) error {
	return fault.Errorf(fault.Conflict, "%s/%s is taken: %s", d.o.Bucket, d.key(f), detail)
}

// Flip puts what names the release.
func (d *Destination) Flip(ctx context.Context) error {
	todo, err := d.missing(ctx, publish.Flip)
	if err != nil {
		return err
	}
	for _, f := range todo {
		if err := d.put(ctx, f); err != nil {
			return err
		}
	}
	return nil
}

// put puts a file where nothing is. It is done when it is there, whoever put it.
func (d *Destination) put(ctx context.Context, f artifact.File) error {
	in, err := os.Open(d.o.Release.Path(f.Path))
	if err != nil {
		return fault.Errorf(fault.Mismatch, "reading release: %w; build it again", err)
	}
	defer in.Close()
	o := minio.PutObjectOptions{
		ContentType:  mediaType(f.Path),
		CacheControl: forever,
		UserMetadata: map[string]string{digestName: f.Digest.Hex()},
		// The digest is signed in place of the bytes: the remote refuses others, and nothing is read twice.
		DisableContentSha256: true,
	}
	o.SetMatchETagExcept("*")
	body := payload{in, f.Size}
	info, err := d.core.PutObject(body.in(ctx), d.o.Bucket, d.key(f), body.reader(), f.Size, "", f.Digest.Hex(), o)
	if err == nil {
		d.learn(f, info.ETag)
		return nil
	}
	err = d.fault(http.MethodPut, d.key(f), err)
	status := wire.StatusOf(err)
	if status != http.StatusPreconditionFailed && status != http.StatusConflict {
		return err
	}
	// Something has the key: an earlier attempt whose answer was lost, somebody who publishes the same, or other bytes.
	sum, lookErr := d.told(ctx, d.key(f))
	if lookErr == nil && sum != f.Digest {
		sum, lookErr = d.fetch(ctx, f)
	}
	switch {
	case lookErr != nil:
		return lookErr
	case sum == f.Digest, sum != "" && slices.Contains(d.contents.Signatures, f):
		return nil
	case sum != "":
		return d.taken(f, "it is "+string(sum)+" and not "+string(f.Digest))
	}
	return fault.New(fault.Transient, err) // two at once, and perhaps neither has won
}

// mediaType is what a file is served as.
func mediaType(name string) string {
	switch path.Ext(name) {
	case ".json":
		return "application/json"
	case ".gz", ".tgz":
		return "application/gzip"
	case ".zip":
		return "application/zip"
	case ".md":
		return "text/markdown; charset=utf-8"
	case ".txt":
		return "text/plain; charset=utf-8"
	case "":
		if path.Base(name) == "SHA256SUMS" {
			return "text/plain; charset=utf-8"
		}
	}
	return "application/octet-stream"
}

// fault is what a request ended with, with an exit code, and without what the remote says of credentials.
func (s service) fault(method, key string, err error) error {
	said, ok := errors.AsType[minio.ErrorResponse](err)
	if !ok {
		return wire.Fault(err)
	}
	if said.StatusCode == 0 {
		return fault.Errorf(fault.Transient, "%s: %s", s.where, wire.Message([]byte(said.Message)))
	}
	text := said.Error()
	for _, secret := range []func() string{s.o.SecretKey, s.o.SessionToken} {
		if secret != nil && secret() != "" {
			text = strings.ReplaceAll(text, secret(), "...")
		}
	}
	status := &wire.StatusError{Method: method, URL: s.where, Status: said.StatusCode, Message: wire.Message([]byte(text))}
	if key != "" {
		status.URL += "/" + s3utils.EncodePath(key)
	}
	code := fault.OfStatus(said.StatusCode)
	switch {
	case said.Code == "NoSuchBucket":
		return fault.Errorf(fault.Usage, "%w; make the bucket, or name another", status)
	case said.StatusCode == http.StatusNotImplemented && method == http.MethodPut:
		return fault.Errorf(fault.Usage, "%w; this service has no conditional writes, without which something might be replaced", status)
	case 300 <= said.StatusCode && said.StatusCode < 400:
		return fault.Errorf(fault.Usage, "%w; name the region of the bucket, and its endpoint", status)
	case said.Code == "AuthorizationHeaderMalformed":
		return fault.Errorf(fault.Usage, "%w; name the region of the bucket", status)
	case slices.Contains([]string{"ExpiredToken", "ExpiredTokenException", "InvalidToken", "TokenRefreshRequired"}, said.Code):
		code = fault.Credentials
	case slices.Contains(passing, said.Code), said.StatusCode == http.StatusConflict:
		code = fault.Transient
	case said.Code == "XAmzContentSHA256Mismatch", said.Code == "BadDigest":
		// The bytes changed on the way, or in dist/ since they were listed.
		return fault.Errorf(fault.Mismatch, "%w; run `verify` to see whether the release is still whole", status)
	}
	return fault.New(code, status)
}

// passing are errors that pass, whatever their status
// (https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html#ErrorCodeList).
var passing = []string{
	"RequestTimeout", "IncompleteBody", "RequestTimeTooSkewed", "OperationAborted", "SlowDown", "InternalError", "ServiceUnavailable",
}

// maxAnswer bounds answers that are not objects, in bytes: a list of a thousand keys of the longest kind has less.
const maxAnswer = 8 << 20

type wholeKey struct{}

// whole marks requests for objects, whose readers bound what they read.
func whole(ctx context.Context) context.Context { return context.WithValue(ctx, wholeKey{}, true) }

type payloadKey struct{}

// payload is what is put.
type payload struct {
	file io.ReaderAt
	size int64
}

func (p payload) reader() io.Reader { return io.NewSectionReader(p.file, 0, p.size) }

func (p payload) in(ctx context.Context) context.Context {
	return context.WithValue(ctx, payloadKey{}, p)
}

// gate stands between the library and the transport. The library cannot say how a body is read a second time, which the
// transport must know to make a request again.
type gate struct{ next *wire.Transport }

// RoundTrip passes a request on.
func (g gate) RoundTrip(req *http.Request) (*http.Response, error) {
	if p, ok := req.Context().Value(payloadKey{}).(payload); ok && req.Method == http.MethodPut && req.Body != nil {
		req = req.Clone(req.Context())
		req.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(p.reader()), nil }
	}
	res, err := g.next.RoundTrip(req)
	if err != nil || req.Context().Value(wholeKey{}) != nil && res.StatusCode == http.StatusOK {
		return res, err
	}
	res.Body = limited{io.LimitReader(res.Body, maxAnswer), res.Body}
	return res, nil
}

type limited struct {
	io.Reader
	io.Closer
}

// Simulate answers what a dry run does not send. No later request depends on what it says.
func Simulate(*http.Request) *http.Response { return wire.Answer(http.StatusOK, "") }
