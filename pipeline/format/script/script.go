// Package script renders install.sh, with which a release is installed where there is no package manager.
//
// The script is for any POSIX shell and installs one release: that of which it is a file. Where the archives are and
// what their SHA-256 is stands in it, so those who have the script need to trust neither the server nor the way to it.
// Signatures of the project are checked on top of that where the machine has what it takes.
package script

import (
	"bytes"
	"cmp"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/x509"
	"embed"
	"encoding/pem"
	"fmt"
	"net/url"
	"path"
	"regexp"
	"slices"
	"strings"
	"text/template"
	"unicode"

	"github.com/slipway-build/slipway/pipeline/format"
	"github.com/slipway-build/slipway/pipeline/release/artifact"
	"github.com/slipway-build/slipway/pipeline/release/fault"
)

//go:embed install.sh.tmpl
var templates embed.FS

var parsed = template.Must(template.New("").Funcs(template.FuncMap{"quote": quote}).ParseFS(templates, "*.tmpl"))

// data is what the template is given.
type data struct {
	Name, Title, Version string
	Variable             string // what the names of the script's variables in the environment begin with
	Home                 string // URL for people, or ""
	Archives             []entry
	Available            string
	Manuals              []installed
	Completions          []installed
	Documents            bool
	Signed               bool
	format.Signatures
	Digest string // option of openssl dgst; "" for a key that it takes no digest with
}

// entry is an archive in the script's table.
type entry struct {
	Platform, URL, File, Sum, Folder, Kind string
	Programs                               string // one a line
	Size                                   int64  // bytes
}

// installed is a file with the folder below the prefix, and the name, that it is installed under.
type installed struct{ From, To string }

// variable is what a name must be for one of a variable in the environment to begin with it.
var notVariable = regexp.MustCompile(`[^A-Z0-9]+`)

