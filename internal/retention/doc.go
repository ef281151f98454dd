// Package retention decides which finished backups and WAL are needed no longer,
// says of everything else why it is kept, and removes what goes.
//
// It promises:
//
//   - Nothing goes while one of the two stores, a manifest, a timeline's history or
//     a record of the ledger can't be read, or a clock differs from the stores'.
//   - A component keeps its anchor: the newest backup that ended before the retention
//     began, is whole in both stores and is proven by a restore (L3; files: by its
//     structure, L2); one for each timeline that a point within the retention lies on.
//     It keeps all that is newer, all that is held, and two proven backups.
//   - WAL goes only below what the oldest kept base backup needs, on every timeline.
//   - An object that a kept manifest names stays, whoever's folder it lies in.
//   - The primary store goes first, and only what the replica holds; the replica by
//     the same rules, and only what the primary store has no longer.
//   - A manifest goes before what it names, so that nothing half removed can be taken
//     for a backup. It may be cut off anywhere, and the next run goes on.
package retention
