// Package recovery brings components back: each beside the living system
// first, all of them in place together afterwards.
//
// A recovery is a coordinator (RecoverSystem, RecoverDatabase, …) with one child
// per component. A child passes three gates, and only when the coordinator opens
// them: prepared, ready, done (docs/adr/0001). Until the gate "done" is opened
// everything can be undone, and is, when anything fails or an operator aborts;
// from then on the only way is forward.
package recovery
