// Package buckettest is a bucket in memory behind the API of S3, for the tests of those who publish to one.
//
// It has what a publisher needs (PutObject, GetObject, HeadObject and ListObjectsV2 with the bucket in the path) and
// holds to the rules of the real one: signatures are verified, the digest of what is sent is that which was signed, and
// a conditional write never replaces anything.
package buckettest

import (
	"bytes"
	"crypto/hmac"
	"crypto/md5"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/xml"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// Options say what the bucket is like.
type Options struct {
	Bucket       string // bucket for ""
	Region       string // us-east-1 for ""
	AccessKey    string
	SecretKey    string
	SessionToken string // "" for none
	// Public lets everybody read objects, as a bucket policy does.
	Public bool
	// Page is the most keys that one answer lists; 0 is 1000.
	Page int
	// Unconditional refuses conditional writes, as services do that do not have them.
	Unconditional bool
}

// Bucket is a bucket. It may be used concurrently.
type Bucket struct {
	o Options

	mu      sync.Mutex
	expired bool
	objects map[string]object
}

type object struct {
	body   []byte
	header http.Header // those that are kept with it
}

// New returns an empty bucket.
func New(o Options) *Bucket {
	if o.Bucket == "" {
		o.Bucket = "bucket"
	}
	if o.Region == "" {
		o.Region = "us-east-1"
	}
	if o.Page == 0 {
		o.Page = 1000
	}
	return &Bucket{o: o, objects: map[string]object{}}
}

// Expire ends the session whose token is asked for.
func (b *Bucket) Expire() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.expired = true
}

// Put puts an object as somebody else would.
func (b *Bucket) Put(key string, body []byte, header http.Header) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.objects[key] = object{bytes.Clone(body), header.Clone()}
}

// Get returns the bytes of an object.
func (b *Bucket) Get(key string) ([]byte, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	o, ok := b.objects[key]
	return bytes.Clone(o.body), ok
}

// Drop loses an object.
func (b *Bucket) Drop(key string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.objects, key)
}

// State is everything in the bucket: key, size, digest and header of each object, sorted.
func (b *Bucket) State() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	var out strings.Builder
	for _, key := range slices.Sorted(maps.Keys(b.objects)) {
		o := b.objects[key]
		fmt.Fprintf(&out, "%s %d sha256:%x", key, len(o.body), sha256.Sum256(o.body))
		for _, name := range slices.Sorted(maps.Keys(o.header)) {
			fmt.Fprintf(&out, " %s=%q", name, o.header.Get(name))
		}
		out.WriteString("\n")
	}
	return out.String()
}

// refusal is an error of the API
// (https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html).
type refusal struct {
	XMLName xml.Name `xml:"Error"`
	Code    string
	Message string
	Key     string `xml:",omitempty"`

	status int
}

func refuse(status int, code, message string) *refusal {
	return &refusal{Code: code, Message: message, status: status}
}

// ServeHTTP answers as S3 does.
func (b *Bucket) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if err := b.serve(w, r); err != nil {
		w.Header().Set("Content-Type", "application/xml")
		w.WriteHeader(err.status)
		if r.Method != http.MethodHead {
			_, _ = io.WriteString(w, xml.Header)
			_ = xml.NewEncoder(w).Encode(err)
		}
	}
}

func (b *Bucket) serve(w http.ResponseWriter, r *http.Request) *refusal {
	bucket, key, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	reads := r.Method == http.MethodGet || r.Method == http.MethodHead
	if public := b.o.Public && reads && key != "" && r.Header.Get("Authorization") == ""; !public {
		if err := b.authenticate(r); err != nil {
			return err
		}
	}
	if bucket != b.o.Bucket {
		return refuse(http.StatusNotFound, "NoSuchBucket", "there is no such bucket")
	}
	switch {
	case key != "" && reads:
		return b.get(w, r, key)
	case key != "" && r.Method == http.MethodPut && r.URL.RawQuery == "":
		return b.put(w, r, key)
	case key == "" && r.Method == http.MethodGet && r.URL.Query().Get("list-type") == "2":
		return b.list(w, r.URL.Query())
	}
	return refuse(http.StatusMethodNotAllowed, "MethodNotAllowed", "this bucket does not do that")
}

