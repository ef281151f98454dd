// Package window says how far back a database can be recovered: which base
// backups there are, what the WAL archive holds behind each, where WAL is
// missing, which timelines came from which; and it chooses, for one point, the
// base backup and the timeline that lead there.
//
// It promises:
//
//   - A point is refused (PointUnreachable), and the window told, before anything
//     is touched, when no backup ended before it, WAL is missing on the way, or
//     the archive does not tell of a time after it.
//   - Positions are exact. The end of a window in time is that of the last
//     transaction in the archived WAL, read from it; its beginning is when the base
//     backup had ended, by the clock of the host that took it.
//   - The timeline of a time is the one that was the cluster's then. What an older
//     timeline wrote after it was left belongs to no time, and is reached by naming
//     a backup of it.
package window
