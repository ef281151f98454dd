package doctor

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/frende/lifeboat/internal/command"
	"github.com/frende/lifeboat/internal/fault"
	"github.com/frende/lifeboat/internal/postgres"
	"github.com/frende/lifeboat/internal/system"
	"github.com/frende/lifeboat/internal/target"
	"github.com/frende/lifeboat/internal/wal"
)

// restartNeeded is what a setting needs that a reload does not change.
const restartNeeded = "\nthen restart the server"

// archiveTimeout is the longest that the plan lets a commit of an idle server
// wait for its archive before that is worth a word: twice what it asks for.
const archiveTimeout = 2 * time.Minute

// databaseExam examines one PostgreSQL server.
type databaseExam struct {
	x      *Examination
	config system.Database
	rights *question

	login    postgres.Login
	refused  error // why the server that answered let nobody in
	facts    postgres.Facts
	archiver postgres.Archiver
}

func (x *Examination) databases(secrets secretChecks, stores storeChecks, newest newestChecks) map[string]*databaseExam {
	all := map[string]*databaseExam{}
	for _, d := range x.System.Databases {
		e := &databaseExam{x: x, config: d}
		all[d.Name] = e
		e.checks(secrets, stores, newest)
	}
	return all
}

func (e *databaseExam) checks(secrets secretChecks, stores storeChecks, newest newestChecks) {
	add := func(name string, look func(context.Context) answer, needs ...*question) *question {
		return e.x.add(PostgreSQL, e.config.Name, name, look, needs...)
	}
	reachable := add("reachable", e.reachable, secrets.needed(e.config.Connection)...)
	e.rights = add("rights", e.superuser, reachable)
	add("version", func(context.Context) answer { return well("PostgreSQL %d", postgres.Major(e.facts.Version)) }, e.rights)
	add("role", e.role, e.rights)
	add("replication", e.replication, e.rights)
	add("senders", e.senders, e.rights)
	add("wal_level", e.walLevel, e.rights)
	add("archive_mode", e.archiveMode, e.rights)
	set := add("archive_command", e.archiveCommand, e.rights).then(secrets.all()...)
	add("archive_timeout", e.archiveTimeout, e.rights)
	works := add("archiving", e.archiving, e.rights)
	needs := append([]*question{set, e.rights}, secrets.working()...)
	if primary, err := e.x.System.Primary(); err == nil {
		needs = append(needs, stores.byName[primary.Name])
	}
	add("archived", e.archived, needs...).then(works)
	add("checksums", e.checksums, e.rights)
	add("data directory", e.dataDir, e.rights)
	if e.config.Standby != nil {
		add("standby", e.standby, append(secrets.needed(e.config.Standby.Connection), e.rights)...)
	}
	add("swap", func(context.Context) answer { return swappable(e.config.DataDir) })
	id := system.ComponentID(system.KindDatabase, e.config.Name)
	add("tablespaces", func(context.Context) answer { return e.tablespaces(newest.manifests[id]) }, e.rights, newest.readable[id])
}

func (e *databaseExam) reachable(ctx context.Context) answer {
	const why = "a server that can't be reached can't be backed up, and its last WAL can't be saved before a recovery"
	dsn, err := e.x.Parts.Secret(e.config.Connection)
	if err != nil {
		return failure(err, why)
	}
	if e.login, err = postgres.NewLogin(string(dsn), postgres.LoginOptions{Host: e.config.Host, Port: e.config.Port}); err != nil {
		return failure(err, why)
	}
	server, err := postgres.Connect(ctx, e.login)
	if fault.Has(err, fault.ServerUnavailable) {
		a := failure(err, why)
		host, port := e.login.Address()
		a.mend = fmt.Sprintf("pg_isready -h %s -p %d", host, port)
		if service, err := e.x.System.Service(e.config.Service); err == nil {
			a.mend += "\n" + startCommand(service)
		}
		return a
	}
	if err != nil {
		e.refused = err
		return well("%s answers", e.login)
	}
	defer server.Close(ctx)
	e.facts = server.Facts()
	e.archiver, e.refused = server.Archiver(ctx)
	return well("%s answers", e.login)
}

