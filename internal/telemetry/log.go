package telemetry

import (
	"io"
	"os"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"golang.org/x/term"

	"github.com/frende/lifeboat/internal/fault"
	"github.com/frende/lifeboat/internal/system"
)

// LogConfig says where a log goes and what of it.
type LogConfig struct {
	To      io.Writer
	Level   system.LogLevel  // "": info
	Format  system.LogFormat // "": for a person when To is a terminal, else JSON
	Secrets *Secrets         // what no line may hold
}

// NewLogger makes a logger whose lines hold none of the secrets.
func NewLogger(c LogConfig) (*zap.Logger, error) {
	if c.Level == "" {
		c.Level = system.LogInfo
	}
	level, err := zapcore.ParseLevel(string(c.Level))
	if err != nil {
		return nil, fault.New(fault.ConfigInvalid, "open log", string(c.Level), err)
	}
	encoder := zapcore.NewJSONEncoder(lineOf(zap.NewProductionEncoderConfig()))
	if c.Format == system.LogConsole || c.Format != system.LogJSON && terminal(c.To) {
		encoder = zapcore.NewConsoleEncoder(lineOf(zap.NewDevelopmentEncoderConfig()))
	}
	written := zapcore.NewCore(encoder, zapcore.Lock(zapcore.AddSync(c.To)), level)
	return zap.New(&core{Core: written, secrets: c.Secrets}, zap.AddCaller(), zap.AddStacktrace(zapcore.ErrorLevel)), nil
}

// lineOf writes times in UTC, as reports and the ledger do, and durations as people do.
func lineOf(c zapcore.EncoderConfig) zapcore.EncoderConfig {
	c.EncodeTime = func(at time.Time, to zapcore.PrimitiveArrayEncoder) {
		to.AppendString(at.UTC().Format("2006-01-02T15:04:05.000Z"))
	}
	c.EncodeDuration = zapcore.StringDurationEncoder
	return c
}

func terminal(to io.Writer) bool {
	file, ok := to.(*os.File)
	return ok && term.IsTerminal(int(file.Fd()))
}
