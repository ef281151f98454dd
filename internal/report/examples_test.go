package report_test

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/frende/lifeboat/internal/report"
	"github.com/frende/lifeboat/internal/system"
)

func at(second float64) time.Time {
	return time.Date(2024, 1, 15, 2, 0, 0, 0, time.UTC).Add(time.Duration(second * float64(time.Second)))
}

func duration(d time.Duration) system.Duration { return system.Duration(d) }

func seconds(s float64) system.Duration { return duration(time.Duration(s * float64(time.Second))) }

// step is one that succeeded.
func step(id, title, phase string, began, took float64, critical bool, detail string) report.Step {
	component := ""
	if i := strings.LastIndex(id, "/"); i > 0 {
		component = id[:i]
	}
	return report.Step{
		ID: id, Component: component, Title: title, Phase: phase, Outcome: report.Succeeded,
		Started: at(began), Finished: at(began + took), Critical: critical, Attempts: 1, Detail: detail,
	}
}

// recovered is the recovery of a whole system as a coordinator records it,
// approved from the start.
func recovered() *report.Run {
	const old = "the old one is kept as /srv/frende/%s.lifeboat-old-20240115T020003Z-7ccb8878"
	steps := []report.Step{
		step("configuration", "read and pin the configuration", "", 3.2, .1, true, "plan version 1.0, target production"),
		step("configuration/frende/preflight", "check backup, space and place of frende", "prepare", 3.4, .2, false, "frende_config_backup_20240115_013000.tree"),
		step("configuration/frende/restore", "restore frende from 2024-01-15 01:30 (365 B)", "prepare", 3.6, .2, false, "3 files, 365 B"),
		step("configuration/frende/verify", "compare every restored file of frende with the backup", "prepare", 3.8, .1, false, "4 entries equal"),
		step("files/uploads/preflight", "check backup, space and place of uploads", "prepare", 3.4, .2, false, "uploads_file_backup_20240115_013000.tree"),
		step("files/uploads/restore", "restore uploads from 2024-01-15 01:30 (412.6 MiB)", "prepare", 3.6, 8.3, false, "18522 files, 412.6 MiB"),
		step("files/uploads/verify", "compare every restored file of uploads with the backup", "prepare", 11.9, 2.2, false, "18740 entries equal"),
		step("cache/sessions/preflight", "check backup, space and place of sessions", "prepare", 3.4, .2, false, "sessions_redis_backup_20240115_014500.rdb"),
		step("cache/sessions/restore", "restore sessions from 2024-01-15 01:45 (38.4 MiB)", "prepare", 3.6, 1.1, false, "38.4 MiB"),
		step("cache/sessions/verify", "load the restored sessions in an isolated server", "prepare", 4.7, 1.4, false, "54012 keys, 311 expired since"),
		step("database/frende/preflight", "check backup, WAL, version, space and place of frende", "prepare", 3.4, .4, true, "frende_db_backup_20240115_013000.base; WAL to 0/8D000000; the old server is missing"),
		step("database/frende/restore", "restore frende from 2024-01-15 01:30 (1.9 GiB)", "prepare", 3.8, 18.6, true, "1.9 GiB, 104.5 MiB/s"),
		step("database/frende/verify-files", "check the restored files of frende (pg_verifybackup)", "prepare", 22.4, 2.3, true, "1287 files"),
		step("database/frende/replay", "replay WAL of frende to 0/8D000000", "prepare", 24.7, 6.2, true, "replayed to 0/8D000000 on timeline 1, last commit 2024-01-15 01:59:38.191"),
		step("services-status", "note which services run", "fence", 31, .1, true, "backend running, frontend running"),
		step("stop-services", "stop services", "fence", 31.1, .9, true, "frontend stopped, backend stopped"),
		step("database/frende/fence", "fence the old frende", "fence", 32.1, .2, true, "the old server has no data directory: nothing to fence"),
		step("database/frende/terminate-connections", "terminate connections to frende and stop it", "fence", 32.3, .1, true, "the old server does not answer"),
		step("database/frende/salvage-wal", "salvage WAL from the old frende", "fence", 32.4, .1, true, "there is no old data directory to salvage from"),
		step("database/frende/replay-final", "replay the last WAL of frende", "fence", 32.5, .2, true, "replayed to 0/8D000000 on timeline 1, last commit 2024-01-15 01:59:38.191"),
		step("database/frende/verify", "count and check the content of frende", "fence", 32.7, 1.1, true, "users 1312 rows, matches 1311 rows, messages 38407 rows, 1 checks passed"),
		step("record-recovery-point", "record the recovery point", "fence", 33.9, .2, true, ""),
		step("configuration/frende/cut-over", "put the restored frende in place", "cut over", 34.2, .1, true, fmt.Sprintf(old, "config")),
		step("files/uploads/cut-over", "put the restored uploads in place", "cut over", 34.4, .1, false, fmt.Sprintf(old, "uploads")),
		step("cache/sessions/cut-over", "put the restored sessions in place and start it", "cut over", 34.4, 1.2, false, "53701 keys served; there was nothing in its place"),
		step("database/frende/cut-over", "put the restored frende in place and start it", "cut over", 34.4, 1.4, true, "there was nothing in its place"),
		step("database/frende/promote", "promote frende", "cut over", 35.8, .6, true, "timeline 2 from 0/8D000028"),
		step("migrate/frende", "migrate frende (frende)", "after", 36.6, .5, true, "took 412ms"),
		step("start-services", "start services", "after", 37.1, 3.4, true, "backend running, frontend running"),
		step("health-checks", "run health checks", "after", 40.5, .7, true, "3 checks passed"),
	}
	for i := range steps {
		s := &steps[i]
		switch s.ID {
		case "migrate/frende":
			s.Component = ""
		case "database/frende/restore":
			s.Bytes, s.Total, s.Rate = 2_040_109_466, 2_040_109_466, 109_683_304
		case "files/uploads/restore":
			s.Bytes, s.Total, s.Rate = 432_642_457, 432_642_457, 52_125_597
		case "cache/sessions/restore":
			s.Bytes, s.Total, s.Rate = 40_265_318, 40_265_318, 36_604_835
		}
	}
	clock := func(name string, objective time.Duration, took float64) report.Clock {
		return report.Clock{Name: name, Objective: duration(objective), Since: at(0), Took: seconds(took)}
	}
	application := clock("application", 10*time.Minute, 4.8)
	application.Since = at(36.4)
	point := func(component, backup string, from, until float64, rpo time.Duration) report.Point {
		kind, _, _ := strings.Cut(component, "/")
		return report.Point{Component: component, Kind: kind, Backup: backup, Time: at(from), Until: at(until), RPA: seconds(-from), Objective: duration(rpo), Proof: "L1"}
	}
	points := []report.Point{
		point("database/frende", "database-backups/2024/01/15/frende_db_backup_20240115_013000.base", -22, -22, time.Hour),
		point("cache/sessions", "redis-backups/2024/01/15/sessions_redis_backup_20240115_014500.rdb", -900, -899.9, time.Hour),
		point("files/uploads", "file-backups/2024/01/15/uploads_file_backup_20240115_013000.tree", -1800, -1790, 24*time.Hour),
		point("configuration/frende", "config-backups/2024/01/15/frende_config_backup_20240115_013000.tree", -1800, -1800, time.Hour),
	}
	points[0].LSN, points[0].Timeline = "0/8D000000", 1
	return &report.Run{
		System: "frende", ID: "recover/frende", RunID: "01a2094d-647f-7b08-95df-2cd5bb53b952", Kind: "RecoverSystem", Target: "production", By: "dba@frende.com",
		Phase: "recovered", Outcome: report.Succeeded, Disaster: at(0), Started: at(3.2), Finished: at(41.2), Objective: duration(time.Hour), Critical: seconds(37),
		Clocks: []report.Clock{
			clock("whole", time.Hour, 41.2), clock("critical", 30*time.Minute, 41.2), clock("database/frende", 15*time.Minute, 36.4),
			clock("cache/sessions", 15*time.Minute, 35.6), clock("files/uploads", 30*time.Minute, 34.5), clock("configuration/frende", 10*time.Minute, 34.3), application,
		},
		Steps: steps, Points: points,
		Approvals: []report.Approval{{Decision: "approve", By: "dba@frende.com", At: at(3.2)}},
		Checks: []report.Check{
			{Name: "database", OK: true, Latency: seconds(.014), Message: "true"},
			{Name: "cache", OK: true, Latency: seconds(.019), Message: "PONG"},
			{Name: "frontend", OK: true, Latency: seconds(.042), Message: `status 200, contains "Frende"`},
		},
	}
}

