package doctor

import (
	"context"
	"fmt"
	"strings"
	"sync"

	"github.com/frende/lifeboat/internal/fault"
	"github.com/frende/lifeboat/internal/postgres"
	"github.com/frende/lifeboat/internal/store"
	"github.com/frende/lifeboat/internal/system"
	"github.com/frende/lifeboat/internal/vault"
	"github.com/frende/lifeboat/internal/wal"
	"github.com/frende/lifeboat/internal/window"
)

// baseAge is how old a base backup may be before the replay of the WAL behind it
// is what a recovery takes longest for.
const baseAge = 2 * day

// reader is the name under which the ledger is read. It is never written to.
const reader = "doctor"

// newestChecks are the newest backups, by component ID.
type newestChecks struct {
	found     map[string]*question // it is there
	readable  map[string]*question // its manifest opened
	manifests map[string]*manifestOf
}

// manifestOf is the newest backup of a component.
type manifestOf struct {
	component system.Component
	vault     *vault.Vault // over the stores that answer
	summary   vault.Summary
	manifest  *vault.Manifest
}

func (x *Examination) backups(secrets secretChecks, stores storeChecks) newestChecks {
	all := newestChecks{found: map[string]*question{}, readable: map[string]*question{}, manifests: map[string]*manifestOf{}}
	sources := &sources{x: x, stores: stores}
	components := x.System.Components()
	for _, component := range components {
		m := &manifestOf{component: component}
		all.manifests[component.ID] = m
		all.found[component.ID] = x.add(Backups, component.ID, "newest", func(ctx context.Context) answer { return x.newest(ctx, sources, m) }, secrets.working()...).
			then(sources.conditions()...).slowly()
	}
	openers := x.openers(secrets, all)
	for _, component := range components {
		m, found := all.manifests[component.ID], all.found[component.ID]
		add := func(name string, look func(context.Context) answer, needs ...*question) *question {
			return x.add(Backups, component.ID, name, look, needs...)
		}
		readable := add("manifest", func(ctx context.Context) answer { return x.open(ctx, m, openers) }, found).then(openers...).slowly()
		add("age", func(context.Context) answer { return x.age(m) }, found)
		add("proof", func(ctx context.Context) answer { return x.proof(ctx, m) }, found).slowly()
		if primary, err := x.System.Primary(); err == nil {
			if replica, ok := x.System.ReplicaOf(primary); ok {
				add("in replica", func(ctx context.Context) answer { return x.inReplica(ctx, stores.opened[replica.Name](), m) }, readable, stores.byName[replica.Name])
			}
		}
		all.readable[component.ID] = readable
	}
	return all
}

// sources opens one vault over those of the primary store and its replica that answer.
type sources struct {
	x      *Examination
	stores storeChecks

	mu     sync.Mutex
	opened *vault.Vault
}

// conditions are the checks of the stores that a vault is over.
func (s *sources) conditions() []*question {
	var all []*question
	if primary, err := s.x.System.Primary(); err == nil {
		all = append(all, s.stores.byName[primary.Name])
		if replica, ok := s.x.System.ReplicaOf(primary); ok {
			all = append(all, s.stores.byName[replica.Name])
		}
	}
	return all
}

// vault opens it. The check is the one that failed when no store answers.
func (s *sources) vault(ctx context.Context) (*vault.Vault, *question, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.opened != nil {
		return s.opened, nil, nil
	}
	conditions := s.conditions()
	if len(conditions) == 0 {
		return nil, nil, fault.Newf(fault.ConfigInvalid, "open", "stores", "no store is configured")
	}
	opened, err := s.x.Parts.Vault(ctx, s.x.System, nil)
	if err != nil {
		return nil, nil, err
	}
	primaryGone := conditions[0].failed()
	replicaGone := len(conditions) < 2 || conditions[1].failed()
	switch {
	case primaryGone && replicaGone:
		return nil, conditions[0], nil
	case primaryGone:
		opened = opened.WithStores(opened.Replica(), nil)
	case replicaGone:
		opened = opened.WithStores(opened.Store(), nil)
	}
	s.opened = opened
	return opened, nil, nil
}

// backupCommand takes a backup of the component, now.
func backupCommand(c system.Component) string {
	return fmt.Sprintf("lifeboat backup %s %s", c.Kind, c.Name)
}