// authenticate verifies the signature in the header
// (https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html).
func (b *Bucket) authenticate(r *http.Request) *refusal {
	text, ok := strings.CutPrefix(r.Header.Get("Authorization"), "AWS4-HMAC-SHA256 ")
	if !ok {
		return refuse(http.StatusForbidden, "AccessDenied", "Access Denied")
	}
	fields := map[string]string{}
	for part := range strings.SplitSeq(text, ",") {
		name, value, _ := strings.Cut(strings.TrimSpace(part), "=")
		fields[name] = value
	}
	stamp := r.Header.Get("X-Amz-Date")
	scope := strings.Split(fields["Credential"], "/")
	signed := strings.Split(fields["SignedHeaders"], ";")
	switch {
	case len(scope) != 5 || len(stamp) != len("20060102T150405Z") || scope[1] != stamp[:8] || scope[3] != "s3" || scope[4] != "aws4_request":
		return refuse(http.StatusBadRequest, "AuthorizationHeaderMalformed", "the authorization header is malformed")
	case scope[2] != b.o.Region:
		return refuse(http.StatusBadRequest, "AuthorizationHeaderMalformed", "the region is wrong; expecting '"+b.o.Region+"'")
	case scope[0] != b.o.AccessKey:
		return refuse(http.StatusForbidden, "InvalidAccessKeyId", "there is no such Access Key")
	case !slices.Contains(signed, "host"):
		return refuse(http.StatusForbidden, "AccessDenied", "host is not signed")
	}
	for name := range r.Header {
		if lower := strings.ToLower(name); strings.HasPrefix(lower, "x-amz-") && !slices.Contains(signed, lower) {
			return refuse(http.StatusForbidden, "AccessDenied", "a header is not signed")
		}
	}
	if sum := r.Header.Get("X-Amz-Content-Sha256"); len(sum) != 2*sha256.Size {
		return refuse(http.StatusNotImplemented, "NotImplemented", "payloads are signed by their digest here")
	}
	var headers strings.Builder
	for _, name := range signed {
		value := strings.Join(r.Header.Values(name), ",")
		if name == "host" {
			value = r.Host
		}
		headers.WriteString(name + ":" + strings.Join(strings.Fields(value), " ") + "\n")
	}
	query := r.URL.Query()
	var parameters []string
	for _, name := range slices.Sorted(maps.Keys(query)) {
		for _, value := range slices.Sorted(slices.Values(query[name])) {
			parameters = append(parameters, encode(name, false)+"="+encode(value, false))
		}
	}
	canonical := strings.Join([]string{
		r.Method, encode(r.URL.Path, true), strings.Join(parameters, "&"), headers.String(), fields["SignedHeaders"],
		r.Header.Get("X-Amz-Content-Sha256"),
	}, "\n")
	key := []byte("AWS4" + b.o.SecretKey)
	for _, part := range scope[1:] {
		key = sum(key, part)
	}
	digest := sha256.Sum256([]byte(canonical))
	want := sum(key, strings.Join([]string{"AWS4-HMAC-SHA256", stamp, strings.Join(scope[1:], "/"), hex.EncodeToString(digest[:])}, "\n"))
	if got, err := hex.DecodeString(fields["Signature"]); err != nil || !hmac.Equal(got, want) {
		return refuse(http.StatusForbidden, "SignatureDoesNotMatch", "it is another signature than the one that belongs to the request")
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	switch token := r.Header.Get("X-Amz-Security-Token"); {
	case token != b.o.SessionToken:
		return refuse(http.StatusForbidden, "InvalidToken", "that is no token")
	case b.expired:
		return refuse(http.StatusBadRequest, "ExpiredToken", "the token has expired")
	}
	return nil
}

func sum(key []byte, text string) []byte {
	h := hmac.New(sha256.New, key)
	h.Write([]byte(text))
	return h.Sum(nil)
}

// encode is the one encoding of S3: unreserved characters stay, and in a path the slash.
func encode(s string, path bool) string {
	var b strings.Builder
	for _, c := range []byte(s) {
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', strings.IndexByte("-._~", c) >= 0, path && c == '/':
			b.WriteByte(c)
		default:
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	return b.String()
}

// get answers GetObject and HeadObject
// (https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetObject.html).
func (b *Bucket) get(w http.ResponseWriter, r *http.Request, key string) *refusal {
	b.mu.Lock()
	o, ok := b.objects[key]
	b.mu.Unlock()
	if !ok {
		return refuse(http.StatusNotFound, "NoSuchKey", "there is no such key")
	}
	for name := range o.header {
		w.Header().Set(name, o.header.Get(name))
	}
	w.Header().Set("ETag", etag(o.body))
	w.Header().Set("Last-Modified", "Thu, 01 Jan 1970 00:00:00 GMT")
	w.Header().Set("Content-Length", strconv.Itoa(len(o.body)))
	if r.Method == http.MethodGet {
		_, _ = w.Write(o.body)
	}
	return nil
}

func etag(body []byte) string { return fmt.Sprintf(`"%x"`, md5.Sum(body)) }

// put answers PutObject
// (https://docs.aws.amazon.com/AmazonS3/latest/API/API_PutObject.html,
// https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-writes.html).
func (b *Bucket) put(w http.ResponseWriter, r *http.Request, key string) *refusal {
	condition := r.Header.Get("If-None-Match")
	switch {
	case r.ContentLength < 0:
		return refuse(http.StatusLengthRequired, "MissingContentLength", "there is no Content-Length")
	case condition != "" && (condition != "*" || b.o.Unconditional):
		return refuse(http.StatusNotImplemented, "NotImplemented", "a header asks for what is not implemented")
	}
	body, err := io.ReadAll(r.Body)
	if err != nil || int64(len(body)) != r.ContentLength {
		return refuse(http.StatusBadRequest, "IncompleteBody", "the body is not as long as Content-Length says")
	}
	if fmt.Sprintf("%x", sha256.Sum256(body)) != r.Header.Get("X-Amz-Content-Sha256") {
		return refuse(http.StatusBadRequest, "XAmzContentSHA256Mismatch", "the body has another digest than the one that was signed")
	}
	sum := md5.Sum(body)
	if want := r.Header.Get("Content-Md5"); want != "" && want != base64.StdEncoding.EncodeToString(sum[:]) {
		return refuse(http.StatusBadRequest, "BadDigest", "the body has another digest than Content-MD5")
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if _, there := b.objects[key]; there && condition == "*" {
		return refuse(http.StatusPreconditionFailed, "PreconditionFailed", "there is an object with that key")
	}
	kept := http.Header{}
	for name := range r.Header {
		if name == "Content-Type" || name == "Cache-Control" || strings.HasPrefix(name, "X-Amz-Meta-") {
			kept.Set(name, r.Header.Get(name))
		}
	}
	b.objects[key] = object{body, kept}
	w.Header().Set("ETag", etag(body))
	return nil
}

type listing struct {
	XMLName               xml.Name `xml:"ListBucketResult"`
	Name                  string
	Prefix                string
	KeyCount              int
	MaxKeys               int
	IsTruncated           bool
	EncodingType          string  `xml:",omitempty"`
	NextContinuationToken string  `xml:",omitempty"`
	Contents              []entry `xml:"Contents"`
}

type entry struct {
	Key          string
	LastModified string
	ETag         string
	Size         int
	StorageClass string
}

// list answers ListObjectsV2, without delimiters
// (https://docs.aws.amazon.com/AmazonS3/latest/API/API_ListObjectsV2.html).
func (b *Bucket) list(w http.ResponseWriter, q url.Values) *refusal {
	after := q.Get("start-after")
	if token := q.Get("continuation-token"); token != "" {
		last, err := base64.URLEncoding.DecodeString(token)
		if err != nil {
			return refuse(http.StatusBadRequest, "InvalidArgument", "that is no continuation token")
		}
		after = string(last)
	}
	if q.Get("delimiter") != "" {
		return refuse(http.StatusNotImplemented, "NotImplemented", "delimiters are not there")
	}
	most := b.o.Page
	if n, err := strconv.Atoi(q.Get("max-keys")); err == nil && n > 0 {
		most = min(most, n)
	}
	name := func(key string) string { return key }
	if q.Get("encoding-type") == "url" {
		name = url.QueryEscape
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	out := listing{Name: b.o.Bucket, Prefix: name(q.Get("prefix")), MaxKeys: most, EncodingType: q.Get("encoding-type")}
	last := ""
	for _, key := range slices.Sorted(maps.Keys(b.objects)) {
		if !strings.HasPrefix(key, q.Get("prefix")) || key <= after {
			continue
		}
		if len(out.Contents) == most {
			out.IsTruncated, out.NextContinuationToken = true, base64.URLEncoding.EncodeToString([]byte(last))
			break
		}
		body := b.objects[key].body
		out.Contents = append(out.Contents, entry{
			Key: name(key), LastModified: "1970-01-01T00:00:00.000Z", ETag: etag(body), Size: len(body), StorageClass: "STANDARD",
		})
		last = key
	}
	out.KeyCount = len(out.Contents)
	w.Header().Set("Content-Type", "application/xml")
	_, _ = io.WriteString(w, xml.Header)
	_ = xml.NewEncoder(w).Encode(out)
	return nil
}
