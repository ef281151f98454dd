// Package ledger keeps records that can be added and never changed: runs,
// recovery points, proofs and backups.
//
// Each writer has a chain of objects, ledger/<writer>/<number>, put with
// If-None-Match. An object is JSON: {"record": …, "signature": …}. The record
// holds the SHA-256 of the object before it, so that an altered, replaced or
// removed record breaks the chain, and its body is sealed when the ledger has
// keys: subject and kind can be listed by anyone who can read the bucket, the
// body can't be read.
//
// It promises:
//
//   - Append with an id that this writer used within Config.Lookback adds
//     nothing and gives the record that is there: a step may be repeated.
//   - Appenders of one writer, in any number of processes, never share a number.
//   - Verify names the first object at which a chain is broken. Records cut off
//     the end are seen against a Head that someone kept; each Ledger keeps the
//     last one it saw.
//   - Find steps over records that can't be read, and tells which.
//   - Append needs no whole chain: a damaged ledger is for Verify to report and
//     never stops a recovery from being recorded.
package ledger
