package upload

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/slipway-build/slipway/pipeline/git/packet"
)

// MaxRequest is how many bytes a request has at most: room for twenty thousand commits that a client has.
const MaxRequest = 1 << 20

// maxPackets is how many packets it has at most: there is room for more of no size, each of which would take more memory than it has bytes.
const maxPackets = 1 << 15

const branch = "refs/heads/main"

// maxData is how many bytes of data a packet has, besides its digits and its band.
const maxData = packet.Max - 5

// Version is the version of the protocol that a client asks for, by its header Git-Protocol: the highest of those that are known
// (https://git-scm.com/docs/protocol-v2#_http_transport).
func Version(header string) int {
	best := 0
	for _, part := range strings.Split(header, ":") {
		if v, ok := strings.CutPrefix(part, "version="); ok && (v == "1" || v == "2") {
			best = max(best, int(v[0]-'0'))
		}
	}
	return best
}

// ErrRequest says that a request is none of git's.
var ErrRequest = errors.New("this is not a request of git")

// Advertise is what a client is told first: what there is and what may be asked, in a version of the protocol
// (https://git-scm.com/docs/http-protocol#_discovering_references).
func (r *Repository) Advertise(version int, agent string) []byte {
	var out packets
	if version == 2 {
		for _, line := range []string{"version 2", "agent=" + agent, "ls-refs=unborn", "fetch", "object-format=sha1"} {
			out.line(line)
		}
		out.flush()
		return out.Bytes()
	}
	out.line("# service=git-upload-pack")
	out.flush()
	if version == 1 {
		out.line("version 1")
	}
	can := "multi_ack_detailed no-done side-band-64k thin-pack no-progress object-format=sha1 agent=" + agent
	if tip := r.Tip(); tip == "" {
		out.line(strings.Repeat("0", 40) + " capabilities^{}\x00" + can)
	} else {
		out.line(tip + " HEAD\x00" + can + " symref=HEAD:" + branch)
		out.line(tip + " " + branch)
	}
	out.flush()
	return out.Bytes()
}

// Answer reads a request and returns what writes the answer. What cannot be read is an ErrRequest; what is understood and not to be had
// is told in the answer.
func (r *Repository) Answer(version int, request []byte) (func(io.Writer) error, error) {
	in, err := parsePackets(request)
	if err != nil {
		return nil, err
	}
	if version == 2 {
		return r.answer2(in)
	}
	return r.answer0(in)
}

// asked is what a client wants.
type asked struct {
	wants, haves []string
	done         bool
	thin         bool // deltas of what the client has may be sent
	side         bool // the pack goes in packets
	detailed     bool // each commit in common is told
	noDone       bool // the pack may follow at once
}

// answer0 answers in the versions 0 and 1 (https://git-scm.com/docs/pack-protocol#_packfile_negotiation).
func (r *Repository) answer0(in []received) (func(io.Writer) error, error) {
	var a asked
	i := 0
	for ; i < len(in) && in[i].kind == data; i++ {
		text, can, _ := strings.Cut(in[i].text, " ")
		switch {
		case text == "want":
			want, can, _ := strings.Cut(can, " ")
			a.wants = append(a.wants, want)
			for _, c := range strings.Fields(can) {
				switch c {
				case "thin-pack":
					a.thin = true
				case "side-band-64k":
					a.side = true
				case "multi_ack_detailed":
					a.detailed = true
				case "no-done":
					a.noDone = true
				}
			}
		case slices.Contains([]string{"shallow", "deepen", "deepen-since", "deepen-not", "filter"}, text):
			return told(whole), nil
		default:
			return nil, ErrRequest
		}
	}
	if len(a.wants) == 0 {
		return func(io.Writer) error { return nil }, nil // who only tries whether it may ask
	}
	commits, at := r.now()
	to, err := tipOf(a.wants, at)
	if err != nil {
		return told(err.Error()), nil
	}
	if i == len(in) || in[i].kind != flush {
		return nil, ErrRequest
	}
	var out packets
	from, common := -1, ""
	for i++; i < len(in) && in[i].kind == data; i++ {
		have, ok := strings.CutPrefix(in[i].text, "have ")
		if !ok {
			if a.done = in[i].text == "done"; !a.done {
				return nil, ErrRequest
			}
			break
		}
		n := at(have)
		switch {
		case n < 0:
			continue
		case a.detailed:
			out.line("ACK " + have + " common")
		case common == "":
			out.line("ACK " + have)
		}
		from, common = max(from, n), have
	}
	send := a.done
	switch {
	case a.done && common == "":
		out.line("NAK")
	case a.done && a.detailed:
		out.line("ACK " + common)
	case a.done:
	case common == "":
		out.line("NAK")
	case a.detailed:
		out.line("ACK " + common + " ready") // for all that was ever here goes before it or after
		out.line("NAK")
		if send = a.noDone; send {
			out.line("ACK " + common)
		}
	}
	if !a.thin {
		from = -1
	}
	return func(w io.Writer) error {
		if _, err := w.Write(out.Bytes()); err != nil || !send {
			return err
		}
		if !a.side {
			return writePack(w, between(commits, from, to))
		}
		return sidePack(w, between(commits, from, to))
	}, nil
}

