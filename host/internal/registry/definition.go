package registry

import (
	"fmt"

	"github.com/heimdall-run/heimdall/host/internal/catalog"
	"github.com/heimdall-run/heimdall/host/internal/config"
	"github.com/heimdall-run/heimdall/host/internal/errs"
)

// Definition is an object as a caller writes it.
type Definition struct {
	Body   []byte // a JSON object with the keys of the table in a file
	Status bool   // it says its status
	Strict bool   // what is not known is a fault, not passed over
}

// read returns the object that a definition declares, once that is known to make sense
// here.
func (r *Registry) read(kind catalog.Kind, id string, d Definition) (*catalog.Entry, error) {
	e := &catalog.Entry{Kind: kind}
	var err error
	if kind == catalog.CommandKind {
		e.Command, err = config.ReadCommand(id, d.Body, d.Strict)
	} else {
		e.Cluster, err = config.ReadCluster(id, d.Body, d.Strict)
	}
	if err != nil {
		return nil, err
	}
	if faults := r.judge(e); len(faults) > 0 {
		return nil, &errs.Error{
			Kind: errs.Invalid, ID: id, Fields: faults,
			Message: fmt.Sprintf("%s: %s", faults[0].Pointer[1:], faults[0].Detail),
		}
	}
	return e, nil
}
