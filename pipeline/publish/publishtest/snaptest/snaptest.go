// Package snaptest is a fixture: the Snap Store, as those who publish snaps see it.
//
// It does what snapcraft's client relies on (https://github.com/canonical/snapcraft/blob/main/snapcraft/store/client.py)
// and the store's documentation has (https://dashboard.snapcraft.io/docs/): bytes go to a host of their own, which is
// shown no credentials; what a push makes of them is told by a page that is to be asked until it was processed; bytes
// that the store has already are refused there; revisions are numbered in the order in which they are processed; a
// release gives a revision to channels, whose risk goes by the grade; and a discharge that went stale is renewed by the
// login host.
//
// What a snap is called it reads from the name of its file, and takes a prerelease to be of grade devel.
package snaptest

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/sha3"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// The states of a revision.
const (
	Published = "Published" // the review passed; it need not be released
	Pending   = "ManualReviewPending"
	Rejected  = "Rejected"
)

const maxUpload = 64 << 20

// Store is the store for one snap. It may be used concurrently; the fields are set before.
type Store struct {
	Name string // of the snap
	// Slow is how many requests the store answers before it processed one push.
	Slow int
	// PageSize is how many revisions a page lists; 0 lists all.
	PageSize int
	// Review is the state that a revision begins in; "" is Published.
	Review string
	// Refuses makes the review say this of every push.
	Refuses string

	mu         sync.Mutex
	uploads    map[string]upload // by id
	queue      []string          // ids of builds that are not processed
	ticks      int               // since the first of the queue was begun with
	builds     map[string]build  // by id, which State leaves out
	revisions  []Revision
	channels   map[string]int // revisions by channel and architecture
	generation int            // of the discharge
	revoked    bool
}

// Revision is a revision of the snap.
type Revision struct {
	Number                        int
	Version, Architecture, Status string
	Content                       []byte
}

type upload struct {
	name    string
	content []byte
}

// build is what became of a push.
type build struct {
	upload    upload
	processed bool
	revision  int
	problem   string
}

var (
	files = regexp.MustCompile(`^([a-z0-9-]+)_([^_/]+)_([a-z0-9]+)\.snap$`)
	risks = regexp.MustCompile(`^(?:[a-z0-9.]+/)?(stable|candidate|beta|edge)$`)
)

// ServeHTTP serves the host that publishers ask.
func (s *Store) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tick()
	if code, message := s.unauthorized(r.Header.Get("Authorization")); code != "" {
		refuse(w, http.StatusUnauthorized, code, message)
		return
	}
	snap := "/api/v2/snaps/" + s.Name
	status, isStatus := strings.CutPrefix(r.URL.Path, "/dev/api/snaps/"+s.Name+"/builds/")
	switch {
	case r.Method == http.MethodPost && r.URL.Path == "/dev/api/snap-push/":
		s.push(w, r)
	case r.Method == http.MethodPost && r.URL.Path == "/dev/api/snap-release/":
		s.release(w, r)
	case r.Method == http.MethodGet && isStatus:
		s.status(w, strings.TrimSuffix(status, "/status"))
	case r.Method == http.MethodGet && r.URL.Path == snap+"/releases":
		s.page(w, r)
	case r.Method == http.MethodGet && r.URL.Path == snap+"/channel-map":
		s.channelMap(w)
	default:
		refuse(w, http.StatusNotFound, "resource-not-found", "Snap not found")
	}
}

// refuse answers with an error in the store's form.
func refuse(w http.ResponseWriter, status int, code, message string) {
	answer(w, status, map[string]any{"error_list": []any{map[string]string{"code": code, "message": message}}})
}

func answer(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v) // to a client that is there
}

// packet is a packet of a macaroon of version 1.
func packet(key, value string) string {
	return fmt.Sprintf("%04x%s %s\n", len(key)+len(value)+6, key, value)
}

// signature is any that two macaroons do not share.
func signature(of string) []byte {
	sum := sha256.Sum256([]byte(of))
	return sum[:]
}

func macaroon(of string, sum []byte) string {
	return base64.RawURLEncoding.EncodeToString([]byte(packet("location", "store.example.com") + packet("identifier", of) + packet("signature", string(sum))))
}

func (s *Store) discharge() string { return "discharge " + strconv.Itoa(s.generation) }

// Credentials are those of a publisher as snapcraft export-login writes them.
func (s *Store) Credentials() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	b, err := json.Marshal(map[string]any{"t": "u1-macaroon", "v": map[string]string{
		"r": macaroon("root", signature("root")), "d": macaroon(s.discharge(), signature(s.discharge())),
	}})
	if err != nil {
		panic(err) // of strings
	}
	return base64.StdEncoding.EncodeToString(b)
}