// answer2 answers in version 2 (https://git-scm.com/docs/protocol-v2).
func (r *Repository) answer2(in []received) (func(io.Writer) error, error) {
	if len(in) == 0 || in[0].kind == flush {
		return func(io.Writer) error { return nil }, nil
	}
	command, i := in[0].text, 1
	for ; i < len(in) && in[i].kind == data; i++ {
		if format, ok := strings.CutPrefix(in[i].text, "object-format="); ok && format != "sha1" {
			return told("the names of this repository are of SHA-1"), nil
		}
	}
	var args []string
	if i < len(in) && in[i].kind == delimiter {
		for i++; i < len(in) && in[i].kind == data; i++ {
			args = append(args, in[i].text)
		}
	}
	if i == len(in) || in[i].kind != flush {
		return nil, ErrRequest
	}
	switch command {
	case "command=ls-refs":
		return r.refs(args)
	case "command=fetch":
		return r.fetch(args)
	}
	return nil, ErrRequest
}

// refs answers with the refs that are asked for, by how they begin.
func (r *Repository) refs(args []string) (func(io.Writer) error, error) {
	var prefixes []string
	symrefs, unborn := false, false
	for _, a := range args {
		switch {
		case a == "symrefs":
			symrefs = true
		case a == "unborn":
			unborn = true
		case strings.HasPrefix(a, "ref-prefix "):
			prefixes = append(prefixes, a[len("ref-prefix "):])
		}
	}
	var out packets
	add := func(name, line string) {
		if len(prefixes) == 0 || slices.ContainsFunc(prefixes, func(p string) bool { return strings.HasPrefix(name, p) }) {
			out.line(line)
		}
	}
	tip := r.Tip()
	switch {
	case tip == "" && unborn:
		add("HEAD", "unborn HEAD symref-target:"+branch)
	case tip != "" && symrefs:
		add("HEAD", tip+" HEAD symref-target:"+branch)
		add(branch, tip+" "+branch)
	case tip != "":
		add("HEAD", tip+" HEAD")
		add(branch, tip+" "+branch)
	}
	out.flush()
	return out.send, nil
}

