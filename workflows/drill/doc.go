// Package drill rehearses the recovery of a whole system: RecoverSystem itself,
// into a sandbox, from the second region alone, beside the living production.
//
// A drill takes from production what its databases hold at one position of their
// WAL, recovers to that position, and compares; runs the application in the
// sandbox and asks what its checks ask; shows that production is what it was; and
// leaves nothing behind, however it ends.
package drill
