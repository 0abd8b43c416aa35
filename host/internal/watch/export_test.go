package watch

// Asked is how many refreshes were asked for.
func (w *Catalog) Asked() int64 { return w.asked.Load() }
