// Package postgres is all that Lifeboat says to a PostgreSQL server, and all
// it does to a server's files.
//
// It promises:
//
//   - A base backup is what the server itself streams and has checked: all
//     tablespaces, page checksums verified, with the server's own manifest.
//   - A restored directory is never promoted by itself: it starts as a standby,
//     its timeline pinned, and stays one until Promote is called.
//   - A staged server is alone: it listens on a private socket only, archives
//     nothing, follows no primary and runs as the owner of its files.
//   - A fence can be undone, also after the process that raised it has died.
//
// Written for PostgreSQL 15 to 18 and tried on 15. PostgreSQL 14 and older
// speak another base backup protocol and are refused by name (Unsupported).
package postgres
