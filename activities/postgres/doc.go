// Package postgres holds the activities that back up and recover a PostgreSQL
// cluster.
//
// A backup is the server's own base backup, and counts only when the WAL up to
// its end was read back from the store. A recovery restores beside the living
// directory, proves the files, replays in a server that is alone and is never
// promoted, and touches the old server in Fence at the earliest. What Fence,
// TerminateConnections and SalvageWAL do, Unfence and Discard undo; from CutOver
// on the only way is forward, and the old directories are kept beside.
//
// Every activity may run twice, one after the other or because a worker was
// killed in the middle, and leaves the same.
package postgres
