package fault

// Kind names a fault. The names are part of the public face: they stand in
// Temporal histories, in reports and in --json output, and never change.
type Kind string

// Definition is what holds for every fault of one kind.
type Definition struct {
	Summary   string // what it means, lower case, no trailing dot
	Hint      string // what to do, when the place that raised it knows nothing better
	Retryable bool   // whether the same attempt may succeed later by itself
	Exit      int    // exit code of the lifeboat command
}

// Exit codes of the lifeboat command, besides 0. wal-fetch has its own contract.
const (
	ExitFailed      = 1 // the work was tried and failed
	ExitUsage       = 2 // the command line or the configuration is wrong; nothing was done
	ExitNotFound    = 3 // what was named does not exist
	ExitUnavailable = 4 // a server that is needed can't be reached; try again later
	ExitIntegrity   = 5 // stored data is damaged, or its key is missing or wrong
	ExitRefused     = 6 // doing it would be dangerous; nothing was touched
)

// The kinds.
const (
	ConfigInvalid     Kind = "ConfigInvalid"
	InputInvalid      Kind = "InputInvalid"
	NameUnknown       Kind = "NameUnknown"
	SecretUnavailable Kind = "SecretUnavailable"
	KeyUnavailable    Kind = "KeyUnavailable"
	KeyWrong          Kind = "KeyWrong"

	StorageUnavailable Kind = "StorageUnavailable"
	StorageDenied      Kind = "StorageDenied"
	StorageMissing     Kind = "StorageMissing"
	ObjectMissing      Kind = "ObjectMissing"
	ObjectExists       Kind = "ObjectExists"

	IntegrityError    Kind = "IntegrityError"
	FormatUnsupported Kind = "FormatUnsupported"
	BackupUnknown     Kind = "BackupUnknown"
	BackupIncomplete  Kind = "BackupIncomplete"
	BackupConflict    Kind = "BackupConflict"
	HostileArchive    Kind = "HostileArchive"
	SourceChanged     Kind = "SourceChanged"

	ServerUnavailable Kind = "ServerUnavailable"
	ServerRefused     Kind = "ServerRefused"
	ServerSettings    Kind = "ServerSettings"
	ServerFailed      Kind = "ServerFailed"
	ForeignCluster    Kind = "ForeignCluster"
	VersionMismatch   Kind = "VersionMismatch"
	WrongServer       Kind = "WrongServer"
	StandbyUnfit      Kind = "StandbyUnfit"

	DumpFailed          Kind = "DumpFailed"
	LocaleMismatch      Kind = "LocaleMismatch"
	PrerequisiteMissing Kind = "PrerequisiteMissing"

	WALGap      Kind = "WALGap"
	WALConflict Kind = "WALConflict"
	WALHeld     Kind = "WALHeld"
	WALEnd      Kind = "WALEnd"
	WALShort    Kind = "WALShort"

	PointUnreachable Kind = "PointUnreachable"

	RetentionRefused Kind = "RetentionRefused"

	NoSpace       Kind = "NoSpace"
	TargetBusy    Kind = "TargetBusy"
	TargetRefused Kind = "TargetRefused"
	PathFailed    Kind = "PathFailed"

	CommandFailed       Kind = "CommandFailed"
	ServiceFailed       Kind = "ServiceFailed"
	MigrationFailed     Kind = "MigrationFailed"
	CheckFailed         Kind = "CheckFailed"
	VerificationFailed  Kind = "VerificationFailed"
	Aborted             Kind = "Aborted"
	Unapproved          Kind = "Unapproved"
	RecoveryRunning     Kind = "RecoveryRunning"
	RunUnknown          Kind = "RunUnknown"
	StepTimeout         Kind = "StepTimeout"
	ScheduleUnknown     Kind = "ScheduleUnknown"
	TemporalUnavailable Kind = "TemporalUnavailable"
	Unanswered          Kind = "Unanswered"
	Unsupported         Kind = "Unsupported"
)

// Definition returns what holds for the kind; an unregistered kind is not retryable.
func (k Kind) Definition() Definition {
	if found, ok := definitions()[k]; ok {
		return found
	}
	return Definition{Summary: "unnamed fault " + string(k), Exit: ExitFailed}
}

// Err is a bare fault of this kind, to compare with errors.Is.
func (k Kind) Err() error { return &Error{Kind: k} }

// Kinds lists every registered kind.
func Kinds() []Kind {
	all := definitions()
	kinds := make([]Kind, 0, len(all))
	for kind := range all {
		kinds = append(kinds, kind)
	}
	return kinds
}