// later moves the steps that begin at a second or after it.
func later(r *report.Run, from, by float64) {
	shift := time.Duration(by * float64(time.Second))
	for i := range r.Steps {
		if s := &r.Steps[i]; !s.Started.Before(at(from)) {
			s.Started, s.Finished = s.Started.Add(shift), s.Finished.Add(shift)
		} else if s.Finished.After(at(from)) {
			s.Finished = s.Finished.Add(shift)
		}
	}
	for i := range r.Clocks {
		c := &r.Clocks[i]
		if c.Name == "application" {
			c.Since = c.Since.Add(shift)
		} else {
			c.Took += system.Duration(shift)
		}
		c.Breached = c.Took > c.Objective
	}
	r.Finished = r.Finished.Add(shift)
	r.Critical += system.Duration(shift)
	r.Breached = r.RTA(r.Finished) > time.Duration(r.Objective)
}

// breached waited an hour for a person, met a damaged chunk and a store that was
// away, and took longer than it may.
func breached() *report.Run {
	r := recovered()
	r.Approvals[0].At = at(3300)
	later(r, 20, 780) // the restore takes 13 minutes longer
	waited := 3300 - 811.0
	later(r, 811, waited)
	later(r, 3307, 380) // the services take their time
	i := slices.IndexFunc(r.Steps, func(s report.Step) bool { return s.ID == "services-status" })
	r.Steps = slices.Insert(r.Steps, i, report.Step{
		ID: "approve", Title: "wait until a person approves", Phase: "fence", Waited: true, Critical: true, Outcome: report.Succeeded, Started: at(811), Finished: at(3300),
	})
	for i := range r.Steps {
		switch s := &r.Steps[i]; s.ID {
		case "database/frende/restore":
			s.Attempts, s.Resumed = 3, 671_088_640
			s.Detail = "1.9 GiB, of which 640.0 MiB were there from an attempt that was cut off, 1 objects read from the replica, 2.4 MiB/s"
			s.Retried = "StorageUnavailable: get object database-backups/2024/01/15/frende_db_backup_20240115_013000.base/chunk/1/000041: storage does not answer"
		case "start-services":
			s.Attempts, s.Retried = 2, "ServiceFailed: start backend: service failed: exit status 1"
		}
	}
	r.Steps = append(r.Steps,
		report.Step{ID: "notice/1", Title: "50 % of the recovery time objective of database/frende (15m) have passed", Outcome: report.Succeeded, Started: at(450), Finished: at(450.1)},
		report.Step{ID: "notice/2", Title: "the recovery time objective of database/frende (15m) is breached; the recovery goes on", Outcome: report.Succeeded, Started: at(900), Finished: at(900.1)})
	r.Points[1].RPA, r.Points[1].Time, r.Points[1].Until, r.Points[1].Breached = seconds(5400), at(-5400), at(-5399.9), true
	r.Fallbacks = []report.Fallback{{Object: "database-backups/2024/01/15/frende_db_backup_20240115_013000.base/chunk/1/000003", Reason: "IntegrityError", From: "primary", To: "replica"}}
	return r
}

