// Package report tells a run: as plain text for a terminal, as Markdown, as one
// HTML file with a chart of its steps, and as JSON.
//
// Run is the record that is told. It is filled by the workflow while it runs,
// so every rendering also works for a run that goes on. A rendering is a pure
// function of the record and a moment: the same record gives the same bytes,
// and no rendering invents a figure that the record does not hold. All forms
// but JSON are made of the same document, so that they tell the same.
package report
