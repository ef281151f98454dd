// Package histories holds recorded histories of workflows, one folder for each
// release. Its test replays all of them: a change that would make a running
// recovery forget what it did is seen before it is released.
package histories
