package fault_test

import (
	"errors"
	"fmt"
	"io"
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
		{"uncoded", io.EOF, fault.Bug},
		{"coded", mismatch, fault.Mismatch},
		{"wrapped", fmt.Errorf("pulling: %w", transient), fault.Transient},
		{"outermost wins", fault.New(fault.Build, transient), fault.Build},
		{"joined: most serious", errors.Join(transient, mismatch), fault.Mismatch},
		{"joined and wrapped", fmt.Errorf("building: %w", errors.Join(transient, mismatch)), fault.Mismatch},
		{"joined with a bug", errors.Join(transient, io.EOF), fault.Bug},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := fault.CodeOf(tt.err); got != tt.want {
				t.Errorf("CodeOf(%v) = %d, want %d", tt.err, got, tt.want)
			}
		})
	}
	if !errors.Is(transient, io.ErrUnexpectedEOF) {
		t.Error("a coded error hides its cause")
	}
}
