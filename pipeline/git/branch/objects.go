package branch

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha1"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/slipway-build/slipway/pipeline/git"
	"github.com/slipway-build/slipway/pipeline/release/fault"
)

const (
	maxTree  = 64 << 20 // bytes of one folder's listing
	maxFiles = 1 << 20  // below a folder
	maxDepth = 16       // folders in each other
)

// objects is a git that says what objects are, one after the other, for as long as somebody asks
// (https://git-scm.com/docs/git-cat-file#_batch_output). Where a process takes some milliseconds to start, one for each question would
// be most of what a command costs.
type objects struct {
	in   *io.PipeWriter
	out  *bufio.Reader
	ctx  context.Context // of whoever asked first
	kill context.CancelFunc
	quit chan struct{} // closed once nobody asks any more
	end  chan error    // how git ended
}

// openObjects starts git.
func openObjects(ctx context.Context, g git.Git) (*objects, error) {
	questions, in := io.Pipe()
	ctx, kill := context.WithCancel(ctx)
	o := &objects{in: in, ctx: ctx, kill: kill, quit: make(chan struct{}), end: make(chan error, 1)}
	started := make(chan io.Reader, 1)
	go func() {
		err := g.Stream(ctx, questions, func(out io.Reader) error {
			started <- out
			<-o.quit
			_, err := io.Copy(io.Discard, out)
			return err
		}, "cat-file", "--batch")
		questions.CloseWithError(io.ErrClosedPipe) // nobody answers any more
		o.end <- err
	}()
	select {
	case out := <-started:
		o.out = bufio.NewReaderSize(out, 64<<10)
		return o, nil
	case err := <-o.end:
		kill()
		return nil, err
	}
}

// close ends git and says what it complained of.
func (o *objects) close() error {
	o.in.Close()
	close(o.quit)
	defer o.kill()
	return <-o.end
}

// object is what git says of a name. What it has is read before the next one is asked for.
type object struct {
	id, kind string // "" for none
	size     int64
}

// ask writes a question, which is one line.
func (o *objects) ask(name string) error {
	if strings.ContainsAny(name, "\n\x00") {
		return fault.Errorf(fault.Usage, "%.80q is not the name of a file", name)
	}
	_, err := io.WriteString(o.in, name+"\n")
	return err
}

// answer reads the head of an answer.
func (o *objects) answer() (object, error) {
	line, err := o.out.ReadString('\n')
	if err != nil {
		return object{}, noEOF(err)
	}
	line = strings.TrimSuffix(line, "\n")
	if strings.HasSuffix(line, " missing") {
		return object{}, nil
	}
	parts := strings.Split(line, " ")
	if len(parts) == 3 && git.IsObject(parts[0]) {
		if size, err := strconv.ParseInt(parts[2], 10, 64); err == nil && size >= 0 {
			return object{parts[0], parts[1], size}, nil
		}
	}
	return object{}, fault.Errorf(fault.Git, "running git cat-file: it answers %.120q", line)
}

// content reads what an object has, which is kept where it has at most limit bytes; of a larger one it is nil.
func (o *objects) content(obj object, limit int64) ([]byte, error) {
	if obj.size > limit {
		_, err := io.CopyN(io.Discard, o.out, obj.size+1)
		return nil, noEOF(err)
	}
	b := make([]byte, obj.size+1)
	if _, err := io.ReadFull(o.out, b); err != nil {
		return nil, noEOF(err)
	}
	return b[:obj.size:obj.size], nil
}

func noEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// talk runs f with a git that answers, which stays for the next question where all went well and the clone is locked. A question that
// is asked while another one is answered has a git of its own.
func (g *Group) talk(ctx context.Context, f func(*objects) error) error {
	o := g.objects
	g.objects = nil
	if o != nil && o.ctx.Err() != nil { // it was ended, and whoever asks now was not
		_ = o.close() // which says that
		o = nil
	}
	if o == nil {
		var err error
		if o, err = openObjects(ctx, g.clone().git()); err != nil {
			return err
		}
	}
	err := f(o)
	if err == nil && g.locked && g.objects == nil {
		g.objects = o
		return nil
	}
	early := errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.ErrClosedPipe)
	if err != nil && !early {
		o.kill() // it may have much more to say
	}
	if ended := o.close(); ended != nil && early {
		return ended
	}
	return err
}

// get is an object by its name, with its bytes where it has at most limit of them.
func (g *Group) get(ctx context.Context, name string, limit int64) (obj object, content []byte, err error) {
	err = g.talk(ctx, func(o *objects) error {
		if err := o.ask(name); err != nil {
			return err
		}
		if obj, err = o.answer(); err != nil || obj.id == "" {
			return err
		}
		content, err = o.content(obj, limit)
		return err
	})
	return obj, content, err
}

// File is a file of a commit, nil where there is none. One of more than limit bytes, and what is not a file, is an ErrUnfit.
func (g *Group) File(ctx context.Context, commit, name string, limit int64) ([]byte, error) {
	if commit == "" {
		return nil, nil
	}
	obj, b, err := g.get(ctx, commit+":"+name, limit)
	switch {
	case err != nil || obj.id == "":
		return nil, err
	case obj.kind != "blob":
		return nil, unfit("%s of commit %s is not a file; move it away", name, commit)
	case obj.size > limit:
		return nil, unfit("%s of commit %s has %d bytes, and at most %d are read", name, commit, obj.size, limit)
	}
	return b, nil
}

