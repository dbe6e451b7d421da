package cli_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"

	"github.com/slipway-build/slipway/pipeline/fixture"
	"github.com/slipway-build/slipway/pipeline/fixture/gittest"
	"github.com/slipway-build/slipway/pipeline/fixture/verifytest"
	"github.com/slipway-build/slipway/pipeline/trust/sign"
)

// TestLockKilled kills platform lock before and after each git that it runs, and at each request that it makes. Each time the lock is the
// one that was there, and the same command ends with the one that a run ends with which nobody kills, also where a file is left that was
// begun.
func TestLockKilled(t *testing.T) {
	fixture.SkipRace(t)
	if runtime.GOOS == "windows" {
		t.Skip("the git that kills is a script")
	}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	real, err := exec.LookPath("git")
	must(err)
	dir := t.TempDir()
	key, err := sign.Generate(sign.Ed25519)
	must(err)
	must(os.WriteFile(filepath.Join(dir, "acme.pub"), key.Public().PEM(), 0o600))
	var listed []map[string]string
	for _, name := range []string{"gateway", "proto"} {
		at := filepath.Join(dir, name)
		must(os.Mkdir(at, 0o755))
		gittest.Git(t, at, "init", "--quiet", "--initial-branch=main", "--template=", ".")
		for _, v := range []string{"1.0.0", "1.1.0"} {
			gittest.Git(t, at, "commit", "--quiet", "--allow-empty", "-m", v)
			gittest.Git(t, at, "tag", "v"+v)
			rel := filepath.Join(dir, "releases", name, v)
			_, err := verifytest.Write(rel, verifytest.Options{Name: name, Version: v, Commit: gittest.Git(t, at, "rev-parse", "HEAD"), Bare: true})
			must(err)
			_, err = sign.Release(t.Context(), rel, sign.Options{Signer: key})
			must(err)
			listed = append(listed, map[string]string{"name": name, "version": v, "path": name + "/" + v + "/"})
		}
	}
	list, err := json.Marshal(map[string]any{"releases": listed})
	must(err)
	must(os.WriteFile(filepath.Join(dir, "releases", "releases.json"), list, 0o600))

	var mu sync.Mutex
	var running *exec.Cmd // and is killed at the request of that number, counted from 1
	requests, kill := 0, 0
	files := http.FileServer(http.Dir(filepath.Join(dir, "releases")))
	server := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		mu.Lock()
		if requests++; requests == kill {
			_ = running.Process.Kill()
		}
		mu.Unlock()
		files.ServeHTTP(rw, r)
	}))
	defer server.Close()
	platform := func(pin string) {
		text := "version: 1\nname: edge\ncomponents:\n"
		for _, name := range []string{"gateway", "proto"} {
			text += fmt.Sprintf("  %s: {repository: %s, pin: %s, releases: %q, key: acme.pub}\n", name, name, pin, server.URL)
		}
		must(os.WriteFile(filepath.Join(dir, "platform.yaml"), []byte(text), 0o600))
	}
	lock := filepath.Join(dir, "platform.lock")
	run := func(path string, at int) error {
		cmd := exec.Command("ci", "platform", "lock")
		cmd.Dir, cmd.Env = dir, append(gittest.Environ(t), "PATH="+path)
		var out strings.Builder
		cmd.Stdout, cmd.Stderr = &out, &out
		mu.Lock()
		running, requests, kill = cmd, 0, at
		err := cmd.Start()
		mu.Unlock()
		if err == nil {
			err = cmd.Wait()
		}
		if err != nil && cmd.ProcessState != nil && cmd.ProcessState.ExitCode() != -1 {
			t.Fatalf("%v\n%s", err, out.String())
		}
		return err
	}
	usual := os.Getenv("PATH")
	platform("1.0.0")
	must(run(usual, 0))
	old, err := os.ReadFile(lock)
	must(err)
	platform("1.1.0")
	must(run(usual, 0))
	want, err := os.ReadFile(lock)
	must(err)
	if !strings.Contains(string(want), "manifest") || string(want) == string(old) {
		t.Fatalf("%s", want)
	}

	points := map[string]int{}
	for _, where := range []string{"before git", "after git", "at request"} {
		for at, ended := 1, false; !ended; at++ {
			must(os.WriteFile(lock, old, 0o600))
			bin, request := t.TempDir(), 0
			if where == "at request" {
				request = at
			} else {
				// Several run at once, so a number is that of a folder, which one alone can make.
				script := fmt.Sprintf("#!/bin/sh\nn=1; while ! mkdir '%[1]s/'$n 2>/dev/null; do n=$((n+1)); done\n"+
					"[ $n != %[2]d ] || [ '%[3]s' != 'before git' ] || { kill -9 $PPID; exit 1; }\n'%[4]s' \"$@\"; r=$?\n"+
					"[ $n != %[2]d ] || [ '%[3]s' != 'after git' ] || kill -9 $PPID\nexit $r\n", bin, at, where, real)
				must(os.WriteFile(filepath.Join(bin, "git"), []byte(script), 0o755))
			}
			ended = run(bin+string(filepath.ListSeparator)+usual, request) == nil
			is, err := os.ReadFile(lock)
			must(err)
			if ended && string(is) != string(want) || !ended && string(is) != string(old) {
				t.Fatalf("%s %d, ended %t:\n%s", where, at, ended, is)
			}
			if ended {
				break
			}
			points[where]++
			must(os.WriteFile(lock+".tmp", want[:len(want)/2], 0o600)) // as one is that was killed while it wrote
			must(run(usual, 0))
			if is, err = os.ReadFile(lock); err != nil || string(is) != string(want) {
				t.Fatalf("after %s %d: %v\n%s", where, at, err, is)
			}
		}
	}
	for _, where := range []string{"before git", "after git", "at request"} {
		if points[where] < 2 {
			t.Errorf("it was killed %d times %s: this tests nothing", points[where], where)
		}
	}
	t.Log(points)
}
