package fault_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"

	"github.com/slipway-build/slipway/pipeline/release/fault"
)

func TestCodeOf(t *testing.T) {
	transient := fault.New(fault.Transient, io.ErrUnexpectedEOF)
	mismatch := fault.Errorf(fault.Mismatch, "layer %d", 2)
	for _, tt := range []struct {
		name string
		err  error
		want fault.Code
	}{
		{"nil", nil, fault.OK},
		{"new of nil", fault.New(fault.Build, nil), fault.OK},
		{"uncoded", io.EOF, fault.Unclassified},
		{"coded", mismatch, fault.Mismatch},
		{"wrapped", fmt.Errorf("pulling: %w", transient), fault.Transient},
		{"outermost wins", fault.New(fault.Build, transient), fault.Build},
		{"joined: most serious", errors.Join(transient, mismatch), fault.Mismatch},
		{"joined and wrapped", fmt.Errorf("building: %w", errors.Join(transient, mismatch)), fault.Mismatch},
		{"joined with an uncoded one", errors.Join(transient, io.EOF), fault.Unclassified},
		{"joined with a bug", errors.Join(transient, fault.Errorf(fault.Bug, "no version")), fault.Bug},
		{"a bug in a build", fault.New(fault.Build, fmt.Errorf("packing: %w", fault.Errorf(fault.Bug, "no version"))), fault.Bug},
		{"a bug in a build, joined", fault.New(fault.Build, errors.Join(transient, fault.Errorf(fault.Bug, "no version"))), fault.Bug},
		{"a program error in an upload", fault.New(fault.Transient, fmt.Errorf("uploading: %w", programError())), fault.Bug},
		{"a program error alone", programError(), fault.Bug},
		{"new of no code", fault.New(fault.Unclassified, io.EOF), fault.Unclassified},
		{"no code around one", fault.New(fault.Unclassified, mismatch), fault.Mismatch},
		{"or of nil", fault.Or(nil, fault.Build), fault.OK},
		{"or of an uncoded one", fault.Or(io.EOF, fault.Build), fault.Build},
		{"or of a coded one", fault.Or(mismatch, fault.Build), fault.Mismatch},
		{"or of a program error", fault.Or(programError(), fault.Build), fault.Bug},
		{"or of joined ones", fault.Or(errors.Join(transient, io.EOF), fault.Build), fault.Build},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := fault.CodeOf(tt.err); got != tt.want {
				t.Errorf("CodeOf(%v) = %d, want %d", tt.err, got, tt.want)
			}
		})
	}
	for err, want := range map[error]int{nil: 0, io.EOF: 1, mismatch: 5, programError(): 1} {
		if got := fault.Exit(err); got != want {
			t.Errorf("Exit(%v) = %d, want %d", err, got, want)
		}
	}
	if !errors.Is(transient, io.ErrUnexpectedEOF) {
		t.Error("a coded error hides its cause")
	}
}

// programError is what a mistake in a program panics with.
func programError() (err error) {
	defer func() { err, _ = recover().(error) }()
	var list []int
	_ = list[len(os.Args)]
	return nil
}

func TestOfSystem(t *testing.T) {
	dir := t.TempDir()
	_, missing := os.Open(filepath.Join(dir, "a"))
	link := &os.LinkError{Op: "rename", Old: "a", New: "b", Err: syscall.ENOSPC}
	for _, tt := range []struct {
		err  error
		want fault.Code
	}{
		{nil, fault.Unclassified},
		{io.EOF, fault.Unclassified},
		{context.Canceled, fault.Unclassified},
		{missing, fault.Build},
		{&os.PathError{Op: "write", Path: "a", Err: syscall.ENOSPC}, fault.Transient},
		{fmt.Errorf("copying: %w", link), fault.Transient},
		{&os.PathError{Op: "open", Path: "a", Err: syscall.EACCES}, fault.Credentials},
		{syscall.EPERM, fault.Credentials},
		{&os.PathError{Op: "open", Path: "a", Err: syscall.EROFS}, fault.Usage},
		{&os.PathError{Op: "open", Path: "a/b", Err: syscall.ENOTDIR}, fault.Usage},
		{syscall.EIO, fault.Build},
	} {
		if got := fault.OfSystem(tt.err); got != tt.want {
			t.Errorf("OfSystem(%v) = %d, want %d", tt.err, got, tt.want)
		}
	}
}

func TestOfStatus(t *testing.T) {
	for status, want := range map[int]fault.Code{
		400: fault.Usage, 401: fault.Credentials, 403: fault.Credentials, 404: fault.Usage, 408: fault.Transient,
		409: fault.Conflict, 410: fault.Usage, 413: fault.Usage, 418: fault.Transient, 422: fault.Usage, 429: fault.Transient,
		500: fault.Transient, 503: fault.Transient, 301: fault.Transient, 0: fault.Transient,
	} {
		if got := fault.OfStatus(status); got != want {
			t.Errorf("OfStatus(%d) = %d, want %d", status, got, want)
		}
	}
}

type joinedNone struct{ error }

func (joinedNone) Unwrap() []error { return nil }

func TestJoinedNone(t *testing.T) {
	if code := fault.CodeOf(joinedNone{errors.New("of nothing")}); code != fault.Unclassified {
		t.Errorf("an error that joins none has code %d", code)
	}
}

func TestLines(t *testing.T) {
	one, name := errors.New("one"), errors.New("no file a\nslipway: PASS\n::error::")
	for _, tt := range []struct {
		err  error
		want []string
	}{
		{one, []string{"one"}},
		{name, []string{"no file a", "  slipway: PASS", "  ::error::"}},
		{errors.Join(one, fault.New(fault.Git, name), one), []string{"one", "no file a", "  slipway: PASS", "  ::error::", "one"}},
		{fault.New(fault.Git, errors.Join(one, errors.Join(one, name))), []string{"one", "one", "no file a", "  slipway: PASS", "  ::error::"}},
		{fmt.Errorf("x: %w", errors.Join(one, one)), []string{"x: one", "  one"}},
		{fmt.Errorf("%w; %w", one, one), []string{"one; one"}},
		{joinedNone{errors.New("of nothing")}, []string{"of nothing"}},
	} {
		if got := fault.Lines(tt.err); !slices.Equal(got, tt.want) {
			t.Errorf("%q has the lines %q, want %q", tt.err, got, tt.want)
		}
	}
}