func (e *databaseExam) superuser(context.Context) answer {
	if e.refused != nil {
		return failure(e.refused, "Lifeboat takes base backups, terminates connections and fences, which a superuser may")
	}
	return well("%s is a superuser", e.login.User())
}

func (e *databaseExam) role(context.Context) answer {
	if e.facts.InRecovery {
		return problem("the server is a standby", "it does not archive, and a recovery would replace the wrong server", "name the primary server in the connection of database "+e.config.Name)
	}
	return well("a primary server, on timeline %d", e.facts.Timeline)
}

func (e *databaseExam) replication(ctx context.Context) answer {
	err := postgres.CheckReplication(ctx, e.login)
	if err == nil {
		return well("a replication connection is taken")
	}
	a := failure(err, "a base backup comes over a replication connection")
	if fault.Has(err, fault.ServerRefused) {
		a.mend = e.setUp("", fmt.Sprintf("add to %s: host replication %s <address of this host>/32 scram-sha-256\nSELECT pg_reload_conf();", e.facts.HBAFile, e.login.User()))
	}
	return a
}

// setUp is the command that mends a setting, or the statements that do the same.
func (e *databaseExam) setUp(flags, statements string) string {
	return fmt.Sprintf("lifeboat --config %s database setup %s --apply%s\nor, at the server: %s", e.x.File, e.config.Name, flags, statements)
}

// sendersNeeded is one for the base backup and one for whoever follows.
const sendersNeeded = 2

func (e *databaseExam) senders(context.Context) answer {
	free := e.archiver.Senders - e.archiver.Sending
	if free < sendersNeeded {
		return problem(fmt.Sprintf("of %d WAL senders %d are free", e.archiver.Senders, max(free, 0)), "a base backup needs one, and waits for none",
			e.setUp("", fmt.Sprintf("ALTER SYSTEM SET max_wal_senders = %d;%s", max(10, e.archiver.Sending+sendersNeeded), restartNeeded)))
	}
	return well("%d WAL senders are free", free)
}

func (e *databaseExam) walLevel(context.Context) answer {
	if e.facts.WALLevel == "minimal" {
		return problem("wal_level is minimal", "the WAL does not hold what a recovery needs", e.setUp("", "ALTER SYSTEM SET wal_level = 'replica';"+restartNeeded))
	}
	return well("%s", e.facts.WALLevel)
}

func (e *databaseExam) archiveMode(context.Context) answer {
	if e.facts.ArchiveMode == "off" {
		return problem("archive_mode is off", "everything since the last base backup would be lost", e.setUp("", "ALTER SYSTEM SET archive_mode = 'on';"+restartNeeded))
	}
	return well("%s", e.facts.ArchiveMode)
}

func (e *databaseExam) archiveCommand(context.Context) answer {
	const why = "WAL that Lifeboat does not have can't be replayed: everything since the last base backup would be lost"
	mend := fmt.Sprintf("ALTER SYSTEM SET archive_command = 'lifeboat --config %s wal-push %%p';\nSELECT pg_reload_conf();", e.x.File)
	if e.archiver.Library != "" {
		return problem("archive_library is set: "+e.archiver.Library, why, e.setUp(" --replace", "ALTER SYSTEM RESET archive_library;\n"+mend))
	}
	if e.archiver.Command == "" || e.archiver.Command == "(disabled)" {
		return problem("archive_command is empty", why, e.setUp("", mend))
	}
	if !strings.Contains(e.archiver.Command, "wal-push") {
		told := command.Redact(e.archiver.Command, e.x.secretValues()...)
		return problem("archive_command does not call lifeboat wal-push: "+told, why, e.setUp(" --replace", mend))
	}
	return well("it calls wal-push")
}

