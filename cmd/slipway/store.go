package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/slipway-build/slipway/pipeline/environment"
	"github.com/slipway-build/slipway/pipeline/environment/admit"
	"github.com/slipway-build/slipway/pipeline/environment/store"
	"github.com/slipway-build/slipway/pipeline/present/cmdline"
	"github.com/slipway-build/slipway/pipeline/release/artifact"
	"github.com/slipway-build/slipway/pipeline/release/fault"
	"github.com/slipway-build/slipway/pipeline/trust/sign"
	"github.com/slipway-build/slipway/pipeline/trust/signature"
)

// storage is what all commands about a release store have in common.
type storage struct {
	remote     string
	pass       []string
	key        string
	passphrase string
	why        string
	json       bool
	dry        bool
	pull       bool // whatever the stage says, by pull request
}

// register adds the flags; changes says that the command changes something.
func (s *storage) register(cmd *cobra.Command, changes bool) {
	flags := cmd.Flags()
	s.registerStore(cmd)
	flags.BoolVar(&s.json, "json", false, "print JSON")
	if !changes {
		return
	}
	flags.BoolVar(&s.dry, "dry-run", false, "say what the rules would have it do, and do nothing")
	s.registerKey(cmd)
	flags.StringVar(&s.why, "why", "", "`reason`, for whoever reads the log")
}

// registerStore adds the flags that say where the store is.
func (s *storage) registerStore(cmd *cobra.Command) {
	cmd.Flags().StringVar(&s.remote, "store", os.Getenv("SLIPWAY_STORE"), "`URL` or path of the store's git repository (default $SLIPWAY_STORE)")
	cmd.Flags().StringArrayVar(&s.pass, "pass", nil, "`name` of an environment variable that a credential helper of git reads")
}

// registerKey adds the flags of whoever signs requests.
func (s *storage) registerKey(cmd *cobra.Command) {
	cmd.Flags().StringVar(&s.key, "key", "", "sign with this private key in a PEM `file`, or env:NAME")
	cmd.Flags().StringVar(&s.passphrase, "passphrase-file", "", "`file` with the passphrase of the key")
}

// open is the store.
func (s *storage) open() (*store.Store, error) {
	o, err := s.options()
	if err != nil {
		return nil, err
	}
	return store.Open(o)
}

// options say where the store is, and have it work in a folder of the user's that stays: it remembers how far the log went.
func (s *storage) options() (store.Options, error) {
	if s.remote == "" {
		return store.Options{}, fault.Errorf(fault.Usage, "no store is named: say --store URL, or set SLIPWAY_STORE")
	}
	remote := store.Locate(s.remote)
	dir, err := stateDir("store", remote)
	return store.Options{Remote: remote, Environ: os.Environ(), Pass: s.pass, Now: time.Now, Dir: dir, Admit: admitted}, err
}

// stateDir is a folder of the user's that stays, for what is known of a place.
func stateDir(kind, place string) (string, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", fault.Errorf(fault.Usage, "finding a folder for what is known of the store: %w", err)
	}
	return filepath.Join(cache, "slipway", kind, artifact.Sum([]byte(place)).Short()), nil
}

func (s *storage) signer() (signature.Signer, error) {
	if s.key == "" {
		return nil, nil
	}
	return sign.Source{Key: s.key, PassphraseFile: s.passphrase}.Open()
}

// ask has the store decide a request, and prints what it did.
func (s *storage) ask(cmd *cobra.Command, q environment.Request) error {
	st, err := s.open()
	if err != nil {
		return err
	}
	return s.askOf(cmd, st, q)
}

