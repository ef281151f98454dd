package wal_test

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/frende/lifeboat/internal/fault"
	"github.com/frende/lifeboat/internal/keys"
	"github.com/frende/lifeboat/internal/postgres"
	"github.com/frende/lifeboat/internal/store"
	"github.com/frende/lifeboat/internal/store/mem"
	"github.com/frende/lifeboat/internal/vault"
	"github.com/frende/lifeboat/internal/wal"
)

const (
	system = "7319874613240918273"
	size   = 1 << 20 // bytes of a made-up segment
)

func makeVault(primary, replica store.Store, onFallback ...func(vault.Fallback)) (*vault.Vault, error) {
	ring, err := keys.NewRing(keys.Config{Secrets: []keys.Secret{keys.NewSecret([]byte(strings.Repeat("ab", 32)))}})
	if err != nil {
		return nil, err
	}
	c := vault.Config{Store: primary, Replica: replica, Keys: ring, Budget: vault.NewBudget(256 << 20)}
	for _, one := range onFallback {
		c.OnFallback = one
	}
	return vault.New(c)
}

func newVault(t *testing.T, primary, replica store.Store) *vault.Vault {
	t.Helper()
	v, err := makeVault(primary, replica)
	require.NoError(t, err)
	t.Cleanup(func() {
		require.Eventually(t, func() bool { return v.Budget().Used() == 0 }, time.Minute, time.Millisecond, "memory was not given back")
	})
	return v
}

func newArchive(t *testing.T, primary, replica store.Store) *wal.Archive {
	t.Helper()
	a, err := wal.New(wal.Config{Vault: newVault(t, primary, replica), Cluster: "frende", Patience: 200 * time.Millisecond})
	require.NoError(t, err)
	return a
}

// segment makes a file that has the header of a segment, and some content.
func segment(name, systemID string, content byte) []byte {
	parsed, err := postgres.ParseSegment(name[:24], size)
	if err != nil {
		panic(err)
	}
	id, err := strconv.ParseUint(systemID, 10, 64)
	if err != nil {
		panic(err)
	}
	body := make([]byte, size)
	order := binary.NativeEndian
	order.PutUint16(body[0:], 0xD110)
	order.PutUint16(body[2:], 2)
	order.PutUint32(body[4:], parsed.Timeline)
	order.PutUint64(body[8:], uint64(parsed.Start(size)))
	order.PutUint64(body[24:], id)
	order.PutUint32(body[32:], size)
	order.PutUint32(body[36:], 8192)
	body[5000] = content
	return body
}

// dataDir makes a directory with the control file and the pg_wal of a server.
func dataDir(t *testing.T, systemID string) string {
	t.Helper()
	dir := t.TempDir()
	id, err := strconv.ParseUint(systemID, 10, 64)
	require.NoError(t, err)
	for _, folder := range []string{"global", "pg_wal/archive_status"} {
		require.NoError(t, os.MkdirAll(filepath.Join(dir, folder), 0o700))
	}
	require.NoError(t, os.WriteFile(filepath.Join(dir, "global/pg_control"), binary.NativeEndian.AppendUint64(nil, id), 0o600))
	return dir
}

// name is the name of the n-th segment of a timeline.
func name(timeline uint32, n uint64) string {
	return postgres.Segment{Timeline: timeline, Number: n}.Name(size)
}

// write puts a file into pg_wal and gives its path.
func write(t *testing.T, dir, name string, body []byte) string {
	t.Helper()
	path := filepath.Join(dir, "pg_wal", name)
	require.NoError(t, os.WriteFile(path, body, 0o600))
	return path
}

// push pushes made-up segments of a timeline.
func push(t *testing.T, a *wal.Archive, dir string, timeline uint32, numbers ...uint64) {
	t.Helper()
	for _, n := range numbers {
		path := write(t, dir, name(timeline, n), segment(name(timeline, n), system, byte(n)))
		require.NoError(t, a.Push(t.Context(), path, wal.PushOptions{DataDir: dir}))
	}
}