func definitions() map[Kind]Definition {
	return map[Kind]Definition{
		ConfigInvalid:     {Summary: "configuration is not valid", Hint: "correct the file and run: lifeboat config check", Exit: ExitUsage},
		InputInvalid:      {Summary: "input is not valid", Hint: "correct the input; nothing was done", Exit: ExitUsage},
		NameUnknown:       {Summary: "there is none of this name", Hint: "see what is configured with: lifeboat config check", Exit: ExitNotFound},
		SecretUnavailable: {Summary: "secret can't be resolved", Hint: "set the environment variable or create the file that the reference names, readable by this user", Exit: ExitUsage},
		KeyUnavailable:    {Summary: "no configured key opens it", Hint: "configure the key with the id named here; backups can't be read without it", Exit: ExitIntegrity},
		KeyWrong:          {Summary: "the key given is not the one it was sealed with", Hint: "check BACKUP_ENCRYPTION_KEY and the keys of lifeboat.yaml against the key id named here", Exit: ExitIntegrity},

		StorageUnavailable: {Summary: "store can't be reached or answers with errors", Hint: "check the network, the endpoint and the service's status page; it is tried again by itself", Retryable: true, Exit: ExitUnavailable},
		StorageDenied:      {Summary: "store refuses this access", Hint: "check the credentials and the bucket's policy for this action", Exit: ExitUnavailable},
		StorageMissing:     {Summary: "bucket does not exist", Hint: "create the bucket, with versioning on, or correct its name and region", Exit: ExitNotFound},
		ObjectMissing:      {Summary: "object does not exist", Hint: "list what is there with: lifeboat backups list", Exit: ExitNotFound},
		ObjectExists:       {Summary: "object exists already", Hint: "objects are written once; another writer owns this key", Exit: ExitRefused},

		IntegrityError:    {Summary: "stored data is damaged or not authentic", Hint: "recover from the replica or from an older backup; do not trust this object", Exit: ExitIntegrity},
		FormatUnsupported: {Summary: "written in a format this version does not read", Hint: "use the Lifeboat version that wrote it, or a newer one", Exit: ExitIntegrity},
		BackupUnknown:     {Summary: "no such backup", Hint: "list the backups with: lifeboat backups list", Exit: ExitNotFound},
		BackupIncomplete:  {Summary: "backup is not complete", Hint: "it was never finished and can't be used; choose another from: lifeboat backups list", Exit: ExitNotFound},
		BackupConflict:    {Summary: "another run owns this backup", Hint: "wait for the other run, or start one under a new name", Exit: ExitRefused},
		HostileArchive:    {Summary: "archive would write outside its place or exhaust this host", Hint: "it was not made by Lifeboat or was tampered with; nothing of it was put in place", Exit: ExitIntegrity},
		SourceChanged:     {Summary: "source kept changing while it was read", Hint: "run the backup at a quieter moment, or exclude the file", Retryable: true, Exit: ExitFailed},

		ServerUnavailable: {Summary: "server can't be reached", Hint: "check that it runs and that address and credentials are right; it is tried again by itself", Retryable: true, Exit: ExitUnavailable},
		ServerRefused:     {Summary: "server refuses this role or request", Hint: "grant the role what it needs; see docs/RUNBOOK.md", Exit: ExitFailed},
		ServerSettings:    {Summary: "server settings do not allow it", Hint: "change the setting named here", Exit: ExitFailed},
		ServerFailed:      {Summary: "server stopped or failed", Hint: "read the server's log named here; the attempt is repeated", Retryable: true, Exit: ExitFailed},
		ForeignCluster:    {Summary: "belongs to another cluster", Hint: "the system identifiers differ: check host, port and data directory before anything is overwritten", Exit: ExitRefused},
		VersionMismatch:   {Summary: "major versions differ", Hint: "install the server version that the backup was taken from", Exit: ExitRefused},

		WrongServer: {Summary: "it is not the server that was restored", Hint: "it may serve old data: stop it, and let the service start the server in the directory named here", Exit: ExitFailed},

		StandbyUnfit: {Summary: "no base backup can be copied from this standby", Hint: "nothing is lost: the backup is taken from the primary; lifeboat doctor says what the standby lacks", Retryable: true, Exit: ExitFailed},

		DumpFailed:          {Summary: "server did not take a statement of the dump", Hint: "read the statement and the server's answer here; nothing was put in place", Exit: ExitFailed},
		LocaleMismatch:      {Summary: "encoding or locale is not that of the dump", Hint: "see the reason; nothing was touched", Exit: ExitRefused},
		PrerequisiteMissing: {Summary: "server lacks something that the dump needs", Hint: "install or create what is named here, and begin again; nothing was touched", Exit: ExitRefused},

		WALGap:      {Summary: "a WAL segment is missing from the archive", Hint: "recover to a point before the gap, or take a new base backup now", Exit: ExitIntegrity},
		WALConflict: {Summary: "archive holds a different segment under this name", Hint: "two servers archive to one place: find the other one before anything else", Exit: ExitRefused},
		WALHeld:     {Summary: "this data directory may not archive here", Hint: "it is a copy, or its recovery has not been cut over; set another cluster name or turn archiving off", Exit: ExitRefused},
		WALEnd:      {Summary: "past the end of the pinned archive", Hint: "this is the normal end of a replay", Exit: ExitFailed},
		WALShort:    {Summary: "replay ended before the recovery point", Hint: "the server was not promoted; read its log and start the recovery again", Exit: ExitIntegrity},

		PointUnreachable: {Summary: "this point can't be recovered to", Hint: "see what can be gone back to with: lifeboat window database", Exit: ExitRefused},

		RetentionRefused: {Summary: "nothing may be deleted now", Hint: "see the reason; what is there stays", Exit: ExitRefused},

		NoSpace:       {Summary: "not enough disk space", Hint: "free the space named here or choose another place", Exit: ExitRefused},
		TargetBusy:    {Summary: "target is locked by another run", Hint: "wait for the other run to end, or abort it", Exit: ExitRefused},
		TargetRefused: {Summary: "target can't be used safely", Hint: "see the reason; nothing was touched", Exit: ExitRefused},
		PathFailed:    {Summary: "file operation failed", Hint: "check the path, its owner and its permissions", Retryable: true, Exit: ExitFailed},

		CommandFailed:       {Summary: "program failed", Hint: "run it by hand to see its output, or read the log named here", Retryable: true, Exit: ExitFailed},
		ServiceFailed:       {Summary: "service did not reach the state asked for", Hint: "read the service's log", Retryable: true, Exit: ExitFailed},
		MigrationFailed:     {Summary: "migration failed", Hint: "correct the migration; the recovered data is in place and services stay stopped", Exit: ExitFailed},
		CheckFailed:         {Summary: "check failed", Hint: "look at what the check names; the service may still be starting", Retryable: true, Exit: ExitFailed},
		VerificationFailed:  {Summary: "restored data does not equal what was backed up", Hint: "do not use it; choose another backup", Exit: ExitIntegrity},
		Aborted:             {Summary: "aborted by an operator", Hint: "the old system was left as it was", Exit: ExitFailed},
		Unapproved:          {Summary: "a component went on without an approval", Hint: "look at the steps of its run before anything else: its data may have been replaced; then find out who can signal workflows", Exit: ExitFailed},
		RecoveryRunning:     {Summary: "a recovery is already running", Hint: "watch it with: lifeboat watch, or abort it first", Exit: ExitRefused},
		RunUnknown:          {Summary: "no such run", Hint: "list the runs in the Temporal Web UI or with: temporal workflow list", Exit: ExitNotFound},
		StepTimeout:         {Summary: "step did not end in its time, or its worker was lost", Hint: "see that the worker runs, and in its log which server the step waited for", Retryable: true, Exit: ExitUnavailable},
		ScheduleUnknown:     {Summary: "no such schedule", Hint: "see what there is with: lifeboat schedule list", Exit: ExitNotFound},
		TemporalUnavailable: {Summary: "Temporal can't be reached", Hint: "check TEMPORAL_ADDRESS and that the server runs", Retryable: true, Exit: ExitUnavailable},
		Unanswered:          {Summary: "asked for, and no worker has taken it up yet", Hint: "start the lifeboat worker on the system's host: it takes effect then; ask again if Temporal's server is restarted before", Retryable: true, Exit: ExitUnavailable},
		Unsupported:         {Summary: "not supported", Hint: "see docs/ARCHITECTURE.md for what is", Exit: ExitUsage},
	}
}

// ExitCode gives the exit code of the lifeboat command for err: 0 for nil, and
// ExitFailed for an error that has no name.
func ExitCode(err error) int {
	if err == nil {
		return 0
	}
	if kind := KindOf(err); kind != "" {
		return kind.Definition().Exit
	}
	return ExitFailed
}
