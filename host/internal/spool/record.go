package spool

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"time"

	"github.com/heimdall-run/heimdall/host/internal/job"
)

// Record is what is to be recorded of an attempt.
type Record struct {
	End   job.End
	Retry time.Time `json:",omitzero"`  // another attempt is to follow then; zero: the job ends
	Back  bool      `json:",omitempty"` // the attempt never began, and its job is to wait again
}

// The file begins with header. Each record is its length and the checksum of that
// and the content, both little endian, and the content: JSON.
const (
	header    = "heimdall spool 1\n"
	prefixLen = 8
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// errDamaged: what follows is no whole record. Its writer died, or the disk has
// changed it.
var errDamaged = errors.New("what follows is no whole record")

// frame returns a record as it lies in the file.
func frame(r Record) ([]byte, error) {
	content, err := json.Marshal(r)
	if err != nil {
		return nil, fmt.Errorf("spool the end of job %s: %w", r.End.JobID, err)
	}
	framed := make([]byte, prefixLen, prefixLen+len(content))
	binary.LittleEndian.PutUint32(framed, uint32(len(content)))
	framed = append(framed, content...)
	binary.LittleEndian.PutUint32(framed[4:], checksum(framed))
	return framed, nil
}

// checksum is that of a framed record: of its length and its content.
func checksum(framed []byte) uint32 {
	return crc32.Update(crc32.Checksum(framed[:4], castagnoli), castagnoli, framed[prefixLen:])
}

// located is a record and where it lies in its file.
type located struct {
	Record
	at span
}

// span is a part of the file.
type span struct{ offset, length int64 }

// parse reads the whole records at the beginning of a file; whole is where they
// end. With errDamaged, there is something behind them.
func parse(file []byte) (records []located, whole int64, err error) {
	if len(file) == 0 {
		return nil, 0, nil
	}
	if !bytes.HasPrefix(file, []byte(header)) {
		return nil, 0, errDamaged
	}
	at := len(header)
	for at < len(file) {
		r, size, err := unframe(file[at:])
		if err != nil {
			return records, int64(at), err
		}
		records = append(records, located{r, span{int64(at), int64(size)}})
		at += size
	}
	return records, int64(at), nil
}

// unframe reads the record that a part of the file begins with.
func unframe(rest []byte) (r Record, size int, err error) {
	if len(rest) < prefixLen {
		return r, 0, errDamaged
	}
	n := uint64(binary.LittleEndian.Uint32(rest))
	if n > uint64(len(rest)-prefixLen) {
		return r, 0, errDamaged
	}
	framed := rest[:prefixLen+n]
	if binary.LittleEndian.Uint32(framed[4:]) != checksum(framed) || json.Unmarshal(framed[prefixLen:], &r) != nil {
		return r, 0, errDamaged
	}
	return r, len(framed), nil
}
