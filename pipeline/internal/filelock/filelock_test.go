package filelock_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/slipway-build/slipway/pipeline/internal/filelock"
)

// counter has this program be another process that counts in a file.
const counter = "SLIPWAY_TEST_COUNTER"

const many = 20

func TestMain(m *testing.M) {
	if name := os.Getenv(counter); name != "" {
		if err := count(name); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// count adds one, many times, to the number in a file, which two at once would lose.
func count(name string) error {
	for range many {
		unlock, err := filelock.Lock(context.Background(), name+".lock", 0)
		if err != nil {
			return err
		}
		b, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		n, err := strconv.Atoi(string(b))
		if err == nil {
			err = os.WriteFile(name, []byte(strconv.Itoa(n+1)), 0o644)
		}
		if err = errors.Join(err, unlock()); err != nil {
			return err
		}
	}
	return nil
}

func TestApart(t *testing.T) {
	name := filepath.Join(t.TempDir(), "n")
	if err := os.WriteFile(name, []byte("0"), 0o644); err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for range 3 {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), counter+"="+name)
		wg.Go(func() {
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Errorf("another process: %v: %s", err, out)
			}
		})
		wg.Go(func() {
			if err := count(name); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if b, err := os.ReadFile(name); err != nil || string(b) != strconv.Itoa(6*many) {
		t.Errorf("%s, %v, want %d", b, err, 6*many)
	}
}

func TestHeld(t *testing.T) {
	name := filepath.Join(t.TempDir(), "lock")
	unlock, err := filelock.Lock(t.Context(), name, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := filelock.Lock(t.Context(), name, 20*time.Millisecond); !errors.Is(err, filelock.ErrHeld) {
		t.Errorf("the lock is held twice: %v", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err := filelock.Lock(ctx, name, 0); !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
	if err := unlock(); err != nil {
		t.Error(err)
	}
	if unlock, err = filelock.Lock(t.Context(), name, time.Minute); err != nil {
		t.Fatal(err)
	}
	if err := unlock(); err != nil {
		t.Error(err)
	}
	if _, err := filelock.Lock(t.Context(), filepath.Join(name, "below"), 0); err == nil {
		t.Error("there is a lock below a file")
	}
}
