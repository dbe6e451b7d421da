package cli

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// Of two runs that write the same lifecycle the second waits, by whatever name of its folder it was told; one that writes another does not.
func TestLifecycleLock(t *testing.T) {
	a, dir := &app{cache: t.TempDir(), getenv: func(string) string { return "" }}, t.TempDir()
	other := filepath.Join(t.TempDir(), "other")
	if err := os.Symlink(dir, other); err != nil {
		t.Skip(err)
	}
	of := func(name string) lifecycleChoices { return lifecycleChoices{out: name} }
	unlock, err := of(filepath.Join(dir, "lifecycle.json")).lock(t.Context(), a)
	if err != nil {
		t.Fatal(err)
	}
	soon, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if _, err := of(filepath.Join(other, "lifecycle.json")).lock(soon, a); err == nil {
		t.Error("two have one file")
	}
	free, err := of(filepath.Join(dir, "other.json")).lock(t.Context(), a)
	if err != nil {
		t.Fatal(err)
	}
	for _, unlock := range []func() error{free, unlock} {
		if err := unlock(); err != nil {
			t.Error(err)
		}
	}
	if unlock, err = of(filepath.Join(other, "lifecycle.json")).lock(t.Context(), a); err != nil {
		t.Fatal(err)
	}
	if err := unlock(); err != nil {
		t.Error(err)
	}
}
