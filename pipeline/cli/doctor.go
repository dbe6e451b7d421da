package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/slipway-build/slipway/images"
	"github.com/slipway-build/slipway/pipeline/config"
	"github.com/slipway-build/slipway/pipeline/internal/gocommand"
	"github.com/slipway-build/slipway/pipeline/internal/words"
	"github.com/slipway-build/slipway/pipeline/plan"
	"github.com/slipway-build/slipway/pipeline/release/fault"
)

// finding is what the doctor has to say of one thing.
type finding struct {
	What   string     `json:"what"`
	State  string     `json:"state"` // ok, note or broken
	Detail string     `json:"detail"`
	WayOut string     `json:"wayOut,omitempty"`
	code   fault.Code // of a broken thing
}

const (
	ok     = "ok"
	note   = "note" // not needed for every build
	broken = "broken"
)

// neededDisk is what a build of all targets of a middling program takes, in bytes.
const neededDisk = 4 << 30

func (a *app) doctorCommand() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:     "doctor",
		Short:   "Find out what this machine lacks for a release, and how to fix it",
		Example: "  go run ./ci doctor",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			findings := a.examine(cmd.Context())
			if asJSON {
				enc := json.NewEncoder(a.stdout)
				enc.SetIndent("", "  ")
				if err := enc.Encode(findings); err != nil {
					return err
				}
			} else if err := a.printFindings(findings); err != nil {
				return err
			}
			for _, f := range findings {
				if f.State == broken {
					return fault.Errorf(f.code, "%s: %s", f.What, f.WayOut)
				}
			}
			return nil
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

func (a *app) printFindings(findings []finding) error {
	w := tabwriter.NewWriter(a.stdout, 0, 0, 2, ' ', 0)
	for _, f := range findings {
		fmt.Fprintf(w, "%s\t%s\t%s\n", f.State, words.Line(f.What), words.Line(f.Detail))
		if f.WayOut != "" {
			fmt.Fprintf(w, "\t\t-> %s\n", f.WayOut)
		}
	}
	return w.Flush()
}

// examine looks at everything that a build needs, side by side.
func (a *app) examine(ctx context.Context) []finding {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	cfg, file, cfgErr := a.readConfig()
	root := "."
	if cfgErr == nil {
		root = a.root(ctx, file)
	}
	lock, lockErr := readLock(file)
	checks := []func() []finding{
		func() []finding {
			return one(a.examineTool(ctx, "git", "install git 2.25 or newer", fault.Git, "version"))
		},
		func() []finding {
			f := a.examineTool(ctx, "go", "install Go from https://go.dev/dl", fault.Build, "env", "GOVERSION")
			if lockErr == nil && lock.Go.Version != "" && f.State == ok && f.Detail != "go"+lock.Go.Version {
				f.Detail += "; it fetches the locked go" + lock.Go.Version + " for each build"
			}
			return one(f)
		},
		func() []finding {
			if cfgErr != nil {
				return one(finding{config.FileName, broken, firstLine(cfgErr), "mend the file, or write one with the init command", fault.Usage})
			}
			return one(finding{config.FileName, ok, file, "", 0})
		},
		func() []finding {
			if lockErr != nil {
				return one(finding{config.LockFileName, broken, firstLine(lockErr), "run the lock command and commit it", fault.Usage})
			}
			locked := count(len(lock.Bases), "base", "bases")
			if lock.Go.Version != "" {
				locked = "go" + lock.Go.Version + ", " + locked
			}
			return one(finding{config.LockFileName, ok, locked, "", 0})
		},
		func() []finding {
			if cfgErr != nil || lockErr != nil {
				return nil
			}
			src, err := a.readSource(ctx, root, cfg)
			if err != nil {
				return one(finding{"commit", broken, firstLine(err), "see above; --dirty takes the tree as it is", fault.CodeOf(err)})
			}
			if _, err := plan.New(src, cfg, lock, plan.Options{}); err != nil {
				return one(finding{"plan", broken, firstLine(err), "mend " + config.FileName + " or run the lock command", fault.CodeOf(err)})
			}
			return one(finding{"commit", ok, fmt.Sprintf("%s (%s)", src.Version, src.Why), "", 0})
		},
		func() []finding {
			kind, why := a.autoEngine(ctx)
			f := finding{"engine", ok, kind + ": " + why, "", 0}
			if kind == "host" {
				f.State, f.WayOut = note, "fine without cgo; for Dagger, start Docker or Podman"
			}
			return one(f)
		},
		func() []finding {
			if cfgErr != nil {
				return nil
			}
			return a.examineRegistries(ctx, cfg, lock)
		},
		func() []finding {
			cache, err := a.cacheDir()
			if err != nil {
				return one(finding{"cache", broken, firstLine(err), "name a folder with --cache", fault.Usage})
			}
			return one(examineDisk("disk of dist/", root), examineDisk("disk of the cache", cache))
		},
	}
	results := make([][]finding, len(checks))
	var wg sync.WaitGroup
	for i, check := range checks {
		wg.Go(func() { results[i] = check() })
	}
	wg.Wait()
	var out []finding
	for _, r := range results {
		out = append(out, r...)
	}
	return out
}

