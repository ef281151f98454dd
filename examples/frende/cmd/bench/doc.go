// Command bench measures the figures that Lifeboat promises:
//
//	make bench [ARGS="-only NAME,NAME -runs 5 …"]
//
// It prints the machine, and one line for each figure:
//
//	bench NAME value=… unit=… must=… aim=…
//	bench NAME ratio=… must=… aim=…
//
// Less is better, but for rates (unit=…/s), which must be at least what they say. Lines that begin with # say how a figure came
// about. The exit code is 1 when a figure misses what it must be, or could not
// be measured, and all the others are printed all the same.
//
//   - demo: make demo from warm caches, as a user runs it.
//   - recovery_overhead: what RecoverSystem took in that demo beyond the critical
//     path of its activities. These count from start to completion as Temporal's
//     history has them, so all that lies between two activities is overhead.
//   - status: how long lifeboat status takes in the demo's lab; median of runs.
//   - replication_lag: the longest that an object is in one region only, as the two
//     stores tell, while ReplicateStore follows, four writers write, WAL segments end
//     every two seconds and the system is backed up.
//   - drill: what DrillSystem took, from its start to its end, over what that
//     recovery took; median of runs. It reads the second region alone.
//   - resumption: from kill -9 of the worker in the middle of a restore until the
//     next attempt has written more than there was; the longest of the runs.
//   - memory_backup, memory_verify: peak resident memory of a worker that backs
//     up, and then reads back, a stream generated on the fly, while it makes full
//     backups of all four kinds again and again.
//   - backup_pgbackrest, restore_pgbackrest: Lifeboat's time over pgBackRest's,
//     medians of runs that take turns on one cluster and one S3 server over TLS.
//     Lifeboat's counts from the start of the workflow to the end of the step that
//     does the same: the committed backup, the restored and fsynced directory.
//     What Lifeboat does besides (the proof L1, the check of the restored files,
//     the replay) is in the # lines.
//   - delta_restore: a restore over a directory that holds what was backed up already,
//     over pgBackRest's --delta; medians of runs that take turns. Lifeboat's is the
//     step that restores beside that directory what differs from it by content, and
//     copies the rest from there, fsynced.
//   - wal_push_p50: what archive_command takes for one WAL segment when no other
//     waits: the median of calls of lifeboat-wal, which asks the worker.
//   - wal_push_sustained: how fast PostgreSQL gets rid of many segments that wait,
//     from when it is told the command until it believes the last one archived.
//   - wal_fetch_sustained: how fast restore_command delivers segments to a server
//     that would replay them in no time, while a recovery's look-ahead runs.
//   - replay: how long a server replays those segments through lifeboat-wal, over
//     how long it does from a local directory (cp); medians of runs that take turns,
//     each from the start of the server until it has replayed all.
//   - dump, restore_dump: Lifeboat's time over that of the plan's scripts, pg_dump | gzip
//     into a file, and gunzip | psql into an empty database, medians of runs that take
//     turns. Lifeboat's, in the custom format, counts from the start of the workflow to
//     the dump that is committed in the store, counted and digested; and to the restored
//     database. That it equals what was dumped is proven after that, and stands in the
//     # lines, as does the format sql.gz.
//   - report_html_200_steps, report_html_200_steps_size: to tell the record of a
//     recovery of 200 steps as an HTML page, and how large that is; median of runs.
package main
