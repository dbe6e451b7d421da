package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"go/version"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/mod/modfile"

	"github.com/slipway-build/slipway/images"
	"github.com/slipway-build/slipway/pipeline/build/chart"
	"github.com/slipway-build/slipway/pipeline/build/engine"
	"github.com/slipway-build/slipway/pipeline/config"
	"github.com/slipway-build/slipway/pipeline/internal/bounded"
	"github.com/slipway-build/slipway/pipeline/internal/words"
	"github.com/slipway-build/slipway/pipeline/release/fault"
)

func (a *app) lockCommand() *cobra.Command {
	var check bool
	cmd := &cobra.Command{
		Use:   "lock [go|charts|DISTRO]...",
		Short: "Pin what a release is made from: bases, toolchain, charts",
		Long: `Lock resolves the tag of every base to a digest, the Go release to the checksum of its toolchain, and what charts
depend on to exact versions, prints what changed and writes slipway.lock. Arguments narrow it to some of them. It is the
only command that resolves anything: a build takes what is locked.`,
		Example: "  go run ./ci lock\n  go run ./ci lock alpine\n  go run ./ci lock --check",
		RunE: func(cmd *cobra.Command, args []string) error {
			cfg, name, err := a.readConfig()
			if err != nil {
				return err
			}
			before, err := readLock(name)
			switch {
			case errors.Is(err, os.ErrNotExist):
				args = nil // there is nothing yet that could be left as it is
			case err != nil:
				return err // to go on without it would unlock what args leave out
			}
			known := append([]string{"go", "charts"}, images.Names()...)
			for _, arg := range args {
				if !slices.Contains(known, arg) {
					return fault.Errorf(fault.Usage, "there is nothing called %q to lock; there is %s", arg, known)
				}
			}
			after, err := a.resolve(cmd.Context(), cfg, before, a.root(cmd.Context(), name), args)
			if err != nil {
				return err
			}
			changes := config.Diff(before, after)
			for _, c := range changes {
				fmt.Fprintln(a.stdout, words.Line(fmt.Sprint(c)))
			}
			if check {
				if len(changes) > 0 {
					return fault.Errorf(fault.Mismatch, "%s differs from what is there now in %s; run the lock command to take it", config.LockFileName, count(len(changes), "place", "places"))
				}
				return nil
			}
			return writeLock(filepath.Join(filepath.Dir(name), config.LockFileName), after.Encode())
		},
	}
	cmd.Flags().BoolVar(&check, "check", false, "write nothing; fail where the lock differs from what is there now")
	return cmd
}

// writeLock replaces the file in one step, and not at all where nothing changed.
func writeLock(name string, encoded []byte) error {
	if old, err := bounded.File(name, maxConfig); err == nil && bytes.Equal(old, encoded) {
		return nil
	}
	tmp := name + ".tmp"
	if err := os.WriteFile(tmp, encoded, 0o644); err != nil {
		return err
	}
	return os.Rename(tmp, name)
}

// resolve makes a lock from what is there now; what only leaves out stays as it was.
func (a *app) resolve(ctx context.Context, cfg config.Config, before config.Lock, root string, only []string) (config.Lock, error) {
	wanted := func(name string) bool { return len(only) == 0 || slices.Contains(only, name) }
	after := config.Lock{Version: 1, Go: before.Go, Bases: map[string]config.Base{}, Charts: before.Charts}
	switch {
	case !cfg.NeedsGo():
		after.Go = config.Toolchain{}
	case wanted("go") || before.Go.Version == "":
		tc, err := a.resolveGo(ctx, cfg, before.Go, root)
		if err != nil {
			return after, err
		}
		after.Go = tc
	}
	store, err := a.store(cfg)
	if err != nil {
		return after, err
	}
	for _, name := range usedDistros(cfg) {
		old, locked := before.Bases[name]
		if !wanted(name) {
			if locked {
				after.Bases[name] = old
			}
			continue
		}
		d, _ := images.ByName(name)
		image := cfg.BaseImage(d)
		digest, platforms, err := store.Resolve(ctx, image)
		if err != nil {
			return after, err
		}
		after.Bases[name] = config.Base{Image: image, Digest: digest, Platforms: platforms}
	}
	if wanted("charts") {
		after.Charts = nil
		for _, c := range cfg.Charts {
			deps, err := chart.Resolve(ctx, filepath.Join(root, filepath.FromSlash(c.Path)), http.DefaultClient)
			if err != nil {
				return after, err
			}
			for _, d := range deps {
				after.Charts = append(after.Charts, config.Dependency{Chart: c.Path, Name: d.Name, Version: d.Version, Repository: d.Repository, Digest: d.Digest})
			}
		}
	}
	return after, nil
}

