package announce

import (
	"fmt"
	"os"
	"strings"
	"time"
	"unicode"
	"unicode/utf16"

	"github.com/slipway-build/slipway/pipeline/internal/bounded"
	"github.com/slipway-build/slipway/pipeline/release/artifact"
)

const (
	// maxNotes bounds what is read of the release notes, in bytes.
	maxNotes = 256 << 10
	// maxParagraph bounds what is told of them, in characters.
	maxParagraph = 500
	// maxContent is what Discord takes, in UTF-16 units
	// (https://docs.discord.com/developers/resources/webhook#execute-webhook).
	maxContent = 2000
	// maxLinks keeps a message of Slack below the 3000 characters of a block
	// (https://docs.slack.dev/reference/block-kit/blocks/section-block).
	maxLinks = 2900
)

// Schema names the format of an Announcement.
const Schema = "slipway.announcement/v1"

// Announcement is what a Generic webhook is sent. It depends on the release alone.
type Announcement struct {
	Schema     string          `json:"schema"`
	Name       string          `json:"name"`
	Version    string          `json:"version"`
	Tag        string          `json:"tag,omitempty"`
	Commit     string          `json:"commit"`
	Repository string          `json:"repository,omitempty"`
	Prerelease bool            `json:"prerelease"`
	Time       time.Time       `json:"time"`   // the commit's
	Digest     artifact.Digest `json:"digest"` // of release.json
	Notes      string          `json:"notes,omitempty"`
	URLs       []Link          `json:"urls"`
}

type object = map[string]any

// message is what the webhook is sent.
func (d *Destination) message() (any, error) {
	m := d.o.Release.Manifest
	notes := ""
	if m.Notes != "" {
		text, err := head(d.o.Release.Path(m.Notes))
		if err != nil {
			return nil, fmt.Errorf("reading release notes: %w", err)
		}
		notes = paragraph(text)
	}
	title, rest := m.Name+" "+m.Version.String(), " is released."
	if m.Version.IsPrerelease() {
		rest = " is there to be tried."
	}
	switch d.o.Kind {
	case Slack:
		return slack(title, rest, notes, d.o.Links), nil
	case Discord:
		return discord(title, rest, notes, d.o.Links), nil
	}
	links := d.o.Links
	if links == nil {
		links = []Link{}
	}
	return Announcement{
		Schema: Schema, Name: m.Name, Version: m.Version.String(), Tag: m.Tag, Commit: m.Commit, Repository: m.Repository,
		Prerelease: m.Version.IsPrerelease(), Time: m.Time.UTC(), Digest: d.o.Release.Digest, Notes: notes, URLs: links,
	}, nil
}

func head(name string) (string, error) {
	f, err := os.Open(name)
	if err != nil {
		return "", err
	}
	defer f.Close()
	b, err := bounded.Head(f, maxNotes)
	return string(b), err
}

// paragraph is the first one of Markdown that is not a heading, as text for people: bounded, with bullets for lists, and
// without what turns text around or hides some of it.
func paragraph(markdown string) string {
	clean := strings.Map(func(r rune) rune {
		switch {
		case r == '\n' || r == '\t':
			return r
		case unicode.IsControl(r), unicode.Is(unicode.Cf, r), r == unicode.ReplacementChar:
			return -1
		}
		return r
	}, strings.ToValidUTF8(markdown, ""))
	var out strings.Builder
	for line := range strings.Lines(clean) {
		line = strings.Join(strings.Fields(line), " ")
		switch item, listed := cutAny(line, "- ", "* ", "+ "); {
		case line == "", strings.HasPrefix(line, "#"), strings.Trim(line, "-=*_ ") == "", strings.HasPrefix(line, "<!--"):
			if out.Len() > 0 {
				return shorten(out.String(), maxParagraph)
			}
		case listed:
			if out.Len() > 0 {
				out.WriteByte('\n')
			}
			out.WriteString("• " + item)
		default:
			if out.Len() > 0 {
				out.WriteByte(' ')
			}
			out.WriteString(line)
		}
	}
	return shorten(out.String(), maxParagraph)
}

func cutAny(s string, prefixes ...string) (string, bool) {
	for _, p := range prefixes {
		if rest, ok := strings.CutPrefix(s, p); ok {
			return rest, true
		}
	}
	return s, false
}

// shorten cuts text after a word.
func shorten(s string, most int) string {
	runes := []rune(s)
	if len(runes) <= most {
		return s
	}
	cut := string(runes[:most-1])
	if i := strings.LastIndexAny(cut, " \n"); i > len(cut)/2 {
		cut = cut[:i]
	}
	return cut + "…"
}

// slackText escapes the characters with which Slack's markup begins, mentions among them
// (https://docs.slack.dev/messaging/formatting-message-text#escaping).
var slackText = strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;")

// slackURL keeps a URL from ending the link that it is in.
var slackURL = strings.NewReplacer("&", "&amp;", "<", "%3C", ">", "%3E", "|", "%7C")

// slack is a message for an incoming webhook (https://docs.slack.dev/messaging/sending-messages-using-incoming-webhooks).
func slack(title, rest, notes string, links []Link) object {
	section := func(kind, text string) object {
		return object{"type": "section", "text": object{"type": kind, "text": text}}
	}
	blocks := []object{section("mrkdwn", "*"+slackText.Replace(title)+"*"+rest)}
	if notes != "" {
		blocks = append(blocks, section("plain_text", slackText.Replace(notes)))
	}
	var list string
	for _, l := range links {
		// A link's name ends its line, and nothing else of it is read as markup.
		next := "<" + slackURL.Replace(l.URL) + "|" + strings.ReplaceAll(slackText.Replace(shorten(paragraph(l.Name), 80)), "|", "/") + ">"
		if len(list)+len(next) > maxLinks {
			break
		}
		if list != "" {
			list += " · "
		}
		list += next
	}
	if list != "" {
		blocks = append(blocks, section("mrkdwn", list))
	}
	return object{"text": slackText.Replace(title) + rest, "blocks": blocks, "unfurl_links": false, "unfurl_media": false}
}

// discordText escapes what Discord reads as Markdown, or as a mention.
var discordText = func() *strings.Replacer {
	var pairs []string
	for _, c := range "\\*_~`|<>#[]()@:-+" {
		pairs = append(pairs, string(c), "\\"+string(c))
	}
	return strings.NewReplacer(pairs...)
}()

// discordURL keeps a URL from ending the link that it is in.
var discordURL = strings.NewReplacer("<", "%3C", ">", "%3E", "(", "%28", ")", "%29", " ", "%20", "\\", "%5C")

// discord is a message that mentions no one, whatever is in the notes
// (https://docs.discord.com/developers/resources/message#allowed-mentions-object).
func discord(title, rest, notes string, links []Link) object {
	content := "**" + discordText.Replace(title) + "**" + rest
	add := func(separator, text string) {
		if next := content + separator + text; text != "" && len(utf16.Encode([]rune(next))) <= maxContent {
			content = next
		}
	}
	add("\n", discordText.Replace(notes))
	separator := "\n"
	for _, l := range links {
		// The angle brackets keep pages from being shown below the message.
		add(separator, "["+discordText.Replace(shorten(paragraph(l.Name), 80))+"](<"+discordURL.Replace(l.URL)+">)")
		separator = " · "
	}
	return object{"content": content, "allowed_mentions": object{"parse": []string{}}}
}
