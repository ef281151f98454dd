// Command oracle is the witness of a recovery. It shares nothing with what it
// judges: it imports no package of Lifeboat, writes through the application as
// any user would, and later looks at PostgreSQL, Redis and the disk itself.
//
//	oracle record --config DIR --app URL --log FILE
//	oracle judge  --config DIR --log FILE --restored-lsn LSN [--restored-time FROM,TO] --cache-window FROM,TO --files-window FROM,TO
//
// record writes numbered rows, keys and files until it is told to stop
// (SIGTERM). Their contents follow from their number. Each write that the
// application acknowledged is logged and synced with the time and the WAL
// insert position before and after it. The log starts with a digest of all
// that was there before, and of every configuration file.
//
// judge asks whether what came back is what had to: every row whose "after" is
// not past the restored LSN is there, with equal contents; none is there whose
// "before" is past it; those that straddle it are counted apart; and what
// survived of a stream has no gap. With --restored-time the rows are judged once
// more, by their times: whoever chose a time need not believe which position it
// was. Keys and files are judged alike, by the times between which their backup
// was captured. It prints a verdict in JSON and exits 0 when it agrees, 1 when it
// does not, 2 when it could not judge.
package main
