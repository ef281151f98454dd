package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/frende/lifeboat/internal/assembly"
	"github.com/frende/lifeboat/internal/fault"
	"github.com/frende/lifeboat/internal/system"
	"github.com/frende/lifeboat/internal/telemetry"
	"github.com/frende/lifeboat/internal/temporal"
)

// Process is what a command has of the world.
type Process struct {
	Args           []string
	Stdout, Stderr io.Writer
	Env            system.Env
	Now            func() time.Time
	Screen         func() (width, height int) // of the terminal that Stdout is; 0: it is none
}

// Run carries out one command line and gives the exit code.
func Run(ctx context.Context, p Process) int {
	a := &app{Process: p, secrets: telemetry.NewSecrets()}
	if fetches(p.Args) {
		return a.runFetch(ctx)
	}
	err := a.execute(ctx)
	a.close(ctx)
	a.explain(err)
	if err != nil && pushes(p.Args) {
		return fault.ExitFailed
	}
	return fault.ExitCode(err)
}

// app is one run of the command.
type app struct {
	Process
	config  string             // --config
	from    string             // --from
	json    bool               // --json
	reached bool               // the command line was understood, and its command runs
	told    bool               // the person knows: what goes on after an interruption, or what the check found
	secrets *telemetry.Secrets // what no message may hold
	traces  *telemetry.Traces  // nil: none

	reads  bool   // this command only reads stores
	copied string // the replica that it could read instead; "": none

	payloads *temporal.Payloads // how to read what Temporal stores, once connected
}

// execute parses the command line and runs its command. What the command line
// lacks or has too much of is InputInvalid.
func (a *app) execute(ctx context.Context) error {
	a.secrets.AddEnvironment(a.Env)
	root := a.root()
	if err := a.complete(root); err != nil {
		return fault.New(fault.Unsupported, "complete", root.Name(), err)
	}
	root.SetArgs(a.Args)
	root.SetOut(a.Stdout)
	root.SetErr(a.Stderr)
	called, err := root.ExecuteContextC(ctx)
	if err != nil && !a.reached && fault.KindOf(err) == "" {
		return unread(called, err)
	}
	return err
}

// explain writes an error for a person.
func (a *app) explain(err error) {
	if err == nil || a.told && (errors.Is(err, context.Canceled) || fault.Has(err, fault.CheckFailed)) {
		return
	}
	findings, many := errors.AsType[system.Findings](err)
	if !many {
		fmt.Fprintf(a.Stderr, "lifeboat: %s\n", a.secrets.Redact(err.Error()))
		if hint := a.hint(err); hint != "" {
			fmt.Fprintf(a.Stderr, "HINT: %s\n", a.secrets.Redact(hint))
		}
		return
	}
	subject := ""
	if found, ok := errors.AsType[*fault.Error](err); ok {
		subject = found.Subject
	}
	fmt.Fprintf(a.Stderr, "lifeboat: read configuration %s: configuration is not valid: %s\n", subject, counted(len(findings), "finding"))
	for _, finding := range findings {
		fmt.Fprintln(a.Stderr, finding)
		if finding.Hint != "" {
			fmt.Fprintf(a.Stderr, "HINT: %s\n", finding.Hint)
		}
	}
}

// hint is what to do about an error. A command that only reads has ended: nothing
// tries again by itself, and a copy may be read instead.
func (a *app) hint(err error) string {
	hint := fault.HintOf(err)
	if !a.reads || hint != fault.StorageUnavailable.Definition().Hint {
		return hint
	}
	if a.copied != "" {
		return "read the replica instead, which may lack the newest: lifeboat --from " + a.copied + " " + strings.Join(a.Args, " ")
	}
	return "check the network, the endpoint and the service's status page, and ask again"
}

// readable notes that this command only reads the stores of the system.
func (a *app) readable(s *system.System) {
	a.reads = true
	if primary, err := s.Primary(); err == nil {
		if replica, ok := s.ReplicaOf(primary); ok {
			a.copied = replica.Name
		}
	}
}