// newest finds the newest complete backup.
func (x *Examination) newest(ctx context.Context, from *sources, m *manifestOf) answer {
	const why = "a recovery begins with it"
	opened, gone, err := from.vault(ctx)
	if gone != nil {
		return unexamined(gone)
	}
	if err != nil {
		return failure(err, why)
	}
	summary, err := opened.Latest(ctx, vault.Filter{Folder: m.component.Kind.Folder(), Component: m.component.Name})
	if fault.Has(err, fault.BackupUnknown) {
		return problem("there is no backup", "nothing of it can be recovered", backupCommand(m.component))
	}
	if err != nil {
		return failure(err, why)
	}
	m.vault, m.summary = opened, summary
	return well("%s", summary.Key)
}

// open opens the manifest. That no key does is a finding of the keys.
func (x *Examination) open(ctx context.Context, m *manifestOf, openers []*question) answer {
	backup, err := m.vault.Open(ctx, m.summary.Key)
	if fault.Has(err, fault.KeyWrong) || fault.Has(err, fault.KeyUnavailable) {
		for _, key := range openers {
			if key.failed() {
				return unexamined(key)
			}
		}
	}
	if err != nil {
		return failure(err, "the newest backup can't be used: a recovery has to begin with an older one")
	}
	m.manifest = backup.Manifest()
	return well("it opens: %s", system.Bytes(m.manifest.Bytes).Human())
}

func (x *Examination) age(m *manifestOf) answer {
	age := x.Now().Sub(m.summary.At)
	what := fmt.Sprintf("the newest is %s old", brief(age))
	if m.component.Kind == system.KindDatabase {
		if age > baseAge {
			return warning(what, "a recovery replays all WAL since then, and takes as long", backupCommand(m.component))
		}
		return well("%s; WAL goes on from there", what)
	}
	if age > m.component.RPO.Std() {
		return problem(fmt.Sprintf("%s, its recovery point objective is %s", what, m.component.RPO), "what changed since then would be lost", backupCommand(m.component))
	}
	return well("%s, of %s allowed", what, m.component.RPO)
}

// proof asks the ledger how far the backup was proven.
func (x *Examination) proof(ctx context.Context, m *manifestOf) answer {
	const why = "a backup that nobody has read back is a hope"
	records, err := x.Parts.Ledger(ctx, x.System, reader)
	if err != nil {
		return failure(err, why)
	}
	entry, err := records.Find(ctx, "backup", m.summary.Key)
	if fault.Has(err, fault.RunUnknown) {
		return warning("the ledger has no proof of it", why, backupCommand(m.component))
	}
	if err != nil {
		return failure(err, why)
	}
	var made struct {
		Proof string `json:"proof"`
	}
	if err := entry.Decode(&made); err != nil {
		return failure(err, why)
	}
	if made.Proof == "" || made.Proof == "L0" {
		return warning("it was stored, and not read back", why, backupCommand(m.component))
	}
	return well("proven %s", made.Proof)
}

func (x *Examination) inReplica(ctx context.Context, replica store.Store, m *manifestOf) answer {
	const why = "a region that is lost takes it along"
	_, err := m.vault.WithStores(replica, nil).Open(ctx, m.summary.Key)
	if fault.Has(err, fault.BackupUnknown) || fault.Has(err, fault.BackupIncomplete) {
		return warning("the replica does not have it yet", why, "temporal workflow start --type ReplicateStore --task-queue "+x.Queue)
	}
	if err != nil {
		return failure(err, why)
	}
	return well("the replica has it")
}

// openers ask whether each key alone opens the newest backup of each component.
func (x *Examination) openers(secrets secretChecks, newest newestChecks) []*question {
	var found, all []*question
	for _, component := range x.System.Components() {
		found = append(found, newest.found[component.ID])
	}
	for _, key := range secrets.keys {
		all = append(all, x.add(Keys, keySubject(key), "opens newest", func(ctx context.Context) answer { return x.opensWith(ctx, key.ref, newest, found) }, key.works).
			then(found...).slowly())
	}
	return all
}

func keySubject(key keyCheck) string {
	if key.ref.Empty() {
		return "keys.encryption"
	}
	return shown(key.ref)
}

