//go:build unix

package cli_test

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/slipway-build/slipway/pipeline/fixture"
)

// TestSizes bounds what it takes to look at repositories that are large in one way: many files, deep folders, many tags, a long
// message.
func TestSizes(t *testing.T) {
	fixture.SkipRace(t)
	files, tags, message := 10_000, 1_000, 4<<20
	if fixture.Full {
		files, tags, message = 100_000, 5_000, 20<<20
	}
	var many, tagged strings.Builder
	for i := range files {
		fmt.Fprintf(&many, "M 100644 :1 d%d/f%d\n", i/100, i)
	}
	for i := range tags {
		fmt.Fprintf(&tagged, "reset refs/tags/v0.%d.%d\nfrom :2\n\n", i/100, i%100)
	}
	commit := func(message, changes string) string {
		return fmt.Sprintf("blob\nmark :1\ndata 2\nx\n\ncommit refs/heads/main\nmark :2\ncommitter A <a@example.com> 1700000000 +0000\ndata %d\n%s\nfrom refs/heads/main^0\n%s\n", len(message), message, changes)
	}
	for _, tt := range []struct{ name, stream string }{
		{"files", commit("feat: many", many.String())},
		{"folders", commit("feat: deep", "M 100644 :1 "+strings.Repeat("d/", 300)+"f\n")},
		{"tags", commit("feat: tags", "") + tagged.String()},
		{"message", commit("feat: long\n\n"+strings.Repeat("x", message), "")},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := newClone(t, map[string]string{
				"go.mod": "module example.com/tool\n\ngo 1.26\n", "main.go": "package main\n\nfunc main() {}\n", "LICENSE": "x\n",
				"slipway.yaml": "version: 1\nproject: {name: tool}\nbinaries: [{name: tool, main: ., targets: [linux/amd64]}]\n",
				"slipway.lock": "version: 1\ngo: {version: " + strings.TrimPrefix(runtime.Version(), "go") + "}\n",
			})
			cmd := exec.Command("git", "-C", c.dir, "fast-import", "--quiet")
			cmd.Stdin = strings.NewReader(tt.stream)
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			c.git("reset", "--quiet", "--hard", "main")
			c.prog = ciProgram(t)
			for name, value := range settings(t) {
				c.env = append(c.env, name+"="+value)
			}
			var plan time.Duration
			for _, args := range [][]string{{"plan"}, {"version", "next"}, {"check"}} {
				cpu, peak := c.takes(t, args...)
				if t.Logf("%q takes %v and %d MiB", args, cpu, peak>>20); cpu > 10*time.Second || peak > 200<<20 {
					t.Errorf("%q takes %v of a processor and %d MiB", args, cpu, peak>>20)
				}
				if args[0] == "plan" {
					plan = cpu
				}
				if cpu > 5*plan+500*time.Millisecond { // what writing all files would take
					t.Errorf("%q takes %v of a processor, and a plan %v", args, cpu, plan)
				}
			}
		})
	}
}

// takes runs the pipeline, which is to succeed, and is the time of a processor that it took, with all that it ran, and its memory.
func (c *clone) takes(t *testing.T, args ...string) (cpu time.Duration, peak int64) {
	t.Helper()
	cmd := exec.Command(c.prog, args...)
	cmd.Dir, cmd.Env = c.dir, c.env
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%q: %v\n%s", args, err, out)
	}
	return cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime(), peakOf(cmd.ProcessState)
}

// peakOf is the largest memory of a process, in bytes.
func peakOf(state *os.ProcessState) int64 {
	peak := int64(state.SysUsage().(*syscall.Rusage).Maxrss)
	if runtime.GOOS != "darwin" {
		peak *= 1024 // kilobytes, but on macOS
	}
	return peak
}
