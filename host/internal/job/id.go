package job

import (
	"fmt"

	"github.com/google/uuid"
)

// ID names a job: a UUID in lower case. Ids made by NewID sort by time.
type ID string

// NewID returns a new id (UUID version 7, RFC 9562).
func NewID() ID { return ID(uuid.Must(uuid.NewV7()).String()) }

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
