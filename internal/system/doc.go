// Package system is the protected system as configured: what one lifeboat.yaml
// says, parsed strictly, defaulted and validated.
//
// Load and Parse report everything that is wrong at once, each finding with its
// file, line, column and a hint; a System that they return can be used without
// further questions. A System holds references to secrets (SecretRef) and never
// a secret, so it may travel through Temporal and stand in its histories: its
// JSON form only ever gains fields.
//
// Nothing here changes a host. ForTarget, Components and the look-ups are pure.
package system