func (s *storage) askOf(cmd *cobra.Command, st *store.Store, q environment.Request) error {
	signer, err := s.signer()
	if err != nil {
		return err
	}
	q.Why = cmp.Or(s.why, q.Why)
	if s.pull && !s.dry {
		return s.propose(cmd, st, q)
	}
	var r store.Result
	if s.dry {
		if signer != nil {
			q.By.Key = string(signer.Public().Fingerprint())
		}
		r.Answer, err = st.Try(cmd.Context(), q)
	} else {
		r, err = st.Ask(cmd.Context(), q, signer)
	}
	if err != nil {
		return err
	}
	if r.Refused() && byPull(r.Answer) && !s.dry {
		return s.propose(cmd, st, q)
	}
	if s.json {
		moves, rules := append([]environment.Move{}, r.Answer.Line.Moves...), append([]environment.Outcome{}, r.Outcomes...)
		if err := json.NewEncoder(cmd.OutOrStdout()).Encode(told{Line: r.Line, Refused: r.Refused(), Moves: moves, Rules: rules}); err != nil {
			return err
		}
	}
	switch {
	case r.Refused():
		if !s.json {
			outcomes(cmd.ErrOrStderr(), r.Outcomes)
		}
		return fault.Errorf(r.Code, "%s is refused: %s", asked(q), strings.Join(refusals(r.Outcomes), ", "))
	case s.json || r.Nothing:
		return nil
	case len(r.Answer.Line.Moves) == 0: // somebody else has done it
		fmt.Fprintf(cmd.OutOrStdout(), "%s (line %d)\n", asked(q), r.Line)
		return nil
	}
	line := fmt.Sprintf("line %d", r.Line)
	if s.dry {
		line = "not done"
	}
	for _, m := range r.Answer.Line.Moves {
		what := strings.TrimSpace(m.Component + " " + m.Version)
		switch {
		case m.From != "" && m.To != "":
			what += ": " + m.From + " -> " + m.To
		case what == "":
			what = m.To + ": " + string(q.Kind)
		default:
			what += ": " + string(q.Kind)
			if m.To != "" {
				what += " in " + m.To
			}
		}
		fmt.Fprintf(cmd.OutOrStdout(), "%s (%s)\n", what, line)
	}
	return nil
}

// told is what a command that changes something says as JSON.
type told struct {
	Line    int                   `json:"line,omitempty"` // 0 where nothing was written
	Refused bool                  `json:"refused"`
	Moves   []environment.Move    `json:"moves"`
	Rules   []environment.Outcome `json:"rules"`
	Branch  string                `json:"branch,omitempty"` // that proposes it, where that is for a pull request
	Page    string                `json:"page,omitempty"`   // of the pull request, where it was opened
}

// asked says what a request is about.
func asked(q environment.Request) string {
	var all []string
	for _, it := range q.Items {
		all = append(all, strings.TrimSpace(it.Component+" "+it.Version))
	}
	text := strings.TrimSpace(string(q.Kind) + " " + strings.Join(all, ", "))
	if q.To != "" {
		text += " to " + q.To
	}
	return text
}

// refusals are the rules that refuse, each once.
func refusals(all []environment.Outcome) []string {
	var rules []string
	for _, o := range all {
		if !o.OK && !slices.Contains(rules, o.Rule) {
			rules = append(rules, o.Rule)
		}
	}
	return rules
}

// outcomes prints what each rule says, and what would change a refusal.
func outcomes(w io.Writer, all []environment.Outcome) {
	several := false
	for _, o := range all {
		several = several || o.Component != "" && o.Component != all[len(all)-1].Component
	}
	t := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	for _, o := range all {
		verdict, detail := "ok", o.Detail
		if !o.OK {
			verdict, detail = "refused", o.Detail+"; "+o.Fix
		}
		if several {
			fmt.Fprintf(t, "  %s", cmdline.Line(o.Component))
		}
		fmt.Fprintf(t, "  %s\t%s\t%s\n", verdict, o.Rule, cmdline.Line(detail))
	}
	t.Flush()
}

func newStore() *cobra.Command {
	cmd := &cobra.Command{
		Use: "store", Short: "Make a release store, check, repair or sign one",
		Long: `A release store is a git repository that says which version of which component is in which environment, since when, by whom
and why. It holds entries and no bytes; see docs/environments.md.`,
		Example: "  slipway store init --store releases.git\n  slipway store check --store https://example.com/releases.git",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return fault.Errorf(fault.Usage, "store what? init, check, repair, root or sign; see slipway store --help")
		},
	}
	cmd.AddCommand(newStoreInit(), newStoreCheck(), newStoreRepair(), newStoreRoot(), newStoreSign())
	return cmd
}

