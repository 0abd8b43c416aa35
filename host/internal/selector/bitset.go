package selector

import "math/bits"

// bitset is a set of positions in a list of objects.
type bitset []uint64

func newBitset(n int) bitset { return make(bitset, (n+63)/64) }

func (b bitset) add(i int)      { b[i/64] |= 1 << (i % 64) }
func (b bitset) has(i int) bool { return b[i/64]&(1<<(i%64)) != 0 }

// keep removes from b what is not in other.
func (b bitset) keep(other bitset) {
	for i := range b {
		if i < len(other) {
			b[i] &= other[i]
		} else {
			b[i] = 0
		}
	}
}

// drop removes from b what is in other; both are of the same list.
func (b bitset) drop(other bitset) {
	for i := range b {
		b[i] &^= other[i]
	}
}

// join adds to b what is in other; both are of the same list.
func (b bitset) join(other bitset) {
	for i := range b {
		b[i] |= other[i]
	}
}

func (b bitset) count() uint64 {
	var n int
	for _, word := range b {
		n += bits.OnesCount64(word)
	}
	return uint64(n)
}

// at returns the position of the k-th member, from 0; k must be below count.
func (b bitset) at(k uint64) int {
	for i, word := range b {
		n := uint64(bits.OnesCount64(word))
		if k >= n {
			k -= n
			continue
		}
		for ; k > 0; k-- {
			word &= word - 1
		}
		return i*64 + bits.TrailingZeros64(word)
	}
	return -1
}

// all calls yield with each member in order.
func (b bitset) all(yield func(int) bool) {
	for i, word := range b {
		for ; word != 0; word &= word - 1 {
			if !yield(i*64 + bits.TrailingZeros64(word)) {
				return
			}
		}
	}
}
