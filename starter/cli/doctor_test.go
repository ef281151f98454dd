package cli

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/frende/lifeboat/internal/doctor"
	"github.com/frende/lifeboat/internal/fault"
	"github.com/frende/lifeboat/internal/system"
)

func TestAnExaminationIsToldWithTheWorstLast(t *testing.T) {
	report := doctor.Report{
		System: "shop", Took: system.Duration(1300 * time.Millisecond), OK: 3, Warnings: 1, Problems: 2, Unknown: 3,
		Findings: []doctor.Finding{
			{Area: doctor.Keys, Subject: "file:/k", Check: "permissions", Status: doctor.OK, What: "mode 0600", Fixed: "chmod 600 /k"},
			{Area: doctor.Stores, Subject: "primary", Check: "reachable", Status: doctor.Problem, What: "no connection", Why: "nothing works", Mend: "first\nsecond"},
			{Area: doctor.Stores, Subject: "primary", Check: "list", Status: doctor.Unknown, What: "not examined", Because: "stores/primary/reachable"},
			{Area: doctor.Stores, Subject: "primary", Check: "put", Status: doctor.Unknown, What: "not examined", Because: "stores/primary/reachable"},
			{Area: doctor.Files, Subject: "files/uploads", Check: "root", Status: doctor.OK, What: "/u can be read"},
			{Area: doctor.Files, Subject: "files/uploads", Check: "swap", Status: doctor.OK, What: "/u can be replaced"},
			{Area: doctor.Temporal, Subject: "default", Check: "retention", Status: doctor.Warning, What: "31 days", Why: "evidence", Mend: "raise it", Fix: "raise it"},
			{Area: doctor.Services, Subject: "app", Check: "running", Status: doctor.Problem, What: "it is stopped", Fixed: "could not start it: no"},
			{Area: doctor.Backups, Subject: "files/uploads", Check: "newest", Status: doctor.Unknown, What: "not examined", Because: "stores/primary/reachable"},
		},
	}
	var told strings.Builder
	require.NoError(t, tellExamination(&told, report, false))
	require.Equal(t, `keys           1 check ok
stores         0 of 3 checks ok
files          2 checks ok
temporal       0 of 1 check ok
services       0 of 1 check ok
backups        0 of 1 check ok

FIXED    keys/file:/k/permissions
         chmod 600 /k; now: mode 0600

WARNING  temporal/default/retention
         31 days
   why   evidence
   mend  raise it
   fix   lifeboat doctor --fix would raise it

UNKNOWN  not examined because of stores/primary/reachable: 3 checks
         2 of stores, 1 of backups

PROBLEM  stores/primary/reachable
         no connection
   why   nothing works
   mend  first
         second

PROBLEM  services/app/running
         it is stopped
   fix   could not start it: no

shop: 3 ok, 1 warning, 2 problems, 3 not examined, in 1.3s
`, told.String())

	require.Equal(t, "mend the problems first: what was not examined depends on them", fault.HintOf(unhealthy(report)))
	report.Unknown = 0
	require.Equal(t, "mend each as it says, and examine again", fault.HintOf(unhealthy(report)))
	report.Unknown = 3
	told.Reset()
	require.NoError(t, tellExamination(&told, report, true))
	require.Contains(t, told.String(), "files          2 checks ok\n  files/uploads, root: /u can be read\n  files/uploads, swap: /u can be replaced\n")
	require.Contains(t, told.String(), "3 checks\n         stores/primary/list\n         stores/primary/put\n         backups/files/uploads/newest\n")
}