const exitCodes = `Exit codes: 0 done, 1 failed, 2 wrong command line or configuration, 3 not found,
4 a server can't be reached, 5 damaged data or wrong key, 6 refused as dangerous.
wal-push: 0 stored, 1 not. wal-fetch: 0 found, 1 past the pinned end, 126 anything else.`

// overview is what lifeboat --help lists below its first lines: it has to fit a screen.
const overview = `Commands:{{range .Commands}}{{if .IsAvailableCommand}}
  {{rpad .Name .NamePadding}} {{.Short}}{{end}}{{end}}
Flags:
{{.LocalFlags.FlagUsages | trimTrailingWhitespaces}}
Example: lifeboat recover system --dry-run; more: lifeboat COMMAND --help. TEMPORAL_ADDRESS finds Temporal.
`

func (a *app) root() *cobra.Command {
	root := &cobra.Command{
		Use:           "lifeboat",
		Short:         "Back up a system, rebuild it after a disaster, and prove both",
		Long:          "Lifeboat backs up a system, rebuilds it after a disaster, and proves both.\n" + exitCodes,
		Example:       "  lifeboat recover system --dry-run",
		SilenceErrors: true,
		SilenceUsage:  true,
	}
	root.SetUsageTemplate("{{if .HasParent}}" + root.UsageTemplate() + "{{else}}" + overview + "{{end}}")
	root.DisableAutoGenTag = true // man pages of one version are equal
	root.CompletionOptions.DisableDefaultCmd = true
	root.SetHelpCommand(&cobra.Command{Use: "no-help", Hidden: true})
	root.PersistentFlags().StringVar(&a.config, "config", "", "`FILE` instead of $LIFEBOAT_CONFIG, ./lifeboat.yaml or /etc/lifeboat/lifeboat.yaml")
	root.PersistentFlags().StringVar(&a.from, "from", "", "`STORE` that alone is read and written, such as a replica whose primary is lost")
	root.AddCommand(
		group("config", "Look at the configuration", a.configCheck(), a.configSchema()),
		a.doctor(), a.status(),
		a.backup(),
		group("backups", "Look at the backups in the store", a.backupsList(), a.backupsShow(), a.backupsExport()),
		group("database", "Set a database server up for its backups", a.databaseSetup()),
		a.verify(), a.recover(), a.extract(), a.window(), a.restorePoint(), a.drill(),
		a.approve(), a.abort(), a.watch(), a.report(),
		a.schedule(), a.cleanup(), group("retention", "Remove backups and WAL that are needed no longer", a.retentionRun()), a.hold(),
		a.walPush(), a.walFetch(),
		a.completion(), a.man(root),
		group("codec", "Read and serve sealed payloads of Temporal", a.codecServe(), a.codecKeys()),
	)
	return root
}

// run makes a cobra function of one that begins once the command line is understood.
func (a *app) run(do func(ctx context.Context, args []string) error) func(*cobra.Command, []string) error {
	return func(c *cobra.Command, args []string) error {
		a.reached = true
		return do(c.Context(), args)
	}
}

func (a *app) withJSON(c *cobra.Command) *cobra.Command {
	c.Flags().BoolVar(&a.json, "json", false, "print JSON")
	return c
}

// system reads the configuration.
func (a *app) system() (*system.System, error) {
	path, err := system.Find(a.config, a.Env)
	if err != nil {
		return nil, err
	}
	return a.alone(system.Load(path, a.Env))
}

// alone leaves only the store that --from names.
func (a *app) alone(s *system.System, err error) (*system.System, error) {
	if err != nil || a.from == "" {
		return s, err
	}
	left, err := s.Alone(a.from)
	return &left, err
}

// assembly opens stores, vaults and ledgers of this process.
func (a *app) assembly(s *system.System) *assembly.Assembly {
	return assembly.New(assembly.Config{Env: a.Env, Memory: int64(s.Limits.Memory), Now: a.Now, OnSecret: a.secrets.Add})
}

func (a *app) printJSON(value any) error {
	encoder := json.NewEncoder(a.Stdout)
	encoder.SetIndent("", "  ")
	return encoder.Encode(value)
}

func counted(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}
