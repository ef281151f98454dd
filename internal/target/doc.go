// Package target is where a recovery goes: a directory on this host that is
// locked, filled beside, and swapped.
//
// It promises:
//   - A recovery works in a sibling of the directory it recovers (Staging), on
//     the same file system, so that putting it in place is a rename.
//   - Swap never deletes. The old directory is kept beside the new one (Aside)
//     until Expire removes it; Undo puts it back, and keeps the other.
//   - Swap and Undo write down what they are about to do before they do it. A
//     crash between any two of their steps is finished by calling them again
//     with the same run, and calling them once more changes nothing.
//   - Where a directory is told by its inode, not by its name: a directory that
//     somebody else moved or made meanwhile is refused, never overwritten.
//   - A lock outlives the process that took it, so that a retried attempt finds
//     its own, and another run finds who holds it and since when.
//
// Names beside a directory "main", for a run "recover/frende/database/frende":
//
//	main.lifeboat-lock                       who recovers it now
//	main.lifeboat-new-recover-frende-…       Staging
//	main.lifeboat-old-recover-frende-…       Aside
//	main.lifeboat-swap-recover-frende-…      journal of Swap, or of Undo
package target
