package cli

import (
	"context"
	"fmt"
	"slices"

	"github.com/spf13/cobra"

	"github.com/frende/lifeboat/internal/archiver/ask"
	"github.com/frende/lifeboat/internal/assembly"
	"github.com/frende/lifeboat/internal/fault"
	"github.com/frende/lifeboat/internal/system"
	"github.com/frende/lifeboat/internal/wal"
)

const (
	walPush  = "wal-push"
	walFetch = "wal-fetch"
	// exitStop makes PostgreSQL stop a recovery. Up to 125, a failed
	// restore_command looks like the end of the archive, and a truncated cluster
	// would be promoted (PostgreSQL documentation, "Recovering Using a
	// Continuous Archive Backup").
	exitStop = 126
)

// fetches says whether the command line is one of restore_command's, wherever the global flags stand.
func fetches(args []string) bool { return slices.Contains(args, walFetch) }

// pushes says whether the command line is one of archive_command's, whose every
// failure has one exit code: PostgreSQL knows no other, and tries again.
func pushes(args []string) bool { return slices.Contains(args, walPush) }

// runFetch is Run under PostgreSQL's contract for restore_command: whatever goes
// wrong, a bad configuration or a defect of Lifeboat included, is not the end of the archive.
func (a *app) runFetch(ctx context.Context) (code int) {
	defer func() {
		if defect := recover(); defect != nil {
			fmt.Fprintf(a.Stderr, "lifeboat: fetch WAL: internal error: %s\nHINT: report this with the server's log; the recovery was stopped, not shortened\n", a.secrets.Redact(fmt.Sprint(defect)))
			code = exitStop
		}
	}()
	err := a.execute(ctx)
	if !fault.Has(err, fault.WALEnd) { // the normal end of every replay is no news in the server's log
		a.explain(err)
	}
	return wal.ExitCode(err)
}

func (a *app) walPush() *cobra.Command {
	var database string
	c := &cobra.Command{
		Use:   walPush + " PATH",
		Short: "Archive a WAL segment; for PostgreSQL's archive_command",
		Long: "Archive a WAL segment. Exit codes: 0 it is in the store, 1 anything else.\n" +
			"The worker of this host does it, and what PostgreSQL will ask for next beside it; when\n" +
			"it does not answer or does not know, this command does it alone.\n" +
			"Its working directory is the server's data directory, as PostgreSQL calls it. A directory\n" +
			"that was recovered with --from archives to that store.",
		Example: "  archive_command = 'lifeboat wal-push %p'",
		Args:    exactly("PATH"),
		RunE: a.run(func(ctx context.Context, args []string) error {
			asked := a.from != ""
			if !asked {
				home, err := wal.HomeOf(".")
				if err != nil {
					return err
				}
				a.from = home
			}
			storage, opened, err := a.storage()
			if err != nil {
				return err
			}
			protected, err := storage.Database(database)
			if err != nil {
				return err
			}
			if !asked && a.pushed(ctx, storage, protected, args[0]) {
				return nil
			}
			archive, err := a.archive(ctx, storage, opened, protected.Cluster)
			if err != nil {
				return err
			}
			return archive.Push(ctx, args[0], wal.PushOptions{})
		}),
	}
	c.Flags().StringVar(&database, "database", "", "`NAME` of the database; needed when several are configured")
	return c
}

// pushed says whether the worker has the file in the store. Whatever else it says,
// and when nobody answers, the file is pushed from here, and what is wrong shows again.
// lifeboat-wal may have asked before.
func (a *app) pushed(ctx context.Context, s *system.System, d system.Database, path string) (done bool) {
	said, asked := a.Env(ask.EnvSaid)
	if !asked {
		var refused error
		if done, refused = ask.ForFile(ctx, *s, d, path); refused != nil {
			said = refused.Error()
		}
	}
	if said != "" {
		fmt.Fprintf(a.Stderr, "lifeboat: %s; it is pushed without the worker\n", a.secrets.Redact(said))
	}
	return done
}

func (a *app) walFetch() *cobra.Command {
	var pinned string
	c := &cobra.Command{
		Use:   walFetch + " NAME PATH --pin FILE",
		Short: "Fetch a WAL segment; for PostgreSQL's restore_command",
		Long: "Fetch a WAL segment of a recovery, up to the end that its pin fixed.\n" +
			"What is asked for next lies in a folder beside the pin: the worker that leads the recovery\n" +
			"fetches it meanwhile; without one, this command does, beside what it is asked for.\n" +
			"Exit codes: 0 found, 1 past the pinned end, 126 anything else: PostgreSQL then stops.\n" +
			"A host that lets no program start (no thread, no memory) may give another one: the shell makes it 126.",
		Example: "  restore_command = 'lifeboat wal-fetch %f %p --pin /srv/pin || case $? in 1) exit 1;; *) exit 126;; esac'",
		Args:    exactly("NAME", "PATH"),
		RunE: a.run(func(ctx context.Context, args []string) error {
			pin, err := wal.ReadPin(pinned)
			if err != nil {
				return err
			}
			spool := wal.SpoolOf(pinned)
			taken, kept, err := spool.Await(ctx, pin, args[0], args[1])
			if taken || err != nil {
				return err
			}
			storage, opened, err := a.storage()
			if err != nil {
				return err
			}
			archive, err := a.archive(ctx, storage, opened, pin.Cluster)
			if err != nil {
				return err
			}
			if kept {
				return archive.Fetch(ctx, pin, args[0], args[1])
			}
			return archive.FetchAhead(ctx, pin, args[0], args[1], spool)
		}),
	}
	c.Flags().StringVar(&pinned, "pin", "", "`FILE` that fixes timeline and end of the archive")
	return c
}

// storage reads what reaching the stores needs, and no more: archiving must go
// on while another part of the configuration is being edited.
func (a *app) storage() (*system.System, *assembly.Assembly, error) {
	path, err := system.Find(a.config, a.Env)
	if err != nil {
		return nil, nil, err
	}
	s, err := a.alone(system.LoadStorage(path, a.Env))
	if err != nil {
		return nil, nil, err
	}
	return s, a.assembly(s), nil
}

func (a *app) archive(ctx context.Context, s *system.System, opened *assembly.Assembly, cluster string) (*wal.Archive, error) {
	v, err := opened.Vault(ctx, *s, nil)
	if err != nil {
		return nil, err
	}
	return wal.New(wal.Config{Vault: v, Cluster: cluster, Now: a.Now})
}
