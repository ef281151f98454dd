// Package plan is the recovery plan: the dependency graph of the steps that
// bring a system back, made from the configuration alone, before anything is
// touched.
//
// It promises an order in which the steps of one phase need those of the phases
// before it: everything is restored and proven beside the living system, then a
// person approves, then services stop and old instances are fenced, and no
// component is cut over before every one is ready. All functions are pure.
package plan