// Install is install.sh of a release. The error has fault.Usage where the recipe or the options cannot be installed
// from.
//
// For each system and processor the script takes the archive of the variant that asks least of the processor; on 32-bit
// ARM the highest that the machine can run. Where there is none it takes one that the system runs too: 386 for amd64 on
// Linux, amd64 for arm64 on macOS. Windows is left to its package managers: there the script names them.
//
// The names of the variables that the script reads, such as KIT_INSTALL_DIR, begin with the name in capitals, with _ for
// what is not a letter or digit.
func Install(r format.Recipe) ([]byte, error) {
	d := data{
		Name: r.Name, Title: oneLine(cmp.Or(r.Title, r.Name)), Version: r.Version.String(), Signatures: r.Signatures,
		Variable: strings.Trim(notVariable.ReplaceAllString(strings.ToUpper(r.Name), "_"), "_"),
		Home:     oneLine(cmp.Or(r.Homepage, r.Repository)),
	}
	if err := checkName(r.Name); err != nil {
		return nil, err
	}
	if d.Variable[0] >= '0' && d.Variable[0] <= '9' {
		d.Variable = "_" + d.Variable
	}
	if r.Version.IsZero() {
		return nil, fault.Errorf(fault.Bug, "%s has no version", r.Name)
	}
	var err error
	if d.Archives, err = table(r.Downloads); err != nil {
		return nil, err
	}
	names := make([]string, len(d.Archives))
	for i, a := range d.Archives {
		names[i] = a.Platform
	}
	d.Available = strings.Join(names, " ")
	if err := d.documents(r); err != nil {
		return nil, err
	}
	if err := d.sign(); err != nil {
		return nil, err
	}
	var b bytes.Buffer
	if err := parsed.ExecuteTemplate(&b, "install.sh.tmpl", d); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

var validName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._+-]*$`)

func checkName(name string) error {
	if !validName.MatchString(name) {
		return fault.Errorf(fault.Usage, "%q cannot be installed by a script: write a letter or digit, then letters, digits, . _ + and -", name)
	}
	return nil
}

// table is the archives that the script chooses from, by platform: with the variant on 32-bit ARM and without it
// elsewhere.
func table(downloads []format.Download) ([]entry, error) {
	chosen := map[string]format.Download{}
	for _, d := range downloads {
		if d.Platform.OS == "windows" || d.Platform.OS == "plan9" {
			continue
		}
		key := d.Platform.Base().String()
		if d.Platform.Arch == "arm" {
			key += "/" + cmp.Or(d.Platform.Variant, "v6")
		}
		if other, ok := chosen[key]; !ok || demand(d.Platform) < demand(other.Platform) {
			chosen[key] = d
		}
	}
	var out []entry
	for key, d := range chosen {
		e, err := newEntry(key, d)
		if err != nil {
			return nil, fault.Errorf(fault.Usage, "archive for %s: %w", d.Platform, err)
		}
		out = append(out, e)
	}
	if len(out) == 0 {
		return nil, fault.Errorf(fault.Usage, "no archive is for a system with a POSIX shell; add a target such as linux/amd64 or leave the script out")
	}
	slices.SortFunc(out, func(a, b entry) int { return strings.Compare(a.Platform, b.Platform) })
	return out, nil
}

// demand orders the variants of an architecture by what they ask of the processor: without floating point least, then
// the default, then those that count upwards.
func demand(p artifact.Platform) string {
	switch p.Variant {
	case "softfloat":
		return ""
	case "":
		return "0"
	}
	return fmt.Sprintf("1%3d%s", len(p.Variant), p.Variant)
}

// kinds are the archives that the script unpacks, by their endings.
var kinds = []struct{ ending, kind string }{{".tar.gz", "tar.gz"}, {".tgz", "tar.gz"}, {".zip", "zip"}}

func newEntry(key string, d format.Download) (entry, error) {
	if _, err := artifact.ParsePlatform(d.Platform.String()); err != nil {
		return entry{}, err
	}
	file, err := fileOf(d.URL)
	if err != nil {
		return entry{}, err
	}
	if _, err := artifact.ParseDigest(string(d.Digest)); err != nil {
		return entry{}, err
	}
	if d.Size <= 0 {
		return entry{}, fmt.Errorf("%s has %d bytes, and the script fetches no more than there are", file, d.Size)
	}
	e := entry{Platform: key, URL: d.URL, File: file, Sum: d.Digest.Hex(), Size: d.Size, Folder: d.Folder, Programs: strings.Join(d.Programs, "\n")}
	for _, k := range kinds {
		if e.Kind == "" && strings.HasSuffix(strings.ToLower(file), k.ending) {
			e.Kind = k.kind
		}
	}
	if e.Kind == "" {
		return entry{}, fmt.Errorf("%q is neither a .tar.gz nor a .zip", file)
	}
	if d.Folder != "" {
		if err := artifact.CheckPath(d.Folder); err != nil {
			return entry{}, err
		}
	}
	if len(d.Programs) == 0 {
		return entry{}, fmt.Errorf("no program to install")
	}
	if err := artifact.CheckPaths(slices.Concat(d.Programs, d.Files)); err != nil {
		return entry{}, err
	}
	bases := map[string]bool{}
	for _, p := range d.Programs {
		if strings.ContainsFunc(p, func(r rune) bool { return !unicode.IsGraphic(r) }) {
			return entry{}, fmt.Errorf("the program %q has characters that cannot be seen", p)
		}
		if bases[path.Base(p)] {
			return entry{}, fmt.Errorf("two programs are called %q", path.Base(p))
		}
		bases[path.Base(p)] = true
	}
	return e, nil
}

// fileOf is the name of the file at the URL, as it stands there. A URL that is not https is refused: the script would
// not fetch it.
func fileOf(s string) (string, error) {
	u, err := url.Parse(s)
	switch {
	case err != nil:
		return "", err
	case u.Scheme != "https" || u.Host == "":
		return "", fmt.Errorf("%q is not an https URL", s)
	case strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r >= 0x7f }):
		return "", fmt.Errorf("%q has characters that a URL does not; write the host in Punycode and %%-encode the rest", s)
	}
	file := path.Base(u.EscapedPath())
	if file == "/" || file == "." || file == ".." {
		return "", fmt.Errorf("%q names no file", s)
	}
	return file, nil
}

// shells are where the completions of a shell belong below a prefix, and the name of the file for a program.
var shells = []struct{ name, folder, before, after string }{
	{"bash", "share/bash-completion/completions/", "", ""},
	{"fish", "share/fish/vendor_completions.d/", "", ".fish"},
	{"zsh", "share/zsh/site-functions/", "_", ""},
}

var manualName = regexp.MustCompile(`\.([1-9])[a-z0-9]*(?:\.gz)?$`)

// documents are the manual pages and completions, which the script installs when asked to. The completions of
// PowerShell have no common place.
func (d *data) documents(r format.Recipe) error {
	programs := strings.Split(d.Archives[0].Programs, "\n")
	main := programs[0]
	if slices.Contains(programs, r.Name) {
		main = r.Name
	}
	for _, sh := range shells {
		p, ok := r.Completions[sh.name]
		if !ok {
			continue
		}
		base := path.Base(p)
		stem := strings.TrimPrefix(strings.TrimSuffix(base, path.Ext(base)), "_")
		if !slices.ContainsFunc(programs, func(p string) bool { return path.Base(p) == stem }) {
			stem = path.Base(main)
		}
		d.Completions = append(d.Completions, installed{p, sh.folder + sh.before + stem + sh.after})
	}
	for _, p := range slices.Sorted(slices.Values(r.Manuals)) {
		m := manualName.FindStringSubmatch(p)
		if m == nil {
			return fault.Errorf(fault.Usage, "manual page %q does not end in its section, such as .1", p)
		}
		d.Manuals = append(d.Manuals, installed{p, "share/man/man" + m[1] + "/" + path.Base(p)})
	}
	for _, in := range slices.Concat(d.Manuals, d.Completions) {
		if err := artifact.CheckPath(in.From); err != nil {
			return fault.New(fault.Usage, err)
		}
	}
	d.Documents = len(d.Manuals)+len(d.Completions) > 0
	return nil
}

// sign checks where the signatures are and prepares the key.
func (d *data) sign() error {
	o := &d.Signatures
	if *o == (format.Signatures{}) {
		return nil
	}
	keyless := o.Identity != "" || o.Issuer != ""
	switch {
	case o.PublicKey != "" && keyless:
		return fault.Errorf(fault.Usage, "a public key and an identity are given; a signature is checked against one of them")
	case o.PublicKey == "" && (o.Identity == "" || o.Issuer == ""):
		return fault.Errorf(fault.Usage, "signatures need the public key, or both the identity and its issuer")
	case o.Checksums == "":
		return fault.Errorf(fault.Usage, "the URL of the signed checksums is missing")
	case o.Bundle == "":
		return fault.Errorf(fault.Usage, "the URL of the bundle that signs the checksums is missing")
	}
	for _, u := range []string{o.Checksums, o.Bundle} {
		if _, err := fileOf(u); err != nil {
			return fault.New(fault.Usage, err)
		}
	}
	if strings.ContainsFunc(o.Identity+o.Issuer, func(r rune) bool { return !unicode.IsGraphic(r) }) {
		return fault.Errorf(fault.Usage, "the identity %q of %q has characters that cannot be seen", o.Identity, o.Issuer)
	}
	d.Signed = true
	if o.PublicKey == "" {
		return nil
	}
	var err error
	o.PublicKey, d.Digest, err = key(o.PublicKey)
	return err
}

// key reads a public key and returns it in the one form of its PEM, with the digest that openssl verifies with: "" for
// Ed25519, which has its own.
func key(s string) (clean, digest string, err error) {
	block, rest := pem.Decode([]byte(s))
	if block == nil || block.Type != "PUBLIC KEY" || strings.TrimSpace(string(rest)) != "" {
		return "", "", fault.Errorf(fault.Usage, "the public key is not one PEM block of the type PUBLIC KEY")
	}
	parsed, err := x509.ParsePKIXPublicKey(block.Bytes)
	if err != nil {
		return "", "", fault.Errorf(fault.Usage, "reading the public key: %w", err)
	}
	clean = strings.TrimSuffix(string(pem.EncodeToMemory(&pem.Block{Type: block.Type, Bytes: block.Bytes})), "\n")
	switch k := parsed.(type) {
	case *ecdsa.PublicKey:
		hash, ok := map[int]crypto.Hash{256: crypto.SHA256, 384: crypto.SHA384, 521: crypto.SHA512}[k.Curve.Params().BitSize]
		if !ok {
			return "", "", fault.Errorf(fault.Usage, "the public key is on the curve %s; P-256, P-384 and P-521 can be checked", k.Curve.Params().Name)
		}
		return clean, "-" + strings.ToLower(strings.ReplaceAll(hash.String(), "-", "")), nil
	case *rsa.PublicKey:
		return clean, "-sha256", nil
	case ed25519.PublicKey:
		return clean, "", nil
	}
	return "", "", fault.Errorf(fault.Usage, "the public key is a %T; ECDSA, Ed25519 and RSA can be checked", parsed)
}

// quote is s as one word of the shell that means nothing but its characters
// (https://pubs.opengroup.org/onlinepubs/9799919799/utilities/V3_chap02.html#tag_19_02_02).
func quote(s string) string {
	return "'" + strings.ReplaceAll(strings.ReplaceAll(s, "\x00", ""), "'", `'\''`) + "'"
}

// oneLine is s without what would break a line, move a terminal's cursor or is not to be seen.
func oneLine(s string) string {
	s = strings.Map(func(r rune) rune {
		switch {
		case unicode.IsSpace(r) || unicode.IsControl(r):
			return ' '
		case !unicode.IsGraphic(r):
			return -1
		}
		return r
	}, strings.ToValidUTF8(s, ""))
	return strings.Join(strings.Fields(s), " ")
}
