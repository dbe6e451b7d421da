package main

import (
	"bytes"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

var update = flag.Bool("update", false, "write the completions and the manual page anew")

// documented is the command as main runs it, with the commands that Cobra adds.
func documented() *cobra.Command {
	root := newRoot()
	root.InitDefaultHelpCmd()
	root.InitDefaultCompletionCmd()
	return root
}

// TestDocuments holds the files that packages carry to the commands as they are.
func TestDocuments(t *testing.T) {
	for name, write := range map[string]func(io.Writer) error{
		"completions/slipway.bash": func(w io.Writer) error { return documented().GenBashCompletionV2(w, true) },
		"completions/slipway.zsh":  documented().GenZshCompletion,
		"completions/slipway.fish": func(w io.Writer) error { return documented().GenFishCompletion(w, true) },
		"completions/slipway.ps1":  documented().GenPowerShellCompletionWithDesc,
		"man/slipway.1":            func(w io.Writer) error { return writeManual(w, documented()) },
	} {
		var b bytes.Buffer
		if err := write(&b); err != nil {
			t.Fatal(err)
		}
		path := filepath.FromSlash(name)
		if *update {
			if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, b.Bytes(), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		have, err := os.ReadFile(path)
		if err != nil {
			t.Error(err)
		} else if !bytes.Equal(have, b.Bytes()) {
			t.Errorf("%s is out of date: run go test ./cmd/slipway -update", name)
		}
	}
}

// TestCompletionsAreTheProgramsOwn holds what packages carry to what the program prints.
func TestCompletionsAreTheProgramsOwn(t *testing.T) {
	for shell, file := range map[string]string{"bash": "bash", "zsh": "zsh", "fish": "fish", "powershell": "ps1"} {
		var stdout, stderr strings.Builder
		if code := run([]string{"completion", shell}, &stdout, &stderr); code != 0 {
			t.Errorf("%s: exit %d, %s", shell, code, stderr.String())
		}
		want, err := os.ReadFile(filepath.Join("completions", "slipway."+file))
		if err != nil || stdout.String() != string(want) {
			t.Errorf("completion %s prints something else than slipway.%s (%v)", shell, file, err)
		}
	}
}

// TestManualNamesAll has every command, flag and example in the page.
func TestManualNamesAll(t *testing.T) {
	b, err := os.ReadFile(filepath.Join("man", "slipway.1"))
	if err != nil {
		t.Fatal(err)
	}
	page := strings.ReplaceAll(strings.ReplaceAll(string(b), `\-`, "-"), `\&`, "")
	for _, cmd := range documented().Commands() {
		if !strings.Contains(page, ".SS slipway "+cmd.Name()) {
			t.Errorf("%s is not in the page", cmd.CommandPath())
		}
		cmd.LocalFlags().VisitAll(func(f *pflag.Flag) {
			if !strings.Contains(page, "--"+f.Name) {
				t.Errorf("--%s of %s is not in the page", f.Name, cmd.CommandPath())
			}
		})
		for line := range strings.Lines(cmd.Example) {
			if !strings.Contains(page, strings.TrimSpace(line)) {
				t.Errorf("%q of %s is not in the page", line, cmd.CommandPath())
			}
		}
	}
}

// TestManualReads has the page read by what people read it with.
func TestManualReads(t *testing.T) {
	page := filepath.Join("man", "slipway.1")
	for _, command := range [][]string{
		{"groff", "-man", "-Tutf8", "-ww", "-z", page},
		{"man", "--warnings", "-E", "UTF-8", "-l", "-Tutf8", "-Z", page},
		{"mandoc", "-T", "lint", "-W", "error", page},
	} {
		t.Run(command[0], func(t *testing.T) {
			if _, err := exec.LookPath(command[0]); err != nil {
				t.Skip("install groff, man-db and mandoc")
			}
			cmd := exec.Command(command[0], command[1:]...)
			cmd.Env = append(os.Environ(), "LC_ALL=C.UTF-8", "MANROFFSEQ=", "MANWIDTH=80")
			var stdout, stderr strings.Builder
			cmd.Stdout, cmd.Stderr = &stdout, &stderr
			err := cmd.Run()
			if complaints := stderr.String(); err != nil || complaints != "" || command[0] == "mandoc" && stdout.Len() > 0 {
				t.Errorf("%s: %v\n%s%s", command[0], err, complaints, stdout.String()[:min(stdout.Len(), 2000)])
			}
		})
	}
}

// TestCompletionsRead has the scripts read by their shells.
func TestCompletionsRead(t *testing.T) {
	for shell, file := range map[string]string{"bash": "bash", "zsh": "zsh", "fish": "fish"} {
		t.Run(shell, func(t *testing.T) {
			if _, err := exec.LookPath(shell); err != nil {
				t.Skip("install ", shell)
			}
			if out, err := exec.Command(shell, "-n", filepath.Join("completions", "slipway."+file)).CombinedOutput(); err != nil || len(out) > 0 {
				t.Errorf("%v\n%s", err, out)
			}
		})
	}
}

// manual writes a page for man(1), in the macros of man(7).
type manual struct{ strings.Builder }

// writeManual writes one page for the command and those below it. It has no date, since nothing in it but the commit
// could say which.
func writeManual(w io.Writer, root *cobra.Command) error {
	var m manual
	m.line(`.\" Written by the tests of cmd/slipway from its commands: go test ./cmd/slipway -update`)
	m.line(`.TH SLIPWAY 1 "" "Slipway" "User Commands"`)
	m.section("NAME")
	m.line(`slipway \- ` + roff(strings.ToLower(root.Short[:1])+root.Short[1:]))
	m.section("SYNOPSIS")
	m.line(".B slipway")
	m.line(`.I command`)
	m.line(`.RI [ options ]`)
	m.section("DESCRIPTION")
	long, _, _ := strings.Cut(root.Long, "\n\nExit codes:")
	m.paragraphs(long)
	m.section("OPTIONS")
	m.line(".TP")
	m.line(`.BR \-h ", " \-\-help`)
	m.line("Show help for slipway, or for the command that it follows.")
	m.section("COMMANDS")
	for _, cmd := range root.Commands() {
		m.command(cmd)
	}
	m.section("EXIT STATUS")
	for _, row := range [][2]string{
		{"0", "Done, or nothing to do."},
		{"1", "A bug in slipway."},
		{"2", "The command line, or the configuration that it names, is wrong."},
		{"5", "A release is not what it says it is."},
		{"6", "Something is not there at the moment; the same command may work later."},
	} {
		m.line(".TP")
		m.line(".B " + row[0])
		m.line(roff(row[1]))
	}
	m.section("FILES")
	for _, row := range [][2]string{
		{"release.json", "The manifest of a release, at the top of its folder: every file with its size and digest, and what it was made from."},
		{"SHA256SUMS", "The digests of all files of a release, as sha256sum(1) reads them."},
		{"checksums.txt", "The same of what people download, by file names without folders."},
		{"slipway.yaml", "What a project releases; init writes it."},
		{"slipway.lock", "The toolchain and the base images of a project, by digest; init writes it."},
	} {
		m.line(".TP")
		m.line(".I " + roff(row[0]))
		m.line(roff(row[1]))
	}
	m.section("EXAMPLES")
	for _, cmd := range root.Commands() {
		m.examples(cmd)
	}
	m.section("SEE ALSO")
	m.line(".BR sha256sum (1)")
	m.line(".PP")
	m.line(".UR https://github.com/slipway\\-build/slipway")
	m.line(".UE")
	_, err := io.WriteString(w, m.String())
	return err
}

func (m *manual) line(s string) { m.WriteString(s + "\n") }

func (m *manual) section(name string) { m.line(".SH " + name) }

// paragraphs writes text whose paragraphs have an empty line between them. Lines that are indented stay as they are.
func (m *manual) paragraphs(text string) {
	for i, p := range strings.Split(strings.Trim(text, "\n"), "\n\n") {
		if i > 0 {
			m.line(".PP")
		}
		verbatim := strings.HasPrefix(p, "\t") || strings.HasPrefix(p, "  ")
		if verbatim {
			m.line(".RS 4")
			m.line(".nf")
		}
		for line := range strings.SplitSeq(p, "\n") {
			if line = strings.TrimSpace(line); line != "" {
				m.line(roff(line))
			}
		}
		if verbatim {
			m.line(".fi")
			m.line(".RE")
		}
	}
}

func (m *manual) command(cmd *cobra.Command) {
	m.line(".SS " + roff(usageLine(cmd)))
	text := cmd.Long
	if text == "" {
		text = cmd.Short + "."
	}
	m.paragraphs(text)
	m.flags(cmd)
	for _, sub := range cmd.Commands() {
		m.line(".TP")
		m.line(".B " + roff(usageLine(sub)))
		m.line(roff(sub.Short) + ".")
		if flags := sub.LocalNonPersistentFlags(); flags.HasAvailableFlags() {
			m.line(".RS")
			m.flags(sub)
			m.line(".RE")
		}
	}
}

// usageLine leaves out what is said of every command.
func usageLine(cmd *cobra.Command) string { return strings.TrimSuffix(cmd.UseLine(), " [flags]") }

func (m *manual) flags(cmd *cobra.Command) {
	cmd.LocalFlags().VisitAll(func(f *pflag.Flag) {
		if f.Hidden || f.Name == "help" {
			return
		}
		value, usage := pflag.UnquoteUsage(f)
		name := `\fB` + roff("--"+f.Name) + `\fR`
		if f.Shorthand != "" {
			name = `\fB` + roff("-"+f.Shorthand) + `\fR, ` + name
		}
		if value != "" {
			name += ` \fI` + roff(value) + `\fR`
		}
		m.line(".TP")
		m.line(name)
		if value != "" && f.DefValue != "" && f.DefValue != "0s" {
			usage += fmt.Sprintf(" (default %s)", f.DefValue)
		}
		m.line(roff(strings.ToUpper(usage[:1])+usage[1:]) + ".")
	})
}

func (m *manual) examples(cmd *cobra.Command) {
	if cmd.Example == "" {
		return
	}
	m.line(".PP")
	m.line(roff(strings.TrimSuffix(cmd.Short, ".")) + ":")
	m.line(".PP")
	m.line(".RS 4")
	m.line(".nf")
	for line := range strings.Lines(cmd.Example) {
		m.line(`\fB` + roff(strings.TrimSpace(line)) + `\fR`)
	}
	m.line(".fi")
	m.line(".RE")
}

// roff is text in which troff sees neither requests nor escapes, and whose hyphens can be copied into a shell.
func roff(s string) string {
	s = strings.NewReplacer(`\`, `\e`, "-", `\-`, "'", `\(aq`, "`", `\(ga`, "^", `\(ha`, "~", `\(ti`).Replace(s)
	if strings.HasPrefix(s, ".") {
		s = `\&` + s
	}
	return s
}
