// Command demo is a disaster and the recovery from it, on real servers:
//
//	make demo [CHAOS=worker|temporal|chunk|chunks] [DISASTER=region|drop-table|drill] [KEEP=1] [ARGS="-seed 7 …"]
//
// It starts PostgreSQL, Redis, two S3 regions and Temporal under .lab, runs
// Frende on them, fills it, lets an oracle write through it all the while, backs
// it up with Lifeboat, lets some time pass, kills the servers and deletes their
// data at a random moment, recovers everything with Lifeboat, and asks the oracle
// what is missing. It drives Lifeboat by its commands, as a user would.
//
// The last line begins with RECOVERED, and the exit code is 0, only when the
// oracle agrees. Otherwise it begins with NOT RECOVERED and says why, and the
// exit code is 1.
//
// CHAOS=worker kills the worker, CHAOS=temporal the Temporal server, when
// between 20 % and 80 % of the database is restored. CHAOS=chunk damages a chunk
// of the backup in one region. CHAOS=chunks damages it in both, so that nothing
// can be recovered: then the old directories are left in place, and it is shown
// that nothing of them was harmed. It ends as it must, with exit code 1.
//
// DISASTER=region loses the primary region's store, too: the system comes back
// from the second region alone. DISASTER=drop-table kills nothing: somebody drops
// a table, Frende goes on without it, and the database alone goes back to the time
// of the accident, which PostgreSQL's log tells. DISASTER=drill destroys nothing: it rehearses the
// recovery in a sandbox beside the living system, and its last line begins with
// REHEARSED.
package main
