package doctor_test

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/frende/lifeboat/internal/doctor"
	"github.com/frende/lifeboat/internal/system"
)

func TestProofsThatNoScheduleStartsAreTold(t *testing.T) {
	found := shared.examine(t, func(s *system.System) { s.Schedules = s.Schedules[:1] }, doctor.Configuration)
	f := found.is(t, "configuration/database/orders/proofs", doctor.Warning, "no schedule proves the newest backup, nor an older one, nor that every backup is still there",
		"{name: proof-daily-orders, workflow: VerifyBackup, of: orders, level: 3, cron: 30 4 * * *}")
	require.Contains(t, f.Mend, "random: true")
	require.Contains(t, f.Mend, "level: 0, every: 1h")

	found = shared.examine(t, func(s *system.System) {
		s.Databases[0].Compare = system.CompareNone
		two := 2
		s.Schedules[1].Level, s.Schedules[2].Level = &two, &two
	}, doctor.Configuration)
	require.Equal(t, doctor.OK, found.found(t, "configuration/database/orders/proofs").Status, "there is nothing that L3 could compare with")

	found = shared.examine(t, func(s *system.System) { s.Schedules[2].Of = "other" }, doctor.Configuration)
	found.is(t, "configuration/database/orders/proofs", doctor.Warning, "no schedule proves an older one", "proof-weekly-orders")
}

func TestScheduledDumpsNeedTheirProgramsAndAreHeldAgainstTheirSchedule(t *testing.T) {
	const programs, dump = "tools/database/orders/dump programs", "backups/database/orders/dump"
	found := shared.examine(t, nil, doctor.Tools, doctor.Backups)
	require.Equal(t, doctor.OK, found.found(t, programs).Status)
	require.Equal(t, doctor.OK, found.found(t, dump).Status)

	bin := t.TempDir()
	for _, program := range []string{"pg_dump", "pg_dumpall", "pg_restore", "psql"} {
		require.NoError(t, os.WriteFile(filepath.Join(bin, program), []byte("#!/bin/sh\necho 'pg_dump (PostgreSQL) 14.9'\n"), 0o755))
	}
	older := shared.examine(t, func(s *system.System) { s.Databases[0].BinDir = bin }, doctor.Tools)
	older.is(t, programs, doctor.Problem, "found only 14 in "+bin, "postgresql-client-15")
	missing := shared.examine(t, func(s *system.System) { s.Databases[0].BinDir = t.TempDir() }, doctor.Tools)
	missing.is(t, programs, doctor.Problem, "pg_dump with pg_dumpall, pg_restore and psql is not installed", "postgresql-client-15")

	c := shared.config(t, nil)
	c.Now = func() time.Time { return time.Now().Add(72 * time.Hour) }
	x := doctor.New(c)
	defer x.Close()
	late := examined{x.Run(t.Context(), doctor.Backups)}
	late.is(t, dump, doctor.Warning, "the newest is 3 days old; schedule dump was due on", "lifeboat backup database orders --dump")

	never := shared.examine(t, func(s *system.System) {
		other := s.Databases[0]
		other.Name = "invoices"
		s.Databases = append(s.Databases, other)
		s.Schedules[4].Of = ""
	}, doctor.Backups)
	never.is(t, "backups/database/invoices/dump", doctor.Warning, "no dump was ever taken, and schedule dump wants them", "lifeboat backup database invoices --dump")

	none := shared.examine(t, func(s *system.System) { s.Schedules = s.Schedules[:4] })
	for _, f := range none.Findings {
		require.NotContains(t, []string{programs, dump}, f.ID(), "nobody wants a dump")
	}
}
