// Package vault keeps backups in a store: cut into chunks, compressed, sealed,
// written in parallel, and read back from whichever region still has them.
//
// What is promised:
//   - A backup exists when its manifest does, and the manifest is written last.
//     Work that is interrupted leaves a backup that is incomplete and unusable.
//   - Begin and Commit may be repeated under one run id: one manifest comes of it.
//     An attempt that was given up for dead can't mix its bytes in.
//   - What is read is what was written, or an error: IntegrityError names the
//     object that is damaged, swapped, replayed, truncated or foreign.
//   - Reading goes to the replica, object by object, when the primary store has
//     lost, refuses or damaged one, and says so to Config.OnFallback.
//   - Memory is bounded by one Budget for the whole process, whatever is read and
//     written at once. See Budget for why waiting for it can't deadlock.
//
// The bytes are those of docs/FORMAT.md.
package vault