func pushHistory(t *testing.T, a *wal.Archive, dir string, timeline uint32, text string) {
	t.Helper()
	path := write(t, dir, postgres.HistoryName(timeline), []byte(text))
	require.NoError(t, a.Push(t.Context(), path, wal.PushOptions{DataDir: dir}))
}

func from(timeline uint32, n uint64) wal.Point {
	return wal.Point{SystemID: system, Timeline: timeline, LSN: postgres.LSN(n*size + 40), SegmentSize: size}
}

func objectOf(file string) string { return "wal/frende/" + system + "/" + file[:8] + "/" + file }

func kindIs(t *testing.T, kind fault.Kind, err error) {
	t.Helper()
	require.Equal(t, kind, fault.KindOf(err), "%v", err)
}

func TestPushedFilesComeBack(t *testing.T) {
	a, dir := newArchive(t, mem.New("memory"), nil), dataDir(t, system)
	push(t, a, dir, 1, 3, 4, 5)
	pin, err := a.Pin(t.Context(), from(1, 3))
	require.NoError(t, err)
	require.Equal(t, name(1, 3), pin.Start)
	require.Equal(t, name(1, 5), pin.End)
	end, err := pin.EndLSN()
	require.NoError(t, err)
	require.Equal(t, postgres.LSN(6*size), end)
	require.NoError(t, pin.Reaches(6*size))
	kindIs(t, fault.WALShort, pin.Reaches(6*size+1))
	count, err := pin.Segments()
	require.NoError(t, err)
	require.Equal(t, 3, count)

	// A link that the owner of the directory planted leads nowhere.
	outside := filepath.Join(t.TempDir(), "outside")
	require.NoError(t, os.WriteFile(outside, []byte("kept"), 0o600))
	file := filepath.Join(t.TempDir(), "pin.json")
	require.NoError(t, os.Symlink(outside, file+".lifeboat"))
	require.NoError(t, pin.Write(file))
	pin, err = wal.ReadPin(file)
	require.NoError(t, err)
	dst := filepath.Join(t.TempDir(), "RECOVERYXLOG")
	require.NoError(t, os.Symlink(outside, dst+".lifeboat"))
	require.NoError(t, a.Fetch(t.Context(), pin, name(1, 4), dst))
	got, err := os.ReadFile(dst)
	require.NoError(t, err)
	require.Equal(t, segment(name(1, 4), system, 4), got)
	require.NoFileExists(t, dst+".lifeboat")
	kept, err := os.ReadFile(outside)
	require.NoError(t, err)
	require.Equal(t, "kept", string(kept))

	err = a.Fetch(t.Context(), pin, name(1, 6), dst)
	kindIs(t, fault.WALEnd, err)
	require.Equal(t, 1, wal.ExitCode(err))
	err = a.Fetch(t.Context(), pin, "00000002.history", dst)
	require.Equal(t, 1, wal.ExitCode(err))
	require.Equal(t, 0, wal.ExitCode(nil))

	last, at, err := a.LastArchived(t.Context(), system)
	require.NoError(t, err)
	require.Equal(t, name(1, 5), last)
	require.WithinDuration(t, time.Now(), at, time.Minute)

	for name, want := range map[string]bool{name(1, 4): true, name(1, 6): false, "00000002.history": false} {
		held, err := a.Holds(t.Context(), system, name)
		require.NoError(t, err)
		require.Equal(t, want, held, name)
	}
	_, err = a.Holds(t.Context(), system, "../keys")
	kindIs(t, fault.InputInvalid, err)
}

