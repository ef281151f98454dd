// Package s3 keeps objects in an S3 bucket: AWS or any server that speaks its protocol.
//
// It promises what store.Store does, and:
//
//   - A body is one buffer, and its CRC-32C is what the server must find, on every
//     try. Without TLS its SHA-256 is signed, too.
//   - Errors that may pass (5xx, SlowDown, resets, stalls, an answer cut off) are
//     tried again, with growing random pauses, up to Config.Retry.Attempts tries
//     in all. What is left is one StorageUnavailable.
//   - A body that ends early is resumed by range, of the same version by its
//     ETag, within the same number of tries. A short read never looks like the end.
//   - A connection on which no byte moves for Config.Stall is given up.
package s3
