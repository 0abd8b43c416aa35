package watch

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"time"

	"github.com/heimdall-run/heimdall/host/internal/catalog"
	"github.com/heimdall-run/heimdall/host/internal/errs"
	"github.com/heimdall-run/heimdall/host/internal/selector"
	"github.com/heimdall-run/heimdall/host/internal/store"
)

// objects are those of the store, as far as this host has read them.
type objects struct {
	version int64
	held    map[object]held
}

// object names an object.
type object struct {
	kind catalog.Kind
	id   string
}

// held is an object of the store, and what is in force of it here.
type held struct {
	stored  *catalog.Entry
	entry   *catalog.Entry   // nil, as the others are, before that is known
	command *catalog.Command // or
	cluster *catalog.Cluster
}

// forgetOwn forgets what is in force of the objects of files.
func (o *objects) forgetOwn() {
	for name, h := range o.held {
		if h.stored.Owner == catalog.ByFile {
			o.held[name] = held{stored: h.stored}
		}
	}
}

// poll looks whether there is something to do about the catalog.
func (w *Catalog) poll(ctx context.Context) {
	s, err := w.Store.CatalogState(ctx)
	if err != nil {
		w.since = time.Time{}
		if ctx.Err() == nil {
			w.Log.Debug("the catalog could not be looked at", "error", err)
		}
		return
	}
	if w.since.IsZero() {
		w.since = time.Now()
	}
	if err := w.settle(ctx, s); err != nil && ctx.Err() == nil {
		w.Log.Warn("a change of the catalog is not in force yet", "error", err)
	}
}

// settle does what there is to do.
func (w *Catalog) settle(ctx context.Context, s store.CatalogState) error {
	// When the store was away, no host could say that it lives.
	lapsed := s.Lapsed && time.Since(w.since) >= w.Lease
	if s.Leases {
		if err := w.Store.EndLeases(ctx); err != nil {
			return err
		}
	}
	if lapsed {
		if err := w.Store.LapseDeclarations(ctx); err != nil {
			return err
		}
	}
	if !s.Leases && !lapsed && s.Version == w.current.Load().version {
		return nil
	}
	err := w.Refresh(ctx)
	if s.Leases || lapsed {
		w.changed()
	}
	return err
}

// changed tells others that this host has changed the catalog.
func (w *Catalog) changed() {
	if w.Changed != nil {
		w.Changed()
	}
}

// Refresh puts into force what the store has now. When it returns without an error,
// what was changed before is in force on this host.
func (w *Catalog) Refresh(ctx context.Context) error {
	asked := w.asked.Add(1)
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.answered >= asked {
		return nil // another one has begun since, and has read what this one would
	}
	all := w.asked.Load()
	err := w.bring(ctx)
	if err == nil {
		w.answered = all
	}
	return err
}

// bring brings this host to what the store has.
func (w *Catalog) bring(ctx context.Context) error {
	if err := w.refresh(ctx); err != nil {
		return err
	}
	if w.displaced() {
		// Others took this host for dead, or somebody has used the absence of its file.
		if err := w.declare(ctx, w.own); err != nil {
			return err
		}
		defer w.changed()
		return w.refresh(ctx)
	}
	return nil
}

// displaced reports whether an object of the file is not the file's in the store.
func (w *Catalog) displaced() bool {
	lost := func(kind catalog.Kind, id string) bool {
		e := w.objects.held[object{kind, id}].stored
		return e == nil || e.Gone || e.Owner != catalog.ByFile
	}
	return slices.ContainsFunc(w.own.Commands, func(c *catalog.Command) bool { return lost(catalog.CommandKind, c.ID) }) ||
		slices.ContainsFunc(w.own.Clusters, func(c *catalog.Cluster) bool { return lost(catalog.ClusterKind, c.ID) })
}

func (w *Catalog) refresh(ctx context.Context) error {
	entries, err := w.Store.CatalogSince(ctx, w.objects.version)
	if err != nil {
		return err
	}
	before := w.objects.version
	for _, e := range entries {
		w.objects.held[object{e.Kind, e.Object().ID}] = held{stored: e}
		w.objects.version = max(w.objects.version, e.Version)
	}
	if err := w.enforce(ctx); err != nil {
		// The entries are here, and are put into force by the next refresh.
		w.objects.version = before
		return err
	}
	return nil
}

