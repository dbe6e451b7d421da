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
	"path/filepath"
	"regexp"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/slipway-build/slipway/pipeline/environment"
	"github.com/slipway-build/slipway/pipeline/environment/store"
	"github.com/slipway-build/slipway/pipeline/release/fault"
	"github.com/slipway-build/slipway/pipeline/serve"
	"github.com/slipway-build/slipway/pipeline/verify"
)

func newServe() *cobra.Command {
	var (
		listen, ready    string
		accessLog, check bool
		checkRate        int64
		options          serve.Options
		s                storage
		hosts            []string
		lifecycleKeys    []string
	)
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Serve a folder of releases over HTTP, read-only",
		Long: `serve shows the releases in a folder: pages, downloads, a Helm repository under /charts, /releases.json, and
/healthz, /readyz and /metrics for what runs it. The folder is one dist/, or holds them as VERSION/ or NAME/VERSION/;
a release that is put there shows up by itself. SIGTERM and SIGINT let running downloads end.

A file is only sent if its bytes are those that its release lists; it is read when it is first asked for and whenever it has
changed. --check reads all files besides, again and again, for a disk may lose what nobody asks for. What is damaged is answered
with 500, named in the log, and counted by slipway_damaged_files in /metrics.

A client, by which an address is meant or a network of IPv6 with 64 bits, that has as many connections as it may loses an idle
one. Behind a proxy all clients are one: give it as much as all together. /healthz, /readyz and /metrics are answered however
busy the server is.

With --store it shows a release store besides: a page of components by environment, which follows the store without being
loaded again, the timeline of moves, and below /environments/NAME/ a Helm repository, downloads, an install script, a Homebrew
tap, a bucket of Scoop and the signed index for each environment, with a registry under /v2/NAME/ and an interface for programs
under /api/v1/. With --packages it has repositories of apt, dnf and apk, too. What is in the folder of --root is
sent from there, and everything else is fetched from where its entry says. The store is read with git, which has to be there.
A local store is looked at four times a second, and another one every second; while it cannot be reached the last state is
shown.`,
		Example: "  slipway serve --root dist --listen 127.0.0.1:8080\n  slipway serve --store https://example.com/releases.git --hostname production=releases.example.com\n  slipway serve --root /srv/releases --check\n  slipway serve --ready http://127.0.0.1:8080",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if ready != "" {
				return checkReady(cmd.Context(), ready)
			}
			if err := checkLimits(cmd.Flags()); err != nil {
				return err
			}
			if options.URL != "" && !isURL(options.URL) {
				return fault.Errorf(fault.Usage, "--url %q is not a URL such as https://releases.example.com", options.URL)
			}
			if (options.Lifecycle == "") != (len(lifecycleKeys) == 0) {
				return fault.Errorf(fault.Usage, "--lifecycle and --lifecycle-key go together: what says how releases stand has to be signed")
			}
			var err error
			if options.LifecycleKeys, err = verify.ReadKeys(lifecycleKeys); err != nil {
				return err
			}
			if check {
				options.CheckRate = checkRate << 20
			}
			level := slog.LevelWarn
			if accessLog {
				level = slog.LevelDebug
			}
			options.Log = slog.NewJSONHandler(cmd.ErrOrStderr(), &slog.HandlerOptions{Level: level})
			collectRarely()
			info, _ := debug.ReadBuildInfo()
			b := thisBuild(info)
			options.Version, options.Commit = b.Version, b.Commit
			if s.remote != "" && !cmd.Flags().Changed("root") {
				options.Root = ""
			}
			if info, err := os.Stat(options.Root); options.Root != "" && (err != nil || !info.IsDir()) {
				return fault.Errorf(fault.Usage, "%s is not a folder; name the folder of releases with --root", options.Root)
			}
			if err := s.serve(&options, hosts); err != nil {
				return err
			}
			ln, err := new(net.ListenConfig).Listen(cmd.Context(), "tcp", listen)
			if err != nil {
				return fault.Errorf(fault.Usage, "%w; choose another address with --listen", err)
			}
			what := slices.DeleteFunc([]string{options.Root, s.shown()}, func(s string) bool { return s == "" })
			fmt.Fprintf(cmd.OutOrStdout(), "serving %s on http://%s\n", strings.Join(what, " and "), ln.Addr())
			return serve.New(options).Run(cmd.Context(), ln)
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&listen, "listen", ":8080", "address to listen on; port 0 lets the system choose")
	flags.StringVar(&options.Root, "root", "dist", "folder of releases")
	flags.StringVar(&s.remote, "store", "", "`URL` or path of a release store's git repository, whose environments are served too")
	flags.StringArrayVar(&s.pass, "pass", nil, "`name` of an environment variable that a credential helper of git reads")
	flags.StringArrayVar(&hosts, "hostname", nil, "`ENVIRONMENT=HOST`: what is below /environments/ENVIRONMENT/ is at the root of this host too")
	flags.StringVar(&options.Packages, "packages", "", "`folder` with the indexes of packages that ci reconcile --packages has signed for the environments")
	flags.StringVar(&options.Lifecycle, "lifecycle", "", "`file` that says how the releases of a platform stand: served as /lifecycle.json, and as the graph of upgrades at /v1/graph that clients of Cincinnati read")
	flags.StringSliceVar(&lifecycleKeys, "lifecycle-key", nil, "public key `file` that --lifecycle must be signed with")
	flags.StringVar(&options.URL, "url", "", "URL that people reach the server by, for the commands on its pages; default: the host that they asked for")
	flags.BoolVar(&accessLog, "access-log", false, "write a line of JSON for each request to standard error")
	flags.BoolVar(&check, "check", false, "read all files in the background, again and again, to find what is damaged before somebody asks for it")
	flags.Int64Var(&checkRate, "check-rate", 16, "MiB that --check reads in a second at most")
	flags.IntVar(&options.MaxRequests, "max-requests", 512, "requests that are answered at once; further ones get 503")
	flags.IntVar(&options.MaxClientRequests, "max-requests-per-client", 128, "requests of one client that are answered at once; further ones get 429")
	flags.IntVar(&options.MaxConnections, "max-connections", 1024, "connections that are open at once; 64 more are for health and metrics")
	flags.IntVar(&options.MaxClientConnections, "max-connections-per-client", 512, "connections of one client that are open at once")
	flags.DurationVar(&options.HeaderTimeout, "header-timeout", 5*time.Second, "time for a client to send the header of a request")
	flags.DurationVar(&options.ReadTimeout, "read-timeout", 10*time.Second, "time for a client to send a whole request")
	flags.DurationVar(&options.WriteTimeout, "write-timeout", time.Minute, "time for a client to take the next piece of an answer")
	flags.DurationVar(&options.IdleTimeout, "idle-timeout", time.Minute, "time for a client to send another request over its connection")
	flags.DurationVar(&options.ShutdownTimeout, "shutdown-timeout", 20*time.Second, "time for running downloads to end")
	flags.DurationVar(&options.DrainDelay, "drain-delay", 0, "time from /readyz saying 503 to refusing connections, for load balancers to notice")
	flags.StringVar(&ready, "ready", "", "instead of serving, ask the server at this URL whether it is ready: exit 0 if it is, 6 if not")
	return cmd
}

