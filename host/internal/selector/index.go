package selector

import (
	"slices"

	"github.com/heimdall-run/heimdall/host/internal/catalog"
	"github.com/heimdall-run/heimdall/host/internal/tag"
)

// index finds the objects of one side of a catalog by their tags.
type index struct {
	objects []*catalog.Object
	every   bitset
	active  bitset
	tagged  map[string]carriers
}

// carriers are the objects that carry a tag: few of them as a list, because most tags
// are those that an object has of itself, many as a set.
type carriers struct {
	few  []int32
	many bitset
}

func newIndex(objects []*catalog.Object) *index {
	x := &index{
		objects: objects,
		every:   newBitset(len(objects)),
		active:  newBitset(len(objects)),
		tagged:  make(map[string]carriers, 4*len(objects)),
	}
	for i, o := range objects {
		x.every.add(i)
		if o.Status == catalog.Active {
			x.active.add(i)
		}
		for _, t := range o.Tags {
			c := x.tagged[t]
			switch {
			case c.many != nil:
				c.many.add(i)
				continue
			case len(c.few) < 1+len(objects)/64: // where a set is larger
				c.few = append(c.few, int32(i))
			default:
				c.many = newBitset(len(objects))
				for _, j := range c.few {
					c.many.add(int(j))
				}
				c.many.add(i)
				c.few = nil
			}
			x.tagged[t] = c
		}
	}
	return x
}

// with returns the objects, whatever their status, that carry all tags.
func (x *index) with(tags ...tag.Set) bitset {
	found := slices.Clone(x.every)
	for _, set := range tags {
		for _, t := range set {
			c := x.tagged[t]
			if c.many != nil {
				found.keep(c.many)
				continue
			}
			few := newBitset(len(x.objects))
			for _, i := range c.few {
				if found.has(int(i)) {
					few.add(int(i))
				}
			}
			found = few
		}
	}
	return found
}

// any returns the objects, whatever their status, that carry all tags of at least
// one of the sets.
func (x *index) any(sets []tag.Set) bitset {
	found := newBitset(len(x.objects))
	for _, set := range sets {
		found.join(x.with(set))
	}
	return found
}

// nearest returns the active object, or else any, that lacks the fewest of the
// tags, and what it lacks; nil when there is no object at all.
func (x *index) nearest(want tag.Set) (*catalog.Object, tag.Set) {
	var best *catalog.Object
	var lacks tag.Set
	for i, o := range x.objects {
		missing := o.Tags.Missing(want)
		closer := best == nil || len(missing) < len(lacks)
		preferred := best != nil && len(missing) == len(lacks) &&
			best.Status != catalog.Active && x.active.has(i)
		if closer || preferred {
			best, lacks = o, missing
		}
	}
	return best, lacks
}