func TestEverythingButThePinnedEndStopsTheServer(t *testing.T) {
	s := mem.New("memory")
	a, dir := newArchive(t, s, nil), dataDir(t, system)
	push(t, a, dir, 1, 3, 4, 5)
	pin, err := a.Pin(t.Context(), from(1, 3))
	require.NoError(t, err)
	dst := filepath.Join(t.TempDir(), "RECOVERYXLOG")

	require.NoError(t, s.Delete(t.Context(), objectOf(name(1, 4)), ""))
	err = a.Fetch(t.Context(), pin, name(1, 4), dst)
	kindIs(t, fault.WALGap, err)
	require.Equal(t, 126, wal.ExitCode(err))

	body, err := store.ReadAll(t.Context(), s, objectOf(name(1, 3)), 1<<20)
	require.NoError(t, err)
	_, err = s.Put(t.Context(), objectOf(name(1, 5)), body, store.PutOptions{}) // an authentic one in a wrong place
	require.NoError(t, err)
	err = a.Fetch(t.Context(), pin, name(1, 5), dst)
	kindIs(t, fault.IntegrityError, err)
	require.Equal(t, 126, wal.ExitCode(err))

	for _, file := range []string{name(1, 3) + ".partial", "pg_control", "../../etc/passwd", ""} {
		require.Equal(t, 126, wal.ExitCode(a.Fetch(t.Context(), pin, file, dst)), file)
	}
	foreign := pin
	foreign.Cluster = "another"
	kindIs(t, fault.ForeignCluster, a.Fetch(t.Context(), foreign, name(1, 3), dst))
	require.NoFileExists(t, dst)
	require.Equal(t, 126, wal.ExitCode(a.Fetch(t.Context(), pin, name(1, 3), filepath.Join(dst, "no/such/folder"))))
	_, err = wal.ReadPin(filepath.Join(t.TempDir(), "none"))
	require.Equal(t, 126, wal.ExitCode(err))
}

func TestSameFileAgainSucceedsAndAnotherConflicts(t *testing.T) {
	s := mem.New("memory")
	a, dir := newArchive(t, s, nil), dataDir(t, system)
	push(t, a, dir, 1, 3)
	push(t, a, dir, 1, 3)
	push(t, newArchive(t, s, nil), dir, 1, 3)
	tomorrow, err := wal.New(wal.Config{Vault: newVault(t, s, nil), Cluster: "frende", Now: func() time.Time { return time.Now().Add(24 * time.Hour) }})
	require.NoError(t, err)
	push(t, tomorrow, dir, 1, 3) // under another day's key

	path := write(t, dir, name(1, 3), segment(name(1, 3), system, 99))
	err = a.Push(t.Context(), path, wal.PushOptions{DataDir: dir})
	kindIs(t, fault.WALConflict, err)
	require.ErrorContains(t, err, name(1, 3))
	require.LessOrEqual(t, fault.ExitCode(err), 125)
}

func TestWhatIsNotTheSegmentItsNameSaysIsNotSent(t *testing.T) {
	s := mem.New("memory")
	a, dir := newArchive(t, s, nil), dataDir(t, system)
	whole := segment(name(1, 7), system, 1)
	damaged := func(at int, value byte) []byte {
		body := append([]byte(nil), whole...)
		body[at] = value
		return body
	}
	for what, c := range map[string]struct {
		kind fault.Kind
		file string
		body []byte
	}{
		"empty":             {fault.IntegrityError, name(1, 7), nil},
		"short":             {fault.IntegrityError, name(1, 7), whole[:size-1]},
		"long":              {fault.IntegrityError, name(1, 7), append(append([]byte(nil), whole...), 0)},
		"no magic":          {fault.IntegrityError, name(1, 7), damaged(1, 0)},
		"short header":      {fault.IntegrityError, name(1, 7), damaged(2, 0)},
		"another place":     {fault.IntegrityError, name(1, 8), whole},
		"a later timeline":  {fault.IntegrityError, name(1, 7), damaged(4, 2)},
		"another size":      {fault.IntegrityError, name(1, 7), damaged(34, 0x20)},
		"a foreign cluster": {fault.ForeignCluster, name(1, 7), segment(name(1, 7), "7319874613240918274", 1)},
		"no WAL file":       {fault.InputInvalid, "postgresql.conf", whole},
		"too large":         {fault.Unsupported, name(1, 9), make([]byte, 33<<20)},
	} {
		err := a.Push(t.Context(), write(t, dir, c.file, c.body), wal.PushOptions{DataDir: dir})
		require.Equal(t, c.kind, fault.KindOf(err), "%s: %v", what, err)
		require.LessOrEqual(t, fault.ExitCode(err), 125)
	}
	for info, err := range s.List(t.Context(), "", store.ListOptions{}) {
		require.NoError(t, err)
		require.Fail(t, "something was sent", info.Key)
	}
	require.Error(t, a.Push(t.Context(), filepath.Join(dir, "pg_wal", name(1, 20)), wal.PushOptions{DataDir: dir}))
	require.Error(t, a.Push(t.Context(), write(t, dir, name(1, 7), whole), wal.PushOptions{DataDir: t.TempDir()}))

	// A fork's first segment begins as a copy of its parent's.
	copied := append([]byte(nil), whole...)
	require.NoError(t, a.Push(t.Context(), write(t, dir, name(2, 7), copied), wal.PushOptions{DataDir: dir}))
}