// hostnames are those that --hostname has as its value.
var hostnames = regexp.MustCompile(`^[a-z0-9](?:[a-z0-9.-]{0,251}[a-z0-9])?$`)

// How often a store is looked at, on this machine and on another.
const (
	pollLocal  = 250 * time.Millisecond
	pollRemote = time.Second
)

// serve has a store served, if one is named.
func (s *storage) serve(o *serve.Options, hosts []string) (err error) {
	if s.remote == "" {
		if len(hosts) > 0 {
			return fault.Errorf(fault.Usage, "--hostname %q: environments are those of a store; name it with --store", hosts[0])
		}
		if o.Packages != "" {
			return fault.Errorf(fault.Usage, "--packages %q: environments are those of a store; name it with --store", o.Packages)
		}
		return nil
	}
	if info, err := os.Stat(o.Packages); o.Packages != "" && (err != nil || !info.IsDir()) {
		return fault.Errorf(fault.Usage, "%s is not a folder; name the one of ci reconcile --packages with --packages", o.Packages)
	}
	o.Hostnames, o.Poll = map[string]string{}, pollRemote
	for _, h := range hosts {
		env, host, _ := strings.Cut(h, "=")
		if host = strings.ToLower(host); environment.CheckName(env) != nil || !hostnames.MatchString(host) {
			return fault.Errorf(fault.Usage, "--hostname %q is not one such as production=releases.example.com", h)
		}
		if other, taken := o.Hostnames[host]; taken {
			return fault.Errorf(fault.Usage, "--hostname %q: the host is that of %s", h, other)
		}
		o.Hostnames[host] = env
	}
	if filepath.IsAbs(store.Locate(s.remote)) {
		o.Poll = pollLocal
	}
	if o.Store, err = s.open(); err == nil {
		o.Index, err = s.openIndex()
	}
	return err
}

// shown is the store without what only git is to know.
func (s *storage) shown() string {
	u, err := url.Parse(s.remote)
	if !verify.IsURL(s.remote) || err != nil {
		return s.remote
	}
	return (&url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path}).String()
}

// collectRarely has the garbage collector come a quarter as often: little is kept between requests, and a third of the time of a
// small answer was its own. The whole stays below what the chart and the compose file allow. Who sets GOGC or GOMEMLIMIT decides.
func collectRarely() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(400)
	}
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(192 << 20)
	}
}

// checkLimits refuses a number that limits nothing or leaves no room for anything.
func checkLimits(flags *pflag.FlagSet) error {
	for _, name := range []string{"max-requests", "max-requests-per-client", "max-connections", "max-connections-per-client"} {
		if n, err := flags.GetInt(name); err != nil || n < 1 {
			return fault.Errorf(fault.Usage, "--%s %d is not a number from 1 on", name, n)
		}
	}
	for _, name := range []string{"header-timeout", "read-timeout", "write-timeout", "idle-timeout", "shutdown-timeout"} {
		if d, err := flags.GetDuration(name); err != nil || d <= 0 {
			return fault.Errorf(fault.Usage, "--%s %s is not a time such as 10s", name, d)
		}
	}
	if d, err := flags.GetDuration("drain-delay"); err != nil || d < 0 {
		return fault.Errorf(fault.Usage, "--drain-delay %s is not a time such as 5s", d)
	}
	if n, err := flags.GetInt64("check-rate"); err != nil || n < 1 || n > 1<<20 {
		return fault.Errorf(fault.Usage, "--check-rate %d is not a number from 1 to %d", n, 1<<20)
	}
	return nil
}

// isURL reports whether an address is one of a server.
func isURL(address string) bool {
	u, err := url.Parse(address)
	return err == nil && (u.Scheme == "http" || u.Scheme == "https") && u.Host != ""
}

// checkReady asks a server whether it is ready, for containers that have nothing else to ask with.
func checkReady(ctx context.Context, address string) error {
	u, err := url.Parse(address)
	if err != nil || !isURL(address) {
		return fault.Errorf(fault.Usage, "--ready %q is not a URL such as http://127.0.0.1:8080", address)
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