// failed met a chunk that is damaged in both regions, and took back what it did.
func failed() *report.Run {
	r := recovered()
	const damaged = "read database-backups/2024/01/15/frende_db_backup_20240115_013000.base/chunk/1-0d18e530/000002: stored data is damaged or not authentic: primary (s3://frende-db-backups in us-east-1): frame is damaged, out of place or not authentic; second-region (s3://frende-db-backups-replica in eu-west-1): frame is damaged, out of place or not authentic"
	r.Outcome, r.Phase, r.Checks, r.Points, r.Finished, r.Critical = report.Failed, "failed", nil, r.Points[1:], at(13.6), seconds(9.3)
	r.Steps = slices.DeleteFunc(r.Steps, func(s report.Step) bool { return s.Started.After(at(11)) || s.ID == "database/frende/verify-files" })
	for i := range r.Steps {
		switch s := &r.Steps[i]; s.ID {
		case "database/frende/restore":
			s.Outcome, s.Finished, s.Detail, s.Bytes, s.Rate = report.Failed, at(12.6), "", 1_020_054_733, 0
			s.Failure = &report.Failure{Step: s.ID, Kind: "IntegrityError", Message: damaged}
		case "files/uploads/restore":
			s.Outcome, s.Detail, s.Bytes, s.Total, s.Rate = report.Aborted, "", 0, 0, 0
		}
	}
	r.Steps = append(r.Steps,
		step("database/frende/discard", "remove what was restored of frende", "", 12.6, .4, false, ""),
		step("cache/sessions/discard", "remove what was restored of sessions", "", 12.8, .1, false, ""),
		step("files/uploads/discard", "remove what was restored of uploads", "", 12.9, .6, false, ""))
	r.Failures = []report.Failure{{
		Kind: "IntegrityError", Message: "IntegrityError: " + damaged,
		Hint: "no store holds a good copy: recover from an older backup (lifeboat backups list, then --to backup:KEY); trust nothing that needs this object",
	}}
	for i := range r.Clocks {
		r.Clocks[i].Took, r.Clocks[i].Open = seconds(13.6), true
	}
	r.Clocks = r.Clocks[:6]
	return r
}

