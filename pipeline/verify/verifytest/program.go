package verifytest

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"strings"

	"github.com/slipway-build/slipway/pipeline/release/artifact"
)

// program is an executable for the platform with the build information of a Go program and nothing to run.
func program(name, version string, p artifact.Platform) []byte {
	var info strings.Builder
	fmt.Fprintf(&info, "path\texample.com/%s\nmod\texample.com/%s\t(devel)\t\n", name, name)
	fmt.Fprintf(&info, "build\t-compiler=gc\nbuild\t-trimpath=true\nbuild\tCGO_ENABLED=0\n")
	for _, kv := range p.Env() {
		fmt.Fprintf(&info, "build\t%s\n", kv)
	}
	data := append(buildInfo(info.String()), name+" "+version+" says hello\n"...)
	if p.OS == "windows" {
		return pe(data)
	}
	return elf(p.Arch, data)
}

// buildInfo is what the linker leaves for debug/buildinfo
// ($GOROOT/src/debug/buildinfo/buildinfo.go has the layout).
func buildInfo(info string) []byte {
	const magic, inline, sentinel = "\xff Go buildinf:", 2, 16
	b := make([]byte, 32)
	copy(b, magic)
	b[14], b[15] = 8, inline
	text := func(s string) {
		b = binary.AppendUvarint(b, uint64(len(s)))
		b = append(b, s...)
	}
	text(Go)
	text(strings.Repeat("\x01", sentinel) + info + strings.Repeat("\x02", sentinel))
	return b
}

// elf is a header and one writable segment (https://refspecs.linuxfoundation.org/elf/gabi4+/ch4.eheader.html).
func elf(arch string, data []byte) []byte {
	const head, segment, address = 64, 56, 0x400000
	machine := map[string]uint16{"amd64": 62, "arm64": 183}[arch]
	var b bytes.Buffer
	le := func(values ...any) {
		for _, v := range values {
			_ = binary.Write(&b, binary.LittleEndian, v) // a buffer takes all
		}
	}
	b.WriteString("\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00")
	le(uint16(2), machine, uint32(1), uint64(0), uint64(head), uint64(0), uint32(0), uint16(head), uint16(segment), uint16(1), uint16(0), uint16(0), uint16(0))
	size := uint64(len(data))
	const load, readWrite, start = 1, 6, head + segment + 8
	le(uint32(load), uint32(readWrite), uint64(start), uint64(address), uint64(address), size, size, uint64(16), uint64(0))
	b.Write(data)
	return b.Bytes()
}

// pe is a PE32+ with one section of data (https://learn.microsoft.com/windows/win32/debug/pe-format).
func pe(data []byte) []byte {
	const stub, optional, sections, start = 64, 240, 64 + 24 + 240, 512
	b := make([]byte, start, start+len(data))
	le := binary.LittleEndian
	copy(b, "MZ")
	le.PutUint32(b[60:], stub)
	copy(b[stub:], "PE\x00\x00")
	coff := b[stub+4:]
	le.PutUint16(coff, 0x8664) // amd64
	le.PutUint16(coff[2:], 1)  // sections
	le.PutUint16(coff[16:], optional)
	le.PutUint16(coff[18:], 0x22) // executable, large addresses
	o := b[stub+24:]
	le.PutUint16(o, 0x20b) // PE32+
	le.PutUint64(o[24:], 0x140000000)
	le.PutUint32(o[108:], 16) // directories
	s := b[sections:]
	copy(s, ".data")
	le.PutUint32(s[8:], uint32(len(data)))
	le.PutUint32(s[12:], 0x1000)
	le.PutUint32(s[16:], uint32(len(data)))
	le.PutUint32(s[20:], start)
	le.PutUint32(s[36:], 0xc0000040) // initialized, read, write
	return append(b, data...)
}
