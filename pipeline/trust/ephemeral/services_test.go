package ephemeral

import (
	"strings"
	"testing"
	"time"

	"github.com/slipway-build/slipway/pipeline/release/fault"
)

// config is a signing configuration with these lists of services.
func config(authorities, logs, logRule, stampers, stampRule string) string {
	return `{"mediaType":"application/vnd.dev.sigstore.signingconfig.v0.2+json","caUrls":[` + authorities + `],"oidcUrls":[],"rekorTlogUrls":[` + logs +
		`],"rekorTlogConfig":` + logRule + `,"tsaUrls":[` + stampers + `],"tsaConfig":` + stampRule + `}`
}

// at is a service at name.example, of a version, an operator, and from and until a year; "" is no end.
func at(name, version, operator, from, until string) string {
	if until != "" {
		until = `,"end":"` + until + `-01-01T00:00:00Z"`
	}
	return `{"url":"https://` + name + `.example/","majorApiVersion":` + version + `,"operator":"` + operator + `","validFor":{"start":"` + from + `-01-01T00:00:00.000Z"` + until + `}}`
}

func list(services ...string) string { return strings.Join(services, ",") }

// TestChoose picks services by the rules of the specification.
func TestChoose(t *testing.T) {
	const one, all, none = `{"selector":"ANY"}`, `{"selector":"ALL"}`, `{}`
	ca, tsa := at("ca", "1", "a", "2022", ""), at("tsa", "1", "a", "2022", "")
	v1, v2 := at("v1", "1", "a", "2021", ""), at("v2", "2", "a", "2026", "")
	exact := func(n string) string { return `{"selector":"EXACT","count":` + n + `}` }
	now := time.Date(2026, 7, 1, 0, 0, 0, 0, time.UTC)
	for _, tt := range []struct {
		name, config string
		now          time.Time
		want         string // names of the services, or what the error says
	}{
		{name: "the public one of today", config: config(ca, v1, one, tsa, one), want: "ca v1 tsa"},
		{name: "no timestamps", config: config(ca, v1, one, "", none), want: "ca v1"},
		{name: "the highest version", config: config(ca, list(v1, v2), one, tsa, one), want: "ca v2 tsa"},
		{name: "the highest version that is valid", config: config(ca, list(v1, v2), one, tsa, one), now: now.AddDate(-1, 0, 0), want: "ca v1 tsa"},
		{name: "its first moment", config: config(ca, list(v1, v2), one, tsa, one), now: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC), want: "ca v2 tsa"},
		{name: "its last moment", config: config(ca, list(v1, at("v2", "2", "a", "2020", "2026")), one, tsa, one), now: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC), want: "ca v2 tsa"},
		{name: "past its end", config: config(ca, list(v1, at("v2", "2", "a", "2020", "2026")), one, tsa, one), want: "ca v1 tsa"},
		{name: "a version of the future", config: config(ca, list(v1, at("v3", "3", "a", "2026", "")), one, tsa, one), want: "ca v1 tsa"},
		{name: "one that is not there yet", config: config(ca, list(v1, at("v0", "0", "b", "2022", "")), all, tsa, one), want: "ca v1 tsa"},
		{name: "the newest of an operator", config: config(ca, list(at("old", "2", "a", "2024", ""), v2, at("older", "2", "a", "2023", "")), all, tsa, one), want: "ca v2 tsa"},
		{name: "each operator", config: config(ca, list(at("b", "2", "b", "2024", ""), v2), all, tsa, one), want: "ca v2 b tsa"},
		{name: "no operator of another version", config: config(ca, list(at("b", "1", "b", "2024", ""), v2), all, tsa, one), want: "ca v2 tsa"},
		{name: "exactly two", config: config(ca, list(at("b", "2", "b", "2024", ""), v2, at("c", "2", "c", "2023", "")), exact("2"), tsa, one), want: "ca v2 b tsa"},
		{name: "all timestamps", config: config(ca, v1, one, list(tsa, at("b", "1", "b", "2024", "")), all), want: "ca v1 b tsa"},
		{name: "one authority", config: config(list(at("old", "1", "a", "2020", ""), ca, at("b", "1", "b", "2021", "")), v1, one, "", none), want: "ca v1"},

		{name: "fewer than exactly", config: config(ca, list(v2, at("old", "2", "a", "2024", "")), exact("2"), tsa, one), want: "2 operators of a transparency log are wanted, and 1 have one"},
		{name: "exactly none", config: config(ca, v2, exact("0"), tsa, one), want: "has no count"},
		{name: "no selector", config: config(ca, v2, none, tsa, one), want: `selector "" of the transparency log`},
		{name: "no selector of timestamps", config: config(ca, v2, one, tsa, none), want: `selector "" of the timestamp authority`},
		{name: "no authority", config: config("", v1, one, tsa, one), want: "there is no certificate authority that is valid now"},
		{name: "no log", config: config(ca, "", one, tsa, one), want: "there is no transparency log that is valid now"},
		{name: "no valid timestamp authority", config: config(ca, v1, one, at("tsa", "1", "a", "2030", ""), one), want: "there is no timestamp authority that is valid now"},
		{name: "an authority of another version", config: config(at("ca", "2", "a", "2022", ""), v1, one, tsa, one), want: "there is no certificate authority"},
		{name: "a log that signs no time", config: config(ca, v2, one, "", one), want: "the log v2.example is a Rekor v2, which signs no time"},

		{name: "another type", config: strings.Replace(config(ca, v1, one, tsa, one), "v0.2", "v0.1", 1), want: "media type"},
		{name: "an unknown key", config: strings.Replace(config(ca, v1, one, tsa, one), `{"mediaType"`, `{"x":1,"mediaType"`, 1), want: "x"},
		{name: "no JSON", config: "{", want: "reading signing configuration"},
		{name: "no start", config: config(ca, v1, one, strings.Replace(tsa, `"start"`, `"end"`, 1), one), want: "tsaUrls: service 0: tsa.example does not say from when"},
		{name: "an end before the start", config: config(at("ca", "1", "a", "2022", "2021"), v1, one, tsa, one), want: "caUrls: service 0: ca.example does not say from when"},
		{name: "no operator", config: config(ca, list(v1, at("v2", "2", "", "2026", "")), one, tsa, one), want: "rekorTlogUrls: service 1: v2.example does not say who operates it"},
		{name: "in the clear", config: strings.Replace(config(ca, v1, one, tsa, one), "https://v1", "http://v1", 1), want: "rekorTlogUrls: service 0: the URL of v1.example does not begin with https://"},
		{name: "a negative version", config: config(at("ca", "-1", "a", "2022", ""), v1, one, tsa, one), want: "there is no certificate authority"},
		{name: "many", config: config(ca, strings.Repeat(v1+",", 64)+v1, one, tsa, one), want: "rekorTlogUrls: more than 64 services"},
		{name: "huge", config: strings.Repeat(" ", 2<<20), want: "more than 1048576 bytes"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if tt.now.IsZero() {
				tt.now = now
			}
			c, err := ParseSigningConfig([]byte(tt.config))
			o := Options{Config: &c}
			var chosen services
			if err == nil {
				chosen, err = o.services(tt.now)
			} else if fault.CodeOf(err) != fault.Usage {
				t.Errorf("code %d", fault.CodeOf(err))
			}
			if err != nil {
				if !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "\n") {
					t.Errorf("got %v, want an error that says %q", err, tt.want)
				}
				return
			}
			var got []string
			for _, s := range append(append([]service{chosen.authority}, chosen.logs...), chosen.stampers...) {
				got = append(got, strings.TrimSuffix(strings.TrimPrefix(s.URL, "https://"), ".example/"))
			}
			if strings.Join(got, " ") != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

// FuzzParseSigningConfig reads anything: what is chosen from it can sign.
func FuzzParseSigningConfig(f *testing.F) {
	f.Add([]byte(config(at("ca", "1", "a", "2022", ""), list(at("v1", "1", "a", "2021", ""), at("v2", "2", "b", "2022", "2030")), `{"selector":"EXACT","count":1}`,
		at("tsa", "1", "a", "2022", ""), `{"selector":"ALL"}`)))
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := ParseSigningConfig(b)
		if err != nil {
			return
		}
		s, err := c.file.choose(time.Date(2026, 7, 1, 0, 0, 0, 0, time.UTC))
		if err != nil {
			return
		}
		if s.authority.URL == "" || len(s.logs) == 0 || s.version() == 2 && len(s.stampers) == 0 {
			t.Errorf("got %+v", s)
		}
	})
}