func TestHolesAreNamedAtEachPosition(t *testing.T) {
	for missing := uint64(3); missing <= 12; missing++ {
		s := mem.New("memory")
		a, dir := newArchive(t, s, nil), dataDir(t, system)
		push(t, a, dir, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12)
		require.NoError(t, s.Delete(t.Context(), objectOf(name(1, missing)), ""))
		pin, err := a.Pin(t.Context(), from(1, 3))
		if missing == 12 { // the end of an archive is no hole
			require.NoError(t, err)
			require.Equal(t, name(1, 11), pin.End)
			continue
		}
		kindIs(t, fault.WALGap, err)
		require.ErrorContains(t, err, objectOf(name(1, missing)))

		// What is left of a lost system goes as far as the hole, and says so.
		alone, err := wal.New(wal.Config{Vault: newVault(t, s, nil), Cluster: "frende", Home: "memory"})
		require.NoError(t, err)
		pin, err = alone.Pin(t.Context(), from(1, 3))
		if missing == 3 { // nothing lies before it
			kindIs(t, fault.WALGap, err)
			continue
		}
		require.NoError(t, err)
		require.Equal(t, name(1, missing-1), pin.End)
		require.Equal(t, &wal.Hole{Missing: objectOf(name(1, missing)), Later: int(12 - missing)}, pin.Hole)
		dst := filepath.Join(t.TempDir(), "RECOVERYXLOG")
		require.Equal(t, 0, wal.ExitCode(alone.Fetch(t.Context(), pin, name(1, missing-1), dst)))
		require.Equal(t, 1, wal.ExitCode(alone.Fetch(t.Context(), pin, name(1, missing), dst)))
		_, err = pin.Upto(name(1, missing))
		kindIs(t, fault.WALGap, err)
		clipped, err := pin.Upto(name(1, missing-1))
		require.NoError(t, err)
		require.Nil(t, clipped.Hole)
	}
}

func copyAll(t *testing.T, source, target store.Store) {
	t.Helper()
	for info, err := range source.List(t.Context(), "", store.ListOptions{}) {
		require.NoError(t, err)
		body, err := store.ReadAll(t.Context(), source, info.Key, 32<<20)
		require.NoError(t, err)
		_, err = target.Put(t.Context(), info.Key, body, store.PutOptions{})
		require.NoError(t, err)
	}
}

func TestNothingArchivedIsAGap(t *testing.T) {
	a := newArchive(t, mem.New("memory"), nil)
	_, err := a.Pin(t.Context(), from(1, 3))
	kindIs(t, fault.WALGap, err)
	_, _, err = a.LastArchived(t.Context(), system)
	kindIs(t, fault.WALGap, err)
	for _, p := range []wal.Point{{}, {SystemID: "../../x", Timeline: 1, LSN: 1}, {SystemID: system, Timeline: 1, LSN: 1, SegmentSize: 5}, {SystemID: system, LSN: 1}} {
		_, err = a.Pin(t.Context(), p)
		kindIs(t, fault.InputInvalid, err)
	}
	_, err = wal.New(wal.Config{Cluster: "frende"})
	kindIs(t, fault.ConfigInvalid, err)
	_, err = wal.New(wal.Config{Vault: newVault(t, mem.New("m"), nil), Cluster: "a/b"})
	kindIs(t, fault.ConfigInvalid, err)
}

