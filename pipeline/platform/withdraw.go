package platform

import (
	"bytes"
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"unicode"

	"go.yaml.in/yaml/v3"

	"github.com/slipway-build/slipway/pipeline/release/fault"
	"github.com/slipway-build/slipway/pipeline/release/version"
)

// Withdraw is the file with a release withdrawn, for a reason. All else in it stays as it is written, comments included. A release that
// is withdrawn for another reason already is an error, since somebody read that one.
func Withdraw(name string, b []byte, v version.Version, why string) ([]byte, error) {
	before, err := Parse(name, b)
	if err != nil {
		return nil, err
	}
	if strings.TrimSpace(why) == "" || strings.ContainsFunc(why, unicode.IsControl) {
		return nil, fault.Errorf(fault.Usage, "the reason %.80q is not one line of text", why)
	}
	switch was, there := before.Withdrawn[v.String()]; {
	case there && was == why:
		return b, nil
	case there:
		return nil, fault.Errorf(fault.Usage, "%s: %s is withdrawn already: %s", before.At("withdrawn."+v.String()), v, was)
	}
	entry := fmt.Sprintf("%s: %s", v, strconv.Quote(why))
	byHand := func() ([]byte, error) {
		return nil, fault.Errorf(fault.Usage, "%s: withdrawn is written in a form that is not added to; add to it by hand: %s", before.At("withdrawn"), strings.TrimSuffix(entry, ", "))
	}
	var doc yaml.Node
	if err := yaml.Unmarshal(b, &doc); err != nil {
		return nil, fault.New(fault.Usage, err)
	}
	// The reader of YAML ends lines at these, too, and counts them.
	if text := strings.ReplaceAll(string(b), "\r\n", "\n"); strings.ContainsAny(text, "\r\u0085\u2028\u2029") {
		return byHand()
	}
	lines := strings.SplitAfter(string(b), "\n")
	value := child(&doc, "withdrawn")
	switch {
	case value == nil:
		if last := lines[len(lines)-1]; last != "" {
			lines[len(lines)-1] = last + "\n"
		}
		lines = append(lines, "withdrawn:\n  "+entry+"\n")
	case value.Kind == yaml.MappingNode && value.Style&yaml.FlowStyle != 0:
		line, at := &lines[value.Line-1], value.Column // behind the brace, both counted from 1
		if len(value.Content) > 0 {
			entry += ", "
		}
		*line = (*line)[:at] + entry + (*line)[at:]
	case value.Kind == yaml.MappingNode && len(value.Content) > 0:
		first := value.Content[0]
		lines[first.Line-1] = strings.Repeat(" ", first.Column-1) + entry + "\n" + lines[first.Line-1]
	}
	after := []byte(strings.Join(lines, ""))
	// Whatever stands in the file, what comes of it says that one thing more and nothing else.
	want := before
	want.Withdrawn = map[string]string{v.String(): why}
	for was, reason := range before.Withdrawn {
		want.Withdrawn[was] = reason
	}
	got, err := Parse(name, after)
	got.where, want.where = before.where, before.where
	if err != nil || !reflect.DeepEqual(got, want) || !bytes.Contains(after, []byte(entry)) {
		return byHand()
	}
	return after, nil
}

// child is the value of a key at the top of a document.
func child(doc *yaml.Node, key string) *yaml.Node {
	if len(doc.Content) == 0 {
		return nil
	}
	top := doc.Content[0].Content
	for i := 0; i+1 < len(top); i += 2 {
		if top[i].Value == key {
			return top[i+1]
		}
	}
	return nil
}