func newStoreInit() *cobra.Command {
	var s storage
	var rules string
	var keys []string
	cmd := &cobra.Command{
		Use: "init", Short: "Make a release store of an empty git repository",
		Long: `init writes the rules to branch main of the repository, and makes the branches of the log and of the stages. Without --rules
these are snapshot, staging and production, and no component: name yours under components in environment.yaml on main, by a
commit there or before with --rules.`,
		Example: "  slipway store init --store releases.git\n  slipway store init --store https://example.com/releases.git --rules environment.yaml --public-key lead.pub",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			text := environment.Default
			if rules != "" {
				b, err := readFile(rules)
				if err != nil {
					return fault.New(fault.Usage, fmt.Errorf("reading --rules: %w", err))
				}
				text = b
			}
			files := map[string][]byte{}
			for _, name := range keys {
				b, err := readFile(name)
				if err != nil {
					return fault.New(fault.Usage, fmt.Errorf("reading --public-key: %w", err))
				}
				files[filepath.Base(name)] = b
			}
			st, err := s.open()
			if err != nil {
				return err
			}
			if err := st.Init(cmd.Context(), text, files); err != nil {
				return err
			}
			fmt.Fprintf(cmd.OutOrStdout(), "the store is made; its rules are in %s on branch %s\n", environment.RulesFile, store.Main)
			return nil
		},
	}
	s.registerStore(cmd)
	cmd.Flags().StringVar(&rules, "rules", "", "`file` with the rules")
	cmd.Flags().StringArrayVar(&keys, "public-key", nil, "public key `file` to put into keys/, of whoever signs requests")
	return cmd
}

func newStoreCheck() *cobra.Command {
	var s storage
	var stage, pull string
	cmd := &cobra.Command{
		Use: "check", Short: "Hold a release store to its log",
		Long: `check holds each line of the log to the one before it and to the rules of its time, each signed request to its signature, and the entries on every branch
to what the lines come to. A log that was rewritten is noticed by whoever saw it before. With --pull-request it prints instead what the
rules say of a pull request into an environment, and exits with 9 where they refuse it, or with 7 where other bytes have its place: a
required check of the host for pull requests.`,
		Example: "  slipway store check --store https://example.com/releases.git\n  slipway store check --environment production --pull-request refs/pull/12/head",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			st, err := s.open()
			if err != nil {
				return err
			}
			if pull != "" || stage != "" {
				return s.checkProposal(cmd, st, stage, pull)
			}
			n, err := st.Check(cmd.Context())
			if err != nil {
				return err
			}
			if s.json {
				return json.NewEncoder(cmd.OutOrStdout()).Encode(map[string]int{"lines": n.Lines, "entries": n.Entries, "signatures": n.Signatures, "waiting": n.Waiting})
			}
			fmt.Fprintf(cmd.OutOrStdout(), "%s, %s and %s hold\n", cmdline.Count(n.Lines, "line"), cmdline.Count(n.Entries, "entry"), cmdline.Count(n.Signatures, "signature"))
			if n.Waiting > 0 {
				fmt.Fprintf(cmd.OutOrStdout(), "waiting to be written into the log: %s\n", cmdline.Count(n.Waiting, "merged pull request"))
			}
			return nil
		},
	}
	s.register(cmd, false)
	cmd.Flags().StringVar(&stage, "environment", "", "`environment` that the pull request is into")
	cmd.Flags().StringVar(&pull, "pull-request", "", "branch, or `ref` below refs/, of a pull request to check")
	return cmd
}

// items reads NAME VERSION, or any number of NAME@VERSION.
func items(args []string) ([]environment.Item, error) {
	if len(args) == 2 && !strings.Contains(args[0], "@") {
		return []environment.Item{{Component: args[0], Version: strings.TrimPrefix(args[1], "v")}}, nil
	}
	var all []environment.Item
	for _, a := range args {
		name, v, ok := strings.Cut(a, "@")
		if !ok {
			return nil, fault.Errorf(fault.Usage, "%.80q is not NAME@VERSION", a)
		}
		all = append(all, environment.Item{Component: name, Version: strings.TrimPrefix(v, "v")})
	}
	return all, nil
}

