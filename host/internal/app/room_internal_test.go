package app

import (
	"strings"
	"testing"
)

func TestEnough(t *testing.T) {
	for name, tt := range map[string]struct {
		size, free uint64
		enough     bool
	}{
		"a small disk with room":  {100 << 20, 16 << 20, true},
		"a small disk":            {100 << 20, 16<<20 - 1, false},
		"a disk with room":        {10 << 30, 205 << 20, true},
		"a disk":                  {10 << 30, 204 << 20, false},
		"a large disk with room":  {10 << 40, 1 << 30, true},
		"a large disk":            {10 << 40, 1<<30 - 1, false},
		"a disk that is all full": {10 << 30, 0, false},
	} {
		err := enough(tt.size, tt.free)
		if (err == nil) != tt.enough {
			t.Errorf("%s: got error %v, want enough %v", name, err, tt.enough)
		}
		if err != nil && !strings.Contains(err.Error(), "the disk of data_dir is full") {
			t.Errorf("%s: got error %v, want one that says what is full", name, err)
		}
	}
}