func one(f ...finding) []finding { return f }

func firstLine(err error) string {
	line, _, _ := strings.Cut(err.Error(), "\n")
	return line
}

func (a *app) examineTool(ctx context.Context, name, wayOut string, code fault.Code, args ...string) finding {
	path, err := exec.LookPath(name)
	if err != nil {
		return finding{name, broken, "not on PATH", wayOut, code}
	}
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Env = append(gocommand.Environ(a.environ), "GOTOOLCHAIN=local")
	out, err := cmd.Output()
	if err != nil {
		return finding{name, broken, firstLine(err), wayOut, code}
	}
	return finding{name, ok, strings.TrimPrefix(strings.TrimSpace(string(out)), name+" version "), "", 0}
}

// examineRegistries tells for each base whether it can be had.
func (a *app) examineRegistries(ctx context.Context, cfg config.Config, lock config.Lock) []finding {
	store, err := a.store(cfg)
	if err != nil {
		return one(finding{"bases", broken, firstLine(err), "", fault.Usage})
	}
	store.Client = &timeout{http.DefaultTransport, 8 * time.Second}
	names := usedDistros(cfg)
	out := make([]finding, len(names))
	var wg sync.WaitGroup
	for i, name := range names {
		base, locked := lock.Bases[name]
		what := "base " + name
		if !locked {
			out[i] = finding{what, broken, "it is not locked", "run the lock command and commit it", fault.Usage}
			continue
		}
		wg.Go(func() {
			out[i] = finding{what, ok, base.Image + " can be had", "", 0}
			d, _ := images.ByName(name)
			if _, err := store.Base(ctx, plan.Base{Image: base.Image, Digest: base.Digest}, d.Platforms[0]); err != nil {
				out[i] = finding{what, note, base.Image + " cannot be had from here", "set SLIPWAY_MIRROR to a registry that has it, or build with --standalone", 0}
			}
		})
	}
	wg.Wait()
	return out
}

// timeout bounds each request.
type timeout struct {
	next http.RoundTripper
	d    time.Duration
}

func (t *timeout) RoundTrip(r *http.Request) (*http.Response, error) {
	ctx, cancel := context.WithTimeout(r.Context(), t.d)
	resp, err := t.next.RoundTrip(r.WithContext(ctx))
	if err != nil {
		cancel()
		return nil, err
	}
	context.AfterFunc(ctx, cancel)
	return resp, nil
}

func examineDisk(what, dir string) finding {
	for {
		if _, err := os.Stat(dir); err == nil || dir == filepath.Dir(dir) {
			break
		}
		dir = filepath.Dir(dir)
	}
	free, err := freeDisk(dir)
	if err != nil {
		return finding{what, note, firstLine(err), "", 0}
	}
	f := finding{what, ok, fmt.Sprintf("%.1f GB free at %s", float64(free)/1e9, dir), "", 0}
	if free < neededDisk {
		f.State, f.WayOut = note, "a build of all targets may need 4 GB; choose another disk with --out or --cache"
	}
	return f
}