// enforce puts into force what is known of the store and the file.
func (w *Catalog) enforce(ctx context.Context) error {
	// Their rows are removed without a change of the catalog.
	maps.DeleteFunc(w.objects.held, func(_ object, h held) bool { return longGone(h.stored, time.Now()) })
	var fresh []*catalog.Command
	next := &current{version: w.objects.version}
	var commands []*catalog.Command
	var clusters []*catalog.Cluster
	for _, name := range slices.SortedFunc(maps.Keys(w.objects.held), func(a, b object) int { return cmp.Compare(a.id, b.id) }) {
		h := w.objects.held[name]
		if h.entry == nil {
			h = w.inForce(h.stored)
			w.objects.held[name] = h
			if h.command != nil {
				fresh = append(fresh, h.command)
			}
		}
		if h.command != nil {
			next.commands = append(next.commands, h.entry)
		} else {
			next.clusters = append(next.clusters, h.entry)
		}
		switch {
		case h.entry.Gone:
		case h.command != nil:
			commands = append(commands, h.command)
		default:
			clusters = append(clusters, h.cluster)
		}
	}
	snapshot, err := catalog.NewSnapshot(commands, clusters)
	if err != nil {
		return errs.Errorf(errs.Internal, "put the catalog together: %w", err)
	}
	next.snapshot = snapshot
	if err := w.setLacked(ctx, snapshot); err != nil {
		return err
	}
	if now := w.current.Load(); now != nil && now.snapshot.Revision == snapshot.Revision {
		// Contexts and who runs what may differ: these are in the snapshot, too.
		next.selector = selector.New(snapshot)
		w.current.Store(next)
		return nil
	}
	if err := w.setCaps(ctx, snapshot); err != nil {
		return err
	}
	next.selector = selector.New(snapshot)
	w.kept.last.Store(nil) // what was in force long ago may be forgotten
	w.current.Store(next)
	w.warn(fresh)
	return nil
}

// longGone reports whether the store forgets a cluster now, or has forgotten it.
func longGone(e *catalog.Entry, now time.Time) bool {
	return e.Owner == catalog.ByLease && e.Gone && e.Override == "" && !e.LeaseUntil.IsZero() &&
		now.Sub(e.LeaseUntil) > store.Removed
}

// inForce returns what is in force here of an object: of one that the own file
// declares, what stands there.
func (w *Catalog) inForce(e *catalog.Entry) held {
	of := *e // an entry is not changed: others may read it
	id := e.Object().ID
	if e.Kind == catalog.CommandKind {
		of.Command = new(*e.Command)
		if own := w.own.Command(id); own != nil && e.Owner == catalog.ByFile {
			of.Command, of.Gone, of.Source = own, false, w.Source()
		} else {
			place(&of)
		}
		return held{stored: e, entry: &of, command: of.Command.InForce(of.Status())}
	}
	of.Cluster = new(*e.Cluster)
	if own := w.own.Cluster(id); own != nil && e.Owner == catalog.ByFile {
		of.Cluster, of.Gone, of.Source = own, false, w.Source()
	} else {
		place(&of)
	}
	return held{stored: e, entry: &of, cluster: of.Cluster.InForce(of.Status())}
}

// place says of an object whose definition is in the store where its context is, and
// whose references it has.
func place(e *catalog.Entry) {
	e.Object().Elsewhere = e.Owner == catalog.ByFile
	e.Object().Guarded = e.Owner != catalog.ByFile
}

// setCaps puts the caps of a catalog, and of each user, into force.
func (w *Catalog) setCaps(ctx context.Context, s *catalog.Snapshot) error {
	c := store.Caps{Commands: map[string]int{}, Clusters: map[string]int{}, User: w.MaxRunningPerUser}
	for _, command := range s.Commands {
		if command.MaxRunning > 0 && command.Status != catalog.Deleted {
			c.Commands[command.ID] = command.MaxRunning
		}
	}
	for _, cluster := range s.Clusters {
		if cluster.MaxRunning > 0 && cluster.Status != catalog.Deleted {
			c.Clusters[cluster.ID] = cluster.MaxRunning
		}
	}
	if was := w.caps; was != nil && maps.Equal(was.Commands, c.Commands) && maps.Equal(was.Clusters, c.Clusters) {
		return nil
	}
	if err := w.Store.SetCaps(ctx, c); err != nil {
		return err
	}
	w.caps = &c
	return nil
}

// setLacked says which clusters of a catalog this host cannot use, before anybody here
// chooses them.
func (w *Catalog) setLacked(ctx context.Context, s *catalog.Snapshot) error {
	lacked := []string{}
	for _, cluster := range s.Clusters {
		if cluster.Elsewhere {
			lacked = append(lacked, cluster.ID)
		}
	}
	if w.lacked != nil && slices.Equal(w.lacked, lacked) {
		return nil
	}
	if err := w.Store.SetLackedClusters(ctx, w.Host, lacked); err != nil {
		return err
	}
	w.lacked = lacked
	return nil
}

// warn names the commands that cannot be run, or whose jobs will fail. What may be over soon is not worth
// a warning, nor is what other hosts run.
func (w *Catalog) warn(commands []*catalog.Command) {
	if w.Plugins == nil {
		return
	}
	for _, c := range commands {
		if c.Status != catalog.Active || c.Elsewhere {
			continue
		}
		if err := w.Plugins(c); err != nil && !errs.Is(err, errs.Unavailable) {
			w.Log.Warn("a command cannot be run", "command", c.ID, "reason", err)
			continue
		}
		if w.Judge == nil {
			continue
		}
		for _, fault := range w.Judge(c) {
			w.Log.Warn("the context of a command does not fit its plugin: its jobs will fail", "command", c.ID, "at", fault.Pointer, "fault", fault.Detail)
		}
	}
}
