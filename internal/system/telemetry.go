package system

// Telemetry says what a worker tells of itself, and to whom.
type Telemetry struct {
	LogLevel  LogLevel  `yaml:"log_level"`  // least severe line that is written; default info
	LogFormat LogFormat `yaml:"log_format"` // default: console on a terminal, else json
}

// LogLevel and LogFormat are the allowed values of Telemetry.
type (
	LogLevel  string
	LogFormat string
)

// Levels and formats of the log.
const (
	LogDebug LogLevel = "debug"
	LogInfo  LogLevel = "info"
	LogWarn  LogLevel = "warn"
	LogError LogLevel = "error"

	LogJSON    LogFormat = "json"
	LogConsole LogFormat = "console"
)

func (v *validation) telemetry() {
	t := v.Telemetry
	if t.LogLevel != "" {
		v.oneOf("telemetry.log_level", string(t.LogLevel), string(LogDebug), string(LogInfo), string(LogWarn), string(LogError))
	}
	if t.LogFormat != "" {
		v.oneOf("telemetry.log_format", string(t.LogFormat), string(LogJSON), string(LogConsole))
	}
}