// usedDistros are the distributions that some image is built on, in their usual order.
func usedDistros(cfg config.Config) []string {
	used := map[string]bool{}
	for _, im := range cfg.Images {
		for _, d := range im.DistroNames() {
			used[d] = true
		}
	}
	return slices.DeleteFunc(images.Names(), func(d string) bool { return !used[d] })
}

// builders are the hosts that a toolchain is locked for besides this one: what containers run on.
var builders = []string{"linux-amd64", "linux-arm64"}

// resolveGo finds the release that the project requires and the checksums of its toolchain.
func (a *app) resolveGo(ctx context.Context, cfg config.Config, before config.Toolchain, root string) (config.Toolchain, error) {
	goCommand, err := exec.LookPath("go")
	if err != nil {
		return before, fault.Errorf(fault.Usage, "the Go command is not on PATH; it fetches and checks the toolchain: install Go from https://go.dev/dl")
	}
	release, err := wantedGo(cfg, before, root)
	if err != nil {
		return before, err
	}
	after := config.Toolchain{Version: release, Sums: map[string]string{}}
	if before.Version == release {
		maps.Copy(after.Sums, before.Sums)
	}
	hosts := builders
	if len(after.Sums) == 0 {
		hosts = append([]string{runtime.GOOS + "-" + runtime.GOARCH}, builders...)
	}
	for _, host := range hosts {
		if after.Sums[host] != "" {
			continue // a release's checksum never changes: the checksum database would not have it otherwise
		}
		fmt.Fprintf(a.stderr, "fetching go%s for %s, about 70 MB, for its checksum\n", release, host)
		tc, err := engine.FetchToolchain(ctx, engine.ToolchainSource{
			GoCommand: goCommand, Environ: a.environ, Release: release, Host: host,
		})
		if err != nil {
			return before, err
		}
		after.Sums[host] = tc.Sum
	}
	return after, nil
}

// wantedGo is the release that compiles the project: what slipway.yaml says, else the toolchain line of go.mod, the highest
// where its programs are in several modules. The go line is a minimum, often without any patch, so the release that is
// locked already is kept if it is new enough, else the Go command's own is taken if that is.
func wantedGo(cfg config.Config, before config.Toolchain, root string) (string, error) {
	if cfg.Go != "" {
		return cfg.Go, nil
	}
	minimum, toolchain, err := goOf(root) // the tests run there
	if err != nil {
		return "", err
	}
	if len(cfg.Binaries) > 0 {
		toolchain = "" // unless a program is in that module: it may be of another project
	}
	for _, bin := range cfg.Binaries {
		least, named, err := goOf(filepath.Join(root, filepath.FromSlash(bin.Dir)))
		if err != nil {
			return "", err
		}
		minimum, toolchain = newer(minimum, least), newer(toolchain, named)
	}
	if toolchain != "" && newer(minimum, toolchain) == toolchain {
		return toolchain, nil
	}
	for _, candidate := range []string{"go" + before.Version, runtime.Version()} {
		// A Go built from source calls itself devel and is not a release.
		if version.IsValid(candidate) && candidate != version.Lang(candidate) && version.Compare(candidate, "go"+minimum) >= 0 {
			return strings.TrimPrefix(candidate, "go"), nil
		}
	}
	return "", fault.Errorf(fault.Usage, "go.mod requires Go %s or later and %s runs; set go: in %s to a release such as 1.26.8", minimum, runtime.Version(), config.FileName)
}

// newer is the later of two releases of Go, either of which may be empty.
func newer(a, b string) string {
	if version.Compare("go"+a, "go"+b) > 0 {
		return a
	}
	return b
}

// goOf is the lowest release that go.mod allows and the one that it names as its toolchain; either may be empty.
func goOf(root string) (minimum, toolchain string, err error) {
	name := filepath.Join(root, "go.mod")
	if err := regular(name); errors.Is(err, os.ErrNotExist) {
		return "", "", nil // the modules are in folders of their own
	} else if err != nil {
		return "", "", err
	}
	b, err := bounded.File(name, maxText)
	if err != nil {
		return "", "", fault.New(fault.Usage, err)
	}
	// Not the lax parser, which is for dependencies and passes over the toolchain line.
	f, err := modfile.Parse("go.mod", b, nil)
	if err != nil {
		return "", "", fault.Errorf(fault.Usage, "reading go.mod: %w", err)
	}
	if f.Go != nil {
		minimum = f.Go.Version
	}
	if f.Toolchain != nil && version.IsValid(f.Toolchain.Name) {
		toolchain = strings.TrimPrefix(f.Toolchain.Name, "go")
	}
	return minimum, toolchain, nil
}
