// Package status holds a system's objectives against reality: what could be
// recovered now, from the first store and from its replica, how far that is
// proven, what is overdue and what is wrong.
//
// It promises:
//
//   - Look starts nothing and writes nothing.
//   - It ends in seconds, whatever hangs. What gave no answer is named as such,
//     and everything else is told.
//   - Nothing is said better than it is known: an age that can't be known
//     exactly is marked as the least that it can be.
package status
