// Package files holds the activities that back up and recover a directory of
// files: a file set (uploads) or a configuration set. The two differ in the
// folder of the store that their backups lie in, and in nothing else.
//
// Every activity may run twice, at once or one after the other, and leaves the
// same: a backup belongs to one RunID, a restore resumes what an earlier attempt
// wrote, a cut-over that has happened is a success. Nothing in the live
// directory is touched before CutOver.
package files
