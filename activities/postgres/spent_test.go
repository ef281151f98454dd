package postgres

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/frende/lifeboat/internal/fault"
	"github.com/frende/lifeboat/internal/lab"
	"github.com/frende/lifeboat/internal/postgres"
	"github.com/frende/lifeboat/internal/target"
	"github.com/frende/lifeboat/internal/tree"
)

// sharing is a run whose staging directory shares one file with an older copy.
type sharing struct {
	job   *job
	place Place
	dir   string // the older copy
}

func share(t *testing.T) *sharing {
	t.Helper()
	base := t.TempDir()
	s := &sharing{dir: filepath.Join(base, "copy")}
	s.place = Place{Live: filepath.Join(base, "live"), Staging: filepath.Join(base, "data"), Run: filepath.Join(base, "run")}
	for _, dir := range []string{filepath.Join(s.dir, "global"), filepath.Join(s.dir, "base"), s.place.Live, s.place.Staging, s.place.Run} {
		require.NoError(t, os.MkdirAll(dir, 0o700))
	}
	if os.Geteuid() == 0 {
		account, err := lab.Ordinary()
		require.NoError(t, err)
		require.NoError(t, os.Chown(s.place.Live, account.UID, account.GID))
	}
	for name, content := range map[string]string{"PG_VERSION": "15\n", postgres.ControlFile: "control", "base/1": "12345"} {
		require.NoError(t, os.WriteFile(filepath.Join(s.dir, name), []byte(content), 0o600))
	}
	x, err := tree.NewExtraction(tree.Config{
		Root: s.place.Staging, Journal: filepath.Join(s.place.Run, "journal"), Backup: "x", Older: s.dir,
		Owner:   tree.OwnerAs(os.Geteuid(), os.Getegid()),
		Entries: []tree.Entry{{Path: "base", Kind: tree.Dir, Mode: 0o700}, {Path: "base/1", Kind: tree.File, Mode: 0o600, Size: 5}},
	})
	require.NoError(t, err)
	file, err := os.Open(filepath.Join(s.dir, "base/1"))
	require.NoError(t, err)
	offer, ok := x.Offer(1, file)
	require.True(t, ok)
	took, err := offer.Take()
	require.NoError(t, errors.Join(err, file.Close()))
	require.True(t, took)
	require.NoError(t, x.Finish(t.Context()))
	body, err := json.Marshal([]shared{{Root: s.place.Staging, Older: s.dir, Twins: x.Twins()}})
	require.NoError(t, errors.Join(err, x.Close(), os.WriteFile(s.place.shared(), body, 0o600)))
	if len(x.Twins()) == 0 {
		t.Skip("this file system clones files: nothing is ever shared")
	}
	s.job = &job{ref: Ref{RunID: "copy/1", Dir: s.dir, Delta: true, Scratch: true}}
	return s
}

func (s *sharing) spend() error { return s.job.spend(s.place, Facts{SystemID: "7"}) }

func (s *sharing) state(t *testing.T) string {
	t.Helper()
	became, err := leaveOlder(s.job.ref, s.place)
	require.NoError(t, err)
	return became
}

func (s *sharing) names(t *testing.T) (names []string) {
	t.Helper()
	require.NoError(t, fs.WalkDir(os.DirFS(s.dir), ".", func(name string, entry fs.DirEntry, err error) error {
		if err == nil && !entry.IsDir() {
			names = append(names, name)
		}
		return err
	}))
	return names
}

var (
	wholeNames = []string{"PG_VERSION", "base/1", "global/pg_control"}
	spentNames = []string{"PG_VERSION", "base/1", "lifeboat.spent"}
)

func TestAnOlderCopyThatSharesFilesIsSpentBeforeTheServerStarts(t *testing.T) {
	s := share(t)
	require.Equal(t, OlderWhole, s.state(t))
	require.Equal(t, wholeNames, s.names(t))
	for range 2 {
		require.NoError(t, s.spend())
		require.Equal(t, spentNames, s.names(t))
	}
	require.Equal(t, OlderSpent, s.state(t))
	root, err := openDirectory(s.dir)
	require.NoError(t, err)
	note := readNote(root)
	require.NoError(t, root.Close())
	require.Equal(t, []string{"copy/1", "7", spentWhat}, []string{note.Run, note.SystemID, note.What})

	// From then on the server writes, and is started again.
	require.NoError(t, os.WriteFile(filepath.Join(s.place.Staging, "base/1"), []byte("54321"), 0o600))
	require.NoError(t, s.spend())

	// The next run spends it in its own name.
	again := share(t)
	require.NoError(t, os.Remove(filepath.Join(again.dir, postgres.ControlFile)))
	require.NoError(t, again.spend())
	require.Equal(t, OlderSpent, again.state(t))
}

func TestAnOlderCopyThatSharesNothingStaysWhole(t *testing.T) {
	s := share(t)
	require.NoError(t, os.Remove(s.place.shared()))
	require.NoError(t, s.spend())
	require.Equal(t, wholeNames, s.names(t))
	s.job.ref.Delta = false
	require.NoError(t, s.spend())
	require.Empty(t, s.state(t))
}

