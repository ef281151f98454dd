// Package report tells a run: as Markdown, as plain text for a terminal, and
// as JSON.
//
// Run is the record that is told. It is filled by the workflow while it runs,
// so every rendering also works for a run that goes on. A rendering is a pure
// function of the record and a moment: the same record gives the same bytes,
// and no rendering invents a figure that the record does not hold.
package report