func newAdd() *cobra.Command {
	var s storage
	var from, to, root string
	var replace bool
	cmd := &cobra.Command{
		Use: "add NAME VERSION", Short: "Add a published release to an environment",
		Long: `add verifies every byte of the release in a folder or at a URL, with the signer that the store's rules name for the component,
and enters it by digest. The bytes stay where they are.`,
		Example: "  slipway add tool 1.2.3 --from https://releases.example.com/releases/tool/1.2.3/ --to snapshot",
		Args:    cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			all, err := items(args)
			if err != nil {
				return err
			}
			if from == "" || to == "" {
				return fault.Errorf(fault.Usage, "add %s %s: say where the release is with --from, and which environment it enters with --to", args[0], args[1])
			}
			st, err := s.open()
			if err != nil {
				return err
			}
			it := all[0]
			var by admit.Signer
			err = st.Read(cmd.Context(), func(v store.View) error {
				if _, err := v.Rules.Stage(to); err != nil {
					return err
				}
				by, err = signerOf(v, it.Component, root)
				return err
			})
			if err != nil {
				return err
			}
			e, err := admit.Entry(cmd.Context(), from, it.Component, it.Version, by)
			if err != nil {
				return err
			}
			return s.askOf(cmd, st, environment.Request{Kind: environment.Add, To: to, Replace: replace, Items: all, Entries: []environment.Entry{e}})
		},
	}
	s.register(cmd, true)
	cmd.Flags().StringVar(&from, "from", "", "folder or `URL` of the release")
	cmd.Flags().StringVar(&to, "to", "", "`environment` that it enters")
	cmd.Flags().BoolVar(&s.pull, "pull-request", false, "propose it by a branch and a pull request, where the environment allows either way")
	cmd.Flags().BoolVar(&replace, "replace", false, "take the place of other bytes under this version, where the rules allow that with a reason")
	cmd.Flags().StringVar(&root, "trusted-root", "", "`file` with the keys of Sigstore's services, for a component that a workflow signs")
	return cmd
}

// signerOf is who must have signed the releases of a component.
func signerOf(v store.View, component, root string) (by admit.Signer, err error) {
	c, err := v.Rules.Component(component)
	if err != nil {
		return by, err
	}
	return admit.By(c, v.Keys, root)
}

// admitted says why the release of an entry that somebody wrote by hand is not what the entry says of it.
func admitted(ctx context.Context, v store.View, e environment.Entry) error {
	by, err := signerOf(v, e.Component, os.Getenv("SLIPWAY_TRUSTED_ROOT"))
	if err != nil {
		return err
	}
	place := e.Places[0]
	if u, err := url.Parse(place); err == nil && u.Scheme == "file" {
		place = filepath.FromSlash(u.Path)
		if _, err := os.Stat(place); err != nil { // it may be there on another machine
			return fault.New(fault.Transient, err)
		}
	}
	found, err := admit.Entry(ctx, place, e.Component, e.Version, by)
	if code := fault.CodeOf(err); code == fault.Credentials || code == fault.Usage { // others may see it
		return fault.New(fault.Transient, err)
	}
	if err != nil {
		return err
	}
	found.Places = e.Places
	want, err := e.Encode()
	if err != nil {
		return err
	}
	if got, err := found.Encode(); err != nil || !bytes.Equal(got, want) {
		return errors.Join(err, fault.Errorf(fault.Mismatch, "the entry of %s %s says something else than the release at %s", e.Component, e.Version, e.Places[0]))
	}
	return nil
}

// newMove is promote or demote.
func newMove(kind environment.Kind, short, long string) *cobra.Command {
	var s storage
	var to string
	var replace bool
	name := string(kind)
	cmd := &cobra.Command{
		Use: name + " NAME VERSION|NAME@VERSION...", Short: short, Long: long,
		Example: fmt.Sprintf("  slipway %s tool 1.2.3 --to staging --why \"all tests are green\"\n  slipway %[1]s gateway@1.2.3 control@2.0.0 --to staging", name),
		Args:    cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			all, err := items(args)
			if err != nil {
				return err
			}
			return s.ask(cmd, environment.Request{Kind: kind, To: to, Replace: replace, Items: all})
		},
	}
	s.register(cmd, true)
	cmd.Flags().StringVar(&to, "to", "", "`environment` that they enter")
	if kind == environment.Promote {
		cmd.Flags().BoolVar(&s.pull, "pull-request", false, "propose it by a branch and a pull request, where the environment allows either way")
		cmd.Flags().BoolVar(&replace, "replace", false, "take the place of other bytes under a version, where the rules allow that with a reason")
	}
	return cmd
}

