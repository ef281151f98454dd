// Package torture runs the rows of the reliability table: a fault, tried again
// and again, each time a little differently. Only tests import it.
//
// A row is tried a few times with every `go test`, and at its full count when
// LIFEBOAT_TORTURE=full. Every choice that a trial makes comes from one seed,
// LIFEBOAT_SEED or a new one, which is told when a trial fails: the same seed
// and the trial's number make the same choices again. What was tried is
// appended to the file that LIFEBOAT_TORTURE_REPORT names, so that counts,
// seeds and failures can be published.
package torture
