// Package doctor examines a protected system before the disaster: its
// configuration, keys, stores, servers, tools, disk space, Temporal, services
// and backups.
//
// It promises:
//
//   - Every check has a time limit, and the examination has one: a server or a
//     file system that hangs is a finding. Nothing stops at the first.
//   - A check that another one is the condition of says so when that one failed,
//     instead of telling the same fault again.
//   - A finding says what was found and, unless it is well, why that matters and
//     how it is mended.
//   - It changes nothing but a probe of its own in each store, under
//     store.ProbeFolder, which it removes when it may. [Examination.Fix] mends what
//     is safe: modes of secret files, Temporal's retention, old probes. What it
//     mended is looked at again before it is called so.
//   - No secret stands in a finding, not in a quoted line of a log either.
package doctor
