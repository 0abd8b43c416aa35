package job

import "net/url"

// Output is a named value shown with a job: a link or a text.
type Output struct {
	Key   string `json:"key"`
	Value string `json:"value"`
	Kind  string `json:"kind"` // "link" or "text"
}

// WebAddress reports whether people may be sent to an address: it is one of http or
// https.
func WebAddress(text string) bool {
	address, err := url.Parse(text)
	return err == nil && (address.Scheme == "http" || address.Scheme == "https") && address.Host != ""
}
