package rpm

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"slices"
)

// The tags of a header (https://rpm.org/docs/latest/manual/tags.html).
const (
	tagI18NTable         = 100
	tagName              = 1000
	tagVersion           = 1001
	tagRelease           = 1002
	tagSummary           = 1004
	tagDescription       = 1005
	tagBuildTime         = 1006
	tagBuildHost         = 1007
	tagSize              = 1009
	tagVendor            = 1011
	tagLicense           = 1014
	tagPackager          = 1015
	tagGroup             = 1016
	tagURL               = 1020
	tagOS                = 1021
	tagArch              = 1022
	tagPost              = 1024
	tagPreRemove         = 1025
	tagPostRemove        = 1026
	tagFileSizes         = 1028
	tagFileModes         = 1030
	tagFileDeviceOf      = 1033 // of a device file
	tagFileTimes         = 1034
	tagFileDigests       = 1035
	tagFileLinks         = 1036
	tagFileFlags         = 1037
	tagFileUsers         = 1039
	tagFileGroups        = 1040
	tagSourceRPM         = 1044
	tagFileVerify        = 1045
	tagProvideName       = 1047
	tagRequireSense      = 1048
	tagRequireName       = 1049
	tagRequireVersion    = 1050
	tagConflictSense     = 1053
	tagConflictName      = 1054
	tagConflictVersion   = 1055
	tagChangelogTime     = 1080
	tagChangelogName     = 1081
	tagChangelogText     = 1082
	tagPostProgram       = 1086
	tagPreRemoveProgram  = 1087
	tagPostRemoveProgram = 1088
	tagObsoleteName      = 1090
	tagFileDevices       = 1095 // on which the file is
	tagFileInodes        = 1096
	tagFileLanguages     = 1097
	tagProvideSense      = 1112
	tagProvideVersion    = 1113
	tagObsoleteSense     = 1114
	tagObsoleteVersion   = 1115
	tagDirIndexes        = 1116
	tagBaseNames         = 1117
	tagDirNames          = 1118
	tagPayloadFormat     = 1124
	tagPayloadCompressor = 1125
	tagPayloadFlags      = 1126
	tagFileDigestAlgos   = 5011
	tagRecommendName     = 5046
	tagRecommendVersion  = 5047
	tagRecommendSense    = 5048
	tagSuggestName       = 5049
	tagSuggestVersion    = 5050
	tagSuggestSense      = 5051
	tagPayloadDigest     = 5092
	tagPayloadDigestAlgo = 5093
	tagPayloadDigestAlt  = 5097 // of what is not compressed
)

// The regions, and the tags of the signature header, some of which have the numbers of others
// (https://rpm.org/docs/latest/manual/signatures_digests.html).
const (
	regionSignature = 62
	regionMain      = 63

	sigSHA256      = 273
	sigSize        = 1000
	sigPayloadSize = 1007
)

// The types of values (https://rpm.org/docs/latest/manual/format_header.html).
const (
	typeInt16       = 3
	typeInt32       = 4
	typeString      = 6
	typeBinary      = 7
	typeStringArray = 8
)

// value is one of a header.
type value struct {
	tag, kind, count int
	data             []byte
}

// headerMagic begins a header: three bytes, a version, and four that are reserved.
var headerMagic = []byte{0x8e, 0xad, 0xe8, 1, 0, 0, 0, 0}

// align is what the offset of a value has to be a multiple of.
func (v value) align() int {
	switch v.kind {
	case typeInt16:
		return 2
	case typeInt32:
		return 4
	}
	return 1
}

// writeHeader writes a header with its region, which comes first in the index and last in the store, and says that all
// between belongs to it.
func writeHeader(values []value, region int) []byte {
	values = slices.SortedFunc(slices.Values(values), func(a, b value) int { return cmp.Compare(a.tag, b.tag) })
	var index, store []byte
	entry := func(b []byte, tag, kind, offset, count int) []byte {
		for _, n := range []int{tag, kind, offset, count} {
			b = binary.BigEndian.AppendUint32(b, uint32(n)) //nolint:gosec // a region's offset is meant to be negative
		}
		return b
	}
	for _, v := range values {
		for len(store)%v.align() != 0 {
			store = append(store, 0)
		}
		index = entry(index, v.tag, v.kind, len(store), v.count)
		store = append(store, v.data...)
	}
	trailer := len(store)
	store = entry(store, region, typeBinary, -16*(len(values)+1), 16)

	out := bytes.Clone(headerMagic)
	out = binary.BigEndian.AppendUint32(out, uint32(len(values)+1)) //nolint:gosec // a few dozen
	out = binary.BigEndian.AppendUint32(out, uint32(len(store)))    //nolint:gosec // bounded by the package
	out = entry(out, region, typeBinary, trailer, 16)
	return append(append(out, index...), store...)
}

func text(tag int, s string) value { return value{tag, typeString, 1, append([]byte(s), 0)} }

func texts(tag int, all ...string) value {
	var data []byte
	for _, s := range all {
		data = append(append(data, s...), 0)
	}
	return value{tag, typeStringArray, len(all), data}
}

func numbers(tag int, all ...uint32) value {
	var data []byte
	for _, n := range all {
		data = binary.BigEndian.AppendUint32(data, n)
	}
	return value{tag, typeInt32, len(all), data}
}

func shorts(tag int, all ...uint16) value {
	var data []byte
	for _, n := range all {
		data = binary.BigEndian.AppendUint16(data, n)
	}
	return value{tag, typeInt16, len(all), data}
}

// lead begins an rpm. Only its first bytes are read
// (https://rpm.org/docs/latest/manual/format_lead.html).
func lead(name string) []byte {
	b := []byte{0xed, 0xab, 0xee, 0xdb, 3, 0, 0, 0, 0, 1} // magic, version 3.0, a binary package, of some machine
	var field [66]byte
	copy(field[:len(field)-1], name)
	b = append(b, field[:]...)
	b = append(b, 0, 1, 0, 5) // of some system; signed by a header
	return append(b, make([]byte, 16)...)
}
