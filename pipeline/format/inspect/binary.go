package inspect

import (
	"bytes"
	"debug/buildinfo"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"runtime/debug"
	"slices"
	"strings"
)

// binary reads the build information of a Go program. Its platform must be one that the header of the file is for.
func (j *job) binary() (err error) {
	arches, systems, err := j.executable()
	if err != nil {
		return err
	}
	defer func() {
		// The standard library does not promise that a malformed file does not make its readers panic.
		if p := recover(); p != nil {
			err = fmt.Errorf("reading its build information: %v", p)
		}
	}()
	info, err := buildinfo.Read(&limitedAt{j, 4*j.size + 64<<20})
	if err != nil && slices.Equal(arches, []string{"ppc64"}) && systems("aix") {
		// The standard library does not open an XCOFF whose symbols the linker left out.
		info, err = j.searchInfo()
	}
	if err != nil {
		return err
	}
	fields := []Field{
		{"version", info.GoVersion},
		{"path", info.Path},
		{"module", info.Main.Path},
		{"module.version", info.Main.Version},
		{"module.sum", info.Main.Sum},
	}
	for _, d := range info.Deps {
		value := d.Version + " " + d.Sum
		if r := d.Replace; r != nil {
			value += " => " + r.Path + " " + r.Version + " " + r.Sum
		}
		fields = append(fields, Field{"dep." + d.Path, value})
	}
	for _, s := range info.Settings {
		fields = append(fields, Field{s.Key, s.Value})
	}
	for _, f := range fields {
		if err := j.field("go."+f.Key, f.Value); err != nil {
			return err
		}
	}
	system, arch := j.facts.Fields["go.GOOS"], j.facts.Fields["go.GOARCH"]
	if system == "" || arch == "" {
		return errors.New("its build information has no GOOS or no GOARCH")
	}
	if !slices.Contains(arches, arch) || !systems(system) {
		return fmt.Errorf("it says that it is for %s/%s, and the header of the file is for %v on another system or processor", system, arch, arches)
	}
	j.facts.Name, j.facts.Version, j.facts.Architecture = info.Path, info.Main.Version, system+"/"+arch
	return nil
}

// executable reads for which architectures and systems the header of a program is.
func (j *job) executable() ([]string, func(system string) bool, error) {
	b, err := j.bytesAt(0, min(64, j.size))
	if err != nil {
		return nil, nil, err
	}
	if len(b) < 64 {
		return nil, nil, errEnds
	}
	only := func(names ...string) func(string) bool {
		return func(s string) bool { return slices.Contains(names, s) }
	}
	switch {
	case string(b[:4]) == "\x7fELF":
		// https://refspecs.linuxfoundation.org/elf/gabi4+/ch4.eheader.html
		var order binary.ByteOrder = binary.LittleEndian
		if b[5] == 2 {
			order = binary.BigEndian
		}
		type machine struct {
			class, data byte
			id          uint16
		}
		arches := map[machine][]string{
			{1, 1, 3}: {"386"}, {2, 1, 62}: {"amd64"}, {1, 1, 40}: {"arm"}, {2, 1, 183}: {"arm64"},
			{2, 1, 258}: {"loong64"}, {2, 1, 243}: {"riscv64"}, {2, 2, 22}: {"s390x"}, {2, 2, 21}: {"ppc64"}, {2, 1, 21}: {"ppc64le"},
			{1, 2, 8}: {"mips"}, {1, 1, 8}: {"mipsle"}, {2, 2, 8}: {"mips64"}, {2, 1, 8}: {"mips64le"},
		}[machine{b[4], b[5], order.Uint16(b[18:])}]
		return arches, func(s string) bool { return !only("windows", "darwin", "plan9", "aix")(s) }, nil
	case binary.LittleEndian.Uint32(b) == 0xfeedfacf:
		// <mach-o/loader.h>
		arches := map[uint32][]string{0x01000007: {"amd64"}, 0x0100000c: {"arm64"}}[binary.LittleEndian.Uint32(b[4:])]
		return arches, only("darwin", "ios"), nil
	case string(b[:2]) == "MZ":
		// https://learn.microsoft.com/windows/win32/debug/pe-format
		pe, err := j.bytesAt(int64(binary.LittleEndian.Uint32(b[60:])), 6)
		if err != nil || string(pe[:4]) != "PE\x00\x00" {
			return nil, nil, errors.Join(errors.New("not a PE file: its header is missing"), err)
		}
		arches := map[uint16][]string{0x14c: {"386"}, 0x8664: {"amd64"}, 0xaa64: {"arm64"}, 0x1c4: {"arm"}}[binary.LittleEndian.Uint16(pe[4:])]
		return arches, only("windows"), nil
	case binary.BigEndian.Uint16(b) == 0x01f7: // XCOFF of 64 bits
		return []string{"ppc64"}, only("aix"), nil
	case slices.Contains([]uint32{0x1eb, 0x8a97, 0x647}, binary.BigEndian.Uint32(b)): // a.out(6) of Plan 9
		return []string{"386", "amd64", "arm"}, only("plan9"), nil
	}
	return nil, nil, errors.New("it is not an ELF, Mach-O, PE, XCOFF or a.out")
}

// searchInfo looks for build information wherever in the file it is, and wants to find it once
// (https://pkg.go.dev/debug/buildinfo; $GOROOT/src/debug/buildinfo/buildinfo.go has the layout).
func (j *job) searchInfo() (*debug.BuildInfo, error) {
	const head = 32
	magic := []byte("\xff Go buildinf:")
	var found *debug.BuildInfo
	window := make([]byte, 1<<20)
	for at := int64(0); at < j.size; at += int64(len(window) - len(magic) + 1) {
		n, err := j.ReadAt(window[:min(int64(len(window)), j.size-at)], at)
		if err != nil && err != io.EOF {
			return nil, err
		}
		for off := 0; ; off++ {
			i := bytes.Index(window[off:n], magic)
			if i < 0 {
				break
			}
			off += i
			h, err := j.bytesAt(at+int64(off), head)
			if err != nil || h[15]&2 == 0 {
				continue
			}
			c := j.from(at+int64(off)+head, j.size)
			version, err := goString(c, 256)
			if err != nil || !strings.HasPrefix(version, "go") && !strings.HasPrefix(version, "devel") {
				continue
			}
			text, err := goString(c, uint64(j.MaxDocument))
			// Sixteen bytes in front and behind mark it for readers that do not know its length.
			if err != nil || len(text) < 33 || text[len(text)-17] != '\n' {
				continue
			}
			info, err := debug.ParseBuildInfo(text[16 : len(text)-16])
			if err != nil {
				continue
			}
			if found != nil {
				return nil, errors.New("it has build information twice")
			}
			info.GoVersion = version
			found = info
		}
	}
	if found == nil {
		return nil, errors.New("it has no build information")
	}
	return found, nil
}

// goString reads a text behind its length.
func goString(c *cursor, limit uint64) (string, error) {
	n, err := binary.ReadUvarint(c)
	if err != nil || n > limit {
		return "", errEnds
	}
	b, err := whole(io.LimitReader(c, int64(n)), int64(n))
	if uint64(len(b)) != n && err == nil {
		err = errEnds
	}
	return string(b), err
}

// limitedAt bounds what a reader reads all together, since a malformed file may make it read the same over and over.
type limitedAt struct {
	r    io.ReaderAt
	left int64
}

func (l *limitedAt) ReadAt(b []byte, off int64) (int, error) {
	if l.left -= int64(len(b)); l.left < 0 {
		return 0, errors.New("its headers make a reader read it over and over")
	}
	return l.r.ReadAt(b, off)
}