// lsn writes a position inside the n-th segment.
func lsn(n uint64) string { return postgres.LSN(n*size + 0x1000).String() }

func TestPinFollowsTheNewestTimelineThatWasForkedOffBehindTheBackup(t *testing.T) {
	a, dir := newArchive(t, mem.New("memory"), nil), dataDir(t, system)
	push(t, a, dir, 1, 3, 4, 5, 6)
	push(t, a, dir, 2, 5, 6, 7)
	pushHistory(t, a, dir, 2, "1\t"+lsn(5)+"\tno recovery target specified\n")
	push(t, a, dir, 3, 7, 8)
	pushHistory(t, a, dir, 3, "# comment\n1\t"+lsn(5)+"\tno recovery target specified\n\n2\t"+lsn(7)+"\tbefore 2024-01-15\n")

	pin, err := a.Pin(t.Context(), from(1, 3))
	require.NoError(t, err)
	require.Equal(t, name(3, 8), pin.End)
	require.EqualValues(t, 3, pin.Timeline)
	dst := filepath.Join(t.TempDir(), "RECOVERYXLOG")
	for file, want := range map[string]int{
		name(1, 3): 0, name(1, 4): 0, name(2, 5): 0, name(2, 6): 0, name(3, 7): 0, name(3, 8): 0,
		"00000002.history": 0, "00000003.history": 0, "00000004.history": 1, "00000001.history": 1,
		name(3, 9): 1, name(2, 9): 1, name(1, 9): 1, // past the end
		name(3, 5): 1, name(2, 4): 1, // the server goes on to the planned one
		name(1, 5): 126, name(2, 7): 126, // a parent's, behind the fork: never replayed
	} {
		require.Equal(t, want, wal.ExitCode(a.Fetch(t.Context(), pin, file, dst)), file)
	}

	// A backup taken behind the fork, on the old timeline, goes on along it; a
	// promotion must find timelines 2 and 3 taken.
	pin, err = a.Pin(t.Context(), from(1, 6))
	require.NoError(t, err)
	require.Equal(t, name(1, 6), pin.End)
	require.EqualValues(t, 1, pin.Timeline)
	require.NoError(t, a.Fetch(t.Context(), pin, "00000003.history", dst))
	require.Equal(t, 1, wal.ExitCode(a.Fetch(t.Context(), pin, "00000004.history", dst)))
}

func TestArchiveThatEndsBeforeTheForkIsPinnedBeforeIt(t *testing.T) {
	a, dir := newArchive(t, mem.New("memory"), nil), dataDir(t, system)
	push(t, a, dir, 1, 3, 4, 5, 6) // 5 and 6 of timeline 1 were left behind
	pushHistory(t, a, dir, 2, "1\t"+lsn(5)+"\tno recovery target specified\n")
	pin, err := a.Pin(t.Context(), from(1, 3))
	require.NoError(t, err)
	require.Equal(t, name(1, 4), pin.End)
	require.EqualValues(t, 1, pin.Timeline)
	require.EqualValues(t, 2, pin.Newest)

	push(t, a, dir, 2, 6)
	_, err = a.Pin(t.Context(), from(1, 3))
	kindIs(t, fault.WALGap, err)
	require.ErrorContains(t, err, name(2, 5))
}