// Expire makes every discharge stale that was given out so far.
func (s *Store) Expire() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.generation++
}

// Revoke makes all credentials worthless.
func (s *Store) Revoke() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.revoked = true
}

// unauthorized tells what is wrong with the value of an Authorization field.
func (s *Store) unauthorized(value string) (code, message string) {
	mac := func(b ...[]byte) []byte {
		h := hmac.New(sha256.New, make([]byte, sha256.Size))
		for _, one := range b {
			h.Write(one)
		}
		return h.Sum(nil)
	}
	for generation := range s.generation + 1 {
		of := "discharge " + strconv.Itoa(generation)
		bound := mac(mac(signature("root")), mac(signature(of)))
		if value != "Macaroon root="+macaroon("root", signature("root"))+", discharge="+macaroon(of, bound) {
			continue
		}
		switch {
		case s.revoked:
			return "macaroon-authorization-required", "Authorization Required"
		case generation < s.generation:
			return "macaroon-needs-refresh", "Expired macaroon (age: 139631 seconds)"
		}
		return "", ""
	}
	return "macaroon-permission-required", "Permission is required: package_access"
}

// LoginHandler serves the host that renews discharges.
func (s *Store) LoginHandler() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		defer s.mu.Unlock()
		var request struct {
			Discharge string `json:"discharge_macaroon"`
		}
		if r.Method != http.MethodPost || r.URL.Path != "/api/v2/tokens/refresh" || json.NewDecoder(r.Body).Decode(&request) != nil {
			http.NotFound(w, r)
			return
		}
		for generation := range s.generation + 1 {
			of := "discharge " + strconv.Itoa(generation)
			if request.Discharge == macaroon(of, signature(of)) {
				answer(w, http.StatusOK, map[string]string{"discharge_macaroon": macaroon(s.discharge(), signature(s.discharge()))})
				return
			}
		}
		refuse(w, http.StatusUnauthorized, "invalid-credentials", "Provided discharge is not ours")
	})
}

// UploadHandler serves the host that takes bytes. It refuses whoever shows it credentials.
func (s *Store) UploadHandler() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		defer s.mu.Unlock()
		if r.Header.Get("Authorization") != "" {
			http.Error(w, "this host is shown credentials of another", http.StatusTeapot)
			return
		}
		if r.Method != http.MethodPost || r.URL.Path != "/unscanned-upload/" {
			http.NotFound(w, r)
			return
		}
		u, err := received(r)
		if err != nil {
			answer(w, http.StatusBadRequest, map[string]any{"successful": false, "error": err.Error()})
			return
		}
		if s.uploads == nil {
			s.uploads = map[string]upload{}
		}
		id := fmt.Sprintf("%x", signature(u.name+string(u.content)))[:32]
		s.uploads[id] = u
		answer(w, http.StatusOK, map[string]any{"successful": true, "upload_id": id})
	})
}

// received is the one file of an upload, which is whole.
func received(r *http.Request) (upload, error) {
	parts, err := r.MultipartReader()
	if err != nil {
		return upload{}, err
	}
	part, err := parts.NextPart()
	if err != nil {
		return upload{}, err
	}
	content, err := io.ReadAll(io.LimitReader(part, maxUpload))
	if err != nil {
		return upload{}, err
	}
	if _, err := parts.NextPart(); !errors.Is(err, io.EOF) {
		return upload{}, errors.New("an upload has one part and an end")
	}
	if part.FormName() != "binary" {
		return upload{}, errors.New("the part of an upload is called binary")
	}
	return upload{part.FileName(), content}, nil
}

func (s *Store) push(w http.ResponseWriter, r *http.Request) {
	var request struct {
		Name     string   `json:"name"`
		DryRun   bool     `json:"dry_run"`
		Series   string   `json:"series"`
		Upload   string   `json:"updown_id"`
		Size     int      `json:"binary_filesize"`
		Channels []string `json:"channels"`
	}
	if err := json.NewDecoder(r.Body).Decode(&request); err != nil {
		refuse(w, http.StatusBadRequest, "invalid-request", err.Error())
		return
	}
	if request.Name != s.Name {
		refuse(w, http.StatusNotFound, "resource-not-found", "Snap not found")
		return
	}
	if request.DryRun {
		answer(w, http.StatusAccepted, map[string]any{"success": true})
		return
	}
	u, ok := s.uploads[request.Upload]
	switch m := files.FindStringSubmatch(u.name); {
	case !ok:
		refuse(w, http.StatusBadRequest, "invalid-field", "updown_id: no such upload")
	case m == nil || m[1] != s.Name || request.Series != "16" || request.Size != len(u.content):
		refuse(w, http.StatusBadRequest, "invalid-field", "the push does not describe the upload")
	case len(request.Channels) > 0:
		refuse(w, http.StatusBadRequest, "invalid-field", "channels: this store takes them with a release alone")
	default:
		if s.builds == nil {
			s.builds = map[string]build{}
		}
		id := strconv.Itoa(len(s.builds) + 1) // each push is one of its own
		s.builds[id] = build{upload: u}
		s.queue = append(s.queue, id)
		answer(w, http.StatusAccepted, map[string]any{
			"success": true, "status_details_url": "http://" + r.Host + "/dev/api/snaps/" + s.Name + "/builds/" + id + "/status",
		})
	}
}

