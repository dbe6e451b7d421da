package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"runtime/debug"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/slipway-build/slipway/pipeline/release/fault"
	"github.com/slipway-build/slipway/pipeline/serve"
)

func newServe() *cobra.Command {
	var (
		listen, check string
		accessLog     bool
		options       serve.Options
	)
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Serve a folder of releases over HTTP, read-only",
		Long: `serve shows the releases in a folder: pages, downloads, a Helm repository under /charts, /releases.json, and
/healthz, /readyz and /metrics for what runs it. The folder is one dist/, or holds them as VERSION/ or NAME/VERSION/;
a release that is put there shows up by itself. SIGTERM and SIGINT let running downloads end.`,
		Example: "  slipway serve --root dist --listen 127.0.0.1:8080\n  slipway serve --check http://127.0.0.1:8080",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if check != "" {
				return checkReady(cmd.Context(), check)
			}
			level := slog.LevelWarn
			if accessLog {
				level = slog.LevelDebug
			}
			options.Log = slog.NewJSONHandler(cmd.ErrOrStderr(), &slog.HandlerOptions{Level: level})
			info, _ := debug.ReadBuildInfo()
			b := thisBuild(info)
			options.Version, options.Commit = b.Version, b.Commit
			if info, err := os.Stat(options.Root); err != nil || !info.IsDir() {
				return fault.Errorf(fault.Usage, "%s is not a folder; name the folder of releases with --root", options.Root)
			}
			ln, err := new(net.ListenConfig).Listen(cmd.Context(), "tcp", listen)
			if err != nil {
				return fault.Errorf(fault.Usage, "%w; choose another address with --listen", err)
			}
			fmt.Fprintf(cmd.OutOrStdout(), "serving %s on http://%s\n", options.Root, ln.Addr())
			return serve.New(options).Run(cmd.Context(), ln)
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&listen, "listen", ":8080", "address to listen on; port 0 lets the system choose")
	flags.StringVar(&options.Root, "root", "dist", "folder of releases")
	flags.BoolVar(&accessLog, "access-log", false, "write a line of JSON for each request to standard error")
	flags.DurationVar(&options.ShutdownTimeout, "shutdown-timeout", 20*time.Second, "time for running downloads to end")
	flags.DurationVar(&options.DrainDelay, "drain-delay", 0, "time from /readyz saying 503 to refusing connections, for load balancers to notice")
	flags.StringVar(&check, "check", "", "instead of serving, ask the server at this URL whether it is ready: exit 0 if it is, 6 if not")
	return cmd
}

// checkReady asks a server whether it is ready, for containers that have nothing else to ask with.
func checkReady(ctx context.Context, address string) error {
	u, err := url.Parse(address)
	if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" {
		return fault.Errorf(fault.Usage, "--check %q is not a URL such as http://127.0.0.1:8080", address)
	}
	u.Path = strings.TrimSuffix(strings.TrimSuffix(u.Path, "/"), "/readyz") + "/readyz"
	ctx, cancel := context.WithTimeout(ctx, 4*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), http.NoBody)
	if err != nil {
		return fault.New(fault.Usage, err)
	}
	// No proxy of the environment: the answer must be that server's.
	resp, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(req)
	if err != nil {
		return fault.Errorf(fault.Transient, "asking %s: %w", u, err)
	}
	defer resp.Body.Close()
	if resp.StatusCode == http.StatusOK {
		return nil
	}
	why, err := io.ReadAll(io.LimitReader(resp.Body, 256))
	if err != nil {
		return fault.Errorf(fault.Transient, "asking %s: %w", u, err)
	}
	return fault.Errorf(fault.Transient, "%s answers %d: %q", u, resp.StatusCode, strings.TrimSpace(string(why)))
}
