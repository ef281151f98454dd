// Package command runs other programs; no other package of Lifeboat does.
//
// It promises:
//   - A program gets an argument vector, never a shell line.
//   - Its environment is what Config.Env says, or Base: nothing is inherited
//     by accident.
//   - It runs in a process group of its own. When the context ends, when Stop
//     is called, or when the program exits, the whole group ends with it,
//     unless Config.Daemon says that it leaves a server behind.
//   - With Config.PIDFile a record of the process is on disk while it runs, so
//     that the attempt after a killed worker can end what is left (EndLeftover).
//   - Captured output is bounded. Values in Config.Secrets are replaced in all
//     output but Config.Stdout, which is data.
//   - An error names the program and its exit status, never its arguments, and
//     holds at most one short redacted line of what it said.
package command