// tick goes on with the first push that is not processed.
func (s *Store) tick() {
	if len(s.queue) == 0 {
		return
	}
	if s.ticks++; s.ticks <= s.Slow {
		return
	}
	id := s.queue[0]
	s.queue, s.ticks = s.queue[1:], 0
	u := s.builds[id].upload
	m := files.FindStringSubmatch(u.name)
	b := build{processed: true, problem: s.Refuses}
	for _, r := range s.revisions {
		if sha3.Sum384(r.Content) == sha3.Sum384(u.content) {
			b.problem = "binary_sha3_384: A file with this exact same content has already been uploaded"
		}
	}
	if b.problem == "" {
		b.revision = s.add(m[2], m[3], s.Review, u.content)
	}
	s.builds[id] = b
}

func (s *Store) add(version, architecture, status string, content []byte) int {
	if status == "" {
		status = Published
	}
	r := Revision{len(s.revisions) + 1, version, architecture, status, content}
	s.revisions = append(s.revisions, r)
	return r.Number
}

// Add adds a revision of somebody else, and returns its number.
func (s *Store) Add(version, architecture, status string, content []byte) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.add(version, architecture, status, content)
}

// Judge gives all revisions a state of the review.
func (s *Store) Judge(status string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range s.revisions {
		s.revisions[i].Status = status
	}
}

// Release gives a revision to a channel.
func (s *Store) Release(revision int, channel string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.give(revision, channel)
}

func (s *Store) give(revision int, channel string) {
	if s.channels == nil {
		s.channels = map[string]int{}
	}
	if !strings.Contains(channel, "/") {
		channel = "latest/" + channel
	}
	s.channels[channel+" "+s.revisions[revision-1].Architecture] = revision
}

func (s *Store) status(w http.ResponseWriter, id string) {
	b, ok := s.builds[id]
	switch {
	case !ok:
		refuse(w, http.StatusNotFound, "resource-not-found", "no such build")
	case !b.processed:
		answer(w, http.StatusOK, map[string]any{"code": "being_processed", "processed": false, "can_release": false, "revision": nil, "errors": []any{}})
	case b.problem != "":
		answer(w, http.StatusOK, map[string]any{
			"code": "processing_error", "processed": true, "can_release": false, "revision": nil, "errors": []any{map[string]any{"code": nil, "message": b.problem}},
		})
	case s.revisions[b.revision-1].Status != Published:
		answer(w, http.StatusOK, map[string]any{"code": "need_manual_review", "processed": true, "can_release": false, "revision": b.revision, "errors": []any{}})
	default:
		answer(w, http.StatusOK, map[string]any{"code": "ready_to_release", "processed": true, "can_release": true, "revision": b.revision, "errors": []any{}})
	}
}

// listed is a revision in a listing.
func listed(r Revision, status bool) map[string]any {
	m := map[string]any{
		"revision": r.Number, "version": r.Version, "architectures": []string{r.Architecture}, "size": len(r.Content),
		"sha3-384": fmt.Sprintf("%x", sha3.Sum384(r.Content)), "grade": grade(r), "confinement": "strict", "created-at": "2026-03-14T15:09:26Z",
	}
	if status {
		m["status"] = r.Status
	}
	return m
}

func grade(r Revision) string {
	if strings.Contains(r.Version, "-") {
		return "devel"
	}
	return "stable"
}

func (s *Store) page(w http.ResponseWriter, r *http.Request) {
	n, size := 1, s.PageSize
	if v := r.URL.Query().Get("page"); v != "" {
		var err error
		if n, err = strconv.Atoi(v); err != nil || n < 1 {
			refuse(w, http.StatusBadRequest, "invalid-field", "page")
			return
		}
	}
	all := slices.Clone(s.revisions)
	slices.Reverse(all) // the newest first
	if size == 0 {
		size = len(all) + 1
	}
	here := "http://" + r.Host + r.URL.Path + "?page="
	links := map[string]any{"self": here + strconv.Itoa(n)}
	if n*size < len(all) {
		links["next"] = here + strconv.Itoa(n+1)
	}
	revisions := []any{}
	for _, one := range all[min((n-1)*size, len(all)):min(n*size, len(all))] {
		revisions = append(revisions, listed(one, true))
	}
	answer(w, http.StatusOK, map[string]any{"_links": links, "releases": []any{}, "revisions": revisions})
}