// newMark is a command about a version where it is.
func newMark(kind environment.Kind, short, long string, in bool) *cobra.Command {
	var s storage
	var stage string
	cmd := &cobra.Command{
		Use: string(kind) + " NAME VERSION", Short: short, Long: long,
		Example: fmt.Sprintf("  slipway %s tool 1.2.3 --why \"it loses connections\"", kind),
		Args:    cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			all, err := items(args)
			if err != nil {
				return err
			}
			return s.ask(cmd, environment.Request{Kind: kind, To: stage, Items: all})
		},
	}
	if in {
		cmd.Example = fmt.Sprintf("  slipway %s tool 1.2.2 --environment production --why \"1.2.3 loses connections\"", kind)
		cmd.Flags().StringVar(&stage, "environment", "", "`environment` whose current version it is about")
	}
	s.register(cmd, true)
	return cmd
}

// newStop is hold or freeze, which --release ends.
func newStop(kind, end environment.Kind, short, long, example string, args cobra.PositionalArgs, use string) *cobra.Command {
	var s storage
	var stage, until string
	var release bool
	cmd := &cobra.Command{
		Use: use, Short: short, Long: long, Example: example, Args: args,
		RunE: func(cmd *cobra.Command, args []string) error {
			q := environment.Request{Kind: kind, To: stage}
			if release {
				q.Kind = end
			}
			if len(args) > 0 {
				q.Items = []environment.Item{{Component: args[0]}}
			}
			if len(args) > 1 {
				q.Items[0].Version = strings.TrimPrefix(args[1], "v")
			}
			if until != "" {
				t, err := time.Parse(time.RFC3339, until)
				if d, derr := time.Parse(time.DateOnly, until); err != nil {
					t, err = d, derr
				}
				if err != nil || release {
					return fault.Errorf(fault.Usage, "--until %.60q is not a day such as 2026-03-31 or a time such as 2026-03-31T12:00:00Z", until)
				}
				q.Until = t.UTC()
			}
			return s.ask(cmd, q)
		},
	}
	s.register(cmd, true)
	cmd.Flags().StringVar(&stage, "environment", "", "`environment` that is kept free")
	cmd.Flags().StringVar(&until, "until", "", "`time` at which it ends by itself")
	cmd.Flags().BoolVar(&release, "release", false, "end it")
	return cmd
}

// newSay is approve or record: what somebody says of the bytes that a version has now.
func newSay(kind environment.Kind, short, long, example string) *cobra.Command {
	var s storage
	var stage, report string
	var failed bool
	cmd := &cobra.Command{
		Use: map[environment.Kind]string{environment.Approve: "approve", environment.Evidence: "record"}[kind] + " NAME VERSION", Short: short, Long: long,
		Example: example, Args: cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			all, err := items(args)
			if err != nil {
				return err
			}
			q := environment.Request{Kind: kind, To: stage, Items: all}
			if kind == environment.Evidence {
				if report == "" {
					return fault.Errorf(fault.Usage, "record %s %s: what did you find out? say --kind tests, or rebuilt", args[0], args[1])
				}
				q.Report = &environment.Report{Kind: report, Good: !failed}
			}
			st, err := s.open()
			if err != nil {
				return err
			}
			err = st.Read(cmd.Context(), func(v store.View) error {
				if kind == environment.Approve { // what would be promoted
					h, _ := v.State.Nearest(v.Rules, stage, all[0].Component, all[0].Version)
					all[0].Manifest = h.Manifest
					return nil
				}
				for _, name := range v.Rules.StageNames() { // the one that is furthest on
					if h, ok := v.State.Held(name, all[0].Component, all[0].Version); ok {
						all[0].Manifest = h.Manifest
					}
				}
				return nil
			})
			if err != nil {
				return err
			}
			return s.askOf(cmd, st, q)
		},
	}
	s.register(cmd, true)
	if kind == environment.Approve {
		cmd.Flags().StringVar(&stage, "to", "", "`environment` that it may enter")
	} else {
		cmd.Flags().StringVar(&report, "kind", "", "`word` of the rules: tests, rebuilt, or another one that they ask for")
		cmd.Flags().BoolVar(&failed, "failed", false, "it was found to fail")
	}
	return cmd
}