// aborted was called off while it waited for a person.
func aborted() *report.Run {
	r := recovered()
	r.Outcome, r.Phase, r.Checks, r.Finished, r.Critical = report.Aborted, "aborted", nil, at(95), seconds(91)
	r.Steps = slices.DeleteFunc(r.Steps, func(s report.Step) bool { return s.Phase != "prepare" && s.ID != "configuration" })
	r.Steps = append(r.Steps, report.Step{
		ID: "approve", Title: "wait until a person approves", Phase: "fence", Waited: true, Critical: true, Outcome: report.Aborted, Started: at(30.9), Finished: at(94.2),
	}, step("database/frende/discard", "remove what was restored of frende", "", 94.3, .5, false, ""))
	r.Failures = []report.Failure{{Kind: "Aborted", Message: "Aborted: recover frende: aborted by an operator"}}
	r.Approvals = []report.Approval{{Decision: "abort", Step: "it came back by itself", By: "cto@frende.com", At: at(94.2)}}
	for i := range r.Clocks {
		r.Clocks[i].Took, r.Clocks[i].Open = seconds(95), true
	}
	r.Clocks = r.Clocks[:6]
	return r
}

// running is in the middle of its restore.
func running() *report.Run {
	r := recovered()
	r.Outcome, r.Phase, r.Finished, r.Critical, r.Points, r.Checks, r.Clocks = "", "preparing", time.Time{}, 0, nil, nil, nil
	r.Steps = slices.DeleteFunc(r.Steps, func(s report.Step) bool { return s.Started.After(at(15)) })
	for i := range r.Steps {
		if s := &r.Steps[i]; s.Finished.After(at(15)) {
			s.Finished, s.Outcome, s.Detail, s.Bytes, s.Rate = time.Time{}, "", "", 1_224_065_680, 109_683_304
		}
	}
	r.Steps = append(r.Steps, report.Step{ID: "database/frende/verify-files", Component: "database/frende", Title: "check the restored files of frende (pg_verifybackup)", Phase: "prepare"})
	return r
}

// backedUp is a backup of a whole system.
func backedUp() *report.Run {
	return &report.Run{
		System: "frende", ID: "backup/frende/20240115T020000Z", RunID: "01a2094d-1c02-7001-8f3e-b251ebeff5b9", Kind: "BackupSystem", By: "schedule", Phase: "done",
		Outcome: report.Succeeded, Started: at(0), Finished: at(31.4),
		Steps: []report.Step{
			step("configuration", "read and pin the configuration", "", 0, .1, false, "plan version 1.0"),
			step("database/frende/preflight", "check server, rights and archiving of frende", "", .3, .2, false, "1.9 GiB"),
			step("database/frende/base-backup", "base backup of frende (1.9 GiB)", "", .5, 17.2, false, "database-backups/2024/01/15/frende_db_backup_20240115_020000.base"),
			step("database/frende/read-back", "read back every byte of database-backups/2024/01/15/frende_db_backup_20240115_020000.base", "", 17.7, 6.1, false, "L1: 611.3 MiB in 64 objects"),
			step("database/frende/record", "record the backup of database/frende", "", 23.8, .2, false, ""),
			step("cache/sessions/rdb", "RDB of sessions (54012 keys)", "", .4, 2.2, false, "redis-backups/2024/01/15/sessions_redis_backup_20240115_020000.rdb"),
			step("cache/sessions/read-back", "read back every byte of redis-backups/2024/01/15/sessions_redis_backup_20240115_020000.rdb", "", 2.6, .5, false, "L1: 21.0 MiB in 4 objects"),
			step("replicate", "copy primary to replica", "", 24.2, 7.1, false, "70 objects, 632.3 MiB"),
		},
		Backups: []report.Backup{
			{Component: "database/frende", Key: "database-backups/2024/01/15/frende_db_backup_20240115_020000.base", Bytes: 2_040_109_466, Stored: 640_994_508, From: at(.6), To: at(17.5), LSN: "0/8D000000", Proof: "L1"},
			{Component: "cache/sessions", Key: "redis-backups/2024/01/15/sessions_redis_backup_20240115_020000.rdb", Bytes: 40_265_318, Stored: 22_020_096, From: at(.5), To: at(.5), Proof: "L1"},
		},
	}
}