func (e *databaseExam) archiveTimeout(context.Context) answer {
	const why = "what is committed on a quiet server waits this long before it leaves the host"
	mend := e.setUp("", "ALTER SYSTEM SET archive_timeout = '60s';\nSELECT pg_reload_conf();")
	after, objective := time.Duration(e.facts.ArchiveAfter)*time.Second, e.config.RPO.Std()
	switch {
	case after == 0:
		return problem("archive_timeout is 0: a quiet server archives nothing", why, mend)
	case after > objective:
		return problem(fmt.Sprintf("archive_timeout is %s, the recovery point objective %s", after, e.config.RPO), why, mend)
	case after > archiveTimeout:
		return warning(fmt.Sprintf("archive_timeout is %s", after), why, mend)
	}
	return well("%s", after)
}

// waitingMuch is how many segments may wait for the archive on a busy server.
const waitingMuch = 16

func (e *databaseExam) archiving(context.Context) answer {
	const why = "what is not archived is lost with the host, and WAL that can't be archived fills its disk"
	a := e.archiver
	byHand := "read the server's log, then try by hand, as the server's account, in its data directory:\n  "
	switch since := a.Now.Sub(a.ArchivedAt); {
	case e.facts.ArchiveMode == "off":
		return problem("nothing is archived", why, "see archive_mode")
	case a.Failed != "" && a.FailedAt.After(a.ArchivedAt):
		return problem(fmt.Sprintf("archive_command failed for %s %s ago, and has not succeeded since; %d files wait", a.Failed, brief(a.Now.Sub(a.FailedAt)), a.Waiting), why,
			byHand+"lifeboat --config "+e.x.File+" wal-push pg_wal/"+a.Failed)
	case a.Archived == "":
		return warning("nothing has been archived yet", "that it works is not known before the first segment", "SELECT pg_switch_wal();")
	case a.Waiting > 0 && since > e.config.RPO.Std():
		return problem(fmt.Sprintf("%d files wait for the archive; the last one was archived %s ago", a.Waiting, brief(since)), why, byHand+"lifeboat --config "+e.x.File+" wal-push pg_wal/<the oldest .ready>")
	case a.Waiting > waitingMuch:
		return warning(fmt.Sprintf("%d files wait for the archive", a.Waiting), "writes are faster than the archive takes them", "look at the network, and at limits.parallel in "+e.x.File)
	default:
		return well("%s was archived %s ago; %d failed attempts since the statistics began", a.Archived, brief(since), a.Failures)
	}
}

// archived holds what the server believes against the bucket: an archive_command
// that says "done" and stores nothing is the one that nobody notices.
func (e *databaseExam) archived(ctx context.Context) answer {
	const why = "the server deletes WAL that it believes archived: a recovery would end before it"
	last := e.archiver.Archived
	if last == "" {
		return well("nothing has been archived yet")
	}
	opened, err := e.x.Parts.Vault(ctx, e.x.System, nil)
	if err != nil {
		return failure(err, why)
	}
	archive, err := wal.New(wal.Config{Vault: opened, Cluster: e.config.Cluster})
	if err != nil {
		return failure(err, why)
	}
	held, err := archive.Holds(ctx, e.facts.SystemID, last)
	if err != nil {
		return failure(err, why)
	}
	if !held {
		return problem(fmt.Sprintf("the server believes %s archived, and %s does not have it", last, opened.Store().Name()), why,
			fmt.Sprintf("find out what archive_command does with it; then, at once: lifeboat backup database %s", e.config.Name))
	}
	return well("%s is in the store", last)
}

// standbyTime is how long the standby is given to come to where the primary was: a
// backup gives it what is configured.
const standbyTime = 2 * time.Second