// fetch answers with a pack, or with what is in common.
func (r *Repository) fetch(args []string) (func(io.Writer) error, error) {
	var a asked
	for _, arg := range args {
		word, rest, _ := strings.Cut(arg, " ")
		switch word {
		case "want":
			a.wants = append(a.wants, rest)
		case "have":
			a.haves = append(a.haves, rest)
		case "done":
			a.done = true
		case "thin-pack":
			a.thin = true
		case "no-progress", "include-tag", "ofs-delta":
		case "shallow", "deepen", "deepen-relative", "deepen-since", "deepen-not", "filter":
			return told(whole), nil
		default:
			return told("it does not know " + strconv.Quote(word[:min(len(word), 80)])), nil
		}
	}
	var out packets
	if len(a.wants) == 0 {
		out.flush()
		return out.send, nil
	}
	commits, at := r.now()
	to, err := tipOf(a.wants, at)
	if err != nil {
		return told(err.Error()), nil
	}
	from := -1
	var common []string
	for _, have := range a.haves {
		if n := at(have); n >= 0 {
			from, common = max(from, n), append(common, have)
		}
	}
	if !a.done && len(a.haves) > 0 {
		out.line("acknowledgments")
		for _, have := range common {
			out.line("ACK " + have)
		}
		if common == nil {
			out.line("NAK")
			out.flush()
			return out.send, nil
		}
		out.line("ready") // for all that was ever here goes before it or after
		out.delimit()
	}
	out.line("packfile")
	if !a.thin {
		from = -1
	}
	return func(w io.Writer) error {
		if err := out.send(w); err != nil {
			return err
		}
		return sidePack(w, between(commits, from, to))
	}, nil
}

// whole is what a client is told that asks for a part.
const whole = "this repository is small, and there is only the whole of it: clone it without --depth and --filter"

// told is an answer that says why there is no other.
func told(why string) func(io.Writer) error {
	var out packets
	out.line("ERR " + why)
	return out.send
}

// tipOf is the last of the commits that are wanted.
func tipOf(wants []string, at func(string) int) (int, error) {
	to := -1
	for _, want := range wants {
		n := at(want)
		if n < 0 {
			return 0, fmt.Errorf("upload-pack: not our ref %.40s", strconv.QuoteToASCII(want))
		}
		to = max(to, n)
	}
	return to, nil
}

// between are the commits behind one, -1 for all, up to another.
func between(commits []commit, from, to int) []commit {
	if from >= to {
		return nil
	}
	return commits[from+1 : to+1]
}

// sidePack writes a pack in packets, as data of the first of their bands, and that it ends.
func sidePack(w io.Writer, commits []commit) error {
	side := band{w: w}
	err := writePack(&side, commits)
	if err == nil {
		err = side.end()
	}
	return err
}

// band collects data for packets of full size.
type band struct {
	w io.Writer
	b []byte
}

func (s *band) Write(b []byte) (int, error) {
	n := len(b)
	for len(b) > 0 {
		k := min(len(b), maxData-len(s.b))
		s.b, b = append(s.b, b[:k]...), b[k:]
		if len(s.b) == maxData {
			if err := s.packet(); err != nil {
				return 0, err
			}
		}
	}
	return n, nil
}

func (s *band) packet() error {
	_, err := fmt.Fprintf(s.w, "%04x\x01", len(s.b)+5)
	if err == nil {
		_, err = s.w.Write(s.b)
	}
	s.b = s.b[:0]
	return err
}

func (s *band) end() error {
	if len(s.b) > 0 {
		if err := s.packet(); err != nil {
			return err
		}
	}
	_, err := io.WriteString(s.w, packet.Flush)
	return err
}

// packets are what is sent.
type packets struct{ bytes.Buffer }

func (p *packets) line(text string) { packet.Line(&p.Buffer, text+"\n") }

func (p *packets) flush() { p.WriteString(packet.Flush) }

func (p *packets) delimit() { p.WriteString(packet.Delimiter) }

func (p *packets) send(w io.Writer) error {
	_, err := w.Write(p.Bytes())
	return err
}

// received is a packet that came.
type received struct {
	kind int
	text string // without the end of a line
}

const (
	data = iota
	flush
	delimiter
)

func parsePackets(b []byte) ([]received, error) {
	var all []received
	for len(b) > 0 {
		if len(b) < 4 {
			return nil, ErrRequest
		}
		n, err := strconv.ParseUint(string(b[:4]), 16, 16)
		switch {
		case err != nil || len(all) == maxPackets:
			return nil, ErrRequest
		case n == 0, n == 1:
			all, b = append(all, received{kind: flush + int(n)}), b[4:]
			continue
		case n < 4 || int(n) > len(b):
			return nil, ErrRequest
		}
		all, b = append(all, received{text: strings.TrimSuffix(string(b[4:n]), "\n")}), b[n:]
	}
	return all, nil
}