func TestAnOlderCopyThatSomebodyUsesMeanwhileIsNotSpent(t *testing.T) {
	for name, use := range map[string]func(s *sharing) error{
		"a server": func(s *sharing) error {
			return os.WriteFile(filepath.Join(s.dir, "postmaster.pid"), []byte("1\n"), 0o600)
		},
		"a change": func(s *sharing) error {
			return os.WriteFile(filepath.Join(s.dir, "base/1"), []byte("54321"), 0o600)
		},
		"another copy in its place": func(s *sharing) error {
			return errors.Join(os.Rename(s.dir, s.dir+"-moved"), os.CopyFS(s.dir, os.DirFS(s.dir+"-moved")))
		},
		"no older copy": func(s *sharing) error { return os.Rename(s.dir, s.dir+"-moved") },
		"a link": func(s *sharing) error {
			return errors.Join(os.Rename(s.dir, s.dir+"-moved"), os.Symlink(s.dir+"-moved", s.dir))
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := share(t)
			require.NoError(t, use(s))
			require.True(t, fault.Has(s.spend(), fault.TargetRefused), "%v", s.spend())
			for _, dir := range []string{s.dir, s.dir + "-moved"} {
				if _, err := os.Stat(dir); err == nil {
					require.FileExists(t, filepath.Join(dir, postgres.ControlFile))
					require.NoFileExists(t, filepath.Join(dir, spentMark))
				}
			}
			require.NoFileExists(t, s.place.spent())
		})
	}
}

// A worker was killed after each thing that is done to the older copy.
func TestASpendingThatWasCutOffGoesOnOrIsTakenBack(t *testing.T) {
	for step := range 3 {
		cut := func(t *testing.T) *sharing {
			s := share(t)
			root, err := openDirectory(s.dir)
			require.NoError(t, err)
			require.NoError(t, putNote(root, postgres.Account{UID: os.Geteuid(), GID: os.Getegid()}, spentNote{Run: "copy/1", SystemID: "7", What: spentWhat}))
			if step > 0 {
				require.NoError(t, root.Rename(postgres.ControlFile, controlAside))
			}
			if step > 1 {
				require.NoError(t, root.Remove(controlAside))
			}
			require.NoError(t, root.Close())
			return s
		}
		s := cut(t)
		require.NoError(t, s.spend())
		require.Equal(t, spentNames, s.names(t))
		require.Equal(t, OlderSpent, s.state(t))

		s = cut(t)
		if step > 1 {
			require.Equal(t, OlderSpent, s.state(t), "the control file is gone")
			continue
		}
		other := s.job.ref
		other.RunID = "copy/2"
		_, err := leaveOlder(other, s.place)
		require.NoError(t, err)
		require.Contains(t, s.names(t), spentMark, "it is another run's")
		require.Equal(t, OlderWhole, s.state(t))
		require.Equal(t, wholeNames, s.names(t))
	}
}

// Who owns the older copy puts links where the worker, which may be root, writes and removes.
func TestSpendingLeavesNothingOutsideOfTheOlderCopyTouched(t *testing.T) {
	for _, planted := range []string{"global", spentMark} {
		s := share(t)
		outside := t.TempDir()
		victim := filepath.Join(outside, filepath.Base(postgres.ControlFile))
		require.NoError(t, os.WriteFile(victim, []byte("kept"), 0o600))
		at := filepath.Join(s.dir, planted)
		require.NoError(t, os.RemoveAll(at))
		to := outside
		if planted == spentMark {
			to = victim
		}
		require.NoError(t, os.Symlink(to, at))
		err := s.spend()
		require.Equal(t, planted == "global", err != nil, "%v", err)
		body, err := os.ReadFile(victim)
		require.NoError(t, err)
		require.Equal(t, "kept", string(body))
		entries, err := os.ReadDir(outside)
		require.NoError(t, err)
		require.Len(t, entries, 1)
	}
}

func TestTwoRunsOverOneOlderCopyAreNotLetIn(t *testing.T) {
	s := share(t)
	check := func() error {
		return (&Activities{}).CheckCopy(t.Context(), CheckCopyInput{Ref: s.job.ref})
	}
	require.NoError(t, os.Mkdir(target.Scratch(s.dir, "copy/1"), 0o700), "its own")
	require.NoError(t, os.Mkdir(target.Scratch(s.dir+"2", "copy/2"), 0o700), "over another one")
	require.NoError(t, s.job.alone())
	require.NoError(t, check())
	require.NoError(t, os.Mkdir(target.Scratch(s.dir, "copy/2"), 0o700))
	for _, err := range []error{s.job.alone(), check()} {
		require.True(t, fault.Has(err, fault.TargetRefused), "%v", err)
		require.ErrorContains(t, err, target.Scratch(s.dir, "copy/2"))
	}
}

func TestWhatAServerWasStartedOnIsNotRestoredAgain(t *testing.T) {
	s := share(t)
	require.NoError(t, notStarted(s.place))
	require.NoError(t, s.spend())
	require.True(t, fault.Has(notStarted(s.place), fault.TargetRefused))
}

// A run that fails when the new copy has come leaves no older one to speak of.
func TestANewCopyIsNotTakenForTheOlderOne(t *testing.T) {
	s := share(t)
	var stat unix.Stat_t
	require.NoError(t, unix.Lstat(s.dir, &stat))
	body, err := json.Marshal(copied{Dev: stat.Dev, Ino: stat.Ino})
	require.NoError(t, errors.Join(err, os.WriteFile(s.place.copied(), body, 0o600)))
	require.Empty(t, s.state(t))
	require.NoError(t, os.Rename(s.dir, s.dir+"-moved"))
	require.NoError(t, os.CopyFS(s.dir, os.DirFS(s.dir+"-moved")))
	require.Equal(t, OlderWhole, s.state(t))
}
