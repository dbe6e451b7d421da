package reproduce

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/slipway-build/slipway/pipeline/release/fault"
	"github.com/slipway-build/slipway/pipeline/reproduce/rerun"
)

// Variation is something that is made different from what it was here, and that must not matter.
type Variation struct {
	Name string `json:"name"`
	Is   string `json:"is"` // what it was in the rebuild, in words
}

// Variations are the names of all there are.
func Variations() []string {
	return []string{"path", "tz", "locale", "umask", "home", "clock", "cpus", "cache", "modules"}
}

// choose checks the names of the variations that somebody asked for.
func choose(names []string) ([]Variation, error) {
	if names == nil {
		names = Variations()
	}
	var out []Variation
	for _, n := range names {
		if !slices.Contains(Variations(), n) {
			return nil, fault.Errorf(fault.Usage, "nothing called %.80q can be made different; there are %s", n, strings.Join(Variations(), ", "))
		}
		out = append(out, Variation{Name: n})
	}
	return out, nil
}

// How far the clock of the pipeline is ahead. Certificates of servers are good for weeks, so a pipeline that still has to
// fetch something cannot be in another year; it is in another day, month perhaps, and hour.
const (
	years = 3 * 365 * 24 * time.Hour
	days  = 41 * time.Hour
)

// place is where and how the pipeline runs, and how far its clock is ahead.
type place struct {
	rerun.Place
	clock time.Duration
}

// differ makes the place from what varies, and says what it became.
func differ(vary []Variation, work string, getenv func(string) string, online bool) (place, []Variation) {
	p := place{Place: rerun.Place{Home: getenv("HOME"), Cache: filepath.Join(work, "cache"), Zone: getenv("TZ"), Locale: getenv("LC_ALL")}}
	out := slices.Clone(vary)
	for i := range out {
		v := &out[i]
		switch v.Name {
		case "path":
			v.Is = "another, with spaces"
		case "tz":
			p.Zone = other(p.Zone, "Pacific/Kiritimati", "America/St_Johns")
			v.Is = p.Zone
		case "locale":
			// In Turkish a capital i has a dot: the oldest way to have two letter cases of one name.
			p.Locale = other(p.Locale, "tr_TR.UTF-8", "C")
			v.Is = p.Locale
		case "umask":
			if p.Umask = "077"; runtime.GOOS == "windows" {
				p.Umask, v.Is = "", "as it was: this system has none"
				continue
			}
			v.Is = p.Umask
		case "home":
			p.Home = filepath.Join(work, "home")
			v.Is = "empty"
		case "clock":
			if p.clock = years; online {
				p.clock = days
			}
			v.Is = fmt.Sprintf("%.0f hours ahead in the pipeline", p.clock.Hours())
		case "cpus":
			p.CPUs = runtime.NumCPU() + 1
			v.Is = fmt.Sprintf("%d instead of %d", p.CPUs, runtime.NumCPU())
		case "cache":
			p.GoCache = filepath.Join(work, "go-build")
			v.Is = "empty"
		case "modules":
			p.Modules = filepath.Join(work, "go-mod")
			v.Is = "unpacked again"
		}
	}
	return p, out
}

// other is the first of two that is not it.
func other(it, first, second string) string {
	if it == first {
		return second
	}
	return first
}

// nowLine is the line of time.Now that asks the system, in the Go releases that there are.
var nowLine = regexp.MustCompile(`(?m)^\tsec, nsec, mono := (runtimeN|n)ow\(\)$`)

var errClock = errors.New("time.Now of this Go release looks different, so the clock was left as it is")

// overlay writes a copy of the standard library's clock that is ahead, and what the Go command wants to know of it. A
// statically linked program cannot be told the time from outside.
func overlay(work, goroot string, ahead time.Duration) (string, error) {
	name := filepath.Join(goroot, "src", "time", "time.go")
	b, err := os.ReadFile(name)
	if err != nil {
		return "", errClock
	}
	if len(nowLine.FindAllIndex(b, -1)) == 0 {
		return "", errClock
	}
	b = nowLine.ReplaceAllFunc(b, func(line []byte) []byte {
		return fmt.Appendf(bytes.Clone(line), "\n\tsec += %d", int64(ahead/time.Second))
	})
	file := filepath.Join(work, "time.go")
	if err := os.WriteFile(file, b, 0o600); err != nil {
		return "", err
	}
	doc, err := json.Marshal(map[string]map[string]string{"Replace": {name: file}})
	if err != nil {
		return "", err
	}
	at := filepath.Join(work, "overlay.json")
	return at, os.WriteFile(at, doc, 0o600)
}
