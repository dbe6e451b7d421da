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

// place is where and how the pipeline runs.
type place struct {
	home    string // with everything that a user has
	cache   string // SLIPWAY_CACHE
	goCache string // "" for the user's own
	modules string // "" for the user's own
	zone    string
	locale  string
	umask   string // "" leaves it
	clock   time.Duration
	cpus    int // 0 leaves it
}

// differ makes the place from what varies, and says what it became.
func differ(vary []Variation, work string, getenv func(string) string, online bool) (place, []Variation) {
	p := place{home: getenv("HOME"), cache: filepath.Join(work, "cache"), zone: getenv("TZ"), locale: getenv("LC_ALL")}
	out := slices.Clone(vary)
	for i := range out {
		v := &out[i]
		switch v.Name {
		case "path":
			v.Is = "another, with spaces"
		case "tz":
			p.zone = other(p.zone, "Pacific/Kiritimati", "America/St_Johns")
			v.Is = p.zone
		case "locale":
			// In Turkish a capital i has a dot: the oldest way to have two letter cases of one name.
			p.locale = other(p.locale, "tr_TR.UTF-8", "C")
			v.Is = p.locale
		case "umask":
			if p.umask = "077"; runtime.GOOS == "windows" {
				p.umask, v.Is = "", "as it was: this system has none"
				continue
			}
			v.Is = p.umask
		case "home":
			p.home = filepath.Join(work, "home")
			v.Is = "empty"
		case "clock":
			if p.clock = years; online {
				p.clock = days
			}
			v.Is = fmt.Sprintf("%.0f hours ahead in the pipeline", p.clock.Hours())
		case "cpus":
			p.cpus = runtime.NumCPU() + 1
			v.Is = fmt.Sprintf("%d instead of %d", p.cpus, runtime.NumCPU())
		case "cache":
			p.goCache = filepath.Join(work, "go-build")
			v.Is = "empty"
		case "modules":
			p.modules = filepath.Join(work, "go-mod")
			v.Is = "unpacked anew"
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