// many has as many components as its recovery has ten steps.
func many(components int) *report.Run {
	one := recovered()
	r := recovered()
	r.Steps, r.Points = r.Steps[:1], nil
	for n := range components {
		name := fmt.Sprintf("database/shard-%02d", n)
		r.Clocks = append(r.Clocks, report.Clock{Name: name, Objective: duration(15 * time.Minute), Since: at(0), Took: seconds(36.4)})
		r.Points = append(r.Points, one.Points[0])
		r.Points[n].Component = name
		kept := 0
		for _, s := range one.Steps {
			if s.Component == "database/frende" && kept < 10 {
				s.Component, s.ID = name, name+strings.TrimPrefix(s.ID, "database/frende")
				shift := time.Duration(n) * 50 * time.Millisecond
				s.Started, s.Finished = s.Started.Add(shift), s.Finished.Add(shift)
				s.Critical = s.Critical && n == 0
				r.Steps = append(r.Steps, s)
				kept++
			}
		}
	}
	return r
}

// longNames has what nobody should call anything.
func longNames() *report.Run {
	r := recovered()
	name := "database/" + strings.Repeat("customer-records-of-the-northern-region-", 4)
	for i := range r.Steps {
		if s := &r.Steps[i]; s.Component == "database/frende" {
			s.Component, s.Title = name, strings.ReplaceAll(s.Title, "frende", strings.Repeat("x", 120))
		}
	}
	r.Clocks[2].Name, r.Points[0].Component, r.System = name, name, strings.Repeat("frende", 12)
	r.Points[0].Backup = "database-backups/2024/01/15/" + strings.Repeat("n", 200) + ".base"
	r.Checks[0].Message = strings.Repeat("a very long message ", 20)
	return r
}

// rehearsed is a drill: it begins before its recovery, and clears up after it.
func rehearsed() *report.Run {
	r := recovered()
	r.ID, r.Kind, r.Target, r.By, r.Disaster, r.Started, r.Critical = "drill/frende/2024-Q1", "DrillSystem", "sandbox", "schedule", time.Time{}, at(0), 0
	r.Recovery, r.Approvals, r.Finished = "recover/frende/target/sandbox", nil, at(48)
	r.Clocks = []report.Clock{{Name: report.ClockWhole, Objective: duration(time.Hour), Since: at(3), Took: seconds(38.2)}}
	r.Steps = []report.Step{
		step("configuration", "read and pin the configuration", "", 0, .1, false, "plan version 1.0"),
		step("make-sandbox", "make the sandbox /srv/rehearsal/frende", "", .1, .2, false, ""),
		step("database/frende/observe-before", "look at production's frende, before", "", .1, .1, false, "pid 4711, timeline 1"),
		step("database/frende/reference", "take from frende what it holds at one position of the WAL", "", .3, 1.2, false, "7 tables and sequences, at the end of 00000001000000000000008C"),
		step("second-region", "bring what is new to dr", "", 1.5, 1.4, false, "3 objects copied"),
		step("recover", "recover frende into sandbox from dr", "", 3, 38.2, false, "RTA 38.2s"),
		step("clear-sandbox", "remove the sandbox /srv/rehearsal/frende", "", 41.2, 6.8, false, "nothing is left behind"),
	}
	for i := range r.Steps {
		if s := &r.Steps[i]; s.Component == s.ID || !strings.Contains(s.ID, "/") {
			s.Component = ""
		}
	}
	for i := range r.Points {
		p := &r.Points[i]
		p.Proof, p.Bytes, p.Rate = "L1", int64(100+i)<<20, int64(40+i)<<20
	}
	r.Points[3].Bytes, r.Points[3].Rate = 365, 0
	r.Checks = append(r.Checks,
		report.Check{Name: "database/frende equals production's", OK: true, Message: "rows and digest of 7 tables and sequences, at the end of 00000001000000000000008C"},
		report.Check{Name: "nothing left behind", OK: true, Message: "no file, no process, no port"},
		report.Check{Name: "production untouched", OK: true, Message: "3 servers and services are what they were: cache/sessions running, pid 4712, role master, run 4f1c0a; " +
			"database/frende running, archiving directory true, failures to archive 0, pid 4711, started 2024-01-14 09:12:44 +0000 UTC, system identifier 7300000000000000001, timeline 1; service/backend running"},
	)
	r.Notes = []string{"files/uploads was not compared with production"}
	return r
}