// Object are the bytes that have a name, nil where the clone does not have them. What is no file's, or more than limit bytes, is an
// ErrUnfit.
func (g *Group) Object(ctx context.Context, id string, limit int64) ([]byte, error) {
	obj, b, err := g.get(ctx, id, limit)
	switch {
	case err != nil || obj.id == "":
		return nil, err
	case obj.kind != "blob":
		return nil, unfit("it is a %s and not a file", obj.kind)
	case b == nil:
		return nil, unfit("it has %d bytes, and at most %d are read", obj.size, limit)
	}
	return b, nil
}

// Blob is a file of a commit by its path.
type Blob struct {
	Path string
	ID   string // of git, which is a function of the bytes
}

// BlobID is what git calls a file with these bytes in the clone, which has SHA-1 names
// (https://git-scm.com/book/en/v2/Git-Internals-Git-Objects#_object_storage).
func BlobID(content []byte) string {
	h := sha1.New()
	fmt.Fprintf(h, "blob %d\x00", len(content))
	h.Write(content)
	return hex.EncodeToString(h.Sum(nil))
}

// Files are the files of a commit below a folder, "" for all, by path. Whatever is not a plain file, such as a link, a submodule, a
// program or a folder without anything, of which there may be any number, is a fault.Mismatch.
func (g *Group) Files(ctx context.Context, commit, folder string) ([]Blob, error) {
	folder = strings.TrimSuffix(folder, "/")
	var all []Blob
	return all, g.tree(ctx, commit+":"+folder, folder, 0, &all)
}

func (g *Group) tree(ctx context.Context, name, folder string, depth int, all *[]Blob) error {
	if depth > maxDepth {
		return fault.Errorf(fault.Mismatch, "%.200q: there are more than %d folders in each other", folder, maxDepth)
	}
	rows, err := g.rows(ctx, name, folder)
	if err == nil && len(rows) == 0 && depth > 0 {
		return fault.Errorf(fault.Mismatch, "%.200q is a folder without files", folder)
	}
	for _, r := range rows {
		at := strings.TrimPrefix(folder+"/"+r.name, "/")
		switch {
		case r.mode == modeFolder:
			if err := g.tree(ctx, r.id, at, depth+1, all); err != nil {
				return err
			}
		case r.mode != modeFile:
			return fault.Errorf(fault.Mismatch, "%.200q is not a plain file", at)
		case len(*all) == maxFiles:
			return fault.Errorf(fault.Mismatch, "there are more than %d files", maxFiles)
		default:
			*all = append(*all, Blob{Path: at, ID: r.id})
		}
	}
	return err
}

// row is what a folder has under a name.
type row struct{ mode, name, id string }

const (
	modeFolder = "40000"
	modeFile   = "100644"
)

// rows are what a folder has, none where it is not there.
func (g *Group) rows(ctx context.Context, name, folder string) ([]row, error) {
	obj, b, err := g.get(ctx, name, maxTree)
	switch {
	case err != nil || obj.id == "":
		return nil, err
	case obj.kind != "tree" || b == nil:
		return nil, fault.Errorf(fault.Mismatch, "%.200q is not a folder, or has too much in it", folder)
	}
	// https://git-scm.com/book/en/v2/Git-Internals-Git-Objects#_tree_objects
	var all []row
	for width := len(obj.id) / 2; len(b) > 0; b = b[width:] {
		head, rest, ok := bytes.Cut(b, []byte{0})
		mode, base, named := strings.Cut(string(head), " ")
		if !ok || !named || base == "" || len(rest) < width {
			return nil, fault.Errorf(fault.Mismatch, "%.200q is not a folder", folder)
		}
		b = rest
		all = append(all, row{mode, base, hex.EncodeToString(rest[:width])})
	}
	return all, nil
}

// Read gives the bytes of blobs of Files to f, in their order. One of more than limit bytes is a fault.Mismatch.
func (g *Group) Read(ctx context.Context, blobs []Blob, limit int64, f func(Blob, []byte) error) error {
	if len(blobs) == 0 {
		return nil
	}
	return g.talk(ctx, func(o *objects) error {
		asked := make(chan error, 1)
		go func() {
			for _, b := range blobs {
				if err := o.ask(b.ID); err != nil {
					asked <- err
					return
				}
			}
			asked <- nil
		}()
		for _, b := range blobs {
			obj, err := o.answer()
			if err != nil {
				return err
			}
			if obj.id != b.ID || obj.kind != "blob" {
				return fault.Errorf(fault.Git, "running git cat-file: it answers with %s %.80s for %.200s", obj.kind, obj.id, b.Path)
			}
			if obj.size > limit {
				return fault.Errorf(fault.Mismatch, "%.200s has %d bytes, and at most %d are read", b.Path, obj.size, limit)
			}
			content, err := o.content(obj, limit)
			if err == nil {
				err = f(b, content)
			}
			if err != nil {
				return err
			}
		}
		return <-asked
	})
}
