package environment_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/slipway-build/slipway/pipeline/environment"
)

// Each tag of the default rules with the version that it stands for, and the line that says so.
func TestTags(t *testing.T) {
	w := newWorld(t, "")
	tags := func(want string) {
		t.Helper()
		var all []string
		for _, tag := range w.s.Tags(w.r, "production", "gateway") {
			text := fmt.Sprintf("%s=%s@%d", tag.Name, tag.Version, tag.Line)
			if tag.None {
				text = tag.Name + "=none"
			}
			if tag.Pinned {
				text += "!"
			}
			all = append(all, text)
		}
		w.is("the tags", strings.Join(all, " "), want)
	}
	tags("")
	w.add("production", entry("gateway", "1.2.0", "a"))
	w.add("production", entry("gateway", "2.0.0", "b"))
	w.add("production", entry("gateway", "1.2.1", "c"))
	w.add("production", entry("gateway", "3.0.0-rc.1", "d"))
	tags("production=2.0.0@2 latest=2.0.0@2 2=2.0.0@2 1=1.2.1@3 2.0=2.0.0@2 1.2=1.2.1@3")
	w.do(environment.Rollback, "gateway", "1.2.0", "production")
	tags("production=1.2.0@5! latest=1.2.0@5! 2=2.0.0@2 1=1.2.0@5! 2.0=2.0.0@2 1.2=1.2.0@5!")
	w.do(environment.Release, "gateway", "", "production")
	w.do(environment.Withdraw, "gateway", "2.0.0", "")
	tags("production=1.2.1@7 latest=1.2.1@7 2=none 1=1.2.1@3 2.0=none 1.2=1.2.1@3")
	if all := w.s.Tags(w.r, "nowhere", "gateway"); all != nil {
		t.Errorf("%+v", all)
	}
}
