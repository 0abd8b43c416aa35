package pluginhost

import (
	"io"
	"strings"
)

// handshakeFields is how many fields of a handshake say something to this host.
const handshakeFields = 5

// handshakeReader gives go-plugin the first line of stdout and then its end. It
// keeps back what follows the fifth field: a certificate there, which go-plugin
// has not asked for, would make it panic.
type handshakeReader struct {
	line <-chan string
	rest strings.Reader
}

// Read waits for the line.
func (r *handshakeReader) Read(b []byte) (int, error) {
	if r.rest.Len() == 0 {
		line, ok := <-r.line
		if !ok {
			return 0, io.EOF
		}
		fields := strings.SplitN(line[:min(len(line), 4<<10)], "|", handshakeFields+1)
		r.rest.Reset(strings.Join(fields[:min(len(fields), handshakeFields)], "|") + "\n")
	}
	return r.rest.Read(b)
}