func TestLostHistoryIsNamedAndNeverGuessed(t *testing.T) {
	s := mem.New("memory")
	a, dir := newArchive(t, s, nil), dataDir(t, system)
	push(t, a, dir, 1, 3, 4)
	push(t, a, dir, 2, 4, 5)
	_, err := a.Pin(t.Context(), from(1, 3))
	kindIs(t, fault.WALGap, err)
	require.ErrorContains(t, err, objectOf("00000002.history"))
	_, err = a.Pin(t.Context(), from(2, 4))
	kindIs(t, fault.WALGap, err)

	pushHistory(t, a, dir, 2, "1\t"+lsn(4)+"\tx\n")
	pin, err := a.Pin(t.Context(), from(2, 4))
	require.NoError(t, err)
	require.Equal(t, name(2, 5), pin.End)
	require.NoError(t, s.Delete(t.Context(), objectOf("00000002.history"), ""))
	require.Equal(t, 126, wal.ExitCode(a.Fetch(t.Context(), pin, "00000002.history", filepath.Join(t.TempDir(), "x"))))

	for _, text := range []string{"", "nonsense", "1 0/nothing x", "2\t" + lsn(4) + "\tx\n", "1\t" + lsn(9) + "\tx\n1\t" + lsn(4) + "\tx\n"} {
		other := newArchive(t, mem.New("memory"), nil)
		pushHistory(t, other, dataDir(t, system), 2, text)
		_, err = other.Pin(t.Context(), from(1, 3))
		kindIs(t, fault.IntegrityError, err)
	}
}

func TestAwaitWaitsForTheSegmentsOfABackupAndReadsThemBack(t *testing.T) {
	s := mem.New("memory")
	a, dir := newArchive(t, s, nil), dataDir(t, system)
	push(t, a, dir, 1, 3)
	done := make(chan error, 1)
	go func() { done <- a.Await(t.Context(), from(1, 3), 5*size) }()
	push(t, a, dir, 1, 4)
	require.NoError(t, <-done)

	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	err := a.Await(ctx, from(1, 3), 5*size+1)
	kindIs(t, fault.WALShort, err)
	require.ErrorContains(t, err, objectOf(name(1, 5)))

	body, err := store.ReadAll(t.Context(), s, objectOf(name(1, 4)), 1<<20)
	require.NoError(t, err)
	body[len(body)/2] ^= 1
	_, err = s.Put(t.Context(), objectOf(name(1, 4)), body, store.PutOptions{})
	require.NoError(t, err)
	kindIs(t, fault.IntegrityError, a.Await(t.Context(), from(1, 3), 5*size))
}

func TestSalvagePushesWhatWasReadyInOrderAndStopsAtAHole(t *testing.T) {
	s := mem.New("memory")
	a, dir := newArchive(t, s, nil), dataDir(t, system)
	push(t, a, dir, 1, 3)
	for _, n := range []uint64{4, 5, 7} {
		write(t, dir, name(1, n), segment(name(1, n), system, byte(n)))
		require.NoError(t, os.WriteFile(filepath.Join(dir, "pg_wal/archive_status", name(1, n)+".ready"), nil, 0o600))
	}
	write(t, dir, name(1, 6), segment(name(1, 9), system, 1)) // a recycled file whose name lies
	require.NoError(t, os.WriteFile(filepath.Join(dir, "pg_wal/archive_status", name(1, 6)+".ready"), nil, 0o600))
	saved, err := a.Salvage(t.Context(), dir)
	kindIs(t, fault.IntegrityError, err)
	require.Equal(t, []string{name(1, 4), name(1, 5)}, saved)
	pin, err := a.Pin(t.Context(), from(1, 3))
	require.NoError(t, err)
	require.Equal(t, name(1, 5), pin.End)
}

