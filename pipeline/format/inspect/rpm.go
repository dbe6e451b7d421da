package inspect

import (
	"bytes"
	"crypto/md5"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Tags of rpm that something is decided by, of the signature header and of the main one
// (https://rpm.org/docs/latest/manual/tags.html).
const (
	sigSHA1   = 269
	sigSHA256 = 273
	sigSize   = 1000
	sigMD5    = 1004

	regionSignature = 62
	regionMain      = 63

	tagName              = 1000
	tagVersion           = 1001
	tagRelease           = 1002
	tagEpoch             = 1003
	tagArch              = 1022
	tagFileSizes         = 1028
	tagFileModes         = 1030
	tagFileMtimes        = 1034
	tagFileDigests       = 1035
	tagFileLinks         = 1036
	tagFileFlags         = 1037
	tagFileUsers         = 1039
	tagFileGroups        = 1040
	tagDirIndexes        = 1116
	tagBaseNames         = 1117
	tagDirNames          = 1118
	tagPayloadFormat     = 1124
	tagPayloadCompressor = 1125
	tagLongFileSizes     = 5008
	tagFileDigestAlgo    = 5011
	tagPayloadDigest     = 5092
	tagPayloadDigestAlgo = 5093
)

// rpmNames are the tags by the names that rpm gives them; others are kept by their number.
var rpmNames = map[uint32]string{
	100: "HeaderI18nTable", 1000: "Name", 1001: "Version", 1002: "Release", 1003: "Epoch", 1004: "Summary", 1005: "Description",
	1006: "BuildTime", 1007: "BuildHost", 1009: "Size", 1010: "Distribution", 1011: "Vendor", 1014: "License", 1015: "Packager",
	1016: "Group", 1020: "URL", 1021: "OS", 1022: "Arch", 1023: "PreIn", 1024: "PostIn", 1025: "PreUn", 1026: "PostUn",
	1044: "SourceRPM", 1046: "ArchiveSize", 1047: "ProvideName", 1048: "RequireFlags", 1049: "RequireName", 1050: "RequireVersion",
	1053: "ConflictFlags", 1054: "ConflictName", 1055: "ConflictVersion", 1064: "RPMVersion", 1080: "ChangelogTime",
	1081: "ChangelogName", 1082: "ChangelogText", 1085: "PreInProg", 1086: "PostInProg", 1087: "PreUnProg", 1088: "PostUnProg",
	1090: "ObsoleteName", 1094: "Cookie", 1112: "ProvideFlags", 1113: "ProvideVersion", 1114: "ObsoleteFlags",
	1115: "ObsoleteVersion", 1122: "OptFlags", 1124: "PayloadFormat", 1125: "PayloadCompressor", 1126: "PayloadFlags",
	1132: "Platform", 1151: "PreTrans", 1152: "PostTrans", 1153: "PreTransProg", 1154: "PostTransProg", 5009: "LongSize",
	5011: "FileDigestAlgo", 5046: "RecommendName", 5047: "RecommendVersion", 5048: "RecommendFlags", 5049: "SuggestName",
	5050: "SuggestVersion", 5051: "SuggestFlags", 5062: "Encoding", 5092: "PayloadDigest", 5093: "PayloadDigestAlgo",
	5097: "PayloadDigestAlt",
}

// rpmFileTags stand once for each file; what they say is in the entries.
var rpmFileTags = map[uint32]bool{
	1028: true, 1030: true, 1033: true, 1034: true, 1035: true, 1036: true, 1037: true, 1039: true, 1040: true, 1045: true,
	1095: true, 1096: true, 1097: true, 1116: true, 1117: true, 1118: true, 5008: true,
	1140: true, 1141: true, 1142: true, 1143: true, 1144: true, 1145: true, // colours, classes, dependencies
	5010: true, 5090: true, 5091: true, // capabilities, signatures
}

// rpm reads a package of RPM: lead, signature header, main header, compressed cpio
// (https://rpm-software-management.github.io/rpm/manual/format_v4.html). The digests of header and payload must be
// there and hold, and so must what the header says of each file. Signatures are kept and not checked.
func (j *job) rpm() error {
	lead, err := j.bytesAt(0, 96)
	if err != nil {
		return err
	}
	if !bytes.HasPrefix(lead, []byte{0xed, 0xab, 0xee, 0xdb, 3}) {
		return errors.New("not an rpm: its lead is missing")
	}
	kind := map[uint16]string{0: "binary", 1: "source"}[binary.BigEndian.Uint16(lead[6:])]
	name, _, _ := strings.Cut(string(lead[10:76]), "\x00")
	if err := j.field("rpm.lead", fmt.Sprintf("%s arch=%d os=%d name=%s", kind, binary.BigEndian.Uint16(lead[8:]), binary.BigEndian.Uint16(lead[76:]), name)); err != nil {
		return err
	}
	sig, err := j.rpmHeader(96, regionSignature)
	if err != nil {
		return fmt.Errorf("reading the signature header: %w", err)
	}
	main, err := j.rpmHeader((sig.end+7)/8*8, regionMain)
	if err != nil {
		return fmt.Errorf("reading the header: %w", err)
	}
	if pad, err := j.bytesAt(sig.end, main.start-sig.end); err != nil || strings.Trim(string(pad), "\x00") != "" {
		return errors.New("there is more between its headers than zeros")
	}
	if err := j.rpmDigests(sig, main); err != nil {
		return err
	}
	if err := sig.keep("rpm.signature."); err != nil {
		return err
	}
	if err := main.keep("rpm."); err != nil {
		return err
	}
	f := j.facts.Fields
	j.facts.Name, j.facts.Architecture = f["rpm.Name"], f["rpm.Arch"]
	if j.facts.Name == "" || f["rpm.Version"] == "" || f["rpm.Release"] == "" || j.facts.Architecture == "" {
		return errors.New("it has no name, version, release or architecture")
	}
	j.facts.Version = f["rpm.Version"] + "-" + f["rpm.Release"]
	if epoch := f["rpm.Epoch"]; epoch != "" {
		j.facts.Version = epoch + ":" + j.facts.Version
	}
	files, err := main.files()
	if err != nil {
		return fmt.Errorf("reading the list of files: %w", err)
	}
	if format := f["rpm.PayloadFormat"]; format != "cpio" {
		return fmt.Errorf("a payload of format %.20q is not read; it should be cpio", format)
	}
	compressor := f["rpm.PayloadCompressor"]
	compression, ok := map[string]string{"": "gz", "gzip": "gz", "xz": "xz", "zstd": "zst"}[compressor]
	if !ok {
		return fmt.Errorf("a payload compressed with %.20q is not read; use gzip, xz or zstd", compressor)
	}
	r, done, err := j.unpack(compression, j.from(main.end, j.size-main.end), "payload.")
	if err != nil {
		return fmt.Errorf("reading the payload: %w", err)
	}
	defer done()
	if err := j.cpio(r, files); err != nil {
		return fmt.Errorf("reading the payload: %w", err)
	}
	return nil
}

// rpmTag is the place of a tag's data.
type rpmTag struct {
	typ, count uint32
	data       []byte // with what stands behind it
}

type rpmHeader struct {
	*job
	start, end int64
	tags       map[uint32]rpmTag
}

// Types of tags, and the bytes that one value has.
const (
	rpmString  = 6
	rpmBin     = 7
	rpmStrings = 8
	rpmI18n    = 9
)

var rpmSizes = map[uint32]int64{1: 1, 2: 1, 3: 2, 4: 4, 5: 8, rpmBin: 1}

// rpmHeader reads a header. As rpm does, it wants the data of the tags side by side in the order of the index, and the
// region to have all of them, so that no tag is outside of what is summed and signed.
func (j *job) rpmHeader(at int64, region uint32) (*rpmHeader, error) {
	head, err := j.bytesAt(at, 16)
	if err != nil {
		return nil, err
	}
	if !bytes.HasPrefix(head, []byte{0x8e, 0xad, 0xe8, 1}) {
		return nil, errors.New("it does not begin as a header does")
	}
	count, length := int64(binary.BigEndian.Uint32(head[8:])), int64(binary.BigEndian.Uint32(head[12:]))
	if count < 1 || count > 4096 || length > j.MaxDocument {
		return nil, fmt.Errorf("%d tags with %d bytes; at most 4096 with %d are read", count, length, j.MaxDocument)
	}
	b, err := j.bytesAt(at+16, count*16+length)
	if err != nil {
		return nil, err
	}
	index, store := b[:count*16], b[count*16:]
	h := &rpmHeader{job: j, start: at, end: at + 16 + int64(len(b)), tags: make(map[uint32]rpmTag, count)}
	var end int64
	for i := range count {
		word := func(n int64) uint32 { return binary.BigEndian.Uint32(index[i*16+n*4:]) }
		tag, typ, off, n := word(0), word(1), int64(word(2)), word(3)
		if tag == regionSignature || tag == regionMain {
			if i != 0 || tag != region || typ != rpmBin || n != 16 || off != length-16 {
				return nil, errors.New("its region is not where it should be")
			}
			trailer := store[off:]
			covers := -int64(int32(binary.BigEndian.Uint32(trailer[8:]))) / 16
			if binary.BigEndian.Uint32(trailer) != region || covers != count {
				return nil, fmt.Errorf("its region covers %d of %d tags", covers, count)
			}
			length, store = off, store[:off]
			continue
		}
		if _, ok := h.tags[tag]; ok {
			return nil, fmt.Errorf("the tag %d stands twice", tag)
		}
		if off < end || off > length || n == 0 {
			return nil, fmt.Errorf("the data of the tag %d is not behind that of the tag before", tag)
		}
		if typ != rpmBin && int64(n) > int64(j.MaxEntries) {
			return nil, fmt.Errorf("the tag %d has %d values; at most %d are read", tag, n, j.MaxEntries)
		}
		t := rpmTag{typ, n, store[off:]}
		size, err := t.size()
		if err != nil {
			return nil, fmt.Errorf("the tag %d: %w", tag, err)
		}
		end, t.data = off+size, t.data[:size]
		h.tags[tag] = t
	}
	return h, nil
}

// size is the number of bytes that the values take.
func (t rpmTag) size() (int64, error) {
	var size int64
	switch t.typ {
	case rpmString, rpmStrings, rpmI18n:
		if t.typ == rpmString && t.count != 1 {
			return 0, errors.New("a string of several values")
		}
		rest := t.data
		for range t.count {
			i := bytes.IndexByte(rest, 0)
			if i < 0 {
				return 0, errEnds
			}
			size, rest = size+int64(i)+1, rest[i+1:]
		}
		return size, nil
	}
	one, ok := rpmSizes[t.typ]
	if !ok {
		return 0, fmt.Errorf("a value of type %d", t.typ)
	}
	if size = one * int64(t.count); size > int64(len(t.data)) {
		return 0, errEnds
	}
	return size, nil
}

// texts are the values of a tag as texts: numbers in base 10, bytes in base 16.
func (t rpmTag) texts() []string {
	switch t.typ {
	case rpmString, rpmStrings, rpmI18n:
		return strings.Split(string(t.data[:max(0, len(t.data)-1)]), "\x00")
	case rpmBin:
		if len(t.data) > 64 && bytes.Trim(t.data, "\x00") == nil { // kept free for a signature
			return []string{fmt.Sprintf("%d zeros", len(t.data))}
		}
		return []string{hex.EncodeToString(t.data)}
	}
	numbers := t.numbers()
	out := make([]string, len(numbers))
	for i, n := range numbers {
		out[i] = strconv.FormatUint(n, 10)
	}
	return out
}

// numbers are the values of a tag that has numbers, else nothing.
func (t rpmTag) numbers() []uint64 {
	size := rpmSizes[t.typ]
	if size == 0 || t.typ == rpmBin {
		return nil
	}
	out := make([]uint64, t.count)
	for i := range out {
		b := t.data[int64(i)*size:]
		switch size {
		case 1:
			out[i] = uint64(b[0])
		case 2:
			out[i] = uint64(binary.BigEndian.Uint16(b))
		case 4:
			out[i] = uint64(binary.BigEndian.Uint32(b))
		case 8:
			out[i] = binary.BigEndian.Uint64(b)
		}
	}
	return out
}

// keep keeps all tags as fields but those that stand for files.
func (h *rpmHeader) keep(prefix string) error {
	main := prefix == "rpm."
	for _, tag := range slices.Sorted(maps.Keys(h.tags)) {
		if main && rpmFileTags[tag] {
			continue
		}
		name := ""
		if main {
			name = rpmNames[tag]
		}
		if name == "" {
			name = strconv.Itoa(int(tag))
		}
		if err := h.field(prefix+name, strings.Join(h.tags[tag].texts(), "\n")); err != nil {
			return err
		}
	}
	return nil
}

// one is the only value of a tag.
func (h *rpmHeader) one(tag uint32) string {
	if t, ok := h.tags[tag]; ok {
		if v := t.texts(); len(v) == 1 {
			return v[0]
		}
	}
	return ""
}

// rpmDigests holds header and payload against their digests.
func (j *job) rpmDigests(sig, main *rpmHeader) error {
	header, err := j.bytesAt(main.start, main.end-main.start)
	if err != nil {
		return err
	}
	both, payload := md5.New(), sha256.New()
	both.Write(header)
	if _, err := io.CopyBuffer(io.MultiWriter(both, payload), readOnly{j.from(main.end, j.size-main.end)}, j.buf); err != nil {
		return err
	}
	for _, d := range []struct {
		what     string
		got      []byte
		want     string
		required bool
	}{
		{"the SHA-256 of the header", sum(sha256.New(), header), sig.one(sigSHA256), true},
		{"the SHA-1 of the header", sum(sha1.New(), header), sig.one(sigSHA1), false},
		{"the MD5 of header and payload", both.Sum(nil), sig.one(sigMD5), false},
		{"the SHA-256 of the payload", payload.Sum(nil), main.one(tagPayloadDigest), true},
	} {
		got := hex.EncodeToString(d.got)
		if d.want == "" && d.required {
			return fmt.Errorf("it does not say %s", d.what)
		}
		if d.want != "" && got != d.want {
			return fmt.Errorf("%s is %s, and it says %.80q", d.what, got, d.want)
		}
	}
	if algo := main.one(tagPayloadDigestAlgo); algo != "8" {
		return fmt.Errorf("a digest of the payload by algorithm %.20q is not read; it should be 8, SHA-256", algo)
	}
	if size, got := sig.one(sigSize), strconv.FormatInt(j.size-main.start, 10); size != "" && size != got {
		return fmt.Errorf("header and payload have %s bytes, and it says %.20q", got, size)
	}
	return nil
}

func sum(h hash.Hash, b []byte) []byte {
	h.Write(b)
	return h.Sum(nil)
}

// rpmFile is what the header says of a file.
type rpmFile struct {
	mode, flags, mtime, size uint64
	digest, link             string
	owner, group             string
}

const rpmGhost = 1 << 6 // flag: the file is not in the payload

// rpmFiles are the files of a header by their names.
type rpmFiles struct {
	files map[string]rpmFile
	hash  func() hash.Hash
}

func (h *rpmHeader) files() (rpmFiles, error) {
	out := rpmFiles{files: map[string]rpmFile{}}
	// Some writers say it once for each file; rpm reads the first.
	algorithms := h.tags[tagFileDigestAlgo].numbers()
	if len(slices.Compact(slices.Clone(algorithms))) > 1 {
		return out, errors.New("its files have digests by different algorithms")
	}
	switch {
	case len(algorithms) == 0 || algorithms[0] == 1:
		out.hash = md5.New
	case algorithms[0] == 8:
		out.hash = sha256.New
	default:
		return out, fmt.Errorf("digests by algorithm %d are not read; use 8, SHA-256", algorithms[0])
	}
	t, ok := h.tags[tagBaseNames]
	if !ok {
		return out, nil
	}
	names := t.texts()
	if err := h.more(len(names)); err != nil {
		return out, err
	}
	h.entries += len(names) // the payload has them again
	dirs, indexes := h.tags[tagDirNames].texts(), h.tags[tagDirIndexes].numbers()
	sizes := h.tags[tagFileSizes].numbers()
	if long, ok := h.tags[tagLongFileSizes]; ok {
		sizes = long.numbers()
	}
	modes, flags, mtimes := h.tags[tagFileModes].numbers(), h.tags[tagFileFlags].numbers(), h.tags[tagFileMtimes].numbers()
	digests, links := h.tags[tagFileDigests].texts(), h.tags[tagFileLinks].texts()
	owners, groups := h.tags[tagFileUsers].texts(), h.tags[tagFileGroups].texts()
	for _, n := range []int{len(indexes), len(sizes), len(modes), len(flags), len(mtimes), len(digests), len(links), len(owners), len(groups)} {
		if n != len(names) {
			return out, fmt.Errorf("%d names, and %d values of another tag", len(names), n)
		}
	}
	for i, base := range names {
		if indexes[i] >= uint64(len(dirs)) {
			return out, fmt.Errorf("%.80q is in a folder that is not there", base)
		}
		name := strings.TrimPrefix(dirs[indexes[i]]+base, "/")
		if _, ok := out.files[name]; ok || len(name) > maxName {
			return out, fmt.Errorf("%.80q stands twice, or is longer than %d bytes", name, maxName)
		}
		if err := h.job.keep(len(name) + 256); err != nil {
			return out, err
		}
		out.files[name] = rpmFile{modes[i], flags[i], mtimes[i], sizes[i], digests[i], links[i], owners[i], groups[i]}
	}
	return out, nil
}

// payload is the reading of a cpio.
type payload struct {
	*job
	in     *counted
	list   rpmFiles
	tree   *tree
	linked map[string][]int // entries of a file of several names that come before its contents, by inode
}

// cpio reads the payload, a cpio of format newc, to its end (https://manpages.debian.org/cpio.5).
func (j *job) cpio(r io.Reader, list rpmFiles) error {
	p := &payload{job: j, in: &counted{r: r}, list: list, tree: j.tree(false, true), linked: map[string][]int{}}
	for {
		h, err := cpioHeaderOf(p.in)
		if err != nil {
			return err
		}
		if h.name == "TRAILER!!!" {
			break
		}
		if err := p.entry(h); err != nil {
			return err
		}
	}
	if len(p.linked) > 0 {
		return fmt.Errorf("%d files have several names and no contents", len(p.linked))
	}
	for _, name := range slices.Sorted(maps.Keys(list.files)) {
		if list.files[name].flags&rpmGhost == 0 {
			return fmt.Errorf("%.80q is in the header and not in the payload", name)
		}
	}
	if _, err := zeros(p.in, j.buf); err != nil {
		return fmt.Errorf("behind the end of the cpio: %w", err)
	}
	return j.number("payload.cpio.size", p.in.n)
}

// cpioHeader is the header of an entry.
type cpioHeader struct {
	name                                    string // as it is written
	ino, mode, uid, gid, nlink, mtime, size uint64
	inode                                   string // with the device that it is on
}

func cpioHeaderOf(in *counted) (cpioHeader, error) {
	var b [110]byte
	if _, err := io.ReadFull(in, b[:]); err != nil {
		return cpioHeader{}, ends(err)
	}
	if string(b[:6]) != "070701" && string(b[:6]) != "070702" {
		return cpioHeader{}, fmt.Errorf("an entry of format %q; it should be newc, 070701", b[:6])
	}
	var n [13]uint64
	for i := range n {
		v, err := strconv.ParseUint(string(b[6+i*8:14+i*8]), 16, 32)
		if err != nil {
			return cpioHeader{}, errors.New("a header with a number that is none")
		}
		n[i] = v
	}
	length := n[11]
	if length < 2 || length > maxName+3 {
		return cpioHeader{}, fmt.Errorf("a name of %d bytes", length)
	}
	raw := make([]byte, length)
	if _, err := io.ReadFull(in, raw); err != nil {
		return cpioHeader{}, ends(err)
	}
	name := string(raw[:length-1])
	if raw[length-1] != 0 || strings.Contains(name, "\x00") {
		return cpioHeader{}, fmt.Errorf("the name %.80q is not ended by one NUL", raw)
	}
	return cpioHeader{
		name: name, ino: n[0], mode: n[1], uid: n[2], gid: n[3], nlink: n[4], mtime: n[5], size: n[6], inode: fmt.Sprint(n[0], n[7], n[8]),
	}, align(in)
}

// entry reads an entry behind its header and holds it to the header of the package.
func (p *payload) entry(h cpioHeader) error {
	// A slash in front is how some writers say what others say with a dot and a slash.
	e := Entry{Name: strings.TrimPrefix(h.name, "/"), UID: int(h.uid), GID: int(h.gid), Size: int64(h.size)}
	var err error
	if e.Mode, e.Type, err = unixMode(uint32(h.mode)); err != nil {
		return fmt.Errorf("%.80q is %w", h.name, err)
	}
	f, err := p.list.take(strings.TrimPrefix(e.Name, "./"), h.mode)
	if err != nil {
		return err
	}
	// A file is installed with the owner and the time of the header.
	e.Owner, e.Group, e.ModTime = f.owner, f.group, time.Unix(int64(f.mtime), 0).UTC()
	e.Extra = []Field{{"flags", strconv.FormatUint(f.flags, 10)}, {"inode", strconv.FormatUint(h.ino, 10)}, {"links", strconv.FormatUint(h.nlink, 10)}}
	if h.mtime != f.mtime {
		e.Extra = append(e.Extra, Field{"cpio-time", strconv.FormatUint(h.mtime, 10)})
	}
	if h.name != e.Name {
		e.Extra = append(e.Extra, Field{"slash", h.name[:len(h.name)-len(e.Name)]})
	}
	several := e.Type == File && h.nlink > 1
	switch e.Type {
	case Symlink:
		target, err := whole(io.LimitReader(p.in, int64(h.size)), maxName)
		if err != nil {
			return fmt.Errorf("reading %.80q: %w", h.name, err)
		}
		e.Link, e.Size = string(target), 0
		if uint64(len(target)) != h.size || f.link != e.Link {
			return fmt.Errorf("%.80q is a link to %.80q, and the header says to %.80q", h.name, target, f.link)
		}
	case Folder:
		if h.size != 0 {
			return fmt.Errorf("%.80q is a folder and has contents", h.name)
		}
		e.Size = 0
	case File:
		if h.size != f.size && !(several && h.size == 0) {
			return fmt.Errorf("%.80q has %d bytes, and the header says %d", h.name, h.size, f.size)
		}
	}
	kept, err := p.tree.add(e)
	if err != nil {
		return err
	}
	if several && h.size == 0 && f.size > 0 {
		p.linked[h.inode] = append(p.linked[h.inode], len(p.facts.Entries)-1)
		return nil
	}
	if kept.Type == File {
		if err := p.file(h, kept, f); err != nil {
			return err
		}
	}
	return align(p.in)
}

// file reads the contents of a file, which the names before it of the same inode are links to.
func (p *payload) file(h cpioHeader, kept *Entry, f rpmFile) error {
	sum := p.list.hash()
	if err := p.content(io.LimitReader(p.in, int64(h.size)), kept, sum); err != nil {
		return err
	}
	if got := hex.EncodeToString(sum.Sum(nil)); got != f.digest && (f.digest != "" || h.size > 0) {
		return fmt.Errorf("%.80q has the digest %s, and the header says %.80q", h.name, got, f.digest)
	}
	for _, i := range p.linked[h.inode] {
		p.facts.Entries[i].Type, p.facts.Entries[i].Link, p.facts.Entries[i].Size = HardLink, kept.Name, 0
	}
	delete(p.linked, h.inode)
	return nil
}

// take finds an entry of the payload in the header, and takes it out of what is still to come.
func (l rpmFiles) take(name string, mode uint64) (rpmFile, error) {
	f, ok := l.files[name]
	if !ok {
		return rpmFile{}, fmt.Errorf("%.80q is in the payload and not in the header, or twice in the payload", name)
	}
	delete(l.files, name)
	if mode != f.mode {
		return rpmFile{}, fmt.Errorf("%.80q has the mode %o, and the header says %o", name, mode, f.mode)
	}
	return f, nil
}

// align reads zeros up to a multiple of four bytes.
func align(r *counted) error {
	for r.n%4 != 0 {
		b, err := r.ReadByte()
		if err != nil {
			return ends(err)
		}
		if b != 0 {
			return errors.New("an entry is followed by something other than zeros")
		}
	}
	return nil
}