func (x *Examination) opensWith(ctx context.Context, ref system.SecretRef, newest newestChecks, found []*question) answer {
	const why = "a key that is configured and opens nothing is a false comfort"
	alone := x.System
	alone.Keys = system.Keys{Encryption: []system.SecretRef{ref}}
	opener, err := x.Parts.Vault(ctx, alone, nil)
	if err != nil {
		return failure(err, why)
	}
	opened, first := 0, (*question)(nil)
	for i, component := range x.System.Components() {
		m := newest.manifests[component.ID]
		if found[i].failed() {
			if first == nil {
				first = found[i]
			}
			continue
		}
		if _, err := opener.WithStores(m.vault.Store(), m.vault.Replica()).Open(ctx, m.summary.Key); err != nil {
			a := failure(err, why)
			a.what = m.summary.Key + ": " + a.what
			if fault.Has(err, fault.KeyWrong) || fault.Has(err, fault.KeyUnavailable) {
				a.mend = fmt.Sprintf("find the key of that time and put it under keys.encryption, too; or, when this key is new: %s", backupCommand(component))
			}
			return a
		}
		opened++
	}
	if opened == 0 && first != nil {
		return unexamined(first)
	}
	return well("it opens the newest backup of %d components", opened)
}

// tablespaces are those that a base backup holds, by its facts.
func (m *manifestOf) tablespaces() ([]postgres.Tablespace, error) {
	var facts struct {
		Tablespaces []postgres.Tablespace `json:"tablespaces"`
	}
	err := m.manifest.Fact("postgres", &facts)
	return facts.Tablespaces, err
}

// needs are the bytes that a restore writes beside each directory of the component,
// as a recovery's own preflight asks for them: of a database the backup, or what has
// grown from it since, and the WAL that is held beside it while it is replayed.
func (m *manifestOf) needs(ctx context.Context, s system.System, dir string) (map[string]uint64, error) {
	needs := map[string]uint64{dir: uint64(m.manifest.Bytes)}
	if m.component.Kind != system.KindDatabase {
		return needs, nil
	}
	spaces, err := m.tablespaces()
	if err != nil {
		return nil, err
	}
	base := m.manifest.Bytes
	for _, stream := range m.manifest.Streams {
		oid, is := strings.CutSuffix(stream.Name, ".tar")
		for _, space := range spaces {
			if is && oid == fmt.Sprint(space.OID) {
				base -= stream.Bytes
				grown, err := postgres.DataBytes(space.Location)
				if err != nil {
					return nil, err
				}
				needs[space.Location] += uint64(max(stream.Bytes, grown))
			}
		}
	}
	grown, err := postgres.DataBytes(dir)
	if err != nil {
		return nil, err
	}
	held, err := m.heldWAL(ctx, s)
	if err != nil {
		return nil, err
	}
	needs[dir] = uint64(max(base, grown) + held + postgres.StagedMargin)
	return needs, nil
}

// heldWAL is how much WAL lies beside a restored database at one time.
func (m *manifestOf) heldWAL(ctx context.Context, s system.System) (int64, error) {
	database, err := s.Database(m.component.Name)
	if err != nil {
		return 0, err
	}
	base, err := window.ReadBase(m.manifest, m.component.Name)
	if err != nil {
		return 0, err
	}
	var facts struct {
		MaxWALSize int64 `json:"max_wal_size"`
	}
	if err := m.manifest.Fact("postgres", &facts); err != nil {
		return 0, err
	}
	if base.Timeline == 0 {
		return 0, nil // it says nothing of its cluster: no recovery begins with it
	}
	archive, err := wal.New(wal.Config{Vault: m.vault, Cluster: database.Cluster})
	if err != nil {
		return 0, err
	}
	pin, err := archive.Pin(ctx, base.Point(0))
	if fault.Has(err, fault.WALGap) {
		return 0, nil // a recovery is refused for that, and not for want of room
	}
	if err != nil {
		return 0, err
	}
	end, err := pin.EndLSN()
	if err != nil {
		return 0, err
	}
	first, err := postgres.ParseSegment(pin.Start, base.SegmentSize)
	if err != nil {
		return 0, err
	}
	return postgres.HeldWAL(int64(end-first.Start(base.SegmentSize)), facts.MaxWALSize, base.SegmentSize), nil
}
