package class

import (
	"testing"
	"time"
)

// What a schema says of itself may be asked of every place that is reached through it, and is looked at once where there are no values.
func TestSchemasThatReferToThemselves(t *testing.T) {
	before := `{"properties":{"a":{"$ref":"#"},"b":{"$ref":"#"},"c":{"$ref":"#"},"n":{"type":"integer"}}}`
	after := `{"properties":{"a":{"$ref":"#"},"b":{"$ref":"#"},"c":{"$ref":"#"},"n":{"type":"string"}}}`
	done := make(chan []string, 1)
	go func() {
		found, err := narrowed([]byte(before), []byte(after), nil)
		if err != nil {
			t.Error(err)
		}
		done <- found
	}()
	select {
	case found := <-done:
		if len(found) != 1 || found[0] != "n is no longer integer, but string" {
			t.Errorf("found %q", found)
		}
	case <-time.After(5 * time.Second):
		t.Fatal("a schema that refers to itself is compared without end")
	}
}