// standby asks what a backup asks before it copies the standby, and writes nothing.
func (e *databaseExam) standby(ctx context.Context) answer {
	const (
		why     = "backups are copied from the primary instead, which they slow down"
		refused = "backups of this database are refused until a person has looked: the standby is not the primary's"
	)
	err := e.follows(ctx)
	switch {
	case err == nil:
		return well("base backups are copied from it")
	case fault.Has(err, fault.ForeignCluster):
		return failure(err, refused)
	}
	a := failure(err, why)
	a.status = Warning
	return a
}

func (e *databaseExam) follows(ctx context.Context) error {
	dsn, err := e.x.Parts.Secret(e.config.Standby.Connection)
	if err != nil {
		return err
	}
	login, err := postgres.NewLogin(string(dsn), postgres.LoginOptions{})
	if err != nil {
		return err
	}
	standby, err := postgres.Connect(ctx, login)
	if err != nil {
		return err
	}
	defer standby.Close(ctx)
	primary, err := postgres.Connect(ctx, e.login)
	if err != nil {
		return err
	}
	defer primary.Close(ctx)
	if err := standby.CheckFollows(ctx, primary); err != nil {
		return err
	}
	if err := postgres.CheckReplication(ctx, login); err != nil {
		return err
	}
	written, err := primary.Flushed(ctx)
	if err != nil {
		return err
	}
	return standby.AwaitFollowed(ctx, primary, written, min(e.config.Standby.Lag.Std(), standbyTime))
}

func (e *databaseExam) checksums(context.Context) answer {
	if !e.facts.Checksums {
		return warning("page checksums are off", "pages that the disk has damaged are backed up without a word",
			fmt.Sprintf("stop the server, then: pg_checksums --enable -D %s", e.config.DataDir))
	}
	return well("on")
}

func (e *databaseExam) dataDir(context.Context) answer {
	if !sameFile(e.facts.DataDir, e.config.DataDir) {
		return problem(fmt.Sprintf("the server's is %s, data_dir says %s", e.facts.DataDir, e.config.DataDir), "a recovery would replace a directory that is not the server's",
			fmt.Sprintf("correct data_dir or connection of database %s in %s", e.config.Name, e.x.File))
	}
	return well("%s", e.facts.DataDir)
}

// tablespaces finds those that were made after the newest base backup.
func (e *databaseExam) tablespaces(m *manifestOf) answer {
	known, err := m.tablespaces()
	if err != nil {
		return failure(err, "a recovery needs to know where tablespaces lie")
	}
	for _, space := range e.facts.Tablespaces {
		if !slices.ContainsFunc(known, func(k postgres.Tablespace) bool { return k.OID == space.OID }) {
			return problem(fmt.Sprintf("%s was made after the newest base backup", space.Name), "a recovery is refused while it is in its place: the replay would write into it",
				"lifeboat backup database "+e.config.Name)
		}
	}
	for _, space := range e.facts.Tablespaces {
		if a := swappable(space.Location); a.status != OK {
			return a
		}
	}
	return well("%d besides the server's own, all in the newest base backup", len(e.facts.Tablespaces))
}

// swappable says whether a recovery can replace the directory by a rename.
func swappable(dir string) answer {
	err := target.Refuse(target.Place{Dir: dir})
	if err == nil {
		return well("%s can be replaced by a rename", dir)
	}
	a := failure(err, "a recovery is refused: it restores beside the directory, and puts that in place by a rename")
	if strings.Contains(err.Error(), "can't be written to") {
		a.mend = "run this, and the worker, as root or as the owner of " + filepath.Dir(dir)
	}
	return a
}

// sameFile says whether two paths lead to one directory, as far as it can be seen.
func sameFile(a, b string) bool {
	first, firstErr := os.Stat(a)
	second, secondErr := os.Stat(b)
	if firstErr != nil || secondErr != nil {
		return filepath.Clean(a) == filepath.Clean(b)
	}
	return os.SameFile(first, second)
}