func newWhy() *cobra.Command {
	var s storage
	var to, by string
	cmd := &cobra.Command{
		Use: "why NAME VERSION", Short: "Say what allows or refuses a promotion",
		Long: `why asks the rules whether a version may enter an environment, and changes nothing. It prints every rule that was asked, what
it found, and what would change a refusal. It exits with 9 where the version may not enter, and with 7 where other bytes
have its place. The answer is for whoever asks without a key, or for the one that --by names.`,
		Example: "  slipway why tool 1.2.3 --to production",
		Args:    cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			all, err := items(args)
			if err != nil {
				return err
			}
			st, err := s.open()
			if err != nil {
				return err
			}
			q := environment.Request{Kind: environment.Promote, To: to, Items: all}
			if q.By.Identity = by; strings.HasPrefix(by, "sha256:") {
				q.By = environment.Identity{Key: by}
			}
			a, err := st.Try(cmd.Context(), q)
			if err != nil {
				return err
			}
			if err := s.verdict(cmd, a, all[0].Component+" "+all[0].Version, to); err != nil {
				return err
			}
			if a.Nothing && !s.json {
				fmt.Fprintf(cmd.OutOrStdout(), "%s %s is in %s\n", all[0].Component, all[0].Version, to)
			}
			return nil
		},
	}
	s.register(cmd, false)
	cmd.Flags().StringVar(&to, "to", "", "`environment` that it would enter")
	cmd.Flags().StringVar(&by, "by", "", "`fingerprint` of the key that would sign the request")
	return cmd
}

// shown is a row of what environments prints.
type shown struct {
	Environment string          `json:"environment"`
	Component   string          `json:"component"`
	Version     string          `json:"version"`
	In          string          `json:"in"` // stage that it is in
	Current     bool            `json:"current"`
	Pinned      bool            `json:"pinned,omitempty"`
	Withdrawn   string          `json:"withdrawn,omitempty"` // why
	Since       time.Time       `json:"since"`
	Manifest    artifact.Digest `json:"manifest"`
}

func newEnvironments() *cobra.Command {
	var s storage
	var only, component string
	var all bool
	var moves int
	cmd := &cobra.Command{
		Use: "environments", Short: "Show which version is in which environment",
		Long: `environments prints the current version of every component in every environment, in which stage it is and since when. An
environment shows what is in its stage and in all that come later. With --all it prints every version, and with --moves the last lines
of the log, the newest first.`,
		Example: "  slipway environments --store https://example.com/releases.git\n  slipway environments --component tool --all --json",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			st, err := s.open()
			if err != nil {
				return err
			}
			if moves < 0 {
				return fault.Errorf(fault.Usage, "--moves %d: say how many, 1 or more", moves)
			}
			return st.Read(cmd.Context(), func(v store.View) error {
				if moves > 0 {
					return s.timeline(cmd, st, v, only, component, moves)
				}
				return s.show(cmd.OutOrStdout(), v, only, component, all)
			})
		},
	}
	s.register(cmd, false)
	cmd.Flags().StringVar(&only, "environment", "", "show this `environment` alone")
	cmd.Flags().StringVar(&component, "component", "", "show this `component` alone")
	cmd.Flags().BoolVar(&all, "all", false, "show every version, and not the current ones alone")
	cmd.Flags().IntVar(&moves, "moves", 0, "show the last lines of the log, at most this `many`")
	return cmd
}

// timeline prints the last lines of the log, the newest first.
func (s *storage) timeline(cmd *cobra.Command, st *store.Store, v store.View, only, component string, most int) error {
	if err := known(v, only, component); err != nil {
		return err
	}
	all := []environment.Line{}
	for file := (v.State.Count - 1) / store.LinesOfFile; file >= 0 && len(all) < most && v.State.Count > 0; file-- {
		var some []environment.Line
		err := st.Lines(cmd.Context(), st.LogHead(), func(l environment.Line) error {
			about := slices.ContainsFunc(l.Moves, func(m environment.Move) bool {
				return (component == "" || m.Component == component) && (only == "" || m.From == only || m.To == only || slices.Contains(m.Left, only))
			})
			if about {
				some = append(some, l)
			}
			return nil
		}, file)
		if err != nil {
			return err
		}
		slices.Reverse(some)
		all = append(all, some...)
	}
	all = all[:min(len(all), most)]
	if s.json {
		return json.NewEncoder(cmd.OutOrStdout()).Encode(all)
	}
	t := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 8, 2, ' ', 0)
	fmt.Fprintln(t, "LINE\tTIME\tWHAT\tBY\tWHY")
	for _, l := range all {
		fmt.Fprintf(t, "%d\t%s\t%s\t%s\t%s\n", l.N, l.Time.Format("2006-01-02 15:04"), cmdline.Line(l.String()), cmdline.Line(l.By.String()), cmdline.Line(l.Why))
	}
	return t.Flush()
}

