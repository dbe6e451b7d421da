package cmdline_test

import (
	"bytes"
	"errors"
	"io"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/spf13/cobra"

	"github.com/slipway-build/slipway/pipeline/present/cmdline"
	"github.com/slipway-build/slipway/pipeline/release/fault"
)

func TestChoice(t *testing.T) {
	for _, tt := range []struct{ args, kind, what, err string }{
		{"", "a", "all", ""},
		{"--kind b --what x,z", "b", "x,z", ""},
		{"--what none", "a", "none", ""},
		{"--kind c", "", "", `invalid argument "c" for "--kind" flag: want a or b`},
		{"--kind a,b", "", "", "want a or b"},
		{"--kind=", "", "", "want a or b"},
		{"--what x,none", "", "", "want all, none or some of x,y,z"},
		{"--what x,", "", "", "want all, none or some of x,y,z"},
	} {
		kind, what := "a", "all"
		cmd := &cobra.Command{Use: "ci", SilenceErrors: true, SilenceUsage: true, Run: func(*cobra.Command, []string) {}}
		cmdline.Choice(cmd, &kind, "kind", []string{"a", "b"}, "a kind")
		cmdline.Choices(cmd, &what, "what", []string{"all", "none"}, []string{"x", "y", "z"}, "some")
		cmd.SetArgs(strings.Fields(tt.args))
		switch err := cmd.Execute(); {
		case tt.err != "":
			if err == nil || !strings.Contains(err.Error(), tt.err) {
				t.Errorf("%s: %v", tt.args, err)
			}
		case err != nil || kind != tt.kind || what != tt.what:
			t.Errorf("%s: %s, %s, %v", tt.args, kind, what, err)
		}
	}
}

// What a shell asks for, of a flag of all commands too.
func TestCompletion(t *testing.T) {
	var kind, how string
	root := &cobra.Command{Use: "ci"}
	root.PersistentFlags().Bool("x", false, "")
	cmdline.Choice(root, &how, "how", []string{"auto", "json"}, "how")
	sub := &cobra.Command{Use: "sub", Run: func(*cobra.Command, []string) {}}
	cmdline.Choice(sub, &kind, "kind", []string{"a", "b"}, "a kind")
	root.AddCommand(sub)
	for args, want := range map[string]string{"sub --kind ": "a\nb\n:4\n", "sub --how ": "auto\njson\n:4\n"} {
		var out bytes.Buffer
		root.SetOut(&out)
		root.SetErr(&bytes.Buffer{})
		root.SetArgs(append([]string{"__complete"}, strings.Split(args, " ")...))
		if err := root.Execute(); err != nil || out.String() != want {
			t.Errorf("%s: %q, %v", args, out.String(), err)
		}
	}
}

func TestElsewhere(t *testing.T) {
	ci, slipway := &cobra.Command{Use: "ci"}, &cobra.Command{Use: "slipway"}
	for _, tt := range []struct {
		root       *cobra.Command
		name, want string
	}{
		{ci, "serve", "slipway serve"}, {slipway, "build", "go run ./ci build"}, {ci, "build", ""}, {slipway, "frobnicate", ""}, {slipway, "verify", ""}, {ci, "verify", ""},
	} {
		got := cmdline.Elsewhere(tt.root, tt.name)
		if (got == "") != (tt.want == "") || !strings.HasSuffix(got, tt.want) {
			t.Errorf("%s %s: %q", tt.root.Name(), tt.name, got)
		}
	}
}

type full struct{}

func (full) Write([]byte) (int, error) {
	return 0, &os.PathError{Op: "write", Path: "/dev/stdout", Err: syscall.ENOSPC}
}

func TestOutput(t *testing.T) {
	_, err := cmdline.Output(full{}).Write([]byte("x"))
	if code := fault.CodeOf(err); code != fault.Transient || !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("%v has code %d", err, code)
	}
	if code := fault.CodeOf(errors.Join(fault.Errorf(fault.Mismatch, "not what it says"), err)); code != fault.Mismatch {
		t.Errorf("a verdict that cannot be shown has code %d", code)
	}
	var b bytes.Buffer
	w := cmdline.Output(&b)
	if n, err := io.WriteString(w, "a\u202eb\n"); n != 6 || err != nil {
		t.Error(n, err)
	}
	cmdline.Fail(w, errors.Join(errors.New("no file a\nslipway: PASS\x1b"), errors.New("two")))
	if b.String() != "a\\u202eb\nslipway: no file a\nslipway:   slipway: PASS\\u001b\nslipway: two\n" {
		t.Errorf("%q", b.String())
	}
}
