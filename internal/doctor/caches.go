package doctor

import (
	"context"
	"fmt"
	"net"

	"github.com/frende/lifeboat/internal/fault"
	"github.com/frende/lifeboat/internal/redis"
	"github.com/frende/lifeboat/internal/system"
)

// cacheExam examines one Redis server.
type cacheExam struct {
	x      *Examination
	config system.Cache
	login  *question

	refused     error // why the server that answered let nobody in
	facts       redis.Facts
	persistence redis.Persistence
}

func (x *Examination) caches(secrets secretChecks) map[string]*cacheExam {
	all := map[string]*cacheExam{}
	for _, c := range x.System.Caches {
		e := &cacheExam{x: x, config: c}
		all[c.Name] = e
		e.checks(secrets)
	}
	return all
}

func (e *cacheExam) checks(secrets secretChecks) {
	add := func(name string, look func(context.Context) answer, needs ...*question) *question {
		return e.x.add(Redis, e.config.Name, name, look, needs...)
	}
	reachable := add("reachable", e.reachable, secrets.needed(e.config.Password)...)
	e.login = add("login", e.rights, reachable)
	add("persistence", e.persists, e.login)
	add("last save", e.saved, e.login)
	add("role", e.role, e.login)
	add("data directory", e.dataDir, e.login)
	add("swap", func(context.Context) answer { return swappable(e.config.DataDir) })
	if e.config.Config != "" {
		add("configuration file", e.configFile).then(e.login)
	}
}

func (e *cacheExam) reachable(ctx context.Context) answer {
	const why = "a server that can't be reached can't be backed up"
	password, err := e.x.Parts.Secret(e.config.Password)
	if err != nil {
		return failure(err, why)
	}
	server, err := redis.Connect(ctx, redis.Config{Address: e.config.Address, Username: e.config.Username, Password: string(password)})
	if fault.Has(err, fault.ServerUnavailable) {
		a := failure(err, why)
		if host, port, err := net.SplitHostPort(e.config.Address); err == nil {
			a.mend = fmt.Sprintf("redis-cli -h %s -p %s ping", host, port)
		}
		if service, err := e.x.System.Service(e.config.Service); err == nil {
			a.mend += "\n" + startCommand(service)
		}
		return a
	}
	if err != nil {
		e.refused = err
		return well("redis at %s answers", e.config.Address)
	}
	if e.facts, e.refused = server.Facts(ctx); e.refused == nil {
		e.persistence, e.refused = server.Persistence(ctx)
	}
	if err := server.Close(); err != nil {
		return failure(err, why)
	}
	return well("redis at %s answers", e.config.Address)
}

func (e *cacheExam) rights(context.Context) answer {
	if e.refused != nil {
		return failure(e.refused, "a backup asks INFO, CONFIG GET and BGSAVE")
	}
	return well("Redis %s lets us in", e.facts.Version)
}

// cli is a command line of redis-cli for this server.
func (e *cacheExam) cli(args string) string {
	host, port, err := net.SplitHostPort(e.config.Address)
	if err != nil {
		return "redis-cli " + args
	}
	return fmt.Sprintf("redis-cli -h %s -p %s %s", host, port, args)
}

func (e *cacheExam) persists(context.Context) answer {
	appendOnly := e.cli("CONFIG SET appendonly yes") + "\n" + e.cli("CONFIG REWRITE")
	p := e.persistence
	switch {
	case !p.AppendOnly && p.Save == "":
		return problem("it keeps nothing on disk: appendonly is no, and there are no save points", "after a restart it is empty", appendOnly+"\n"+e.cli(`CONFIG SET save "900 1"`))
	case p.AppendOnly && !p.AppendOK:
		return problem("its append-only file can't be written", "what is written now is lost at a restart", "look for a full disk, and at its log: "+e.logOf())
	case p.AppendOnly && p.AppendFsync == "no":
		return warning("appendfsync is no", "a power cut may lose minutes of writes", e.cli("CONFIG SET appendfsync everysec")+"\n"+e.cli("CONFIG REWRITE"))
	case !p.AppendOnly:
		return warning("appendonly is no: writes since the last save point are lost at a crash", "the plan asks for an append-only file, synced every second", appendOnly)
	}
	return well("append-only file, synced %s; save points: %q", p.AppendFsync, p.Save)
}

func (e *cacheExam) logOf() string {
	service, err := e.x.System.Service(e.config.Service)
	if err != nil {
		return "its log"
	}
	return e.x.Services.LogPlace(service)
}

func (e *cacheExam) saved(context.Context) answer {
	if !e.persistence.SaveOK {
		return problem("its last background save failed", "a backup is such a save", "look for too little memory to fork (vm.overcommit_memory = 1) or a full disk, and at its log: "+e.logOf())
	}
	return well("on %s", e.persistence.LastSave.Format("2006-01-02 15:04:05"))
}

func (e *cacheExam) role(context.Context) answer {
	if e.facts.Role == "slave" {
		return warning("the server is a replica", "a backup of it may lag behind, and a recovery would replace the replica", "give the address of the master to cache "+e.config.Name+" in "+e.x.File)
	}
	return well("master, with %d replicas", e.facts.Replicas)
}

func (e *cacheExam) dataDir(context.Context) answer {
	if !sameFile(e.facts.Dir, e.config.DataDir) {
		return problem(fmt.Sprintf("the server's is %s, data_dir says %s", e.facts.Dir, e.config.DataDir), "a recovery would replace a directory that is not the server's",
			fmt.Sprintf("correct data_dir or address of cache %s in %s", e.config.Name, e.x.File))
	}
	return well("%s", e.facts.Dir)
}

// configFile compares what the next start of the server will use with what the running one does.
func (e *cacheExam) configFile(context.Context) answer {
	layout, dir, err := redis.ReadLayout(e.config.Config)
	if err != nil {
		return failure(err, "a recovery places the data where this file says that the server looks for it")
	}
	if e.login.failed() {
		return well("%s can be read", e.config.Config)
	}
	const why = "after its next start the server looks for its data elsewhere, and starts empty"
	rewrite := e.cli("CONFIG REWRITE")
	if running := e.facts.Layout; running.AppendOnly != layout.AppendOnly || running.DBFilename != layout.DBFilename || running.AppendDirname != layout.AppendDirname {
		return problem(fmt.Sprintf("the running server is set up otherwise than %s says (appendonly, dbfilename or appenddirname)", e.config.Config), why, rewrite)
	}
	if dir != "" && !sameFile(dir, e.facts.Dir) {
		return problem(fmt.Sprintf("%s says dir %s, the running server uses %s", e.config.Config, dir, e.facts.Dir), why, rewrite)
	}
	return well("%s says what the server does", e.config.Config)
}
