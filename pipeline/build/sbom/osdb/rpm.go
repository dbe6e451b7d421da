package osdb

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// parseRPM reads rpm's sqlite database: a row for each package, with the number and the header of it.
func parseRPM(b []byte) ([]Package, error) {
	var out []Package
	err := rows(b, "Packages", func(row [][]byte) error {
		if len(row) != 2 {
			return fmt.Errorf("the table of packages has %d columns and not 2", len(row))
		}
		p, err := parseHeader(row[1])
		if err != nil {
			return err
		}
		if p.Name == "gpg-pubkey" { // a key that the administrator trusts, which rpm keeps as if it were a package
			return nil
		}
		if len(out) >= maxPackages {
			return fmt.Errorf("it has more than %d packages", maxPackages)
		}
		out = append(out, p)
		return nil
	})
	return out, err
}

// Tags of a header and types of their values (https://rpm-software-management.github.io/rpm/manual/tags.html,
// https://rpm-software-management.github.io/rpm/manual/format_header.html).
const (
	tagName      = 1000
	tagVersion   = 1001
	tagRelease   = 1002
	tagEpoch     = 1003
	tagVendor    = 1011
	tagLicense   = 1014
	tagArch      = 1022
	tagSourceRPM = 1044

	typeInt32  = 4
	typeString = 6
	typeI18N   = 9 // strings of several languages, of which the first is in none
)

var errHeader = errors.New("it has a package whose header is not whole")

// parseHeader reads a header as a database has it: without the magic number that is in front of it in a file.
func parseHeader(b []byte) (Package, error) {
	if len(b) < 8 {
		return Package{}, errHeader
	}
	count, size := uint64(binary.BigEndian.Uint32(b)), uint64(binary.BigEndian.Uint32(b[4:]))
	if 8+16*count+size > uint64(len(b)) {
		return Package{}, errHeader
	}
	index, store := b[8:8+16*count], b[8+16*count:8+16*count+size]
	var p Package
	var version, release, epoch, source string
	for ; len(index) > 0; index = index[16:] {
		tag, kind := binary.BigEndian.Uint32(index), binary.BigEndian.Uint32(index[4:])
		offset := uint64(binary.BigEndian.Uint32(index[8:]))
		var to *string
		switch tag {
		case tagName:
			to = &p.Name
		case tagVersion:
			to = &version
		case tagRelease:
			to = &release
		case tagEpoch:
			to = &epoch
		case tagVendor:
			to = &p.Vendor
		case tagLicense:
			to = &p.License
		case tagArch:
			to = &p.Arch
		case tagSourceRPM:
			to = &source
		default:
			continue
		}
		if offset > size {
			return Package{}, errHeader
		}
		switch kind {
		case typeString, typeI18N:
			text, _, ended := bytes.Cut(store[offset:], []byte{0})
			if !ended {
				return Package{}, errHeader
			}
			*to = string(text)
		case typeInt32:
			if offset+4 > size {
				return Package{}, errHeader
			}
			*to = strconv.FormatUint(uint64(binary.BigEndian.Uint32(store[offset:])), 10)
		default:
			return Package{}, errHeader
		}
	}
	if version == "" || release == "" {
		return Package{}, errHeader
	}
	p.Type = "rpm"
	p.Version = version + "-" + release
	if epoch != "" {
		p.Version = epoch + ":" + p.Version
	}
	// name-version-release.src.rpm; neither of the last two has a hyphen.
	if stem, ok := strings.CutSuffix(source, ".src.rpm"); ok {
		if i := strings.LastIndexByte(stem, '-'); i > 0 {
			if j := strings.LastIndexByte(stem[:i], '-'); j > 0 {
				p.Source, p.SourceVersion = stem[:j], stem[j+1:]
			}
		}
	}
	return p, nil
}