// known refuses the name of an environment or a component that there is not.
func known(v store.View, only, component string) error {
	if only != "" {
		if _, err := v.Rules.Stage(only); err != nil {
			return err
		}
	}
	if component != "" {
		if _, err := v.Rules.Component(component); err != nil {
			return err
		}
	}
	return nil
}

func (s *storage) show(w io.Writer, v store.View, only, component string, all bool) error {
	if err := known(v, only, component); err != nil {
		return err
	}
	rows := []shown{}
	for _, name := range v.State.Components() {
		if component != "" && name != component {
			continue
		}
		for _, stage := range v.Rules.StageNames() {
			if only != "" && stage != only {
				continue
			}
			current, pinned, ok := v.State.Current(v.Rules, stage, name)
			for _, seen := range v.State.View(v.Rules, stage, name) {
				now := ok && seen.Version == current.Version
				if !now && !all {
					continue
				}
				row := shown{stage, name, seen.Version, seen.Stage, now, now && pinned, "", seen.Entered, seen.Manifest}
				if seen.Withdrawn != nil {
					row.Withdrawn = seen.Withdrawn.Why
				}
				rows = append(rows, row)
			}
		}
	}
	if s.json {
		return json.NewEncoder(w).Encode(rows)
	}
	t := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	fmt.Fprintln(t, "COMPONENT\tENVIRONMENT\tVERSION\tIN\tSINCE\t")
	for _, r := range rows {
		note := ""
		switch {
		case r.Withdrawn != "":
			note = "withdrawn: " + cmdline.Line(r.Withdrawn)
		case r.Pinned:
			note = "pinned"
		case r.Current && all:
			note = "current"
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\n", r.Component, r.Environment, r.Version, r.In, r.Since.Format("2006-01-02 15:04"), note)
	}
	return t.Flush()
}

// newEnvironmentCommands are the commands about a release store.
func newEnvironmentCommands() []*cobra.Command {
	return []*cobra.Command{
		newStore(), newAdd(),
		newMove(environment.Promote, "Have versions go on to another environment", `promote has a version, or a set of them, enter an environment from the one before that has it, if the rules allow it. Of a set all
move or none does. What enters leaves the stages that the rules name. Who asks for what is so already gets an exit code of 0
and no output.`),
		newMove(environment.Demote, "Have versions go back to an earlier environment", `demote has a version, or a set of them, go back to the environment that is named from the next one that has it. What is in an
environment whose versions are never changed stays there; see withdraw and rollback.`),
		newMark(environment.Withdraw, "Mark a version as not to be used any more", `withdraw marks a version in every environment. It stays listed, is never the current one, and is not promoted.`, false),
		newMark(environment.Restore, "Take back that a version was withdrawn", `restore ends what withdraw began.`, false),
		newMark(environment.Rollback, "Have an earlier version be the current one of an environment", `rollback pins the current version of an environment to one that is seen there, until
slipway hold NAME --environment ENV --release. No entry moves.`, true),
		newStop(environment.Hold, environment.Release, "Keep a version or a component out of an environment", `hold keeps a version, or all versions of a component, out of an environment, or out of all of them. --release ends it, and for
a component also what rollback began.`, "  slipway hold tool 1.2.3 --environment production --why \"a customer reports a leak\"\n  slipway hold tool --environment production --release", cobra.RangeArgs(1, 2), "hold NAME [VERSION]"),
		newStop(environment.Freeze, environment.Thaw, "Let nothing enter an environment", `freeze keeps everything out of an environment until it ends. What is there stays.`,
			"  slipway freeze --environment production --until 2026-12-27 --why holidays\n  slipway freeze --environment production --release", cobra.NoArgs, "freeze"),
		newSay(environment.Approve, "Agree that a version enters an environment", `approve records, signed with --key, that these bytes may enter an environment. It counts for them alone: other bytes under the
version need another approval.`, "  slipway approve tool 1.2.3 --to production --key lead.key"),
		newSay(environment.Evidence, "Record what was found out about a version", `record records, signed with --key, that tests of a version were good or failed, that it was rebuilt with the same bytes, or
whatever else the rules ask for. It counts for these bytes alone.`, "  slipway record tool 1.2.3 --kind tests --key ci.key\n  slipway record tool 1.2.3 --kind rebuilt --failed --key ci.key"),
		newWhy(), newEnvironments(), newCurrent(), newCombine(),
	}
}
