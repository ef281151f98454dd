// Package replicate copies a store to its replica in another region: what a
// manifest names before the manifest, WAL and ledger in their order, and never a
// deletion. It moves sealed bytes and needs no key.
//
// It promises that a replica is at every moment a store to recover from: each
// backup that has its manifest there is complete, and WAL and ledger are unbroken
// as far as they go. It may be interrupted anywhere and run again.
package replicate