func TestOnlyTheNewestIncarnationPushes(t *testing.T) {
	s := mem.New("memory")
	a, old := newArchive(t, s, nil), dataDir(t, system)
	push(t, a, old, 1, 3)

	restored := dataDir(t, system)
	try := func(dir string, n uint64) error {
		path := write(t, dir, name(1, n), segment(name(1, n), system, byte(n)))
		return a.Push(t.Context(), path, wal.PushOptions{DataDir: dir})
	}
	err := try(restored, 4)
	kindIs(t, fault.WALHeld, err) // no marker
	require.LessOrEqual(t, fault.ExitCode(err), 125)
	marker, err := os.ReadFile(filepath.Join(old, wal.MarkerName))
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(restored, wal.MarkerName), marker, 0o600))
	kindIs(t, fault.WALHeld, try(restored, 4)) // a copy of the marker

	require.NoError(t, a.Claim(t.Context(), system, restored))
	require.NoError(t, a.Claim(t.Context(), system, restored))
	swapped := filepath.Join(t.TempDir(), "in place")
	require.NoError(t, os.Rename(restored, swapped)) // the cut-over
	require.NoError(t, try(swapped, 4))
	kindIs(t, fault.WALHeld, try(old, 5)) // a zombie
	require.NoError(t, try(swapped, 5))

	require.NoError(t, os.WriteFile(filepath.Join(swapped, wal.MarkerName), []byte("{"), 0o600))
	require.Error(t, try(swapped, 6))
	require.NoError(t, a.Claim(t.Context(), system, swapped))
	require.NoError(t, try(swapped, 6))
	var claims []string
	for info, err := range s.List(t.Context(), "wal/frende/"+system+"/incarnation/", store.ListOptions{}) {
		require.NoError(t, err)
		claims = append(claims, filepath.Base(info.Key))
	}
	require.Equal(t, []string{"00000001", "00000002", "00000003"}, claims)
}

func TestClaimThatCrashedHalfWayGoesOn(t *testing.T) {
	s := mem.New("memory")
	a, dir := newArchive(t, s, nil), dataDir(t, system)
	push(t, a, dir, 1, 3)
	require.NoError(t, s.Delete(t.Context(), "wal/frende/"+system+"/incarnation/00000001", "")) // the marker was written, the object not
	before, err := os.ReadFile(filepath.Join(dir, wal.MarkerName))
	require.NoError(t, err)
	push(t, a, dir, 1, 4)
	after, err := os.ReadFile(filepath.Join(dir, wal.MarkerName))
	require.NoError(t, err)
	require.Equal(t, before, after)
}

func TestMarkerOfAnEarlierVersionIsReadWhateverDeviceItNames(t *testing.T) {
	a, dir := newArchive(t, mem.New("memory"), nil), dataDir(t, system)
	push(t, a, dir, 1, 3)
	path := filepath.Join(dir, wal.MarkerName)
	body, err := os.ReadFile(path)
	require.NoError(t, err)
	var written map[string]any
	require.NoError(t, json.Unmarshal(body, &written))
	require.NotContains(t, written, "device")
	delete(written, "born")
	delete(written, "machine")
	written["device"] = 1 // the disk has another one since the host was started again
	earlier, err := json.Marshal(written)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(path, earlier, 0o600))
	push(t, a, dir, 1, 4)

	written["inode"] = 1
	copied, err := json.Marshal(written)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(path, copied, 0o600))
	file := write(t, dir, name(1, 5), segment(name(1, 5), system, 5))
	kindIs(t, fault.WALHeld, a.Push(t.Context(), file, wal.PushOptions{DataDir: dir}))
}

func TestOneOfTwoDirectoriesThatPushFirstIsHeld(t *testing.T) {
	s := mem.New("memory")
	results := make(chan error, 2)
	for i := range 2 {
		a, dir := newArchive(t, s, nil), dataDir(t, system)
		path := write(t, dir, name(1, uint64(3+i)), segment(name(1, uint64(3+i)), system, 1))
		go func() { results <- a.Push(t.Context(), path, wal.PushOptions{DataDir: dir}) }()
	}
	first, second := <-results, <-results
	if first != nil {
		first, second = second, first
	}
	require.NoError(t, first)
	kindIs(t, fault.WALHeld, second)
	require.Contains(t, fmt.Sprint(second), "incarnation 1")
}