func (s *Store) channelMap(w http.ResponseWriter) {
	entries, revisions := []any{}, []any{}
	for _, key := range slices.Sorted(maps.Keys(s.channels)) {
		channel, architecture, _ := strings.Cut(key, " ")
		entries = append(entries, map[string]any{
			"architecture": architecture, "channel": channel, "expiration-date": nil, "revision": s.channels[key], "when": "2026-03-14T15:09:26Z",
			"progressive": map[string]any{"paused": nil, "percentage": nil, "current-percentage": nil},
		})
		revisions = append(revisions, listed(s.revisions[s.channels[key]-1], false))
	}
	answer(w, http.StatusOK, map[string]any{"channel-map": entries, "revisions": revisions, "snap": map[string]any{"name": s.Name}})
}

func (s *Store) release(w http.ResponseWriter, r *http.Request) {
	var request struct {
		Name     string   `json:"name"`
		Revision string   `json:"revision"`
		Channels []string `json:"channels"`
	}
	if err := json.NewDecoder(r.Body).Decode(&request); err != nil || request.Name != s.Name || len(request.Channels) == 0 {
		refuse(w, http.StatusBadRequest, "invalid-request", "name, revision and channels are wanted")
		return
	}
	n, err := strconv.Atoi(request.Revision)
	if err != nil || n < 1 || n > len(s.revisions) {
		refuse(w, http.StatusBadRequest, "invalid-field", "revision: no such revision")
		return
	}
	one := s.revisions[n-1]
	if one.Status != Published {
		refuse(w, http.StatusBadRequest, "invalid-field", "revision: it did not pass the review")
		return
	}
	for _, c := range request.Channels {
		m := risks.FindStringSubmatch(c)
		if m == nil || grade(one) == "devel" && (m[1] == "stable" || m[1] == "candidate") {
			refuse(w, http.StatusBadRequest, "invalid-field", "channels: Revision "+request.Revision+" cannot target a stable channel (stable, candidate: grade devel)")
			return
		}
	}
	for _, c := range request.Channels {
		s.give(n, c)
	}
	answer(w, http.StatusOK, map[string]any{"success": true, "opened_channels": request.Channels})
}

// PublicHandler serves the host that machines ask. It refuses whoever shows it credentials.
func (s *Store) PublicHandler() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		defer s.mu.Unlock()
		if r.Header.Get("Authorization") != "" {
			http.Error(w, "this host is shown credentials of another", http.StatusTeapot)
			return
		}
		if number, ok := strings.CutPrefix(r.URL.Path, "/download/"); ok {
			if n, err := strconv.Atoi(number); err == nil && n > 0 && n <= len(s.revisions) {
				_, _ = w.Write(s.revisions[n-1].Content)
				return
			}
		}
		if r.URL.Path != "/v2/snaps/info/"+s.Name || r.Header.Get("Snap-Device-Series") != "16" || len(s.channels) == 0 {
			refuse(w, http.StatusNotFound, "resource-not-found", "No snap named that.")
			return
		}
		entries := []any{}
		for _, key := range slices.Sorted(maps.Keys(s.channels)) {
			channel, architecture, _ := strings.Cut(key, " ")
			entries = append(entries, map[string]any{
				"channel": map[string]any{"architecture": architecture, "name": channel}, "revision": s.channels[key],
				"download": map[string]any{"url": "http://" + r.Host + "/download/" + strconv.Itoa(s.channels[key])},
			})
		}
		answer(w, http.StatusOK, map[string]any{"channel-map": entries, "name": s.Name})
	})
}

// Settle processes everything that was pushed.
func (s *Store) Settle() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for len(s.queue) > 0 {
		s.tick()
	}
}

// State is what the store has: a line for each revision, with the digest of its bytes, then one for each channel.
// Uploads that were not pushed are left out; nobody ever sees them.
func (s *Store) State() string {
	s.Settle()
	s.mu.Lock()
	defer s.mu.Unlock()
	var b strings.Builder
	for _, r := range s.revisions {
		fmt.Fprintf(&b, "revision %d: %s %s sha256:%x %s\n", r.Number, r.Version, r.Architecture, sha256.Sum256(r.Content), r.Status)
	}
	for _, key := range slices.Sorted(maps.Keys(s.channels)) {
		fmt.Fprintf(&b, "%s: revision %d\n", key, s.channels[key])
	}
	return b.String()
}
