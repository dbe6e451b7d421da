package engine_test

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/slipway-build/slipway/pipeline/build/engine"
	"github.com/slipway-build/slipway/pipeline/release/fault"
)

func TestNewFailure(t *testing.T) {
	cause := errors.New("exit status 1")
	for _, tt := range []struct {
		name, output string
		want         fault.Code
	}{
		{"compiler", "./main.go:3:9: undefined: nowhere\n", fault.Build},
		{"nothing said", "", fault.Build},
		{"a brace is missing", "./main.go:4:1: syntax error: unexpected EOF, expecting }\n", fault.Build},
		{"a number that looks like a status", "./x.go:3:2: 512 (untyped int constant) is not used\n", fault.Build},
		{"cut off", "Get \"https://proxy.example.com/x.zip\": unexpected EOF\n", fault.Transient},
		{"proxy refuses", "main.go:3:8: example.com/dep@v1.0.0: Get \"http://127.0.0.1:1/x.zip\": dial tcp 127.0.0.1:1: connect: connection refused\n", fault.Transient},
		{"no name", "dial tcp: lookup proxy.example.com: no such host\n", fault.Transient},
		{"slow", "net/http: TLS handshake timeout\n", fault.Transient},
		{"proxy is ill", "reading https://proxy.example.com/x: 502 Bad Gateway\n", fault.Transient},
		{"proxy is busy", "reading https://proxy.example.com/x: 429 Too Many Requests\n", fault.Transient},
		{"no such module", "reading https://proxy.example.com/x: 404 Not Found\n", fault.Build},
		{"checksum", "verifying example.com/dep@v1.0.0: checksum mismatch\n\nSECURITY ERROR\n", fault.Build},
		{"checksum beside a network that failed", "dial tcp: i/o timeout\nSECURITY ERROR\n", fault.Build},
	} {
		t.Run(tt.name, func(t *testing.T) {
			err := engine.NewFailure("compile x", tt.output, cause)
			if got := fault.CodeOf(err); got != tt.want {
				t.Errorf("exit code %d, want %d", got, tt.want)
			}
			var f *engine.Failure
			if !errors.As(err, &f) || f.Output() != tt.output || !errors.Is(err, cause) {
				t.Errorf("the failure lost its output or its cause: %v", err)
			}
		})
	}
}

// TestFetchToolchain lays out the running release's own toolchain, if the module cache has it: it is 70 MB to fetch.
func TestFetchToolchain(t *testing.T) {
	if testing.Short() {
		t.Skip("it copies a toolchain")
	}
	goCommand, err := exec.LookPath("go")
	if err != nil {
		t.Fatal(err)
	}
	s := engine.ToolchainSource{
		GoCommand: goCommand, Environ: append(os.Environ(), "GOPROXY=off"), Cache: t.TempDir(),
		Release: strings.TrimPrefix(runtime.Version(), "go"), Host: runtime.GOOS + "-" + runtime.GOARCH,
	}
	tc, err := engine.FetchToolchain(context.Background(), s)
	if fault.CodeOf(err) == fault.Transient {
		t.Skip("the module cache does not have the toolchain of", runtime.Version())
	}
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"bin/go", "pkg/tool/" + runtime.GOOS + "_" + runtime.GOARCH + "/compile"} {
		info, err := os.Stat(filepath.Join(tc.Dir, name))
		if errors.Is(err, fs.ErrNotExist) && runtime.GOOS == "windows" {
			continue
		}
		if err != nil || info.Mode().Perm() != 0o755 {
			t.Errorf("%s: %v, %v", name, info, err)
		}
	}
	out, err := exec.Command(filepath.Join(tc.Dir, "bin", "go"), "version").CombinedOutput()
	if err != nil || !strings.Contains(string(out), runtime.Version()) {
		t.Errorf("the toolchain says %s, %v", out, err)
	}
	again, err := engine.FetchToolchain(context.Background(), s)
	if err != nil || again != tc {
		t.Errorf("the second time: %+v, %v", again, err)
	}
	s.Sum = "h1:" + strings.Repeat("A", 43) + "="
	if _, err := engine.FetchToolchain(context.Background(), s); fault.CodeOf(err) != fault.Mismatch {
		t.Errorf("another checksum than the locked one: %v", err)
	}
}
