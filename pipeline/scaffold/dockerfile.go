package scaffold

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/slipway-build/slipway/images"
	"github.com/slipway-build/slipway/pipeline/config"
)

// dockerfile is what the last stage of a Dockerfile says of the image, in the terms of slipway.yaml.
type dockerfile struct {
	path   string
	distro string // "" where the base is none of the distributions
	binary string // of the project's binaries
	image  config.Image
	notes  []placed
}

// placed is a remark and where it belongs.
type placed struct{ at, text string }

// isDockerfile knows the names that Dockerfiles have.
func isDockerfile(base string) bool {
	lower := strings.ToLower(base)
	return lower == "dockerfile" || lower == "containerfile" || strings.HasPrefix(lower, "dockerfile.") && !strings.HasSuffix(lower, ".dockerignore") ||
		strings.HasSuffix(lower, ".dockerfile")
}

// instruction is one instruction of a Dockerfile, its continuation lines joined.
type instruction struct {
	line int
	name string // in capitals
	args string
}

// instructions reads a Dockerfile (https://docs.docker.com/reference/dockerfile/).
func instructions(text string) []instruction {
	var all []instruction
	var parts []string
	start, heredoc := 0, ""
	for i, line := range strings.Split(strings.ReplaceAll(text, "\r\n", "\n"), "\n") {
		trimmed := strings.TrimSpace(line)
		if heredoc != "" {
			if trimmed == heredoc {
				heredoc = ""
			}
			continue
		}
		if trimmed == "" || strings.HasPrefix(trimmed, "#") {
			continue
		}
		if len(parts) == 0 {
			start = i + 1
		}
		head, more := strings.CutSuffix(trimmed, `\`)
		parts = append(parts, strings.TrimSpace(head))
		if more {
			continue
		}
		name, args, _ := strings.Cut(strings.Join(parts, " "), " ")
		all = append(all, instruction{start, strings.ToUpper(name), strings.TrimSpace(args)})
		parts = nil
		if m := heredocStart.FindStringSubmatch(args); m != nil {
			heredoc = m[1]
		}
	}
	return all
}

var (
	heredocStart = regexp.MustCompile(`<<-?["']?([A-Za-z_][A-Za-z0-9_]*)["']?`)
	buildArg     = regexp.MustCompile(`\$(?:\{([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\}|([A-Za-z_][A-Za-z0-9_]*))`)
)

// distroOf is the distribution whose image stands for a base.
func distroOf(base string) string {
	name, _, _ := strings.Cut(base, "@")
	if i := strings.LastIndex(name, ":"); i > strings.LastIndex(name, "/") {
		name = name[:i]
	}
	last := path.Base(name)
	switch {
	case name == "scratch", strings.Contains(name, "distroless"), strings.HasPrefix(name, "cgr.dev/chainguard/"):
		return "distroless"
	case last == "alpine":
		return "alpine"
	case last == "ubuntu", last == "debian":
		return "ubuntu"
	case strings.HasPrefix(last, "ubi"):
		return "ubi"
	}
	return ""
}

// systemFolders are where bases have their own programs. In some of them /bin and /sbin are links, which a folder of
// that name in a layer would replace.
var systemFolders = []string{"/bin", "/sbin", "/lib", "/lib64"}

// readDockerfile reads the last stage of the text of a Dockerfile.
func (p *proposal) readDockerfile(name, text string) (*dockerfile, error) {
	all := instructions(text)
	s := &stage{of: p, dockerfile: &dockerfile{path: name}, args: map[string]string{}, env: map[string]string{}, workdir: "/"}
	last, base := s.begin(all)
	if last < 0 {
		return nil, errors.New("it has no FROM")
	}
	from := all[last]
	if s.distro = distroOf(base); s.distro == "" {
		s.note(from, "the base %s is not one of the distributions: %s", base, strings.Join(images.Names(), " "))
		return s.dockerfile, nil
	}
	for _, in := range all[last+1:] {
		s.instruction(in)
	}
	s.command(s.location, s.started, s.note, from)
	if !slices.Contains(systemFolders, s.workdir) && !strings.HasSuffix(s.workdir, "/bin") && s.workdir != "/" {
		s.image.Workdir = s.workdir
	}
	root := s.user == "" && !strings.Contains(base, "nonroot") || slices.Contains([]string{"root", "0"}, strings.Split(s.user, ":")[0])
	if root {
		s.note(from, "the process ran as root and runs as user 65532 now: folders that it writes to must allow that")
	}
	return s.dockerfile, nil
}

// stage is the reading of the last stage of a Dockerfile.
type stage struct {
	*dockerfile
	of            *proposal
	args, env     map[string]string
	stages        []string // names
	workdir, user string
	location      string // of the binary
	started       []string
}

func (s *stage) note(in instruction, format string, args ...any) {
	s.notes = append(s.notes, placed{fmt.Sprintf("%s:%d:1", s.path, in.line), fmt.Sprintf(format, args...)})
}

func (s *stage) expand(text string) string { return expand(text, s.env, s.args) }

// begin finds where the last stage begins, -1 for nowhere, and its base.
func (s *stage) begin(all []instruction) (last int, base string) {
	last = -1
	bases := map[string]string{}
	for i, in := range all {
		switch in.name {
		case "ARG":
			for _, kv := range splitWords(in.args) {
				if k, v, ok := strings.Cut(kv, "="); ok {
					s.args[k] = v
				}
			}
		case "FROM":
			f := slices.DeleteFunc(strings.Fields(in.args), func(s string) bool { return strings.HasPrefix(s, "--") })
			if len(f) == 0 {
				continue
			}
			base = expand(f[0], s.args)
			if b, ok := bases[base]; ok {
				base = b
			}
			last = i
			if len(f) >= 3 && strings.EqualFold(f[1], "as") {
				s.stages = append(s.stages, f[2])
				bases[f[2]] = base
			}
		}
	}
	return last, base
}

// instruction reads one instruction of the stage.
func (s *stage) instruction(in instruction) {
	switch value := s.expand(in.args); in.name {
	case "ENV":
		s.environment(in)
	case "LABEL":
		s.labels(in)
	case "WORKDIR":
		s.workdir = absolute(s.workdir, value)
	case "USER":
		s.user = value
	case "EXPOSE":
		s.image.Ports = append(s.image.Ports, strings.Fields(value)...)
	case "VOLUME":
		list, ok := execForm(value)
		if !ok {
			list = strings.Fields(value)
		}
		s.image.Volumes = append(s.image.Volumes, list...)
	case "ENTRYPOINT":
		s.starts(in, value, &s.image.Entrypoint)
	case "CMD":
		s.starts(in, value, &s.image.Cmd)
	case "COPY", "ADD":
		s.copies(in)
	case "RUN":
		s.note(in, "RUN is left out: images are assembled without running anything. CA certificates and a user without rights are there already; other packages need a base that has them (bases:)")
	case "HEALTHCHECK":
		s.note(in, "HEALTHCHECK is left out: it is not part of an OCI image; a cluster has probes")
	case "ARG", "STOPSIGNAL", "SHELL", "ONBUILD", "MAINTAINER":
	default:
		s.note(in, "%s is not an instruction that is known", in.name)
	}
}

func (s *stage) environment(in instruction) {
	set := assignments(in.args)
	for _, k := range slices.Sorted(maps.Keys(set)) {
		v := s.expand(set[k])
		s.env[k] = v
		switch {
		case k == "PATH":
		case strings.Contains(v, "$"):
			s.note(in, "ENV %s depends on a build argument and is left out", k)
		default:
			put(&s.image.Env, k, v)
		}
	}
}

func (s *stage) labels(in instruction) {
	for k, v := range assignments(in.args) {
		v = s.expand(v)
		if !strings.HasPrefix(k, "org.opencontainers.image.") && !strings.Contains(v, "$") {
			put(&s.image.Labels, k, config.Template(v))
		}
	}
}

// starts reads what a container runs.
func (s *stage) starts(in instruction, value string, to *[]string) {
	list, ok := execForm(value)
	if !ok {
		if list = strings.Fields(value); strings.ContainsAny(value, "$&|;<>*?`'\"\\") {
			s.note(in, "%s needs a shell and is left out; images run one program", in.name)
			return
		}
	}
	*to = list
	s.started = append(s.started, list...)
}

func (s *stage) copies(in instruction) {
	binary, files, problem := s.of.copied(in.args, path.Dir(s.path), s.workdir, s.stages, s.expand)
	if problem != "" {
		s.note(in, "%s: %s", in.name, problem)
	}
	if binary.name != "" {
		s.binary, s.location = cmp.Or(s.binary, binary.name), cmp.Or(s.location, binary.path)
	}
	for to, from := range files {
		put(&s.image.Files, to, from)
	}
}

// command decides the path of the binary and the entrypoint.
func (d *dockerfile) command(location string, started []string, note func(instruction, string, ...any), from instruction) {
	im := &d.image
	if d.binary == "" && len(started) > 0 {
		d.binary = path.Base(started[0])
	}
	usual := "/usr/local/bin/" + d.binary
	if slices.Contains(systemFolders, path.Dir(location)) {
		note(from, "the binary is at %s now and not at %s, whose folder is a link on some distributions", usual, location)
		location = ""
	}
	if location != "" && location != usual {
		im.Path = location
	}
	if len(im.Entrypoint) == 0 && len(im.Cmd) > 0 && path.Base(im.Cmd[0]) == d.binary {
		im.Cmd = im.Cmd[1:] // the binary is the entrypoint
	}
	if len(im.Entrypoint) == 0 {
		return
	}
	if path.Base(im.Entrypoint[0]) != d.binary {
		note(from, "the entrypoint %q starts another program than the binary and is left out", im.Entrypoint[0])
		im.Entrypoint = nil
		return
	}
	if im.Entrypoint[0] = cmp.Or(im.Path, usual); len(im.Entrypoint) == 1 {
		im.Entrypoint = nil
	}
}

type placedBinary struct{ name, path string }

// copied says what a COPY or ADD puts into the image: a binary of the project or files of the repository.
func (p *proposal) copied(args, dir, workdir string, stages []string, expand func(string) string) (binary placedBinary, files map[string]string, problem string) {
	from := ""
	rest := args
	for strings.HasPrefix(rest, "--") {
		flag, tail, _ := strings.Cut(rest, " ")
		if v, ok := strings.CutPrefix(flag, "--from="); ok {
			from = v
		}
		rest = strings.TrimSpace(tail)
	}
	list, ok := execForm(rest)
	if !ok {
		list = strings.Fields(rest)
	}
	if len(list) < 2 {
		return binary, nil, "it names no source and destination"
	}
	sources, to := list[:len(list)-1], expand(list[len(list)-1])
	folder := strings.HasSuffix(to, "/") || to == "." || len(sources) > 1
	to = absolute(workdir, to)
	files = map[string]string{}
	var odd []string
	for _, raw := range sources {
		source := expand(raw)
		target := to
		if folder {
			target = path.Join(to, path.Base(source))
		}
		clean := strings.TrimPrefix(path.Clean("/"+source), "/")
		beside := path.Join(dir, clean)
		switch {
		case p.isBinary(path.Base(source)) && (from != "" || !p.survey.isFile(clean)):
			binary = placedBinary{path.Base(source), target}
		case p.isBinary(path.Base(target)) && from != "":
			binary = placedBinary{path.Base(target), target}
		case from != "" && (strings.Contains(source, "cert") || strings.HasPrefix(source, "/etc/passwd") || strings.HasPrefix(source, "/etc/group")):
			// Images have certificates and a numeric user of their own.
		case from != "":
			odd = append(odd, source+" of another stage or image")
		case p.survey.isFile(clean):
			files[target] = clean
		case p.survey.isFile(beside):
			files[target] = beside
		case p.survey.isDir(clean) || p.survey.isDir(beside):
			odd = append(odd, source+", a folder: name its files")
		default:
			odd = append(odd, source+", which is not a file of the repository")
		}
	}
	if len(odd) > 0 {
		problem = strings.Join(odd, "; ") + " (left out; see files: in the configuration)"
	}
	return binary, files, problem
}

func (p *proposal) isBinary(name string) bool {
	return slices.ContainsFunc(p.config.Binaries, func(b config.Binary) bool { return b.Name == name })
}

// expand puts in the values of build arguments and variables that are known; the rest stays as it is.
func expand(s string, values ...map[string]string) string {
	return buildArg.ReplaceAllStringFunc(s, func(ref string) string {
		m := buildArg.FindStringSubmatch(ref)
		for _, v := range values {
			if value, ok := v[m[1]+m[3]]; ok {
				return value
			}
		}
		if m[2] != "" {
			return m[2]
		}
		return ref
	})
}

// splitWords splits at spaces that are not between quotes, and takes the quotes away.
func splitWords(s string) []string {
	var all []string
	var b strings.Builder
	quote, in := rune(0), false
	for _, r := range s {
		switch {
		case quote != 0 && r == quote:
			quote = 0
		case quote == 0 && (r == '"' || r == '\''):
			quote, in = r, true
		case quote == 0 && (r == ' ' || r == '\t'):
			if in {
				all = append(all, b.String())
				b.Reset()
			}
			in = false
		default:
			b.WriteRune(r)
			in = true
		}
	}
	if in {
		all = append(all, b.String())
	}
	return all
}

// assignments reads KEY=value KEY="other value", or the old form KEY value.
func assignments(s string) map[string]string {
	m := map[string]string{}
	list := splitWords(s)
	if len(list) > 0 && !strings.Contains(list[0], "=") {
		if k, v, ok := strings.Cut(s, " "); ok {
			m[k] = strings.TrimSpace(v)
		}
		return m
	}
	for _, kv := range list {
		if k, v, ok := strings.Cut(kv, "="); ok && k != "" {
			m[k] = v
		}
	}
	return m
}

// execForm reads ["program", "argument"].
func execForm(s string) ([]string, bool) {
	var list []string
	if !strings.HasPrefix(s, "[") || json.Unmarshal([]byte(s), &list) != nil {
		return nil, false
	}
	return list, true
}

func absolute(workdir, p string) string {
	if path.IsAbs(p) {
		return path.Clean(p)
	}
	return path.Join(workdir, p)
}

func put[V any](m *map[string]V, k string, v V) {
	if *m == nil {
		*m = map[string]V{}
	}
	(*m)[k] = v
}

// images fills in the images: the repositories that the imported file names, else one for each binary that has a
// Dockerfile, in the registry of the repository's host.
func (p *proposal) images(imported *goreleaser) {
	wanted := []importedImage{}
	if imported != nil {
		wanted = imported.images
	}
	byBinary := map[string][]*dockerfile{}
	var order []string
	var remarks []placed
	for _, name := range p.survey.dockerfiles {
		var d *dockerfile
		b, err := p.survey.read(name)
		if err == nil {
			d, err = p.readDockerfile(name, string(b))
		}
		if err != nil {
			p.note("%s: the Dockerfile is not read: %v", name, err)
			continue
		}
		if !p.isBinary(d.binary) && d.distro != "" {
			d.binary = p.config.Binaries[0].Name
			if len(p.config.Binaries) > 1 {
				p.note("%s: which binary it is for was not recognised; %s is assumed", name, d.binary)
			}
		}
		remarks = append(remarks, d.notes...)
		if d.distro == "" {
			continue
		}
		if byBinary[d.binary] == nil {
			order = append(order, d.binary)
		}
		byBinary[d.binary] = append(byBinary[d.binary], d)
	}
	p.noteTogether(remarks)
	if len(wanted) == 0 {
		registry := registryOf(p.config.Project.Repository)
		if len(order) > 0 && registry == "" {
			p.note("images: there are Dockerfiles, but the registry is not known; name it under images")
			return
		}
		for _, b := range order {
			repository := registry
			if len(order) > 1 && plainName(b) != path.Base(registry) {
				repository = path.Dir(registry) + "/" + plainName(b)
			}
			wanted = append(wanted, importedImage{repository: repository, binary: b})
		}
		if len(order) > 0 {
			p.note("images: %s is a guess from the repository's URL", wanted[0].repository)
		}
	}
	for _, w := range wanted {
		binary := w.binary
		if !p.isBinary(binary) {
			binary = p.config.Binaries[0].Name
		}
		set(p, &p.config.Images, append(slices.Clone(p.config.Images), config.Image{Repository: w.repository}), "the image "+w.repository)
		if n := len(p.config.Images); n > 0 && p.config.Images[n-1].Repository == w.repository {
			p.image(&p.config.Images[n-1], w, binary, byBinary[binary])
		}
	}
	if len(order) > 0 {
		p.note("images: the bases of the Dockerfiles are not carried over; slipway.lock says which are used, and bases: in %s names others", config.FileName)
	}
}

// noteTogether makes one note of remarks that are the same in several places.
func (p *proposal) noteTogether(all []placed) {
	for i, n := range all {
		at := n.at
		for _, o := range all[i+1:] {
			if o.text == n.text {
				at += ", " + o.at
			}
		}
		if !slices.ContainsFunc(all[:i], func(o placed) bool { return o.text == n.text }) {
			p.note("%s: %s", at, n.text)
		}
	}
}

// image fills in one image from the Dockerfiles for its binary. Where they differ, the first that says something wins.
func (p *proposal) image(im *config.Image, w importedImage, binary string, from []*dockerfile) {
	at := "the image " + w.repository + ": "
	if binary != p.config.Binaries[0].Name {
		set(p, &im.Binary, binary, at+"binary")
	}
	if len(w.dockerfiles) > 0 {
		named := slices.DeleteFunc(slices.Clone(from), func(d *dockerfile) bool { return !slices.Contains(w.dockerfiles, d.path) })
		if len(named) > 0 {
			from = named
		}
	}
	distros := slices.Clone(w.distros)
	for _, d := range from {
		distros = append(distros, d.distro)
	}
	if len(distros) > 0 {
		var sorted []string
		for _, name := range images.Names() {
			if slices.Contains(distros, name) {
				sorted = append(sorted, name)
			}
		}
		set(p, &im.Distros, sorted, at+"distros")
	}
	for _, d := range from {
		if im.Path == "" && len(im.Entrypoint) == 0 {
			set(p, &im.Path, d.image.Path, at+"path")
			set(p, &im.Entrypoint, d.image.Entrypoint, at+"entrypoint")
		}
		if len(im.Cmd) == 0 {
			set(p, &im.Cmd, d.image.Cmd, at+"cmd")
		}
		if im.Workdir == "" {
			set(p, &im.Workdir, d.image.Workdir, at+"workdir")
		}
		merge(p, &im.Env, d.image.Env, at+"env ")
		merge(p, &im.Labels, d.image.Labels, at+"label ")
		merge(p, &im.Files, d.image.Files, at+"file ")
		for _, port := range d.image.Ports {
			if !slices.Contains(im.Ports, port) {
				set(p, &im.Ports, append(slices.Clone(im.Ports), port), at+"port "+port)
			}
		}
		for _, v := range d.image.Volumes {
			if v = path.Clean(v); !slices.Contains(im.Volumes, v) {
				set(p, &im.Volumes, append(slices.Clone(im.Volumes), v), at+"volume "+v)
			}
		}
	}
}

// merge adds the entries that the field does not have yet.
func merge[V any](p *proposal, field *map[string]V, more map[string]V, what string) {
	for _, k := range slices.Sorted(maps.Keys(more)) {
		if _, ok := (*field)[k]; ok {
			continue
		}
		added := maps.Clone(*field)
		put(&added, k, more[k])
		set(p, field, added, what+k)
	}
}
