package job

import (
	"encoding/binary"
	"fmt"
	"time"

	"github.com/google/uuid"
)

// ID names a job: a UUID in lower case. Ids made by NewID sort by time.
type ID string

// NewID returns a new id (UUID version 7, RFC 9562).
func NewID() ID { return ID(uuid.Must(uuid.NewV7()).String()) }

// Time returns when an id was made by NewID, to the microsecond: of two ids the
// lesser was not made later. It is the time that a job is created at, so that jobs
// in the order of their ids are in the order of that time. An id that NewID
// cannot have made gives the zero time.
func (id ID) Time() time.Time {
	u, err := uuid.Parse(string(id))
	if err != nil || u.Version() != 7 {
		return time.Time{}
	}
	milli := int64(binary.BigEndian.Uint64(u[:8]) >> 16)
	part := int64(binary.BigEndian.Uint16(u[6:8]) & 0xfff) // in units of 256 ns
	return time.UnixMicro(milli*1000 + min(part*256/1000, 999)).UTC()
}

// ParseID reads an id as people and programs write it.
func ParseID(s string) (ID, error) {
	if len(s) != 36 {
		return "", fmt.Errorf("%.60q is not a job id", s)
	}
	id, err := uuid.Parse(s)
	if err != nil {
		return "", fmt.Errorf("%.60q is not a job id", s)
	}
	return ID(id.String()), nil
}
