// Package api is all that a caller of Lifeboat's workflows needs: the names of
// their types, their inputs and results, the task queue, the IDs, and the
// queries, updates and signals they answer.
//
// Every workflow can be started with {} or with no input at all; what is left
// out is defaulted inside. A field that does not exist is refused with
// InputInvalid: a typo must not turn a recovery into another one.
package api
