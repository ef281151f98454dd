// Package s3 keeps objects in an S3 bucket: AWS or any server that speaks its protocol.
//
// It promises what store.Store does, and:
//
//   - A body is one buffer that is hashed once; the hash is both the signed
//     payload hash and the checksum that the server must find, on every try.
//   - Errors that may pass (5xx, SlowDown, resets, stalls, an answer cut off) are
//     tried again, with growing random pauses, up to Config.Retry.Attempts tries
//     in all. What is left is one StorageUnavailable.
//   - A body that ends early is resumed by range, of the same version by its
//     ETag, within the same number of tries. A short read never looks like the end.
//   - A connection on which no byte moves for Config.Stall is given up.
package s3
